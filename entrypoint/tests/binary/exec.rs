//! The app starts as if it had been started directly.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{CANARY, Server, Start, bundle, ok, program, token, variable};

fn server() -> Server {
    Server::unix(vec![ok(&bundle())])
}

#[test]
fn nothing_of_the_entrypoint_is_left_in_the_app() {
    let server = server();
    let mut start = Start::at(&server.address).env("CREDENTIALS_DIRECTORY", "/nowhere").args(&[
        "--",
        "/bin/sh",
        "-c",
        "echo up; exec sleep 30",
    ]);
    let mut child = asleep(&mut start.command);
    // Whatever the test's own process passes on by accident, the app would also get if it were started directly.
    let mut shell = Command::new("/bin/sh");
    let mut direct = asleep(shell.args(["-c", "echo up; exec sleep 30"]).stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(open_descriptors(child.id()), open_descriptors(direct.id()));
    direct.kill().unwrap();
    direct.wait().unwrap();
    let proc = format!("/proc/{}", child.id());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(set)).unwrap();
        // 32 and 33 belong to the C library: glibc's posix_spawn, which starts the test's programs, ignores them.
        let signals = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap() & !(0b11 << 31);
        assert_eq!(signals, 0, "{line}");
    }
    let environ = fs::read(format!("{proc}/environ")).unwrap();
    let environ = String::from_utf8_lossy(&environ);
    assert!(!environ.contains("CHANDLERY_") && !environ.contains(token().expose_secret()));
    assert!(environ.contains(CANARY) && environ.contains("CREDENTIALS_DIRECTORY="));
    let core = |path: &str| {
        let limits = fs::read_to_string(path).unwrap();
        limits.lines().find(|line| line.starts_with("Max core file size")).map(str::to_owned)
    };
    assert_eq!(core(&format!("{proc}/limits")), core("/proc/self/limits"));
    let threads = status.lines().find(|line| line.starts_with("Threads:")).unwrap();
    assert_eq!(threads, "Threads:\t1");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts what says "up" and then becomes sleep, and comes back when it has.
fn asleep(command: &mut Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    while fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() != "sleep\n" {
        thread::sleep(Duration::from_millis(2));
    }
    child
}

fn open_descriptors(process: u32) -> Vec<String> {
    let listed = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let mut names: Vec<_> = listed.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_apps_exit_code_and_signals_are_its_own() {
    let server = server();
    assert_eq!(Start::at(&server.address).sh("exit 42").code, 42);
    let mut start = Start::at(&server.address);
    start.command.args(["--", "/bin/sh", "-c", "kill -PIPE $$; echo survived"]);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&start.command.output().unwrap().status), Some(13));
}

#[test]
fn the_command_is_looked_for_in_the_apps_path() {
    let mut with_path = bundle();
    let scratch = crate::support::Scratch::new();
    // Programs cannot run from a /dev/shm that is mounted noexec, so the scripts lie elsewhere.
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(scratch.path().file_name().unwrap());
    fs::create_dir_all(&directory).unwrap();
    let script = |name: &str, text: &str, mode| {
        fs::write(directory.join(name), text).unwrap();
        fs::set_permissions(directory.join(name), Permissions::from_mode(mode)).unwrap();
    };
    script("my-app", "#!/bin/sh\necho from the path \"$@\"\n", 0o755);
    script("not-executable", "#!/bin/sh\n", 0o644);
    script("no-shebang", "echo a shell ran\n", 0o755);
    script("bad-interpreter", "#!/nowhere/sh\n", 0o755);
    with_path.variables.push(variable("PATH", directory.to_str().unwrap(), false));
    let server = Server::unix(vec![ok(&with_path)]);
    let run =
        |arguments: &[&str]| Start::at(&server.address).args(&["--allow-name", "PATH", "--"]).args(arguments).run();
    assert_eq!(run(&["my-app", "a b", "$c"]).stdout, "from the path a b $c\n");
    run(&["not-executable"]).failed(126, "not-executable");
    run(&["no-shebang"]).failed(126, "no-shebang");
    run(&["bad-interpreter"]).failed(127, "what it needs to start is not");
    run(&["sh"]).failed(127, "\"sh\" is not found");
    run(&[""]).failed(127, "not found");
    run(&["/"]).failed(126, "may not be executed");
    run(&["/etc/passwd/x"]).failed(127, "not found");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn bytes_that_are_no_text_pass_through() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let server = server();
    let mut start = Start::at(&server.address).env("ODD", odd).args(&[
        "--",
        "/bin/sh",
        "-c",
        "printf '%s' \"$ODD$0\" | od -An -tx1",
    ]);
    start.command.arg(odd);
    assert_eq!(start.run().stdout.trim(), "ff fe ff fe");
}

#[test]
fn a_variable_that_is_too_long_is_found_out_before_the_exec() {
    let mut large = bundle();
    large.variables.push(variable("LARGE", &CANARY.repeat(10_000), true));
    let server = Server::unix(vec![ok(&large)]);
    Start::at(&server.address).sh("echo ran").failed(7, "LARGE: 140007 bytes");
}

#[test]
fn nothing_set_is_an_error_that_says_what_to_set() {
    let output = Command::new(program()).env_clear().arg("app").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.lines().count() == 2 && text.contains("CHANDLERY_ADDR"), "{text}");
}
