//! What can go wrong with a store.

use std::path::PathBuf;

/// A variant for each thing that a caller answers differently; what is wrong is its text, what to do is its hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another program holds the database's lock. Trying again may work.
    #[error("the database is locked by another program")]
    Locked,

    /// A second server on the same data directory.
    #[error("{} is in use by another chandlery-server", directory.display())]
    InUse { directory: PathBuf },

    /// The disk is full. Nothing of the write was kept; the store reads on, and writes again when there is room.
    #[error("the disk that holds the database is full")]
    Full,

    #[error("the database cannot be written: its file, directory or file system is read-only")]
    ReadOnly,

    /// Reading, writing or fsync failed. After a failed write the store is shut for writing until it is opened again.
    #[error("the disk that holds the database failed: {cause}")]
    Failed { cause: String },

    /// A newer program wrote the database.
    #[error("{} has schema {found}, and this program knows schemas up to {known}", file.display())]
    TooNew { file: PathBuf, found: i64, known: i64 },

    /// The file is not a database of ours, or not a whole one. It was not touched.
    #[error("{}: {reason}", file.display())]
    NotOurs { file: PathBuf, reason: String },

    /// A row holds what no program of ours wrote, or a page cannot be read.
    #[error("{record} is damaged: {reason}")]
    Damaged { record: String, reason: String },

    #[error("the store failed: {0}")]
    Other(String),
}

impl StoreError {
    pub(crate) fn other(cause: impl ToString) -> Self {
        Self::Other(cause.to_string())
    }

    pub(crate) fn damaged(record: impl ToString, reason: impl ToString) -> Self {
        Self::Damaged { record: record.to_string(), reason: reason.to_string() }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked => "end the program that has chandlery.db open for writing (a sqlite3 shell?), and try again",
            Self::InUse { .. } => "stop the other server, or give this one its own --data-dir",
            Self::Full => "free some space on the disk of the data directory, and try again",
            Self::ReadOnly => "make the data directory and the files in it writable for the server's user",
            Self::Failed { .. } => "see to the disk of the data directory, then restart the server",
            Self::TooNew { .. } => "run the newer chandlery-server again, or restore a backup made before the upgrade",
            Self::NotOurs { .. } => "check --data-dir; if the file was cut off or overwritten, restore a backup",
            Self::Damaged { .. } => "somebody or something changed the database; restore a backup",
            Self::Other(_) => "look at the server's log; if it goes on, restart the server",
        }
    }
}
