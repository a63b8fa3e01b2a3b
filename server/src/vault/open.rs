//! Opening the vault: the first start, and every later one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chandlery_wire::api::Outcome;
use chandlery_wire::{Code, TokenText};

use super::core::{AUDIT_ANCHOR, Core, anchor_bytes, anchor_from, key_row, wrapped_keys};
use super::outside::Outside;
use super::tokens::{first_token, put};
use super::{Error, Vault};
use crate::audit::{self, Anchor, AuditLog, Draft};
use crate::clock::Clock;
use crate::crypto::{Keyring, RootKey, SealError, new_token};
use crate::source::aws::Aws;
use crate::source::{Freshness, Sources};
use crate::store::{KeyRow, Store, read_with, write_with};

/// What the vault is opened from.
pub struct Opening<'a> {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub root_key_file: &'a Path,
    pub audit_file: &'a Path,
    /// Where values may be that entries refer to, and for how long they are good.
    pub sources: Sources,
    pub freshness: Freshness,
    pub aws: Aws,
    /// Keeps the first admin token where the CLI finds it, durably, before the store knows it; and says which it is to be.
    pub keep_token: &'a dyn Fn(TokenText) -> Result<TokenText, Error>,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("root_key_file", &self.root_key_file).finish_non_exhaustive()
    }
}

/// Why the vault is not open.
#[derive(Debug)]
pub enum OpenError {
    /// The root key is not at hand, or not the right one. It may come: the server waits, and says why.
    Sealed(Error),
    /// Nothing that waiting would mend.
    Fatal(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Opens the vault. At the first start, makes the root key, the keyring and an admin token, which it returns.
///
/// # Errors
/// See [`OpenError`].
pub fn open(opening: &Opening<'_>) -> Result<(Vault, Option<TokenText>), OpenError> {
    let (keys, revision, used) = read_with(&*opening.store, |snapshot| {
        let used = snapshot.revision()? > 0 || !snapshot.tokens()?.is_empty();
        Ok::<_, Error>((snapshot.keys()?, snapshot.revision()?, used))
    })?;
    if keys.is_empty() && used {
        return Err(Error::new(Code::Integrity, "the database has entries and no keys: its keyring was taken away")
            .hint("restore a backup of the database")
            .into());
    }
    let (root, keyring, token) = match keys.is_empty() {
        true => first_start(opening)?,
        false => {
            let root = RootKey::load(opening.root_key_file).map_err(|error| sealed(&error))?;
            let keyring = Keyring::open(&root, &wrapped_keys(&keys)).map_err(|error| sealed(&error))?;
            (root, Arc::new(keyring), None)
        }
    };
    let audit = open_audit(opening, &keyring, anchor(opening)?)?;
    if let Some(told) = audit.last_revision().filter(|told| *told > revision) {
        return Err(rolled_back(revision, told).into());
    }
    note(&audit, if token.is_some() { "start-first-time" } else { "start" }, Some(revision))?;
    let encryptions = encryptions(&keys, &keyring);
    let store = Arc::clone(&opening.store);
    let outside = Outside::new(opening.sources.clone(), opening.freshness, opening.aws.clone());
    let core = Core::new(store, audit, Arc::clone(&opening.clock), root, keyring, encryptions, outside)?;
    super::destroying::erase(&core)?;
    Ok((Vault { core: Arc::new(core) }, token))
}

/// Takes a database that is older than the audit log for the right one: moves its revision past the log's, so that no
/// revision is used twice, and says so in the log.
///
/// # Errors
/// As [`open`].
pub fn accept_older(opening: &Opening<'_>) -> Result<u64, OpenError> {
    let revision = read_with(&*opening.store, |snapshot| Ok::<_, Error>(snapshot.revision()?))?;
    let keyring = keyring(opening)?;
    // The anchor is older than the log's head, and in the log all the same if the log is whole.
    let audit = open_audit(opening, &keyring, anchor(opening)?)?;
    let told = audit.last_revision().unwrap_or(0);
    let revision = write_with(&*opening.store, move |transaction| {
        let mut revision = revision;
        while revision <= told {
            revision = transaction.next_revision()?;
        }
        Ok::<_, Error>(revision)
    })?;
    note(&audit, "accept-older-database", Some(revision))?;
    Ok(revision)
}

/// The audit log's key and its anchor, for checking the log without a running server.
///
/// # Errors
/// As [`open`].
pub fn verify_offline(opening: &Opening<'_>) -> Result<chandlery_wire::api::AuditVerification, OpenError> {
    let (keyring, anchor) = (keyring(opening)?, anchor(opening)?);
    Ok(audit::verify(opening.audit_file, &keyring.audit_key().into(), anchor).map_err(Error::from)?)
}

/// Sets the audit log aside, where there is one, and begins a new chain, anchored in the database.
///
/// # Errors
/// As [`open`].
pub fn start_audit_over(opening: &Opening<'_>) -> Result<Option<PathBuf>, OpenError> {
    let keyring = keyring(opening)?;
    let anchor = anchor(opening)?;
    let (audit, aside) =
        AuditLog::start_over(opening.audit_file, keyring.audit_key().into(), Arc::clone(&opening.clock), anchor)
            .map_err(Error::from)?;
    // The new chain knows the database's revision from its first line on.
    let revision = read_with(&*opening.store, |snapshot| Ok::<_, Error>(snapshot.revision()?))?;
    note(&audit, "start-audit-over", Some(revision))?;
    let head = anchor_bytes(audit.head());
    write_with(&*opening.store, move |transaction| Ok::<_, Error>(transaction.set_meta(AUDIT_ANCHOR, &head)?))?;
    Ok(aside)
}

/// The stored keyring, opened.
fn keyring(opening: &Opening<'_>) -> Result<Keyring, OpenError> {
    let keys = read_with(&*opening.store, |snapshot| Ok::<_, Error>(snapshot.keys()?))?;
    let root = RootKey::load(opening.root_key_file).map_err(|error| sealed(&error))?;
    Keyring::open(&root, &wrapped_keys(&keys)).map_err(|error| sealed(&error))
}

/// The audit log's head as the database knows it.
fn anchor(opening: &Opening<'_>) -> Result<Option<Anchor>, Error> {
    let bytes = read_with(&*opening.store, |snapshot| Ok::<_, Error>(snapshot.meta(AUDIT_ANCHOR)?))?;
    let changed = || {
        Error::new(Code::Integrity, "the audit log's anchor in the database was changed")
            .hint("find out who can write to the database, then restore a backup")
    };
    bytes.map(|bytes| anchor_from(&bytes).ok_or_else(changed)).transpose()
}

fn first_start(opening: &Opening<'_>) -> Result<(RootKey, Arc<Keyring>, Option<TokenText>), OpenError> {
    // A key that is there already is used: it was put there on purpose, or a first start was interrupted.
    let root = match RootKey::load(opening.root_key_file) {
        Err(SealError::Missing { .. }) => RootKey::create(opening.root_key_file),
        loaded => loaded,
    };
    let root = root.map_err(|error| sealed(&error))?;
    let (keyring, wrapped) = Keyring::create(&root).map_err(|error| sealed(&error))?;
    let now = opening.clock.now().as_millisecond();
    let token = (opening.keep_token)(new_token().map_err(Error::from)?)?;
    let row = first_token(&keyring, &token, now)?;
    let keys: Vec<KeyRow> = wrapped.iter().map(|key| key_row(key, now)).collect();
    let keyring = Arc::new(keyring);
    let signer = Arc::clone(&keyring);
    write_with(&*opening.store, move |transaction| {
        keys.iter().try_for_each(|key| transaction.put_key(key))?;
        Ok::<_, Error>(put(transaction, &signer, &row)?)
    })?;
    Ok((root, keyring, Some(token)))
}

fn open_audit(opening: &Opening<'_>, keyring: &Keyring, anchor: Option<Anchor>) -> Result<AuditLog, Error> {
    Ok(AuditLog::open(opening.audit_file, keyring.audit_key().into(), Arc::clone(&opening.clock), anchor)?)
}

fn note(audit: &AuditLog, action: &str, revision: Option<u64>) -> Result<(), Error> {
    let draft = Draft { revision, ..Draft::new(audit::SERVER, action, Outcome::Allowed) };
    Ok(audit.append(&draft).wait()?)
}

fn encryptions(keys: &[KeyRow], keyring: &Keyring) -> u64 {
    keys.iter().find(|key| key.id == keyring.current()).map_or(0, |key| key.encryptions)
}

fn sealed(error: &SealError) -> OpenError {
    OpenError::Sealed(Error::new(Code::Sealed, format!("the store is sealed: {}", error.detail())).hint(error.hint()))
}

fn rolled_back(revision: u64, told: u64) -> Error {
    Error::new(
        Code::Integrity,
        format!("the database is at revision {revision}, and the audit log tells of revision {told}: an older copy was put back"),
    )
    .hint("if you restored a backup, say so: chandlery-server accept-restore; if not, find out who replaced it")
}
