//! Changes to many entries in one request: all of them, or none.

use serde::{Deserialize, Serialize};

use super::WriteEntry;
use crate::entry::{Grant, Layer};
use crate::name::{EntryName, EnvironmentName, RegionName, StackName};
use crate::value::Value;

#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// `POST /v1/changes/{stack}/{environment}`: changes across the base and the overlays, all of them or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    /// Regions to declare with it. What is declared already stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declare: Vec<RegionName>,
    #[serde(default)]
    pub changes: Vec<Change>,
    #[serde(default)]
    pub terms: Terms,
}

/// On what terms a change is made. Every request that changes many entries takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Change something only if the environment is at this revision: nobody has written since the plan was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_revision: Option<u64>,
    /// Check everything and say what would be changed, and change nothing.
    pub dry_run: bool,
}

/// One change to one entry in one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Write a new version.
    Set(SetEntry),
    /// Delete the entry from the layer; what lies under it shows again.
    Delete(Spot),
    /// Take the entry away in the region, base or no base.
    Remove(Spot),
    /// Bring back the last value that a deleted or removed entry had in the layer.
    Undelete(Spot),
    /// Write an older version's value and attributes again, as a new version.
    Restore(RestoreEntry),
}

/// A [`Change`] that writes a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetEntry {
    pub name: EntryName,
    /// The overlay to write to; the base where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    pub entry: WriteEntry,
}

/// An entry in one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Spot {
    pub name: EntryName,
    /// The overlay; the base where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// For which services, where the entry is set for several grants.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Only if the entry is at this version in the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_version: Option<u64>,
}

/// A [`Change`] that goes back to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RestoreEntry {
    pub name: EntryName,
    /// The overlay; the base where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// The version to go back to.
    pub version: u64,
    /// Only if the entry is at this version in the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_version: Option<u64>,
}

/// What was changed, or would be: the answer to every request that takes [`Terms`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Changed {
    /// The environment's revision: after the change; of a plan, the one it was made for, to be expected with the real one.
    pub revision: u64,
    /// Whether it is a plan, and nothing was changed.
    pub dry_run: bool,
    /// Regions that were declared with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<RegionName>,
    /// In the order of names, and for each the base before the overlays. What stays as it is is not among them.
    pub entries: Vec<ChangedEntry>,
    /// How many were asked for and stay as they are.
    pub unchanged: u64,
    /// What was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedEntry>,
    /// What else is worth knowing, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It was not set in this layer, and is now.
    Added,
    /// It has another value or other attributes.
    Changed,
    /// It is no longer set in this layer.
    Deleted,
    /// The overlay takes it away in its region.
    Removed,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct ChangedEntry {
    pub name: EntryName,
    pub layer: Layer,
    #[serde(rename = "for")]
    pub grant: Grant,
    pub effect: Effect,
    /// The version that is current now.
    pub version: u64,
    pub secret: bool,
    /// The value it has now, where it is a plain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What a change left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct SkippedEntry {
    pub name: EntryName,
    pub layer: Layer,
    /// Why, in words.
    pub why: String,
}

/// `POST /v1/copies/{stack}/{environment}`: entries of another environment or layer are written here too. The values
/// never leave the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Copying {
    /// Where they come from; this stack where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_stack: Option<StackName>,
    /// This environment where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_environment: Option<EnvironmentName>,
    /// From which layer to which. Where there is none: from the base to the base, and from each overlay to that of the
    /// same region, where both environments have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerPair>,
    /// Only these entries; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<EntryName>,
    /// Secrets too, where they are not named. They always are within one environment.
    #[serde(default)]
    pub secrets: bool,
    /// Regions to declare with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declare: Vec<RegionName>,
    #[serde(default)]
    pub terms: Terms,
}

/// From which layer to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LayerPair {
    pub from: Layer,
    pub to: Layer,
}

/// `POST /v1/rollbacks/{stack}/{environment}`: everything is written again as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// A revision (`42`), or a time (RFC 3339).
    pub to: String,
    /// Only these layers; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Only these entries; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<EntryName>,
    #[serde(default)]
    pub terms: Terms,
}

/// `POST /v1/factorings/{stack}/{environment}`: full copies, one a region, become one base and what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Factoring {
    /// A region that is not declared yet is declared with it. The order decides ties.
    pub regions: Vec<RegionCopy>,
    /// These are no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain: Vec<EntryName>,
    /// For which services; what it is for already where it is left out, and a new one for all.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Take variables away from these regions that no copy names. Otherwise they stay as they are.
    #[serde(default)]
    pub exact: bool,
    #[serde(default)]
    pub terms: Terms,
}

/// Everything that one region has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegionCopy {
    pub region: RegionName,
    pub entries: Vec<CopiedEntry>,
}

/// One variable of a [`RegionCopy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CopiedEntry {
    pub name: EntryName,
    pub value: Value,
}

/// What became of the copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Factored {
    /// Values in all copies together.
    pub values: u64,
    /// Entries that have a value in the base afterwards, of those in the copies.
    pub base: u64,
    /// Values that differ from the base, or that no base has.
    pub overrides: u64,
    /// Entries that a region lacks and the base has.
    pub removals: u64,
    /// Entries for which several values were in as many regions, and whose value was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tie>,
    /// Entries that other regions keep: the base changes under them, and their overlays now hold what they had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptEntry>,
    pub changed: Changed,
}

/// One entry for which the majority did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Tie {
    pub name: EntryName,
    /// How many different values were in as many regions.
    pub values: u64,
    /// The regions whose value went to the base.
    pub chosen: Vec<RegionName>,
}

/// An entry that a region, which no copy is for, keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct KeptEntry {
    pub name: EntryName,
    pub region: RegionName,
}

/// `DELETE /v1/entries/{stack}/{environment}/{name}/versions`: what was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Destroyed {
    /// The store's revision after it.
    pub revision: u64,
    pub layers: Vec<DestroyedIn>,
}

/// What was destroyed in one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct DestroyedIn {
    pub layer: Layer,
    /// Versions whose ciphertext is gone.
    pub versions: Vec<u64>,
}
