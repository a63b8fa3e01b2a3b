//! What earlier starts left in a directory that outlived them, and how it is told from what is not ours.
//!
//! Links, sets and temporary files are told by their names, which start with two dots, as no entry's does, and by their
//! targets. Plain files cannot be told from anybody else's, so their names are kept in an index beside them. It is
//! believed if this user wrote it and nobody else may, and it can name nothing but plain files in the same directory:
//! whoever could forge it could remove those without it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use chandlery_wire::EntryName;

use super::memory;
use super::write::create;
use crate::sys::{self, Removal};

/// The names of the plain files, a line each.
pub(super) const INDEX: &CStr = c"..placed";
/// The link to the current set, and the one to the set before.
pub(super) const DATA: &CStr = c"..data";
pub(super) const BEFORE: &CStr = c"..before";
/// What a link is called until it is renamed to what it is.
pub(super) const NEW: &CStr = c"..new";
/// What a file is called until it is renamed to what it is; a number follows.
pub(super) const NEW_PREFIX: &str = "..new-";
/// What a set is called; a number follows.
pub(super) const SET_PREFIX: &str = "..set-";

/// More than this is no index: an entry's name has at most 128 bytes.
const LONGEST: usize = 1024 * 1024;

/// Whether a name is a link of ours to the file of that name in the current set.
pub(super) fn is_our_link(directory: &File, name: &CStr) -> bool {
    let target = sys::target_of(directory, name);
    let owner = sys::stat_at(directory, name).ok().flatten().map(|found| found.owner);
    owner == Some(sys::effective_user()) && target.is_some_and(|target| target == target_of(name).as_bytes())
}

/// Where the link of a name leads.
pub(super) fn target_of(name: &CStr) -> CString {
    let target = [DATA.to_bytes(), b"/", name.to_bytes()].concat();
    CString::new(target).unwrap_or_default()
}

/// The plain files that an earlier start placed here.
pub(super) fn listed(directory: &File) -> Vec<CString> {
    let found = sys::stat_at(directory, INDEX).ok().flatten();
    let believed = found.is_some_and(|found| {
        let nobody_elses = found.owner == sys::effective_user() && found.mode & 0o022 == 0;
        found.kind == libc::S_IFREG && found.links == 1 && nobody_elses
    });
    if !believed {
        return Vec::new();
    }
    let read = sys::open_at(directory, INDEX).and_then(|file| sys::read_at_most(&file, LONGEST));
    let text = String::from_utf8(read.unwrap_or_default()).unwrap_or_default();
    let names = text.lines().filter_map(|line| EntryName::parse(line).ok());
    names.filter_map(|name| CString::new(name.as_str()).ok()).collect()
}

/// Writes the index, mode 0600. An entry's name is no secret, but nobody else needs the list.
pub(super) fn write_index<'a>(directory: &File, names: impl Iterator<Item = &'a CString>) -> io::Result<()> {
    let mut text = Vec::new();
    for name in names {
        text.extend_from_slice(name.to_bytes());
        text.push(b'\n');
    }
    let write = || {
        create(directory, NEW)?.write_all(&text)?;
        sys::rename_at(directory, NEW, INDEX)
    };
    let written = write();
    if written.is_err() {
        let _ = sys::unlink_at(directory, NEW);
    }
    written
}

/// Takes away what earlier starts left, but for what has one of these names.
pub(super) fn clear(directory: &Rc<File>, keep: &[CString]) {
    let us = sys::effective_user();
    for name in listed(directory).iter().filter(|name| !keep.contains(name)) {
        let found = sys::stat_at(directory, name).ok().flatten();
        if found.is_some_and(|found| found.kind == libc::S_IFREG && found.links == 1) {
            let _ = sys::unlink_at(directory, name);
        }
    }
    let names = sys::names_in(directory).unwrap_or_default();
    for name in names.into_iter().filter(|name| !keep.contains(name)) {
        let Some(found) = sys::stat_at(directory, &name).ok().flatten().filter(|found| found.owner == us) else {
            continue;
        };
        let fixed = [INDEX, DATA, BEFORE, NEW].contains(&name.as_c_str());
        let file = fixed || name.to_bytes().starts_with(NEW_PREFIX.as_bytes());
        if name.as_c_str() == DATA && found.kind == libc::S_IFLNK {
            memory::clear_shared(&sys::target_of(directory, DATA).unwrap_or_default());
        }
        match found.kind {
            libc::S_IFREG if file => drop(sys::unlink_at(directory, &name)),
            libc::S_IFLNK if fixed || is_our_link(directory, &name) => drop(sys::unlink_at(directory, &name)),
            libc::S_IFDIR if name.to_bytes().starts_with(SET_PREFIX.as_bytes()) => clear_set(directory, name),
            _ => {}
        }
    }
}

/// Takes away a set with its files.
pub(super) fn clear_set(home: &Rc<File>, name: CString) {
    if let Ok(set) = sys::open_directory_at(home, &name) {
        for file in sys::names_in(&set).unwrap_or_default() {
            let _ = sys::unlink_at(&set, &file);
        }
        sys::remove_all(&[Removal::of_directory(home, name)]);
    }
}

/// Whether a directory holds anything that is mounted there: Docker's own secrets are.
pub(super) fn has_mounts(directory: &File) -> bool {
    let Ok(device) = directory.metadata().map(|found| found.dev()) else { return false };
    let names = sys::names_in(directory).unwrap_or_default();
    names.iter().any(|name| sys::stat_at(directory, name).ok().flatten().is_some_and(|found| found.device != device))
}
