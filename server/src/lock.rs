//! Having a file alone, for as long as a process lives.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
const TRIES: usize = 50;

/// Takes an open file for this process; `false` if another has it.
///
/// The system lets go of it when the process ends, however it ends: no stale lock can keep a server from starting. But a
/// program that a source begins to run holds its server's locks, too, between its fork and its exec, and may live that much
/// longer than a server that was killed: so not the first try decides, but a second of them.
///
/// # Errors
/// The system's, where it cannot lock the file at all.
pub fn take(file: &File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => thread::sleep(TICK),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lets_go_in_time_is_waited_for_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let (first, second) = (open(), open());
        assert!(take(&first).unwrap());
        assert!(!take(&second).unwrap());
        let held = thread::spawn(move || {
            thread::sleep(TICK * 3);
            drop(first);
        });
        assert!(take(&second).unwrap());
        held.join().unwrap();
    }
}
