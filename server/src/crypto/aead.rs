//! AES-256-GCM (NIST SP 800-38D) with random nonces, and nothing else.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::{EncryptError, Transcript};

pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = NONCE_LEN;
pub(super) const TAG_BYTES: usize = 16;

/// The ciphertext does not belong to the key, the nonce and the associated data.
#[derive(Debug)]
pub(super) struct Unauthentic;

pub(super) struct CipherKey(LessSafeKey);

impl CipherKey {
    pub(super) fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self, Unauthentic> {
        // Fails for a wrong length only, which the type rules out.
        UnboundKey::new(&AES_256_GCM, bytes).map(|key| Self(LessSafeKey::new(key))).map_err(|_| Unauthentic)
    }

    /// `(C, T) = AES-256-GCM-Encrypt(K, N, A, P)`: turns the plaintext in the buffer into C, and returns T.
    pub(super) fn encrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &Transcript,
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], EncryptError> {
        let (nonce, associated) = (Nonce::assume_unique_for_key(nonce), Aad::from(associated.as_bytes()));
        let tag = self.0.seal_in_place_separate_tag(nonce, associated, buffer).map_err(|_| EncryptError::TooLong)?;
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// `P = AES-256-GCM-Decrypt(K, N, A, C ‖ T)`: turns C ‖ T in the buffer into P, and returns P's length.
    pub(super) fn decrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &Transcript,
        buffer: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        let (nonce, associated) = (Nonce::assume_unique_for_key(nonce), Aad::from(associated.as_bytes()));
        self.0.open_in_place(nonce, associated, buffer).map(|plain| plain.len()).map_err(|_| Unauthentic)
    }
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CipherKey(…)")
    }
}

/// Random bytes of the kernel: keys, tokens, and the 96-bit nonces of SP 800-38D, 8.2.2.
pub(super) fn random<const N: usize>() -> Result<[u8; N], EncryptError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| EncryptError::Entropy)?;
    Ok(bytes)
}
