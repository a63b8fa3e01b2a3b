//! The first team's stack on this host: what the README's first command shows, held.

use std::os::unix::fs::PermissionsExt;

use chandlery_tests::stacks::{ASIA, EUROPE, import_simpleapp, simpleapp, simpleapp_cli};
use chandlery_tests::{Canaries, Memory, Server, StartOptions};
use serde_json::json;

/// The app's environment as the app finds it.
const PRINT_ENVIRONMENT: [&str; 3] = ["--", "cat", "/proc/self/environ"];

#[test]
fn each_region_gets_its_own_variables_and_files() {
    let mut canaries = Canaries::new();
    let server = Server::start();
    import_simpleapp(&server, &mut canaries);
    for (region, tz, pool) in [(EUROPE, "Europe/Dublin", "5"), (ASIA, "Asia/Singapore", "20")] {
        let place = simpleapp(region, "app");
        let token = server.bundle_token(&place);
        let memory = Memory::new();
        let output = server.entrypoint(&place, &token, &memory, &PRINT_ENVIRONMENT).ok();
        server.hear(&output);
        let environment = output.environment();
        assert_eq!(environment["TZ"], tz);
        assert_eq!(environment["DB_POOL"], pool);
        assert_eq!(environment["GREETING"].contains("Sudah"), region == ASIA);
        let own = environment.keys().filter(|name| name.starts_with("CHANDLERY_")).collect::<Vec<_>>();
        assert!(own.is_empty(), "the app inherited {own:?}");

        for name in ["mysql_password", "redis_password"] {
            let file = memory.path().join(name);
            let value = std::fs::read(&file).expect("the file is placed");
            canaries.assert_present(&format!("{name} in {region}"), &value);
            assert_eq!(value.len(), "cnry-".len() + 30, "{name} is byte for byte what was piped in");
            let mode = std::fs::metadata(&file).expect("the file is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o400);
        }
        let password = std::fs::read_to_string(memory.path().join("mysql_password")).expect("the file is text");
        assert_eq!(environment["DATABASE_URL"], format!("mysql://root:{password}@db:3306/simple_db"));
        assert!(!memory.path().join("redis.conf").exists(), "the cache's file is not the app's");
    }
    assert_nothing_leaked(&server, &canaries);
}

#[test]
fn a_server_that_logs_at_its_loudest_logs_no_value() {
    let mut canaries = Canaries::new();
    let mut options = StartOptions::default();
    options.args.extend(["--log-level", "trace"].map(str::to_owned));
    let server = Server::start_with(options);
    import_simpleapp(&server, &mut canaries);
    canaries.watch("the administrator's token", server.admin_token());
    let root_key = std::fs::read_to_string(server.data().join("root.key")).expect("the root key is text");
    let root_key = root_key.trim().rsplit(':').next().unwrap_or_default();
    assert!(root_key.len() > 20, "the root key's file has its key after a colon");
    canaries.watch("the root key", root_key);
    let place = simpleapp(ASIA, "app");
    let token = server.bundle_token(&place);
    canaries.watch("the app's token", &token);
    server.hear(&server.entrypoint(&place, &token, &Memory::new(), &["--verbose", "--", "true"]).ok());
    server.hear(&server.entrypoint(&place, &token[..40], &Memory::new(), &["--", "true"]).fails());
    // A value where a value does not belong, in a path, a query and a body that is not JSON.
    let value = canaries.value("a value in the wrong place");
    for path in [format!("/v1/{value}"), format!("/v1/stacks/{value}"), format!("/v1/audit?since={value}")] {
        drop(server.api().call("GET", &path, None));
    }
    drop(server.api().call("PUT", "/v1/entries/simpleapp/production/X", Some(&json!({ "value": { value: 1 } }))));
    let log = server.log();
    canaries.assert_absent("the server's log", log.as_bytes());
    canaries.assert_absent("what the CLI and the entrypoint said", server.heard().as_bytes());
    canaries.assert_absent_below(&server.data(), &["admin-token", "root.key", "audit.log"]);
}

#[test]
fn a_file_can_be_a_template() {
    let mut canaries = Canaries::new();
    let server = Server::start();
    import_simpleapp(&server, &mut canaries);
    let place = simpleapp(ASIA, "cache");
    let memory = Memory::new();
    server.entrypoint(&place, &server.bundle_token(&place), &memory, &["--", "true"]).ok();
    let conf = std::fs::read_to_string(memory.path().join("redis.conf")).expect("the file is placed");
    canaries.assert_present(&format!("redis_password in {ASIA}"), conf.as_bytes());
    assert!(conf.contains("\nrequirepass cnry-") && conf.ends_with('\n'), "the rest of the file is as it was written");
}

#[test]
fn imported_passwords_lose_the_newline_their_files_end_with() {
    let server = Server::start();
    import_simpleapp(&server, &mut Canaries::new());
    // The overlays' passwords go; what shows again is the base's, which came from devsecrets.
    simpleapp_cli(&server, &["rm", "mysql_password", "--region", EUROPE]).ok();
    let place = simpleapp(EUROPE, "app");
    let memory = Memory::new();
    server.entrypoint(&place, &server.bundle_token(&place), &memory, &["--", "true"]).ok();
    let password = std::fs::read_to_string(memory.path().join("mysql_password")).expect("the file is placed");
    assert_eq!(password, "a-laptop-may-know-this-one");
}

#[test]
fn explain_names_origins_and_no_secret() {
    let mut canaries = Canaries::new();
    let server = Server::start();
    import_simpleapp(&server, &mut canaries);
    let place = simpleapp(ASIA, "app");
    let token = server.bundle_token(&place);
    canaries.watch("the app's token", &token);
    let output = server.entrypoint(&place, &token, &Memory::new(), &["--explain"]).ok();
    let table = output.text().to_owned() + &output.stderr;
    for name in ["TZ", "DATABASE_URL", "mysql_password", "redis_password"] {
        let line = table.lines().find(|line| line.contains(name));
        assert!(line.is_some(), "{name} is not in the table:\n{table}");
    }
    let origin = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_default();
    assert!(origin("TZ").contains(ASIA), "{table}");
    assert!(origin("MYSQL_DATABASE").contains("base"), "{table}");
    assert!(origin("DATABASE_URL").contains("template"), "{table}");
    canaries.assert_absent("the entrypoint's table", table.as_bytes());

    let output = simpleapp_cli(&server, &["explain", "DATABASE_URL", "--region", ASIA, "--service", "app"]).ok();
    let explanation = output.text().to_owned() + &output.stderr;
    assert!(explanation.contains("mysql_password") && explanation.contains(ASIA), "{explanation}");
    canaries.assert_absent("chandlery explain", explanation.as_bytes());
}

#[test]
fn a_token_of_one_region_is_refused_in_the_other() {
    let server = Server::start();
    import_simpleapp(&server, &mut Canaries::new());
    let europe = simpleapp(EUROPE, "app");
    let token = server.bundle_token(&europe);
    let memory = Memory::new();
    for place in [simpleapp(ASIA, "app"), simpleapp(EUROPE, "cache"), simpleapp("mars-1", "app")] {
        let output = server.entrypoint(&place, &token, &memory, &["--", "echo", "started"]).fails();
        assert!(!output.text().contains("started"), "{output}");
        let reply = server.api().as_caller(Some(&token)).call("GET", &place.bundle(), None);
        assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
    }
    assert_eq!(std::fs::read_dir(memory.path()).expect("the folder is there").count(), 0, "nothing was half placed");
    // The administrator may know which regions there are.
    let reply = server.api().call("GET", &simpleapp("mars-1", "app").bundle(), None);
    assert_eq!((reply.status, reply.code().as_str()), (404, "unknown-region"));
    assert!(reply.text().contains(EUROPE) && reply.text().contains(ASIA), "{}", reply.text());
}

/// Values are where they belong and nowhere else: not in what the programs print, not in the audit log, not on disk.
fn assert_nothing_leaked(server: &Server, canaries: &Canaries) {
    canaries.assert_absent("the server's log", server.log().as_bytes());
    canaries.assert_absent("what the CLI and the entrypoint said", server.heard().as_bytes());
    canaries.assert_absent_below(&server.data(), &[]);
    let audit = server.audit_file();
    assert!(audit.contains("read-bundle") && audit.contains("simpleapp"), "the audit log names what was read");
}
