//! Keyed names of values: the same for the same value, and of no use to guess it without the key.

use std::fmt;

use chandlery_wire::{EnvironmentName, StackName, Value};
use ring::hmac;
use zeroize::Zeroizing;

use super::aead;
use super::mac::MacKey;
use super::{EncryptError, Keyring, Mac, Transcript};

const LABEL: &str = "chandlery/v1/fingerprint";
const SHOWN_LABEL: &str = "chandlery/v1/shown-fingerprint";

impl Keyring {
    /// A short keyed name of a value.
    ///
    /// `HMAC-SHA-256(fingerprint key, transcript("chandlery/v1/fingerprint", value))`, the first 8 bytes.
    #[must_use]
    pub fn fingerprint(&self, value: &Value) -> [u8; 8] {
        let mut short = [0; 8];
        let names = Fingerprinter::new(self.fingerprint_key(), &Transcript::new(LABEL));
        short.copy_from_slice(&names.name(value)[..8]);
        short
    }

    /// Names that people compare values by: another one in each environment, so that two printouts do not tell that two
    /// environments share a secret.
    ///
    /// `HMAC-SHA-256(fingerprint key, transcript("chandlery/v1/shown-fingerprint", stack, environment, value))`
    #[must_use]
    pub fn fingerprinter(&self, stack: &StackName, environment: &EnvironmentName) -> Fingerprinter {
        let before = Transcript::new(SHOWN_LABEL).text(stack.as_str()).text(environment.as_str());
        Fingerprinter::new(self.fingerprint_key(), &before)
    }
}

/// Names values. All that comes before the value is hashed once for all of them, and the value is copied nowhere.
#[derive(Clone)]
pub struct Fingerprinter(hmac::Context);

impl Fingerprinter {
    fn new(key: &MacKey, before: &Transcript) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::from(key));
        context.update(before.as_bytes());
        Self(context)
    }

    /// Names that mean something within one answer only: under a key that is forgotten with it. Whoever may have any value
    /// named learns nothing by it of the names that others have seen.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn of_one_answer() -> Result<Self, EncryptError> {
        let key = Zeroizing::new(aead::random()?);
        Ok(Self::new(&MacKey::new(&key), &Transcript::new(SHOWN_LABEL)))
    }

    #[must_use]
    pub fn name(&self, value: &Value) -> Mac {
        let mut context = self.0.clone();
        // The value as the last field of the transcript.
        Transcript::field(value.expose_secret(), |bytes| context.update(bytes));
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::RootKey;
    use super::*;

    #[test]
    fn the_same_value_has_the_same_name_in_one_environment_and_in_no_other() {
        let (keyring, _) = Keyring::create(&RootKey::from_bytes([1; 32])).unwrap();
        let names = |stack: &str, environment: &str| {
            keyring.fingerprinter(&StackName::parse(stack).unwrap(), &EnvironmentName::parse(environment).unwrap())
        };
        let (one, other) = (Value::new("a"), Value::new("b"));
        let here = names("a", "b");
        assert_eq!(here.name(&one), names("a", "b").name(&one));
        assert_ne!(here.name(&one), here.name(&other));
        for elsewhere in [names("a", "c"), names("b", "a"), names("ab", "b")] {
            assert_ne!(here.name(&one), elsewhere.name(&one));
        }
        let (another, _) = Keyring::create(&RootKey::from_bytes([1; 32])).unwrap();
        assert_ne!(keyring.fingerprint(&one), keyring.fingerprint(&other));
        assert_ne!(keyring.fingerprint(&one), another.fingerprint(&one));
        assert_eq!(format!("{here:?}"), "Fingerprinter(…)");
    }

    #[test]
    fn the_names_of_one_answer_are_those_of_no_other() {
        let (one, other) = (Fingerprinter::of_one_answer().unwrap(), Fingerprinter::of_one_answer().unwrap());
        let value = Value::new("a");
        assert_eq!(one.name(&value), one.name(&value));
        assert_ne!(one.name(&value), other.name(&value));
    }
}
