//! When to ask again. Hundreds of containers ask one server, and it must not be able to make them storm it: not when it
//! is down, not when it comes back, not when it answers nonsense, and not when it does not hold their requests.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Between the beginnings of two requests, whatever came of the first: more than that, nobody asks.
const FLOOR: Duration = Duration::from_secs(1);
/// After something new, so that those who all heard of it at once do not all come back at once.
const SPREAD: Duration = Duration::from_millis(500);
/// About how often to look where the server does not hold requests.
const PLAIN: Duration = Duration::from_secs(10);
/// About how often to ask where the server refuses: only an operator changes that.
const REFUSED: Duration = Duration::from_secs(60);
/// The longest pause while nobody answers.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a server can ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// A request that was answered sooner than this was not held.
const HELD: Duration = Duration::from_secs(5);

/// What a request came to, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Another revision.
    New,
    /// Nothing new.
    Same,
    /// A no that another try does not change.
    Refused,
    /// No answer that means anything.
    Failed,
}

/// The pauses of one follower.
#[derive(Debug)]
pub(super) struct Pace {
    /// The last pause after a failure.
    last: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { last: FLOOR }
    }

    /// How long to wait before the next request, where the last one took `took`.
    ///
    /// After failures it is the decorrelated jitter of Brooker, "Exponential Backoff And Jitter" (2015): anywhere
    /// between the shortest pause and three times the last one, so that those who failed together drift apart.
    pub(super) fn pause(
        &mut self,
        outcome: Outcome,
        took: Duration,
        retry_after: Option<Duration>,
        random: &mut impl FnMut() -> u64,
    ) -> Duration {
        let wanted = match outcome {
            Outcome::New => between(Duration::ZERO, SPREAD, random()),
            Outcome::Same if took >= HELD => between(Duration::ZERO, SPREAD, random()),
            Outcome::Same => between(PLAIN / 2, PLAIN * 3 / 2, random()),
            Outcome::Refused => between(REFUSED / 2, REFUSED * 3 / 2, random()),
            Outcome::Failed => between(FLOOR, self.last * 3, random()).min(LONGEST),
        };
        self.last = if outcome == Outcome::Failed { wanted } else { FLOOR };
        // Never before the server wants it, and not all at the moment it names.
        let asked = retry_after.map_or(Duration::ZERO, |asked| asked.min(LONGEST_RETRY_AFTER));
        let asked = between(asked, asked * 5 / 4, random());
        wanted.max(asked).max(FLOOR.saturating_sub(took))
    }
}

/// A moment between two, chosen by a random number.
pub(super) fn between(least: Duration, most: Duration, random: u64) -> Duration {
    let width = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
    least + Duration::from_millis(random % width.saturating_add(1))
}

/// A random number: the keys of std's hash maps come from the kernel.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests 500 followers send in each second of twenty minutes, where every request ends as `answer` says: with
    /// an outcome, after a time, with a `Retry-After`. They all begin in the same second.
    fn storm(answer: impl Fn(u64) -> (Outcome, Duration, Option<Duration>)) -> Vec<u64> {
        let mut requests = vec![0; 1200];
        for _ in 0..500 {
            let (mut pace, mut now, mut count) = (Pace::new(), Duration::ZERO, 0);
            while let Some(second) = requests.get_mut(usize::try_from(now.as_secs()).unwrap()) {
                *second += 1;
                let (outcome, took, retry_after) = answer(count);
                let pause = pace.pause(outcome, took, retry_after, &mut random);
                assert!(took + pause >= FLOOR);
                now += took + pause;
                count += 1;
            }
        }
        requests
    }

    #[test]
    fn five_hundred_followers_are_no_storm() {
        let soon = Duration::from_millis(1);
        for (case, outcome, most) in [
            // A mean pause of 15 s and more, once it has grown.
            ("refused connections, or an error at once", Outcome::Failed, 60),
            ("a server that does not hold requests", Outcome::Same, 75),
            ("a refusal", Outcome::Refused, 15),
            // Somebody writes all the time; nobody is told more than once a second.
            ("something new each time", Outcome::New, 500),
        ] {
            let requests = storm(|_| (outcome, soon, None));
            let (first, later) = requests.split_at(120);
            assert!(first.iter().all(|count| *count <= 500), "{case}: {first:?}");
            let mean = later.iter().sum::<u64>() / later.len() as u64;
            assert!(mean <= most, "{case}: {mean} a second");
        }
        let held = storm(|_| (Outcome::Same, Duration::from_secs(50), None));
        assert!(held.iter().sum::<u64>() / 1200 <= 11);
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks() {
        for outcome in [Outcome::New, Outcome::Same, Outcome::Refused, Outcome::Failed] {
            for asked in [1, 20, 300] {
                let asked = Duration::from_secs(asked);
                let pause = Pace::new().pause(outcome, Duration::ZERO, Some(asked), &mut random);
                assert!(pause >= asked, "{outcome:?}: {pause:?}");
            }
            let forever = Some(Duration::from_secs(1 << 40));
            let pause = Pace::new().pause(outcome, Duration::ZERO, forever, &mut random);
            assert!(pause <= LONGEST_RETRY_AFTER * 5 / 4, "{outcome:?}: {pause:?}");
        }
    }

    #[test]
    fn failures_grow_apart_up_to_a_ceiling_and_a_success_forgets_them() {
        let mut pace = Pace::new();
        let mut pauses = Vec::new();
        for _ in 0..50 {
            pauses.push(pace.pause(Outcome::Failed, Duration::ZERO, None, &mut || u64::MAX / 2));
        }
        assert!(pauses[0] <= FLOOR * 3 && pauses.iter().all(|pause| *pause >= FLOOR && *pause <= LONGEST));
        assert!(pauses[49] > pauses[0]);
        pace.pause(Outcome::Same, Duration::from_secs(50), None, &mut random);
        assert!(pace.pause(Outcome::Failed, Duration::ZERO, None, &mut random) <= FLOOR * 3);
        let different: std::collections::HashSet<_> =
            (0..50).map(|_| Pace::new().pause(Outcome::Failed, Duration::ZERO, None, &mut random)).collect();
        assert!(different.len() > 10, "all of them come back together: {different:?}");
    }

    #[test]
    fn a_moment_between_two_is_between_them() {
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        for number in [0, 1, 999, 1000, 1001, u64::MAX] {
            assert!((one..=two).contains(&between(one, two, number)));
        }
        assert_eq!(between(two, one, 7), two);
    }
}
