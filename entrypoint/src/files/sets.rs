//! Files that change while the app runs: all of them at once, as Kubernetes' `AtomicWriter` does it.
//!
//! ```text
//! DIR/..set-2/NAME            the files
//! DIR/..data -> ..set-2       switched by one rename
//! DIR/NAME -> ..data/NAME     what the app opens
//! ```
//!
//! Whoever opens a name sees a whole file, and whoever opens the directory `..data` once and reads names in it sees a
//! whole set, whatever is switched meanwhile. Two opens of `DIR/NAME` with a switch in between see one file of each set:
//! an app for which two files belong together opens `..data` and reads both there. The set before stays until the next
//! one has proved good ([`Sets::settle`]); whoever still holds it open then finds its files gone, and opens `..data` anew.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use chandlery_wire::BundleFile;

use super::directory::{self, Directory};
use super::fault::Place;
use super::leftovers::{self, BEFORE, DATA, NEW, SET_PREFIX};
use super::memory::Ground;
use super::write::{c_name, create, fill, targets};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::sys::{self, Removal};
use crate::user::User;

/// More sets than this are never there at once; the search for a free name ends here.
const MOST_SETS: u32 = 10_000;

/// The sets of files in the secrets directory: the one the app sees, and for a while the one before. All of it is gone
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct Sets<'a> {
    config: &'a Config,
    user: Option<&'a User>,
    /// Absent until there is a file to place: an app that needs none needs no directory.
    placed: Option<Placed>,
    /// Whether the last switch brought the first files there ever were.
    appeared: bool,
}

/// Fields are dropped from the first to the last: nobody sees a link to what is gone, but for the time of a call.
#[derive(Debug)]
struct Placed {
    links: Names,
    current: Set,
    before: Option<Set>,
    ground: Ground,
    /// The number of the last set.
    count: u32,
}

impl<'a> Sets<'a> {
    /// Places the first set. What earlier starts left in the directory goes before it.
    ///
    /// # Errors
    /// The directory is not fit for secrets, something is in the way, or the kernel refuses; then nothing is placed.
    pub(crate) fn first(files: &[BundleFile], config: &'a Config, user: Option<&'a User>) -> Result<Self, Failure> {
        let mut sets = Self { config, user, placed: None, appeared: false };
        let held = sys::hold_signals();
        sets.switch(files)?;
        sets.appeared = false;
        if let Some(placed) = &sets.placed {
            sys::remove_at_end(placed.removals());
        }
        drop(held);
        Ok(sets)
    }

    /// Places the only set there will be, for files that cannot be in the secrets directory itself.
    pub(super) fn on(
        ground: Ground,
        files: &[BundleFile],
        config: &'a Config,
        user: Option<&'a User>,
    ) -> Result<Self, Failure> {
        let placed = Placed::first(ground, &Place { config, user, files })?;
        sys::remove_at_end(placed.removals());
        Ok(Self { config, user, placed: Some(placed), appeared: false })
    }

    /// Places another set and shows it to the app in place of the current one, which stays for [`Sets::back`]. The one
    /// before that goes. From here on a signal's handler removes nothing: the files are the running app's.
    ///
    /// # Errors
    /// Those of [`Sets::first`]; then the current set is as it was, and nothing of the new one is left.
    pub(crate) fn switch(&mut self, files: &[BundleFile]) -> Result<(), Failure> {
        let place = Place { config: self.config, user: self.user, files };
        let _held = sys::hold_signals();
        sys::remove_nothing_at_end();
        self.settle();
        match &mut self.placed {
            Some(placed) => placed.switch(&place),
            None if files.is_empty() => Ok(()),
            None => {
                self.placed = Some(Placed::first(Ground::find(&place, true)?, &place)?);
                self.appeared = true;
                Ok(())
            }
        }
    }

    /// Shows the set before again, and takes the current one away. Without a set before, nothing changes.
    ///
    /// # Errors
    /// The kernel refuses a rename; then the current set stays.
    pub(crate) fn back(&mut self) -> Result<(), Failure> {
        let Some(placed) = &mut self.placed else { return Ok(()) };
        let _held = sys::hold_signals();
        if std::mem::take(&mut self.appeared) {
            // Before, the app had no files at all.
            self.placed = None;
            return Ok(());
        }
        placed.back().map_err(|error| {
            Failure::new(
                Exit::Files,
                format!("the files that were there before cannot be put back: {error}"),
                "the new ones stay; check the secrets directory, or restart the container",
            )
        })
    }

    /// The current set is good: the one before goes.
    pub(crate) fn settle(&mut self) {
        self.appeared = false;
        if let Some(placed) = &mut self.placed {
            placed.settle();
        }
    }
}

impl Placed {
    fn first(ground: Ground, place: &Place<'_>) -> Result<Self, Failure> {
        let mut links = Names::none(&ground.directory);
        let current = Set::write(&ground, 1, place)?;
        links.add(place, &[])?;
        current.show(DATA).map_err(|error| place.cannot("..data", &error))?;
        links.names.insert(0, DATA.to_owned());
        let count = current.number;
        Ok(Self { links, current, before: None, ground, count })
    }

    fn switch(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        // The modes of the files may let other users in than those before.
        self.ground.let_in(place)?;
        let next = Set::write(&self.ground, self.count + 1, place)?;
        let mut added = Names::none(&self.ground.directory);
        added.add(place, &self.links.names)?;
        let cannot = |error: io::Error| place.cannot("..data", &error);
        // The way back is there before it is needed: a full file system must not block it.
        self.current.show(BEFORE).map_err(cannot)?;
        added.names.push(BEFORE.to_owned());
        next.show(DATA).map_err(cannot)?;
        self.count = next.number;
        self.links.names.append(&mut added.names);
        self.before = Some(std::mem::replace(&mut self.current, next));
        Ok(())
    }

    fn back(&mut self) -> io::Result<()> {
        let Some(before) = &self.before else { return Ok(()) };
        sys::rename_at(&self.ground.directory.handle, BEFORE, DATA)?;
        self.links.keep_only(&before.files);
        if let Some(before) = self.before.take() {
            self.current = before;
        }
        Ok(())
    }

    fn settle(&mut self) {
        if self.before.is_some() {
            self.links.keep_only(&self.current.files);
            self.before = None;
        }
    }

    /// What takes all of it away, in the order in which it is dropped.
    fn removals(&self) -> Vec<Removal> {
        let mut all = self.links.removals();
        self.current.removals(&mut all);
        self.ground.removals(&mut all);
        all
    }
}

/// Names of ours in the secrets directory. They are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Names {
    directory: Rc<Directory>,
    pub(super) names: Vec<CString>,
}

impl Drop for Names {
    fn drop(&mut self) {
        sys::remove_all(&self.removals());
    }
}

impl Names {
    pub(super) fn none(directory: &Rc<Directory>) -> Self {
        Self { directory: Rc::clone(directory), names: Vec::new() }
    }

    pub(super) fn removals(&self) -> Vec<Removal> {
        self.names.iter().map(|name| Removal::of_file(&self.directory.handle, name.clone())).collect()
    }

    /// Makes the links of the files that have none yet.
    fn add(&mut self, place: &Place<'_>, known: &[CString]) -> Result<(), Failure> {
        let directory = &self.directory.handle;
        for (name, file) in targets(directory, place)?.into_iter().zip(place.files) {
            let new = !known.contains(&name);
            if new || !leftovers::is_our_link(directory, &name) {
                let linked = link(directory, &leftovers::target_of(&name), &name);
                linked.map_err(|error| place.cannot(file.name.as_str(), &error))?;
            }
            if new {
                self.names.push(name);
            }
        }
        Ok(())
    }

    /// Takes away the links to what is not in this set.
    fn keep_only(&mut self, files: &[CString]) {
        let kept = |name: &CString| files.contains(name) || name.as_c_str() == DATA;
        let (kept, gone) = std::mem::take(&mut self.names).into_iter().partition(kept);
        self.names = gone;
        sys::remove_all(&self.removals());
        self.names = kept;
    }
}

/// A set of files in a directory of its own. It is gone when this is dropped.
#[derive(Debug)]
struct Set {
    ground: Ground,
    number: u32,
    files: Vec<CString>,
}

impl Drop for Set {
    fn drop(&mut self) {
        let mut removals = Vec::new();
        self.removals(&mut removals);
        sys::remove_all(&removals);
    }
}

impl Set {
    /// Writes all files of a set that nobody sees yet, under the first number from this one that is free.
    fn write(ground: &Ground, number: u32, place: &Place<'_>) -> Result<Self, Failure> {
        let home = &ground.home;
        let cannot = |error: io::Error| place.cannot_in(&home.path, "..set", &error);
        let mut set = Self { ground: ground.clone(), number, files: Vec::with_capacity(place.files.len()) };
        loop {
            match sys::make_directory_at(&home.handle, &set.name()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && set.number < number + MOST_SETS => {
                    set.number += 1;
                }
                Err(error) => {
                    // The directory of that name is not this set's, and must not be taken for it.
                    set.number = 0;
                    return Err(cannot(error));
                }
                Ok(()) => break,
            }
        }
        let opened = sys::open_directory_at(&home.handle, &set.name()).map_err(cannot)?;
        directory::close(&opened, place, false).map_err(cannot)?;
        for file in place.files {
            let name = c_name(file.name.as_str())?;
            let cannot = |error: io::Error| place.cannot_in(&home.path, file.name.as_str(), &error);
            let created = create(&opened, &name).map_err(cannot)?;
            set.files.push(name);
            fill(created, file, place, &home.path)?;
        }
        Ok(set)
    }

    fn name(&self) -> CString {
        CString::new(format!("{SET_PREFIX}{}", self.number)).unwrap_or_default()
    }

    /// Makes a link of this name lead to the set, at once.
    fn show(&self, name: &CStr) -> io::Result<()> {
        let target = match self.ground.apart() {
            true => sys::c_string(&self.ground.home.path.join(OsStr::from_bytes(self.name().to_bytes())))?,
            false => self.name(),
        };
        link(&self.ground.directory.handle, &target, name)
    }

    fn removals(&self, all: &mut Vec<Removal>) {
        let home = &self.ground.home.handle;
        for file in &self.files {
            let path = [self.name().to_bytes(), b"/", file.to_bytes()].concat();
            all.push(Removal::of_file(home, CString::new(path).unwrap_or_default()));
        }
        all.push(Removal::of_directory(home, self.name()));
    }
}

/// Makes a symlink, in place of one or of a file that has the name already.
fn link(directory: &File, target: &CStr, name: &CStr) -> io::Result<()> {
    let _ = sys::unlink_at(directory, NEW);
    sys::link_at(target, directory, NEW)?;
    let renamed = sys::rename_at(directory, NEW, name);
    if renamed.is_err() {
        let _ = sys::unlink_at(directory, NEW);
    }
    renamed
}
