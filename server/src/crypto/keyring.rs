//! The keys of the store: random, wrapped by the root key, and each for one purpose.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::aead::{self, CipherKey, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use super::mac::MacKey;
use super::seal::{RootKey, RootKeyId};
use super::{EncryptError, SealError, Transcript};

/// After so many encryptions a data key is due to be followed by a new one.
///
/// Nonces are random 96-bit numbers. NIST SP 800-38D, 8.3 allows 2^32 encryptions under one key, where the chance that any
/// two nonces were equal reaches 2^-33. Stopping at 2^30 keeps it under 2^-37, and leaves a factor of four for counts that a
/// restored backup forgot.
pub const MAX_ENCRYPTIONS_PER_KEY: u64 = 1 << 30;

/// Whether a data key that has done so many encryptions is due to be followed by a new one.
#[must_use]
pub fn rotation_is_due(encryptions: u64) -> bool {
    encryptions >= MAX_ENCRYPTIONS_PER_KEY
}

const WRAP_LABEL: &str = "chandlery/v1/key";
const WRAP_FORMAT: u8 = 1;
const ROOT_ID_BYTES: usize = 8;

/// What a key is for. A key is never used for two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Encrypts values. There is one or more; the newest encrypts, all decrypt.
    Data,
    /// Macs of layers, stacks and environments.
    Manifest,
    /// Macs of token rows.
    Token,
    /// The audit log's chain.
    Audit,
    /// Tells whether two values are the same.
    Fingerprint,
}

impl Purpose {
    const ALL: [Self; 5] = [Self::Data, Self::Manifest, Self::Token, Self::Audit, Self::Fingerprint];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Manifest => "manifest",
            Self::Token => "token",
            Self::Audit => "audit",
            Self::Fingerprint => "fingerprint",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A key as it may be stored.
///
/// ```text
/// bytes = format (1) = 1 ‖ root key id (8) ‖ nonce (12) ‖ AES-256-GCM(wrapping key, nonce, A, key) (32) ‖ tag (16)
/// A     = transcript("chandlery/v1/key", number(format), purpose, number(id), root key id)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Counts from 1 over all purposes, and is never given twice.
    pub id: u32,
    /// [`Purpose::as_str`]; text, because it comes back from where anybody may have changed it.
    pub purpose: String,
    pub bytes: Vec<u8>,
}

/// The keys of a store, unwrapped and ready for use.
#[derive(Debug)]
pub struct Keyring {
    data: BTreeMap<u32, CipherKey>,
    current: u32,
    highest: u32,
    manifest: MacKey,
    token: MacKey,
    audit: MacKey,
    fingerprint: MacKey,
}

impl Keyring {
    /// Makes a new keyring: one key of each purpose, and what to store of it.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn create(root: &RootKey) -> Result<(Self, Vec<WrappedKey>), SealError> {
        let wrapped: Result<Vec<_>, _> = (1..)
            .zip(Purpose::ALL)
            .map(|(id, purpose)| wrap(root, id, purpose, &Zeroizing::new(aead::random()?)))
            .collect();
        let wrapped = wrapped?;
        Ok((Self::open(root, &wrapped)?, wrapped))
    }

    /// Unwraps a stored keyring.
    ///
    /// # Errors
    /// [`SealError::WrongRootKey`] where another root key wrapped it; [`SealError::DamagedKey`] and
    /// [`SealError::Incomplete`] where the rows are not as they were written.
    pub fn open(root: &RootKey, wrapped: &[WrappedKey]) -> Result<Self, SealError> {
        let mut data = BTreeMap::new();
        let mut macs = BTreeMap::new();
        for key in wrapped {
            let (purpose, bytes) = unwrap(root, key)?;
            let twice = match purpose {
                Purpose::Data => {
                    let cipher = CipherKey::new(&bytes).map_err(|_| EncryptError::TooLong)?;
                    data.insert(key.id, cipher).is_some()
                }
                _ => macs.insert(purpose, MacKey::new(&bytes)).is_some(),
            };
            if twice {
                return Err(damaged(key, "there is another one of its kind"));
            }
        }
        let mut mac =
            |purpose: Purpose| macs.remove(&purpose).ok_or(SealError::Incomplete { purpose: purpose.as_str() });
        Ok(Self {
            current: data.keys().next_back().copied().ok_or(SealError::Incomplete { purpose: "data" })?,
            highest: wrapped.iter().map(|key| key.id).max().unwrap_or(0),
            manifest: mac(Purpose::Manifest)?,
            token: mac(Purpose::Token)?,
            audit: mac(Purpose::Audit)?,
            fingerprint: mac(Purpose::Fingerprint)?,
            data,
        })
    }

    /// Rotates: makes a new data key, with which everything from now on is encrypted. What is stored under the older
    /// ones stays readable. Store what comes back before anything is encrypted with it.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn add_data_key(&mut self, root: &RootKey) -> Result<WrappedKey, SealError> {
        let id = self.highest.checked_add(1).ok_or(EncryptError::MissingKey)?;
        let bytes = Zeroizing::new(aead::random()?);
        let wrapped = wrap(root, id, Purpose::Data, &bytes)?;
        self.data.insert(id, CipherKey::new(&bytes).map_err(|_| EncryptError::TooLong)?);
        (self.current, self.highest) = (id, id);
        Ok(wrapped)
    }

    /// The id of the data key that encrypts.
    #[must_use]
    pub fn current(&self) -> u32 {
        self.current
    }

    /// The key of the audit log's chain.
    #[must_use]
    pub fn audit_key(&self) -> &MacKey {
        &self.audit
    }

    pub(super) fn manifest_key(&self) -> &MacKey {
        &self.manifest
    }

    pub(super) fn token_key(&self) -> &MacKey {
        &self.token
    }

    pub(super) fn fingerprint_key(&self) -> &MacKey {
        &self.fingerprint
    }

    pub(super) fn data_key(&self, id: u32) -> Option<&CipherKey> {
        self.data.get(&id)
    }
}

/// Rotates the root key: the same keys, wrapped by another. Nothing that they encrypt has to be touched.
///
/// # Errors
/// As [`Keyring::open`].
pub fn rewrap(from: &RootKey, to: &RootKey, wrapped: &[WrappedKey]) -> Result<Vec<WrappedKey>, SealError> {
    wrapped
        .iter()
        .map(|key| {
            let (purpose, bytes) = unwrap(from, key)?;
            wrap(to, key.id, purpose, &bytes)
        })
        .collect()
}

fn associated(id: u32, purpose: Purpose, root: RootKeyId) -> Transcript {
    Transcript::new(WRAP_LABEL)
        .number(u64::from(WRAP_FORMAT))
        .text(purpose.as_str())
        .number(u64::from(id))
        .bytes(&root.0)
}

fn wrap(root: &RootKey, id: u32, purpose: Purpose, key: &[u8; KEY_BYTES]) -> Result<WrappedKey, SealError> {
    let nonce = aead::random()?;
    let mut buffer = Zeroizing::new(*key);
    let tag = root.wrapping_key()?.encrypt(nonce, &associated(id, purpose, root.id()), &mut buffer[..])?;
    let bytes = [&[WRAP_FORMAT], &root.id().0[..], &nonce[..], &buffer[..], &tag[..]].concat();
    Ok(WrappedKey { id, purpose: purpose.as_str().to_owned(), bytes })
}

fn unwrap(root: &RootKey, key: &WrappedKey) -> Result<(Purpose, Zeroizing<[u8; KEY_BYTES]>), SealError> {
    let purpose = Purpose::parse(&key.purpose).ok_or_else(|| damaged(key, "its purpose is not a known one"))?;
    let (&format, rest) = key.bytes.split_first().ok_or_else(|| damaged(key, "it is empty"))?;
    if format != WRAP_FORMAT {
        return Err(damaged(key, "it has a format that this program does not know"));
    }
    let cut = || damaged(key, "it is cut off or too long");
    let (expected, rest) = rest.split_first_chunk::<ROOT_ID_BYTES>().ok_or_else(cut)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(cut)?;
    let mut buffer = Zeroizing::new(<[u8; KEY_BYTES + TAG_BYTES]>::try_from(sealed).map_err(|_| cut())?);
    let (expected, found) = (RootKeyId(*expected), root.id());
    if expected != found {
        return Err(SealError::WrongRootKey { expected, found });
    }
    let opened = root.wrapping_key()?.decrypt(*nonce, &associated(key.id, purpose, found), &mut buffer[..]);
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    match opened {
        Ok(KEY_BYTES) => bytes.copy_from_slice(&buffer[..KEY_BYTES]),
        _ => return Err(damaged(key, "its bytes, its id or its purpose were changed")),
    }
    Ok((purpose, bytes))
}

fn damaged(key: &WrappedKey, reason: &'static str) -> SealError {
    SealError::DamagedKey { id: key.id, purpose: key.purpose.clone(), reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root() -> RootKey {
        RootKey::from_bytes([1; KEY_BYTES])
    }

    #[test]
    fn a_keyring_opens_again_with_its_root_key_and_no_other() {
        let (keyring, wrapped) = Keyring::create(&root()).unwrap();
        let again = Keyring::open(&root(), &wrapped).unwrap();
        assert_eq!((keyring.current(), again.current()), (1, 1));
        let transcript = Transcript::new("test");
        assert_eq!(keyring.audit_key().sign(&transcript), again.audit_key().sign(&transcript));
        assert_ne!(
            keyring.audit_key().sign(&transcript),
            keyring.token_key().sign(&transcript),
            "a key for each purpose"
        );
        let other = RootKey::from_bytes([2; KEY_BYTES]);
        let refused = Keyring::open(&other, &wrapped).unwrap_err();
        assert_eq!(refused, SealError::WrongRootKey { expected: root().id(), found: other.id() });
        assert!(!format!("{keyring:?}").contains("0x"), "{keyring:?}");
    }

    #[test]
    fn a_changed_row_is_damage_and_a_missing_one_is_named() {
        let (_, wrapped) = Keyring::create(&root()).unwrap();
        for at in 0..wrapped[0].bytes.len() {
            let mut changed = wrapped.clone();
            changed[0].bytes[at] ^= 1;
            assert!(Keyring::open(&root(), &changed).is_err(), "byte {at}");
            changed[0].bytes.truncate(at);
            assert!(
                matches!(Keyring::open(&root(), &changed), Err(SealError::DamagedKey { id: 1, .. })),
                "cut to {at}"
            );
        }
        let changes: [fn(&mut Vec<WrappedKey>); 4] = [
            |keys| keys[0].id = 9,
            |keys| keys[1].purpose = "token".to_owned(),
            |keys| keys[1].purpose = "tea".to_owned(),
            |keys| keys.push(keys[2].clone()),
        ];
        for change in changes {
            let mut changed = wrapped.clone();
            change(&mut changed);
            assert!(matches!(Keyring::open(&root(), &changed), Err(SealError::DamagedKey { .. })));
        }
        for at in 0..wrapped.len() {
            let mut fewer = wrapped.clone();
            fewer.remove(at);
            let purpose = Purpose::ALL[at].as_str();
            assert_eq!(Keyring::open(&root(), &fewer).unwrap_err(), SealError::Incomplete { purpose });
        }
    }

    #[test]
    fn a_new_data_key_takes_over_and_the_root_key_can_be_changed() {
        let (mut keyring, mut wrapped) = Keyring::create(&root()).unwrap();
        wrapped.push(keyring.add_data_key(&root()).unwrap());
        assert_eq!(keyring.current(), 6);
        assert!(keyring.data_key(1).is_some());
        let other = RootKey::from_bytes([2; KEY_BYTES]);
        let rewrapped = rewrap(&root(), &other, &wrapped).unwrap();
        assert!(Keyring::open(&root(), &rewrapped).is_err());
        let again = Keyring::open(&other, &rewrapped).unwrap();
        let transcript = Transcript::new("test");
        assert_eq!(again.current(), 6);
        assert_eq!(keyring.manifest_key().sign(&transcript), again.manifest_key().sign(&transcript));
        assert!(rewrap(&other, &root(), &wrapped).is_err());
    }

    #[test]
    fn rotation_comes_long_before_the_limit() {
        assert!(!rotation_is_due(MAX_ENCRYPTIONS_PER_KEY - 1) && rotation_is_due(MAX_ENCRYPTIONS_PER_KEY));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), id in any::<u32>()) {
            let key = WrappedKey { id, purpose: "data".to_owned(), bytes };
            prop_assert!(Keyring::open(&root(), &[key]).is_err());
        }
    }
}
