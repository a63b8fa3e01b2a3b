//! One HTTP/1.1 request on one connection, blocking. The body's memory is wiped when it is dropped.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, Stream};
use zeroize::Zeroizing;

use super::address::{Address, Endpoint};

const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence while an answer is awaited, and the longest a whole answer may take.
const SILENCE: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(120);
const LARGEST_HEAD: usize = 64 * 1024;
const LARGEST_BODY: u64 = 256 * 1024 * 1024;
const MOST_HEADERS: usize = 64;

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    /// The server's clock, as it stands in the `Date` header.
    pub(crate) date: Option<String>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("body", &"…").finish_non_exhaustive()
    }
}

/// Why nothing usable came back.
#[derive(Debug)]
pub(crate) enum Broken {
    /// No connection.
    Connect(io::Error),
    /// A connection, but not to a server to be trusted.
    Tls(rustls::Error),
    /// The connection broke, or was silent for too long.
    Exchange(io::Error),
    /// What came is not an answer in HTTP.
    Garbage(&'static str),
}

/// Sends the request, head and body, and reads the answer to its end.
pub(crate) fn exchange(
    address: &Address,
    tls: Option<&Arc<ClientConfig>>,
    head: &[u8],
    body: &[u8],
) -> Result<Reply, Broken> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(Broken::Connect)?;
            let timed = stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE)));
            timed.map_err(Broken::Connect)?;
            send_and_read(stream, head, body)
        }
        Address::Loopback(endpoint) => send_and_read(connect(endpoint, true)?, head, body),
        Address::Tls(endpoint, name) => {
            let config = tls.map(Arc::clone).ok_or(Broken::Garbage("has no TLS configuration"))?;
            let mut stream = connect(endpoint, false)?;
            let mut connection = ClientConnection::new(config, name.clone()).map_err(Broken::Tls)?;
            while connection.is_handshaking() {
                connection.complete_io(&mut stream).map_err(tls_error)?;
            }
            send_and_read(TlsStream { connection, stream }, head, body)
        }
    }
}

/// TLS on a socket. rustls's own `StreamOwned` writes what is left to write before it reads, and so never sees the answer
/// of a server that has refused a large body and closed: this one just reads.
pub(super) struct TlsStream {
    pub(super) connection: ClientConnection,
    pub(super) stream: TcpStream,
}

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.connection.read_tls(&mut self.stream)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream::new(&mut self.connection, &mut self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Stream::new(&mut self.connection, &mut self.stream).flush()
    }
}

fn tls_error(error: io::Error) -> Broken {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
    inner.map_or(Broken::Exchange(error), Broken::Tls)
}

/// Tries every address of the host. For plain HTTP, only those of this machine, whatever a resolver says.
fn connect(endpoint: &Endpoint, only_loopback: bool) -> Result<TcpStream, Broken> {
    let addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(Broken::Connect)?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in addresses.filter(|address| !only_loopback || address.ip().is_loopback()) {
        let stream = TcpStream::connect_timeout(&address, CONNECT).and_then(|stream| {
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Broken::Connect(last))
}

pub(super) fn send_and_read(mut stream: impl Read + Write, head: &[u8], body: &[u8]) -> Result<Reply, Broken> {
    let written = stream.write_all(head).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
    let mut reader = Patient { reader: BufReader::new(stream), until: Instant::now() + WHOLE };
    match (written, reply(&mut reader)) {
        // A server that refuses a body closes before it has read all of it; its answer tells more than the broken pipe.
        (_, Ok(reply)) => Ok(reply),
        (Err(error), Err(_)) => Err(Broken::Exchange(error)),
        (Ok(()), Err(broken)) => Err(broken),
    }
}

/// A reader whose patience ends, so that a server that sends a byte now and then does not hold us for ever.
struct Patient<R> {
    reader: BufReader<R>,
    until: Instant,
}

impl<R: Read> Patient<R> {
    fn check(&self) -> io::Result<()> {
        if Instant::now() < self.until { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }

    fn line(&mut self, into: &mut Vec<u8>, most: usize) -> Result<(), Broken> {
        let start = into.len();
        loop {
            self.check().map_err(Broken::Exchange)?;
            let available = self.reader.fill_buf().map_err(Broken::Exchange)?;
            if available.is_empty() {
                return Err(Broken::Garbage("ended in the middle"));
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            into.extend_from_slice(&available[..taken]);
            self.reader.consume(taken);
            if newline.is_some() {
                return Ok(());
            }
            if into.len() - start > most {
                return Err(Broken::Garbage("has a line without an end"));
            }
        }
    }

    fn exactly(&mut self, count: u64, into: &mut Zeroizing<Vec<u8>>) -> Result<(), Broken> {
        // Grows by what arrives, not by what is promised.
        let mut left = count;
        while left > 0 {
            self.check().map_err(Broken::Exchange)?;
            let available = self.reader.fill_buf().map_err(Broken::Exchange)?;
            if available.is_empty() {
                return Err(Broken::Garbage("ended in the middle"));
            }
            let taken = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            extend(into, &available[..taken]);
            self.reader.consume(taken);
            left -= taken as u64;
        }
        Ok(())
    }

    fn until_closed(&mut self, into: &mut Zeroizing<Vec<u8>>) -> Result<(), Broken> {
        loop {
            self.check().map_err(Broken::Exchange)?;
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                // Without a length, a TLS connection that just breaks off may have been cut by somebody.
                Err(_) => return Err(Broken::Garbage("ended in the middle")),
            };
            let taken = available.len();
            if taken == 0 {
                return Ok(());
            }
            extend(into, available);
            self.reader.consume(taken);
            if into.len() as u64 > LARGEST_BODY {
                return Err(Broken::Garbage("is larger than any answer should be"));
            }
        }
    }
}

/// Appends, and wipes the old memory where the vector has to move.
fn extend(into: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if into.capacity() - into.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((into.len() + bytes.len()).next_power_of_two().max(8192)));
        larger.extend_from_slice(into);
        *into = larger;
    }
    into.extend_from_slice(bytes);
}

fn reply<R: Read>(reader: &mut Patient<R>) -> Result<Reply, Broken> {
    loop {
        let head = head(reader)?;
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head).map_err(|_| Broken::Garbage("is not HTTP"))?;
        if parsed.is_partial() {
            return Err(Broken::Garbage("is not HTTP"));
        }
        let status = response.code.unwrap_or_default();
        if (100..200).contains(&status) {
            continue;
        }
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let mut body = Zeroizing::new(Vec::new());
        let chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        match header("content-length").map(str::parse::<u64>) {
            _ if matches!(status, 204 | 304) => {}
            _ if chunked => chunks(reader, &mut body)?,
            Some(Ok(length)) if length <= LARGEST_BODY => reader.exactly(length, &mut body)?,
            Some(_) => return Err(Broken::Garbage("has a length that cannot be")),
            None => reader.until_closed(&mut body)?,
        }
        let media_type = header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        return Ok(Reply { status, media_type, date: header("date").map(str::to_owned), body });
    }
}

fn head<R: Read>(reader: &mut Patient<R>) -> Result<Vec<u8>, Broken> {
    let mut head = Vec::new();
    loop {
        let start = head.len();
        reader.line(&mut head, LARGEST_HEAD)?;
        if matches!(&head[start..], b"\r\n" | b"\n") && start > 0 {
            return Ok(head);
        }
        if head.len() > LARGEST_HEAD {
            return Err(Broken::Garbage("has a head without an end"));
        }
    }
}

fn chunks<R: Read>(reader: &mut Patient<R>, body: &mut Zeroizing<Vec<u8>>) -> Result<(), Broken> {
    loop {
        let mut line = Vec::new();
        reader.line(&mut line, 1024)?;
        let size = match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) => size,
            _ => return Err(Broken::Garbage("has a chunk without a size")),
        };
        if size.saturating_add(body.len() as u64) > LARGEST_BODY {
            return Err(Broken::Garbage("is larger than any answer should be"));
        }
        reader.exactly(size, body)?;
        line.clear();
        reader.line(&mut line, 1024)?;
        if size == 0 {
            // Trailers are nothing to us; the connection is not used again.
            return Ok(());
        }
        if line.trim_ascii() != b"" {
            return Err(Broken::Garbage("has a chunk that is too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Reply, Broken> {
        reply(&mut Patient { reader: BufReader::with_capacity(3, text), until: Instant::now() + SILENCE })
    }

    fn body(text: &[u8]) -> Vec<u8> {
        read(text).unwrap().body.to_vec()
    }

    #[test]
    fn bodies_of_every_form() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore"), b"hello");
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            b"hello"
        );
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nhello"), b"hello");
        assert_eq!(body(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), b"");
        let reply =
            read(b"HTTP/1.1 404 No\r\nContent-Type: application/JSON; a=b\r\nDate: x\r\nContent-Length: 0\r\n\r\n");
        let reply = reply.unwrap();
        assert_eq!((reply.status, &*reply.media_type, reply.date.as_deref()), (404, "application/json", Some("x")));
    }

    #[test]
    fn half_answers_and_nonsense_are_errors() {
        let wrong: [&[u8]; 9] = [
            b"",
            b"\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(read(&[b"HTTP/1.1 200 OK\r\nA: ", &vec![b'x'; 100_000][..]].concat()).is_err());
    }
}
