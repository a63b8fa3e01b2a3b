use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::connection::{self, Shared};
use super::listeners::Listener;
use super::{Peer, Phase, until};
use crate::identity::Process;

/// How long to wait when there is no descriptor left for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts until the server stops. When all slots are taken, the next client waits in the system's queue.
pub(super) async fn run(
    listener: Listener,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    mut phases: watch::Receiver<Phase>,
) {
    let mut complaint = Complaint::default();
    let stopping = phases.clone();
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let phases = stopping.clone();
            let accepted = match &listener {
                Listener::Tls(listener, certificates) => accept_tcp(listener).await.map(|(stream, peer)| {
                    let acceptor = certificates.acceptor();
                    tokio::spawn(connection::run_tls(Arc::clone(&shared), acceptor, stream, peer, phases, slot));
                }),
                Listener::Http(listener) => accept_tcp(listener).await.map(|(stream, peer)| {
                    tokio::spawn(connection::run_plain(Arc::clone(&shared), stream, peer, None, phases, slot));
                }),
                Listener::Unix(listener, _) => accept_unix(listener).await.map(|(stream, peer)| {
                    let process = process(&stream, peer, &shared);
                    tokio::spawn(connection::run_plain(Arc::clone(&shared), stream, peer, process, phases, slot));
                }),
            };
            if let Err(error) = accepted {
                complaint.about(&error);
                if !is_the_clients(&error) {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = until(&mut phases, Phase::Draining) => {}
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, address) = listener.accept().await?;
    // Replies are written whole: to wait for more would only make them late.
    stream.set_nodelay(true)?;
    Ok((stream, Peer::Tcp(address)))
}

async fn accept_unix(listener: &UnixListener) -> io::Result<(UnixStream, Peer)> {
    let (stream, _) = listener.accept().await?;
    let credentials = stream.peer_cred()?;
    Ok((stream, Peer::Unix { pid: credentials.pid(), uid: credentials.uid() }))
}

/// The process at the other end, where it is wanted and can be seen. At once: later its number may be another's.
fn process(stream: &UnixStream, peer: Peer, shared: &connection::Shared) -> Option<Arc<Process>> {
    let Peer::Unix { pid, .. } = peer else { return None };
    if !shared.processes {
        return None;
    }
    let process = Process::behind(stream, pid);
    if let Err(why) = &process {
        tracing::debug!(%peer, %why, "the process at the other end of the socket cannot be looked at");
    }
    process.ok().map(Arc::new)
}

/// Whether only that one connection failed, so that the next may be taken at once.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected)
}

/// Tells of errors, and not a hundred times a second.
#[derive(Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn about(&mut self, error: &io::Error) {
        if self.0.is_none_or(|last| last.elapsed() > Duration::from_secs(10)) {
            self.0 = Some(Instant::now());
            tracing::error!(%error, "connections cannot be accepted");
        }
    }
}
