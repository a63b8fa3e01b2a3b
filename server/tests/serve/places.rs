//! Where the server listens, and what it leaves there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

use chandlery_server::pki::TrustAnchor;
use chandlery_server::serve::{Bound, Listeners, LocalFile, local_server};
use chandlery_wire::api::LocalServer;

use crate::support::Server;

#[tokio::test]
async fn each_listener_answers_and_tells_the_router_who_asks() {
    let server = Server::start().await;
    let tls = server.connect_tls().await.get("/peer").await.unwrap();
    assert!(tls.body.starts_with("Tcp(127.0.0.1:"), "{}", tls.body);
    let http = server.connect_http().await.get("/peer").await.unwrap();
    assert!(http.body.starts_with("Tcp(127.0.0.1:"), "{}", http.body);
    let unix = server.connect_unix().await.get("/peer").await.unwrap();
    assert!(unix.body.contains(&format!("pid: Some({})", std::process::id())), "{}", unix.body);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut client = server.connect_tls().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().body, "hello");
    }
}

#[tokio::test]
async fn the_socket_has_its_mode_and_goes_with_the_server() {
    let server = Server::start().await;
    let socket = server.socket.clone();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    let directory = socket.parent().unwrap().to_owned();
    server.stop().await;
    assert!(!directory.join("chandlery.sock").exists());
}

#[tokio::test]
async fn a_socket_that_a_killed_server_left_is_taken_over() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run/x.sock");
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a closed listener leaves its file");
    let listeners = Listeners::default().with_unix(&path, 0o660).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    drop(listeners);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_somebody_answers_on_and_a_file_that_is_none_are_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.sock");
    let live = UnixListener::bind(&path).unwrap();
    let error = Listeners::default().with_unix(&path, 0o600).unwrap_err().to_string();
    assert!(error.contains("another server answers"), "{error}");
    assert!(path.exists());
    drop(live);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = Listeners::default().with_unix(&path, 0o600).unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_is_a_clear_error() {
    let place = tempfile::tempdir().unwrap();
    let error = Listeners::default().with_unix(&place.path().join("x".repeat(120)), 0o600).unwrap_err().to_string();
    assert!(error.contains("106 bytes"), "{error}");
}

#[test]
fn local_json_says_how_to_reach_the_server_and_goes_with_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("local.json");
    fs::write(&path, "stale").unwrap();
    LocalFile::clear(place.path()).unwrap();
    LocalFile::clear(place.path()).unwrap();
    let bound = Bound {
        tls: Some("0.0.0.0:4711".parse().unwrap()),
        http: None,
        socket: Some("/run/chandlery/chandlery.sock".into()),
    };
    let trust = TrustAnchor { file: "/data/tls/ca.crt".into(), fingerprint: "sha256:00".to_owned() };
    let said = local_server(&bound, &trust, "/data/admin-token".as_ref());
    let file = LocalFile::write(place.path(), &said).unwrap();
    let read: LocalServer = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(read, said);
    assert_eq!(read.address, "https://127.0.0.1:4711");
    assert_eq!(read.pid, std::process::id());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(file);
    assert!(!path.exists());
}
