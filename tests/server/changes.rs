//! Many entries in one request: kill -9 in the middle, and whatever a copy may hold.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use chandlery_tests::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

const REGIONS: [&str; 7] = ["ap-south-1", "ap-southeast-1", "blr1", "eu-west-1", "sa-east-1", "sfo3", "us-east-1"];
const KEYS: usize = 250;
const KILLS: u32 = 14;

fn declared(server: &Server, environment: &str, regions: &[&str]) {
    server.api().ok("PUT", "/v1/stacks/ship", Some(&json!({})));
    let path = format!("/v1/stacks/ship/environments/{environment}");
    server.api().ok("PUT", &path, Some(&json!({ "regions": regions })));
}

/// What a region gets, by name, as it stands in the JSON: text, or base64 of what is none.
fn bundle(server: &Server, environment: &str, region: &str) -> BTreeMap<String, Value> {
    bundle_for(server, environment, region, "")
}

/// The same, with what is said beside the region: `?service=web`.
fn bundle_for(server: &Server, environment: &str, region: &str, query: &str) -> BTreeMap<String, Value> {
    let bundle = server.api().ok("GET", &format!("/v1/bundles/ship/{environment}/{region}{query}"), None);
    let variables = bundle["variables"].as_array().expect("a bundle has variables").clone();
    variables.into_iter().map(|one| (one["name"].as_str().expect("a name").to_owned(), one["value"].clone())).collect()
}

/// A full copy for each region: most values are everybody's, every ninth is the region's own, and each region lacks some.
fn copies(generation: u32) -> Value {
    let copy = |(number, region): (usize, &&str)| {
        let keys = (0..KEYS).filter(|key| (key + number) % 17 != 0);
        let entries: Vec<Value> = keys
            .map(|key| {
                let own = if key % 9 == 0 { region } else { "all" };
                json!({ "name": format!("KEY_{key}"), "value": format!("generation {generation} for {own}, {key}") })
            })
            .collect();
        json!({ "region": region, "entries": entries })
    };
    json!({ "regions": REGIONS.iter().enumerate().map(copy).collect::<Vec<_>>(), "exact": true })
}

#[test]
fn a_kill_in_the_middle_of_a_factor_changes_nothing() {
    let mut server = Server::start();
    declared(&server, "production", &REGIONS);
    let path = "/v1/factorings/ship/production";
    server.api().ok("POST", path, Some(&copies(0)));
    let (mut done, mut undone) = (0, 0);
    let mut current = 0;
    for kill in 1..=KILLS {
        let api = server.api();
        let request = thread::spawn(move || {
            api.try_call("POST", path, Some(&copies(kill))).is_ok_and(|reply| reply.status == 200)
        });
        // From before it arrives to about when it is answered.
        thread::sleep(Duration::from_millis(u64::from(kill) * 25));
        server.kill9();
        let acknowledged = request.join().expect("the request's thread ends");
        server.restart();
        let bundles: Vec<BTreeMap<String, Value>> =
            REGIONS.iter().map(|region| bundle(&server, "production", region)).collect();
        let found = bundles[0].values().next().and_then(Value::as_str).expect("a value").split(' ').nth(1);
        let found: u32 = found.and_then(|number| number.parse().ok()).expect("a generation");
        assert!(found == current || found == kill, "kill {kill}: generation {found} after {current}");
        assert!(!acknowledged || found == kill, "kill {kill}: it was acknowledged and is gone");
        for (region, bundle) in copies(found)["regions"].as_array().expect("regions").iter().zip(&bundles) {
            let expected = region["entries"].as_array().expect("entries").len();
            assert_eq!(bundle.len(), expected, "kill {kill}: {}", region["region"]);
            for entry in region["entries"].as_array().expect("entries") {
                let name = entry["name"].as_str().expect("a name");
                assert_eq!(bundle.get(name), Some(&entry["value"]), "kill {kill}: {name} in {}", region["region"]);
            }
        }
        if found == kill {
            done += 1;
        } else {
            undone += 1;
        }
        current = found;
    }
    assert!(undone > 0, "no kill came before the end: the test tried nothing ({done} were done)");
    let verification = server.api().ok("GET", "/v1/audit/verification", None);
    assert_eq!(verification["intact"], true, "{verification}");
}

/// A value: often one of few, so that regions agree; else anything that a variable can hold.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![
        5 => prop::sample::select(vec![&b""[..], b"a", b"b", b"two\nlines\n", b"${NOT_A_TEMPLATE}", b" "]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(1u8..=255, 0..40),
    ];
    bytes.boxed()
}

type Entries = BTreeMap<String, Vec<u8>>;

fn entries() -> impl Strategy<Value = Entries> {
    prop::collection::btree_map("[A-H]_[a-c]?", value(), 0..12)
}

fn as_json(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": base64(value) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(chandlery_wire::Value::new(bytes)).expect("a value is JSON")["base64"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn copies_of(regions: &[Entries]) -> Vec<Value> {
    let copy = |(region, entries): (&&str, &Entries)| {
        let entries: Vec<Value> =
            entries.iter().map(|(name, value)| json!({ "name": name, "value": as_json(value) })).collect();
        json!({ "region": region, "entries": entries })
    };
    REGIONS.iter().zip(regions).map(copy).collect()
}

fn set_for_web(region: &str, name: &str) -> Value {
    json!({ "set": { "name": name, "region": region, "entry": { "value": "of web", "for": ["web"] } } })
}

/// Whatever was there before, in whatever layers: the regions named have exactly their copies, and the others what they had.
#[test]
fn every_region_s_bundle_is_its_copy() {
    let server = Server::start();
    server.api().ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["web", "db"] })));
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let before = prop::collection::vec(entries(), 2..5);
    let after = prop::collection::vec(entries(), 2..5);
    let mut case = 0;
    let case = std::cell::RefCell::new(&mut case);
    let for_web = prop::collection::btree_set("[A-H]_[a-c]?", 0..8);
    let result = runner.run(&(before, after, for_web, any::<bool>()), |(before, after, for_web, exact)| {
        **case.borrow_mut() += 1;
        let environment = format!("case-{}", **case.borrow());
        declared(&server, &environment, &[]);
        let path = format!("/v1/factorings/ship/{environment}");
        server.api().ok("POST", &path, Some(&json!({ "regions": copies_of(&before), "exact": true })));
        for (region, entries) in REGIONS.iter().zip(&before) {
            let expected: BTreeMap<String, Value> =
                entries.iter().map(|(name, value)| (name.clone(), as_json(value))).collect();
            prop_assert_eq!(bundle(&server, &environment, region), expected, "first, {}", region);
        }
        // Regions without a copy have some of it for one service alone.
        let without = REGIONS.iter().take(before.len()).skip(after.len());
        let own = |region: &&str| for_web.iter().map(|name| set_for_web(region, name)).collect::<Vec<Value>>();
        let changes: Vec<Value> = without.clone().flat_map(own).collect();
        server.api().ok("POST", &format!("/v1/changes/ship/{environment}"), Some(&json!({ "changes": changes })));
        let got_there = || -> Vec<BTreeMap<String, Value>> {
            let each = |region: &&str| {
                ["", "?service=web", "?service=db"].map(|query| bundle_for(&server, &environment, region, query))
            };
            without.clone().flat_map(each).collect()
        };
        let had = got_there();
        let plan = json!({ "regions": copies_of(&after), "exact": exact, "terms": { "dry_run": true } });
        let plan = server.api().ok("POST", &path, Some(&plan));
        let revision = plan["changed"]["revision"].clone();
        let real = json!({ "regions": copies_of(&after), "exact": exact, "terms": { "expect_revision": revision } });
        let done = server.api().ok("POST", &path, Some(&real));
        prop_assert_eq!(&plan["changed"]["entries"], &done["changed"]["entries"], "what was planned was done");
        let entries = done["base"].as_u64().unwrap_or(0) + done["overrides"].as_u64().unwrap_or(0);
        prop_assert!(entries <= done["values"].as_u64().unwrap_or(0));
        prop_assert_eq!(got_there(), had, "regions without a copy, service by service");
        for (number, region) in REGIONS.iter().enumerate().take(before.len().max(after.len())) {
            let found = bundle(&server, &environment, region);
            match after.get(number) {
                None => {
                    let kept: BTreeMap<String, Value> =
                        before[number].iter().map(|(name, value)| (name.clone(), as_json(value))).collect();
                    prop_assert_eq!(found, kept, "{} has no copy, and keeps what it had", region);
                }
                Some(copy) => {
                    let named = |name: &str| exact || after.iter().any(|copy| copy.contains_key(name));
                    let found: BTreeMap<String, Value> = found.into_iter().filter(|(name, _)| named(name)).collect();
                    let expected: BTreeMap<String, Value> =
                        copy.iter().map(|(name, value)| (name.clone(), as_json(value))).collect();
                    prop_assert_eq!(found, expected, "{}", region);
                }
            }
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
