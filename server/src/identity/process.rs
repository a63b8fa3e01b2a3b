//! A process on this host, held fast: numbers of processes are given again.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The process that made a connection.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// When it started, in ticks since the host did.
    started: u64,
    /// Refers to that process and no other (`SO_PEERPIDFD`, Linux 6.5). On an older kernel the start time has to do: a
    /// process that took the number since then has a later one.
    handle: Option<OwnedFd>,
}

/// Why a process cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen(String);

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) session: u32,
    pub(super) started: u64,
}

impl Process {
    /// The process at the other end of a unix socket, by the number that the kernel noted when it connected.
    ///
    /// # Errors
    /// It is in another tree of processes, or is gone already.
    pub fn behind(socket: &impl AsFd, pid: Option<i32>) -> Result<Self, Unseen> {
        let handle = getsockopt(socket, sockopt::PeerPidfd).ok();
        // 0 stands for a process of a namespace that this one does not see into.
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let pid = pid.ok_or_else(|| Unseen("its number means nothing to the server".to_owned()))?;
        Ok(Self { pid, started: stat(pid)?.started, handle })
    }

    pub(super) fn cgroups(&self) -> Result<String, Unseen> {
        cgroups(self.pid)
    }

    pub(super) fn stat(&self) -> Result<Stat, Unseen> {
        stat(self.pid)
    }

    /// Whether the number still is this process's. Asked after all else: then what was read before was read of it.
    pub(super) fn same(&self) -> Result<(), Unseen> {
        let ended = || Unseen("it has ended".to_owned());
        if let Some(handle) = &self.handle {
            // A handle becomes readable when its process ends (pidfd_open(2)).
            let mut handles = [PollFd::new(handle, PollFlags::IN)];
            return match poll(&mut handles, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(0) => Ok(()),
                Ok(_) => Err(ended()),
                Err(error) => Err(Unseen(error.to_string())),
            };
        }
        if self.stat()?.started == self.started { Ok(()) } else { Err(ended()) }
    }
}

/// `/proc/PID/cgroup`, whole.
pub(super) fn cgroups(pid: u32) -> Result<String, Unseen> {
    read(pid, "cgroup")
}

pub(super) fn stat(pid: u32) -> Result<Stat, Unseen> {
    parse(&read(pid, "stat")?).ok_or_else(|| Unseen("its state is not what the kernel writes".to_owned()))
}

fn read(pid: u32, file: &str) -> Result<String, Unseen> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| Unseen(error.to_string()))
}

/// `pid (name) state ppid pgrp session …`. The name is the process's own to choose, parentheses and blanks included, so
/// the fields are counted from its last parenthesis.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The third field of all is the first here.
    let field = |number: usize| fields.get(number - 3);
    Some(Stat { session: field(6)?.parse().ok()?, started: field(22)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_other_fields() {
        let rest = "S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 4711 0";
        for name in ["sleep", "a b", ") S 1 2 3 (", "x) S 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 ("] {
            let stat = parse(&format!("42 ({name}) {rest}")).unwrap();
            assert_eq!(stat, Stat { session: 9, started: 4711 }, "{name}");
        }
        for text in ["", "42", "42 (a)", "42 (a) S 1", "42 (a) S 7 8 x 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 4711 0"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// A child that connects, and that is gone when the connection is looked at.
    #[test]
    fn a_process_that_has_ended_is_not_taken_for_the_next_of_its_number() {
        let (here, _there) = UnixStream::pair().unwrap();
        let own = std::process::id();
        let alive = Process::behind(&here, i32::try_from(own).ok()).unwrap();
        assert_eq!(alive.same(), Ok(()));
        // Without a handle, the start time tells a later process of the same number.
        let older = Process { handle: None, started: alive.started - 1, ..alive };
        assert!(older.same().is_err());

        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let number = child.id();
        let pid = rustix::process::Pid::from_child(&child);
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let with_handle = Process { pid: number, started: stat(number).unwrap().started, handle: Some(handle) };
        let without = Process { pid: number, started: with_handle.started, handle: None };
        assert_eq!((with_handle.same(), without.same()), (Ok(()), Ok(())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(with_handle.same().is_err() && without.same().is_err());
    }

    #[test]
    fn a_process_that_cannot_be_seen_is_an_error() {
        let (here, _there) = UnixStream::pair().unwrap();
        for pid in [None, Some(0), Some(-1), Some(i32::MAX)] {
            assert!(Process::behind(&here, pid).is_err(), "{pid:?}");
        }
    }
}
