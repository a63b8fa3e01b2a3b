//! One version of an entry at rest: its value encrypted, and bound to the place where it belongs.

use std::fmt;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName, Value};

use super::aead::{self, NONCE_BYTES};
use super::error::Fault;
use super::manifest::grant_text;
use super::{EncryptError, IntegrityError, Keyring, Transcript};

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = aead::TAG_BYTES;

const LABEL: &str = "chandlery/v1/record";
const DESTROYED_LABEL: &str = "chandlery/v1/destroyed";
const FORMAT: u8 = 1;
/// What stands in a destroyed ciphertext's place.
const DESTROYED: u8 = 2;
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
        let key = keyring.data_key(id).ok_or(EncryptError::MissingKey)?;
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
        if is_destroyed(sealed) {
            return Err(fault(Fault::Destroyed));
        }
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

    /// Checks that everything of this header is as it was sealed, where the value is not asked for.
    ///
    /// # Errors
    /// As [`RecordHeader::open`].
    pub fn authenticate(&self, keyring: &Keyring, sealed: &[u8]) -> Result<(), IntegrityError> {
        if !is_destroyed(sealed) {
            return self.open(keyring, sealed).map(|_| ());
        }
        let fault = |fault| IntegrityError::new(self, fault);
        let (mac, tag) = sealed[1..].split_first_chunk::<32>().ok_or_else(|| fault(Fault::Truncated))?;
        match tag.len() == TAG_BYTES && keyring.manifest_key().verify(&self.remains(tag), mac) {
            true => Ok(()),
            false => Err(fault(Fault::Forged)),
        }
    }

    /// What stands in the ciphertext's place when the value is destroyed: the tag, which the manifest and the next version
    /// name, and a mac over everything that the tag can vouch for no longer. The nonce is not kept: with it and the data
    /// key, the tag would tell whether a guess of the value is right.
    ///
    /// ```text
    /// bytes = 2 ‖ mac (32) ‖ tag of the ciphertext (16)
    /// mac   = HMAC-SHA-256(manifest key, transcript("chandlery/v1/destroyed", stack, environment, layer, name, grant,
    ///         number(version), state, attributes, number(created), author, previous, tag))
    /// ```
    ///
    /// # Errors
    /// Where the record is not as it was sealed: a mac must not bless what somebody else put there.
    pub fn destroy(&self, keyring: &Keyring, sealed: &[u8]) -> Result<Sealed, IntegrityError> {
        self.authenticate(keyring, sealed)?;
        let tag = &sealed[sealed.len() - TAG_BYTES..];
        let mac = keyring.manifest_key().sign(&self.remains(tag));
        Ok(Sealed([&[DESTROYED], &mac[..], tag].concat()))
    }

    fn remains(&self, tag: &[u8]) -> Transcript {
        self.place(Transcript::new(DESTROYED_LABEL)).bytes(tag)
    }

    fn associated(&self, key: u32) -> Transcript {
        self.place(Transcript::new(LABEL).number(u64::from(FORMAT)).number(u64::from(key)))
    }

    fn place(&self, transcript: Transcript) -> Transcript {
        transcript
            .text(self.stack.as_str())
            .text(self.environment.as_str())
            .text(self.layer.as_str())
            .text(self.name.as_str())
            .text(&grant_text(self.grant))
            .number(self.version)
            .text(state_text(self.state))
            .text(self.attributes)
            .number(self.created.cast_unsigned())
            .text(self.author)
            .bytes(self.previous)
    }
}

/// Whether the value of this version was destroyed.
#[must_use]
pub fn is_destroyed(sealed: &[u8]) -> bool {
    sealed.first() == Some(&DESTROYED)
}

pub(super) fn state_text(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Deleted => "deleted",
        State::Removed => "removed",
        State::Destroyed => "destroyed",
    }
}

#[cfg(test)]
mod tests {
    use chandlery_wire::MAX_VALUE_BYTES;
    use proptest::prelude::*;

    use super::super::{RootKey, WrappedKey};
    use super::*;

    fn keyring() -> Keyring {
        Keyring::create(&RootKey::from_bytes([1; 32])).unwrap().0
    }

    /// Owns what a header borrows, so that a test can change one thing.
    #[derive(Clone)]
    struct Place {
        stack: StackName,
        environment: EnvironmentName,
        layer: Layer,
        name: EntryName,
        grant: Grant,
        version: u64,
        state: State,
        attributes: String,
        created: i64,
        author: String,
        previous: Vec<u8>,
    }

    impl Place {
        fn new() -> Self {
            Self {
                stack: StackName::parse("simpleapp").unwrap(),
                environment: EnvironmentName::parse("production").unwrap(),
                layer: Layer::Base,
                name: EntryName::parse("DB_PASSWORD").unwrap(),
                grant: Grant::All,
                version: 2,
                state: State::Live,
                attributes: "{\"secret\":true}".to_owned(),
                created: 1_700_000_000_000,
                author: "tok_1".to_owned(),
                previous: vec![9; 16],
            }
        }

        fn header(&self) -> RecordHeader<'_> {
            let Self { stack, environment, layer, name, grant, attributes, author, previous, .. } = self;
            let (version, state, created) = (self.version, self.state, self.created);
            RecordHeader {
                stack,
                environment,
                layer,
                name,
                grant,
                version,
                state,
                attributes,
                created,
                author,
                previous,
            }
        }
    }

    #[test]
    fn a_record_opens_where_it_was_sealed_and_nowhere_else() {
        let (keyring, here) = (keyring(), Place::new());
        let sealed = here.header().seal(&keyring, &Value::new("hunter2")).unwrap();
        assert_eq!(here.header().open(&keyring, sealed.as_bytes()).unwrap(), Value::new("hunter2"));
        let changes: [fn(&mut Place); 13] = [
            |place| place.stack = StackName::parse("simpleapq").unwrap(),
            |place| place.environment = EnvironmentName::parse("staging").unwrap(),
            |place| place.layer = "eu".parse().unwrap(),
            |place| place.name = EntryName::parse("DB_PASSWORE").unwrap(),
            |place| place.grant = "app".parse().unwrap(),
            |place| place.version = 1,
            |place| place.version = 3,
            |place| place.state = State::Removed,
            |place| place.attributes = "{\"secret\":false}".to_owned(),
            |place| place.created += 1,
            |place| place.author = "tok_2".to_owned(),
            |place| place.previous = vec![8; 16],
            |place| place.previous.clear(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut there = here.clone();
            change(&mut there);
            let refused = there.header().open(&keyring, sealed.as_bytes()).unwrap_err();
            assert_eq!(refused.fault, Fault::Forged, "change {number}");
            assert_eq!(refused.record, there.header().to_string());
            assert!(there.header().authenticate(&keyring, sealed.as_bytes()).is_err());
        }
    }

    #[test]
    fn two_rows_swapped_do_not_open() {
        let (keyring, one) = (keyring(), Place::new());
        let other = Place { name: EntryName::parse("API_KEY").unwrap(), ..one.clone() };
        let sealed = [&one, &other].map(|place| place.header().seal(&keyring, &Value::new("same")).unwrap());
        assert!(one.header().open(&keyring, sealed[1].as_bytes()).is_err());
        assert!(other.header().open(&keyring, sealed[0].as_bytes()).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_an_error() {
        let (keyring, place) = (keyring(), Place::new());
        for plaintext in ["", "x", "a value of some length"] {
            let sealed = place.header().seal(&keyring, &Value::new(plaintext)).unwrap().into_bytes();
            assert_eq!(sealed.len(), HEADER_BYTES + plaintext.len() + TAG_BYTES);
            for at in 0..sealed.len() {
                for bit in 0..8 {
                    let mut flipped = sealed.clone();
                    flipped[at] ^= 1 << bit;
                    assert!(place.header().open(&keyring, &flipped).is_err(), "bit {bit} of byte {at}");
                }
                assert!(place.header().open(&keyring, &sealed[..at]).is_err(), "cut to {at} bytes");
            }
            let longer = [&sealed[..], &[0]].concat();
            assert!(place.header().open(&keyring, &longer).is_err());
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_said_precisely() {
        let (mut keyring, place) = (keyring(), Place::new());
        let old = place.header().seal(&keyring, &Value::new("x")).unwrap().into_bytes();
        let stranger = keyring.add_data_key(&RootKey::from_bytes([1; 32])).unwrap().id;
        let new = place.header().seal(&keyring, &Value::new("x")).unwrap().into_bytes();
        assert_eq!(place.header().open(&keyring, &old).unwrap(), Value::new("x"), "older keys still open");
        let refused = place.header().open(&super::tests::keyring(), &new).unwrap_err();
        assert_eq!(refused.fault, Fault::MissingKey(stranger));
        assert_eq!(
            refused.to_string(),
            "simpleapp/production/base/DB_PASSWORD for all, version 2: \
             the ciphertext needs data key 6, which is not in the keyring"
        );
        let mut later = old;
        later[0] = 3;
        assert_eq!(place.header().open(&keyring, &later).unwrap_err().fault, Fault::UnknownFormat(3));
        assert_eq!(place.header().open(&keyring, &[]).unwrap_err().fault, Fault::Truncated);
    }

    #[test]
    fn sealing_gives_the_bytes_that_the_format_draws() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/format-v1.json")).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let bytes = |value: &serde_json::Value| -> Vec<u8> {
            let hex = text(value);
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let wrapped = |key: &serde_json::Value| WrappedKey {
            id: u32::try_from(key["id"].as_u64().unwrap()).unwrap(),
            purpose: text(&key["purpose"]),
            bytes: bytes(&key["wrapped"]),
        };
        let root = RootKey::from_bytes(bytes(&vectors["root_key"]["key"]).try_into().unwrap());
        let wrapped: Vec<WrappedKey> = vectors["keys"].as_array().unwrap().iter().map(wrapped).collect();
        let keyring = Keyring::open(&root, &wrapped).unwrap();
        for record in vectors["records"].as_array().unwrap() {
            let place = Place {
                stack: text(&record["stack"]).parse().unwrap(),
                environment: text(&record["environment"]).parse().unwrap(),
                layer: text(&record["layer"]).parse().unwrap(),
                name: text(&record["name"]).parse().unwrap(),
                grant: text(&record["grant"]).parse().unwrap(),
                version: record["version"].as_u64().unwrap(),
                state: serde_json::from_value(record["state"].clone()).unwrap(),
                attributes: text(&record["attributes"]),
                created: record["created"].as_i64().unwrap(),
                author: text(&record["author"]),
                previous: bytes(&record["previous"]),
            };
            let (key, nonce) = (u32::try_from(record["key"].as_u64().unwrap()).unwrap(), bytes(&record["nonce"]));
            let value = Value::new(bytes(&record["plaintext"]));
            let sealed = place.header().seal_with(&keyring, key, nonce.try_into().unwrap(), &value).unwrap();
            assert_eq!(sealed.into_bytes(), bytes(&record["sealed"]));
        }
    }

    #[test]
    fn sizes_from_nothing_to_the_largest() {
        let (keyring, place) = (keyring(), Place { state: State::Deleted, ..Place::new() });
        for size in [0, 1, 4096, MAX_VALUE_BYTES] {
            let value = Value::new(vec![7; size]);
            let sealed = place.header().seal(&keyring, &value).unwrap();
            assert_eq!(place.header().open(&keyring, sealed.as_bytes()).unwrap(), value);
            assert_eq!(sealed.tag().len(), TAG_BYTES);
        }
        assert_eq!(Sealed::from_bytes(vec![1, 2]).tag(), [1, 2]);
        assert_eq!(format!("{:?}", Sealed::from_bytes(vec![1, 2])), "Sealed(2 bytes)");
    }

    #[test]
    fn nonces_do_not_repeat() {
        let (keyring, place) = (keyring(), Place::new());
        let nonces: std::collections::HashSet<Vec<u8>> = (0..10_000)
            .map(|_| place.header().seal(&keyring, &Value::new("x")).unwrap().as_bytes()[5..17].to_vec())
            .collect();
        assert_eq!(nonces.len(), 10_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_value_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..300), version in any::<u64>(), created in any::<i64>()) {
            let (keyring, place) = (keyring(), Place { version, created, ..Place::new() });
            let sealed = place.header().seal(&keyring, &Value::new(bytes.clone())).unwrap();
            prop_assert_eq!(place.header().open(&keyring, sealed.as_bytes()).unwrap(), Value::new(bytes));
        }

        #[test]
        fn any_bytes_are_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Place::new().header().open(&keyring(), &bytes).is_err());
        }
    }
}
