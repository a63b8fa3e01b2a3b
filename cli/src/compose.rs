//! A compose or stack file, read as compose reads it: the model that `chandlery stack` works on.
//!
//! Pure: what it needs of the world (the shell's variables, files) comes in as [`World`]. No fault and no `Debug` quotes a
//! value, for any of them may be a secret.

mod dotenv;
mod emit;
mod interpolate;
mod load;
mod merge;
mod needs;
pub(crate) mod overlay;
mod plan;
mod service;
mod sources;
mod variables;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use chandlery_wire::Value;
use zeroize::Zeroizing;

pub(crate) use emit::emit;
pub(crate) use interpolate::{Met, Use};
pub(crate) use load::{Files, load};
pub(crate) use needs::{Lack, lacks};
#[cfg(test)]
pub(crate) use plan::Said;
pub(crate) use plan::{Plan, Wanted, Wishes};
pub(crate) use service::Service;
use sources::Source;
use yaml::Node;

/// Where in which file something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: Rc<str>,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing that is wrong with the files, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) at: Place,
    pub(crate) what: String,
}

impl Fault {
    fn new(at: &Place, what: impl Into<String>) -> Self {
        Self { at: at.clone(), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// What compose looks at besides its files.
pub(crate) struct World<'a> {
    /// The shell's variables; those of `.env` come after them.
    pub(crate) shell: &'a BTreeMap<String, String>,
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<Zeroizing<Vec<u8>>>,
}

/// The services of one or more files, merged.
#[derive(Debug)]
pub(crate) struct Project {
    /// `version:` as the first file has it: compose wants the same in every file.
    pub(crate) version: Option<String>,
    pub(crate) name: Option<String>,
    /// What relative paths are relative to: the first file's folder.
    pub(crate) folder: PathBuf,
    /// In the order of the files.
    pub(crate) services: Vec<Service>,
    pub(crate) secrets: BTreeMap<String, Source>,
    pub(crate) configs: BTreeMap<String, Source>,
    /// Everything, merged and interpolated.
    pub(crate) tree: Node,
    /// What `.env` and `--env-file` say.
    pub(crate) dotenv: BTreeMap<String, Value>,
    /// Every `${…}` of the files.
    pub(crate) uses: Vec<Use>,
    /// What a person should know about how the files were read.
    pub(crate) notes: Vec<String>,
    /// What an import leaves to compose, and why.
    pub(crate) left: Vec<String>,
}

impl Project {
    /// What `${name}` stands for: the shell's value before that of `.env`.
    pub(crate) fn look_up(&self, world: &World<'_>, name: &str) -> Option<String> {
        load::look_up(world, &self.dotenv, name)
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

#[cfg(test)]
mod tests;
