//! Secrets of several regions: what they share goes to the base, what differs to the overlays.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::api::{AwsEntry, AwsResult, Change, CopiedEntry, RegionCopy, SetEntry, SkippedEntry, WriteEntry};
use chandlery_wire::{Code, EntryName, Fault, Grant, Layer, RegionName};

use super::import::Haul;
use super::plan::{KEPT, Made, One, Taken, Told, entry};
use super::standing::{Secrecy, Standing};
use crate::store::{EnvironmentRow, Row};
use crate::vault::Error;
use crate::vault::changes::{Plan, Step};
use crate::vault::draft::Writing;
use crate::vault::factoring::Copies;
use crate::vault::records::Records;

/// What all regions' secrets say of one name.
type Ones = Vec<(RegionName, One)>;

/// What becomes of each name.
#[derive(Default)]
struct Verdicts {
    copies: BTreeMap<RegionName, Vec<CopiedEntry>>,
    entries: Vec<AwsEntry>,
    /// Those that are to be written, and whether each is a secret, in all layers alike.
    secret: BTreeMap<EntryName, bool>,
    skipped: Vec<SkippedEntry>,
    faults: Vec<Fault>,
    /// Of these at least one region keeps its own value, so that there is nothing to share.
    settled: BTreeSet<EntryName>,
    /// What the other regions get of them.
    steps: Vec<(Layer, Step)>,
}

/// What the store has in the layers that are concerned.
struct Ground<'a> {
    haul: &'a Haul,
    records: Records<'a>,
    base: Standing,
    overlays: BTreeMap<RegionName, Standing>,
}

impl Taken {
    /// Into the base and the overlays of all regions that were read.
    pub(super) fn factor(self, haul: &Haul, writing: &Writing<'_>, row: &EnvironmentRow) -> Result<Plan<Made>, Error> {
        let records = writing.records();
        let base = Standing::of(&records, row, Layer::Base, haul)?;
        let mut names: BTreeMap<EntryName, Ones> = BTreeMap::new();
        let (mut overlays, mut verdicts) = (BTreeMap::new(), Verdicts::default());
        for (region, copy) in self.copies {
            let region = region.ok_or_else(|| Error::new(Code::Internal, "a region has no name"))?;
            overlays.insert(region.clone(), Standing::of(&records, row, Layer::Overlay(region.clone()), haul)?);
            verdicts.copies.insert(region.clone(), Vec::new());
            for (name, one) in copy {
                names.entry(name).or_default().push((region.clone(), one));
            }
        }
        let ground = Ground { haul, records, base, overlays };
        for (name, ones) in names {
            ground.judge(name, ones, &mut verdicts)?;
        }
        let Verdicts { copies, entries, secret, mut skipped, faults, settled, mut steps } = verdicts;
        if !faults.is_empty() {
            return Err(Error::new(Code::Invalid, "some of it cannot be shared between regions; nothing was imported")
                .hint("leave it out with --skip, and import it by itself")
                .faults(faults));
        }
        let copies = copies.into_iter().map(|(region, entries)| RegionCopy { region, entries }).collect();
        // What one layer has as plain and another as a secret is one in all of them, as is what somebody says is.
        let copies = Copies::new(copies, secret, haul.ask.grant.clone(), haul.ask.exact)?.settled(settled);
        let mut plan = copies.plan(writing, row)?;
        plan.told.apart(steps.len() as u64);
        steps.extend(plan.steps);
        skipped.extend(plan.skipped);
        let told = Told { entries, factored: None };
        Ok(Plan { steps, skipped, notes: plan.notes, told: (told, Some(plan.told)) })
    }
}

impl Ground<'_> {
    fn judge(&self, name: EntryName, ones: Ones, verdicts: &mut Verdicts) -> Result<(), Error> {
        if ones.iter().any(|(_, one)| one.file) {
            let detail = "is no variable; import it for each region by itself, with --region".to_owned();
            verdicts.faults.push(Fault { name: name.to_string(), detail });
            return Ok(());
        }
        let secrecy = Secrecy::of(self.haul, &name, self.is_plain(&name)?);
        let results = self.compare(&name, &ones)?;
        let result = self.result(&results);
        let from = match ones.as_slice() {
            [(_, one)] => one.from.clone(),
            _ => format!("{} secrets", ones.len()),
        };
        verdicts.entries.push(entry(&name, false, &secrecy, from, result));
        if result == AwsResult::Kept {
            return self.settle(&name, ones.into_iter().zip(results), &secrecy, verdicts);
        }
        verdicts.secret.insert(name.clone(), secrecy.secret);
        for (region, One { value, .. }) in ones {
            verdicts.copies.entry(region).or_default().push(CopiedEntry { name: name.clone(), value });
        }
        Ok(())
    }

    /// Whether all layers that have the name have it as plain; nothing where none has it.
    fn is_plain(&self, name: &EntryName) -> Result<Option<bool>, Error> {
        let mut plain = None;
        for layer in std::iter::once(&self.base).chain(self.overlays.values()) {
            if let Some(here) = layer.is_plain(name)? {
                plain = Some(plain.unwrap_or(true) && here);
            }
        }
        Ok(plain)
    }

    /// Where the store has another value it keeps it, and where it has none it takes AWS's. The base stays as it is: who keeps a
    /// value may have it from there.
    fn settle(
        &self,
        name: &EntryName,
        ones: impl Iterator<Item = ((RegionName, One), AwsResult)>,
        secrecy: &Secrecy,
        verdicts: &mut Verdicts,
    ) -> Result<(), Error> {
        verdicts.settled.insert(name.clone());
        let known: Vec<&Row> =
            std::iter::once(&self.base).chain(self.overlays.values()).flat_map(|layer| layer.rows_of(name)).collect();
        let grants: BTreeSet<&Grant> = known.iter().map(|row| &row.grant).collect();
        for ((region, One { value, .. }), result) in ones {
            let layer = Layer::Overlay(region.clone());
            match result {
                AwsResult::Kept => {
                    verdicts.skipped.push(SkippedEntry { name: name.clone(), layer, why: KEPT.to_owned() });
                }
                AwsResult::New if grants.len() > 1 => {
                    let detail = "is set for other services in one layer than in another; say which with --for";
                    verdicts.faults.push(Fault { name: format!("{region}/{name}"), detail: detail.to_owned() });
                }
                AwsResult::New => {
                    let grant = grants.first().map(|grant| (*grant).clone());
                    let entry = WriteEntry { secret: Some(secrecy.secret), grant, ..WriteEntry::literal(value) };
                    let set = SetEntry { name: name.clone(), region: Some(region), entry };
                    verdicts.steps.push((layer, Step::Asked(Change::Set(set))));
                }
                AwsResult::Unchanged | AwsResult::Overwritten => {}
            }
        }
        Ok(())
    }

    /// What AWS's value is beside what the store has, region by region.
    fn compare(&self, name: &EntryName, ones: &Ones) -> Result<Vec<AwsResult>, Error> {
        let of_region = |(region, one): &(RegionName, One)| {
            let own = self.overlays.get(region).filter(|overlay| overlay.stands(name)).unwrap_or(&self.base);
            own.compare(&self.records, name, &one.value)
        };
        ones.iter().map(of_region).collect()
    }

    /// What becomes of a name in all of them.
    fn result(&self, results: &[AwsResult]) -> AwsResult {
        // Exactly what AWS has is not what the store would keep beside it.
        let overwrite = self.haul.ask.overwrite || self.haul.ask.exact;
        match (results.contains(&AwsResult::Kept), overwrite) {
            (true, true) => AwsResult::Overwritten,
            (true, false) => AwsResult::Kept,
            (false, _) if results.iter().all(|result| *result == AwsResult::Unchanged) => AwsResult::Unchanged,
            (false, _) => AwsResult::New,
        }
    }
}
