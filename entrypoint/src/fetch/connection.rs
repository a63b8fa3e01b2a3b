//! A connection to the server that never outlives its deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::trust::no_trust;
use crate::config::{Address, Config, Endpoint};
use crate::failure::Failure;
use crate::http::Stream;
use crate::{sys, tls};

/// How long one address of several may take to connect, and how long the server may be silent, before another try is
/// the better use of the time: above what a healthy server ever needs, and well below the usual deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a connect where the name has more than one address, one of which may be dead.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(2);
/// For what is one hop away, to connect and again to answer.
const PATIENCE_WHERE_NEAR: Duration = Duration::from_secs(1);

/// How to get to the server; made once, used by each try.
pub(super) enum Connector<'a> {
    Tls(&'a Endpoint, ServerName<'static>, Arc<ClientConfig>),
    Loopback(&'a Endpoint),
    Unix(&'a Path),
}

impl<'a> Connector<'a> {
    /// # Errors
    /// The CA's certificates cannot be read.
    pub(super) fn new(config: &'a Config) -> Result<Self, Failure> {
        sys::pin_name_services();
        Ok(match &config.address {
            Address::Tls(endpoint, name) => {
                let client = tls::client(&config.trust).map_err(|why| no_trust(why, &config.trust))?;
                Self::Tls(endpoint, name.clone(), client)
            }
            Address::Loopback(endpoint) => Self::Loopback(endpoint),
            Address::Unix(path) => Self::Unix(path),
        })
    }

    /// Connects, and lets `talk` use the connection. The server may take this long before it begins to answer, on top of
    /// what it gets anyway.
    pub(super) fn exchange<T>(
        &self,
        deadline: Instant,
        hold: Duration,
        talk: impl FnOnce(&mut dyn Stream) -> io::Result<T>,
    ) -> io::Result<T> {
        let limits = Limits { deadline, patience: PATIENCE + hold };
        match self {
            Self::Tls(endpoint, name, client) => {
                let mut socket = Socket { stream: connect(endpoint, deadline, |_| true)?, limits };
                let connection = ClientConnection::new(Arc::clone(client), name.clone());
                let mut connection = connection.map_err(io::Error::other)?;
                talk(&mut rustls::Stream::new(&mut connection, &mut socket))
            }
            // `localhost` is what the image's resolver makes of it: the address decides whether it is this machine.
            Self::Loopback(endpoint) => {
                let stream = connect(endpoint, deadline, |address| address.is_loopback())?;
                talk(&mut Socket { stream, limits })
            }
            Self::Unix(path) => {
                let stream = sys::begin_connect_unix(path)?;
                stream.set_nonblocking(false)?;
                talk(&mut Socket { stream, limits })
            }
        }
    }
}

/// A plain connection to a neighbour.
pub(super) fn near(address: SocketAddr, deadline: Instant) -> io::Result<impl Stream> {
    let stream = TcpStream::connect_timeout(&address, left(deadline)?.min(PATIENCE_WHERE_NEAR))?;
    Ok(Socket { stream, limits: Limits { deadline, patience: PATIENCE_WHERE_NEAR } })
}

fn connect(endpoint: &Endpoint, deadline: Instant, allowed: impl Fn(IpAddr) -> bool) -> io::Result<TcpStream> {
    let addresses = resolve(endpoint, deadline)?;
    let patience = if addresses.len() > 1 { PATIENCE_FOR_ONE } else { PATIENCE };
    let mut last = io::Error::other(format!("the name {} has no address that may be used", endpoint.host));
    for address in addresses.into_iter().filter(|address| allowed(address.ip())) {
        match TcpStream::connect_timeout(&address, left(deadline)?.min(patience)) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn resolve(endpoint: &Endpoint, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = endpoint.host.parse() {
        return Ok(vec![SocketAddr::new(address, endpoint.port)]);
    }
    let target = (endpoint.host.clone(), endpoint.port);
    let resolved = within(deadline, move || target.to_socket_addrs().map(Iterator::collect));
    resolved.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => error,
        _ => io::Error::other(format!("the name {} is not found", endpoint.host)),
    })
}

/// Does what cannot be given a time limit on a thread of its own, and leaves it there when the deadline passes: a
/// resolver that gets no answer.
fn within<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::channel();
    sys::spawn_undisturbed(move || sender.send(work()))?;
    let time = left(deadline)?.min(PATIENCE);
    receiver.recv_timeout(time).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What is left until the deadline, and more than nothing: to a socket, a time limit of zero is none.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// How long a socket may be silent.
#[derive(Debug, Clone, Copy)]
struct Limits {
    deadline: Instant,
    patience: Duration,
}

impl Limits {
    fn time(self) -> io::Result<Option<Duration>> {
        Ok(Some(left(self.deadline)?.min(self.patience)))
    }
}

/// A socket, TCP or unix, whose every read and write ends by the deadline.
struct Socket {
    stream: TcpStream,
    limits: Limits,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.limits.time()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.limits.time()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
