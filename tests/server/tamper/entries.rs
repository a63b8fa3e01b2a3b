//! Rows of entries: swapped, moved, edited, rolled back, dropped, slipped in.

use super::{BASE, EAST, EAST_BUNDLE, Ship, WEST, WEST_BUNDLE};

#[test]
fn two_ciphertexts_swapped() {
    let mut ship = Ship::launch();
    ship.edit(&format!(
        "UPDATE current_entries SET sealed = (SELECT sealed FROM current_entries AS other WHERE other.layer_id = {BASE}
             AND other.name = iif(current_entries.name = 'ALPHA', 'BETA', 'ALPHA'))
         WHERE layer_id = {BASE} AND name IN ('ALPHA', 'BETA')"
    ));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn two_names_swapped() {
    let mut ship = Ship::launch();
    ship.edit(&format!("UPDATE current_entries SET name = 'TEMP' WHERE layer_id = {BASE} AND name = 'ALPHA'"));
    ship.edit(&format!("UPDATE current_entries SET name = 'ALPHA' WHERE layer_id = {BASE} AND name = 'BETA'"));
    ship.edit(&format!("UPDATE current_entries SET name = 'BETA' WHERE layer_id = {BASE} AND name = 'TEMP'"));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn a_row_moved_to_another_region() {
    let mut ship = Ship::launch();
    ship.edit(&format!("UPDATE current_entries SET layer_id = {WEST} WHERE name = 'EASTERN'"));
    ship.refuses(WEST_BUNDLE, "ship/production/west");
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/east");
}

#[test]
fn one_region_s_value_in_place_of_the_other_s() {
    let mut ship = Ship::launch();
    let east = format!("SELECT sealed FROM current_entries WHERE layer_id = {EAST} AND name = 'BOTH'");
    ship.edit(&format!("UPDATE current_entries SET sealed = ({east}) WHERE layer_id = {WEST} AND name = 'BOTH'"));
    ship.refuses_now_and_later(WEST_BUNDLE, "ship/production/west");
    ship.serves(EAST_BUNDLE);
}

#[test]
fn the_two_layers_exchanged_whole() {
    let mut ship = Ship::launch();
    ship.edit("UPDATE layers SET layer = 'temp' WHERE layer = 'east'");
    ship.edit("UPDATE layers SET layer = 'east' WHERE layer = 'west'");
    ship.edit("UPDATE layers SET layer = 'west' WHERE layer = 'temp'");
    ship.refuses(WEST_BUNDLE, "ship/production/west");
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/east");
}

#[test]
fn any_byte_of_a_ciphertext_edited() {
    let ship = Ship::launch();
    let sealed = sealed(&ship, "BETA");
    for at in 0..sealed.len() {
        let mut edited = sealed.clone();
        edited[at] ^= 1 << (at % 8);
        put(&ship, "BETA", &edited);
        ship.refuses(EAST_BUNDLE, "ship/production/base");
    }
    put(&ship, "BETA", &sealed);
    ship.serves(EAST_BUNDLE);
}

#[test]
fn a_ciphertext_cut_off_at_any_length() {
    let ship = Ship::launch();
    let sealed = sealed(&ship, "BETA");
    for length in 0..sealed.len() {
        put(&ship, "BETA", &sealed[..length]);
        ship.refuses(EAST_BUNDLE, "ship/production/base");
    }
    put(&ship, "BETA", &[&sealed[..], b"\0"].concat());
    ship.refuses(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn an_older_version_restored() {
    for version in [1, 2] {
        let mut ship = Ship::launch();
        ship.edit(&format!(
            "REPLACE INTO current_entries (layer_id, name, grant, version, state, attributes, created, author, previous, sealed)
             SELECT layer_id, name, grant, version, state, attributes, created, author, previous, sealed
             FROM past_entries WHERE layer_id = {BASE} AND name = 'ALPHA' AND version = {version}"
        ));
        ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
        ship.refuses("/v1/entries/ship/production/ALPHA", "ship/production/base");
    }
}

#[test]
fn an_older_ciphertext_under_the_newest_number() {
    let mut ship = Ship::launch();
    let past = format!("SELECT sealed FROM past_entries WHERE layer_id = {BASE} AND name = 'ALPHA' AND version = 2");
    ship.edit(&format!("UPDATE current_entries SET sealed = ({past}) WHERE layer_id = {BASE} AND name = 'ALPHA'"));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn a_row_deleted() {
    let mut ship = Ship::launch();
    ship.edit(&format!("DELETE FROM current_entries WHERE layer_id = {BASE} AND name = 'BETA'"));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn an_overlay_s_row_deleted_so_that_the_base_would_show() {
    let mut ship = Ship::launch();
    ship.edit(&format!("DELETE FROM current_entries WHERE layer_id = {EAST} AND name = 'BOTH'"));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/east");
    ship.serves(WEST_BUNDLE);
}

#[test]
fn an_overlay_deleted_whole() {
    let mut ship = Ship::launch();
    ship.edit(&format!("DELETE FROM current_entries WHERE layer_id = {EAST}"));
    ship.edit("DELETE FROM layers WHERE layer = 'east'");
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/east");
}

#[test]
fn a_row_added() {
    for (name, grant) in [("NEW", "all"), ("BETA", "app")] {
        let mut ship = Ship::launch();
        ship.edit(&format!(
            "INSERT INTO current_entries (layer_id, name, grant, version, state, attributes, created, author, previous, sealed)
             SELECT layer_id, '{name}', '{grant}', version + 1, state, attributes, created, author, previous, sealed
             FROM current_entries WHERE layer_id = {BASE} AND name = 'BETA'"
        ));
        ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
    }
}

#[test]
fn a_grant_widened() {
    let mut ship = Ship::launch();
    ship.edit(&format!("UPDATE current_entries SET grant = 'all' WHERE layer_id = {BASE} AND name = 'DB_ONLY'"));
    ship.refuses_now_and_later(EAST_BUNDLE, "ship/production/base");
}

#[test]
fn what_a_row_says_besides_its_value() {
    for edit in [
        "attributes = replace(attributes, 'true', 'false')",
        "state = 'removed'",
        "state = 'deleted'",
        "version = version + 1",
        "created = created + 1",
        "author = 'tok_somebody_else'",
        "previous = x'00'",
    ] {
        let ship = Ship::launch();
        ship.edit(&format!("UPDATE current_entries SET {edit} WHERE layer_id = {BASE} AND name = 'ALPHA'"));
        ship.refuses("/v1/entries/ship/production/ALPHA", "ship/production/base");
    }
}

#[test]
fn a_past_version_edited() {
    let mut ship = Ship::launch();
    ship.edit(&format!(
        "UPDATE past_entries SET sealed = zeroblob(length(sealed)) WHERE layer_id = {BASE} AND name = 'ALPHA' AND version = 1"
    ));
    ship.refuses_now_and_later("/v1/entries/ship/production/ALPHA?version=1", "ALPHA");
    ship.serves(EAST_BUNDLE);
}

#[test]
fn a_past_version_in_place_of_another() {
    let mut ship = Ship::launch();
    let first = "SELECT sealed FROM past_entries WHERE name = 'ALPHA' AND version = 1";
    ship.edit(&format!("UPDATE past_entries SET sealed = ({first}) WHERE name = 'ALPHA' AND version = 2"));
    ship.refuses_now_and_later("/v1/entries/ship/production/ALPHA?version=2", "ALPHA");
}

#[test]
fn a_past_version_deleted() {
    let mut ship = Ship::launch();
    ship.edit("DELETE FROM past_entries WHERE name = 'ALPHA' AND version = 2");
    ship.refuses_now_and_later("/v1/entries/ship/production/ALPHA/versions", "ALPHA");
}

fn sealed(ship: &Ship, name: &str) -> Vec<u8> {
    let sql = format!("SELECT sealed FROM current_entries WHERE layer_id = {BASE} AND name = ?1");
    ship.database().query_row(&sql, [name], |row| row.get(0)).expect("the row is there")
}

fn put(ship: &Ship, name: &str, sealed: &[u8]) {
    let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    ship.edit(&format!("UPDATE current_entries SET sealed = x'{hex}' WHERE layer_id = {BASE} AND name = '{name}'"));
}
