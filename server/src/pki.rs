//! The server's certificate, and the private CA that signs it, so that TLS needs nobody to buy or bring anything.
//!
//! Clients trust the CA: by its file, or by the SHA-256 of its certificate, which the server sends along. It lives ten
//! years and may sign servers only; its certificates live one, and are renewed a month before they end.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Clock;
use crate::config::{Config, TlsFiles};
use crate::fatal::Fatal;
use crate::paths::{private_dir, write_private};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const CA_DAYS: i32 = 3650;
const SERVER_DAYS: i32 = 365;
const RENEW_DAYS: i32 = 30;

/// Where the certificate comes from: the private CA, or the operator.
#[derive(Debug, Clone)]
pub struct Pki {
    files: TlsFiles,
    ca_cert: PathBuf,
    ca_key: PathBuf,
    /// What has to be in the server certificate.
    names: BTreeSet<String>,
    clock: Arc<dyn Clock>,
}

/// What clients check the server against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    /// The CA's certificate, PEM.
    pub file: PathBuf,
    /// `sha256:` and the hex SHA-256 of its DER.
    pub fingerprint: String,
}

impl Pki {
    #[must_use]
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let directory = config.data_dir.join("tls");
        let mut names: BTreeSet<_> = ["localhost".to_owned(), host_name()].into();
        names.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|ip| ip.to_string()));
        if !config.listen.ip().is_unspecified() {
            names.insert(config.listen.ip().to_string());
        }
        names.extend(config.tls.names.iter().map(|name| spelled(name)));
        Self {
            files: config.tls.clone(),
            ca_cert: directory.join("ca.crt"),
            ca_key: directory.join("ca.key"),
            names,
            clock,
        }
    }

    /// Makes what is missing and renews what is due; a certificate that is the operator's is left alone.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub fn ensure(&self) -> Result<(), Fatal> {
        if !self.files.managed {
            return Ok(());
        }
        let failed = |error: PkiError| {
            let hint = format!(
                "put the files back, or move {} away for a new CA, which every client has to be told of",
                self.ca_cert.display()
            );
            Fatal::new(format!("the server certificate cannot be made: {error}"), hint)
        };
        self.ensure_ca().map_err(failed)?;
        let Some(reason) = self.due().map_err(failed)? else { return Ok(()) };
        tracing::info!(reason = reason.text, "a new server certificate is made");
        match self.issue() {
            Err(error) if reason.can_wait => {
                tracing::warn!(%error, "the server certificate ends soon and cannot be renewed");
                Ok(())
            }
            issued => issued.map_err(failed),
        }
    }

    /// What to tell clients to trust: the private CA, or the top of the operator's own chain.
    ///
    /// # Errors
    ///
    /// If the certificate cannot be read.
    pub fn trust_anchor(&self) -> Result<TrustAnchor, Fatal> {
        let file = if self.files.managed { &self.ca_cert } else { &self.files.cert };
        let top = read_certificates(file).ok().and_then(|chain| chain.last().map(|top| fingerprint(top)));
        let fingerprint = top.ok_or_else(|| {
            Fatal::new(format!("{} holds no certificate", file.display()), "it has to be PEM, the server's own first")
        })?;
        Ok(TrustAnchor { file: file.clone(), fingerprint })
    }

    /// The key first: a CA without its certificate is half-made, and made again.
    fn ensure_ca(&self) -> Result<(), PkiError> {
        if self.ca_cert.try_exists().map_err(at(&self.ca_cert))? {
            return self.warn_of_ca_end();
        }
        let directory = self.ca_cert.parent().unwrap_or(Path::new("."));
        private_dir(directory).map_err(at(directory))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = called(&format!("Chandlery private CA of {}", host_name()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.live(&mut params, CA_DAYS);
        let cert = params.self_signed(&key)?;
        write_private(&self.ca_key, key.serialize_pem().as_bytes()).map_err(at(&self.ca_key))?;
        write_private(&self.ca_cert, cert.pem().as_bytes()).map_err(at(&self.ca_cert))
    }

    fn warn_of_ca_end(&self) -> Result<(), PkiError> {
        let chain = read_certificates(&self.ca_cert)?;
        let ca = chain.first().ok_or(PkiError::Certificate)?;
        let (_, ca) = X509Certificate::from_der(ca).map_err(|_| PkiError::Certificate)?;
        let days = self.days_left(&ca);
        if days < i64::from(SERVER_DAYS) {
            tracing::warn!(days, "the private CA ends soon; docs/OPERATIONS.md tells how to replace it");
        }
        Ok(())
    }

    fn due(&self) -> Result<Option<Reason>, PkiError> {
        let must = |text| Ok(Some(Reason { text, can_wait: false }));
        let ca = read_certificates(&self.ca_cert)?;
        let (_, ca) =
            X509Certificate::from_der(ca.first().ok_or(PkiError::Certificate)?).map_err(|_| PkiError::Certificate)?;
        let chain = read_certificates(&self.files.cert).unwrap_or_default();
        let Some((_, cert)) = chain.first().and_then(|cert| X509Certificate::from_der(cert).ok()) else {
            return must("there is none that can be read");
        };
        if cert.verify_signature(Some(ca.public_key())).is_err() {
            return must("the one that is there is not of this CA");
        }
        if !holds_key(&cert, &self.files.key) {
            return must("the one that is there has another key");
        }
        if names_of(&cert) != self.names {
            return must("the names changed");
        }
        let days = self.days_left(&cert);
        Ok((days < RENEW_DAYS.into()).then_some(Reason { text: "the old one ends soon", can_wait: days > 0 }))
    }

    fn issue(&self) -> Result<(), PkiError> {
        let ca_key = fs::read_to_string(&self.ca_key).map_err(at(&self.ca_key))?;
        let ca_pem = fs::read_to_string(&self.ca_cert).map_err(at(&self.ca_cert))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, KeyPair::from_pem(&ca_key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = called(&host_name());
        params.subject_alt_names = self.names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        self.live(&mut params, SERVER_DAYS);
        let cert = params.signed_by(&key, &issuer)?;
        // Between the two writes the pair does not match: whoever reads it then keeps what they have, and looks again.
        write_private(&self.files.key, key.serialize_pem().as_bytes()).map_err(at(&self.files.key))?;
        let chain = format!("{}{ca_pem}", cert.pem());
        write_private(&self.files.cert, chain.as_bytes()).map_err(at(&self.files.cert))
    }

    /// From yesterday, because clocks differ.
    fn live(&self, params: &mut CertificateParams, days: i32) {
        let day = |time: Timestamp| {
            let date = time.to_zoned(TimeZone::UTC).date();
            rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
        };
        let now = self.clock.now();
        params.not_before = day(now.saturating_sub(DAY).unwrap_or(now));
        params.not_after = day(now.saturating_add(DAY * days).unwrap_or(now));
    }

    fn days_left(&self, cert: &X509Certificate<'_>) -> i64 {
        (cert.validity().not_after.timestamp() - self.clock.now().as_second()) / DAY.as_secs()
    }
}

/// `sha256:` and the hex SHA-256 of a certificate's DER.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Why a new server certificate is needed.
struct Reason {
    text: &'static str,
    can_wait: bool,
}

#[derive(Debug, thiserror::Error)]
enum PkiError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("the CA's certificate cannot be read")]
    Certificate,
    #[error("{0}")]
    Make(#[from] rcgen::Error),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    |error| PkiError::File(path.to_owned(), error)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let pem = fs::read(path).map_err(at(path))?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| PkiError::Certificate)
}

fn holds_key(cert: &X509Certificate<'_>, key: &Path) -> bool {
    fs::read_to_string(key)
        .ok()
        .and_then(|pem| KeyPair::from_pem(&pem).ok())
        .is_some_and(|key| rcgen::PublicKeyData::der_bytes(&key) == cert.public_key().subject_public_key.as_ref())
}

fn names_of(cert: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(names)) = cert.subject_alternative_name() else { return BTreeSet::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(|ip| ip.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn alt_name(name: &str) -> Result<SanType, rcgen::Error> {
    match name.parse() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => Ok(SanType::DnsName(name.try_into()?)),
    }
}

/// One spelling for each address and name, so that a certificate's names can be compared with what is wanted.
fn spelled(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |ip| ip.to_string())
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    // X.520 sets the bound.
    called.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    called
}

/// As clients on the same network may call it; a name that no certificate can hold is left out.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let fits =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if fits { name } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests;
