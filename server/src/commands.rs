//! What the program can be told to do: serve, or something with a data directory while no server runs on it.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::crypto::RootKey;
use crate::fatal::Fatal;
use crate::run::{self, Files};
use crate::telemetry;
use crate::vault::{self, OpenError};

/// Runs the server until it is told to stop.
///
/// # Errors
/// What keeps it from starting, or from stopping well.
pub fn serve(config: &Config) -> Result<(), Fatal> {
    telemetry::start(config.log_level, config.log_format);
    run::run(config)
}

/// Checks the audit log's chain, and its end against the database.
///
/// # Errors
/// Names the first bad line; or what keeps the log from being checked.
pub fn audit_verify(config: &Config) -> Result<(), Fatal> {
    let files = Files::new(config, Arc::new(SystemClock))?;
    let verification = files.with(vault::verify_offline).map_err(fatal)?;
    let path = config.audit_file.display();
    if !verification.intact {
        let at = verification.first_bad_line.map(|line| format!(" at line {line}")).unwrap_or_default();
        let reason = verification.reason.unwrap_or_default();
        return Err(Fatal::new(
            format!("the audit log {path} was changed{at}: {reason}"),
            "keep the file as evidence; docs/OPERATIONS.md says how to go on",
        ));
    }
    say(&format!("{path}: {} lines, the chain is whole", verification.lines))
}

/// Sets an audit log that was tampered with aside and begins a new chain.
///
/// # Errors
/// What keeps the store from being opened, or the file from being set aside.
pub fn audit_start_over(config: &Config) -> Result<(), Fatal> {
    let files = Files::new(config, Arc::new(SystemClock))?;
    match files.with(vault::start_audit_over).map_err(fatal)? {
        Some(aside) => say(&format!("a new audit log was begun; the old one is {}", aside.display())),
        None => say("a new audit log was begun; there was none"),
    }
}

/// Takes a database that is older than the audit log (a restored backup) for the right one.
///
/// # Errors
/// What keeps the store from being opened.
pub fn accept_restore(config: &Config) -> Result<(), Fatal> {
    let files = Files::new(config, Arc::new(SystemClock))?;
    let revision = files.with(vault::accept_older).map_err(fatal)?;
    say(&format!("accepted; the store goes on at revision {revision}"))
}

/// Makes a root key that no store uses yet.
///
/// # Errors
/// If there is a file already, or it cannot be written.
pub fn root_key_create(file: &Path) -> Result<(), Fatal> {
    let key = RootKey::create(file).map_err(|error| Fatal::new(error.detail(), error.hint()))?;
    say(&format!("{}: a new root key, {}; keep a copy of it elsewhere", file.display(), key.id()))
}

fn fatal(error: OpenError) -> Fatal {
    let (OpenError::Sealed(error) | OpenError::Fatal(error)) = error;
    Fatal::new(error.detail, error.hint)
}

fn say(line: &str) -> Result<(), Fatal> {
    writeln!(std::io::stdout(), "{line}")
        .map_err(|error| Fatal::new(format!("nothing can be printed: {error}"), "check stdout"))
}
