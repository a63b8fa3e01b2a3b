//! One run of a program, from its arguments to its exit code.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// A run that hangs is ended after this long; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(600);
const TICK: Duration = Duration::from_millis(10);

/// A program about to run, in an environment that holds nothing but what the test puts there.
#[derive(Debug)]
pub struct Run {
    command: Command,
    stdin: Vec<u8>,
}

impl Run {
    #[must_use]
    pub fn new(program: impl AsRef<Path>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Self { command, stdin: Vec::new() }
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The program with its arguments, and the environment: for a test that puts another program in front.
    #[must_use]
    pub fn parts(&self) -> (Vec<OsString>, Vec<(String, OsString)>) {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let set = self.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let set = set.map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_owned()));
        (words.map(OsStr::to_owned).collect(), set.collect())
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started, or hangs.
    #[must_use]
    pub fn output(mut self) -> Output {
        let line = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut input = child.stdin.take().expect("stdin is a pipe");
        let bytes = self.stdin;
        // A program that does not read its input closes the pipe, and may.
        let writer = thread::spawn(move || drop(input.write_all(&bytes)));
        let stdout = reader(child.stdout.take().expect("stdout is a pipe"));
        let stderr = reader(child.stderr.take().expect("stderr is a pipe"));
        let status = wait(&mut child).unwrap_or_else(|| panic!("{line}: still running after {PATIENCE:?}"));
        drop(writer);
        let [stdout, stderr] = [stdout, stderr].map(|pipe| pipe.join().expect("a pipe is read to its end"));
        Output { line, status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }

    /// Runs it to its end, which must be a good one.
    ///
    /// # Panics
    /// If it is not, with what the program said.
    #[track_caller]
    pub fn ok(self) -> Output {
        let output = self.output();
        assert!(output.status.success(), "{output}");
        output
    }

    /// Runs it to its end, which must be a failure that is told: two lines, with no value in them, is the house rule.
    ///
    /// # Panics
    /// If it succeeds, or fails without a word.
    #[track_caller]
    pub fn fails(self) -> Output {
        let output = self.output();
        assert!(!output.status.success(), "this should have failed: {output}");
        assert!(!output.stderr.trim().is_empty(), "it failed without a word: {output}");
        assert!(!output.stderr.contains("panicked at"), "{output}");
        output
    }

    /// Starts it and leaves it running; the test owns the child.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(mut self, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Child {
        self.command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command))
    }
}

/// How a run ended, and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    line: String,
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// The exit code as a shell has it: 128 + n for a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// What it printed, as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// What it printed, as JSON.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// What `env -0` or `/proc/self/environ` printed, sorted by name.
    #[must_use]
    pub fn environment(&self) -> std::collections::BTreeMap<String, String> {
        let text = String::from_utf8_lossy(&self.stdout);
        let pairs = text.split('\0').filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(f, "{}\nended with {}\nstdout: {stdout}\nstderr: {}", self.line, self.status, self.stderr)
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(TICK);
    }
    child.kill().expect("an own child can be killed");
    child.wait().expect("a killed child ends");
    None
}
