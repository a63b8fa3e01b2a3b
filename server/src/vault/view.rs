//! One service's view of one environment in one region: verified, merged, and not yet decrypted.

use std::collections::BTreeMap;

use chandlery_wire::{
    Code, Delivery, EntryName, EnvironmentName, Layer, RegionName, ServiceName, StackName, Value, Verb,
};

use super::Error;
use super::attributes::Attributes;
use super::bundles::BundleOf;
use super::ground::{Ground, Grounds, Placement};
use super::outside::Abroad;
use super::records::{Records, base_of};
use crate::access::{Caller, may};
use crate::resolve::{Candidate, Choice, Key, Library, Missing, Source, merge};
use crate::source::Asker;
use crate::store::{EnvironmentRow, LayerKey, Row};

#[derive(Debug)]
pub(super) struct View {
    pub(super) of: BundleOf,
    pub(super) ground: Ground,
    pub(super) choices: BTreeMap<EntryName, Choice<Row>>,
}

impl View {
    /// The view that a caller asks for: everything it names must have been declared.
    pub(super) fn asked(records: &Records<'_>, of: BundleOf) -> Result<Self, Error> {
        let environment = records.environment(&of.stack, &of.environment)?;
        declared_region(&environment, of.region.as_ref())?;
        if let Some(service) = &of.service {
            let services = records.stack(&of.stack)?.services;
            if !services.contains(service) {
                let known = list(&services);
                return Err(Error::new(
                    Code::NotFound,
                    format!("the stack {} has no service {service}; it has {known}", of.stack),
                )
                .hint(format!("declare it: chandlery service add {service}")));
            }
        }
        let wanted = of.region.clone();
        Self::load(records, of, wanted, &environment)
    }

    /// `wanted` is the region that was asked for; `of` has it where the environment has it.
    fn load(
        records: &Records<'_>,
        of: BundleOf,
        wanted: Option<RegionName>,
        declared: &EnvironmentRow,
    ) -> Result<Self, Error> {
        let base = base_of(&of.stack, &of.environment);
        let overlay = of.region.clone().map(|region| LayerKey { layer: Layer::Overlay(region), ..base.clone() });
        let mut ground = Ground::new(declared, wanted);
        let mut candidates = Vec::new();
        for key in [Some(base), overlay].into_iter().flatten() {
            let content = records.layer(&key)?;
            ground.add(&key.layer, content.layer.revision);
            candidates.extend(content.rows.into_iter().map(|row| Candidate {
                name: row.name.clone(),
                layer: key.layer.clone(),
                grant: row.grant.clone(),
                state: row.state,
                item: row,
            }));
        }
        let choices = merge(candidates, of.service.as_ref());
        Ok(Self { of, ground, choices })
    }

    pub(super) fn layer_key(&self, layer: &Layer) -> LayerKey {
        LayerKey { layer: layer.clone(), ..base_of(&self.of.stack, &self.of.environment) }
    }

    pub(super) fn open(&self, records: &Records<'_>, candidate: &Candidate<Row>) -> Result<Value, Error> {
        records.open(&self.layer_key(&candidate.layer), &candidate.item)
    }

    /// `key` is the entry as it is called where it is asked for.
    fn source(
        &self,
        records: &Records<'_>,
        abroad: &Abroad<'_>,
        key: &Key,
    ) -> Result<Option<Result<Source, Missing>>, Error> {
        let Some(choice) = self.choices.get(&key.name) else { return Ok(None) };
        if !choice.is_delivered() {
            return Ok(Some(Err(Missing::Removed)));
        }
        let Attributes { template, reference, deliver, .. } = Attributes::of(&choice.winner.item)?;
        let value = self.open(records, &choice.winner)?;
        if !reference {
            return Ok(Some(Ok(Source { value, template })));
        }
        let asker = Asker { stack: &self.of.stack, environment: &self.of.environment };
        let found = abroad.value(asker, key.to_string(), &value).map(|found| {
            // Where a program or a text editor ends its line, no password ends.
            let line = deliver == Delivery::Variable && !value.expose_secret().starts_with(b"aws:");
            Source { value: if line { found.trimmed().0 } else { found }, template: false }
        });
        Ok(Some(found))
    }
}

/// The views that templates may need: the one asked for, and those of other environments that it refers to.
pub(super) struct Views<'a> {
    records: Records<'a>,
    caller: &'a Caller,
    abroad: &'a Abroad<'a>,
    pub(super) here: View,
    /// Where the region was asked for by way of a node.
    pub(super) placement: Option<Placement>,
    there: BTreeMap<(StackName, EnvironmentName), Option<View>>,
}

impl<'a> Views<'a> {
    pub(super) fn new(records: Records<'a>, caller: &'a Caller, abroad: &'a Abroad<'a>, here: View) -> Self {
        Self { records, caller, abroad, here, placement: None, there: BTreeMap::new() }
    }

    /// The newest revision of all that was looked at.
    pub(super) fn revision(&self) -> u64 {
        let layers = self.all().map(|view| view.ground.revision()).max();
        // A node that moved has another bundle, at whatever revisions the layers are.
        let layers = layers.max(self.placement.as_ref().map(|placement| placement.since)).unwrap_or_default();
        let layers = layers.max(self.abroad.revision());
        // So has a container whose stack was opened anew: it may be for another environment.
        layers.max(self.caller.resident.as_ref().map_or(0, |resident| resident.since))
    }

    /// All that was looked at.
    pub(super) fn grounds(&self) -> Grounds {
        let environments = self.all().map(|view| view.ground.clone()).collect();
        Grounds { environments, placement: self.placement.clone(), outside: self.abroad.used() }
    }

    fn all(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.here).chain(self.there.values().flatten())
    }

    /// The view of another environment, in the same region if it has that region; nothing, where there is no such
    /// environment or the caller may not read it.
    pub(super) fn elsewhere(&mut self, space: &(StackName, EnvironmentName)) -> Result<Option<&View>, Error> {
        if !self.there.contains_key(space) {
            let view = self.look(space)?;
            self.there.insert(space.clone(), view);
        }
        Ok(self.there.get(space).and_then(Option::as_ref))
    }

    fn look(&self, (stack, environment): &(StackName, EnvironmentName)) -> Result<Option<View>, Error> {
        let Some(declared) = self.records.find_environment(stack, environment)? else { return Ok(None) };
        let wanted = self.here.of.region.clone();
        let region = wanted.clone().filter(|region| declared.regions.contains(region));
        // A service is a service of its stack: in another stack, only what is granted to all is for it.
        let service = self.here.of.service.clone().filter(|_| stack == &self.here.of.stack);
        let of = BundleOf { stack: stack.clone(), environment: environment.clone(), region, node: None, service };
        if !may(self.caller, Verb::ReadBundle, &of.scope()) {
            return Ok(None);
        }
        View::load(&self.records, of, wanted, &declared).map(Some)
    }
}

impl Library for Views<'_> {
    type Error = Error;

    fn source(&mut self, key: &Key) -> Result<Result<Source, Missing>, Error> {
        let (records, abroad) = (self.records, self.abroad);
        let found = match &key.space {
            None => self.here.source(&records, abroad, key)?.unwrap_or(Err(Missing::Here)),
            Some(space) if space.0 == self.here.of.stack && space.1 == self.here.of.environment => {
                self.here.source(&records, abroad, key)?.unwrap_or(Err(Missing::There))
            }
            Some(space) => match self.elsewhere(space)? {
                None => Err(Missing::There),
                Some(view) => match view.source(&records, abroad, key)? {
                    Some(Err(Missing::Removed | Missing::Here)) | None => Err(Missing::There),
                    Some(found) => found,
                },
            },
        };
        Ok(found)
    }
}

/// Never the base in silence: a region must have been declared, and an environment with regions needs one.
pub(super) fn declared_region(environment: &EnvironmentRow, region: Option<&RegionName>) -> Result<(), Error> {
    let EnvironmentRow { stack, name, regions, .. } = environment;
    let known = list(regions);
    match region {
        Some(region) if !regions.contains(region) => Err(undeclared(environment, "", region)
            .hint(format!("check CHANDLERY_REGION or --region; or declare it: chandlery region add {region}"))),
        None if !regions.is_empty() => Err(Error::new(
            Code::UnknownRegion,
            format!("{stack}/{name} has regions, and none was named; declared are {known}"),
        )
        .hint("name one with CHANDLERY_REGION or --region")),
        _ => Ok(()),
    }
}

/// A region that the environment does not have. `before` says how it comes that it was asked for.
pub(super) fn undeclared(environment: &EnvironmentRow, before: &str, region: &RegionName) -> Error {
    let EnvironmentRow { stack, name, regions, .. } = environment;
    let rest = match regions.is_empty() {
        true => "it has none".to_owned(),
        false => format!("declared are {}", list(regions)),
    };
    Error::new(Code::UnknownRegion, format!("{before}{stack}/{name} has no region {region}; {rest}"))
        .hint(format!("declare it: chandlery region add {region}; or leave the node out where there are no regions"))
}

/// Names for a sentence.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

impl Views<'_> {
    /// The names that the service gets.
    pub(super) fn delivered(&self) -> Vec<EntryName> {
        let choices = self.here.choices.iter().filter(|(_, choice)| choice.is_delivered());
        choices.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn service(&self) -> Option<&ServiceName> {
        self.here.of.service.as_ref()
    }
}
