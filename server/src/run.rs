//! The life of a server: prepare, open, listen, serve, drain.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chandlery_wire::{Code, TokenText};

use crate::access::Trail;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, IdentityConfig};
use crate::fatal::Fatal;
use crate::http::{App, Identity, Limits, router};
use crate::identity::Identifier;
use crate::notify::Notifier;
use crate::paths::{allow_open_files, prepare_data_dir, write_private};
use crate::pki::Pki;
use crate::serve::{
    self, Certificates, Listeners, LocalFile, Unreadable, local_server, reload_requested, serve, stop_requested,
};
use crate::source::aws::Aws;
use crate::source::{Freshness, Scheme, Sources};
use crate::store::{DATABASE_FILE, SqliteStore, Store};
use crate::vault::{self, Error, Gate, OpenError, Opening, Vault};

/// How often a sealed server looks whether its root key has come.
const UNSEAL_INTERVAL: Duration = Duration::from_secs(2);

/// How much of the audit log's end could be cut off unseen, where nothing is written.
const ANCHOR_INTERVAL: Duration = Duration::from_secs(30);

/// TLS, plain HTTP, and the unix socket; and the process at the other end of each connection of the last.
const LISTENERS: usize = 4;
/// Listeners, the database's connections, the audit log, signals, and room to spare.
const OTHER_FILES: usize = 64;

/// Runs the server until it is told to stop.
///
/// # Errors
/// What keeps it from starting, or from stopping well.
pub fn run(config: &Config) -> Result<(), Fatal> {
    prepare_data_dir(&config.data_dir)?;
    allow_open_files((config.max_connections * LISTENERS + OTHER_FILES) as u64);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let files = Files::new(config, Arc::clone(&clock))?;
    // The store's lock is ours: what says where another server listens was left by one that is gone.
    LocalFile::clear(&config.data_dir)?;
    let gate = match files.open() {
        Ok(vault) => Gate::open(Arc::new(vault)),
        Err(OpenError::Sealed(error)) => {
            tracing::error!(reason = %error.detail, hint = %error.hint, "sealed: nothing is served until the root key is there");
            Gate::sealed(error)
        }
        Err(OpenError::Fatal(error)) => return Err(Fatal::new(error.detail, error.hint)),
    };
    let pki = Pki::new(config, clock);
    pki.ensure()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Fatal::new(format!("the server cannot start its threads: {error}"), "raise the limits of the unit or container")
    })?;
    runtime.block_on(listen(config, files, Arc::new(gate), pki))
}

async fn listen(config: &Config, files: Files, gate: Arc<Gate>, pki: Pki) -> Result<(), Fatal> {
    let certificates = Certificates::load(&config.tls)?;
    let listeners = Listeners::bind(config, Arc::clone(&certificates))?;
    let bound = listeners.bound();
    let identity = config.identity.as_ref().map(|identity| {
        let IdentityConfig { docker_socket, host } = identity.clone();
        Arc::new(Identity { identifier: Identifier::new(docker_socket), host })
    });
    let limits = Limits { body: config.max_body_bytes, time: config.request_timeout, waiting: config.max_waiting };
    let app = App { gate: Arc::clone(&gate), limits, identity };
    let local = local_server(&bound, &pki.trust_anchor()?, &files.admin_token);
    // Who learns below that the server is there may send signals at once.
    let (hangups, stop_request) = (reload_requested(), stop_requested());
    // Whoever reads it may connect: the sockets are bound, and the kernel queues until they are served.
    let local_file = LocalFile::write(&config.data_dir, &local)?;
    tracing::info!(address = %local.address, ca_fingerprint = %local.ca_fingerprint, socket = local.socket.as_deref().unwrap_or("off"), "listening");
    let manager = Notifier::from_environment(format!("serving on {}", local.address));
    match gate.vault() {
        Ok(_) => manager.ready(),
        Err(sealed) => manager.waiting(&sealed.detail),
    }
    tokio::spawn(certificates.watch(pki, hangups, manager.clone()));
    tokio::spawn(unseal(files, Arc::clone(&gate), manager.clone()));
    tokio::spawn(anchor(Arc::clone(&gate)));
    let unreadable = Unreadable::new(stray(Arc::clone(&gate)));
    let stop = stop(stop_request, Arc::clone(&gate), manager);
    let open = serve(listeners, router(app), serve::Limits::from(config), unreadable, stop).await;
    drop(local_file);
    if open > 0 {
        tracing::warn!(connections = open, "the deadline passed before these had ended");
    }
    if let Ok(vault) = gate.vault()
        && let Err(error) = tokio::task::spawn_blocking(move || vault.stop()).await.unwrap_or(Ok(()))
    {
        return Err(Fatal::new(error.detail, error.hint));
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the server is told to stop. What waits for a change is answered then: it must not hold up the end.
async fn stop(requested: impl Future<Output = ()>, gate: Arc<Gate>, manager: Notifier) {
    requested.await;
    manager.stopping();
    if let Ok(vault) = gate.vault() {
        vault.end_waits();
    }
}

/// Waits for the root key, where it is not there.
async fn unseal(files: Files, gate: Arc<Gate>, manager: Notifier) {
    let files = Arc::new(files);
    while gate.vault().is_err() {
        tokio::time::sleep(UNSEAL_INTERVAL).await;
        let files = Arc::clone(&files);
        match tokio::task::spawn_blocking(move || files.open()).await {
            Ok(Ok(vault)) => {
                gate.unseal(Arc::new(vault));
                tracing::info!("unsealed");
                manager.ready();
            }
            Ok(Err(OpenError::Sealed(error))) => gate.seal(error),
            Ok(Err(OpenError::Fatal(error))) => {
                tracing::error!(reason = %error.detail, hint = %error.hint, "the store cannot be opened");
                gate.seal(error);
            }
            Err(_) => tracing::error!("opening the store failed inside the server"),
        }
    }
}

/// Keeps the audit log's head in the database.
async fn anchor(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(ANCHOR_INTERVAL).await;
        let Ok(vault) = gate.vault() else { continue };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || vault.anchor_audit()).await {
            tracing::warn!(reason = %error.detail, "the audit log's head is not in the database");
        }
    }
}

/// The audit line of what was no HTTP request at all: hyper answers it before any route sees it, so its line cannot
/// come before its reply; it comes right after.
fn stray(gate: Arc<Gate>) -> impl Fn(serve::Peer, &'static str) + Send + Sync + 'static {
    move |peer, what| {
        let Ok(vault) = gate.vault() else { return };
        tokio::spawn(async move {
            if let Err(error) = vault.audit_stray(&Trail::default(), Some(peer), what, 400).await {
                tracing::error!(reason = %error.detail, "an unreadable request has no audit line");
            }
        });
    }
}

/// What the vault is opened from, again and again while it is sealed.
pub(crate) struct Files {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    root_key: PathBuf,
    audit: PathBuf,
    sources: Sources,
    freshness: Freshness,
    aws: Aws,
    admin_token: PathBuf,
}

impl Files {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Fatal> {
        refuse_lost_database(config)?;
        let aws = Aws::new(config.sources.aws.clone());
        let store = SqliteStore::open(&config.data_dir).map_err(|error| Fatal::new(&error, error.hint()))?;
        Ok(Self {
            store: Arc::new(store),
            clock,
            root_key: config.root_key_file.clone(),
            audit: config.audit_file.clone(),
            sources: Sources::new(&config.sources)
                .with(Scheme::Aws, Arc::new(aws.clone()))
                .within(config.request_timeout),
            freshness: config.freshness,
            aws,
            admin_token: config.data_dir.join("admin-token"),
        })
    }

    fn open(&self) -> Result<Vault, OpenError> {
        let (vault, token) = self.with(vault::open)?;
        if let Some(token) = token {
            show_once(&token, &self.admin_token);
        }
        Ok(vault)
    }

    /// Hands the parts to one of the vault's ways of opening.
    pub(crate) fn with<T>(&self, open: impl FnOnce(&Opening<'_>) -> T) -> T {
        let keep = |token: TokenText| keep_token(&self.admin_token, token);
        open(&Opening {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            root_key_file: &self.root_key,
            audit_file: &self.audit,
            sources: self.sources.clone(),
            freshness: self.freshness,
            aws: self.aws.clone(),
            keep_token: &keep,
        })
    }
}

/// A database that is not there, where an audit log tells of one, is lost or not mounted: this is no first start, and
/// a new store in its place would only be in the way.
fn refuse_lost_database(config: &Config) -> Result<(), Fatal> {
    let database = config.data_dir.join(DATABASE_FILE);
    let told = std::fs::metadata(&config.audit_file).is_ok_and(|log| log.len() > 0);
    if !told || database.exists() {
        return Ok(());
    }
    let what = format!("the database {} is not there, and the audit log tells of one", database.display());
    Err(Fatal::new(what, "put it back, or mount it; for a new store, move the audit log and the admin token away"))
}

/// Keeps the token that the vault made; or gives back the one that is there already, for the vault to take: a first
/// start that was interrupted goes on with it, and no token that somebody uses is ever overwritten.
fn keep_token(path: &Path, token: TokenText) -> Result<TokenText, Error> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(Code::Internal, format!("the admin token in {} cannot be {what}: {error}", path.display()))
            .hint("move the file away if it is no token, and make the data directory writable")
    };
    match std::fs::read_to_string(path) {
        Ok(kept) => {
            let kept = zeroize::Zeroizing::new(kept);
            tracing::warn!(path = %path.display(), "a new store is begun with the admin token that is there already");
            return TokenText::parse(&kept).map_err(|error| failed("used", &error));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &error)),
    }
    let line = zeroize::Zeroizing::new(format!("{}\n", token.expose_secret()));
    write_private(path, line.as_bytes()).map_err(|error| failed("kept", &error))?;
    Ok(token)
}

/// On a terminal somebody reads it; anywhere else it would end up in a log.
fn show_once(token: &TokenText, path: &Path) {
    let mut terminal = std::io::stderr().lock();
    if terminal.is_terminal() {
        let _ = writeln!(
            terminal,
            "\nThe admin token, shown this once and kept in {}:\n\n    {}\n",
            path.display(),
            token.expose_secret()
        );
    }
}
