//! Macs by which the store knows whether a value that is kept outside is still what it was.

use chandlery_wire::Value;

use super::{Keyring, Mac, Transcript};

const NAME_LABEL: &str = "chandlery/v1/outside-name";
const MARK_LABEL: &str = "chandlery/v1/outside";

impl Keyring {
    /// Names an address without telling it.
    ///
    /// `HMAC-SHA-256(fingerprint key, transcript("chandlery/v1/outside-name", address))`
    #[must_use]
    pub fn outside_name(&self, address: &str) -> Mac {
        self.fingerprint_key().sign(&Transcript::new(NAME_LABEL).text(address))
    }

    /// Says that a value came from an address, and since which revision of the store it is that value.
    ///
    /// `HMAC-SHA-256(fingerprint key, transcript("chandlery/v1/outside", address, number(revision), value))`
    #[must_use]
    pub fn outside_mark(&self, address: &str, revision: u64, value: &Value) -> Mac {
        let transcript = mark(address, revision, value);
        let mac = self.fingerprint_key().sign(&transcript);
        transcript.wipe();
        mac
    }

    /// Whether a mark says that of this value.
    #[must_use]
    pub fn is_outside_mark(&self, address: &str, revision: u64, value: &Value, expected: &Mac) -> bool {
        let transcript = mark(address, revision, value);
        let same = self.fingerprint_key().verify(&transcript, expected);
        transcript.wipe();
        same
    }
}

fn mark(address: &str, revision: u64, value: &Value) -> Transcript {
    let mut transcript = Transcript::new(MARK_LABEL).text(address).number(revision);
    // Reserved in whole: a buffer that grew would leave plaintext behind where it was.
    transcript.reserve(value.len() + 64);
    transcript.bytes(value.expose_secret())
}
