use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

use super::*;
use crate::clock::FakeClock;

struct Place {
    directory: TempDir,
    clock: FakeClock,
    names: Vec<String>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: FakeClock::default(), names: Vec::new() }
    }

    fn pki(&self) -> Pki {
        let tls = self.directory.path().join("tls");
        let mut names: BTreeSet<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.extend(self.names.iter().map(|name| spelled(name)));
        Pki {
            files: TlsFiles {
                cert: tls.join("server.crt"),
                key: tls.join("server.key"),
                names: self.names.clone(),
                managed: true,
            },
            ca_cert: tls.join("ca.crt"),
            ca_key: tls.join("ca.key"),
            names,
            clock: Arc::new(self.clock.clone()),
        }
    }

    fn cert(&self) -> String {
        fs::read_to_string(self.pki().files.cert).unwrap()
    }

    fn forward(&self, days: u64) {
        self.clock.advance(std::time::Duration::from_secs(days * 86_400));
    }
}

#[test]
fn the_first_start_makes_a_ca_and_a_certificate_that_clients_accept() {
    let mut place = Place::new();
    place.names = vec!["Store.Example.org".to_owned(), "10.0.0.5".to_owned(), "2001:DB8::5".to_owned()];
    let pki = place.pki();
    pki.ensure().unwrap();
    let chain = read_certificates(&pki.files.cert).unwrap();
    assert_eq!(chain.len(), 2, "the CA is sent along, for those who pin it");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain[1].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let now = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        place.clock.now().as_second().unsigned_abs(),
    ));
    for name in ["localhost", "127.0.0.1", "::1", "store.example.org", "10.0.0.5", "2001:db8::5"] {
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            verifier.as_ref(),
            &chain[0],
            &[],
            &name,
            &[],
            now,
        )
        .unwrap();
    }
    for file in ["ca.key", "server.key", "ca.crt", "server.crt"] {
        let metadata = fs::metadata(place.directory.path().join("tls").join(file)).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600, "{file}");
    }
    let anchor = pki.trust_anchor().unwrap();
    assert_eq!(anchor.fingerprint, fingerprint(&chain[1]));
    assert_eq!(anchor.fingerprint.len(), "sha256:".len() + 64);
    assert_eq!(anchor.file, pki.ca_cert);
}

#[test]
fn a_second_start_changes_nothing() {
    let place = Place::new();
    place.pki().ensure().unwrap();
    let first = place.cert();
    place.pki().ensure().unwrap();
    assert_eq!(place.cert(), first);
}

#[test]
fn a_certificate_is_renewed_a_month_before_it_ends_by_the_same_ca() {
    let place = Place::new();
    place.pki().ensure().unwrap();
    let (first, anchor) = (place.cert(), place.pki().trust_anchor().unwrap());
    place.forward(330);
    place.pki().ensure().unwrap();
    assert_eq!(place.cert(), first);
    place.forward(10);
    place.pki().ensure().unwrap();
    assert_ne!(place.cert(), first);
    assert_eq!(place.pki().trust_anchor().unwrap(), anchor);
}

#[test]
fn other_names_need_another_certificate() {
    let mut place = Place::new();
    place.pki().ensure().unwrap();
    let first = place.cert();
    place.names.push("store.example.org".to_owned());
    place.pki().ensure().unwrap();
    assert_ne!(place.cert(), first);
}

#[test]
fn a_certificate_that_cannot_be_used_is_made_again() {
    let place = Place::new();
    let pki = place.pki();
    pki.ensure().unwrap();
    let mut last = place.cert();
    let breakages: [(&str, &dyn Fn()); 4] = [
        ("no key", &|| fs::remove_file(&pki.files.key).unwrap()),
        ("no certificate", &|| fs::remove_file(&pki.files.cert).unwrap()),
        ("garbage", &|| fs::write(&pki.files.cert, "garbage").unwrap()),
        ("another key", &|| fs::copy(&pki.ca_key, &pki.files.key).map(drop).unwrap()),
    ];
    for (what, damage) in breakages {
        damage();
        pki.ensure().unwrap();
        assert_ne!(place.cert(), last, "{what}");
        last = place.cert();
    }
    // A CA made anew signs anew.
    fs::remove_file(&pki.ca_cert).unwrap();
    pki.ensure().unwrap();
    assert_ne!(place.cert(), last);
}

#[test]
fn a_ca_without_its_key_serves_until_it_has_to_sign() {
    let place = Place::new();
    place.pki().ensure().unwrap();
    fs::remove_file(place.pki().ca_key).unwrap();
    place.pki().ensure().unwrap();
    place.forward(360);
    place.pki().ensure().unwrap();
    place.forward(6);
    let error = place.pki().ensure().unwrap_err().to_string();
    assert!(error.contains("ca.key"), "{error}");
}

#[test]
fn the_operators_own_certificate_is_never_touched() {
    let place = Place::new();
    let mut pki = place.pki();
    pki.files.managed = false;
    pki.ensure().unwrap();
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    assert!(pki.trust_anchor().is_err());
}
