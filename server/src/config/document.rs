//! The configuration as a document: the example, and what is in effect.

use std::fmt::Write as _;

use clap::Args as _;

use super::{Loaded, Settings, default_data_dir, defaults};
use crate::fatal::Fatal;

/// A file with every key, explained, at its default.
///
/// # Errors
///
/// If there is no place for a data directory.
pub fn example() -> Result<String, Fatal> {
    let table = toml::Table::try_from(defaults(default_data_dir()?)).map_err(|error| super::unreadable(&error))?;
    let mut out = String::from(
        "# The configuration of chandlery-server: every key with its default. A file needs only what differs.\n\
         # It is read from --config, from server.toml in the data directory, or from /etc/chandlery/server.toml.\n\
         # A flag (--max-body-bytes) beats a variable (CHANDLERY_MAX_BODY_BYTES), which beats this file.\n\
         # Relative paths are under data_dir.\n",
    );
    let command = Settings::augment_args(clap::Command::new("server"));
    for argument in command.get_arguments() {
        let Some(value) = table.get(argument.get_id().as_str()) else { continue };
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        out.push('\n');
        // clap takes the last full stop off.
        for line in wrap(&format!("{help}."), 98) {
            // Writing to a String does not fail.
            let _ = writeln!(out, "# {line}");
        }
        let _ = writeln!(out, "{} = {value}", argument.get_id());
    }
    out.push_str(SOURCES);
    Ok(out)
}

/// There are no defaults here to show: nothing is allowed that is not named.
const SOURCES: &str = r#"
# What may be had from outside (docs/SOURCES.md, docs/AWS.md): nothing, unless it is named here.
#
# [[source.file.read]]                   # chandlery set NAME --from file:/etc/chandlery/values/x
# directory = "/etc/chandlery/values"
# for = ["shop/production"]              # stack, or stack/environment; left out: all
#
# [[source.exec.run]]                    # chandlery set NAME --from exec:pass:shop/db
# name = "pass"
# command = ["/usr/bin/pass", "show"]    # no shell; nothing of the server's environment
# arguments = ["shop/*"]                 # what a reference may add; left out: nothing
# environment = { PASSWORD_STORE_DIR = "/var/lib/pass" }
# for = ["shop"]
#
# [source.aws]
# timeout = "5s"                         # for one attempt
# attempts = 8                           # when AWS throttles or does not answer
#
# [[source.aws.read]]                    # references and `chandlery aws import`
# secrets = ["chuspace-app/*"]           # * is any characters
# regions = ["eu-west-1", "us-east-1"]   # left out: all
# for = ["chuspace/production"]          # stack, or stack/environment; left out: all
#
# [[source.aws.write]]                   # `chandlery aws push`
# secrets = ["chuspace-app/prod-env/*"]
# for = ["chuspace/production"]
"#;

/// What is in effect, and where each setting came from; itself a configuration file.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    let lines: Vec<_> = loaded.settings.iter().map(|(key, value)| (key, format!("{key} = {value}"))).collect();
    let width = lines.iter().map(|(_, line)| line.len()).max().unwrap_or_default();
    lines.iter().fold(String::new(), |mut out, (key, line)| {
        if let Some(source) = loaded.sources.get(*key) {
            let _ = writeln!(out, "{line:width$}  # {source}");
        }
        out
    })
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
