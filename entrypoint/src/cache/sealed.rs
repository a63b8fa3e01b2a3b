//! A copy of a bundle as bytes, as `docs/FORMAT.md` draws them. Nothing here reads a file or a clock.

use std::ffi::CString;
use std::fmt;

use chandlery_wire::{Bundle, EnvironmentName, NodeName, RegionName, ServiceName, StackName, TokenText};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::config::Config;

const FORMAT: u8 = 1;
const LABEL: &str = "chandlery/v1/copy";
const KEY_LABEL: &str = "chandlery/v1/copy-key";
const NAME_LABEL: &str = "chandlery/v1/copy-name";

const HEAD_BYTES: usize = 1 + NONCE_LEN;
const TAG_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
/// Of the hash that is a copy's file name.
const NAME_BYTES: usize = 16;

/// Which bundle a copy is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) stack: &'a StackName,
    pub(super) environment: &'a EnvironmentName,
    pub(super) region: Option<&'a RegionName>,
    pub(super) service: Option<&'a ServiceName>,
    /// The machine that it was asked for by: in another region, that one's copy is of no use.
    pub(super) node: Option<&'a NodeName>,
}

impl<'a> Place<'a> {
    /// Nothing, where it is the server's to say which bundle it is: that is without a token, and so without a copy.
    pub(super) fn of(config: &'a Config) -> Option<Self> {
        Some(Self {
            stack: config.stack.as_ref()?,
            environment: config.environment.as_ref()?,
            region: config.region.as_ref(),
            service: config.service.as_ref(),
            node: config.node.as_ref(),
        })
    }

    /// The same for every token, so that a new token's copy takes the place of the old one's.
    pub(super) fn file_name(&self) -> CString {
        let hash = digest(&SHA256, &self.transcript(NAME_LABEL));
        let digits = hash.as_ref()[..NAME_BYTES].iter().flat_map(|byte| [byte >> 4, byte & 15]);
        // Hexadecimal digits hold no NUL.
        CString::new(digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]).collect::<Vec<_>>())
            .unwrap_or_default()
    }

    /// Every field carries its length, so no two places give the same bytes.
    fn transcript(&self, label: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut field = |field: &[u8]| {
            // A label or a name: far below 4 GiB.
            bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
            bytes.extend_from_slice(field);
        };
        field(label.as_bytes());
        field(&u64::from(FORMAT).to_be_bytes());
        field(self.stack.as_str().as_bytes());
        field(self.environment.as_str().as_bytes());
        for optional in [self.region.map(AsRef::<str>::as_ref), self.service.map(AsRef::as_ref)] {
            field(&u64::from(optional.is_some()).to_be_bytes());
            optional.into_iter().for_each(|name| field(name.as_bytes()));
        }
        if let Some(node) = self.node {
            field(node.as_str().as_bytes());
        }
        bytes
    }
}

/// What seals and opens the copies of one place for one token.
pub(super) struct Seal {
    key: LessSafeKey,
    associated: Vec<u8>,
}

/// Why bytes are not a copy that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    Short,
    Format,
    Unauthentic,
    NoBundle,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "it is empty or cut off",
            Self::Format => "it is damaged, or another version of this program made it",
            Self::Unauthentic => "it is damaged, or it was made with another token or for another place",
            Self::NoBundle => "what is in it is not a bundle to this version of this program",
        })
    }
}

impl Seal {
    /// `key = HKDF-SHA-256(token, info)` (RFC 5869, without salt).
    pub(super) fn new(token: &TokenText, place: &Place<'_>) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, &[]).extract(token.expose_secret().as_bytes());
        let key = secret.expand(&[KEY_LABEL.as_bytes()], &AES_256_GCM).ok().map(UnboundKey::from)?;
        Some(Self { key: LessSafeKey::new(key), associated: place.transcript(LABEL) })
    }

    /// Seals a bundle's JSON and the time it was fetched, in milliseconds, under a random nonce. `None` without randomness.
    pub(super) fn close(&self, fetched: u64, body: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        self.close_with(nonce, fetched, body)
    }

    fn close_with(&self, nonce: [u8; NONCE_LEN], fetched: u64, body: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + TIME_BYTES + body.len() + TAG_BYTES));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&fetched.to_be_bytes());
        bytes.extend_from_slice(body);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plaintext = &mut bytes[HEAD_BYTES..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&self.associated), plaintext).ok()?;
        bytes.extend_from_slice(tag.as_ref());
        // It holds no plaintext any more.
        Some(std::mem::take(&mut *bytes))
    }

    /// Opens a copy: the time in milliseconds, and the bundle.
    pub(super) fn open(&self, bytes: Vec<u8>) -> Result<(u64, Bundle), Unfit> {
        let mut bytes = Zeroizing::new(bytes);
        if bytes.len() < HEAD_BYTES + TIME_BYTES + TAG_BYTES {
            return Err(Unfit::Short);
        }
        let (head, sealed) = bytes.split_at_mut(HEAD_BYTES);
        let (format, nonce) = head.split_at(1);
        if format != [FORMAT] {
            return Err(Unfit::Format);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unfit::Short)?;
        let opened = self.key.open_in_place(nonce, Aad::from(&self.associated), sealed);
        read(opened.map_err(|_| Unfit::Unauthentic)?)
    }
}

/// Reads what was sealed: the time, and the JSON as the server sent it.
fn read(plaintext: &[u8]) -> Result<(u64, Bundle), Unfit> {
    let (time, body) = plaintext.split_first_chunk::<TIME_BYTES>().ok_or(Unfit::Short)?;
    let bundle = serde_json::from_slice(body).map_err(|_| Unfit::NoBundle)?;
    Ok((u64::from_be_bytes(*time), bundle))
}

#[cfg(fuzzing)]
pub(super) fn fuzz(config: &Config, data: &[u8]) {
    let place = Place::of(config);
    let seal = place.and_then(|place| Seal::new(&TokenText::from_secret(&[7; 32]), &place));
    let Some(seal) = seal else { unreachable!("this is a key") };
    assert!(seal.open(data.to_vec()).is_err(), "nobody finds a tag by chance");
    // The other side of the cipher: what a writer with the key could have put in.
    let Some(closed) = seal.close(42, data) else { return };
    assert_eq!(seal.open(closed), read(&[&42_u64.to_be_bytes(), data].concat()));
}

#[cfg(test)]
mod tests;
