//! What is said to a dependency once it is connected, and what its answer means.
//!
//! Each protocol is two pure functions: the bytes to send, and what the bytes that came back so far mean. Nobody logs in,
//! except to Redis, which tells only those who did that it is still loading.

mod amqp;
mod http;
mod memcached;
mod mysql;
mod postgres;
mod redis;

use std::borrow::Cow;

#[cfg(test)]
use http::basic;
pub(super) use http::{Statuses, header};

/// No answer that matters is longer.
pub(super) const MOST_REPLY: usize = 16 * 1024;
/// The most characters of somebody else's words in ours.
const MOST_WORDS: usize = 120;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The app can use it.
    Ready,
    /// It answers, and says that it is not ready: why.
    NotReady(String),
    /// There is more to come before this can be said.
    More,
    /// Whoever answers does not speak this protocol: what it does instead.
    NotThis(&'static str),
}

/// The protocol that a dependency is spoken to in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Speech {
    /// To accept the connection is enough.
    None,
    Http {
        /// Path and query.
        path: String,
        /// The value of `Host`.
        host: String,
        /// `user:password`, where the URL has them.
        login: Option<Vec<u8>>,
        ready: Statuses,
    },
    Postgres {
        user: Vec<u8>,
        database: Vec<u8>,
    },
    MySql,
    Redis {
        /// User and password, where the URL has a password.
        login: Option<(Vec<u8>, Vec<u8>)>,
    },
    Amqp,
    Memcached,
}

impl Speech {
    /// What to send first. `headers` are further lines of an HTTP request.
    pub(crate) fn request(&self, headers: &[String]) -> Cow<'static, [u8]> {
        match self {
            Self::None | Self::MySql => Cow::Borrowed(b""),
            Self::Http { path, host, login, .. } => http::request(path, host, login.as_deref(), headers).into(),
            Self::Postgres { user, database } => postgres::request(user, database).into(),
            Self::Redis { login } => redis::request(login.as_ref()).into(),
            Self::Amqp => Cow::Borrowed(amqp::REQUEST),
            Self::Memcached => Cow::Borrowed(memcached::REQUEST),
        }
    }

    /// What the bytes that came back so far mean. Never panics, whatever they are.
    pub(crate) fn reply(&self, bytes: &[u8]) -> Verdict {
        let verdict = match self {
            Self::None => Verdict::Ready,
            Self::Http { ready, .. } => http::reply(bytes, ready),
            Self::Postgres { .. } => postgres::reply(bytes),
            Self::MySql => mysql::reply(bytes),
            Self::Redis { login } => redis::reply(bytes, login.is_some()),
            Self::Amqp => amqp::reply(bytes),
            Self::Memcached => memcached::reply(bytes),
        };
        match verdict {
            Verdict::More if bytes.len() >= MOST_REPLY => Verdict::NotThis("sends an answer without an end"),
            verdict => verdict,
        }
    }

    /// How the protocol is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "TCP",
            Self::Http { .. } => "HTTP",
            Self::Postgres { .. } => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Redis { .. } => "Redis",
            Self::Amqp => "AMQP 0-9-1",
            Self::Memcached => "memcached",
        }
    }
}

/// Somebody else's words, short enough for a line; a terminal's control characters are escaped where it is printed.
fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MOST_WORDS)]).trim().chars().take(MOST_WORDS).collect()
}

/// The first line, without its end; `None` while there is none.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|c| *c == b'\n')?;
    Some(bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]))
}

#[cfg(test)]
mod tests;
