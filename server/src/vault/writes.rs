//! Setting and deleting entries.

use std::sync::Arc;

use chandlery_wire::api::{NamedEntry, State, WriteEntry, Written, WrittenEntry};
use chandlery_wire::{
    Code, Delivery, EntryName, Fault, Grant, Layer, MAX_VALUE_BYTES, ServiceName, StackName, Value, Verb,
};

use super::attributes::Attributes;
use super::core::Core;
use super::entries::{Which, declared, not_found, several};
use super::operation::{Action, Done};
use super::records::{Records, base_of, header, is_set, lines, record, tag_of};
use super::view::list;
use super::{Error, Vault};
use crate::access::{Caller, may_somewhere, may_use_grant, scope_of};
use crate::crypto::Keyring;
use crate::resolve::parse;
use crate::store::{LayerKey, LayerRow, LayerTags, Row, StoreError, TagRow, Transaction};

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
        self.perform(caller, action, move |core, caller| {
            require(caller, &layer)?;
            check_batch(&entries)?;
            let (job_core, job_caller) = (Arc::clone(core), caller.clone());
            let count = entries.len() as u64;
            let result = core.write(move |transaction| {
                let written = write_all(&job_core, &job_caller, transaction, &layer, entries)?;
                if dry_run { Err(Stop::DryRun(written)) } else { Ok(written) }
            });
            finish(core, result, count)
        })
        .await
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
                let keyring = job_core.keyring();
                let mut draft = Draft::begin(&job_core, &job_caller, &keyring, transaction, &which.layer)?;
                draft.delete(&which, removal)?;
                Ok(draft.finish()?)
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
        return Ok(Done { detail: Some("dry run"), ..Done::new(written) });
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

fn write_all(
    core: &Core,
    caller: &Caller,
    transaction: &mut dyn Transaction,
    layer: &LayerKey,
    entries: Vec<NamedEntry>,
) -> Result<Written, Error> {
    let keyring = core.keyring();
    let mut draft = Draft::begin(core, caller, &keyring, transaction, layer)?;
    let mut faults = Vec::new();
    for NamedEntry { name, entry } in entries {
        match draft.set(name.clone(), entry) {
            Ok(()) => {}
            // What is wrong with one value is told with what is wrong with the others; anything else ends it.
            Err(error) if error.code == Code::Invalid => {
                faults.push(Fault { name: name.to_string(), detail: error.detail });
            }
            Err(error) => return Err(error),
        }
    }
    match &faults[..] {
        [] => draft.finish(),
        [fault] => Err(Error::new(Code::Invalid, format!("{} {}", fault.name, fault.detail))
            .hint("nothing was written; correct it and send it again")),
        _ => Err(Error::new(Code::Invalid, format!("{} entries cannot be written, so none was", faults.len()))
            .hint("correct them and send them all again")
            .faults(faults)),
    }
}

/// A layer with the changes of one request, before its manifest is made.
struct Draft<'a> {
    core: &'a Core,
    caller: &'a Caller,
    keyring: &'a Keyring,
    transaction: &'a mut dyn Transaction,
    key: &'a LayerKey,
    services: Vec<ServiceName>,
    tags: LayerTags,
    /// The base's current rows, where this is an overlay: for what a new value inherits.
    base: Vec<TagRow>,
    written: Vec<WrittenEntry>,
}

impl<'a> Draft<'a> {
    /// Believes the layer before it adds to it: a new manifest must not bless rows that somebody else slipped in.
    fn begin(
        core: &'a Core,
        caller: &'a Caller,
        keyring: &'a Keyring,
        transaction: &'a mut dyn Transaction,
        key: &'a LayerKey,
    ) -> Result<Self, Error> {
        let records = Records::new(&*transaction, keyring);
        declared(&records, key)?;
        let services = records.stack(&key.stack)?.services;
        let tags = records.layer_tags(key)?;
        let base = match key.layer {
            Layer::Base => Vec::new(),
            Layer::Overlay(_) => records.layer_tags(&base_of(&key.stack, &key.environment))?.rows,
        };
        Ok(Self { core, caller, keyring, transaction, key, services, tags, base, written: Vec::new() })
    }

    fn set(&mut self, name: EntryName, entry: WriteEntry) -> Result<(), Error> {
        let which = Which { layer: self.key.clone(), name, grant: entry.grant.clone() };
        let grant = self.grant(&which)?;
        self.permit(&grant)?;
        let latest = self.expect(&which, entry.expect_version)?;
        let here = self.slot(&which.name, &grant);
        let before = match here {
            Some(tag) => self.row(self.key, &which.name, tag.version)?,
            None => None,
        };
        let inherited = match &before {
            Some(row) => Some(Attributes::of(row)?),
            None => self.base_attributes(&which.name, &grant)?,
        };
        let attributes = merge_attributes(&entry, inherited.unwrap_or_default());
        check(&which.name, &attributes, &entry.value)?;
        if let Some(row) = before.filter(|row| row.state == State::Live)
            && Attributes::of(&row)? == attributes
            && Records::new(&*self.transaction, self.keyring).open(self.key, &row)? == entry.value
        {
            self.say(which.name, grant, row.version, false);
            return Ok(());
        }
        self.append(which.name, grant, State::Live, &attributes, &entry.value, latest)
    }

    fn delete(&mut self, which: &Which, removal: Removal) -> Result<(), Error> {
        let grant = self.grant(which)?;
        self.permit(&grant)?;
        let latest = self.expect(which, removal.expect_version)?;
        let here = self.slot(&which.name, &grant).filter(|tag| is_set(tag.state)).cloned();
        let in_base = self.base.iter().any(|tag| tag.name == which.name && is_set(tag.state));
        let state = if removal.hide_base { State::Removed } else { State::Deleted };
        match &here {
            Some(tag) if tag.state == state => {
                self.say(which.name.clone(), grant, tag.version, false);
                return Ok(());
            }
            None if !(removal.hide_base && in_base) => {
                let error = not_found(which, None);
                let hint = format!(
                    "the base sets it; to take it away in this region alone: chandlery rm {} --region {} --hide-base",
                    which.name, self.key.layer
                );
                return Err(if in_base { error.hint(hint) } else { error });
            }
            _ => {}
        }
        let attributes = match &here {
            Some(tag) => self.row(self.key, &which.name, tag.version)?.map(|row| Attributes::of(&row)).transpose()?,
            None => self.base_attributes(&which.name, &grant)?,
        };
        let attributes = Attributes { size: 0, ..attributes.unwrap_or_default() };
        self.append(which.name.clone(), grant, state, &attributes, &Value::new([]), latest)
    }

    /// The grant that is meant: the one named; else the one there is in this layer; else the one in the base; else all.
    /// So a new value never widens who gets an entry unless somebody says so.
    fn grant(&self, which: &Which) -> Result<Grant, Error> {
        let set = |rows: &[TagRow]| -> Vec<Grant> {
            rows.iter().filter(|tag| tag.name == which.name && is_set(tag.state)).map(|tag| tag.grant.clone()).collect()
        };
        let here = set(&self.tags.rows);
        if let Some(grant) = &which.grant {
            self.known_services(grant)?;
            return match here.iter().find(|other| *other != grant && other.overlaps(grant)) {
                None => Ok(grant.clone()),
                Some(other) => Err(Error::new(
                    Code::Conflict,
                    format!("{} is set for {other} already, and {grant} names one of these too", which.target()),
                )
                .hint(format!("delete that one first: chandlery rm {} --for {other}", which.name))),
            };
        }
        for mut grants in [here, set(&self.base)] {
            match grants.len() {
                0 => {}
                1 => return Ok(grants.remove(0)),
                _ => return Err(several(which, grants.iter())),
            }
        }
        Ok(Grant::All)
    }

    fn known_services(&self, grant: &Grant) -> Result<(), Error> {
        let Grant::Services(named) = grant else { return Ok(()) };
        match named.iter().find(|service| !self.services.contains(service)) {
            None => Ok(()),
            Some(service) => Err(unknown_service(&self.key.stack, service, &self.services)),
        }
    }

    fn permit(&self, grant: &Grant) -> Result<(), Error> {
        let scope = scope_of(&self.key.stack, &self.key.environment, &self.key.layer);
        if may_use_grant(self.caller, Verb::Write, &scope, grant) { Ok(()) } else { Err(Error::forbidden()) }
    }

    /// The newest version under any grant, if it is the one expected.
    fn expect(&self, which: &Which, expected: Option<u64>) -> Result<Option<(u64, [u8; 16])>, Error> {
        let latest = self.transaction.latest(self.key, &which.name)?;
        let version = latest.map_or(0, |(version, _)| version);
        let is_set = self.tags.rows.iter().any(|tag| tag.name == which.name && is_set(tag.state));
        match expected {
            Some(0) if is_set => Err(Error::new(
                Code::VersionConflict,
                format!("{} is set already, at version {version}", which.target()),
            )
            .hint("look at it, then write with the version you have seen")),
            Some(expected) if expected != 0 && expected != version => Err(Error::new(
                Code::VersionConflict,
                format!("{} is at version {version}, not {expected}: somebody else wrote it", which.target()),
            )
            .hint("look at what was written, then write with that version")),
            _ => Ok(latest),
        }
    }

    fn slot(&self, name: &EntryName, grant: &Grant) -> Option<&TagRow> {
        self.tags.rows.iter().find(|tag| &tag.name == name && &tag.grant == grant)
    }

    fn row(&self, key: &LayerKey, name: &EntryName, version: u64) -> Result<Option<Row>, Error> {
        let row = self.transaction.version(key, name, version)?;
        if let Some(row) = &row {
            Records::new(&*self.transaction, self.keyring).authenticate(key, row)?;
        }
        Ok(row)
    }

    /// What the base says of the entry: for the same grant, or for the only one it has.
    fn base_attributes(&self, name: &EntryName, grant: &Grant) -> Result<Option<Attributes>, Error> {
        let set: Vec<&TagRow> = self.base.iter().filter(|tag| &tag.name == name && is_set(tag.state)).collect();
        let same = set.iter().find(|tag| &tag.grant == grant);
        let Some(tag) = same.or(if set.len() == 1 { set.first() } else { None }) else { return Ok(None) };
        let row = self.row(&base_of(&self.key.stack, &self.key.environment), name, tag.version)?;
        row.map(|row| Attributes::of(&row)).transpose()
    }

    fn append(
        &mut self,
        name: EntryName,
        grant: Grant,
        state: State,
        attributes: &Attributes,
        value: &Value,
        latest: Option<(u64, [u8; 16])>,
    ) -> Result<(), Error> {
        let (version, previous) = latest.map_or((1, Vec::new()), |(version, tag)| (version + 1, tag.to_vec()));
        let mut row = Row {
            name,
            grant,
            version,
            state,
            attributes: attributes.to_json()?,
            created: self.core.now(),
            author: self.caller.id.to_string(),
            previous,
            sealed: Vec::new(),
        };
        row.sealed = record(self.key, &row).seal(self.keyring, value)?.into_bytes();
        self.transaction.append_row(self.key, &row)?;
        let mut tag = [0; 16];
        tag.copy_from_slice(tag_of(&row.sealed));
        let line = TagRow { name: row.name.clone(), grant: row.grant.clone(), version, state, tag };
        let rows = &mut self.tags.rows;
        rows.retain(|other| (&other.name, &other.grant) != (&line.name, &line.grant));
        let order = |row: &TagRow| (row.name.clone(), row.grant.to_string());
        let at = rows.partition_point(|other| order(other) < order(&line));
        rows.insert(at, line);
        self.say(row.name, row.grant, version, true);
        Ok(())
    }

    fn say(&mut self, name: EntryName, grant: Grant, version: u64, changed: bool) {
        self.written.push(WrittenEntry { name, layer: self.key.layer.clone(), grant, version, changed });
    }

    /// Makes the manifest, where there is something new for it.
    fn finish(self) -> Result<Written, Error> {
        let count = self.written.iter().filter(|entry| entry.changed).count() as u64;
        if count == 0 {
            return Ok(Written { revision: self.transaction.revision()?, entries: self.written });
        }
        let revision = self.transaction.next_revision()?;
        let manifest = header(self.key, revision).sign(self.keyring, lines(&self.tags.rows));
        self.transaction.put_layer(self.key, &LayerRow { revision, manifest })?;
        self.transaction.count_encryptions(self.keyring.current(), count)?;
        Ok(Written { revision, entries: self.written })
    }
}

fn merge_attributes(entry: &WriteEntry, inherited: Attributes) -> Attributes {
    Attributes {
        secret: entry.secret.unwrap_or(inherited.secret),
        template: entry.template,
        deliver: entry.deliver.clone().unwrap_or(inherited.deliver),
        size: entry.value.len() as u64,
    }
}

/// Whether the value can be what it is said to be.
fn check(name: &EntryName, attributes: &Attributes, value: &Value) -> Result<(), Error> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::new(
            Code::TooLarge,
            format!("{name} has {} bytes; a value may have {MAX_VALUE_BYTES} (512 KiB)", value.len()),
        )
        .hint("keep large files elsewhere, and the key to them here"));
    }
    let invalid = |detail: String| Err(Error::new(Code::Invalid, detail));
    if attributes.deliver == Delivery::Variable {
        if name.as_variable().is_none() {
            return invalid(
                "is not a name that a variable can have (letters, digits, underscore): deliver it as a file".to_owned(),
            );
        }
        if value.expose_secret().contains(&0) {
            return invalid("has a NUL byte, which no variable can hold: deliver it as a file".to_owned());
        }
    }
    if attributes.template
        && let Err(fault) = parse(value.expose_secret())
    {
        return invalid(format!("is not a template that can be read: {fault}"));
    }
    Ok(())
}

fn unknown_service(stack: &StackName, service: &ServiceName, known: &[ServiceName]) -> Error {
    Error::new(Code::NotFound, format!("the stack {stack} has no service {service}; it has {}", list(known)))
        .hint(format!("declare it: chandlery service add {service}"))
}
