//! A moment of the past: a revision, or a time.

use chandlery_wire::Code;
use jiff::Timestamp;

use super::Error;
use super::attributes::revision_of;
use super::core::Core;
use crate::store::{Row, Snapshot};

/// What was there at a moment is what had been written by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Revision(u64),
    /// Milliseconds since 1970-01-01 UTC.
    Time(i64),
}

impl Moment {
    /// `42`, or RFC 3339. A moment that has not come yet is a mistake.
    pub(super) fn parse(core: &Core, snapshot: &dyn Snapshot, text: &str) -> Result<Self, Error> {
        let moment = match text.parse::<u64>() {
            Ok(revision) => Self::Revision(revision),
            Err(_) => {
                let time = text.parse::<Timestamp>().map_err(|_| {
                    Error::new(Code::BadRequest, "that is neither a revision nor a time")
                        .hint("a revision is a number; times are RFC 3339, as in 2026-11-20T10:00:00Z")
                })?;
                Self::Time(time.as_millisecond())
            }
        };
        let newest = snapshot.revision()?;
        match moment {
            Self::Revision(revision) if revision > newest => {
                Err(Error::new(Code::NotFound, format!("there is no revision {revision} yet; the newest is {newest}"))
                    .hint("every write says which revision it made; `chandlery audit` lists them"))
            }
            Self::Time(time) if time > core.now() => {
                Err(Error::new(Code::NotFound, "that time has not come yet").hint("name one in the past"))
            }
            moment => Ok(moment),
        }
    }

    /// Whether the version had been written by then. One from before revisions were kept was there at each of them.
    pub(super) fn includes(self, row: &Row) -> Result<bool, Error> {
        match self {
            Self::Revision(revision) => Ok(revision_of(row)? <= revision),
            Self::Time(time) => Ok(row.created <= time),
        }
    }
}
