//! Secret files: all of them in place, exactly as they should be, or none.
//!
//! Each file is written under a temporary name in the directory, gets its mode and owner, and takes its own name by a
//! rename: nobody ever opens half a file, or one with the wrong mode. Every path is relative to the directory's
//! descriptor and is a single name, so that nothing that is swapped on the way can lead elsewhere. There is no fsync:
//! it is memory. Files that may change while the app runs are placed as [`Sets`] instead.

mod directory;
mod fault;
mod leftovers;
mod memory;
mod sets;
mod write;

use std::rc::Rc;

use chandlery_wire::BundleFile;

use crate::config::Config;
use crate::failure::Failure;
use crate::sys;
use crate::user::User;

pub(crate) use sets::Sets;

use directory::Directory;
use fault::Place;
use leftovers::{INDEX, NEW_PREFIX};
use memory::Ground;
use sets::Names;
use write::{c_name, create, fill, targets};

/// What this start placed. It is gone again when this is dropped, which only a start that failed comes to do, and when a
/// signal ends the start.
#[derive(Debug)]
pub(crate) enum Placed<'a> {
    Nothing,
    Plain(#[expect(dead_code, reason = "what it does, it does when it is dropped")] Names),
    Sets(#[expect(dead_code, reason = "what it does, it does when it is dropped")] Sets<'a>),
}

/// Places the files in the secrets directory. Without files, nothing is made, and only what an earlier start left goes:
/// a container that needs none need not have the directory.
///
/// # Errors
/// The directory is not fit for secrets, something is in the way, or the kernel refuses an owner; then none is placed.
pub(crate) fn place<'a>(
    files: &[BundleFile],
    config: &'a Config,
    user: Option<&'a User>,
) -> Result<Placed<'a>, Failure> {
    let place = Place { config, user, files };
    let _held = sys::hold_signals();
    if files.is_empty() {
        directory::clear_if_there(&place);
        return Ok(Placed::Nothing);
    }
    let ground = Ground::find(&place, false)?;
    if ground.apart() {
        return Sets::on(ground, files, config, user).map(Placed::Sets);
    }
    let names = plain_files(&ground.directory, &place)?;
    let mut removals = names.removals();
    ground.removals(&mut removals);
    sys::remove_at_end(removals);
    Ok(Placed::Plain(names))
}

fn plain_files(directory: &Rc<Directory>, place: &Place<'_>) -> Result<Names, Failure> {
    let handle = &directory.handle;
    let mut targets = targets(handle, place)?;
    let mut names = Names::none(directory);
    // The index first, with what is to go: a start that is killed must leave no file that the next one does not know.
    let stale: Vec<_> = leftovers::listed(handle).into_iter().filter(|name| !targets.contains(name)).collect();
    let index = |names: &[_], stale: &[_]| {
        let written = leftovers::write_index(handle, names.iter().chain(stale));
        written.map_err(|error| place.cannot("..placed", &error))
    };
    index(&targets, &stale)?;
    names.names.push(INDEX.to_owned());
    for (number, file) in place.files.iter().enumerate() {
        let temporary = c_name(&format!("{NEW_PREFIX}{number}"))?;
        let created = create(handle, &temporary).map_err(|error| place.cannot(file.name.as_str(), &error))?;
        names.names.push(temporary);
        fill(created, file, place, place.directory())?;
    }
    for (number, (target, file)) in targets.iter().zip(place.files).enumerate() {
        let temporary = c_name(&format!("{NEW_PREFIX}{number}"))?;
        let renamed = sys::rename_at(handle, &temporary, target);
        renamed.map_err(|error| place.cannot(file.name.as_str(), &error))?;
        names.names.push(target.clone());
    }
    targets.push(INDEX.to_owned());
    leftovers::clear(handle, &targets);
    if !stale.is_empty() {
        targets.pop();
        index(&targets, &[])?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
