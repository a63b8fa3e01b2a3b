//! What is different between two sets, by name. Values are compared, and never shown.

use std::ffi::OsStr;

use chandlery_wire::{Bundle, BundleFile};
use zeroize::Zeroizing;

use crate::cache;
use crate::config::Config;
use crate::environ::Environment;
use crate::fetch::Fetched;

/// A bundle, and the environment that it makes for the app. Both wipe their values when they are dropped.
pub(super) struct Set {
    pub(super) bundle: Bundle,
    pub(super) environment: Environment,
    /// The bundle as the server sent it, where a copy of it is kept.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

impl Set {
    pub(super) fn new(fetched: Fetched, environment: Environment, config: &Config) -> Self {
        // Only a copy (`--cache`) needs the text once more.
        let body = fetched.body.filter(|_| config.cache.is_some());
        Self { bundle: fetched.bundle, environment, body }
    }

    /// Keeps a copy of what is good, for when the server is away.
    pub(super) fn keep(&self, config: &Config) {
        if config.cache.is_none() {
            return;
        }
        match &self.body {
            Some(body) => cache::keep(config, body),
            // It came from the copy itself, which is not to age while the server says that it is still good.
            None => {
                if let Ok(body) = serde_json::to_vec(&self.bundle).map(Zeroizing::new) {
                    cache::keep(config, &body);
                }
            }
        }
    }
}

/// The names that differ, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) variables: Vec<String>,
    pub(super) files: Vec<String>,
}

impl Change {
    /// What an app with one set would find different with the other. Where values came from, and which revision they are
    /// of, is nothing to the app.
    pub(super) fn between(old: &Set, new: &Set) -> Self {
        let variables = differing(&pairs(&old.environment), &pairs(&new.environment));
        let files = differing(&files(&old.bundle), &files(&new.bundle));
        Self { variables, files }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.variables.is_empty() && self.files.is_empty()
    }

    /// For a line to people: `variables A, B; files c`.
    pub(super) fn words(&self) -> String {
        let parts = [("variables", &self.variables), ("files", &self.files)];
        let parts = parts.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(kind, names)| format!("{kind} {}", names.join(", "))).collect();
        parts.join("; ")
    }
}

fn pairs(environment: &Environment) -> Vec<(String, &OsStr)> {
    environment.iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect()
}

/// Everything about a file that an app can see.
type Shape<'a> = (&'a [u8], u32, Option<u32>, Option<u32>);

fn files(bundle: &Bundle) -> Vec<(String, Shape<'_>)> {
    let shape = |file: &BundleFile| (file.name.to_string(), file.mode.bits(), file.uid, file.gid);
    let shapes = bundle.files.iter().map(|file| (shape(file), file.value.expose_secret()));
    shapes.map(|((name, mode, uid, gid), value)| (name, (value, mode, uid, gid))).collect()
}

/// The names that only one of the two has, or that have another value in each.
fn differing<T: PartialEq>(old: &[(String, T)], new: &[(String, T)]) -> Vec<String> {
    let missing = |from: &[(String, T)], item: &(String, T)| !from.contains(item);
    let mut names: Vec<String> = old.iter().filter(|item| missing(new, item)).map(|(name, _)| name.clone()).collect();
    names.extend(new.iter().filter(|item| missing(old, item)).map(|(name, _)| name.clone()));
    names.sort();
    names.dedup();
    names
}
