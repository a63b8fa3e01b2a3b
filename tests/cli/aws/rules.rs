//! What `server.toml` does not allow is not done, whoever asks.

use chandlery_tests::aws::Account;
use serde_json::json;

const NARROW: &str = r#"
[[source.aws.read]]
secrets = ["app/mine/*"]
regions = ["us-east-1"]
for = ["chuspace/production"]
[[source.aws.write]]
secrets = ["app/out/*"]
for = ["chuspace/production"]
"#;

#[test]
fn nothing_is_read_or_written_that_the_configuration_does_not_name() {
    let Some(account) = Account::start_with("nothing_is_read_or_written_that_the_configuration_does_not_name", NARROW)
    else {
        return;
    };
    account.declare("eu-west-1");
    account.server.cli(&["init", "chuspace", "--environment", "staging"]).ok();
    for place in ["us-east-1", "eu-west-1"] {
        account.moto.client(place).create("app/mine/env", "A=1\nB=2\n");
        account.moto.client(place).create("app/other/env", "A=1\nB=2\n");
    }
    for args in [
        &["--secret-id", "app/other/env"][..],
        &["--secret-id", "app/mine/env", "--aws-region", "eu-west-1"],
        &["--secret-id", "app/mine/env", "--region", "eu-west-1"],
        &["--secret-id", "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/other/env-AbCdEf"],
        &["--secret-id", "app/mine/env", "--environment", "staging"],
    ] {
        let refused = account.ends(&[&["aws", "import", "--yes"], args].concat(), 4);
        assert!(refused.stderr.contains("server.toml") && refused.stderr.contains("source.aws.read"), "{refused}");
    }
    let listed = account.ends(&["aws", "import", "--pattern", "app/other/{name}", "--yes"], 5);
    assert!(listed.stderr.contains("may be read"), "{listed}");
    assert_eq!(account.proxy.calls("GetSecretValue") + account.proxy.calls("BatchGetSecretValue"), 0);

    account.cli(&["set", "A"]).stdin("s3cret").ok();
    let refused = account.ends(&["aws", "push", "--secret-id", "app/mine/{region}", "--yes"], 4);
    assert!(refused.stderr.contains("source.aws.write"), "{refused}");
    account.ends(&["aws", "push", "--secret-id", "app/out/{region}", "--aws-region", "us-east-1", "--yes"], 0);
    account.ends(
        &[
            "aws",
            "import",
            "--secret-id",
            "app/mine/env",
            "--aws-region",
            "us-east-1",
            "--region",
            "eu-west-1",
            "--overwrite",
            "--yes",
        ],
        0,
    );
    assert_eq!(account.proxy.calls("CreateSecret"), 1);
    let audit = account.cli(&["audit", "--format", "json"]).ok().json();
    let refused = audit["records"].as_array().expect("records").iter().filter(|line| line["outcome"] == "refused");
    let actions: Vec<&str> = refused.filter_map(|line| line["action"].as_str()).collect();
    for action in ["start-aws-import", "read-aws"] {
        assert!(actions.contains(&action), "refusals are in the log: {actions:?}");
    }
}

#[test]
fn a_server_without_rules_has_nothing_to_do_with_aws() {
    let Some(account) = Account::start_with("a_server_without_rules_has_nothing_to_do_with_aws", "") else { return };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "A=1\nB=2\n");
    for args in
        [&["aws", "import", "--secret-id", "app/env", "--yes"], &["aws", "push", "--secret-id", "app/env", "--yes"]]
    {
        let refused = account.ends(args, 4);
        assert!(refused.stderr.contains("server.toml") && refused.stderr.contains("docs/AWS.md"), "{refused}");
    }
    assert_eq!(account.proxy.all_calls(), 0);
}

#[test]
fn who_may_write_and_not_read_learns_nothing_by_importing() {
    let Some(account) = Account::start("who_may_write_and_not_read_learns_nothing_by_importing") else { return };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", &json!({ "PASSWORD": "hunter2", "PORT": "8080" }).to_string());
    let scope = json!({ "stack": "chuspace", "environment": "production" });
    let made = account.server.api().ok(
        "POST",
        "/v1/tokens",
        Some(&json!({ "description": "writer", "verbs": ["write"], "scopes": [scope] })),
    );
    let writer = account.server.api().as_caller(made["token"].as_str());
    let place = "/v1/aws/imports/chuspace/production";
    let begun = writer.ok("POST", place, Some(&json!({ "secrets": ["app/env"], "plain": ["PASSWORD"] })));
    let own = format!("{place}/{}", begun["id"].as_str().expect("an id"));
    let status = writer.ok("GET", &format!("{own}?wait=60"), None);
    assert_eq!(status["finished"], true, "{status}");
    // It is nobody else's: not even the administrator sees it.
    assert_eq!(account.server.api().call("GET", &own, None).status, 404);
    let done = writer.call("POST", &own, Some(&json!({ "dry_run": true })));
    assert_eq!(done.status, 200);
    assert!(
        done.text().contains("PASSWORD") && !done.text().contains("hunter2") && !done.text().contains("8080"),
        "{}",
        done.text()
    );
    assert_eq!(writer.call("DELETE", &own, None).status, 204);
    assert_eq!(writer.call("POST", &own, Some(&json!({}))).status, 404);
    // And to push is to read.
    assert_eq!(
        writer.call("POST", "/v1/aws/pushes/chuspace/production", Some(&json!({ "secret": "app/x" }))).status,
        403
    );
}
