//! From columns to rows. Whoever can write the file can write anything into it, so every column is parsed, and one that
//! cannot be is an error that names the record.

use std::fmt::{self, Display};
use std::str::FromStr;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, NodeName, StackName};
use rusqlite::types::FromSql;
use serde::de::DeserializeOwned;

use super::super::{
    EnvironmentRow, KeyRow, LayerKey, NodeRow, OpeningRow, Row, StackRow, StoreError, TagRow, TokenRow,
};

pub(super) const ENTRY_COLUMNS: &str = "name, grant, version, state, attributes, created, author, previous, sealed";
pub(super) const TOKEN_COLUMNS: &str =
    "id, hash, description, verbs, scopes, created, created_by, expires, uses_left, revoked, mac, node";

/// One row that was found. The numbers are those of the columns in the statement.
pub(super) struct Columns<'r>(pub(super) &'r rusqlite::Row<'r>);

impl Columns<'_> {
    pub(super) fn value<T: FromSql>(&self, index: usize, record: &dyn Display) -> Result<T, StoreError> {
        self.0.get(index).map_err(|_| self.damaged(index, record, "is not of its type"))
    }

    /// A number that counts something.
    pub(super) fn number(&self, index: usize, record: &dyn Display) -> Result<u64, StoreError> {
        u64::try_from(self.value::<i64>(index, record)?).map_err(|_| self.damaged(index, record, "is negative"))
    }

    pub(super) fn bytes<const N: usize>(&self, index: usize, record: &dyn Display) -> Result<[u8; N], StoreError> {
        let bytes = self.0.get_ref(index).ok().and_then(|value| value.as_blob().ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| self.damaged(index, record, &format!("does not have {N} bytes")))
    }

    fn text(&self, index: usize, record: &dyn Display) -> Result<&str, StoreError> {
        let text = self.0.get_ref(index).ok().and_then(|value| value.as_str().ok());
        text.ok_or_else(|| self.damaged(index, record, "is not text"))
    }

    fn parsed<T: FromStr<Err: Display>>(&self, index: usize, record: &dyn Display) -> Result<T, StoreError> {
        self.text(index, record)?
            .parse()
            .map_err(|error| self.damaged(index, record, &format!("cannot be read back: {error}")))
    }

    /// A name that may be absent.
    fn optional<T: FromStr<Err: Display>>(&self, index: usize, record: &dyn Display) -> Result<Option<T>, StoreError> {
        let absent = self.0.get_ref(index).is_ok_and(|value| value == rusqlite::types::ValueRef::Null);
        if absent { Ok(None) } else { self.parsed(index, record).map(Some) }
    }

    fn json<T: DeserializeOwned>(&self, index: usize, record: &dyn Display) -> Result<T, StoreError> {
        serde_json::from_str(self.text(index, record)?)
            .map_err(|error| self.damaged(index, record, &format!("cannot be read back: {error}")))
    }

    /// A grant as we write it: parsing is more lenient, and two spellings of one grant would be two rows.
    fn grant(&self, index: usize, record: &dyn Display) -> Result<Grant, StoreError> {
        let text = self.text(index, record)?;
        if text == "all" {
            return Ok(Grant::All);
        }
        let grant: Grant = self.parsed(index, record)?;
        match grant.to_string() == text {
            true => Ok(grant),
            false => Err(self.damaged(index, record, "is not spelled as it should be")),
        }
    }

    fn state(&self, index: usize, record: &dyn Display) -> Result<State, StoreError> {
        let text = self.text(index, record)?;
        let states = [State::Live, State::Deleted, State::Removed, State::Destroyed];
        let state = states.into_iter().find(|state| state_text(*state) == text);
        state.ok_or_else(|| self.damaged(index, record, "is none of live, deleted, removed and destroyed"))
    }

    fn damaged(&self, index: usize, record: &dyn Display, reason: &str) -> StoreError {
        let column = self.0.as_ref().column_name(index).unwrap_or("?");
        StoreError::damaged(record, format_args!("its column {column} {reason}"))
    }
}

/// An entry of a layer, by the name that its row has.
pub(super) struct EntryRecord<'a>(pub(super) &'a LayerKey, pub(super) &'a str);

impl Display for EntryRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1.escape_debug())
    }
}

pub(super) fn state_text(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Deleted => "deleted",
        State::Removed => "removed",
        State::Destroyed => "destroyed",
    }
}

/// [`ENTRY_COLUMNS`]
pub(super) fn entry(columns: &Columns<'_>, key: &LayerKey) -> Result<Row, StoreError> {
    let name: EntryName = columns.parsed(0, &EntryRecord(key, columns.text(0, key)?))?;
    let record = EntryRecord(key, name.as_str());
    Ok(Row {
        grant: columns.grant(1, &record)?,
        version: columns.number(2, &record)?,
        state: columns.state(3, &record)?,
        attributes: columns.value(4, &record)?,
        created: columns.value(5, &record)?,
        author: columns.value(6, &record)?,
        previous: columns.value(7, &record)?,
        sealed: columns.value(8, &record)?,
        name,
    })
}

/// `name, grant, version, state, tag`
pub(super) fn tag(columns: &Columns<'_>, key: &LayerKey) -> Result<TagRow, StoreError> {
    let name: EntryName = columns.parsed(0, &EntryRecord(key, columns.text(0, key)?))?;
    let record = EntryRecord(key, name.as_str());
    Ok(TagRow {
        grant: columns.grant(1, &record)?,
        version: columns.number(2, &record)?,
        state: columns.state(3, &record)?,
        tag: columns.bytes(4, &record)?,
        name,
    })
}

/// `layer, revision`
pub(super) fn layer(
    columns: &Columns<'_>,
    stack: &StackName,
    environment: &EnvironmentName,
) -> Result<(Layer, u64), StoreError> {
    let record = format_args!("a layer of {stack}/{environment}");
    Ok((columns.parsed(0, &record)?, columns.number(1, &record)?))
}

/// `name, services, mac`
pub(super) fn stack(columns: &Columns<'_>) -> Result<StackRow, StoreError> {
    let name: StackName = columns.parsed(0, &"a stack")?;
    let record = format!("stack {name}");
    Ok(StackRow { services: columns.json(1, &record)?, mac: columns.bytes(2, &record)?, name })
}

/// `name, regions, mac`
pub(super) fn environment(columns: &Columns<'_>, stack: &StackName) -> Result<EnvironmentRow, StoreError> {
    let name: EnvironmentName = columns.parsed(0, &format_args!("an environment of {stack}"))?;
    let record = format!("environment {stack}/{name}");
    let (regions, mac) = (columns.json(1, &record)?, columns.bytes(2, &record)?);
    Ok(EnvironmentRow { stack: stack.clone(), name, regions, mac })
}

/// [`TOKEN_COLUMNS`]
pub(super) fn token(columns: &Columns<'_>) -> Result<TokenRow, StoreError> {
    let id: String = columns.value(0, &"a token")?;
    let record = format!("token {}", id.escape_debug());
    Ok(TokenRow {
        hash: columns.bytes(1, &record)?,
        description: columns.value(2, &record)?,
        verbs: columns.value(3, &record)?,
        scopes: columns.value(4, &record)?,
        created: columns.value(5, &record)?,
        created_by: columns.value(6, &record)?,
        expires: columns.value(7, &record)?,
        uses_left: columns.value(8, &record)?,
        revoked: columns.value(9, &record)?,
        mac: columns.bytes(10, &record)?,
        node: columns.optional(11, &record)?,
        id,
    })
}

/// `name, region, revision, created, author, mac`
pub(super) fn node(columns: &Columns<'_>) -> Result<NodeRow, StoreError> {
    let name: NodeName = columns.parsed(0, &"a node")?;
    let record = format!("node {name}");
    Ok(NodeRow {
        region: columns.parsed(1, &record)?,
        revision: columns.number(2, &record)?,
        created: columns.value(3, &record)?,
        author: columns.value(4, &record)?,
        mac: columns.bytes(5, &record)?,
        name,
    })
}

pub(super) const OPENING_COLUMNS: &str =
    "stack, environment, project, images, allow_exec, revision, created, author, mac";

/// [`OPENING_COLUMNS`]
pub(super) fn opening(columns: &Columns<'_>) -> Result<OpeningRow, StoreError> {
    let stack = columns.parsed(0, &"an opening")?;
    let record = format!("an opening of {stack}");
    Ok(OpeningRow {
        environment: columns.parsed(1, &record)?,
        project: columns.parsed(2, &record)?,
        images: columns.value(3, &record)?,
        allow_exec: columns.value(4, &record)?,
        revision: columns.number(5, &record)?,
        created: columns.value(6, &record)?,
        author: columns.value(7, &record)?,
        mac: columns.bytes(8, &record)?,
        stack,
    })
}

/// `id, purpose, wrapped, created, encryptions`
pub(super) fn key(columns: &Columns<'_>) -> Result<KeyRow, StoreError> {
    let id: u32 = columns.value(0, &"a key of the keyring")?;
    let record = format!("key {id} of the keyring");
    Ok(KeyRow {
        id,
        purpose: columns.value(1, &record)?,
        wrapped: columns.value(2, &record)?,
        created: columns.value(3, &record)?,
        encryptions: columns.number(4, &record)?,
    })
}
