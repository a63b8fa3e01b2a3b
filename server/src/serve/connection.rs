use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::{Limits, Peer, Phase, Unreadable, until};
use crate::identity::Process;

/// What every connection needs.
#[derive(Debug)]
pub(super) struct Shared {
    router: Router,
    http: http1::Builder,
    handshake: Duration,
    unreadable: Unreadable,
    pub(super) processes: bool,
}

impl Shared {
    pub(super) fn new(router: Router, limits: Limits, unreadable: Unreadable) -> Arc<Self> {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(limits.header_bytes);
        Arc::new(Self { router, http, handshake: limits.header_timeout, unreadable, processes: limits.processes })
    }
}

/// Shakes hands, within its time, and serves.
pub(super) async fn run_tls(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: Peer,
    mut phases: watch::Receiver<Phase>,
    slot: OwnedSemaphorePermit,
) {
    let handshake = tokio::time::timeout(shared.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        biased;
        stream = handshake => stream,
        // Nothing was asked yet, so nothing is left unanswered.
        () = until(&mut phases, Phase::Draining) => return,
    };
    match stream {
        Ok(Ok(stream)) => run_plain(shared, stream, peer, None, phases, slot).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// Serves one connection to its end. The slot is given back then.
pub(super) async fn run_plain<S>(
    shared: Arc<Shared>,
    stream: S,
    peer: Peer,
    process: Option<Arc<Process>>,
    mut phases: watch::Receiver<Phase>,
    _slot: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = shared.router.clone();
    let service = service_fn(move |request| respond(router.clone(), request, peer, process.clone()));
    let mut connection = std::pin::pin!(shared.http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = until(&mut phases, Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection => ended,
                () = until(&mut phases, Phase::Stopped) => return,
            }
        }
    };
    if let Err(error) = ended
        && let Some(what) = unreadable(&error)
    {
        shared.unreadable.tell(peer, what);
    }
}

async fn respond(
    mut router: Router,
    mut request: Request<Incoming>,
    peer: Peer,
    process: Option<Arc<Process>>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    if let Some(process) = process {
        request.extensions_mut().insert(process);
    }
    // A router is always ready.
    router.call(request.map(Body::new)).await
}

/// What the client did wrong, if it got a reply for it. One that goes away, or that says nothing more until its time is
/// over, gets none: it made no request.
fn unreadable(error: &hyper::Error) -> Option<&'static str> {
    if error.is_parse_too_large() {
        return Some("the header is too large");
    }
    error.is_parse().then_some("it is not HTTP/1.1")
}
