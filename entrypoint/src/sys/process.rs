//! What this process is to the kernel: its limits, its user, and its end as an app.

use std::ffi::CString;
use std::mem::zeroed;

/// The soft limit on core dumps as it was found, for the app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoreLimit(Option<libc::rlimit>);

/// Forbids core dumps and debuggers of the same user while secrets are in this memory.
///
/// Only the soft limit is lowered, so that [`prepare_exec`] can put it back; the exec itself makes the app dumpable.
#[expect(unsafe_code, reason = "std has neither rlimits nor prctl")]
pub(crate) fn forbid_dumps() -> CoreLimit {
    // SAFETY: prctl with PR_SET_DUMPABLE takes plain integers; the rlimit calls get a valid struct to fill and to read.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        let mut found: libc::rlimit = zeroed();
        if libc::getrlimit(libc::RLIMIT_CORE, &raw mut found) != 0 {
            return CoreLimit(None);
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: found.rlim_max };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        CoreLimit(Some(found))
    }
}

/// Undoes what this process changed for itself, so that the app starts as if it had been started directly: the limit
/// on core dumps as it was, no signal ignored (Rust's runtime ignores SIGPIPE) and none held back.
#[expect(unsafe_code, reason = "std has neither rlimits nor signal dispositions")]
pub(crate) fn prepare_exec(core: CoreLimit) {
    // SAFETY: the limit is the one getrlimit filled; sigaction gets valid structs, and SIG_DFL installs no handler.
    unsafe {
        if let Some(limit) = core.0 {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        }
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = zeroed();
            let known = libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0;
            if known && action.sa_sigaction == libc::SIG_IGN {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

/// The soft limit of the stack in bytes, which also bounds the environment; `u64::MAX` where there is none.
pub(crate) fn stack_limit() -> u64 {
    soft_limit(libc::RLIMIT_STACK as libc::c_int)
}

/// How many descriptors this process may have open; `u64::MAX` where there is no limit.
pub(crate) fn descriptor_limit() -> u64 {
    soft_limit(libc::RLIMIT_NOFILE as libc::c_int)
}

#[expect(unsafe_code, reason = "std has no rlimits")]
fn soft_limit(resource: libc::c_int) -> u64 {
    // SAFETY: getrlimit gets a valid struct to fill. The type of the first argument differs between libcs.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        match libc::getrlimit(resource as _, &raw mut limit) {
            0 => limit.rlim_cur,
            _ => u64::MAX,
        }
    }
}

/// The effective user of this process.
#[expect(unsafe_code, reason = "std does not tell who we are")]
pub(crate) fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group of this process.
#[expect(unsafe_code, reason = "std does not tell who we are")]
pub(crate) fn effective_group() -> u32 {
    // SAFETY: getegid takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// Does something with the file system's view of another user, as far as this one may take it on: where it may not, the
/// work is done as ourselves. It holds for this thread alone (setfsuid(2)).
#[expect(unsafe_code, reason = "std has no setfsuid")]
pub(crate) fn with_file_ids<T>(user: u32, group: u32, work: impl FnOnce() -> T) -> T {
    // SAFETY: both take plain integers; what they refuse stays as it is.
    unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
    }
    let done = work();
    // SAFETY: as above. To go back to one's own effective user is always allowed; with it, a right to change groups.
    unsafe {
        libc::setfsuid(libc::geteuid());
        libc::setfsgid(libc::getegid());
    }
    done
}

/// Calls this thread something else; on the main thread, the process. At most 15 bytes (prctl(2), `PR_SET_NAME`).
#[expect(unsafe_code, reason = "std has no prctl")]
pub(crate) fn name_process(name: &str) {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the string ends with a NUL and outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Whether this process has CAP_KILL (capabilities(7)), without which other users' processes get no signal from it.
pub(crate) fn may_signal_everybody() -> bool {
    const CAP_KILL: u32 = 5;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|effective| effective >> CAP_KILL & 1 == 1)
}
