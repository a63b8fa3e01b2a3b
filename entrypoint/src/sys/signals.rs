//! Signals: those that end a start, and, while the app runs as a child, those that are passed on to it.

use std::ffi::c_int;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;
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
    // A mask that was inherited must not hold the signals back.
    deliver_all();
}

/// All signals that there are, as the kernel counts them: bit n - 1 is signal n. The libcs keep two or three of the
/// real-time ones for themselves and hide them from sets of their own type, so these calls go to the kernel; what the
/// libcs use them for (threads that change user, threads that are cancelled) this program does not do.
const ALL: u64 = !0;
const SET_SIZE: usize = size_of::<u64>();

/// Sets which signals this thread holds back, and says which it held back before.
#[expect(unsafe_code, reason = "std has no signal masks")]
fn hold_back(set: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both pointers are those of sets of the kernel's size that outlive the call.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, &raw mut before, SET_SIZE);
    }
    before
}

/// Lets every signal through.
pub(super) fn deliver_all() {
    hold_back(0);
}

/// Starts a thread that no signal comes to: they are the main thread's. With a thread that takes signals, a process
/// cannot take them from a queue.
pub(crate) fn spawn_undisturbed<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    let before = hold_back(ALL);
    let spawned = std::thread::Builder::new().spawn(|| {
        // Once more: in a new thread, musl lets its own two through, which are an app's as well (34 is glibc's SIGRTMIN).
        hold_back(ALL);
        work()
    });
    hold_back(before);
    spawned
}

/// Every signal back to what it does by default, those that were ignored too. In a child whose parent has threads it must
/// not allocate.
#[expect(unsafe_code, reason = "std has no signal dispositions")]
pub(super) fn no_handlers() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: a zeroed sigaction is SIG_DFL without flags and with an empty mask.
        unsafe {
            let default: libc::sigaction = zeroed();
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        }
    }
}

/// The signals sent to this process, in a queue that can be polled.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// From here on, no signal is delivered: each is in the queue. Faults of this program itself still end it.
    ///
    /// # Errors
    /// There is no descriptor left.
    #[expect(unsafe_code, reason = "std has no signal descriptors")]
    pub(crate) fn queue() -> io::Result<Self> {
        hold_back(ALL);
        // What is ignored does not come when it is let through again; and a parent that ignored SIGCHLD would have the
        // kernel reap our children.
        no_handlers();
        let (set, flags) = (ALL, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        // SAFETY: the set is of the kernel's size and outlives the call; a descriptor that is returned is nobody else's.
        unsafe {
            let descriptor = libc::syscall(libc::SYS_signalfd4, -1, &raw const set, SET_SIZE, flags);
            let descriptor = c_int::try_from(descriptor).unwrap_or(-1);
            check(descriptor)?;
            Ok(Self(OwnedFd::from_raw_fd(descriptor)))
        }
    }

    /// The next signal that somebody sent, if there is one. What this process sends to itself is nobody's message: a
    /// closed stderr makes the kernel send it a SIGPIPE.
    #[expect(unsafe_code, reason = "std has no signal descriptors")]
    pub(crate) fn next(&self) -> Option<c_int> {
        loop {
            // SAFETY: zero is a valid signalfd_siginfo, and the kernel fills at most its size.
            let (length, info) = unsafe {
                let mut info: libc::signalfd_siginfo = zeroed();
                let size = size_of::<libc::signalfd_siginfo>();
                (libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size), info)
            };
            if length <= 0 {
                return None;
            }
            if info.ssi_code != libc::SI_USER || info.ssi_pid != std::process::id() {
                return c_int::try_from(info.ssi_signo).ok();
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
