//! The directory of copies: ours, closed to others, and not somewhere else by way of a symlink.
//!
//! What is in it is sealed, so nobody who gets at it learns or changes a value. These rules keep others from taking a copy
//! away, or putting an older one back.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::sys;

const CLOSED: u32 = 0o700;
const FOR_OTHERS: u32 = 0o077;
const WRITE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// The most bytes of a copy: more than the largest answer of a server, which is 64 MiB.
const MOST: usize = 65 * 1024 * 1024;

/// An open directory that is fit for copies.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    /// Opens the directory, makes it if it is missing, and closes an empty one to others: a fresh volume is open.
    ///
    /// # Errors
    /// Why it is not fit, and what to do.
    pub(super) fn make(path: &Path) -> Result<Self, String> {
        let made = sys::make_directory(path, CLOSED);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
                return Err(format!("it cannot be made: {error}"));
            }
            _ => {}
        }
        let handle = open(path)?;
        let found = handle.metadata().map_err(|error| error.to_string())?;
        let mode = found.mode();
        let ours = found.uid() == sys::effective_user();
        // The sticky bit is the mark of a directory that many use, empty or not.
        if ours && mode & FOR_OTHERS != 0 && mode & STICKY == 0 && is_empty(&handle) {
            let closed = handle.set_permissions(Permissions::from_mode(CLOSED));
            closed.map_err(|error| format!("it cannot be closed to others: {error}"))?;
        }
        Self::check(handle)
    }

    /// Opens the directory as it is.
    ///
    /// # Errors
    /// Why it is not fit.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        Self::check(open(path)?)
    }

    fn check(handle: File) -> Result<Self, String> {
        const HINT: &str = "name a directory below it that is not there yet, and it is made as it should be";
        let found = handle.metadata().map_err(|error| error.to_string())?;
        let (owner, us) = (found.uid(), sys::effective_user());
        if owner != us {
            return Err(format!("it belongs to user {owner} and not to {us}; {HINT}"));
        }
        if found.mode() & WRITE_BY_OTHERS != 0 {
            return Err(format!("others may write to it (mode {:04o}); {HINT}", found.mode() & 0o7777));
        }
        Ok(Self(handle))
    }

    /// # Errors
    /// There is none, or what is there is not a file of ours alone.
    pub(super) fn read(&self, name: &CStr) -> Result<Vec<u8>, String> {
        let file = sys::open_at(&self.0, name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is none of this bundle yet".to_owned(),
            _ => error.to_string(),
        })?;
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() || found.uid() != sys::effective_user() || found.mode() & WRITE_BY_OTHERS != 0 {
            return Err("it is not a plain file that only this user may write to".to_owned());
        }
        match sys::read_at_most(&file, MOST) {
            Ok(bytes) if bytes.len() > MOST => Err("it is larger than any bundle".to_owned()),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Puts a copy in the place of the last one. Whoever opens it, and a machine that loses power, finds either whole: the
    /// bytes are on the disk before the name is theirs. Which of the two a power cut leaves makes no difference, so the
    /// directory is not synced.
    pub(super) fn write(&self, name: &CStr, bytes: &[u8]) -> io::Result<()> {
        // Containers that share a volume are all process 1; the nonce is what nobody shares.
        let nonce: String = bytes.iter().skip(1).take(8).map(|byte| format!("{byte:02x}")).collect();
        let temporary = CString::new([b".", name.to_bytes(), b".", nonce.as_bytes()].concat())?;
        let mut file = sys::create_at(&self.0, &temporary)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        let outcome = written.and_then(|()| sys::rename_at(&self.0, &temporary, name));
        if outcome.is_err() {
            let _ = sys::unlink_at(&self.0, &temporary);
        }
        outcome
    }

    /// Removes a copy for good, and says whether there was one.
    pub(super) fn remove(&self, name: &CStr) -> Result<bool, String> {
        match sys::unlink_at(&self.0, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            outcome => outcome.and_then(|()| self.0.sync_all()).map(|()| true).map_err(|error| error.to_string()),
        }
    }
}

fn open(path: &Path) -> Result<File, String> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) => "it is not a directory, or a symlink to one".to_owned(),
        _ => error.to_string(),
    })
}

fn is_empty(directory: &File) -> bool {
    sys::names_in(directory).is_ok_and(|names| names.is_empty())
}
