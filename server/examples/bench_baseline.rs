//! What the server is measured against: an axum route that returns the same bytes from memory, with nothing to decide.
//!
//! `bench_baseline BODY-FILE [CERT KEY]`: prints the address it listens on. Plain HTTP is `axum::serve`; axum has no TLS of
//! its own, so with a certificate the listener is the server's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use chandlery_server::config::TlsFiles;
use chandlery_server::serve::{Certificates, Limits, Listeners, Unreadable, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let body = Bytes::from(std::fs::read(arguments.next().ok_or("name a file with the body")?)?);
    let router = Router::new().fallback(get(move || {
        let body = body.clone();
        async move { ([(CONTENT_TYPE, "application/json")], body) }
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    match (arguments.next(), arguments.next()) {
        (Some(cert), Some(key)) => {
            announce(&format!("https://{address}"))?;
            let files = TlsFiles { cert, key, names: Vec::new(), managed: false };
            let certificates = Certificates::load(&files).map_err(|error| error.to_string())?;
            let listeners = Listeners::default().with_tls(listener, Arc::clone(&certificates));
            let limits = Limits {
                header_timeout: Duration::from_secs(10),
                header_bytes: 16 * 1024,
                connections: 1024,
                drain: Duration::from_secs(1),
                processes: false,
            };
            serve(listeners, router, limits, Unreadable::default(), std::future::pending()).await;
        }
        _ => {
            announce(&format!("http://{address}"))?;
            axum::serve(listener, router).await?;
        }
    }
    Ok(())
}

fn announce(address: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    out.flush()
}
