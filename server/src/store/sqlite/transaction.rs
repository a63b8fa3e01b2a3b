//! Writing rows.

use chandlery_wire::{EntryName, NodeName};
use rusqlite::params;

use super::super::{
    EnvironmentRow, KeyRow, LayerKey, LayerRow, NodeRow, OpeningRow, Row, Snapshot, StackRow, StoreError, TokenRow,
    Transaction,
};
use super::reader::View;
use super::rows::{ENTRY_COLUMNS, OPENING_COLUMNS, TOKEN_COLUMNS, state_text};

impl View<'_> {
    fn layer_id(&self, key: &LayerKey) -> Result<i64, StoreError> {
        let found = self.find_layer(key)?;
        found.map(|(id, _)| id).ok_or_else(|| StoreError::Other(format!("there is no layer {key} to write to")))
    }
}

impl Transaction for View<'_> {
    fn next_revision(&mut self) -> Result<u64, StoreError> {
        self.execute("UPDATE store SET revision = revision + 1", [])?;
        self.revision()
    }

    fn put_stack(&mut self, row: &StackRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO stacks (name, services, mac) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET services = excluded.services, mac = excluded.mac";
        self.execute(sql, params![row.name.as_str(), json(&row.services)?, row.mac])?;
        Ok(())
    }

    fn put_environment(&mut self, row: &EnvironmentRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO environments (stack, name, regions, mac) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET regions = excluded.regions, mac = excluded.mac";
        self.execute(sql, params![row.stack.as_str(), row.name.as_str(), json(&row.regions)?, row.mac])?;
        Ok(())
    }

    fn put_layer(&mut self, key: &LayerKey, row: &LayerRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO layers (stack, environment, layer, revision, manifest) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO UPDATE SET revision = excluded.revision, manifest = excluded.manifest";
        let (stack, environment, layer) = (key.stack.as_str(), key.environment.as_str(), key.layer.as_str());
        self.execute(sql, params![stack, environment, layer, signed(row.revision)?, row.manifest])?;
        Ok(())
    }

    fn append_row(&mut self, key: &LayerKey, row: &Row) -> Result<(), StoreError> {
        let id = self.layer_id(key)?;
        let latest = self.latest(key, &row.name)?.map_or(0, |(version, _)| version);
        if row.version != latest + 1 {
            let (name, version) = (&row.name, row.version);
            return Err(StoreError::Other(format!(
                "{key}/{name} is at version {latest}, and {version} does not follow"
            )));
        }
        let (name, grant) = (row.name.as_str(), row.grant.to_string());
        let supersede = format!(
            "INSERT INTO past_entries (layer_id, {ENTRY_COLUMNS}) SELECT layer_id, {ENTRY_COLUMNS} \
             FROM current_entries WHERE layer_id = ?1 AND name = ?2 AND grant = ?3"
        );
        self.execute(&supersede, params![id, name, grant])?;
        let insert = format!(
            "INSERT OR REPLACE INTO current_entries (layer_id, {ENTRY_COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        let (version, state) = (signed(row.version)?, state_text(row.state));
        let (attributes, created, author) = (&row.attributes, row.created, &row.author);
        self.execute(
            &insert,
            params![id, name, grant, version, state, attributes, created, author, row.previous, row.sealed],
        )?;
        Ok(())
    }

    fn replace_sealed(
        &mut self,
        key: &LayerKey,
        name: &EntryName,
        version: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let (id, version) = (self.layer_id(key)?, signed(version)?);
        let params = params![id, name.as_str(), version, sealed];
        let replace =
            |table| format!("UPDATE {table} SET sealed = ?4 WHERE layer_id = ?1 AND name = ?2 AND version = ?3");
        match self.execute(&replace("current_entries"), params)? + self.execute(&replace("past_entries"), params)? {
            1 => Ok(()),
            _ => Err(StoreError::Other(format!("there is no version {version} of {key}/{name} to replace"))),
        }
    }

    fn remove_layer(&mut self, key: &LayerKey) -> Result<(), StoreError> {
        let Some((id, _)) = self.find_layer(key)? else { return Ok(()) };
        self.execute("DELETE FROM past_entries WHERE layer_id = ?1", [id])?;
        self.execute("DELETE FROM current_entries WHERE layer_id = ?1", [id])?;
        self.execute("DELETE FROM layers WHERE id = ?1", [id])?;
        Ok(())
    }

    fn put_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO tokens ({TOKEN_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, description = excluded.description, \
             verbs = excluded.verbs, scopes = excluded.scopes, created = excluded.created, \
             created_by = excluded.created_by, expires = excluded.expires, uses_left = excluded.uses_left, \
             revoked = excluded.revoked, mac = excluded.mac, node = excluded.node"
        );
        let TokenRow { id, hash, description, verbs, scopes, created, created_by, expires, .. } = row;
        let (uses_left, revoked, mac, node) =
            (row.uses_left, row.revoked, row.mac, row.node.as_ref().map(NodeName::as_str));
        self.execute(
            &sql,
            params![id, hash, description, verbs, scopes, created, created_by, expires, uses_left, revoked, mac, node],
        )?;
        Ok(())
    }

    fn put_node(&mut self, row: &NodeRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO nodes (name, region, revision, created, author, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT DO UPDATE SET region = excluded.region, revision = excluded.revision, \
                   created = excluded.created, author = excluded.author, mac = excluded.mac";
        let (name, region, revision) = (row.name.as_str(), row.region.as_str(), signed(row.revision)?);
        self.execute(sql, params![name, region, revision, row.created, row.author, row.mac])?;
        Ok(())
    }

    fn remove_node(&mut self, name: &NodeName) -> Result<(), StoreError> {
        self.execute("DELETE FROM nodes WHERE name = ?1", [name.as_str()])?;
        Ok(())
    }

    fn put_opening(&mut self, row: &OpeningRow) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO openings ({OPENING_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
             ON CONFLICT DO UPDATE SET images = excluded.images, allow_exec = excluded.allow_exec, \
             revision = excluded.revision, created = excluded.created, author = excluded.author, mac = excluded.mac"
        );
        let (stack, environment, project) = (row.stack.as_str(), row.environment.as_str(), row.project.as_str());
        let OpeningRow { images, allow_exec, created, author, mac, .. } = row;
        let revision = signed(row.revision)?;
        self.execute(&sql, params![stack, environment, project, images, allow_exec, revision, created, author, mac])?;
        Ok(())
    }

    fn remove_opening(&mut self, row: &OpeningRow) -> Result<(), StoreError> {
        let sql = "DELETE FROM openings WHERE stack = ?1 AND environment = ?2 AND project = ?3";
        self.execute(sql, [row.stack.as_str(), row.environment.as_str(), row.project.as_str()])?;
        Ok(())
    }

    fn put_key(&mut self, row: &KeyRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO keys (id, purpose, wrapped, created, encryptions) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO UPDATE SET purpose = excluded.purpose, wrapped = excluded.wrapped, \
                   created = excluded.created, encryptions = excluded.encryptions";
        self.execute(sql, params![row.id, row.purpose, row.wrapped, row.created, signed(row.encryptions)?])?;
        Ok(())
    }

    fn count_encryptions(&mut self, key: u32, encryptions: u64) -> Result<(), StoreError> {
        let sql = "UPDATE keys SET encryptions = encryptions + ?2 WHERE id = ?1";
        match self.execute(sql, params![key, signed(encryptions)?])? {
            1 => Ok(()),
            _ => Err(StoreError::damaged(format_args!("key {key} of the keyring"), "its row is gone")),
        }
    }

    fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        self.execute(sql, params![name, value])?;
        Ok(())
    }
}

/// SQLite's integers end at 2^63 - 1.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(StoreError::other)
}

fn json<T: serde::Serialize>(names: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(names).map_err(StoreError::other)
}
