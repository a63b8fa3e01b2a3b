//! Two places beside each other: what differs.

use std::collections::BTreeMap;

use chandlery_wire::api::{Compare, Comparison, Difference, Place, Side, State};
use chandlery_wire::{
    Code, Delivery, EntryName, EnvironmentName, Grant, Layer, RegionName, ServiceName, StackName, Value, Verb,
};

use super::attributes::Attributes;
use super::board::{Board, all_shown, require_reading, sees_a_part, shown};
use super::bundles::{BundleOf, unresolvable};
use super::core::Core;
use super::fingerprints::{Marker, Names, Shown};
use super::moment::Moment;
use super::operation::{Action, Done};
use super::outside::Abroad;
use super::records::Records;
use super::view::{View, Views, declared_region, list};
use super::{Error, Vault};
use crate::access::{Caller, may};
use crate::crypto::{Fingerprinter, Keyring};
use crate::resolve::expand;
use crate::store::{EnvironmentRow, LayerKey, Row, Snapshot};

/// What is compared with its like on the other side: by layer, where whole environments are compared; and by grant, where
/// it is what is written.
type Slot = (Option<Layer>, EntryName, Option<Grant>);

impl Vault {
    /// What differs between two places, revisions or files.
    ///
    /// # Errors
    /// Where the caller may not read entries on one of the sides, and where a place is not clear or not there.
    pub async fn compare(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        compare: Compare,
    ) -> Result<Comparison, Error> {
        let action =
            Action::new("read-comparison").on(format!("{stack}/{environment}")).service(compare.service.as_ref());
        self.perform_abroad(caller, action, move |core, caller, abroad| {
            require_reading(caller, &stack, &environment)?;
            let reveal = compare.reveal;
            let comparison = core.read(|snapshot| {
                let keyring = core.keyring();
                let (stack, environment, service) = (&stack, &environment, compare.service.as_ref());
                Comparer { core, caller, abroad, snapshot, keyring: &keyring, stack, environment, service }
                    .compare(&compare)
            })?;
            Ok(match reveal {
                true => {
                    let mut names: Vec<String> =
                        comparison.differences.iter().map(|difference| difference.name.to_string()).collect();
                    names.dedup();
                    Done { detail: Some("secrets shown".into()), ..Done::new(comparison).entries(names) }
                }
                false => Done::new(comparison),
            })
        })
        .await
    }
}

struct Comparer<'a> {
    core: &'a Core,
    caller: &'a Caller,
    abroad: &'a Abroad<'a>,
    snapshot: &'a dyn Snapshot,
    keyring: &'a Keyring,
    stack: &'a StackName,
    environment: &'a EnvironmentName,
    service: Option<&'a ServiceName>,
}

/// A side, found.
enum Found<'a> {
    Values(&'a BTreeMap<EntryName, Value>),
    Place { environment: Box<EnvironmentRow>, layer: Option<Layer>, moment: Option<Moment> },
}

impl<'a> Comparer<'a> {
    fn compare(&self, compare: &Compare) -> Result<Comparison, Error> {
        let (left, right) = (self.find(&compare.left)?, self.find(&compare.right)?);
        // What one service gets is not a part of it: it takes the right to all of that.
        let partial = self.service.is_none() && (self.sees_a_part(&left) || self.sees_a_part(&right));
        let with_file = matches!(left, Found::Values(_)) || matches!(right, Found::Values(_));
        let whole = |found: &Found<'_>| matches!(found, Found::Place { layer: None, .. });
        let by_layer = whole(&left) && whole(&right);
        let marker = Marker { names: self.names(&left, &right)?, reveal: compare.reveal };
        let is_past = |found: &Found<'_>| matches!(found, Found::Place { moment: Some(_), .. });
        let mut read_now = Vec::new();
        let mut content = |found: &Found<'_>| {
            let content = self.content(found, &marker, by_layer, with_file)?;
            if is_past(found) {
                read_now = self.abroad.entries();
            }
            Ok::<_, Error>(content)
        };
        // The past first: what is read for the other side is not yet among what was read for it.
        let (left, mut right) = match is_past(&left) {
            true => (content(&left)?, content(&right)?),
            false => {
                let right = content(&right)?;
                (content(&left)?, right)
            }
        };
        let names = Names::of(left.values().chain(right.values()));
        let (mut same, mut differences) = (0, Vec::new());
        let mut pairs: BTreeMap<Slot, (Option<Shown>, Option<Shown>)> = BTreeMap::new();
        for (slot, shown) in left {
            let other = right.remove(&slot);
            pairs.insert(slot, (Some(shown), other));
        }
        pairs.extend(right.into_iter().map(|(slot, shown)| (slot, (None, Some(shown)))));
        for ((layer, name, grant), (left, right)) in pairs {
            let alike = match (&left, &right) {
                // A file says nothing about how a value is kept.
                (Some(one), Some(other)) if with_file => one.mac == other.mac,
                (Some(one), Some(other)) => one.is_like(other),
                _ => false,
            };
            if alike {
                same += 1;
            } else {
                let (left, right) = (left.map(|shown| names.cell(shown)), right.map(|shown| names.cell(shown)));
                differences.push(Difference { layer, name, grant, left, right });
            }
        }
        Ok(Comparison { same, differences, partial, read_now })
    }

    fn sees_a_part(&self, found: &Found<'_>) -> bool {
        match found {
            Found::Values(_) => false,
            Found::Place { environment: row, .. } => sees_a_part(self.caller, &row.stack, &row.name),
        }
    }

    /// The environment's own names, where everything that is compared is its own. Otherwise whoever may send values, or
    /// write to an environment of theirs, could have any guess named, and look for the name in a printout of this one.
    fn names(&self, left: &Found<'_>, right: &Found<'_>) -> Result<Fingerprinter, Error> {
        let is_own = |found: &Found<'_>| match found {
            Found::Values(_) => false,
            Found::Place { environment: row, .. } => row.stack == *self.stack && row.name == *self.environment,
        };
        match is_own(left) && is_own(right) {
            true => Ok(self.keyring.fingerprinter(self.stack, self.environment)),
            false => Ok(Fingerprinter::of_one_answer()?),
        }
    }

    fn find<'s>(&self, side: &'s Side) -> Result<Found<'s>, Error> {
        let Place { place, at } = match side {
            Side::Values(values) => return Ok(Found::Values(values)),
            Side::Place(place) => place,
        };
        let moment = at.as_deref().map(|at| Moment::parse(self.core, self.snapshot, at)).transpose()?;
        let (environment, layer) = self.place(place.as_deref())?;
        Ok(Found::Place { environment: Box::new(environment), layer, moment })
    }

    /// `region`, `base`, `environment`, `environment/region`, `stack/environment/region`.
    fn place(&self, text: Option<&str>) -> Result<(EnvironmentRow, Option<Layer>), Error> {
        let records = Records::new(self.snapshot, self.keyring);
        let invalid = |error: chandlery_wire::NameError| Error::new(Code::InvalidName, error.to_string()).hint(PLACES);
        let (stack, here) = (self.stack, self.environment);
        let segments: Vec<&str> = text.map(|text| text.split('/').collect()).unwrap_or_default();
        let (stack, environment, layer) = match segments[..] {
            [] => (stack.clone(), here.clone(), None),
            ["base"] => (stack.clone(), here.clone(), Some("base")),
            [word] => {
                let of_here = records.environment(stack, here)?;
                let is_region = of_here.regions.iter().any(|region| region.as_str() == word);
                let named = EnvironmentName::parse(word).map_err(invalid)?;
                // Whether there is one that the caller may not read is nobody's business.
                let readable = require_reading(self.caller, stack, &named).is_ok();
                match (is_region, readable && records.find_environment(stack, &named)?.is_some()) {
                    (true, false) => (stack.clone(), here.clone(), Some(word)),
                    (false, true) => (stack.clone(), named, None),
                    (true, true) => {
                        return Err(Error::new(
                            Code::Conflict,
                            format!("{word} is a region of {stack}/{here} and an environment"),
                        )
                        .hint(format!("write {here}/{word} for the region, or {word}/REGION")));
                    }
                    (false, false) => {
                        let regions = list(&of_here.regions);
                        return Err(Error::new(
                            Code::UnknownRegion,
                            format!("{word} is neither a region of {stack}/{here} (it has {regions}) nor an environment of {stack} that this token may read"),
                        )
                        .hint(PLACES));
                    }
                }
            }
            [environment, region] => {
                (stack.clone(), EnvironmentName::parse(environment).map_err(invalid)?, Some(region))
            }
            [stack, environment, region] => (
                StackName::parse(stack).map_err(invalid)?,
                EnvironmentName::parse(environment).map_err(invalid)?,
                Some(region),
            ),
            _ => return Err(Error::new(Code::InvalidName, "that is not a place").hint(PLACES)),
        };
        require_reading(self.caller, &stack, &environment)?;
        let row = records.environment(&stack, &environment)?;
        let layer = layer.map(|text| text.parse::<Layer>().map_err(invalid)).transpose()?;
        if let Some(region) = layer.as_ref().and_then(Layer::region) {
            declared_region(&row, Some(region))?;
        }
        Ok((row, layer))
    }

    fn content(
        &self,
        found: &Found<'_>,
        marker: &Marker,
        by_layer: bool,
        with_file: bool,
    ) -> Result<BTreeMap<Slot, Shown>, Error> {
        let (environment, layer, moment) = match found {
            Found::Place { environment, layer, moment } => (environment, layer, *moment),
            Found::Values(values) => {
                let shown = |value: &Value| {
                    let attributes = Attributes { size: value.len() as u64, ..Attributes::default() };
                    marker.shown(0, State::Live, attributes, value.clone())
                };
                return Ok(values.iter().map(|(name, value)| ((None, name.clone(), None), shown(value))).collect());
            }
        };
        let records = Records::new(self.snapshot, self.keyring).as_of(moment);
        if layer.is_none() && !by_layer && !environment.regions.is_empty() {
            let (stack, name) = (&environment.stack, &environment.name);
            let regions = list(&environment.regions);
            return Err(Error::new(
                Code::UnknownRegion,
                format!("{stack}/{name} has regions, and none was named; declared are {regions}"),
            )
            .hint(format!("compare one of them: {name}/{}", environment.regions[0])));
        }
        match self.service {
            Some(service) => self.delivered(&records, marker, environment, layer.as_ref(), service),
            None if by_layer => self.layers(&records, marker, environment),
            None => self.written(&records, marker, environment, layer.as_ref().unwrap_or(&Layer::Base), with_file),
        }
    }

    /// As it is written, whole layers.
    fn layers(
        &self,
        records: &Records<'_>,
        marker: &Marker,
        environment: &EnvironmentRow,
    ) -> Result<BTreeMap<Slot, Shown>, Error> {
        let board = Board::load(records, self.caller, &environment.stack, &environment.name)?;
        let rows: Vec<(&LayerKey, &Row)> =
            board.layers.iter().flat_map(|(key, rows)| rows.iter().map(move |row| (key, row))).collect();
        let shown = all_shown(self.keyring, marker, &rows)?;
        let slot = |key: &LayerKey, row: &Row| (Some(key.layer.clone()), row.name.clone(), Some(row.grant.clone()));
        Ok(rows.into_iter().zip(shown).map(|((key, row), shown)| (slot(key, row), shown)).collect())
    }

    /// As it is written, what a region has of the two layers.
    fn written(
        &self,
        records: &Records<'_>,
        marker: &Marker,
        environment: &EnvironmentRow,
        layer: &Layer,
        with_file: bool,
    ) -> Result<BTreeMap<Slot, Shown>, Error> {
        let wanted = |one: &Layer| *one == Layer::Base || one == layer;
        let board = Board::load_layers(records, self.caller, &environment.stack, &environment.name, wanted)?;
        let mut content = BTreeMap::new();
        for ((name, grant), (key, row)) in board.effective(layer) {
            let shown = shown(self.keyring, marker, key, row)?;
            if shown.state != State::Live {
                continue;
            }
            // A variable of a file is compared with the one of its name, and with nothing that is delivered as a file.
            if with_file && shown.attributes.deliver != Delivery::Variable {
                continue;
            }
            let grant = (!with_file).then_some(grant);
            if content.insert((None, name.clone(), grant), shown).is_some() {
                return Err(Error::new(Code::Conflict, format!("{name} is set for several grants"))
                    .hint("say with --service whose is to be compared"));
            }
        }
        Ok(content)
    }

    /// What the service gets, in the region or in each.
    fn delivered(
        &self,
        records: &Records<'_>,
        marker: &Marker,
        environment: &EnvironmentRow,
        layer: Option<&Layer>,
        service: &ServiceName,
    ) -> Result<BTreeMap<Slot, Shown>, Error> {
        let regions: Vec<Option<&RegionName>> = match layer {
            Some(layer) => vec![layer.region()],
            None if environment.regions.is_empty() => vec![None],
            None => environment.regions.iter().map(Some).collect(),
        };
        let mut content = BTreeMap::new();
        for region in regions {
            let of = BundleOf {
                stack: environment.stack.clone(),
                environment: environment.name.clone(),
                region: region.cloned(),
                node: None,
                service: Some(service.clone()),
            };
            if !may(self.caller, Verb::ReadEntry, &of.scope()) {
                return Err(Error::forbidden());
            }
            let mut views = Views::new(*records, self.caller, self.abroad, View::asked(records, of)?);
            let delivered = views.delivered();
            let values = match expand(&mut views, delivered)? {
                Ok(values) => values,
                Err(faults) => return Err(unresolvable(&views.here.of, faults)),
            };
            for (name, value) in values {
                let Some(choice) = views.here.choices.get(&name) else { continue };
                let row = &choice.winner.item;
                let attributes =
                    Attributes { size: value.len() as u64, template: false, reference: false, ..Attributes::of(row)? };
                let layer = if layer.is_none() { region.cloned().map(Layer::Overlay) } else { None };
                content.insert((layer, name, None), marker.shown(row.version, State::Live, attributes, value));
            }
        }
        Ok(content)
    }
}

const PLACES: &str = "a place is a region, base, an environment, environment/region or stack/environment/region";
