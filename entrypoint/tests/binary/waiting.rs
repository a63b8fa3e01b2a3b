//! WAIT_HOSTS.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Server, Start, bundle, ended, ok, variable};

/// A port on which nobody listens, for as long as the listener that held it is gone.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A listener whose queue of new connections is full: the kernel drops every further SYN.
pub(crate) fn silent_port() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // std asks for a queue of 128 or more; it takes that many connections to fill it.
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 10_000, "the queue does not fill");
    }
    (listener, held)
}

fn start(hosts: &str) -> (Server, Start) {
    let server = Server::unix(vec![ok(&bundle())]);
    let start = Start::at(&server.address).env("WAIT_HOSTS", hosts);
    (server, start)
}

#[test]
fn a_port_that_opens_later_is_found() {
    let address = free_port();
    let (_server, mut start) = start(&address.to_string());
    start.command.args(["--", "/bin/sh", "-c", "echo up"]);
    let child = start.command.spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let _listener = TcpListener::bind(address).unwrap();
    let ended = ended(child);
    assert_eq!(ended.stdout, "up\n", "{}", ended.stderr);
    assert!(ended.stderr.contains("connection refused") && ended.stderr.contains("ready"), "{}", ended.stderr);
}

#[test]
fn several_hosts_are_waited_for_at_once_and_each_is_named() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = open.local_addr().unwrap().to_string();
    let closed = free_port().to_string();
    let (_listener, _held) = silent_port();
    let silent = _listener.local_addr().unwrap().to_string();
    let hosts = format!("{open}, {closed}, {silent}, no-such-name.invalid:80");
    let (_server, start) = start(&hosts);
    let begin = Instant::now();
    let ended = start.env("WAIT_TIMEOUT", "1500ms").sh("echo ran");
    ended.failed(124, "not ready within 1.5 s");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let faults: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("    ")).collect();
    assert_eq!(faults.len(), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("    {closed}: connection refused")), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("    {silent}: it is silent")), "{}", ended.stderr);
    assert!(ended.stderr.contains("    no-such-name.invalid:80: "), "{}", ended.stderr);
}

#[test]
fn a_silent_port_that_speaks_again_is_found() {
    let (listener, held) = silent_port();
    let (_server, mut start) = start(&listener.local_addr().unwrap().to_string());
    start.command.args(["--", "/bin/sh", "-c", "echo up"]);
    let child = start.command.spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    for _ in 0..held.len() {
        drop(listener.accept().unwrap());
    }
    assert_eq!(ended(child).stdout, "up\n");
}

#[test]
fn hosts_may_come_from_the_bundle() {
    let mut bundle = bundle();
    bundle.variables.push(variable("WAIT_HOSTS", "127.0.0.1:1", false));
    bundle.variables.push(variable("WAIT_TIMEOUT", "200ms", false));
    let server = Server::unix(vec![ok(&bundle)]);
    let mut start = Start::at(&server.address);
    start.sh("echo ran").failed(124, "127.0.0.1:1: connection refused");
    assert!(!start.scratch.secrets().exists(), "a failed start removes its files");
    // What is inherited and preserved counts instead.
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = open.local_addr().unwrap().to_string();
    let mut start = Start::at(&server.address).env("WAIT_HOSTS", open).args(&["--preserve", "WAIT_HOSTS"]);
    assert_eq!(start.sh("echo up").stdout, "up\n");
}

#[test]
fn a_typo_ends_the_start_before_any_waiting() {
    for hosts in ["db", "db:80;cache:1", "db:80,", "ftp://db:80", "db:x"] {
        let (_server, mut start) = start(hosts);
        start.sh("echo ran").failed(2, "WAIT_HOSTS");
    }
    let (_server, start) = start("127.0.0.1:1");
    start.env("WAIT_TIMEOUT", "5sec").sh("echo ran").failed(2, "WAIT_TIMEOUT");
}

#[test]
fn the_sleep_interval_is_obeyed() {
    let (_server, start) = start("127.0.0.1:1");
    let ended = start.env("WAIT_SLEEP_INTERVAL", "10s").env("WAIT_TIMEOUT", "400ms").sh("echo ran");
    ended.failed(124, "127.0.0.1:1: connection refused");
}
