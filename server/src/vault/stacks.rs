//! Declaring what there is: stacks, their services, environments and regions. Nothing exists by being mentioned.

use std::sync::Arc;

use chandlery_wire::api::{Environment, Stack, StackList, State};
use chandlery_wire::{Code, EnvironmentName, Layer, RegionName, Scope, ServiceName, StackName, Verb};

use super::operation::{Action, Done};
use super::records::{Records, base_of, header, is_set};
use super::view::list;
use super::{Error, Vault};
use crate::access::{Caller, may, may_somewhere};
use crate::crypto::{Definition, Keyring};
use crate::store::{EnvironmentRow, LayerKey, LayerRow, StackRow, TagRow, Transaction};

/// Services of a stack, or regions of an environment, at most.
const MOST_NAMES: usize = 1_000;

impl Vault {
    /// The stacks within the caller's scopes.
    ///
    /// # Errors
    /// Where the caller has no verb that has to do with entries or administration.
    pub async fn stacks(&self, caller: &Caller) -> Result<StackList, Error> {
        self.perform(caller, Action::new("read-stacks"), |core, caller| {
            if !caller.verbs.iter().any(|verb| SEEING.contains(verb)) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let mut stacks = records.stacks()?;
                stacks.retain(|stack| sees(caller, &stack.name, None));
                let stacks: Result<Vec<Stack>, Error> =
                    stacks.into_iter().map(|row| describe(&records, caller, row)).collect();
                Ok(Done::new(StackList { stacks: stacks? }))
            })
        })
        .await
    }

    /// One stack.
    ///
    /// # Errors
    /// Where the caller sees nothing of it, and where it was not declared.
    pub async fn stack(&self, caller: &Caller, name: StackName) -> Result<Stack, Error> {
        self.perform(caller, Action::new("read-stack").on(&name), move |core, caller| {
            if !sees(caller, &name, None) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let row = records.stack(&name)?;
                Ok(Done::new(describe(&records, caller, row)?))
            })
        })
        .await
    }

    /// Declares a stack, or adds services to it. What is declared already stays.
    ///
    /// # Errors
    /// Where the caller does not administer the stack.
    pub async fn declare_stack(
        &self,
        caller: &Caller,
        name: StackName,
        services: Vec<ServiceName>,
    ) -> Result<Stack, Error> {
        self.declare(caller, Action::new("declare-stack").on(&name), stack_scope(&name), move |declarer| {
            let row = declarer.transaction.stack(&name)?;
            let known = match row {
                Some(_) => Some(declarer.records().stack(&name)?.services),
                None => None,
            };
            let (services, changed) = union(known.as_deref().unwrap_or_default(), services, "services")?;
            if changed || known.is_none() {
                declarer.put_stack(&name, services)?;
            }
            Ok(name)
        })
        .await
    }

    /// Declares an environment, or adds regions to it. What is declared already stays.
    ///
    /// # Errors
    /// Where the caller does not administer the environment, and where the stack was not declared.
    pub async fn declare_environment(
        &self,
        caller: &Caller,
        stack: StackName,
        name: EnvironmentName,
        regions: Vec<RegionName>,
    ) -> Result<Stack, Error> {
        let action = Action::new("declare-environment").on(format!("{stack}/{name}"));
        let scope = Scope { environment: Some(name.clone()), ..stack_scope(&stack) };
        self.declare(caller, action, scope, move |declarer| {
            declarer.records().stack(&stack)?;
            let known = declarer.records().find_environment(&stack, &name)?.map(|row| row.regions);
            let (all, changed) = union(known.as_deref().unwrap_or_default(), regions, "regions")?;
            if changed || known.is_none() {
                declarer.put_environment(&stack, &name, known.as_deref(), all)?;
            }
            Ok(stack)
        })
        .await
    }

    /// Takes a region back. Its overlay must be empty, and what was deleted there destroyed: no value is lost by a slip, and
    /// what the past had is not told otherwise.
    ///
    /// # Errors
    /// Where the caller does not administer the environment, the region was not declared, or its overlay has entries or had
    /// some that could be had back.
    pub async fn withdraw_region(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        region: RegionName,
    ) -> Result<Stack, Error> {
        let action = Action::new("delete-region").on(format!("{stack}/{environment}/{region}"));
        let scope = Scope { environment: Some(environment.clone()), ..stack_scope(&stack) };
        self.declare(caller, action, scope, move |declarer| {
            let mut row = declarer.records().environment(&stack, &environment)?;
            super::view::declared_region(&row, Some(&region))?;
            let key = LayerKey { layer: Layer::Overlay(region.clone()), ..base_of(&stack, &environment) };
            let tags = declarer.records().layer_tags(&key)?;
            let left: Vec<&str> =
                tags.rows.iter().filter(|tag| is_set(tag.state)).map(|tag| tag.name.as_str()).collect();
            if !left.is_empty() {
                return Err(Error::new(
                    Code::Conflict,
                    format!("the overlay of {region} still has {} entries: {}", left.len(), list(&left)),
                )
                .hint(format!("delete them first: chandlery rm NAME --region {region}")));
            }
            let deleted = deleted(&tags.rows);
            if !deleted.is_empty() {
                let many = format!("{} deleted entries: {}", deleted.len(), list(&deleted));
                return Err(Error::new(Code::Conflict, format!("the overlay of {region} has the past of {many}"))
                    .hint(format!("it would be gone for good; if it may: chandlery destroy NAME --region {region}")));
            }
            row.regions.retain(|other| *other != region);
            declarer.transaction.remove_layer(&key)?;
            declarer.transaction.next_revision()?;
            declarer.sign_environment(row)?;
            Ok(stack)
        })
        .await
    }

    /// The frame of all three: policy, one transaction, the stack as it is afterwards.
    async fn declare(
        &self,
        caller: &Caller,
        action: Action,
        scope: Scope,
        change: impl FnOnce(&mut Declarer<'_>) -> Result<StackName, Error> + Send + 'static,
    ) -> Result<Stack, Error> {
        self.perform(caller, action, move |core, caller| {
            if !may(caller, Verb::Administer, &scope) {
                return Err(Error::forbidden());
            }
            let (keyring, job_caller) = (core.keyring(), caller.clone());
            let (stack, revision) = core.write(move |transaction| {
                let mut declarer = Declarer { transaction, keyring: Arc::clone(&keyring) };
                let name = change(&mut declarer)?;
                let records = declarer.records();
                let stack = describe(&records, &job_caller, records.stack(&name)?)?;
                Ok::<_, Error>((stack, declarer.transaction.revision()?))
            })?;
            Ok(Done::new(stack).revision(revision))
        })
        .await
    }
}

/// Verbs whose holders may see what is declared.
const SEEING: [Verb; 3] = [Verb::ReadEntry, Verb::Write, Verb::Administer];

fn sees(caller: &Caller, stack: &StackName, environment: Option<&EnvironmentName>) -> bool {
    SEEING.iter().any(|verb| may_somewhere(caller, *verb, stack, environment))
}

fn stack_scope(stack: &StackName) -> Scope {
    Scope { stack: Some(stack.clone()), ..Scope::default() }
}

fn describe(records: &Records<'_>, caller: &Caller, row: StackRow) -> Result<Stack, Error> {
    let mut environments = records.environments(&row.name)?;
    environments.retain(|environment| sees(caller, &row.name, Some(&environment.name)));
    let environments =
        environments.into_iter().map(|row| Environment { name: row.name, regions: row.regions }).collect();
    Ok(Stack { name: row.name, services: row.services, environments })
}

/// Both together, sorted, and whether that is more than before.
fn union<T: Ord + Clone>(known: &[T], added: Vec<T>, what: &str) -> Result<(Vec<T>, bool), Error> {
    let mut all: Vec<T> = known.iter().cloned().chain(added).collect();
    all.sort();
    all.dedup();
    if all.len() > MOST_NAMES {
        return Err(Error::new(Code::TooLarge, format!("more than {MOST_NAMES} {what}")).hint("declare fewer"));
    }
    let changed = all.len() != known.len();
    Ok((all, changed))
}

/// A transaction that writes definitions, signed.
pub(super) struct Declarer<'a> {
    pub(super) transaction: &'a mut dyn Transaction,
    pub(super) keyring: Arc<Keyring>,
}

impl Declarer<'_> {
    fn records(&self) -> Records<'_> {
        Records::new(&*self.transaction, &self.keyring)
    }

    fn put_stack(&mut self, name: &StackName, services: Vec<ServiceName>) -> Result<(), Error> {
        let mac = Definition::Stack { name, services: &services }.sign(&self.keyring);
        self.transaction.next_revision()?;
        Ok(self.transaction.put_stack(&StackRow { name: name.clone(), services, mac })?)
    }

    /// Declares regions of an environment beside those that it has.
    pub(super) fn add_regions(
        &mut self,
        stack: &StackName,
        name: &EnvironmentName,
        known: &[RegionName],
        added: Vec<RegionName>,
    ) -> Result<(), Error> {
        let (all, _) = union(known, added, "regions")?;
        self.put_environment(stack, name, Some(known), all)
    }

    /// An environment and the layers that it is new to. A layer exists from its declaration on, empty: one that is
    /// declared and missing was taken away, and one that is there undeclared is not ours to bless.
    fn put_environment(
        &mut self,
        stack: &StackName,
        name: &EnvironmentName,
        known: Option<&[RegionName]>,
        regions: Vec<RegionName>,
    ) -> Result<(), Error> {
        let revision = self.transaction.next_revision()?;
        let new = regions.iter().filter(|region| !known.unwrap_or_default().contains(region));
        let overlays: Vec<Layer> = new.map(|region| Layer::Overlay(region.clone())).collect();
        self.sign_environment(EnvironmentRow { stack: stack.clone(), name: name.clone(), regions, mac: [0; 32] })?;
        let base = known.is_none().then_some(Layer::Base);
        for layer in base.into_iter().chain(overlays) {
            let key = LayerKey { layer, ..base_of(stack, name) };
            if self.transaction.layer_tags(&key)?.is_some() {
                return Err(Error::new(Code::Integrity, format!("{key} is in the database and was never declared"))
                    .hint("find out who can write to the database, then restore a backup"));
            }
            let manifest = header(&key, revision).sign(&self.keyring, []);
            self.transaction.put_layer(&key, &LayerRow { revision, manifest })?;
        }
        Ok(())
    }

    fn sign_environment(&mut self, mut row: EnvironmentRow) -> Result<(), Error> {
        let definition = Definition::Environment { stack: &row.stack, name: &row.name, regions: &row.regions };
        row.mac = definition.sign(&self.keyring);
        Ok(self.transaction.put_environment(&row)?)
    }
}

/// The names of which there is only a past, that could be had back.
fn deleted(tags: &[TagRow]) -> Vec<&str> {
    let of_a_name = tags.chunk_by(|one, other| one.name == other.name);
    let newest = of_a_name.filter_map(|tags| tags.iter().max_by_key(|tag| tag.version));
    newest.filter(|tag| tag.state == State::Deleted).map(|tag| tag.name.as_str()).collect()
}
