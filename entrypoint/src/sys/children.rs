//! Children: starting them, hearing of their end, and the process groups they are in.

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::AsRawFd;

use zeroize::Zeroize;

use super::check;
use super::process::{CoreLimit, prepare_exec};
use super::signals::{deliver_all, no_handlers};
use super::terminal::give_terminal_to;
use super::user::become_user;
use crate::user::User;

/// A program with all that its exec needs: where it may be, its arguments and its environment. Executing it allocates
/// nothing, so that a child of a process with threads may do it.
pub(crate) struct Program {
    candidates: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    _arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Why a program was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unexecuted {
    /// Which of the candidates, and the kernel's word on it; none where no candidate is there.
    pub at: Option<(usize, c_int)>,
}

impl Program {
    pub(crate) fn new(candidates: Vec<CString>, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            let all = strings.iter().map(|string| string.as_ptr());
            all.chain([std::ptr::null()]).collect()
        };
        Self {
            argv: pointers(&arguments),
            envp: pointers(&environment),
            candidates,
            _arguments: arguments,
            environment,
        }
    }

    /// Becomes the first candidate that can be executed. It comes back only if there is none.
    #[expect(
        unsafe_code,
        reason = "std's exec searches the PATH as the libc does, which hands a file without #! to a shell on glibc"
    )]
    pub(crate) fn execute(&self) -> Unexecuted {
        let mut refused = None;
        for (number, candidate) in self.candidates.iter().enumerate() {
            // SAFETY: both arrays end with a null pointer, and the strings they point to live as long as `self`.
            let (errno, there) = unsafe {
                libc::execve(candidate.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
                let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
                (errno, libc::access(candidate.as_ptr(), libc::F_OK) == 0)
            };
            match errno {
                // Not there, or there for somebody else: a later directory may have it, as in a shell.
                libc::ENOENT | libc::ENOTDIR if !there => {}
                libc::EACCES => refused = refused.or(Some((number, errno))),
                _ => return Unexecuted { at: Some((number, errno)) },
            }
        }
        Unexecuted { at: refused }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for variable in std::mem::take(&mut self.environment) {
            variable.into_bytes().zeroize();
        }
    }
}

/// How a child differs from its parent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth<'a> {
    pub user: Option<&'a User>,
    pub core: CoreLimit,
    /// The terminal on stdin becomes its.
    pub terminal: bool,
    /// It has nothing to read.
    pub no_input: bool,
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Stillborn {
    /// No process, or no pipe.
    Resources(io::Error),
    User(io::Error),
    Program(Unexecuted),
}

/// What a child does between its fork and its exec, for the report of the one that failed.
const BECOMING_USER: c_int = 1;
const EXECUTING: c_int = 2;
const NO_CANDIDATE: c_int = -1;

/// Starts a program in a process group of its own, and comes back when it is executed, or cannot be.
///
/// The child gets default signals, and nothing of the parent but its standard streams and what the parent itself
/// inherited.
#[expect(unsafe_code, reason = "std's spawn puts the search of the PATH and the order of these steps out of our hands")]
pub(crate) fn spawn(program: &Program, birth: Birth<'_>) -> Result<libc::pid_t, Stillborn> {
    let (mut reader, writer) = io::pipe().map_err(Stillborn::Resources)?;
    let input = birth.no_input.then(|| File::open("/dev/null").ok()).flatten();
    // SAFETY: the child calls nothing but what is async-signal-safe until it executes the program or ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        become_program(program, birth, input.as_ref(), &writer);
    }
    check(child).map_err(Stillborn::Resources)?;
    // The parent does it as well: whoever comes first, the group is there when either goes on.
    // SAFETY: setpgid takes plain integers.
    unsafe { libc::setpgid(child, child) };
    drop(writer);
    // The exec closes the pipe; anything in it is why there was none.
    let mut report = [0; 12];
    if reader.read_exact(&mut report).is_err() {
        return Ok(child);
    }
    // SAFETY: waitpid takes a null pointer for a status that nobody wants to know.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let word = |at: usize| c_int::from_ne_bytes(std::array::from_fn(|byte| report[4 * at + byte]));
    Err(match word(0) {
        BECOMING_USER => Stillborn::User(io::Error::from_raw_os_error(word(2))),
        _ => Stillborn::Program(Unexecuted { at: usize::try_from(word(1)).ok().map(|at| (at, word(2))) }),
    })
}

/// The child's life before its exec: it must neither allocate nor take a lock, which another thread may hold for ever.
#[expect(unsafe_code, reason = "std has no word for what a child does before its exec")]
fn become_program(program: &Program, birth: Birth<'_>, input: Option<&File>, writer: &PipeWriter) -> ! {
    // SAFETY: plain integers, and descriptors that are open.
    unsafe {
        libc::setpgid(0, 0);
        if birth.terminal {
            // SIGTTOU is held back here, as every signal is.
            give_terminal_to(libc::getpid());
        }
        if let Some(input) = input {
            libc::dup2(input.as_raw_fd(), libc::STDIN_FILENO);
        }
    }
    prepare_exec(birth.core);
    let failed = match birth.user.map_or(Ok(()), become_user) {
        Err(error) => [BECOMING_USER, 0, error.raw_os_error().unwrap_or(libc::EPERM)],
        Ok(()) => {
            die_with_parent();
            no_handlers();
            deliver_all();
            match program.execute().at {
                None => [EXECUTING, NO_CANDIDATE, 0],
                Some((number, errno)) => [EXECUTING, c_int::try_from(number).unwrap_or(NO_CANDIDATE), errno],
            }
        }
    };
    // SAFETY: pointer and length describe an array that outlives the call; _exit does not return.
    unsafe {
        libc::write(writer.as_raw_fd(), failed.as_ptr().cast(), size_of_val(&failed));
        libc::_exit(127)
    }
}

/// Has the kernel end this process when its parent is killed. Where the parent is PID 1, all processes go with it anyway.
#[expect(unsafe_code, reason = "std has no prctl")]
fn die_with_parent() {
    // SAFETY: prctl, getppid and _exit take plain integers.
    unsafe {
        let parent = libc::getppid();
        if parent != 1 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0);
        }
        // It may have gone in between.
        if libc::getppid() != parent {
            libc::_exit(128 + libc::SIGTERM);
        }
    }
}

/// News of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildNews {
    /// It ended, with this exit code or 128 + n.
    Ended(libc::pid_t, i32),
    /// It was stopped by this signal.
    Stopped(libc::pid_t, c_int),
}

/// The next news of any child, which need not be one that this process started: those that lost their parent count too.
#[expect(unsafe_code, reason = "std waits only for children that it started")]
pub(crate) fn reap() -> Option<ChildNews> {
    let mut status = 0;
    // SAFETY: waitpid gets a valid integer to fill.
    let child = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED | libc::__WALL) };
    if child <= 0 {
        return None;
    }
    Some(if libc::WIFSTOPPED(status) {
        ChildNews::Stopped(child, libc::WSTOPSIG(status))
    } else if libc::WIFSIGNALED(status) {
        ChildNews::Ended(child, 128 + libc::WTERMSIG(status))
    } else {
        ChildNews::Ended(child, libc::WEXITSTATUS(status))
    })
}

/// Processes that lose their parent below this one become its children, as they would be PID 1's.
#[expect(unsafe_code, reason = "std has no prctl")]
pub(crate) fn adopt_orphans() {
    // SAFETY: prctl takes plain integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Sends a signal to one process.
#[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
pub(crate) fn send(process: libc::pid_t, signal: c_int) {
    // SAFETY: kill takes plain integers.
    unsafe { libc::kill(process, signal) };
}

/// Sends a signal to every process of a group, and says whether there is one; signal 0 only asks.
#[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
pub(crate) fn send_to_group(group: libc::pid_t, signal: c_int) -> bool {
    // SAFETY: kill takes plain integers.
    unsafe { libc::kill(-group, signal) == 0 }
}
