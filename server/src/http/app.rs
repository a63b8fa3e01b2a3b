//! What every handler shares.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Host;
use crate::identity::Identifier;
use crate::vault::{Error, Gate, Vault};

#[derive(Debug, Clone)]
pub struct App {
    pub gate: Arc<Gate>,
    pub limits: Limits,
    /// Absent where only tokens count.
    pub identity: Option<Arc<Identity>>,
}

/// How containers without a token are known, and where their host is.
#[derive(Debug)]
pub struct Identity {
    pub identifier: Identifier,
    pub host: Host,
}

impl App {
    /// The vault, where it is open.
    pub(super) fn vault(&self) -> Result<Arc<Vault>, Error> {
        self.gate.vault()
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A request's body, at most, in bytes.
    pub body: usize,
    /// From the last byte of the header to the reply, at most; what waits for a change has its wait besides.
    pub time: Duration,
    /// Requests that may wait for a change at a time.
    pub waiting: usize,
}
