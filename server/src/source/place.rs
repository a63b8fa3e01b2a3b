//! For whom a rule of the configuration is, and what it covers.

use std::fmt;
use std::str::FromStr;

use chandlery_wire::{EnvironmentName, StackName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The environment whose entry refers to something outside.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub stack: &'a StackName,
    pub environment: &'a EnvironmentName,
}

impl fmt::Display for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stack, self.environment)
    }
}

/// A stack, or one environment of it: `shop`, `shop/production`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub stack: StackName,
    pub environment: Option<EnvironmentName>,
}

impl Place {
    #[must_use]
    pub fn covers(&self, asker: Asker<'_>) -> bool {
        self.stack == *asker.stack && self.environment.as_ref().is_none_or(|own| own == asker.environment)
    }
}

/// Whether a rule for these places is one for the environment; one that names no place is for all.
pub(super) fn covered(places: &[Place], asker: Asker<'_>) -> bool {
    places.is_empty() || places.iter().any(|place| place.covers(asker))
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (stack, environment) = match text.split_once('/') {
            Some((stack, environment)) => (stack, Some(environment)),
            None => (text, None),
        };
        let wrong = |error: chandlery_wire::NameError| format!("{error}; write STACK or STACK/ENVIRONMENT");
        let stack = stack.parse().map_err(wrong)?;
        let environment = environment.map(|name| name.parse().map_err(wrong)).transpose()?;
        Ok(Self { stack, environment })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.environment {
            Some(environment) => write!(f, "{}/{environment}", self.stack),
            None => self.stack.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(pub String);

impl Pattern {
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // Greedy from both ends: between the first and the last piece, the earliest place of each is as good as any.
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let mut pieces: Vec<&str> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            let Some((_, after)) = text.split_once(piece) else { return false };
            text = after;
        }
        text.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say_and_no_more() {
        for (pattern, text, covered) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "a", false),
            ("*", "anything/at all", true),
            ("prod/*", "prod/db", true),
            ("prod/*", "prod/", true),
            ("prod/*", "production", false),
            ("*/db", "prod/db", true),
            ("a*a", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(text), covered, "{pattern} {text}");
        }
    }

    #[test]
    fn a_place_is_a_stack_or_one_environment() {
        let (stack, environment) = ("shop".parse().unwrap(), "live".parse().unwrap());
        let asker = Asker { stack: &stack, environment: &environment };
        for (place, covers) in [("shop", true), ("shop/live", true), ("shop/test", false), ("shopping", false)] {
            assert_eq!(place.parse::<Place>().unwrap().covers(asker), covers, "{place}");
        }
        assert!(covered(&[], asker) && "a/b/c".parse::<Place>().is_err() && "".parse::<Place>().is_err());
    }
}
