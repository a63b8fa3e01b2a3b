//! `chandlery stack`: from a compose file to a running stack.

mod bundles;
mod callers;
mod carry;
mod check;
mod compare;
mod dock;
mod docker;
mod door;
mod files;
mod identity;
mod images;
mod import;
mod interrupt;
mod open;
mod place;
mod program;
mod render;
mod rollout;
mod up;

use clap::Subcommand;

use crate::context::{Context, Flags};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take the variables and secrets of a compose or stack file into the store.
    Import(import::Args),
    /// Say for every service and region whether the store gives what the files ask for.
    Check(check::Args),
    /// Write the file that puts the entrypoint before each service's own command.
    Render(render::Args),
    /// Render, and `up` of the compose that is installed.
    Up(up::UpArgs),
    /// Render, and `run` of the compose that is installed: one job of a service, such as a backup.
    Run(up::RunArgs),
    /// `down` of the compose that is installed, and the end of the stack's tokens.
    Down(up::DownArgs),
    /// Render for Swarm, and `docker stack deploy`.
    Deploy(up::DeployArgs),
    /// `up` in one region after another, each on its own Docker, the primary last; the first failure stops it.
    Rollout(Box<rollout::Args>),
    /// Let the containers of a project read their bundles without a token, over a server's unix socket on their host.
    Open(open::OpenArgs),
    /// Take that back.
    Close(open::CloseArgs),
    /// What is open to containers without a token.
    Openings(open::OpeningsArgs),
}

impl Args {
    /// `--region all` means all of them: for what looks at each region in turn, and for nothing that writes to one.
    pub(crate) fn widen(&mut self, flags: &mut Flags) {
        if let Action::Rollout(args) = &mut self.action {
            args.take_regions(&mut flags.region);
        }
        if matches!(self.action, Action::Check(_)) && flags.region.as_deref() == Some("all") {
            flags.region = Some("base".to_owned());
        }
    }

    /// Whether it starts containers on this machine, which is then in the region that the machine is in.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.action, Action::Up(_) | Action::Run(_))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.action {
        Action::Import(args) => import::run(args, context),
        Action::Check(args) => check::run(args, context),
        Action::Render(args) => render::run(args, context),
        Action::Up(args) => ended(up::up(args, context)?),
        Action::Run(args) => ended(up::job(args, context)?),
        Action::Down(args) => ended(up::down(args, context)?),
        Action::Deploy(args) => ended(up::deploy(args, context)?),
        Action::Rollout(args) => rollout::run(args, context),
        Action::Open(args) => open::open(args, context),
        Action::Close(args) => open::close(args, context),
        Action::Openings(args) => open::openings(args, context),
    }
}

/// The exit code of whatever was run is ours; it has said itself why.
fn ended(code: u8) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { std::process::exit(i32::from(code)) }
}
