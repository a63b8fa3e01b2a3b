//! Values that are kept outside, with the three programs: files and programs for sources. `tests/cli/aws` has AWS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use chandlery_tests::{Place, Server, StartOptions};
use serde_json::json;
use tempfile::TempDir;

const EAST: Place<'_> = Place { stack: "ship", environment: "production", region: Some("east"), service: "app" };
const CANARY: &str = "c4n4ry-0uts1de";

/// A server, the directory that it may read, and a program that prints what is in a file there, unless it is away.
struct Harbour {
    server: Server,
    outside: TempDir,
}

impl Harbour {
    fn new(ttl: &str, stale: &str) -> Self {
        let outside = TempDir::with_prefix("chandlery-outside-").expect("a folder");
        let path = outside.path().display();
        let program = outside.path().join("program");
        let script = format!("#!/bin/sh\n[ ! -e {path}/away ] && cat {path}/printed\n");
        fs::write(&program, script).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir(outside.path().join("values")).expect("a folder");
        let rules = format!(
            "[[source.file.read]]\ndirectory = \"{path}/values\"\nfor = [\"ship/production\"]\n\
             [[source.exec.run]]\nname = \"program\"\ncommand = [\"{}\"]\nfor = [\"ship\"]\n",
            program.display()
        );
        let config = outside.path().join("server.toml");
        fs::write(&config, rules).expect("a configuration");
        let args = ["--listen", "127.0.0.1:0", "--source-ttl", ttl, "--source-stale", stale, "--config"];
        let args = args.iter().map(ToString::to_string).chain([config.display().to_string()]).collect();
        let server = Server::start_with(StartOptions { args, env: Vec::new() });
        let api = server.api();
        api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
        api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({ "regions": ["east", "west"] })));
        api.ok("PUT", "/v1/stacks/ship/environments/test", Some(&json!({})));
        Self { server, outside }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn value(&self, name: &str) -> String {
        format!("file:{}", self.path("values").join(name).display())
    }

    /// A command of the CLI; `words` are separated by blanks.
    fn cli(&self, words: &str, more: &[&str]) -> chandlery_tests::Run {
        let words: Vec<&str> = words.split(' ').chain(more.iter().copied()).collect();
        self.server.cli(&words).env("CHANDLERY_STACK", "ship").env("CHANDLERY_ENVIRONMENT", "production")
    }

    fn set(&self, words: &str, reference: &str) {
        let output = self.cli(&format!("set {words} --from"), &[reference]).ok();
        self.server.hear(&output);
    }

    fn start(&self, more: &[&str], script: &str) -> chandlery_tests::Run {
        let token = self.server.bundle_token(&EAST);
        let memory = self.server.memory();
        let script = script.replace("{secrets}", &memory.path().display().to_string());
        let args: Vec<&str> = more.iter().copied().chain(["--", "sh", "-c", &script]).collect();
        self.server.entrypoint(&EAST, &token, memory, &args)
    }
}

#[test]
fn nothing_is_allowed_that_the_configuration_does_not_name() {
    let it = Harbour::new("5m", "1h");
    it.write("secret", CANARY);
    it.write("values/mine", CANARY);
    let outside = format!("file:{}", it.path("secret").display());
    let escaping = format!("file:{}/values/../secret", it.outside.path().display());
    for reference in
        ["file:/etc/passwd", &outside, &escaping, "exec:sh", "exec:program:-o", "aws:eu-west-1:app/env#KEY"]
    {
        let refused = it.cli("set A --from", &[reference]).fails();
        assert!(refused.stderr.contains("nothing was written"), "{refused}");
        let unread = it.cli("set A --no-check --from", &[reference]).fails();
        assert!(!unread.stderr.contains(CANARY), "{unread}");
    }
    it.set("A", &it.value("mine"));
    // For another environment the same is not named, whichever way it goes.
    let refused = it.cli("set A --environment test --from", &[&it.value("mine")]).fails();
    assert!(refused.stderr.contains("may not be read for ship/test"), "{refused}");
    let refused = it.cli("promote production test A --yes", &[]).fails();
    assert!(refused.stderr.contains("may not be read for ship/test"), "{refused}");
    assert!(!it.server.audit_file().contains(CANARY) && !it.server.log().contains(CANARY));
}

#[test]
fn a_value_goes_from_outside_to_the_app_and_a_change_follows() {
    let it = Harbour::new("1s", "1h");
    it.write("values/app.env", &format!("# the app\nDB_USER=app\nDB_PASSWORD='{CANARY}'\n"));
    it.write("values/tls.key", "-----KEY-----\n");
    it.write("printed", "{\"port\": 3306}\n");
    it.set("DB_PASSWORD", &format!("{}#DB_PASSWORD", it.value("app.env")));
    it.set("TLS_KEY --file", &it.value("tls.key"));
    it.set("PORT --region east", "exec:program#port");
    let template = "mysql://app:${DB_PASSWORD}@db:${PORT}";
    drop(it.cli("set URL --template -", &[]).stdin(template).ok());

    let app = it.start(&[], "echo $DB_PASSWORD; echo $URL; cat {secrets}/TLS_KEY").ok();
    assert_eq!(app.text(), format!("{CANARY}\nmysql://app:{CANARY}@db:3306\n-----KEY-----\n"));
    assert_eq!(app.stderr, "");

    let reference = format!("→ {}#DB_PASSWORD", it.value("app.env"));
    let list = it.cli("list", &[]).ok();
    assert!(list.text().contains(&reference) && !list.text().contains(CANARY), "{list}");
    assert!(it.cli("matrix", &[]).ok().text().contains('→'));
    let explained = it.cli("explain DB_PASSWORD --region east --service app", &[]).ok();
    assert!(
        explained.text().contains("secret reference to file:") && explained.text().contains("└─ read 20"),
        "{explained}"
    );
    assert_eq!(it.cli("get DB_PASSWORD", &[]).ok().text(), &reference["→ ".len()..]);

    let revision = it.server.api().ok("GET", &EAST.bundle(), None)["revision"].as_u64().expect("a revision");
    it.write("values/app.env", "DB_PASSWORD=another\n");
    let changed = it.server.api().get_after(revision, &format!("{}&wait=60", EAST.bundle())).json();
    let value = |name: &str| {
        let variables = changed["variables"].as_array().expect("a list");
        variables.iter().find(|one| one["name"] == name).map(|one| one["value"].as_str().expect("text").to_owned())
    };
    assert_eq!(value("DB_PASSWORD").as_deref(), Some("another"));
    assert_eq!(value("URL").as_deref(), Some("mysql://app:another@db:3306"));
    for kept in [it.server.audit_file(), it.server.log(), it.server.heard()] {
        assert!(!kept.contains(CANARY));
    }
    assert!(it.server.audit_file().contains("\"action\":\"fetch\""));
}

#[test]
fn a_source_that_is_away_is_told_and_one_that_says_no_ends_it() {
    let it = Harbour::new("1s", "1h");
    it.write("printed", CANARY);
    it.write("values/file", CANARY);
    it.set("PRINTED", "exec:program");
    it.set("READ", &it.value("file"));
    it.start(&[], "true").ok();
    it.write("away", "");
    let warned = || it.start(&[], "echo $PRINTED").ok();
    let mut app = warned();
    while app.stderr.is_empty() {
        thread::sleep(Duration::from_millis(100));
        app = warned();
    }
    assert_eq!(app.text(), format!("{CANARY}\n"));
    let line = "warning: PRINTED may be old: from exec:program as of 20";
    assert!(app.stderr.contains(line) && app.stderr.contains("exit status: 1"), "{app}");
    assert!(!app.stderr.contains(CANARY) && !app.stderr.contains("READ"), "{app}");
    let exported = it.cli("export --service app --region east --format json", &[]).ok();
    assert!(exported.stderr.contains(line) && exported.json()["PRINTED"] == CANARY, "{exported}");
    let run = it.cli("run --service app --region east --", &["true"]).ok();
    assert!(run.stderr.contains(line), "{run}");
    let explained = it.cli("explain PRINTED --service app --region east", &[]).ok();
    assert!(explained.text().contains("may be old: read 20"), "{explained}");

    fs::remove_file(it.path("values/file")).expect("it is there");
    let mut refused = it.start(&["--timeout", "5s"], "echo started").output();
    while refused.code() == 0 {
        thread::sleep(Duration::from_millis(100));
        refused = it.start(&["--timeout", "5s"], "echo started").output();
    }
    assert!(refused.stdout.is_empty(), "{refused}");
    assert!(
        refused.stderr.contains("READ: cannot be had from outside") && refused.stderr.contains("is not there"),
        "{refused}"
    );
}

#[test]
fn past_its_bound_nothing_old_is_served_and_the_start_waits_for_the_source() {
    let it = Harbour::new("1s", "1s");
    it.write("printed", CANARY);
    it.set("PRINTED", "exec:program");
    it.write("away", "");
    thread::sleep(Duration::from_secs(3));
    let reply = it.server.api().call("GET", &EAST.bundle(), None);
    assert_eq!((reply.status, reply.code().as_str()), (503, "source-unavailable"), "{}", reply.text());
    assert!(reply.text().contains("exec:program") && !reply.text().contains(CANARY), "{}", reply.text());
    let starting = it
        .start(&["--timeout", "60s"], "echo $PRINTED")
        .spawn(std::process::Stdio::piped(), std::process::Stdio::piped());
    thread::sleep(Duration::from_secs(1));
    fs::remove_file(it.path("away")).expect("it is there");
    let output = starting.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{CANARY}\n"));
}

#[test]
fn what_the_configuration_cannot_mean_is_refused_at_the_start() {
    let folder = TempDir::new().expect("a folder");
    for (rules, part) in [
        ("[[source.file.read]]\ndirectory = \"values\"", "absolute path"),
        ("[[source.file.read]]\ndirectory = \"/a/../b\"", "absolute path"),
        ("[[source.file.read]]\ndirectory = \"/v\"\nfor = [\"a/b/c\"]", "STACK/ENVIRONMENT"),
        ("[[source.exec.run]]\nname = \"a\"\ncommand = [\"pass\"]", "absolute path"),
        ("[[source.exec.run]]\nname = \"a\"\ncommand = []", "absolute path"),
        ("[source.vault]\nx = 1", "unknown field"),
        ("[[source.aws.read]]\nsecrets = [\"*:secret:app/*\"]", "begins with arn:"),
        ("source_ttl = \"10ms\"", "1s or more"),
    ] {
        let config = folder.path().join("server.toml");
        fs::write(&config, rules).expect("a configuration");
        let run = chandlery_tests::Run::new(chandlery_tests::Program::Server.path());
        let run = run.args(["--data-dir".as_ref(), folder.path().join("data").as_os_str()]);
        let refused = run.args(["--config".as_ref(), config.as_os_str()]).fails();
        assert!(refused.stderr.contains(part), "{rules}: {refused}");
    }
}
