//! Which descriptors the app gets: those that whoever started it meant for it, and none that leads to the token.

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::support::{Ended, Server, Start, bundle, ended, ok, token};

/// Runs a shell that opens descriptors and then becomes the start, whose app lists its own and says what it can read.
fn with_descriptors(opening: &str, token_file: &str) -> Ended {
    let server = Server::unix(vec![ok(&bundle())]);
    let mut start = Start::at(&server.address);
    start.command.env_remove("CHANDLERY_TOKEN");
    let file = start.scratch.path().join("token");
    fs::write(&file, token().expose_secret()).unwrap();
    let app =
        "for fd in 0 3 4 5; do [ -e /proc/self/fd/$fd ] && echo \"$fd: $(head -c 12 <&$fd)\"; done; echo $DB_HOST";
    let mut shell = Command::new("/bin/sh");
    let script = format!("{opening}; exec \"$@\"");
    shell.arg("-c").arg(script).arg(&file).arg(start.command.get_program()).args(["--", "/bin/sh", "-c", app]);
    shell.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("CHANDLERY_TOKEN_FILE", token_file.replace("TOKEN", file.to_str().unwrap()));
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    ended(shell.spawn().unwrap())
}

#[test]
fn none_leads_to_the_token_and_all_others_stay() {
    for (opening, token_file) in [
        ("exec 3<\"$0\" 5</proc/version", "/dev/fd/3"),
        ("exec 3<\"$0\" 5</proc/version", "/proc/self/fd/3"),
        // The same file twice, and one that is read by its own name.
        ("exec 3<\"$0\" 4<\"$0\" 5</proc/version", "/dev/fd/4"),
        ("exec 3<\"$0\" 5</proc/version", "TOKEN"),
        ("exec <\"$0\" 5</proc/version", "/dev/stdin"),
        ("exec 5</proc/version", "TOKEN"),
    ] {
        let ended = with_descriptors(opening, token_file);
        assert_eq!(ended.stdout, "0: \n5: Linux versio\ndb.eu.internal\n", "{opening}: {}", ended.stderr);
    }
}

#[test]
fn a_pipe_serves_as_a_token_file() {
    for opening in [
        "mkfifo \"$0.pipe\"; cat \"$0\" >\"$0.pipe\" & exec 3<\"$0.pipe\"",
        // A writer that comes late.
        "mkfifo \"$0.pipe\"; (sleep 0.2; cat \"$0\") >\"$0.pipe\" & exec 3<\"$0.pipe\"",
    ] {
        let ended = with_descriptors(opening, "/dev/fd/3");
        assert_eq!(ended.stdout, "0: \ndb.eu.internal\n", "{}", ended.stderr);
    }
    let ended = with_descriptors("mkfifo \"$0.pipe\"; (sleep 0.2; cat \"$0\" >\"$0.pipe\") & true", "TOKEN.pipe");
    assert_eq!(ended.stdout, "0: \ndb.eu.internal\n", "{}", ended.stderr);
}

#[test]
fn a_pipe_without_a_writer_is_not_waited_for_for_ever() {
    let begun = Instant::now();
    with_descriptors("mkfifo \"$0.pipe\"", "TOKEN.pipe").failed(2, "nobody wrote a token to it");
    assert!(begun.elapsed().as_secs() < 20);
    with_descriptors("mkfifo \"$0.pipe\"; exec 3<>\"$0.pipe\"; printf chd_ >&3", "/dev/fd/3").failed(2, "nobody wrote");
    with_descriptors(":", "/").failed(2, "directory");
    with_descriptors(":", "/dev/null").failed(2, "does not start with");
    with_descriptors(":", "/dev/zero").failed(2, "does not start with");
}
