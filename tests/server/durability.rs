//! kill -9 in the middle of writes, again and again: whatever was acknowledged is there, and is what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chandlery_tests::{Api, Canaries, Server};
use serde_json::json;

const WRITERS: usize = 6;
const NAMES: usize = 40;
const KILLS: usize = 42;
const WRITES: usize = 10_500;

/// What the writers and the killer share.
struct Race {
    /// The server as it is now; a restart has another port.
    api: Mutex<Api>,
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

/// What one writer knows of one entry.
#[derive(Default)]
struct Ledger {
    /// Version and value of each write that was acknowledged.
    acknowledged: BTreeMap<u64, String>,
    /// Values of writes that were cut off: each may have happened or not.
    in_doubt: BTreeSet<String>,
}

#[test]
fn no_acknowledged_write_is_lost_in_forty_kills() {
    let mut server = Server::start();
    let mut canaries = Canaries::new();
    let salt = canaries.value("the start of every value");
    server.api().ok("PUT", "/v1/stacks/durable", Some(&json!({})));
    for writer in 0..WRITERS {
        server.api().ok("PUT", &format!("/v1/stacks/durable/environments/w{writer}"), Some(&json!({})));
    }
    let race = Race { api: Mutex::new(server.api()), acknowledged: AtomicUsize::new(0), over: AtomicBool::new(false) };
    let ledgers = thread::scope(|scope| {
        let (race, salt) = (&race, &salt);
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(race, writer, salt))).collect();
        for kill in 1..=KILLS {
            wait_for(race, kill * WRITES / KILLS - kill % 7);
            server.kill9();
            server.restart();
            *lock(&race.api) = server.api();
        }
        wait_for(race, WRITES);
        race.over.store(true, Ordering::Release);
        writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect::<Vec<_>>()
    });

    server.kill9();
    server.restart();
    let total: usize = ledgers.iter().flatten().map(|ledger| ledger.acknowledged.len()).sum();
    assert!(total >= 10_000, "{total} writes were acknowledged");
    let api = server.api();
    thread::scope(|scope| {
        for (writer, ledgers) in ledgers.iter().enumerate() {
            let api = &api;
            scope.spawn(move || check(api, writer, ledgers));
        }
    });
    let verification = api.ok("GET", "/v1/audit/verification", None);
    assert_eq!(verification["intact"], true, "{verification}");
    assert!(verification["lines"].as_u64().expect("a number") >= total as u64, "{verification}");
    canaries.assert_absent_below(&server.data(), &[]);
    canaries.assert_absent("the server's log", server.log().as_bytes());
}

/// Writes one value after the other until the race is over.
fn write(race: &Race, writer: usize, salt: &str) -> Vec<Ledger> {
    let mut ledgers: Vec<Ledger> = (0..NAMES).map(|_| Ledger::default()).collect();
    for count in 0.. {
        if race.over.load(Ordering::Acquire) {
            break;
        }
        let (name, value) = (count % NAMES, format!("{salt}-{writer}-{count}"));
        let api = lock(&race.api).clone();
        let path = format!("/v1/entries/durable/w{writer}/K{name}");
        match api.try_call("PUT", &path, Some(&json!({ "value": value }))) {
            Ok(reply) if reply.status == 200 => {
                let version = reply.json()["entries"][0]["version"].as_u64().expect("a version");
                let before = ledgers[name].acknowledged.insert(version, value);
                assert_eq!(before, None, "version {version} of K{name} was acknowledged twice");
                race.acknowledged.fetch_add(1, Ordering::Release);
            }
            Ok(reply) if reply.status >= 500 => drop(ledgers[name].in_doubt.insert(value)),
            Ok(reply) => panic!("a good write was refused: {}", reply.text()),
            Err(_) => {
                ledgers[name].in_doubt.insert(value);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    ledgers
}

/// Reads every version of every entry of one writer.
fn check(api: &Api, writer: usize, ledgers: &[Ledger]) {
    for (name, ledger) in ledgers.iter().enumerate() {
        let path = format!("/v1/entries/durable/w{writer}/K{name}");
        let list = api.ok("GET", &format!("{path}/versions"), None);
        let versions = list["entries"].as_array().expect("a list");
        let numbers: BTreeSet<u64> = versions.iter().filter_map(|version| version["version"].as_u64()).collect();
        for version in ledger.acknowledged.keys() {
            assert!(numbers.contains(version), "version {version} of K{name} is lost");
        }
        for version in numbers {
            let entry = api.ok("GET", &format!("{path}?version={version}"), None);
            let value = entry["value"].as_str().expect("the value is text");
            match ledger.acknowledged.get(&version) {
                Some(written) => assert_eq!(value, written, "version {version} of K{name}"),
                None => assert!(ledger.in_doubt.contains(value), "version {version} of K{name} was never written"),
            }
        }
    }
}

fn wait_for(race: &Race, acknowledged: usize) {
    while race.acknowledged.load(Ordering::Acquire) < acknowledged {
        thread::sleep(Duration::from_millis(1));
    }
}

fn lock(api: &Mutex<Api>) -> MutexGuard<'_, Api> {
    api.lock().unwrap_or_else(PoisonError::into_inner)
}
