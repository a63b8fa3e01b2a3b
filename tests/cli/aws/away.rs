//! Values that stay in AWS, on AWS's bad days: what is served, what is not, and what people are told.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use chandlery_tests::aws::{Account, Fault, Moto};
use chandlery_tests::{Canaries, Place, Reply, Run};
use serde_json::{Value, json};

pub(super) const APP: Place<'_> = Place { stack: "chuspace", environment: "production", region: None, service: "app" };

/// Good for a second, and served for an hour while AWS is away.
pub(super) const SHORT: &str = r#"
source_ttl = "1s"
source_stale = "1h"
[source.aws]
timeout = "400ms"
attempts = 2
[[source.aws.read]]
secrets = ["app/*"]
"#;

/// What a bad day looks like, and a word that people are told of it.
enum Day {
    Fault(Fault, &'static str),
    /// Nobody listens.
    Refused,
}

const DAYS: [Day; 9] = [
    Day::Fault(Fault::Throttle, "throttles"),
    Day::Fault(Fault::Broken, "failed"),
    Day::Fault(Fault::Page, "failed"),
    Day::Fault(Fault::Silence, "in time"),
    Day::Fault(Fault::Drop, "cannot be reached"),
    Day::Refused,
    // The server's own credentials say nothing about the secret.
    Day::Fault(Fault::Code("ExpiredTokenException", "The security token is expired"), "credentials"),
    Day::Fault(Fault::Code("UnrecognizedClientException", "The security token is invalid"), "credentials"),
    Day::Fault(Fault::Code("InvalidSignatureException", "Signature expired"), "credentials"),
];

impl Day {
    fn begins(&self, account: &Account) {
        match self {
            Self::Fault(fault, _) => account.proxy.play("*", fault.clone(), None),
            Self::Refused => account.proxy.close(),
        }
    }

    fn ends(&self, account: &Account) {
        match self {
            Self::Fault(..) => account.proxy.heal(),
            Self::Refused => account.proxy.open(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Fault(_, word) => word,
            Self::Refused => "cannot be reached",
        }
    }
}

pub(super) fn bundle(account: &Account) -> Reply {
    account.server.api().call("GET", &APP.bundle(), None)
}

/// The bundle, as soon as it is as it is wanted.
pub(super) fn bundle_when(account: &Account, wanted: impl Fn(&Reply) -> bool) -> Reply {
    for _ in 0..600 {
        let reply = bundle(account);
        if wanted(&reply) {
            return reply;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("it did not come to that: {}", bundle(account).text());
}

fn is_stale(reply: &Reply) -> bool {
    reply.status == 200 && reply.json()["stale"].as_array().is_some_and(|stale| !stale.is_empty())
}

pub(super) fn is_fresh(reply: &Reply) -> bool {
    reply.status == 200 && !is_stale(reply)
}

pub(super) fn variable(bundle: &Value, name: &str) -> String {
    let variables = bundle["variables"].as_array().expect("a list");
    let found = variables.iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))["value"].as_str().expect("text").to_owned()
}

fn app(account: &Account, more: &[&str], script: &str) -> Run {
    let token = account.server.bundle_token(&APP);
    let memory = account.server.memory();
    let script = script.replace("{secrets}", &memory.path().display().to_string());
    let args: Vec<&str> = more.iter().copied().chain(["--", "sh", "-c", &script]).collect();
    account.server.entrypoint(&APP, &token, memory, &args)
}

#[test]
fn throttling_that_passes_is_waited_out() {
    let Some(account) = Account::start_with("throttling_that_passes_is_waited_out", SHORT) else { return };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "x=y");
    account.proxy.play("*", Fault::Throttle, Some(1));
    account.cli(&["set", "A", "--from", "aws:us-east-1:app/env"]).ok();
    assert_eq!(account.proxy.all_calls(), 2, "one in vain");
    assert_eq!(account.bundle(None), json!({ "A": "x=y" }));
}

#[test]
fn while_aws_is_away_its_last_word_is_served_and_said_to_be_old() {
    let Some(account) = Account::start_with("while_aws_is_away_its_last_word_is_served_and_said_to_be_old", SHORT)
    else {
        return;
    };
    let mut canaries = Canaries::new();
    let password = canaries.value("the password");
    account.declare("");
    account.moto.client("us-east-1").create("app/env", &json!({ "PASSWORD": password }).to_string());
    account.cli(&["set", "PASSWORD", "--from", "aws:us-east-1:app/env#PASSWORD"]).ok();
    account.cli(&["set", "URL", "--template", "-"]).stdin("db://u:${PASSWORD}@db").ok();
    let revision = bundle_when(&account, is_fresh).json()["revision"].clone();
    for day in DAYS {
        let word = day.word();
        day.begins(&account);
        let stale = bundle_when(&account, is_stale).json();
        assert_eq!(stale["revision"], revision, "{word}: nothing is restarted because AWS is away");
        assert_eq!(variable(&stale, "URL"), format!("db://u:{password}@db"));
        let told = stale["stale"][0].clone();
        assert_eq!(told["source"], "aws:us-east-1:app/env");
        assert_eq!(told["entries"], json!(["PASSWORD"]));
        let reason = told["reason"].as_str().expect("a reason");
        for part in [word, "secretsmanager:GetSecretValue", "app/env", "us-east-1"] {
            assert!(reason.contains(part), "{word}: {part} is not in {reason}");
        }
        let warning = "warning: PASSWORD may be old: from aws:us-east-1:app/env as of 20";
        let exported = account.cli(&["export", "--service", "app", "--format", "json"]).ok();
        assert!(exported.stderr.contains(warning) && exported.stderr.contains(word), "{word}: {exported}");
        assert_eq!(exported.json()["PASSWORD"], password);
        let explained = account.cli(&["explain", "PASSWORD", "--service", "app"]).ok();
        assert!(explained.text().contains("may be old: read 20") && explained.text().contains(word), "{explained}");
        let template = account.cli(&["explain", "URL", "--service", "app"]).ok();
        assert!(template.text().contains("may be old: read 20") && template.text().contains(word), "{template}");
        let started = app(&account, &[], "echo $PASSWORD").ok();
        assert_eq!(started.text(), format!("{password}\n"));
        assert!(started.stderr.contains(warning), "{word}: {started}");
        for said in [&exported.stderr, &started.stderr, &explained.text().to_owned()] {
            canaries.assert_absent(word, said.as_bytes());
        }
        day.ends(&account);
        let healed = bundle_when(&account, is_fresh).json();
        assert_eq!(healed["revision"], revision, "{word}: it is the value that it was");
    }
    canaries.assert_absent("the server's log", account.server.log().as_bytes());
    canaries.assert_absent("the audit log", account.server.audit_file().as_bytes());
}

#[test]
fn without_a_last_word_the_start_waits_for_aws() {
    let Some(account) = Account::start_with("without_a_last_word_the_start_waits_for_aws", SHORT) else { return };
    account.declare("");
    for (at, day) in DAYS.iter().enumerate() {
        let (word, secret, name) = (day.word(), format!("app/first-{at}"), format!("FIRST_{at}"));
        account.moto.client("us-east-1").create(&secret, "x=y");
        day.begins(&account);
        let from = format!("aws:us-east-1:{secret}");
        account.cli(&["set", &name, "--no-check", "--from", &from]).ok();
        let none = bundle(&account);
        assert_eq!((none.status, none.code().as_str()), (503, "source-unavailable"), "{word}: {}", none.text());
        let faults = none.json()["faults"].clone();
        let fault = faults[0]["detail"].as_str().expect("a detail");
        assert_eq!((faults.as_array().map(Vec::len), faults[0]["name"].as_str()), (Some(1), Some(&*name)));
        for part in [word, "secretsmanager:GetSecretValue", &secret, "us-east-1"] {
            assert!(fault.contains(part), "{word}: {part} is not in {fault}");
        }
        let starting = app(&account, &["--timeout", "120s"], &format!("echo ${name}"));
        let starting = starting.spawn(Stdio::piped(), Stdio::piped());
        thread::sleep(Duration::from_millis(500));
        day.ends(&account);
        let output = starting.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "x=y\n", "{word}: {said}");
        account.cli(&["rm", &name]).ok();
    }
}

#[test]
fn what_aws_says_no_to_is_not_served_any_more() {
    let Some(account) = Account::start_with("what_aws_says_no_to_is_not_served_any_more", SHORT) else { return };
    let mut canaries = Canaries::new();
    let password = canaries.value("the password");
    account.declare("");
    let aws = account.moto.client("us-east-1");
    let object = json!({ "KEY": password }).to_string();
    let entries = [
        // What becomes of it, and what people are told.
        ("DENIED", "#KEY", &["AWS refuses secretsmanager:GetSecretValue on app/denied in us-east-1", "policy"][..]),
        ("LOCKED", "#KEY", &["kms:Decrypt is missing", "app/locked in us-east-1"]),
        ("DELETED", "#KEY", &["AWS has no app/deleted in us-east-1"]),
        ("MARKED", "#KEY", &["app/marked in us-east-1 is marked for deletion", "restore-secret"]),
        ("PARTLESS", "#KEY", &["in aws:us-east-1:app/partless#KEY, it has no key KEY"]),
        ("GARBLED", "#KEY", &["begins like a JSON object and is none"]),
        ("BINARY", "", &["has a NUL byte", "deliver it as a file"]),
        ("BLOB", "#KEY", &["neither a JSON object nor lines NAME=value"]),
    ];
    for (name, key, _) in entries {
        let secret = format!("app/{}", name.to_lowercase());
        aws.create(&secret, &object);
        account.cli(&["set", name, "--from", &format!("aws:us-east-1:{secret}{key}")]).ok();
    }
    assert!(is_fresh(&bundle(&account)));
    let denied = "User: arn:aws:sts::123456789012:assumed-role/chandlery/i-0 is not authorized";
    let (denied, locked) = (("app/denied\"", denied), ("app/locked\"", "Access to KMS is not allowed"));
    for (secret, sentence) in [denied, locked] {
        account.proxy.play_about("*", secret, Fault::Code("AccessDeniedException", sentence), None);
    }
    aws.delete("app/deleted");
    aws.ok("DeleteSecret", &json!({ "SecretId": "app/marked" }));
    aws.put("app/partless", &json!({ "OTHER": password }).to_string());
    aws.put("app/garbled", &object[..object.len() - 1]);
    aws.put_binary("app/binary", "AAEC");
    aws.put_binary("app/blob", "/wABAg==");
    let all = |reply: &Reply| reply.status == 422 && reply.json()["faults"].as_array().map(Vec::len) == Some(7);
    let refused = bundle_when(&account, all);
    let faults = refused.json()["faults"].clone();
    for (name, _, told) in entries.iter().filter(|(name, ..)| *name != "BINARY") {
        let found = faults.as_array().expect("a list").iter().find(|fault| fault["name"] == *name);
        let fault = found.unwrap_or_else(|| panic!("{name}: {faults}"))["detail"].as_str().expect("a detail");
        told.iter().for_each(|part| assert!(fault.contains(part), "{name}: {part} is not in {fault}"));
    }
    let starting = app(&account, &["--timeout", "5s"], "echo started").fails();
    assert!(starting.stdout.is_empty() && starting.stderr.contains("DENIED"), "{starting}");
    // What the value itself makes impossible is told when everything else is right.
    for (name, ..) in entries.iter().filter(|(name, ..)| *name != "BINARY") {
        account.cli(&["rm", name]).ok();
    }
    let binary = bundle_when(&account, |reply| reply.status == 422);
    assert!(binary.text().contains("BINARY") && binary.text().contains("has a NUL byte"), "{}", binary.text());
    for said in [refused.text(), starting.stderr, account.server.log(), account.server.audit_file()] {
        canaries.assert_absent("what is said", said.as_bytes());
    }
    // A no is not for ever.
    aws.put("app/binary", "text again");
    let back = bundle_when(&account, is_fresh).json();
    assert_eq!(variable(&back, "BINARY"), "text again");
}

#[test]
fn a_secret_that_is_deleted_in_the_moment_it_is_read_is_missed_by_name() {
    let Some(mut account) =
        Account::start_with("a_secret_that_is_deleted_in_the_moment_it_is_read_is_missed_by_name", SHORT)
    else {
        return;
    };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    for name in ["one", "other"] {
        aws.create(&format!("app/{name}"), "x=y");
        account.cli(&["set", name, "--file", "--from", &format!("aws:us-east-1:app/{name}")]).ok();
    }
    // Both were read when they were set; now they are read together.
    account.server.restart();
    account.proxy.once_before("BatchGetSecretValue", move || aws.delete("app/other"));
    let gone = bundle(&account);
    assert_eq!(gone.code(), "unresolvable", "{}", gone.text());
    assert_eq!(gone.json()["faults"].as_array().map(Vec::len), Some(1), "{}", gone.text());
    assert!(gone.text().contains("AWS has no app/other in us-east-1"), "{}", gone.text());
}

#[test]
fn a_value_that_changes_in_aws_reaches_who_waits() {
    let Some(account) = Account::start_with("a_value_that_changes_in_aws_reaches_who_waits", SHORT) else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    aws.create("app/env", &json!({ "PASSWORD": "before" }).to_string());
    account.cli(&["set", "PASSWORD", "--from", "aws:us-east-1:app/env#PASSWORD"]).ok();
    let revision = bundle(&account).json()["revision"].as_u64().expect("a revision");
    aws.put("app/env", &json!({ "PASSWORD": "after" }).to_string());
    let changed = account.server.api().get_after(revision, &format!("{}&wait=60", APP.bundle())).json();
    assert_eq!(variable(&changed, "PASSWORD"), "after");
    let newer = changed["revision"].as_u64().expect("a revision");
    assert!(newer > revision);
    let same = account.server.api().get_after(newer, &format!("{}&wait=3", APP.bundle()));
    assert_eq!(same.status, 304, "{}", same.text());

    // And a container that watches its files.
    account.cli(&["set", "key", "--file", "--from", "aws:us-east-1:app/env#PASSWORD"]).ok();
    let script = "cd {secrets}; cat key; for i in $(seq 600); do grep -q again key && break; sleep 0.1; done; cat key";
    let watching = app(&account, &["--watch"], script).spawn(Stdio::piped(), Stdio::piped());
    thread::sleep(Duration::from_secs(2));
    aws.put("app/env", &json!({ "PASSWORD": "again" }).to_string());
    let output = watching.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "afteragain", "{said}");
}

#[test]
fn credentials_that_cannot_be_had_now_do_not_end_what_was_read() {
    let test = "credentials_that_cannot_be_had_now_do_not_end_what_was_read";
    let Some(account) = Account::start_in(test, SHORT, |proxy, folder| {
        // A role's credentials that end in a moment, so that each call asks for new ones.
        let script = format!(
            "#!/bin/sh\n[ -e {}/away ] && {{ echo 'the role is away' >&2; exit 1; }}\n\
             echo '{{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"SessionToken\":\"c\",\
             \"Expiration\":\"'$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)'\"}}'\n",
            folder.display()
        );
        std::fs::write(folder.join("role"), script).expect("a file");
        let config = format!("[default]\ncredential_process = /bin/sh {}/role\n", folder.display());
        std::fs::write(folder.join("config"), config).expect("a file");
        let mut env = Moto::environment(proxy.port());
        env.retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
        env.push(("AWS_CONFIG_FILE".to_owned(), folder.join("config").display().to_string()));
        env
    }) else {
        return;
    };
    account.declare("");
    account.moto.client("us-east-1").create("app/env", "x=y");
    account.cli(&["set", "A", "--from", "aws:us-east-1:app/env"]).ok();
    std::fs::write(account.folder().join("away"), "").expect("a file");
    let stale = bundle_when(&account, is_stale).json();
    assert_eq!(variable(&stale, "A"), "x=y");
    let reason = stale["stale"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("credentials") && reason.contains("app/env") && reason.contains("us-east-1"), "{reason}");
    assert!(reason.ends_with("external process exited with code exit status: 1"), "{reason}");
    for kept in [account.server.log(), account.server.audit_file()] {
        assert!(!kept.contains("the role is away"), "what the program wrote may be anything");
    }
    std::fs::remove_file(account.folder().join("away")).expect("it is there");
    bundle_when(&account, is_fresh);
}
