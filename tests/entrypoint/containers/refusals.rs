//! Places that are not fit: each is told with what to do, and doing that helps.

use super::*;

#[test]
fn what_cannot_be_used_is_refused_with_a_line_that_helps() {
    let Some(ship) = Ship::launch("what_cannot_be_used_is_refused_with_a_line_that_helps") else { return };
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let folder = TempDir::new().expect("a temporary folder");
    let theirs = format!("{}:/run/secrets/theirs:ro", host_file(folder.path(), "theirs", "t"));
    let cases: [(&[&str], &str); 9] = [
        (&["--ipc", "host"], "is not in memory"),
        (&["--ipc", "none"], "is not in memory"),
        (&["--user", "999"], "cannot be made"),
        (&["--user", "999:999", "--cap-drop", "ALL"], "cannot be made"),
        (&["--read-only"], "cannot be made: Read-only"),
        (&hardened, "cannot be made: Read-only"),
        (&["--user", "999", "-v", &theirs], "cannot be written to by user 999"),
        (&["--read-only", "-v", &theirs], "cannot be written to by user 0: Read-only"),
        (&["--tmpfs", "/run/secrets:ro,mode=0700"], "cannot be written to by user 0: Read-only"),
    ];
    for (options, about) in cases {
        let refused = ship.run(options, &["echo", "started"]);
        assert_eq!((refused.code(), refused.text()), (6, ""), "{options:?}: {refused}");
        assert!(refused.stderr.contains(about) && refused.stderr.lines().count() == 2, "{options:?}: {refused}");
        let tmpfs = line_to_add(&refused);
        let directory = format!("CHANDLERY_SECRETS_DIR={}", tmpfs.split(':').next().expect("a path"));
        let helped = [options, &["--tmpfs", &tmpfs, "-e", &directory]].concat();
        let helped = if options.contains(&"/run/secrets:ro,mode=0700") { helped[2..].to_vec() } else { helped };
        let output = ship.run(&helped, &["sh", "-c", "cat $FILE_PATH; stat -f -c %T $FILE_PATH"]);
        assert_eq!(output.text(), "xtmpfs\n", "{options:?}, with {tmpfs}: {output}");
    }
}

#[test]
fn a_user_without_rights_finds_room_in_shared_memory() {
    let Some(ship) = Ship::launch("a_user_without_rights_finds_room_in_shared_memory") else { return };
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let options = [&hardened[..], &["--user", "999", "-e", "CHANDLERY_SECRETS_DIR=/dev/shm/secrets"]].concat();
    let output = ship.run(&options, &["sh", "-c", "cat $FILE_PATH; stat -c %a /dev/shm/secrets"]);
    assert_eq!(output.text(), "x700\n", "{output}");
}

#[test]
fn memory_that_is_too_small_is_told_and_left_empty() {
    let Some(ship) = Ship::launch("memory_that_is_too_small_is_told_and_left_empty") else { return };
    ship.set("LARGE", &"y".repeat(300_000));
    for options in [&["--shm-size", "64k"][..], &["--tmpfs", "/run/secrets:size=64k,mode=0700"]] {
        let output = ship.script(options, &format!("$E -- true; echo $?; {LEFT}"));
        assert!(output.text().starts_with("6\n") && output.text().lines().count() == 2, "{output}");
        assert!(output.stderr.contains("is full") && output.stderr.contains("size=1m"), "{output}");
    }
}
