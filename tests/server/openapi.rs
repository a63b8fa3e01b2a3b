//! A property-based tester reads the server's own description of its API and tries to make it fall over.

use std::path::PathBuf;

use chandlery_tests::{Run, Server, StartOptions, skip, target};
use serde_json::json;

#[test]
fn no_generated_request_makes_a_500() {
    let program = target().join("schemathesis/bin/schemathesis");
    if !program.exists() {
        return skip("no_generated_request_makes_a_500", "schemathesis is not there: ./tests/run installs it");
    }
    // The tester finds out revisions, too; nothing is wrong with a server that then makes it wait five minutes.
    let args = ["--listen", "127.0.0.1:0", "--waiting-share", "0"].map(str::to_owned).to_vec();
    let server = Server::start_with(StartOptions { args, env: Vec::new() });
    let api = server.api();
    // Something to find: the tester learns names from what it reads.
    api.ok("PUT", "/v1/stacks/a", Some(&json!({ "services": ["a"] })));
    api.ok("PUT", "/v1/stacks/a/environments/a", Some(&json!({ "regions": ["a"] })));
    api.ok("PUT", "/v1/entries/a/a/a", Some(&json!({ "value": "a" })));
    // Revoking comes last: the tester finds out every token's id, its own included.
    let revoking = "/v1/tokens/{id}";
    assert!(api.ok("GET", "/v1/openapi.json", None)["paths"][revoking].is_object(), "the route has this name");
    let tester = Tester { program, server: &server, token: administrator(&server) };
    tester.run(&["--exclude-path", revoking]);
    let verification = api.ok("GET", "/v1/audit/verification", None);
    assert_eq!(verification["intact"], true, "{verification}");
    tester.run(&["--include-path", revoking]);
    api.ok("GET", "/v1/ready", None);
}

struct Tester<'a> {
    program: PathBuf,
    server: &'a Server,
    token: String,
}

impl Tester<'_> {
    fn run(&self, which: &[&str]) {
        let local = self.server.local();
        let output = Run::new(&self.program)
            .args(["run", &format!("{}/v1/openapi.json", local.address), "--tls-verify", &local.ca_file])
            .args(["--header", &format!("Authorization: Bearer {}", self.token), "--checks", "not_a_server_error"])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "60", "--seed", "20", "--no-color"])
            .args(["--generation-database", "none", "--continue-on-failure"])
            .args(which)
            .env("HOME", self.server.project())
            .current_dir(self.server.project())
            .output();
        assert_eq!(output.code(), 0, "{output}");
    }
}

fn administrator(server: &Server) -> String {
    let request = json!({
        "description": "the API tester's", "scopes": [{}],
        "verbs": ["read-bundle", "read-entry", "write", "administer"],
    });
    let created = server.api().ok("POST", "/v1/tokens", Some(&request));
    created["token"].as_str().expect("a new token has a text").to_owned()
}
