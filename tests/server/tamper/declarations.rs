//! Rows of stacks, environments, layers, tokens and keys.

use chandlery_tests::Place;
use chandlery_wire::Verb;
use serde_json::json;

use super::{EAST_BUNDLE, Ship, WEST_BUNDLE};

#[test]
fn a_manifest_edited_or_taken_from_another_layer() {
    let ship = Ship::launch();
    ship.edit("UPDATE layers SET manifest = zeroblob(32) WHERE layer = 'east'");
    ship.refuses(EAST_BUNDLE, "ship/production/east");
    ship.edit("UPDATE layers SET manifest = (SELECT manifest FROM layers WHERE layer = 'west') WHERE layer = 'east'");
    ship.refuses(EAST_BUNDLE, "ship/production/east");
    ship.edit("UPDATE layers SET manifest = x'' WHERE layer = 'east'");
    ship.refuses(EAST_BUNDLE, "ship/production/east");
    ship.serves(WEST_BUNDLE);
}

#[test]
fn a_region_slipped_into_the_environment() {
    let mut ship = Ship::launch();
    ship.edit("UPDATE environments SET regions = replace(regions, 'west', 'mars')");
    ship.refuses_now_and_later("/v1/bundles/ship/production/mars?service=app", "ship/production");
    ship.refuses("/v1/stacks/ship", "ship/production");
}

#[test]
fn a_service_slipped_into_the_stack() {
    let mut ship = Ship::launch();
    ship.edit("UPDATE stacks SET services = replace(services, 'db', 'spy')");
    ship.refuses_now_and_later("/v1/bundles/ship/production/east?service=spy", "ship");
}

#[test]
fn a_token_that_would_do_more_than_it_was_made_for() {
    let east = Place { stack: "ship", environment: "production", region: Some("east"), service: "app" };
    let mut request = east.token_request(&[Verb::ReadBundle]);
    request["expires_in"] = json!(3600);
    request["uses"] = json!(1000);
    for edit in [
        "scopes = '[{}]'",
        "scopes = replace(scopes, 'east', 'west')",
        "verbs = '[\"read-bundle\",\"administer\"]'",
        "expires = NULL",
        "expires = expires + 1000000",
        "created_by = 'tok_x'",
    ] {
        let ship = Ship::launch();
        let created = ship.server.api().ok("POST", "/v1/tokens", Some(&request));
        let (token, id) = (created["token"].as_str().expect("text"), created["info"]["id"].as_str().expect("text"));
        let api = ship.server.api().as_caller(Some(token));
        api.ok("GET", EAST_BUNDLE, None);
        ship.edit(&format!("UPDATE tokens SET {edit} WHERE id = '{id}'"));
        for path in [EAST_BUNDLE, WEST_BUNDLE, "/v1/tokens"] {
            let reply = api.call("GET", path, None);
            assert!([401, 403, 500].contains(&reply.status), "{edit}: {path}: {}", reply.text());
            ship.canaries.assert_absent("the reply", &reply.body);
        }
    }
}

#[test]
fn a_revoked_token_brought_back() {
    let ship = Ship::launch();
    let east = Place { stack: "ship", environment: "production", region: Some("east"), service: "app" };
    let created = ship.server.api().ok("POST", "/v1/tokens", Some(&east.token_request(&[Verb::ReadBundle])));
    let (token, id) = (created["token"].as_str().expect("text"), created["info"]["id"].as_str().expect("text"));
    ship.server.api().ok("DELETE", &format!("/v1/tokens/{id}"), None);
    ship.edit(&format!("UPDATE tokens SET revoked = NULL WHERE id = '{id}'"));
    let reply = ship.server.api().as_caller(Some(token)).call("GET", EAST_BUNDLE, None);
    assert!([401, 500].contains(&reply.status), "{}", reply.text());
}

#[test]
fn a_token_of_the_editor_s_own() {
    let ship = Ship::launch();
    let east = Place { stack: "ship", environment: "production", region: Some("east"), service: "app" };
    let token = ship.server.bundle_token(&east);
    // The hash of a token that the editor holds, in the administrator's row.
    let sql = "SELECT hex(hash) FROM tokens WHERE verbs NOT LIKE '%administer%'";
    let hash: String = ship.database().query_row(sql, [], |row| row.get(0)).expect("the token is stored");
    ship.edit(&format!("DELETE FROM tokens WHERE hash = x'{hash}'"));
    ship.edit(&format!("UPDATE tokens SET hash = x'{hash}' WHERE verbs LIKE '%administer%'"));
    for path in ["/v1/tokens", EAST_BUNDLE, WEST_BUNDLE] {
        let reply = ship.server.api().as_caller(Some(&token)).call("GET", path, None);
        assert!([401, 500].contains(&reply.status), "{path}: {}", reply.text());
    }
}

#[test]
fn a_data_key_replaced() {
    let mut ship = Ship::launch();
    ship.edit("UPDATE keys SET wrapped = zeroblob(length(wrapped))");
    let said = ship.server.stop();
    assert!(said.success(), "it stops as always");
    // It comes up sealed or not at all; it never serves.
    match ship.server.try_restart() {
        Some(said) => assert!(said.contains("damaged") || said.contains("key"), "{said}"),
        None => {
            let reply = ship.server.api().call("GET", EAST_BUNDLE, None);
            assert!([500, 503].contains(&reply.status), "{}", reply.text());
        }
    }
}
