//! The files of the store, before SQLite sees them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::super::StoreError;
use super::{LOCK_FILE, schema};
use crate::lock;

/// "ChdS" in the database's header: what SQLite calls the application id.
pub(super) const APPLICATION_ID: i32 = 0x4368_6453;

const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Takes the data directory for this process, for as long as the file returned lives.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK_FILE);
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path)
        .map_err(|error| io_error(&path, "opened", &error))?;
    match lock::take(&file).map_err(|error| io_error(&path, "locked", &error))? {
        true => Ok(file),
        false => Err(StoreError::InUse { directory: directory.to_owned() }),
    }
}

/// Whether there is a database; one that is not ours, or cut off, is an error. Only reads.
///
/// The header is read here and not by SQLite, which would begin to recover and change what it opens. It must happen
/// before this process opens the database: closing a file lets go of all of a process's POSIX locks on it.
pub(super) fn inspect(path: &Path) -> Result<bool, StoreError> {
    let not_ours = |reason: String| StoreError::NotOurs { file: path.to_owned(), reason };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match has_log(path) {
                false => Ok(false),
                true => Err(not_ours("it is gone, and its write-ahead log is there".to_owned())),
            };
        }
        Err(error) => return Err(io_error(path, "read", &error)),
        Ok(metadata) if !metadata.is_file() => return Err(not_ours("it is not a regular file".to_owned())),
        Ok(_) => {}
    }
    let (header, length) = header(path).map_err(|error| io_error(path, "read", &error))?;
    let Some(header) = header else { return Err(not_ours(format!("it is cut off: it has {length} bytes"))) };
    if header[..16] != MAGIC[..] {
        return Err(not_ours("it is not an SQLite database".to_owned()));
    }
    if big_endian(&header[68..72]) != u64::from(APPLICATION_ID.cast_unsigned()) {
        return Err(not_ours("it is another program's database".to_owned()));
    }
    // Pages that are in the log may be missing from the file: an unfinished checkpoint. Without a log, none may.
    let page_bytes = match big_endian(&header[16..18]) {
        1 => 65_536,
        bytes => bytes,
    };
    let whole = page_bytes * big_endian(&header[28..32]);
    match length < whole && !has_log(path) {
        true => Err(not_ours(format!("it is cut off: {length} of its {whole} bytes are there"))),
        false => Ok(true),
    }
}

/// Makes a new database under another name, and gives it its own when it is whole and durable. So a database without
/// a schema never has the name, and an empty file that does was emptied.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let made = path.with_extension("db.new");
    let journal = path.with_extension("db.new-journal");
    for left_over in [&made, &journal] {
        match fs::remove_file(left_over) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(left_over, "removed", &error));
            }
            _ => {}
        }
    }
    // SQLite would make it with whatever the umask leaves; its log files take over the mode.
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(&made)
        .map_err(|error| io_error(&made, "made", &error))?;
    schema::initialise(&made)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::rename(&made, path)
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(|error| io_error(path, "made", &error))
}

fn header(path: &Path) -> io::Result<(Option<[u8; HEADER_BYTES]>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => Ok((Some(header), length)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((None, length)),
        Err(error) => Err(error),
    }
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(PathBuf::from(log)).is_ok_and(|metadata| metadata.len() > 0)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn io_error(path: &Path, action: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        io::ErrorKind::PermissionDenied if action != "read" => StoreError::ReadOnly,
        _ => StoreError::Other(format!("{} cannot be {action}: {error}", path.display())),
    }
}
