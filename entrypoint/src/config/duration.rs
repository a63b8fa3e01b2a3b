//! Durations as people write them.

use std::time::Duration;

use super::Wrong;

/// More than anybody waits for a start, and less than what the arithmetic on deadlines can hold.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For ever, and still less than what the arithmetic on deadlines can hold.
const TEN_YEARS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// Reads `500ms`, `5s`, `2m`, `1h`, or a plain number of seconds. A typo is an error, never a default.
///
/// # Errors
/// Says what a duration looks like.
pub(crate) fn parse(text: &str) -> Result<Duration, Wrong> {
    match parse_wait(text)? {
        time if time <= DAY => Ok(time),
        _ => Err(("it is longer than a day".to_owned(), "write a duration of at most 24h".to_owned())),
    }
}

/// The same for how long to wait, where people write a number that means for ever.
///
/// # Errors
/// Says what a duration looks like.
pub(crate) fn parse_wait(text: &str) -> Result<Duration, Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" | "" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    match number.parse::<u64>().ok().zip(milliseconds) {
        Some((number, unit)) => Ok(Duration::from_millis(number.saturating_mul(unit).min(TEN_YEARS))),
        None => Err((
            // What is long is something else that got here by mistake, and may be a secret.
            if text.len() <= 16 { format!("{text:?} is not a duration") } else { "it is not a duration".to_owned() },
            "write a whole number with a unit, such as 500ms, 5s or 2m; a number alone is seconds".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_typos_are_errors() {
        let milliseconds = |text| parse(text).unwrap().as_millis();
        assert_eq!(milliseconds("500ms"), 500);
        assert_eq!(milliseconds("5s"), 5000);
        assert_eq!(milliseconds("2m"), 120_000);
        assert_eq!(milliseconds("1h"), 3_600_000);
        assert_eq!(milliseconds("30"), 30_000);
        assert_eq!(milliseconds("0"), 0);
        for typo in
            ["", " 5", "5 s", "-1", "+7", "0.5", "5S", "abc", "s", "10o", "5s5", "99999999999999999999", "25h", "٣"]
        {
            assert!(parse(typo).is_err(), "{typo:?} was taken for a duration");
        }
        assert_eq!(parse_wait("100000").unwrap().as_secs(), 100_000);
        assert_eq!(parse_wait("18446744073709551615h").unwrap().as_millis(), u128::from(TEN_YEARS));
    }
}
