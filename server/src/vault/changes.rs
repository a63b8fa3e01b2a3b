//! Changes to many entries across the layers of one environment, all of them or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandlery_wire::api::{
    Change, ChangeSet, Changed, ChangedEntry, RestoreEntry, SetEntry, SkippedEntry, Spot, State, Terms,
};
use chandlery_wire::{Code, EntryName, EnvironmentName, Grant, Layer, RegionName, Scope, StackName, Verb};

use super::attributes::Attributes;
use super::core::Core;
use super::draft::{Content, Draft, Outcome, Writing};
use super::entries::Which;
use super::operation::{Action, Done};
use super::records::base_of;
use super::stacks::Declarer;
use super::writes::{Removal, collect, faulty};
use super::{Error, Vault};
use crate::access::{Caller, may, may_somewhere};
use crate::store::{EnvironmentRow, LayerKey, StoreError, Transaction};

/// The most changes in one request.
const MOST_CHANGES: usize = 50_000;

/// One environment, and on what terms it is changed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) stack: StackName,
    pub(super) environment: EnvironmentName,
    pub(super) declare: Vec<RegionName>,
    pub(super) terms: Terms,
}

/// One thing to do in one layer.
#[derive(Debug)]
pub(super) enum Step {
    /// What a request asked for, with everything that a single write looks after.
    Asked(Change),
    /// This content, for exactly this grant.
    Put { name: EntryName, grant: Grant, content: Content },
    /// The same from elsewhere: a secret of this layer stays one, whatever it was there.
    Copy { name: EntryName, grant: Grant, content: Content },
}

/// What is to be done, and what to tell beside it.
#[derive(Debug)]
pub(super) struct Plan<T> {
    pub(super) steps: Vec<(Layer, Step)>,
    pub(super) skipped: Vec<SkippedEntry>,
    pub(super) notes: Vec<String>,
    pub(super) told: T,
}

impl Vault {
    /// Sets, deletes, removes and restores entries across the base and the overlays.
    ///
    /// # Errors
    /// Where the caller may not write any one of them, or declare a region that is to be declared; where the environment
    /// or an entry is at another revision or version than expected; and where one cannot be what it is said to be.
    pub async fn change(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        set: ChangeSet,
    ) -> Result<Changed, Error> {
        let ChangeSet { declare, changes, terms } = set;
        let references = changes.iter().filter_map(|change| match change {
            Change::Set(SetEntry { name, entry, .. }) => Some((name, entry)),
            _ => None,
        });
        if let Err(error) = self.check_references(caller, &stack, &environment, references).await {
            let action = Action::new("write-changes").on(format!("{stack}/{environment}"));
            return Err(self.fail(caller, &action, error).await);
        }
        let target = Target { stack, environment, declare, terms };
        let (changed, ()) = self
            .transform(caller, "write-changes", target, move |_, _| {
                check_changes(&changes)?;
                let steps = changes.into_iter().map(|change| (layer_of(&change), Step::Asked(change))).collect();
                Ok(Plan { steps, skipped: Vec::new(), notes: Vec::new(), told: () })
            })
            .await?;
        Ok(changed)
    }

    /// The frame of everything that changes many entries: in one transaction, regions are declared, the revision is
    /// compared, the plan is made from what is there, and carried out; or, for a dry run, all of that undone.
    pub(super) async fn transform<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: &'static str,
        target: Target,
        plan: impl FnOnce(&Writing<'_>, &EnvironmentRow) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<(Changed, T), Error> {
        let action = Action::new(action).on(format!("{}/{}", target.stack, target.environment));
        self.perform(caller, action, move |core, caller| {
            if !may_somewhere(caller, Verb::Write, &target.stack, Some(&target.environment)) {
                return Err(Error::forbidden());
            }
            let (job_core, job_caller) = (Arc::clone(core), caller.clone());
            let result = core.write(move |transaction| {
                let done = carry_out(&job_core, &job_caller, transaction, &target, plan)?;
                if target.terms.dry_run { Err(Stop::DryRun(Box::new(done))) } else { Ok(done) }
            });
            let (changed, told) = match result {
                Ok(done) => done,
                Err(Stop::DryRun(done)) => return Ok(Done { detail: Some("dry run".into()), ..Done::new(*done) }),
                Err(Stop::Error(error)) => return Err(error),
            };
            core.count_encryptions(changed.entries.len() as u64)?;
            let entries: Vec<String> = changed
                .entries
                .iter()
                .map(|entry| format!("{}/{} v{}", entry.layer, entry.name, entry.version))
                .collect();
            let revision = changed.revision;
            Ok(Done::new((changed, told)).entries(entries).revision(revision))
        })
        .await
    }
}

/// What ends a transaction without a commit.
enum Stop<T> {
    Error(Error),
    DryRun(Box<T>),
}

impl<T> From<Error> for Stop<T> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl<T> From<StoreError> for Stop<T> {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

fn carry_out<T>(
    core: &Core,
    caller: &Caller,
    transaction: &mut dyn Transaction,
    target: &Target,
    plan: impl FnOnce(&Writing<'_>, &EnvironmentRow) -> Result<Plan<T>, Error>,
) -> Result<(Changed, T), Error> {
    let Target { stack, environment, terms, .. } = target;
    let mut writing = Writing::new(core, caller, transaction);
    let before = writing.records().environment(stack, environment)?;
    let at = writing.records().revision_of(&before)?;
    if let Some(expected) = terms.expect_revision.filter(|expected| *expected != at) {
        return Err(Error::new(
            Code::VersionConflict,
            format!("{stack}/{environment} is at revision {at}, not {expected}: somebody else has written"),
        )
        .hint("make the plan again, and look at it again"));
    }
    let (row, declared) = declare(&mut writing, &before, &target.declare)?;
    let Plan { steps, skipped, mut notes, told } = plan(&writing, &row)?;
    if steps.len() > MOST_CHANGES {
        return Err(Error::new(Code::TooLarge, format!("more than {MOST_CHANGES} changes at once"))
            .hint("make them in several requests"));
    }
    if before.regions.is_empty() && !declared.is_empty() {
        notes.push(format!("{stack}/{environment} had no regions: from now on each bundle is that of a region"));
    }
    let outcomes = apply(&mut writing, &row, steps)?;
    let unchanged = outcomes.iter().filter(|outcome| outcome.effect.is_none()).count() as u64;
    let mut entries: Vec<ChangedEntry> = outcomes.into_iter().filter_map(changed).collect();
    entries.sort_by(|one, other| (&one.name, &one.layer).cmp(&(&other.name, &other.layer)));
    let revision = if terms.dry_run { at } else { writing.records().revision_of(&row)? };
    let dry_run = terms.dry_run;
    Ok((Changed { revision, dry_run, declared, entries, unchanged, skipped, notes }, told))
}

fn changed(outcome: Outcome) -> Option<ChangedEntry> {
    let Outcome { name, layer, grant, version, effect, secret, value } = outcome;
    Some(ChangedEntry { name, layer, grant, effect: effect?, version, secret, value })
}

/// Declares the regions that are not declared yet.
fn declare(
    writing: &mut Writing<'_>,
    row: &EnvironmentRow,
    regions: &[RegionName],
) -> Result<(EnvironmentRow, Vec<RegionName>), Error> {
    let new: BTreeSet<&RegionName> = regions.iter().filter(|region| !row.regions.contains(region)).collect();
    if new.is_empty() {
        return Ok((row.clone(), Vec::new()));
    }
    let (stack, environment) = (row.stack.clone(), row.name.clone());
    let scope = Scope { stack: Some(stack.clone()), environment: Some(environment.clone()), ..Scope::default() };
    if !may(writing.caller, Verb::Administer, &scope) {
        let names: Vec<&str> = new.iter().map(|region| region.as_str()).collect();
        let detail = format!("{} would have to be declared, and this token may not do that", names.join(", "));
        return Err(Error::new(Code::Forbidden, detail)
            .hint("have them declared with `chandlery region add`, or ask for a token with the verb administer"));
    }
    let new: Vec<RegionName> = new.into_iter().cloned().collect();
    let mut declarer = Declarer { transaction: &mut *writing.transaction, keyring: Arc::clone(&writing.keyring) };
    declarer.add_regions(&stack, &environment, &row.regions, new.clone())?;
    Ok((writing.records().environment(&stack, &environment)?, new))
}

/// Layer by layer, the base first: a new value in an overlay inherits from the base as it is then.
fn apply(
    writing: &mut Writing<'_>,
    environment: &EnvironmentRow,
    steps: Vec<(Layer, Step)>,
) -> Result<Vec<Outcome>, Error> {
    let mut by_layer: BTreeMap<Layer, Vec<Step>> = BTreeMap::new();
    for (layer, step) in steps {
        by_layer.entry(layer).or_default().push(step);
    }
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for (layer, steps) in by_layer {
        let key = LayerKey { layer, ..base_of(&environment.stack, &environment.name) };
        let mut draft = Draft::begin(writing, key.clone())?;
        for step in steps {
            let name = format!("{}/{}", key.layer, step.name());
            collect(&mut faults, name, step.carry_out(&mut draft, &key))?;
        }
        outcomes.extend(draft.finish()?);
    }
    if faults.is_empty() { Ok(outcomes) } else { Err(faulty(faults)) }
}

impl Step {
    fn name(&self) -> &EntryName {
        match self {
            Self::Asked(change) => name_of(change),
            Self::Put { name, .. } | Self::Copy { name, .. } => name,
        }
    }

    fn carry_out(self, draft: &mut Draft<'_, '_>, key: &LayerKey) -> Result<(), Error> {
        let which = |name: EntryName, grant| Which { layer: key.clone(), name, grant };
        match self {
            Self::Put { name, grant, content } => draft.put(&name, &grant, content),
            Self::Copy { name, grant, mut content } => {
                let known = draft.current(&name, &grant)?.filter(|row| row.state == State::Live);
                content.attributes.secret |= known.is_some_and(|row| Attributes::of(&row).is_ok_and(|own| own.secret));
                draft.put(&name, &grant, content)
            }
            Self::Asked(Change::Set(SetEntry { name, entry, .. })) => draft.set(name, &entry),
            Self::Asked(Change::Delete(Spot { name, grant, expect_version, .. })) => {
                draft.delete(&which(name, grant), Removal { hide_base: false, expect_version })
            }
            Self::Asked(Change::Remove(Spot { name, grant, expect_version, .. })) => {
                draft.delete(&which(name, grant), Removal { hide_base: true, expect_version })
            }
            Self::Asked(Change::Undelete(Spot { name, grant, expect_version, .. })) => {
                draft.undelete(&which(name, grant), expect_version)
            }
            Self::Asked(Change::Restore(RestoreEntry { name, version, expect_version, .. })) => {
                draft.restore(&which(name, None), version, expect_version)
            }
        }
    }
}

fn name_of(change: &Change) -> &EntryName {
    match change {
        Change::Set(SetEntry { name, .. }) | Change::Restore(RestoreEntry { name, .. }) => name,
        Change::Delete(spot) | Change::Remove(spot) | Change::Undelete(spot) => &spot.name,
    }
}

fn layer_of(change: &Change) -> Layer {
    let region = match change {
        Change::Set(SetEntry { region, .. }) | Change::Restore(RestoreEntry { region, .. }) => region,
        Change::Delete(spot) | Change::Remove(spot) | Change::Undelete(spot) => &spot.region,
    };
    Layer::from(region.clone())
}

/// The grant that a change names, or that its entry does.
fn grant_of(change: &Change) -> Option<&Grant> {
    match change {
        Change::Set(SetEntry { entry, .. }) => entry.grant.as_ref(),
        Change::Restore(_) => None,
        Change::Delete(spot) | Change::Remove(spot) | Change::Undelete(spot) => spot.grant.as_ref(),
    }
}

fn check_changes(changes: &[Change]) -> Result<(), Error> {
    let mut seen: BTreeMap<(Layer, &EntryName), Vec<Option<&Grant>>> = BTreeMap::new();
    for change in changes {
        let layer = layer_of(change);
        if layer == Layer::Base && matches!(change, Change::Remove(_)) {
            return Err(Error::new(Code::Invalid, format!("{}: only a region's overlay can remove", name_of(change)))
                .hint("name the region; or delete it from the base"));
        }
        let grants = seen.entry((layer, name_of(change))).or_default();
        // The same name for two grants is fine, if both say for whom.
        if !grants.is_empty()
            && (grant_of(change).is_none() || grants.contains(&None) || grants.contains(&grant_of(change)))
        {
            let detail = format!("{} is there twice for {}", name_of(change), layer_of(change));
            return Err(
                Error::new(Code::Invalid, detail).hint("say with \"for\" which services each is for, or leave one out")
            );
        }
        grants.push(grant_of(change));
    }
    Ok(())
}
