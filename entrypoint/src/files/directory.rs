//! The secrets directory: in memory, nobody else's to write, and not somewhere else by way of a symlink.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fault::Place;
use super::leftovers;
use crate::failure::Failure;
use crate::sys::{self, Removal};

/// The directory's mode where every file is for its owner.
const CLOSED: u32 = 0o700;
/// Added where the app's user is not the directory's: its group gets in, and sees what is there.
const FOR_GROUP: u32 = 0o050;
/// Added where a file is for somebody else: they can open what they know the name of, and list nothing.
const FOR_OTHERS: u32 = 0o011;
/// What lets others in, one way or the other.
const READ_BY_OTHERS: u32 = 0o055;
const STICKY: u32 = 0o1000;
const WRITE_BY_OTHERS: u32 = 0o022;

/// An open directory. What this start made of it goes when it is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) handle: Rc<File>,
    pub(super) path: PathBuf,
    /// Whether this start made it.
    made: bool,
    /// Whether this start mounted what is open.
    mounted: bool,
}

impl Drop for Directory {
    fn drop(&mut self) {
        let mut removals = Vec::new();
        self.removals(&mut removals);
        sys::remove_all(&removals);
    }
}

impl Directory {
    /// Opens the secrets directory, and makes it if it is missing.
    pub(super) fn open(place: &Place<'_>) -> Result<Self, Failure> {
        let path = place.directory();
        let (handle, made) = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                sys::make_directory(path, CLOSED).map_err(|error| cannot_make(place, &error))?;
                (open(path), true)
            }
            outcome => (outcome, false),
        };
        let handle = Rc::new(handle.map_err(|error| cannot_open(place, &error))?);
        Ok(Self { handle, path: path.to_owned(), made, mounted: false })
    }

    /// Makes a directory of our own in an open one, which the path leads to.
    pub(super) fn make_in(parent: &File, path: PathBuf) -> io::Result<Self> {
        let name = sys::c_string(Path::new(path.file_name().unwrap_or_default()))?;
        sys::make_directory_at(parent, &name)?;
        let opened = sys::open_directory_at(parent, &name);
        Ok(Self { handle: Rc::new(opened?), path, made: true, mounted: false })
    }

    /// Mounts a tmpfs here, and opens that instead.
    pub(super) fn mount(&mut self, megabytes: usize) -> io::Result<()> {
        sys::mount_tmpfs(&self.handle, megabytes)?;
        self.mounted = true;
        match open(&self.path) {
            Ok(opened) => self.handle = Rc::new(opened),
            Err(error) => {
                self.mounted = false;
                sys::remove_all(&[Removal::of_mount(sys::c_string(&self.path)?)]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds what undoes the mount, and the making of the directory.
    pub(super) fn removals(&self, all: &mut Vec<Removal>) {
        if let Ok(path) = sys::c_string(&self.path) {
            if self.mounted {
                all.push(Removal::of_mount(path.clone()));
            }
            if self.made {
                all.push(Removal::of_path(path));
            }
        }
    }

    /// Closes the directory to others and makes sure that it is closed. What else is in one that is `shared` stays
    /// within the reach of whom it was for.
    pub(super) fn close(&self, place: &Place<'_>, shared: bool) -> Result<(), Failure> {
        let unknown = |error: io::Error| cannot_open(place, &error);
        close(&self.handle, place, shared || leftovers::has_mounts(&self.handle)).map_err(unknown)?;
        let mode = self.handle.metadata().map_err(unknown)?.mode();
        // With the sticky bit others can add names of their own, and can neither remove nor replace ours. That is the
        // best a user without rights gets from Swarm, which drops the mode of a tmpfs (docker/cli#698).
        if mode & WRITE_BY_OTHERS != 0 && mode & STICKY == 0 {
            return Err(place.fault(
                format!(
                    "others may write to {} (mode {:04o}), and user {} cannot change that",
                    self.path.display(),
                    mode & 0o7777,
                    sys::effective_user()
                ),
                place.line_to_add(),
            ));
        }
        Ok(())
    }
}

/// Takes away what earlier starts left, where there is a directory that they could have left it in.
pub(super) fn clear_if_there(place: &Place<'_>) {
    if let Ok(directory) = open(place.directory()) {
        leftovers::clear(&Rc::new(directory), &[]);
    }
}

/// Gives a directory the mode it should have, if it is ours: the mode that the compose file asks for gets lost when the
/// image has the directory, when the container restarts (opencontainers/runc#3911), and in Swarm. A directory of another
/// owner stays as it is unless others may write to it or its files' users cannot reach them; root is allowed to mend that
/// too. Where it is `shared` with what is not ours, whoever got in before still does.
pub(super) fn close(directory: &File, place: &Place<'_>, shared: bool) -> io::Result<()> {
    let found = directory.metadata()?;
    let us = sys::effective_user();
    let mode = found.mode() & 0o7777;
    let ours = found.uid() == us;
    let member = place.user.filter(|user| user.uid != found.uid());
    let for_others = place.files.iter().any(|file| {
        let (uid, _) = place.owner(file);
        file.mode.bits() & 0o077 != 0 || uid != found.uid() && member.is_none_or(|user| user.uid != uid)
    });
    let mut wanted = if for_others { CLOSED | FOR_OTHERS } else { CLOSED };
    if let Some(user) = member {
        let grouped = ours && (found.gid() == user.gid || fchown(directory, None, Some(user.gid)).is_ok());
        wanted |= if grouped { FOR_GROUP } else { FOR_OTHERS };
    }
    if shared {
        wanted |= mode & READ_BY_OTHERS;
    }
    let mend = us == 0 && (mode & WRITE_BY_OTHERS != 0 || mode & wanted != wanted);
    if mode != wanted && (ours || mend) {
        match directory.set_permissions(Permissions::from_mode(wanted)) {
            // Root without CAP_FOWNER; what is left is checked by the caller.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            // A read-only mount is found out, and better explained, when the first file is written.
            Err(error) if error.raw_os_error() == Some(libc::EROFS) => {}
            outcome => return outcome,
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
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
        _ => place.fault(format!("{path} cannot be used: {error}"), place.line_to_add()),
    }
}

fn cannot_make(place: &Place<'_>, error: &io::Error) -> Failure {
    let path = place.directory().display();
    place.fault(format!("{path} is not there and cannot be made: {error}"), place.line_to_add())
}
