//! Values that stay in AWS, on real programs.

use chandlery_tests::Canaries;
use chandlery_tests::aws::{Account, Fault};
use serde_json::json;

#[test]
fn a_value_that_stays_in_aws_is_fetched_once_for_all_its_keys() {
    let Some(account) = Account::start("a_value_that_stays_in_aws_is_fetched_once_for_all_its_keys") else { return };
    let mut canaries = Canaries::new();
    let password = canaries.value("the password in AWS");
    account.declare("");
    let aws = account.moto.client("us-east-1");
    aws.create("app/env", &json!({ "DB_PASSWORD": password, "DB_PORT": 3306 }).to_string());
    aws.create("app/whole", "x=y");
    for (name, from) in [
        ("DB_PASSWORD", "aws:us-east-1:app/env#DB_PASSWORD"),
        ("DB_PORT", "aws:us-east-1:app/env#DB_PORT"),
        ("WHOLE", "aws:us-east-1:app/whole"),
    ] {
        account.cli(&["set", name, "--from", from]).ok();
    }
    assert_eq!(account.bundle(None), json!({ "DB_PASSWORD": password, "DB_PORT": "3306", "WHOLE": "x=y" }));
    account.proxy.forget();
    assert_eq!(account.bundle(None)["DB_PASSWORD"], password);
    assert_eq!(account.proxy.all_calls(), 0, "it is good for a while");
    canaries.assert_absent("a list", &account.cli(&["list", "--format", "json"]).ok().stdout);
    canaries.assert_absent_below(&account.server.data(), &[]);
    canaries.assert_absent("the server's log", account.server.log().as_bytes());

    // By its ARN, and by a version; part of an ARN is not enough.
    let arn = aws.ok("DescribeSecret", &json!({ "SecretId": "app/whole" }))["ARN"].as_str().expect("an ARN").to_owned();
    account.cli(&["set", "BY_ARN", "--from", &format!("aws:{arn}")]).ok();
    account.cli(&["set", "STAGED", "--from", "aws:us-east-1:app/whole?stage=AWSCURRENT"]).ok();
    assert_eq!(
        (account.bundle(None)["BY_ARN"].clone(), account.bundle(None)["STAGED"].clone()),
        ("x=y".into(), "x=y".into())
    );
    let part = arn.rsplit_once('-').expect("six characters at the end").0.to_owned();
    account.cli(&["set", "PART", "--from", &format!("aws:{part}")]).fails();
}

#[test]
fn what_is_refused_is_said_when_it_is_written() {
    let Some(account) = Account::start("what_is_refused_is_said_when_it_is_written") else { return };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "A=1\nB=2\n");
    let refused = account.cli(&["set", "X", "--from", "aws:us-east-1:other/env#X"]).fails();
    assert!(refused.stderr.contains("source.aws.read"), "{refused}");
    assert_eq!(account.proxy.all_calls(), 0, "nobody is asked for what may not be had");
    account.proxy.play("*", Fault::Deny, None);
    let denied = account.cli(&["set", "A", "--from", "aws:us-east-1:app/env#A"]).fails();
    for said in ["secretsmanager:GetSecretValue", "app/env", "us-east-1"] {
        assert!(denied.stderr.contains(said), "{said}: {denied}");
    }
    account.proxy.heal();
    account.cli(&["set", "A", "--from", "aws:us-east-1:app/env#A"]).ok();
    assert_eq!(account.bundle(None), json!({ "A": "1" }));
    // A push takes what a container gets, wherever it is kept.
    account.ends(&["aws", "push", "--secret-id", "app/copy", "--yes"], 0);
    assert_eq!(account.moto.client("us-east-1").text("app/copy").as_deref(), Some("{\"A\":\"1\"}"));
}
