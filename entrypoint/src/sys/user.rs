//! Becoming another user, for good.

use std::io;

use super::check;
use crate::user::User;

/// The version of capget(2)'s structs with 64 bits of capabilities.
const VERSION_3: u32 = 0x2008_0522;
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// 32 capabilities; the kernel takes two of these.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Whether this process may become any user: root usually may, and not where all capabilities were dropped.
#[expect(unsafe_code, reason = "std knows of no capabilities")]
pub(crate) fn may_change_user() -> bool {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut found = [Capabilities::default(); 2];
    // SAFETY: the header names a version whose data are two structs, and both outlive the call.
    let status = unsafe { libc::syscall(libc::SYS_capget, &raw const header, found.as_mut_ptr()) };
    let needed = 1 << CAP_SETUID | 1 << CAP_SETGID;
    status == 0 && found[0].effective & needed == needed
}

/// Makes the calling thread run as this user and nobody else: supplementary groups, then group, then user, because
/// each step takes away the right to take the one before. All three ids of each kind change, and every capability
/// goes, so that there is no way back; that is tried, and one that is found is an error (ENOTRECOVERABLE).
///
/// It is bare system calls and allocates nothing, so that a child may call it between fork and exec. It changes the
/// calling thread alone, where the libc's functions change all of them: whoever executes the app in it leaves the others
/// able to clear up if that fails. An exec ends them.
#[expect(unsafe_code, reason = "std drops no rights of the process it is in")]
pub(crate) fn become_user(user: &User) -> io::Result<()> {
    let (uid, gid) = (user.uid, user.gid);
    let already = ids()? == ([uid; 3], [gid; 3]);
    // SAFETY: pointer and count describe the vector, which outlives the call; the other calls take plain integers.
    unsafe {
        match call(libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr())) {
            // Nobody else than root may, and there is nothing to give up.
            Err(error) if already && error.raw_os_error() == Some(libc::EPERM) => {}
            outcome => outcome?,
        }
        call(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        call(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        // Kernels before 4.3 have no ambient capabilities.
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    }
    if uid != 0 {
        drop_capabilities()?;
        // SAFETY: the call takes plain integers.
        let back = unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, 0, u32::MAX) };
        if back == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOTRECOVERABLE));
        }
    }
    match ids()? == ([uid; 3], [gid; 3]) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ENOTRECOVERABLE)),
    }
}

/// The kernel drops them when root becomes somebody else, unless the process was told to keep them; and the inheritable
/// ones, with which an app's file capabilities become real ones, it never drops (CVE-2022-24769).
#[expect(unsafe_code, reason = "std knows of no capabilities")]
fn drop_capabilities() -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Capabilities::default(); 2];
    // SAFETY: the header names a version whose data are two structs, and both outlive the call.
    call(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
}

/// Real, effective and saved user and group of this thread.
#[expect(unsafe_code, reason = "std does not tell who we are")]
fn ids() -> io::Result<([u32; 3], [u32; 3])> {
    let ([mut r, mut e, mut s], [mut rg, mut eg, mut sg]) = ([0_u32; 3], [0_u32; 3]);
    // SAFETY: each pointer is that of an integer that outlives the call.
    unsafe {
        call(libc::syscall(libc::SYS_getresuid, &raw mut r, &raw mut e, &raw mut s))?;
        call(libc::syscall(libc::SYS_getresgid, &raw mut rg, &raw mut eg, &raw mut sg))?;
    }
    Ok(([r, e, s], [rg, eg, sg]))
}

fn call(status: libc::c_long) -> io::Result<()> {
    check(i32::try_from(status).unwrap_or(-1))
}
