//! What is destroyed is in none of the files any more.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chandlery_tests::{Api, Server};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

const AT: &str = "/v1/entries/ship/production";

fn start() -> Server {
    let server = Server::start();
    server.api().ok("PUT", "/v1/stacks/ship", Some(&json!({})));
    server.api().ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({ "regions": ["east", "west"] })));
    server
}

fn put(api: &Api, name: &str, region: &str, value: &str) {
    let region = if region == "base" { String::new() } else { format!("?region={region}") };
    api.ok("PUT", &format!("{AT}/{name}{region}"), Some(&json!({ "value": value })));
}

/// The ciphertexts of an entry as they lie in the database, each without what comes before it.
fn ciphertexts(data: &Path, name: &str) -> Vec<Vec<u8>> {
    let file = data.join("chandlery.db");
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the database opens");
    let sql = "SELECT sealed FROM current_entries WHERE name = ?1 AND length(sealed) > 60 \
               UNION ALL SELECT sealed FROM past_entries WHERE name = ?1 AND length(sealed) > 60";
    let mut statement = connection.prepare(sql).expect("a statement");
    let found = statement.query_map([name], |row| row.get::<_, Vec<u8>>(0)).expect("a query");
    found.map(|sealed| sealed.expect("a blob")).collect()
}

/// Where any 24 bytes in a row of the ciphertext (nonce, value) stand in a file of the data directory.
fn found_in(data: &Path, ciphertext: &[u8]) -> Vec<String> {
    // Without the tag, which is kept.
    let body = &ciphertext[5..ciphertext.len() - 16];
    let mut found = Vec::new();
    for file in fs::read_dir(data).expect("the data directory can be listed") {
        let path = file.expect("an entry").path();
        let Ok(bytes) = fs::read(&path) else { continue };
        if body.chunks_exact(24).any(|piece| memchr::memmem::find(&bytes, piece).is_some()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn the_bytes_are_gone_from_the_database_and_its_log() {
    let server = start();
    let api = server.api();
    // Between many others, of many lengths, so that pages fill and are split, and cells move.
    for round in 0..4 {
        for filler in 0..60 {
            put(
                &api,
                &format!("FILLER_{:02}", (filler * 37) % 60),
                "base",
                &"f".repeat(40 + (filler * 53 + round * 700) % 900),
            );
            if filler % 12 == 0 {
                put(&api, "LEAKED", "base", &format!("{round} {filler} {}", "leaked ".repeat(20 + 7 * filler)));
                put(&api, "LEAKED", "east", &format!("{round} {filler} {}", "leaked ".repeat(30)));
                put(&api, "KEPT", "base", &format!("{round} {filler} {}", "kept ".repeat(30)));
            }
        }
    }
    let data = server.data();
    let (leaked, kept) = (ciphertexts(&data, "LEAKED"), ciphertexts(&data, "KEPT"));
    assert_eq!((leaked.len(), kept.len()), (40, 20));
    assert!(leaked.iter().all(|one| !found_in(&data, one).is_empty()), "the search finds what is there");

    let destroyed = api.ok("DELETE", &format!("{AT}/LEAKED/versions?all_layers=true"), None);
    assert_eq!(destroyed["layers"][0]["versions"].as_array().map(Vec::len), Some(20), "{destroyed}");
    for one in &leaked {
        assert_eq!(found_in(&data, one), Vec::<String>::new());
    }
    assert!(kept.iter().all(|one| !found_in(&data, one).is_empty()), "what is not destroyed is there");

    // Who did what stays; and everything is still as authentic as it was.
    let history = api.ok("GET", &format!("{AT}/LEAKED/versions"), None);
    let states: Vec<&str> =
        history["entries"].as_array().expect("entries").iter().filter_map(|one| one["state"].as_str()).collect();
    assert_eq!(states, ["destroyed"; 21]);
    let bundle = api.ok("GET", "/v1/bundles/ship/production/east", None);
    assert_eq!(bundle["variables"].as_array().map(Vec::len), Some(61), "all fillers and KEPT");
    assert_eq!(api.call("GET", &format!("{AT}/LEAKED?version=1"), None).code(), "not-found");
    assert_eq!(api.ok("GET", "/v1/audit/verification", None)["intact"], true);
    let audit = api.ok("GET", "/v1/audit?entry=LEAKED&limit=1", None);
    let newest = api.ok("GET", "/v1/audit?limit=20", None);
    let line = newest["records"].as_array().expect("records").iter().find(|one| one["action"] == "destroy-entry");
    assert_eq!(line.expect("its line")["target"], "ship/production/*/LEAKED", "{audit}");
}

#[test]
fn a_kill_between_the_write_and_the_erasure_leaves_nothing_either() {
    let mut server = start();
    let mut destroyed = 0;
    // A busy machine comes late to the write: the pauses grow until a kill has come after it.
    for kill in 0..14_u64 {
        if kill >= 8 && destroyed > 0 {
            break;
        }
        let pause = if kill < 8 { kill * 3 } else { 30 << (kill - 8) };
        let name = format!("LEAKED_{kill}");
        for version in 0..3 {
            put(&server.api(), &name, "base", &format!("{version} {}", "leaked ".repeat(40)));
        }
        let data = server.data();
        let leaked = ciphertexts(&data, &name);
        assert_eq!(leaked.len(), 3);
        let (api, path) = (server.api(), format!("{AT}/{name}/versions"));
        let request = thread::spawn(move || drop(api.try_call("DELETE", &path, None)));
        thread::sleep(Duration::from_millis(pause));
        server.kill9();
        request.join().expect("the request's thread ends");
        server.restart();
        let reply = server.api().call("GET", &format!("{AT}/{name}?version=1"), None);
        if reply.status == 200 {
            continue;
        }
        destroyed += 1;
        for one in &leaked {
            assert_eq!(found_in(&data, one), Vec::<String>::new(), "kill {kill}");
        }
    }
    assert!(destroyed > 0, "every kill came too early: the test tried nothing");
}
