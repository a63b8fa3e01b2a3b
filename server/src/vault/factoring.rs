//! Full copies, one a region, become one base and what differs.

mod elsewhere;

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::api::{
    Change, CopiedEntry, Factored, Factoring, KeptEntry, RegionCopy, SetEntry, Spot, State, Tie, WriteEntry,
};
use chandlery_wire::{Code, Delivery, EntryName, EnvironmentName, Fault, Grant, Layer, RegionName, StackName, Value};

use self::elsewhere::Elsewhere;
use super::attributes::Attributes;
use super::board::sees_a_part;
use super::changes::{Plan, Step, Target};
use super::draft::Writing;
use super::records::{Records, base_of, is_set};
use super::{Error, Vault};
use crate::access::Caller;
use crate::resolve::{Verdict, factor};
use crate::store::{EnvironmentRow, LayerKey, Row};

/// What each copy holds, in the order in which they were named.
pub(super) struct Copies {
    regions: Vec<RegionName>,
    values: Vec<BTreeMap<EntryName, Value>>,
    /// Whether each is a secret; what is not here stays as it is, and is one where it is new.
    secret: BTreeMap<EntryName, bool>,
    grant: Option<Grant>,
    exact: bool,
    /// What becomes of these is decided already, and the copies do not have them.
    settled: BTreeSet<EntryName>,
}

/// What stands in a layer now, for the grant that is meant.
type Standing = BTreeMap<EntryName, Row>;

impl Vault {
    /// Puts what most regions share into the base, and what differs into the overlays: each region named gets exactly its
    /// copy, and every other region keeps what it has.
    ///
    /// # Errors
    /// As [`Vault::change`]; and where a region or a name is there twice.
    pub async fn factor(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        factoring: Factoring,
    ) -> Result<Factored, Error> {
        let Factoring { regions, plain, grant, exact, terms } = factoring;
        let declare = regions.iter().map(|copy| copy.region.clone()).collect();
        let target = Target { stack, environment, declare, terms };
        let (changed, mut factored) = self
            .transform(caller, "write-factoring", target, move |writing, row| {
                let secret = plain.into_iter().map(|name| (name, false)).collect();
                let copies = Copies::new(regions, secret, grant, exact)?;
                copies.plan(writing, row)
            })
            .await?;
        factored.changed = Some(changed);
        factored.finish()
    }
}

/// [`Factored`] before the change was made.
#[derive(Default)]
pub(super) struct Told {
    values: u64,
    base: u64,
    overrides: u64,
    removals: u64,
    ties: Vec<Tie>,
    kept: Vec<KeptEntry>,
    pub(super) changed: Option<chandlery_wire::api::Changed>,
}

impl Told {
    /// As many values more, each its region's own.
    pub(super) fn apart(&mut self, values: u64) {
        self.values += values;
        self.overrides += values;
    }

    pub(super) fn finish(self) -> Result<Factored, Error> {
        let Self { values, base, overrides, removals, ties, kept, changed } = self;
        let changed = changed.ok_or_else(|| Error::new(Code::Internal, "the change was not made"))?;
        Ok(Factored { values, base, overrides, removals, ties, kept, changed })
    }
}

impl Copies {
    pub(super) fn new(
        copies: Vec<RegionCopy>,
        secret: BTreeMap<EntryName, bool>,
        grant: Option<Grant>,
        exact: bool,
    ) -> Result<Self, Error> {
        if copies.len() < 2 {
            return Err(Error::new(Code::Invalid, "one region has nothing to share: there must be two at least")
                .hint("name each region with its copy; for a single one: chandlery import --region"));
        }
        let (mut regions, mut values, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for RegionCopy { region, entries } in copies {
            let mut of_region = BTreeMap::new();
            for CopiedEntry { name, value } in entries {
                if of_region.insert(name.clone(), value).is_some() {
                    faults.push(Fault { name: format!("{region}/{name}"), detail: "is there twice".to_owned() });
                }
            }
            if regions.contains(&region) {
                faults.push(Fault { name: region.to_string(), detail: "is named twice".to_owned() });
            }
            regions.push(region);
            values.push(of_region);
        }
        let plain = secret.iter().filter(|(_, secret)| !**secret).map(|(name, _)| name);
        for name in plain.filter(|name| !values.iter().any(|copy| copy.contains_key(name))) {
            faults.push(Fault { name: name.to_string(), detail: "is to be plain, and is in no copy".to_owned() });
        }
        match faults.is_empty() {
            true => Ok(Self { regions, values, secret, grant, exact, settled: BTreeSet::new() }),
            false => Err(Error::new(Code::Invalid, "the copies cannot be taken as they are")
                .hint("correct them and send them again")
                .faults(faults)),
        }
    }

    /// Names that are somebody else's to decide, and that no note is to call unknown to the copies.
    pub(super) fn settled(self, settled: BTreeSet<EntryName>) -> Self {
        Self { settled, ..self }
    }

    pub(super) fn plan(&self, writing: &Writing<'_>, environment: &EnvironmentRow) -> Result<Plan<Told>, Error> {
        let records = writing.records();
        let base_key = base_of(&environment.stack, &environment.name);
        let base_rows = records.layer(&base_key)?.rows;
        let services = records.stack(&environment.stack)?.services;
        let mut elsewhere = Elsewhere::new(&base_key, &base_rows, services);
        let base = self.standing(&base_key, base_rows)?;
        let mut overlays = BTreeMap::new();
        for region in &environment.regions {
            let key = LayerKey { layer: Layer::Overlay(region.clone()), ..base_key.clone() };
            let rows = records.layer(&key)?.rows;
            if self.regions.contains(region) {
                overlays.insert(region.clone(), self.standing(&key, rows)?);
            } else {
                elsewhere.add(region, rows);
            }
        }
        let now = |name: &EntryName| {
            let row = base.get(name).filter(|row| row.state == State::Live)?;
            records.open(&base_key, row).ok()
        };
        let mut verdicts = factor(&self.values, now);
        let mut plan = Plan { steps: Vec::new(), skipped: Vec::new(), notes: Vec::new(), told: Told::default() };
        self.told_apart(&base, &overlays, &mut plan.notes)?;
        let sees_a_part = sees_a_part(writing.caller, &environment.stack, &environment.name);
        self.others(sees_a_part, &base, &overlays, &mut verdicts, &mut plan)?;
        for (name, verdict) in &verdicts {
            self.tell(name, verdict, &mut plan.told);
            let grant = self.grant_of(name, &base, &overlays);
            // What no copy has may be for others in each layer, and goes from each as it is there.
            let is_named = self.values.iter().any(|copy| copy.contains_key(name));
            let which = (name, if is_named { Some(&grant) } else { self.grant.as_ref() });
            self.base_steps(&records, &base_key, &base, which, verdict, &mut plan)?;
            for (region, values) in self.regions.iter().zip(&self.values) {
                let standing = overlays.get(region).and_then(|standing| standing.get(name));
                let step = self.overlay_step(region, which, values.get(name), verdict.base.as_ref(), standing);
                plan.steps.extend(step.map(|change| (Layer::Overlay(region.clone()), Step::Asked(change))));
            }
            elsewhere.keep(&records, name, (&grant, verdict.base.as_ref()), &mut plan)?;
        }
        Ok(plan)
    }

    /// The rows that are set, for the grant that was named; where none was, for the only one that each entry has.
    fn standing(&self, key: &LayerKey, rows: Vec<Row>) -> Result<Standing, Error> {
        let mut standing = Standing::new();
        for row in rows {
            if !is_set(row.state) || self.grant.as_ref().is_some_and(|grant| *grant != row.grant) {
                continue;
            }
            if self.values.iter().any(|copy| copy.contains_key(&row.name)) && standing.contains_key(&row.name) {
                return Err(Error::new(
                    Code::Conflict,
                    format!("{key}/{} is set for several grants, and it is not clear which the copies mean", row.name),
                )
                .hint("say which with --for"));
            }
            standing.insert(row.name.clone(), row);
        }
        Ok(standing)
    }

    /// For whom the copies' values are: as somebody says; else as the entry is already, in any layer that they name; else
    /// for all. It is the same in every layer, also in one that did not have the entry.
    fn grant_of(&self, name: &EntryName, base: &Standing, overlays: &BTreeMap<RegionName, Standing>) -> Grant {
        let standing = || std::iter::once(base).chain(overlays.values()).find_map(|standing| standing.get(name));
        self.grant.clone().or_else(|| Some(standing()?.grant.clone())).unwrap_or(Grant::All)
    }

    /// An entry is for the same services in all layers that the copies name: otherwise a service would get the one region's copy
    /// and not the other's. Where these are not all services, that is told: the others do not get what the files say. One that
    /// is delivered as a file becomes a variable, which is told.
    fn told_apart(
        &self,
        base: &Standing,
        overlays: &BTreeMap<RegionName, Standing>,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let named: BTreeSet<&EntryName> = self.values.iter().flat_map(BTreeMap::keys).collect();
        let layers = || std::iter::once(base).chain(self.regions.iter().filter_map(|region| overlays.get(region)));
        let mut for_some: BTreeMap<&Grant, Vec<&str>> = BTreeMap::new();
        for name in named {
            let mut rows = layers().filter_map(|standing| standing.get(name));
            let Some(first) = rows.next() else { continue };
            if let Some(other) = rows.find(|row| row.grant != first.grant) {
                let (one, other) = (&first.grant, &other.grant);
                return Err(Error::new(
                    Code::Conflict,
                    format!("{name} is set for {one} in one layer and for {other} in another, and it is not clear which the copies mean"),
                )
                .hint("say which with --for"));
            }
            if self.grant.is_none() && first.grant != Grant::All {
                for_some.entry(&first.grant).or_default().push(name.as_str());
            }
            let deliveries: Result<Vec<Delivery>, Error> = layers()
                .filter_map(|standing| standing.get(name))
                .map(|row| Ok(Attributes::of(row)?.deliver))
                .collect();
            if deliveries?.iter().any(|deliver| *deliver != Delivery::Variable) {
                notes.push(format!("{name} was delivered as a file, and becomes a variable"));
            }
        }
        notes.extend(for_some.into_iter().map(|(grant, names)| {
            let stay = if names.len() == 1 { "stays" } else { "stay" };
            format!("{} {stay} for {grant} alone: other services do not get what the copies say", names.join(", "))
        }));
        Ok(())
    }

    /// Entries that no copy has: they stay, or, where exactly the copies are wanted, they go.
    fn others(
        &self,
        sees_a_part: bool,
        base: &Standing,
        overlays: &BTreeMap<RegionName, Standing>,
        verdicts: &mut BTreeMap<EntryName, Verdict<Value>>,
        plan: &mut Plan<Told>,
    ) -> Result<(), Error> {
        let named = self.regions.iter().filter_map(|region| overlays.get(region));
        let mut others = BTreeSet::new();
        for row in base.values().chain(named.flat_map(BTreeMap::values)).filter(|row| row.state == State::Live) {
            let is_other = !verdicts.contains_key(&row.name) && !self.settled.contains(&row.name);
            if is_other && Attributes::of(row)?.deliver == Delivery::Variable {
                others.insert(row.name.clone());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        if sees_a_part && !self.exact {
            // Their names are for those who may read them.
            plan.notes.push("what no copy names stays as before".to_owned());
        } else if self.exact {
            verdicts.extend(others.into_iter().map(|name| (name, Verdict { base: None, candidates: 1 })));
        } else {
            let names: Vec<&str> = others.iter().map(EntryName::as_str).collect();
            plan.notes.push(format!(
                "no copy names {}: {} as before; --exact takes what no copy names away from these regions",
                names.join(", "),
                if names.len() == 1 { "it stays" } else { "they stay" },
            ));
        }
        Ok(())
    }

    fn tell(&self, name: &EntryName, verdict: &Verdict<Value>, told: &mut Told) {
        let present = self.values.iter().filter(|copy| copy.contains_key(name)).count() as u64;
        let base = verdict.base.as_ref();
        let agreeing = self.values.iter().filter(|copy| base.is_some() && copy.get(name) == base).count() as u64;
        told.values += present;
        told.base += u64::from(base.is_some());
        told.overrides += present - agreeing;
        told.removals += if base.is_some() { self.values.len() as u64 - present } else { 0 };
        if verdict.candidates > 1 {
            let chosen = self.regions.iter().zip(&self.values).filter(|(_, copy)| copy.get(name) == base);
            let chosen = chosen.map(|(region, _)| region.clone()).collect();
            told.ties.push(Tie { name: name.clone(), values: verdict.candidates as u64, chosen });
        }
    }

    fn base_steps(
        &self,
        records: &Records<'_>,
        key: &LayerKey,
        base: &Standing,
        which @ (name, _): (&EntryName, Option<&Grant>),
        verdict: &Verdict<Value>,
        plan: &mut Plan<Told>,
    ) -> Result<(), Error> {
        let change = match (&verdict.base, base.get(name)) {
            (Some(value), _) => Some(self.set(None, which, value)),
            (None, Some(_)) => Some(Change::Delete(self.spot(None, which))),
            (None, None) => None,
        };
        if let (Some(value), Some(row)) = (&verdict.base, base.get(name))
            && let Attributes { template, reference, .. } = Attributes::of(row)?
            && (template || reference)
            && records.open(key, row)? != *value
        {
            let kind = if template { "template" } else { "reference" };
            plan.notes.push(format!("{name} is a {kind} in the base, and becomes a literal value"));
        }
        plan.steps.extend(change.map(|change| (Layer::Base, Step::Asked(change))));
        Ok(())
    }

    fn overlay_step(
        &self,
        region: &RegionName,
        which: (&EntryName, Option<&Grant>),
        wanted: Option<&Value>,
        base: Option<&Value>,
        standing: Option<&Row>,
    ) -> Option<Change> {
        let here = Some(region);
        match (wanted, base, standing.map(|row| row.state)) {
            (Some(wanted), Some(base), None) if wanted == base => None,
            (Some(wanted), Some(base), Some(_)) if wanted == base => Some(Change::Delete(self.spot(here, which))),
            (Some(wanted), ..) => Some(self.set(here, which, wanted)),
            (None, Some(_), Some(State::Removed)) => None,
            (None, Some(_), _) => Some(Change::Remove(self.spot(here, which))),
            (None, None, Some(_)) => Some(Change::Delete(self.spot(here, which))),
            (None, None, None) => None,
        }
    }

    fn set(&self, region: Option<&RegionName>, (name, grant): (&EntryName, Option<&Grant>), value: &Value) -> Change {
        let entry = WriteEntry {
            secret: self.secret.get(name).copied(),
            deliver: Some(Delivery::Variable),
            grant: grant.cloned(),
            ..WriteEntry::literal(value.clone())
        };
        Change::Set(SetEntry { name: name.clone(), region: region.cloned(), entry })
    }

    fn spot(&self, region: Option<&RegionName>, (name, grant): (&EntryName, Option<&Grant>)) -> Spot {
        Spot { name: name.clone(), region: region.cloned(), grant: grant.cloned(), expect_version: None }
    }
}
