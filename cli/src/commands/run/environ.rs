//! The command's environment: what was inherited, what the bundle injects, and nothing of ours. The rules are the
//! entrypoint's, so that what runs on a laptop runs in a container.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use chandlery_wire::Bundle;
use chandlery_wire::dangerous::is_dangerous;

use crate::failure::{Exit, Failure};

/// What every variable of ours starts with. None of them reaches the command, the token least of all.
const OURS: &str = "CHANDLERY_";
/// What `--pristine` leaves of the inherited environment: who, where, and in which language.
const PRISTINE: [&str; 8] = ["PATH", "HOME", "HOSTNAME", "USER", "LOGNAME", "TERM", "TZ", "LANG"];
const PRISTINE_PREFIX: &str = "LC_";
/// The kernel's limit for one `NAME=value`, its NUL included (execve(2), `MAX_ARG_STRLEN`).
const LONGEST: usize = 128 * 1024;

pub(super) type Environment = BTreeMap<OsString, OsString>;

/// What was asked for on the command line.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) preserve: &'a [String],
    pub(super) pristine: bool,
    pub(super) allowed: &'a [String],
}

impl Rules<'_> {
    /// What the bundle injects beats what was inherited, but for the names that are to be preserved.
    pub(super) fn build(
        &self,
        inherited: Environment,
        bundle: &Bundle,
        files: Option<&Path>,
    ) -> Result<Environment, Failure> {
        let mut injected: Vec<(&str, OsString)> = Vec::new();
        for variable in &bundle.variables {
            injected.push((variable.name.as_str(), OsString::from_vec(variable.value.expose_secret().to_vec())));
        }
        for file in &bundle.files {
            if let (Some(variable), Some(folder)) = (&file.variable, files) {
                injected.push((variable.as_str(), folder.join(file.name.as_str()).into_os_string()));
            }
        }
        let preserved = |name: &str| self.preserve.iter().any(|preserved| preserved == name);
        injected.retain(|(name, _)| !(preserved(name) && inherited.contains_key(OsStr::new(name))));
        self.check(&injected)?;

        let mut environment: Environment = inherited;
        environment.retain(|name, _| {
            let text = name.to_str().unwrap_or_default();
            let kept =
                !self.pristine || PRISTINE.contains(&text) || text.starts_with(PRISTINE_PREFIX) || preserved(text);
            kept && !name.as_bytes().starts_with(OURS.as_bytes())
        });
        environment.extend(injected.into_iter().map(|(name, value)| (OsString::from(name), value)));
        Ok(environment)
    }

    fn check(&self, injected: &[(&str, OsString)]) -> Result<(), Failure> {
        let mut faults = Vec::new();
        let mut refused = Vec::new();
        let mut names = BTreeSet::new();
        for (name, value) in injected {
            if name.starts_with(OURS) {
                faults.push(format!("{name}: names that start with {OURS} are Chandlery's own"));
            } else if is_dangerous(name) && !self.allowed.iter().any(|allowed| allowed == name) {
                faults.push(format!("{name}: changes which code the command runs, or whom it trusts"));
                refused.push(*name);
            }
            if !names.insert(*name) {
                faults.push(format!("{name}: is set twice, by two variables or by a variable and a file's path"));
            }
            if value.as_bytes().contains(&0) {
                faults.push(format!("{name}: has a NUL byte in its value, which no variable can hold"));
            }
            if name.len() + value.len() + "=\0".len() > LONGEST {
                faults
                    .push(format!("{name}: is larger than the 128 KiB that a variable may have; deliver it as a file"));
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
            names => format!(
                "if that is wanted, add --allow-name {}; if not, find out who wrote it: `chandlery history`",
                names.join(",")
            ),
        };
        let what = "the bundle would set variables that it must not";
        Err(Failure::new(Exit::Invalid, what, hint).with_faults(faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(variables: &[(&str, &str)], file_variable: Option<&str>) -> Bundle {
        let origin = r#"{"layer": "base", "version": 1}"#;
        let variables = variables.iter().map(|(name, value)| {
            format!(r#"{{"name": "{name}", "value": "{value}", "secret": true, "origin": {origin}}}"#)
        });
        let variables = variables.collect::<Vec<_>>().join(",");
        let file = file_variable.map_or_else(String::new, |variable| {
            format!(
                r#"{{"name": "f", "value": "x", "mode": "0400", "variable": "{variable}", "secret": true, "origin": {origin}}}"#
            )
        });
        let json = format!(
            r#"{{"stack": "s", "environment": "e", "revision": 1, "variables": [{variables}], "files": [{file}]}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn build(rules: &Rules<'_>, inherited: &[(&str, &str)], bundle: &Bundle) -> Result<Vec<(String, String)>, Failure> {
        let inherited = inherited.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let built = rules.build(inherited, bundle, Some(Path::new("/f")))?;
        let text = |text: OsString| text.into_string().unwrap();
        Ok(built.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    const NOTHING: Rules<'static> = Rules { preserve: &[], pristine: false, allowed: &[] };

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn injected_beats_inherited_and_nothing_of_ours_stays() {
        let inherited = [("A", "old"), ("B", "kept"), ("CHANDLERY_TOKEN", "t"), ("CHANDLERY_X", "x")];
        let built = build(&NOTHING, &inherited, &bundle(&[("A", "new")], Some("F_FILE"))).unwrap();
        assert_eq!(built, owned(&[("A", "new"), ("B", "kept"), ("F_FILE", "/f/f")]));
    }

    #[test]
    fn preserved_and_pristine() {
        let preserve = ["A".to_owned(), "C".to_owned()];
        let rules = Rules { preserve: &preserve, pristine: true, allowed: &[] };
        let inherited = [("A", "old"), ("B", "x"), ("PATH", "/bin"), ("LC_ALL", "C")];
        let built = build(&rules, &inherited, &bundle(&[("A", "new"), ("C", "c")], None)).unwrap();
        assert_eq!(built, owned(&[("A", "old"), ("C", "c"), ("LC_ALL", "C"), ("PATH", "/bin")]));
    }

    #[test]
    fn all_that_is_dangerous_or_contradictory_is_named_at_once() {
        let entries =
            bundle(&[("LD_PRELOAD", "s3cret"), ("PATH", "x"), ("CHANDLERY_A", "x"), ("F", "x")], Some("F_FILE"));
        let failure = build(&NOTHING, &[], &entries).unwrap_err();
        assert_eq!(failure.faults.len(), 4, "{failure}");
        assert!(!failure.to_string().contains("s3cret") && failure.hint.contains("--allow-name LD_PRELOAD,PATH"));
        let allowed = ["PATH".to_owned()];
        let rules = Rules { preserve: &[], pristine: false, allowed: &allowed };
        assert!(build(&rules, &[], &bundle(&[("PATH", "/x")], None)).is_ok());
        let large = "x".repeat(LONGEST);
        assert!(build(&NOTHING, &[], &bundle(&[("A", &large)], None)).is_err());
    }
}
