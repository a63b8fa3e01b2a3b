//! The regions that have no copy: what they get of the base now, they keep.

use std::collections::BTreeMap;

use chandlery_wire::api::{Change, KeptEntry, Spot};
use chandlery_wire::{Delivery, EntryName, Grant, Layer, RegionName, ServiceName, Value};

use super::Told;
use crate::resolve::{Turn, keep};
use crate::store::{LayerKey, Row};
use crate::vault::Error;
use crate::vault::changes::{Plan, Step};
use crate::vault::draft::Content;
use crate::vault::records::{Records, is_set};

/// A layer's rows that are set, for whomever they are.
type ByName = BTreeMap<EntryName, Vec<Row>>;

/// What such regions get now.
pub(super) struct Elsewhere {
    base_key: LayerKey,
    base: ByName,
    overlays: BTreeMap<RegionName, ByName>,
    services: Vec<ServiceName>,
}

impl Elsewhere {
    pub(super) fn new(base_key: &LayerKey, base: &[Row], services: Vec<ServiceName>) -> Self {
        let base = by_name(base.to_vec());
        Self { base_key: base_key.clone(), base, overlays: BTreeMap::new(), services }
    }

    pub(super) fn add(&mut self, region: &RegionName, rows: Vec<Row>) {
        self.overlays.insert(region.clone(), by_name(rows));
    }

    /// Each service keeps what it got, where the base gets another value for the grant, or none.
    pub(super) fn keep(
        &self,
        records: &Records<'_>,
        name: &EntryName,
        (grant, value): (&Grant, Option<&Value>),
        plan: &mut Plan<Told>,
    ) -> Result<(), Error> {
        let base = self.base.get(name).map(Vec::as_slice).unwrap_or_default();
        if self.overlays.is_empty() || (value.is_none() && !base.iter().any(|row| row.grant == *grant)) {
            return Ok(());
        }
        let mut contents = BTreeMap::new();
        for row in base {
            contents.insert(row.grant.clone(), records.content(&self.base_key, row)?);
        }
        let before: Vec<Grant> = contents.keys().cloned().collect();
        let turn = Turn { before: &before, grant, stays: value.is_some() };
        let same = |grant: &Grant| {
            let content = contents.get(grant);
            content.zip(value).is_some_and(|(content, value)| is_variable_of(content, value))
        };
        for (region, rows) in &self.overlays {
            let has: Vec<&Grant> = rows.get(name).into_iter().flatten().map(|row| &row.grant).collect();
            let said = keep(turn, &has, &self.services, same);
            if !said.is_empty() {
                plan.told.kept.push(KeptEntry { name: name.clone(), region: region.clone() });
            }
            for (grant, was) in said {
                let step = match was.and_then(|was| contents.get(was)) {
                    Some(content) => Step::Put { name: name.clone(), grant, content: content.clone() },
                    None => Step::Asked(Change::Remove(Spot {
                        name: name.clone(),
                        region: Some(region.clone()),
                        grant: Some(grant),
                        expect_version: None,
                    })),
                };
                plan.steps.push((Layer::Overlay(region.clone()), step));
            }
        }
        Ok(())
    }
}

/// Whether a service gets just this value, as a variable and as it is.
fn is_variable_of(content: &Content, value: &Value) -> bool {
    let attributes = &content.attributes;
    !attributes.template && !attributes.reference && attributes.deliver == Delivery::Variable && content.value == *value
}

fn by_name(rows: Vec<Row>) -> ByName {
    let mut named = ByName::new();
    for row in rows.into_iter().filter(|row| is_set(row.state)) {
        named.entry(row.name.clone()).or_default().push(row);
    }
    named
}
