//! Waiting until what the app needs accepts connections.

mod host;
mod plan;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::failure::{Exit, Failure, say, seconds};

pub(crate) use plan::Plan;

/// What a host's thread has to tell: which host, and what it sees now.
struct News {
    host: usize,
    sight: Sight,
}

/// What was last seen of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sight {
    /// Nothing yet.
    Nothing,
    /// The name has no address.
    NoName,
    /// Something there says no, or the network does; in the system's words.
    Refused(String),
    /// No answer at all.
    Silent,
    /// It accepts connections.
    Ready,
}

impl Sight {
    fn words(&self) -> &str {
        match self {
            Self::Nothing => "no attempt has ended yet",
            Self::NoName => "the name is not found",
            Self::Refused(words) => words,
            Self::Silent => "it is silent: no answer to any attempt",
            Self::Ready => "ready",
        }
    }
}

/// Waits for all of the plan's hosts at once, a thread for each.
///
/// # Errors
/// The time is over; says of each host that is missing what was last seen of it.
pub(crate) fn for_hosts(plan: &Plan) -> Result<(), Failure> {
    if plan.targets.is_empty() {
        return Ok(());
    }
    crate::sys::pin_name_services();
    let begin = Instant::now();
    let deadline = begin + plan.timeout;
    let (sender, receiver) = mpsc::channel();
    for (number, target) in plan.targets.iter().enumerate() {
        let (sender, target, pace) = (sender.clone(), target.clone(), plan.pace);
        let watch = move || {
            host::watch(&target, pace, deadline, |sight| {
                // The other end is gone only when this process is about to end.
                let _ = sender.send(News { host: number, sight });
            });
        };
        let spawned = std::thread::Builder::new().spawn(watch);
        spawned.map_err(|error| {
            let what = format!("no thread to wait for {}: {error}", plan.targets[number]);
            Failure::new(Exit::Internal, what, "raise the container's pids limit")
        })?;
    }
    let names: Vec<String> = plan.targets.iter().map(ToString::to_string).collect();
    say(&format!("waiting for {}", names.join(", ")));
    let mut seen = vec![Sight::Nothing; names.len()];
    while seen.iter().any(|sight| *sight != Sight::Ready) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(news) = receiver.recv_timeout(left) else {
            return Err(too_long(&names, &seen, plan.timeout));
        };
        if seen[news.host] != news.sight {
            let time = seconds(begin.elapsed());
            say(&format!("  {}: {} ({time} s)", names[news.host], news.sight.words()));
            seen[news.host] = news.sight;
        }
    }
    Ok(())
}

fn too_long(names: &[String], seen: &[Sight], timeout: Duration) -> Failure {
    let missing = names.iter().zip(seen).filter(|(_, sight)| **sight != Sight::Ready);
    let faults: Vec<String> = missing.map(|(name, sight)| format!("{name}: {}", sight.words())).collect();
    let what = format!("not reachable within {} s:", seconds(timeout));
    let hint = "look at the logs of what is missing; WAIT_TIMEOUT gives it more time";
    Failure::new(Exit::WaitedTooLong, what, hint).with_faults(faults)
}

/// How often to try. It is the same for all hosts of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// How long one attempt may stay unanswered.
    patience: Duration,
    /// Between attempts, where the user says it.
    interval: Option<Duration>,
}

/// One host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: Arc<str>,
    port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
