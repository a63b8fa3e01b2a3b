//! Under the name `wait`: what docker-compose-wait 2.12.1 does, line by line, and what it should have done.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::signals::signal;
use crate::support::{Ended, Scratch, ended, program};
use crate::waiting::{free_port, silent_port};

const RULE: &str = "[INFO  wait] --------------------------------------------------------";

/// The program under another name. Its environment is what is set here and nothing else.
struct Wait {
    command: Command,
    scratch: Scratch,
}

impl Wait {
    fn named(name: &str) -> Self {
        let scratch = Scratch::new();
        let link = scratch.path().join(name);
        std::os::unix::fs::symlink(program().canonicalize().unwrap(), &link).unwrap();
        let mut command = Command::new(link);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, scratch }
    }

    fn hosts(hosts: impl AsRef<str>) -> Self {
        Self::named("wait").env("WAIT_HOSTS", hosts.as_ref())
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    fn run(&mut self) -> Ended {
        ended(self.command.spawn().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// A port on which somebody listens, and what keeps it open.
fn open_port() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

fn lines<'a>(ended: &'a Ended, with: &str) -> Vec<&'a str> {
    ended.stderr.lines().filter(|line| line.contains(with)).collect()
}

#[test]
fn its_lines_are_the_original_s_to_the_letter() {
    let (open, _listener) = open_port();
    let mut wait = Wait::hosts(format!(" {open}, {open}")).env("WAIT_HOSTS_TIMEOUT", "7").env("WAIT_AFTER", "1");
    let path = wait.scratch.path().display().to_string();
    let ended = wait.command.env("WAIT_PATHS", &path).env("WAIT_BEFORE_HOSTS", "1").spawn().map(ended).unwrap();
    let expected = [
        "[WARN  wait] Environment variable [WAIT_HOSTS_TIMEOUT] is deprecated. Use [WAIT_TIMEOUT] instead.",
        "[WARN  wait] Environment variable [WAIT_BEFORE_HOSTS] is deprecated. Use [WAIT_BEFORE] instead.",
        RULE,
        "[INFO  wait]  docker-compose-wait 2.12.1",
        "[INFO  wait] ---------------------------",
        "[DEBUG wait] Starting with configuration:",
        &format!("[DEBUG wait]  - Hosts to be waiting for: [{open}, {open}]"),
        &format!("[DEBUG wait]  - Paths to be waiting for: [{path}]"),
        "[DEBUG wait]  - Timeout before failure: 7 seconds ",
        "[DEBUG wait]  - TCP connection timeout before retry: 5 seconds ",
        "[DEBUG wait]  - Sleeping time before checking for hosts/paths availability: 1 seconds",
        "[DEBUG wait]  - Sleeping time once all hosts/paths are available: 1 seconds",
        "[DEBUG wait]  - Sleeping time between retries: 1 seconds",
        "[DEBUG wait] --------------------------------------------------------",
        "[INFO  wait] Waiting 1 seconds before checking for hosts/paths availability",
        RULE,
        &format!("[INFO  wait] Checking availability of host [{open}]"),
        &format!("[INFO  wait] Host [{open}] is now available!"),
        RULE,
        &format!("[INFO  wait] Checking availability of host [ {open}]"),
        &format!("[INFO  wait] Host [ {open}] is now available!"),
        RULE,
        &format!("[INFO  wait] Checking availability of path [{path}]"),
        &format!("[INFO  wait] Path [{path}] is now available!"),
        RULE,
        "[INFO  wait] Waiting 1 seconds after hosts/paths availability",
        RULE,
        "[INFO  wait] docker-compose-wait - Everything's fine, the application can now start!",
        RULE,
    ];
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), expected);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
}

#[test]
fn nothing_to_wait_for_is_fine() {
    for hosts in ["", " ", "\n"] {
        let ended = Wait::hosts(hosts).args(&["--"]).run();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains("Everything's fine"));
    }
}

#[test]
fn the_time_over_is_1_and_says_once_what_was_last_seen() {
    let (open, _listener) = open_port();
    let (silent, _held) = silent_port();
    let (closed, silent) = (free_port().to_string(), silent.local_addr().unwrap().to_string());
    let hosts = format!("{open},{closed},{silent},no-such-name.invalid:80");
    let ended = Wait::hosts(hosts).env("WAIT_TIMEOUT", "2").env("WAIT_AFTER", "30").run();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("seconds after"), "WAIT_AFTER was slept: {}", ended.stderr);
    let end: Vec<&str> = ended.stderr.lines().skip_while(|line| !line.contains("Timeout!")).collect();
    let expected = [
        "[ERROR wait] Timeout! After 2 seconds some hosts are still not reachable".to_owned(),
        format!("[ERROR wait]  - {closed}: connection refused"),
        format!("[ERROR wait]  - {silent}: it is silent: no answer to any attempt"),
        "[ERROR wait]  - no-such-name.invalid:80: the name is not found".to_owned(),
    ];
    assert_eq!(end, expected);
    // The others are waited for at the same time, and told when their turn comes, as the original would.
    assert_eq!(lines(&ended, "is now available").len(), 1);
    let not_yet = lines(&ended, &format!("Host [{closed}] not yet available..."));
    assert!((1..=3).contains(&not_yet.len()), "{}", ended.stderr);
    assert!(lines(&ended, &silent).iter().all(|line| !line.contains("Checking")), "{}", ended.stderr);
}

#[test]
fn paths_may_be_directories_may_come_later_and_count_as_hosts_do() {
    let (open, _listener) = open_port();
    let closed = free_port().to_string();
    let missing = "/nowhere/at/all";
    let run = |hosts: &str, paths: &str| Wait::hosts(hosts).env("WAIT_PATHS", paths).env("WAIT_TIMEOUT", "300ms").run();
    assert_eq!(run(&open, "/usr,/etc/passwd").code, 0);
    let ended = run(&open, missing);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("[INFO  wait] Path /nowhere/at/all not yet available...\n"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("Timeout! After [0.3] seconds some paths are still not reachable"),
        "{}",
        ended.stderr
    );
    assert_eq!(run(&closed, "/usr").code, 1);

    let mut wait = Wait::named("wait");
    let path = wait.path("later");
    wait.command.env("WAIT_PATHS", &path);
    let child = wait.command.spawn().unwrap();
    thread::sleep(Duration::from_millis(100));
    fs::write(&path, "").unwrap();
    assert_eq!(ended_with(child, 0).code, 0);
}

fn ended_with(child: Child, code: i32) -> Ended {
    let ended = ended(child);
    assert_eq!(ended.code, code, "{}", ended.stderr);
    ended
}

#[test]
fn zero_is_one_attempt_at_each() {
    let (open, _listener) = open_port();
    let closed = free_port().to_string();
    let ended = Wait::hosts(&closed).env("WAIT_TIMEOUT", "0").run();
    assert_eq!(ended.code, 1);
    assert_eq!(lines(&ended, "not yet available").len(), 1, "{}", ended.stderr);
    assert_eq!(lines(&ended, "Timeout! After 0 seconds").len(), 1, "{}", ended.stderr);
    let ended = Wait::hosts(&open).env("WAIT_TIMEOUT", "0").env("WAIT_PATHS", "/usr").run();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(Wait::hosts("no-such-name.invalid:80").env("WAIT_TIMEOUT", "0").run().code, 1);
}

#[test]
fn the_command_is_split_and_gets_the_environment_as_it_is() {
    let (open, _listener) = open_port();
    let mut wait = Wait::hosts(&open).env("WAIT_COMMAND", " printf '%s|' a 'b c' \"d $HOME\" e\\ f # comment ");
    let ended = wait.command.env("HOME", "/x").spawn().map(ended).unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "a|b c|d $HOME|e f|"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Command to run once ready: printf '%s|' a"), "{}", ended.stderr);

    let mut wait = Wait::hosts(&open).env("CHANDLERY_TOKEN", "as it is").args(&["sh", "-c", "echo $$; env; exit 7"]);
    let child = wait.command.spawn().unwrap();
    let id = child.id();
    let ended = ended_with(child, 7);
    assert_eq!(ended.stdout.lines().next(), Some(&*id.to_string()), "the command has the same process id");
    for variable in [format!("WAIT_HOSTS={open}"), "CHANDLERY_TOKEN=as it is".to_owned()] {
        assert!(ended.stdout.contains(&variable), "{}", ended.stdout);
    }
    // SIGPIPE is not ignored in it.
    let status = Wait::hosts(&open).args(&["sh", "-c", "kill -PIPE $$"]).command.status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(13));
}

#[test]
fn the_variable_beats_the_arguments_and_says_so() {
    let ended = Wait::hosts("").env("WAIT_COMMAND", "echo variable").args(&["echo", "arguments"]).run();
    assert_eq!(ended.stdout, "variable\n");
    assert!(ended.stderr.contains("[WARN  wait] WAIT_COMMAND is set: the arguments are ignored."));
}

#[test]
fn commands_that_cannot_run_have_a_shell_s_codes() {
    for (command, code) in [("no-such-command", 127), ("/etc/passwd", 126), ("''", 127), ("a 'b", 2), ("# x", 2)] {
        let ended = Wait::hosts("").env("WAIT_COMMAND", command).run();
        assert_eq!(ended.code, code, "{command}: {}", ended.stderr);
        assert!(ended.stderr.lines().last().unwrap().starts_with("  hint: "), "{command}: {}", ended.stderr);
    }
}

#[test]
fn the_level_is_a_filter() {
    let (open, _listener) = open_port();
    let closed = free_port().to_string();
    let run = |hosts: &str, level: &str| {
        let ended = Wait::hosts(hosts).env("WAIT_TIMEOUT", "0").env("WAIT_LOGGER_LEVEL", level).run();
        (ended.code, ended.stderr)
    };
    for level in ["off", "", "bogus", "false"] {
        assert_eq!(run(&open, level), (0, String::new()), "{level:?}");
        assert_eq!(run(&closed, level), (1, String::new()), "{level:?}");
    }
    let (code, text) = run(&closed, "Error");
    assert!(code == 1 && text.starts_with("[ERROR wait] Timeout!") && !text.contains("INFO"), "{text}");
    let (_, text) = run(&open, "wait=info");
    assert!(text.contains("is now available") && !text.contains("DEBUG"), "{text}");
    assert!(run(&open, "debug").1.contains("[DEBUG wait] Starting"));
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_variable() {
    use std::os::unix::ffi::OsStrExt;
    for (name, value) in [
        ("WAIT_HOSTS", "db"),
        ("WAIT_HOSTS", "db:3306;cache:1"),
        ("WAIT_HOSTS", "db:3306,"),
        ("WAIT_PATHS", "/a,"),
        ("WAIT_TIMEOUT", ""),
        ("WAIT_TIMEOUT", "0.5"),
        ("WAIT_HOSTS_TIMEOUT", "-1"),
        ("WAIT_BEFORE", "10o"),
        ("WAIT_SLEEP_INTERVAL", "x"),
        ("WAIT_HOST_CONNECT_TIMEOUT", "0"),
        ("CHANDLERY_LOG_FORMAT", "xml"),
    ] {
        let ended = Wait::named("wait").env(name, value).run();
        assert_eq!(ended.code, 2, "{name}={value}: {}", ended.stderr);
        let named = if name.starts_with("CHANDLERY") { "log format" } else { name };
        assert!(ended.stderr.contains(&format!("{named}: ")) && ended.stderr.contains("  hint: "), "{}", ended.stderr);
    }
    for name in ["WAIT_HOSTS", "WAIT_PATHS", "WAIT_COMMAND", "WAIT_LOGGER_LEVEL", "WAIT_TIMEOUT"] {
        let ended = Wait::named("wait").env(name, std::ffi::OsStr::from_bytes(b"127.0.0.1:1\xff")).run();
        assert_eq!(ended.code, 2, "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{name}: is not UTF-8")), "{}", ended.stderr);
    }
}

#[test]
fn a_password_in_a_url_is_never_printed() {
    let closed = free_port();
    let url = format!("postgres://root:{}@{closed}/shop?x=1", crate::support::CANARY);
    for format in ["text", "json"] {
        // `ended` looks for the canary.
        let ended = Wait::hosts(&url).env("WAIT_TIMEOUT", "100ms").env("CHANDLERY_LOG_FORMAT", format).run();
        assert!(ended.code == 1 && ended.stderr.contains(&format!("postgres://{closed}")), "{}", ended.stderr);
    }
}

#[test]
fn a_signal_ends_every_phase() {
    let (open, _listener) = open_port();
    let phases = [
        ("before", Wait::hosts(&open).env("WAIT_BEFORE", "60"), "seconds before"),
        ("waiting", Wait::hosts("127.0.0.1:1").env("WAIT_TIMEOUT", "60"), "not yet available"),
        ("after", Wait::hosts(&open).env("WAIT_AFTER", "60"), "seconds after"),
    ];
    for (phase, mut wait, sign) in phases {
        let log = wait.path("log");
        wait.command.stderr(fs::File::create(&log).unwrap()).args(["echo", "ran"]);
        let child = wait.command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&log).unwrap().contains(sign) {
            assert!(Instant::now() < deadline, "{phase} never came");
            thread::sleep(Duration::from_millis(5));
        }
        signal(child.id(), "TERM");
        let ended = ended(child);
        assert_eq!((ended.code, ended.stdout.as_str()), (143, ""), "{phase}");
    }
}

#[test]
fn dockerize_s_spelling_and_the_subcommand_work_too() {
    let (open, _listener) = open_port();
    let closed = free_port();
    let mut wait = Wait::named("dockerize").args(&["-wait", &format!("tcp://{open}"), "-wait", "file:///usr"]);
    wait.command.args(["-timeout", "60s", "-wait-retry-interval", "5s", "echo", "up", "-x"]);
    assert_eq!(wait.run().stdout, "up -x\n");
    let ended =
        Wait::named("dockerize").args(&["-wait", &format!("tcp://{closed}"), "-timeout=200ms", "echo", "ran"]).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    let mut command = Command::new(program());
    command.env_clear().env("WAIT_HOSTS", &open).args(["wait", "/bin/echo", "up"]);
    let ended = crate::support::ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(ended.stdout, "up\n", "{}", ended.stderr);
    for flag in ["--help", "-version"] {
        let ended = Wait::named("wait").args(&[flag]).run();
        assert!(ended.code == 0 && !ended.stdout.is_empty() && ended.stderr.is_empty(), "{}", ended.stderr);
    }
    assert_eq!(Wait::named("dockerize").args(&["-template", "a:b"]).run().code, 2);
}

#[test]
fn a_closed_or_full_stderr_does_no_harm() {
    let (open, _listener) = open_port();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(Wait::hosts(&open).command.stderr(full).status().unwrap().code(), Some(0));
    let link = Wait::hosts(&open);
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().env("WAIT_HOSTS", &open).args(["-c", "exec \"$0\" 2>&-"]).arg(link.command.get_program());
    assert_eq!(shell.status().unwrap().code(), Some(0));
}
