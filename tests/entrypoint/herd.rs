//! The restart of a whole stack: a hundred starts at the same moment. How fast, `tests/bench/herd` measures.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use chandlery_tests::{Memory, Place, Server, StartOptions};
use serde_json::json;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };
const HERD: usize = 100;

/// A server that comes back where it was.
fn ship() -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let args = vec!["--listen".to_owned(), port.to_string()];
    let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    api.ok("PUT", "/v1/entries/ship/production/FLAG", Some(&json!({ "value": "blue peter" })));
    api.ok("PUT", "/v1/entries/ship/production/FILE", Some(&json!({ "value": "x", "deliver": { "file": {} } })));
    let token = server.bundle_token(&PLACE);
    (server, token)
}

/// A hundred starts, half of them on each road, all with the same directory for their copies.
struct Herd {
    starts: Vec<(Child, Memory)>,
}

impl Herd {
    fn start(server: &Server, token: &str, copies: &Memory, timeout: &str) -> Self {
        let socket = format!("unix://{}", server.local().socket.as_ref().expect("a socket is on by default"));
        let cache = copies.path().join("copies");
        let start = |number: usize| {
            let memory = Memory::new();
            let file = memory.path().join("FILE").display().to_string();
            let run = server.entrypoint(&PLACE, token, &memory, &["--", "sh", "-c", "echo $FLAG; cat $0", &file]);
            let run = run.env("CHANDLERY_CACHE", &cache).env("CHANDLERY_TIMEOUT", timeout);
            let run = if number.is_multiple_of(2) { run } else { run.env("CHANDLERY_ADDR", &socket) };
            (run.spawn(Stdio::piped(), Stdio::piped()), memory)
        };
        Self { starts: (0..HERD).map(start).collect() }
    }

    /// Waits until some have placed their files.
    fn until_some_are_through(&self) {
        while self.starts.iter().filter(|(_, memory)| memory.path().join("FILE").exists()).count() < HERD / 5 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What each said on stderr; every app must have started.
    fn all_start(self) -> Vec<String> {
        let end = |(child, memory): (Child, Memory)| {
            let output = child.wait_with_output().expect("it ends");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "blue peter\nx", "{told}");
            drop(memory);
            told
        };
        self.starts.into_iter().map(end).collect()
    }
}

#[test]
fn a_whole_stack_starts_at_once_while_the_server_restarts_and_without_it() {
    let (mut server, token) = ship();
    let copies = Memory::new();
    let told = Herd::start(&server, &token, &copies, "60s").all_start();
    assert!(told.iter().all(String::is_empty), "{told:?}");

    let herd = Herd::start(&server, &token, &copies, "60s");
    herd.until_some_are_through();
    server.restart();
    let told = herd.all_start();
    assert!(told.iter().all(String::is_empty), "{told:?}");

    server.stop();
    let told = Herd::start(&server, &token, &copies, "1s").all_start();
    assert!(told.iter().all(|told| told.contains("starting with the copy of")), "{told:?}");
    let left = std::fs::read_dir(copies.path().join("copies")).expect("the copies' directory").count();
    assert_eq!(left, 1, "a hundred writers leave one copy");
}
