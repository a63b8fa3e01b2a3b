//! What it means for a fetch that a server is not the right one, or that nobody says which one is.

use std::io;

use rustls::CertificateError;

use crate::config::{Config, Trust};
use crate::failure::{Exit, Failure};
use crate::tls::{self, NoTrust};

/// The failure that an error stands for, where it says that the server is not the right one.
pub(super) fn distrust(error: &io::Error, config: &Config) -> Option<Failure> {
    let fault = tls::certificate_fault(error)?;
    let what = match fault {
        CertificateError::ApplicationVerificationFailure => {
            "it presents no certificate with the fingerprint in CHANDLERY_FINGERPRINT".to_owned()
        }
        fault => format!("its certificate {}", tls::fault_words(fault)),
    };
    let hint = match fault {
        CertificateError::ApplicationVerificationFailure => {
            "compare with what the server prints; if nobody renewed its CA, somebody may be in between"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "set CHANDLERY_CACERT to the tls/ca.crt of the server's data directory, or CHANDLERY_FINGERPRINT to its sha256:…"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate, or set this machine's clock right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "set this machine's clock right",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a name in CHANDLERY_ADDR that the certificate holds, or have the server make one for this name"
        }
        _ => "have the server make a new certificate",
    };
    let what = format!("the server at {} is not to be trusted: {what}", config.address);
    Some(Failure::new(Exit::Untrusted, what, hint))
}

/// The failure of a start that does not know whom to trust.
pub(super) fn no_trust(why: NoTrust, trust: &Trust) -> Failure {
    match (why, trust) {
        (NoTrust::NoCertificate, Trust::Authority { source, .. }) => Failure::new(
            Exit::Usage,
            format!("{source} does not hold a CA's certificate in PEM"),
            "give the tls/ca.crt of the server's data directory",
        ),
        (NoTrust::NoSystemRoots, _) => Failure::new(
            Exit::Usage,
            "neither CHANDLERY_CACERT nor CHANDLERY_FINGERPRINT is set, and this image has no CA certificates of its own",
            "set CHANDLERY_FINGERPRINT to the sha256:… that the server printed at its first start",
        ),
        (NoTrust::NoCertificate | NoTrust::Defect, _) => {
            Failure::new(Exit::Internal, "TLS cannot be set up", "please report this")
        }
    }
}
