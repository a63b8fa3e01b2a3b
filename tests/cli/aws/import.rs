//! From AWS into the store.

use std::collections::BTreeMap;
use std::fs;

use chandlery_tests::Canaries;
use chandlery_tests::aws::Account;
use chandlery_tests::stacks::{folder, global_regions};
use serde_json::{Value, json};

const SECRET: &str = "chuspace-app/prod-env/eu-west-1";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
}

#[test]
fn a_secret_of_names_and_values_becomes_variables() {
    let Some(account) = Account::start("a_secret_of_names_and_values_becomes_variables") else { return };
    let mut canaries = Canaries::new();
    let (password, token) = (canaries.value("the password"), canaries.value("the token"));
    account.declare("eu-west-1,sfo3");
    let text =
        json!({ "DB_PASSWORD": password, "API_TOKEN": token, "RAILS_ENV": "production", "DB_PORT": 3306, "SSL": true });
    account.moto.client("eu-west-1").create(SECRET, &text.to_string());
    assert_eq!(account.proxy.all_calls(), 0, "a server that nobody asks asks nobody");

    let import = ["aws", "import", "--secret-id", SECRET, "--region", "eu-west-1"];
    let plan = account.ends(&[&import[..], &["--dry-run"]].concat(), 0);
    for said in ["DB_PASSWORD", "secret: it is kept as one at AWS", "eu-west-1", "nothing was changed"] {
        assert!(format!("{}{}", plan.text(), plan.stderr).contains(said), "{said}: {plan}");
    }
    canaries.assert_absent("a plan", &plan.stdout);
    canaries.assert_absent("what is said beside", plan.stderr.as_bytes());
    assert_eq!(account.proxy.calls("BatchGetSecretValue") + account.proxy.calls("GetSecretValue"), 1);
    assert_eq!(account.bundle(Some("eu-west-1")), json!({}), "a dry run writes nothing");

    let asked = account.ends(&import, 2);
    assert!(asked.stderr.contains("--yes"), "{asked}");
    account.ends(&[&import[..], &["--yes"]].concat(), 0);
    let expected = json!({
        "DB_PASSWORD": password, "API_TOKEN": token, "RAILS_ENV": "production", "DB_PORT": "3306", "SSL": "true",
    });
    assert_eq!(account.bundle(Some("eu-west-1")), expected);
    assert_eq!(account.bundle(Some("sfo3")), json!({}), "another region is not touched");
    let list = account.cli(&["list", "--region", "eu-west-1", "--format", "json"]).ok();
    canaries.assert_absent("a list", &list.stdout);

    // Again: nothing to do. With another value there: kept, and said; until it is asked for.
    let again = account.ends(&[&import[..], &["--yes"]].concat(), 0);
    assert!(again.stderr.contains("nothing is to be changed"), "{again}");
    account.cli(&["set", "DB_PORT", "--region", "eu-west-1", "--plain"]).stdin("3307").ok();
    let kept = account.ends(&[&import[..], &["--yes"]].concat(), 0);
    assert!(kept.text().contains("differs, kept") && kept.text().contains("--overwrite"), "{kept}");
    assert_eq!(account.bundle(Some("eu-west-1"))["DB_PORT"], "3307");
    account.ends(&[&import[..], &["--yes", "--overwrite"]].concat(), 0);
    assert_eq!(account.bundle(Some("eu-west-1"))["DB_PORT"], "3306");

    // Nothing of it is anywhere but in the store, and who read what is in the audit log.
    canaries.assert_absent_below(&account.server.data(), &[]);
    canaries.assert_absent("the server's log", account.server.log().as_bytes());
    let audit = account.cli(&["audit", "--format", "json"]).ok().text().to_owned();
    assert!(audit.contains("read-aws") && audit.contains(&format!("eu-west-1:{SECRET}@")), "{audit}");
    canaries.assert_absent("the audit log", audit.as_bytes());
}

#[test]
fn a_secret_that_is_one_value_or_bytes_becomes_an_entry() {
    let Some(account) = Account::start("a_secret_that_is_one_value_or_bytes_becomes_an_entry") else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    aws.create("app/stripe", "sk_live_abc=def\n");
    aws.create_binary("app/keystore.p12", "AAEC/w==");
    let unclear = account.ends(&["aws", "import", "--secret-id", "app/stripe", "--yes"], 7);
    assert!(unclear.stderr.contains("--name") && !unclear.stderr.contains("sk_live"), "{unclear}");
    account.ends(&["aws", "import", "--secret-id", "app/stripe", "--name", "STRIPE_KEY", "--yes"], 0);
    assert_eq!(account.cli(&["get", "STRIPE_KEY"]).ok().stdout, b"sk_live_abc=def\n");
    let file = account.ends(&["aws", "import", "--secret-id", "app/keystore.p12", "--for", "app", "--yes"], 0);
    assert!(file.text().contains("file") && file.text().contains("binary"), "{file}");
    assert_eq!(account.cli(&["get", "keystore.p12"]).ok().stdout, [0, 1, 2, 0xff]);
    let list = account.cli(&["list", "--format", "json"]).ok().json();
    let file = list["entries"].as_array().expect("entries").iter().find(|one| one["name"] == "keystore.p12");
    assert_eq!(file.expect("it is there")["for"], json!(["app"]));

    // By its ARN, which has the region; and the version before.
    let arn =
        aws.ok("DescribeSecret", &json!({ "SecretId": "app/stripe" }))["ARN"].as_str().expect("an ARN").to_owned();
    aws.ok("PutSecretValue", &json!({ "SecretId": "app/stripe", "SecretString": "new", "ClientRequestToken": "00000000-0000-4000-9000-000000000001" }));
    account.ends(&["aws", "import", "--secret-id", &arn, "--name", "NOW", "--yes"], 0);
    account.ends(&["aws", "import", "--secret-id", &arn, "--stage", "AWSPREVIOUS", "--name", "BEFORE", "--yes"], 0);
    assert_eq!(
        (account.bundle(None)["NOW"].clone(), account.bundle(None)["BEFORE"].clone()),
        ("new".into(), "sk_live_abc=def\n".into())
    );
    let elsewhere =
        account.ends(&["aws", "import", "--secret-id", &arn, "--aws-region", "eu-west-1", "--name", "X", "--yes"], 7);
    assert!(elsewhere.stderr.contains("us-east-1"), "{elsewhere}");
}

#[test]
fn what_is_no_name_is_said_and_can_be_renamed_or_left_out() {
    let Some(account) = Account::start("what_is_no_name_is_said_and_can_be_renamed_or_left_out") else { return };
    account.declare("");
    let text =
        json!({ "db-password": "s3cret1", "OK": "1", "list": ["s3cret2"], "nothing": null, "two words": "s3cret3" });
    account.moto.client("us-east-1").create("app/env", &text.to_string());
    let import = ["aws", "import", "--secret-id", "app/env", "--yes"];
    let faults = account.ends(&import, 7);
    for said in ["\"list\"", "\"nothing\"", "\"db-password\"", "\"two words\"", "--skip"] {
        assert!(faults.stderr.contains(said), "{said}: {faults}");
    }
    assert!(!faults.stderr.contains("s3cret"), "{faults}");
    // What is renamed or left out is heeded while something else is still wrong; and it is enough.
    let away = ["--rename", "db-password=DB_PASSWORD", "--skip", "two words,nothing"];
    let rest = account.ends(&[&import[..], &away].concat(), 7);
    assert!(rest.stderr.contains("\"list\""), "{rest}");
    for no_more in ["nothing\"", "db-password", "two words", "AWS does not have it"] {
        assert!(!rest.stderr.contains(no_more), "{no_more}: {rest}");
    }
    let known = account.ends(&[&import[..], &away, &["--secret", "list"]].concat(), 7);
    assert!(!known.stderr.contains("AWS does not have it"), "{known}");
    let dry = ["aws", "import", "--secret-id", "app/env", "--dry-run", "--skip", "list"];
    let fits = account.ends(&[&dry[..], &away].concat(), 0);
    assert!(fits.text().contains("DB_PASSWORD") && fits.text().contains("OK"), "{fits}");
    // What cannot be read may have the key; and a line of one word may be a value.
    account.moto.client("us-east-1").create("app/lines", "A=1\ns3cret1\nB=2\n");
    let lines =
        account.ends(&["aws", "import", "--secret-id", "app/lines", "--as", "dotenv", "--yes", "--skip", "C"], 7);
    assert!(lines.stderr.contains("line 2"), "{lines}");
    assert!(!lines.stderr.contains("s3cret") && !lines.stderr.contains("AWS does not have it"), "{lines}");
    account.moto.client("us-east-1").delete("app/env");
    let text = json!({ "db-password": "s3cret1", "OK": "1", "two words": "s3cret3" });
    account.moto.client("us-east-1").create("app/env", &text.to_string());
    let faults = account.ends(&import, 7);
    assert!(faults.stderr.contains("\"db-password\"") && faults.stderr.contains("\"two words\""), "{faults}");
    assert_eq!(account.bundle(None), json!({}), "it is all or nothing");
    let typo = account
        .ends(&[&import[..], &["--skip", "two words,nowhere", "--rename", "db-password=DB_PASSWORD"]].concat(), 7);
    assert!(typo.stderr.contains("\"nowhere\""), "{typo}");
    account.ends(&[&import[..], &["--skip", "two words", "--rename", "db-password=DB_PASSWORD"]].concat(), 0);
    assert_eq!(account.bundle(None), json!({ "DB_PASSWORD": "s3cret1", "OK": "1" }));
}

/// What looks like nothing may be a password all the same, and a plan is read by many.
#[test]
fn what_comes_from_secrets_manager_is_secret_unless_somebody_says_it_is_not() {
    let test = "what_comes_from_secrets_manager_is_secret_unless_somebody_says_it_is_not";
    let Some(account) = Account::start(test) else { return };
    account.declare("eu-west-1,us-east-1");
    let mut canaries = Canaries::new();
    let mut value = |what: &'static str| canaries.value(what);
    let (creds, master, basic) = (value("anna's"), value("a master's"), value("a header's"));
    let (dsn, word) = (value("a DSN's"), value("a password alone"));
    let text = json!({
        "CREDS": format!("anna:{creds}"), "MASTER": master, "BASIC": format!("Basic {basic}"),
        "REPORTS": format!("https://{dsn}@o1.ingest.example/2"), "MODE": "production", "LEVEL": "info",
    });
    let aws = account.moto.client("us-east-1");
    aws.create("app/env", &text.to_string());
    aws.create("app/word", &word);
    account.cli(&["set", "LEVEL", "--plain"]).stdin("debug").ok();
    let import = ["aws", "import", "--secret-id", "app/env", "--overwrite"];
    let alone = account.ends(&["aws", "import", "--secret-id", "app/word", "--name", "WORD", "--yes"], 0);
    let plan = account.ends(&[&import[..], &["--dry-run"]].concat(), 0);
    let json = account.ends(&[&import[..], &["--dry-run", "--format", "json", "--plain", "MODE"]].concat(), 0);
    for one in [&alone, &plan, &json] {
        canaries.assert_absent("a plan", &one.stdout);
        canaries.assert_absent("what is said beside", one.stderr.as_bytes());
    }
    assert!(!plan.text().contains("production") && plan.text().contains("plain: as in the store"), "{plan}");
    let secret = |entries: &Value| -> BTreeMap<String, bool> {
        let entries = entries.as_array().expect("a list").iter();
        entries
            .map(|one| (one["name"].as_str().expect("a name").to_owned(), one["secret"].as_bool().expect("a word")))
            .collect()
    };
    let expected: BTreeMap<String, bool> =
        [("BASIC", true), ("CREDS", true), ("LEVEL", false), ("MASTER", true), ("MODE", false), ("REPORTS", true)]
            .map(|(name, secret)| (name.to_owned(), secret))
            .into();
    assert_eq!(secret(&json.json()["entries"]), expected);
    account.ends(&[&import[..], &["--yes", "--plain", "MODE"]].concat(), 0);
    let list = || account.cli(&["list", "--format", "json"]).ok().json();
    let mut stored = secret(&list()["entries"]);
    assert_eq!(stored.remove("WORD"), Some(true));
    assert_eq!(stored, expected);
    // Said afterwards, it is so as well, and of several regions at once.
    for region in ["eu-west-1", "us-east-1"] {
        account.moto.client(region).create(&format!("app/env/{region}"), &text.to_string());
    }
    let all = ["aws", "import", "--pattern", "app/env/{region}", "--yes", "--secret", "MODE", "--plain", "MASTER"];
    let done = account.ends(&all, 0);
    canaries.assert_absent("what was not said to be plain", done.text().replace(&master, "").as_bytes());
    let now = secret(&list()["entries"]);
    assert_eq!((now["MODE"], now["MASTER"], now["LEVEL"], now["CREDS"]), (true, false, false, true));
}

/// Seed 003: seven regions on two clouds, one secret a region, each a whole `.env` as text.
#[test]
fn all_regions_of_seed_003_come_at_once_and_byte_for_byte() {
    let Some(account) = Account::start("all_regions_of_seed_003_come_at_once_and_byte_for_byte") else { return };
    account.declare("");
    let regions = global_regions();
    let aws = account.moto.client("us-east-1");
    for region in &regions {
        let text = fs::read_to_string(folder("global").join(format!("{region}.env"))).expect("the region's file");
        aws.create(&format!("chuspace-app/prod-env/{region}"), &text);
    }
    aws.create("chuspace-app/prod-env/", "X=1");
    aws.create("chuspace-app/prod-env-old/eu-west-1", "X=1");
    let import = ["aws", "import", "--pattern", "chuspace-app/prod-env/{region}"];
    let undeclared = account.ends(&[&import[..], &["--yes"]].concat(), 5);
    assert!(undeclared.stderr.contains("--declare") && undeclared.stderr.contains(&regions[0]), "{undeclared}");
    let plan = account.ends(&[&import[..], &["--declare", "--dry-run", "--format", "json"]].concat(), 0).json();
    assert_eq!(plan["secrets"].as_array().expect("secrets").len(), regions.len());
    assert!(plan["factored"]["values"].as_u64() > plan["factored"]["base"].as_u64(), "{plan}");
    let table = account.ends(&[&import[..], &["--declare", "--dry-run"]].concat(), 0);
    let said = format!(
        "{} values → {} base + {} override",
        plan["factored"]["values"], plan["factored"]["base"], plan["factored"]["overrides"]
    );
    assert!(table.text().contains(&said), "{said}: {table}");

    let done = account.ends(&[&import[..], &["--declare", "--yes"]].concat(), 0);
    assert!(done.text().contains("declares the region"), "{done}");
    for region in &regions {
        // What our own reader of the file itself says.
        let file = folder("global").join(format!("{region}.env"));
        account.ends(&["diff", file.to_str().expect("a path"), region], 0);
    }
    let matrix = account.cli(&["matrix", "--format", "json"]).ok().json();
    assert!(matrix["rows"].as_array().expect("rows").iter().any(|row| row["differs"] == false), "much is in the base");
    let again = account.ends(&[&import[..], &["--yes"]].concat(), 0);
    assert!(again.stderr.contains("nothing is to be changed"), "{again}");

    // One region's value is changed at AWS. It is kept here, until AWS's is asked for; and then it is that region's alone.
    let first = &regions[0];
    let name = format!("chuspace-app/prod-env/{first}");
    let text = aws.text(&name).expect("it is there");
    let text = format!("{text}\nONLY_HERE=1\n");
    aws.ok("PutSecretValue", &json!({ "SecretId": name, "SecretString": text, "ClientRequestToken": "00000000-0000-4000-9000-000000000002" }));
    account.ends(&[&import[..], &["--yes"]].concat(), 0);
    assert_eq!(account.bundle(Some(first))["ONLY_HERE"], "1");
    assert_eq!(account.bundle(Some(&regions[1]))["ONLY_HERE"], Value::Null);
}

#[test]
fn each_region_is_read_where_it_is() {
    let Some(account) = Account::start("each_region_is_read_where_it_is") else { return };
    account.declare("eu-west-1,ap-southeast-2,sfo3");
    // The same name in several regions of AWS: what counts is the region's own.
    for (place, region) in [
        ("eu-west-1", "eu-west-1"),
        ("ap-southeast-2", "ap-southeast-2"),
        ("us-east-1", "sfo3"),
        ("us-east-1", "eu-west-1"),
    ] {
        let text = json!({ "SHARED": "same", "WHERE": format!("{region} in {place}") });
        account.moto.client(place).create(&format!("app/{region}"), &text.to_string());
    }
    let import = ["aws", "import", "--pattern", "app/{region}", "--yes"];
    let done = account.ends(&[&import[..], &["--format", "json"]].concat(), 0).json();
    let places: BTreeMap<&str, &str> = done["secrets"]
        .as_array()
        .expect("secrets")
        .iter()
        .map(|one| (one["region"].as_str().expect("a region"), one["aws_region"].as_str().expect("a region")))
        .collect();
    assert_eq!(
        places,
        BTreeMap::from([("ap-southeast-2", "ap-southeast-2"), ("eu-west-1", "eu-west-1"), ("sfo3", "us-east-1")])
    );
    assert_eq!(account.bundle(Some("eu-west-1")), json!({ "SHARED": "same", "WHERE": "eu-west-1 in eu-west-1" }));
    assert_eq!(account.bundle(Some("sfo3"))["WHERE"], "sfo3 in us-east-1");
    // Where it is said, it is there and nowhere else.
    account
        .ends(&[&import[..], &["--aws-region", "us-east-1", "--regions", "eu-west-1,sfo3", "--overwrite"]].concat(), 0);
    assert_eq!(account.bundle(Some("eu-west-1"))["WHERE"], "eu-west-1 in us-east-1");
    assert_eq!(account.bundle(Some("ap-southeast-2"))["WHERE"], "ap-southeast-2 in ap-southeast-2");
    let missing =
        account.ends(&[&import[..], &["--aws-region", "us-east-1", "--regions", "ap-southeast-2"]].concat(), 5);
    assert!(missing.stderr.contains("app/ap-southeast-2") && missing.stderr.contains("us-east-1"), "{missing}");
}

#[test]
fn six_hundred_secrets_come_page_by_page() {
    let Some(account) = Account::start("six_hundred_secrets_come_page_by_page") else { return };
    account.declare("");
    let aws = account.moto.client("us-east-1");
    let expected: serde_json::Map<String, Value> =
        (0..600).map(|n| (format!("KEY_{n:03}"), format!("value {n}").into())).collect();
    for (name, value) in &expected {
        aws.create(&format!("app/each/{name}"), value.as_str().expect("a text"));
    }
    aws.create("app/other", "x");
    let import = ["aws", "import", "--pattern", "app/each/{name}", "--yes", "--format", "json"];
    let done = account.ends(&import, 0);
    assert_eq!(names(&done.json()["entries"]).len(), 600);
    assert_eq!(account.bundle(None), Value::Object(expected));
    assert_eq!(account.proxy.calls("ListSecrets"), 6, "a hundred a page");
    assert_eq!(account.proxy.calls("BatchGetSecretValue"), 30, "twenty at a time");
    assert_eq!(account.proxy.calls("GetSecretValue"), 0);
}

#[test]
fn a_region_that_keeps_its_own_value_costs_the_others_nothing() {
    let Some(account) = Account::start("a_region_that_keeps_its_own_value_costs_the_others_nothing") else { return };
    account.declare("eu-west-1");
    account.cli(&["set", "A", "--region", "eu-west-1", "--plain"]).stdin("own").ok();
    for region in ["eu-west-1", "fra1", "blr1"] {
        account.moto.client("us-east-1").create(&format!("app/ls/{region}"), &format!("A=of-{region}\nB=1\n"));
    }
    let import = ["aws", "import", "--pattern", "app/ls/{region}", "--declare", "--yes"];
    let done = account.ends(&import, 0);
    let said = format!("{}{}", done.text(), done.stderr);
    assert!(said.contains("left out in eu-west-1: A"), "{done}");
    assert!(!said.contains("no copy names"), "three of them do: {done}");
    assert_eq!(account.bundle(Some("eu-west-1")), json!({ "A": "own", "B": "1" }), "it keeps its own");
    assert_eq!(account.bundle(Some("fra1")), json!({ "A": "of-fra1", "B": "1" }));
    assert_eq!(account.bundle(Some("blr1")), json!({ "A": "of-blr1", "B": "1" }));
    let list = account.cli(&["list", "--region", "fra1", "--format", "json"]).ok().text().to_owned();
    assert!(list.contains("of-fra1"), "it is as plain as it is where the store has it: {list}");
    let again = account.ends(&import, 0);
    assert!(again.stderr.contains("nothing is to be changed"), "{again}");

    // From the base as well: who differs from it keeps it, and nobody else's value moves because of that.
    account.cli(&["set", "C", "--plain"]).stdin("base").ok();
    for region in ["eu-west-1", "fra1", "blr1"] {
        let value = if region == "eu-west-1" { "base" } else { "other" };
        account.moto.client("us-east-1").create(&format!("app/c/{region}"), &format!("C={value}\n"));
    }
    let kept = account.ends(&["aws", "import", "--pattern", "app/c/{region}", "--yes"], 0);
    let said = format!("{}{}", kept.text(), kept.stderr);
    assert!(said.contains("left out in blr1: C") && said.contains("left out in fra1: C"), "{kept}");
    assert!(said.contains("nothing is to be changed"), "{kept}");
    account.ends(&["aws", "import", "--pattern", "app/ls/{region}", "--yes", "--overwrite"], 0);
    assert_eq!(account.bundle(Some("eu-west-1"))["A"], "of-eu-west-1");
}
