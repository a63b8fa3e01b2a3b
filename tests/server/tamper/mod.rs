//! Somebody edits the database behind the server's back. Whatever they do, no reader gets a value that was not written there:
//! the read is refused, with an error and an audit line that name the record and never its value.

mod declarations;
mod entries;
mod everything;

use chandlery_tests::{Canaries, Server};
use rusqlite::Connection;
use serde_json::json;

/// Where in SQL the stack's layers are.
const BASE: &str = "(SELECT id FROM layers WHERE layer = 'base')";
const EAST: &str = "(SELECT id FROM layers WHERE layer = 'east')";
const WEST: &str = "(SELECT id FROM layers WHERE layer = 'west')";

/// The bundles of the service `app`.
const EAST_BUNDLE: &str = "/v1/bundles/ship/production/east?service=app";
const WEST_BUNDLE: &str = "/v1/bundles/ship/production/west?service=app";

/// A server with a stack that has a bit of everything, and the database it keeps.
struct Ship {
    server: Server,
    canaries: Canaries,
}

impl Ship {
    fn launch() -> Self {
        let mut ship = Self { server: Server::start(), canaries: Canaries::new() };
        let api = ship.server.api();
        api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app", "db"] })));
        let regions = json!({ "regions": ["east", "west"] });
        api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&regions));
        for (name, region, grant) in [
            ("ALPHA", "", json!("all")),
            ("ALPHA", "", json!("all")),
            ("ALPHA", "", json!("all")),
            ("BETA", "", json!("all")),
            ("DB_ONLY", "", json!(["db"])),
            ("EASTERN", "?region=east", json!("all")),
            ("WESTERN", "?region=west", json!("all")),
            ("BOTH", "?region=east", json!("all")),
            ("BOTH", "?region=west", json!("all")),
        ] {
            let value = ship.canaries.value(&format!("{name}{region}"));
            let path = format!("/v1/entries/ship/production/{name}{region}");
            api.ok("PUT", &path, Some(&json!({ "value": value, "for": grant })));
        }
        for path in [EAST_BUNDLE, WEST_BUNDLE] {
            assert_eq!(api.ok("GET", path, None)["variables"].as_array().map(Vec::len), Some(4), "{path}");
        }
        ship
    }

    /// Does what somebody with `sqlite3` can do while the server runs.
    #[track_caller]
    fn edit(&self, sql: &str) -> usize {
        let connection = self.database();
        connection.busy_timeout(std::time::Duration::from_secs(30)).expect("a connection can wait");
        let changed = connection.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(changed > 0, "{sql} changed nothing");
        changed
    }

    fn database(&self) -> Connection {
        let connection = Connection::open(self.server.data().join("chandlery.db")).expect("the database opens");
        connection.pragma_update(None, "foreign_keys", false).expect("an editor may switch the keys off");
        connection
    }

    /// The read is refused, with what is at fault named in the reply and in the audit log, and no value in either.
    #[track_caller]
    fn refuses(&self, path: &str, record: &str) {
        let before = self.server.audit_file().len();
        let reply = self.server.api().call("GET", path, None);
        assert_eq!((reply.status, reply.code().as_str()), (500, "integrity"), "{path}: {}", reply.text());
        assert!(reply.text().contains(record), "{path}: {record} is not named: {}", reply.text());
        let audit = self.server.audit_file().split_off(before);
        assert!(audit.contains(r#""outcome":"failed""#) && audit.contains(record), "{record} is not named: {audit}");
        self.canaries.assert_absent("the reply", &reply.body);
        self.canaries.assert_absent("the audit log", audit.as_bytes());
        self.canaries.assert_absent("the server's log", self.server.log().as_bytes());
    }

    /// The same at once, and again after a restart, which has nothing in memory of the time before.
    #[track_caller]
    fn refuses_now_and_later(&mut self, path: &str, record: &str) {
        self.refuses(path, record);
        self.server.restart();
        self.refuses(path, record);
    }

    /// Another region's bundle is still served: a fault in one layer does not spread.
    #[track_caller]
    fn serves(&self, path: &str) {
        self.server.api().ok("GET", path, None);
    }
}
