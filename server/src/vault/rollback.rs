//! An environment as it was, written again: new versions, so that it can be undone like anything else.

use std::collections::BTreeMap;

use chandlery_wire::api::{Changed, Rollback, SkippedEntry, State};
use chandlery_wire::{Code, EntryName, EnvironmentName, Grant, StackName};

use super::attributes::Attributes;
use super::changes::{Plan, Step, Target};
use super::draft::Content;
use super::moment::Moment;
use super::records::{Records, is_set};
use super::view::{declared_region, list};
use super::{Error, Vault};
use crate::access::Caller;
use crate::crypto::is_destroyed;
use crate::store::{EnvironmentRow, LayerKey, Row};

impl Vault {
    /// Puts everything back to what it was at a moment. What was set since is deleted; what is declared stays declared.
    ///
    /// # Errors
    /// As [`Vault::change`]; and where the moment has not come yet.
    pub async fn roll_back(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        rollback: Rollback,
    ) -> Result<Changed, Error> {
        let Rollback { to, layers, names, terms } = rollback;
        let target = Target { stack, environment, declare: Vec::new(), terms };
        let (changed, ()) = self
            .transform(caller, "write-rollback", target, move |writing, environment| {
                let moment = Moment::parse(writing.core, &*writing.transaction, &to)?;
                for layer in &layers {
                    if let Some(region) = layer.region() {
                        declared_region(environment, Some(region))?;
                    }
                }
                let records = writing.records();
                let mut plan = Plan { steps: Vec::new(), skipped: Vec::new(), notes: Vec::new(), told: () };
                for key in records.layers(environment) {
                    if layers.is_empty() || layers.contains(&key.layer) {
                        layer(&records, &key, moment, &names, &mut plan)?;
                    }
                }
                known(&records, environment, &names)?;
                Ok(plan)
            })
            .await?;
        Ok(changed)
    }
}

fn layer(
    records: &Records<'_>,
    key: &LayerKey,
    moment: Moment,
    names: &[EntryName],
    plan: &mut Plan<()>,
) -> Result<(), Error> {
    let slots = |records: &Records<'_>| -> Result<BTreeMap<(EntryName, Grant), Row>, Error> {
        let rows = records.layer(key)?.rows.into_iter();
        let wanted = rows.filter(|row| is_set(row.state) && (names.is_empty() || names.contains(&row.name)));
        Ok(wanted.map(|row| ((row.name.clone(), row.grant.clone()), row)).collect())
    };
    let (now, then) = (slots(records)?, slots(&records.as_of(Some(moment)))?);
    // Deleted first: what was set for all services may have been set for one of them since.
    for ((name, grant), row) in now.iter().filter(|(slot, _)| !then.contains_key(slot)) {
        let content = Content::without_value(State::Deleted, &Attributes::of(row)?);
        plan.steps.push((key.layer.clone(), Step::Put { name: name.clone(), grant: grant.clone(), content }));
    }
    for ((name, grant), row) in then {
        if now.get(&(name.clone(), grant.clone())).is_some_and(|current| current.version == row.version) {
            continue;
        }
        if is_destroyed(&row.sealed) {
            let why = format!("the value of version {} was destroyed", row.version);
            plan.skipped.push(SkippedEntry { name, layer: key.layer.clone(), why });
            continue;
        }
        let content = records.content(key, &row)?;
        plan.steps.push((key.layer.clone(), Step::Put { name, grant, content }));
    }
    Ok(())
}

/// A name that never was anywhere is a typing error.
fn known(records: &Records<'_>, environment: &EnvironmentRow, names: &[EntryName]) -> Result<(), Error> {
    let mut unknown: Vec<EntryName> = names.to_vec();
    for key in records.layers(environment) {
        let tags = records.layer_tags(&key)?;
        unknown.retain(|name| !tags.rows.iter().any(|tag| tag.name == *name));
    }
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Error::new(Code::NotFound, format!("never set here: {}", list(&unknown)))
            .hint("`chandlery matrix` shows what is set where")),
    }
}
