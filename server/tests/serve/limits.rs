//! What a client may not do.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Server, eventually, tls_config};

const SHORT: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_header_that_drips_in_is_cut_off_in_time() {
    let server = Server::start_with(|limits| limits.header_timeout = SHORT).await;
    let mut client = server.connect_tls().await;
    let start = std::time::Instant::now();
    client.send("GET / HTTP/1.1\r\n").await.unwrap();
    while client.send("x: y\r\n").await.is_ok() {
        assert!(start.elapsed() < 3 * SHORT, "it drips on and on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // No request was made and no reply given, so there is nothing to audit.
    assert_eq!(*server.unreadable.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_cut_off_in_time() {
    let server = Server::start_with(|limits| limits.header_timeout = SHORT).await;
    let stream = TcpStream::connect(server.tls).await.unwrap();
    assert!(crate::support::Client(stream).closed().await < 3 * SHORT);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start_with(|limits| limits.header_timeout = SHORT).await;
    let mut fresh = server.connect_http().await;
    assert!(fresh.closed().await < 3 * SHORT);
    let mut used = server.connect_http().await;
    used.get("/").await.unwrap();
    assert!(used.closed().await < 3 * SHORT);
    assert_eq!(*server.unreadable.lock().unwrap(), [""; 0], "to be idle is no fault");
}

#[tokio::test]
async fn a_header_that_is_too_large_gets_431() {
    let server = Server::start().await;
    let mut client = server.connect_tls().await;
    let header = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let _ = client.send(&header).await;
    assert_eq!(client.reply().await.unwrap().status(), "431");
    eventually("it is told", || async { server.unreadable.lock().unwrap().contains(&"the header is too large") }).await;
}

#[tokio::test]
async fn too_many_headers_get_431_and_what_is_no_http_gets_400() {
    let server = Server::start().await;
    let mut client = server.connect_http().await;
    client.send(&format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200))).await.unwrap();
    assert_eq!(client.reply().await.unwrap().status(), "431");
    let mut client = server.connect_http().await;
    client.send("what is this\r\n\r\n").await.unwrap();
    assert_eq!(client.reply().await.unwrap().status(), "400");
    eventually("it is told", || async { server.unreadable.lock().unwrap().contains(&"it is not HTTP/1.1") }).await;
}

#[tokio::test]
async fn connections_over_the_cap_wait_and_other_listeners_do_not() {
    let server = Server::start_with(|limits| limits.connections = 2).await;
    let mut held = vec![server.connect_http().await, server.connect_http().await];
    for client in &mut held {
        client.get("/").await.unwrap();
    }
    let mut third = server.connect_http().await;
    third.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(timeout(SHORT, third.reply()).await.is_err(), "it was served over the cap");
    assert_eq!(server.connect_unix().await.get("/").await.unwrap().body, "hello");
    assert_eq!(server.connect_tls().await.get("/").await.unwrap().body, "hello");
    held.pop();
    assert_eq!(timeout(Duration::from_secs(5), third.reply()).await.unwrap().unwrap().body, "hello");
}

#[tokio::test]
async fn http_2_and_clear_text_on_the_tls_port_are_refused() {
    let server = Server::start().await;
    let mut config = tls_config(server.ca());
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(server.connect_tls_as(config).await.is_err());
    let mut stream = TcpStream::connect(server.tls).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(crate::support::Client(stream).closed().await < Duration::from_secs(2));
    assert_eq!(server.connect_tls().await.get("/").await.unwrap().body, "hello");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let server = Server::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(server.ca())
            .with_no_client_auth();
        let mut client = server.connect_tls_as(config).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().body, "hello");
    }
}
