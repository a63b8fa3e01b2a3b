//! Rows that are believed: every look-up here checks the mac, the manifest or the tag of what it returns.

use chandlery_wire::api::State;
use chandlery_wire::{Code, EntryName, EnvironmentName, Layer, NodeName, StackName, Value};

use super::Error;
use super::attributes::{Attributes, revision_of};
use super::draft::{Content, named};
use super::moment::Moment;
use crate::crypto::{
    Definition, Keyring, LayerHeader, ManifestLine, NodeFields, OpeningFields, RecordHeader, TokenFields, is_destroyed,
};
use crate::store::{
    EnvironmentRow, LayerContent, LayerKey, LayerRow, LayerTags, NodeRow, OpeningRow, Row, Snapshot, StackRow,
    StoreError, TAG_BYTES, TagRow, TokenRow,
};

/// Reads from one snapshot with one keyring; where a moment is named, the entries as they were then. What is declared is
/// always what is declared now.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) snapshot: &'a dyn Snapshot,
    pub(super) keyring: &'a Keyring,
    moment: Option<Moment>,
}

impl<'a> Records<'a> {
    pub(super) fn new(snapshot: &'a dyn Snapshot, keyring: &'a Keyring) -> Self {
        Self { snapshot, keyring, moment: None }
    }

    pub(super) fn as_of(self, moment: Option<Moment>) -> Self {
        Self { moment, ..self }
    }

    pub(super) fn stack(&self, name: &StackName) -> Result<StackRow, Error> {
        let row = self.snapshot.stack(name)?.ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no stack named {name}"))
                .hint(format!("declare it: chandlery init {name}"))
        })?;
        self.checked_stack(row)
    }

    pub(super) fn stacks(&self) -> Result<Vec<StackRow>, Error> {
        self.snapshot.stacks()?.into_iter().map(|row| self.checked_stack(row)).collect()
    }

    fn checked_stack(&self, row: StackRow) -> Result<StackRow, Error> {
        Definition::Stack { name: &row.name, services: &row.services }.verify(self.keyring, &row.mac)?;
        Ok(row)
    }

    pub(super) fn find_environment(
        &self,
        stack: &StackName,
        name: &EnvironmentName,
    ) -> Result<Option<EnvironmentRow>, Error> {
        self.snapshot.environment(stack, name)?.map(|row| self.checked_environment(row)).transpose()
    }

    pub(super) fn environment(&self, stack: &StackName, name: &EnvironmentName) -> Result<EnvironmentRow, Error> {
        self.find_environment(stack, name)?.ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no environment named {name} in a stack named {stack}"))
                .hint(format!("declare it: chandlery init {stack} --environment {name}"))
        })
    }

    pub(super) fn environments(&self, stack: &StackName) -> Result<Vec<EnvironmentRow>, Error> {
        self.snapshot.environments(stack)?.into_iter().map(|row| self.checked_environment(row)).collect()
    }

    fn checked_environment(&self, row: EnvironmentRow) -> Result<EnvironmentRow, Error> {
        let definition = Definition::Environment { stack: &row.stack, name: &row.name, regions: &row.regions };
        definition.verify(self.keyring, &row.mac)?;
        Ok(row)
    }

    /// A declared layer with its current rows, each in its place.
    pub(super) fn layer(&self, key: &LayerKey) -> Result<LayerContent, Error> {
        if let Some(moment) = self.moment {
            return self.past_layer(key, moment);
        }
        let content = self.snapshot.layer(key)?.ok_or_else(|| layer_missing(key))?;
        let lines = content.rows.iter().map(|row| ManifestLine {
            name: &row.name,
            grant: &row.grant,
            version: row.version,
            state: row.state,
            tag: tag_of(&row.sealed),
        });
        match header(key, content.layer.revision).verify(self.keyring, lines, &content.layer.manifest) {
            Ok(()) => Ok(content),
            Err(broken) => Err(self.culprit(key, &content.rows).unwrap_or_else(|| broken.into())),
        }
    }

    /// The row to name where a manifest does not fit: one that is not as it was written, or not the newest of its
    /// name. None, where a row is simply missing, or one too many was authentic once.
    fn culprit(&self, key: &LayerKey, rows: &[Row]) -> Option<Error> {
        if let Some(changed) = rows.iter().find_map(|row| self.authenticate(key, row).err()) {
            return Some(changed);
        }
        // A row that was put back stands in the history as well, or has a later one there.
        let older = rows.iter().find(|row| {
            let versions = self.snapshot.versions(key, &row.name).unwrap_or_default();
            let current = rows.iter().filter(|other| other.name == row.name).map(|other| other.version).max();
            versions.windows(2).any(|pair| pair[0].version == pair[1].version)
                || versions.iter().map(|version| version.version).max() > current
        })?;
        let detail = format!("{key}/{}: version {} is not its newest; it is not served", older.name, older.version);
        Some(Error::new(Code::Integrity, detail).hint("find out who can write to the database, then restore a backup"))
    }

    /// What [`Records::layer`] gives, without the ciphertexts.
    pub(super) fn layer_tags(&self, key: &LayerKey) -> Result<LayerTags, Error> {
        let tags = self.snapshot.layer_tags(key)?.ok_or_else(|| layer_missing(key))?;
        header(key, tags.layer.revision).verify(self.keyring, lines(&tags.rows), &tags.layer.manifest)?;
        Ok(tags)
    }

    /// All versions of an entry in one layer, newest first, each linked to the one before.
    pub(super) fn versions(&self, key: &LayerKey, name: &EntryName) -> Result<Vec<Row>, Error> {
        let tags = self.layer_tags(key)?;
        let rows = self.snapshot.versions(key, name)?;
        self.linked(key, name, &tags.rows, &rows)?;
        Ok(rows)
    }

    /// The layer as it was. The current rows are in the manifest, and each version names the tag of the one before: so the
    /// whole history is as authentic as what is current.
    fn past_layer(&self, key: &LayerKey, moment: Moment) -> Result<LayerContent, Error> {
        let tags = self.layer_tags(key)?;
        let history = self.snapshot.history(key)?;
        let mut known: Vec<&EntryName> = tags.rows.iter().map(|tag| &tag.name).collect();
        known.dedup();
        let mut rows = Vec::new();
        let mut revision = 0;
        let mut versions = history.chunk_by(|one, other| one.name == other.name);
        for name in known {
            let versions = versions.next().filter(|rows| &rows[0].name == name).unwrap_or_default();
            self.linked(key, name, &tags.rows, versions)?;
            let mut then: Vec<&Row> = Vec::new();
            for row in versions {
                if moment.includes(row)? && !then.iter().any(|newer| newer.grant == row.grant) {
                    then.push(row);
                }
            }
            then.sort_by_key(|row| row.grant.to_string());
            for row in then {
                revision = revision_of(row)?.max(revision);
                rows.push(row.clone());
            }
        }
        Ok(LayerContent { layer: LayerRow { revision, ..tags.layer }, rows })
    }

    /// That these are all versions of the entry: from the newest, which is current, without a gap, down to the first.
    fn linked(&self, key: &LayerKey, name: &EntryName, current: &[TagRow], rows: &[Row]) -> Result<(), Error> {
        let damaged = || {
            Error::new(
                Code::Integrity,
                format!("{key}/{name}: a version is missing from the history, or was replaced; it is not served"),
            )
            .hint("find out who can write to the database, then restore a backup")
        };
        let newest = named(current, name).iter().map(|tag| tag.version).max();
        if rows.first().map(|row| row.version) != newest {
            return Err(damaged());
        }
        for (at, row) in rows.iter().enumerate() {
            let before = rows.get(at + 1);
            let expected = before.map(|row| tag_of(&row.sealed)).unwrap_or_default();
            // The first has none before it.
            let follows = before.map_or(row.version == 1, |before| before.version + 1 == row.version);
            if !follows || row.previous != expected {
                return Err(damaged());
            }
            self.authenticate(key, row)?;
        }
        Ok(())
    }

    /// That a row's columns are as they were written, where its value is not wanted: the manifest covers the tag, and the
    /// tag covers the columns.
    pub(super) fn authenticate(&self, key: &LayerKey, row: &Row) -> Result<(), Error> {
        Ok(record(key, row).authenticate(self.keyring, &row.sealed)?)
    }

    /// The plaintext of a row.
    pub(super) fn open(&self, key: &LayerKey, row: &Row) -> Result<Value, Error> {
        if is_destroyed(&row.sealed) {
            self.authenticate(key, row)?;
            return Err(destroyed(key, row));
        }
        Ok(record(key, row).open(self.keyring, &row.sealed)?)
    }

    /// What a row puts in its place.
    pub(super) fn content(&self, key: &LayerKey, row: &Row) -> Result<Content, Error> {
        Ok(Content { state: row.state, attributes: Attributes::of(row)?, value: self.open(key, row)? })
    }

    /// All layers of an environment: the base, and the overlays of its regions.
    pub(super) fn layers(&self, environment: &EnvironmentRow) -> Vec<LayerKey> {
        let base = base_of(&environment.stack, &environment.name);
        let overlays =
            environment.regions.iter().map(|region| LayerKey { layer: Layer::Overlay(region.clone()), ..base.clone() });
        std::iter::once(base.clone()).chain(overlays.collect::<Vec<_>>()).collect()
    }

    /// The revision at which anything of an environment last changed.
    pub(super) fn revision_of(&self, environment: &EnvironmentRow) -> Result<u64, Error> {
        self.layers(environment).iter().try_fold(0, |newest, key| {
            let layer = self.snapshot.layer_row(key)?.ok_or_else(|| layer_missing(key))?;
            Ok(newest.max(layer.revision))
        })
    }

    pub(super) fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, Error> {
        let Some(row) = self.snapshot.token_by_hash(hash)? else { return Ok(None) };
        self.tokens()?;
        Ok(Some(row))
    }

    pub(super) fn token_by_id(&self, id: &str) -> Result<Option<TokenRow>, Error> {
        Ok(self.tokens()?.into_iter().find(|row| row.id == id))
    }

    /// All tokens, each as it was written and none put back, dropped or slipped in.
    pub(super) fn tokens(&self) -> Result<Vec<TokenRow>, Error> {
        let rows = self.snapshot.tokens()?;
        for row in &rows {
            Definition::Token(token_fields(row)).verify(self.keyring, &row.mac)?;
        }
        let stored = self.snapshot.meta(TOKENS_MAC)?.unwrap_or_default();
        // A mac of another length is no mac of ours.
        let stored = stored.try_into().unwrap_or([0; 32]);
        Definition::Tokens { macs: &token_macs(&rows) }.verify(self.keyring, &stored)?;
        Ok(rows)
    }

    /// All nodes, each as it was written and none put back to where it was before.
    pub(super) fn nodes(&self) -> Result<Vec<NodeRow>, Error> {
        let rows = self.snapshot.nodes()?;
        for row in &rows {
            Definition::Node(node_fields(row)).verify(self.keyring, &row.mac)?;
        }
        match self.snapshot.meta(NODES_MAC)? {
            // A store that never had a node.
            None if rows.is_empty() => {}
            stored => {
                let stored = stored.and_then(|mac| mac.try_into().ok()).unwrap_or([0; 32]);
                Definition::Nodes { macs: &node_macs(&rows) }.verify(self.keyring, &stored)?;
            }
        }
        Ok(rows)
    }

    /// All openings, each as it was written and none that was closed.
    pub(super) fn openings(&self) -> Result<Vec<OpeningRow>, Error> {
        let rows = self.snapshot.openings()?;
        for row in &rows {
            Definition::Opening(opening_fields(row)).verify(self.keyring, &row.mac)?;
        }
        match self.snapshot.meta(OPENINGS_MAC)? {
            // A store that never had one.
            None if rows.is_empty() => {}
            stored => {
                let stored = stored.and_then(|mac| mac.try_into().ok()).unwrap_or([0; 32]);
                Definition::Openings { macs: &opening_macs(&rows) }.verify(self.keyring, &stored)?;
            }
        }
        Ok(rows)
    }

    pub(super) fn find_node(&self, name: &NodeName) -> Result<Option<NodeRow>, Error> {
        Ok(self.nodes()?.into_iter().find(|row| row.name == *name))
    }

    pub(super) fn node(&self, name: &NodeName) -> Result<NodeRow, Error> {
        self.find_node(name)?.ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no node named {name}"))
                .hint(format!("register it with its region: chandlery node add {name} --region REGION"))
        })
    }
}

/// Where the mac over all nodes is kept.
pub(super) const NODES_MAC: &str = "nodes-mac";

/// The mac over all nodes as they are now.
pub(super) fn sign_nodes(snapshot: &dyn Snapshot, keyring: &Keyring) -> Result<[u8; 32], StoreError> {
    Ok(Definition::Nodes { macs: &node_macs(&snapshot.nodes()?) }.sign(keyring))
}

/// The store gives them in the order of their names.
fn node_macs(rows: &[NodeRow]) -> Vec<[u8; 32]> {
    rows.iter().map(|row| row.mac).collect()
}

/// Where the mac over all openings is kept.
pub(super) const OPENINGS_MAC: &str = "openings-mac";

/// The mac over all openings as they are now.
pub(super) fn sign_openings(snapshot: &dyn Snapshot, keyring: &Keyring) -> Result<[u8; 32], StoreError> {
    Ok(Definition::Openings { macs: &opening_macs(&snapshot.openings()?) }.sign(keyring))
}

/// The store gives them sorted.
fn opening_macs(rows: &[OpeningRow]) -> Vec<[u8; 32]> {
    rows.iter().map(|row| row.mac).collect()
}

pub(super) fn opening_fields(row: &OpeningRow) -> OpeningFields<'_> {
    OpeningFields {
        stack: &row.stack,
        environment: &row.environment,
        project: &row.project,
        images: &row.images,
        allow_exec: row.allow_exec,
        revision: row.revision,
        created: row.created,
        author: &row.author,
    }
}

pub(super) fn node_fields(row: &NodeRow) -> NodeFields<'_> {
    NodeFields {
        name: &row.name,
        region: &row.region,
        revision: row.revision,
        created: row.created,
        author: &row.author,
    }
}

/// Where the mac over all tokens is kept.
pub(super) const TOKENS_MAC: &str = "tokens-mac";

/// The mac over all tokens as they are now.
pub(super) fn sign_tokens(snapshot: &dyn Snapshot, keyring: &Keyring) -> Result<[u8; 32], StoreError> {
    Ok(Definition::Tokens { macs: &token_macs(&snapshot.tokens()?) }.sign(keyring))
}

fn token_macs(rows: &[TokenRow]) -> Vec<[u8; 32]> {
    let mut rows: Vec<&TokenRow> = rows.iter().collect();
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    rows.into_iter().map(|row| row.mac).collect()
}

fn layer_missing(key: &LayerKey) -> Error {
    Error::new(Code::Integrity, format!("{key}: the layer is declared and is not there; it is not served"))
        .hint("find out who can write to the database, then restore a backup")
}

pub(super) fn destroyed(key: &LayerKey, row: &Row) -> Error {
    Error::new(Code::NotFound, format!("the value of {key}/{}, version {}, was destroyed", row.name, row.version))
        .hint("it is gone for good; set it again")
}

pub(super) fn header(key: &LayerKey, revision: u64) -> LayerHeader<'_> {
    LayerHeader { stack: &key.stack, environment: &key.environment, layer: &key.layer, revision }
}

pub(super) fn lines(rows: &[TagRow]) -> impl Iterator<Item = ManifestLine<'_>> + Clone {
    rows.iter().map(|row| ManifestLine {
        name: &row.name,
        grant: &row.grant,
        version: row.version,
        state: row.state,
        tag: &row.tag,
    })
}

pub(super) fn record<'a>(key: &'a LayerKey, row: &'a Row) -> RecordHeader<'a> {
    RecordHeader {
        stack: &key.stack,
        environment: &key.environment,
        layer: &key.layer,
        name: &row.name,
        grant: &row.grant,
        version: row.version,
        state: row.state,
        attributes: &row.attributes,
        created: row.created,
        author: &row.author,
        previous: &row.previous,
    }
}

/// The tag at a ciphertext's end; of one that is too short, what there is.
pub(super) fn tag_of(sealed: &[u8]) -> &[u8] {
    &sealed[sealed.len().saturating_sub(TAG_BYTES)..]
}

pub(super) fn token_fields(row: &TokenRow) -> TokenFields<'_> {
    TokenFields {
        id: &row.id,
        hash: &row.hash,
        description: &row.description,
        verbs: &row.verbs,
        scopes: &row.scopes,
        created: row.created,
        created_by: &row.created_by,
        expires: row.expires,
        uses_left: row.uses_left,
        revoked: row.revoked,
        node: row.node.as_ref(),
    }
}

pub(super) fn base_of(stack: &StackName, environment: &EnvironmentName) -> LayerKey {
    LayerKey { stack: stack.clone(), environment: environment.clone(), layer: Layer::Base }
}

pub(super) fn is_set(state: State) -> bool {
    matches!(state, State::Live | State::Removed)
}
