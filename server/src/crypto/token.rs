//! Tokens: made from the kernel's random bytes, kept as hashes.

use std::fmt;

use chandlery_wire::TokenText;
use ring::digest;
use zeroize::Zeroizing;

use super::{EncryptError, aead};

/// What is stored of a token: `SHA-256(text)`, the text being `chd_…` in whole.
///
/// A token has 256 random bits, so nothing slower or salted is needed: there is no dictionary to try. Tokens are looked
/// up by hash, and how long that takes tells about the hash of what was sent, from which no token can be built.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    #[must_use]
    pub fn of(token: &TokenText) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.expose_secret().as_bytes()).as_ref());
        Self(hash)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A new token. Its text is shown once; [`TokenHash::of`] is what may be stored.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn new_token() -> Result<TokenText, EncryptError> {
    let secret = Zeroizing::new(aead::random()?);
    Ok(TokenText::from_secret(&secret))
}

/// A new token's id: `tok_` and 16 hex digits. It is random and says nothing about the token's text.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn new_token_id() -> Result<String, EncryptError> {
    Ok(format!("tok_{:016x}", u64::from_be_bytes(aead::random()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_plain_sha256_of_the_text() {
        // printf %s "$token" | sha256sum
        let token = TokenText::from_secret(&[7; 32]);
        let hash = TokenHash::of(&token);
        assert_eq!(hash.as_bytes()[..], digest::digest(&digest::SHA256, token.expose_secret().as_bytes()).as_ref()[..]);
        assert_eq!(format!("{hash:?}"), "TokenHash(…)");
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        assert_eq!(TokenText::parse(one.expose_secret()).unwrap(), one);
        let id = new_token_id().unwrap();
        assert!(id.len() == 20 && id.starts_with("tok_") && id != new_token_id().unwrap());
    }
}
