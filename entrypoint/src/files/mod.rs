//! Secret files: all of them in place, exactly as they should be, or none.
//!
//! Each file is written under a temporary name in the directory, gets its mode and owner, and takes its own name by a
//! rename: nobody ever opens half a file, or one with the wrong mode. Every path is relative to the directory's
//! descriptor and is a single name, so that nothing that is swapped on the way can lead elsewhere. There is no fsync:
//! it is memory.

mod directory;

use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use chandlery_wire::{BundleFile, EntryName};

use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::sys;

/// What this start placed. It is gone again when this is dropped, which only a start that failed comes to do.
/// A signal ends a start without it: a handler may do next to nothing, and a container's memory goes with the container.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    directory: Option<directory::Directory>,
    /// Names that are ours in the directory, temporary ones too.
    names: Vec<CString>,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let Some(directory) = &self.directory else { return };
        for name in &self.names {
            let _ = sys::unlink_at(&directory.handle, name);
        }
        directory.remove_if_made();
    }
}

/// Places the files in the secrets directory. Without files, the directory is not looked at: a container that needs
/// none need not have one.
///
/// # Errors
/// The directory is not fit for secrets, something is in the way, or the kernel refuses an owner; then none is placed.
pub(crate) fn place(files: &[BundleFile], config: &Config) -> Result<Placed, Failure> {
    let mut placed = Placed::default();
    if files.is_empty() {
        return Ok(placed);
    }
    let place = Place { config, bytes: files.iter().map(|file| file.value.len()).sum() };
    let directory = placed.directory.insert(directory::Directory::open(files, &place)?);
    let mut targets = Vec::with_capacity(files.len());
    for file in files {
        let target = c_name(file.name.as_str())?;
        if targets.contains(&target) {
            return Err(
                place.fault(format!("the bundle has the file {} twice", file.name), "tell the server's operator")
            );
        }
        check_target(&directory.handle, &target, &file.name, &place)?;
        targets.push(target);
    }
    let mut temporaries = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        let temporary = c_name(&format!(".chandlery-{}-{number}", std::process::id()))?;
        let created = create(&directory.handle, &temporary).map_err(|error| place.cannot(&file.name, &error))?;
        placed.names.push(temporary.clone());
        temporaries.push(temporary);
        fill(created, file, &place)?;
    }
    for ((temporary, target), file) in temporaries.iter().zip(targets).zip(files) {
        let renamed = sys::rename_at(&directory.handle, temporary, &target);
        renamed.map_err(|error| place.cannot(&file.name, &error))?;
        placed.names.push(target);
    }
    Ok(placed)
}

/// Where and how much: what the errors about placing need to know.
struct Place<'a> {
    config: &'a Config,
    bytes: usize,
}

impl Place<'_> {
    fn directory(&self) -> &Path {
        &self.config.secrets_dir
    }

    fn fault(&self, what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Exit::Files, what, hint)
    }

    /// The line for the compose file that makes the directory what it should be.
    fn compose_line(&self, directory: &str) -> String {
        let megabytes = (2 * self.bytes).div_ceil(1024 * 1024).max(1);
        let (uid, gid) = (sys::effective_user(), sys::effective_group());
        let owner = match (uid, gid) {
            (0, 0) => String::new(),
            (uid, gid) => format!(",uid={uid},gid={gid}"),
        };
        format!("tmpfs: [\"{directory}:mode=0700,size={megabytes}m{owner}\"]")
    }

    /// What to do where the directory cannot be written to: another one, because Docker keeps this one to itself.
    fn elsewhere(&self) -> String {
        let other = if self.directory() == Path::new("/run/chandlery") { "/run/app-secrets" } else { "/run/chandlery" };
        format!("set CHANDLERY_SECRETS_DIR={other} and add to the service: {}", self.compose_line(other))
    }

    /// Why a file could not be placed.
    fn cannot(&self, name: &EntryName, error: &io::Error) -> Failure {
        let directory = self.directory().display();
        match error.raw_os_error() {
            Some(libc::EROFS | libc::EACCES | libc::EPERM) => self.not_writable(error),
            Some(libc::ENOSPC | libc::EDQUOT) => self.fault(
                format!("{directory} is full: there is no room for the file {name}"),
                format!("make it larger: {}", self.compose_line(&directory.to_string())),
            ),
            Some(libc::EBUSY) => self.in_the_way(name, "a mount"),
            _ => self.fault(
                format!("the file {name} cannot be placed in {directory}: {error}"),
                "check the directory; CHANDLERY_SECRETS_DIR chooses another",
            ),
        }
    }

    fn not_writable(&self, error: &io::Error) -> Failure {
        let (directory, uid) = (self.directory().display(), sys::effective_user());
        self.fault(format!("{directory} cannot be written to by user {uid}: {error}"), self.elsewhere())
    }

    fn in_the_way(&self, name: &EntryName, what: &str) -> Failure {
        let directory = self.directory().display();
        let hint = match what {
            "a mount" => {
                "take the secret of that name out of the compose file's `secrets:`, or choose another directory \
                          with CHANDLERY_SECRETS_DIR"
            }
            _ => "take it away, or choose another directory with CHANDLERY_SECRETS_DIR",
        };
        self.fault(format!("{what} is in the way at {directory}/{name}"), hint)
    }
}

fn c_name(name: &str) -> Result<CString, Failure> {
    sys::c_string(Path::new(name))
        .map_err(|error| Failure::new(Exit::Internal, error.to_string(), "please report this"))
}

/// Makes sure that nothing but a plain file has the name: such a file is what an earlier start left on a disk, and is
/// replaced. A second link to it has another meaning to somebody else, so that one is refused like all the rest.
fn check_target(directory: &File, name: &CStr, entry: &EntryName, place: &Place<'_>) -> Result<(), Failure> {
    let cannot = |error: io::Error| place.cannot(entry, &error);
    let Some(found) = sys::stat_at(directory, name).map_err(cannot)? else {
        return Ok(());
    };
    let mounted = found.device != directory.metadata().map_err(cannot)?.dev();
    let what = match found.kind {
        _ if mounted => "a mount",
        libc::S_IFREG if found.links == 1 => return Ok(()),
        libc::S_IFREG => "a file with more than one link",
        libc::S_IFDIR => "a directory",
        libc::S_IFLNK => "a symlink",
        libc::S_IFIFO => "a FIFO",
        libc::S_IFSOCK => "a socket",
        _ => "a device",
    };
    Err(place.in_the_way(entry, what))
}

/// Makes a temporary file. One that is there already was left by a start that a signal ended: it had the same process
/// id, because every first process of a container has.
fn create(directory: &File, name: &CStr) -> io::Result<File> {
    match sys::create_at(directory, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            sys::unlink_at(directory, name)?;
            sys::create_at(directory, name)
        }
        outcome => outcome,
    }
}

/// Writes a file and makes its mode and owner exact, whatever the umask. The mode comes first: with CAP_CHOWN alone, a
/// file that was given away can no longer be changed.
fn fill(mut file: File, entry: &BundleFile, place: &Place<'_>) -> Result<(), Failure> {
    let cannot = |error: io::Error| place.cannot(&entry.name, &error);
    file.write_all(entry.value.expose_secret()).map_err(cannot)?;
    file.set_permissions(Permissions::from_mode(entry.mode.bits())).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    let uid = entry.uid.unwrap_or_else(sys::effective_user);
    // In a directory with the set-group-ID bit, the group of a new file is the directory's.
    let gid = entry.gid.unwrap_or_else(sys::effective_group);
    if (found.uid(), found.gid()) == (uid, gid) {
        return Ok(());
    }
    fchown(&file, Some(uid), Some(gid)).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => place.fault(
            format!(
                "the file {} is to belong to {uid}:{gid}, and user {} may not give it away",
                entry.name,
                sys::effective_user()
            ),
            format!(
                "run the container as user {uid}, or as root with `cap_add: [CHOWN]`, or take the owner off the entry"
            ),
        ),
        _ => cannot(error),
    })
}

#[cfg(test)]
mod tests;
