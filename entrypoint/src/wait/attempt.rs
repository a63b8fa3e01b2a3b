//! One connection: made, spoken on, and read until the answer can be judged. Nothing here waits.

use std::borrow::Cow;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConfig, ClientConnection};

use super::Sight;
use super::probe::{Speech, Verdict};
use super::target::Target;
use crate::http::Stream;
use crate::sys::{self, Until};
use crate::tls;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// What probes have in common: whom to trust, and what to send along.
#[derive(Default)]
pub(super) struct Means {
    /// There is one if any target needs it.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Further lines of HTTP requests.
    pub(super) headers: Vec<String>,
}

/// A connection that is being made, or talked on.
pub(super) struct Attempt {
    socket: TcpStream,
    /// When it began to connect, or when it was connected.
    pub(super) since: Instant,
    talk: Option<Talk>,
}

/// What was said on a connection.
struct Talk {
    tls: Option<Box<ClientConnection>>,
    unsent: Cow<'static, [u8]>,
    received: Vec<u8>,
}

impl Attempt {
    /// # Errors
    /// The attempt has failed at once.
    pub(super) fn begin(address: &Address, now: Instant) -> io::Result<Self> {
        let socket = match address {
            Address::Inet(address) => sys::begin_connect(*address)?,
            Address::Unix(path) => sys::begin_connect_unix(path)?,
        };
        Ok(Self { socket, since: now, talk: None })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.talk.is_some()
    }

    /// The socket, and what it is waited for.
    pub(super) fn awaits(&self) -> (BorrowedFd<'_>, Until) {
        let until = match &self.talk {
            None => Until::Writable,
            Some(talk) => {
                // TLS knows best: during the handshake there is nothing to write though the request is not sent yet.
                let writes = talk.tls.as_ref().map_or(!talk.unsent.is_empty(), |tls| tls.wants_write());
                if writes { Until::Either } else { Until::Readable }
            }
        };
        (self.socket.as_fd(), until)
    }

    /// Goes as far as it can without waiting; `None` while it has not ended.
    pub(super) fn go_on(&mut self, target: &Target, means: &Means) -> Option<Sight> {
        if self.talk.is_none() {
            if let Err(error) = self.connected() {
                return Some(Sight::Refused(refusal(&error)));
            }
            if target.speech == Speech::None {
                return Some(Sight::Ready);
            }
            match Talk::new(target, means) {
                Ok(talk) => self.talk = Some(talk),
                Err(error) => return Some(Sight::NotReady(trouble(&error))),
            }
            self.since = Instant::now();
        }
        match self.talk.as_mut()?.go_on(&mut self.socket, &target.speech) {
            Ok(Verdict::More) => None,
            Ok(Verdict::Ready) => Some(Sight::Ready),
            Ok(Verdict::NotReady(why)) => Some(Sight::NotReady(why)),
            Ok(Verdict::NotThis(what)) => Some(Sight::NotReady(format!("it {what}"))),
            Err(error) => Some(Sight::NotReady(trouble(&error))),
        }
    }

    /// How the attempt to connect ended.
    fn connected(&self) -> io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        // A port of this machine on which nobody listens can be connected to itself, when the kernel happens to choose
        // it as the source port too (TCP's simultaneous open). A unix socket has no such addresses to compare.
        match (self.socket.peer_addr(), self.socket.local_addr()) {
            (Ok(peer), Ok(local)) if peer == local => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(()),
        }
    }

    /// What to say of it while it is connected and has not ended.
    pub(super) fn nothing_said(&self, speech: &Speech) -> Sight {
        Sight::NotReady(format!("it accepts the connection, and does not answer in {}", speech.name()))
    }
}

impl Talk {
    fn new(target: &Target, means: &Means) -> io::Result<Self> {
        let tls = match (&target.tls, &means.tls) {
            (Some(name), Some(client)) => {
                let connection = ClientConnection::new(Arc::clone(client), name.clone());
                Some(Box::new(connection.map_err(io::Error::other)?))
            }
            _ => None,
        };
        Ok(Self { tls, unsent: target.speech.request(&means.headers), received: Vec::new() })
    }

    fn go_on(&mut self, socket: &mut TcpStream, speech: &Speech) -> io::Result<Verdict> {
        let mut inside;
        let stream: &mut dyn Stream = match &mut self.tls {
            Some(connection) => {
                inside = rustls::Stream::new(&mut **connection, socket);
                &mut inside
            }
            None => socket,
        };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => self.unsent = self.unsent[count..].to_vec().into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 2048];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Verdict::More),
                Err(error) => return Err(error),
            }
            match speech.reply(&self.received) {
                Verdict::More => {}
                verdict => return Ok(verdict),
            }
        }
    }
}

/// Why a connection was not made.
pub(super) fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::WouldBlock => "its queue of connections is full".to_owned(),
        _ => error.to_string(),
    }
}

/// Why one that was made brought no answer.
fn trouble(error: &io::Error) -> String {
    if let Some(fault) = tls::certificate_fault(error) {
        return format!("its certificate {}", tls::fault_words(fault));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closes the connection without an answer".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it resets the connection".to_owned(),
        _ => tls::describe(error).unwrap_or_else(|| error.to_string()),
    }
}
