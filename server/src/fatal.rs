//! What ends the program: two lines for a person, and an exit code.

use std::fmt;
use std::process::ExitCode;

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    what: String,
    hint: String,
    usage: bool,
}

impl Fatal {
    /// Something failed: exit code 1.
    pub fn new(what: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self { what: what.to_string(), hint: hint.into(), usage: false }
    }

    /// What was asked for cannot be: exit code 2.
    pub fn usage(what: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(what, hint) }
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n hint: {}", self.what, self.hint)
    }
}

impl std::error::Error for Fatal {}
