//! The listeners: from bound sockets to requests in the router, within limits, until told to stop.
//!
//! HTTP/1.1 only. A connection is told to close after the reply it is waiting for when the server stops, and is dropped
//! when the drain's time is over.

mod accept;
mod connection;
mod listeners;
mod local;
mod signal;
mod tls;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};

pub use crate::access::Peer;
pub use listeners::{Bound, Listeners};
pub use local::{LocalFile, local_server};
pub use signal::{Requests, reload_requested, stop_requested};
pub use tls::Certificates;

use crate::config::Config;

/// What a client may take, in time and in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TLS handshake, for each request's header, and between two requests.
    pub header_timeout: Duration,
    /// At least 8 KiB.
    pub header_bytes: usize,
    /// On each listener, so that strangers on the network cannot keep programs on this host out.
    pub connections: usize,
    /// For requests to finish when the server stops.
    pub drain: Duration,
    /// Whether the unix socket's connections keep hold of the process that made them: one descriptor more for each.
    pub processes: bool,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            header_timeout: config.header_timeout,
            header_bytes: config.max_header_bytes,
            connections: config.max_connections,
            drain: config.drain,
            processes: config.identity.is_some(),
        }
    }
}

/// What was sent was not HTTP, or more than the limits allow: no router ever sees it, so somebody has to be told.
#[derive(Clone)]
pub struct Unreadable(Arc<dyn Fn(Peer, &'static str) + Send + Sync>);

impl Unreadable {
    /// `tell` gets the peer and what was wrong; what was sent is not passed on.
    pub fn new(tell: impl Fn(Peer, &'static str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn tell(&self, peer: Peer, what: &'static str) {
        tracing::debug!(%peer, what, "a connection was closed");
        (self.0)(peer, what);
    }
}

impl Default for Unreadable {
    /// Tells nobody but the log.
    fn default() -> Self {
        Self::new(|_, _| ())
    }
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unreadable")
    }
}

/// Serves until `shutdown`, then drains. Returns how many connections had to be dropped.
pub async fn serve(
    listeners: Listeners,
    router: Router,
    limits: Limits,
    unreadable: Unreadable,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let (phase, phases) = watch::channel(Phase::Serving);
    let shared = connection::Shared::new(router, limits, unreadable);
    let slots: Vec<_> = listeners
        .into_parts()
        .into_iter()
        .map(|listener| {
            let slots = Arc::new(Semaphore::new(limits.connections));
            tokio::spawn(accept::run(listener, Arc::clone(&shared), Arc::clone(&slots), phases.clone()));
            slots
        })
        .collect();
    drop(phases);
    shutdown.await;
    // Each task ends its own connection; the slots that are not back when time is up are those that did not.
    phase.send_replace(Phase::Draining);
    let all_back = async {
        for slots in &slots {
            let _ = slots.acquire_many(u32::try_from(limits.connections).unwrap_or(u32::MAX)).await;
        }
    };
    let drained = tokio::time::timeout(limits.drain, all_back).await;
    let open = match drained {
        Ok(()) => 0,
        Err(_) => slots.iter().map(|slots| limits.connections.saturating_sub(slots.available_permits())).sum(),
    };
    phase.send_replace(Phase::Stopped);
    // Each task holds a receiver. One that is in the middle of something gets a moment more.
    let _ = tokio::time::timeout(Duration::from_millis(200), phase.closed()).await;
    open
}

/// What the listeners and connections are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Finish, and take nothing new.
    Draining,
    /// Go.
    Stopped,
}

/// Waits for that phase, or a later one. A server that is gone is one that stopped.
async fn until(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = phases.wait_for(|current| *current >= phase).await;
}
