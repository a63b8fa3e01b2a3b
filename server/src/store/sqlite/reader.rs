//! Reading rows back.

use std::cell::RefCell;

use chandlery_wire::{EntryName, EnvironmentName, Layer, StackName};
use rusqlite::{Connection, Params};

use super::super::{
    EnvironmentRow, KeyRow, LayerContent, LayerKey, LayerRow, LayerTags, NodeRow, OpeningRow, Row, Snapshot, StackRow,
    StoreError, TAG_BYTES, TokenRow,
};
use super::rows::{self, Columns, ENTRY_COLUMNS, OPENING_COLUMNS, TOKEN_COLUMNS};
use super::schema;

/// A connection within a transaction: what a [`Snapshot`] and a [`super::super::Transaction`] see.
pub(super) struct View<'c> {
    connection: &'c Connection,
    /// The last failure that was SQLite's and not the row's.
    fault: RefCell<Option<StoreError>>,
}

impl<'c> View<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, fault: RefCell::new(None) }
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    pub(super) fn take_fault(&self) -> Option<StoreError> {
        self.fault.take()
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        statement.execute(params).map_err(|error| self.failed(error))
    }

    pub(super) fn many<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Columns<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut found = statement.query(params).map_err(|error| self.failed(error))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(|error| self.failed(error))? {
            rows.push(read(&Columns(row))?);
        }
        Ok(rows)
    }

    /// The first row, of statements that find one or none.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Columns<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.many(sql, params, read)?.into_iter().next())
    }

    pub(super) fn find_layer(&self, key: &LayerKey) -> Result<Option<(i64, LayerRow)>, StoreError> {
        let sql = "SELECT id, revision, manifest FROM layers WHERE stack = ?1 AND environment = ?2 AND layer = ?3";
        let params = (key.stack.as_str(), key.environment.as_str(), key.layer.as_str());
        self.one(sql, params, |columns| {
            let layer = LayerRow { revision: columns.number(1, key)?, manifest: columns.bytes(2, key)? };
            Ok((columns.value(0, key)?, layer))
        })
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        let error = schema::error(error);
        self.fault.replace(Some(error.clone()));
        error
    }
}

impl Snapshot for View<'_> {
    fn revision(&self) -> Result<u64, StoreError> {
        let record = "the store's revision";
        let revision = self.one("SELECT revision FROM store", [], |columns| columns.number(0, &record))?;
        revision.ok_or_else(|| StoreError::damaged(record, "its row is gone"))
    }

    fn stacks(&self) -> Result<Vec<StackRow>, StoreError> {
        self.many("SELECT name, services, mac FROM stacks ORDER BY name", [], rows::stack)
    }

    fn stack(&self, name: &StackName) -> Result<Option<StackRow>, StoreError> {
        self.one("SELECT name, services, mac FROM stacks WHERE name = ?1", [name.as_str()], rows::stack)
    }

    fn environments(&self, stack: &StackName) -> Result<Vec<EnvironmentRow>, StoreError> {
        let sql = "SELECT name, regions, mac FROM environments WHERE stack = ?1 ORDER BY name";
        self.many(sql, [stack.as_str()], |columns| rows::environment(columns, stack))
    }

    fn environment(&self, stack: &StackName, name: &EnvironmentName) -> Result<Option<EnvironmentRow>, StoreError> {
        let sql = "SELECT name, regions, mac FROM environments WHERE stack = ?1 AND name = ?2";
        self.one(sql, (stack.as_str(), name.as_str()), |columns| rows::environment(columns, stack))
    }

    fn layer_row(&self, key: &LayerKey) -> Result<Option<LayerRow>, StoreError> {
        Ok(self.find_layer(key)?.map(|(_, layer)| layer))
    }

    fn layer(&self, key: &LayerKey) -> Result<Option<LayerContent>, StoreError> {
        let Some((id, layer)) = self.find_layer(key)? else { return Ok(None) };
        let sql = concat!(
            "SELECT name, grant, version, state, attributes, created, author, previous, sealed ",
            "FROM current_entries WHERE layer_id = ?1 ORDER BY name, grant"
        );
        let rows = self.many(sql, [id], |columns| rows::entry(columns, key))?;
        Ok(Some(LayerContent { layer, rows }))
    }

    fn layer_tags(&self, key: &LayerKey) -> Result<Option<LayerTags>, StoreError> {
        let Some((id, layer)) = self.find_layer(key)? else { return Ok(None) };
        let sql = concat!(
            "SELECT name, grant, version, state, substr(sealed, -16) ",
            "FROM current_entries WHERE layer_id = ?1 ORDER BY name, grant"
        );
        let rows = self.many(sql, [id], |columns| rows::tag(columns, key))?;
        Ok(Some(LayerTags { layer, rows }))
    }

    fn layer_revisions(
        &self,
        stack: &StackName,
        environment: &EnvironmentName,
    ) -> Result<Vec<(Layer, u64)>, StoreError> {
        let sql = "SELECT layer, revision FROM layers WHERE stack = ?1 AND environment = ?2 ORDER BY layer";
        self.many(sql, (stack.as_str(), environment.as_str()), |columns| rows::layer(columns, stack, environment))
    }

    fn versions(&self, key: &LayerKey, name: &EntryName) -> Result<Vec<Row>, StoreError> {
        let Some((id, _)) = self.find_layer(key)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM current_entries WHERE layer_id = ?1 AND name = ?2 UNION ALL \
             SELECT {ENTRY_COLUMNS} FROM past_entries WHERE layer_id = ?1 AND name = ?2 ORDER BY version DESC"
        );
        self.many(&sql, (id, name.as_str()), |columns| rows::entry(columns, key))
    }

    fn history(&self, key: &LayerKey) -> Result<Vec<Row>, StoreError> {
        let Some((id, _)) = self.find_layer(key)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM current_entries WHERE layer_id = ?1 UNION ALL \
             SELECT {ENTRY_COLUMNS} FROM past_entries WHERE layer_id = ?1 ORDER BY name, version DESC"
        );
        self.many(&sql, [id], |columns| rows::entry(columns, key))
    }

    fn version(&self, key: &LayerKey, name: &EntryName, version: u64) -> Result<Option<Row>, StoreError> {
        let Some((id, _)) = self.find_layer(key)? else { return Ok(None) };
        // A number that no row can have finds none.
        let Ok(version) = i64::try_from(version) else { return Ok(None) };
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM current_entries WHERE layer_id = ?1 AND name = ?2 AND version = ?3 UNION ALL \
             SELECT {ENTRY_COLUMNS} FROM past_entries WHERE layer_id = ?1 AND name = ?2 AND version = ?3"
        );
        self.one(&sql, (id, name.as_str(), version), |columns| rows::entry(columns, key))
    }

    fn latest(&self, key: &LayerKey, name: &EntryName) -> Result<Option<(u64, [u8; TAG_BYTES])>, StoreError> {
        let Some((id, _)) = self.find_layer(key)? else { return Ok(None) };
        // The newest of all versions is the newest of its own grant, and so it is current.
        let sql = concat!(
            "SELECT version, substr(sealed, -16) FROM current_entries ",
            "WHERE layer_id = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1"
        );
        self.one(sql, (id, name.as_str()), |columns| {
            let record = rows::EntryRecord(key, name.as_str());
            Ok((columns.number(0, &record)?, columns.bytes(1, &record)?))
        })
    }

    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        self.one(&format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE hash = ?1"), [hash], rows::token)
    }

    fn token_by_id(&self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        self.one(&format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = ?1"), [id], rows::token)
    }

    fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.many(&format!("SELECT {TOKEN_COLUMNS} FROM tokens ORDER BY created, id"), [], rows::token)
    }

    fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.many("SELECT name, region, revision, created, author, mac FROM nodes ORDER BY name", [], rows::node)
    }

    fn openings(&self) -> Result<Vec<OpeningRow>, StoreError> {
        let sql = format!("SELECT {OPENING_COLUMNS} FROM openings ORDER BY stack, environment, project");
        self.many(&sql, [], rows::opening)
    }

    fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.many("SELECT id, purpose, wrapped, created, encryptions FROM keys ORDER BY id", [], rows::key)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM meta WHERE name = ?1", [name], |columns| columns.value(0, &name))
    }
}
