//! Where the server listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use rustls::pki_types::ServerName;

/// The port where none is given.
const DEFAULT_PORT: u16 = 8420;

/// Where the server listens, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `https://host[:port]`
    Tls(Endpoint, ServerName<'static>),
    /// `http://host[:port]`, on this machine only.
    Loopback(Endpoint),
    /// `unix:///path`
    Unix(PathBuf),
}

/// A host and a port. A literal IPv6 address is without its brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::str::FromStr for Address {
    type Err = String;

    /// Quotes nothing of the text: somebody may have put a password into it.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            let absolute = path.starts_with('/');
            return if absolute {
                Ok(Self::Unix(path.into()))
            } else {
                Err("the socket's path is not absolute".into())
            };
        }
        if let Some(rest) = text.strip_prefix("https://") {
            let endpoint = endpoint(rest, DEFAULT_PORT)?;
            let name = ServerName::try_from(endpoint.host.clone());
            return Ok(Self::Tls(endpoint, name.map_err(|_| "the host is neither a DNS name nor an IP address")?));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let endpoint = endpoint(rest, DEFAULT_PORT)?;
            let literal = endpoint.host.parse::<IpAddr>();
            let loopback = endpoint.host == "localhost" || literal.is_ok_and(|address| address.is_loopback());
            let why = "plain http would send secrets over the network in the clear; it is only for this machine";
            return if loopback { Ok(Self::Loopback(endpoint)) } else { Err(why.into()) };
        }
        Err("an address is https://host[:8420], unix:///path, or http://127.0.0.1:port".into())
    }
}

/// `host[:port]`, with the port that is usual there.
pub(super) fn endpoint(text: &str, usual: u16) -> Result<Endpoint, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets is not an IPv6 address")?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or("after ] comes a port")?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c)) {
        return Err("after the scheme come a host, a port and nothing else".into());
    }
    let port = match port {
        None => usual,
        Some(port) => {
            let number = port.parse().ok().filter(|number| *number != 0 && port.bytes().all(|c| c.is_ascii_digit()));
            number.ok_or("the port is not a number from 1 to 65535")?
        }
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(endpoint, _) => write!(f, "https://{endpoint}"),
            Self::Loopback(endpoint) => write!(f, "http://{endpoint}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_show() {
        let same = ["https://store:8420", "https://[::1]:1", "http://127.0.0.1:80", "unix:///run/a.sock"];
        for text in same {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("https://store/".parse::<Address>().unwrap().to_string(), "https://store:8420");
        assert_eq!("http://localhost".parse::<Address>().unwrap().to_string(), "http://localhost:8420");
    }

    #[test]
    fn anything_else_is_refused_and_not_quoted() {
        let wrong = [
            "",
            "store:8420",
            "https://",
            "https://a:0",
            "https://a:70000",
            "https://a:+1",
            "https://a/b",
            "unix://a",
            "https://u:s3cret@a",
            "https://[::1",
            "https://[::1]1",
            "http://10.0.0.1",
            "http://store",
            "ftp://a",
            "https://a b",
            "https://a?b",
            "http://localhost.evil",
        ];
        for text in wrong {
            let error = text.parse::<Address>().unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
