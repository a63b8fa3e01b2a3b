use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::{Loaded, Settings, load};
use crate::fatal::Fatal;

/// The encrypted store: it serves each service of each region its own environment and secret files.
///
/// Without a command it runs the server. It needs no configuration: the first start makes a data directory, a root key,
/// a certificate, a database and an admin token.
#[derive(Debug, Parser)]
#[command(name = "chandlery-server", version)]
struct CommandLine {
    /// The configuration file. Without it, server.toml in the data directory or /etc/chandlery/server.toml is read, if
    /// there is one.
    #[arg(long, global = true, env = "CHANDLERY_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve,
    /// The audit log, without a running server.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The root key's file, where it is not to lie in the data directory.
    #[command(subcommand)]
    RootKey(RootKeyCommand),
    /// Say that the database was restored from a backup, so that the server takes it although it is older than the audit
    /// log.
    AcceptRestore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check the chain, and name the first bad line.
    Verify,
    /// Set a log that was tampered with aside as evidence, and begin a new chain.
    StartOver,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RootKeyCommand {
    /// Make a new root key in a new file of mode 0600, before the first start: for a systemd credential or a Docker secret.
    Create {
        /// A file that is not there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print a configuration file with every key, explained, at its default.
    Example,
    /// Say whether the settings can be used.
    Check,
    /// Print what is in effect, and where each setting came from.
    Show,
}

/// Reads the command line, the environment and the configuration file. Says `--help` and usage errors itself, and ends.
///
/// # Errors
///
/// If the settings cannot be used.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Command, Loaded), Fatal> {
    let matches = CommandLine::command().get_matches_from(arguments);
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let loaded = load(&line.settings, &matches, line.config.as_deref())?;
    Ok((line.command.unwrap_or(Command::Serve), loaded))
}
