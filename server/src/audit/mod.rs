//! The audit log: one line of JSON for every request, chained by a keyed hash, on the disk before the reply.
//!
//! # The format
//!
//! A line is a [`chandlery_wire::api::AuditRecord`] and ends with its `mac`, always:
//!
//! ```text
//! {"seq":7,"time":"2026-01-01T00:00:00Z","caller":"tok_a","action":"read-bundle","outcome":"allowed","mac":"<64 hex>"}\n
//! └────────────────────────────── body ───────────────────────────────────────────┘└───────── 74 bytes ────────┘
//! ```
//!
//! `mac(n) = HMAC-SHA-256(audit key, mac(n-1) ‖ body(n))` (RFC 2104, FIPS 180-4), where `mac(n-1)` is the 32 bytes of the
//! line before, `mac(0)` is 32 zero bytes, and the body is every byte of the line before `,"mac":"`, as it stands in the
//! file. So nothing can be edited, not even a space, and no line dropped, added or moved, without the key; and the key is
//! not in the log. Only the end can be cut off unseen, which is why the store keeps an [`Anchor`].
//!
//! # The promise
//!
//! [`AuditLog::append`] gives a [`Receipt`], and a receipt that says `Ok` says that the line is durable: written in one
//! `write`, after which one `fdatasync` returned, with the file still in its place. Lines that arrive while one batch is
//! on its way to the disk make the next batch. When a line cannot be written, its receipt says so, and so do all others
//! until the log has healed; it tries to every second.

mod chain;
mod error;
mod log;
mod opening;
mod query;
mod reader;
mod reads;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::fmt;

use chandlery_wire::api::Outcome;

pub use error::AuditError;
pub use log::{AuditLog, Receipt};
pub use query::{DEFAULT_LIMIT, Filter, MAX_LIMIT, query};
pub use reads::Reads;
pub use verify::verify;

/// Who the server itself is in the log: the caller of lines that no request asked for.
pub const SERVER: &str = "server";

/// A record before it has a number, a time and a place in the chain. No field may ever hold a value.
///
/// Text is cut at 256 characters: some of it comes from outside.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The token's id, `anonymous`, or [`SERVER`].
    pub caller: &'a str,
    /// The address the request came from, or `unix`.
    pub peer: Option<&'a str>,
    /// What was asked for. One that leaves the store as it is starts with `read-`.
    pub action: &'a str,
    /// On what: `stack/environment/layer/entry`, as far as it is known.
    pub target: Option<&'a str>,
    pub service: Option<&'a str>,
    pub outcome: Outcome,
    /// The problem's code and the record at fault.
    pub detail: Option<&'a str>,
    /// The entries that were read or written, where it is not all in `target`.
    pub entries: Vec<&'a str>,
    /// The store's revision after a write; a bundle's revision after a read.
    pub revision: Option<u64>,
}

impl<'a> Draft<'a> {
    #[must_use]
    pub fn new(caller: &'a str, action: &'a str, outcome: Outcome) -> Self {
        Self {
            caller,
            peer: None,
            action,
            target: None,
            service: None,
            outcome,
            detail: None,
            entries: Vec::new(),
            revision: None,
        }
    }
}

/// One line of the log, named by its number and its hash: kept outside the log, it shows whether the log was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    pub seq: u64,
    pub mac: [u8; 32],
}

impl Anchor {
    /// What an empty log has for a head.
    pub const GENESIS: Self = Self { seq: 0, mac: [0; 32] };
}

impl fmt::Display for Anchor {
    /// `seq:hex`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, chain::hex(&self.mac))
    }
}
