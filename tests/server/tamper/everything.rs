//! The whole database put back to an older copy, which agrees with itself; only the audit log, outside it, knows better.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{EAST_BUNDLE, Ship};

#[test]
fn the_whole_database_put_back_to_an_older_copy() {
    let mut ship = Ship::launch();
    ship.server.stop();
    let kept = copies(&ship.server.data());
    ship.server.restart();
    let newer = ship.canaries.value("the newer ALPHA");
    ship.server.api().ok("PUT", "/v1/entries/ship/production/ALPHA", Some(&json!({ "value": newer })));
    ship.server.stop();
    for (file, content) in &kept {
        fs::write(file, content).expect("the older copy is put back");
    }
    for gone in ["chandlery.db-wal", "chandlery.db-shm"] {
        let file = ship.server.data().join(gone);
        if !kept.iter().any(|(name, _)| *name == file) {
            drop(fs::remove_file(file));
        }
    }
    let said = match ship.server.try_restart() {
        Some(said) => said,
        None => {
            let reply = ship.server.api().call("GET", EAST_BUNDLE, None);
            assert!([500, 503].contains(&reply.status), "an old database was served: {}", reply.text());
            reply.text()
        }
    };
    let lower = said.to_lowercase();
    assert!(["older", "back", "revision", "audit"].iter().any(|word| lower.contains(word)), "{said}");
    ship.canaries.assert_absent("what the server said", said.as_bytes());
}

#[test]
fn nothing_in_the_data_directory_can_be_read_by_eye() {
    let mut ship = Ship::launch();
    ship.canaries.watch("the administrator's token", ship.server.admin_token());
    ship.canaries.assert_absent_below(&ship.server.data(), &["admin-token"]);
    ship.server.stop();
    ship.canaries.assert_absent_below(&ship.server.data(), &["admin-token"]);
}

fn copies(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let names = ["chandlery.db", "chandlery.db-wal", "chandlery.db-shm"];
    let files = names.map(|name| data.join(name));
    files.into_iter().filter_map(|file| fs::read(&file).ok().map(|content| (file, content))).collect()
}
