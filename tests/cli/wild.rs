//! Compose files as people have them (`tests/stacks/wild`), each with what a new user stumbled over.

use std::fs;

use chandlery_tests::stacks::folder;
use chandlery_tests::{Run, Server};

struct User {
    server: Server,
    file: &'static str,
}

impl User {
    fn with(file: &'static str) -> Self {
        let server = Server::start();
        fs::copy(folder("wild").join(file), server.project().join(file)).expect("a copy");
        Self { server, file }
    }

    fn stack(&self, verb: &str, more: &[&str]) -> Run {
        let args = [&["stack", verb, "-f", self.file, "-s", "wild", "-e", "production"], more].concat();
        self.server.cli(&args)
    }
}

#[test]
fn what_is_only_passed_on_from_the_shell_may_be_missing_where_that_is_said() {
    let user = User::with("rails.yml");
    let imported = user.stack("import", &["--yes"]).ok();
    assert_eq!(imported.stderr.matches("START_AT").count(), 1, "a note is said once: {imported}");
    let checked = user.stack("check", &[]).fails();
    for name in ["web: LOG_LEVEL", "web: RAILS_MASTER_KEY", "db: TZ"] {
        assert!(checked.stderr.contains(name), "{name}: {checked}");
    }
    assert!(checked.stderr.contains("--optional"), "the way out is named: {checked}");
    let checked = user.stack("check", &["--optional", "LOG_LEVEL,TZ"]).fails();
    assert!(checked.stderr.contains("RAILS_MASTER_KEY") && !checked.stderr.contains("TZ"), "{checked}");
    user.stack("check", &["--optional", "LOG_LEVEL,TZ,RAILS_MASTER_KEY"]).ok();
    user.stack("check", &["--optional", "LOG_LEVEL,TZ", "--except", "web"]).ok();
    assert_eq!(user.stack("check", &["--except", "wbe"]).fails().code(), 2);
}

#[test]
fn one_service_that_cannot_be_declared_does_not_stop_the_others() {
    let user = User::with("swarm.yml");
    let refused = user.stack("import", &["--yes"]).fails();
    assert!(refused.stderr.contains("--except Cron"), "{refused}");
    let imported = user.stack("import", &["--yes", "--except", "Cron"]).ok();
    assert!(!imported.stderr.contains("INTERVAL") && !imported.text().contains("INTERVAL"), "{imported}");
    // Swarm mounts its own config, and nothing waits for another one.
    assert!(imported.stderr.contains("Swarm has it and mounts it"), "{imported}");
    assert!(!imported.stderr.contains("chandlery set default.conf"), "{imported}");
    assert!(imported.stderr.contains("chandlery set tls_crt @FILE"), "{imported}");
    let checked = user.stack("check", &["--except", "Cron"]).fails();
    assert!(checked.stderr.contains("web: tls_crt") && !checked.stderr.contains("tls_key"), "{checked}");
}

#[test]
fn a_mistyped_file_says_where_and_what() {
    let user = User::with("rails.yml");
    let broken = |text: &str| {
        fs::write(user.server.project().join("rails.yml"), text).expect("a file");
        user.stack("import", &["--dry-run"]).fails().stderr
    };
    let said = broken("services:\n\tweb:\n\t\timage: x\n");
    assert!(said.contains("rails.yml:2:") && said.contains("a tab does not indent"), "{said}");
    let said = broken("services:\n  web:\n    image: x\n    environment:\n      - KEY: hunter2\n");
    assert!(said.contains("rails.yml:5:") && said.contains("NAME=value") && !said.contains("hunter2"), "{said}");
    // What would else be passed over in silence, all of it at once.
    let said =
        broken("services:\n  web:\n    image: x\n    env_file: {path: a}\n    secrets: pw\n    healthcheck: 5\n");
    for line in ["rails.yml:4: web.env_file", "rails.yml:5: web.secrets", "rails.yml:6: web.healthcheck"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
