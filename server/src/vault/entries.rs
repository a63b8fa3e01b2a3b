//! Reading single entries, lists of them, and their history. What is read is what was written: templates unresolved.

use chandlery_wire::api::{Entry, EntryInfo, EntryList, State};
use chandlery_wire::{Code, EntryName, EnvironmentName, Grant, Layer, RegionName, StackName, Verb};

use super::attributes::{info, info_with};
use super::moment::Moment;
use super::operation::{Action, Done};
use super::records::{Records, base_of, is_set};
use super::view::{declared_region, list};
use super::{Error, Vault};
use crate::access::{Caller, may_for_some_service, may_somewhere, may_use_grant, scope_of};
use crate::crypto::is_destroyed;
use crate::store::{LayerKey, Row};

/// An entry in one layer; where it is set there for several grants, for which.
#[derive(Debug, Clone)]
pub struct Which {
    pub layer: LayerKey,
    pub name: EntryName,
    pub grant: Option<Grant>,
}

impl Which {
    pub(super) fn target(&self) -> String {
        format!("{}/{}", self.layer, self.name)
    }
}

impl Vault {
    /// The current entries of all layers, or of the base and one overlay: those that the caller may read.
    ///
    /// # Errors
    /// Where the caller may read nothing there, and where a record is not what was written.
    pub async fn entries(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        region: Option<RegionName>,
    ) -> Result<EntryList, Error> {
        let action = Action::new("read-entries").on(format!("{stack}/{environment}"));
        self.perform(caller, action, move |core, caller| {
            if !may_somewhere(caller, Verb::ReadEntry, &stack, Some(&environment)) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let declared = records.environment(&stack, &environment)?;
                let regions = match region {
                    Some(region) => {
                        declared_region(&declared, Some(&region))?;
                        vec![region]
                    }
                    None => declared.regions,
                };
                let base = base_of(&stack, &environment);
                let overlays =
                    regions.into_iter().map(|region| LayerKey { layer: Layer::Overlay(region), ..base.clone() });
                let mut entries = Vec::new();
                for key in std::iter::once(base.clone()).chain(overlays) {
                    let rows = records.layer(&key)?.rows;
                    for row in rows.iter().filter(|row| is_set(row.state) && readable(caller, &key, &row.grant)) {
                        entries.push(described(&records, &key, row)?);
                    }
                }
                // By name, and within a name as the layers were read: the base before the overlays.
                entries.sort_by(|one, other| one.name.cmp(&other.name));
                Ok(Done::new(EntryList { entries }))
            })
        })
        .await
    }

    /// One version of an entry with its value.
    ///
    /// # Errors
    /// As [`Vault::entries`]; and where there is no such entry or version, or it has no value.
    pub async fn entry(&self, caller: &Caller, which: Which, version: Option<u64>) -> Result<Entry, Error> {
        let action = Action::new("read-entry").on(which.target());
        self.perform(caller, action, move |core, caller| {
            // Asked before anything is looked up; and again for the grant that is found.
            require(caller, &which)?;
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                declared(&records, &which.layer)?;
                let row = match version {
                    None => current(&records, &which)?,
                    Some(version) => records
                        .versions(&which.layer, &which.name)?
                        .into_iter()
                        .find(|row| row.version == version)
                        .filter(|row| which.grant.as_ref().is_none_or(|grant| grant == &row.grant))
                        .ok_or_else(|| not_found(&which, Some(version)))?,
                };
                if !readable(caller, &which.layer, &row.grant) {
                    return Err(Error::forbidden());
                }
                if row.state != State::Live {
                    let what = if row.state == State::Removed { "takes it away" } else { "deletes it" };
                    let (target, version) = (which.target(), row.version);
                    return Err(Error::new(Code::NotFound, format!("{target} has no value: version {version} {what}"))
                        .hint("`chandlery history NAME` shows its versions"));
                }
                let value = records.open(&which.layer, &row)?;
                Ok(Done::new(Entry { info: info_with(&which.layer.layer, &row, &value)?, value }))
            })
        })
        .await
    }

    /// An entry with its value, as it was at a revision or a time.
    ///
    /// # Errors
    /// As [`Vault::entry`]; and where a version is named as well, or the moment has not come yet.
    pub async fn entry_at(
        &self,
        caller: &Caller,
        which: Which,
        version: Option<u64>,
        at: String,
    ) -> Result<Entry, Error> {
        let action = Action::new("read-entry").on(which.target());
        self.perform(caller, action, move |core, caller| {
            require(caller, &which)?;
            if version.is_some() {
                return Err(Error::new(Code::BadRequest, "a version and a moment are both named")
                    .hint("name the one or the other"));
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let moment = Moment::parse(core, snapshot, &at)?;
                let records = Records::new(snapshot, &keyring).as_of(Some(moment));
                declared(&records, &which.layer)?;
                let row = current(&records, &which)?;
                if !readable(caller, &which.layer, &row.grant) {
                    return Err(Error::forbidden());
                }
                let value = records.open(&which.layer, &row)?;
                Ok(Done::new(Entry { info: info_with(&which.layer.layer, &row, &value)?, value }))
            })
        })
        .await
    }

    /// The versions of an entry in one layer, newest first, under all the grants that the caller may read.
    ///
    /// # Errors
    /// As [`Vault::entry`].
    pub async fn versions(&self, caller: &Caller, layer: LayerKey, name: EntryName) -> Result<EntryList, Error> {
        let which = Which { layer, name, grant: None };
        let action = Action::new("read-versions").on(which.target());
        self.perform(caller, action, move |core, caller| {
            require(caller, &which)?;
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                declared(&records, &which.layer)?;
                let rows = records.versions(&which.layer, &which.name)?;
                let readable = rows.iter().filter(|row| readable(caller, &which.layer, &row.grant));
                let entries: Result<Vec<EntryInfo>, Error> =
                    readable.map(|row| described(&records, &which.layer, row)).collect();
                match entries? {
                    entries if entries.is_empty() => Err(not_found(&which, None)),
                    entries => Ok(Done::new(EntryList { entries })),
                }
            })
        })
        .await
    }
}

fn readable(caller: &Caller, key: &LayerKey, grant: &Grant) -> bool {
    may_use_grant(caller, Verb::ReadEntry, &scope_of(&key.stack, &key.environment, &key.layer), grant)
}

/// Decided without looking, so that a refusal tells nothing.
fn require(caller: &Caller, which: &Which) -> Result<(), Error> {
    let LayerKey { stack, environment, layer } = &which.layer;
    match may_for_some_service(caller, Verb::ReadEntry, &scope_of(stack, environment, layer)) {
        true => Ok(()),
        false => Err(Error::forbidden()),
    }
}

/// The layer's environment exists and has that region.
pub(super) fn declared(records: &Records<'_>, key: &LayerKey) -> Result<(), Error> {
    let environment = records.environment(&key.stack, &key.environment)?;
    match key.layer.region() {
        Some(region) => declared_region(&environment, Some(region)),
        None => Ok(()),
    }
}

/// The current version of the one grant for which the entry is set, or of the one that was named.
fn current(records: &Records<'_>, which: &Which) -> Result<Row, Error> {
    let rows = records.layer(&which.layer)?.rows;
    let mut set: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.name == which.name && is_set(row.state))
        .filter(|row| which.grant.as_ref().is_none_or(|grant| grant == &row.grant))
        .collect();
    match set.len() {
        0 => Err(not_found(which, None)),
        1 => Ok(set.remove(0)),
        _ => Err(several(which, set.iter().map(|row| &row.grant))),
    }
}

pub(super) fn several<'a>(which: &Which, grants: impl Iterator<Item = &'a Grant>) -> Error {
    let grants: Vec<String> = grants.map(Grant::to_string).collect();
    Error::new(
        Code::Conflict,
        format!("{} is set for several grants: {}", which.target(), list(&grants).replace(", ", " and for ")),
    )
    .hint(format!("say which with --for {}", grants.first().map_or("all", String::as_str)))
}

pub(super) fn not_found(which: &Which, version: Option<u64>) -> Error {
    let version = version.map(|version| format!(" in version {version}")).unwrap_or_default();
    let grant = which.grant.as_ref().map(|grant| format!(" for {grant}")).unwrap_or_default();
    let layer = &which.layer;
    Error::new(Code::NotFound, format!("{} is not set{grant} in {layer}{version}", which.name))
        .hint(format!("`chandlery list` shows what is set; `chandlery explain {}` shows every layer", which.name))
}

/// A row for people: with its value, where it is plain.
pub(super) fn described(records: &Records<'_>, key: &LayerKey, row: &Row) -> Result<EntryInfo, Error> {
    // Opened first: what the columns say is believed only then.
    if is_destroyed(&row.sealed) {
        records.authenticate(key, row)?;
        return Ok(EntryInfo { state: State::Destroyed, ..info(&key.layer, row)? });
    }
    let value = records.open(key, row)?;
    let mut info = info_with(&key.layer, row, &value)?;
    info.value = (!info.secret && row.state == State::Live).then_some(value);
    Ok(info)
}
