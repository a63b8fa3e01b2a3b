//! Signals while there is no app yet.

use std::ffi::c_int;
use std::mem::zeroed;

use super::removal::end_on;

/// What ends a process that has no handler, apart from faults of its own; images choose their STOPSIGNAL among these.
const ENDING_SIGNALS: [c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Makes signals end this process at once, with 128 + n. As PID 1 a process without a handler ignores them, and
/// `docker stop` then takes its ten seconds of grace. What was placed is taken away ([`super::remove_at_end`]). The exec
/// that starts the app sets handlers back to the default.
#[expect(unsafe_code, reason = "std has no signal handlers")]
pub(crate) fn end_on_signals() {
    for signal in ENDING_SIGNALS {
        // SAFETY: zero is a valid sigaction, its mask is made empty before use, and `end_on` has the type of a handler
        // and calls only what is async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = end_on as extern "C" fn(c_int) as usize;
            libc::sigemptyset(&raw mut action.sa_mask);
            // A signal that has to wait must not break what it waits for.
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
    // SAFETY: the set is initialised before it is used. A mask that was inherited must not hold the signals back.
    unsafe {
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
