//! What is waited for: `host:port`, a path, or a URL that says how to tell that it is ready.

use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::probe::{Speech, Statuses};

/// Which addresses of a name to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

/// Where it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        host: Arc<str>,
        port: u16,
        family: Family,
    },
    Unix(PathBuf),
    /// Not connected to: it is ready when it exists.
    File(PathBuf),
}

/// One thing to wait for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// What it is called in all that is printed: of a URL only scheme, host and port, as the rest may hold a password.
    label: Arc<str>,
    pub(super) place: Place,
    pub(super) speech: Speech,
    /// The name that a certificate must hold, where the connection is TLS.
    pub(super) tls: Option<ServerName<'static>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// What a scheme stands for: the protocol, its usual port, and whether it is inside TLS.
const SCHEMES: [(&str, Protocol, u16, bool); 24] = [
    ("tcp", Protocol::Tcp(Family::Any), 0, false),
    ("tcp4", Protocol::Tcp(Family::V4), 0, false),
    ("tcp6", Protocol::Tcp(Family::V6), 0, false),
    ("unix", Protocol::Unix, 0, false),
    ("file", Protocol::File, 0, false),
    ("http", Protocol::Http, 80, false),
    ("https", Protocol::Http, 443, true),
    ("postgres", Protocol::Postgres, 5432, false),
    ("postgresql", Protocol::Postgres, 5432, false),
    ("postgis", Protocol::Postgres, 5432, false),
    ("mysql", Protocol::MySql, 3306, false),
    ("mysql2", Protocol::MySql, 3306, false),
    ("trilogy", Protocol::MySql, 3306, false),
    ("mariadb", Protocol::MySql, 3306, false),
    ("redis", Protocol::Redis, 6379, false),
    ("rediss", Protocol::Redis, 6379, true),
    ("valkey", Protocol::Redis, 6379, false),
    ("valkeys", Protocol::Redis, 6379, true),
    ("amqp", Protocol::Amqp, 5672, false),
    ("amqps", Protocol::Amqp, 5671, true),
    ("memcached", Protocol::Memcached, 11211, false),
    ("memcache", Protocol::Memcached, 11211, false),
    // Drivers are named behind a plus, which is cut off before the look-up.
    ("jdbc:postgresql", Protocol::Postgres, 5432, false),
    ("jdbc:mysql", Protocol::MySql, 3306, false),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp(Family),
    Unix,
    File,
    Http,
    Postgres,
    MySql,
    Redis,
    Amqp,
    Memcached,
}

impl Target {
    /// `db:3306`, or a URL.
    ///
    /// # Errors
    /// Says what is wrong with it, after its name. It quotes only what looks like a host and a port: a password may be in
    /// all the rest.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some((scheme, rest)) => url(scheme, rest),
            None => host_and_port(text),
        }
    }

    /// A path that is to exist.
    pub(super) fn path(path: &str) -> Self {
        Self { label: path.into(), place: Place::File(path.into()), speech: Speech::None, tls: None }
    }

    fn at(label: String, place: Place) -> Self {
        Self { label: label.into(), place, speech: Speech::None, tls: None }
    }
}

fn url(scheme: &str, rest: &str) -> Result<Target, String> {
    let scheme = scheme.to_ascii_lowercase();
    // `postgresql+psycopg2` and `mysql+pymysql` name a driver that does not matter here.
    let (known, driver) = scheme.split_once('+').map_or((&*scheme, false), |(known, _)| (known, true));
    let row = SCHEMES.iter().find(|(name, ..)| *name == known);
    let row = row.filter(|(_, protocol, ..)| !driver || matches!(protocol, Protocol::Postgres | Protocol::MySql));
    let (scheme, protocol, usual_port, tls) = *row.ok_or("has a scheme that cannot be waited for")?;
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
    if !rest.chars().all(|c| c.is_ascii_graphic()) {
        return Err("has a character that no URL has: write it percent-encoded".to_owned());
    }
    if fragment.is_some() && protocol != Protocol::Http {
        return Err("has a fragment (#), which only http:// and https:// have: write it as %23".to_owned());
    }
    if matches!(protocol, Protocol::Unix | Protocol::File) {
        return local(scheme, rest, protocol);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // `user:12/34@host` would otherwise be the host `user`, and part of the password its port.
    if path.contains('@') || fragment.is_some_and(|fragment| fragment.contains('@')) {
        return Err(
            "has an @ after the host: in a user, password, path or query, write / ? # @ percent-encoded".to_owned()
        );
    }
    let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
    let (host, port) = split_host(place).ok_or("has no host that can be one")?;
    let port = match port {
        Some(port) => parse_port(port).ok_or("has a port that is not a number from 1 to 65535")?,
        None if usual_port == 0 => return Err("has no port".to_owned()),
        None => usual_port,
    };
    let named = show(host, port);
    let family = if let Protocol::Tcp(family) = protocol { family } else { Family::Any };
    let name = || ServerName::try_from(host.to_owned()).map_err(|_| "has a host that no certificate can be for");
    let (user, password) = login.unwrap_or_default().split_once(':').unwrap_or((login.unwrap_or_default(), ""));
    let speech = match protocol {
        Protocol::Tcp(_) | Protocol::Unix | Protocol::File => Speech::None,
        Protocol::Http => Speech::Http {
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            host: if port == usual_port { show_host(host) } else { named.clone() },
            login: login.map(|_| [decoded(user), vec![b':'], decoded(password)].concat()),
            ready: fragment.map_or(Ok(Statuses::default()), statuses)?,
        },
        Protocol::Postgres => {
            let database = path.split('?').next().unwrap_or_default().trim_start_matches('/');
            let or = |text: &str, usual: &str| decoded(if text.is_empty() { usual } else { text });
            Speech::Postgres { user: plain(or(user, "postgres"))?, database: plain(or(database, "postgres"))? }
        }
        Protocol::MySql => Speech::MySql,
        Protocol::Redis => {
            let login = (!password.is_empty()).then(|| (decoded(user), decoded(password)));
            Speech::Redis { login }
        }
        Protocol::Amqp => Speech::Amqp,
        Protocol::Memcached => Speech::Memcached,
    };
    let place = Place::Tcp { host: host.into(), port, family };
    let tls = if tls { Some(name()?) } else { None };
    Ok(Target { speech, tls, ..Target::at(format!("{scheme}://{named}"), place) })
}

/// `unix:///path` and `file:///path`.
fn local(scheme: &str, path: &str, protocol: Protocol) -> Result<Target, String> {
    if !path.starts_with('/') {
        return Err("has a path that is not absolute: three slashes begin it".to_owned());
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(plain(decoded(path))?));
    let label = format!("{scheme}://{}", path.display());
    if protocol == Protocol::File {
        return Ok(Target::at(label, Place::File(path)));
    }
    // The kernel's limit (unix(7)), with the zero at the end.
    if path.as_os_str().len() > 107 {
        return Err("has a path that is too long for a socket: 107 bytes at most".to_owned());
    }
    Ok(Target::at(label, Place::Unix(path)))
}

/// The fragment of an HTTP URL; it is never sent.
fn statuses(fragment: &str) -> Result<Statuses, String> {
    let list = fragment.strip_prefix("status=").and_then(Statuses::parse);
    list.ok_or_else(|| "has a fragment that is not like #status=2xx,401".to_owned())
}

/// `db:3306`, `127.0.0.1:80`, `[::1]:80`, or `::1:80` as docker-compose-wait takes it.
fn host_and_port(item: &str) -> Result<Target, String> {
    if item.is_empty() {
        return Err("is empty: there is a comma too many".to_owned());
    }
    if item.contains('/') {
        return Err("has a slash and no ://, so it is neither a host with a port nor a URL".to_owned());
    }
    if item.contains(|c: char| c == ';' || c.is_whitespace()) {
        return Err("is not one host: hosts are separated by commas".to_owned());
    }
    if !item.chars().all(|c| c.is_ascii_alphanumeric() || "._-:[]+".contains(c)) {
        return Err("has a character that no host has".to_owned());
    }
    let (host, port) = item.rsplit_once(':').ok_or_else(|| format!("is {item:?}, which has no port"))?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let v6 = bare.contains(':') || bare != host;
    if host.is_empty() || host.contains('+') || v6 && bare.parse::<Ipv6Addr>().is_err() {
        return Err(format!("is {item:?}, which has no host that can be one"));
    }
    // docker-compose-wait takes a plus sign before the number.
    let port = parse_port(port.strip_prefix('+').unwrap_or(port));
    let port = port.ok_or_else(|| format!("is {item:?}, whose port is not a number from 1 to 65535"))?;
    Ok(Target::at(show(bare, port), Place::Tcp { host: bare.into(), port, family: Family::Any }))
}

/// The host without brackets, and the text of the port; `None` where there is no host.
fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    (!host.is_empty() && host.chars().all(known)).then_some((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0 && text.bytes().all(|c| c.is_ascii_digit()))
}

fn show(host: &str, port: u16) -> String {
    format!("{}:{port}", show_host(host))
}

fn show_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Percent-decoded. What only looks like an encoding is taken as it stands, as browsers do.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|c| char::from(*c).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (*first, digit(0), digit(1)) {
            bytes.push((high << 4 | low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Bytes that are sent or opened as a string that a zero ends.
fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match bytes.contains(&0) {
        true => Err("has a NUL byte in it (%00)".to_owned()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
