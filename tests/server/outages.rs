//! What a server does without its root key, without its audit log, and with a disk that is slow to acknowledge.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chandlery_tests::{Api, Canaries, Run, Server, StartOptions, skip};
use serde_json::json;

const BUNDLE: &str = "/v1/bundles/ship/production";

fn load(server: &Server, canaries: &mut Canaries) {
    let (api, value) = (server.api(), canaries.value("A"));
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({})));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    api.ok("PUT", "/v1/entries/ship/production/A", Some(&json!({ "value": value })));
    canaries.assert_present("A", &api.call("GET", BUNDLE, None).body);
}

fn refused_everywhere(api: &Api, code: &str, canaries: &Canaries) {
    let calls = [
        ("GET", BUNDLE),
        ("GET", "/v1/entries/ship/production/A"),
        ("GET", "/v1/stacks"),
        ("GET", "/v1/audit"),
        ("DELETE", "/v1/entries/ship/production/A"),
        ("GET", "/v1/no-such-route"),
        ("GET", "/v1/ready"),
    ];
    for (method, path) in calls {
        let reply = api.call(method, path, None);
        assert_eq!((reply.status, reply.code().as_str()), (503, code), "{method} {path}: {}", reply.text());
        assert!(!reply.json()["hint"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
        canaries.assert_absent("a refusal", &reply.body);
    }
    assert_eq!(api.call("GET", "/v1/health", None).status, 200, "it lives all the same");
}

/// Waits until it is so, for as long as a slow machine may need.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_sealed_server_serves_the_reason_and_opens_when_its_key_comes() {
    let mut canaries = Canaries::new();
    let mut server = Server::start();
    load(&server, &mut canaries);
    let key = server.data().join("root.key");
    let away = server.data().join("away.key");
    fs::rename(&key, &away).expect("the key is taken away");
    server.restart();
    refused_everywhere(&server.api(), "sealed", &canaries);
    let reason = server.api().call("GET", "/v1/ready", None).text();
    assert!(reason.contains("there is no root key"), "{reason}");
    assert!(!key.exists(), "no second root key was made");
    fs::rename(&away, &key).expect("the key comes back");
    until("the unsealing", || server.api().call("GET", "/v1/ready", None).status == 200);
    canaries.assert_present("A", &server.api().call("GET", BUNDLE, None).body);
}

#[test]
fn without_its_audit_log_nothing_is_served() {
    let mut canaries = Canaries::new();
    let server = Server::start();
    load(&server, &mut canaries);
    let log = server.data().join("audit.log");
    let away = server.data().join("away.log");
    fs::rename(&log, &away).expect("the log is taken away");
    refused_everywhere(&server.api(), "audit-unavailable", &canaries);
    fs::rename(&away, &log).expect("the log comes back");
    until("the healing", || server.api().call("GET", BUNDLE, None).status == 200);
    assert_eq!(server.api().ok("GET", "/v1/audit/verification", None)["intact"], true);
}

/// A tmpfs of a megabyte, unmounted with its folder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(test: &str) -> Option<Self> {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = place.path().to_str().expect("text").to_owned();
        let mounted = Run::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", &path]).output();
        if mounted.code() != 0 {
            skip(test, "a tmpfs can only be mounted by root");
            return None;
        }
        Some(Self(place))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn an_audit_log_on_a_full_disk_serves_nothing_until_there_is_room() {
    let Some(disk) = SmallDisk::mount("an_audit_log_on_a_full_disk_serves_nothing_until_there_is_room") else { return };
    let log = disk.file("audit.log").to_str().expect("text").to_owned();
    let args = ["--listen", "127.0.0.1:0", "--audit-file", &log].map(str::to_owned).to_vec();
    let server = Server::start_with(StartOptions { args, env: Vec::new() });
    let mut canaries = Canaries::new();
    load(&server, &mut canaries);
    let ballast = disk.file("ballast");
    // Filled to the last byte: a write fails when nothing is left.
    drop(fs::write(&ballast, vec![0; 2 << 20]));
    let api = server.api();
    until("the full disk", || api.call("GET", BUNDLE, None).status == 503);
    refused_everywhere(&api, "audit-unavailable", &canaries);
    fs::remove_file(&ballast).expect("there is room again");
    until("the healing", || api.call("GET", BUNDLE, None).status == 200);
    assert_eq!(api.ok("GET", "/v1/audit/verification", None)["intact"], true);
}

#[test]
fn a_write_is_acknowledged_after_its_two_syncs() {
    let name = "a_write_is_acknowledged_after_its_two_syncs";
    if Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return skip(name, "strace is not there");
    }
    let args = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let server = Server::start_with(StartOptions { args, env: Vec::new() });
    load(&server, &mut Canaries::new());
    let local = server.local();
    let api = Api::new(
        local.http_address.as_deref().expect("plain HTTP"),
        local.ca_file.as_ref(),
        Some(server.admin_token()),
    );
    let trace = server.project().join("trace");
    let mut tracer = Command::new("strace")
        .args(["-f", "-qq", "-s", "16", "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg", "-o"])
        .arg(&trace)
        .args(["-p", &local.pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    let read = || fs::read_to_string(&trace).unwrap_or_default();
    // A request that only reads is on the trace once strace has hold of every thread.
    until("strace", || api.call("GET", BUNDLE, None).status == 200 && read().contains("HTTP/1.1 200"));
    let before = read().lines().count();
    api.ok("PUT", "/v1/entries/ship/production/B", Some(&json!({ "value": "1" })));
    until("the reply on the trace", || read().lines().skip(before).any(|line| line.contains("HTTP/1.1 200")));
    drop(Command::new("kill").arg(tracer.id().to_string()).status());
    drop(tracer.wait());
    let trace = read();
    let until_reply: Vec<&str> = trace.lines().skip(before).take_while(|line| !line.contains("HTTP/1.1 200")).collect();
    let synced = until_reply.iter().filter(|line| line.contains("sync") && line.ends_with("= 0")).count();
    assert!(synced >= 2, "the database and the audit log, before the reply:\n{}", until_reply.join("\n"));
}

#[test]
fn a_lost_database_is_not_replaced_by_a_new_one() {
    let mut canaries = Canaries::new();
    let mut server = Server::start();
    load(&server, &mut canaries);
    server.stop();
    let (database, away) = (server.data().join("chandlery.db"), server.data().join("away.db"));
    fs::rename(&database, &away).expect("the database is lost");
    let said = server.try_restart().expect("the server does not start");
    assert!(said.contains("chandlery.db is not there") && said.contains("hint"), "{said}");
    assert!(!database.exists(), "nothing was put in its place");
    fs::rename(&away, &database).expect("the database comes back");
    server.restart();
    let token = fs::read_to_string(server.data().join("admin-token")).expect("the token is there");
    assert_eq!(token.trim(), server.admin_token(), "the admin's token is the old one");
    canaries.assert_present("A", &server.api().call("GET", BUNDLE, None).body);
}

#[test]
fn a_second_server_on_the_same_data_disturbs_nothing() {
    let server = Server::start();
    let second = Run::new(chandlery_tests::Program::Server.path())
        .args(["--data-dir", server.data().to_str().expect("text"), "--listen", "127.0.0.1:0"])
        .fails();
    assert!(second.stderr.contains("in use by another chandlery-server"), "{second}");
    server.cli(&["stacks"]).ok();
}
