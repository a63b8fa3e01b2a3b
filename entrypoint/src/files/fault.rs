//! What goes wrong when files are placed, and the line for the compose file that mends it.

use std::io;
use std::path::Path;

use chandlery_wire::{BundleFile, EntryName};

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

    /// What to do where the directory cannot be written to: another one, because Docker keeps this one to itself.
    pub(super) fn elsewhere(&self) -> String {
        let other = if self.directory() == Path::new("/run/chandlery") { "/run/app-secrets" } else { "/run/chandlery" };
        format!("set CHANDLERY_SECRETS_DIR={other} and add to the service: {}", self.compose_line(other))
    }

    /// Why something could not be placed.
    pub(super) fn cannot(&self, name: &str, error: &io::Error) -> Failure {
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

    pub(super) fn not_writable(&self, error: &io::Error) -> Failure {
        let (directory, uid) = (self.directory().display(), sys::effective_user());
        self.fault(format!("{directory} cannot be written to by user {uid}: {error}"), self.elsewhere())
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
