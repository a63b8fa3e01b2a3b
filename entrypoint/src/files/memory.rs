//! Memory for the files: the secrets directory itself, a tmpfs that is mounted there, or the container's /dev/shm with
//! links from there; in this order, and else none.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use super::directory::{self, Directory};
use super::fault::Place;
use super::leftovers;
use crate::failure::{Failure, say};
use crate::sys::{self, Removal};

/// The inodes of the host's own namespaces (linux/proc_ns.h, and since 6.18 linux/nsfs.h).
const HOSTS_IPC: u64 = 0xEFFF_FFFF;
const HOSTS_PID: u64 = 0xEFFF_FFFC;
const HOSTS_MOUNTS: u64 = 0xEFFF_FFF8;

const SHARED_MEMORY: &str = "/dev/shm";
/// What a directory of ours in /dev/shm is called; something random follows.
const OURS: &str = "chandlery-";
/// The least size of a tmpfs of ours: a bound, not what it takes.
const LEAST_MEGABYTES: usize = 8;

/// The secrets directory, and the one that holds the files.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Where the app looks.
    pub(super) directory: Rc<Directory>,
    /// Where the sets are: the same, or a directory in /dev/shm.
    pub(super) home: Rc<Directory>,
}

impl Ground {
    /// Finds memory for the files. What earlier starts left goes first where `sets` or links will take its place; plain
    /// files are replaced one by one.
    pub(super) fn find(place: &Place<'_>, sets: bool) -> Result<Self, Failure> {
        let mut directory = Directory::open(place)?;
        let tell = |how: &str| {
            if place.config.verbose {
                say(&format!("files are placed in {}, {how}", place.directory().display()));
            }
        };
        let in_memory = sys::is_in_memory(&directory.handle).map_err(|error| place.cannot("..data", &error))?;
        if in_memory || place.config.allow_disk {
            directory.close(place, false)?;
            if sets {
                leftovers::clear(&directory.handle, &[]);
            }
            match in_memory {
                true => tell("which is memory"),
                false => say(&format!("{} is not in memory: secrets are on a disk", place.directory().display())),
            }
            return Ok(Self::whole(directory));
        }
        leftovers::clear(&directory.handle, &[]);
        if may_mount_over(&directory) && directory.mount(LEAST_MEGABYTES.max(2 * place.megabytes())).is_ok() {
            directory.close(place, false)?;
            tell("which is a tmpfs that was mounted there");
            return Ok(Self::whole(directory));
        }
        let Some(home) = shared_memory().and_then(|memory| make_home(&memory).ok()) else {
            return Err(not_memory(place));
        };
        home.close(place, false)?;
        directory.close(place, true)?;
        tell(&format!("as links to {}", home.path.display()));
        Ok(Self { directory: Rc::new(directory), home: Rc::new(home) })
    }

    fn whole(directory: Directory) -> Self {
        let directory = Rc::new(directory);
        Self { home: Rc::clone(&directory), directory }
    }

    /// Whether the files are elsewhere, and the secrets directory has links to them.
    pub(super) fn apart(&self) -> bool {
        !Rc::ptr_eq(&self.directory, &self.home)
    }

    /// Lets the users of other files than before in, too.
    pub(super) fn let_in(&self, place: &Place<'_>) -> Result<(), Failure> {
        let outcome = directory::close(&self.directory.handle, place, true)
            .and_then(|()| directory::close(&self.home.handle, place, true));
        outcome.map_err(|error| place.cannot("..data", &error))
    }

    pub(super) fn removals(&self, all: &mut Vec<Removal>) {
        if self.apart() {
            self.home.removals(all);
        }
        self.directory.removals(all);
    }
}

/// Whether a tmpfs may be mounted over the directory, if the kernel allows it: nothing is in it that would be hidden, this
/// is a container and not the host, and the mount would reach no other mount namespace.
fn may_mount_over(directory: &Directory) -> bool {
    let foreign = |namespace: &str, hosts: u64| {
        std::fs::metadata(Path::new("/proc/self/ns").join(namespace)).is_ok_and(|found| found.ino() != hosts)
    };
    let container = foreign("pid", HOSTS_PID) && foreign("ipc", HOSTS_IPC) && foreign("mnt", HOSTS_MOUNTS);
    let empty = || sys::names_in(&directory.handle).is_ok_and(|names| names.is_empty());
    let private = || std::fs::read("/proc/self/mountinfo").is_ok_and(|mounts| is_private(&mounts, &directory.path));
    container && empty() && private()
}

/// Whether the mount that a path lies in is shared with no other namespace: proc_pid_mountinfo(5). A mount point with
/// a space or the like in it is escaped there, and then not recognised: the mount above it answers for it.
fn is_private(mounts: &[u8], path: &Path) -> bool {
    let mut found = None;
    for line in mounts.split(|c| *c == b'\n') {
        let mut fields = line.split(|c| *c == b' ');
        let Some(point) = fields.nth(4) else { continue };
        let shared = fields.take_while(|field| *field != b"-").any(|field| field.starts_with(b"shared:"));
        let around = path.starts_with(Path::new(std::ffi::OsStr::from_bytes(point)));
        // Of two mounts at the same place, the later one hides the other.
        if around && found.is_none_or(|(length, _)| length <= point.len()) {
            found = Some((point.len(), shared));
        }
    }
    found.is_some_and(|(_, shared)| !shared)
}

/// The container's /dev/shm, where it has one of its own: not the host's, and a mount. Containers that share their IPC
/// namespace share it; each user's directory in it is closed to the others all the same.
fn shared_memory() -> Option<File> {
    let own = std::fs::metadata("/proc/self/ns/ipc").ok()?.ino() != HOSTS_IPC;
    let (memory, around) = (open_shared()?, std::fs::metadata("/dev").ok()?);
    let mounted = memory.metadata().ok()?.dev() != around.dev();
    (own && mounted && sys::is_in_memory(&memory).ok()?).then_some(memory)
}

fn open_shared() -> Option<File> {
    sys::open_directory_at(&File::open("/dev").ok()?, c"shm").ok()
}

/// Makes a directory of our own in shared memory. Everybody may add names there, so it must not have been there before.
fn make_home(memory: &File) -> io::Result<Directory> {
    let random = RandomState::new().hash_one(std::process::id());
    Directory::make_in(memory, Path::new(SHARED_MEMORY).join(format!("{OURS}{random:016x}")))
}

/// Takes away the directory in shared memory that an earlier start's link leads to, if it is one of ours. After a restart
/// of the container it is gone already, with all of the memory.
pub(super) fn clear_shared(target: &[u8]) {
    let target = Path::new(std::ffi::OsStr::from_bytes(target));
    let Some(home) = target.parent().filter(|home| home.parent() == Some(Path::new(SHARED_MEMORY))) else { return };
    let name = home.file_name().filter(|name| name.as_bytes().starts_with(OURS.as_bytes()));
    let (Some(name), Some(memory)) = (name.and_then(|name| sys::c_string(Path::new(name)).ok()), open_shared()) else {
        return;
    };
    let Ok(opened) = sys::open_directory_at(&memory, &name) else { return };
    let ours = opened.metadata().is_ok_and(|found| found.uid() == sys::effective_user());
    if ours {
        let (memory, opened) = (Rc::new(memory), Rc::new(opened));
        for set in sys::names_in(&opened).unwrap_or_default() {
            leftovers::clear_set(&opened, set);
        }
        sys::remove_all(&[Removal::of_directory(&memory, name)]);
    }
}

fn not_memory(place: &Place<'_>) -> Failure {
    let path = place.directory().display();
    place.fault(
        format!("{path} is not in memory, and secrets do not belong on a disk"),
        format!(
            "add to the service: {}; CHANDLERY_ALLOW_DISK=1 allows the disk",
            place.compose_line(&path.to_string())
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_private_unless_the_innermost_one_says_shared() {
        let mounts = b"22 1 0:1 / / rw shared:1 - ext4 /dev/vda rw\n23 22 0:2 / /run rw,relatime - tmpfs tmpfs rw\n\
            24 23 0:3 / /run/lock rw shared:2 master:1 - tmpfs x rw\n25 22 0:4 / /srv rw master:7 - ext4 shared:1 rw\n\
            26 23 0:5 / /run/lock rw - tmpfs x rw\n27 26 0:6 / /run/lock rw shared:9 - tmpfs x rw\njunk\n";
        let private = |path: &str| is_private(mounts, Path::new(path));
        assert!(private("/run/secrets") && private("/srv/secrets") && private("/run/locker"));
        assert!(!private("/etc/secrets") && !private("/run/lock/secrets") && !private("/running"));
        assert!(!is_private(b"", Path::new("/run/secrets")));
    }
}
