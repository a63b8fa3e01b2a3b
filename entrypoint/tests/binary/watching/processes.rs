//! What a container's first process owes to all others.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use chandlery_wire::Value;

use super::{Watched, send, watched};
use crate::live::Live;
use crate::support::{CANARY, Start, bundle, ended, token};

/// Notes each signal in `$OUT`. They are held back and waited for: a handler of Python's runs late where the signal comes
/// just before the pause.
const NOTE_SIGNALS: &str = r#"
import os, signal
out = open(os.environ["OUT"], "a", buffering=1)
every = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, every)
out.write("ready\n")
while True:
    out.write(f"{int(signal.sigwait(every))}\n")
"#;

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn the_end_of_the_app_is_its_end() {
    let live = Live::new(bundle());
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -PIPE $$", 141),
        ("sleep 100 > /dev/null 2>&1 & exit 5", 5),
    ] {
        assert_eq!(Watched::start(&live, &[], script).ended().code, code, "{script}");
    }
    let mut start = Start::at(&live.address).args(&["--watch", "--", "no-such-command"]);
    start.run().failed(127, "\"no-such-command\" is not found");
    assert!(!start.scratch.secrets().join("tls_key").exists(), "a start that failed leaves no file");
}

#[test]
fn nothing_of_the_entrypoint_is_in_the_app() {
    let live = Live::new(bundle());
    let script =
        r#"for fd in /proc/self/fd/*; do echo "$(basename $fd)" >> "$OUT"; done; echo end >> "$OUT"; exec sleep 30"#;
    let app = Watched::start(&live, &[], script);
    let direct = Start::at("unix:///nowhere");
    let out = direct.scratch.path().join("out");
    let mut shell = std::process::Command::new("/bin/sh");
    assert!(
        shell
            .args(["-c", &script.replace("exec sleep 30", "exit 0")])
            .env("OUT", &out)
            .stdin(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let bare = fs::read_to_string(out).unwrap();
    let count = bare.lines().count();
    assert_eq!(app.until_lines(count).join("\n"), bare.trim());
    live.until_asked(2);
    let child = children(app.id())[0];
    while fs::read_to_string(format!("/proc/{child}/comm")).unwrap() != "sleep\n" {
        thread::sleep(Duration::from_millis(2));
    }
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(set)).unwrap();
        // 32 and 33 belong to the C library: glibc's posix_spawn, which starts the test's programs, ignores them.
        let signals = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap() & !(0b11 << 31);
        assert_eq!(signals, 0, "{line}");
    }
    let environ = String::from_utf8_lossy(&fs::read(format!("/proc/{child}/environ")).unwrap()).into_owned();
    assert!(!environ.contains("CHANDLERY_") && !environ.contains(token().expose_secret()));
    assert!(environ.contains(CANARY));
    let core = |process: &str| {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max core file size")).map(str::to_owned)
    };
    assert_eq!(core(&child.to_string()), core("self"));
    // Whoever is not dumpable has files in /proc that belong to root.
    let owner = |process: u32| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(format!("/proc/{process}/environ")).unwrap().uid()
    };
    assert_eq!(owner(app.id()), 0);
    app.signal("TERM");
    assert_eq!(app.ended().code, 143);
}

#[test]
fn every_signal_that_can_be_is_passed_on_once() {
    let live = Live::new(bundle());
    let start = Start::at(&live.address).args(&["--watch", "--", "python3", "-c", NOTE_SIGNALS]);
    let out = start.scratch.path().join("out");
    let mut start = start.env("OUT", &out);
    let child = start.command.spawn().unwrap();
    let app = Watched { child: Some(child), start };
    app.until_lines(1);
    // The C library keeps 32 and 33 for itself: Python can neither be told of them nor survive them.
    let all: Vec<i32> = (1..=64).filter(|number| ![9, 17, 19, 32, 33].contains(number)).collect();
    for (count, number) in all.iter().enumerate() {
        app.signal(&number.to_string());
        app.until_lines(count + 2);
    }
    let expected: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(app.lines()[1..], expected);
    app.signal("KILL");
}

#[test]
fn orphans_are_buried() {
    let live = Live::new(bundle());
    let script = r#"
        for i in $(seq 200); do (sleep 0.1 & ); done
        echo up >> "$OUT"
        while :; do sleep 0.02; done
    "#;
    let app = Watched::start(&live, &[], script);
    app.until_lines(1);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let children = children(app.id());
        if children.len() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{children:?}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(state(app.id()), Some('S'), "it waits, and does not spin");
    assert_eq!(app.stop().code, 143);
}

#[test]
fn a_restart_ends_what_is_left_of_the_app_and_kills_who_does_not_end() {
    let live = Live::new(bundle());
    let script = r#"
        echo "start $$" >> "$OUT"
        (trap '' TERM; echo "worker $(exec sh -c 'echo $PPID')" >> "$OUT"; while :; do sleep 0.05; done) > /dev/null 2>&1 &
        wait
    "#;
    let arguments = ["--on-change", "restart", "--stop-timeout", "500ms", "--health-timeout", "200ms"];
    let app = Watched::start(&live, &arguments, script);
    let lines = app.until_lines(2);
    let worker: u32 = lines.iter().find_map(|line| line.strip_prefix("worker ")).unwrap().parse().unwrap();
    live.until_asked(2);
    live.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
    let lines = app.until_lines(4);
    assert_eq!(state(worker), None, "the worker of the app before is gone");
    // The next one is nobody's once the app has ended.
    send(lines.iter().rev().find_map(|line| line.strip_prefix("worker ")).unwrap().parse().unwrap(), "KILL");
    let text = app.stop().stderr;
    assert!(text.contains("did not end within 0.5 s, and is killed"), "{text}");
}

#[test]
fn it_can_be_ended_in_the_middle_of_everything() {
    const STUBBORN: &str = r#"
        trap 'echo told >> "$OUT"; sleep 0.5; exit 9' TERM
        echo "start" >> "$OUT"; while :; do sleep 0.02; done
    "#;
    let live = || {
        let live = Live::new(bundle());
        (live.address.clone(), live)
    };
    // While the app is being stopped for a restart.
    let (_, server) = live();
    let app = Watched::start(&server, &["--on-change", "restart"], STUBBORN);
    app.until_lines(1);
    server.until_asked(2);
    server.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
    app.until_lines(2);
    let ended = app.stop();
    assert_eq!(ended.code, 9, "{}", ended.stderr);

    // While the new app is on trial: it ends as told, and the old set does not come back.
    let (_, server) = live();
    let app = Watched::start(&server, &["--on-change", "restart", "--health-timeout", "1m"], STUBBORN);
    app.until_lines(1);
    server.until_asked(2);
    server.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
    app.until_lines(3);
    let ended = app.stop();
    assert_eq!((ended.code, ended.stderr.contains("not used")), (9, false), "{}", ended.stderr);

    // While a change waits for its moment.
    let (_, server) = live();
    let app = Watched::start(&server, &["--on-change", "restart", "--splay", "1h"], STUBBORN);
    app.until_lines(1);
    server.until_asked(2);
    server.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
    server.until_asked(3);
    assert_eq!(app.stop().code, 9);

    // While a command runs; and a change that comes when the app was told to end does nothing.
    let (_, server) = live();
    let app = Watched::start(
        &server,
        &["--on-change", "exec:echo command >> \"$OUT\"; exec sleep 100 > /dev/null 2>&1"],
        STUBBORN,
    );
    app.until_lines(1);
    server.until_asked(2);
    server.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
    app.until_lines(2);
    app.signal("TERM");
    app.until_lines(3);
    server.write(|bundle| bundle.variables[0].value = Value::new("newer.internal"));
    let ended = app.ended();
    assert_eq!((ended.code, ended.stderr.contains("revision 44")), (9, false), "{}", ended.stderr);
}

#[test]
fn an_app_that_ends_by_itself_while_a_command_runs_or_a_change_waits_ends_it() {
    for on_change in
        [&["--on-change", "exec:exec sleep 100 > /dev/null 2>&1"][..], &["--on-change", "restart", "--splay", "1h"]]
    {
        let (live, app) = watched(on_change);
        live.write(|bundle| bundle.variables[0].value = Value::new("new.internal"));
        live.until_asked(3);
        thread::sleep(Duration::from_millis(100));
        send(children(app.id())[0], "KILL");
        assert_eq!(app.ended().code, 137);
    }
}

#[test]
fn an_app_loses_its_supervisor_and_is_told_to_end() {
    let (_live, mut app) = watched(&[]);
    let child = children(app.id())[0];
    app.signal("KILL");
    app.child.take().unwrap().wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while state(child).is_some_and(|state| state != 'Z') {
        assert!(Instant::now() < deadline, "the app is still there");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_parent_that_ignores_or_blocks_signals_makes_no_difference() {
    let live = Live::new(bundle());
    let start = Start::at(&live.address);
    let mut command = std::process::Command::new("python3");
    command.args([
        "-c",
        "import os, signal, sys\n\
         signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n\
         os.execv(sys.argv[1], sys.argv[1:])",
    ]);
    command.arg(start.command.get_program()).args(["--watch", "--", "/bin/sh", "-c", "kill -TERM $$; exit 3"]);
    command.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(ended(command.spawn().unwrap()).code, 143);
}
