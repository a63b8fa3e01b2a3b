//! Setting and deleting entries.

use std::fmt::Display;
use std::sync::Arc;

use chandlery_wire::api::{NamedEntry, WriteEntry, Written, WrittenEntry};
use chandlery_wire::{Code, EntryName, EnvironmentName, Fault, Layer, StackName, Value, Verb};

use super::core::Core;
use super::draft::{Draft, Outcome, Writing};
use super::entries::Which;
use super::operation::{Action, Done};
use super::{Error, Vault};
use crate::access::{Caller, may_somewhere};
use crate::source::Asker;
use crate::store::{LayerKey, StoreError};

/// The most entries in one request.
const MOST_ENTRIES: usize = 10_000;

/// How an entry is to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    /// Take it away in the region, base or no base.
    pub hide_base: bool,
    pub expect_version: Option<u64>,
}

impl Vault {
    /// Writes new versions into one layer, all of them or none. What is there already is not written again.
    ///
    /// # Errors
    /// Where the caller may not write any one of them, where one is at another version than it expects, and where one
    /// cannot be what it is said to be: all faults at once.
    pub async fn write(
        &self,
        caller: &Caller,
        layer: LayerKey,
        entries: Vec<NamedEntry>,
        dry_run: bool,
    ) -> Result<Written, Error> {
        let action = match &entries[..] {
            [entry] => Action::new("write-entry").on(format!("{layer}/{}", entry.name)),
            _ => Action::new("write-entries").on(&layer),
        };
        let references = entries.iter().map(|named| (&named.name, &named.entry));
        if let Err(error) = self.check_references(caller, &layer.stack, &layer.environment, references).await {
            return Err(self.fail(caller, &action, error).await);
        }
        self.perform(caller, action, move |core, caller| {
            require(caller, &layer)?;
            check_batch(&entries)?;
            let (job_core, job_caller) = (Arc::clone(core), caller.clone());
            let count = entries.len() as u64;
            let result = core.write(move |transaction| {
                let mut writing = Writing::new(&job_core, &job_caller, transaction);
                let written = write_all(&mut writing, layer, entries)?;
                if dry_run { Err(Stop::DryRun(written)) } else { Ok(written) }
            });
            finish(core, result, count)
        })
        .await
    }

    /// Reads what new references lead to, unless they are to be written unread.
    pub(super) async fn check_references<'e>(
        &self,
        caller: &Caller,
        stack: &StackName,
        environment: &EnvironmentName,
        entries: impl Iterator<Item = (&'e EntryName, &'e WriteEntry)>,
    ) -> Result<(), Error> {
        let references: Vec<(&EntryName, &Value)> = entries
            .filter(|(_, entry)| entry.reference && !entry.unchecked)
            .map(|(name, entry)| (name, &entry.value))
            .collect();
        if references.is_empty() {
            return Ok(());
        }
        // Before anybody is asked: whether it can be read is for those to know who may write it.
        if !may_somewhere(caller, Verb::Write, stack, Some(environment)) {
            return Err(Error::forbidden());
        }
        self.core.try_references(Asker { stack, environment }, &references).await
    }

    /// Deletes an entry from a layer, or, with `hide_base`, takes it away in a region.
    ///
    /// # Errors
    /// As [`Vault::write`], and where the entry is not set there.
    pub async fn delete(&self, caller: &Caller, which: Which, removal: Removal) -> Result<Written, Error> {
        let action = Action::new("delete-entry").on(which.target());
        self.perform(caller, action, move |core, caller| {
            require(caller, &which.layer)?;
            if removal.hide_base && which.layer.layer == Layer::Base {
                return Err(Error::new(Code::Invalid, "only a region's overlay can hide the base")
                    .hint("name the region with --region; without it, `rm` deletes from the base"));
            }
            let (job_core, job_caller) = (Arc::clone(core), caller.clone());
            let result = core.write(move |transaction| {
                let mut writing = Writing::new(&job_core, &job_caller, transaction);
                let mut draft = Draft::begin(&mut writing, which.layer.clone())?;
                draft.delete(&which, removal)?;
                let outcomes = draft.finish()?;
                Ok(written(&writing, outcomes)?)
            });
            finish(core, result, 1)
        })
        .await
    }
}

/// What ends a write's transaction without a commit.
enum Stop {
    Error(Error),
    DryRun(Written),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

fn finish(core: &Core, result: Result<Written, Stop>, encryptions: u64) -> Result<Done<Written>, Error> {
    let (written, dry_run) = match result {
        Ok(written) => (written, false),
        Err(Stop::DryRun(written)) => (written, true),
        Err(Stop::Error(error)) => return Err(error),
    };
    let changed = written.entries.iter().filter(|entry| entry.changed);
    let entries: Vec<String> = changed.map(|entry| format!("{} v{}", entry.name, entry.version)).collect();
    if dry_run {
        return Ok(Done { detail: Some("dry run".into()), ..Done::new(written) });
    }
    core.count_encryptions(encryptions)?;
    let revision = written.revision;
    Ok(Done::new(written).entries(entries).revision(revision))
}

/// Decided without looking, so that a refusal tells nothing; and decided again for each entry's grant.
fn require(caller: &Caller, key: &LayerKey) -> Result<(), Error> {
    if may_somewhere(caller, Verb::Write, &key.stack, Some(&key.environment)) {
        Ok(())
    } else {
        Err(Error::forbidden())
    }
}

fn check_batch(entries: &[NamedEntry]) -> Result<(), Error> {
    if entries.is_empty() {
        return Err(Error::new(Code::Invalid, "there is no entry to write").hint("name at least one"));
    }
    if entries.len() > MOST_ENTRIES {
        return Err(Error::new(Code::TooLarge, format!("more than {MOST_ENTRIES} entries at once"))
            .hint("send them in several requests"));
    }
    let mut names: Vec<&EntryName> = entries.iter().map(|entry| &entry.name).collect();
    names.sort();
    // The same name for two grants is fine, if both say for whom.
    let twice = |pair: &&[&EntryName]| {
        pair[0] == pair[1]
            && entries.iter().filter(|entry| &entry.name == pair[0]).any(|entry| entry.entry.grant.is_none())
    };
    match names.windows(2).find(twice) {
        Some(pair) => Err(Error::new(Code::Invalid, format!("{} is there twice", pair[0]))
            .hint("say with \"for\" which services each is for, or leave one out")),
        None => Ok(()),
    }
}

fn write_all(writing: &mut Writing<'_>, layer: LayerKey, entries: Vec<NamedEntry>) -> Result<Written, Error> {
    let mut draft = Draft::begin(writing, layer)?;
    let mut faults = Vec::new();
    for NamedEntry { name, entry } in entries {
        collect(&mut faults, &name, draft.set(name.clone(), &entry))?;
    }
    if !faults.is_empty() {
        return Err(faulty(faults));
    }
    let outcomes = draft.finish()?;
    written(writing, outcomes)
}

fn written(writing: &Writing<'_>, outcomes: Vec<Outcome>) -> Result<Written, Error> {
    let revision = writing.transaction.revision()?;
    Ok(Written { revision, entries: outcomes.into_iter().map(WrittenEntry::from).collect() })
}

/// What is wrong with one value is told with what is wrong with the others; anything else ends it.
pub(super) fn collect(faults: &mut Vec<Fault>, name: impl Display, result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.code == Code::Invalid => {
            faults.push(Fault { name: name.to_string(), detail: error.detail });
            Ok(())
        }
        other => other,
    }
}

pub(super) fn faulty(faults: Vec<Fault>) -> Error {
    match &faults[..] {
        [fault] => Error::new(Code::Invalid, format!("{} {}", fault.name, fault.detail))
            .hint("nothing was written; correct it and send it again"),
        _ => Error::new(Code::Invalid, format!("{} entries cannot be written, so none was", faults.len()))
            .hint("correct them and send them all again")
            .faults(faults),
    }
}
