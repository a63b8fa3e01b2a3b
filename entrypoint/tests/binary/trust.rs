//! Which server is taken for the right one.

use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::support::{Server, Start, bundle, ok};

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "Chandlery test CA");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate the authority signed for these names; it presents its own and the authority's.
fn server(authority: &CertifiedIssuer<'static, KeyPair>, names: &[&str], expired: bool) -> Server {
    Server::tls(identity(authority, names, expired), vec![ok(&bundle())])
}

/// What a server needs to present such a certificate.
pub(crate) fn identity(authority: &CertifiedIssuer<'static, KeyPair>, names: &[&str], expired: bool) -> ServerConfig {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, authority).unwrap();
    let chain = vec![leaf.der().clone(), CertificateDer::from(authority.der().to_vec())];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    builder.with_single_cert(chain, key).unwrap()
}

/// A server that nobody trusts who was not told to.
pub(crate) fn somebody_else() -> Server {
    server(&authority(), &["127.0.0.1"], false)
}

fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[test]
fn the_right_authority_is_a_path_or_the_certificate_itself() {
    let authority = authority();
    let server = server(&authority, &["127.0.0.1", "localhost"], false);
    let mut inline = Start::at(&server.address).env("CHANDLERY_CACERT", authority.pem());
    assert_eq!(inline.sh("echo $DB_HOST").stdout, "db.eu.internal\n");

    let by_name = server.address.replace("127.0.0.1", "localhost");
    let path = Start::at(&by_name);
    let ca = path.scratch.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let ended = path.env("CHANDLERY_CACERT", ca).sh("echo $DB_HOST");
    assert_eq!(ended.stdout, "db.eu.internal\n", "{}", ended.stderr);
}

#[test]
fn a_wrong_server_is_not_tried_twice() {
    let (right, wrong) = (authority(), authority());
    let stranger = server(&right, &["127.0.0.1"], false);
    Start::at(&stranger.address).env("CHANDLERY_CACERT", wrong.pem()).sh("echo ran").failed(8, "does not lead to a CA");
    let misnamed = server(&right, &["store.example"], false);
    Start::at(&misnamed.address).env("CHANDLERY_CACERT", right.pem()).sh("echo ran").failed(8, "for other names");
    let expired = server(&right, &["127.0.0.1"], true);
    Start::at(&expired.address).env("CHANDLERY_CACERT", right.pem()).sh("echo ran").failed(8, "expired");
    for server in [stranger, misnamed, expired] {
        let requests = server.requests();
        assert!(requests.len() <= 1 && requests.iter().all(String::is_empty), "a token went to a wrong server");
    }
}

#[test]
fn the_authoritys_fingerprint_is_enough() {
    let authority = authority();
    let pin = fingerprint(authority.der());
    let good = server(&authority, &["127.0.0.1"], false);
    let ended = Start::at(&good.address).env("CHANDLERY_FINGERPRINT", &pin).sh("echo $DB_HOST");
    assert_eq!(ended.stdout, "db.eu.internal\n", "{}", ended.stderr);

    let misnamed = server(&authority, &["store.example"], false);
    Start::at(&misnamed.address).env("CHANDLERY_FINGERPRINT", &pin).sh("echo ran").failed(8, "for other names");
    let expired = server(&authority, &["127.0.0.1"], true);
    Start::at(&expired.address).env("CHANDLERY_FINGERPRINT", &pin).sh("echo ran").failed(8, "expired");
    let other = fingerprint(b"another certificate");
    Start::at(&good.address)
        .env("CHANDLERY_FINGERPRINT", other)
        .sh("echo ran")
        .failed(8, "no certificate with the fingerprint");
}

#[test]
fn an_authority_that_is_only_presented_signs_nothing() {
    // The pinned certificate is in the chain, and the leaf was signed by somebody else.
    let (pinned, forger) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &forger).unwrap();
    let chain = vec![
        leaf.der().clone(),
        CertificateDer::from(pinned.der().to_vec()),
        CertificateDer::from(forger.der().to_vec()),
    ];
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = builder.with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()).unwrap();
    let forged = Server::tls(config, vec![ok(&bundle())]);
    let pin = fingerprint(pinned.der());
    Start::at(&forged.address).env("CHANDLERY_FINGERPRINT", pin).sh("echo ran").failed(8, "does not lead to a CA");
}

#[test]
fn the_servers_own_certificate_can_be_pinned() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["store.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12][..]] {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let server = Server::tls(config, vec![ok(&bundle())]);
        let pin = fingerprint(certificate.der());
        let ended = Start::at(&server.address).env("CHANDLERY_FINGERPRINT", pin).sh("echo $DB_HOST");
        assert_eq!(ended.stdout, "db.eu.internal\n", "{}", ended.stderr);
    }
}

#[test]
fn plain_text_where_tls_should_be_is_said_so() {
    let server = Server::http(vec![ok(&bundle())]);
    let address = server.address.replace("http://", "https://");
    let pin = fingerprint(b"any");
    let mut start = Start::at(&address).env("CHANDLERY_FINGERPRINT", pin).env("CHANDLERY_TIMEOUT", "300ms");
    start.sh("echo ran").failed(3, "no bundle from https://");
}

/// Not a test but a measurement: `cargo test -p chandlery-entrypoint -- --ignored --nocapture`, with a release in
/// `CHANDLERY_BIN_DIR`. A start takes what it takes more than the same app takes when it is started directly.
#[test]
#[ignore = "a measurement, not a test"]
fn how_long_a_start_takes() {
    let p50 = |mut run: Box<dyn FnMut()>| {
        let mut times: Vec<_> = (0..500)
            .map(|_| {
                let begin = std::time::Instant::now();
                run();
                begin.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let authority = authority();
    let tls = server(&authority, &["127.0.0.1"], false);
    let unix = Server::unix(vec![ok(&bundle())]);
    let mut over_tls = Start::at(&tls.address).env("CHANDLERY_CACERT", authority.pem()).args(&["--", "/bin/true"]);
    let mut over_unix = Start::at(&unix.address).args(&["--", "/bin/true"]);
    let mut direct = Start::with_program("/bin/true".as_ref(), &unix.address);
    let direct = p50(Box::new(move || assert!(direct.command.status().unwrap().success())));
    let over_tls = p50(Box::new(move || assert!(over_tls.command.status().unwrap().success())));
    let over_unix = p50(Box::new(move || assert!(over_unix.command.status().unwrap().success())));
    println!("p50 over TLS {:?}, over the unix socket {:?}", over_tls - direct, over_unix - direct);
}
