//! A look at somebody's web page: does it answer, and with which status? No token goes with it.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::address::endpoint;
use super::http::{Broken, TlsStream, send_and_read};
use super::tls::{self, Trust};

/// How long a connection, and how long each silence may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of `GET url`, or why there is none. Redirects are answers.
pub(crate) fn look(url: &str) -> Result<u16, String> {
    let Parts { secure, host, port, name, target } = parts(url)?;
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: chandlery/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut stream = connect(&host, port).map_err(|error| error.to_string())?;
    let reply = if secure {
        let server = ServerName::try_from(host).map_err(|_| "the host is neither a DNS name nor an IP address")?;
        let config = tls::config(&Trust::System)?;
        let mut connection = ClientConnection::new(config, server).map_err(|error| error.to_string())?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
        }
        send_and_read(TlsStream { connection, stream }, head.as_bytes(), &[])
    } else {
        send_and_read(stream, head.as_bytes(), &[])
    };
    reply.map(|reply| reply.status).map_err(|broken| match broken {
        Broken::Connect(error) | Broken::Exchange(error) => error.to_string(),
        Broken::Tls(error) => error.to_string(),
        Broken::Garbage(how) => format!("the answer {how}"),
    })
}

/// Whether it can be looked at at all.
pub(crate) fn check(url: &str) -> Result<(), String> {
    parts(url).map(|_| ())
}

struct Parts {
    secure: bool,
    host: String,
    port: u16,
    /// As it stands in `Host`.
    name: String,
    target: String,
}

fn parts(url: &str) -> Result<Parts, String> {
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err("an address to look at begins with https:// or http://".to_owned()),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, target) = rest.split_at(at);
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a path has no spaces, and nothing but ASCII".to_owned());
    }
    let target = target.split('#').next().unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let found = endpoint(name, if secure { 443 } else { 80 })?;
    Ok(Parts { secure, host: found.host, port: found.port, name: name.to_owned(), target })
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_usual_port_and_a_path() {
        let of = |url: &str| parts(url).map(|parts| (parts.secure, parts.host, parts.port, parts.target));
        assert_eq!(of("http://web").unwrap(), (false, "web".to_owned(), 80, "/".to_owned()));
        assert_eq!(of("https://a.b:8443/up?x=1#y").unwrap(), (true, "a.b".to_owned(), 8443, "/up?x=1".to_owned()));
        assert_eq!(of("http://[::1]:1?q").unwrap(), (false, "::1".to_owned(), 1, "/?q".to_owned()));
        for wrong in ["web", "ftp://a", "http://", "http://a:0/", "http://u:p@a/", "http://a/b c"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
