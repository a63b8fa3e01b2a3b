//! Entries of another environment or layer, written here too. No value leaves the server.

use std::collections::BTreeSet;

use chandlery_wire::api::{Changed, Copying, LayerPair, SkippedEntry, State};
use chandlery_wire::{Code, EnvironmentName, Fault, Layer, StackName, Verb};

use super::attributes::Attributes;
use super::board::require_reading;
use super::changes::{Plan, Step, Target};
use super::draft::Writing;
use super::entries::declared;
use super::records::{base_of, is_set};
use super::{Error, Vault};
use crate::access::{Caller, may, may_use_grant, scope_of};
use crate::crypto::is_destroyed;
use crate::store::{EnvironmentRow, LayerKey};

impl Vault {
    /// Writes what another environment or layer has. What is set here only, stays.
    ///
    /// # Errors
    /// As [`Vault::change`]; and where the caller may not read what is to be copied, or a name is not there.
    pub async fn copy(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        mut copying: Copying,
    ) -> Result<Changed, Error> {
        let terms = std::mem::take(&mut copying.terms);
        let target = Target { stack, environment, declare: std::mem::take(&mut copying.declare), terms };
        let (changed, ()) =
            self.transform(caller, "write-copies", target, move |writing, row| plan(writing, row, copying)).await?;
        Ok(changed)
    }
}

fn plan(writing: &Writing<'_>, to: &EnvironmentRow, copying: Copying) -> Result<Plan<()>, Error> {
    let Copying { from_stack, from_environment, layers, names, secrets, .. } = copying;
    let stack = from_stack.unwrap_or_else(|| to.stack.clone());
    let environment = from_environment.unwrap_or_else(|| to.name.clone());
    let same = (&stack, &environment) == (&to.stack, &to.name);
    require_reading(writing.caller, &stack, &environment)?;
    let records = writing.records();
    let from = records.environment(&stack, &environment)?;
    let mut plan = Plan { steps: Vec::new(), skipped: Vec::new(), notes: Vec::new(), told: () };
    let pairs = if layers.is_empty() { matching(&from, to, &mut plan.notes) } else { layers };
    let mut missing: BTreeSet<_> = names.iter().cloned().collect();
    for LayerPair { from: source, to: target } in pairs {
        let key = LayerKey { layer: source, ..base_of(&stack, &environment) };
        if same && key.layer == target {
            return Err(
                Error::new(Code::Invalid, format!("{key} would be copied to itself")).hint("name another layer")
            );
        }
        declared(&records, &key)?;
        // A mistyped target is one, whether or not there is something for it.
        declared(&records, &LayerKey { layer: target.clone(), ..base_of(&to.stack, &to.name) })?;
        let scope = scope_of(&stack, &environment, &key.layer);
        if !may(writing.caller, Verb::ReadEntry, &scope) {
            plan.notes.push(format!("what this token may not read in {key} is not copied"));
        }
        for row in records.layer(&key)?.rows {
            let named = names.contains(&row.name);
            // What the caller may not read is not there for it: neither its name nor that there is something is told.
            let readable = may_use_grant(writing.caller, Verb::ReadEntry, &scope, &row.grant);
            if !is_set(row.state) || !readable || !(named || names.is_empty()) {
                continue;
            }
            missing.remove(&row.name);
            let skip = |why: &str| SkippedEntry { name: row.name.clone(), layer: target.clone(), why: why.to_owned() };
            if is_destroyed(&row.sealed) {
                plan.skipped.push(skip("its value was destroyed"));
            } else if row.state == State::Removed && target == Layer::Base {
                plan.skipped.push(skip("the base has nothing that it could remove"));
            } else if Attributes::of(&row)?.secret && row.state == State::Live && !(same || secrets || named) {
                plan.skipped.push(skip("a secret is copied only if it is named, or with --secrets"));
            } else {
                let content = records.content(&key, &row)?;
                plan.steps.push((target.clone(), Step::Copy { name: row.name, grant: row.grant, content }));
            }
        }
    }
    if missing.is_empty() {
        return Ok(plan);
    }
    let faults: Vec<Fault> = missing
        .into_iter()
        .map(|name| Fault {
            name: name.to_string(),
            detail: format!("is not set in what is copied of {stack}/{environment}"),
        })
        .collect();
    Err(Error::new(Code::NotFound, "not all that is named is there, so nothing was copied")
        .hint("`chandlery matrix` shows what is set where")
        .faults(faults))
}

/// The base to the base, and each overlay to that of the same region.
fn matching(from: &EnvironmentRow, to: &EnvironmentRow, notes: &mut Vec<String>) -> Vec<LayerPair> {
    let (shared, others): (Vec<_>, Vec<_>) = from.regions.iter().partition(|region| to.regions.contains(region));
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|region| region.as_str()).collect();
        notes.push(format!(
            "{}/{} has no region {}: what differs there is not copied",
            to.stack,
            to.name,
            names.join(", ")
        ));
    }
    let overlays = shared.into_iter().cloned().map(Layer::Overlay);
    std::iter::once(Layer::Base).chain(overlays).map(|layer| LayerPair { from: layer.clone(), to: layer }).collect()
}
