//! Many values that stay in AWS, and many who want them: how often AWS is asked.

use std::thread;
use std::time::Duration;

use chandlery_tests::aws::{Account, Fault};
use serde_json::{Value, json};

use super::away::{APP, SHORT, bundle, bundle_when, is_fresh, variable};

#[test]
fn however_many_start_at_once_each_secret_is_asked_for_once() {
    let rules = SHORT.replace("\"1s\"", "\"5m\"").replace("400ms", "10s");
    let Some(mut account) = Account::start_with("however_many_start_at_once_each_secret_is_asked_for_once", &rules)
    else {
        return;
    };
    account.declare("");
    for (region, secrets) in [("us-east-1", &["a", "b", "c"][..]), ("eu-west-1", &["d"])] {
        for secret in secrets {
            account.moto.client(region).create(&format!("app/{secret}"), "X=1\nY=2\n");
            for key in ["X", "Y"] {
                let (name, from) = (format!("{secret}{key}"), format!("aws:{region}:app/{secret}#{key}"));
                account.cli(&["set", &name, "--from", &from]).ok();
            }
        }
    }
    account.server.restart();
    account.proxy.forget();
    // So slow that everybody is there before the first answer.
    account.proxy.play("*", Fault::Slow(Duration::from_millis(1500)), None);
    let api = account.server.api();
    let bundles: Vec<Value> = thread::scope(|scope| {
        let tasks: Vec<_> = (0..60).map(|_| scope.spawn(|| api.ok("GET", &APP.bundle(), None))).collect();
        tasks.into_iter().map(|task| task.join().expect("it ends")).collect()
    });
    assert!(bundles.iter().all(|one| variable(one, "dY") == "2" && *one == bundles[0]), "all get the same");
    let batches = account.proxy.requests("BatchGetSecretValue");
    assert_eq!(batches.len(), 1, "{batches:?}");
    assert_eq!(batches[0]["SecretIdList"], json!(["app/a", "app/b", "app/c"]));
    assert_eq!(account.proxy.calls("GetSecretValue"), 1, "one that is alone in its region");
    assert_eq!(account.proxy.all_calls(), 2);
}

#[test]
fn where_batches_fail_each_entry_is_told_of_its_own_secret() {
    let test = "where_batches_fail_each_entry_is_told_of_its_own_secret";
    let Some(mut account) = Account::start_with(test, SHORT) else { return };
    account.declare("");
    for name in ["ONE", "OTHER"] {
        account.moto.client("us-east-1").create(&format!("app/{name}"), "x=y");
        account.cli(&["set", name, "--from", &format!("aws:us-east-1:app/{name}")]).ok();
    }
    account.server.restart();
    account.proxy.play("BatchGetSecretValue", Fault::Throttle, None);
    let none = bundle(&account);
    assert_eq!(none.status, 503, "{}", none.text());
    for fault in none.json()["faults"].as_array().expect("a list") {
        let (name, detail) = (fault["name"].as_str().expect("a name"), fault["detail"].as_str().expect("a detail"));
        let said = format!("throttles secretsmanager:BatchGetSecretValue on app/{name} in us-east-1");
        assert!(detail.contains(&said), "{name}: {detail}");
    }
}

#[test]
fn where_batches_may_not_be_had_many_are_read_in_time_and_one_that_fails_fails_alone() {
    let test = "where_batches_may_not_be_had_many_are_read_in_time_and_one_that_fails_fails_alone";
    let rules = SHORT.replace("400ms", "5s").replace("\"1s\"", "\"5m\"");
    let Some(account) = Account::start_with(test, &rules) else { return };
    account.declare("");
    let mut entries = Vec::new();
    for number in 0..30 {
        account.moto.client("us-east-1").create(&format!("app/{number}"), "x=y");
        let entry = json!({ "value": format!("aws:us-east-1:app/{number}"), "reference": true, "unchecked": true });
        entries.push(json!({ "name": format!("N_{number}"), "entry": entry }));
    }
    account.proxy.play("BatchGetSecretValue", Fault::Deny, None);
    account.proxy.play_about("GetSecretValue", "app/7\"", Fault::Broken, None);
    // One after the other, they would take longer than anybody waits.
    account.proxy.play("GetSecretValue", Fault::Slow(Duration::from_millis(300)), None);
    let layer = "/v1/entries/chuspace/production";
    account.server.api().ok("POST", layer, Some(&json!({ "entries": entries })));
    let none = bundle(&account);
    assert_eq!(none.status, 503, "{}", none.text());
    let faults = none.json()["faults"].clone();
    assert_eq!((faults.as_array().map(Vec::len), faults[0]["name"].as_str()), (Some(1), Some("N_7")), "{faults}");
    account.proxy.heal();
    account.proxy.forget();
    let whole = bundle_when(&account, is_fresh).json();
    assert_eq!(variable(&whole, "N_29"), "x=y");
    assert_eq!(account.proxy.all_calls(), 1, "the others are here");
}
