//! The certificate is exchanged while connections go on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, Server, eventually, tls_config};

fn shown(client: &Client<TlsStream<TcpStream>>) -> CertificateDer<'static> {
    client.0.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Another certificate and key of the same CA, as an operator's renewal would make them.
fn another_pair(server: &Server) -> (String, String) {
    let read = |name: &str| fs::read_to_string(server.config.data_dir.join("tls").join(name)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.crt"), ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    (format!("{}{}", cert.pem(), read("ca.crt")), key.serialize_pem())
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("other");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let server = Server::start().await;
    let mut old = server.connect_tls().await;
    old.get("/").await.unwrap();
    let before = shown(&old);
    let (cert, key) = another_pair(&server);

    replace(&server.config.tls.cert, &cert);
    // Half of the pair: what was in use stays in use.
    for _ in 0..15 {
        old.get("/").await.unwrap();
        assert_eq!(shown(&server.connect_tls().await), before);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    replace(&server.config.tls.key, &key);
    eventually("the new one is shown", || async {
        let mut new = server.connect_tls().await;
        assert_eq!(new.get("/").await.unwrap().status(), "200");
        shown(&new) != before
    })
    .await;
    assert_eq!(old.get("/").await.unwrap().body, "hello");
}

#[tokio::test]
async fn garbage_in_the_files_changes_nothing() {
    let server = Server::start().await;
    let before = shown(&server.connect_tls().await);
    replace(&server.config.tls.cert, "garbage");
    replace(&server.config.tls.key, "");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(shown(&server.connect_tls().await), before);
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_until_the_certificate_changes() {
    let server = Server::start().await;
    let config = tls_config(server.ca());
    let resumed = async || {
        let mut client = server.connect_tls_as(config.clone()).await.unwrap();
        client.get("/").await.unwrap();
        client.0.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    };
    assert!(!resumed().await);
    assert!(resumed().await, "a second connection is cheap");
    let (cert, key) = another_pair(&server);
    replace(&server.config.tls.cert, &cert);
    replace(&server.config.tls.key, &key);
    eventually("a session under the old certificate is not resumed", async || !resumed().await).await;
}

#[tokio::test]
async fn a_client_with_another_ca_does_not_connect() {
    let (server, other) = (Server::start().await, Server::start().await);
    assert!(server.connect_tls_as(tls_config(other.ca())).await.is_err());
    assert!(server.connect_tls_as(tls_config(server.ca())).await.is_ok());
}
