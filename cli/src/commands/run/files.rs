//! Secret files for a command on this machine: in memory, readable by this user alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use chandlery_wire::BundleFile;

use crate::context::Surroundings;
use crate::failure::Failure;
use crate::output;

/// `f_type` of statfs(2) for file systems that are never written to a disk of their own.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const PREFIX: &str = "chandlery-run-";

/// Where the files are.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    ours: bool,
}

impl Files {
    /// A new folder that nobody else can enter. Its name says which process it is for, so that a later run can tell when
    /// it is no longer needed: after the exec there is nobody left to remove it.
    pub(super) fn fresh(surroundings: &Surroundings, allow_disk: bool) -> Result<Self, Failure> {
        let runtime = surroundings.path("XDG_RUNTIME_DIR").filter(|path| path.is_absolute());
        let places: Vec<PathBuf> = runtime.into_iter().chain([PathBuf::from("/dev/shm")]).collect();
        let parent = places.iter().find(|place| is_memory(place) && writable(place));
        let temporary = allow_disk.then(std::env::temp_dir);
        let Some(parent) = parent.cloned().or(temporary) else {
            return Err(Failure::failed(
                "there is no folder in memory for the service's files: neither $XDG_RUNTIME_DIR nor /dev/shm is one",
                "name one with --files-dir, or let them be written to a disk with --allow-disk",
            ));
        };
        sweep(&parent);
        let identity = own_identity().unwrap_or_else(|| format!("x-{}-x", std::process::id()));
        for attempt in 0..100 {
            let folder = parent.join(format!("{PREFIX}{identity}-{attempt}"));
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { folder, ours: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot(&folder, &error)),
            }
        }
        Err(cannot(&parent, &io::Error::from(io::ErrorKind::AlreadyExists)))
    }

    /// A folder that is there. What it holds besides stays, and stays there after the command.
    pub(super) fn existing(folder: &Path, allow_disk: bool) -> Result<Self, Failure> {
        let folder = fs::canonicalize(folder).map_err(|error| cannot(folder, &error))?;
        if !allow_disk && !is_memory(&folder) {
            return Err(Failure::failed(
                format!("{} is not in memory: secrets would be written to a disk", folder.display()),
                "name a folder on a tmpfs, such as one in /dev/shm, or allow it with --allow-disk",
            ));
        }
        Ok(Self { folder, ours: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Written under another name and renamed: nobody sees half of it, and no symlink is followed.
    pub(super) fn place(&self, file: &BundleFile) -> Result<(), Failure> {
        let path = self.folder.join(file.name.as_str());
        let part = self.folder.join(format!(".{}.{}.part", file.name, std::process::id()));
        let result = write(&part, file).and_then(|()| fs::rename(&part, &path));
        result.map_err(|error| {
            let _ = fs::remove_file(&part);
            cannot(&path, &error)
        })
    }

    /// Takes away what was made, where no command will use it.
    pub(super) fn remove(self) {
        if self.ours {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn write(part: &Path, file: &BundleFile) -> io::Result<()> {
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    written.write_all(file.value.expose_secret())?;
    if file.uid.is_some() || file.gid.is_some() {
        // Whoever is not root cannot give files away, and on a laptop the command runs as the same user anyway.
        if let Err(error) = fchown(&written, file.uid, file.gid) {
            output::note(&format!("note: {} stays yours: {error}", file.name));
        }
    }
    written.set_permissions(fs::Permissions::from_mode(file.mode.bits()))
}

fn is_memory(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|statistics| {
        // The field's type differs from machine to machine; the magic numbers fit 32 bits.
        let kind = statistics.f_type as u64 & 0xffff_ffff;
        kind == TMPFS || kind == RAMFS
    })
}

fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Removes our folders whose process has ended.
fn sweep(parent: &Path) {
    let (Some(own), Ok(entries)) = (own_identity(), fs::read_dir(parent)) else { return };
    let Some((namespace, _)) = own.split_once('-') else { return };
    let user = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(identity) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let parts: Vec<&str> = identity.split('-').collect();
        let [known, pid, started, _] = parts[..] else { continue };
        let ours = fs::symlink_metadata(entry.path()).is_ok_and(|found| found.is_dir() && found.uid() == user);
        let alive = start_time(pid).is_some_and(|time| time == started);
        // A process of another pid namespace cannot be seen from here, dead or alive.
        if ours && known == namespace && !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The pid namespace, the pid and the start time of this process, which the command will have too.
fn own_identity() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let pid = std::process::id();
    Some(format!("{namespace}-{pid}-{}", start_time(&pid.to_string())?))
}

/// Field 22 of `/proc/PID/stat`; the second, the command's name, may hold spaces and brackets.
fn start_time(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19).map(str::to_owned)
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(
        format!("the file {} cannot be placed: {error}", path.display()),
        "name a folder in memory that you may write to with --files-dir",
    )
}
