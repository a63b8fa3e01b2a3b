//! What every route has in common: who may ask, what is said, what is written down, and what is never repeated.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use chandlery_tests::{Canaries, Server, StartOptions};
use serde_json::{Value, json};

const OPEN: [&str; 3] = ["/v1/health", "/v1/ready", "/v1/openapi.json"];

fn start() -> Server {
    let args = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-level", "trace"];
    let server = Server::start_with(StartOptions { args: args.map(str::to_owned).to_vec(), env: Vec::new() });
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({ "regions": ["east"] })));
    server
}

/// Sends these bytes on a connection of their own, and takes what comes until it closes.
fn raw(server: &Server, request: &str) -> String {
    let address = server.local().http_address.as_deref().expect("plain HTTP was asked for");
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).expect("the server listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("a timeout");
    // A server that has heard enough may close before it has read all.
    drop(stream.write_all(request.as_bytes()));
    let mut reply = Vec::new();
    drop(stream.read_to_end(&mut reply));
    String::from_utf8_lossy(&reply).into_owned()
}

fn get(server: &Server, path: &str, more: &str) -> String {
    let token = server.admin_token();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n");
    raw(server, &request)
}

fn lines(server: &Server) -> usize {
    server.audit_file().lines().count()
}

#[test]
fn every_route_but_three_needs_a_token() {
    let server = start();
    let api = server.api().as_caller(None);
    let document = api.ok("GET", "/v1/openapi.json", None);
    let routes = document["paths"].as_object().expect("the document has paths");
    assert!(routes.len() > 10, "{}", routes.len());
    for (path, operations) in routes {
        for method in operations.as_object().expect("a path has methods").keys() {
            let filled = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let filled = filled.collect::<Vec<_>>().join("/");
            let reply = api.call(&method.to_uppercase(), &filled, None);
            let open = OPEN.contains(&path.as_str());
            assert_eq!(reply.status, if open { 200 } else { 401 }, "{method} {path}: {}", reply.text());
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {path}");
            if !open {
                assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{method} {path}");
                assert_eq!(reply.code(), "unauthenticated");
            }
        }
    }
}

#[test]
fn names_that_could_mean_two_things_are_refused_and_each_try_has_its_line() {
    let server = start();
    let mut canaries = Canaries::new();
    let odd = canaries.value("a path");
    let hostile = [
        "/v1/bundles/ship/production/%65ast".to_owned(),
        "/v1/bundles/ship/production/east%2f".to_owned(),
        "/v1/bundles/ship/production/..".to_owned(),
        "/v1/bundles/ship/../production/east".to_owned(),
        "/v1/bundles//production/east".to_owned(),
        "/v1/bundles/ship/production/EAST".to_owned(),
        "/v1/bundles/ship/production/*".to_owned(),
        "/v1/bundles/ship/production/+".to_owned(),
        "/v1/bundles/ship/production/base".to_owned(),
        "/v1/bundles/ship/production/east/".to_owned(),
        "/v1/bundles/ship/production/east/more".to_owned(),
        format!("/v1/entries/ship/production/{odd}%00"),
        format!("/v1/entries/ship/production/A={odd}"),
        format!("/{odd}"),
        "/v1/bundles/ship/production/east?service=app&service=app".to_owned(),
        format!("/v1/bundles/ship/production/east?{odd}=1"),
        format!("/v1/bundles/ship/production/east?service=../{odd}"),
        format!("/v1/entries/ship/production/A?version={odd}"),
        format!("/v1/audit?since={odd}"),
    ];
    for path in hostile {
        let before = lines(&server);
        let reply = get(&server, &path, "");
        let status = reply.get(9..12).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{path}: {reply}");
        assert!(reply.contains("application/problem+json"), "{path}: {reply}");
        assert!(reply.contains("\"hint\""), "{path}: {reply}");
        assert_eq!(lines(&server), before + 1, "{path}");
        canaries.assert_absent("the reply", reply.as_bytes());
    }
    canaries.assert_absent("the audit log", server.audit_file().as_bytes());
    canaries.assert_absent("the log", server.log().as_bytes());
}

#[test]
fn a_secret_in_the_wrong_place_is_repeated_nowhere() {
    let server = start();
    let mut canaries = Canaries::new();
    let secret = canaries.value("a secret in the wrong place");
    let api = server.api();
    let entry = "/v1/entries/ship/production/A";
    let bodies: Vec<(&str, &str, Value)> = vec![
        ("PUT", entry, json!(secret)),
        ("PUT", entry, json!({ "value": [secret] })),
        ("PUT", entry, json!({ "value": { "base64": secret } })),
        ("PUT", entry, json!({ "value": { secret.clone(): 1 } })),
        ("PUT", entry, json!({ "value": "x", secret.clone(): 1 })),
        ("PUT", entry, json!({ "value": "x", "template": secret })),
        ("PUT", entry, json!({ "value": "x", "for": secret })),
        ("PUT", entry, json!({ "value": "x", "for": [format!("{secret}/")] })),
        ("PUT", entry, json!({ "value": "x", "deliver": secret })),
        ("PUT", entry, json!({ "value": "x", "deliver": { "file": { "mode": secret } } })),
        ("PUT", entry, json!({ "value": "x", "expect_version": secret })),
        ("PUT", entry, json!({ "value": format!("${{{secret} x}}"), "template": true })),
        ("PUT", entry, json!({ "value": format!("${{{secret}"), "template": true })),
        ("PUT", entry, json!({ "value": format!("a\0{secret}") })),
        (
            "POST",
            "/v1/entries/ship/production",
            json!({ "entries": [{ "name": format!("{secret}="), "entry": { "value": secret } }] }),
        ),
        ("POST", "/v1/tokens", json!({ "description": "x", "verbs": [secret], "scopes": [{}] })),
        (
            "POST",
            "/v1/tokens",
            json!({ "description": "x", "verbs": ["write"], "scopes": [{ "stack": format!("{secret}/") }] }),
        ),
        ("PUT", "/v1/stacks/ship", json!({ "services": [format!("{secret}!")] })),
    ];
    for (method, path, body) in bodies {
        let before = lines(&server);
        let reply = api.call(method, path, Some(&body));
        assert!((400..500).contains(&reply.status), "{method} {path} {}: {}", reply.status, reply.text());
        assert_eq!(lines(&server), before + 1, "{method} {path}");
        canaries.assert_absent("the reply", reply.text().as_bytes());
    }
    for header in
        [format!("X-Secret: {secret}\r\n"), format!("If-None-Match: \"{secret}\"\r\n"), format!("Cookie: {secret}\r\n")]
    {
        canaries.assert_absent("the reply", get(&server, "/v1/bundles/ship/production/east", &header).as_bytes());
    }
    let garbage = format!(
        "PUT {entry} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{{{{{{"
    );
    assert!(raw(&server, &garbage).contains(" 401 "));
    assert!(raw(&server, &format!("{secret} {secret}\r\n\r\n")).contains(" 400 "));
    api.ok("PUT", entry, Some(&json!({ "value": secret })));
    canaries.assert_present(
        "a secret in the wrong place",
        api.call("GET", "/v1/bundles/ship/production/east", None).text().as_bytes(),
    );
    canaries.assert_absent("the audit log", server.audit_file().as_bytes());
    canaries.assert_absent("the log at its loudest", server.log().as_bytes());
    canaries.assert_absent_below(&server.data(), &["admin-token"]);
}

#[test]
fn limits_are_told_and_nothing_is_stored() {
    let server = start();
    let api = server.api();
    let entry = "/v1/entries/ship/production/big";
    let file = |bytes: usize| json!({ "value": "x".repeat(bytes), "deliver": { "file": {} } });
    let reply = api.call("PUT", entry, Some(&file(513 * 1024)));
    assert_eq!((reply.status, reply.code().as_str()), (413, "too-large"), "{}", reply.text());
    let reply = api.call("PUT", entry, Some(&file(9 << 20)));
    assert_eq!((reply.status, reply.code().as_str()), (413, "too-large"), "{}", reply.text());
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    assert_eq!(api.call("PUT", entry, Some(&deep)).status, 400);
    assert_eq!(api.call("GET", entry, None).status, 404, "nothing was stored");
    api.ok("PUT", entry, Some(&file(512 * 1024)));
    let long = "x".repeat(20_000);
    let reply = get(&server, "/v1/stacks", &format!("X-Long: {long}\r\n"));
    assert!(reply.contains(" 431 "), "{reply}");
}

#[test]
fn a_bundle_is_not_sent_again_to_who_has_it() {
    let server = start();
    let api = server.api();
    api.ok("PUT", "/v1/entries/ship/production/A", Some(&json!({ "value": "1" })));
    let bundle = "/v1/bundles/ship/production/east?service=app";
    let reply = api.call("GET", bundle, None);
    let tag = reply.header("etag").expect("a bundle has an ETag").to_owned();
    for header in [tag.clone(), format!("W/{tag}"), format!("\"0\", {tag}")] {
        let known = get(&server, bundle, &format!("If-None-Match: {header}\r\n"));
        assert!(known.contains(" 304 ") && known.contains(&tag) && !known.contains("variables"), "{known}");
    }
    api.ok("PUT", "/v1/entries/ship/production/A?region=east", Some(&json!({ "value": "2" })));
    let changed = get(&server, bundle, &format!("If-None-Match: {tag}\r\n"));
    assert!(changed.contains(" 200 ") && changed.contains("\"2\""), "{changed}");
}
