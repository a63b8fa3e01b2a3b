//! The management API as functions: one request, one typed answer, one failure.

pub(crate) mod address;
mod http;
pub(crate) mod look;
pub(crate) mod tls;

use std::fmt::Write as _;
use std::sync::Arc;

use chandlery_wire::{Problem, TokenText, problem};
use rustls::{CertificateError, ClientConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};
use address::Address;
use http::{Broken, Reply};
use tls::Trust;

/// A server, and who we are to it.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    token: Option<TokenText>,
}

/// A path under `/v1`, and its query. Segments are names, which need no escaping; values of the query are escaped.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    pub(crate) fn new(segments: &[&str]) -> Self {
        Self { text: format!("/v1/{}", segments.join("/")), has_query: false }
    }

    pub(crate) fn query<T: ToString>(mut self, key: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.text.push(if std::mem::replace(&mut self.has_query, true) { '&' } else { '?' });
            let _ = write!(self.text, "{key}=");
            escape(&mut self.text, &value.to_string());
        }
        self
    }
}

fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            other => {
                let _ = write!(into, "%{other:02X}");
            }
        }
    }
}

impl Client {
    pub(crate) fn new(address: Address, trust: &Trust, token: Option<TokenText>) -> Result<Self, Failure> {
        let tls = match &address {
            Address::Tls(..) => Some(tls::config(trust).map_err(|why| {
                Failure::usage(
                    format!("the CA's certificate cannot be used: {why}"),
                    "give --cacert the tls/ca.crt of the server's data directory, or --fingerprint the sha256:… that it logs when it starts",
                )
            })?),
            _ => None,
        };
        Ok(Self { address, tls, token })
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Failure> {
        self.typed("GET", path, &[])
    }

    pub(crate) fn put<T: DeserializeOwned>(&self, path: &Path, body: &impl Serialize) -> Result<T, Failure> {
        self.typed("PUT", path, &encode(body)?)
    }

    pub(crate) fn post<T: DeserializeOwned>(&self, path: &Path, body: &impl Serialize) -> Result<T, Failure> {
        self.typed("POST", path, &encode(body)?)
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Failure> {
        self.typed("DELETE", path, &[])
    }

    /// A `DELETE` whose answer holds nothing that is needed.
    pub(crate) fn delete_only(&self, path: &Path) -> Result<(), Failure> {
        self.successful("DELETE", path, &[]).map(|_| ())
    }

    /// The server's own idea of the time, from any answer of it.
    pub(crate) fn server_date(&self) -> Result<Option<String>, Failure> {
        Ok(self.send("GET", &Path::new(&["health"]), &[])?.date)
    }

    fn typed<T: DeserializeOwned>(&self, method: &str, path: &Path, body: &[u8]) -> Result<T, Failure> {
        let reply = self.successful(method, path, body)?;
        // The parser's own sentence may quote what it found, and that may be a secret.
        serde_json::from_slice(&reply.body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            self.no_answer(&format!("its answer to {method} {} is not what the API promises ({place})", path.text))
        })
    }

    fn successful(&self, method: &str, path: &Path, body: &[u8]) -> Result<Reply, Failure> {
        let reply = self.send(method, path, body)?;
        if (200..300).contains(&reply.status) { Ok(reply) } else { Err(self.refusal(&reply)) }
    }

    fn refusal(&self, reply: &Reply) -> Failure {
        let problem = (reply.media_type == problem::MEDIA_TYPE).then(|| serde_json::from_slice::<Problem>(&reply.body));
        let Some(Ok(problem)) = problem else {
            return self.no_answer(&format!("it answered {} without saying why", reply.status));
        };
        let failure = Failure::from(Problem { status: reply.status, ..problem });
        if reply.status == 401 && self.token.is_none() {
            let hint = "log in with `chandlery login`, or name a file that holds a token with --token-file";
            return Failure { what: format!("{} wants a token, and there is none", self.address), ..failure }
                .with_hint(hint);
        }
        failure
    }

    fn send(&self, method: &str, path: &Path, body: &[u8]) -> Result<Reply, Failure> {
        let mut head = Zeroizing::new(String::with_capacity(512 + path.text.len()));
        let host = match &self.address {
            Address::Tls(endpoint, _) | Address::Loopback(endpoint) => endpoint.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(
            head,
            "{method} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: chandlery/{version}\r\nAccept: application/json\r\n\
             Connection: close\r\n",
            path.text
        );
        if let Some(token) = &self.token {
            let _ = write!(head, "Authorization: Bearer {}\r\n", token.expose_secret());
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        http::exchange(&self.address, self.tls.as_ref(), head.as_bytes(), body).map_err(|broken| {
            let failure = self.broken(&broken);
            // It got the request, and its answer is lost.
            match (method, &broken) {
                ("GET", _) | (_, Broken::Connect(_) | Broken::Tls(_)) => failure,
                _ => failure.with_hint(
                    "if it was to change anything, it may have: `chandlery audit` tells, before you do it again",
                ),
            }
        })
    }

    fn broken(&self, broken: &Broken) -> Failure {
        match broken {
            Broken::Connect(error) => Failure::new(
                Exit::Unreachable,
                format!("the server at {} cannot be reached: {error}", self.address),
                "look whether chandlery-server runs there; `chandlery doctor` says where the address comes from",
            ),
            Broken::Tls(error) => self.not_trusted(error),
            Broken::Exchange(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                self.no_answer("it did not answer in time")
            }
            // The library's own sentence about this one is for programmers.
            Broken::Exchange(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.no_answer("it ended the connection before it had answered")
            }
            Broken::Exchange(error) => self.no_answer(&format!("the connection broke: {error}")),
            Broken::Garbage(how) => self.no_answer(&format!("its answer {how}")),
        }
    }

    fn not_trusted(&self, error: &rustls::Error) -> Failure {
        let (why, hint) = match error {
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => (
                "none of its certificates has the fingerprint that is pinned".to_owned(),
                "compare --fingerprint with the one that the server logs when it starts",
            ),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (
                "its certificate is for another name".to_owned(),
                "use a name that is in the certificate, or start the server with --tls-name for this one",
            ),
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
                "its certificate was made by a CA that is not trusted".to_owned(),
                "give --cacert the tls/ca.crt of the server's data directory, or --fingerprint the sha256:… that it logs when it starts",
            ),
            other => (other.to_string(), "look whether this is the server, and whether it speaks TLS on this port"),
        };
        Failure::new(Exit::Unreachable, format!("the server at {} is not to be trusted: {why}", self.address), hint)
    }

    fn no_answer(&self, how: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("the server at {} gave no usable answer: {how}", self.address),
            "look whether this is a Chandlery server, and at its log",
        )
    }
}

fn encode(body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = serde_json::to_vec(body).map(Zeroizing::new);
    bytes.map_err(|_| Failure::failed("the request cannot be written as JSON", "please report this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped() {
        let path = Path::new(&["entries", "a", "b"])
            .query("for", Some("app,db"))
            .query("x", None::<u8>)
            .query("y", Some("&é "));
        assert_eq!(path.text, "/v1/entries/a/b?for=app%2Cdb&y=%26%C3%A9%20");
    }
}
