//! Waiting for a bundle to change, on every road to the server, and what ends a wait.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use chandlery_tests::{Api, Place, Server, StartOptions};
use chandlery_wire::Verb;
use serde_json::{Value, json};

const EAST: Place<'_> = Place { stack: "ship", environment: "production", region: Some("east"), service: "app" };
const WEST: Place<'_> = Place { region: Some("west"), ..EAST };

/// Longer than any test may take: a wait that ends by itself is a test that fails.
const LONG: u64 = 290;
/// How long a client listens to tell that nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

fn start(more: &[&str]) -> Server {
    let args = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"].iter().chain(more);
    let server = Server::start_with(StartOptions { args: args.map(ToString::to_string).collect(), env: Vec::new() });
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({ "regions": ["east", "west"] })));
    set(&api, "ship/production/A", "1");
    server
}

fn set(api: &Api, entry: &str, value: &str) -> u64 {
    let written = api.ok("PUT", &format!("/v1/entries/{entry}"), Some(&json!({ "value": value })));
    written["revision"].as_u64().expect("a write has a revision")
}

fn revision(api: &Api, place: &Place<'_>) -> u64 {
    api.ok("GET", &place.bundle(), None)["revision"].as_u64().expect("a bundle has a revision")
}

fn waiting_path(place: &Place<'_>, seconds: u64) -> String {
    format!("{}&wait={seconds}", place.bundle())
}

/// A client that has asked, and may wait for its reply.
struct Poll<S> {
    stream: S,
}

trait Stream: Read + Write {
    fn set_patience(&self, patience: Duration);
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).expect("a timeout");
    }
}

impl Stream for UnixStream {
    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).expect("a timeout");
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

fn http(server: &Server) -> TcpStream {
    let address = server.local().http_address.as_deref().expect("plain HTTP was asked for");
    TcpStream::connect(address.trim_start_matches("http://")).expect("the server listens")
}

fn unix(server: &Server) -> UnixStream {
    UnixStream::connect(server.local().socket.as_deref().expect("the socket is on")).expect("the server listens")
}

impl<S: Stream> Poll<S> {
    fn ask(mut stream: S, token: &str, path: &str, known: u64) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
        stream.write_all(format!("{head}If-None-Match: \"{known}\"\r\n\r\n").as_bytes()).expect("the request is sent");
        Self { stream }
    }

    fn is_silent(&mut self) -> bool {
        self.stream.set_patience(SILENCE);
        let error = self.stream.read(&mut [0]).err();
        error.is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    fn answer(&mut self) -> Answer {
        self.stream.set_patience(Duration::from_secs(60));
        let mut reader = BufReader::new(&mut self.stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a reply comes") > 0, "the connection ended: {head}");
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        reader.read_exact(&mut body).expect("the body comes");
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
        Answer { status: head[9..12].parse().expect("a status"), head, body }
    }

    /// The bundle that it waited for.
    fn bundle(&mut self) -> (u64, String) {
        let Answer { status, head, body } = self.answer();
        assert_eq!(status, 200, "{head}{body}");
        let revision = body["revision"].as_u64().expect("a bundle has a revision");
        assert!(head.contains(&format!("etag: \"{revision}\"\r\n")), "{head}");
        (revision, body["variables"][0]["value"].as_str().expect("a variable has a value").to_owned())
    }
}

/// The details of the audit lines of requests that waited, without the seconds.
fn waited(server: &Server) -> Vec<String> {
    let log = server.audit_file();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let details = lines.filter_map(|line| line["detail"].as_str().map(str::to_owned));
    details.filter_map(|detail| Some(detail.split_once("waited ")?.0.to_owned())).collect()
}

#[test]
fn a_change_is_sent_on_every_road_and_only_to_whom_it_concerns() {
    let server = start(&[]);
    let api = server.api();
    let (east, west) = (revision(&api, &EAST), revision(&api, &WEST));
    let (path, token) = (waiting_path(&EAST, LONG), server.admin_token());
    let mut by_http = Poll::ask(http(&server), token, &path, east);
    let mut by_socket = Poll::ask(unix(&server), token, &path, east);
    let mut in_west = Poll::ask(http(&server), token, &waiting_path(&WEST, LONG), west);
    let (tls, tls_path) = (server.api(), waiting_path(&EAST, 50));
    let by_tls = thread::spawn(move || tls.get_after(east, &tls_path));
    assert!(by_http.is_silent());

    api.ok("PUT", "/v1/stacks/boat", Some(&json!({})));
    api.ok("PUT", "/v1/stacks/boat/environments/production", Some(&json!({})));
    set(&api, "boat/production/A", "another stack's");
    set(&api, "ship/production/A", "1");
    let overlay = set(&api, "ship/production/A?region=west", "2");
    assert_eq!(in_west.bundle(), (overlay, "2".to_owned()));
    assert!(by_http.is_silent() && by_socket.is_silent() && !by_tls.is_finished());

    let base = set(&api, "ship/production/A", "3");
    assert_eq!(by_http.bundle(), (base, "3".to_owned()));
    assert_eq!(by_socket.bundle(), (base, "3".to_owned()));
    let reply = by_tls.join().expect("a reply came");
    assert_eq!((reply.status, reply.json()["revision"].as_u64()), (200, Some(base)));
    assert_eq!(waited(&server), [""; 4], "one line each, that says so");
    // The connection is as good as before.
    let mut again = Poll::ask(by_http.stream, token, &path, base);
    assert!(again.is_silent());
    assert_eq!((set(&api, "ship/production/A", "4"), "4".to_owned()), again.bundle());
}

#[test]
fn a_template_brings_the_change_of_another_environment() {
    let server = start(&[]);
    let api = server.api();
    api.ok("PUT", "/v1/stacks/port", Some(&json!({})));
    api.ok("PUT", "/v1/stacks/port/environments/live", Some(&json!({})));
    set(&api, "port/live/HOST", "old");
    let template = json!({ "value": "db.${port/live/HOST}", "template": true });
    api.ok("PUT", "/v1/entries/ship/production/A", Some(&template));
    let path = waiting_path(&EAST, LONG);
    let mut poll = Poll::ask(http(&server), server.admin_token(), &path, revision(&api, &EAST));
    assert!(poll.is_silent());
    let elsewhere = set(&api, "port/live/HOST", "new");
    assert_eq!(poll.bundle(), (elsewhere, "db.new".to_owned()));
}

#[test]
fn a_wait_outlasts_the_time_limit_of_requests_and_ends_with_304() {
    let server = start(&["--request-timeout", "1s", "--header-timeout", "1s"]);
    let known = revision(&server.api(), &EAST);
    let mut poll = Poll::ask(http(&server), server.admin_token(), &waiting_path(&EAST, 3), known);
    let Answer { status, head, body } = poll.answer();
    assert_eq!((status, body), (304, Value::Null), "{head}");
    assert!(head.contains(&format!("etag: \"{known}\"")) && !head.contains("retry-after"), "{head}");
    assert_eq!(waited(&server), ["not modified; "]);
}

#[test]
fn a_wait_is_a_whole_number_of_seconds_up_to_300() {
    let server = start(&[]);
    let api = server.api();
    let known = revision(&api, &EAST);
    for odd in ["301", "-1", "1.5", "1e2", "+5", "%2B5", "5s", "", "99999999999999999999", "1&wait=1"] {
        let reply = api.get_after(known, &format!("{}&wait={odd}", EAST.bundle()));
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad-request"), "{odd}: {}", reply.text());
        assert!(odd.contains('&') || reply.text().contains("seconds, 0 to 300"), "{odd}: {}", reply.text());
    }
    assert_eq!(api.get_after(known, &waiting_path(&EAST, 0)).status, 304);
    assert_eq!(api.get_after(known + 1, &waiting_path(&EAST, 300)).status, 200, "another revision is sent at once");
    assert_eq!(api.call("GET", &waiting_path(&EAST, 300), None).status, 200, "and so is the first");
    assert_eq!(waited(&server), [""; 0]);
}

#[test]
fn a_revoked_token_ends_its_wait_with_401() {
    let server = start(&[]);
    let api = server.api();
    let known = revision(&api, &EAST);
    let token = || {
        let created = api.ok("POST", "/v1/tokens", Some(&EAST.token_request(&[Verb::ReadBundle])));
        let text = |field: &Value| field.as_str().expect("text").to_owned();
        (text(&created["token"]), text(&created["info"]["id"]))
    };
    let ((revoked, id), (kept, _)) = (token(), token());
    let path = waiting_path(&EAST, LONG);
    let mut one = Poll::ask(http(&server), &revoked, &path, known);
    let mut other = Poll::ask(http(&server), &kept, &path, known);
    assert!(one.is_silent());
    api.ok("DELETE", &format!("/v1/tokens/{id}"), None);
    let Answer { status, head, body } = one.answer();
    assert_eq!((status, body["code"].as_str()), (401, Some("unauthenticated")), "{head}");
    let at_the_door = api.as_caller(Some(&revoked)).call("GET", &EAST.bundle(), None).json();
    assert_eq!(body, at_the_door);
    assert!(other.is_silent());
    set(&api, "ship/production/A", "2");
    assert_eq!(other.bundle().1, "2");
    assert_eq!(waited(&server), ["unauthenticated: the token is revoked; ", ""]);
}

#[test]
fn a_server_that_stops_answers_those_who_wait() {
    // A wait that held up the end would hold it up for longer than the harness waits for it.
    let mut server = start(&["--drain", "5m"]);
    let known = revision(&server.api(), &EAST);
    let (path, token) = (waiting_path(&EAST, LONG), server.admin_token());
    let mut by_http = Poll::ask(http(&server), token, &path, known);
    let mut by_socket = Poll::ask(unix(&server), token, &path, known);
    assert!(by_http.is_silent() && by_socket.is_silent());
    assert!(server.stop().success(), "{}", server.log());
    for answer in [by_http.answer(), by_socket.answer()] {
        assert_eq!(answer.status, 304, "{}", answer.head);
        assert!(answer.head.contains("connection: close\r\n"), "{}", answer.head);
    }
    assert_eq!(waited(&server), ["not modified; the server stops; "; 2]);
}

#[test]
fn those_who_wait_leave_connections_to_the_others() {
    let server = start(&["--max-connections", "8", "--waiting-share", "50"]);
    let api = server.api();
    let known = revision(&api, &EAST);
    let (path, token) = (waiting_path(&EAST, LONG), server.admin_token());
    let mut held: Vec<_> = (0..4).map(|_| Poll::ask(http(&server), token, &path, known)).collect();
    assert!(held.iter_mut().all(Poll::is_silent));
    for _ in 0..20 {
        let Answer { status, head, .. } = Poll::ask(http(&server), token, &path, known).answer();
        assert_eq!(status, 304, "{head}");
        assert!(head.contains("retry-after: 10\r\n") && head.contains("connection: close\r\n"), "{head}");
    }
    assert_eq!(Poll::ask(http(&server), token, &EAST.bundle(), 0).answer().status, 200, "others get in");
    // Who goes away leaves a place, and a line.
    drop(held.pop());
    let mut next = Poll::ask(http(&server), token, &path, known);
    while !next.is_silent() {
        next = Poll::ask(http(&server), token, &path, known);
    }
    set(&api, "ship/production/A", "2");
    held.push(next);
    assert!(held.iter_mut().all(|poll| poll.bundle().1 == "2"));
    assert_eq!(waited(&server), ["given up; ", "", "", "", ""]);
}

/// A line of the kernel's about the server's memory, in KiB.
fn memory(server: &Server, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.local().pid)).expect("the server runs");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("it has memory");
    found.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn five_hundred_get_a_change_and_the_server_stays_small() {
    const MANY: u64 = 500;
    let server = start(&[]);
    let api = server.api();
    // Too large for the cache, so that each of them makes the server resolve it.
    let entry = |n: u32| json!({ "name": format!("E{n}"), "entry": { "value": "x".repeat(1000) } });
    let entries: Vec<_> = (0..100).map(entry).collect();
    api.ok("POST", "/v1/entries/ship/production", Some(&json!({ "entries": entries })));
    let known = revision(&api, &EAST);
    let (path, token) = (waiting_path(&EAST, LONG), server.bundle_token(&EAST));
    let before = memory(&server, "VmRSS");
    let mut polls: Vec<_> = (0..MANY).map(|_| Poll::ask(http(&server), &token, &path, known)).collect();
    assert!(polls.iter_mut().rev().take(3).all(Poll::is_silent));
    let idle = memory(&server, "VmRSS");
    let written = set(&api, "ship/production/A", "2");
    for poll in &mut polls {
        assert_eq!(poll.bundle(), (written, "2".to_owned()));
    }
    let peak = memory(&server, "VmHWM");
    let told = format!("{before} KiB before, {idle} with {MANY} that wait, {peak} at most");
    // A connection has its buffers, and more of everything in a debug build. A bundle is 100 KiB; rows, values and JSON of
    // 500 of them, made all at once, are 200 MiB and 500 threads.
    assert!(idle - before < MANY * 128 && peak - idle < MANY * 192, "{told}");
    assert_eq!(waited(&server), vec![""; polls.len()]);
    assert_eq!(api.ok("GET", "/v1/audit/verification", None)["intact"], true);
}

#[test]
fn what_another_program_commits_is_noticed() {
    let server = start(&[]);
    let api = server.api();
    let (east, west) = (revision(&api, &EAST), revision(&api, &WEST));
    let token = server.admin_token();
    let mut in_east = Poll::ask(http(&server), token, &waiting_path(&EAST, LONG), east);
    let mut in_west = Poll::ask(http(&server), token, &waiting_path(&WEST, LONG), west);
    assert!(in_east.is_silent());
    let database = rusqlite::Connection::open(server.data().join("chandlery.db")).expect("the database opens");
    let edit = |sql: &str| assert_eq!(database.execute(sql, []).expect("the edit is done"), 1, "{sql}");
    edit("UPDATE store SET revision = revision");
    assert!(in_east.is_silent(), "nothing of the bundle was touched");
    edit("UPDATE layers SET revision = revision + 1 WHERE stack = 'ship' AND layer = 'west'");
    let Answer { status, body, .. } = in_west.answer();
    assert_eq!((status, body["code"].as_str()), (500, Some("integrity")), "the edit is found, and not served");
    assert!(in_east.is_silent());
}
