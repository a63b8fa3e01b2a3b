//! Requests and replies of the management API, under `/v1`. `docs/API.md` lists the routes.
//!
//! Times are RFC 3339 in UTC. Requests refuse unknown keys, so that a typo is not a silent default; replies may grow
//! keys, so clients ignore the ones they do not know.

mod aws;
mod changes;
mod openings;
mod regions;

pub use aws::*;
pub use changes::*;
pub use openings::*;
pub use regions::*;

use serde::{Deserialize, Serialize};

use crate::entry::{Delivery, Grant, Layer};
use crate::name::{EntryName, EnvironmentName, NodeName, RegionName, ServiceName, StackName};
use crate::token::{Scope, Verb};
use crate::value::Value;

#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// `GET /v1/health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Health {
    /// Always `live`.
    pub status: String,
    pub version: String,
}

/// `GET /v1/ready`, where it is: a server that is not answers with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Ready {
    /// Always `ready`.
    pub status: String,
}

/// What a stack is made of: `GET` and `PUT /v1/stacks/{stack}`. A `PUT` adds services, and removes none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Stack {
    pub name: StackName,
    pub services: Vec<ServiceName>,
    pub environments: Vec<Environment>,
}

/// One environment of a stack and its declared regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Environment {
    pub name: EnvironmentName,
    pub regions: Vec<RegionName>,
}

/// `GET /v1/stacks`: the stacks the caller may administer or read entries of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct StackList {
    pub stacks: Vec<Stack>,
}

/// `PUT /v1/stacks/{stack}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeclareStack {
    /// Services to add.
    #[serde(default)]
    pub services: Vec<ServiceName>,
}

/// `PUT /v1/stacks/{stack}/environments/{environment}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeclareEnvironment {
    /// Regions to add.
    #[serde(default)]
    pub regions: Vec<RegionName>,
}

/// A machine and the region it is in: `GET`, `PUT` and `DELETE /v1/nodes/{node}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Node {
    pub name: NodeName,
    pub region: RegionName,
    /// When it got this region.
    pub since: String,
    /// The id of the token that said so.
    pub author: String,
    /// The tokens that were revoked together with the node; only in the answer to its removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_tokens: Vec<String>,
}

/// `GET /v1/nodes`: those in the regions that the token reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct NodeList {
    pub nodes: Vec<Node>,
}

/// `PUT /v1/nodes/{node}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlaceNode {
    pub region: RegionName,
}

/// A new version of an entry: `PUT /v1/entries/{stack}/{environment}/{name}?region=…`.
///
/// What is left out stays as it is in the entry's current version, then as it is in the base's; a new entry is a
/// secret variable for all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WriteEntry {
    pub value: Value,
    /// Whether `${…}` in the value is resolved. Said with each value: a literal never becomes a template by accident.
    #[serde(default)]
    pub template: bool,
    /// Whether the value is a reference to an outside source, such as `aws:eu-west-1:app/production#DB_PASSWORD`. What
    /// the source says is then the value, whenever it is read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reference: bool,
    /// Write a reference without looking whether what it names can be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Delivery>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Write only if the entry is at this version in this layer; 0: only if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_version: Option<u64>,
}

impl WriteEntry {
    /// The value as it is; all else as the entry has it, or as it is for a new one.
    #[must_use]
    pub fn literal(value: Value) -> Self {
        Self {
            value,
            template: false,
            reference: false,
            unchecked: false,
            secret: None,
            deliver: None,
            grant: None,
            expect_version: None,
        }
    }
}

/// `POST /v1/entries/{stack}/{environment}`: all of the entries are written, or none is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WriteEntries {
    /// The overlay to write to; the base where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    pub entries: Vec<NamedEntry>,
    /// Check everything and say what would be written, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// One entry of [`WriteEntries`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NamedEntry {
    pub name: EntryName,
    pub entry: WriteEntry,
}

/// The answer to every write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Written {
    /// The store's revision after the write.
    pub revision: u64,
    pub entries: Vec<WrittenEntry>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct WrittenEntry {
    pub name: EntryName,
    pub layer: Layer,
    #[serde(rename = "for")]
    pub grant: Grant,
    /// The version that is current now.
    pub version: u64,
    /// Whether it was written; a value that is already there, with the same attributes, is not written again.
    pub changed: bool,
}

/// Whether a version has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has a value.
    Live,
    /// The entry is no longer set in this layer; what lies under it shows again.
    Deleted,
    /// The overlay takes the entry away in its region, base or no base.
    Removed,
    /// Like deleted; and no version of the entry has a value any more, in this layer and for good.
    Destroyed,
}

/// One version of an entry in one layer, without its value unless it is a plain one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct EntryInfo {
    pub name: EntryName,
    pub layer: Layer,
    #[serde(rename = "for")]
    pub grant: Grant,
    pub version: u64,
    pub state: State,
    pub secret: bool,
    pub template: bool,
    /// What the value refers to, where it is kept in an outside source. It is no secret, whatever it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub deliver: Delivery,
    /// Bytes of the value; of a reference, of its text.
    pub size: u64,
    pub created: String,
    /// The id of the token that wrote it.
    pub author: String,
    /// The value of a plain entry. A secret's is never in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// `GET /v1/entries/{stack}/{environment}?region=…` (base and that overlay; all layers without it) and
/// `GET /v1/entries/{stack}/{environment}/{name}/versions?region=…` (newest first).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct EntryList {
    pub entries: Vec<EntryInfo>,
}

/// `GET /v1/entries/{stack}/{environment}/{name}?region=…&for=…&version=…`: one version as it was written, a template
/// unresolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Entry {
    pub info: EntryInfo,
    pub value: Value,
}

/// `GET /v1/explanations/{stack}/{environment}/{name}?region=…&service=…`: why the service gets the value it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Explanation {
    pub name: EntryName,
    /// The version that won. It is in state `removed` where the region's overlay takes the entry away.
    pub winner: EntryInfo,
    /// What the winner hides, the nearest first.
    pub hidden: Vec<EntryInfo>,
    /// What the winner's template refers to, in the order of the template; empty for a literal.
    pub references: Vec<Reference>,
    /// How it stands with what the winner refers to, where its value is kept in an outside source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
}

/// How it stands with a value that is kept in an outside source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Outside {
    /// When the source said what is served now (RFC 3339); absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<String>,
    /// Whether that is older than it should be, because the source cannot be asked.
    #[serde(default)]
    pub stale: bool,
    /// Why there is no value, or no newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// One reference of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct Reference {
    /// As it stands between the braces: `NAME` or `stack/environment/NAME`.
    pub text: String,
    /// What it resolved to; absent where it did not, and then `fault` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EntryInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How it stands with what that refers to, where its value is kept outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
}

/// `POST /v1/tokens`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for, in the holder's words.
    pub description: String,
    pub verbs: Vec<Verb>,
    /// Where the verbs hold; at least one.
    pub scopes: Vec<Scope>,
    /// Seconds until it expires; never where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// How many requests it is good for; any number where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The node it is bound to: it reaches that node's region, whichever that is, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

/// A token without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct TokenInfo {
    /// `tok_…`: names the token in lists and in the audit log, and lets nobody in.
    pub id: String,
    pub description: String,
    pub verbs: Vec<Verb>,
    pub scopes: Vec<Scope>,
    pub created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Uses that are left, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// The node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

/// The one reply that holds a token's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct CreatedToken {
    pub token: Value,
    pub info: TokenInfo,
}

/// `GET /v1/tokens`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct TokenList {
    pub tokens: Vec<TokenInfo>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The caller may not.
    Refused,
    /// It could not be read, or asked for what cannot be.
    Malformed,
    /// It was allowed, and went wrong.
    Failed,
}

/// One line of the audit log. No field ever holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AuditRecord {
    /// Counts every line from 1.
    pub seq: u64,
    pub time: String,
    /// The token's id, `anonymous`, or `server` for what the server does by itself.
    pub caller: String,
    /// The address the request came from, or `unix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What was asked for: `read-bundle`, `write-entry`, …
    pub action: String,
    /// On what: `stack/environment/layer/entry`, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub outcome: Outcome,
    /// The problem's code and the record at fault, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The entries that were read or written, where it is not all in `target`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// The store's revision after a write; a bundle's revision after a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// HMAC-SHA-256 over the line before and this one, in hex: the chain.
    pub mac: String,
}

/// `GET /v1/audit?entry=…&caller=…&since=…&until=…&limit=…`, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AuditList {
    pub records: Vec<AuditRecord>,
    /// Whether older records match that the limit left out.
    pub truncated: bool,
}

/// `GET /v1/audit/verification`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
pub struct AuditVerification {
    pub intact: bool,
    /// Lines that were checked.
    pub lines: u64,
    /// The first bad line, counting from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad_line: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `local.json` in the server's data directory: how programs of the same user on the same host find the server. It is
/// written when the server listens, and removed when it starts and stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalServer {
    pub pid: u32,
    /// `https://127.0.0.1:8420`
    pub address: String,
    /// `http://127.0.0.1:…`, where plain HTTP was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_address: Option<String>,
    /// The unix socket's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The private CA's certificate, PEM.
    pub ca_file: String,
    /// `sha256:` and the hex SHA-256 of the CA's certificate (DER), for those who would rather pin than copy a file.
    pub ca_fingerprint: String,
    /// The admin token of the first start, mode 0600.
    pub token_file: String,
}
