//! What operations work with: the store, the keys, the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::audit::{Anchor, AuditLog};
use crate::clock::Clock;
use crate::crypto::{Keyring, RootKey, WrappedKey, rotation_is_due};
use crate::store::{KeyRow, Snapshot, Store, StoreError, Transaction, read_with, write_with};

use super::Error;
use super::aws::{Cargo, Errands, Haul};
use super::cache::{BundleCache, TokenCache};
use super::lookout::Lookout;
use super::outside::Outside;
use super::roll::Roll;

/// The audit log's head as of the last write, kept in the database: the log cannot be cut behind it unseen.
pub(super) const AUDIT_ANCHOR: &str = "audit-anchor";

#[derive(Debug)]
pub(super) struct Core {
    pub(super) store: Arc<dyn Store>,
    pub(super) audit: AuditLog,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tokens: TokenCache,
    pub(super) bundles: BundleCache,
    pub(super) roll: Roll,
    pub(super) lookout: Lookout,
    pub(super) outside: Outside,
    pub(super) imports: Errands<Haul>,
    pub(super) pushes: Errands<Cargo>,
    root: RootKey,
    /// Replaced as a whole when a data key is added; an operation keeps the one it began with.
    keyring: RwLock<Arc<Keyring>>,
    /// Values encrypted with the current data key.
    encryptions: AtomicU64,
}

impl Core {
    pub(super) fn new(
        store: Arc<dyn Store>,
        audit: AuditLog,
        clock: Arc<dyn Clock>,
        root: RootKey,
        keyring: Arc<Keyring>,
        encryptions: u64,
        outside: Outside,
    ) -> Result<Self, Error> {
        Ok(Self {
            store,
            audit,
            clock,
            tokens: TokenCache::default(),
            bundles: BundleCache::new()?,
            roll: Roll::default(),
            lookout: Lookout::new(),
            outside,
            imports: Errands::default(),
            pushes: Errands::default(),
            root,
            keyring: RwLock::new(keyring),
            encryptions: AtomicU64::new(encryptions),
        })
    }

    pub(super) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&dyn Snapshot) -> Result<T, Error>) -> Result<T, Error> {
        read_with(&*self.store, f)
    }

    /// Writes, all or nothing, and leaves the audit log's head beside what was written.
    pub(super) fn write<T, E>(
        &self,
        f: impl FnOnce(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let anchor = anchor_bytes(self.audit.head());
        let result = write_with(&*self.store, move |transaction| {
            let result = f(transaction)?;
            transaction.set_meta(AUDIT_ANCHOR, &anchor)?;
            Ok::<T, E>(result)
        })?;
        self.lookout.committed();
        Ok(result)
    }

    /// Says that values were encrypted, and makes a new data key in good time before the nonces of this one could
    /// repeat. The new key is durable before anything is encrypted with it.
    pub(super) fn count_encryptions(&self, encryptions: u64) -> Result<(), Error> {
        let total = self.encryptions.fetch_add(encryptions, Ordering::Relaxed) + encryptions;
        if rotation_is_due(total) { self.add_data_key() } else { Ok(()) }
    }

    fn add_data_key(&self) -> Result<(), Error> {
        let mut current = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        if !rotation_is_due(self.encryptions.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let wrapped = self.read(|snapshot| Ok(wrapped_keys(&snapshot.keys()?)))?;
        let mut keyring = Keyring::open(&self.root, &wrapped).map_err(Error::from)?;
        let key = keyring.add_data_key(&self.root).map_err(Error::from)?;
        let row = key_row(&key, self.now());
        // Jobs take their keyring before they are queued, so none of them waits for the lock that is held here.
        self.write(move |transaction| transaction.put_key(&row))?;
        *current = Arc::new(keyring);
        self.encryptions.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// An anchor as it is stored: the line's number (8 bytes, big-endian) and its hash.
pub(super) fn anchor_bytes(anchor: Anchor) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(&anchor.seq.to_be_bytes());
    bytes[8..].copy_from_slice(&anchor.mac);
    bytes
}

pub(super) fn anchor_from(bytes: &[u8]) -> Option<Anchor> {
    let (seq, mac) = bytes.split_first_chunk::<8>()?;
    Some(Anchor { seq: u64::from_be_bytes(*seq), mac: mac.try_into().ok()? })
}

pub(super) fn wrapped_keys(rows: &[KeyRow]) -> Vec<WrappedKey> {
    let wrapped = |row: &KeyRow| WrappedKey { id: row.id, purpose: row.purpose.clone(), bytes: row.wrapped.clone() };
    rows.iter().map(wrapped).collect()
}

pub(super) fn key_row(key: &WrappedKey, now: i64) -> KeyRow {
    KeyRow { id: key.id, purpose: key.purpose.clone(), wrapped: key.bytes.clone(), created: now, encryptions: 0 }
}

impl From<crate::crypto::SealError> for Error {
    fn from(error: crate::crypto::SealError) -> Self {
        Self::new(chandlery_wire::Code::Sealed, error.detail()).hint(error.hint())
    }
}
