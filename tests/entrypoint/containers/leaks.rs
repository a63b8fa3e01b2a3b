//! What the app must not get: nothing of the entrypoint but the environment.

use super::Ship;

/// Each is printed by the app itself, about itself.
const LOOK: &str = "tr '\\0' '\\n' </proc/self/environ | grep -c -e CHANDLERY_ -e chd_; \
                    ls /proc/self/fd | tr '\\n' ' '; echo; \
                    grep -E '^(SigBlk|SigIgn|SigCgt|Threads)' /proc/self/status; \
                    grep 'core file' /proc/self/limits; ls -A /run/secrets | tr '\\n' ' '";

#[test]
fn the_app_in_a_container_starts_as_if_docker_had_started_it() {
    let Some(ship) = Ship::launch("the_app_in_a_container_starts_as_if_docker_had_started_it") else { return };
    let tmpfs = ["--tmpfs", "/run/secrets:mode=0711"];
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--ulimit", "core=7:9"];
    for options in [
        &tmpfs[..],
        &[&tmpfs[..], &["--init"]].concat(),
        &[&tmpfs[..], &hardened].concat(),
        &[&tmpfs[..], &["-e", "CHANDLERY_USER=999"]].concat(),
        &[&tmpfs[..], &["-e", "CHANDLERY_VERBOSE=1", "-e", "CHANDLERY_CACHE=/run/secrets/copies"]].concat(),
    ] {
        // `cat` and not the shell looks at the signals: a shell handles some itself.
        let ours = ship.run(options, &["sh", "-c", LOOK]);
        let lines: Vec<&str> = ours.text().lines().collect();
        // The last descriptor is the one that `ls` lists the directory with.
        assert_eq!(lines[..2], ["0", "0 1 2 3 "], "{options:?}: {ours}");
        let plain = ship.script(options, &LOOK.replace("grep -c -e CHANDLERY_ -e chd_", "grep -c nothing"));
        let plain: Vec<&str> = plain.text().lines().collect();
        assert_eq!(lines[1..7], plain[1..7], "{options:?}: {ours}");
        for line in &lines[3..6] {
            assert!(line.ends_with("\t0000000000000000"), "{options:?}: {line}");
        }
    }
}
