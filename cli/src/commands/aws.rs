//! `chandlery aws`: from AWS Secrets Manager into the store, and back. The server talks to AWS, with its own credentials; no
//! value comes by here.

mod errand;
mod import;
mod push;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read secrets of AWS Secrets Manager into the store: one, or those of all regions at once.
    Import(import::Args),
    /// Write an environment's values to AWS Secrets Manager: what differs, and nothing else.
    Push(push::Args),
}

impl Args {
    /// Whether it has regions of its own, `--region all` and lists among them.
    pub(crate) fn pushes(&self) -> bool {
        matches!(self.verb, Verb::Push(_))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.verb {
        Verb::Import(args) => import::run(args, context),
        Verb::Push(args) => push::run(args, context),
    }
}
