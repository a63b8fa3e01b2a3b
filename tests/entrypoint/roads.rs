//! The ways to the server, and who is not let in on them.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use chandlery_tests::{Memory, Place, Run, Server};
use serde_json::json;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

/// A server with one variable and one file, and a token for them.
fn ship() -> (Server, String) {
    let server = Server::start();
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    api.ok("PUT", "/v1/entries/ship/production/FLAG", Some(&json!({ "value": "blue peter" })));
    let file = json!({ "value": "{}\n", "deliver": { "file": { "mode": "0440", "variable": "CONFIG" } } });
    api.ok("PUT", "/v1/entries/ship/production/config.json", Some(&file));
    let token = server.bundle_token(&PLACE);
    (server, token)
}

fn start(server: &Server, token: &str, memory: &Memory) -> Run {
    server.entrypoint(&PLACE, token, memory, &["--", "cat", "/proc/self/environ"])
}

#[test]
fn tls_with_the_ca_s_file_or_its_fingerprint_and_the_unix_socket_give_the_same() {
    let (server, token) = ship();
    let local = server.local();
    let socket = format!("unix://{}", local.socket.as_ref().expect("a socket is on by default"));
    let roads: [fn(Run, &str, &str) -> Run; 3] = [
        |run, _, _| run,
        |run, pin, _| run.env_remove("CHANDLERY_CACERT").env("CHANDLERY_FINGERPRINT", pin),
        |run, _, socket| run.env_remove("CHANDLERY_CACERT").env("CHANDLERY_ADDR", socket),
    ];
    for road in roads {
        let memory = Memory::new();
        let environment = road(start(&server, &token, &memory), &local.ca_fingerprint, &socket).ok().environment();
        let file = memory.path().join("config.json");
        assert_eq!(environment["FLAG"], "blue peter");
        assert_eq!(environment["CONFIG"], file.to_str().expect("a plain path"));
        assert!(environment.keys().all(|name| !name.starts_with("CHANDLERY_")), "{environment:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("the file is placed"), "{}\n");
        let mode = std::fs::metadata(&file).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o440);
    }
}

#[test]
fn a_token_file_serves_as_well_as_the_variable() {
    let (server, token) = ship();
    let file = server.project().join("token");
    std::fs::write(&file, token.clone() + "\n").expect("the folder takes a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("an own file");
    let memory = Memory::new();
    let run = start(&server, &token, &memory).env_remove("CHANDLERY_TOKEN").env("CHANDLERY_TOKEN_FILE", &file);
    assert_eq!(run.ok().environment()["FLAG"], "blue peter");
}

#[test]
fn another_server_s_certificate_is_not_trusted() {
    let (server, token) = ship();
    let other = Server::start();
    let memory = Memory::new();
    let by_file = start(&server, &token, &memory).env("CHANDLERY_CACERT", &other.local().ca_file);
    let by_pin = start(&server, &token, &memory)
        .env_remove("CHANDLERY_CACERT")
        .env("CHANDLERY_FINGERPRINT", &other.local().ca_fingerprint);
    for run in [by_file, by_pin] {
        let output = run.fails();
        assert_eq!(output.code(), 8, "{output}");
        assert!(output.stdout.is_empty() && !output.stderr.contains(&token), "{output}");
    }
    for server in [&server, &other] {
        assert!(!server.audit_file().contains("read-bundle"), "a request was sent");
    }
}

#[test]
fn revoked_expired_cut_off_and_foreign_tokens_start_nothing() {
    let (server, token) = ship();
    let api = server.api();
    let request = |extra: serde_json::Value| {
        let mut request = PLACE.token_request(&[chandlery_wire::Verb::ReadBundle]);
        request.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        api.ok("POST", "/v1/tokens", Some(&request))
    };
    let text = |created: &serde_json::Value| created["token"].as_str().expect("a token has a text").to_owned();
    let revoked = request(json!({}));
    api.ok("DELETE", &format!("/v1/tokens/{}", revoked["info"]["id"].as_str().expect("an id")), None);
    let used_up = text(&request(json!({ "uses": 1 })));
    start(&server, &used_up, &Memory::new()).ok();
    let elsewhere = Server::start();
    let foreign = elsewhere.admin_token();
    let cut_off = &token[..token.len() - 6];
    for bad in [text(&revoked).as_str(), used_up.as_str(), foreign, cut_off, "hunter2"] {
        let memory = Memory::new();
        let output = start(&server, bad, &memory).fails();
        assert!([2, 4].contains(&output.code()), "{output}");
        assert!(output.stdout.is_empty() && !output.stderr.contains(bad), "{output}");
        assert_eq!(std::fs::read_dir(memory.path()).expect("a folder").count(), 0, "nothing was placed");
    }
}

#[test]
fn no_server_means_no_start() {
    let (mut server, token) = ship();
    server.stop();
    let memory = Memory::new();
    let output = start(&server, &token, &memory).env("CHANDLERY_TIMEOUT", "1s").fails();
    assert_eq!(output.code(), 3, "{output}");
    assert!(output.stderr.lines().count() >= 2, "what is wrong, and what to do: {output}");
}

#[test]
fn a_missing_value_means_no_start_and_all_that_is_missing_is_named() {
    let (server, token) = ship();
    for (name, template) in [("ONE", "${NOT_THERE}"), ("TWO", "${NEITHER}/${FLAG}"), ("LOOP", "${LOOP}")] {
        let body = json!({ "value": template, "template": true });
        drop(server.api().call("PUT", &format!("/v1/entries/ship/production/{name}"), Some(&body)));
    }
    let memory = Memory::new();
    let output = start(&server, &token, &memory).fails();
    assert_eq!(output.code(), 5, "{output}");
    for name in ["NOT_THERE", "NEITHER"] {
        assert!(output.stderr.contains(name), "{name} is not named: {output}");
    }
    assert_eq!(std::fs::read_dir(memory.path()).expect("a folder").count(), 0, "nothing was placed");
}

#[test]
fn it_becomes_the_app_and_leaves_nothing_of_itself() {
    let (server, token) = ship();
    let script = "ls /proc/self/fd; cat; exit 7";
    // What this test itself was given stays open in its children, entrypoint or not.
    let bare = Run::new("/bin/sh").args(["-c", script]).stdin("through").output();
    let memory = Memory::new();
    let run = server.entrypoint(&PLACE, &token, &memory, &["--", "sh", "-c", script]).stdin("through");
    let output = run.output();
    assert_eq!((output.code(), output.text()), (7, bare.text()), "{output}");
    assert!(output.text().ends_with("through"), "{output}");

    let memory = Memory::new();
    let run = server.entrypoint(&PLACE, &token, &memory, &["--", "sh", "-c", "echo $$"]);
    let child = run.spawn(Stdio::piped(), Stdio::inherit());
    let id = child.id();
    let said = child.wait_with_output().expect("it ends").stdout;
    assert_eq!(String::from_utf8_lossy(&said).trim(), id.to_string(), "the app has the entrypoint's process id");
}

#[test]
fn commands_that_cannot_run_are_told_apart() {
    let (server, token) = ship();
    for (command, code) in [("no-such-command", 127), ("/etc/passwd", 126)] {
        let memory = Memory::new();
        let output = server.entrypoint(&PLACE, &token, &memory, &["--", command]).fails();
        assert_eq!(output.code(), code, "{output}");
    }
}
