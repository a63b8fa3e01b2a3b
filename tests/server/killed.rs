//! kill -9 of the server, and of the client, at many moments of every verb that changes many entries: afterwards all is as it
//! was, or all is as it was to be; and every manifest, every version's link to the one before and the audit log hold.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use chandlery_tests::{Api, Server};
use serde_json::{Value, json};

const REGIONS: [&str; 3] = ["east", "west", "north"];
const KEYS: usize = 90;
/// Of each verb.
const SERVER_KILLS: u32 = 8;
const CLIENT_KILLS: u32 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Factor,
    Promote,
    Copy,
    Rollback,
    Like,
    Destroy,
}

const VERBS: [Verb; 6] = [Verb::Factor, Verb::Promote, Verb::Copy, Verb::Rollback, Verb::Like, Verb::Destroy];

/// One go at a verb: what it is to do differs from all before.
#[derive(Debug, Clone, Copy)]
struct Go {
    verb: Verb,
    number: u32,
    /// To which a rollback goes.
    revision: u64,
}

impl Go {
    /// Writes what the verb then finds: different values in both environments, and an entry of several versions.
    fn prepare(api: &Api, verb: Verb, number: u32) -> Self {
        let revision = matrix(api, "production", "")["revision"].as_u64().expect("a revision");
        for environment in ["production", "staging"] {
            let set = |layer: Option<&str>, key: usize| {
                let value = format!("{number} {environment} {layer:?} {key}");
                json!({ "set": { "name": format!("KEY_{key}"), "region": layer, "entry": { "value": value } } })
            };
            let base = (0..KEYS).map(|key| set(None, key));
            let overlays = (0..KEYS).step_by(3).flat_map(|key| REGIONS.map(|region| set(Some(region), key)));
            let own = (0..KEYS).skip(1).step_by(5).map(|key| set(Some("east"), key));
            let mut changes: BTreeMap<String, Value> = BTreeMap::new();
            for change in base.chain(overlays).chain(own) {
                changes.insert(format!("{}{}", change["set"]["region"], change["set"]["name"]), change);
            }
            let changes: Vec<Value> = changes.into_values().collect();
            api.ok("POST", &format!("/v1/changes/ship/{environment}"), Some(&json!({ "changes": changes })));
        }
        for version in 0..3 {
            for region in [None, Some("east")] {
                let entry = json!({ "value": format!("{number} {version} {}", "leaked ".repeat(30)) });
                let change = json!({ "set": { "name": format!("LEAKED_{number}"), "region": region, "entry": entry } });
                api.ok("POST", "/v1/changes/ship/production", Some(&json!({ "changes": [change] })));
            }
        }
        Self { verb, number, revision }
    }

    /// The value of a key in a region's full copy: mostly everybody's.
    fn copied(self, region: &str, key: usize) -> String {
        let whose = if key.is_multiple_of(7) { region } else { "all" };
        format!("copy {} for {whose}: {key}", self.number)
    }

    fn request(self) -> (&'static str, String, Option<Value>) {
        let copies = |body: Value| ("POST", "/v1/copies/ship/production".to_owned(), Some(body));
        match self.verb {
            Verb::Factor => {
                let copy = |region: &str| {
                    let entry = |key: usize| json!({ "name": format!("KEY_{key}"), "value": self.copied(region, key) });
                    json!({ "region": region, "entries": (0..KEYS).map(entry).collect::<Vec<_>>() })
                };
                let body = json!({ "regions": REGIONS.map(copy), "exact": true });
                ("POST", "/v1/factorings/ship/production".to_owned(), Some(body))
            }
            Verb::Promote => copies(json!({ "from_environment": "staging", "secrets": true })),
            Verb::Copy => copies(json!({ "layers": [{ "from": "east", "to": "west" }] })),
            Verb::Like => {
                let region = format!("new-{}", self.number);
                copies(json!({ "declare": [region], "layers": [{ "from": "east", "to": region }] }))
            }
            Verb::Rollback => {
                let body = json!({ "to": self.revision.to_string() });
                ("POST", "/v1/rollbacks/ship/production".to_owned(), Some(body))
            }
            Verb::Destroy => {
                let path = format!("/v1/entries/ship/production/LEAKED_{}/versions?all_layers=true", self.number);
                ("DELETE", path, None)
            }
        }
    }

    /// The same as a person types it.
    fn command(self, server: &Server) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).chain(["--yes".to_owned()]).collect();
        match self.verb {
            Verb::Factor => {
                let file = |region: &str| {
                    let path = server.project().join(format!("{region}.env"));
                    let line = |key: usize| format!("KEY_{key}='{}'\n", self.copied(region, key));
                    fs::write(&path, (0..KEYS).map(line).collect::<String>()).expect("the project takes a file");
                    format!("{region}.env")
                };
                let files = REGIONS.map(file);
                words(&["factor", "--exact", &files[0], &files[1], &files[2]])
            }
            Verb::Promote => words(&["promote", "staging", "production", "--secrets"]),
            Verb::Copy => words(&["copy", "east", "west"]),
            Verb::Rollback => words(&["rollback", "--to", &format!("@{}", self.revision)]),
            Verb::Like => words(&["region", "add", &format!("new-{}", self.number), "--like", "east"]),
            Verb::Destroy => words(&["destroy", &format!("LEAKED_{}", self.number), "--all-layers"]),
        }
    }

    /// Does it again, and says whether there was nothing left to do.
    fn is_done(self, api: &Api) -> bool {
        let (method, path, body) = self.request();
        let again = api.ok(method, &path, body.as_ref());
        let changed = again.get("changed").unwrap_or(&again);
        let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
        match again["layers"].as_array() {
            Some(layers) => layers.iter().all(|layer| none(&layer["versions"])),
            None => none(&changed["entries"]) && none(&changed["declared"]),
        }
    }
}

fn matrix(api: &Api, environment: &str, more: &str) -> Value {
    api.ok("GET", &format!("/v1/matrix/ship/{environment}?reveal=true{more}"), None)
}

/// Everything there is: what is declared, every value in every layer, and how the entry to be destroyed came about.
fn everything(api: &Api, go: Go) -> Value {
    let versions = api.ok("GET", &format!("/v1/entries/ship/production/LEAKED_{}/versions", go.number), None);
    let states: Vec<Value> =
        versions["entries"].as_array().expect("versions").iter().map(|one| one["state"].clone()).collect();
    json!([api.ok("GET", "/v1/stacks", None), matrix(api, "production", ""), matrix(api, "staging", ""), states])
}

fn start() -> Server {
    let server = Server::start();
    server.api().ok("PUT", "/v1/stacks/ship", Some(&json!({})));
    for environment in ["production", "staging"] {
        let path = format!("/v1/stacks/ship/environments/{environment}");
        server.api().ok("PUT", &path, Some(&json!({ "regions": REGIONS })));
    }
    server
}

/// All of it or nothing; and whatever it is, it is authentic. True, where it was done.
fn judge(api: &Api, go: Go, before: &Value, acknowledged: bool) -> bool {
    let after = everything(api, go);
    let undone = after == *before;
    assert!(!(acknowledged && undone), "{go:?} was acknowledged, and is gone");
    if !undone {
        assert!(go.is_done(api), "{go:?} was done in part");
        assert_eq!(everything(api, go)[1]["rows"], after[1]["rows"], "{go:?}");
    }
    // Reading the past checks every version of every layer, and its link to the one before.
    let now = matrix(api, "production", "");
    let then = matrix(api, "production", &format!("&at={}", now["revision"]));
    assert_eq!(now["rows"], then["rows"], "{go:?}");
    let verification = api.ok("GET", "/v1/audit/verification", None);
    assert_eq!(verification["intact"], true, "{go:?}: {verification}");
    !undone
}

#[test]
fn a_server_killed_in_the_middle_of_any_verb_has_done_all_of_it_or_nothing() {
    let mut server = start();
    let (mut done, mut undone, mut number) = (0, 0, 0);
    for verb in VERBS {
        let go = Go::prepare(&server.api(), verb, number);
        let (method, path, body) = go.request();
        let began = Instant::now();
        server.api().ok(method, &path, body.as_ref());
        // From its arrival to a little after its end.
        let pace = began.elapsed().mul_f64(1.2) / SERVER_KILLS;
        for kill in 0..SERVER_KILLS {
            number += 1;
            let go = Go::prepare(&server.api(), verb, number);
            let before = everything(&server.api(), go);
            let (api, (method, path, body)) = (server.api(), go.request());
            let request = thread::spawn(move || {
                api.try_call(method, &path, body.as_ref()).is_ok_and(|reply| reply.status == 200)
            });
            thread::sleep(pace * kill);
            server.kill9();
            let acknowledged = request.join().expect("the request's thread ends");
            server.restart();
            let count = if judge(&server.api(), go, &before, acknowledged) { &mut done } else { &mut undone };
            *count += 1;
        }
        number += 1;
    }
    assert!(undone > 0, "no kill came before the end: the test tried nothing ({done} were done)");
}

#[test]
fn a_client_killed_in_the_middle_of_any_verb_has_done_all_of_it_or_nothing() {
    let mut server = start();
    let (mut done, mut undone, mut number) = (0, 0, 0);
    for verb in VERBS {
        let run = |server: &Server, go: Go| {
            let run = server.cli(&go.command(server).iter().map(String::as_str).collect::<Vec<_>>());
            run.env("CHANDLERY_STACK", "ship").env("CHANDLERY_ENVIRONMENT", "production")
        };
        let go = Go::prepare(&server.api(), verb, number);
        let began = Instant::now();
        run(&server, go).ok();
        let pace = began.elapsed().max(Duration::from_millis(12)) / CLIENT_KILLS;
        for kill in 0..CLIENT_KILLS {
            number += 1;
            let go = Go::prepare(&server.api(), verb, number);
            let before = everything(&server.api(), go);
            let mut child = run(&server, go).spawn(Stdio::null(), Stdio::null());
            thread::sleep(pace * kill);
            child.kill().expect("an own child can be killed");
            let acknowledged = child.wait().expect("a killed child ends").success();
            // What arrived in whole is finished first, and what did not is dropped.
            server.restart();
            let count = if judge(&server.api(), go, &before, acknowledged) { &mut done } else { &mut undone };
            *count += 1;
        }
        number += 1;
    }
    assert!(undone > 0, "no kill came before the end: the test tried nothing ({done} were done)");
}
