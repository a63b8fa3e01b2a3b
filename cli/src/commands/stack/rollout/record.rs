//! What was last rolled out to a host, kept so that it can be put there again: the compose files as they were, the override,
//! and the images by their ids.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::render::{Prepared, Rendered};
use super::health::Container;
use crate::failure::Failure;
use crate::output;

const FILE: &str = "record.json";
const OVERRIDE: &str = "override.yml";

/// What stands in `record.json`, beside the copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) revision: u64,
    pub(super) target: String,
    /// Service → id of its image.
    pub(super) images: BTreeMap<String, String>,
    /// Service → which versions it was given.
    pub(super) labels: BTreeMap<String, String>,
    /// The copies' names; nothing where the files extend others, and are taken as they are.
    pub(super) files: Vec<String>,
    /// What the paths in the files are relative to.
    pub(super) folder: PathBuf,
    /// `version:` of the files.
    pub(super) version: Option<String>,
    /// What the files require of the shell, and the override gives.
    pub(super) required: Vec<String>,
}

impl Record {
    /// Writes it down, with copies of the files. What was there is replaced.
    pub(super) fn write(
        place: &Path,
        prepared: &Prepared<'_>,
        rendered: &Rendered,
        containers: &[Container],
        (revision, target): (u64, &str),
    ) -> Result<(), Failure> {
        let part = place.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        make(&part)?;
        let texts: Vec<Vec<u8>> = prepared
            .loaded
            .files
            .iter()
            .map(|path| fs::read(path).map_err(|error| cannot(path, &error)))
            .collect::<Result<_, _>>()?;
        let extends = texts.iter().any(|text| memory_has(text, b"extends:"));
        let mut files = Vec::new();
        for (number, text) in texts.iter().enumerate().filter(|_| !extends) {
            let name = format!("{number}.yml");
            output::private_file(&part.join(&name), text)?;
            files.push(name);
        }
        output::private_file(&part.join(OVERRIDE), rendered.text.as_bytes())?;
        let record = Self {
            revision,
            target: target.to_owned(),
            images: containers.iter().map(|one| (one.service.clone(), one.image.clone())).collect(),
            labels: rendered.labels.clone(),
            files,
            folder: prepared.context.surroundings.folder.join(&prepared.loaded.project.folder),
            version: prepared.loaded.project.version.clone(),
            required: rendered.variables.keys().cloned().collect(),
        };
        let text =
            serde_json::to_vec_pretty(&record).map_err(|_| Failure::failed("the record cannot be written", ""))?;
        output::private_file(&part.join(FILE), &text)?;
        let _ = fs::remove_dir_all(place);
        fs::rename(&part, place).map_err(|error| cannot(place, &error))
    }

    pub(super) fn read(place: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(place.join(FILE)).ok()?).ok()
    }

    /// Whether these containers are what it tells of: nobody has done anything by hand since.
    pub(super) fn tells_of(&self, containers: &[Container]) -> bool {
        let services: std::collections::BTreeSet<&String> = containers.iter().map(|one| &one.service).collect();
        let supplied = |one: &Container| self.labels.get(&one.service) == one.supplies.as_ref();
        services.len() == self.images.len()
            && containers.iter().all(|one| self.images.get(&one.service) == Some(&one.image) && supplied(one))
    }

    /// The files to give compose, in their order; the current ones where there are no copies.
    pub(super) fn compose_files(&self, place: &Path, current: &[PathBuf]) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = match self.files.is_empty() {
            true => current.to_vec(),
            false => self.files.iter().map(|name| place.join(name)).collect(),
        };
        files.push(place.join(OVERRIDE));
        files
    }
}

/// A file that says nothing but which images, by their ids.
pub(super) fn pins(version: Option<&str>, images: &BTreeMap<String, String>) -> String {
    let mut text = version.map_or_else(String::new, |version| format!("version: \"{version}\"\n"));
    text.push_str("services:\n");
    for (service, id) in images {
        text.push_str(&format!("    {service}:\n        image: \"{id}\"\n"));
    }
    text
}

/// Makes one folder a copy of another; what was there is replaced, and nothing is left where there is nothing to copy.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let _ = fs::remove_dir_all(to);
    if !from.is_dir() {
        return Ok(());
    }
    make(to)?;
    for entry in fs::read_dir(from).map_err(|error| cannot(from, &error))?.flatten() {
        let text = fs::read(entry.path()).map_err(|error| cannot(&entry.path(), &error))?;
        output::private_file(&to.join(entry.file_name()), &text)?;
    }
    Ok(())
}

pub(super) fn make(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| cannot(folder, &error))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(
        format!("{} cannot be used: {error}", path.display()),
        "look at that folder, or name another with --state-dir",
    )
}

fn memory_has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
