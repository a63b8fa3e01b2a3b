//! Which server is the right one: a CA, a fingerprint, or the image's own CAs.

use std::io;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider;
use crate::config::{Config, Trust};
use crate::failure::{Exit, Failure};

/// Where distributions keep the CAs they trust: Debian and Alpine; Red Hat; the BSDs, and Alpine's own link.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How to shake hands with the server, and with no other.
///
/// # Errors
/// There are no certificates where they should be, or they cannot be read.
pub(super) fn client(trust: &Trust) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(provider::client());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Fingerprint(pin) => Arc::new(Pinned { pin: *pin, provider: Arc::clone(&provider) }),
        Trust::Authority { pem, source } => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.map_err(|_| ()).and_then(|der| roots.add(der).map_err(|_| ()));
                added.map_err(|()| no_certificate(source))?;
            }
            web_pki(roots, &provider).ok_or_else(|| no_certificate(source))?
        }
        Trust::System => system(&provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| {
        Failure::new(Exit::Internal, format!("TLS cannot be set up: {error}"), "please report this")
    })?;
    let mut client = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // There is one connection in this process's life: nothing to resume.
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}

fn system(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let bundle = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    let mut roots = RootCertStore::empty();
    // One odd certificate among the distribution's hundred is no reason to trust none of them.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle.unwrap_or_default()).flatten());
    let found = web_pki(roots, provider);
    found.map(|verifier| verifier as Arc<dyn ServerCertVerifier>).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "neither CHANDLERY_CACERT nor CHANDLERY_FINGERPRINT is set, and this image has no CA certificates of its own",
            "set CHANDLERY_FINGERPRINT to the sha256:… that the server printed at its first start",
        )
    })
}

fn no_certificate(source: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{source} does not hold a CA's certificate in PEM"),
        "give the tls/ca.crt of the server's data directory",
    )
}

/// Verification as browsers do it; `None` where there is no root to start from.
fn web_pki(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Option<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok()
}

/// Trusts one certificate, known by the SHA-256 of its DER, that the server presents.
///
/// Where it is the CA's, the server's own certificate must lead to it and to nothing else, and hold the server's name.
/// Where it is the server's own, it is taken whatever name or dates it has: the pin says more than they do. That the
/// server holds the key is proved by the handshake's signature in both cases.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn is(&self, certificate: &CertificateDer<'_>) -> bool {
        digest(&SHA256, certificate).as_ref() == self.pin.as_slice()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let pinned = intermediates.iter().find(|certificate| self.is(certificate)).ok_or(mismatch)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier = web_pki(roots, &self.provider).ok_or(CertificateError::UnknownIssuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The failure that an error stands for, where it says that the server is not the right one.
pub(super) fn distrust(error: &io::Error, config: &Config) -> Option<Failure> {
    let Error::InvalidCertificate(fault) = tls_error(error)? else {
        return None;
    };
    let (what, hint) = match fault {
        CertificateError::ApplicationVerificationFailure => (
            "it presents no certificate with the fingerprint in CHANDLERY_FINGERPRINT".to_owned(),
            "compare with what the server prints; if nobody renewed its CA, somebody may be in between",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "its certificate does not lead to a CA that is trusted here".to_owned(),
            "set CHANDLERY_CACERT to the tls/ca.crt of the server's data directory, or CHANDLERY_FINGERPRINT to its sha256:…",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            "renew the server's certificate, or set this machine's clock right",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("its certificate is not valid yet".to_owned(), "set this machine's clock right")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "its certificate is for other names".to_owned(),
            "use a name in CHANDLERY_ADDR that the certificate holds, or have the server make one for this name",
        ),
        other => (format!("its certificate is not good ({other})"), "have the server make a new certificate"),
    };
    let what = format!("the server at {} is not to be trusted: {what}", config.address);
    Some(Failure::new(Exit::Untrusted, what, hint))
}

/// What went wrong in TLS, in words; `None` where it was not TLS.
pub(super) fn describe(error: &io::Error) -> Option<String> {
    match tls_error(error)? {
        Error::InvalidMessage(_) => Some("the answer is not TLS".to_owned()),
        other => Some(format!("TLS failed: {other}")),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}
