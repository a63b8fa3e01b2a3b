//! What the vault's operations fail with: a code to branch on, and sentences for a person.

use std::fmt::Write as _;

use chandlery_wire::api::Outcome;
use chandlery_wire::{Code, Fault};

use crate::audit::AuditError;
use crate::crypto::{EncryptError, IntegrityError};
use crate::store::StoreError;

/// A refusal or a failure. Neither sentence ever holds a value; `detail` may name records, so it is fit for the audit
/// log as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub detail: String,
    pub hint: String,
    pub faults: Vec<Fault>,
}

impl Error {
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), hint: String::new(), faults: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    #[must_use]
    pub fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// The one refusal of the policy. It is the same whether or not the thing exists.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(Code::Forbidden, "this token may not do that").hint(
            "ask for a token with the verb and the scope it needs; `chandlery token show` tells what this one may do",
        )
    }

    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.code {
            Code::Unauthenticated | Code::Forbidden | Code::SourceRefused => Outcome::Refused,
            Code::Integrity
            | Code::Internal
            | Code::Sealed
            | Code::AuditUnavailable
            | Code::StoreUnavailable
            | Code::IdentityUnavailable
            | Code::SourceUnavailable
            | Code::Overloaded
            | Code::ShuttingDown => Outcome::Failed,
            _ => Outcome::Malformed,
        }
    }

    /// One line for the audit log.
    #[must_use]
    pub fn audit_detail(&self) -> String {
        let mut line = format!("{}: {}", code_text(self.code), self.detail);
        for fault in &self.faults {
            // Writing to a String cannot fail.
            let _ = write!(line, "; {} {}", fault.name, fault.detail);
        }
        line
    }
}

/// A code as it stands in JSON.
fn code_text(code: Code) -> String {
    serde_json::to_value(code).ok().and_then(|json| json.as_str().map(str::to_owned)).unwrap_or_default()
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Damaged { .. } => Code::Integrity,
            _ => Code::StoreUnavailable,
        };
        Self::new(code, error.to_string()).hint(error.hint())
    }
}

impl From<IntegrityError> for Error {
    fn from(error: IntegrityError) -> Self {
        Self::new(Code::Integrity, format!("{error}; it is not served")).hint(error.hint())
    }
}

impl From<EncryptError> for Error {
    fn from(error: EncryptError) -> Self {
        Self::new(Code::Internal, error.to_string()).hint(error.hint())
    }
}

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        Self::new(Code::AuditUnavailable, format!("{error}; nothing is served without it")).hint(error.hint())
    }
}
