//! One look-up for options and variables, so that an error names the one that was really used.

use std::ffi::{OsStr, OsString};

use chandlery_wire::VariableName;

use super::arguments::Arguments;
use super::{Wrong, usage};
use crate::failure::{Failure, say};
use crate::wait;

/// How an option takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value.
    Value,
    /// On or off; the option alone is on.
    Switch,
    /// Names or URLs, separated by commas; the option may come more than once, and adds to the variable.
    List,
}

/// An option and the variable it stands for.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) flag: &'static str,
    pub(super) variable: &'static str,
    pub(super) kind: Kind,
}

const fn setting(flag: &'static str, variable: &'static str, kind: Kind) -> Setting {
    Setting { flag, variable, kind }
}

pub(super) const OPTIONS: [Setting; 35] = [
    setting("--addr", "CHANDLERY_ADDR", Kind::Value),
    setting("--token-file", "CHANDLERY_TOKEN_FILE", Kind::Value),
    setting("--cacert", "CHANDLERY_CACERT", Kind::Value),
    setting("--fingerprint", "CHANDLERY_FINGERPRINT", Kind::Value),
    setting("--stack", "CHANDLERY_STACK", Kind::Value),
    setting("--environment", "CHANDLERY_ENVIRONMENT", Kind::Value),
    setting("--region", "CHANDLERY_REGION", Kind::Value),
    setting("--node", "CHANDLERY_NODE", Kind::Value),
    setting("--service", "CHANDLERY_SERVICE", Kind::Value),
    setting("--secrets-dir", "CHANDLERY_SECRETS_DIR", Kind::Value),
    setting("--timeout", "CHANDLERY_TIMEOUT", Kind::Value),
    setting("--user", "CHANDLERY_USER", Kind::Value),
    setting("--allow-disk", "CHANDLERY_ALLOW_DISK", Kind::Switch),
    setting("--allow-name", "CHANDLERY_ALLOW_NAMES", Kind::List),
    setting("--preserve", "CHANDLERY_PRESERVE", Kind::List),
    setting("--pristine", "CHANDLERY_PRISTINE", Kind::Switch),
    setting("--expand-files", "CHANDLERY_EXPAND_FILES", Kind::Switch),
    setting("--cache", "CHANDLERY_CACHE", Kind::Value),
    setting("--cache-max-age", "CHANDLERY_CACHE_MAX_AGE", Kind::Value),
    setting("--watch", "CHANDLERY_WATCH", Kind::Switch),
    setting("--on-change", "CHANDLERY_ON_CHANGE", Kind::Value),
    setting("--splay", "CHANDLERY_SPLAY", Kind::Value),
    setting("--health", "CHANDLERY_HEALTH", Kind::Value),
    setting("--health-timeout", "CHANDLERY_HEALTH_TIMEOUT", Kind::Value),
    setting("--stop-timeout", "CHANDLERY_STOP_TIMEOUT", Kind::Value),
    setting("--wait", "WAIT_HOSTS", Kind::List),
    setting("--wait-timeout", "WAIT_TIMEOUT", Kind::Value),
    setting("--wait-retry-interval", "WAIT_SLEEP_INTERVAL", Kind::Value),
    setting("--wait-http-header", wait::HEADER, Kind::List),
    // dockerize's spelling. Its -timeout is the waiting's, and --timeout the fetch's.
    setting("-wait", "WAIT_HOSTS", Kind::List),
    setting("-timeout", "WAIT_TIMEOUT", Kind::Value),
    setting("-wait-retry-interval", "WAIT_SLEEP_INTERVAL", Kind::Value),
    setting("-wait-http-header", wait::HEADER, Kind::List),
    setting("--verbose", "CHANDLERY_VERBOSE", Kind::Switch),
    setting("--format", "CHANDLERY_LOG_FORMAT", Kind::Value),
];

/// Variables with our prefix that are not options here: the token, what the machine's region is found by, and what
/// Chandlery's other programs read that may well be set for a container as a whole.
const NO_TYPOS: [&str; 6] = [
    "CHANDLERY_TOKEN",
    "CHANDLERY_REGION_FILE",
    "CHANDLERY_METADATA",
    "CHANDLERY_CONFIG",
    "CHANDLERY_DATA_DIR",
    "CHANDLERY_FORMAT",
];

/// What every variable of ours starts with. None of them reaches the app, the token least of all.
pub(crate) const PREFIX: &str = "CHANDLERY_";

#[derive(Debug)]
pub(super) struct Settings<'a> {
    options: &'a [(&'static str, OsString)],
    variables: &'a [(OsString, OsString)],
}

impl<'a> Settings<'a> {
    pub(super) fn new(arguments: &'a Arguments, variables: &'a [(OsString, OsString)]) -> Self {
        Self { options: &arguments.values, variables }
    }

    /// A variable of the environment, no matter whose it is.
    pub(super) fn variable(&self, name: &str) -> Option<&'a OsStr> {
        let found = self.variables.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// The setting's text, and the option or variable it came from. An empty one is an error: `${REGION}` that was
    /// never set must not become "no region" in silence.
    pub(super) fn text(&self, variable: &'static str) -> Result<Option<(&'a str, &'static str)>, Failure> {
        let option = self.options.iter().find(|(name, _)| *name == variable);
        let (value, source) = match option {
            Some((_, value)) => (value.as_os_str(), flag(variable)),
            None => match self.variable(variable) {
                Some(value) => (value, variable),
                None => return Ok(None),
            },
        };
        match value.to_str() {
            None => Err(usage(format!("{source} is not UTF-8"), "write it again, in UTF-8")),
            Some("") => Err(usage(
                format!("{source} is set and empty"),
                "give it a value, or take it away; a compose file's ${…} that is not set becomes empty",
            )),
            Some(text) => Ok(Some((text, source))),
        }
    }

    /// The setting as `parse` understands it.
    pub(super) fn parse<T>(
        &self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Failure> {
        let Some((text, source)) = self.text(variable)? else {
            return Ok(None);
        };
        parse(text).map(Some).map_err(|wrong| misread(source, wrong))
    }

    pub(super) fn switch(&self, variable: &'static str) -> Result<bool, Failure> {
        let parsed = self.parse(variable, |text| match text {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(("it is neither on nor off".to_owned(), "write 1 or 0".to_owned())),
        });
        Ok(parsed?.unwrap_or(false))
    }

    /// The options about waiting, which are read together with the variables of the bundle.
    pub(super) fn waiting(&self) -> Vec<(&'static str, OsString)> {
        self.options.iter().filter(|(name, _)| name.starts_with("WAIT_")).cloned().collect()
    }

    /// The names of the variable and of all options of its kind.
    pub(super) fn list(&self, variable: &'static str) -> Result<Vec<String>, Failure> {
        let options = self.options.iter().filter(|(name, _)| *name == variable);
        let options = options.map(|(_, value)| (value.as_os_str(), flag(variable)));
        let from_variable = self.variable(variable).map(|value| (value, variable));
        let mut names = Vec::new();
        for (value, source) in options.chain(from_variable) {
            for name in value.to_string_lossy().split(',').map(str::trim) {
                let name = VariableName::parse(name).map_err(|error| {
                    usage(format!("{source}: {error}"), "write names of variables, separated by commas")
                })?;
                names.push(name.as_str().to_owned());
            }
        }
        Ok(names)
    }

    /// Says what is missing, all of it at once.
    pub(super) fn require(&self, required: &[&'static str]) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for variable in required {
            if self.text(variable)?.is_none() {
                missing.push(*variable);
            }
        }
        let any = !self.options.is_empty() || self.ours().next().is_some();
        match (missing.as_slice(), any) {
            ([], _) => Ok(()),
            (_, false) => Err(nothing_set()),
            (missing, true) => Err(usage(
                format!("not set: {}", missing.join(", ")),
                "set it in the service's `environment:`, or give the option of the same name (see --help)",
            )),
        }
    }

    /// Warns of each variable that has our prefix and that nothing reads.
    pub(super) fn warn_of_typos(&self) {
        for name in self.ours() {
            let known = OPTIONS.iter().any(|option| option.variable == name) || NO_TYPOS.contains(&&*name);
            if !known {
                say(&format!("the variable {name} means nothing to this program and is ignored: is it a typo?"));
            }
        }
    }

    fn ours(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let names = self.variables.iter().map(|(name, _)| name.to_string_lossy());
        names.filter(|name| name.starts_with(PREFIX))
    }
}

/// Apart from what calls it, which is compiled once for each type.
#[inline(never)]
fn misread(source: &str, (what, hint): Wrong) -> Failure {
    usage(format!("{source}: {what}"), hint)
}

pub(super) fn nothing_set() -> Failure {
    usage(
        "nothing says where the Chandlery server is and what to fetch from it",
        "set CHANDLERY_ADDR (https://host:8420), CHANDLERY_TOKEN_FILE, CHANDLERY_STACK and CHANDLERY_ENVIRONMENT; \
         see --help",
    )
}

fn flag(variable: &str) -> &'static str {
    let option = OPTIONS.iter().find(|option| option.variable == variable);
    option.map_or("an option", |option| option.flag)
}
