//! A server that answers what it is told to, and starts of the program against it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chandlery_wire::{
    Bundle, BundleFile, BundleVariable, EntryName, EnvironmentName, Layer, Mode, Origin, Problem, RegionName,
    ServiceName, StackName, TokenText, Value, VariableName,
};
use rustls::{ServerConfig, ServerConnection};

/// In every secret value. No line on stderr may ever have it.
pub(crate) const CANARY: &str = "hunter2-canary";

pub(crate) fn token() -> TokenText {
    TokenText::from_secret(&[0xA5; 32])
}

/// What the fake server does with one request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
}

pub(crate) fn json(status: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    Answer::Bytes([head.as_bytes(), body].concat())
}

pub(crate) fn ok(bundle: &Bundle) -> Answer {
    json("200 OK", &serde_json::to_vec(bundle).unwrap())
}

pub(crate) fn problem(problem: &Problem) -> Answer {
    json(&format!("{} {}", problem.status, problem.title), &serde_json::to_vec(problem).unwrap())
}

/// The fake server. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _directory: Option<Scratch>,
}

impl Server {
    /// On a unix socket; the nth request gets the nth answer, and the last answer stays.
    pub(crate) fn unix(answers: Vec<Answer>) -> Self {
        let directory = Scratch::new();
        let path = directory.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&requests);
        thread::spawn(move || serve(listener.incoming().flatten(), &answers, &log));
        Self { address: format!("unix://{}", path.display()), requests, _directory: Some(directory) }
    }

    pub(crate) fn http(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&requests);
        thread::spawn(move || serve(listener.incoming().flatten(), &answers, &log));
        Self { address, requests, _directory: None }
    }

    pub(crate) fn tls(config: ServerConfig, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&requests);
        let config = Arc::new(config);
        let streams = move || {
            let connections = listener.incoming().flatten();
            let streams = connections
                .map(|socket| rustls::StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket));
            serve(streams, &answers, &log);
        };
        thread::spawn(streams);
        Self { address, requests, _directory: None }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve<S: Read + Write>(streams: impl Iterator<Item = S>, answers: &[Answer], log: &Mutex<Vec<String>>) {
    let mut held = Vec::new();
    for (number, mut stream) in streams.enumerate() {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            request.push(byte[0]);
        }
        log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
        match answers.get(number).or(answers.last()) {
            Some(Answer::Bytes(bytes)) => {
                let _ = stream.write_all(bytes);
                let _ = stream.flush();
            }
            Some(Answer::Silence) => held.push(stream),
            None => {}
        }
    }
}

/// A directory in memory that goes when the test ends.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/chandlery-test-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        layer: Layer::Overlay(RegionName::parse("eu-west-1").unwrap()),
        version: 2,
        template: false,
        reference: false,
    }
}

pub(crate) fn variable(name: &str, value: &str, secret: bool) -> BundleVariable {
    BundleVariable { name: VariableName::parse(name).unwrap(), value: Value::new(value), secret, origin: origin() }
}

pub(crate) fn file(name: &str, value: &str, mode: u32) -> BundleFile {
    BundleFile {
        name: EntryName::parse(name).unwrap(),
        value: Value::new(value),
        mode: Mode::new(mode).unwrap(),
        uid: None,
        gid: None,
        variable: Some(EntryName::parse(name).unwrap().path_variable()),
        secret: true,
        origin: origin(),
    }
}

/// What the tests' container gets: a secret, a plain variable and a file.
pub(crate) fn bundle() -> Bundle {
    Bundle {
        stack: StackName::parse("simpleapp").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        region: Some(RegionName::parse("eu-west-1").unwrap()),
        service: Some(ServiceName::parse("app").unwrap()),
        revision: 42,
        variables: vec![variable("DB_HOST", "db.eu.internal", false), variable("DB_PASSWORD", CANARY, true)],
        files: vec![file("tls_key", &format!("{CANARY}\n"), 0o400)],
        stale: Vec::new(),
        read_now: Vec::new(),
    }
}

/// The program under test: the one that cargo just built, or the one in `CHANDLERY_BIN_DIR`, such as a release.
pub(crate) fn program() -> PathBuf {
    match std::env::var_os("CHANDLERY_BIN_DIR") {
        Some(directory) => Path::new(&directory).join("chandlery-entrypoint"),
        None => env!("CARGO_BIN_EXE_chandlery-entrypoint").into(),
    }
}

/// How a start ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A start against a server. Its environment is what is set here and nothing else.
pub(crate) struct Start {
    pub(crate) command: Command,
    pub(crate) scratch: Scratch,
}

impl Start {
    pub(crate) fn at(address: &str) -> Self {
        Self::with_program(&program(), address)
    }

    pub(crate) fn with_program(program: &Path, address: &str) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs([
            ("PATH", "/usr/bin:/bin"),
            ("CHANDLERY_ADDR", address),
            ("CHANDLERY_TOKEN", token().expose_secret()),
            ("CHANDLERY_STACK", "simpleapp"),
            ("CHANDLERY_ENVIRONMENT", "production"),
            ("CHANDLERY_REGION", "eu-west-1"),
            ("CHANDLERY_SERVICE", "app"),
            ("CHANDLERY_TIMEOUT", "5s"),
        ]);
        command.env("CHANDLERY_SECRETS_DIR", scratch.secrets());
        Self { command, scratch }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs a shell script as the app, and waits for the end.
    pub(crate) fn sh(&mut self, script: &str) -> Ended {
        self.command.args(["--", "/bin/sh", "-c", script]);
        self.run()
    }

    pub(crate) fn run(&mut self) -> Ended {
        let child = self.command.spawn().unwrap();
        ended(child)
    }
}

/// Waits for the end, for at most 30 s, and makes sure that stderr gives nothing away.
pub(crate) fn ended(mut child: Child) -> Ended {
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let ended = Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(!ended.stderr.contains(CANARY), "a value on stderr: {}", ended.stderr);
    assert!(!ended.stderr.contains(&token().expose_secret()[..16]), "a token on stderr: {}", ended.stderr);
    ended
}

impl Ended {
    /// Makes sure that this is an error of two lines, or of more where it lists several things.
    pub(crate) fn failed(&self, code: i32, about: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stderr.contains(about), "{}", self.stderr);
        assert!(self.stdout.is_empty(), "the app ran: {}", self.stdout);
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("  hint: ") && last.len() > 20, "{}", self.stderr);
        assert!(self.stderr.starts_with("chandlery-entrypoint: "), "{}", self.stderr);
    }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}
