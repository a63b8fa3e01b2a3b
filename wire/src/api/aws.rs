//! Reading secrets of AWS Secrets Manager into the store, and writing the store's into AWS.
//!
//! Both take longer than a request may: the server begins an errand, says how far it is when asked, and carries out what
//! was found when told to. Values stay in the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::changes::{Changed, KeptEntry, Tie};
use crate::entry::Grant;
use crate::name::{EntryName, RegionName, ServiceName};

#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// `POST /v1/aws/imports/{stack}/{environment}`: which secrets are read, and what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsImport {
    /// Names or ARNs; or one pattern, in which `{region}` is a region of the environment and `{name}` an entry's name.
    pub secrets: Vec<String>,
    /// The overlay to write to; the base where it is left out. Not for a pattern with `{region}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// What `{region}` stands for; all that AWS has where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionName>,
    /// The region of AWS to read from. Otherwise it is that of the ARN, of the region that is written to where it is
    /// called like one of AWS's, or the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_region: Option<String>,
    /// `AWSPREVIOUS`, or another label, in place of the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What the secrets hold. Otherwise each is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<AwsForm>,
    /// The entry's name, for a secret that is one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<EntryName>,
    /// Other names for keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, EntryName>,
    /// Keys that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// These are secrets, also where the store has them as plain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret: Vec<EntryName>,
    /// These are no secrets. Everything else is one that the store does not have as plain already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain: Vec<EntryName>,
    /// Everything is a secret that `plain` does not name, also what the store has as plain.
    #[serde(default)]
    pub all_secret: bool,
    /// For which services.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Declare the regions that AWS has and the environment does not.
    #[serde(default)]
    pub declare: bool,
    /// Take AWS's value where the store has another.
    #[serde(default)]
    pub overwrite: bool,
    /// Take variables that AWS does not have away from the regions that are read.
    #[serde(default)]
    pub exact: bool,
}

/// What a secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AwsForm {
    /// An object of names and values.
    Json,
    /// Lines `NAME=value`.
    Dotenv,
    /// One value.
    Plain,
}

/// How far an errand is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsErrand {
    pub id: EntryName,
    /// Whether it has come to its end. What it failed with is the answer's problem, and no errand.
    pub finished: bool,
    /// What it does now: `listing`, `reading`, `comparing`, `writing`.
    pub doing: String,
    pub done: u64,
    /// Of how many; unknown while secrets are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// `POST /v1/aws/imports/{stack}/{environment}/{id}`: what was imported, or would be. It holds no secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsImported {
    /// What was read at AWS.
    pub secrets: Vec<AwsSecret>,
    /// What becomes of each entry.
    pub entries: Vec<AwsEntry>,
    /// Where several regions were read: what they have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factored: Option<AwsFactored>,
    pub changed: Changed,
}

/// One secret that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsSecret {
    pub secret: String,
    pub aws_region: String,
    pub version_id: String,
    /// The region that it is for; none for the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// `json`, `dotenv`, `plain` or `binary`.
    pub form: String,
    pub entries: u64,
}

/// One entry of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsEntry {
    pub name: EntryName,
    /// `variable` or `file`.
    pub kind: String,
    pub secret: bool,
    /// Why it is a secret, or none.
    pub why: String,
    /// The secret it came from; of several regions, how many.
    pub from: String,
    pub result: AwsResult,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AwsResult {
    New,
    Unchanged,
    Overwritten,
    /// The store has another value, and keeps it.
    Kept,
}

/// What several regions have in common, as [`Factored`](super::Factored) says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsFactored {
    pub values: u64,
    pub base: u64,
    pub overrides: u64,
    pub removals: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tie>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptEntry>,
}

/// `POST /v1/aws/pushes/{stack}/{environment}`: which secrets of AWS are to hold what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AwsPush {
    /// A name, in which `{region}` is the region and, with `each`, `{name}` the entry's name.
    pub secret: String,
    /// Only these regions; all of the environment where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionName>,
    /// What this service gets; what all services get, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The region of AWS to write to. Otherwise it is the region where it is called like one of AWS's, or the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_region: Option<String>,
    /// A secret for each entry, in place of one JSON object.
    #[serde(default)]
    pub each: bool,
    /// Regions of AWS that get replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicate: Vec<String>,
    /// Take away what AWS has in these secrets and the store does not.
    #[serde(default)]
    pub prune: bool,
    /// The key that encrypts new secrets: its id, ARN or alias. The account's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}

/// What a push does, or has done. It holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsPushed {
    pub secrets: Vec<AwsWrite>,
    /// What else is worth knowing, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One secret of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AwsWrite {
    pub secret: String,
    pub aws_region: String,
    /// The region whose values it gets; none where the environment has no regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    pub action: AwsAction,
    /// Keys, or the one entry, that AWS does not have yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Those that have another value there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Those that AWS has and the store does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<String>,
    /// Those of them that are taken away, with `prune`; the others stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<String>,
    /// Regions of AWS that it is replicated to with this push.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// Whether it was done.
    #[serde(default)]
    pub done: bool,
    /// Why it failed; or why it was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What is done with a secret of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AwsAction {
    Create,
    Update,
    /// It holds what it should. It may get replicas.
    Unchanged,
    /// AWS has it and the store does not; it stays.
    Foreign,
    /// AWS deletes it after thirty days, and can restore it until then.
    Delete,
}
