//! Files and directories by descriptor.

use std::ffi::{CStr, CString, c_int};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::path::Path;

use super::{c_string, check};

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

/// Mounts an empty tmpfs of mode 0700 over an open directory; nothing in it is executed, no device, and no set-user-ID.
#[expect(unsafe_code, reason = "std has no mount")]
pub(crate) fn mount_tmpfs(directory: &File, megabytes: usize) -> io::Result<()> {
    // By descriptor: a path could be swapped for another.
    let target = CString::new(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    let options = CString::new(format!("mode=0700,size={megabytes}m"))?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: all strings end with a NUL and outlive the call.
    check(unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, flags, options.as_ptr().cast()) })
}

/// What [`stat_at`] tells of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// `S_IFREG`, `S_IFDIR`, …
    pub kind: libc::mode_t,
    pub links: libc::nlink_t,
    pub device: u64,
    pub owner: u32,
    pub mode: u32,
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
    Ok(Some(Found {
        kind: found.st_mode & libc::S_IFMT,
        links: found.st_nlink,
        device: found.st_dev,
        owner: found.st_uid,
        mode: found.st_mode & 0o7777,
    }))
}

/// Makes a file that was not there before, mode 0600, relative to an open directory.
pub(crate) fn create_at(directory: &File, name: &CStr) -> io::Result<File> {
    open_with(directory, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
}

/// Opens a name of an open directory for reading. A symlink is an error, and a FIFO is not waited for.
pub(crate) fn open_at(directory: &File, name: &CStr) -> io::Result<File> {
    open_with(directory, name, libc::O_RDONLY | libc::O_NONBLOCK)
}

/// Opens a directory in an open directory.
pub(crate) fn open_directory_at(directory: &File, name: &CStr) -> io::Result<File> {
    open_with(directory, name, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Opens a name in an open directory. A symlink is not followed, and what is made has mode 0600.
#[expect(unsafe_code, reason = "std has no openat")]
fn open_with(directory: &File, name: &CStr, flags: c_int) -> io::Result<File> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: descriptor and name are valid for the call; a descriptor that is returned is owned by nobody else.
    unsafe {
        let descriptor = libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, 0o600);
        check(descriptor)?;
        Ok(File::from_raw_fd(descriptor))
    }
}

/// Makes a directory that was not there before, mode 0700, in an open directory.
#[expect(unsafe_code, reason = "std has no mkdirat")]
pub(crate) fn make_directory_at(directory: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: descriptor and name are valid for the call.
    check(unsafe { libc::mkdirat(directory.as_raw_fd(), name.as_ptr(), 0o700) })
}

/// Makes a symlink that was not there before in an open directory.
#[expect(unsafe_code, reason = "std has no symlinkat")]
pub(crate) fn link_at(target: &CStr, directory: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: descriptor and names are valid for the call.
    check(unsafe { libc::symlinkat(target.as_ptr(), directory.as_raw_fd(), name.as_ptr()) })
}

/// Where a symlink in an open directory leads; `None` where there is none, or one that is longer than any of ours.
#[expect(unsafe_code, reason = "std has no readlinkat")]
pub(crate) fn target_of(directory: &File, name: &CStr) -> Option<Vec<u8>> {
    let mut target = [0_u8; 512];
    // SAFETY: descriptor and name are valid for the call, and the kernel fills at most the buffer.
    let length =
        unsafe { libc::readlinkat(directory.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    let target = target.get(..usize::try_from(length).ok()?)?;
    (target.len() < 512).then(|| target.to_vec())
}

/// The names in an open directory, without `.` and `..`.
#[expect(unsafe_code, reason = "std lists directories by path only")]
pub(crate) fn names_in(directory: &File) -> io::Result<Vec<CString>> {
    // The stream gets a descriptor with a position of its own.
    let descriptor = open_directory_at(directory, c".")?.into_raw_fd();
    let mut names = Vec::new();
    // SAFETY: the stream takes the descriptor over, and closes it; an entry is read before the next call changes it,
    // and its name ends with a NUL.
    unsafe {
        let stream = libc::fdopendir(descriptor);
        if stream.is_null() {
            let error = io::Error::last_os_error();
            libc::close(descriptor);
            return Err(error);
        }
        loop {
            let entry = libc::readdir(stream);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr());
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        libc::closedir(stream);
    }
    Ok(names)
}

/// Makes a directory. std's way can also make those above it, which costs 2 KB.
#[expect(unsafe_code, reason = "std's way is larger")]
pub(crate) fn make_directory(path: &Path, mode: libc::mode_t) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: the path is valid for the call.
    check(unsafe { libc::mkdir(path.as_ptr(), mode) })
}

/// Reads a file to its end, or until one byte more than `most` is there.
pub(crate) fn read_at_most(mut file: &File, most: usize) -> io::Result<Vec<u8>> {
    const STEP: usize = 16 * 1024;
    let mut bytes = Vec::new();
    while bytes.len() <= most {
        let end = bytes.len();
        bytes.resize((end + STEP).min(most + 1), 0);
        let count = file.read(&mut bytes[end..])?;
        bytes.truncate(end + count);
        if count == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// Takes a descriptor away from this process and from the app. Where it is one of the three that every program expects,
/// `/dev/null` takes its place.
#[expect(unsafe_code, reason = "std closes only what it has opened")]
pub(crate) fn give_up(descriptor: RawFd) -> io::Result<()> {
    if descriptor <= libc::STDERR_FILENO {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        // SAFETY: dup2 takes plain integers; the standard streams are never owned by a `File`.
        return check(unsafe { libc::dup2(null.as_raw_fd(), descriptor) });
    }
    // SAFETY: close takes a plain integer; the caller knows that nothing of this program owns the descriptor.
    check(unsafe { libc::close(descriptor) })
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
