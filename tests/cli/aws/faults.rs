//! What AWS does on bad days. Each test says how often AWS is asked, and what people are told.

use chandlery_tests::Canaries;
use chandlery_tests::aws::{Account, Fault};
use serde_json::json;

/// Short enough that a test of silence is over soon.
const QUICK: &str = r#"
[source.aws]
timeout = "400ms"
attempts = 3
[[source.aws.read]]
secrets = ["app/*"]
[[source.aws.write]]
secrets = ["app/*"]
"#;

const IMPORT: [&str; 5] = ["aws", "import", "--secret-id", "app/env", "--yes"];

fn start(test: &str, rules: &str) -> Option<Account> {
    let account = Account::start_with(test, rules)?;
    account.declare("");
    account.moto.client("us-east-1").create("app/env", &json!({ "A": "s3cret" }).to_string());
    Some(account)
}

#[test]
fn throttling_is_waited_out_and_ends() {
    let Some(account) = start("throttling_is_waited_out_and_ends", chandlery_tests::aws::RULES) else { return };
    account.proxy.play("*", Fault::Throttle, Some(3));
    account.ends(&IMPORT, 0);
    assert_eq!(account.bundle(None), json!({ "A": "s3cret" }));
    assert_eq!(account.proxy.all_calls(), 4, "three in vain");
    account.proxy.forget();
    account.proxy.play("*", Fault::Throttle, None);
    let ended = account.ends(&IMPORT, 3);
    assert!(ended.stderr.contains("throttles") && ended.stderr.contains("app/env"), "{ended}");
    assert!(ended.stderr.contains("us-east-1") && ended.stderr.contains("wait"), "{ended}");
    assert_eq!(account.proxy.all_calls(), 5, "as many attempts as server.toml says, and no more");
}

#[test]
fn a_refusal_is_not_tried_again_and_names_the_permission() {
    let Some(account) = start("a_refusal_is_not_tried_again_and_names_the_permission", QUICK) else { return };
    account.proxy.play("*", Fault::Deny, None);
    let refused = account.ends(&IMPORT, 4);
    for said in ["secretsmanager:GetSecretValue", "app/env", "us-east-1", "policy", "assumed-role/chandlery"] {
        assert!(refused.stderr.contains(said), "{said}: {refused}");
    }
    assert_eq!(account.proxy.calls("GetSecretValue"), 1);

    // Listing is another permission, and batches are one that can be done without.
    let listing = account.ends(&["aws", "import", "--pattern", "app/{name}", "--yes"], 4);
    assert!(listing.stderr.contains("secretsmanager:ListSecrets"), "{listing}");
    account.proxy.heal();
    account.proxy.forget();
    account.moto.client("us-east-1").create("app/other", "x");
    account.proxy.play("BatchGetSecretValue", Fault::Deny, None);
    account.ends(&["aws", "import", "--pattern", "app/{name}", "--yes"], 0);
    assert_eq!((account.proxy.calls("BatchGetSecretValue"), account.proxy.calls("GetSecretValue")), (1, 2));
}

#[test]
fn silence_and_broken_connections_end_with_a_word() {
    let Some(account) = start("silence_and_broken_connections_end_with_a_word", QUICK) else { return };
    account.proxy.play("*", Fault::Silence, Some(1));
    account.ends(&IMPORT, 0);
    assert_eq!(account.proxy.all_calls(), 2, "one in vain");
    for (fault, word) in
        [(Fault::Silence, "in time"), (Fault::Drop, "reached"), (Fault::Broken, "failed"), (Fault::Page, "failed")]
    {
        account.proxy.heal();
        account.proxy.forget();
        account.proxy.play("*", fault.clone(), None);
        let ended = account.ends(&IMPORT, 3);
        assert!(ended.stderr.contains(word) && ended.stderr.contains("us-east-1"), "{fault:?}: {ended}");
        if matches!(fault, Fault::Silence | Fault::Drop) {
            assert!(ended.stderr.contains("the server's host reaches 127.0.0.1:"), "{fault:?}: {ended}");
            assert!(!ended.stderr.contains("amazonaws.com"), "{fault:?}: {ended}");
        }
        assert!(!ended.stderr.contains("html"), "a stranger's page is not quoted: {ended}");
        assert_eq!(account.proxy.all_calls(), 3, "{fault:?}: as many attempts as server.toml says");
    }
}

#[test]
fn a_secret_that_is_gone_is_said_to_be() {
    let Some(account) = start("a_secret_that_is_gone_is_said_to_be", QUICK) else { return };
    let missing = account.ends(&["aws", "import", "--secret-id", "app/none", "--yes"], 5);
    assert!(missing.stderr.contains("app/none") && missing.stderr.contains("us-east-1"), "{missing}");
    let aws = account.moto.client("us-east-1");
    aws.create("app/other", "x");
    // Deleted between the list and the reading.
    let client = aws.clone();
    account.proxy.once_before("BatchGetSecretValue", move || client.delete("app/other"));
    let left = account.ends(&["aws", "import", "--pattern", "app/{name}", "--yes"], 0);
    assert!(left.text().contains("left out app/other") && left.text().contains("deleted"), "{left}");
    assert_eq!(account.bundle(None), json!({ "env": "{\"A\":\"s3cret\"}" }), "what is there is imported");
    // One that waits to be deleted is in no list, and is said to be so where it is named.
    aws.ok("DeleteSecret", &json!({ "SecretId": "app/env" }));
    let deleted = account.ends(&IMPORT, 5);
    assert!(deleted.stderr.contains("marked for deletion") && deleted.stderr.contains("restore-secret"), "{deleted}");
}

#[test]
fn one_of_many_that_is_refused_keeps_all_from_being_imported() {
    let Some(account) = start("one_of_many_that_is_refused_keeps_all_from_being_imported", QUICK) else { return };
    account.moto.client("us-east-1").create("app/other", "x");
    account.proxy.play("BatchGetSecretValue", Fault::Deny, None);
    account.proxy.play_about("GetSecretValue", "app/other", Fault::Deny, None);
    let refused = account.ends(&["aws", "import", "--pattern", "app/{name}", "--yes"], 4);
    assert!(refused.stderr.contains("app/other") && !refused.stderr.contains("app/env"), "{refused}");
    assert_eq!(account.bundle(None), json!({}));
}

#[test]
fn no_credentials_are_said_to_be_missing() {
    use chandlery_tests::aws::{Moto, Proxy};
    use chandlery_tests::{Server, StartOptions};
    let Some(moto) = Moto::start("no_credentials_are_said_to_be_missing") else { return };
    let proxy = Proxy::before(moto.port());
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("server.toml");
    std::fs::write(&file, QUICK).expect("a file");
    let mut env = Moto::environment(proxy.port());
    env.retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
    env.push(("HOME".to_owned(), folder.path().display().to_string()));
    let args = ["--listen", "127.0.0.1:0", "--config", file.to_str().expect("a path")].map(str::to_owned).to_vec();
    let server = Server::start_with(StartOptions { args, env });
    server.cli(&["init", "chuspace", "--environment", "production"]).ok();
    let ended =
        server.cli(&IMPORT).env("CHANDLERY_STACK", "chuspace").env("CHANDLERY_ENVIRONMENT", "production").output();
    assert_eq!(ended.code(), 4, "{ended}");
    assert!(ended.stderr.contains("no AWS credentials") && ended.stderr.contains("AWS_ACCESS_KEY_ID"), "{ended}");
    assert_eq!(proxy.all_calls(), 0, "nothing is asked without credentials");

    // Credentials of a profile, and its endpoint, as AWS's own tools have them.
    let aws = folder.path().join(".aws");
    std::fs::create_dir(&aws).expect("a folder");
    std::fs::write(aws.join("credentials"), "[team]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
        .expect("a file");
    let config = format!("[profile team]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:{}\n", proxy.port());
    std::fs::write(aws.join("config"), config).expect("a file");
    moto.client("eu-west-1").create("app/env", "A=1\nB=2\n");
    let env = [
        ("HOME", folder.path().display().to_string()),
        ("AWS_PROFILE", "team".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let args = ["--listen", "127.0.0.1:0", "--config", file.to_str().expect("a path")].map(str::to_owned).to_vec();
    let server = Server::start_with(StartOptions { args, env });
    server.cli(&["init", "chuspace", "--environment", "production"]).ok();
    let done = server.cli(&IMPORT).env("CHANDLERY_STACK", "chuspace").env("CHANDLERY_ENVIRONMENT", "production").ok();
    assert!(done.text().contains("eu-west-1"), "{done}");
    assert!(proxy.all_calls() > 0);
}

#[test]
fn a_push_that_fails_in_part_says_so_and_goes_on_when_made_again() {
    let Some(account) = start("a_push_that_fails_in_part_says_so_and_goes_on_when_made_again", QUICK) else { return };
    let mut canaries = Canaries::new();
    for name in ["A", "B", "C"] {
        account.cli(&["set", name]).stdin(canaries.value(name)).ok();
    }
    let push = ["aws", "push", "--secret-id", "app/each/{name}", "--each", "--yes"];
    account.proxy.play_about("CreateSecret", "app/each/B", Fault::Deny, None);
    let part = account.ends(&push, 1);
    assert!(part.stderr.contains("2 secrets written, 1 not") && part.stderr.contains("app/each/B"), "{part}");
    assert!(part.stderr.contains("secretsmanager:CreateSecret"), "{part}");
    canaries.assert_absent("what is said", part.stderr.as_bytes());
    assert_eq!(account.moto.client("us-east-1").names(), ["app/each/A", "app/each/C", "app/env"]);

    // AWS is away in the middle: the rest is not tried.
    account.proxy.heal();
    account.moto.client("us-east-1").delete("app/each/A");
    account.moto.client("us-east-1").delete("app/each/C");
    account.proxy.play_about("CreateSecret", "app/each/A", Fault::Throttle, None);
    let away = account.ends(&push, 1);
    assert!(away.stderr.contains("0 secrets written, 3 not") && away.stderr.contains("not tried"), "{away}");
    account.proxy.heal();
    account.proxy.forget();
    account.ends(&push, 0);
    assert_eq!(account.proxy.calls("CreateSecret"), 3);
    account.proxy.forget();
    let again = account.ends(&push, 0);
    assert!(again.stderr.contains("nothing is to be written"), "{again}");
    assert_eq!(account.proxy.calls("CreateSecret") + account.proxy.calls("PutSecretValue"), 0);
    let audit = account.cli(&["audit", "--format", "json"]).ok().text().to_owned();
    assert!(audit.contains("write-aws") && audit.contains("2 of 3 written"), "{audit}");
}
