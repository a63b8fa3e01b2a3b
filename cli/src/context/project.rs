//! `chandlery.toml` in the project's folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chandlery_wire::{EntryName, RegionName, ServiceName};
use serde::{Deserialize, Serialize};

use super::hosts::{Hosts, RolloutRules};
use crate::failure::Failure;

pub(crate) const NAME: &str = "chandlery.toml";

/// What the file may say. A token is not among it: the file belongs into version control.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cacert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stack: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// What `check` looks for, whichever service gets it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) keys: BTreeMap<EntryName, Rule>,
    /// What each service must get.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) services: BTreeMap<ServiceName, ServiceRules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<CheckRules>,
    /// The machines of each region.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) hosts: BTreeMap<RegionName, Hosts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rollout: Option<RolloutRules>,
}

/// What one service must get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceRules {
    pub(crate) keys: BTreeMap<EntryName, Rule>,
}

/// What an entry must be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rule {
    pub(crate) required: bool,
    /// Whether it may be empty.
    pub(crate) empty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<bool>,
    /// A regular expression that is to be found in the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) regions: Vec<RegionName>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { required: true, empty: false, secret: None, pattern: None, regions: Vec::new() }
    }
}

/// What `check` makes of what is not declared, and of what nobody reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CheckRules {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undeclared: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unread: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unread_days: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    Ignore,
    Warning,
    Error,
}

/// The file, as it was found. Its paths are relative to its folder.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) path: PathBuf,
    pub(crate) keys: Keys,
}

impl Project {
    /// The file in this folder, or in the nearest one above it.
    pub(crate) fn find(folder: &Path) -> Result<Option<Self>, Failure> {
        for folder in folder.ancestors() {
            let path = folder.join(NAME);
            match fs::read_to_string(&path) {
                Ok(text) => return Self::parse(path, &text).map(Some),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(cannot(&path, &error.to_string())),
            }
        }
        Ok(None)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        // A file that anybody may write says where anybody wants the token to go. (Found on the way up: /tmp.)
        if fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o002 != 0) {
            let hint = format!("chmod o-w {}", path.display());
            return Err(Failure::usage(format!("{} can be written by anybody, and is not used", path.display()), hint));
        }
        let mut keys: Keys = toml::from_str(text).map_err(|error| cannot(&path, error.message()))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        for file in [&mut keys.cacert, &mut keys.token_file].into_iter().flatten() {
            if !file.trim_start().starts_with("-----BEGIN") {
                *file = folder.join(home(file)).to_string_lossy().into_owned();
            }
        }
        for host in keys.hosts.values_mut().flat_map(|hosts| &mut hosts.0) {
            for file in [&mut host.cert_path, &mut host.entrypoint].into_iter().flatten() {
                *file = folder.join(home(&file.to_string_lossy()));
            }
        }
        Ok(Self { path, keys })
    }

    pub(crate) fn token_file(&self) -> Option<PathBuf> {
        self.keys.token_file.as_ref().map(PathBuf::from)
    }
}

/// `~/` is where people keep such files, and no shell expands it here.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn cannot(path: &Path, why: &str) -> Failure {
    Failure::usage(
        format!("{} cannot be used: {}", path.display(), why.trim()),
        "its keys are addr, cacert, fingerprint, token_file, stack, environment, region and service, and the tables keys, services, check, hosts and rollout",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_above_counts_and_its_paths_are_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(temp.path().join(NAME), "stack = \"far\"\n").unwrap();
        assert_eq!(Project::find(&deep).unwrap().unwrap().keys.stack.as_deref(), Some("far"));
        fs::write(temp.path().join("a").join(NAME), "stack = \"near\"\ncacert = \"ca.pem\"\n").unwrap();
        let project = Project::find(&deep).unwrap().unwrap();
        assert_eq!(project.keys.stack.as_deref(), Some("near"));
        assert_eq!(project.keys.cacert, Some(temp.path().join("a/ca.pem").to_string_lossy().into_owned()));
    }

    #[test]
    fn an_unknown_key_is_an_error_and_a_token_is_one() {
        for text in ["stak = \"a\"\n", "token = \"chd_s3cret\"\n", "stack = 1\n", "="] {
            let temp = tempfile::tempdir().unwrap();
            fs::write(temp.path().join(NAME), text).unwrap();
            let failure = Project::find(temp.path()).unwrap_err();
            assert!(failure.what.contains(NAME) && !failure.to_string().contains("s3cret"), "{failure}");
        }
    }
}
