//! Destroying: the ciphertext of every version of an entry goes, for good; who did what and when stays.

use std::sync::Arc;

use chandlery_wire::api::{Destroyed, DestroyedIn, State};
use chandlery_wire::{Code, EntryName, EnvironmentName, Layer, StackName, Verb};

use super::attributes::Attributes;
use super::core::Core;
use super::draft::{Content, Draft, Writing, named};
use super::operation::{Action, Done};
use super::records::{Records, is_set, record};
use super::view::declared_region;
use super::{Error, Vault};
use crate::access::{Caller, may, scope_of};
use crate::crypto::is_destroyed;
use crate::store::{LayerKey, Row, Transaction};

/// Set while the files may still hold what was destroyed.
pub(super) const ERASURE_DUE: &str = "erasure-due";

/// What is to be destroyed: an entry in one layer, or in all.
#[derive(Debug, Clone)]
pub struct Destruction {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub name: EntryName,
    pub layer: Option<Layer>,
}

impl Vault {
    /// Destroys the values of all versions of an entry. When it returns, their ciphertext is in none of the database's files.
    ///
    /// # Errors
    /// Where the caller does not administer the layers, and where the entry was never set there.
    pub async fn destroy(&self, caller: &Caller, what: Destruction) -> Result<Destroyed, Error> {
        let place = what.layer.as_ref().map_or("*", |layer| layer.as_str());
        let action =
            Action::new("destroy-entry").on(format!("{}/{}/{place}/{}", what.stack, what.environment, what.name));
        self.perform(caller, action, move |core, caller| {
            let layer = what.layer.clone().unwrap_or(Layer::Base);
            if !may(caller, Verb::Administer, &scope_of(&what.stack, &what.environment, &layer)) {
                return Err(Error::forbidden());
            }
            let (job_core, job_caller) = (Arc::clone(core), caller.clone());
            let destroyed = core.write(move |transaction| carry_out(&job_core, &job_caller, transaction, &what))?;
            core.count_encryptions(destroyed.layers.len() as u64)?;
            erase(core)?;
            let entries: Vec<String> = destroyed.layers.iter().map(|layer| layer.layer.to_string()).collect();
            let revision = destroyed.revision;
            Ok(Done::new(destroyed).entries(entries).revision(revision))
        })
        .await
    }
}

/// Takes out of the files what the rows no longer hold; again at the next start, where a kill came in between.
pub(super) fn erase(core: &Core) -> Result<(), Error> {
    let due = core.read(|snapshot| Ok(snapshot.meta(ERASURE_DUE)?))?;
    if due.is_none_or(|due| due.is_empty()) {
        return Ok(());
    }
    core.store.erase().map_err(|error| {
        let error = Error::from(error);
        let detail = format!(
            "the values are destroyed, and their ciphertext is still in the database's files: {}",
            error.detail
        );
        Error { detail, ..error }.hint("destroy it again, or restart the server, which tries again")
    })?;
    core.write(|transaction| Ok(transaction.set_meta(ERASURE_DUE, &[])?))
}

fn carry_out(
    core: &Core,
    caller: &Caller,
    transaction: &mut dyn Transaction,
    what: &Destruction,
) -> Result<Destroyed, Error> {
    let mut writing = Writing::new(core, caller, transaction);
    let environment = writing.records().environment(&what.stack, &what.environment)?;
    if let Some(region) = what.layer.as_ref().and_then(Layer::region) {
        declared_region(&environment, Some(region))?;
    }
    let mut layers = writing.records().layers(&environment);
    layers.retain(|key| what.layer.as_ref().is_none_or(|layer| *layer == key.layer));
    let mut done = Vec::new();
    for key in layers {
        let versions = writing.records().versions(&key, &what.name)?;
        if !versions.is_empty() {
            done.push(in_layer(&mut writing, &key, &what.name, &versions)?);
        }
    }
    if done.is_empty() {
        let place = what.layer.as_ref().map_or_else(|| "any layer".to_owned(), Layer::to_string);
        let detail = format!("{} was never set in {place} of {}/{}", what.name, what.stack, what.environment);
        return Err(Error::new(Code::NotFound, detail).hint("`chandlery matrix` shows what is set where"));
    }
    writing.transaction.set_meta(ERASURE_DUE, b"1")?;
    Ok(Destroyed { revision: writing.transaction.revision()?, layers: done })
}

fn in_layer(
    writing: &mut Writing<'_>,
    key: &LayerKey,
    name: &EntryName,
    versions: &[Row],
) -> Result<DestroyedIn, Error> {
    let tags = writing.records().layer_tags(key)?;
    let set = named(&tags.rows, name).iter().filter(|tag| is_set(tag.state)).map(|tag| tag.grant.clone());
    let mut grants: Vec<_> = set.collect();
    // Where nothing is set any more, the newest version says that it was destroyed, unless it says so already.
    if let Some(newest) = versions.first().filter(|row| grants.is_empty() && row.state != State::Destroyed) {
        grants.push(newest.grant.clone());
    }
    let mut draft = Draft::begin(writing, key.clone())?;
    for grant in grants {
        let before = draft.current(name, &grant)?;
        let attributes = before.as_ref().map(Attributes::of).transpose()?.unwrap_or_default();
        draft.write(name.clone(), grant, Content::without_value(State::Destroyed, &attributes), before)?;
    }
    draft.finish()?;
    let mut destroyed = Vec::new();
    for row in versions.iter().filter(|row| row.state == State::Live && !is_destroyed(&row.sealed)) {
        let remains = record(key, row).destroy(&writing.keyring, &row.sealed)?.into_bytes();
        writing.transaction.replace_sealed(key, name, row.version, &remains)?;
        destroyed.push(row.version);
    }
    destroyed.reverse();
    // The chain of tags is as it was; to be sure, it is read once more before anything is committed.
    Records::new(&*writing.transaction, &writing.keyring).versions(key, name)?;
    Ok(DestroyedIn { layer: key.layer.clone(), versions: destroyed })
}
