//! The system calls that std has no safe word for. All unsafe code of this program is in this file.

use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What ends a process that has no handler, apart from faults of its own; images choose their STOPSIGNAL among these.
const ENDING_SIGNALS: [c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Makes signals end this process at once, with 128 + n. As PID 1 a process without a handler ignores them, and
/// `docker stop` then takes its ten seconds of grace. The exec that starts the app sets handlers back to the default.
#[expect(unsafe_code, reason = "std has no signal handlers, and a handler may call only what is async-signal-safe")]
pub(crate) fn end_on_signals() {
    extern "C" fn end(signal: c_int) {
        // SAFETY: _exit is async-signal-safe and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in ENDING_SIGNALS {
        // SAFETY: zero is a valid sigaction, its mask is made empty before use, and `end` has the type of a handler.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = end as extern "C" fn(c_int) as usize;
            libc::sigemptyset(&raw mut action.sa_mask);
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

/// `execve`. It returns only if it failed, and then says why.
#[expect(
    unsafe_code,
    reason = "std's exec searches the PATH as the libc does, which hands a file without #! to a shell on glibc"
)]
pub(crate) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        let all = strings.iter().map(|string| string.as_ptr());
        all.chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and the strings they point to outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// The soft limit of the stack in bytes, which also bounds the environment; `u64::MAX` where there is none.
#[expect(unsafe_code, reason = "std has no rlimits")]
pub(crate) fn stack_limit() -> u64 {
    // SAFETY: getrlimit gets a valid struct to fill.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        match libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) {
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

/// Whether an open file lies on a file system that is memory and nothing else: tmpfs or ramfs (statfs(2)).
#[expect(unsafe_code, reason = "std has no statfs")]
pub(crate) fn is_in_memory(file: &File) -> io::Result<bool> {
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open as long as `file` lives, and the struct is read only if the call filled it.
    let found = unsafe {
        check(libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()))?;
        found.assume_init()
    };
    // The field's type differs between libcs; the magic number is 32 bits in all of them.
    let kind = u64::from(found.f_type as u32);
    Ok(kind == libc::TMPFS_MAGIC as u64 || kind == RAMFS_MAGIC)
}

/// What [`stat_at`] tells of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// `S_IFREG`, `S_IFDIR`, …
    pub kind: libc::mode_t,
    pub links: u64,
    pub device: u64,
}

/// What a name in a directory is, without following it; `None` where it is not there.
#[expect(unsafe_code, reason = "std has no fstatat")]
pub(crate) fn stat_at(directory: &File, name: &CStr) -> io::Result<Option<Found>> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: descriptor and name are valid for the call, and the struct is read only if the call filled it.
    let found = unsafe {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        let status = libc::fstatat(directory.as_raw_fd(), name.as_ptr(), found.as_mut_ptr(), flags);
        match check(status) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(()) => found.assume_init(),
        }
    };
    Ok(Some(Found { kind: found.st_mode & libc::S_IFMT, links: found.st_nlink, device: found.st_dev }))
}

/// Makes a file that was not there before, mode 0600, relative to an open directory.
#[expect(unsafe_code, reason = "std has no openat")]
pub(crate) fn create_at(directory: &File, name: &CStr) -> io::Result<File> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: descriptor and name are valid for the call; a descriptor that is returned is owned by nobody else.
    unsafe {
        let descriptor = libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, 0o600);
        check(descriptor)?;
        Ok(File::from_raw_fd(descriptor))
    }
}

/// Gives a file of an open directory another name there; what had that name is replaced, and never followed.
#[expect(unsafe_code, reason = "std has no renameat")]
pub(crate) fn rename_at(directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
    let descriptor = directory.as_raw_fd();
    // SAFETY: descriptor and names are valid for the call.
    check(unsafe { libc::renameat(descriptor, from.as_ptr(), descriptor, to.as_ptr()) })
}

/// Removes a name from an open directory.
#[expect(unsafe_code, reason = "std has no unlinkat")]
pub(crate) fn unlink_at(directory: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: descriptor and name are valid for the call.
    check(unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) })
}

/// Begins to connect, and does not wait. The socket is writable when the attempt has ended, one way or the other.
#[expect(unsafe_code, reason = "std connects only in blocking ways")]
pub(crate) fn begin_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes plain integers; a descriptor that is returned is owned by nobody else.
    let socket = unsafe {
        let descriptor = libc::socket(family, kind, 0);
        check(descriptor)?;
        OwnedFd::from_raw_fd(descriptor)
    };
    // SAFETY: in each arm, pointer and length are those of one initialised address of the socket's family.
    let status = unsafe {
        match address {
            SocketAddr::V4(v4) => {
                let mut raw: libc::sockaddr_in = zeroed();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                connect(&socket, &raw)
            }
            SocketAddr::V6(v6) => {
                let mut raw: libc::sockaddr_in6 = zeroed();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                connect(&socket, &raw)
            }
        }
    };
    match check(status) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(socket)),
    }
}

/// `connect` with an address of any family.
///
/// # Safety
/// `T` must be a `sockaddr` type.
#[expect(unsafe_code, reason = "std connects only in blocking ways")]
unsafe fn connect<T>(socket: &OwnedFd, address: &T) -> c_int {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe one value that outlives the call; that it is an address, the caller says.
    unsafe { libc::connect(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), length) }
}

/// Waits until one of the sockets is writable or the time is over, and says which ones are.
#[expect(unsafe_code, reason = "std has no poll")]
pub(crate) fn poll_writable(sockets: &[BorrowedFd<'_>], time: Duration) -> Vec<bool> {
    let mut polled: Vec<libc::pollfd> = sockets
        .iter()
        .map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 })
        .collect();
    // Rounded up: a poll of zero milliseconds for the last fraction would spin.
    let milliseconds = time.as_micros().div_ceil(1000).try_into().unwrap_or(c_int::MAX);
    // SAFETY: pointer and count describe the vector, which outlives the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
    polled.iter().map(|entry| ready > 0 && entry.revents != 0).collect()
}

/// A path or name for a system call.
pub(crate) fn c_string(text: &Path) -> io::Result<CString> {
    CString::new(text.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// Keeps a static glibc from loading the name service modules of the image it happens to run in, which crash it when
/// they are newer than it is (measured: SIGFPE). Call it before the first name is resolved.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "std does not know of the name service switch")]
pub(crate) fn pin_name_services() {
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const libc::c_char, services: *const libc::c_char) -> c_int;
    }
    // SAFETY: both are C strings that live for ever, and no other thread runs yet.
    unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
}

/// Nothing to do: musl has no name service modules, and a dynamic glibc loads those it was built with.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) fn pin_name_services() {}

fn check(status: c_int) -> io::Result<()> {
    match status {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
