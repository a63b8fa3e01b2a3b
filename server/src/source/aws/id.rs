//! How AWS calls things: regions, and secrets by name or ARN.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `eu-west-1`. Which ones there are is AWS's business; this only keeps out what could not be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsRegion(String);

impl AwsRegion {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a word has the form that all of AWS's regions have: `eu-west-1`, `us-gov-east-1`; not `sfo3` or `frankfurt`.
    #[must_use]
    pub fn has_its_form(word: &str) -> bool {
        let parts: Vec<&str> = word.split('-').collect();
        let [area, middle @ .., number] = parts.as_slice() else { return false };
        let letters = |part: &&str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
        area.len() == 2
            && letters(area)
            && (1..=2).contains(&middle.len())
            && middle.iter().all(letters)
            && (1..=2).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl FromStr for AwsRegion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // It becomes a part of a host name.
        let label = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
        match label && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} is no region of AWS; they are called like eu-west-1")),
        }
    }
}

impl fmt::Display for AwsRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret by its name or its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId(String);

/// AWS takes names of up to 512 characters.
const LONGEST_NAME: usize = 512;
const LONGEST_ID: usize = 2048;

impl SecretId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_arn(&self) -> bool {
        self.0.starts_with("arn:")
    }

    /// The region that an ARN names.
    #[must_use]
    pub fn region(&self) -> Option<AwsRegion> {
        self.is_arn().then(|| self.0.split(':').nth(3)?.parse().ok()).flatten()
    }
}

impl FromStr for SecretId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
        let name = |name: &str| (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed);
        if text.starts_with("arn:") {
            let parts: Vec<&str> = text.splitn(7, ':').collect();
            let whole = matches!(parts.as_slice(), [_, _, "secretsmanager", region, account, "secret", last]
                if region.parse::<AwsRegion>().is_ok() && account.bytes().all(|byte| byte.is_ascii_digit()) && name(last));
            return match whole && text.len() <= LONGEST_ID {
                true => Ok(Self(text.to_owned())),
                false => Err("that is no ARN of a secret; they are like arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/env-AbCdEf".to_owned()),
            };
        }
        match name(text) {
            true => Ok(Self(text.to_owned())),
            false => {
                Err(format!("{text:?} is no name of a secret; they have letters, digits and /_+=.@-, 512 at most"))
            }
        }
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which version of a secret is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// AWSCURRENT.
    #[default]
    Current,
    /// `AWSPREVIOUS`, or a label of one's own.
    Stage(String),
    /// The id of one.
    Id(String),
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

serde_as_text!(AwsRegion);
serde_as_text!(SecretId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_a_form() {
        for word in ["eu-west-1", "ap-southeast-2", "us-gov-east-1", "cn-north-1", "us-iso-west-1"] {
            assert!(AwsRegion::has_its_form(word) && word.parse::<AwsRegion>().is_ok(), "{word}");
        }
        for word in ["sfo3", "frankfurt", "eu-west", "eu-1", "EU-WEST-1", "eu-west-x", "eu-west-1-a", "base", ""] {
            assert!(!AwsRegion::has_its_form(word), "{word}");
        }
        for word in ["", "-a", "a.b", "a/b", "eu-west-1.evil.example#", "eu west"] {
            assert!(word.parse::<AwsRegion>().is_err(), "{word}");
        }
    }

    #[test]
    fn an_arn_tells_its_region() {
        let arn: SecretId =
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:chuspace-app/prod-env/eu-west-1-AbCdEf"
                .parse()
                .unwrap();
        assert_eq!(arn.region().unwrap().as_str(), "eu-west-1");
        assert_eq!("app/env-AbCdEf".parse::<SecretId>().unwrap().region(), None);
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in [
            "",
            "a b",
            "a*",
            "é",
            "a\n",
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager:eu west:1:secret:x",
            "arn:aws:secretsmanager:eu-west-1:x:secret:x",
        ] {
            assert!(text.parse::<SecretId>().is_err(), "{text}");
        }
    }
}
