//! A property-based tester reads the server's own description of its API and tries to make it fall over.

use chandlery_tests::{Run, Server, skip};
use serde_json::json;

#[test]
fn no_generated_request_makes_a_500() {
    let own = std::env::current_exe().expect("a test knows its own file");
    let target = own.ancestors().nth(3).expect("a test is in target/<profile>/deps");
    let program = target.join("schemathesis/bin/schemathesis");
    if !program.exists() {
        return skip("no_generated_request_makes_a_500", "schemathesis is not there: ./tests/run installs it");
    }
    let server = Server::start();
    let api = server.api();
    // Something to find: the tester learns names from what it reads.
    api.ok("PUT", "/v1/stacks/a", Some(&json!({ "services": ["a"] })));
    api.ok("PUT", "/v1/stacks/a/environments/a", Some(&json!({ "regions": ["a"] })));
    api.ok("PUT", "/v1/entries/a/a/a", Some(&json!({ "value": "a" })));
    // An administrator of its own, which it may well revoke.
    let request = json!({
        "description": "the API tester's", "scopes": [{}],
        "verbs": ["read-bundle", "read-entry", "write", "administer"],
    });
    let created = api.ok("POST", "/v1/tokens", Some(&request));
    let token = created["token"].as_str().expect("a new token has a text");
    let local = server.local();
    let output = Run::new(&program)
        .args(["run", &format!("{}/v1/openapi.json", local.address), "--tls-verify", &local.ca_file])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--checks", "not_a_server_error"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "60", "--seed", "20", "--no-color"])
        .args(["--generation-database", "none", "--continue-on-failure"])
        .env("HOME", server.project())
        .current_dir(server.project())
        .output();
    assert_eq!(output.code(), 0, "{output}");
    let verification = api.ok("GET", "/v1/audit/verification", None);
    assert_eq!(verification["intact"], true, "{verification}");
}
