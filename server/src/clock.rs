//! The time, as a parameter: whoever needs it is given a [`Clock`], so a test can say what time it is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// For reckoning how old something is: nobody sets it.
    fn monotonic(&self) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// Where a test's time begins: 2026-01-01T00:00:00Z, in seconds since 1970.
const EPOCH: i64 = 1_767_225_600;

/// A clock that stands still until it is told to move. For tests.
#[derive(Debug, Clone)]
pub struct FakeClock(Arc<Mutex<Timestamp>>, Instant);

impl FakeClock {
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(time)), SystemClock.monotonic())
    }

    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time =
            time.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
    }

    pub fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

impl Default for FakeClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::constant(EPOCH, 0))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monotonic(&self) -> Instant {
        let since = self.now().as_millisecond() - Timestamp::constant(EPOCH, 0).as_millisecond();
        self.1 + Duration::from_millis(u64::try_from(since).unwrap_or(0))
    }
}
