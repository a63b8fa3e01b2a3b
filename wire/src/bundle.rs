//! A bundle: what one service of one environment in one region gets.

use serde::{Deserialize, Serialize};

use crate::entry::{Layer, Mode};
use crate::name::{EntryName, EnvironmentName, RegionName, ServiceName, StackName, VariableName};
use crate::value::Value;

/// Resolved variables and files, at a revision. Both lists are sorted by name, and no name is in one of them twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bundle {
    pub stack: StackName,
    pub environment: EnvironmentName,
    /// Absent for an environment without regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// Absent where the caller named none; the bundle then holds what is granted to all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Grows whenever what the bundle is made from changes; also its `ETag`.
    pub revision: u64,
    pub variables: Vec<BundleVariable>,
    pub files: Vec<BundleFile>,
    /// What comes from an outside source that has not answered for longer than its values are good for. It is what the
    /// source said last, and may be old.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<StaleSource>,
    /// In a bundle of the past: the entries whose values are kept outside, and are what they are now; one of another
    /// environment, which a template refers to, as `stack/environment/NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_now: Vec<String>,
}

/// Values that could not be asked for again in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StaleSource {
    /// What the values come from: `aws:eu-west-1:app/production`.
    pub source: String,
    /// The entries whose values these are; one of another environment as `stack/environment/NAME`.
    pub entries: Vec<String>,
    /// When the source said so (RFC 3339).
    pub fetched: String,
    /// Why it could not be asked again, in words.
    pub reason: String,
}

impl std::fmt::Display for StaleSource {
    /// One line for people. It holds no value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, entries, fetched, reason } = self;
        write!(f, "{} may be old: from {source} as of {fetched}; {reason}", entries.join(", "))
    }
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleVariable {
    pub name: VariableName,
    pub value: Value,
    /// Whether the value is masked where people look.
    pub secret: bool,
    pub origin: Origin,
}

/// A file for the secrets directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleFile {
    /// The file's name in the secrets directory.
    pub name: EntryName,
    pub value: Value,
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The variable that is to hold the file's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<VariableName>,
    pub secret: bool,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Origin {
    pub layer: Layer,
    pub version: u64,
    /// Whether the value is what a template resolved to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// Whether the value is what an outside source said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reference: bool,
}
