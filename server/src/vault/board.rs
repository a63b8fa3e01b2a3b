//! All layers of one environment beside each other, read and verified once.

use std::collections::BTreeMap;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName, Value, Verb};

use super::Error;
use super::attributes::Attributes;
use super::fingerprints::{Marker, Shown};
use super::records::{Records, is_set};
use crate::access::{Caller, may_somewhere, may_use_grant, scope_of};
use crate::crypto::is_destroyed;
use crate::store::{EnvironmentRow, LayerKey, Row};

pub(super) struct Board {
    pub(super) row: EnvironmentRow,
    pub(super) revision: u64,
    /// The base, then the overlays in the order of their regions; of each what the caller may read, and is set.
    pub(super) layers: Vec<(LayerKey, Vec<Row>)>,
}

/// Which rows belong together: an entry for a grant.
pub(super) type Slot = (EntryName, Grant);

/// Decided without looking, so that a refusal tells nothing; and decided again row by row.
pub(super) fn require_reading(caller: &Caller, stack: &StackName, environment: &EnvironmentName) -> Result<(), Error> {
    match may_somewhere(caller, Verb::ReadEntry, stack, Some(environment)) {
        true => Ok(()),
        false => Err(Error::forbidden()),
    }
}

impl Board {
    pub(super) fn load(
        records: &Records<'_>,
        caller: &Caller,
        stack: &StackName,
        environment: &EnvironmentName,
    ) -> Result<Self, Error> {
        require_reading(caller, stack, environment)?;
        let row = records.environment(stack, environment)?;
        let (mut revision, mut layers) = (0, Vec::new());
        for key in records.layers(&row) {
            let content = records.layer(&key)?;
            revision = content.layer.revision.max(revision);
            let scope = scope_of(stack, environment, &key.layer);
            let readable = |row: &Row| is_set(row.state) && may_use_grant(caller, Verb::ReadEntry, &scope, &row.grant);
            layers.push((key, content.rows.into_iter().filter(readable).collect()));
        }
        Ok(Self { row, revision, layers })
    }

    pub(super) fn layer(&self, layer: &Layer) -> Option<&(LayerKey, Vec<Row>)> {
        self.layers.iter().find(|(key, _)| &key.layer == layer)
    }

    /// What a region has as it is written: the overlay's, and else the base's. What the overlay removes is there as
    /// removed.
    pub(super) fn effective(&self, layer: &Layer) -> BTreeMap<Slot, (&LayerKey, &Row)> {
        let base = (*layer != Layer::Base).then(|| self.layer(&Layer::Base)).flatten();
        let mut rows = BTreeMap::new();
        for (key, content) in [base, self.layer(layer)].into_iter().flatten() {
            rows.extend(content.iter().map(|row| ((row.name.clone(), row.grant.clone()), (key, row))));
        }
        rows
    }
}

/// A row as it is written, for a cell.
pub(super) fn shown(records: &Records<'_>, marker: &Marker<'_>, key: &LayerKey, row: &Row) -> Result<Shown, Error> {
    let (state, value) = match is_destroyed(&row.sealed) {
        true => {
            records.authenticate(key, row)?;
            (State::Destroyed, Value::new([]))
        }
        false => (row.state, records.open(key, row)?),
    };
    Ok(marker.shown(row.version, state, Attributes::of(row)?, value))
}
