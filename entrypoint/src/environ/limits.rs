//! What the kernel takes for one exec (execve(2), `bprm_stack_limits` in fs/exec.c).

use std::ffi::{OsStr, OsString};

use super::Environment;
use crate::failure::{Exit, Failure};
use crate::sys;

/// A single string, its NUL included.
pub(super) const MOST_OF_ONE: usize = 128 * 1024;
/// All strings and the pointers to them: three quarters of 8 MiB or a quarter of the stack, but never less than 128 KiB.
const MOST_OF_ALL: u64 = 6 * 1024 * 1024;
const LEAST_LIMIT: u64 = 128 * 1024;
/// What the loader and the app need of the same stack to begin with. It matters only where the stack is hardly larger than
/// the least limit; the kernel then takes the strings, and kills the app.
const BEGINNING: u64 = 16 * 1024;
/// How many of the largest variables an error names.
const SHOWN: usize = 5;

/// Finds out before the exec what the kernel would only call "Argument list too long", and after the waiting.
///
/// The program's path counts as it is written: only the exec knows which directory of the PATH it will have.
pub(super) fn check(command: &[OsString], environment: &Environment) -> Result<(), Failure> {
    let too_long: Vec<_> = sizes(environment).into_iter().filter(|(size, _)| *size > MOST_OF_ONE).collect();
    if !too_long.is_empty() {
        let what = format!("variables are longer than the {MOST_OF_ONE} bytes that the kernel allows");
        return Err(failure(what, &too_long));
    }
    let strings = command.iter().chain(command.first()).map(|argument| argument.len() + 1).sum::<usize>();
    let pointers = (command.len() + environment.variables.len()) * size_of::<usize>();
    let total = (strings + pointers + sizes(environment).iter().map(|(size, _)| size).sum::<usize>()) as u64;
    let stack = sys::stack_limit();
    let limit = (stack / 4).clamp(LEAST_LIMIT, MOST_OF_ALL).min(stack.saturating_sub(BEGINNING));
    if total <= limit {
        return Ok(());
    }
    let what = format!("command and environment are {total} bytes, and the kernel allows {limit}; the largest:");
    Err(failure(what, &sizes(environment)))
}

/// The same where the kernel itself says it: the program's path, or the line after its `#!`, was the last straw.
pub(crate) fn exceeded(environment: &Environment) -> Failure {
    failure(
        "the command and its environment are too large for the kernel; the largest:".to_owned(),
        &sizes(environment),
    )
}

/// `NAME=value` and its NUL of each variable, the largest first.
fn sizes(environment: &Environment) -> Vec<(usize, &OsStr)> {
    let variables = environment.variables.iter();
    let mut sizes: Vec<_> = variables.map(|(name, value)| (name.len() + value.len() + 2, name.as_os_str())).collect();
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    sizes
}

fn failure(what: String, sizes: &[(usize, &OsStr)]) -> Failure {
    let show = |(size, name): &(usize, &OsStr)| format!("{}: {size} bytes", name.to_string_lossy());
    let hint = "deliver the large ones as files: `chandlery set --file`";
    Failure::new(Exit::Environment, what, hint).with_faults(sizes.iter().take(SHOWN).map(show).collect())
}
