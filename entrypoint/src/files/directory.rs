//! The secrets directory: in memory, nobody else's to write, and not somewhere else by way of a symlink.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use chandlery_wire::BundleFile;

use super::Place;
use crate::failure::Failure;
use crate::sys;

/// The directory's mode where every file is for its owner.
const CLOSED: u32 = 0o700;
/// The directory's mode where a file is for somebody else: they can open what they know the name of, and list nothing.
const PASSABLE: u32 = 0o711;
const STICKY: u32 = 0o1000;
const WRITE_BY_OTHERS: u32 = 0o022;

/// An open directory that is fit for secrets.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) handle: File,
    path: PathBuf,
    /// Whether this start made it.
    made: bool,
}

impl Directory {
    /// Opens the directory, makes it if it is missing, checks it, and closes it to others.
    pub(super) fn open(files: &[BundleFile], place: &Place<'_>) -> Result<Self, Failure> {
        let path = place.directory();
        let (handle, made) = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(CLOSED).create(path).map_err(|error| cannot_make(place, &error))?;
                (open(path), true)
            }
            outcome => (outcome, false),
        };
        let directory =
            Self { handle: handle.map_err(|error| cannot_open(place, &error))?, path: path.to_owned(), made };
        let checked = directory.check(files, place);
        if checked.is_err() {
            directory.remove_if_made();
        }
        checked.map(|()| directory)
    }

    /// Undoes the making of the directory, where this start made it and it is empty.
    pub(super) fn remove_if_made(&self) {
        if self.made {
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    fn check(&self, files: &[BundleFile], place: &Place<'_>) -> Result<(), Failure> {
        let unknown = |error: io::Error| cannot_open(place, &error);
        if !place.config.allow_disk && !sys::is_in_memory(&self.handle).map_err(unknown)? {
            return Err(not_memory(place));
        }
        let found = self.handle.metadata().map_err(unknown)?;
        self.close(&found, files).map_err(unknown)?;
        let mode = self.handle.metadata().map_err(unknown)?.mode();
        // With the sticky bit others can add names of their own, and can neither remove nor replace ours. That is the
        // best a user without rights gets from Swarm, which drops the mode of a tmpfs (docker/cli#698).
        if mode & WRITE_BY_OTHERS != 0 && mode & STICKY == 0 {
            let path = self.path.display();
            return Err(place.fault(
                format!(
                    "others may write to {path} (mode {:04o}), and user {} cannot change that",
                    mode & 0o7777,
                    sys::effective_user()
                ),
                format!("add to the service: {}", place.compose_line(&path.to_string())),
            ));
        }
        Ok(())
    }

    /// Gives the directory the mode it should have, if it is ours: the mode that the compose file asks for gets lost
    /// when the image has the directory, when the container restarts (opencontainers/runc#3911), and in Swarm. A
    /// directory of another owner stays as it is unless others may write to it; root is allowed to mend that too.
    fn close(&self, found: &Metadata, files: &[BundleFile]) -> io::Result<()> {
        let us = sys::effective_user();
        let for_others = |file: &BundleFile| file.mode.bits() & 0o077 != 0 || file.uid.unwrap_or(us) != found.uid();
        let wanted = if files.iter().any(for_others) { PASSABLE } else { CLOSED };
        let mode = found.mode() & 0o7777;
        let ours = found.uid() == us;
        let mend = us == 0 && (mode & WRITE_BY_OTHERS != 0 || mode & wanted != wanted);
        if mode != wanted && (ours || mend) {
            match self.handle.set_permissions(Permissions::from_mode(wanted)) {
                // Root without CAP_FOWNER; what is left is checked by the caller.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
                // A read-only mount is found out, and better explained, when the first file is written.
                Err(error) if error.raw_os_error() == Some(libc::EROFS) => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn cannot_open(place: &Place<'_>, error: &io::Error) -> Failure {
    let path = place.directory().display();
    let kind = std::fs::symlink_metadata(place.directory()).map(|found| found.file_type());
    match kind {
        Ok(kind) if kind.is_symlink() => place.fault(
            format!("{path} is a symlink, and secrets are not placed through one"),
            "set CHANDLERY_SECRETS_DIR to the directory it leads to, if that is where they belong",
        ),
        Ok(kind) if !kind.is_dir() => place
            .fault(format!("{path} is not a directory"), "take it away, or choose another with CHANDLERY_SECRETS_DIR"),
        _ if error.kind() == io::ErrorKind::PermissionDenied => place.not_writable(error),
        _ => place.fault(format!("{path} cannot be used: {error}"), place.elsewhere()),
    }
}

fn cannot_make(place: &Place<'_>, error: &io::Error) -> Failure {
    let path = place.directory().display();
    place.fault(
        format!("{path} is not there and cannot be made: {error}"),
        format!("add to the service: {}", place.compose_line(&path.to_string())),
    )
}

fn not_memory(place: &Place<'_>) -> Failure {
    let path = place.directory().display();
    place.fault(
        format!("{path} is not in memory, and secrets do not belong on a disk"),
        format!(
            "add to the service: {}; under Swarm, which drops that line, set CHANDLERY_SECRETS_DIR=/dev/shm/secrets; \
             CHANDLERY_ALLOW_DISK=1 allows the disk",
            place.compose_line(&path.to_string())
        ),
    )
}
