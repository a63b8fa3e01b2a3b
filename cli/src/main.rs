//! `chandlery`: the CLI for people and pipelines.

mod client;
mod commands;
mod compose;
mod context;
mod failure;
mod formats;
mod hygiene;
mod input;
mod output;
mod usage;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let limit = hygiene::no_core_dumps();
    hygiene::quiet_panics();
    let result = match commands::Cli::try_parse() {
        Ok(cli) => cli.execute(limit),
        // --help and --version are no failures.
        Err(error) if !error.use_stderr() => output::text(&error.render().to_string()),
        Err(error) => Err(usage::failure(&error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
