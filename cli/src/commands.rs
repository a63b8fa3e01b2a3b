//! The verbs, a file each. Every one is parse → ask → show.

mod attributes;
mod audit;
mod aws;
mod check;
mod completions;
mod copy;
mod diff;
mod doctor;
mod explain;
mod export;
mod factor;
mod get;
mod history;
mod import;
mod init;
mod list;
mod login;
mod matrix;
mod node;
mod places;
mod plan;
mod rm;
mod rollback;
mod run;
mod set;
mod stack;
mod token;
mod written;

use clap::{Parser, Subcommand};

use crate::context::{Context, Flags, Surroundings};
use crate::failure::Failure;
use crate::hygiene::CoreLimit;

const EXITS: &str = "\
Exit codes:
  0  done                            5  not found, or the region was never declared
  1  failed, or the answer is no     6  conflict: it is at another version, or in use
  2  the command line is wrong       7  invalid: it cannot be stored, or not be resolved
  3  the server gave no answer       126, 127  run: not executable, not found
  4  refused: no token, or not enough of one";

/// Stores the variables and secret files of your containers, region by region, and shows where each came from.
#[derive(Debug, Parser)]
#[command(name = "chandlery", version, after_help = EXITS, max_term_width = 110, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Declare a stack with its environment, regions and services, and write chandlery.toml here.
    Init(init::Args),
    /// Check a token with the server, and keep it for later commands.
    Login(login::Args),
    /// Forget the token of a server.
    Logout(login::LogoutArgs),
    /// Write a value: from a pipe, a file, or a prompt that does not show it.
    Set(set::Args),
    /// Read a value: byte for byte into a pipe, masked on a terminal.
    Get(get::Args),
    /// List entries, secrets masked.
    List(list::Args),
    /// Delete an entry from a layer.
    Rm(rm::Args),
    /// Show an entry's versions in one layer.
    History(history::Args),
    /// Write an older version again; or all of an environment as it was at a revision or a time.
    Rollback(rollback::Args),
    /// Bring back the last value that a deleted entry had.
    Undelete(rollback::UndeleteArgs),
    /// Take the ciphertext of all of an entry's versions out of the store, for good.
    Destroy(rollback::DestroyArgs),
    /// Show entries × regions: what the base has, and what each region has instead.
    Matrix(matrix::Args),
    /// Say what differs between two regions, environments, revisions or files.
    Diff(diff::Args),
    /// Check that everything is there that chandlery.toml declares, in every region.
    Check(check::Args),
    /// Turn full copies, one a region, into one base and what differs.
    Factor(factor::Args),
    /// Copy what another environment has, layer by layer.
    Promote(copy::PromoteArgs),
    /// Copy one layer's entries to another.
    Copy(copy::CopyArgs),
    /// Write many values at once, all or none: dotenv, JSON, YAML, a folder of secret files.
    Import(import::Args),
    /// Read secrets of AWS Secrets Manager into the store, and write the store's to AWS.
    Aws(aws::Args),
    /// Write what a service gets in a format that others read.
    Export(export::Args),
    /// Run a command with what a service gets, as its container would.
    #[command(visible_alias = "exec")]
    Run(run::Args),
    /// Say which layer won, what it hid, and what its template used.
    Explain(explain::Args),
    /// From a compose file to a running stack: import, check, render, up, down, deploy, rollout.
    Stack(stack::Args),
    /// List the stacks, their services, environments and regions.
    Stacks(places::StacksArgs),
    /// List, declare and take back regions of the environment.
    Region(places::RegionArgs),
    /// List and declare services of the stack.
    Service(places::ServiceArgs),
    /// Register machines with their regions.
    Node(node::Args),
    /// Make, list and revoke tokens.
    Token(token::Args),
    /// Read the audit log, and check that nobody has changed it.
    Audit(audit::Args),
    /// Check everything that is needed to work, and say where it came from.
    Doctor(doctor::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Print the manual page, or write those of all verbs to a folder.
    Man(completions::ManArgs),
}

impl Cli {
    pub(crate) fn execute(mut self, limit: CoreLimit) -> Result<(), Failure> {
        match &mut self.verb {
            Verb::Completions(args) => return completions::run(args),
            Verb::Man(args) => return completions::man(args),
            Verb::Doctor(args) => return doctor::run(args, self.flags),
            Verb::Stack(args) => args.widen(&mut self.flags),
            _ => {}
        }
        let mut flags = self.flags;
        // In these it names files, or regions: many of them.
        if matches!(&self.verb, Verb::Factor(_)) || matches!(&self.verb, Verb::Aws(args) if args.pushes()) {
            flags.region = None;
        }
        let mut context = Context::gather(flags, Surroundings::of_process())?;
        let here = matches!(self.verb, Verb::Run(_) | Verb::Export(_) | Verb::Explain(_));
        if here || matches!(&self.verb, Verb::Stack(args) if args.is_here()) {
            context.place_by_machine()?;
        }
        match self.verb {
            Verb::Init(args) => init::run(&args, &context),
            Verb::Login(args) => login::run(&args, &mut context),
            Verb::Logout(args) => login::logout(&args, &mut context),
            Verb::Set(args) => set::run(&args, &context),
            Verb::Get(args) => get::run(&args, &context),
            Verb::List(args) => list::run(&args, &context),
            Verb::Rm(args) => rm::run(&args, &context),
            Verb::History(args) => history::run(&args, &context),
            Verb::Rollback(args) => rollback::run(&args, &context),
            Verb::Undelete(args) => rollback::undelete(&args, &context),
            Verb::Destroy(args) => rollback::destroy(&args, &context),
            Verb::Matrix(args) => matrix::run(&args, &context),
            Verb::Diff(args) => diff::run(&args, &context),
            Verb::Check(args) => check::run(&args, &context),
            Verb::Factor(args) => factor::run(&args, &context),
            Verb::Promote(args) => copy::promote(&args, &mut context),
            Verb::Copy(args) => copy::copy(&args, &mut context),
            Verb::Import(args) => import::run(&args, &context),
            Verb::Aws(args) => aws::run(&args, &context),
            Verb::Export(args) => export::run(&args, &context),
            Verb::Run(args) => run::run(&args, &context, limit),
            Verb::Explain(args) => explain::run(&args, &context),
            Verb::Stack(args) => stack::run(&args, &context),
            Verb::Stacks(args) => places::stacks(&args, &context),
            Verb::Region(args) => places::region(&args, &context),
            Verb::Service(args) => places::service(&args, &context),
            Verb::Node(args) => node::run(&args, &context),
            Verb::Token(args) => token::run(&args, &context),
            Verb::Audit(args) => audit::run(&args, &context),
            Verb::Completions(_) | Verb::Man(_) | Verb::Doctor(_) => Ok(()),
        }
    }
}
