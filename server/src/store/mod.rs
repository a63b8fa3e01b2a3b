//! The store: rows of ciphertext and what they hang on. The only folder that knows SQL; it never sees a key.
//!
//! A [`Store`] is read through a [`Snapshot`], one consistent view, and written through a [`Transaction`], whose job is
//! all done and durable or not done at all. Everything that comes out of a store was parsed again: a name that
//! somebody edited on disk is [`StoreError::Damaged`], not a panic and not a name.
//!
//! The store keeps bytes and does not judge them. Whether a row is authentic is decided by whoever holds the keys, with
//! the macs and manifests that lie beside the rows (`docs/FORMAT.md`).

mod error;
mod rows;
mod sqlite;

pub use error::StoreError;
pub use rows::{
    EnvironmentRow, KeyRow, LayerContent, LayerKey, LayerRow, LayerTags, NodeRow, OpeningRow, Row, StackRow, TAG_BYTES,
    TagRow, TokenRow,
};
pub use sqlite::{DATABASE_FILE, LOCK_FILE, SqliteStore};

use std::sync::mpsc;

use chandlery_wire::{EntryName, EnvironmentName, Layer, NodeName, StackName};

/// One consistent view of the store. Look-ups of what is not there are `None`; lists are sorted by name.
pub trait Snapshot {
    /// The store's revision: grows with every write that asks for the next one.
    fn revision(&self) -> Result<u64, StoreError>;

    fn stacks(&self) -> Result<Vec<StackRow>, StoreError>;
    fn stack(&self, name: &StackName) -> Result<Option<StackRow>, StoreError>;
    fn environments(&self, stack: &StackName) -> Result<Vec<EnvironmentRow>, StoreError>;
    fn environment(&self, stack: &StackName, name: &EnvironmentName) -> Result<Option<EnvironmentRow>, StoreError>;

    /// A layer's own row, without its entries.
    fn layer_row(&self, key: &LayerKey) -> Result<Option<LayerRow>, StoreError>;
    /// The current row of every (name, grant) of a layer, sorted by name and then by the grant's text. A layer that was
    /// never put is `None`; one that was put and has no row yet is empty.
    fn layer(&self, key: &LayerKey) -> Result<Option<LayerContent>, StoreError>;
    /// What a layer's manifest covers, without the ciphertexts: for writing the next manifest.
    fn layer_tags(&self, key: &LayerKey) -> Result<Option<LayerTags>, StoreError>;
    /// The layers of an environment and the revision at which each last changed: to see cheaply whether one did.
    fn layer_revisions(
        &self,
        stack: &StackName,
        environment: &EnvironmentName,
    ) -> Result<Vec<(Layer, u64)>, StoreError>;
    /// Every version of an entry in one layer under all grants, the newest first.
    fn versions(&self, key: &LayerKey, name: &EntryName) -> Result<Vec<Row>, StoreError>;
    /// Every version of every entry of a layer, by name, and within a name the newest first.
    fn history(&self, key: &LayerKey) -> Result<Vec<Row>, StoreError>;
    /// One version of an entry, current or past.
    fn version(&self, key: &LayerKey, name: &EntryName, version: u64) -> Result<Option<Row>, StoreError>;
    /// The newest version of an entry in one layer under any grant: its number and its ciphertext's tag.
    fn latest(&self, key: &LayerKey, name: &EntryName) -> Result<Option<(u64, [u8; TAG_BYTES])>, StoreError>;

    fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>, StoreError>;
    fn token_by_id(&self, id: &str) -> Result<Option<TokenRow>, StoreError>;
    /// All tokens, the oldest first.
    fn tokens(&self) -> Result<Vec<TokenRow>, StoreError>;

    /// All nodes.
    fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// All openings, by stack, environment and project.
    fn openings(&self) -> Result<Vec<OpeningRow>, StoreError>;

    /// All wrapped keys by id.
    fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A write under way. It sees what it has written itself.
pub trait Transaction: Snapshot {
    /// Makes the store's next revision, and says which it is.
    fn next_revision(&mut self) -> Result<u64, StoreError>;

    /// Inserts or replaces.
    fn put_stack(&mut self, row: &StackRow) -> Result<(), StoreError>;
    /// Inserts or replaces.
    fn put_environment(&mut self, row: &EnvironmentRow) -> Result<(), StoreError>;
    /// Inserts or replaces the layer's own row; its entries stay. A layer exists from when its environment or region is
    /// declared, with the manifest of no entries: so that a layer that is missing was taken away behind our back.
    fn put_layer(&mut self, key: &LayerKey, row: &LayerRow) -> Result<(), StoreError>;
    /// Adds a version, which becomes the current row of its name and grant; the row it supersedes goes to the past. The
    /// version must be the one after [`Snapshot::latest`]. The layer must have been put, and its manifest is stale until
    /// it is put again.
    fn append_row(&mut self, key: &LayerKey, row: &Row) -> Result<(), StoreError>;
    /// Puts other bytes in the place of a version's ciphertext; everything else of it stays.
    fn replace_sealed(
        &mut self,
        key: &LayerKey,
        name: &EntryName,
        version: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError>;
    /// Removes a layer with its entries and their past.
    fn remove_layer(&mut self, key: &LayerKey) -> Result<(), StoreError>;

    /// Inserts or replaces, by id.
    fn put_token(&mut self, row: &TokenRow) -> Result<(), StoreError>;
    /// Inserts or replaces.
    fn put_node(&mut self, row: &NodeRow) -> Result<(), StoreError>;
    fn remove_node(&mut self, name: &NodeName) -> Result<(), StoreError>;
    /// Inserts or replaces.
    fn put_opening(&mut self, row: &OpeningRow) -> Result<(), StoreError>;
    fn remove_opening(&mut self, row: &OpeningRow) -> Result<(), StoreError>;
    /// Inserts or replaces, by id. The count of encryptions is set as given.
    fn put_key(&mut self, row: &KeyRow) -> Result<(), StoreError>;
    /// Adds to the number of encryptions that a data key has done.
    fn count_encryptions(&mut self, key: u32, encryptions: u64) -> Result<(), StoreError>;
    fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError>;
}

/// What a job wants done with what it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Commit,
    Rollback,
}

/// One write, run on the store's writer thread. What it returns besides the verdict it hands over by itself; most
/// callers use [`write_with`], which does.
pub type WriteJob = Box<dyn FnOnce(&mut dyn Transaction) -> Verdict + Send>;

/// Somewhere to keep rows. Both calls block, for microseconds and milliseconds.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Runs `f` once on a consistent view, unless that view cannot be had.
    fn read(&self, f: &mut dyn FnMut(&dyn Snapshot)) -> Result<(), StoreError>;

    /// Runs the job, and returns when what it wrote is durable, or when its rollback is done. An error means that
    /// nothing of it was kept, with one exception that every database has: after [`StoreError::Failed`] it is unknown
    /// until the store was opened again.
    ///
    /// Jobs of many threads share one durable write; a job that rolls back or panics takes only itself away.
    fn write(&self, job: WriteJob) -> Result<(), StoreError>;

    /// A number that differs from the last one whenever anybody has committed something in between: this process, or
    /// another program that opened the file. For callers that keep what they read.
    fn change_counter(&self) -> Result<u64, StoreError>;

    /// Sees to it that what was deleted or replaced is in none of the store's files any more. Takes as long as writing all
    /// of the store again, and nothing is written meanwhile.
    fn erase(&self) -> Result<(), StoreError>;

    /// Whether the store can be read, and was not shut for writing by an earlier failure.
    fn check(&self) -> Result<(), StoreError>;
}

/// Reads something from one consistent view.
pub fn read_with<T, E: From<StoreError>>(
    store: &dyn Store,
    f: impl FnOnce(&dyn Snapshot) -> Result<T, E>,
) -> Result<T, E> {
    let (mut f, mut result) = (Some(f), None);
    store.read(&mut |snapshot| result = f.take().map(|f| f(snapshot)))?;
    result.unwrap_or_else(|| Err(StoreError::other("the store did not run a read").into()))
}

/// Writes, all or nothing: an `Err` of the closure rolls back what it wrote, and is returned as it is. After `Ok` the
/// write is durable.
pub fn write_with<T, E>(
    store: &dyn Store,
    f: impl FnOnce(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (sender, receiver) = mpsc::sync_channel(1);
    store.write(Box::new(move |transaction| {
        let result = f(transaction);
        let verdict = if result.is_ok() { Verdict::Commit } else { Verdict::Rollback };
        // Nobody listens only where the caller's thread is gone, and then nobody is told of success either.
        match sender.send(result) {
            Ok(()) => verdict,
            Err(_) => Verdict::Rollback,
        }
    }))?;
    receiver.try_recv().unwrap_or_else(|_| Err(StoreError::other("the store did not run a write").into()))
}
