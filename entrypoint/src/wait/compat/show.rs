//! The original's lines about hosts and paths, in the original's order: it looks at one after the other. Here all are
//! looked at at once, and told one after the other.

use std::time::Duration;

use super::log::{Level, Log};
use super::number;
use crate::wait::Sight;
use crate::wait::plan::{Item, Plan};
use crate::wait::progress::{AT_MOST_EVERY, Show};

pub(super) const RULE: &str = "--------------------------------------------------------";

pub(super) struct Original<'a> {
    plan: &'a Plan,
    log: &'a Log,
    seen: Vec<Sight>,
    /// The first that is not told to be available.
    current: usize,
    /// When the last line was that it is not yet.
    not_yet: Option<Duration>,
}

impl<'a> Original<'a> {
    pub(super) fn new(plan: &'a Plan, log: &'a Log) -> Self {
        Self { plan, log, seen: vec![Sight::Nothing; plan.items.len()], current: 0, not_yet: None }
    }

    fn item(&self) -> Option<&'a Item> {
        self.plan.items.get(self.current)
    }

    fn checking(&mut self) {
        self.not_yet = None;
        if let Some(item) = self.item() {
            let kind = if item.is_path { "path" } else { "host" };
            self.log.say(Level::Info, &format!("Checking availability of {kind} [{}]", item.written));
        }
    }

    fn tell(&mut self, at: Duration) {
        while let Some(item) = self.item() {
            let kind = if item.is_path { "Path" } else { "Host" };
            match self.seen[self.current] {
                Sight::Nothing => return,
                Sight::Ready => {
                    self.log.say(Level::Info, &format!("{kind} [{}] is now available!", item.written));
                    self.log.say(Level::Info, RULE);
                    self.current += 1;
                    self.checking();
                }
                _ => {
                    if self.not_yet.is_none_or(|last| at >= last + AT_MOST_EVERY) {
                        self.not_yet = Some(at);
                        self.not_yet_line(item);
                    }
                    return;
                }
            }
        }
    }

    fn not_yet_line(&self, item: &Item) {
        let line = match item.is_path {
            true => format!("Path {} not yet available...", item.written),
            false => format!("Host [{}] not yet available...", item.written),
        };
        self.log.say(Level::Info, &line);
    }
}

impl Show for Original<'_> {
    fn begin(&mut self) {
        self.checking();
    }

    fn news(&mut self, target: usize, sight: &Sight, at: Duration) {
        self.seen[target] = sight.clone();
        self.tell(at);
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self, seen: &[Sight], _: Duration) {
        let Some(item) = self.item() else { return };
        // The original never gives up without having said this once.
        if self.not_yet.is_none() {
            self.not_yet_line(item);
        }
        let time = number(self.plan.timeout);
        let line = match item.is_path {
            true => format!("Timeout! After [{time}] seconds some paths are still not reachable"),
            false => format!("Timeout! After {time} seconds some hosts are still not reachable"),
        };
        self.log.say(Level::Error, &line);
        for (item, sight) in self.plan.items.iter().zip(seen).filter(|(_, sight)| **sight != Sight::Ready) {
            self.log.say(Level::Error, &format!(" - {}: {}", item.written.trim(), sight.words()));
        }
    }
}
