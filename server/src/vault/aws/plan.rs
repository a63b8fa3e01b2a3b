//! What becomes of what was read: entries, which of them are secrets, and what the store keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandlery_wire::api::{
    AwsEntry, AwsFactored, AwsForm, AwsResult, AwsSecret, Change, Changed, Factored, SetEntry, SkippedEntry, Terms,
    WriteEntry,
};
use chandlery_wire::{
    Code, Delivery, EntryName, EnvironmentName, Fault, FileAttributes, Layer, RegionName, StackName, Value,
};

use super::content::{self, Content, Pair, Unfit, quoted};
use super::import::{Haul, Item};
use super::standing::{Secrecy, Standing};
use crate::access::Caller;
use crate::store::EnvironmentRow;
use crate::vault::changes::{Plan, Step, Target};
use crate::vault::draft::Writing;
use crate::vault::factoring;
use crate::vault::{Error, Vault};

pub(super) const KEPT: &str = "the store has another value and keeps it; --overwrite takes AWS's";

const ONE: &str = "is one value: say --name NAME, or --as json or --as dotenv if it is more";

/// The entries of a haul.
#[derive(Debug)]
pub(super) struct Taken {
    /// By region, and by name; the region is none where they go to one layer.
    pub(super) copies: BTreeMap<Option<RegionName>, BTreeMap<EntryName, One>>,
    forms: Vec<(Option<AwsForm>, u64)>,
}

/// What is found wrong while secrets are taken apart, and what of the request they had.
#[derive(Default)]
struct Seen {
    faults: Vec<Fault>,
    /// Keys that were left out or got another name.
    keys: BTreeSet<String>,
    names: BTreeSet<EntryName>,
    /// Some of it could not be read: what is missing may be there.
    in_part: bool,
}

#[derive(Debug)]
pub(super) struct One {
    pub(super) value: Value,
    /// It cannot be a variable, or is none.
    pub(super) file: bool,
    pub(super) from: String,
}

impl Seen {
    fn fault(&mut self, item: &Item, detail: String) {
        self.faults.push(Fault { name: format!("{} in {}", item.secret, item.aws_region), detail });
    }

    fn unread(&mut self, item: &Item, whys: Vec<String>) {
        self.in_part = true;
        whys.into_iter().for_each(|why| self.fault(item, why));
    }

    /// The entry's name for a key; none where it is to be left out, or has none.
    fn name(&mut self, haul: &Haul, item: &Item, key: &str) -> Option<EntryName> {
        if haul.ask.skip.iter().any(|skip| skip == key) {
            self.keys.insert(key.to_owned());
            return None;
        }
        let name = match haul.ask.rename.get(key) {
            Some(name) => {
                self.keys.insert(key.to_owned());
                Ok(name.clone())
            }
            None => EntryName::parse(key),
        };
        let name = name.map_err(|error| self.fault(item, format!("{}: {error}", quoted(key)))).ok()?;
        self.names.insert(name.clone());
        Some(name)
    }
}

/// What is told beside the changes.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) entries: Vec<AwsEntry>,
    pub(super) factored: Option<AwsFactored>,
}

/// What a plan tells: the entries, and where there are several regions, what they share.
pub(super) type Made = (Told, Option<factoring::Told>);

impl Taken {
    /// Takes the secrets apart. All faults at once; none quotes a value.
    pub(super) fn of(haul: &Haul) -> Result<Self, Error> {
        let mut taken = Self { copies: BTreeMap::new(), forms: Vec::new() };
        let mut seen = Seen::default();
        for item in &haul.items {
            let before = taken.count();
            let form = taken.take(haul, item, &mut seen);
            taken.forms.push((form, (taken.count() - before) as u64));
        }
        let Seen { mut faults, keys: used, names, in_part } = seen;
        let absent = haul.ask.plain.iter().chain(&haul.ask.secret).filter(|name| !names.contains(*name));
        let absent = absent.map(|name| (name.to_string(), "is picked out, and AWS does not have it".to_owned()));
        let keys = haul.ask.rename.keys().chain(&haul.ask.skip).filter(|key| !used.contains(*key));
        let keys = keys.map(|key| (quoted(key), "is to be renamed or left out, and AWS does not have it".to_owned()));
        faults.extend(absent.chain(keys).filter(|_| !in_part).map(|(name, detail)| Fault { name, detail }));
        match faults.is_empty() {
            true => Ok(taken),
            false => Err(Error::new(Code::Invalid, "what AWS has cannot be taken as it is; nothing was imported")
                .hint("a key gets another name with --rename 'KEY=NAME', or is left out with --skip 'KEY'")
                .faults(faults)),
        }
    }

    fn count(&self) -> usize {
        self.copies.values().map(BTreeMap::len).sum()
    }

    fn take(&mut self, haul: &Haul, item: &Item, seen: &mut Seen) -> Option<AwsForm> {
        let ask = &haul.ask;
        // A region whose secret is empty is one that has nothing, and not one that was not read.
        self.copies.entry(item.region.clone()).or_default();
        let one = item.name.is_some() || ask.name.is_some();
        if item.binary || one {
            let own = item.secret.rsplit('/').next().unwrap_or_default();
            let name = item.name.as_deref().or(ask.name.as_ref().map(EntryName::as_str)).unwrap_or(own);
            if let Some(name) = seen.name(haul, item, name) {
                let file = item.binary || name.as_variable().is_none() || item.value.expose_secret().contains(&0);
                self.put(item, name, item.value.clone(), file).unwrap_or_else(|why| seen.fault(item, why));
            }
            return (!item.binary).then_some(AwsForm::Plain);
        }
        match content::read(&item.value, ask.form) {
            Err(whys) => {
                seen.unread(item, whys);
                ask.form
            }
            Ok(Content::One) => {
                seen.unread(item, vec![ONE.to_owned()]);
                Some(AwsForm::Plain)
            }
            Ok(Content::Pairs(form, pairs, whys)) => {
                for pair in pairs {
                    self.pair(haul, item, pair, seen);
                }
                if !whys.is_empty() {
                    seen.unread(item, whys);
                }
                Some(form)
            }
        }
    }

    /// One key of several. Whether it is wanted comes before whether it can be had.
    fn pair(&mut self, haul: &Haul, item: &Item, Pair { key, value }: Pair, seen: &mut Seen) {
        let skipped = haul.ask.skip.contains(&key);
        if let Err(Unfit::Line(line)) = value
            && !skipped
        {
            return seen.unread(item, vec![format!("line {line}: is no assignment: NAME=value is expected")]);
        }
        let name = seen.name(haul, item, &key);
        if let Err(Unfit::Value(why)) = value
            && !skipped
        {
            return seen.fault(item, format!("{} {why}", quoted(&key)));
        }
        let (Some(name), Ok(value)) = (name, value) else { return };
        if name.as_variable().is_none() {
            let what = "is no name of a variable: those have letters, digits and underscores";
            seen.fault(item, format!("{} {what}", quoted(&key)));
        } else if value.expose_secret().contains(&0) {
            seen.fault(item, format!("{name} holds a NUL byte, which no variable can"));
        } else {
            self.put(item, name, value, false).unwrap_or_else(|why| seen.fault(item, why));
        }
    }

    fn put(&mut self, item: &Item, name: EntryName, value: Value, file: bool) -> Result<(), String> {
        let copy = self.copies.entry(item.region.clone()).or_default();
        if let Some(other) = copy.get(&name) {
            return Err(match other.from == item.secret {
                true => format!("{name} is there twice"),
                false => format!("{name} is in {} as well", other.from),
            });
        }
        copy.insert(name, One { value, file, from: item.secret.clone() });
        Ok(())
    }

    pub(super) fn secrets(&self, haul: &Haul) -> Vec<AwsSecret> {
        let secret = |(item, (form, entries)): (&Item, &(Option<AwsForm>, u64))| AwsSecret {
            secret: item.secret.clone(),
            aws_region: item.aws_region.to_string(),
            version_id: item.version_id.clone(),
            region: item.region.clone(),
            form: super::pattern::word_of(*form).to_owned(),
            entries: *entries,
        };
        haul.items.iter().zip(&self.forms).map(secret).collect()
    }

    /// Writes them, or says what would be written.
    pub(super) async fn write(
        self,
        vault: &Vault,
        caller: &Caller,
        (stack, environment): &(StackName, EnvironmentName),
        haul: Arc<Haul>,
        terms: Terms,
    ) -> Result<(Changed, Told), Error> {
        let regions: Vec<RegionName> = self.copies.keys().flatten().cloned().collect();
        let target = Target { stack: stack.clone(), environment: environment.clone(), declare: regions, terms };
        let several = self.copies.len() > 1;
        let (changed, (told, factored)) = vault
            .transform(caller, "write-aws-import", target, move |writing, row| match several {
                true => self.factor(&haul, writing, row),
                false => self.layer(&haul, writing, row),
            })
            .await?;
        let Some(mut factored) = factored else { return Ok((changed, told)) };
        factored.changed = Some(changed);
        let Factored { values, base, overrides, removals, ties, kept, changed } = factored.finish()?;
        let factored = Some(AwsFactored { values, base, overrides, removals, ties, kept });
        Ok((changed, Told { factored, ..told }))
    }

    /// Into one layer.
    fn layer(self, haul: &Haul, writing: &Writing<'_>, row: &EnvironmentRow) -> Result<Plan<Made>, Error> {
        let mut plan =
            Plan { steps: Vec::new(), skipped: Vec::new(), notes: Vec::new(), told: (Told::default(), None) };
        let Some((region, copy)) = self.copies.into_iter().next() else { return Ok(plan) };
        let records = writing.records();
        let layer = Layer::from(region.clone());
        let here = Standing::of(&records, row, layer.clone(), haul)?;
        let base = Standing::of(&records, row, Layer::Base, haul)?;
        for (name, one) in copy {
            let stands = here.is_plain(&name)?;
            let secrecy =
                Secrecy::of(haul, &name, stands.map_or_else(|| base.is_plain(&name), |plain| Ok(Some(plain)))?);
            let result = here.compare(&records, &name, &one.value)?;
            let known = result != AwsResult::New || base.has(&name);
            let result = if result == AwsResult::Kept && haul.ask.overwrite { AwsResult::Overwritten } else { result };
            plan.told.0.entries.push(entry(&name, one.file, &secrecy, one.from.clone(), result));
            match result {
                AwsResult::Kept => {
                    plan.skipped.push(SkippedEntry { name, layer: layer.clone(), why: KEPT.to_owned() });
                    continue;
                }
                AwsResult::Unchanged if !secrecy.said => continue,
                _ => {}
            }
            let deliver = one.file.then(|| Delivery::File(FileAttributes::default())).filter(|_| !known);
            let (secret, grant) = (Some(secrecy.secret), haul.ask.grant.clone());
            let set = WriteEntry { secret, deliver, grant, ..WriteEntry::literal(one.value) };
            let set = Change::Set(SetEntry { name, region: region.clone(), entry: set });
            plan.steps.push((layer.clone(), Step::Asked(set)));
        }
        Ok(plan)
    }
}

pub(super) fn entry(name: &EntryName, file: bool, secrecy: &Secrecy, from: String, result: AwsResult) -> AwsEntry {
    let kind = if file { "file" } else { "variable" }.to_owned();
    AwsEntry { name: name.clone(), kind, secret: secrecy.secret, why: secrecy.why.clone(), from, result }
}
