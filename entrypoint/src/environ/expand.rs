//! Fills `X` from the file that an inherited `X_FILE` names, for apps that do not read files.
//!
//! As `file_env` of Docker's official images does it: newlines at the end are not part of the value, `X_FILE` is taken out
//! of the environment, and both at once are an error.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use chandlery_wire::dangerous::is_dangerous;
use chandlery_wire::{Bundle, DEFAULT_SECRETS_DIRECTORY, VariableName};

use super::limits::MOST_OF_ONE;
use crate::config::{Config, ExpandFiles, PREFIX};
use crate::failure::{Exit, Failure};
use crate::sys;

const SUFFIX: &str = "_FILE";

/// Replaces each `X_FILE` of the inherited variables that is to be expanded by its `X`, and returns what was filled.
///
/// # Errors
/// Names every variable that is set twice, dangerous, or whose file cannot be read; never a value.
pub(super) fn expand(
    config: &Config,
    bundle: &Bundle,
    inherited: &mut [(OsString, OsString)],
    injected: &HashSet<&OsStr>,
) -> Result<Vec<(String, OsString)>, Failure> {
    if config.expand_files == ExpandFiles::Nothing {
        return Ok(Vec::new());
    }
    let (mut faults, mut refused, mut filled) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..inherited.len() {
        let (name, value) = &inherited[at];
        let Some(target) = target(config, name, value) else { continue };
        let set = inherited.iter().any(|(name, _)| name == OsStr::new(&target));
        if set || injected.contains(OsStr::new(&target)) {
            faults.push(format!("{target}: is set, and so is {target}{SUFFIX}; which of the two is meant?"));
        } else if is_dangerous(&target) && !config.allowed_names.contains(&target) {
            faults.push(format!("{target}: changes which code the app runs, or whom it trusts"));
            refused.push(target);
        } else {
            match content(config, bundle, Path::new(value)) {
                Ok(bytes) => {
                    let filler = (OsString::from(&target), OsString::from_vec(bytes));
                    let (_, path) = std::mem::replace(&mut inherited[at], filler);
                    filled.push((target, path));
                }
                Err(why) => faults.push(format!("{target}{SUFFIX}: {why}")),
            }
        }
    }
    if faults.is_empty() {
        return Ok(filled);
    }
    faults.sort();
    let hint = match refused.as_slice() {
        [] => "set X or X_FILE, and not both; a file must be there, plain, and readable for this user".to_owned(),
        refused => format!("if that is wanted, set CHANDLERY_ALLOW_NAMES={}", refused.join(",")),
    };
    Err(Failure::new(Exit::Environment, "variables cannot be filled from their files", hint).with_faults(faults))
}

/// Whether a variable is the `X_FILE` of an `X` that is to be expanded by name. It is then inherited in any case.
pub(super) fn is_named(config: &Config, name: &str) -> bool {
    let target = name.strip_suffix(SUFFIX);
    matches!((&config.expand_files, target), (ExpandFiles::Named(names), Some(target)) if names.iter().any(|name| name == target))
}

/// `X`, if this is an `X_FILE` that is to be expanded.
fn target(config: &Config, name: &OsStr, value: &OsStr) -> Option<String> {
    let target = name.to_str()?.strip_suffix(SUFFIX)?;
    if target.starts_with(PREFIX) || VariableName::parse(target).is_err() {
        return None;
    }
    let wanted = match &config.expand_files {
        ExpandFiles::Nothing => false,
        ExpandFiles::Secrets => is_secret(config, Path::new(value)),
        ExpandFiles::Named(_) => is_named(config, name.to_str()?),
    };
    wanted.then(|| target.to_owned())
}

/// Whether a path lies in one of the directories that hold secrets: ours, Docker's, systemd's.
fn is_secret(config: &Config, path: &Path) -> bool {
    let credentials = config.inherited("CREDENTIALS_DIRECTORY").map(Path::new);
    let directories =
        [config.secrets_dir.as_path(), Path::new(DEFAULT_SECRETS_DIRECTORY)].into_iter().chain(credentials);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let below = |directory: &Path| directory.is_absolute() && path.starts_with(directory) && path != directory;
    plain && path.is_absolute() && directories.into_iter().any(below)
}

/// What is in the file, without the newlines at its end.
///
/// # Errors
/// Why it cannot be had. A path is told only where it is one: what is something else may be the secret itself.
fn content(config: &Config, bundle: &Bundle, path: &Path) -> Result<Vec<u8>, String> {
    if !path.is_absolute() {
        return Err("is not an absolute path".to_owned());
    }
    // A file of the bundle may be for another user, and with `--explain` it is not placed.
    let placed = bundle.files.iter().find(|file| config.secrets_dir.join(file.name.as_str()) == path);
    let mut bytes = match placed {
        Some(file) => file.value.expose_secret().to_vec(),
        None => read(path).map_err(|why| format!("{}: {why}", path.display()))?,
    };
    if bytes.len() > MOST_OF_ONE {
        return Err(format!("{}: is larger than the {MOST_OF_ONE} bytes of the longest variable", path.display()));
    }
    if bytes.contains(&0) {
        return Err(format!("{}: has a NUL byte, which no variable can hold", path.display()));
    }
    let kept = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    bytes.truncate(kept);
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // A FIFO is opened without waiting for somebody to write to it, and then refused.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("is not a plain file".to_owned());
    }
    sys::read_at_most(&file, MOST_OF_ONE).map_err(|error| error.to_string())
}
