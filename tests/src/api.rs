//! A client of the HTTP API that has no opinion: it sends what the test says, and shows what came back.

use std::path::Path;

use serde_json::Value;
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The API of one running server, for one token, over one kept connection a thread.
#[derive(Debug, Clone)]
pub struct Api {
    agent: ureq::Agent,
    address: String,
    token: Option<String>,
}

impl Api {
    /// # Panics
    /// If the CA's file does not hold a certificate.
    #[must_use]
    pub fn new(address: &str, ca_file: &Path, token: Option<&str>) -> Self {
        let pem = std::fs::read(ca_file).expect("the CA's certificate is readable");
        let authority = Certificate::from_pem(&pem).expect("the CA's file holds a certificate");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[authority])).build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true);
        let agent = config.tls_config(tls).timeout_global(Some(std::time::Duration::from_secs(60))).build().into();
        Self { agent, address: address.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same server for another caller.
    #[must_use]
    pub fn as_caller(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If no whole reply came back: the server is gone, or was killed in the middle.
    ///
    /// # Panics
    /// If the test asks for what is not a request.
    pub fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, ureq::Error> {
        self.send(Request::builder().method(method), path, body)
    }

    /// Reads what has changed since that revision.
    ///
    /// # Panics
    /// If there is no reply.
    #[must_use]
    pub fn get_after(&self, revision: u64, path: &str) -> Reply {
        let request = Request::builder().header("if-none-match", format!("\"{revision}\""));
        self.send(request, path, None).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn send(&self, request: Builder, path: &str, body: Option<&Value>) -> Result<Reply, ureq::Error> {
        let mut request = request.uri(format!("{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_string()).expect("a request"))
            }
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer?;
        let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }

    /// Sends a request and takes any reply.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Sends a request whose reply must be a good one.
    ///
    /// # Panics
    /// If it is a problem.
    #[track_caller]
    pub fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let reply = self.call(method, path, body);
        assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    /// # Panics
    /// If the body is not JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The problem's code.
    ///
    /// # Panics
    /// If it is not a problem.
    #[track_caller]
    #[must_use]
    pub fn code(&self) -> String {
        assert!(self.status >= 400, "this should have been refused: {}", self.text());
        self.json()["code"].as_str().expect("a problem has a code").to_owned()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
