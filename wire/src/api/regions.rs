//! Regions beside each other: the matrix, comparisons, and checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use crate::entry::{Delivery, Grant, Layer};
use crate::name::{EntryName, EnvironmentName, RegionName, ServiceName, StackName};
use crate::value::Value;

#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// What stands in one place. Two cells of one answer have the same fingerprint if, and only if, they have the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Cell {
    /// The version in its layer; 0 for what is in no layer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: u64,
    #[serde(default = "live", skip_serializing_if = "is_live")]
    pub state: State,
    pub secret: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// Whether it is a reference to an outside source; `value` is then its text, which is no secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reference: bool,
    #[serde(default = "variable", skip_serializing_if = "is_variable")]
    pub deliver: Delivery,
    /// Bytes of the value.
    pub size: u64,
    /// A short keyed name of the value. It differs from environment to environment. Absent where there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The value, where it is a plain one, a reference, or secrets were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn live() -> State {
    State::Live
}

fn is_live(state: &State) -> bool {
    *state == State::Live
}

fn variable() -> Delivery {
    Delivery::Variable
}

fn is_variable(delivery: &Delivery) -> bool {
    *delivery == Delivery::Variable
}

/// `GET /v1/matrix/{stack}/{environment}?service=…&at=…&reveal=…`: entries × regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Matrix {
    pub stack: StackName,
    pub environment: EnvironmentName,
    /// The newest revision of what is shown.
    pub revision: u64,
    pub regions: Vec<RegionName>,
    /// By name, and within a name by grant.
    pub rows: Vec<MatrixRow>,
    /// Whether there may be more, which the caller may not read: a cell that is not here may be set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// One entry for one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct MatrixRow {
    pub name: EntryName,
    #[serde(rename = "for")]
    pub grant: Grant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Cell>,
    /// What overlays say. A region that is not among them has what the base has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<RegionName, Cell>,
    /// Whether not all regions have the same.
    pub differs: bool,
}

/// `POST /v1/comparisons/{stack}/{environment}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Compare {
    pub left: Side,
    pub right: Side,
    /// Compare what this service gets, templates resolved. Otherwise what is written is compared, templates as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Show secrets.
    #[serde(default)]
    pub reveal: bool,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Place(Place),
    /// Values from elsewhere: a file.
    Values(BTreeMap<EntryName, Value>),
}

/// A place, maybe as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    /// `region`, `base`, `environment`, `environment/region`, `stack/environment/region`; what is not named is what the
    /// path of the request names. The environment in the path, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// A revision (`42`), or a time (RFC 3339); now, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Comparison {
    /// How many are the same on both sides.
    pub same: u64,
    /// By layer, then by name.
    pub differences: Vec<Difference>,
    /// Whether there may be more on one of the sides, which the caller may not read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// On a side of the past: the entries whose values are kept outside, and are what they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_now: Vec<String>,
}

/// What differs in one entry. A side that does not have it has no cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Difference {
    /// Where whole environments are compared, layer by layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    pub name: EntryName,
    /// For which services; absent where what one service gets is compared, or a file.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Cell>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Cell>,
}

/// `POST /v1/checks/{stack}/{environment}`: is everything there that is declared?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub declarations: Vec<Declaration>,
    /// Only these regions; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionName>,
    /// Tell of entries that no service has got for so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_days: Option<u32>,
}

/// What a service needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    pub name: EntryName,
    /// Which service must get it; any, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Whether it must be there.
    #[serde(default = "yes")]
    pub required: bool,
    /// Whether it may be empty.
    #[serde(default)]
    pub empty: bool,
    /// Whether it must be a secret, or must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<bool>,
    /// A regular expression that is to be found in the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The regions that need it; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionName>,
}

fn yes() -> bool {
    true
}

/// What was found. None of it holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Checked {
    /// The environment's revision.
    pub revision: u64,
    /// The regions that were looked at; none for an environment without regions.
    pub regions: Vec<RegionName>,
    /// How many declarations were looked at, each in each of its regions.
    pub checked: u64,
    pub findings: Vec<Finding>,
    /// Since when the audit log tells of reads, where that is later than was asked for: nothing is called unread then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_known_since: Option<String>,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// It is required, and the service does not get it there.
    Missing,
    /// It has no bytes.
    Empty,
    /// Its template cannot be resolved.
    Unresolvable,
    /// The pattern is not found in it.
    Shape,
    /// It is a secret and should be none, or the other way round.
    Secrecy,
    /// It is set, and nothing declares it.
    Undeclared,
    /// No service has got it for so long.
    Unread,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Finding {
    pub kind: FindingKind,
    pub name: EntryName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// What it is, in words.
    pub detail: String,
}
