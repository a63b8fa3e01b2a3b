//! What the store keeps, as plain data. A `mac`, `manifest` or `sealed` is made and checked by whoever holds the keys.

use chandlery_wire::api::State;
use chandlery_wire::{
    EntryName, EnvironmentName, Grant, Layer, NodeName, ProjectName, RegionName, ServiceName, StackName,
};

/// Bytes of a ciphertext's authentication tag, which stands at its end.
pub const TAG_BYTES: usize = 16;

/// Which layer: the base of an environment, or the overlay of one of its regions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerKey {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub layer: Layer,
}

impl std::fmt::Display for LayerKey {
    /// `stack/environment/layer`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.stack, self.environment, self.layer)
    }
}

/// The state of a whole layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    /// The store's revision at which it last changed.
    pub revision: u64,
    /// The mac over its current rows.
    pub manifest: [u8; 32],
}

/// One version of an entry in one layer for one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: EntryName,
    pub grant: Grant,
    /// Counts from 1 for the name in its layer, across grants.
    pub version: u64,
    pub state: State,
    /// JSON: what the entry is besides its value.
    pub attributes: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// The id of the token that wrote it.
    pub author: String,
    /// The tag of the version before this one under any grant; empty for version 1.
    pub previous: Vec<u8>,
    pub sealed: Vec<u8>,
}

/// A layer and its current rows, sorted by name and then by the grant's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerContent {
    pub layer: LayerRow,
    pub rows: Vec<Row>,
}

/// What a manifest covers of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    pub name: EntryName,
    pub grant: Grant,
    pub version: u64,
    pub state: State,
    /// The last bytes of the row's ciphertext.
    pub tag: [u8; TAG_BYTES],
}

/// A layer and what its manifest covers, sorted as [`LayerContent`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTags {
    pub layer: LayerRow,
    pub rows: Vec<TagRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackRow {
    pub name: StackName,
    pub services: Vec<ServiceName>,
    pub mac: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRow {
    pub stack: StackName,
    pub name: EnvironmentName,
    pub regions: Vec<RegionName>,
    pub mac: [u8; 32],
}

/// A machine and its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub name: NodeName,
    pub region: RegionName,
    /// The store's revision at which it got this region.
    pub revision: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// The id of the token that wrote it.
    pub author: String,
    pub mac: [u8; 32],
}

/// An environment that the containers of a project reach without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningRow {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub project: ProjectName,
    /// JSON: the images that each service may have.
    pub images: String,
    pub allow_exec: bool,
    /// The store's revision at which it was opened so.
    pub revision: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// The id of the token that wrote it.
    pub author: String,
    pub mac: [u8; 32],
}

/// A token, by its hash. Times are milliseconds since 1970-01-01 UTC.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// `tok_…`
    pub id: String,
    pub hash: [u8; 32],
    pub description: String,
    /// JSON: the list of verbs.
    pub verbs: String,
    /// JSON: the list of scopes.
    pub scopes: String,
    pub created: i64,
    pub created_by: String,
    pub expires: Option<i64>,
    pub uses_left: Option<u32>,
    pub revoked: Option<i64>,
    /// The node it is bound to.
    pub node: Option<NodeName>,
    pub mac: [u8; 32],
}

impl std::fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRow").field("id", &self.id).field("revoked", &self.revoked).finish_non_exhaustive()
    }
}

/// A key as it is stored: wrapped. What the bytes are is none of the store's business.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub id: u32,
    pub purpose: String,
    pub wrapped: Vec<u8>,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// How many values a data key has encrypted.
    pub encryptions: u64,
}

impl std::fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, purpose, encryptions, .. } = self;
        write!(f, "KeyRow({id}, {purpose}, {encryptions} encryptions)")
    }
}
