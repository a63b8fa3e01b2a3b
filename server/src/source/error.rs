//! What a source fails with.

use std::time::Duration;

use super::Address;

/// What kind of failure it is: whether the last value may be served in its place, and how soon to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such secret: it never was, or it was deleted.
    Missing,
    /// The source's owner, or the server's configuration, does not allow it.
    Refused,
    /// The source wants to be asked less often.
    Throttled,
    /// The source cannot be asked now, or does not answer.
    Unreachable,
    /// What it answers is no value.
    Invalid,
}

/// Why there is no value. Neither sentence ever holds one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SourceError {
    pub trouble: Trouble,
    /// What is wrong: names the source and the secret, and the permission that is missing where that is it.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

impl SourceError {
    #[must_use]
    pub fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: detail.into(), hint: String::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(super) fn silent(address: &Address, deadline: Duration) -> Self {
        let detail = format!("{address} cannot be read: no answer within {} s", deadline.as_secs_f64());
        Self::new(Trouble::Unreachable, detail)
            .hint("look whether the source is there, and whether the server reaches it")
    }

    /// Whether the source is away, and has not said no: only then is its last word still good.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self.trouble, Trouble::Throttled | Trouble::Unreachable)
    }
}
