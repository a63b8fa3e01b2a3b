use std::io;
use std::path::PathBuf;

/// Why the audit log cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The file is not one to write to: a symlink, of the wrong mode, in use by another server.
    #[error("the audit log {} {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    /// The file is not the one that was written.
    #[error("the audit log {} is not what was written: {}{reason}", path.display(), at(*line))]
    Tampered { path: PathBuf, line: Option<u64>, reason: String },
    /// The system says no.
    #[error("the audit log {} cannot be used: {reason}", path.display())]
    Io { path: PathBuf, reason: String },
    /// A line was not written, or not durably; nor will others be, until the log has healed.
    #[error("the audit log cannot be written: {0}")]
    Broken(String),
}

impl AuditError {
    pub(super) fn io(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self::Io { path: path.into(), reason: error.to_string() }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => {
                "make it a regular file of the server's user, mode 0600, that no other server uses"
            }
            Self::Tampered { .. } => {
                "find out who changed it and put the true file back; or set this one aside as evidence and start a new \
                 chain: docs/OPERATIONS.md, \"The audit log was changed\""
            }
            Self::Io { .. } | Self::Broken(_) => {
                "make room on the disk or make it writable again; the server goes on by itself within a second"
            }
        }
    }
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}
