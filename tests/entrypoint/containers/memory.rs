//! Where the files are when nobody prepared a place for them, and what is around them.

use super::*;

const LINKED: &str = "x\n755 0:0\n400 0:0\ntmpfs\n";

#[test]
fn a_container_that_nobody_prepared_gets_links_to_its_own_shared_memory() {
    let Some(ship) = Ship::launch("a_container_that_nobody_prepared_gets_links_to_its_own_shared_memory") else {
        return;
    };
    let more = "; ls -A /run/secrets; stat -c %a /dev/shm/*; readlink /run/secrets/..data | sed 's/-[0-9a-f]*/-R/'";
    let output = ship.run(&[], &["sh", "-c", &format!("{SHOW}{more}")]);
    let all = "x\n700 0:0\n400 0:0\ntmpfs\n..data\nFILE\n700\n/dev/shm/chandlery-R/..set-1\n";
    assert_eq!(output.text(), all, "{output}");
    assert!(output.stderr.is_empty(), "{output}");
    let verbose = ship.run(&["-e", "CHANDLERY_VERBOSE=1"], &["true"]);
    assert!(verbose.stderr.contains("as links to /dev/shm/chandlery-"), "{verbose}");
}

#[test]
fn the_links_of_a_container_that_restarts_are_replaced() {
    let Some(ship) = Ship::launch("the_links_of_a_container_that_restarts_are_replaced") else { return };
    ship.set("GONE", "y");
    let container = ship.stay(&[]);
    assert_eq!(container.sh("ls /run/secrets; cat /run/secrets/GONE").text(), "FILE\nGONE\ny");
    ship.server.api().ok("DELETE", "/v1/entries/ship/production/GONE", None);
    container.restart();
    let shown = container.sh(&format!("{SHOW}; ls /run/secrets; ls /dev/shm | wc -l"));
    assert_eq!(shown.text(), "x\n700 0:0\n400 0:0\ntmpfs\nFILE\n1\n", "{shown}");
}

#[test]
fn a_container_that_may_mount_gets_a_tmpfs_and_the_host_none() {
    let Some(ship) = Ship::launch("a_container_that_may_mount_gets_a_tmpfs_and_the_host_none") else { return };
    let admin = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    let host = TempDir::new().expect("a temporary folder");
    let bind = format!("{}:/run/secrets", host.path().display());
    for options in [admin.to_vec(), [&admin[..], &["-v", &bind]].concat()] {
        let container = ship.stay(&options);
        for _ in 0..2 {
            let more =
                "grep /run/secrets /proc/mounts | tail -n 1 | grep -c '^tmpfs.*nosuid,nodev,noexec'; ls /dev/shm";
            let shown = container.sh(&format!("{SHOW}; {more}"));
            assert_eq!(shown.text(), "x\n700 0:0\n400 0:0\ntmpfs\n1\n", "{shown}");
            assert_eq!(fs::read_dir(host.path()).expect("the folder is there").count(), 0);
            container.restart();
        }
    }
}

#[test]
fn secrets_of_docker_s_own_stay_where_they_are() {
    let Some(ship) = Ship::launch("secrets_of_docker_s_own_stay_where_they_are") else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let theirs = format!("{}:/run/secrets/theirs:ro", host_file(folder.path(), "theirs", "t"));
    let admin = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    let tmpfs = ["--tmpfs", "/run/secrets:mode=0755,size=1m"];
    for more in [&[][..], &admin, &tmpfs] {
        let options = [&["-v", &theirs], more].concat();
        // Somebody else than root reads it as before, too.
        let script = format!("{SHOW}; cat /run/secrets/theirs; su nobody -c 'cat /run/secrets/theirs'");
        let output = ship.run(&options, &["sh", "-c", &script]);
        assert_eq!(output.text(), format!("{LINKED}tt"), "{more:?}: {output}");
    }

    let same = format!("{}:/run/secrets/FILE:ro", host_file(folder.path(), "FILE", "t"));
    for more in [&[][..], &admin, &tmpfs] {
        let output = ship.run(&[&["-v", &same], more].concat(), &["echo", "started"]);
        assert_eq!((output.code(), output.text()), (6, ""), "{output}");
        assert!(output.stderr.contains("a mount is in the way at /run/secrets/FILE"), "{output}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("FILE")).expect("the host's file is there"), "t");
}

#[test]
fn a_mode_that_a_restart_lost_is_mended() {
    let Some(ship) = Ship::launch("a_mode_that_a_restart_lost_is_mended") else { return };
    let container = ship.stay(&["--tmpfs", "/run/secrets:mode=0700,size=1m"]);
    for _ in 0..2 {
        let shown = container.sh(SHOW);
        assert_eq!(shown.text(), "x\n700 0:0\n400 0:0\ntmpfs\n", "{shown}");
        container.restart();
    }
}

#[test]
fn a_disk_is_used_only_when_it_is_allowed() {
    let Some(ship) = Ship::launch("a_disk_is_used_only_when_it_is_allowed") else { return };
    let output = ship.run(&["-e", "CHANDLERY_ALLOW_DISK=1", "--ipc", "none"], &["sh", "-c", "cat /run/secrets/FILE"]);
    assert_eq!(output.text(), "x", "{output}");
    assert!(output.stderr.contains("secrets are on a disk"), "{output}");
}
