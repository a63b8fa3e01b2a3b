//! Progress on a terminal: a line for each dependency, rewritten in place.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::signals::signal;
use crate::support::{Ended, Server, Start, bundle, ended, ok};
use crate::waiting::free_port;

/// A start on a terminal of this width, made by `script`; what a person sees is on stdout.
fn on_terminal(start: &Start, term: &str, columns: u16) -> Command {
    let program = start.command.get_program().to_str().unwrap();
    let line = format!("stty cols {columns} rows 20 -onlcr; exec {program} -- /bin/echo up");
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", term).env("SHELL", "/bin/sh");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A start that waits for a port that opens a little later, and for one that is open.
fn start(term: &str, columns: u16) -> (Ended, String) {
    let (later, open) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let server = Server::unix(vec![ok(&bundle())]);
    let hosts = format!("{later},{}", open.local_addr().unwrap());
    let start = Start::at(&server.address).env("WAIT_HOSTS", hosts);
    let child = on_terminal(&start, term, columns).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    let _listener = TcpListener::bind(later).unwrap();
    (ended(child), later.to_string())
}

#[test]
fn lines_are_rewritten_in_place_and_stay_at_the_end() {
    let (ended, later) = start("xterm", 100);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    // Up by two lines and each of them anew, several times.
    assert!(ended.stdout.matches("\x1b[2A\r\x1b[2K").count() >= 3, "{:?}", ended.stdout);
    assert!(ended.stdout.contains("connection refused"), "{:?}", ended.stdout);
    let last = ended.stdout.rsplit("\x1b[2A").next().unwrap();
    let lines: Vec<&str> = last.lines().map(|line| line.trim_start_matches("\r\x1b[2K")).collect();
    assert!(lines[0].starts_with(&format!("  {later}")) && lines[0].ends_with(" s  ready"), "{last:?}");
    assert!(lines[1].ends_with(" s  ready"), "{last:?}");
    assert_eq!(lines[2].trim(), "up", "{last:?}");
}

#[test]
fn a_narrow_terminal_never_gets_a_line_that_wraps() {
    let (ended, _) = start("xterm", 30);
    let frames = ended.stdout.split("\x1b[2K").skip(1);
    for line in frames.map(|frame| frame.lines().next().unwrap_or_default()) {
        assert!(line.chars().count() < 30, "{line:?}");
    }
    assert!(ended.stdout.trim_end().ends_with("up"), "{:?}", ended.stdout);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let (ended, later) = start("dumb", 80);
    assert!(!ended.stdout.contains('\x1b'), "{:?}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{later}: connection refused (")), "{:?}", ended.stdout);
}

#[test]
fn a_signal_leaves_the_cursor_at_the_beginning_of_a_line() {
    let server = Server::unix(vec![ok(&bundle())]);
    let start = Start::at(&server.address).env("WAIT_HOSTS", free_port().to_string());
    let child = on_terminal(&start, "xterm", 80).spawn().unwrap();
    thread::sleep(Duration::from_millis(900));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    signal(children.trim().parse().unwrap(), "TERM");
    let ended = ended(child);
    assert_eq!(ended.code, 143, "{:?}", ended.stdout);
    assert!(ended.stdout.contains("\x1b[1A") && ended.stdout.ends_with('\n'), "{:?}", ended.stdout);
    assert!(!ended.stdout.contains("\x1b[?25l"), "the cursor is never hidden");
}
