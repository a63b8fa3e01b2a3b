//! What can go wrong with keys and ciphertexts. None of these ever holds a byte of a key or a value.

use std::path::PathBuf;

use super::seal::RootKeyId;

/// Why the keys are not at hand: the root key's file, or the keyring that it should open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no file: at a first start, the moment to make one.
    #[error("there is no root key at {}", file.display())]
    Missing { file: PathBuf },
    #[error("there is a root key at {} already", file.display())]
    Exists { file: PathBuf },
    #[error("the root key {} {fault}", file.display())]
    Unsafe { file: PathBuf, fault: String, hint: &'static str },
    #[error("{} does not hold a root key: {reason}", file.display())]
    Format { file: PathBuf, reason: &'static str },
    #[error("the root key {} cannot be {action}: {cause}", file.display())]
    Io { file: PathBuf, action: &'static str, cause: String },
    /// Nothing is damaged: this root key never wrapped this keyring.
    #[error("the root key {found} is not the one of this store, which is {expected}")]
    WrongRootKey { expected: RootKeyId, found: RootKeyId },
    #[error("key {id} of the keyring ({purpose}) is damaged: {reason}")]
    DamagedKey { id: u32, purpose: String, reason: &'static str },
    #[error("the keyring has no {purpose} key")]
    Incomplete { purpose: &'static str },
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
}

impl SealError {
    /// What is wrong.
    #[must_use]
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "put the store's root key there; without it nothing in the store can be read",
            Self::Exists { .. } => "move it away first, if a new one is really wanted",
            Self::Unsafe { hint, .. } => hint,
            Self::Format { .. } => {
                "it is one line, chandlery-root-key-v1: and 44 characters of base64; restore it from its backup"
            }
            Self::Io { .. } => "see to the file, its directory and the disk they are on",
            Self::WrongRootKey { .. } => {
                "check the path of the root key, and that key and data directory belong together"
            }
            Self::DamagedKey { .. } | Self::Incomplete { .. } => {
                "somebody or something changed the database; restore a backup"
            }
            Self::Encrypt(error) => error.hint(),
        }
    }
}

/// Why nothing could be encrypted or made at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    #[error("the system's random number generator failed")]
    Entropy,
    /// Beyond the 64 GiB of AES-GCM; values end long before.
    #[error("the value is too long to be encrypted")]
    TooLong,
    #[error("the keyring has no key to encrypt with")]
    MissingKey,
}

impl EncryptError {
    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Entropy => "the kernel's getrandom(2) must work; a seccomp filter may forbid it",
            Self::TooLong => "a value has at most 512 KiB",
            Self::MissingKey => "restart the server; if that does not help, restore a backup",
        }
    }
}

/// A record that is not as it was written. It names the record, and never says what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{record}: {fault}")]
pub struct IntegrityError {
    pub record: String,
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the ciphertext is cut off")]
    Truncated,
    #[error("the ciphertext has format {0}, which this program does not know")]
    UnknownFormat(u8),
    #[error("the ciphertext needs data key {0}, which is not in the keyring")]
    MissingKey(u32),
    #[error("the ciphertext, its place or its attributes were changed, or it was moved here from elsewhere")]
    Forged,
    #[error("entries of the layer were rolled back, removed or added behind the store's back")]
    Manifest,
    #[error("the row was changed behind the store's back")]
    Row,
    #[error("a version is missing from the history, or was replaced")]
    History,
    #[error("the value was destroyed")]
    Destroyed,
}

impl IntegrityError {
    pub(super) fn new(record: impl ToString, fault: Fault) -> Self {
        Self { record: record.to_string(), fault }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.fault {
            Fault::MissingKey(_) => "restore a backup of the keyring that still has this key",
            Fault::UnknownFormat(_) => {
                "run the newer chandlery-server that wrote it; if there is none, restore a backup"
            }
            _ => "find out who can write to the database, then restore a backup",
        }
    }
}
