//! What a change does to the app.

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use chandlery_wire::{Bundle, Value};

use super::{APP, Watched, watched};
use crate::live::Live;
use crate::support::{CANARY, Start, bundle, file, variable};

const FIRST: &str = "start db.eu.internal hunter2-canary";

fn host(bundle: &mut Bundle, value: &str) {
    bundle.variables[0].value = Value::new(value);
}

fn key(bundle: &mut Bundle, value: &str) {
    bundle.files[0].value = Value::new(format!("{CANARY}{value}"));
}

#[test]
fn files_are_switched_and_a_signal_is_sent() {
    let (live, app) = watched(&["--on-change", "signal:HUP"]);
    live.write(|bundle| key(bundle, "2"));
    assert_eq!(app.until_lines(2), [FIRST, "hup hunter2-canary2"]);
    live.write(|bundle| {
        host(bundle, "other.internal");
        bundle.files.push(file("zz_new", "x", 0o400));
        bundle.variables.push(variable("ZZ_OTHER", "x", true));
    });
    app.until_lines(3);
    assert_eq!(fs::read_to_string(app.secret("zz_new")).unwrap(), "x");
    live.write(|bundle| _ = bundle.files.pop());
    app.until_lines(4);
    assert!(!app.secret("zz_new").exists());
    let ended = app.stop();
    assert_eq!(ended.code, 9, "{}", ended.stderr);
    let text = ended.stderr;
    assert!(text.contains("revision 43: files tls_key; the app gets signal 1\n"), "{text}");
    let named = "revision 44: variables DB_HOST, ZZ_NEW_FILE, ZZ_OTHER; files zz_new; the app gets signal 1; the variables \
                 reach it when it is started again\n";
    assert!(text.contains(named), "{text}");
}

#[test]
fn without_anything_to_do_the_files_are_there_for_who_looks() {
    let (live, app) = watched(&[]);
    live.write(|bundle| key(bundle, "2"));
    while fs::read_to_string(app.secret("tls_key")).unwrap() != "hunter2-canary2" {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(app.lines(), [FIRST]);
    assert!(app.stop().stderr.contains("revision 43: files tls_key\n"));
}

#[test]
fn a_revision_that_changes_nothing_for_the_app_changes_nothing() {
    let (live, app) = watched(&["--on-change", "signal:HUP"]);
    live.write(|bundle| bundle.variables[0].origin.version += 1);
    live.until_asked(3);
    live.write(|bundle| key(bundle, "2"));
    app.until_lines(2);
    let ended = app.stop();
    assert!(!ended.stderr.contains("revision 43"), "{}", ended.stderr);
}

#[test]
fn a_preserved_variable_is_not_one_that_changed() {
    let live = Live::new(bundle());
    let app = Watched::start(&live, &["--on-change", "signal:HUP", "--preserve", "HOME", "--allow-name", "HOME"], APP);
    app.until_lines(1);
    live.write(|bundle| bundle.variables.push(variable("OTHER", "x", false)));
    app.until_lines(2);
    assert!(app.stop().stderr.contains("variables OTHER;"));
}

#[test]
fn a_restart_gives_the_app_its_new_environment() {
    let (live, app) = watched(&["--on-change", "restart", "--health-timeout", "200ms"]);
    live.write(|bundle| {
        host(bundle, "new.internal");
        key(bundle, "2");
    });
    assert_eq!(app.until_lines(2)[1], "start new.internal hunter2-canary2");
    let ended = app.stop();
    assert_eq!(ended.code, 9, "{}", ended.stderr);
}

#[test]
fn an_app_that_cannot_run_with_the_new_set_gets_the_old_one_back() {
    let (live, app) = watched(&["--on-change", "restart", "--health-timeout", "300ms"]);
    live.write(|bundle| {
        host(bundle, "bad.internal");
        key(bundle, "2");
    });
    assert_eq!(app.until_lines(3), [FIRST, "start bad.internal hunter2-canary2", FIRST]);
    assert_eq!(fs::read_to_string(app.secret("tls_key")).unwrap(), format!("{CANARY}\n"));
    // The same once more, at another revision: it is known.
    live.write(|bundle| bundle.variables[0].origin.version += 1);
    live.until_asked(4);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(app.lines().len(), 3);
    live.write(|bundle| host(bundle, "good.internal"));
    assert_eq!(app.until_lines(4)[3], "start good.internal hunter2-canary2");
    let text = app.stop().stderr;
    assert!(
        text.contains("revision 43 is not used: with it the app ended with 3; the app keeps revision 42"),
        "{text}"
    );
    assert!(text.contains("revision 44 is not used: it is what was given up before"), "{text}");
}

#[test]
fn a_command_that_is_gone_leaves_the_old_set_running() {
    let (live, app) = watched(&["--on-change", "restart", "--allow-name", "PATH", "--health-timeout", "100ms"]);
    // /bin/sh is there; what it needs to look for is not.
    live.write(|bundle| bundle.variables.push(variable("BIG", &"x".repeat(200_000), false)));
    live.until_asked(3);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(app.lines(), [FIRST]);
    let text = app.stop().stderr;
    assert!(text.contains("revision 43 is not used:") && text.contains("BIG: 200005 bytes"), "{text}");
}

#[test]
fn health_decides_about_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let health = format!("tcp://{}", listener.local_addr().unwrap());
    let (live, app) = watched(&["--on-change", "restart", "--health", &health, "--health-timeout", "2s"]);
    live.write(|bundle| host(bundle, "new.internal"));
    app.until_lines(2);
    // The new set is the app's when the probe has answered; the next change comes after that.
    let accepted = "the app runs with revision 43";
    drop(listener.accept().unwrap());
    drop(listener);
    live.write(|bundle| host(bundle, "newer.internal"));
    let lines = app.until_lines(4);
    assert_eq!(
        lines[1..],
        [1, 2, 1].map(|set| format!("start {} hunter2-canary", ["", "new.internal", "newer.internal"][set]))
    );
    let text = app.stop().stderr;
    assert!(text.contains(accepted), "{text}");
    assert!(text.contains("revision 44 is not used: with it tcp://127.0.0.1:"), "{text}");
    assert!(text.contains(" was not ready within 2.0 s: connection refused; the app keeps revision 43\n"), "{text}");
}

#[test]
fn a_command_is_run_with_the_new_environment_and_its_failure_brings_the_old_files_back() {
    let script = r#"exec:echo "$DB_HOST $(cat "$TLS_KEY_FILE") $(readlink /proc/self/fd/0) $(env | grep -c CHANDLERY_)" >> "$OUT"; case "$DB_HOST" in bad*) exit 4;; esac"#;
    let (live, app) = watched(&["--on-change", script]);
    live.write(|bundle| {
        host(bundle, "new.internal");
        key(bundle, "2");
    });
    assert_eq!(app.until_lines(2)[1], "new.internal hunter2-canary2 /dev/null 0");
    live.write(|bundle| {
        host(bundle, "bad.internal");
        key(bundle, "3");
    });
    app.until_lines(3);
    while fs::read_to_string(app.secret("tls_key")).unwrap() != "hunter2-canary2" {
        thread::sleep(Duration::from_millis(5));
    }
    let text = app.stop().stderr;
    assert!(text.contains("revision 44 is not used: its command ended with 4; the app keeps revision 43"), "{text}");
}

#[test]
fn within_the_splay_a_newer_bundle_replaces_an_older_one() {
    let (live, app) = watched(&["--on-change", "restart", "--splay", "3s", "--health-timeout", "100ms"]);
    live.write(|bundle| host(bundle, "one.internal"));
    live.until_asked(3);
    live.write(|bundle| host(bundle, "two.internal"));
    let lines = app.until_lines(2);
    let text = app.stop().stderr;
    // The first may have been due before the second was there: then both come, one after the other.
    let both = text.contains("revision 43: ");
    assert_eq!(lines[1].contains("one"), both, "{lines:?} {text}");
    assert!(both || text.matches("comes in").count() == 1, "the moment stays: {text}");
}

#[test]
fn a_change_that_is_taken_back_within_the_splay_is_none() {
    let (live, app) = watched(&["--on-change", "signal:HUP", "--splay", "1h"]);
    live.write(|bundle| host(bundle, "one.internal"));
    live.until_asked(3);
    live.write(|bundle| host(bundle, "db.eu.internal"));
    live.until_asked(4);
    assert_eq!(app.lines(), [FIRST]);
    assert_eq!(app.stop().stderr.matches("revision").count(), 1);
}

#[test]
fn settings_that_mean_nothing_are_errors() {
    let live = Live::new(bundle());
    for (arguments, about) in [
        (&["--on-change", "restart"][..], "CHANDLERY_ON_CHANGE is set, and nothing follows changes"),
        (&["--health", "tcp://127.0.0.1:1"], "CHANDLERY_HEALTH is set, and nothing follows changes"),
        (&["--watch", "--health", "tcp://127.0.0.1:1"], "CHANDLERY_HEALTH is set, and a change does not restart"),
        (
            &["--watch", "--on-change", "signal:HUP", "--stop-timeout", "1s"],
            "CHANDLERY_STOP_TIMEOUT is set, and a change",
        ),
        (&["--watch", "--on-change", "restart", "--health", "gopher://x"], "--health: "),
        (&["--watch", "--on-change", "signal:KILL"], "--on-change: "),
    ] {
        Start::at(&live.address).args(arguments).sh("echo ran").failed(2, about);
    }
    assert!(live.requests().is_empty());
}
