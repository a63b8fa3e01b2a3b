//! What the store has of an entry already, and whether a new one is a secret.

use chandlery_wire::api::{AwsResult, State};
use chandlery_wire::{EntryName, Layer, Value, guess};

use super::import::Haul;
use super::plan::One;
use crate::store::{EnvironmentRow, LayerKey, Row};
use crate::vault::Error;
use crate::vault::attributes::Attributes;
use crate::vault::records::{Records, base_of};

/// Whether a name's values are secret, and why.
pub(super) struct Secrecy {
    pub(super) secret: bool,
    pub(super) why: String,
    /// Whether somebody said so.
    pub(super) said: bool,
}

impl Secrecy {
    pub(super) fn of(haul: &Haul, name: &EntryName, ones: &[&One]) -> Self {
        let said = |secret: bool| Self { secret, why: "as you say".to_owned(), said: true };
        if haul.ask.secret.contains(name) {
            return said(true);
        }
        if haul.ask.plain.contains(name) {
            return said(false);
        }
        if haul.ask.all_secret {
            return Self { secret: true, why: "all are".to_owned(), said: false };
        }
        let why = ones.iter().find_map(|one| match one.file {
            true => Some("it is a file".to_owned()),
            false => guess::why_secret(name.as_str(), one.value.expose_secret()),
        });
        match why {
            Some(why) => Self { secret: true, why, said: false },
            None => Self { secret: false, why: "does not look like one".to_owned(), said: false },
        }
    }

    /// What is said to the store: a guess changes nothing of what is known already.
    pub(super) fn wish(&self, known: bool) -> Option<bool> {
        match (self.said, known) {
            (true, _) => Some(self.secret),
            (false, true) => None,
            (false, false) => (!self.secret).then_some(false),
        }
    }
}

/// What stands in a layer now.
pub(super) struct Standing {
    key: LayerKey,
    rows: Vec<Row>,
}

impl Standing {
    pub(super) fn of(records: &Records<'_>, row: &EnvironmentRow, layer: Layer, haul: &Haul) -> Result<Self, Error> {
        let key = LayerKey { layer, ..base_of(&row.stack, &row.name) };
        let mut rows = records.layer(&key)?.rows;
        rows.retain(|row| matches!(row.state, State::Live | State::Removed));
        rows.retain(|row| haul.ask.grant.as_ref().is_none_or(|grant| *grant == row.grant));
        Ok(Self { key, rows })
    }

    /// What the layer says of the entry, for whomever.
    pub(super) fn rows_of(&self, name: &EntryName) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.name == *name)
    }

    /// Whether the layer says anything of the entry.
    pub(super) fn stands(&self, name: &EntryName) -> bool {
        self.rows_of(name).next().is_some()
    }

    pub(super) fn has(&self, name: &EntryName) -> bool {
        self.rows.iter().any(|row| row.name == *name && row.state == State::Live)
    }

    /// What AWS's value is beside the store's. A template or a reference is never the same: it is
    /// another text.
    pub(super) fn compare(&self, records: &Records<'_>, name: &EntryName, value: &Value) -> Result<AwsResult, Error> {
        let live = self.rows.iter().filter(|row| row.name == *name && row.state == State::Live);
        let mut result = AwsResult::New;
        for row in live {
            let Attributes { template, reference, .. } = Attributes::of(row)?;
            let same = !template && !reference && records.open(&self.key, row)? == *value;
            if !same {
                return Ok(AwsResult::Kept);
            }
            result = AwsResult::Unchanged;
        }
        Ok(result)
    }
}
