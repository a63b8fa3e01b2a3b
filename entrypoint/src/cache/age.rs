//! How old a copy is, and whether that is young enough.

use std::time::Duration;

/// How far in the future a copy may be: as much as clocks are set by, and those of machines that share a volume differ.
const SLACK: Duration = Duration::from_secs(60);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The age, from two times in milliseconds.
///
/// # Errors
/// The copy is too old, or the clock says that it was not made yet and so cannot say how old it is.
pub(super) fn checked(fetched: u64, now: u64, most: Duration) -> Result<Duration, String> {
    if fetched > now.saturating_add(SLACK.as_millis() as u64) {
        return Err(format!("it is of {}, and the clock says {}: its age is not known", utc(fetched), utc(now)));
    }
    let age = Duration::from_millis(now.saturating_sub(fetched));
    if age > most {
        let (age, most) = (in_words(age), in_words(most));
        return Err(format!("it is of {}, {age} old, and at most {most} are allowed", utc(fetched)));
    }
    Ok(age)
}

/// An age with the precision that people want: `3 h 5 min`.
pub(super) fn in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    let pair = |large: u64, large_name: &str, small: u64, small_name: &str| match seconds % large / small {
        0 => format!("{} {large_name}", seconds / large),
        rest => format!("{} {large_name} {rest} {small_name}", seconds / large),
    };
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => pair(HOUR, "h", MINUTE, "min"),
        _ => pair(DAY, "d", HOUR, "h"),
    }
}

/// A time in milliseconds since 1970 as RFC 3339 writes it.
///
/// The date is found as Howard Hinnant's `civil_from_days` does it, in years that begin with March.
pub(super) fn utc(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    // Days since 0000-03-01; an era has 400 years.
    let days = seconds / DAY + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (seconds % DAY / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_798_761_600, "2027-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds * 1000 + 999), text);
        }
    }

    #[test]
    fn ages_read_as_people_say_them() {
        let of = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([of(0), of(59), of(60), of(3599)], ["0 s", "59 s", "1 min", "59 min"]);
        assert_eq!([of(3600), of(11_100), of(86_399)], ["1 h", "3 h 5 min", "23 h 59 min"]);
        assert_eq!([of(86_400), of(90_000)], ["1 d", "1 d 1 h"]);
    }

    #[test]
    fn too_old_is_refused_and_so_is_the_future() {
        let day = Duration::from_secs(DAY);
        let now = 1_800_000_000_000;
        let full = DAY * 1000;
        assert_eq!(checked(now - full, now, day), Ok(day));
        assert!(checked(now - full - 1, now, day).unwrap_err().contains("at most 1 d"));
        // A clock that was set back by a little, and by much; one that is not set at all; times that overflow.
        assert_eq!(checked(now + 60_000, now, day), Ok(Duration::ZERO));
        assert!(checked(now + 60_001, now, day).unwrap_err().contains("not known"));
        assert!(checked(now, 0, day).is_err());
        assert!(checked(u64::MAX, now, day).is_err());
        assert!(checked(0, u64::MAX, day).is_err());
    }
}
