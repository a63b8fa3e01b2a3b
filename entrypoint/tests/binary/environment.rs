//! What the app's environment is made of, and how large it may be.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::support::{CANARY, Scratch, Server, Start, bundle, ok, program, variable};

/// Directories stand for a container's `/run/secrets`, where a test must not write.
fn with_secret(content: &[u8]) -> (Server, Start) {
    let server = Server::unix(vec![ok(&bundle())]);
    let start = Start::at(&server.address);
    fs::create_dir(start.scratch.secrets()).unwrap();
    fs::write(start.scratch.secrets().join("password"), content).unwrap();
    let path = start.scratch.secrets().join("password");
    (server, start.env("PASSWORD_FILE", path))
}

#[test]
fn a_file_that_a_variable_names_fills_the_variable() {
    let show = "printf %s \"${PASSWORD-unset}\" | od -An -tx1; echo ${PASSWORD_FILE-gone}";
    for (content, hex) in [
        (&b"pw"[..], "70 77"),
        (b"pw\n", "70 77"),
        // As the shell's $(< file) has it.
        (b"pw\n\n\n", "70 77"),
        (b" pw \r\n", "20 70 77 20 0d"),
        (b"a\nb\n", "61 0a 62"),
        (b"\xff\xfe", "ff fe"),
        (b"\n", ""),
        (b"", ""),
    ] {
        let (_server, start) = with_secret(content);
        let ended = start.args(&["--expand-files"]).sh(show);
        assert_eq!(ended.stdout.trim().trim_end_matches("gone").trim(), hex, "{}", ended.stderr);
        assert!(ended.stdout.ends_with("gone\n"), "{}", ended.stdout);
    }
    let (_server, mut start) = with_secret(b"pw");
    assert_eq!(start.sh("echo \"${PASSWORD-unset} $(basename $PASSWORD_FILE)\"").stdout, "unset password\n");
}

#[test]
fn only_what_lies_among_the_secrets_is_expanded_unless_it_is_named() {
    let (_server, start) = with_secret(b"pw");
    let other = start.scratch.path().join("other");
    fs::write(&other, "elsewhere\n").unwrap();
    let script = "echo \"$PASSWORD ${LOG-unset} ${PID-unset} ${OTHER-unset}\"; env | grep -c '_FILE='";
    let secrets = start.scratch.secrets().display().to_string();
    let start = start
        .env("LOG_FILE", "/var/log/app.log")
        .env("PID_FILE", format!("{secrets}/../app.pid"))
        .env("OTHER_FILE", &other)
        .env("_FILE", "/x")
        .env("CHANDLERY_NODE_FILE", format!("{secrets}/password"));
    // TLS_KEY_FILE is the bundle's, and stays.
    let mut all = start.args(&["--expand-files"]);
    let ended = all.sh(script);
    assert_eq!(ended.stdout, "pw unset unset unset\n5\n", "{}", ended.stderr);

    let (_server, start) = with_secret(b"pw");
    let start = start.env("OTHER_FILE", &other).env("CHANDLERY_EXPAND_FILES", "OTHER");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, "elsewhere\n").unwrap();
    let link = start.scratch.path().join("link");
    symlink(&other, &link).unwrap();
    let mut start = start.env("OTHER_FILE", &link);
    assert_eq!(start.sh("echo \"${PASSWORD-unset} $OTHER\"").stdout, "unset elsewhere\n");
    fs::remove_dir_all(other.parent().unwrap()).unwrap();
}

#[test]
fn a_file_that_this_start_places_can_be_the_one() {
    let server = Server::unix(vec![ok(&bundle())]);
    let start = Start::at(&server.address);
    let key = start.scratch.secrets().join("tls_key");
    let mut start = start.env("KEY_FILE", &key).args(&["--expand-files"]);
    assert_eq!(start.sh("echo \"$KEY\"").stdout, format!("{CANARY}\n"));
    let mut start = Start::at(&server.address).args(&["--expand-files", "--explain"]).env("KEY_FILE", &key);
    start.command.env("CHANDLERY_SECRETS_DIR", key.parent().unwrap());
    let ended = start.run();
    assert!(ended.stdout.contains(&format!("the file {}", key.display())), "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stdout.contains(CANARY), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_expanded_is_told_all_at_once_and_without_values() {
    let (_server, start) = with_secret(CANARY.as_bytes());
    let secrets = start.scratch.secrets();
    fs::create_dir(secrets.join("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(secrets.join("fifo")).status().unwrap().success());
    fs::write(secrets.join("large"), vec![b'x'; 131_073]).unwrap();
    fs::write(secrets.join("nul"), format!("{CANARY}\0")).unwrap();
    let mut start = start.args(&["--expand-files"]).env("PASSWORD", "hunter3").env("DB_HOST_FILE", secrets.join("nul"));
    for (name, file) in
        [("A", "directory"), ("B", "fifo"), ("C", "large"), ("D", "nul"), ("E", "missing"), ("LD_PRELOAD", "password")]
    {
        start = start.env(&format!("{name}_FILE"), secrets.join(file));
    }
    let ended = start.sh("echo ran");
    ended.failed(7, "PASSWORD: is set, and so is PASSWORD_FILE");
    for part in [
        "A_FILE: ",
        "B_FILE: ",
        "not a plain file",
        "C_FILE: ",
        "larger than",
        "D_FILE: ",
        "NUL byte",
        "E_FILE: ",
        "missing: No such file",
        "LD_PRELOAD: changes",
        "DB_HOST: is set, and so is DB_HOST_FILE",
        "CHANDLERY_ALLOW_NAMES=LD_PRELOAD",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(ended.stderr.lines().count(), 2 + 8, "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter3"));

    // What is no path may be the secret itself, put into the wrong variable.
    let (_server, start) = with_secret(b"pw");
    let ended = start.args(&["--expand-files=TOKEN"]).env("TOKEN_FILE", CANARY).sh("echo ran");
    ended.failed(7, "TOKEN_FILE: is not an absolute path");
}

#[test]
fn a_pristine_environment_has_only_what_is_named() {
    let (_server, start) = with_secret(b"pw");
    let mut start = start.args(&["--pristine", "--expand-files"]);
    assert_eq!(start.sh("echo \"${PASSWORD-unset} ${PASSWORD_FILE-unset}\"").stdout, "unset unset\n");
    let (_server, start) = with_secret(b"pw");
    let mut start = start.args(&["--pristine", "--expand-files=PASSWORD"]);
    assert_eq!(start.sh("echo \"${PASSWORD-unset} ${PASSWORD_FILE-unset}\"").stdout, "pw unset\n");
}

/// Execs a program with these variables below a limit on the stack, without the entrypoint: what the kernel says.
fn kernel_takes(variables: &[(String, String)], stack: u64) -> bool {
    let mut shell = Command::new("/bin/sh");
    // The limit is set by a shell that has a small environment; env -i gives the large one in its arguments' stead.
    shell.args(["-c", &format!("ulimit -s {stack}; exec /usr/bin/env -i /bin/sh -c 'exit 0'")]);
    assert!(shell.env_clear().status().unwrap().success(), "the limit itself is too small");
    let mut direct = Command::new("/bin/true");
    direct.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    with_stack(&mut direct, stack);
    direct.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn with_stack(command: &mut Command, kilobytes: u64) {
    use std::os::unix::process::CommandExt;
    let limit = libc::rlimit { rlim_cur: kilobytes * 1024, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit is async-signal-safe and reads a struct that the closure owns.
    #[expect(unsafe_code, reason = "the limit has to be set in the child")]
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

#[test]
fn it_says_no_exactly_where_the_kernel_does() {
    // `/bin/true` twice, as path and as argument, and the pointer to the argument.
    const FIXED: usize = 2 * "/bin/true\0".len() + 8;
    for (stack, limit) in [(8192, 2 * 1024 * 1024), (1024, 256 * 1024), (200, 128 * 1024)] {
        for (over, taken) in [(0, true), (1, false)] {
            let mut left = limit + over - FIXED;
            let mut variables = Vec::new();
            while left > 0 {
                // The last but one leaves room for a whole one.
                let size = if left > 100_000 + 100 { 100_000 } else { left };
                let name = format!("V{:03}", variables.len());
                let value = "x".repeat(size - 8 - name.len() - 2);
                variables.push((name, value));
                left -= size;
            }
            assert_eq!(kernel_takes(&variables, stack), taken, "the kernel at {stack} KiB, {over} over");
            let mut large = bundle();
            large.files.clear();
            large.variables = variables.iter().map(|(name, value)| variable(name, value, true)).collect();
            let server = Server::unix(vec![ok(&large)]);
            let mut start = Start::at(&server.address).args(&["--pristine", "--", "/bin/true"]);
            start.command.env_remove("PATH");
            with_stack(&mut start.command, stack);
            let ended = start.run();
            if taken {
                assert_eq!(ended.code, 0, "{}", ended.stderr);
            } else {
                ended.failed(7, &format!("are {} bytes, and the kernel allows {limit}", limit + 1));
                assert!(ended.stderr.contains("V000: 99992 bytes"), "{}", ended.stderr);
            }
        }
    }
}

#[test]
fn what_only_the_exec_can_know_is_told_with_the_largest_names_too() {
    // The interpreter's line counts as well, and is not ours to read.
    let scratch = Scratch::new();
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(scratch.path().file_name().unwrap());
    fs::create_dir_all(&directory).unwrap();
    let script = directory.join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = script.to_str().unwrap();
    let mut large = bundle();
    large.files.clear();
    let rest = 128 * 1024 - 2 * (path.len() + 1) - 8;
    let half = rest / 2;
    large.variables =
        vec![variable("A", &"x".repeat(half - 8 - 3), true), variable("B", &"x".repeat(rest - half - 8 - 3), true)];
    let server = Server::unix(vec![ok(&large)]);
    let mut start = Start::at(&server.address).args(&["--pristine", "--", path]);
    start.command.env_remove("PATH");
    with_stack(&mut start.command, 256);
    let ended = start.run();
    ended.failed(7, "too large for the kernel");
    assert!(ended.stderr.contains("B: "), "{}", ended.stderr);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn beside_an_app_needs_a_container() {
    let run = |arguments: &[&str]| {
        let output = Command::new(program()).args(arguments).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["env", "--"]);
    assert!(code == Some(2) && text.contains("no command") && text.lines().count() == 2, "{text}");
    // On this machine's own processes it knows of no app, whatever runs as process 1.
    let (code, text) = run(&["env", "--", "true"]);
    assert!(code == Some(7) && text.lines().count() == 2, "{text}");
    // Everything else is the program env.
    let server = Server::unix(vec![ok(&bundle())]);
    let ended = Start::at(&server.address).args(&["env", "FOO=bar", "sh", "-c", "echo $FOO $DB_HOST"]).run();
    assert_eq!(ended.stdout, "bar db.eu.internal\n", "{}", ended.stderr);
    assert!(Start::at(&server.address).args(&["env"]).run().stdout.contains("DB_HOST=db.eu.internal"));
    assert!(Start::at(&server.address).args(&["--", "env", "--", "env"]).run().stdout.contains("DB_HOST="));
}
