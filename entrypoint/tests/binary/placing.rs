//! Secret files, and the directories they do not go to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{CANARY, Scratch, Server, Start, bundle, ended, file, is_root, ok, program, variable};

fn serving(files: Vec<chandlery_wire::BundleFile>) -> Server {
    let mut bundle = bundle();
    bundle.files = files;
    Server::unix(vec![ok(&bundle)])
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    let server = serving(vec![file("a", CANARY, 0o400), file("b", CANARY, 0o640), file("c", CANARY, 0o777)]);
    let start = Start::at(&server.address);
    let program = start.command.get_program().to_owned();
    let ended = start.args(&[
        "--",
        "/bin/sh",
        "-c",
        "umask; stat -c %a $A_FILE $B_FILE $C_FILE; stat -c %a $(dirname $A_FILE)",
    ]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 0137; exec \"$0\" \"$@\""]).arg(program).args(ended.command.get_args());
    shell.env_clear().envs(ended.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0137\n400\n640\n777\n711\n");
}

#[test]
fn a_failed_start_leaves_nothing() {
    let server = serving(vec![file("a", CANARY, 0o400)]);
    let mut start = Start::at(&server.address).args(&["--", "/nowhere/app"]);
    start.run().failed(127, "/nowhere/app");
    assert!(!start.scratch.secrets().exists());

    fs::create_dir(start.scratch.secrets()).unwrap();
    start.run().failed(127, "/nowhere/app");
    assert_eq!(fs::read_dir(start.scratch.secrets()).unwrap().count(), 0);
}

#[test]
fn what_is_in_the_way_is_refused_and_nothing_is_placed() {
    let server = serving(vec![file("a", CANARY, 0o400), file("z", CANARY, 0o400)]);
    for what in ["a symlink", "a directory", "a FIFO"] {
        let mut start = Start::at(&server.address);
        let (secrets, target) = (start.scratch.secrets(), start.scratch.path().join("target"));
        fs::create_dir(&secrets).unwrap();
        match what {
            "a symlink" => symlink(&target, secrets.join("z")).unwrap(),
            "a directory" => fs::create_dir(secrets.join("z")).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(secrets.join("z")).status().unwrap().success()),
        }
        start.sh("echo ran").failed(6, what);
        assert!(!target.exists() && !secrets.join("a").exists());
    }
}

#[test]
fn a_directory_behind_a_symlink_is_refused() {
    let server = serving(vec![file("a", CANARY, 0o400)]);
    for slash in ["", "/", "/."] {
        let mut start = Start::at(&server.address);
        let real = start.scratch.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, start.scratch.secrets()).unwrap();
        let directory = format!("{}{slash}", start.scratch.secrets().display());
        start.command.env("CHANDLERY_SECRETS_DIR", directory);
        start.sh("echo ran").failed(6, "is a symlink");
        assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
    }
}

#[test]
fn a_disk_is_refused_unless_it_is_allowed() {
    let server = serving(vec![file("a", CANARY, 0o400)]);
    let disk = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrets-{}", std::process::id()));
    let _ = fs::remove_dir_all(&disk);
    let mut refused = Start::at(&server.address).env("CHANDLERY_SECRETS_DIR", &disk);
    let ended = refused.sh("echo ran");
    let line = format!("tmpfs: [\"{}:mode=0700,size=1m", disk.display());
    if ended.code == 0 {
        println!("skipped: the target directory is in memory, or this is a container, which has some to link to");
        return;
    }
    ended.failed(6, &line);
    assert!(!disk.exists());
    let mut allowed = Start::at(&server.address).env("CHANDLERY_SECRETS_DIR", &disk).args(&["--allow-disk"]);
    assert_eq!(allowed.sh("cat $A_FILE").stdout, CANARY);
    // The next start finds what this one left, and replaces it.
    assert_eq!(
        Start::at(&server.address).env("CHANDLERY_SECRETS_DIR", &disk).args(&["--allow-disk"]).sh("cat $A_FILE").stdout,
        CANARY
    );
    fs::remove_dir_all(&disk).unwrap();
}

/// A copy of the program where every user can execute it: the target directory may be root's alone.
fn for_everybody(start: &Start) -> std::path::PathBuf {
    let copy = std::env::temp_dir().join(format!(
        "chandlery-entrypoint-{}-{}",
        std::process::id(),
        start.scratch.path().file_name().unwrap().to_string_lossy()
    ));
    fs::copy(program(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn another_user_places_its_own_files_and_nobody_elses() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let mut chowned = file("a", CANARY, 0o400);
    chowned.uid = Some(0);
    for (files, directory_mode, expected) in [
        (vec![file("a", CANARY, 0o400)], 0o1777, None),
        (vec![file("a", CANARY, 0o400)], 0o755, Some("cannot be written to by user 65534")),
        (vec![file("a", CANARY, 0o400)], 0o777, Some("others may write")),
        (vec![chowned], 0o1777, Some("may not give it away")),
    ] {
        let server = serving(files);
        let path = server.address.strip_prefix("unix://").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        let probe = Start::at(&server.address);
        let copy = for_everybody(&probe);
        let mut start = Start::with_program(&copy, &server.address);
        fs::create_dir(start.scratch.secrets()).unwrap();
        fs::set_permissions(start.scratch.secrets(), Permissions::from_mode(directory_mode)).unwrap();
        start.command.uid(65534).gid(65534);
        let ended = start.sh("id -u; cat $A_FILE");
        match expected {
            None => assert_eq!(ended.stdout, format!("65534\n{CANARY}"), "{}", ended.stderr),
            Some(about) => {
                ended.failed(6, about);
                assert_eq!(fs::read_dir(start.scratch.secrets()).unwrap().count(), 0);
            }
        }
        fs::remove_file(copy).unwrap();
    }
}

#[test]
fn root_gives_files_to_the_user_they_are_for() {
    if !is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let mut given = file("a", CANARY, 0o440);
    (given.uid, given.gid) = (Some(999), Some(998));
    let server = serving(vec![given]);
    let mut start = Start::at(&server.address);
    assert_eq!(start.sh("true").code, 0);
    let found = fs::metadata(start.scratch.secrets().join("a")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (999, 998, 0o440));
    assert_eq!(fs::metadata(start.scratch.secrets()).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn without_files_no_directory_is_needed() {
    let server = serving(Vec::new());
    let mut start = Start::at(&server.address).env("CHANDLERY_SECRETS_DIR", "/nowhere/at/all");
    assert_eq!(start.sh("echo $DB_HOST").stdout, "db.eu.internal\n");
}

#[test]
fn dangerous_and_contradictory_variables_end_the_start_and_place_nothing() {
    let mut bundle = bundle();
    bundle.variables.push(variable("LD_PRELOAD", "/x", false));
    bundle.variables.push(variable("PATH", "/x", false));
    bundle.variables.push(variable("TLS_KEY", CANARY, true));
    let server = Server::unix(vec![ok(&bundle)]);
    let mut start = Start::at(&server.address);
    let ended = start.sh("echo ran");
    ended.failed(7, "LD_PRELOAD");
    assert!(ended.stderr.contains("PATH:") && ended.stderr.contains("TLS_KEY_FILE"), "{}", ended.stderr);
    assert!(!start.scratch.secrets().exists());

    bundle.variables.pop();
    let server = Server::unix(vec![ok(&bundle)]);
    let mut start = Start::at(&server.address).args(&["--allow-name=LD_PRELOAD", "--preserve", "PATH"]);
    assert_eq!(start.sh("echo $PATH").stdout, "/usr/bin:/bin\n");
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let listed = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = listed.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_deleted_from_the_store_does_not_stay_in_the_directory() {
    let sets = [vec![file("a", CANARY, 0o400), file("b", CANARY, 0o400)], vec![file("b", CANARY, 0o400)], Vec::new()];
    let scratch = Scratch::new();
    fs::create_dir(scratch.secrets()).unwrap();
    fs::write(scratch.secrets().join("foreign"), "x").unwrap();
    let expected = [&["..placed", "a", "b", "foreign"][..], &["..placed", "b", "foreign"], &["foreign"]];
    for (files, expected) in sets.into_iter().zip(expected) {
        let server = serving(files);
        let mut start = Start::at(&server.address).env("CHANDLERY_SECRETS_DIR", scratch.secrets());
        assert_eq!(start.sh("true").code, 0);
        assert_eq!(names(&scratch.secrets()), expected);
    }
}

#[test]
fn a_signal_takes_away_what_was_placed() {
    let server = serving(vec![file("a", CANARY, 0o400), file("b", CANARY, 0o400)]);
    for (made, watch) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut start = Start::at(&server.address).env("WAIT_HOSTS", "127.0.0.1:1").env("WAIT_TIMEOUT", "1m");
        let secrets = start.scratch.secrets();
        if !made {
            fs::create_dir(&secrets).unwrap();
        }
        if watch {
            start = start.args(&["--watch"]);
        }
        start = start.args(&["--", "/bin/true"]);
        let child = start.command.spawn().unwrap();
        while !secrets.join("b").exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        assert_eq!(ended(child).code, 143);
        assert!(if made { !secrets.exists() } else { names(&secrets).is_empty() }, "{:?}", names(&secrets));
    }
}

/// Ids without an account: those of no test machine.
const SOMEBODY: (&str, u32, u32) = ("54321:54322", 54321, 54322);

#[test]
fn the_app_runs_as_the_user_it_is_to_run_as() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (user, uid, gid) = SOMEBODY;
    let (mut roots, mut groups) = (file("roots", CANARY, 0o440), file("groups", CANARY, 0o440));
    (roots.uid, groups.gid) = (Some(0), Some(7));
    let server = serving(vec![file("own", CANARY, 0o400), roots, groups]);
    let script = "id -u; id -g; id -G; echo $HOME; cat $OWN_FILE; cat $ROOTS_FILE 2>/dev/null; cat $GROUPS_FILE";
    let mut start = Start::at(&server.address).args(&["--user", user]).env("HOME", "/root");
    let ended = start.sh(script);
    assert_eq!(ended.stdout, format!("{uid}\n{gid}\n{gid}\n/\n{CANARY}{CANARY}"), "{}", ended.stderr);
    let owner = |name: &str| {
        let found = fs::metadata(start.scratch.secrets().join(name)).unwrap();
        (found.uid(), found.gid())
    };
    // A file of somebody else's has not the app's group, which would let the app read it.
    assert_eq!([owner("own"), owner("roots"), owner("groups")], [(uid, gid), (0, 0), (uid, 7)]);
    let directory = fs::metadata(start.scratch.secrets()).unwrap();
    assert_eq!((directory.uid(), directory.gid(), directory.mode() & 0o7777), (0, gid, 0o751));
}

#[test]
fn a_start_that_fails_as_another_user_leaves_nothing() {
    if !is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let server = serving(vec![file("a", CANARY, 0o400)]);
    for (command, code) in [("/nowhere/app", 127), ("/etc/passwd", 126)] {
        let mut start = Start::at(&server.address).args(&["--user", SOMEBODY.0, "--", command]);
        start.run().failed(code, command);
        assert!(!start.scratch.secrets().exists());
    }
    let mut start = Start::at(&server.address).args(&["--user", "nobody-of-that-name"]);
    start.sh("echo ran").failed(2, "there is no user \"nobody-of-that-name\"");
}

/// What a start writes, by the kernel's own account: the value goes to a file in memory and nowhere else.
#[test]
fn a_value_is_written_to_memory_only() {
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: strace is not installed");
        return;
    }
    let server = serving(vec![file("a", CANARY, 0o400)]);
    for more in [&["--verbose"][..], &["--watch"]] {
        let start = Start::at(&server.address);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-y", "-s", "4096", "-e", "trace=!read,readv,recvfrom,recvmsg,execve"]);
        traced.arg(start.command.get_program()).args(more).args(["--", "/bin/true"]);
        traced.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = traced.output().unwrap();
        assert!(output.status.success());
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        let with_value: Vec<_> = trace.lines().filter(|line| line.contains(CANARY)).collect();
        assert_eq!(with_value.len(), 1, "{with_value:#?}");
        assert!(with_value[0].contains("write(") && with_value[0].contains("</dev/shm/"), "{with_value:#?}");
    }
}
