//! From the server's answer to the app's start, or to an error.

use chandlery_wire::{Code, Fault, Problem, StackName};

use crate::support::{Answer, CANARY, Scratch, Server, Start, bundle, json, ok, problem, token};

#[test]
fn a_bundle_reaches_the_app() {
    for server in [Server::unix(vec![ok(&bundle())]), Server::http(vec![ok(&bundle())])] {
        let ended = Start::at(&server.address)
            .env("INHERITED", "yes")
            .sh(r#"echo "$DB_HOST $DB_PASSWORD $INHERITED"; cat "$TLS_KEY_FILE"; env | grep -c CHANDLERY_"#);
        assert_eq!(ended.stdout, format!("db.eu.internal {CANARY} yes\n{CANARY}\n0\n"), "{}", ended.stderr);
        assert!(ended.stderr.is_empty(), "a start that works is silent: {}", ended.stderr);
        let request = &server.requests()[0];
        let line = "GET /v1/bundles/simpleapp/production/eu-west-1?service=app HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains(&format!("Authorization: Bearer {}\r\n", token().expose_secret())));
    }
}

#[test]
fn with_a_node_the_region_is_the_servers_to_say() {
    let nowhere = chandlery_wire::Bundle { region: None, ..bundle() };
    let server = Server::unix(vec![ok(&bundle()), ok(&bundle()), ok(&nowhere), ok(&nowhere)]);
    let on = |node: &str| Start::at(&server.address).env("CHANDLERY_NODE", node);
    let ended = on("VM-1").without("CHANDLERY_REGION").sh("echo $DB_HOST; env | grep -c CHANDLERY_");
    assert_eq!(ended.stdout, "db.eu.internal\n0\n", "{}", ended.stderr);
    assert_eq!(on("vm-1").sh("echo $DB_HOST").stdout, "db.eu.internal\n");
    on("vm-1").without("CHANDLERY_REGION").sh("echo ran").failed(5, "simpleapp/production for app on node vm-1");
    on("vm-1").sh("echo ran").failed(5, "simpleapp/production/eu-west-1 for app on node vm-1");
    let lines: Vec<String> =
        server.requests().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines[0], "GET /v1/bundles/simpleapp/production?service=app&node=VM-1 HTTP/1.1");
    assert_eq!(lines[1], "GET /v1/bundles/simpleapp/production/eu-west-1?service=app&node=vm-1 HTTP/1.1");
}

#[test]
fn without_a_token_the_server_says_whose_bundle_it_is() {
    let server = Server::unix(vec![ok(&bundle()); 5]);
    let bare = || {
        let names = ["TOKEN", "STACK", "ENVIRONMENT", "REGION", "SERVICE"].map(|name| format!("CHANDLERY_{name}"));
        names.iter().fold(Start::at(&server.address), |start, name| start.without(name))
    };
    assert_eq!(bare().sh("echo $DB_HOST").stdout, "db.eu.internal\n");
    let all = Start::at(&server.address).without("CHANDLERY_TOKEN").sh("echo $DB_HOST");
    assert_eq!(all.stdout, "db.eu.internal\n", "{}", all.stderr);
    bare().env("CHANDLERY_STACK", "other").sh("echo ran").failed(5, "asked for the bundle other/*");
    bare().env("CHANDLERY_SERVICE", "db").sh("echo ran").failed(5, "*/* for db");
    bare().env("CHANDLERY_REGION", "us").sh("echo ran").failed(5, "*/*/us");
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /v1/bundle HTTP/1.1\r\n"), "{}", requests[0]);
    let full = "GET /v1/bundle?stack=simpleapp&environment=production&region=eu-west-1&service=app HTTP/1.1\r\n";
    assert!(requests[1].starts_with(full), "{}", requests[1]);
    for request in &requests {
        assert!(request.contains("\r\nX-Chandlery-Request: true\r\n") && !request.contains("Authorization"));
    }
}

#[test]
fn a_chunked_bundle_and_one_without_length_are_bundles_too() {
    let body = serde_json::to_vec(&bundle()).unwrap();
    let (one, two) = body.split_at(body.len() / 2);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in [one, two] {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let closed = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body].concat();
    for answer in [chunked, closed] {
        let server = Server::unix(vec![Answer::Bytes(answer)]);
        assert_eq!(Start::at(&server.address).sh("echo $DB_HOST").stdout, "db.eu.internal\n");
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let body = serde_json::to_vec(&bundle()).unwrap();
    let length = body.len();
    let half =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &body[..length / 2]].concat();
    let sealed = Problem::new(503, "Service Unavailable", Code::Sealed, "the root key is not there");
    let server = Server::unix(vec![
        json("500 Internal Server Error", b"oops"),
        problem(&sealed),
        json("429 Too Many Requests", b""),
        json("408 Request Timeout", b""),
        Answer::Bytes(b"garbage\r\n\r\n".to_vec()),
        Answer::Bytes(half),
        Answer::Bytes(Vec::new()),
        json("200 OK", b"{\"no\": \"bundle\"}"),
        ok(&bundle()),
    ]);
    let ended = Start::at(&server.address).env("CHANDLERY_TIMEOUT", "25s").sh("echo $DB_HOST");
    assert_eq!(ended.stdout, "db.eu.internal\n", "{}", ended.stderr);
    assert_eq!(server.requests().len(), 9);
}

#[test]
fn the_deadline_says_what_was_seen_last() {
    let garbage = format!("{{\"{CANARY}\": 1, \"variables\": [\"{CANARY}\"]}}");
    let sealed = Problem::new(503, "Service Unavailable", Code::Sealed, "the root key is not there")
        .with_hint("unseal it, and all is well");
    for (answer, about) in [
        (json("500 Internal Server Error", b"oops"), "status 500"),
        (problem(&sealed), "the root key is not there (503)"),
        (Answer::Bytes(b"SSH-2.0-x\r\n".to_vec()), "not HTTP"),
        (Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()), "in the middle"),
        (Answer::Silence, "does not answer"),
        (json("200 OK", garbage.as_bytes()), "not a bundle"),
        (json("302 Found", b""), "status 302"),
    ] {
        let server = Server::unix(vec![answer]);
        let ended = Start::at(&server.address).env("CHANDLERY_TIMEOUT", "300ms").sh("echo ran");
        ended.failed(3, about);
        assert!(ended.stderr.contains("within 0.3 s"), "{}", ended.stderr);
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let scratch = Scratch::new();
    let socket = format!("unix://{}", scratch.path().join("none").display());
    for (address, about) in [
        (socket.as_str(), "No such file"),
        ("http://127.0.0.1:1", "refused"),
        ("https://127.0.0.1:1", "refused"),
        ("https://no-such-name.invalid", "not found"),
    ] {
        let ended = Start::at(address)
            .env("CHANDLERY_FINGERPRINT", format!("sha256:{}", "00".repeat(32)))
            .env("CHANDLERY_TIMEOUT", "200ms")
            .sh("echo ran");
        assert!(ended.stderr.contains(about) || ended.stderr.contains("does not answer"), "{}", ended.stderr);
        ended.failed(3, "no bundle from");
    }
}

#[test]
fn a_server_that_comes_late_is_found() {
    let scratch = Scratch::new();
    let late = scratch.path().join("late.sock");
    let mut start = Start::at(&format!("unix://{}", late.display()));
    start.command.args(["--", "/bin/sh", "-c", "echo $DB_HOST"]);
    let child = start.command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let server = Server::unix(vec![ok(&bundle())]);
    std::os::unix::fs::symlink(server.address.strip_prefix("unix://").unwrap(), &late).unwrap();
    assert_eq!(crate::support::ended(child).stdout, "db.eu.internal\n");
}

#[test]
fn a_refusal_ends_the_start_at_once_in_the_servers_words() {
    let faults = vec![
        Fault { name: "DB_URL".to_owned(), detail: "refers to DB_HOST, which is not set".to_owned() },
        Fault { name: "API_KEY".to_owned(), detail: "is empty".to_owned() },
    ];
    let told =
        |status, code, detail: &str| Problem::new(status, "No", code, detail).with_hint("do what the server says");
    for (refusal, code) in [
        (told(400, Code::InvalidName, "a name is not one"), 4),
        (told(401, Code::Unauthenticated, "the token is not known"), 4),
        (told(403, Code::Forbidden, "the token may not read this"), 4),
        (told(404, Code::UnknownRegion, "the region was never declared; there are eu-west-1, sfo3"), 5),
        (told(412, Code::VersionConflict, "another version"), 4),
        (told(422, Code::Unresolvable, "the bundle cannot be made").with_faults(faults), 5),
        (told(500, Code::Integrity, "a record was changed behind the store's back"), 5),
    ] {
        let server = Server::unix(vec![problem(&refusal)]);
        let ended = Start::at(&server.address).sh("echo ran");
        ended.failed(code, &refusal.detail);
        assert!(ended.stderr.ends_with("  hint: do what the server says\n"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 2 + refusal.faults.len(), "{}", ended.stderr);
        assert_eq!(server.requests().len(), 1);
    }
    for (status, code) in [("401 Unauthorized", 4), ("404 Not Found", 5), ("405 Method Not Allowed", 4)] {
        let server = Server::unix(vec![json(status, b"<html>")]);
        Start::at(&server.address).sh("echo ran").failed(code, &status[..3]);
    }
}

#[test]
fn another_stacks_bundle_is_refused() {
    let mut other = bundle();
    other.stack = StackName::parse("other").unwrap();
    let mut base = bundle();
    base.region = None;
    let mut everybody = bundle();
    everybody.service = None;
    for wrong in [other, base, everybody] {
        let server = Server::unix(vec![ok(&wrong)]);
        Start::at(&server.address)
            .sh("echo ran")
            .failed(5, "asked for the bundle simpleapp/production/eu-west-1 for app");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn where_values_come_from_is_shown_and_secrets_never_are() {
    let server = Server::unix(vec![ok(&bundle())]);
    let ended = Start::at(&server.address).args(&["--verbose"]).sh("true");
    assert_eq!(ended.code, 0);
    assert!(
        ended.stderr.contains("DB_PASSWORD") && ended.stderr.contains("from eu-west-1 (version 2)"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("db.eu.internal"));

    let mut start = Start::at(&server.address).args(&["--explain"]);
    let ended = start.run();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("db.eu.internal") && ended.stdout.contains("revision 42"), "{}", ended.stdout);
    assert!(ended.stdout.contains("TLS_KEY_FILE") && ended.stdout.contains("file 0400"), "{}", ended.stdout);
    assert!(!ended.stdout.contains(CANARY), "{}", ended.stdout);
    assert!(!start.scratch.secrets().exists(), "--explain places nothing");
}

#[test]
fn a_token_comes_from_a_file_a_credential_or_a_variable() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("chandlery-token"), format!("{}\n", token().expose_secret())).unwrap();
    let server = Server::unix(vec![ok(&bundle())]);
    let mut named = Start::at(&server.address).env("CHANDLERY_TOKEN_FILE", scratch.path().join("chandlery-token"));
    named.command.env_remove("CHANDLERY_TOKEN");
    let mut systemd = Start::at(&server.address).env("CREDENTIALS_DIRECTORY", scratch.path());
    systemd.command.env_remove("CHANDLERY_TOKEN");
    for start in [&mut named, &mut systemd] {
        assert_eq!(start.sh("echo $DB_HOST").stdout, "db.eu.internal\n");
    }
    let sent = format!("Bearer {}\r\n", token().expose_secret());
    assert!(server.requests().iter().all(|request| request.contains(&sent)));

    let mut both = Start::at(&server.address).env("CHANDLERY_TOKEN_FILE", "/x");
    both.sh("echo ran").failed(2, "both set");
    let mut cut = Start::at(&server.address).env("CHANDLERY_TOKEN", &token().expose_secret()[..30]);
    cut.sh("echo ran").failed(2, "cut off");
    let mut nowhere = Start::at(&server.address).env("CHANDLERY_TOKEN_FILE", "/nowhere/token");
    nowhere.command.env_remove("CHANDLERY_TOKEN");
    nowhere.sh("echo ran").failed(2, "/nowhere/token");
}

#[test]
fn a_variable_with_a_typo_is_pointed_out() {
    let server = Server::unix(vec![ok(&bundle())]);
    let ended = Start::at(&server.address).env("CHANDLERY_REGOIN", "x").sh("true");
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("CHANDLERY_REGOIN") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}
