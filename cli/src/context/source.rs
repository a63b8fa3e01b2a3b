//! What was said, and where.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::failure::Failure;

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Variable(&'static str),
    Project(PathBuf),
    Login(PathBuf),
    Local(PathBuf),
    /// A secret of the container or the unit.
    Mounted(PathBuf),
    /// What the machine says of itself.
    Machine(PathBuf),
    Metadata(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "{name}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Metadata(service) => write!(f, "{service}"),
            Self::Project(path) | Self::Mounted(path) | Self::Machine(path) => write!(f, "{}", path.display()),
            Self::Login(path) => write!(f, "the login stored in {}", path.display()),
            Self::Local(path) => write!(f, "the server on this machine ({})", path.display()),
        }
    }
}

/// Something that was said, and where.
#[derive(Debug, Clone)]
pub(crate) struct Item<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// What the process was started with, apart from flags: variables, the folder, the user.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) variables: BTreeMap<String, OsString>,
    pub(crate) folder: PathBuf,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { variables: variables.collect(), folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")) }
    }

    /// An empty variable is one that is not set: compose files and CI forms cannot say it otherwise.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, Failure> {
        let value = self.variables.get(name).filter(|value| !value.is_empty());
        let text = value.map(|value| value.clone().into_string()).transpose();
        text.map_err(|_| Failure::usage(format!("the variable {name} is not UTF-8"), "set it again, or unset it"))
    }
}
