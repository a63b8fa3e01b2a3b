//! `chandlery stack up`, `run`, `down` and `deploy`: render, and then the user's own docker.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::docker::{Invocation, Runner};
use super::identity::State;
use super::render::{Builder, Named, Prepared, StackArgs, required};
use crate::compose::overlay::Tool;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// What `up` has rendered, in the folder of the stack's tokens.
const OVERRIDE: &str = "override.yml";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Our own options come first; everything after them is compose's, and so are output and exit code:
  chandlery stack up -f docker-compose.yml --region sfo3 --detach --build
Images are built or pulled first where they are not here, because what an image starts is read from it.")]
pub(crate) struct UpArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// What `up` of compose takes: -d, --build, services, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMPOSE'S")]
    rest: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A new container for one job, with what the store gives the service, through the entrypoint:
  chandlery stack run --region sfo3 --rm backup
  chandlery stack run --region sfo3 --rm web bin/rails db:migrate
Our own options come first; everything after them is compose's, and so are input, output and exit code. A service of a profile
is named, as compose wants it. Put no secret into the command or behind -e: everybody can read it with ps.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// What `run` of compose takes: --rm, -T, …, the service, its command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMPOSE'S")]
    rest: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "The tokens of the stack are revoked when it is down.")]
pub(crate) struct DownArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Take a stack of `deploy` down.
    #[arg(long)]
    swarm: bool,
    /// What `down` of compose takes: --volumes, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMPOSE'S")]
    rest: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Our own options come first; everything after them is that of docker stack deploy:
  chandlery stack deploy -f docker-stack.yml --region sfo3 --prune --with-registry-auth
The entrypoint has to be at the same path on every node; tokens and the CA travel as Swarm's own secrets and configs.")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// What `docker stack deploy` takes: --prune, --with-registry-auth, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DOCKER'S")]
    rest: Vec<OsString>,
}

pub(crate) fn up(args: &UpArgs, context: &Context) -> Result<u8, Failure> {
    check_rest(&args.rest)?;
    supplied("up", OVERRIDE, &args.stack, &args.rest, context)
}

/// Its words are not checked: compose's `run` has a `-e` and a `-p` of its own.
pub(crate) fn job(args: &RunArgs, context: &Context) -> Result<u8, Failure> {
    // A job does not write over the file of an `up` that is running.
    supplied("run", "run.yml", &args.stack, &args.rest, context)
}

/// A verb of compose's, with our override behind the user's files.
fn supplied(verb: &str, name: &str, args: &StackArgs, rest: &[OsString], context: &Context) -> Result<u8, Failure> {
    if let Some(item) = context.region_of_machine() {
        output::note(&format!("note: the region is {}, from {}", item.value, item.source));
    }
    let mut args = args.clone();
    args.profiles.named = rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let prepared = Prepared::new(&args, context, Runner::compose()?)?;
    let options = options(&args, &prepared.loaded.files, &prepared.project);
    // Only names, which nothing of it looks at: the values are asked for by the rendering.
    let build = |services: &[&str]| {
        let verb = [OsString::from("build")].into_iter().chain(services.iter().map(OsString::from)).collect();
        let variables = prepared.required();
        let invocation = Invocation { options: options.clone(), verb, variables, ..Invocation::default() };
        match prepared.runner.run(&invocation)? {
            status if status.success() => Ok(()),
            status => {
                Err(Failure::failed(format!("the images could not be built ({status})"), "see what was said above"))
            }
        }
    };
    let always = rest.iter().any(|word| word == "--build");
    let rendered = prepared.render(&Builder::Compose(&build, always))?;
    let file = prepared.state.folder.join(name);
    prepared.state.make()?;
    output::private_file(&file, rendered.text.as_bytes())?;
    let mut options = options;
    // The user's files come first in every case: paths are relative to the first one's folder.
    options.extend(["-f".into(), file.into_os_string()]);
    let verb = [OsString::from(verb)].into_iter().chain(rest.iter().cloned()).collect();
    let status =
        prepared.runner.run(&Invocation { options, verb, variables: rendered.variables, ..Invocation::default() })?;
    Ok(code(status))
}

pub(crate) fn down(args: &DownArgs, context: &Context) -> Result<u8, Failure> {
    check_rest(&args.rest)?;
    let runner = if args.swarm { Runner::swarm() } else { Runner::compose()? };
    // Containers are taken down without a server, too.
    let Named { loaded, project, .. } = Named::of(&args.stack, context, &runner)?;
    let state = State::of(&args.stack.identity, context, Path::new(&project))?;
    let rest = args.rest.iter().cloned();
    let invocation = if args.swarm {
        let verb = [OsString::from("rm")].into_iter().chain(rest).chain([project.into()]).collect();
        Invocation { verb, ..Invocation::default() }
    } else {
        // What is to be taken down, compose knows by its labels; but Compose 2 also wants to be able to read all of it, and
        // what takes a missing env_file away is in the override.
        let verb = [OsString::from("down")].into_iter().chain(rest).collect();
        let mut options = options(&args.stack, &loaded.files, &project);
        let file = state.folder.join(OVERRIDE);
        if runner.tool == Tool::Two && file.is_file() {
            options.extend(["-f".into(), file.into_os_string()]);
        }
        Invocation { options, verb, variables: required(&loaded), ..Invocation::default() }
    };
    let status = runner.run(&invocation)?;
    if status.success() {
        state.forget(context.client());
    }
    Ok(code(status))
}

pub(crate) fn deploy(args: &DeployArgs, context: &Context) -> Result<u8, Failure> {
    check_rest(&args.rest)?;
    let prepared = Prepared::new(&args.stack, context, Runner::swarm())?;
    let rendered = prepared.render(&Builder::None)?;
    let verb = ["deploy", "--compose-file", "-"].map(OsString::from).into_iter();
    let verb = verb.chain(args.rest.iter().cloned()).chain([prepared.project.clone().into()]).collect();
    let invocation = Invocation {
        verb,
        variables: rendered.variables,
        stdin: Some(rendered.text.into_bytes()),
        folder: prepared.loaded.project.folder.clone(),
        ..Invocation::default()
    };
    Ok(code(prepared.runner.run(&invocation)?))
}

/// `-f` after compose's first word would be compose's, which has none there: it is ours, in the wrong place.
pub(super) fn check_rest(rest: &[OsString]) -> Result<(), Failure> {
    const OURS: [&str; 12] = [
        "-f",
        "--file",
        "-e",
        "--environment",
        "-r",
        "--region",
        "-s",
        "--stack",
        "-p",
        "--project-name",
        "--identity",
        "--profile",
    ];
    let misplaced = rest.iter().find(|word| {
        let text = word.to_string_lossy();
        OURS.contains(&text.split('=').next().unwrap_or_default())
    });
    match misplaced {
        None => Ok(()),
        Some(word) => Err(Failure::usage(
            format!("{} comes after an option of compose's", word.to_string_lossy()),
            "put the options of chandlery first; everything after the first one of compose's is handed on",
        )),
    }
}

/// What compose is told before its verb: the same files, in the same order.
pub(super) fn options(args: &StackArgs, files: &[PathBuf], project: &str) -> Vec<OsString> {
    let pair = |option: &str, value: PathBuf| [OsString::from(option), value.into_os_string()];
    let mut options: Vec<OsString> = vec!["-p".into(), project.into()];
    options.extend(args.files.env_file.iter().flat_map(|file| pair("--env-file", file.clone())));
    options.extend(args.files.project_directory.iter().flat_map(|folder| pair("--project-directory", folder.clone())));
    options.extend(args.profiles.profile.iter().flat_map(|profile| pair("--profile", profile.into())));
    options.extend(files.iter().flat_map(|file| pair("-f", file.clone())));
    options
}

/// The program's own code, and a shell's for a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(Exit::Failed as u8)
}
