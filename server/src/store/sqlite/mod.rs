//! The store in one SQLite file.

mod file;
mod reader;
mod rows;
mod schema;
mod transaction;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use self::reader::View;
use self::writer::Writer;
use super::{Snapshot, Store, StoreError, WriteJob};

/// The database's name in the data directory.
pub const DATABASE_FILE: &str = "chandlery.db";
/// The file whose lock says that a server uses the data directory. The kernel lets go of the lock when the process ends,
/// however it ends: the file may stay, and blocks nobody.
pub const LOCK_FILE: &str = "chandlery.lock";

/// Connections that are kept open for the next reads. More are opened while more threads read at the same time.
const IDLE_READERS: usize = 16;

/// A store in one SQLite file, owned by this process alone.
///
/// Reads run on a pool of connections, on the caller's thread; writes on one connection, on a thread of their own.
#[derive(Debug)]
pub struct SqliteStore {
    // Fields are dropped in this order: the writer ends first, and the lock is let go of last.
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    /// Never writes, so that every commit, our own as well, is somebody else's to it. It has the log's index open from
    /// before the first write: were the writer alone with it and closed after a failed commit, the next to open the log
    /// would rebuild the index from it, and find the commit that failed.
    watcher: Mutex<Connection>,
    file: PathBuf,
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in an existing data directory, and makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::TooNew`] and [`StoreError::NotOurs`] leave everything as it was.
    pub fn open(data_directory: &Path) -> Result<Self, StoreError> {
        schema::check_library()?;
        let lock = file::lock(data_directory)?;
        let file = data_directory.join(DATABASE_FILE);
        if !file::inspect(&file)? {
            file::create(&file)?;
        }
        let connection = schema::open_writer(&file)?;
        let watcher = schema::open_reader(&file)?;
        data_version(&watcher)?;
        Ok(Self {
            writer: Writer::start(file.clone(), connection)?,
            readers: Mutex::new(Vec::new()),
            watcher: Mutex::new(watcher),
            file,
            _lock: lock,
        })
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SqliteStore {
    fn read(&self, f: &mut dyn FnMut(&dyn Snapshot)) -> Result<(), StoreError> {
        let idle = self.readers().pop();
        let connection = idle.map_or_else(|| schema::open_reader(&self.file), Ok)?;
        let view = View::new(&connection);
        view.execute("BEGIN", [])?;
        f(&view);
        view.execute("COMMIT", [])?;
        // A connection that failed anywhere above is closed, and with it whatever state it was in.
        let mut readers = self.readers();
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        Ok(())
    }

    fn write(&self, job: WriteJob) -> Result<(), StoreError> {
        self.writer.write(job)
    }

    fn change_counter(&self) -> Result<u64, StoreError> {
        data_version(&self.watcher.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn erase(&self) -> Result<(), StoreError> {
        self.writer.erase()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.writer.check()?;
        let mut revision = Ok(0);
        self.read(&mut |snapshot| revision = snapshot.revision())?;
        revision.map(|_| ())
    }
}

fn data_version(watcher: &Connection) -> Result<u64, StoreError> {
    let version: i64 = watcher
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(schema::error)?;
    Ok(version.cast_unsigned())
}
