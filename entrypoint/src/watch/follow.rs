//! The thread that follows the bundle: one request after the other, each held by the server until there is something new.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::pace::{Outcome, Pace, between, random};
use super::post::{News, Sender};
use crate::cache;
use crate::config::Config;
use crate::failure::say;
use crate::fetch::{Answer, Follower};

/// For how long the server is to hold a request: less than the minute after which proxies give up a silent connection,
/// and not the same for all, who would otherwise ask in step.
const HOLD: (Duration, Duration) = (Duration::from_secs(40), Duration::from_secs(55));
/// How often the same trouble is told.
const REMINDER: Duration = Duration::from_secs(60 * 60);
/// How many requests in a row have to fail before it is told: a server that restarts is no trouble.
const FAILURES: u32 = 3;
/// How often a copy (`--cache`) is told to be still good.
const CONFIRMED: Duration = Duration::from_secs(60 * 60);

/// Follows the bundle from this revision on, for as long as the process lives.
pub(super) fn follow(config: &Config, mut revision: u64, sender: &Sender) {
    let follower = match Follower::new(config) {
        Ok(follower) => follower,
        Err(failure) => return say(&format!("changes are not followed: {}", failure.what())),
    };
    let (mut pace, mut trouble) = (Pace::new(), Trouble::default());
    let (mut holds, mut confirmed) = (true, Instant::now());
    loop {
        let hold = if holds { between(HOLD.0, HOLD.1, random()) } else { Duration::ZERO };
        let begun = Instant::now();
        let (answer, retry_after) = follower.ask(revision, hold);
        let took = begun.elapsed();
        let outcome = match answer {
            Answer::New(fetched) if fetched.bundle.revision != revision => {
                trouble.over();
                revision = fetched.bundle.revision;
                confirmed = Instant::now();
                sender.send(News::Bundle(fetched));
                Outcome::New
            }
            Answer::New(_) | Answer::Same => {
                trouble.over();
                if confirmed.elapsed() >= CONFIRMED {
                    confirmed = Instant::now();
                    sender.send(News::Confirmed(revision));
                }
                Outcome::Same
            }
            // It is older than this program, and is asked again without the wish that it does not know.
            Answer::CannotHold => {
                holds = false;
                Outcome::New
            }
            Answer::Refused(failure) => {
                trouble.refused(&failure.line());
                // A copy must go when the server says no; there is none that could stand in for anything here.
                let _ = cache::instead(config, failure);
                Outcome::Refused
            }
            Answer::Away(what) => {
                // Who comes back may be newer.
                holds = true;
                trouble.failed(&what);
                Outcome::Failed
            }
        };
        sleep(pace.pause(outcome, took, retry_after, &mut random));
    }
}

/// What was told about trouble, so that it is told once and not at every request.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// The line that was told last, and when.
    told: Option<(String, Instant)>,
}

impl Trouble {
    fn refused(&mut self, what: &str) {
        self.failures = 0;
        self.tell(format!("{what}; the app keeps what it has, and the server is asked again from time to time"));
    }

    fn failed(&mut self, what: &str) {
        self.failures += 1;
        // The words differ from one try to the next: refused, then silent, then no name.
        let known = self.told.as_ref().is_some_and(|(_, when)| when.elapsed() < REMINDER);
        if self.failures >= FAILURES && !known {
            self.tell(format!("the server is away: {what}; the app keeps what it has, and the server is asked again"));
        }
    }

    fn tell(&mut self, line: String) {
        let known = |(told, when): &(String, Instant)| *told == line && when.elapsed() < REMINDER;
        if !self.told.as_ref().is_some_and(known) {
            say(&line);
            self.told = Some((line, Instant::now()));
        }
    }

    fn over(&mut self) {
        self.failures = 0;
        if self.told.take().is_some() {
            say("the server answers again, and changes are followed");
        }
    }
}
