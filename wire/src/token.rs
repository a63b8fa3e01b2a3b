//! Bearer tokens: their text, and what they may do.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::name::{EnvironmentName, RegionName, ServiceName, StackName};

/// What every token starts with, so that scanners find leaked ones.
pub const PREFIX: &str = "chd_";
/// Random bytes in a token: 256 bits.
pub const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
/// Characters of a whole token: the prefix and 36 bytes in base64url.
pub const TEXT_LENGTH: usize = PREFIX.len() + 48;

/// A token as its holder has it: `chd_` and base64url (RFC 4648, section 5, no padding) of 32 random bytes and their
/// CRC-32 (ISO-HDLC, big-endian). The checksum is no protection; it tells a mistyped or cut-off token without a look-up.
#[derive(Clone, PartialEq, Eq, Zeroize, zeroize::ZeroizeOnDrop)]
pub struct TokenText(String);

/// Why a text is not a token. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    Prefix,
    Length,
    Checksum,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(f, "the token does not start with \"{PREFIX}\""),
            Self::Length => write!(f, "the token is cut off or too long: a whole one has {TEXT_LENGTH} characters"),
            Self::Checksum => f.write_str("the token's checksum does not match: it is mistyped or damaged"),
        }
    }
}

impl std::error::Error for TokenError {}

impl TokenText {
    /// Makes the text of a token from its random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; SECRET_BYTES]) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECK_BYTES]);
        bytes[..SECRET_BYTES].copy_from_slice(secret);
        bytes[SECRET_BYTES..].copy_from_slice(&crc32(secret).to_be_bytes());
        let encoded = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes[..]));
        Self(format!("{PREFIX}{}", *encoded))
    }

    /// Checks form and checksum. White space around the token, such as the newline a file ends with, is not part of it.
    ///
    /// # Errors
    /// Says what is wrong with the text, without quoting it.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        if text.len() != TEXT_LENGTH {
            return Err(TokenError::Length);
        }
        let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECK_BYTES]);
        Base64UrlUnpadded::decode(encoded, &mut bytes[..]).map_err(|_| TokenError::Checksum)?;
        let (secret, check) = bytes.split_at(SECRET_BYTES);
        match crc32(secret).to_be_bytes() == check {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenError::Checksum),
        }
    }

    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(chd_…)")
    }
}

/// CRC-32 as in ISO-HDLC (zlib, PNG), bit by bit: it runs once over 32 bytes, and a table would cost the entrypoint 1 KB.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Read whole bundles: what a container's entrypoint needs, and all it needs.
    ReadBundle,
    /// Read, list and explain single entries and their history.
    ReadEntry,
    /// Set and remove entries.
    Write,
    /// Declare stacks, environments, regions and services; make and revoke tokens; read the audit log.
    Administer,
}

impl Verb {
    pub const ALL: [Self; 4] = [Self::ReadBundle, Self::ReadEntry, Self::Write, Self::Administer];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadBundle => "read-bundle",
            Self::ReadEntry => "read-entry",
            Self::Write => "write",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Verb {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("that is not a verb; the verbs are {known}")
        })
    }
}

/// Where a token's verbs hold. A part that is left out is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Scope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
}

impl Scope {
    /// Whether everything the other scope reaches is within this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(limit: Option<&T>, part: Option<&T>) -> bool {
            limit.is_none() || limit == part
        }
        within(self.stack.as_ref(), other.stack.as_ref())
            && within(self.environment.as_ref(), other.environment.as_ref())
            && within(self.region.as_ref(), other.region.as_ref())
            && within(self.service.as_ref(), other.service.as_ref())
    }
}

impl fmt::Display for Scope {
    /// `stack/environment/region:service`, with `*` for what is not limited.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_star<T: AsRef<str>>(part: Option<&T>) -> &str {
            part.map_or("*", AsRef::as_ref)
        }
        let (stack, environment) = (or_star(self.stack.as_ref()), or_star(self.environment.as_ref()));
        let (region, service) = (or_star(self.region.as_ref()), or_star(self.service.as_ref()));
        write!(f, "{stack}/{environment}/{region}:{service}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_one_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_token_is_found_out_before_it_is_sent() {
        let token = TokenText::from_secret(&[7; 32]);
        let text = token.expose_secret().to_owned();
        assert_eq!(text.len(), TEXT_LENGTH);
        assert!(TokenText::parse(&format!("{text}\n")).is_ok());
        assert_eq!(TokenText::parse(&text[..30]).unwrap_err(), TokenError::Length);
        assert_eq!(TokenText::parse("").unwrap_err(), TokenError::Prefix);
        assert_eq!(TokenText::parse("s.123").unwrap_err(), TokenError::Prefix);
        for at in PREFIX.len()..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert!(TokenText::parse(&typo).is_err(), "a typo at {at} went unseen");
        }
        assert_eq!(format!("{token:?}"), "TokenText(chd_…)");
    }

    #[test]
    fn a_wider_scope_covers_a_narrower_one_and_never_the_reverse() {
        let stack = Scope { stack: Some(StackName::parse("a").unwrap()), ..Scope::default() };
        let region = Scope { region: Some(RegionName::parse("eu").unwrap()), ..stack.clone() };
        assert!(Scope::default().covers(&stack) && stack.covers(&region) && region.covers(&region));
        assert!(!region.covers(&stack) && !stack.covers(&Scope::default()));
        assert_eq!(region.to_string(), "a/*/eu:*");
    }
}
