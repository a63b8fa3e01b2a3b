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
}
