//! The last step: this process becomes the app.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::environ::{self, Environment};
use crate::failure::{Exit, Failure};
use crate::sys;
use crate::user::{self, User};

/// Where programs are looked for when the environment has no PATH: what Docker itself assumes.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the command as this user. It comes back only if that failed, and then this process is still who it was, and
/// may take away what it placed: the rights are given up by a thread, the exec makes that thread the process, and ends
/// all others.
pub(crate) fn exec_as(
    user: Option<&User>,
    command: &[OsString],
    environment: &Environment,
    core: sys::CoreLimit,
) -> Failure {
    let Some(user) = user else { return exec(command, environment, core) };
    let become_app = || match sys::become_user(user) {
        Ok(()) => exec(command, environment, core),
        Err(error) => user::cannot_become(user, &error),
    };
    let no_thread = |error: io::Error| {
        let hint = "raise the limit on processes (`pids_limit`, `ulimits: nproc`) by one";
        Failure::new(Exit::Internal, format!("no thread can be started: {error}"), hint)
    };
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, become_app) {
        Ok(thread) => thread.join().unwrap_or_else(|_| std::process::abort()),
        Err(error) => no_thread(error),
    })
}

/// Becomes the command: same process id, same standard streams, no shell in between. It comes back only if that failed.
///
/// A name without a slash is looked for in the PATH of the app's environment, not in this program's.
pub(crate) fn exec(command: &[OsString], environment: &Environment, core: sys::CoreLimit) -> Failure {
    let program = match prepare(command, environment) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    sys::prepare_exec(core);
    refused(command, environment, program.execute())
}

/// Makes everything that the exec needs, so that nothing can go wrong between it and this.
///
/// # Errors
/// A NUL byte.
pub(crate) fn prepare(command: &[OsString], environment: &Environment) -> Result<sys::Program, Failure> {
    let prepared = || {
        let c_string = |bytes: &[u8]| CString::new(bytes);
        let arguments = command.iter().map(|argument| c_string(argument.as_bytes())).collect::<Result<_, _>>()?;
        let candidates = candidates(name(command), environment).into_iter();
        let candidates = candidates.map(|path| c_string(path.as_os_str().as_bytes())).collect::<Result<_, _>>()?;
        Ok(sys::Program::new(candidates, arguments, environment.to_strings()?))
    };
    prepared().map_err(|error: std::ffi::NulError| {
        Failure::new(
            Exit::NotExecutable,
            format!("the command or its environment cannot be passed on: {error}"),
            "take the NUL byte out of it",
        )
    })
}

/// Why the command was not executed.
pub(crate) fn refused(command: &[OsString], environment: &Environment, why: sys::Unexecuted) -> Failure {
    let program = name(command);
    let candidate =
        why.at.and_then(|(number, errno)| Some((candidates(program, environment).into_iter().nth(number)?, errno)));
    match candidate {
        None => not_found(program),
        Some((_, libc::E2BIG)) => environ::exceeded(environment),
        Some((candidate, errno)) => failed(&candidate, &io::Error::from_raw_os_error(errno)),
    }
}

fn name(command: &[OsString]) -> &Path {
    command.first().map_or(Path::new(""), Path::new)
}

fn candidates(program: &Path, environment: &Environment) -> Vec<PathBuf> {
    if program.as_os_str().is_empty() {
        return Vec::new();
    }
    if program.as_os_str().as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = environment.find("PATH").unwrap_or(DEFAULT_PATH.as_ref());
    // An empty part is the current directory: POSIX.1-2024, 8.3.
    std::env::split_paths(path).map(|directory| directory.join(program)).collect()
}

fn not_found(program: &Path) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("the command {:?} is not found", program.as_os_str()),
        "write its full path, or check PATH; a whole command line in one string needs `sh -c`",
    )
}

fn failed(program: &Path, error: &io::Error) -> Failure {
    let name = program.as_os_str();
    let (exit, what, hint) = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => (
            Exit::NotFound,
            format!("the command {name:?} is there, and what it needs to start is not"),
            "its #! line, or the dynamic loader it was linked for, does not exist in this image; check also for CR LF",
        ),
        Some(libc::ENOEXEC) => (
            Exit::NotExecutable,
            format!("the command {name:?} is not in a format that this machine executes"),
            "a script needs a first line such as #!/bin/sh; a program must be built for this architecture",
        ),
        Some(libc::EACCES) => (
            Exit::NotExecutable,
            format!("the command {name:?} may not be executed"),
            "make it a file with mode 0755, in directories that this user may pass, not on a noexec mount",
        ),
        _ => (
            Exit::NotExecutable,
            format!("the command {name:?} cannot be executed: {error}"),
            "try it in a shell in the same image",
        ),
    };
    Failure::new(exit, what, hint)
}
