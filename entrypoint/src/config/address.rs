//! Where the server listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use rustls_pki_types::ServerName;

use super::Wrong;

/// The port where none is given.
const DEFAULT_PORT: u16 = 8420;

/// Where the server listens, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `https://host[:port]`, and the name its certificate must hold.
    Tls(Endpoint, ServerName<'static>),
    /// `http://host[:port]`, on this machine only.
    Loopback(Endpoint),
    /// `unix:///path`
    Unix(PathBuf),
}

/// A host and a port. A literal IPv6 address is without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub host: String,
    pub port: u16,
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

impl Address {
    /// # Errors
    /// Says what is wrong with the address. It quotes nothing of it: a password might be in it.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(wrong("the path of the unix socket is not absolute")),
            };
        }
        if let Some(rest) = text.strip_prefix("https://") {
            let endpoint = endpoint(rest)?;
            let name = ServerName::try_from(endpoint.host.clone())
                .map_err(|_| wrong("the host is neither a DNS name nor an IP address"))?;
            return Ok(Self::Tls(endpoint, name));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let endpoint = endpoint(rest)?;
            let literal = endpoint.host.parse::<IpAddr>();
            return match endpoint.host == "localhost" || literal.is_ok_and(|address| address.is_loopback()) {
                true => Ok(Self::Loopback(endpoint)),
                false => Err((
                    "plain http would send secrets over the network in the clear".to_owned(),
                    "write https://; http:// is only for 127.0.0.1, [::1] and localhost".to_owned(),
                )),
            };
        }
        Err(wrong("it starts with none of https://, unix:// and http://"))
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("what stands in brackets is not an IPv6 address"));
            }
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(|| wrong("after the bracket comes no port"))?),
            };
            (host, port)
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if host.is_empty() || !host.chars().all(known) {
        return Err(wrong("after the scheme comes a host, a port and nothing else"));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => {
            let digits = port.bytes().all(|c| c.is_ascii_digit());
            let parsed = port.parse().ok().filter(|port| digits && *port != 0);
            parsed.ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?
        }
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

fn wrong(what: &str) -> Wrong {
    (
        what.to_owned(),
        "write https://host:8420, or unix:///run/chandlery/chandlery.sock on the server's own machine".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_unix_or_loopback() {
        let show = |text| Address::parse(text).unwrap().to_string();
        assert_eq!(show("https://store"), "https://store:8420");
        assert_eq!(show("https://store:443/"), "https://store:443");
        assert_eq!(show("https://10.0.0.1"), "https://10.0.0.1:8420");
        assert_eq!(show("https://[::1]:9"), "https://[::1]:9");
        assert_eq!(show("https://[::1]"), "https://[::1]:8420");
        assert_eq!(show("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(show("http://localhost"), "http://localhost:8420");
        assert_eq!(show("unix:///run/c.sock"), "unix:///run/c.sock");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_quoted() {
        for text in [
            "",
            "store:8420",
            "https://",
            "https://a:b",
            "https://a:0",
            "https://a:70000",
            "https://a:+1",
            "https://a/b",
            "https://hunter2@a",
            "https://a?x",
            "http://store",
            "http://10.0.0.1",
            "unix:/x",
            "unix://x",
            "ftp://a",
            "https://[::1",
            "https://[::1]x",
            "https://[a]",
            "HTTPS://a",
            "https://a b",
            "https://-",
            "http://localhost.evil.example",
        ] {
            let (what, hint) = Address::parse(text).expect_err(text);
            assert!(!what.contains("hunter2") && !hint.contains("hunter2"), "{what}");
        }
    }
}
