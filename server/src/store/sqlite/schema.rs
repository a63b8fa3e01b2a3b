//! How a connection is set up, and how the schema came to be what it is.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::super::StoreError;
use super::file::APPLICATION_ID;

/// One step each, in the order in which they were added. A step that was released is never changed: a test holds each
/// to its hash. SQLite's `user_version` counts the steps that a database has behind it.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001-first.sql"),
    include_str!("migrations/0002-nodes.sql"),
    include_str!("migrations/0003-openings.sql"),
    include_str!("migrations/0004-references.sql"),
];

/// Before this one, a checkpoint could lose pages when it raced with a commit (the WAL-reset bug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long to wait for another program that holds the database's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that each connection keeps prepared: all there are.
const STATEMENTS: usize = 64;

pub(super) fn check_library() -> Result<(), StoreError> {
    match rusqlite::version_number() {
        OLDEST_SQLITE.. => Ok(()),
        _ => Err(StoreError::Other(format!(
            "this program was built with SQLite {}, which can lose data; it needs 3.51.3 or newer",
            rusqlite::version()
        ))),
    }
}

/// Gives a new file its schema. In the old journal mode, so that it is all in the one file when this returns.
pub(super) fn initialise(path: &Path) -> Result<(), StoreError> {
    let mut connection = connect(path).map_err(error)?;
    connection
        .execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")
        .and_then(|()| connection.pragma_update(None, "application_id", APPLICATION_ID))
        .map_err(error)?;
    migrate(&mut connection, MIGRATIONS)?;
    connection.close().map_err(|(_, fault)| error(fault))
}

/// Opens the one connection that writes; the first time, brings the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path).map_err(error)?;
    // Until it is clear that the database is one that we know, closing it must not fold the log into it.
    keep_log(&connection, true)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if !(0..=known).contains(&found) {
        return Err(StoreError::TooNew { file: path.to_owned(), found, known });
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(error)?;
    if mode != "wal" {
        return Err(StoreError::Other(format!("SQLite's journal mode is {mode} and cannot be changed to WAL")));
    }
    // FULL: a commit returns when its log was fsynced. Deleted content is overwritten, ciphertext or not.
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
             PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216;",
        )
        .map_err(error)?;
    check_length(path, &connection)?;
    keep_log(&connection, false)?;
    migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path).map_err(error)?;
    connection.execute_batch("PRAGMA query_only = ON;").map_err(error)?;
    Ok(connection)
}

/// What a failure of SQLite means to a caller.
pub(super) fn error(error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(failure, _) = &error else { return StoreError::other(error) };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Locked,
        // The index of the log lives in shared memory, which is a file on the same disk.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full,
        (ErrorCode::ReadOnly, _) => StoreError::ReadOnly,
        (ErrorCode::SystemIoFailure, _) => StoreError::Failed { cause: error.to_string() },
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::damaged("the database", error),
        _ => StoreError::other(error),
    }
}

/// Writes the whole database anew and empties its log.
///
/// `secure_delete` overwrites what is deleted where it lies; but a page that was split keeps a copy of the cells that went
/// to the other one, in bytes that belong to nothing. Only a new database has none of these.
pub(super) fn erase(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("VACUUM").map_err(error)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(error)?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Locked) }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No CREATE: a database that vanishes while the server runs is an error, and not a new one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Whoever can write the file can write triggers and views into its schema. We have none, and run none.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    // Plans do not depend on bound values, so statements are not prepared again for new ones: a fifth of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn keep_log(connection: &Connection, keep: bool) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(|_| ()).map_err(error)
}

/// Checks that the file has all its pages, or the log has them: [`super::file::inspect`] cannot tell where there is a log.
fn check_length(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let pragma =
        |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(error);
    let whole = pragma("page_count")?.saturating_mul(pragma("page_size")?).cast_unsigned();
    let length = || std::fs::metadata(path).map(|metadata| metadata.len()).map_err(StoreError::other);
    if length()? >= whole {
        return Ok(());
    }
    let complete = connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            let (busy, pages, done): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(busy == 0 && pages == done)
        })
        .map_err(error)?;
    let length = length()?;
    match complete && length < whole {
        true => Err(StoreError::NotOurs {
            file: path.to_owned(),
            reason: format!("it is cut off: {length} of its {whole} bytes are there"),
        }),
        false => Ok(()),
    }
}

/// Runs the steps that the database does not have behind it, each all or nothing: a kill in between leaves a database
/// that the next start continues with.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(error)?;
    for (number, step) in (1i64..).zip(steps).filter(|(number, _)| *number > done) {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(error)?;
        transaction
            .execute_batch(step)
            .and_then(|()| transaction.pragma_update(None, "user_version", number))
            .and_then(|()| transaction.commit())
            .map_err(error)?;
    }
    Ok(())
}
