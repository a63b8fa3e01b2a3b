//! SIGTERM and SIGINT end a start at once, in every phase, also as PID 1.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Answer, Server, Start, bundle, ended, is_root, ok};

pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(status.success());
}

/// A start that is stuck in a phase: the name of the phase, the start, and what keeps it there.
fn stuck_starts() -> Vec<(&'static str, Start, Server)> {
    let silent = Server::unix(vec![Answer::Silence]);
    let fetching = Start::at(&silent.address).env("CHANDLERY_TIMEOUT", "1m");
    let broken = Server::unix(vec![crate::support::json("500 Internal Server Error", b"")]);
    let retrying = Start::at(&broken.address).env("CHANDLERY_TIMEOUT", "1m");
    let good = Server::unix(vec![ok(&bundle())]);
    let waiting = Start::at(&good.address).env("WAIT_HOSTS", "127.0.0.1:1").env("WAIT_TIMEOUT", "1m");
    vec![("fetching", fetching, silent), ("retrying", retrying, broken), ("waiting", waiting, good)]
}

/// Until the server has seen the start, so that the signal finds it in its phase.
fn until_seen(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.requests().is_empty() {
        assert!(Instant::now() < deadline, "the start never came to the server");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(100));
}

fn ends_at_once(child: Child, code: i32, phase: &str) {
    let begin = Instant::now();
    let ended = ended(child);
    assert_eq!(ended.code, code, "{phase}: {}", ended.stderr);
    assert!(begin.elapsed() < Duration::from_secs(5), "{phase}: it took {:?}", begin.elapsed());
}

#[test]
fn a_signal_ends_every_phase() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("QUIT", 131), ("HUP", 129)] {
        for watch in [&[][..], &["--watch"]] {
            for (phase, mut start, server) in stuck_starts() {
                start.command.args(watch).args(["--", "/bin/sh", "-c", "echo ran"]);
                let child = start.command.spawn().unwrap();
                until_seen(&server);
                signal(child.id(), name);
                ends_at_once(child, code, phase);
            }
        }
    }
}

#[test]
fn a_signal_ends_every_phase_of_pid_1() {
    let unshare = |command: &mut Command| {
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).stderr(Stdio::null()).arg("true").status()
    };
    if !is_root() || !unshare(&mut Command::new("unshare")).is_ok_and(|status| status.success()) {
        println!("skipped: no new PID namespace can be made here");
        return;
    }
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        for (phase, start, server) in stuck_starts() {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(start.command.get_program());
            command.args(["--", "/bin/sh", "-c", "echo ran"]);
            command.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            until_seen(&server);
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let inner: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
            signal(inner, name);
            ends_at_once(child, code, phase);
        }
    }
}

#[test]
fn a_signal_that_was_blocked_or_ignored_ends_it_all_the_same() {
    // A shell's `trap ''` ignores a signal in what it executes.
    let (_, start, server) = stuck_starts().remove(0);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' TERM; exec \"$0\" -- /bin/true"]).arg(start.command.get_program());
    command.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until_seen(&server);
    signal(child.id(), "TERM");
    ends_at_once(child, 143, "ignored");
}

#[test]
fn the_app_gets_the_signal_once_it_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::unix(vec![ok(&bundle())]);
    let mut start = Start::at(&server.address).env("WAIT_HOSTS", listener.local_addr().unwrap().to_string());
    start.command.args([
        "--",
        "/bin/sh",
        "-c",
        "trap 'echo got it; exit 7' TERM; echo up; while :; do sleep 0.05; done",
    ]);
    let child = start.command.spawn().unwrap();
    until_seen(&server);
    thread::sleep(Duration::from_millis(300));
    signal(child.id(), "TERM");
    let ended = ended(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, "up\ngot it\n"), "{}", ended.stderr);
}
