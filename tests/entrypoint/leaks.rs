//! What is left of secrets on the way: no core file, nothing on a disk, nothing in an argument.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use chandlery_tests::{Canaries, Memory, Place, Run, Server, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

/// A server with a secret variable and a secret file; both values are canaries, and so is the token.
fn ship() -> (Server, String, Canaries) {
    let server = Server::start();
    let mut canaries = Canaries::new();
    let api = server.api();
    api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
    api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
    let variable = json!({ "value": canaries.value("variable") });
    api.ok("PUT", "/v1/entries/ship/production/PASSWORD", Some(&variable));
    let file = json!({ "value": canaries.value("file"), "deliver": { "file": {} } });
    api.ok("PUT", "/v1/entries/ship/production/FILE", Some(&file));
    let token = server.bundle_token(&PLACE);
    canaries.watch("token", &token);
    (server, token, canaries)
}

/// Aborts a run of a shell script, in a folder that would get the core file, when it is ready; says whether it left one.
fn leaves_a_core(run: Run, folder: &TempDir, ready: impl Fn() -> bool) -> bool {
    let mut child = run.current_dir(folder.path()).spawn(Stdio::null(), Stdio::null());
    while !ready() {
        assert!(child.try_wait().expect("a child can be waited for").is_none(), "it ended before it was aborted");
        thread::sleep(Duration::from_millis(5));
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
    kill_process(pid, Signal::ABORT).expect("an own child can be signalled");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(6), "it was to end by SIGABRT");
    status.core_dumped() || std::fs::read_dir(folder.path()).expect("a folder").count() > 0
}

#[test]
fn an_abort_while_it_waits_leaves_no_core_file() {
    const UNLIMITED: &str = "ulimit -c unlimited && exec \"$@\"";
    // What shows that this machine writes one at all: the same for a program that forbids nothing.
    let (control, folder) = (TempDir::new().expect("a temporary folder"), TempDir::new().expect("a temporary folder"));
    let started = Memory::new();
    let marker = started.path().join("started");
    let run = Run::new("/bin/sh").args(["-c", UNLIMITED, "sh", "sh", "-c", "touch $0; sleep 5; true"]).args([&marker]);
    if !leaves_a_core(run, &control, || marker.exists()) {
        return skip("an_abort_while_it_waits_leaves_no_core_file", "this machine writes no core files at all");
    }
    let (server, token, _) = ship();
    let memory = Memory::new();
    let start = server.entrypoint(&PLACE, &token, &memory, &["--", "echo", "started"]);
    let (program, environment) = start.parts();
    let run = Run::new("/bin/sh").args(["-c", UNLIMITED, "sh"]).args(program);
    let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
    let run = run.env("WAIT_HOSTS", "127.0.0.1:9").env("WAIT_TIMEOUT", "60");
    assert!(!leaves_a_core(run, &folder, || memory.path().join("FILE").exists()), "there is a core file");
}

#[test]
fn secrets_are_written_to_memory_and_sockets_and_are_in_nobody_s_arguments() {
    let name = "secrets_are_written_to_memory_and_sockets_and_are_in_nobody_s_arguments";
    if Run::new("/usr/bin/env").args(["strace", "-V"]).output().code() != 0 {
        return skip(name, "no strace");
    }
    let (server, token, canaries) = ship();
    let (memory, disk) = (Memory::new(), TempDir::new().expect("a temporary folder"));
    let token_file = disk.path().join("token");
    std::fs::write(&token_file, &token).expect("the folder takes a file");
    let start = server.entrypoint(&PLACE, &token, &memory, &["--verbose", "--", "/bin/true"]);
    let start = start.env_remove("CHANDLERY_TOKEN").env("CHANDLERY_TOKEN_FILE", &token_file);
    let (program, environment) = start.env("CHANDLERY_CACHE", disk.path().join("copies")).parts();
    let trace = disk.path().join("trace");
    // Every call with all of its data, and for each descriptor what it is; the environment of an exec is not shown.
    let options = ["-f", "-y", "-s", "1000000", "-e", "trace=all", "-e", "abbrev=execve", "-o"];
    let run = Run::new("/usr/bin/env").args(["strace"]).args(options).args([&trace]).args(program);
    environment.iter().fold(run, |run, (name, value)| run.env(name, value)).ok();
    let lines = std::fs::read_to_string(&trace).expect("strace writes its file");
    let (mut files, mut copies, mut sent) = (0, 0, 0);
    for line in lines.lines() {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        let writes = ["write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg", "splice"];
        if name == "execve" || name == "execveat" {
            canaries.assert_absent("an exec", call.as_bytes());
        }
        if !writes.contains(&name) {
            continue;
        }
        let target = call.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
        let in_memory = target.starts_with(memory.path().to_str().expect("a plain path"));
        if in_memory {
            files += 1;
        } else {
            canaries.assert_absent(&format!("what was written to {target}"), call.as_bytes());
        }
        copies += usize::from(target.contains("/copies/"));
        sent += usize::from(target.starts_with("socket:") || target.starts_with("TCP"));
    }
    // A search that looks at nothing proves nothing.
    assert!(files >= 1 && copies >= 1 && sent >= 2, "{files} {copies} {sent}\n{lines}");
    canaries.assert_present("file", lines.as_bytes());
}
