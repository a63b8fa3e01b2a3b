//! Containers that may nothing, and starts that leave nothing.

use super::*;

#[test]
fn a_container_that_may_nothing_starts() {
    let Some(ship) = Ship::launch("a_container_that_may_nothing_starts") else { return };
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let show = "id -u; cat /run/secrets/FILE; echo; echo $FLAG; env | grep -c CHANDLERY_";
    for user in ["0", "65534"] {
        let tmpfs = format!("/run/secrets:mode=0700,size=1m,uid={user},gid={user}");
        let options = [&hardened[..], &["--user", user, "--tmpfs", &tmpfs]].concat();
        let output = ship.run(&options, &["sh", "-c", show]);
        // grep -c says 0, and ends with 1 because of it.
        assert_eq!(output.text(), format!("{user}\nx\nblue peter\n0\n"), "{output}");
    }
}

#[test]
fn as_process_one_it_stops_at_once_while_it_waits() {
    let Some(ship) = Ship::launch("as_process_one_it_stops_at_once_while_it_waits") else { return };
    let name = format!("chandlery-test-{}-waits", std::process::id());
    let options = ["--name", &name, "--tmpfs", "/run/secrets:mode=0700", "-e", "WAIT_HOSTS=127.0.0.1:9"];
    let waiting = [&options[..], &["-e", "WAIT_TIMEOUT=300"]].concat();
    let output = std::thread::scope(|scope| {
        let container = scope.spawn(|| ship.run(&waiting, &["echo", "started"]));
        while docker(&["exec", &name, "cat", "/run/secrets/FILE"]).output().code() != 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        // With a handler it ends by the signal; without one docker kills it after ten seconds, which is 137.
        docker(&["stop", &name]).ok();
        container.join().expect("docker run ends")
    });
    assert_eq!(output.code(), 143, "{output}");
}

/// Each way to memory: Docker's options, and how many mounts there are without us.
const WAYS: [(&[&str], &str); 4] = [
    (&[], "0"),
    (&["--tmpfs", "/run/secrets:mode=0700,size=1m"], "1"),
    (&["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"], "0"),
    (&["-e", "CHANDLERY_WATCH=1"], "0"),
];

#[test]
fn a_start_that_fails_leaves_nothing() {
    let Some(ship) = Ship::launch("a_start_that_fails_leaves_nothing") else { return };
    for (options, mounts) in WAYS {
        for more in ["", "--user mysql"] {
            let output = ship.script(options, &format!("$E {more} -- /nowhere; echo $?; {LEFT}; ls /run"));
            let run = if mounts == "1" { "secrets\n" } else { "" };
            assert_eq!(output.text(), format!("127\n{mounts}\n{run}"), "{options:?} {more}: {output}");
        }
    }
}

#[test]
fn a_signal_takes_the_files_away_and_a_kill_leaves_them_to_the_next_start() {
    let Some(ship) = Ship::launch("a_signal_takes_the_files_away_and_a_kill_leaves_them_to_the_next_start") else {
        return;
    };
    ship.set("SECOND", "y");
    let waiting = "export WAIT_HOSTS=127.0.0.1:9 WAIT_TIMEOUT=60; go() { $E -- true & \
                   while ! cat /run/secrets/SECOND >/dev/null 2>&1; do sleep 0.1; done; sleep 0.2; kill -$1 $!; wait $!; \
                   echo $?; }";
    for (options, mounts) in WAYS {
        let output =
            ship.script(options, &format!("{waiting}; go TERM 2>/dev/null; {LEFT}; go INT 2>/dev/null; {LEFT}"));
        // A shell ignores INT in what it starts behind its back; the entrypoint does not.
        assert_eq!(output.text(), format!("143\n{mounts}\n130\n{mounts}\n"), "{options:?}: {output}");

        let after = "unset WAIT_HOSTS; $E -- sh -c 'ls /run/secrets; ls /dev/shm /dev/shm/*/..set-* | grep -c FILE'";
        let output = ship.script(options, &format!("{waiting}; go KILL 2>/dev/null; go KILL 2>/dev/null; {after}"));
        let homes = if options.is_empty() || options.contains(&"CHANDLERY_WATCH=1") { 1 } else { 0 };
        assert_eq!(output.text(), format!("137\n137\nFILE\nSECOND\n{homes}\n"), "{options:?}: {output}");
    }
}
