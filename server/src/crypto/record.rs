//! One version of an entry at rest: its value encrypted, and bound to the place where it belongs.

use std::fmt;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName, Value};

use super::aead::{self, NONCE_BYTES};
use super::error::Fault;
use super::{EncryptError, IntegrityError, Keyring, Transcript};

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = aead::TAG_BYTES;

const LABEL: &str = "chandlery/v1/record";
const FINGERPRINT_LABEL: &str = "chandlery/v1/fingerprint";
const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// Everything that is stored of a version beside its value. All of it is authenticated with the value: none of it can
/// be changed, and the ciphertext can be moved nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct RecordHeader<'a> {
    pub stack: &'a StackName,
    pub environment: &'a EnvironmentName,
    pub layer: &'a Layer,
    pub name: &'a EntryName,
    pub grant: &'a Grant,
    pub version: u64,
    pub state: State,
    /// What the entry is besides its value, as it is stored.
    pub attributes: &'a str,
    /// Milliseconds since 1970-01-01 UTC.
    pub created: i64,
    /// The id of the token that wrote it.
    pub author: &'a str,
    /// The tag of the version before, under any grant; empty for version 1.
    pub previous: &'a [u8],
}

/// A ciphertext, as it is stored. A version without a value (a delete) is the ciphertext of no bytes: its tag still
/// authenticates everything else.
///
/// ```text
/// bytes = format (1) = 1 ‖ data key id (4, big-endian) ‖ nonce (12) ‖ AES-256-GCM(data key, nonce, A, value) ‖ tag (16)
/// A     = transcript("chandlery/v1/record", number(format), number(data key id), stack, environment, layer, name,
///         grant, number(version), state, attributes, number(created), author, previous)
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes what was stored. Anything may have happened to it; [`RecordHeader::open`] finds out.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The authentication tag: names this ciphertext, its value and its place, and nothing else. A ciphertext too short
    /// to have one has the bytes that it has.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(TAG_BYTES)..]
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl fmt::Display for RecordHeader<'_> {
    /// `stack/environment/layer/NAME for GRANT, version N`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stack, environment, layer, name, grant, version, .. } = self;
        write!(f, "{stack}/{environment}/{layer}/{name} for {grant}, version {version}")
    }
}

impl RecordHeader<'_> {
    /// Encrypts a value for this place, with the newest data key and a random nonce.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn seal(&self, keyring: &Keyring, value: &Value) -> Result<Sealed, EncryptError> {
        self.seal_with(keyring, keyring.current(), aead::random()?, value)
    }

    fn seal_with(
        &self,
        keyring: &Keyring,
        id: u32,
        nonce: [u8; NONCE_BYTES],
        value: &Value,
    ) -> Result<Sealed, EncryptError> {
        let key = keyring.data_key(id).ok_or(EncryptError::Entropy)?;
        // Reserved in whole: a buffer that grew would leave plaintext behind where it was.
        let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len() + TAG_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(value.expose_secret());
        let tag = key.encrypt(nonce, &self.associated(id), &mut bytes[HEADER_BYTES..])?;
        bytes.extend_from_slice(&tag);
        Ok(Sealed(bytes))
    }

    /// Decrypts what was sealed for this place.
    ///
    /// # Errors
    /// Names the record where the ciphertext, or anything of this header, is not as it was sealed.
    pub fn open(&self, keyring: &Keyring, sealed: &[u8]) -> Result<Value, IntegrityError> {
        let fault = |fault| IntegrityError::new(self, fault);
        let (&format, rest) = sealed.split_first().ok_or_else(|| fault(Fault::Truncated))?;
        if format != FORMAT {
            return Err(fault(Fault::UnknownFormat(format)));
        }
        let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or_else(|| fault(Fault::Truncated))?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| fault(Fault::Truncated))?;
        if rest.len() < TAG_BYTES {
            return Err(fault(Fault::Truncated));
        }
        let id = u32::from_be_bytes(*id);
        let key = keyring.data_key(id).ok_or_else(|| fault(Fault::MissingKey(id)))?;
        let mut buffer = rest.to_vec();
        let length = key.decrypt(*nonce, &self.associated(id), &mut buffer).map_err(|_| fault(Fault::Forged))?;
        buffer.truncate(length);
        Ok(Value::new(buffer))
    }

    fn associated(&self, key: u32) -> Transcript {
        Transcript::new(LABEL)
            .number(u64::from(FORMAT))
            .number(u64::from(key))
            .text(self.stack.as_str())
            .text(self.environment.as_str())
            .text(self.layer.as_str())
            .text(self.name.as_str())
            .text(&self.grant.to_string())
            .number(self.version)
            .text(state_text(self.state))
            .text(self.attributes)
            .number(self.created.cast_unsigned())
            .text(self.author)
            .bytes(self.previous)
    }
}

pub(super) fn state_text(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Deleted => "deleted",
        State::Removed => "removed",
    }
}

impl Keyring {
    /// A short keyed name of a value: the same for the same value, and of no use to guess it without the key.
    ///
    /// `HMAC-SHA-256(fingerprint key, transcript("chandlery/v1/fingerprint", value))`, the first 8 bytes.
    #[must_use]
    pub fn fingerprint(&self, value: &Value) -> [u8; 8] {
        let mut transcript = Transcript::new(FINGERPRINT_LABEL);
        // Reserved in whole: a buffer that grew would leave plaintext behind where it was.
        transcript.reserve(value.len() + 64);
        let transcript = transcript.bytes(value.expose_secret());
        let mac = self.fingerprint_key().sign(&transcript);
        transcript.wipe();
        let mut short = [0; 8];
        short.copy_from_slice(&mac[..8]);
        short
    }
}
