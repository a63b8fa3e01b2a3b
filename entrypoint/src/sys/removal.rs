//! Taking away again what a start placed: also from within the handler of the signal that ends it.

use std::ffi::{CString, c_int};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

/// What a name stands for, and so how it is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Unlink,
    RemoveDirectory,
    Unmount,
}

/// A name to take away: an entry of an open directory, or a path.
#[derive(Debug)]
pub(crate) struct Removal {
    /// It stays open for as long as this may be performed.
    directory: Option<Rc<File>>,
    name: CString,
    how: How,
}

impl Removal {
    /// Of a file or a symlink.
    pub(crate) fn of_file(directory: &Rc<File>, name: CString) -> Self {
        Self { directory: Some(Rc::clone(directory)), name, how: How::Unlink }
    }

    /// Of a directory, if it is empty then.
    pub(crate) fn of_directory(directory: &Rc<File>, name: CString) -> Self {
        Self { directory: Some(Rc::clone(directory)), name, how: How::RemoveDirectory }
    }

    /// Of a directory by its path, if it is empty then.
    pub(crate) fn of_path(path: CString) -> Self {
        Self { directory: None, name: path, how: How::RemoveDirectory }
    }

    /// Of the mount at a path, which goes as soon as nobody uses it any more.
    pub(crate) fn of_mount(path: CString) -> Self {
        Self { directory: None, name: path, how: How::Unmount }
    }

    /// One system call. What is gone already is none of our business.
    #[expect(unsafe_code, reason = "std has neither unlinkat nor umount2")]
    fn perform(&self) {
        let directory = self.directory.as_ref().map_or(libc::AT_FDCWD, |directory| directory.as_raw_fd());
        // SAFETY: descriptor and name are valid for the call.
        unsafe {
            match self.how {
                How::Unlink => libc::unlinkat(directory, self.name.as_ptr(), 0),
                How::RemoveDirectory => libc::unlinkat(directory, self.name.as_ptr(), libc::AT_REMOVEDIR),
                How::Unmount => libc::umount2(self.name.as_ptr(), libc::MNT_DETACH),
            };
        }
    }
}

/// Takes everything away, in this order.
pub(crate) fn remove_all(removals: &[Removal]) {
    removals.iter().for_each(Removal::perform);
}

/// What a signal that ends the start takes away; null for nothing.
static AT_END: AtomicPtr<Vec<Removal>> = AtomicPtr::new(null_mut());
/// Whether files are being placed or taken away: a signal then waits, because no list is right in between.
static HELD: AtomicBool = AtomicBool::new(false);
/// The signal that waits.
static WAITING: AtomicI32 = AtomicI32::new(0);

/// Says what a signal is to take away from now on. The list is never freed: a handler may be reading it.
pub(crate) fn remove_at_end(removals: Vec<Removal>) {
    AT_END.store(Box::into_raw(Box::new(removals)), Ordering::SeqCst);
}

/// Nothing more is to be taken away by a signal: the app runs, or what there was is gone.
pub(crate) fn remove_nothing_at_end() {
    AT_END.store(null_mut(), Ordering::SeqCst);
}

/// Keeps a signal that ends the start waiting for as long as this lives, which must be short.
#[derive(Debug)]
pub(crate) struct HeldSignals {
    outermost: bool,
}

pub(crate) fn hold_signals() -> HeldSignals {
    HeldSignals { outermost: !HELD.swap(true, Ordering::SeqCst) }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if self.outermost {
            HELD.store(false, Ordering::SeqCst);
            match WAITING.load(Ordering::SeqCst) {
                0 => {}
                signal => end(signal),
            }
        }
    }
}

/// The handler of the signals that end a start: takes away what was placed, and ends with 128 + n. Everything that it
/// calls is async-signal-safe: atomics, bare system calls, and _exit.
pub(super) extern "C" fn end_on(signal: c_int) {
    // In this order: whichever of this handler and the end of the hold comes second sees what the other one wrote.
    WAITING.store(signal, Ordering::SeqCst);
    if !HELD.load(Ordering::SeqCst) {
        end(signal);
    }
}

#[expect(unsafe_code, reason = "the list is shared with a signal handler by a pointer")]
fn end(signal: c_int) -> ! {
    // SAFETY: the pointer is null or that of a list that is never freed nor changed. _exit is async-signal-safe.
    unsafe {
        if let Some(removals) = AT_END.load(Ordering::SeqCst).as_ref() {
            remove_all(removals);
        }
        libc::_exit(128 + signal)
    }
}
