//! From the store into AWS.

use chandlery_tests::Canaries;
use chandlery_tests::aws::Account;
use serde_json::{Value, json};

fn object(text: Option<String>) -> Value {
    serde_json::from_str(&text.expect("the secret is there")).expect("it is JSON")
}

#[test]
fn each_regions_values_go_to_its_secret_and_only_what_differs() {
    let Some(account) = Account::start("each_regions_values_go_to_its_secret_and_only_what_differs") else { return };
    let mut canaries = Canaries::new();
    account.declare("eu-west-1,sfo3");
    let secret = canaries.value("a secret");
    account.cli(&["set", "SHARED"]).stdin(secret.clone()).ok();
    account.cli(&["set", "WHERE", "--plain", "--region", "eu-west-1"]).stdin("eu").ok();
    account.cli(&["set", "WHERE", "--plain", "--region", "sfo3"]).stdin("us").ok();
    account.cli(&["set", "URL", "--template"]).stdin("http://${WHERE}/\n\"é\"").ok();
    account.cli(&["set", "DB_ONLY", "--for", "db"]).stdin("x").ok();
    let (eu, us) = (account.moto.client("eu-west-1"), account.moto.client("us-east-1"));
    let push = ["aws", "push", "--secret-id", "chuspace-app/prod-env/{region}"];
    let plan = account.ends(&[&push[..], &["--dry-run"]].concat(), 0);
    assert!(
        plan.text().contains("create")
            && plan.text().contains("DB_ONLY")
            && plan.stderr.contains("nothing was written"),
        "{plan}"
    );
    canaries.assert_absent("a plan", &plan.stdout);
    assert_eq!((eu.names(), us.names()), (vec![], vec![]));
    let asked = account.ends(&push, 2);
    assert!(asked.stderr.contains("--yes"), "{asked}");

    account.ends(&[&push[..], &["--yes"]].concat(), 0);
    let expected = |place: &str| json!({ "SHARED": secret, "WHERE": place, "URL": format!("http://{place}/\n\"é\"") });
    assert_eq!(object(eu.text("chuspace-app/prod-env/eu-west-1")), expected("eu"));
    assert_eq!(object(us.text("chuspace-app/prod-env/sfo3")), expected("us"));
    account.proxy.forget();
    let again = account.ends(&[&push[..], &["--yes"]].concat(), 0);
    assert!(again.stderr.contains("nothing is to be written"), "{again}");
    assert_eq!(account.proxy.calls("PutSecretValue") + account.proxy.calls("CreateSecret"), 0);

    account.cli(&["set", "WHERE", "--plain", "--region", "sfo3"]).stdin("west").ok();
    account.proxy.forget();
    let one = account.ends(&[&push[..], &["--yes", "--region", "all"]].concat(), 0);
    assert!(one.text().contains("WHERE") && one.stderr.contains("wrote 1 secret"), "{one}");
    assert_eq!(account.proxy.calls("PutSecretValue"), 1, "only what differs");
    assert_eq!(object(us.text("chuspace-app/prod-env/sfo3")), expected("west"));
    let one = account.ends(&[&push[..], &["--dry-run", "--service", "db", "--region", "sfo3"]].concat(), 0);
    assert!(one.text().contains("DB_ONLY") && !one.text().contains("eu-west-1"), "{one}");

    let audit = account.cli(&["audit", "--format", "json"]).ok().text().to_owned();
    assert!(
        audit.contains("read-for-aws-push")
            && audit.contains("write-aws")
            && audit.contains("eu-west-1:chuspace-app/prod-env/eu-west-1"),
        "{audit}"
    );
    canaries.assert_absent("the audit log", audit.as_bytes());
    canaries.assert_absent("the server's log", account.server.log().as_bytes());
}

#[test]
fn what_only_aws_has_stays_until_it_is_to_go() {
    let Some(account) = Account::start("what_only_aws_has_stays_until_it_is_to_go") else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    aws.create("app/env", r#"{"PORT": 3306, "THEIRS": {"a": [1, null]}, "SAME": "x"}"#);
    for (name, value) in [("PORT", "3306"), ("SAME", "y"), ("NEW", "1")] {
        account.cli(&["set", name]).stdin(value).ok();
    }
    let push = ["aws", "push", "--secret-id", "app/env", "--yes"];
    let done = account.ends(&push, 0);
    assert!(done.text().contains("THEIRS") && done.text().contains("--prune"), "{done}");
    let now = json!({ "PORT": 3306, "THEIRS": { "a": [1, null] }, "SAME": "y", "NEW": "1" });
    assert_eq!(object(aws.text("app/env")), now, "what is unchanged is written as it was");
    assert!(!done.text().contains("away THEIRS"), "{done}");
    let plan = ["aws", "push", "--secret-id", "app/env", "--prune", "--dry-run"];
    let said = account.ends(&plan, 0);
    assert!(said.text().contains("--prune takes away THEIRS from app/env in us-east-1"), "{said}");
    assert!(!said.text().contains("stays"), "{said}");
    let said = account.ends(&[&plan[..], &["--format", "json"]].concat(), 0).json();
    assert_eq!(said["secrets"][0]["pruned"], json!(["THEIRS"]));
    assert_eq!(object(aws.text("app/env")), now, "a plan takes nothing away");
    let done = account.ends(&[&push[..], &["--prune"]].concat(), 0);
    assert!(done.text().contains("--prune took away THEIRS from app/env in us-east-1"), "{done}");
    assert!(!done.text().contains("stays"), "{done}");
    assert_eq!(object(aws.text("app/env")), json!({ "PORT": 3306, "SAME": "y", "NEW": "1" }));

    // The same with a secret an entry.
    aws.create("app/each/OLD", "x");
    aws.create("app/each/deeper/OLD", "x");
    let each = ["aws", "push", "--secret-id", "app/each/{name}", "--each", "--yes"];
    let done = account.ends(&each, 0);
    assert!(done.text().contains("app/each/OLD") && done.text().contains("only at AWS"), "{done}");
    assert_eq!(aws.text("app/each/OLD").as_deref(), Some("x"));
    assert_eq!(aws.text("app/each/PORT").as_deref(), Some("3306"));
    account.proxy.forget();
    let done = account.ends(&[&each[..], &["--prune"]].concat(), 0);
    assert!(done.text().contains("--prune took away app/each/OLD in us-east-1"), "{done}");
    assert_eq!(account.proxy.calls("DeleteSecret"), 1);
    assert_eq!(aws.text("app/each/OLD"), None);
    assert_eq!(aws.text("app/each/deeper/OLD").as_deref(), Some("x"), "it was never meant");
    aws.ok("RestoreSecret", &json!({ "SecretId": "app/each/OLD" }));

    // What is no object of JSON is not replaced by one.
    aws.create("app/lines", "A=1\nB=2\n");
    let refused = account.ends(&["aws", "push", "--secret-id", "app/lines", "--yes"], 7);
    assert!(refused.stderr.contains("app/lines") && refused.stderr.contains("JSON"), "{refused}");
    assert_eq!(aws.text("app/lines").as_deref(), Some("A=1\nB=2\n"));
}

#[test]
fn what_only_aws_has_is_seen_in_a_regions_place_also_where_no_name_has_the_region() {
    let test = "what_only_aws_has_is_seen_in_a_regions_place_also_where_no_name_has_the_region";
    let Some(account) = Account::start(test) else { return };
    account.declare("eu-west-1,us-east-1");
    let (aws, other) = (account.moto.client("eu-west-1"), account.moto.client("us-east-1"));
    account.cli(&["set", "A"]).stdin("1").ok();
    aws.create("app/each2/FOREIGN", "x");
    other.create("app/each2/FOREIGN", "x");
    let push = ["aws", "push", "--secret-id", "app/each2/{name}", "--each", "--region", "eu-west-1"];
    account.ends(&[&push[..], &["--yes"]].concat(), 0);
    let plan = account.ends(&[&push[..], &["--prune", "--dry-run", "--format", "json"]].concat(), 0).json();
    let gone = plan["secrets"].as_array().expect("secrets").iter().find(|one| one["action"] == "delete");
    let gone = gone.unwrap_or_else(|| panic!("it is to be deleted: {plan}"));
    assert_eq!(
        (&gone["secret"], &gone["region"], &gone["pruned"]),
        (&json!("app/each2/FOREIGN"), &json!("eu-west-1"), &json!(["FOREIGN"]))
    );
    account.ends(&[&push[..], &["--prune", "--yes"]].concat(), 0);
    assert_eq!(aws.text("app/each2/FOREIGN"), None);
    assert_eq!(aws.text("app/each2/A").as_deref(), Some("1"));
    assert_eq!(other.text("app/each2/FOREIGN").as_deref(), Some("x"), "another region's is not touched");
}

#[test]
fn files_bytes_and_replicas() {
    let Some(account) = Account::start("files_bytes_and_replicas") else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    account.cli(&["set", "key.bin", "--file"]).stdin([0, 1, 0xff]).ok();
    account.cli(&["set", "A"]).stdin("1").ok();
    let whole = account.ends(&["aws", "push", "--secret-id", "app/env", "--yes"], 7);
    assert!(whole.stderr.contains("key.bin") && whole.stderr.contains("--each"), "{whole}");
    let each = ["aws", "push", "--secret-id", "app/{name}", "--each", "--yes"];
    account.ends(&[&each[..], &["--replicate", "eu-west-1,us-east-1"]].concat(), 0);
    assert_eq!(aws.ok("GetSecretValue", &json!({ "SecretId": "app/key.bin" }))["SecretBinary"], "AAH/");
    assert_eq!(account.moto.client("eu-west-1").text("app/A").as_deref(), Some("1"));
    let again = account.ends(&[&each[..], &["--replicate", "eu-west-1"]].concat(), 0);
    assert!(again.stderr.contains("nothing is to be written"), "{again}");
    account.ends(&[&each[..], &["--replicate", "eu-west-1,ap-south-1"]].concat(), 0);
    assert_eq!(account.moto.client("ap-south-1").text("app/A").as_deref(), Some("1"));

    // Somebody writes at AWS between the plan and the writing.
    account.cli(&["set", "A"]).stdin("2").ok();
    let client = aws.clone();
    account.proxy.once_before("GetSecretValue", move || {
        client.ok("PutSecretValue", &json!({ "SecretId": "app/A", "SecretString": "theirs", "ClientRequestToken": "00000000-0000-4000-9000-000000000003" }));
    });
    let moved = account.ends(&each, 1);
    assert!(moved.stderr.contains("changed at AWS since"), "{moved}");
    assert_eq!(aws.text("app/A").as_deref(), Some("theirs"));
    account.ends(&each, 0);
    assert_eq!(aws.text("app/A").as_deref(), Some("2"));
}

#[test]
fn two_regions_never_share_a_secret_by_mistake() {
    let Some(account) = Account::start("two_regions_never_share_a_secret_by_mistake") else { return };
    account.declare("east,west");
    account.cli(&["set", "A"]).stdin("1").ok();
    let wrong = account.ends(&["aws", "push", "--secret-id", "app/env", "--yes"], 7);
    assert!(wrong.stderr.contains("{region}"), "{wrong}");
    account.ends(&["aws", "push", "--secret-id", "app/env", "--region", "east", "--yes"], 0);
    let unknown = account.ends(&["aws", "push", "--secret-id", "app/{region}", "--region", "north", "--yes"], 5);
    assert!(unknown.stderr.contains("east, west"), "{unknown}");
    let unclear = account.ends(&["aws", "push", "--secret-id", "app/{region}/{name}", "--yes"], 7);
    assert!(unclear.stderr.contains("--each"), "{unclear}");
    assert_eq!(account.moto.client("us-east-1").names(), ["app/env"]);
}
