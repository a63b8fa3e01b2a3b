//! What was fetched from outside, by address: how long it is good, when it is asked for again, and who is asking now.
//!
//! ```text
//! fetched         refresh          ttl                                ttl + stale
//! ├────── fresh ─────┼──── fresh ────┼────────────── stale ───────────────┤ gone
//!                    └ asked again in the background, until it answers    where it is away
//! ```
//!
//! Only a source that is away lets its last word go on: one that says no, or that there is no such secret, is believed at
//! once. No more than one fetch of an address is under way at any time. Nothing here waits, reads a clock or draws a
//! random number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Address, Held, SourceError};

/// The pause after the first failure; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, where the last value is at hand.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest, where there is none: somebody waits for it.
const LONGEST_PAUSE_WITHOUT: Duration = Duration::from_secs(4);
/// So long is a no believed.
const NO_PAUSE: Duration = Duration::from_secs(10);

/// How long values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// A value that is older is asked for before it is served.
    pub ttl: Duration,
    /// So much longer it is served where its source is away. A value that nobody asked for as long is forgotten.
    pub stale: Duration,
}

/// What there is to an address.
#[derive(Debug, Clone)]
pub enum Look {
    Fresh(Arc<Held>),
    /// It should be newer, and its source is away.
    Stale(Arc<Held>, SourceError),
    /// There is none, and it was asked for just now.
    Failed(SourceError),
    /// It has to be fetched first.
    Due,
}

/// What is to be done in the background.
#[derive(Debug)]
pub enum Task {
    /// Fetch these, and [`Shelf::settle`] each.
    Fetch(Vec<Address>),
    /// Nothing until then.
    Rest(Instant),
    /// Nothing at all: there is no value.
    None,
}

#[derive(Debug)]
struct Slot {
    held: Option<Arc<Held>>,
    trouble: Option<SourceError>,
    /// In a row.
    failures: u32,
    /// When it is to be asked for again, whether it went well or not.
    next: Instant,
    /// When somebody last wanted it.
    wanted: Instant,
    /// Closed when the fetch is over.
    flight: Option<watch::Sender<()>>,
    /// Another one whenever who has read it should read it again.
    news: u64,
}

/// The values, in memory only.
#[derive(Debug)]
pub struct Shelf {
    freshness: Freshness,
    /// The last number of news: none is used twice, not even for an address that was forgotten in between.
    last: AtomicU64,
    slots: Mutex<HashMap<Address, Slot>>,
}

impl Shelf {
    #[must_use]
    pub fn new(freshness: Freshness) -> Self {
        Self { freshness, last: AtomicU64::new(0), slots: Mutex::default() }
    }

    /// What there is to the address, and a number that differs when it is worth another look.
    pub fn look(&self, address: &Address, now: Instant) -> (Look, u64) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(address) else { return (Look::Due, 0) };
        slot.wanted = now;
        (slot.look(self.freshness, now), slot.news)
    }

    /// Whether there is nothing, and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// As the number of [`Shelf::look`].
    pub fn news(&self, address: &Address) -> u64 {
        self.slots().get(address).map_or(0, |slot| slot.news)
    }

    /// Of the addresses that are due, or of all where they are wanted anew, those that the caller is to fetch; and what to
    /// wait for, for the others and for these. Each that is taken must be settled.
    pub fn claim(&self, addresses: &[Address], anew: bool, now: Instant) -> (Vec<Address>, Vec<watch::Receiver<()>>) {
        let (mut mine, mut flights) = (Vec::new(), Vec::new());
        let mut slots = self.slots();
        for address in addresses {
            let slot = slots.entry(address.clone()).or_insert_with(|| Slot::new(now));
            slot.wanted = now;
            if !anew && !matches!(slot.look(self.freshness, now), Look::Due) {
                continue;
            }
            let flight = slot.flight.get_or_insert_with(|| {
                mine.push(address.clone());
                watch::channel(()).0
            });
            flights.push(flight.subscribe());
        }
        (mine, flights)
    }

    /// What came of a fetch. `chance` is between 0 and 1: what was fetched together is asked for again together, and at
    /// another moment than by another server.
    pub fn settle(&self, address: &Address, answer: Result<Held, SourceError>, chance: f64, now: Instant) {
        let mut slots = self.slots();
        let slot = slots.entry(address.clone()).or_insert_with(|| Slot::new(now));
        slot.flight = None;
        match answer {
            Ok(held) => {
                let same = slot.held.as_ref().is_some_and(|before| before.revision == held.revision);
                if !same {
                    slot.news = self.news_number();
                }
                slot.next = now + self.freshness.ttl.mul_f64(0.75 + 0.15 * chance);
                (slot.held, slot.trouble, slot.failures) = (Some(Arc::new(held)), None, 0);
            }
            Err(error) => {
                let outage = error.is_outage();
                if !outage {
                    // Told once, however often it says so.
                    if slot.trouble.as_ref().is_none_or(SourceError::is_outage) {
                        slot.news = self.news_number();
                    }
                    slot.held = None;
                }
                let pause = FIRST_PAUSE.saturating_mul(1 << slot.failures.min(10));
                let longest = if slot.held.is_some() { LONGEST_PAUSE } else { LONGEST_PAUSE_WITHOUT };
                let pause = if outage { pause.min(longest) } else { NO_PAUSE };
                slot.failures = slot.failures.saturating_add(1);
                slot.next = now + pause.mul_f64(0.75 + 0.25 * chance);
                slot.trouble = Some(error);
            }
        }
    }

    /// What to do next without being asked: values that somebody wants are fetched again before they end, those that
    /// nobody wants are forgotten, and so are those that are too old. What is taken must be settled.
    pub fn tend(&self, now: Instant) -> Task {
        let Freshness { ttl, stale } = self.freshness;
        let mut slots = self.slots();
        slots.retain(|_, slot| {
            if slot.held.as_ref().is_some_and(|held| now >= held.at + ttl + stale) {
                slot.held = None;
                slot.news = self.news_number();
                // From now on somebody waits for it.
                slot.next = slot.next.min(now + LONGEST_PAUSE_WITHOUT);
            }
            let ended = now >= slot.wanted + ttl + stale || slot.held.is_none() && now >= slot.next + LONGEST_PAUSE;
            slot.flight.is_some() || !ended
        });
        // Not one by one: those that end at about the same time are one call to many a source.
        let soon = now + (ttl / 50).min(Duration::from_secs(1));
        let due = slots.iter_mut().filter(|(_, slot)| slot.is_tended() && slot.next <= now);
        if due.count() == 0 {
            let next = slots.values().filter(|slot| slot.is_tended()).map(|slot| slot.next).min();
            return match (next, slots.is_empty()) {
                (Some(next), _) => Task::Rest(next),
                (None, false) => Task::Rest(now + LONGEST_PAUSE),
                (None, true) => Task::None,
            };
        }
        let due = slots.iter_mut().filter(|(_, slot)| slot.is_tended() && slot.next <= soon);
        let take = |(address, slot): (&Address, &mut Slot)| {
            slot.flight = Some(watch::channel(()).0);
            address.clone()
        };
        Task::Fetch(due.map(take).collect())
    }

    fn news_number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Address, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(now: Instant) -> Self {
        Self { held: None, trouble: None, failures: 0, next: now, wanted: now, flight: None, news: 0 }
    }

    fn look(&self, Freshness { ttl, stale }: Freshness, now: Instant) -> Look {
        match (&self.held, &self.trouble) {
            (Some(held), _) if now < held.at + ttl => Look::Fresh(Arc::clone(held)),
            (Some(held), Some(trouble)) if now < held.at + ttl + stale => {
                Look::Stale(Arc::clone(held), trouble.clone())
            }
            (_, Some(trouble)) if now < self.next => Look::Failed(trouble.clone()),
            _ => Look::Due,
        }
    }

    /// Whether it is fetched again without being asked: not what there is none of, that is asked for by whoever needs it.
    fn is_tended(&self) -> bool {
        self.held.is_some() && self.flight.is_none()
    }
}

#[cfg(test)]
mod tests {
    use chandlery_wire::Value;

    use super::super::{Scheme, Trouble};
    use super::*;

    const FRESHNESS: Freshness = Freshness { ttl: Duration::from_secs(100), stale: Duration::from_secs(1000) };

    fn address(name: &str) -> Address {
        Address { scheme: Scheme::Exec, locator: name.to_owned() }
    }

    /// A shelf with one address, and its clock.
    struct Fixture {
        shelf: Shelf,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { shelf: Shelf::new(FRESHNESS), now: Instant::now() }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn say(&self, answer: Result<u64, Trouble>) {
            let answer = answer
                .map(|revision| Held::new(Value::new("v"), revision, 0, self.now))
                .map_err(|trouble| SourceError::new(trouble, "no"));
            self.shelf.settle(&address("a"), answer, 0.0, self.now);
        }

        fn look(&self) -> String {
            match self.shelf.look(&address("a"), self.now).0 {
                Look::Fresh(held) => format!("fresh {}", held.revision),
                Look::Stale(held, _) => format!("stale {}", held.revision),
                Look::Failed(error) => format!("failed {:?}", error.trouble),
                Look::Due => "due".to_owned(),
            }
        }

        fn tend(&self) -> Option<usize> {
            match self.shelf.tend(self.now) {
                Task::Fetch(due) => Some(due.len()),
                Task::Rest(_) => Some(0),
                Task::None => None,
            }
        }

        fn news(&self) -> u64 {
            self.shelf.news(&address("a"))
        }
    }

    #[test]
    fn one_asks_and_the_others_wait() {
        let it = Fixture::new();
        let both = [address("a"), address("b")];
        let (mine, flights) = it.shelf.claim(&both, false, it.now);
        assert_eq!((mine.len(), flights.len()), (2, 2));
        for _ in 0..500 {
            let (mine, flights) = it.shelf.claim(&both, false, it.now);
            assert_eq!((mine.len(), flights.len()), (0, 2));
            assert!(flights.iter().all(|flight| flight.has_changed().is_ok()), "still under way");
        }
        it.say(Ok(1));
        assert!(flights[0].has_changed().is_err() && flights[1].has_changed().is_ok());
        let (mine, flights) = it.shelf.claim(&both, false, it.now);
        assert_eq!((mine.len(), flights.len()), (0, 1));
    }

    #[test]
    fn it_is_asked_for_again_before_it_ends() {
        let mut it = Fixture::new();
        assert_eq!(it.look(), "due");
        it.say(Ok(1));
        it.pass(74);
        assert_eq!((it.look().as_str(), it.tend()), ("fresh 1", Some(0)));
        it.pass(2);
        assert_eq!((it.tend(), it.tend()), (Some(1), Some(0)), "once at a time");
        let news = it.news();
        it.say(Ok(1));
        assert_eq!(it.news(), news, "the same value is no news");
        it.pass(80);
        assert_eq!((it.look().as_str(), it.tend()), ("fresh 1", Some(1)));
        it.say(Ok(2));
        assert_eq!(it.look(), "fresh 2");
        assert_ne!(it.news(), news);
    }

    #[test]
    fn its_last_word_is_served_while_its_source_is_away_and_no_longer() {
        for trouble in [Trouble::Unreachable, Trouble::Throttled] {
            let mut it = Fixture::new();
            it.say(Ok(1));
            it.pass(80);
            it.say(Err(trouble));
            assert_eq!(it.look(), "fresh 1");
            it.pass(21);
            assert_eq!(it.look(), "stale 1");
            let (mine, flights) = it.shelf.claim(&[address("a")], false, it.now);
            assert!(mine.is_empty() && flights.is_empty(), "nobody waits for it");
            let mut tries = 0;
            while it.look() == "stale 1" {
                if it.tend() == Some(1) {
                    tries += 1;
                    it.say(Err(trouble));
                }
                it.pass(5);
            }
            assert!((15..60).contains(&tries), "{tries} tries in 1000 s");
            assert_eq!(it.look(), format!("failed {trouble:?}"));
            it.tend();
            it.pass(4);
            assert_eq!(it.look(), "due", "somebody needs it now");
            it.say(Ok(2));
            assert_eq!(it.look(), "fresh 2");
        }
    }

    #[test]
    fn a_no_is_believed_at_once_and_not_for_ever() {
        for trouble in [Trouble::Missing, Trouble::Refused, Trouble::Invalid] {
            let mut it = Fixture::new();
            it.say(Ok(1));
            let news = it.news();
            it.pass(80);
            it.say(Err(trouble));
            assert_eq!(it.look(), format!("failed {trouble:?}"));
            let told = it.news();
            assert_ne!(told, news, "who waits is told");
            it.pass(7);
            assert_eq!(it.look(), format!("failed {trouble:?}"));
            it.say(Err(trouble));
            assert_eq!(it.news(), told, "once");
            assert_eq!(it.shelf.claim(&[address("a")], true, it.now).0.len(), 1, "somebody has seen to it");
            it.say(Err(trouble));
            it.pass(11);
            assert_eq!(it.look(), "due");
        }
    }

    #[test]
    fn what_nobody_wants_is_forgotten() {
        let mut it = Fixture::new();
        it.say(Ok(1));
        for _ in 0..30 {
            it.pass(50);
            if it.tend().is_some_and(|due| due > 0) {
                it.say(Ok(1));
            }
        }
        assert_eq!((it.tend(), it.look().as_str()), (None, "due"));
    }

    #[test]
    fn what_ends_together_is_asked_for_together() {
        let mut it = Fixture::new();
        for name in ["a", "b", "c"] {
            let held = Held::new(Value::new("v"), 1, 0, it.now);
            it.shelf.settle(&address(name), Ok(held), 0.5, it.now);
            it.now += Duration::from_millis(200);
        }
        it.pass(82);
        let Task::Fetch(due) = it.shelf.tend(it.now) else { panic!("something is due") };
        assert_eq!(due.len(), 3);
    }
}
