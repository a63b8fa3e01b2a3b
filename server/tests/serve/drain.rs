//! What happens when the server is told to stop.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::Server;

#[tokio::test]
async fn a_request_in_flight_gets_its_reply_and_then_the_connection_closes() {
    let server = Server::start().await;
    let address = server.tls;
    let mut client = server.connect_tls().await;
    client.send("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(server.stop());
    let reply = client.reply().await.unwrap();
    assert_eq!((reply.status(), reply.body.as_str()), ("200", "slow"));
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    let (dropped, took) = stopping.await.unwrap();
    assert_eq!(dropped, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn idle_connections_and_unfinished_handshakes_do_not_keep_it() {
    let server = Server::start().await;
    let mut idle = server.connect_tls().await;
    idle.get("/").await.unwrap();
    let _fresh = server.connect_http().await;
    let _silent = TcpStream::connect(server.tls).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (dropped, took) = server.stop().await;
    assert_eq!(dropped, 0);
    assert!(took < Duration::from_secs(1), "{took:?}");
    idle.closed().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_dropped_at_the_deadline() {
    let server = Server::start_with(|limits| limits.drain = Duration::from_millis(300)).await;
    let mut client = server.connect_tls().await;
    client.send("GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (dropped, took) = server.stop().await;
    assert_eq!(dropped, 1);
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    client.closed().await;
}
