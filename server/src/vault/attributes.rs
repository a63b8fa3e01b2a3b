//! What an entry is besides its value, as it is stored beside the ciphertext and authenticated with it.

use chandlery_wire::api::{EntryInfo, State};
use chandlery_wire::{Code, Delivery, Layer, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::store::Row;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) secret: bool,
    pub(super) template: bool,
    /// Whether the value names where the value is: [`crate::source::Reference`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) reference: bool,
    pub(super) deliver: Delivery,
    /// Bytes of the value.
    pub(super) size: u64,
}

impl Default for Attributes {
    /// Of an entry nobody said anything about: a secret variable.
    fn default() -> Self {
        Self { secret: true, template: false, reference: false, deliver: Delivery::Variable, size: 0 }
    }
}

impl Attributes {
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        serde_json::from_str(&row.attributes)
            .map_err(|_| Error::new(Code::Integrity, format!("the attributes of {} cannot be read", row.name)))
    }

    /// As they are stored: with the revision at which the version was written.
    pub(super) fn to_json(&self, revision: u64) -> Result<String, Error> {
        serde_json::to_string(&Stored { attributes: self, revision })
            .map_err(|_| Error::new(Code::Internal, "attributes cannot be written"))
    }
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    attributes: &'a Attributes,
    revision: u64,
}

/// The store's revision at which the version was written; 0 for one that was written before that was kept.
pub(super) fn revision_of(row: &Row) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        revision: u64,
    }
    let written: Result<Written, _> = serde_json::from_str(&row.attributes);
    Ok(written
        .map_err(|_| Error::new(Code::Integrity, format!("the attributes of {} cannot be read", row.name)))?
        .revision)
}

/// A row for people, with the text of a reference, which is no secret; `value` is the row's.
pub(super) fn info_with(layer: &Layer, row: &Row, value: &Value) -> Result<EntryInfo, Error> {
    let reference = row.state == State::Live && Attributes::of(row)?.reference;
    let text = || String::from_utf8_lossy(value.expose_secret()).into_owned();
    Ok(EntryInfo { reference: reference.then(text), ..info(layer, row)? })
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
        reference: None,
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
