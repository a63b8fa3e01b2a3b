//! One request's changes to a layer: what each new value inherits, who may write it, and the manifest at the end.

use chandlery_wire::api::{State, WriteEntry, Written, WrittenEntry};
use chandlery_wire::{Code, Delivery, EntryName, Grant, Layer, MAX_VALUE_BYTES, ServiceName, StackName, Value, Verb};

use super::Error;
use super::attributes::Attributes;
use super::core::Core;
use super::entries::{Which, declared, not_found, several};
use super::records::{Records, base_of, header, is_set, lines, record, tag_of};
use super::view::list;
use super::writes::Removal;
use crate::access::{Caller, may_use_grant, scope_of};
use crate::crypto::Keyring;
use crate::resolve::parse;
use crate::store::{LayerKey, LayerRow, LayerTags, Row, TagRow, Transaction};

/// A layer with the changes of one request, before its manifest is made.
pub(super) struct Draft<'a> {
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
    pub(super) fn begin(
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

    pub(super) fn set(&mut self, name: EntryName, entry: WriteEntry) -> Result<(), Error> {
        let which = Which { layer: self.key.clone(), name, grant: entry.grant.clone() };
        let grant = self.grant(&which)?;
        self.permit(&grant)?;
        let latest = self.check_version(&which, entry.expect_version)?;
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

    pub(super) fn delete(&mut self, which: &Which, removal: Removal) -> Result<(), Error> {
        let grant = self.grant(which)?;
        self.permit(&grant)?;
        let latest = self.check_version(which, removal.expect_version)?;
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
    fn check_version(&self, which: &Which, expected: Option<u64>) -> Result<Option<(u64, [u8; 16])>, Error> {
        let latest = self.transaction.latest(self.key, &which.name)?;
        let version = latest.map_or(0, |(version, _)| version);
        let is_set = self.tags.rows.iter().any(|tag| tag.name == which.name && is_set(tag.state));
        match expected {
            Some(0) if is_set => Err(Error::new(
                Code::VersionConflict,
                format!("{} is set already, at version {version}", which.target()),
            )
            .hint("look at it, then write with the version you have seen")),
            Some(expected) if expected != 0 && version == 0 => Err(Error::new(
                Code::VersionConflict,
                format!("{} was never set, and version {expected} is expected", which.target()),
            )
            .hint("leave the expected version out, or expect 0 for a new entry")),
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
    pub(super) fn finish(self) -> Result<Written, Error> {
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
