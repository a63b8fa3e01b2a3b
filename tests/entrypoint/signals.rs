//! SIGTERM and SIGINT end it at once, in every phase.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use chandlery_tests::{Memory, Place, Run, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

fn end(mut child: Child, signal: Signal) -> i32 {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a small number")).expect("not zero");
    kill_process(pid, signal).expect("an own child can be signalled");
    let status = child.wait().expect("it ends");
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    stdout.read_to_string(&mut said).expect("the output is text");
    assert!(!said.contains("started"), "the app ran: {said}");
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn spawn(run: Run) -> Child {
    run.spawn(Stdio::piped(), Stdio::inherit())
}

#[test]
fn while_it_fetches() {
    // Somebody who listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = Server::start();
    let address = format!("https://{}", silent.local_addr().expect("an address"));
    let token = server.admin_token();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let memory = Memory::new();
        let run = server.entrypoint(&PLACE, token, &memory, &["--", "echo", "started"]).env("CHANDLERY_ADDR", &address);
        let child = spawn(run);
        let (_connection, _) = silent.accept().expect("it connects");
        assert_eq!(end(child, signal), code);
    }
}

#[test]
fn while_it_waits() {
    let server = Server::start();
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    api.ok("PUT", "/v1/entries/ship/production/FILE", Some(&json!({ "value": "x", "deliver": { "file": {} } })));
    let token = server.bundle_token(&PLACE);
    // A port that was free a moment ago, and that nobody listens on.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let memory = Memory::new();
        let run = server.entrypoint(&PLACE, &token, &memory, &["--", "echo", "started"]);
        let child = spawn(run.env("WAIT_HOSTS", closed.to_string()).env("WAIT_TIMEOUT", "60"));
        // Its file is placed before it waits.
        while !memory.path().join("FILE").exists() {
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(end(child, signal), code);
    }
}

#[test]
fn hosts_that_never_come_end_it_with_124() {
    let server = Server::start();
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    let token = server.bundle_token(&PLACE);
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let memory = Memory::new();
    let run = server.entrypoint(&PLACE, &token, &memory, &["--", "echo", "started"]);
    let output = run.env("WAIT_HOSTS", closed.to_string()).env("WAIT_TIMEOUT", "1").fails();
    assert_eq!(output.code(), 124, "{output}");
    assert!(output.stderr.contains(&closed.to_string()), "the host is named: {output}");
}
