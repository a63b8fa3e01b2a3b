//! The main thread: what it knows, what it waits for, and when it acts.

use std::time::Instant;

use super::change::{Change, Set};
use super::family::Family;
use super::pace::{between, random};
use super::post::{News, Post, Sender};
use crate::config::{Config, Watch};
use crate::environ;
use crate::failure::{say, seconds};
use crate::fetch::Fetched;
use crate::files::Sets;
use crate::report;

/// The app is over, and with it this process: its exit code.
#[derive(Debug)]
pub(super) struct Over(pub(super) i32);

/// Everything about one app that is watched.
pub(super) struct Supervisor<'a> {
    pub(super) config: &'a Config,
    pub(super) watch: &'a Watch,
    pub(super) family: Family<'a>,
    pub(super) files: Sets<'a>,
    /// What the app has.
    pub(super) current: Set,
    /// What was tried and given up. It is not tried again until the bundle is another one.
    pub(super) given_up: Option<Set>,
    pub(super) sender: Sender,
    pub(super) post: Post,
    /// The newest bundle that nobody has looked at.
    pub(super) arrived: Option<Box<Fetched>>,
    /// What an app's probe found, and in which start of the app.
    pub(super) health: Option<(u32, Result<(), String>)>,
    pub(super) starts: u32,
}

impl Supervisor<'_> {
    /// Follows until the app is over.
    pub(super) fn run(&mut self) -> Over {
        let mut due: Option<(Instant, Set)> = None;
        loop {
            if let Some(code) = self.family.app_ended() {
                return Over(code);
            }
            if self.family.told_to_end() {
                // It may take its time to end, and must not be started again in the middle of it.
                (due, self.arrived) = (None, None);
            }
            if let Some(fetched) = self.arrived.take() {
                let when = due.take().map(|(when, _)| when);
                due = self.consider(*fetched).map(|set| (when.unwrap_or_else(|| self.moment(&set)), set));
            }
            if let Some((_, set)) = due.take_if(|(when, _)| Instant::now() >= *when) {
                match self.change(set) {
                    Ok(()) => continue,
                    Err(over) => return over,
                }
            }
            self.turn(due.as_ref().map(|(when, _)| *when));
        }
    }

    /// Waits until something happened or this moment has come, and says whether it is still to come.
    pub(super) fn turn(&mut self, until: Option<Instant>) -> bool {
        if self.family.wait(self.post.bell(), until) {
            for news in self.post.collect() {
                match news {
                    News::Bundle(fetched) => self.arrived = Some(fetched),
                    News::Health(start, result) => self.health = Some((start, result)),
                    // Of what was given up there is no copy, and what the app has is not what the server has.
                    // What the server has may be a revision that the app does not.
                    News::Confirmed(revision) if revision == self.current.bundle.revision => {
                        self.current.keep(self.config);
                    }
                    News::Confirmed(_) => {}
                }
            }
        }
        until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether a bundle is anything to the app: then it is a set to change to.
    fn consider(&mut self, fetched: Fetched) -> Option<Set> {
        let revision = fetched.bundle.revision;
        report::stale(&fetched.bundle);
        let set = match environ::build(self.config, &fetched.bundle) {
            Ok(environment) => Set::new(fetched, environment, self.config),
            Err(failure) => {
                self.stay(revision, &failure.line());
                return None;
            }
        };
        if Change::between(&self.current, &set).is_nothing() {
            self.current = set;
            self.given_up = None;
            self.current.keep(self.config);
            return None;
        }
        if self.given_up.as_ref().is_some_and(|given_up| Change::between(given_up, &set).is_nothing()) {
            self.stay(revision, "it is what was given up before");
            return None;
        }
        Some(set)
    }

    /// When to change: at once, or at a moment within the splay.
    fn moment(&self, set: &Set) -> Instant {
        let wait = between(std::time::Duration::ZERO, self.watch.splay, random());
        if !self.watch.splay.is_zero() {
            say(&format!("revision {} is there, and comes in {} s", set.bundle.revision, seconds(wait)));
        }
        Instant::now() + wait
    }

    /// Says that a revision is not used.
    pub(super) fn stay(&self, revision: u64, why: &str) {
        let current = self.current.bundle.revision;
        say(&format!("revision {revision} is not used: {why}; the app keeps revision {current}"));
    }
}
