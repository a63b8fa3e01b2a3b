//! What only one test on this machine can have at a time, other runs of the tests included.
//!
//! A test that needs two of these takes the Swarm's first, so that no two tests ever wait for each other; and it takes
//! each once, for a lock that is held shared is not had alone by its own holder either.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

/// The longest tests take minutes and there are a few of them; after this long it is no queue but two that wait for each
/// other.
const PATIENCE: Duration = Duration::from_secs(1200);
const TICK: Duration = Duration::from_millis(50);

/// Waits until nobody else has what has this name; it is had until the file is dropped.
///
/// # Panics
/// If that takes so long that something must be wrong.
#[must_use]
pub fn alone(name: &str) -> File {
    take(name, File::try_lock)
}

/// Waits until nobody has it alone; others may have it in this way at the same time.
///
/// # Panics
/// If that takes so long that something must be wrong.
#[must_use]
pub fn shared(name: &str) -> File {
    take(name, File::try_lock_shared)
}

fn take(name: &str, lock: impl Fn(&File) -> Result<(), TryLockError>) -> File {
    let path = std::env::temp_dir().join(format!("chandlery-{name}.lock"));
    let file = File::options().create(true).append(true).open(&path).expect("a lock file can be made");
    for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
        match lock(&file) {
            Ok(()) => return file,
            Err(TryLockError::WouldBlock) => thread::sleep(TICK),
            Err(TryLockError::Error(error)) => panic!("{}: {error}", path.display()),
        }
    }
    panic!("{}: another test, or this one, has held it for {PATIENCE:?}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_it_or_one_has_it_alone() {
        let name = format!("turn-test-{}", std::process::id());
        let path = std::env::temp_dir().join(format!("chandlery-{name}.lock"));
        let (first, second) = (shared(&name), shared(&name));
        let other = File::options().append(true).open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop((first, second));
        let held = alone(&name);
        assert!(matches!(other.try_lock_shared(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().expect("nobody has it any more");
        std::fs::remove_file(path).unwrap();
    }
}
