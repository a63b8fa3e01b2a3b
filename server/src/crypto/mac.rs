//! Keyed hashes over transcripts.

use std::fmt;

use ring::hmac;

use super::Transcript;

/// The 32 bytes of an HMAC-SHA-256.
pub type Mac = [u8; 32];

/// A key of HMAC-SHA-256 (RFC 2104, FIPS 198-1).
pub struct MacKey(hmac::Key);

impl MacKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// `HMAC-SHA-256(key, transcript)`
    #[must_use]
    pub fn sign(&self, transcript: &Transcript) -> Mac {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.0, transcript.as_bytes()).as_ref());
        mac
    }

    /// Whether the mac is the transcript's, in a time that does not depend on where it differs.
    #[must_use]
    pub fn verify(&self, transcript: &Transcript, mac: &Mac) -> bool {
        hmac::verify(&self.0, transcript.as_bytes(), mac).is_ok()
    }
}

impl From<&MacKey> for hmac::Key {
    /// For the audit log, whose chain is its own construction.
    fn from(key: &MacKey) -> Self {
        key.0.clone()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}
