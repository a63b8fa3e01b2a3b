//! The only folder that knows ciphers. It knows no SQL, no HTTP, and no clock: bytes and names in, bytes out.
//!
//! ```text
//! root key ──HKDF──► wrapping key ──AES-256-GCM──► keyring ┬ data keys ──AES-256-GCM──► values   (record)
//!   (seal)                                                 ├ manifest key ──HMAC──► layers       (manifest)
//!                                                          │                    └─► definitions  (definition)
//!                                                          ├ token key ──HMAC──► tokens          (definition)
//!                                                          ├ audit key ──HMAC──► the audit chain (audit)
//!                                                          └ fingerprint key ──HMAC──► "same value?"
//! ```
//!
//! `docs/FORMAT.md` draws every byte, and `tests/vectors/format-v1.json` holds the format to it.

mod aead;
mod definition;
mod envelope;
mod error;
mod fingerprint;
mod keyring;
mod mac;
mod manifest;
mod outside;
mod record;
mod seal;
mod token;
mod transcript;

pub use definition::{Definition, NodeFields, OpeningFields, TokenFields};
pub use envelope::Envelope;
pub use error::{EncryptError, Fault, IntegrityError, SealError};
pub use fingerprint::Fingerprinter;
pub use keyring::{Keyring, MAX_ENCRYPTIONS_PER_KEY, Purpose, WrappedKey, rewrap, rotation_is_due};
pub use mac::{Mac, MacKey};
pub use manifest::{LayerHeader, ManifestLine};
pub use record::{RecordHeader, Sealed, TAG_BYTES, is_destroyed};
pub use seal::{RootKey, RootKeyId};
pub use token::{TokenHash, new_token, new_token_id};
pub use transcript::Transcript;
