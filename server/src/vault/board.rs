//! All layers of one environment beside each other, read and verified once.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName, Value, Verb};

use super::Error;
use super::attributes::Attributes;
use super::fingerprints::{Marker, Shown};
use super::records::{Records, is_set, record};
use crate::access::{Caller, may, may_somewhere, may_use_grant, scope_of};
use crate::crypto::{Keyring, is_destroyed};
use crate::store::{EnvironmentRow, LayerKey, Row};

pub(super) struct Board {
    pub(super) row: EnvironmentRow,
    pub(super) revision: u64,
    /// The base, then the overlays in the order of their regions; of each what is set.
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

/// Whether the caller may read what the row says, as it is written.
pub(super) fn readable(caller: &Caller, key: &LayerKey, row: &Row) -> bool {
    let LayerKey { stack, environment, layer } = key;
    may_use_grant(caller, Verb::ReadEntry, &scope_of(stack, environment, layer), &row.grant)
}

/// Whether there may be rows in the environment that the caller may not read. Decided without looking.
pub(super) fn sees_a_part(caller: &Caller, stack: &StackName, environment: &EnvironmentName) -> bool {
    !may(caller, Verb::ReadEntry, &scope_of(stack, environment, &Layer::Base))
}

impl Board {
    /// All layers of the environment.
    pub(super) fn load(
        records: &Records<'_>,
        caller: &Caller,
        stack: &StackName,
        environment: &EnvironmentName,
    ) -> Result<Self, Error> {
        Self::load_layers(records, caller, stack, environment, |_| true)
    }

    /// Only the layers that are wanted.
    pub(super) fn load_layers(
        records: &Records<'_>,
        caller: &Caller,
        stack: &StackName,
        environment: &EnvironmentName,
        wanted: impl Fn(&Layer) -> bool,
    ) -> Result<Self, Error> {
        require_reading(caller, stack, environment)?;
        let mut board = Self::load_unfiltered(records, stack, environment, wanted)?;
        for (key, rows) in &mut board.layers {
            let scope = scope_of(stack, environment, &key.layer);
            rows.retain(|row| may_use_grant(caller, Verb::ReadEntry, &scope, &row.grant));
        }
        Ok(board)
    }

    /// Everything that is set, for those who decide themselves what the caller is told.
    pub(super) fn load_unfiltered(
        records: &Records<'_>,
        stack: &StackName,
        environment: &EnvironmentName,
        wanted: impl Fn(&Layer) -> bool,
    ) -> Result<Self, Error> {
        let row = records.environment(stack, environment)?;
        let (mut revision, mut layers) = (0, Vec::new());
        for key in records.layers(&row).into_iter().filter(|key| wanted(&key.layer)) {
            let content = records.layer(&key)?;
            revision = content.layer.revision.max(revision);
            layers.push((key, content.rows.into_iter().filter(|row| is_set(row.state)).collect()));
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
pub(super) fn shown(keyring: &Keyring, marker: &Marker, key: &LayerKey, row: &Row) -> Result<Shown, Error> {
    let (state, value) = match is_destroyed(&row.sealed) {
        true => {
            record(key, row).authenticate(keyring, &row.sealed)?;
            (State::Destroyed, Value::new([]))
        }
        false => (row.state, record(key, row).open(keyring, &row.sealed)?),
    };
    Ok(marker.shown(row.version, state, Attributes::of(row)?, value))
}

/// From so many rows on it pays to open them on several CPUs.
const MANY: usize = 2_000;
/// So many CPUs at most: others ask, too.
const MOST_THREADS: usize = 4;

/// As [`shown`], of each, in their order.
pub(super) fn all_shown(keyring: &Keyring, marker: &Marker, rows: &[(&LayerKey, &Row)]) -> Result<Vec<Shown>, Error> {
    let open = |rows: &[(&LayerKey, &Row)]| -> Result<Vec<Shown>, Error> {
        rows.iter().map(|(key, row)| shown(keyring, marker, key, row)).collect()
    };
    let threads = if rows.len() < MANY { 1 } else { thread::available_parallelism().map_or(1, NonZero::get) };
    let mut parts = rows.chunks(rows.len().div_ceil(threads.min(MOST_THREADS)).max(1));
    let first = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || open(part))).collect();
        let mut all = open(first)?;
        for other in others {
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}
