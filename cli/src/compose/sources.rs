//! `secrets:` and `configs:` at the top of a file: where their bytes come from.

use std::path::PathBuf;

use chandlery_wire::Value;

use super::yaml::Node;
use super::{Fault, Place, Project, World};

/// One secret or config.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) at: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    /// Swarm has it, under this name; its bytes cannot be read back.
    External(String),
    /// A variable of the shell that runs compose.
    Environment(String),
    /// It stands in the file itself.
    Content(Value),
    /// A plug-in makes it.
    Driver,
}

impl Source {
    pub(super) fn read(name: &str, node: &Node, faults: &mut Vec<Fault>) -> Option<Self> {
        let at = node.at.clone();
        let text = |key: &str| node.get(key).and_then(Node::as_str).map(str::to_owned);
        let external = node.get("external").filter(|external| external.is_true() || !external.pairs().is_empty());
        let origin = if let Some(external) = external {
            let old = external.get("name").and_then(Node::as_str).map(str::to_owned);
            Origin::External(text("name").or(old).unwrap_or_else(|| name.to_owned()))
        } else if let Some(path) = text("file") {
            Origin::File(path.into())
        } else if let Some(variable) = text("environment") {
            Origin::Environment(variable)
        } else if let Some(content) = text("content") {
            Origin::Content(Value::new(content))
        } else if node.get("driver").is_some() {
            Origin::Driver
        } else {
            faults.push(Fault::new(&at, format!("{name} has no source: file, external, environment or content")));
            return None;
        };
        Some(Self { origin, at })
    }

    /// Its bytes, where they are at hand.
    ///
    /// # Errors
    /// Says why they are not, where they should be.
    pub(crate) fn content(&self, project: &Project, world: &World<'_>) -> Result<Option<Value>, String> {
        match &self.origin {
            Origin::File(path) => {
                let path = project.folder.join(path);
                let bytes =
                    (world.read)(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                Ok(Some(Value::new(bytes.to_vec())))
            }
            Origin::Environment(name) => {
                let text = project.look_up(world, name);
                text.map(|text| Some(Value::new(text))).ok_or_else(|| format!("the variable {name} is not set"))
            }
            Origin::Content(value) => Ok(Some(value.clone())),
            Origin::External(_) | Origin::Driver => Ok(None),
        }
    }
}
