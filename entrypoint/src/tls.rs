//! Which server is the right one: a CA, a fingerprint, or the image's own CAs.

mod provider;

use std::io;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::Trust;

/// Where distributions keep the CAs they trust: Debian and Alpine; Red Hat; the BSDs, and Alpine's own link.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why there is nobody to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTrust {
    /// What was given is not a CA's certificate in PEM.
    NoCertificate,
    /// This image has no CA certificates of its own.
    NoSystemRoots,
    /// The library refuses its own defaults.
    Defect,
}

/// How to shake hands with the right server, and with no other.
///
/// # Errors
/// There are no certificates where they should be, or they cannot be read.
pub(crate) fn client(trust: &Trust) -> Result<Arc<ClientConfig>, NoTrust> {
    let provider = Arc::new(provider::client());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Fingerprint(pin) => Arc::new(Pinned { pin: *pin, provider: Arc::clone(&provider) }),
        Trust::Authority { pem, .. } => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.map_err(|_| ()).and_then(|der| roots.add(der).map_err(|_| ()));
                added.map_err(|()| NoTrust::NoCertificate)?;
            }
            web_pki(roots, &provider).ok_or(NoTrust::NoCertificate)?
        }
        Trust::System => web_pki(system_roots(), &provider).ok_or(NoTrust::NoSystemRoots)?,
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|_| NoTrust::Defect)?;
    let mut client = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // A connection is made once, or again after it failed: there is nothing to resume.
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}

fn system_roots() -> RootCertStore {
    let bundle = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    let mut roots = RootCertStore::empty();
    // One odd certificate among the distribution's hundred is no reason to trust none of them.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle.unwrap_or_default()).flatten());
    roots
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

/// What is wrong with the certificate that a server presented; `None` where the error is another one.
pub(crate) fn certificate_fault(error: &io::Error) -> Option<&CertificateError> {
    match tls_error(error)? {
        Error::InvalidCertificate(fault) => Some(fault),
        _ => None,
    }
}

/// The fault in words, after "its certificate".
pub(crate) fn fault_words(fault: &CertificateError) -> String {
    let words = match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "does not lead to a CA that is trusted here"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "is for other names",
        other => return format!("is not good ({other})"),
    };
    words.to_owned()
}

/// What went wrong in TLS, in words; `None` where it was not TLS.
pub(crate) fn describe(error: &io::Error) -> Option<String> {
    match tls_error(error)? {
        Error::InvalidMessage(_) => Some("the answer is not TLS".to_owned()),
        other => Some(format!("TLS failed: {other}")),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}
