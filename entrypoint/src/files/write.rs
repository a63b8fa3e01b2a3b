//! One file: its content, its mode, its owner, and what may be where it is to go.

use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use chandlery_wire::BundleFile;

use super::fault::Place;
use super::leftovers;
use crate::failure::{Exit, Failure};
use crate::sys;

pub(super) fn c_name(name: &str) -> Result<CString, Failure> {
    sys::c_string(Path::new(name))
        .map_err(|error| Failure::new(Exit::Internal, error.to_string(), "please report this"))
}

/// The files' names. No two are the same, and what is there of each name may be replaced.
pub(super) fn targets(directory: &File, place: &Place<'_>) -> Result<Vec<CString>, Failure> {
    let mut targets = Vec::with_capacity(place.files.len());
    for file in place.files {
        let target = c_name(file.name.as_str())?;
        if targets.contains(&target) {
            return Err(
                place.fault(format!("the bundle has the file {} twice", file.name), "tell the server's operator")
            );
        }
        check_target(directory, &target, file.name.as_str(), place)?;
        targets.push(target);
    }
    Ok(targets)
}

/// Makes sure that nothing has the name but a plain file or a link of ours: such is what an earlier start left, and is
/// replaced. A second link to a file has another meaning to somebody else, so that one is refused like all the rest.
fn check_target(directory: &File, target: &CStr, name: &str, place: &Place<'_>) -> Result<(), Failure> {
    let cannot = |error: io::Error| place.cannot(name, &error);
    let Some(found) = sys::stat_at(directory, target).map_err(cannot)? else {
        return Ok(());
    };
    let mounted = found.device != directory.metadata().map_err(cannot)?.dev();
    let what = match found.kind {
        _ if mounted => "a mount",
        libc::S_IFREG if found.links == 1 && leftovers::listed(directory).iter().any(|name| **name == *target) => {
            return Ok(());
        }
        libc::S_IFLNK if leftovers::is_our_link(directory, target) => return Ok(()),
        libc::S_IFREG if found.links > 1 => "a file with more than one link",
        libc::S_IFREG => "somebody else's file",
        libc::S_IFDIR => "a directory",
        libc::S_IFLNK => "a symlink",
        libc::S_IFIFO => "a FIFO",
        libc::S_IFSOCK => "a socket",
        _ => "a device",
    };
    Err(place.in_the_way(name, what))
}

/// Makes a file, in place of one that an earlier start left under the same name when it was killed.
pub(super) fn create(directory: &File, name: &CStr) -> io::Result<File> {
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
pub(super) fn fill(mut file: File, entry: &BundleFile, place: &Place<'_>, directory: &Path) -> Result<(), Failure> {
    let cannot = |error: io::Error| place.cannot_in(directory, entry.name.as_str(), &error);
    file.write_all(entry.value.expose_secret()).map_err(cannot)?;
    file.set_permissions(Permissions::from_mode(entry.mode.bits())).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    // In a directory with the set-group-ID bit, the group of a new file is the directory's.
    let (uid, gid) = place.owner(entry);
    if (found.uid(), found.gid()) == (uid, gid) {
        return Ok(());
    }
    fchown(&file, Some(uid), Some(gid)).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => place.not_ours_to_give(&entry.name, (uid, gid)),
        _ => cannot(error),
    })
}
