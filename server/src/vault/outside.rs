//! Values that are kept outside: how an operation reads them, and what the store is told of them.
//!
//! An operation runs on a snapshot and does not wait. It takes what the shelf has, and notes what the shelf has not; then
//! it lets go of everything, the sources are asked, once for all who need the same, and it runs again. Before a value is
//! believed, the store knows since which revision it is that value, and the audit log has a line that it was fetched.

mod fetching;
mod trial;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use chandlery_wire::{Code, StaleSource, Value};

use super::attributes::rfc3339;
use super::core::Core;
use super::operation::{Action, Done, blocking};
use super::{Error, Vault};
use crate::access::Caller;
use crate::resolve::Missing;
use crate::source::aws::Aws;
use crate::source::{Address, Asker, Freshness, Look, Reference, Shelf, SourceError, Sources};
use fetching::Fetch;

/// How often an operation runs again because it needs one more value. Each time it needs all that it can know of; more
/// than twice takes somebody who writes at the same time.
pub(super) const ROUNDS: usize = 5;

/// The sources, and what they said.
#[derive(Debug)]
pub(super) struct Outside {
    sources: Sources,
    /// The one that can be written to as well.
    pub(super) aws: Aws,
    pub(super) shelf: Shelf,
    /// Whether the background task runs. It ends when the shelf is empty.
    manned: AtomicBool,
}

impl Outside {
    pub(super) fn new(sources: Sources, freshness: Freshness, aws: Aws) -> Self {
        Self { sources, aws, shelf: Shelf::new(freshness), manned: AtomicBool::new(false) }
    }

    /// Nothing is done in the background: the test does it.
    #[cfg(test)]
    pub(super) fn leave_alone(&self) {
        self.manned.store(true, std::sync::atomic::Ordering::Release);
    }

    /// The reference, if it is one, and this environment may have what it refers to.
    ///
    /// # Errors
    /// Why not, for a sentence that begins with the entry's name.
    pub(super) fn admit(&self, asker: Asker<'_>, text: &Value) -> Result<Reference, String> {
        let reference = Reference::parse(text.expose_secret()).map_err(|why| format!("is no reference: {why}"))?;
        self.sources.admit(asker, &reference.address).map_err(|error| lost(&error))?;
        Ok(reference)
    }
}

/// What a bundle took from outside, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) address: Address,
    pub(super) news: u64,
    stale: bool,
}

impl Core {
    /// Whether all of this is still as it was, and still good.
    pub(super) fn still(&self, used: &[Used]) -> bool {
        let now = self.clock.monotonic();
        used.iter().all(|Used { address, news, stale }| match self.outside.shelf.look(address, now) {
            (Look::Fresh(_), number) => number == *news && !stale,
            (Look::Stale(..), number) => number == *news && *stale,
            _ => false,
        })
    }

    /// Whether who has read this should read again.
    pub(super) fn has_news(&self, used: &[Used]) -> bool {
        used.iter().any(|used| self.outside.shelf.news(&used.address) != used.news)
    }
}

/// One run of an operation: what it reads from outside, and what it could not read yet.
pub(super) struct Abroad<'a> {
    outside: &'a Outside,
    now: Instant,
    notes: RefCell<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    wanted: BTreeSet<Address>,
    read: BTreeMap<Address, Note>,
}

#[derive(Debug)]
struct Note {
    look: Look,
    news: u64,
    entries: BTreeSet<String>,
}

impl<'a> Abroad<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        Self { outside: &core.outside, now: core.clock.monotonic(), notes: RefCell::default() }
    }

    /// What the reference leads to, for an entry of that name. What is not here yet is noted, and something stands in its
    /// place: nobody gets to see what came of that.
    pub(super) fn value(&self, asker: Asker<'_>, entry: String, text: &Value) -> Result<Value, Missing> {
        let never = |why: String| Missing::Outside { why, passing: false };
        let Reference { address, key } = self.outside.admit(asker, text).map_err(never)?;
        let shown = String::from_utf8_lossy(text.expose_secret());
        let mut notes = self.notes.borrow_mut();
        let Notes { wanted, read } = &mut *notes;
        // Once in a run: so one secret's parts are of the same time.
        let note = read.entry(address).or_insert_with_key(|address| {
            let (look, news) = self.outside.shelf.look(address, self.now);
            if matches!(look, Look::Due) {
                wanted.insert(address.clone());
            }
            Note { look, news, entries: BTreeSet::new() }
        });
        note.entries.insert(entry);
        match &note.look {
            Look::Fresh(held) | Look::Stale(held, _) => {
                held.part(key.as_deref()).map_err(|why| never(partless(&shown, &why)))
            }
            Look::Failed(error) => Err(Missing::Outside { why: lost(error), passing: error.is_outage() }),
            Look::Due => Ok(Value::new("(not here yet)")),
        }
    }

    /// How it stands with what was read for this entry.
    pub(super) fn of(&self, entry: &str) -> Option<Look> {
        let notes = self.notes.borrow();
        notes.read.values().find(|note| note.entries.contains(entry)).map(|note| note.look.clone())
    }

    /// Whether something is to be fetched, and all of it to be done again.
    pub(super) fn is_lacking(&self) -> bool {
        !self.notes.borrow().wanted.is_empty()
    }

    fn wanted(&self) -> Vec<Address> {
        self.notes.borrow().wanted.iter().cloned().collect()
    }

    pub(super) fn used(&self) -> Vec<Used> {
        let notes = self.notes.borrow();
        let used = |(address, note): (&Address, &Note)| {
            let stale = matches!(note.look, Look::Stale(..));
            Used { address: address.clone(), news: note.news, stale }
        };
        notes.read.iter().map(used).collect()
    }

    /// The newest revision at which anything of it became what it is.
    pub(super) fn revision(&self) -> u64 {
        let notes = self.notes.borrow();
        let held = notes.read.values().filter_map(|note| match &note.look {
            Look::Fresh(held) | Look::Stale(held, _) => Some(held.revision),
            Look::Failed(_) | Look::Due => None,
        });
        held.max().unwrap_or_default()
    }

    /// The entries that something was read for.
    pub(super) fn entries(&self) -> Vec<String> {
        let notes = self.notes.borrow();
        let entries: BTreeSet<&String> = notes.read.values().flat_map(|note| &note.entries).collect();
        entries.into_iter().cloned().collect()
    }

    /// What of it may be old.
    pub(super) fn stale(&self) -> Vec<StaleSource> {
        let notes = self.notes.borrow();
        let stale = notes.read.iter().filter_map(|(address, note)| match &note.look {
            Look::Stale(held, error) => Some(StaleSource {
                source: address.to_string(),
                entries: note.entries.iter().cloned().collect(),
                fetched: rfc3339(held.fetched),
                reason: error.detail.clone(),
            }),
            _ => None,
        });
        stale.collect()
    }
}

/// Why there is no value, for a sentence that begins with the entry's name.
fn lost(error: &SourceError) -> String {
    format!("cannot be had from outside: {}", said(error))
}

fn partless(reference: &str, why: &str) -> String {
    format!("cannot be had from outside: in {reference}, {why}")
}

/// An error in one sentence.
pub(super) fn said(error: &SourceError) -> String {
    match error.hint.as_str() {
        "" => error.detail.clone(),
        hint => format!("{} ({hint})", error.detail),
    }
}

impl Vault {
    /// [`Vault::perform`] for what may need values from outside: it runs again as soon as they are here.
    pub(super) async fn perform_abroad<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: Action,
        work: impl Fn(&Core, &Caller, &Abroad<'_>) -> Result<Done<T>, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (vault, caller) = (self.clone(), caller.clone());
        let task = tokio::spawn(async move {
            let done = vault.core.travel(&caller, Arc::new(work)).await;
            vault.record(&caller, &action, done).await
        });
        task.await.unwrap_or_else(|_| Err(Error::new(Code::Internal, "the operation was ended by the server")))
    }
}

/// What came of one run: or what it lacks.
pub(super) enum Run<T> {
    Done(Result<T, Error>),
    Lacks(Vec<Address>),
}

impl Core {
    /// Does work until it lacks nothing.
    pub(super) async fn travel<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        work: Arc<impl Fn(&Self, &Caller, &Abroad<'_>) -> Result<T, Error> + Send + Sync + 'static>,
    ) -> Result<T, Error> {
        for _ in 0..ROUNDS {
            match self.attempt(caller, &work).await? {
                Run::Done(result) => return result,
                Run::Lacks(wanted) => self.procure(&wanted).await,
            }
        }
        Err(restless())
    }

    pub(super) async fn attempt<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        work: &Arc<impl Fn(&Self, &Caller, &Abroad<'_>) -> Result<T, Error> + Send + Sync + 'static>,
    ) -> Result<Run<T>, Error> {
        let (core, caller, work) = (Arc::clone(self), caller.clone(), Arc::clone(work));
        let run = blocking(move || {
            let abroad = Abroad::new(&core);
            let result = work(&core, &caller, &abroad);
            Ok(if abroad.is_lacking() { Run::Lacks(abroad.wanted()) } else { Run::Done(result) })
        });
        run.await
    }

    /// Has these fetched, by whoever is first, and waits until they were.
    pub(super) async fn procure(self: &Arc<Self>, wanted: &[Address]) {
        self.fetch(wanted, false).await;
    }

    async fn fetch(self: &Arc<Self>, wanted: &[Address], anew: bool) {
        let (mine, flights) = self.outside.shelf.claim(wanted, anew, self.clock.monotonic());
        if !mine.is_empty() {
            // It goes on without the one who asked first: others wait for it too.
            tokio::spawn(Fetch::new(self, mine).run());
        }
        for mut flight in flights {
            // An error is the end of the flight.
            while flight.changed().await.is_ok() {}
        }
    }
}

/// Why an operation that never has all that it needs is given up.
pub(super) fn restless() -> Error {
    Error::new(Code::SourceUnavailable, "values that are kept outside end before they can be served")
        .hint("set source_ttl to more than the sources take to answer")
}
