//! The system calls that std has no safe word for. All unsafe code of this program is in this folder.

mod children;
mod files;
mod process;
mod removal;
mod signals;
mod sockets;
mod terminal;
mod user;

use std::ffi::{CString, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) use children::{
    Birth, ChildNews, Program, Stillborn, Unexecuted, adopt_orphans, reap, send, send_to_group, spawn,
};
pub(crate) use files::{
    create_at, give_up, is_in_memory, link_at, make_directory, make_directory_at, mount_tmpfs, names_in, open_at,
    open_directory_at, read_at_most, rename_at, stat_at, target_of, unlink_at,
};
pub(crate) use process::{
    CoreLimit, descriptor_limit, effective_group, effective_user, forbid_dumps, may_signal_everybody, name_process,
    prepare_exec, stack_limit, with_file_ids,
};
pub(crate) use removal::{Removal, hold_signals, remove_all, remove_at_end, remove_nothing_at_end};
pub(crate) use signals::{Signals, end_on_signals, spawn_undisturbed};
pub(crate) use sockets::{Until, begin_connect, begin_connect_unix, pin_name_services, poll, terminal_size};
pub(crate) use terminal::{foreground_group, give_terminal_to, own_group, stop_as_job};
pub(crate) use user::{become_user, may_change_user};

/// A path or name for a system call.
pub(crate) fn c_string(text: &Path) -> io::Result<CString> {
    CString::new(text.as_os_str().as_bytes()).map_err(io::Error::from)
}

fn check(status: c_int) -> io::Result<()> {
    match status {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
