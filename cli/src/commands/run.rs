//! `chandlery run`: the same injection as in a container, on a laptop, and then a true exec.

mod environ;
mod files;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use chandlery_wire::{Bundle, BundleFile};

use super::export::bundle;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::hygiene::CoreLimit;
use crate::output;
use environ::{Environment, Rules};
use files::Files;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chandlery run --service app --region sfo3 -- ./server --port 8080
  chandlery run -- bundle exec rails console

The command takes the place of this process: same pid, same signals, its own exit code. Secret files live in memory, in a
folder that is removed by the next `run` after the command has ended.")]
pub(crate) struct Args {
    /// Keep the inherited value of these variables, where there is one.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    preserve: Vec<String>,
    /// Inherit only PATH, HOME, HOSTNAME, USER, LOGNAME, TERM, TZ, LANG and LC_*.
    #[arg(long)]
    pristine: bool,
    /// Let the bundle set these though they are dangerous, such as PATH.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    allow_name: Vec<String>,
    /// Place files here; by default in a new folder in memory.
    #[arg(long, value_name = "DIR", conflicts_with = "no_files")]
    files_dir: Option<PathBuf>,
    /// Place files though the folder is not in memory.
    #[arg(long)]
    allow_disk: bool,
    /// Place no files: an error where there are any.
    #[arg(long)]
    no_files: bool,
    /// The command and its arguments, as they are: no shell in between.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args, context: &Context, limit: CoreLimit) -> Result<(), Failure> {
    let bundle = bundle(context, None)?;
    let files = place(args, context, &bundle)?;
    let environment = Rules { preserve: &args.preserve, pristine: args.pristine, allowed: &args.allow_name }.build(
        std::env::vars_os().collect(),
        &bundle,
        files.as_ref().map(Files::folder),
    );
    let environment = match environment {
        Ok(environment) => environment,
        Err(failure) => {
            files.into_iter().for_each(Files::remove);
            return Err(failure);
        }
    };
    if let Some(files) = &files {
        let count = bundle.files.len();
        output::note(&format!("{count} {} in {}", if count == 1 { "file" } else { "files" }, files.folder().display()));
    }
    if let Err(failure) = executable(&args.command[0], &environment) {
        files.into_iter().for_each(Files::remove);
        return Err(failure);
    }
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]).env_clear().envs(environment);
    drop(bundle);
    limit.restore();
    let error = command.exec();
    files.into_iter().for_each(Files::remove);
    Err(not_started(&args.command[0], &error))
}

fn place(args: &Args, context: &Context, bundle: &Bundle) -> Result<Option<Files>, Failure> {
    if bundle.files.is_empty() {
        return Ok(None);
    }
    if args.no_files {
        let names: Vec<String> = bundle.files.iter().map(|file: &BundleFile| file.name.to_string()).collect();
        let hint = "leave --no-files out, or say with --files-dir where they go";
        return Err(Failure::failed("the service gets files, and --no-files is set", hint).with_faults(names));
    }
    let files = match &args.files_dir {
        Some(folder) => Files::existing(folder, args.allow_disk)?,
        None => Files::fresh(&context.surroundings, args.allow_disk)?,
    };
    match bundle.files.iter().try_for_each(|file| files.place(file)) {
        Ok(()) => Ok(Some(files)),
        Err(failure) => {
            files.remove();
            Err(failure)
        }
    }
}

/// Refuses what is neither a program nor a script that names its interpreter: for such a file execvp(3) starts a shell,
/// and no shell is to stand between. What cannot be found or read is left to the exec to complain of.
fn executable(program: &OsString, environment: &Environment) -> Result<(), Failure> {
    let Some(found) = found(program, environment) else { return Ok(()) };
    let mut start = [0; 4];
    let length = std::fs::File::open(&found).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    if length == 0 || start.starts_with(b"\x7fELF") || start.starts_with(b"#!") {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NotExecutable,
        format!("the command {} is neither a program nor a script that names its interpreter", found.display()),
        "begin the script with a line such as #!/bin/sh",
    ))
}

fn found(program: &OsString, environment: &Environment) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(program));
    }
    let path = environment.get(OsStr::new("PATH"))?;
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn not_started(program: &OsString, error: &std::io::Error) -> Failure {
    let program = program.to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => Failure::new(
            Exit::CommandNotFound,
            format!("the command {program} was not found"),
            "look at its spelling and at PATH; if it is a script, look whether the program on its #! line is there",
        ),
        _ => Failure::new(
            Exit::NotExecutable,
            format!("the command {program} cannot be executed: {error}"),
            "look whether it is a program for this machine, and at its permissions: chmod +x",
        ),
    }
}
