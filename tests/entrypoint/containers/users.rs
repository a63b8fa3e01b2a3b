//! `--user`, in an image whose /etc/passwd has root, mysql (999) and nobody.

use super::*;

/// Who the app is, what it may, where it lives, and what it can read.
const WHO: &str = "id -u; id -g; id -G; grep -h -E '^(Uid|Gid|Cap(Inh|Prm|Eff|Amb)):' /proc/self/status | tr -s '\\t' ' '; \
                   echo $HOME; cat /run/secrets/FILE && ls /run/secrets";

fn who(uid: u32, gid: u32, home: &str) -> String {
    let none = "0000000000000000";
    format!(
        "{uid}\n{gid}\n{gid}\nUid: {uid} {uid} {uid} {uid}\nGid: {gid} {gid} {gid} {gid}\nCapInh: {none}\nCapPrm: {none}\nCapEff: {none}\n\
         CapAmb: {none}\n{home}\nxFILE\n"
    )
}

#[test]
fn the_app_runs_as_another_user_for_good_and_reads_its_files() {
    let Some(ship) = Ship::launch("the_app_runs_as_another_user_for_good_and_reads_its_files") else { return };
    let cases = [
        ("mysql", who(999, 999, "/")),
        ("999", who(999, 999, "/")),
        ("mysql:nogroup", who(999, 65534, "/")),
        ("1234", who(1234, 1234, "/")),
        ("1234:5", who(1234, 5, "/")),
    ];
    let tmpfs = ["--tmpfs", "/run/secrets:mode=0700,size=1m"];
    let admin = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    for (user, expected) in cases {
        for way in [&[][..], &tmpfs, &admin] {
            let setting = format!("CHANDLERY_USER={user}");
            let options = [&["-e", &setting, "-e", "HOME=/root"], way].concat();
            let output = ship.run(&options, &["sh", "-c", WHO]);
            assert_eq!(output.text(), expected, "{user} {way:?}: {output}");
            let watched = ship.run(&[&options[..], &["-e", "CHANDLERY_WATCH=1"]].concat(), &["sh", "-c", WHO]);
            assert_eq!(watched.text(), expected, "watched, {user} {way:?}: {watched}");
            // The way back is closed, and so is the directory to everybody else.
            let output = ship.run(&options, &["sh", "-c", "stat -c '%a %u:%g' /run/secrets/; touch /run/secrets/new"]);
            assert!(output.code() != 0 && output.stderr.contains("Permission denied"), "{output}");
        }
    }
}

#[test]
fn home_can_be_kept() {
    let Some(ship) = Ship::launch("home_can_be_kept") else { return };
    let options = ["-e", "CHANDLERY_USER=mysql", "-e", "HOME=/data", "-e", "CHANDLERY_PRESERVE=HOME"];
    assert_eq!(ship.run(&options, &["sh", "-c", "echo $HOME"]).text(), "/data\n");
}

#[test]
fn a_user_that_cannot_be_is_an_error_before_anything_is_fetched() {
    let Some(ship) = Ship::launch("a_user_that_cannot_be_is_an_error_before_anything_is_fetched") else { return };
    let cases: [(&[&str], &str, &str); 5] = [
        (&[], "mysqll", "there is no user \"mysqll\""),
        (&[], "mysql:staff", "there is no group \"staff\""),
        (&[], "mysql:", "is not a user"),
        (&["--cap-drop", "ALL"], "mysql", "cap_add: [SETUID, SETGID, CHOWN]"),
        (&["--user", "999:999"], "nobody", "this process is user 999:999"),
    ];
    for (options, user, about) in cases {
        let setting = format!("CHANDLERY_USER={user}");
        let output = ship.run(&[options, &["-e", &setting]].concat(), &["echo", "started"]);
        assert_eq!((output.code(), output.text()), (2, ""), "{output}");
        assert!(output.stderr.contains(about) && output.stderr.lines().count() == 2, "{output}");
    }
    assert!(!ship.server.audit_file().contains("read-bundle"), "something was fetched");
}

#[test]
fn few_capabilities_are_enough_and_none_are_where_nothing_changes() {
    let Some(ship) = Ship::launch("few_capabilities_are_enough_and_none_are_where_nothing_changes") else { return };
    let few =
        ["--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--security-opt", "no-new-privileges"];
    let to_mysql = ["-e", "CHANDLERY_USER=mysql", "-e", "HOME=/root"];
    let enough = [&few[..], &["--cap-add", "CHOWN"], &to_mysql].concat();
    assert_eq!(ship.run(&enough, &["sh", "-c", WHO]).text(), who(999, 999, "/"));
    let output = ship.run(&[&few[..], &to_mysql].concat(), &["echo", "started"]);
    assert_eq!((output.code(), output.text()), (6, ""), "{output}");
    assert!(output.stderr.contains("cap_add: [CHOWN]"), "{output}");

    let output = ship.run(&[&enough[..], &["-e", "CHANDLERY_WATCH=1"]].concat(), &["echo", "started"]);
    assert_eq!((output.code(), output.text()), (2, ""), "{output}");
    assert!(output.stderr.contains("cap_add: [KILL]"), "{output}");
    let with_kill = [&enough[..], &["--cap-add", "KILL", "-e", "CHANDLERY_WATCH=1"]].concat();
    assert_eq!(ship.run(&with_kill, &["sh", "-c", WHO]).text(), who(999, 999, "/"));

    let already = ["--user", "999:999", "--cap-drop", "ALL", "--tmpfs", "/run/secrets:mode=0700,uid=999,gid=999"];
    let output = ship.run(&[&already[..], &to_mysql].concat(), &["sh", "-c", WHO]);
    assert_eq!(output.text(), who(999, 999, "/"), "{output}");
}
