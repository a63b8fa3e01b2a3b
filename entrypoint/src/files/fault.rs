//! What goes wrong when files are placed, and the line for the compose file that mends it.

use std::fs::File;
use std::io;
use std::path::Path;

use chandlery_wire::{BundleFile, EntryName};

use super::leftovers;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::sys;
use crate::user::User;

/// A page of memory: no file in a tmpfs takes less.
const PAGE: usize = 4096;
const MEGABYTE: usize = 1024 * 1024;

/// What is to be placed, where and for whom: what the errors about it need to know, too.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) config: &'a Config,
    /// Whom the app runs as, if not as this process.
    pub(super) user: Option<&'a User>,
    pub(super) files: &'a [BundleFile],
}

impl Place<'_> {
    pub(super) fn directory(&self) -> &Path {
        &self.config.secrets_dir
    }

    /// Whom a file belongs to: its entry says it, or else it belongs to whom the app runs as. Where the entry names
    /// another user and no group, the group is ours: the app's would let the app read what is for somebody else.
    pub(super) fn owner(&self, file: &BundleFile) -> (u32, u32) {
        let ours = (sys::effective_user(), sys::effective_group());
        let (user, group) = self.user.map_or(ours, |user| (user.uid, user.gid));
        let uid = file.uid.unwrap_or(user);
        let group = if uid == user { group } else { ours.1 };
        (uid, file.gid.unwrap_or(group))
    }

    /// The megabytes that the files need, twice over: when they change, the old ones and the new ones are there together.
    pub(super) fn megabytes(&self) -> usize {
        let pages = self.files.iter().map(|file| file.value.len() / PAGE + 1).sum::<usize>();
        (2 * PAGE * pages).div_ceil(MEGABYTE)
    }

    #[expect(clippy::unused_self, reason = "all faults about placing are made in one way")]
    pub(super) fn fault(&self, what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Exit::Files, what, hint)
    }

    /// The line for the compose file that makes the directory what it should be.
    pub(super) fn compose_line(&self, directory: &str) -> String {
        let megabytes = self.megabytes().max(1);
        let owner = match (sys::effective_user(), sys::effective_group()) {
            (0, 0) => String::new(),
            (uid, gid) => format!(",uid={uid},gid={gid}"),
        };
        format!("tmpfs: [\"{directory}:mode=0700,size={megabytes}m{owner}\"]")
    }

    /// What to do where the directory is not what it should be.
    pub(super) fn line_to_add(&self) -> String {
        format!("add to the service: {}", self.line_or_shared(self.directory()))
    }

    /// What to do where Docker keeps the directory to itself: another one.
    fn elsewhere(&self) -> String {
        let other = if self.directory() == Path::new("/run/chandlery") { "/run/app-secrets" } else { "/run/chandlery" };
        let line = self.line_or_shared(Path::new(other));
        format!("set CHANDLERY_SECRETS_DIR={other} and add to the service: {line}")
    }

    /// The line, and what to do instead where it is dropped without a word (`docker stack deploy`).
    fn line_or_shared(&self, directory: &Path) -> String {
        let line = self.compose_line(&directory.display().to_string());
        format!("{line}; under Swarm, which drops that line, set CHANDLERY_SECRETS_DIR=/dev/shm/secrets instead")
    }

    /// Why something could not be placed in the secrets directory.
    pub(super) fn cannot(&self, name: &str, error: &io::Error) -> Failure {
        self.cannot_in(self.directory(), name, error)
    }

    /// Why something could not be placed in a directory: the one for secrets, or the one that its links lead to.
    pub(super) fn cannot_in(&self, directory: &Path, name: &str, error: &io::Error) -> Failure {
        let path = directory.display();
        match error.raw_os_error() {
            Some(libc::EROFS | libc::EACCES | libc::EPERM) => self.not_writable(error),
            Some(libc::ENOSPC | libc::EDQUOT) => {
                let what = format!("{path} is full: there is no room for the file {name}");
                let line = self.compose_line(&self.directory().display().to_string());
                let hint = if directory == self.directory() { "make it larger" } else { "add to the service" };
                self.fault(what, format!("{hint}: {line}"))
            }
            Some(libc::EBUSY) => self.in_the_way(name, "a mount"),
            _ => self.fault(
                format!("the file {name} cannot be placed in {path}: {error}"),
                "check the directory; CHANDLERY_SECRETS_DIR chooses another",
            ),
        }
    }

    /// Where Docker keeps the directory to itself, another one is needed; else it becomes one of its own.
    pub(super) fn not_writable(&self, error: &io::Error) -> Failure {
        let (directory, uid) = (self.directory(), sys::effective_user());
        let opened = File::open(directory);
        let dockers = |handle: &File| leftovers::has_mounts(handle) || sys::is_in_memory(handle).unwrap_or(true);
        let hint = if opened.as_ref().is_ok_and(dockers) { self.elsewhere() } else { self.line_to_add() };
        self.fault(format!("{} cannot be written to by user {uid}: {error}", directory.display()), hint)
    }

    pub(super) fn in_the_way(&self, name: &str, what: &str) -> Failure {
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

    pub(super) fn not_ours_to_give(&self, name: &EntryName, (uid, gid): (u32, u32)) -> Failure {
        let hint = match self.user {
            Some(user) if user.uid == uid => {
                "add to the service: cap_add: [CHOWN], or set `user:` there instead of CHANDLERY_USER".to_owned()
            }
            _ => format!(
                "run the container as user {uid}, or as root with `cap_add: [CHOWN]`, or take the owner off the entry"
            ),
        };
        let us = sys::effective_user();
        self.fault(format!("the file {name} is to belong to {uid}:{gid}, and user {us} may not give it away"), hint)
    }
}
