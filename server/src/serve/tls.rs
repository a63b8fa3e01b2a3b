//! The certificate in use, and its exchange while connections go on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::Requests;
use crate::config::TlsFiles;
use crate::fatal::Fatal;
use crate::notify::Notifier;
use crate::pki::Pki;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a certificate of the server's own making is checked for renewal, in looks.
const RENEW_EVERY: u32 = 3600;

/// What new connections are shown. Those that are open keep what they began with.
///
/// The whole TLS configuration is exchanged, and not just the certificate: with it go the keys of the session tickets,
/// so nobody resumes a session that began under a certificate that was taken away.
#[derive(Debug)]
pub struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

impl Certificates {
    /// # Errors
    ///
    /// If the files cannot be read, or the key is not the certificate's.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, Fatal> {
        let config = server_config(&files.cert, &files.key).map_err(|error| {
            let shown = files.cert.display();
            let hint = "tls_cert is the server's certificate and then its chain, tls_key its key, both PEM";
            Fatal::new(format!("the certificate {shown} cannot be used: {error}"), hint)
        })?;
        Ok(Arc::new(Self { cert: files.cert.clone(), key: files.key.clone(), current: ArcSwap::from_pointee(config) }))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Takes what is in the files now, if it is any good.
    ///
    /// # Errors
    ///
    /// Why it is not; then nothing changes.
    pub fn reload(&self) -> Result<(), String> {
        self.current.store(Arc::new(server_config(&self.cert, &self.key)?));
        Ok(())
    }

    /// Looks at the files every second, and at once on `SIGHUP`, and renews a certificate of the server's own making.
    /// Runs until it is dropped.
    pub async fn watch(self: Arc<Self>, pki: Pki, mut hangup: Requests, manager: Notifier) {
        let mut used = self.stamp();
        let mut refused = None;
        for look in 1_u32.. {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = hangup.recv() => true,
            };
            if asked {
                manager.reloading();
            }
            if asked || look % RENEW_EVERY == 0 {
                renew(&pki).await;
            }
            let found = self.stamp();
            if found == used && !asked {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!("new connections get the new certificate");
                    (used, refused) = (found, None);
                }
                // Half of a pair may still be on its way, so it is tried again, but told of once.
                Err(error) if refused != Some(found) || asked => {
                    tracing::error!(error, "the certificate was changed and cannot be used; the old one stays in use");
                    refused = Some(found);
                }
                Err(_) => {}
            }
            if asked {
                manager.reloaded();
            }
        }
    }

    fn stamp(&self) -> [Option<Stamp>; 2] {
        [&self.cert, &self.key].map(|path| Stamp::of(path))
    }
}

async fn renew(pki: &Pki) {
    let pki = pki.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || pki.ensure()).await {
        tracing::error!(%error, "the server certificate cannot be renewed");
    }
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}

fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, String> {
    let shown = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|error| shown(cert, &error))?;
    if chain.is_empty() {
        return Err(shown(cert, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| shown(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| shown(key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A client that comes back saves the signature, and the server half of the handshake's time.
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(config)
}
