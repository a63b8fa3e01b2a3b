//! The composes that are on this machine: version 1 and version 2 are two programs, and users have either.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::Run;
use crate::programs::folder;

/// One of them, as the only one that a program finds.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: &'static str,
    /// The docker client's own folder: a plug-in is found there.
    config: PathBuf,
}

impl Tool {
    /// All that are here: `docker-compose` 1, and the plug-in that `tests/compose-2` brings or that is installed.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn all() -> Vec<Self> {
        // What `tests/run` fills; and beside it a folder in which there is no plug-in.
        let [two, none] = ["compose-2", "compose-none"].map(|name| folder().join("..").join(name));
        fs::create_dir_all(&none).expect("the target folder takes a folder");
        let one = Self { name: "docker-compose", config: none };
        let two = Self { name: "docker compose", config: two };
        let is_one = || {
            let version = Run::new("/usr/bin/env").args(["docker-compose", "version", "--short"]).output();
            !one.has_plugin() && version.text().starts_with("1.")
        };
        let found: Vec<Self> =
            [is_one().then(|| one.clone()), two.has_plugin().then_some(two)].into_iter().flatten().collect();
        assert!(!found.is_empty(), "there is no compose: tests/run installs it");
        found
    }

    /// The program with this compose, and no other.
    #[must_use]
    pub fn to(&self, run: Run) -> Run {
        self.variables().into_iter().fold(run, |run, (name, value)| run.env(name, value))
    }

    /// The same, as variables.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, OsString); 2] {
        // The classic builder finds the local images without asking anybody for them.
        [("DOCKER_CONFIG", self.config.clone().into()), ("DOCKER_BUILDKIT", "0".into())]
    }

    fn has_plugin(&self) -> bool {
        let version = Run::new("/usr/bin/env").args(["docker", "compose", "version", "--short"]);
        version.env("DOCKER_CONFIG", &self.config).output().code() == 0
    }
}
