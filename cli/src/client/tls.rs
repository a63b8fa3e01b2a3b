//! Which server is the right one: a CA, a fingerprint, or the system's own CAs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// `sha256:` and the SHA-256 of a certificate's DER, in hex. Colons between the bytes, as openssl prints them, are fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a fingerprint is sha256: and 64 hexadecimal digits".to_owned();
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?.replace(':', "");
        if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whom to trust.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The CAs in this PEM, and no others.
    Authority(Vec<u8>),
    /// This one certificate.
    Pinned(Fingerprint),
    /// What the operating system trusts.
    System,
}

/// How to shake hands with the server, and with no other.
pub(crate) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Pinned(pin) => Arc::new(Pinned { pin: *pin, provider: Arc::clone(&provider) }),
        Trust::Authority(pem) => web_pki(authority(pem)?, &provider).map_err(|error| error.to_string())?,
        Trust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let none = "no CA is named, and this system trusts none of its own";
            web_pki(roots, &provider).map_err(|_| none.to_owned())?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // One request a connection, one connection or two a process: nothing to resume.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn authority(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.map_err(|_| ()).and_then(|der| roots.add(der).map_err(|_| ()));
        added.map_err(|()| "it holds a certificate that cannot be read")?;
    }
    if roots.is_empty() { Err("it holds no certificate in PEM".to_owned()) } else { Ok(roots) }
}

type WebPki = Result<Arc<WebPkiServerVerifier>, rustls::client::VerifierBuilderError>;

fn web_pki(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> WebPki {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()
}

/// Trusts one certificate, known by its fingerprint, that the server presents, as the entrypoint does.
///
/// Where it is the CA's, the server's own certificate must lead to it and to nothing else, and hold the server's name.
/// Where it is the server's own, it is taken whatever name or dates it has: the pin says more than they do. That the
/// server holds the key is proved by the handshake's signature in both cases.
#[derive(Debug)]
struct Pinned {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
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
        let is_pinned = |certificate: &CertificateDer<'_>| Fingerprint::of(certificate) == self.pin;
        if is_pinned(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let pinned = intermediates.iter().find(|certificate| is_pinned(certificate)).ok_or(mismatch)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier = web_pki(roots, &self.provider).map_err(|_| CertificateError::UnknownIssuer)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_it_shows() {
        let text = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        let with_colons = format!("sha256:{}", vec!["0A"; 32].join(":"));
        assert_eq!(with_colons.parse::<Fingerprint>().unwrap().to_string(), text);
        for wrong in ["", "sha256:", "0a", "sha1:0a", &format!("sha256:{}", "é".repeat(32)), &text[..70]] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pem_without_a_certificate_is_no_authority() {
        assert!(config(&Trust::Authority(b"nothing".to_vec())).is_err());
        assert!(config(&Trust::Authority(Vec::new())).is_err());
    }
}
