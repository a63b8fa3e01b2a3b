//! Fetching what is kept outside: who is sent, what is made of what it brings, and what is done without being asked.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chandlery_wire::Value;
use chandlery_wire::api::Outcome;

use super::super::Error;
#[cfg(test)]
use super::super::Vault;
use super::super::core::Core;
use super::super::operation::blocking;
use crate::audit::{Draft, Receipt, SERVER};
use crate::source::{Address, Held, SourceError, Task, Trouble};
use crate::store::StoreError;

/// The background looks at least so often whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A fetch, and what was claimed for it: whatever becomes of it, nobody waits for ever.
pub(super) struct Fetch {
    core: Arc<Core>,
    left: BTreeSet<Address>,
}

impl Fetch {
    pub(super) fn new(core: &Arc<Core>, claimed: Vec<Address>) -> Self {
        Self { core: Arc::clone(core), left: claimed.into_iter().collect() }
    }

    pub(super) async fn run(mut self) {
        let answers = self.core.outside.sources.fetch(self.left.iter().cloned().collect()).await;
        let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        let believed = self.core.believe(answers).await;
        for (address, answer) in believed {
            self.settle(&address, answer, chance);
        }
        if !self.core.outside.manned.swap(true, Ordering::AcqRel) {
            tokio::spawn(station(Arc::downgrade(&self.core)));
        }
        self.core.lookout.stir();
    }

    fn settle(&mut self, address: &Address, answer: Result<Held, SourceError>, chance: f64) {
        let Self { core, left } = self;
        core.outside.shelf.settle(address, answer, chance, core.clock.monotonic());
        left.remove(address);
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        for address in std::mem::take(&mut self.left) {
            let error = SourceError::new(Trouble::Unreachable, format!("{address} cannot be read: the server failed"));
            self.settle(&address, Err(error), 0.0);
        }
    }
}

/// Without a type of its own: the task makes fetches, and a fetch begins the task.
fn station(core: Weak<Core>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(man(core))
}

/// The task: fetches again what is about to end, for as long as there is anything. It does not keep the vault open.
async fn man(core: Weak<Core>) {
    loop {
        let pause = {
            let Some(core) = core.upgrade() else { return };
            let now = core.clock.monotonic();
            match core.outside.shelf.tend(now) {
                Task::Fetch(due) => {
                    Fetch::new(&core, due).run().await;
                    continue;
                }
                Task::Rest(until) => until.saturating_duration_since(now).clamp(Duration::from_millis(5), LOOK_EVERY),
                Task::None => {
                    core.outside.manned.store(false, Ordering::Release);
                    // Somebody may have come in between, and found it manned.
                    if core.outside.shelf.is_empty() || core.outside.manned.swap(true, Ordering::AcqRel) {
                        return;
                    }
                    Duration::ZERO
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
impl Vault {
    /// What the background does when it looks; false, where there is nothing to do.
    pub(in crate::vault) async fn tend_once(&self) -> bool {
        let core = &self.core;
        match core.outside.shelf.tend(core.clock.monotonic()) {
            Task::Fetch(due) => Fetch::new(core, due).run().await,
            Task::Rest(_) | Task::None => return false,
        }
        true
    }
}

type Answer = (Address, Result<Value, SourceError>);
type Believed = (Address, Result<Held, SourceError>);

impl Core {
    /// Makes known in the store since when each value is what it is, and that it was fetched in the audit log. What cannot
    /// be made known is not used.
    async fn believe(self: &Arc<Self>, answers: Vec<Answer>) -> Vec<Believed> {
        let addresses: Vec<Address> = answers.iter().map(|(address, _)| address.clone()).collect();
        let core = Arc::clone(self);
        let believed = match blocking(move || core.mark(answers)).await {
            Ok(marked) => self.note_fetched(marked).await,
            Err(error) => Err(error),
        };
        believed.unwrap_or_else(|error| {
            tracing::error!(reason = %error.detail, "values from outside cannot be used");
            let lost = |address: Address| {
                let detail = format!("{address} cannot be used: {}", error.detail);
                (address, Err(SourceError::new(Trouble::Unreachable, detail).hint(error.hint.clone())))
            };
            addresses.into_iter().map(lost).collect()
        })
    }

    /// Blocking.
    fn mark(&self, answers: Vec<Answer>) -> Result<Vec<Marked>, Error> {
        let keyring = self.keyring();
        let known = self.read(|snapshot| {
            let mut known = Vec::with_capacity(answers.len());
            for (address, answer) in &answers {
                let address = address.to_string();
                let stored = snapshot.meta(&place(&keyring.outside_name(&address)))?;
                let mark = stored.as_deref().and_then(Mark::read);
                let holds = |mark: &Mark| match answer {
                    Ok(value) => keyring.is_outside_mark(&address, mark.revision, value, &mark.mac),
                    Err(_) => false,
                };
                known.push(mark.filter(holds));
            }
            Ok(known)
        })?;
        let new: Vec<(String, Value)> = answers
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .filter_map(|((address, answer), _)| Some((address.to_string(), answer.as_ref().ok()?.clone())))
            .collect();
        let revision = match new.is_empty() {
            true => None,
            false => Some(self.write(move |transaction| {
                let revision = transaction.next_revision()?;
                for (address, value) in &new {
                    let mark = Mark { revision, mac: keyring.outside_mark(address, revision, value) };
                    transaction.set_meta(&place(&keyring.outside_name(address)), &mark.to_bytes())?;
                }
                Ok::<u64, StoreError>(revision)
            })?),
        };
        let marked = |((address, answer), known): (Answer, Option<Mark>)| Marked {
            changed: revision.filter(|_| known.is_none() && answer.is_ok()),
            since: known.map(|mark| mark.revision).or(revision).unwrap_or_default(),
            address,
            answer,
        };
        Ok(answers.into_iter().zip(known).map(marked).collect())
    }

    /// One line for each fetch; not for each who reads it, whose bundle has its own.
    async fn note_fetched(&self, marked: Vec<Marked>) -> Result<Vec<Believed>, Error> {
        let receipts: Vec<Receipt> = marked.iter().map(|marked| self.audit.append(&marked.line().draft())).collect();
        for receipt in receipts {
            receipt.await?;
        }
        let (fetched, at) = (self.now(), self.clock.monotonic());
        let held = |marked: Marked| {
            let Marked { address, answer, since, .. } = marked;
            (address, answer.map(|value| Held::new(value, since, fetched, at)))
        };
        Ok(marked.into_iter().map(held).collect())
    }
}

/// An answer, and what the store knows of it.
struct Marked {
    address: Address,
    answer: Result<Value, SourceError>,
    /// The revision that was made because it is another value than before.
    changed: Option<u64>,
    since: u64,
}

/// What the audit log is told of a fetch.
struct Line {
    target: String,
    outcome: Outcome,
    detail: String,
    revision: Option<u64>,
}

impl Marked {
    fn line(&self) -> Line {
        let (outcome, detail) = match &self.answer {
            Ok(_) if self.changed.is_some() => (Outcome::Allowed, "another value than before".to_owned()),
            Ok(_) => (Outcome::Allowed, "the same value as before".to_owned()),
            Err(error) => {
                let outcome = if error.trouble == Trouble::Refused { Outcome::Refused } else { Outcome::Failed };
                (outcome, error.detail.clone())
            }
        };
        Line { target: self.address.to_string(), outcome, detail, revision: self.changed }
    }
}

impl Line {
    fn draft(&self) -> Draft<'_> {
        let mut draft = Draft::new(SERVER, "fetch", self.outcome);
        draft.target = Some(&self.target);
        draft.detail = Some(&self.detail);
        draft.revision = self.revision;
        draft
    }
}

/// Since when a value from outside is what it is, as it lies in `meta` (docs/FORMAT.md).
struct Mark {
    revision: u64,
    mac: [u8; 32],
}

impl Mark {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (revision, mac) = bytes.split_first_chunk::<8>()?;
        Some(Self { revision: u64::from_be_bytes(*revision), mac: mac.try_into().ok()? })
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.revision.to_be_bytes()[..], &self.mac[..]].concat()
    }
}

/// Under which name.
fn place(name: &[u8; 32]) -> String {
    name.iter().fold("outside-".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}
