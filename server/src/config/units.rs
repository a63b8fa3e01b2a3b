//! How durations, sizes, modes and things that can be off are written. Each reads back what it prints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// `500ms`, `10s`, `2m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// `4096`, `16KiB`, `8MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

/// A file mode in octal: `0600`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(pub u32);

/// Something, or `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch<T> {
    On(T),
    Off,
}

impl<T> Switch<T> {
    pub fn on(self) -> Option<T> {
        match self {
            Self::On(on) => Some(on),
            Self::Off => None,
        }
    }
}

/// Why a text is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

const PERIODS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 5] = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &PERIODS)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| UnitError(format!("{text:?} is not a duration such as 500ms, 10s or 2m")))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_scaled(f, millis, &PERIODS)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SIZES)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| UnitError(format!("{text:?} is not a size such as 4096, 16KiB or 8MiB")))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0 as u64, &SIZES)
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that divides it.
fn write_scaled(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let whole = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(whole).unwrap_or(&units[0]);
    write!(f, "{}{name}", number / factor)
}

impl FromStr for Permissions {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or_else(|| UnitError(format!("{text:?} is not a file mode such as 0600 or 0660")))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<T: FromStr> FromStr for Switch<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

impl<T: fmt::Display> fmt::Display for Switch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(on) => on.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

/// All of them are text in the file; a bare number is a size in bytes and nothing else.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a size such as \"16KiB\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

macro_rules! serde_as_text {
    ($type:ty, $visitor:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_as_text!(Period, Text);
serde_as_text!(Size, TextOrNumber);
serde_as_text!(Permissions, Text);
serde_as_text!(Switch<std::net::SocketAddr>, Text);
serde_as_text!(Switch<String>, Text);

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: FromStr + fmt::Display>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|value| value.to_string())
    }

    #[test]
    fn what_is_written_is_what_was_meant() {
        for (text, again) in [("500ms", "500ms"), ("10s", "10s"), ("120s", "2m"), ("1h", "1h"), ("0s", "0ms")] {
            assert_eq!(round::<Period>(text).as_deref(), Some(again), "{text}");
        }
        for (text, again) in [("4096", "4KiB"), ("16KiB", "16KiB"), ("8 MiB", "8MiB"), ("17", "17B"), ("0", "0")] {
            assert_eq!(round::<Size>(text).as_deref(), Some(again), "{text}");
        }
        for text in ["0600", "0660", "0777"] {
            assert_eq!(round::<Permissions>(text).as_deref(), Some(text));
        }
        assert_eq!(round::<Switch<String>>("off").as_deref(), Some("off"));
    }

    #[test]
    fn a_typo_is_an_error_and_not_a_default() {
        for text in ["", "s", "10", "10 sec", "-1s", "1.5s", "10S", "99999999999999999999s"] {
            assert_eq!(round::<Period>(text), None, "{text}");
        }
        for text in ["", "MiB", "8MB", "8mib", "-1", "99999999999GiB"] {
            assert_eq!(round::<Size>(text), None, "{text}");
        }
        for text in ["", "600x", "0888", "1777", "rw"] {
            assert_eq!(round::<Permissions>(text), None, "{text}");
        }
    }
}
