//! The store in one SQLite file.

use std::path::Path;

use super::{Snapshot, Store, StoreError, WriteJob};

/// The database's name in the data directory.
pub const DATABASE_FILE: &str = "chandlery.db";
/// The file whose lock says that a server uses the data directory. The kernel lets go of the lock when the process ends,
/// however it ends: the file may stay, and blocks nobody.
pub const LOCK_FILE: &str = "chandlery.lock";

/// A store in one SQLite file, owned by this process alone.
#[derive(Debug)]
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens the store in an existing data directory, and makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::TooNew`] and [`StoreError::NotOurs`] leave everything as it was.
    pub fn open(data_directory: &Path) -> Result<Self, StoreError> {
        Err(StoreError::NotOurs { file: data_directory.join(DATABASE_FILE), reason: LOCK_FILE.to_owned() })
    }
}

impl Store for SqliteStore {
    fn read(&self, _: &mut dyn FnMut(&dyn Snapshot)) -> Result<(), StoreError> {
        Ok(())
    }
    fn write(&self, _: WriteJob) -> Result<(), StoreError> {
        Ok(())
    }
    fn change_counter(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
