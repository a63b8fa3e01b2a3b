//! The variables that a service's container gets.

use std::path::{Path, PathBuf};

use chandlery_wire::Value;

use super::interpolate::{Lookup, Met, Use};
use super::yaml::{Kind, Node, is_sexagesimal};
use super::{Fault, Place, World, dotenv};

/// A variable of a service, and what the files give it.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) given: Given,
    /// Where it is set.
    pub(crate) at: Place,
    /// The `${…}` in its value.
    pub(crate) uses: Vec<Use>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Value(Value),
    /// It is to come from the shell, and the shell has none.
    Nothing,
}

impl Variable {
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.given {
            Given::Value(value) => std::str::from_utf8(value.expose_secret()).ok(),
            Given::Nothing => None,
        }
    }

    /// Why the files alone give the container nothing to work with, where they do not.
    pub(crate) fn lacks(&self) -> Option<String> {
        let unmet = |met| self.uses.iter().find(|used| used.met == met);
        match &self.given {
            Given::Nothing => Some("the shell is to give it, and has no value".to_owned()),
            Given::Value(_) if unmet(Met::Required).is_some() => {
                let used = unmet(Met::Required).map(|used| used.name.as_str()).unwrap_or_default();
                Some(format!("the file requires ${{{used}}}, which is not set"))
            }
            Given::Value(_) => {
                let used = unmet(Met::Empty)?;
                Some(format!("${{{}}} is not set", used.name))
            }
        }
    }
}

/// What an `env_file` item says.
struct EnvFile {
    path: PathBuf,
    required: bool,
    raw: bool,
}

/// What the variables of a service are read with.
pub(super) struct Reader<'a> {
    pub(super) folder: &'a Path,
    pub(super) world: &'a World<'a>,
    pub(super) lookup: &'a Lookup<'a>,
    /// Whether an `env_file` that is not there is a fault, or only said.
    pub(super) lenient: bool,
    pub(super) notes: &'a mut Vec<String>,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// Those of the `env_file`s in their order, and over them those of `environment`. And the files that are not there.
    pub(super) fn read(&mut self, service: &Node) -> (Vec<Variable>, Vec<PathBuf>) {
        let mut variables: Vec<Variable> = Vec::new();
        let mut missing = Vec::new();
        let items = service.get("env_file").map(Node::items).unwrap_or_default();
        for item in items {
            let Some(file) = self.env_file(item) else { continue };
            match (self.world.read)(&file.path) {
                Ok(bytes) => {
                    let found = if file.raw {
                        raw(&bytes, &file.path)
                    } else {
                        dotenv::read(&bytes, &file.path, self.lookup, self.notes, self.faults)
                    };
                    found.into_iter().for_each(|variable| set(&mut variables, variable));
                }
                Err(_) if !file.required => {
                    self.notes.push(format!("{}: {} is not there", item.at, file.path.display()));
                }
                Err(error) if self.lenient => {
                    self.notes.push(format!("{}: {} cannot be read: {error}", item.at, file.path.display()));
                    missing.push(file.path);
                }
                Err(error) => {
                    self.faults.push(Fault::new(&item.at, format!("{} cannot be read: {error}", file.path.display())));
                }
            }
        }
        let own = service.get("environment");
        if let Some(own) = own.filter(|own| !own.is_null() && !matches!(own.kind, Kind::Map(_))) {
            self.faults.push(Fault::new(&own.at, "environment is neither a map nor a list"));
        }
        for (name, node) in own.map(Node::pairs).unwrap_or_default() {
            if let Some(variable) = self.variable(name, node) {
                set(&mut variables, variable);
            }
        }
        (variables, missing)
    }

    fn variable(&mut self, name: &str, node: &Node) -> Option<Variable> {
        let (name, at) = (name.to_owned(), node.at.clone());
        if node.is_null() {
            let given = (self.lookup)(&name).map_or(Given::Nothing, |text| Given::Value(Value::new(text)));
            return Some(Variable { name, given, at, uses: Vec::new() });
        }
        let (Some(text), Some(scalar)) = (node.printed(), node.scalar()) else {
            self.faults.push(Fault::new(&at, format!("the value of {name} is a list or a map")));
            return None;
        };
        if text != scalar.text {
            let what = "without quotes is a number or a boolean to YAML: taken as compose prints it; quotes keep it as it stands";
            self.notes.push(format!("{at}: {name} {what}"));
        }
        if scalar.plain && is_sexagesimal(&text) {
            let what = "is a number to base 60 to docker-compose 1 and a text to Compose 2: taken as it stands";
            self.notes.push(format!("{at}: {name} {what}"));
        }
        Some(Variable { name, given: Given::Value(Value::new(text)), at, uses: scalar.uses.clone() })
    }

    fn env_file(&mut self, item: &Node) -> Option<EnvFile> {
        let path = item.as_str().or_else(|| item.get("path").and_then(Node::as_str));
        let Some(path) = path else {
            self.faults.push(Fault::new(&item.at, "an item of env_file names no path"));
            return None;
        };
        let required = item.get("required").is_none_or(Node::is_true);
        let raw = item.get("format").and_then(Node::as_str) == Some("raw");
        Some(EnvFile { path: self.folder.join(path), required, raw })
    }
}

fn set(variables: &mut Vec<Variable>, variable: Variable) {
    match variables.iter_mut().find(|known| known.name == variable.name) {
        Some(known) => *known = variable,
        None => variables.push(variable),
    }
}

/// `format: raw`: everything after the first `=` is the value, quotes and all.
fn raw(bytes: &[u8], file: &Path) -> Vec<Variable> {
    let shown: std::rc::Rc<str> = file.display().to_string().into();
    let text = String::from_utf8_lossy(bytes);
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let at = Place { file: std::rc::Rc::clone(&shown), line: number + 1 };
            let given = Given::Value(Value::new(value));
            set(&mut variables, Variable { name: name.to_owned(), given, at, uses: Vec::new() });
        }
    }
    variables
}
