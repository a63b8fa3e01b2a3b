//! `--watch` as a container's first process, with the real server behind it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chandlery_tests::Run;
use chandlery_tests::docker::{self, docker};
use serde_json::json;

use super::{Container, PLACE, Ship};

/// Docker waits this long before it kills; whoever makes it wait that long did not pass the signal on.
const GRACE: &str = "60";
const MEMORY: [&str; 4] = ["--tmpfs", "/run/secrets:mode=0700", "--tmpfs", "/tmp"];
/// Says when it starts, and what it sees when it is told; ends as it is told.
const APP: &str = "trap 'echo hup $(cat /run/secrets/FILE)' HUP; trap 'exit 7' TERM; \
                   echo start $FLAG $(cat /run/secrets/FILE); case $FLAG in bad*) exit 3;; esac; \
                   while :; do sleep 0.1; done";

impl Ship {
    fn flag(&self, value: &str) {
        self.server.api().ok("PUT", "/v1/entries/ship/production/FLAG", Some(&json!({ "value": value })));
    }

    /// A container with a command that is watched.
    fn watch(&self, options: &[&str], arguments: &[&str], command: &[&str]) -> Container {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let container = Container(format!("chandlery-test-{}-watch-{number}", std::process::id()));
        let first = ["run", "-d", "--name", &container.0, "--entrypoint", "/chandlery-entrypoint"];
        let command = [&["--watch"], arguments, &["--"], command].concat();
        self.docker(&first, &[&MEMORY[..], options].concat(), &command).ok();
        container
    }

    fn watch_app(&self, options: &[&str], arguments: &[&str]) -> Container {
        let container = self.watch(options, arguments, &["sh", "-c", APP]);
        container.until("start blue peter x");
        container
    }
}

impl Container {
    /// Waits until the app or the entrypoint has said this.
    #[track_caller]
    fn until(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !docker::logs(&self.0).contains(line) {
            assert!(Instant::now() < deadline, "{line:?} is not in: {}", docker::logs(&self.0));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it, and says with which code it ended.
    fn stop(&self) -> i32 {
        docker(&["stop", "-t", GRACE, &self.0]).ok();
        self.code()
    }

    /// Waits for its end, and says with which code.
    fn code(&self) -> i32 {
        docker(&["wait", &self.0]).ok().text().trim().parse().expect("a code")
    }

    fn starts(&self) -> usize {
        docker::logs(&self.0).matches("start ").count()
    }
}

#[test]
fn a_change_switches_the_files_and_signals_the_app() {
    let Some(ship) = Ship::launch("a_change_switches_the_files_and_signals_the_app") else { return };
    let container = ship.watch_app(&[], &["--on-change", "signal:HUP"]);
    for value in ["y", "z"] {
        ship.set("FILE", value);
        container.until(&format!("hup {value}"));
    }
    assert_eq!(container.sh("cat /run/secrets/FILE").text(), "z");
    let processes = container.sh("tr '\\0' ' ' < /proc/1/cmdline; for p in /proc/[0-9]*; do cat $p/environ; done");
    assert!(processes.text().starts_with("/chandlery-entrypoint --watch"), "{processes}");
    // The first process keeps its token to itself: who is not dumpable has files in /proc that root alone may read.
    let app = "read app rest < /proc/1/task/1/children; tr '\\0' '\\n' < /proc/$app/environ; echo $(ls /proc/$app/fd)";
    let app = container.sh(app);
    assert!(app.text().contains("FLAG=blue peter\n") && app.text().ends_with("\n0 1 2\n"), "{app}");
    assert!(!app.text().contains("CHANDLERY_") && !app.text().contains(&ship.token), "{app}");
    // Every thread holds every signal back, or one of them would take what is the app's: all 64 but KILL and STOP.
    let masks = container.sh("cat /proc/1/task/*/status | grep SigBlk | sort -u");
    assert_eq!(masks.text(), "SigBlk:\tfffffffffffbfeff\n", "{masks}");
    let health = container.sh("/chandlery-entrypoint env -- sh -c 'echo $FLAG'");
    assert_eq!(health.text(), "blue peter\n", "{health}");
    assert_eq!(container.stop(), 7);
}

#[test]
fn a_restart_has_the_new_values_and_what_fails_has_the_old_ones_back() {
    let Some(ship) = Ship::launch("a_restart_has_the_new_values_and_what_fails_has_the_old_ones_back") else { return };
    let container = ship.watch_app(&[], &["--on-change", "restart", "--health-timeout", "500ms"]);
    // It is adopted by process 1, and older than the app that comes next.
    container.sh("sleep 300 >/dev/null 2>&1 & exit 0");
    ship.flag("union jack");
    container.until("start union jack x");
    container.until("the app runs with revision");
    ship.flag("bad flag");
    container.until("is not used: with it the app ended with 3; the app keeps");
    assert_eq!(container.sh("/chandlery-entrypoint env -- sh -c 'echo $FLAG'").text(), "union jack\n");
    assert_eq!(container.starts(), 4, "{}", docker::logs(&container.0));
    assert_eq!(container.stop(), 7);

    ship.flag("blue peter");
    let listening = "nc -l -p 9000 -e true; while :; do sleep 1; done";
    let restart = ["--on-change", "restart", "--stop-timeout", "1s"];
    let health = [&restart[..], &["--health", "tcp://127.0.0.1:9000", "--health-timeout", "3s"]].concat();
    let app = format!("echo start $FLAG; trap 'exit 7' TERM; case $FLAG in deaf) sleep 100 & wait;; esac; {listening}");
    let container = ship.watch(&[], &health, &["sh", "-c", &app]);
    container.until("start blue peter");
    ship.flag("jolly roger");
    container.until("the app runs with revision");
    ship.flag("deaf");
    container.until(
        "is not used: with it tcp://127.0.0.1:9000 was not ready within 3.0 s: connection refused; the app keeps",
    );
}

#[test]
fn a_splay_makes_one_restart_of_several_writes() {
    let Some(ship) = Ship::launch("a_splay_makes_one_restart_of_several_writes") else { return };
    let container = ship.watch_app(&[], &["--on-change", "restart", "--splay", "1h", "--health-timeout", "200ms"]);
    for value in ["one", "two", "blue peter"] {
        ship.flag(value);
    }
    container.until("comes in");
    assert_eq!(container.starts(), 1);
    assert_eq!(container.stop(), 7, "a change that waits keeps nobody waiting");
}

#[test]
fn its_end_is_the_app_s_end() {
    let Some(ship) = Ship::launch("its_end_is_the_app_s_end") else { return };
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        for options in [&[][..], &["--init"]] {
            assert_eq!(ship.watch(options, &[], &["sh", "-c", script]).code(), code, "{script} {options:?}");
        }
    }
    let missing = ship.watch(&[], &[], &["no-such-command"]);
    assert_eq!(missing.code(), 127);
    let shell = ship.watch(&["--tmpfs", "/bin"], &["--on-change", "exec:true"], &["/chandlery-entrypoint"]);
    assert_eq!(shell.code(), 2);
    shell.until("CHANDLERY_ON_CHANGE=exec: needs /bin/sh, and this image has none");
}

#[test]
fn it_stops_at_once_in_every_phase() {
    let Some(ship) = Ship::launch("it_stops_at_once_in_every_phase") else { return };
    let command = "exec:echo command runs; exec sleep 300";
    for (arguments, line) in [
        (&["--on-change", "restart", "--splay", "1h"][..], "comes in"),
        (&["--on-change", "restart", "--health-timeout", "1h"], "start two x"),
        (&["--on-change", command], "command runs"),
    ] {
        let container = ship.watch_app(&[], arguments);
        ship.flag("two");
        container.until(line);
        assert_eq!(container.stop(), 7, "{arguments:?}: {}", docker::logs(&container.0));
        ship.flag("blue peter");
    }
    // An app that does not end: Docker kills both.
    let stubborn = ship.watch(&[], &[], &["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]);
    stubborn.until("up");
    docker(&["stop", "-t", "1", &stubborn.0]).ok();
    assert_eq!(stubborn.code(), 137);
}

#[test]
fn orphans_do_not_become_zombies() {
    let Some(ship) = Ship::launch("orphans_do_not_become_zombies") else { return };
    let script = "for i in $(seq 200); do (sleep 0.1 &); done; echo started; while :; do sleep 0.1; done";
    for options in [&[][..], &["--init"]] {
        let container = ship.watch(options, &[], &["sh", "-c", script]);
        container.until("started");
        let count = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l; ps -o args | grep -c '^sleep'";
        let deadline = Instant::now() + Duration::from_secs(30);
        // The app's own sleep, and none beside it.
        while !matches!(container.sh(count).text(), "0\n1\n" | "0\n0\n") {
            assert!(Instant::now() < deadline, "{}", container.sh("ps -o pid,ppid,stat,args"));
        }
        docker(&["kill", &container.0]).ok();
    }
}

#[test]
fn every_signal_reaches_the_app() {
    // Held back and waited for: a handler of Python's runs late where the signal comes just before the pause.
    const NOTE: &str = "import os, signal\n\
                        every = signal.valid_signals() - {9, 17, 19}\n\
                        signal.pthread_sigmask(signal.SIG_BLOCK, every)\n\
                        os.write(1, b'ready\\n')\n\
                        while True: os.write(1, f'got {int(signal.sigwait(every))}\\n'.encode())";
    let Some(ship) = Ship::launch("every_signal_reaches_the_app") else { return };
    let python = Ship { images: ship.images.clone(), ..ship };
    let mut images = python.images.clone();
    images.shell.clone_from(&images.python);
    let ship = Ship { images, ..python };
    let container = ship.watch(&[], &[], &["python3", "-c", NOTE]);
    container.until("ready\n");
    for number in (1..=64).filter(|number| ![9, 17, 19, 32, 33].contains(number)) {
        docker(&["kill", "-s", &number.to_string(), &container.0]).ok();
        container.until(&format!("got {number}\n"));
    }
    assert_eq!(docker::logs(&container.0).matches("got ").count(), 59);
}

#[test]
fn a_server_that_is_restarted_is_followed_and_one_that_says_no_ends_nothing() {
    let test = "a_server_that_is_restarted_is_followed_and_one_that_says_no_ends_nothing";
    let Some(mut ship) = Ship::launch(test) else { return };
    let container = ship.watch_app(&[], &["--on-change", "signal:HUP"]);
    ship.server.kill9();
    ship.server.restart();
    ship.set("FILE", "y");
    container.until("hup y");

    let request = PLACE.token_request(&[chandlery_wire::Verb::ReadBundle]);
    let api = ship.server.api();
    let created = api.ok("POST", "/v1/tokens", Some(&request));
    ship.token = created["token"].as_str().expect("a token has a text").to_owned();
    let revoked = ship.watch(&[], &["--on-change", "signal:HUP"], &["sh", "-c", APP]);
    revoked.until("start blue peter y");
    api.ok("DELETE", &format!("/v1/tokens/{}", created["info"]["id"].as_str().expect("an id")), None);
    ship.set("FILE", "z");
    container.until("hup z");
    revoked.until("; the app keeps what it has");
    assert_eq!(revoked.sh("cat /run/secrets/FILE").text(), "y");
    for container in [container, revoked] {
        assert_eq!(container.stop(), 7);
    }
}

#[test]
fn the_app_is_another_user_and_the_files_are_switched_all_the_same() {
    let Some(ship) = Ship::launch("the_app_is_another_user_and_the_files_are_switched_all_the_same") else { return };
    let command = "exec:echo command $(id -u) $(cat /run/secrets/FILE)";
    for (options, user) in [
        (&[][..], &["--user", "65534"][..]),
        (&["--user", "65534", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"], &[]),
    ] {
        let tmpfs: &[&str] = if user.is_empty() { &["--tmpfs", "/run/secrets:mode=0700,uid=65534"] } else { &[] };
        let arguments = [user, &["--on-change", command]].concat();
        ship.set("FILE", "x");
        let container = ship.watch(&[options, tmpfs].concat(), &arguments, &["sh", "-c", APP]);
        container.until("start blue peter x");
        ship.set("FILE", "y");
        container.until("command 65534 y");
        assert_eq!(container.stop(), 7);
    }
}

#[test]
fn control_c_on_a_container_s_terminal_reaches_the_app_once() {
    let Some(ship) = Ship::launch("control_c_on_a_container_s_terminal_reaches_the_app_once") else { return };
    const TYPE: &str = "import os, pty, sys, time\n\
                        child, terminal = pty.fork()\n\
                        if child == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
                        seen = b''\n\
                        def until(text):\n\
                        \x20   global seen\n\
                        \x20   while text not in seen: seen += os.read(terminal, 4096)\n\
                        until(b'up')\n\
                        os.write(terminal, b'\\x03')\n\
                        until(b'interrupted')\n\
                        time.sleep(0.5)\n\
                        os.write(terminal, b'end\\n')\n\
                        try:\n\
                        \x20   while True: seen += os.read(terminal, 4096)\n\
                        except OSError: pass\n\
                        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n\
                        print(code, seen.count(b'interrupted'))";
    let app = "trap 'echo interrupted' INT; echo up; until read line; do :; done; exit 5";
    let name = format!("chandlery-test-{}-terminal", std::process::id());
    let first = ["run", "-it", "--name", &name, "--entrypoint", "/chandlery-entrypoint"];
    let _container = Container(name.clone());
    let common = ship.common();
    let common: Vec<&str> = common.iter().map(String::as_str).collect();
    let image = [ship.images.shell.as_str(), "--watch", "--", "sh", "-c", app];
    let run = Run::new("/usr/bin/env").args(["python3", "-c", TYPE, "docker"]);
    let output = run.args([&first[..], &common, &MEMORY, &image].concat()).env("TERM", "xterm").output();
    assert_eq!(output.text(), "5 1\n", "{output}");
}
