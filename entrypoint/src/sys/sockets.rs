//! Sockets that are waited for, and names.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::check;

/// Begins to connect, and does not wait. The socket is writable when the attempt has ended, one way or the other.
#[expect(unsafe_code, reason = "std connects only in blocking ways")]
pub(crate) fn begin_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 })?;
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
    begun(socket, status)
}

/// The same for a unix socket, which std reads and writes like any other. There is no waiting here: it is connected, or
/// the attempt has failed; `WouldBlock` says that the other side's queue is full.
///
/// # Errors
/// `InvalidInput` for a path that is longer than an address can hold.
#[expect(unsafe_code, reason = "std connects only in blocking ways")]
pub(crate) fn begin_connect_unix(path: &Path) -> io::Result<TcpStream> {
    // SAFETY: all of it may be zero.
    let mut raw: libc::sockaddr_un = unsafe { zeroed() };
    raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // The last byte stays zero, and ends the path.
    if bytes.len() >= raw.sun_path.len() || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in raw.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    let socket = socket(libc::AF_UNIX)?;
    // SAFETY: pointer and length are those of one initialised address of the socket's family.
    let status = unsafe { connect(&socket, &raw) };
    begun(socket, status)
}

/// A stream socket that never blocks and that no exec passes on.
#[expect(unsafe_code, reason = "std makes only sockets that are connected already")]
fn socket(family: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes plain integers; a descriptor that is returned is owned by nobody else.
    unsafe {
        let descriptor = libc::socket(family, kind, 0);
        check(descriptor)?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

fn begun(socket: OwnedFd, status: c_int) -> io::Result<TcpStream> {
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

/// What a socket is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Readable,
    Writable,
    Either,
}

/// Waits until one of the sockets is as it should be or the time is over, and says which ones are.
#[expect(unsafe_code, reason = "std has no poll")]
pub(crate) fn poll(sockets: &[(BorrowedFd<'_>, Until)], time: Duration) -> Vec<bool> {
    let events = |until: Until| match until {
        Until::Readable => libc::POLLIN,
        Until::Writable => libc::POLLOUT,
        Until::Either => libc::POLLIN | libc::POLLOUT,
    };
    let mut polled: Vec<libc::pollfd> = sockets
        .iter()
        .map(|(socket, until)| libc::pollfd { fd: socket.as_raw_fd(), events: events(*until), revents: 0 })
        .collect();
    // Rounded up: a poll of zero milliseconds for the last fraction would spin.
    let milliseconds = time.as_micros().div_ceil(1000).try_into().unwrap_or(c_int::MAX);
    // SAFETY: pointer and count describe the vector, which outlives the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
    polled.iter().map(|entry| ready > 0 && entry.revents != 0).collect()
}

/// Rows and columns of the terminal that stderr is; `None` where it is something else.
#[expect(unsafe_code, reason = "std does not know how large a terminal is")]
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    // SAFETY: the request fills a struct of this type, which outlives the call.
    let size = unsafe {
        let mut size: libc::winsize = zeroed();
        check(libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size)).ok()?;
        size
    };
    // A serial line does not know its size.
    let or = |known: u16, usual: u16| if known == 0 { usual } else { known };
    Some((or(size.ws_row, 24), or(size.ws_col, 80)))
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
