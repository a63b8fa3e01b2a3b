//! A server that says what it is told to, and the CLI's binary to ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) const TOKEN: &str = "chd_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwej2CTL";

/// What the server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default() }
    }

    /// A server that answers every request with this JSON.
    pub(crate) fn always(json: &str) -> Self {
        let json = json.to_owned();
        Self::new(move |_| (200, json.clone()))
    }

    /// A server that refuses every request with this problem.
    pub(crate) fn refusing(status: u16, code: &str, detail: &str) -> Self {
        let problem = serde_json::json!({
            "type": "about:blank", "title": "x", "status": status, "code": code, "detail": detail, "hint": "",
        });
        Self::new(move |_| (status, problem.to_string()))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Listens on a port of its own for as long as the test runs.
    pub(crate) fn on_loopback(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = self.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.serve(stream)));
        address
    }

    pub(crate) fn on_socket(&self, path: &Path) -> String {
        let listener = UnixListener::bind(path).unwrap();
        let server = self.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| server.serve(stream)));
        format!("unix://{}", path.display())
    }

    pub(crate) fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            let found =
                head.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
            found.map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = head[0].split(' ');
        let asked = Asked {
            method: words.next().unwrap().to_owned(),
            path: words.next().unwrap().to_owned(),
            token: header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned()),
            body: String::from_utf8(body).unwrap(),
        };
        let (status, json) = (self.answer)(&asked);
        self.asked.lock().unwrap().push(asked);
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        let reply = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
            json.len()
        );
        let _ = reader.get_mut().write_all(reply.as_bytes());
        let _ = reader.get_mut().flush();
    }
}

/// The CLI in an empty home, with a stack, an environment and a token.
pub(crate) struct Cli {
    pub(crate) home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Cli {
    pub(crate) fn bare() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub(crate) fn at(address: &str) -> Self {
        let cli = Self::bare();
        cli.with("CHANDLERY_ADDR", address)
            .with("CHANDLERY_TOKEN", TOKEN)
            .with("CHANDLERY_STACK", "shop")
            .with("CHANDLERY_ENVIRONMENT", "production")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chandlery"));
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).current_dir(self.home.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, b"")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran(output)
    }
}

pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!(self.0.status.success(), "{}{}", self.stdout(), self.stderr());
        self
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code(), code, "{}{}", self.stdout(), self.stderr());
        assert!(self.stderr().contains(part), "{part:?} is not in:\n{}", self.stderr());
        assert!(
            self.stderr().starts_with("chandlery: ") || self.stderr().contains("\nchandlery: "),
            "{}",
            self.stderr()
        );
        self
    }
}

/// What a write answers.
pub(crate) fn written(name: &str, changed: bool) -> String {
    serde_json::json!({
        "revision": 7,
        "entries": [{"name": name, "layer": "base", "for": "all", "version": 3, "changed": changed}],
    })
    .to_string()
}

/// A bundle of these variables, all secrets.
pub(crate) fn bundle(variables: &[(String, String)], files: serde_json::Value) -> String {
    let mut sorted = variables.to_vec();
    sorted.sort();
    let origin = serde_json::json!({"layer": "base", "version": 1});
    let variables: Vec<serde_json::Value> = sorted
        .iter()
        .map(|(name, value)| serde_json::json!({"name": name, "value": value, "secret": true, "origin": origin}))
        .collect();
    serde_json::json!({
        "stack": "shop", "environment": "production", "region": "sfo3", "service": "app", "revision": 7,
        "variables": variables, "files": files,
    })
    .to_string()
}
