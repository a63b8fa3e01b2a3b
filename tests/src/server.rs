//! One server with everything that is its own: data, log, and the home of whoever uses the CLI on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use chandlery_wire::Verb;
use chandlery_wire::api::LocalServer;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Api, Memory, Output, Place, Program, Run};

const TICK: Duration = Duration::from_millis(10);
/// How many ticks a server may take to start or to stop before the test calls it hung.
const TICKS: u32 = 6000;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct StartOptions {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { args: vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()], env: Vec::new() }
    }
}

/// A running server. Dropping it kills it and removes everything it wrote.
#[derive(Debug)]
pub struct Server {
    home: TempDir,
    options: StartOptions,
    child: Option<Child>,
    local: LocalServer,
    token: String,
    /// What the CLI and the entrypoint said on stderr, for the search for canaries.
    heard: Mutex<String>,
    memory: OnceLock<Memory>,
}

impl Server {
    /// Starts a server as the README does: no configuration, its own data directory, a free port.
    ///
    /// # Panics
    /// If it does not come up; the message holds its log.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(StartOptions::default())
    }

    /// # Panics
    /// If it does not come up; the message holds its log.
    #[must_use]
    pub fn start_with(options: StartOptions) -> Self {
        let home = TempDir::with_prefix("chandlery-test-").expect("a temporary folder");
        for folder in ["project", "user"] {
            fs::create_dir(home.path().join(folder)).expect("a folder in a new folder");
        }
        let local = LocalServer {
            pid: 0,
            address: String::new(),
            http_address: None,
            socket: None,
            ca_file: String::new(),
            ca_fingerprint: String::new(),
            token_file: String::new(),
        };
        let (heard, memory) = (Mutex::default(), OnceLock::new());
        let mut server = Self { home, options, child: None, local, token: String::new(), heard, memory };
        server.launch();
        server.token = server.read(&server.local.token_file).trim().to_owned();
        server
    }

    /// Ends it as an operator does, and waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it as a power cut does.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Ends it if it runs, and starts it on the same data.
    ///
    /// # Panics
    /// If it does not come up; the message holds its log.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// Tries to start it on data that it may refuse, and says what it said when it ended; `None` where it came up.
    pub fn try_restart(&mut self) -> Option<String> {
        let before = self.log().len();
        self.try_launch().err().map(|_| self.log().split_off(before))
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The folder the CLI runs in: what a user's checkout is.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    /// What the server said about itself when it came up.
    #[must_use]
    pub fn local(&self) -> &LocalServer {
        &self.local
    }

    /// Everything the server printed, over all of its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.read(self.home.path().join("server.log"))
    }

    /// Everything the CLI and the entrypoint printed on stderr in runs that were given to [`Server::hear`].
    #[must_use]
    pub fn heard(&self) -> String {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what a run said on stderr.
    pub fn hear(&self, output: &Output) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&output.stderr);
    }

    /// The audit log as it is on disk.
    #[must_use]
    pub fn audit_file(&self) -> String {
        self.read(self.data().join("audit.log"))
    }

    /// The API as the first start's administrator.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.local.address, Path::new(&self.local.ca_file), Some(&self.token))
    }

    /// The administrator's token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.token
    }

    /// The CLI as a user on this host has it, in the project's folder.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Run {
        Run::new(Program::Cli.path())
            .args(args)
            .env("HOME", self.home.path().join("user"))
            .env("CHANDLERY_DATA_DIR", self.data())
            .current_dir(self.project())
    }

    /// A token that does nothing but read this place's bundle.
    #[must_use]
    pub fn bundle_token(&self, place: &Place<'_>) -> String {
        let created = self.api().ok("POST", "/v1/tokens", Some(&place.token_request(&[Verb::ReadBundle])));
        created["token"].as_str().expect("a new token has a text").to_owned()
    }

    /// The entrypoint, as this host's build of it, in front of a command.
    #[must_use]
    pub fn entrypoint(&self, place: &Place<'_>, token: &str, memory: &Memory, args: &[&str]) -> Run {
        let run = Run::new(Program::Entrypoint.path())
            .args(args)
            .env("CHANDLERY_ADDR", &self.local.address)
            .env("CHANDLERY_CACERT", &self.local.ca_file)
            .env("CHANDLERY_TOKEN", token)
            .env("CHANDLERY_STACK", place.stack)
            .env("CHANDLERY_ENVIRONMENT", place.environment)
            .env("CHANDLERY_SERVICE", place.service)
            .env("CHANDLERY_SECRETS_DIR", memory.path());
        match place.region {
            Some(region) => run.env("CHANDLERY_REGION", region),
            None => run,
        }
    }

    /// A secrets directory for tests that start one app after the other.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.memory.get_or_init(Memory::new)
    }

    fn launch(&mut self) {
        if let Err(status) = self.try_launch() {
            panic!("the server ended with {status} instead of coming up:\n{}", self.log());
        }
    }

    fn try_launch(&mut self) -> Result<(), ExitStatus> {
        let log = File::options().create(true).append(true).open(self.home.path().join("server.log"));
        let log = log.expect("the server's log opens");
        let mut run = Run::new(Program::Server.path()).args(["--data-dir".as_ref(), self.data().as_os_str()]);
        run = run.args(&self.options.args).current_dir(self.home.path());
        run = self.options.env.iter().fold(run, |run, (name, value)| run.env(name, value));
        let mut child = run.spawn(log.try_clone().expect("a file has another handle"), log);
        let file = self.data().join("local.json");
        for _ in 0..TICKS {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return Err(status);
            }
            let found = fs::read(&file).ok().and_then(|json| serde_json::from_slice::<LocalServer>(&json).ok());
            // A file of the start before, which was killed, names another process.
            if let Some(local) = found.filter(|local| local.pid == child.id()) {
                self.local = local;
                self.child = Some(child);
                return Ok(());
            }
            thread::sleep(TICK);
        }
        drop((child.kill(), child.wait()));
        panic!("the server neither came up nor ended:\n{}", self.log());
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).expect("an own child can be signalled");
    }

    fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        for _ in 0..TICKS {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status;
            }
            thread::sleep(TICK);
        }
        drop((child.kill(), child.wait()));
        panic!("the server did not end:\n{}", self.log());
    }

    fn read(&self, path: impl AsRef<Path>) -> String {
        let bytes = fs::read(self.home.path().join(path.as_ref()));
        let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop((child.kill(), child.wait()));
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.home.path().join("server.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            drop(std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("the end of the server's log:\n{}\n", tail.join("\n")),
            ));
        }
    }
}
