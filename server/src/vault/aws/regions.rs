//! Secrets of several regions: what they share goes to the base, what differs to the overlays.

use std::collections::BTreeMap;

use chandlery_wire::api::{AwsEntry, AwsResult, Change, CopiedEntry, RegionCopy, SkippedEntry};
use chandlery_wire::{Code, EntryName, Fault, Layer, RegionName};

use super::import::Haul;
use super::plan::{KEPT, Made, One, Taken, Told, entry};
use super::standing::{Secrecy, Standing};
use crate::store::EnvironmentRow;
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
        let Verdicts { copies, entries, secret, mut skipped, faults } = verdicts;
        if !faults.is_empty() {
            return Err(Error::new(Code::Invalid, "some of it cannot be shared between regions; nothing was imported")
                .hint("leave it out with --skip, and import it by itself")
                .faults(faults));
        }
        let copies = copies.into_iter().map(|(region, entries)| RegionCopy { region, entries }).collect();
        let plain = secret.iter().filter(|(_, secret)| !**secret).map(|(name, _)| name.clone()).collect();
        let copies = Copies::new(copies, plain, haul.ask.grant.clone(), haul.ask.exact)?;
        let mut plan = copies.plan(writing, row)?;
        // What one layer has as plain and another as a secret is one in all of them, as is what somebody says is.
        for (_, step) in &mut plan.steps {
            if let Step::Asked(Change::Set(set)) = step {
                set.entry.secret = secret.get(&set.name).copied();
            }
        }
        skipped.extend(plan.skipped);
        let told = Told { entries, factored: None };
        Ok(Plan { steps: plan.steps, skipped, notes: plan.notes, told: (told, Some(plan.told)) })
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
        let (result, differs) = self.compare(&name, &ones)?;
        let from = match ones.as_slice() {
            [(_, one)] => one.from.clone(),
            _ => format!("{} secrets", ones.len()),
        };
        verdicts.entries.push(entry(&name, false, &secrecy, from, result));
        if result == AwsResult::Kept {
            let skip = |region: RegionName| SkippedEntry {
                name: name.clone(),
                layer: Layer::Overlay(region),
                why: KEPT.to_owned(),
            };
            verdicts.skipped.extend(differs.into_iter().map(skip));
            return Ok(());
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

    /// What becomes of a name, and in which regions the store has another value.
    fn compare(&self, name: &EntryName, ones: &Ones) -> Result<(AwsResult, Vec<RegionName>), Error> {
        let (mut differs, mut all_same) = (Vec::new(), true);
        for (region, one) in ones {
            let own = self.overlays.get(region).filter(|overlay| overlay.stands(name)).unwrap_or(&self.base);
            let result = own.compare(&self.records, name, &one.value)?;
            all_same &= result == AwsResult::Unchanged;
            if result == AwsResult::Kept {
                differs.push(region.clone());
            }
        }
        // Exactly what AWS has is not what the store would keep beside it.
        let overwrite = self.haul.ask.overwrite || self.haul.ask.exact;
        let result = match (differs.is_empty(), overwrite) {
            (false, true) => AwsResult::Overwritten,
            (false, false) => AwsResult::Kept,
            (true, _) if all_same => AwsResult::Unchanged,
            (true, _) => AwsResult::New,
        };
        Ok((result, differs))
    }
}
