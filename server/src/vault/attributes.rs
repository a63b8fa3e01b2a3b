//! What an entry is besides its value, as it is stored beside the ciphertext and authenticated with it.

use chandlery_wire::api::{EntryInfo, State};
use chandlery_wire::{Code, Delivery, Layer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::store::Row;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) secret: bool,
    pub(super) template: bool,
    pub(super) deliver: Delivery,
    /// Bytes of the value.
    pub(super) size: u64,
}

impl Default for Attributes {
    /// Of an entry nobody said anything about: a secret variable.
    fn default() -> Self {
        Self { secret: true, template: false, deliver: Delivery::Variable, size: 0 }
    }
}

impl Attributes {
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        serde_json::from_str(&row.attributes)
            .map_err(|_| Error::new(Code::Integrity, format!("the attributes of {} cannot be read", row.name)))
    }

    pub(super) fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|_| Error::new(Code::Internal, "attributes cannot be written"))
    }
}

/// A row for people, without its value.
pub(super) fn info(layer: &Layer, row: &Row) -> Result<EntryInfo, Error> {
    let attributes = Attributes::of(row)?;
    Ok(EntryInfo {
        name: row.name.clone(),
        layer: layer.clone(),
        grant: row.grant.clone(),
        version: row.version,
        state: row.state,
        secret: attributes.secret,
        template: attributes.template,
        deliver: attributes.deliver,
        size: if row.state == State::Live { attributes.size } else { 0 },
        created: rfc3339(row.created),
        author: row.author.clone(),
        value: None,
    })
}

/// Milliseconds since 1970 as RFC 3339. A time that no calendar has (only a damaged row holds one) is the epoch.
pub(super) fn rfc3339(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
