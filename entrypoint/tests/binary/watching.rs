//! `--watch`: staying with the app, and what a change does.

mod changing;
mod processes;
mod server;
mod terminal;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::live::Live;
use crate::support::{Ended, Start, bundle, ended};

/// An app that is watched, and what it writes.
struct Watched {
    child: Option<Child>,
    start: Start,
}

impl Watched {
    /// Starts a shell script. It writes lines to the file `$OUT`; its stderr is the entrypoint's.
    fn start(live: &Live, arguments: &[&str], script: &str) -> Self {
        let start = Start::at(&live.address).args(&["--watch"]).args(arguments);
        let out = start.scratch.path().join("out");
        let mut start = start.env("OUT", &out).args(&["--", "/bin/sh", "-c", script]);
        let child = start.command.spawn().unwrap();
        Self { child: Some(child), start }
    }

    fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.start.scratch.secrets().join(name)
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.start.scratch.path().join("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the app has written so many lines, and returns them.
    #[track_caller]
    fn until_lines(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            assert!(Instant::now() < deadline, "only these lines: {lines:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: &str) {
        send(self.id(), signal);
    }

    /// Waits for the end of it by itself.
    fn ended(mut self) -> Ended {
        ended(self.child.take().unwrap())
    }

    /// Ends it as `docker stop` does.
    fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            send(child.id(), "TERM");
            thread::sleep(Duration::from_millis(200));
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn send(process: u32, signal: &str) {
    let _ = Command::new("kill").args([format!("-{signal}"), process.to_string()]).status();
}

/// A server, and an app that says when it starts and when it gets a SIGHUP.
fn watched(arguments: &[&str]) -> (Live, Watched) {
    let live = Live::new(bundle());
    let app = Watched::start(&live, arguments, APP);
    app.until_lines(1);
    // Its second request is the one that is held.
    live.until_asked(2);
    (live, app)
}

const APP: &str = r#"
    trap 'echo "hup $(cat "$TLS_KEY_FILE")" >> "$OUT"' HUP
    trap 'exit 9' TERM
    echo "start $DB_HOST $(cat "$TLS_KEY_FILE")" >> "$OUT"
    case "$DB_HOST" in bad*) exit 3;; esac
    while :; do sleep 0.02; done
"#;
