//! The terminal on stdin, and which process group it listens to.

/// The group that gets what is typed, where stdin is this process's terminal.
#[expect(unsafe_code, reason = "std knows of no process groups")]
pub(crate) fn foreground_group() -> Option<libc::pid_t> {
    // SAFETY: tcgetpgrp takes a plain integer.
    let group = unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) };
    (group > 0).then_some(group)
}

/// Makes the terminal listen to this group. The caller holds SIGTTOU back, which would stop it.
#[expect(unsafe_code, reason = "std knows of no process groups")]
pub(crate) fn give_terminal_to(group: libc::pid_t) {
    // SAFETY: tcsetpgrp takes plain integers.
    unsafe { libc::tcsetpgrp(libc::STDIN_FILENO, group) };
}

/// The process group of this process.
#[expect(unsafe_code, reason = "std knows of no process groups")]
pub(crate) fn own_group() -> libc::pid_t {
    // SAFETY: getpgrp takes nothing and cannot fail.
    unsafe { libc::getpgrp() }
}

/// Stops this process as a shell's job is stopped, and comes back when it is continued. Whoever leads a session, such as
/// a container's first process, has no shell above it that would continue it, and is not stopped.
#[expect(unsafe_code, reason = "std knows of no sessions, and sends no signal but SIGKILL")]
pub(crate) fn stop_as_job() {
    // SAFETY: the calls take plain integers.
    unsafe {
        let own = libc::getpid();
        if libc::getsid(0) != own {
            libc::kill(own, libc::SIGSTOP);
        }
    }
}
