//! `[source]` of the configuration: who may refer to what. Nobody to anything, until it says so.

use serde::{Deserialize, Serialize};

use super::aws::Access;
use super::{Directory, Program};

/// What the sources may be asked for. It is said in the file alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    pub aws: Access,
    pub exec: ExecRules,
    pub file: FileRules,
}

/// `[source.exec]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecRules {
    /// Programs that may be run: `[[source.exec.run]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<Program>,
}

/// `[source.file]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileRules {
    /// Directories below which files may be read: `[[source.file.read]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<Directory>,
}

impl Rules {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What no single rule can tell.
    ///
    /// # Errors
    /// What is wrong, and what to write instead: a sentence each.
    pub fn check(&self) -> Result<(), (String, String)> {
        self.aws.check()?;
        self.exec.run.iter().try_for_each(Program::check)?;
        self.file.read.iter().try_for_each(Directory::check)?;
        let mut names: Vec<&str> = self.exec.run.iter().map(|program| program.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err((
                format!("source.exec.run has the name {} twice", pair[0]),
                "give each program a name of its own".to_owned(),
            )),
            None => Ok(()),
        }
    }
}
