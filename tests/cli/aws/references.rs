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

#[test]
fn another_accounts_secret_takes_a_rule_that_names_the_account() {
    let own = |account: &str| format!("arn:aws:secretsmanager:us-east-1:{account}:secret:app/env-AbCdEf");
    let test = "another_accounts_secret_takes_a_rule_that_names_the_account";
    let names = "[[source.aws.read]]\nsecrets = [\"app/*\", \"*\"]\n";
    let Some(account) = Account::start_with(test, names) else { return };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "x=y");
    // The name is like the rule's; whose it is, only a rule with an ARN can say.
    for number in ["999999999999", "123456789012", ""] {
        let stranger = own(number);
        let refused = account.cli(&["set", "A", "--from", &format!("aws:{stranger}")]).fails();
        let said = format!("[[source.aws.read]] secrets = [\"{stranger}\"]");
        assert!(refused.stderr.contains(&said) && refused.stderr.contains("own account"), "{refused}");
        let refused = account.ends(&["aws", "import", "--secret-id", &stranger, "--name", "A", "--yes"], 4);
        assert!(refused.stderr.contains(&said), "{refused}");
        account.cli(&["set", "A", "--no-check", "--from", &format!("aws:{stranger}")]).fails();
    }
    assert_eq!(account.proxy.all_calls(), 0, "nobody is asked");

    let rules = "[[source.aws.read]]\nsecrets = [\"arn:aws:secretsmanager:*:123456789012:secret:app/*\"]\n";
    let Some(account) = Account::start_with(test, rules) else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    aws.create("app/env", "x=y");
    let arn = aws.ok("DescribeSecret", &json!({ "SecretId": "app/env" }))["ARN"].as_str().expect("an ARN").to_owned();
    account.cli(&["set", "A", "--from", &format!("aws:{arn}")]).ok();
    assert_eq!(account.bundle(None), json!({ "A": "x=y" }));
    account.proxy.forget();
    account.cli(&["set", "A", "--from", &format!("aws:{}", own("999999999999"))]).fails();
    // Nor by a region that is not the one in the ARN.
    account.cli(&["set", "A", "--from", &format!("aws:eu-west-1:{arn}")]).fails();
    assert_eq!(account.proxy.all_calls(), 0);
}

#[test]
fn what_no_variable_can_hold_is_refused_when_it_is_written() {
    let Some(account) = Account::start("what_no_variable_can_hold_is_refused_when_it_is_written") else { return };
    account.declare("");
    account.moto.client("us-east-1").create_binary("app/key", "AAEC");
    let refused = account.cli(&["set", "KEY", "--from", "aws:us-east-1:app/key"]).fails();
    for part in ["KEY", "NUL byte", "deliver it as a file", "nothing was written"] {
        assert!(refused.stderr.contains(part), "{part}: {refused}");
    }
    account.cli(&["get", "KEY"]).fails();
    account.cli(&["set", "KEY", "--file", "--from", "aws:us-east-1:app/key"]).ok();
    // It is a file now, and stays one where nothing else is said.
    account.cli(&["set", "KEY", "--from", "aws:us-east-1:app/key?stage=AWSCURRENT"]).ok();
    account.cli(&["set", "OTHER", "--no-check", "--from", "aws:us-east-1:app/key"]).ok();
}

#[test]
fn who_sets_a_reference_while_aws_is_slow_is_told_what_to_do() {
    let test = "who_sets_a_reference_while_aws_is_slow_is_told_what_to_do";
    for (patience, said) in [("10s", "AWS did not answer secretsmanager:GetSecretValue"), ("2s", "no answer within 1")]
    {
        let rules = format!("request_timeout = \"{patience}\"\n{}", chandlery_tests::aws::RULES);
        let Some(account) = Account::start_with(test, &rules) else { return };
        account.declare("");
        account.moto.client("us-east-1").create("app/env", "x=y");
        account.proxy.play("*", Fault::Silence, None);
        let late = account.ends(&["set", "A", "--from", "aws:us-east-1:app/env"], 3);
        for part in [said, "app/env", "us-east-1", "nothing was written", "try again", "--no-check"] {
            assert!(late.stderr.contains(part), "{patience}: {part}: {late}");
        }
        account.cli(&["get", "A"]).fails();
    }
}

#[test]
fn what_is_read_as_it_is_now_is_named_where_the_past_is_shown() {
    let Some(account) = Account::start("what_is_read_as_it_is_now_is_named_where_the_past_is_shown") else { return };
    account.declare("");
    account.server.cli(&["init", "shop", "--environment", "production"]).ok();
    account.moto.client("us-east-1").create("app/env", "x=y");
    let elsewhere = account.server.cli(&["set", "SHARED", "--from", "aws:us-east-1:app/env"]);
    elsewhere.env("CHANDLERY_STACK", "shop").env("CHANDLERY_ENVIRONMENT", "production").ok();
    account.cli(&["set", "PLAIN", "--plain", "1"]).ok();
    account.cli(&["set", "URL", "--template", "-"]).stdin("db://${shop/production/SHARED}").ok();
    for args in [&["export", "--at", "1h ago"][..], &["get", "URL", "--resolved", "--at", "1h ago"]] {
        // Nothing was there then.
        let empty = account.cli(args).output();
        assert!(!empty.stderr.contains("as it is now"), "{empty}");
    }
    let revision = account.server.api().ok("GET", "/v1/bundles/chuspace/production", None)["revision"].to_string();
    account.cli(&["set", "PLAIN", "--plain", "2"]).ok();
    for args in [&["export"][..], &["get", "URL", "--resolved"]] {
        let past = account.cli(&[args, &["--at", &format!("@{revision}")]].concat()).ok();
        assert!(past.stderr.contains("read as it is now, whatever it was then: shop/production/SHARED"), "{past}");
        let now = account.cli(args).ok();
        assert!(!now.stderr.contains("as it is now"), "{now}");
    }
    // Of the two sides of a comparison, only what the one of the past has.
    account.cli(&["set", "LATER", "--from", "aws:us-east-1:app/env"]).ok();
    let then = format!("production@{revision}");
    for sides in [[&*then, "production"], ["production", &*then]] {
        let differ = account.ends(&[&["diff", "--service", "app"], &sides[..]].concat(), 1);
        assert!(differ.stderr.contains("whatever it was then: shop/production/SHARED\n"), "{differ}");
    }
    let alike = account.ends(&["diff", "--service", "app", "production", "production"], 0);
    assert!(!alike.stderr.contains("as it is now"), "{alike}");
}
