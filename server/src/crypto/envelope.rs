//! Encryption for what this process keeps in its own memory, under a key that is stored nowhere.

use zeroize::Zeroizing;

use super::aead::{self, CipherKey, NONCE_BYTES};
use super::error::Fault;
use super::{EncryptError, IntegrityError, Transcript};

const LABEL: &str = "chandlery/v1/memory";

/// A key that lives as long as the process. With it, what is cached is ciphertext: a read of the server's memory finds
/// the plaintext of the requests under way, and not that of all the bundles of the last hours.
#[derive(Debug)]
pub struct Envelope(CipherKey);

impl Envelope {
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new() -> Result<Self, EncryptError> {
        let key = Zeroizing::new(aead::random()?);
        Ok(Self(CipherKey::new(&key).map_err(|_| EncryptError::Entropy)?))
    }

    /// `nonce (12) ‖ AES-256-GCM(key, nonce, transcript("chandlery/v1/memory"), plaintext) ‖ tag (16)`
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
        let nonce = aead::random()?;
        let mut bytes = Vec::with_capacity(NONCE_BYTES + plaintext.len() + aead::TAG_BYTES);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        let tag = self.0.encrypt(nonce, &Transcript::new(LABEL), &mut bytes[NONCE_BYTES..])?;
        bytes.extend_from_slice(&tag);
        Ok(bytes)
    }

    /// # Errors
    /// Where the bytes were not sealed by this envelope.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, IntegrityError> {
        let fault = || IntegrityError::new("a cached bundle", Fault::Forged);
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(fault)?;
        let mut plaintext = Zeroizing::new(rest.to_vec());
        let length = self.0.decrypt(*nonce, &Transcript::new(LABEL), &mut plaintext).map_err(|_| fault())?;
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_what_was_changed_does_not() {
        let envelope = Envelope::new().unwrap();
        let mut sealed = envelope.seal(b"a value").unwrap();
        assert_eq!(envelope.open(&sealed).unwrap()[..], *b"a value");
        assert!(!sealed.windows(7).any(|window| window == b"a value"));
        sealed[20] ^= 1;
        assert!(envelope.open(&sealed).is_err() && envelope.open(&[]).is_err());
        assert!(Envelope::new().unwrap().open(&envelope.seal(b"x").unwrap()).is_err());
    }
}
