//! A second Docker on this machine.

use std::fs::File;
use std::net::Ipv4Addr;

use tempfile::TempDir;

use crate::docker::{self, docker};
use crate::{Run, skip, workspace};

/// A dockerd with a network, a host name and images of its own, which only one test at a time has; with it comes the lock on
/// this machine's swarm. `tests/e2e/second_node` makes it.
#[derive(Debug)]
pub struct SecondHost {
    folder: TempDir,
    pub name: &'static str,
    _only: File,
}

impl SecondHost {
    /// This host on the line between the two, and the other one.
    pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 1);
    pub const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 213, 77, 2);

    /// Whether a test can have one; says that it is skipped where it cannot.
    #[must_use]
    pub fn available(test: &str) -> bool {
        if !docker::available(test) {
            return false;
        }
        let root = rustix::process::geteuid().is_root();
        if !root {
            skip(test, "only root makes a second Docker host");
        }
        root
    }

    /// Waits until no other test has it.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(name: &'static str) -> Self {
        let only = docker::only_swarm();
        let folder = TempDir::with_prefix("chandlery-node-").expect("a temporary folder");
        let host = Self { folder, name, _only: only };
        host.script(&["start"], &[name]).ok();
        host
    }

    /// Its Docker's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    /// A folder that goes when it goes.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A `docker` command there.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> Run {
        docker(&[&["--host", &self.url()], args].concat())
    }

    /// Brings an image of this host there.
    ///
    /// # Panics
    /// If it cannot be done.
    pub fn load(&self, image: &str) {
        let saved = self.folder.path().join("image.tar");
        let saved = saved.to_str().expect("a plain path");
        docker(&["save", "-o", saved, image]).ok();
        self.docker(&["load", "-i", saved]).ok();
    }

    fn script(&self, before: &[&str], after: &[&str]) -> Run {
        let folder = self.folder.path().to_str().expect("a plain path");
        Run::new(workspace().join("tests/e2e/second_node")).args([before, &[folder], after].concat())
    }
}

impl Drop for SecondHost {
    fn drop(&mut self) {
        drop(self.script(&["stop"], &[]).output());
    }
}
