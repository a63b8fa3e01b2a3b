//! What the store has of an entry already, and whether a new one is a secret.

use chandlery_wire::api::{AwsResult, State};
use chandlery_wire::{EntryName, Layer, Value};

use super::import::Haul;
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
    /// What is kept in Secrets Manager is a secret, whatever it looks like: a guess that is wrong would show it. Plain is what
    /// somebody says is, and what the store has as plain.
    pub(super) fn of(haul: &Haul, name: &EntryName, stands_plain: Option<bool>) -> Self {
        let told = |secret: bool, why: &str, said: bool| Self { secret, why: why.to_owned(), said };
        match stands_plain {
            _ if haul.ask.secret.contains(name) => told(true, "as you say", true),
            _ if haul.ask.plain.contains(name) => told(false, "as you say", true),
            _ if haul.ask.all_secret => told(true, "all are", true),
            Some(plain) => told(!plain, "as in the store", false),
            None => told(true, "it is kept as one at AWS", false),
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

    /// Whether all that is there of the entry is plain; nothing where nothing is.
    pub(super) fn is_plain(&self, name: &EntryName) -> Result<Option<bool>, Error> {
        let mut plain = None;
        for row in self.rows.iter().filter(|row| row.name == *name && row.state == State::Live) {
            plain = Some(plain.unwrap_or(true) && !Attributes::of(row)?.secret);
        }
        Ok(plain)
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
