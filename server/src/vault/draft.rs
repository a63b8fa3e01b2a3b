//! One request's changes to a layer: what each new value inherits, who may write it, and the manifest at the end.

use std::sync::Arc;

use chandlery_wire::api::{Effect, State, WriteEntry, WrittenEntry};
use chandlery_wire::{Code, EntryName, Grant, Layer, ServiceName, Value, Verb};

use super::Error;
use super::attributes::Attributes;
use super::core::Core;
use super::entries::{Which, declared, not_found, several};
use super::records::{Records, base_of, header, is_set, lines, record, tag_of};
use super::validity::{check, unknown_service};
use super::writes::Removal;
use crate::access::{Caller, may_use_grant, scope_of};
use crate::crypto::Keyring;
use crate::source::{Asker, Reference};
use crate::store::{LayerKey, LayerRow, LayerTags, Row, TagRow, Transaction};

/// What all changes of one request share: the transaction, its time, and its revision, which is made when there is
/// something to change.
pub(super) struct Writing<'t> {
    pub(super) core: &'t Core,
    pub(super) caller: &'t Caller,
    pub(super) keyring: Arc<Keyring>,
    pub(super) transaction: &'t mut dyn Transaction,
    pub(super) revision: Option<u64>,
    now: i64,
}

impl<'t> Writing<'t> {
    pub(super) fn new(core: &'t Core, caller: &'t Caller, transaction: &'t mut dyn Transaction) -> Self {
        Self { core, caller, keyring: core.keyring(), transaction, revision: None, now: core.now() }
    }

    pub(super) fn records(&self) -> Records<'_> {
        Records::new(&*self.transaction, &self.keyring)
    }

    fn revision(&mut self) -> Result<u64, Error> {
        let revision = match self.revision {
            Some(revision) => revision,
            None => self.transaction.next_revision()?,
        };
        self.revision = Some(revision);
        Ok(revision)
    }
}

/// What became of one entry.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: EntryName,
    pub(super) layer: Layer,
    pub(super) grant: Grant,
    pub(super) version: u64,
    /// Nothing, where it was so already.
    pub(super) effect: Option<Effect>,
    pub(super) secret: bool,
    /// The value, where it is a plain one and the caller may read it.
    pub(super) value: Option<Value>,
}

impl From<Outcome> for WrittenEntry {
    fn from(outcome: Outcome) -> Self {
        let Outcome { name, layer, grant, version, effect, .. } = outcome;
        Self { name, layer, grant, version, changed: effect.is_some() }
    }
}

/// What is to stand in a layer for a name and a grant.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) state: State,
    pub(super) attributes: Attributes,
    pub(super) value: Value,
}

impl Content {
    pub(super) fn without_value(state: State, attributes: &Attributes) -> Self {
        Self { state, attributes: Attributes { size: 0, ..attributes.clone() }, value: Value::new([]) }
    }
}

/// A layer with the changes of one request, before its manifest is made.
pub(super) struct Draft<'a, 't> {
    writing: &'a mut Writing<'t>,
    key: LayerKey,
    services: Vec<ServiceName>,
    tags: LayerTags,
    /// The base's current rows, where this is an overlay: for what a new value inherits.
    base: Vec<TagRow>,
    outcomes: Vec<Outcome>,
}

impl<'a, 't> Draft<'a, 't> {
    /// Believes the layer before it adds to it: a new manifest must not bless rows that somebody else slipped in.
    pub(super) fn begin(writing: &'a mut Writing<'t>, key: LayerKey) -> Result<Self, Error> {
        let records = writing.records();
        declared(&records, &key)?;
        let services = records.stack(&key.stack)?.services;
        let tags = records.layer_tags(&key)?;
        let base = match key.layer {
            Layer::Base => Vec::new(),
            Layer::Overlay(_) => records.layer_tags(&base_of(&key.stack, &key.environment))?.rows,
        };
        Ok(Self { writing, key, services, tags, base, outcomes: Vec::new() })
    }

    pub(super) fn set(&mut self, name: EntryName, entry: &WriteEntry) -> Result<(), Error> {
        let which = Which { layer: self.key.clone(), name, grant: entry.grant.clone() };
        let grant = self.grant(&which)?;
        self.permit(&grant)?;
        self.check_version(&which, entry.expect_version)?;
        let before = self.current(&which.name, &grant)?;
        let inherited = match &before {
            Some(row) => Some(Attributes::of(row)?),
            None => self.base_attributes(&which.name, &grant)?,
        };
        let attributes = merge_attributes(entry, inherited.unwrap_or_default());
        check(&which.name, &attributes, &entry.value)?;
        let reference = self.admit(&attributes, &entry.value)?;
        if let Some(reference) = reference.filter(|_| !entry.unchecked) {
            self.writing.core.fits(&reference, &attributes.deliver)?;
        }
        let content = Content { state: State::Live, attributes, value: entry.value.clone() };
        self.write(which.name, grant, content, before)
    }

    pub(super) fn delete(&mut self, which: &Which, removal: Removal) -> Result<(), Error> {
        let grant = self.grant(which)?;
        self.permit(&grant)?;
        self.check_version(which, removal.expect_version)?;
        let before = self.current(&which.name, &grant)?;
        let here = before.as_ref().filter(|row| is_set(row.state));
        let in_base = named(&self.base, &which.name).iter().any(|tag| is_set(tag.state));
        if here.is_none() && !(removal.hide_base && in_base) {
            let error = not_found(which, None);
            let hint = format!(
                "the base sets it; to take it away in this region alone: chandlery rm {} --region {} --hide-base",
                which.name, self.key.layer
            );
            return Err(if in_base { error.hint(hint) } else { error });
        }
        let attributes = match here {
            Some(row) => Some(Attributes::of(row)?),
            None => self.base_attributes(&which.name, &grant)?,
        };
        let state = if removal.hide_base { State::Removed } else { State::Deleted };
        let content = Content::without_value(state, &attributes.unwrap_or_default());
        self.write(which.name.clone(), grant, content, before)
    }

    /// Puts an older version's content in place again. One whose value is gone is an error.
    pub(super) fn restore(&mut self, which: &Which, version: u64, expected: Option<u64>) -> Result<(), Error> {
        let versions = self.writing.records().versions(&self.key, &which.name)?;
        let found = versions.iter().find(|row| row.version == version);
        let row = found.ok_or_else(|| not_found(which, Some(version)))?;
        self.check_version(which, expected)?;
        let content = self.writing.records().content(&self.key, row)?;
        self.put(&which.name, &row.grant, content)
    }

    /// Brings back the last value before the entry was deleted or removed.
    pub(super) fn undelete(&mut self, which: &Which, expected: Option<u64>) -> Result<(), Error> {
        let mut versions = self.writing.records().versions(&self.key, &which.name)?;
        versions.retain(|row| which.grant.as_ref().is_none_or(|grant| *grant == row.grant));
        self.check_version(which, expected)?;
        match versions.first().map(|row| row.state) {
            None => return Err(not_found(which, None)),
            Some(State::Live) => {
                return Err(Error::new(Code::Conflict, format!("{} is set: it was not deleted", which.target()))
                    .hint(format!("`chandlery history {}` shows its versions", which.name)));
            }
            Some(State::Destroyed) => {
                return Err(Error::new(
                    Code::Conflict,
                    format!("{} was destroyed, and is gone for good", which.target()),
                )
                .hint("set it again"));
            }
            Some(State::Deleted | State::Removed) => {}
        }
        let last = versions.iter().find(|row| row.state == State::Live);
        let Some(row) = last else {
            return Err(Error::new(Code::NotFound, format!("{} never had a value", which.target())).hint("set it"));
        };
        let content = self.writing.records().content(&self.key, row)?;
        self.put(&which.name, &row.grant, content)
    }

    /// Puts this content in place, for exactly this grant.
    pub(super) fn put(&mut self, name: &EntryName, grant: &Grant, content: Content) -> Result<(), Error> {
        let which = Which { layer: self.key.clone(), name: name.clone(), grant: Some(grant.clone()) };
        if is_set(content.state) {
            self.grant(&which)?;
        }
        self.permit(grant)?;
        if content.state == State::Live {
            check(name, &content.attributes, &content.value)?;
            self.admit(&content.attributes, &content.value)?;
        }
        let before = self.current(name, grant)?;
        if content.state == State::Deleted && !before.as_ref().is_some_and(|row| is_set(row.state)) {
            return Ok(());
        }
        self.write(which.name, grant.clone(), content, before)
    }

    /// That a reference is one, and to what this environment may refer to. Asked again whenever it is read: who may copy
    /// an entry here need not be who may have what it leads to.
    fn admit(&self, attributes: &Attributes, value: &Value) -> Result<Option<Reference>, Error> {
        if !attributes.reference {
            return Ok(None);
        }
        let invalid = |why: String| Error::new(Code::Invalid, why);
        if attributes.template {
            return Err(invalid("is a template or a reference, and not both".to_owned()));
        }
        let asker = Asker { stack: &self.key.stack, environment: &self.key.environment };
        self.writing.core.outside.admit(asker, value).map(Some).map_err(invalid)
    }

    /// Writes a version, unless what is there says the same.
    pub(super) fn write(
        &mut self,
        name: EntryName,
        grant: Grant,
        content: Content,
        before: Option<Row>,
    ) -> Result<(), Error> {
        let was_set = before.as_ref().is_some_and(|row| is_set(row.state));
        if let Some(row) = before.filter(|row| row.state == content.state)
            && (!is_set(row.state) || Attributes::of(&row)? == content.attributes)
            && (row.state != State::Live || self.writing.records().open(&self.key, &row)? == content.value)
        {
            self.say(name, grant, row.version, None, &content);
            return Ok(());
        }
        let effect = match (content.state, was_set) {
            (State::Live, false) => Effect::Added,
            (State::Live, true) => Effect::Changed,
            (State::Removed, _) => Effect::Removed,
            (State::Deleted | State::Destroyed, _) => Effect::Deleted,
        };
        let version = self.append(name.clone(), grant.clone(), &content)?;
        self.say(name, grant, version, Some(effect), &content);
        Ok(())
    }

    /// The grant that is meant: the one named; else the one there is in this layer; else the one in the base; else all.
    /// So a new value never widens who gets an entry unless somebody says so.
    fn grant(&self, which: &Which) -> Result<Grant, Error> {
        let set = |rows: &[TagRow]| -> Vec<Grant> {
            let rows = named(rows, &which.name).iter();
            rows.filter(|tag| is_set(tag.state)).map(|tag| tag.grant.clone()).collect()
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
        if may_use_grant(self.writing.caller, Verb::Write, &scope, grant) { Ok(()) } else { Err(Error::forbidden()) }
    }

    /// Whether the newest version under any grant is the one expected.
    fn check_version(&self, which: &Which, expected: Option<u64>) -> Result<(), Error> {
        let Some(expected) = expected else { return Ok(()) };
        let version = self.writing.transaction.latest(&self.key, &which.name)?.map_or(0, |(version, _)| version);
        let is_set = named(&self.tags.rows, &which.name).iter().any(|tag| is_set(tag.state));
        let conflict = |detail: String, hint: &str| Err(Error::new(Code::VersionConflict, detail).hint(hint));
        let target = which.target();
        match expected {
            0 if is_set => conflict(
                format!("{target} is set already, at version {version}"),
                "look at it, then write with the version you have seen",
            ),
            0 => Ok(()),
            _ if version == 0 => conflict(
                format!("{target} was never set, and version {expected} is expected"),
                "leave the expected version out, or expect 0 for a new entry",
            ),
            _ if expected != version => conflict(
                format!("{target} is at version {version}, not {expected}: somebody else wrote it"),
                "look at what was written, then write with that version",
            ),
            _ => Ok(()),
        }
    }

    /// What stands here now for the name and the grant, set or not.
    pub(super) fn current(&self, name: &EntryName, grant: &Grant) -> Result<Option<Row>, Error> {
        match named(&self.tags.rows, name).iter().find(|tag| &tag.grant == grant) {
            Some(tag) => self.row(&self.key, name, tag.version),
            None => Ok(None),
        }
    }

    fn row(&self, key: &LayerKey, name: &EntryName, version: u64) -> Result<Option<Row>, Error> {
        let row = self.writing.transaction.version(key, name, version)?;
        if let Some(row) = &row {
            self.writing.records().authenticate(key, row)?;
        }
        Ok(row)
    }

    /// What the base says of the entry: for the same grant, or for the only one it has.
    fn base_attributes(&self, name: &EntryName, grant: &Grant) -> Result<Option<Attributes>, Error> {
        let set: Vec<&TagRow> = named(&self.base, name).iter().filter(|tag| is_set(tag.state)).collect();
        let same = set.iter().find(|tag| &tag.grant == grant);
        let Some(tag) = same.or(if set.len() == 1 { set.first() } else { None }) else { return Ok(None) };
        let row = self.row(&base_of(&self.key.stack, &self.key.environment), name, tag.version)?;
        row.map(|row| Attributes::of(&row)).transpose()
    }

    fn append(&mut self, name: EntryName, grant: Grant, content: &Content) -> Result<u64, Error> {
        let latest = self.writing.transaction.latest(&self.key, &name)?;
        let (version, previous) = latest.map_or((1, Vec::new()), |(version, tag)| (version + 1, tag.to_vec()));
        let revision = self.writing.revision()?;
        let state = content.state;
        let mut row = Row {
            name,
            grant,
            version,
            state,
            attributes: content.attributes.to_json(revision)?,
            created: self.writing.now,
            author: self.writing.caller.id.to_string(),
            previous,
            sealed: Vec::new(),
        };
        row.sealed = record(&self.key, &row).seal(&self.writing.keyring, &content.value)?.into_bytes();
        self.writing.transaction.append_row(&self.key, &row)?;
        let mut tag = [0; 16];
        tag.copy_from_slice(tag_of(&row.sealed));
        let line = TagRow { name: row.name, grant: row.grant, version, state, tag };
        let order = |row: &TagRow| (row.name.clone(), row.grant.to_string());
        let (rows, place) = (&mut self.tags.rows, order(&line));
        let at = rows.partition_point(|other| order(other) < place);
        match rows.get_mut(at).filter(|other| order(other) == place) {
            Some(same) => *same = line,
            None => rows.insert(at, line),
        }
        Ok(version)
    }

    fn say(&mut self, name: EntryName, grant: Grant, version: u64, effect: Option<Effect>, content: &Content) {
        let secret = content.attributes.secret;
        // Going back and copying tell of values that the caller did not send, and may be one who only writes.
        let scope = scope_of(&self.key.stack, &self.key.environment, &self.key.layer);
        let readable = || may_use_grant(self.writing.caller, Verb::ReadEntry, &scope, &grant);
        let value = (!secret && content.state == State::Live && readable()).then(|| content.value.clone());
        let layer = self.key.layer.clone();
        self.outcomes.push(Outcome { name, layer, grant, version, effect, secret, value });
    }

    /// Makes the manifest, where there is something new for it.
    pub(super) fn finish(self) -> Result<Vec<Outcome>, Error> {
        let count = self.outcomes.iter().filter(|outcome| outcome.effect.is_some()).count() as u64;
        if count > 0 {
            let Self { writing, key, tags, .. } = self;
            let revision = writing.revision()?;
            let manifest = header(&key, revision).sign(&writing.keyring, lines(&tags.rows));
            writing.transaction.put_layer(&key, &LayerRow { revision, manifest })?;
            writing.transaction.count_encryptions(writing.keyring.current(), count)?;
        }
        Ok(self.outcomes)
    }
}

/// The rows of that name. They are sorted by it.
pub(super) fn named<'r>(rows: &'r [TagRow], name: &EntryName) -> &'r [TagRow] {
    let start = rows.partition_point(|row| row.name < *name);
    let length = rows[start..].partition_point(|row| row.name == *name);
    &rows[start..start + length]
}

fn merge_attributes(entry: &WriteEntry, inherited: Attributes) -> Attributes {
    Attributes {
        secret: entry.secret.unwrap_or(inherited.secret),
        template: entry.template,
        reference: entry.reference,
        deliver: entry.deliver.clone().unwrap_or(inherited.deliver),
        size: entry.value.len() as u64,
    }
}
