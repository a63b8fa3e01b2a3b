//! One bundle from the server: tried again while trying again can help, and checked before it is used.

mod asked;
mod connection;
mod follower;
mod inquiry;
mod trust;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use chandlery_wire::{Bundle, Code, Problem};
use zeroize::Zeroizing;

use crate::config::{Address, Config};
use crate::failure::{Exit, Failure, OnCopy, seconds};
use crate::http::{self, Response};
use crate::tls;

pub(crate) use follower::{Answer, Follower};
pub(crate) use inquiry::inquire;

use connection::Connector;

/// The pause after the first try; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, so that a server that comes back is found soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause that a server can ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: u64 = 10;

/// Why a try brought no bundle.
#[derive(Debug)]
enum Trouble {
    /// Another try would end the same way.
    Final(Failure),
    /// Another try may do better.
    Passing(Seen),
}

/// What a try saw, for the case that it was the last one.
#[derive(Debug)]
struct Seen {
    what: String,
    faults: Vec<String>,
    /// What to do about it; empty where only the usual can be said.
    hint: String,
    /// How long the server wants to be left alone.
    pause: Duration,
    /// Whether it is the server that is away or cannot answer now, and not something else that answers in its place.
    away: bool,
}

/// What a fetch brings.
pub(crate) struct Fetched {
    pub bundle: Bundle,
    /// The bundle as the server sent it; absent where it did not come from the server.
    pub body: Option<Zeroizing<Vec<u8>>>,
}

/// Fetches the bundle that the configuration asks for.
///
/// # Errors
/// The server refuses, there is no such bundle, the server is not to be trusted, or the deadline passes; the last
/// case says what was seen last.
pub(crate) fn bundle(config: &Config) -> Result<Fetched, Failure> {
    let connector = Connector::new(config)?;
    let request = request(config, None);
    let deadline = Instant::now() + config.timeout;
    let mut pause = FIRST_PAUSE;
    let mut last: Option<Seen> = None;
    loop {
        let begun = Instant::now();
        let seen = match attempt(&connector, &request, config, deadline) {
            Ok(fetched) => return Ok(fetched),
            Err(Trouble::Final(failure)) => return Err(asked::where_the_region_is_from(config, failure)),
            Err(Trouble::Passing(seen)) => seen,
        };
        // A try that the deadline cut short saw nothing; what the one before it saw is what went wrong.
        let cut_short = Instant::now() >= deadline && begun.elapsed() < LONGEST_PAUSE;
        let seen = last.take_if(|_| cut_short).unwrap_or(seen);
        let left = deadline.saturating_duration_since(Instant::now());
        // What the server asks for is the same for all that ask: it is waited for first, and the jitter comes after it.
        std::thread::sleep((seen.pause + jittered(pause)).min(left));
        if Instant::now() >= deadline {
            return Err(unreachable(config, seen));
        }
        last = Some(seen);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between half of the pause and all of it: containers that start together must not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1024;
    pause / 2 + pause / 2 * u32::try_from(random).unwrap_or(0) / 1024
}

fn unreachable(config: &Config, seen: Seen) -> Failure {
    let time = seconds(config.timeout);
    let what = format!("no bundle from {} within {time} s; seen last: {}", config.address, seen.what);
    let hint = match seen.hint.as_str() {
        "" => {
            "check CHANDLERY_ADDR, that the server runs, and that this container shares a network with it; \
               CHANDLERY_TIMEOUT gives it more time"
        }
        hint => hint,
    };
    let copy = if seen.away { OnCopy::Use } else { OnCopy::Keep };
    Failure::new(Exit::Unreachable, what, hint).with_faults(seen.faults).with_copy(copy)
}

/// The request's bytes: for any bundle, or for one of another revision, and how long the server may take to have it.
fn request(config: &Config, other: Option<(u64, Duration)>) -> Zeroizing<Vec<u8>> {
    let host = match &config.address {
        Address::Tls(endpoint, _) | Address::Loopback(endpoint) => endpoint.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let (revision, wait) = other.unzip();
    let target = asked::target(config, wait.unwrap_or_default());
    http::get(&target, &host, config.token.as_ref(), revision)
}

fn attempt(connector: &Connector, request: &[u8], config: &Config, deadline: Instant) -> Result<Fetched, Trouble> {
    let response = connector
        .exchange(deadline, Duration::ZERO, |stream| http::exchange(stream, request))
        .map_err(|error| trouble(&error, config))?;
    if response.status == 200 { understand(response, config) } else { Err(refusal(&response)) }
}

/// What an error on the way means: a certificate that is not to be trusted, and a socket that is closed to this user, are
/// beyond another try.
fn trouble(error: &io::Error, config: &Config) -> Trouble {
    if let Some(failure) = trust::distrust(error, config) {
        return Trouble::Final(failure);
    }
    if let (Address::Unix(socket), io::ErrorKind::PermissionDenied) = (&config.address, error.kind()) {
        return Trouble::Final(Failure::new(
            Exit::Unreachable,
            format!("the socket {} may not be used by this user", socket.display()),
            "start the server with --socket-mode 0660 and this program in the socket's group (the directory must let it \
             through, too), or use https://",
        ));
    }
    let what = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "the server does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection ended in the middle of the answer".to_owned(),
        _ => tls::describe(error).unwrap_or_else(|| error.to_string()),
    };
    let away = error.kind() != io::ErrorKind::InvalidData;
    Trouble::Passing(Seen { what, faults: Vec::new(), hint: String::new(), pause: Duration::ZERO, away })
}

/// Reads a bundle, and makes sure that it is the one that was asked for.
fn understand(response: Response, config: &Config) -> Result<Fetched, Trouble> {
    // serde's own words are not printed: they may quote what they found.
    let bundle: Bundle = serde_json::from_slice(&response.body).map_err(|error| {
        Trouble::Passing(Seen {
            what: format!("the answer is not a bundle (line {}, column {})", error.line(), error.column()),
            faults: Vec::new(),
            hint: "check that CHANDLERY_ADDR is a Chandlery server of this version, with nothing in between".to_owned(),
            pause: Duration::ZERO,
            away: false,
        })
    })?;
    asked::check(config, &bundle).map_err(Trouble::Final)?;
    Ok(Fetched { bundle, body: Some(response.body) })
}

/// What an answer that is no bundle means.
fn refusal(response: &Response) -> Trouble {
    let status = response.status;
    let problem: Option<Problem> = serde_json::from_slice(&response.body).ok();
    // Not a proxy's page, whose 404 says something about the proxy.
    let ours = problem.is_some();
    let damaged = problem.as_ref().is_some_and(|problem| problem.code == Code::Integrity);
    let (what, hint, faults) = match problem {
        Some(problem) => {
            let faults = problem.faults.iter().map(|fault| format!("{}: {}", fault.name, fault.detail));
            (format!("{} ({status})", problem.detail), problem.hint, faults.collect())
        }
        None => (format!("an answer with status {status}"), String::new(), Vec::new()),
    };
    let exit = match status {
        // The store was changed behind the server's back, and time does not mend it.
        _ if damaged => Some((Exit::NoBundle, "look at the server's log and audit log")),
        // Too slow, too early, too many: the request itself is in order.
        408 | 425 | 429 => None,
        401 | 403 => {
            Some((Exit::Refused, "give this container a token that may read this bundle: `chandlery token create`"))
        }
        404 | 422 => Some((Exit::NoBundle, "see what is there with `chandlery list` and `chandlery explain NAME`")),
        400..=499 => Some((Exit::Refused, "check that the server and this program are of the same version")),
        _ => None,
    };
    match exit {
        Some((exit, usual)) => {
            let hint = if hint.is_empty() { usual } else { &hint };
            let refused = matches!(status, 401 | 403) || status == 404 && ours;
            let copy = if refused { OnCopy::Delete } else { OnCopy::Keep };
            let failure = Failure::new(exit, format!("the server says no: {what}"), hint);
            Trouble::Final(failure.with_faults(faults).with_copy(copy))
        }
        None => Trouble::Passing(Seen {
            what,
            faults,
            hint,
            pause: Duration::from_secs(response.retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER)),
            // A redirect is not what a server of ours sends.
            away: status >= 400,
        }),
    }
}
