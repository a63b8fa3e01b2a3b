//! A server whose bundle changes while it is followed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use chandlery_wire::Bundle;

use crate::support::{Answer, Scratch, json, ok};

/// Like the real one: who names the revision there is waits for another one. Its threads end with the test's process.
pub(crate) struct Live {
    pub(crate) address: String,
    shared: Arc<Shared>,
    _directory: Scratch,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bundle: Bundle,
    /// What everybody gets instead of the bundle, those who wait too.
    instead: Option<Answer>,
    /// Whether the wish to be held is one that it knows.
    holds: bool,
    requests: Vec<String>,
}

impl Live {
    pub(crate) fn new(bundle: Bundle) -> Self {
        let directory = Scratch::new();
        let path = directory.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let state = State { bundle, instead: None, holds: true, requests: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(stream));
            }
        });
        Self { address: format!("unix://{}", path.display()), shared, _directory: directory }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Writes: what the bundle is from now on, at its next revision.
    pub(crate) fn write(&self, change: impl FnOnce(&mut Bundle)) {
        let mut state = self.state();
        change(&mut state.bundle);
        state.bundle.revision += 1;
        self.shared.changed.notify_all();
    }

    /// Answers everybody with this from now on, or like a server again.
    pub(crate) fn answer(&self, instead: Option<Answer>) {
        self.state().instead = instead;
        self.shared.changed.notify_all();
    }

    /// Is from now on a server that has not heard of the wish to be held.
    pub(crate) fn cannot_hold(&self) {
        self.state().holds = false;
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn until_asked(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.state().requests.len() < count {
            assert!(Instant::now() < deadline, "only {} requests", self.requests().len());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: UnixStream) {
        let mut request = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).is_ok_and(|count| count > 0) {}
        let known: Option<u64> = between(&request, "If-None-Match: \"", "\"").map(|text| text.parse().unwrap());
        let wait: u64 = between(&request, "wait=", " ").map_or(0, |text| text.parse().unwrap());
        let mut state = self.state.lock().unwrap();
        state.requests.push(request);
        if wait > 0 && !state.holds {
            drop(state);
            return send(&mut stream, &json("400 Bad Request", b""));
        }
        let nothing_new = |state: &mut State| state.instead.is_none() && known == Some(state.bundle.revision);
        let (state, _) = self.changed.wait_timeout_while(state, Duration::from_secs(wait), nothing_new).unwrap();
        let answer = match &state.instead {
            Some(answer) => answer.clone(),
            None if known == Some(state.bundle.revision) => {
                Answer::Bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())
            }
            None => ok(&state.bundle),
        };
        drop(state);
        send(&mut stream, &answer);
    }
}

fn send(stream: &mut UnixStream, answer: &Answer) {
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes);
        }
        Answer::Silence => loop {
            thread::park();
        },
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
