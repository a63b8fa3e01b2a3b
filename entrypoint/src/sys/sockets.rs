//! Sockets that are waited for, and names.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;

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
