//! The app's environment: what was inherited, what the bundle injects, and nothing of ours.

mod expand;
mod limits;
mod running;

use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use chandlery_wire::Bundle;
use chandlery_wire::dangerous::is_dangerous;
use zeroize::Zeroize;

use crate::config::{Config, PREFIX};
use crate::failure::{Exit, Failure};

pub(crate) use limits::exceeded;
pub(crate) use running::{APP_NAME, of_app};

/// What `--pristine` leaves of the inherited environment: who, where, and in which language.
const PRISTINE: [&str; 8] = ["PATH", "HOME", "HOSTNAME", "USER", "LOGNAME", "TERM", "TZ", "LANG"];
const PRISTINE_PREFIX: &str = "LC_";

/// The environment, complete. Names are unique.
pub(crate) struct Environment {
    variables: Vec<(OsString, OsString)>,
    /// Those that were filled from a file, and the file.
    pub filled: Vec<(String, OsString)>,
}

impl Environment {
    /// What this process was started with, as it is: for commands that are not started in the app's place.
    pub(crate) fn unchanged(variables: Vec<(OsString, OsString)>) -> Self {
        Self { variables, filled: Vec::new() }
    }

    /// The value of a variable.
    pub(crate) fn find(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// `NAME=value`, as execve takes it.
    pub(crate) fn to_strings(&self) -> Result<Vec<CString>, std::ffi::NulError> {
        let joined = self.variables.iter().map(|(name, value)| {
            // With room for the NUL: a vector that has to grow leaves a copy behind.
            let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
            for part in [name.as_bytes(), b"=", value.as_bytes()] {
                bytes.extend_from_slice(part);
            }
            CString::new(bytes)
        });
        joined.collect()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        for (_, value) in &mut self.variables {
            std::mem::take(value).into_vec().zeroize();
        }
    }
}

/// Builds the environment. What the bundle injects beats what was inherited, but for the names that are to be preserved.
///
/// # Errors
/// Names every variable that is dangerous, contradictory, cannot be one, or does not fit; never a value.
pub(crate) fn build(config: &Config, bundle: &Bundle) -> Result<Environment, Failure> {
    let mut injected: Vec<(&str, OsString)> = Vec::with_capacity(bundle.variables.len() + bundle.files.len());
    for variable in &bundle.variables {
        let value = OsString::from_vec(variable.value.expose_secret().to_vec());
        injected.push((variable.name.as_str(), value));
    }
    for file in &bundle.files {
        if let Some(variable) = &file.variable {
            injected.push((variable.as_str(), config.secrets_dir.join(file.name.as_str()).into_os_string()));
        }
    }
    let inherited_names: HashSet<&OsStr> = config.inherited.iter().map(|(name, _)| name.as_os_str()).collect();
    let preserved = |name: &str| config.preserved.iter().any(|preserved| preserved == name);
    injected.retain(|(name, _)| !(preserved(name) && inherited_names.contains(OsStr::new(name))));
    check_injected(config, &injected)?;

    let injected_names: HashSet<&OsStr> = injected.iter().map(|(name, _)| OsStr::new(*name)).collect();
    let mut seen = injected_names.clone();
    let mut variables = Vec::with_capacity(config.inherited.len() + injected.len());
    for (name, value) in &config.inherited {
        let text = name.to_str().unwrap_or_default();
        let kept = !config.pristine || PRISTINE.contains(&text) || text.starts_with(PRISTINE_PREFIX) || preserved(text);
        let kept = kept || expand::is_named(config, text);
        // Where a name comes twice, the first is what getenv finds.
        if kept && !name.as_bytes().starts_with(PREFIX.as_bytes()) && seen.insert(name) {
            variables.push((name.clone(), value.clone()));
        }
    }
    let filled = expand::expand(config, bundle, &mut variables, &injected_names)?;
    variables.extend(injected.into_iter().map(|(name, value)| (OsString::from(name), value)));
    let environment = Environment { variables, filled };
    limits::check(&config.command, &environment)?;
    Ok(environment)
}

fn check_injected(config: &Config, injected: &[(&str, OsString)]) -> Result<(), Failure> {
    let mut faults = Vec::new();
    let mut refused = Vec::new();
    let mut names = HashSet::new();
    for (name, value) in injected {
        if name.starts_with(PREFIX) {
            faults.push(format!("{name}: names that start with {PREFIX} are this program's own"));
        } else if is_dangerous(name) && !config.allowed_names.iter().any(|allowed| allowed == name) {
            faults.push(format!("{name}: changes which code the app runs, or whom it trusts"));
            refused.push(*name);
        }
        if !names.insert(*name) {
            faults.push(format!("{name}: is set twice, by two variables or by a variable and a file's path"));
        }
        if value.as_bytes().contains(&0) {
            faults.push(format!("{name}: has a NUL byte in its value, which no variable can hold"));
        }
    }
    for name in &names {
        if names.contains(format!("{name}_FILE").as_str()) {
            faults.push(format!("{name}: is set, and so is {name}_FILE; an app that reads both takes neither"));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.sort();
    let hint = match refused.as_slice() {
        [] => "change the entries in the store: `chandlery explain` shows where each comes from".to_owned(),
        refused => format!(
            "if that is wanted, set CHANDLERY_ALLOW_NAMES={}; if not, find out who wrote it: `chandlery history`",
            refused.join(",")
        ),
    };
    Err(Failure::new(Exit::Environment, "the bundle would set variables that it must not", hint).with_faults(faults))
}

#[cfg(test)]
mod tests;
