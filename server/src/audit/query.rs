use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;

use chandlery_wire::api::{AuditList, AuditRecord};
use jiff::Timestamp;

use super::AuditError;
use super::reader::{ReverseLines, end_of_lines};

/// How many records an answer has where nobody says.
pub const DEFAULT_LIMIT: usize = 100;
/// How many it has at most.
pub const MAX_LIMIT: usize = 10_000;

/// Which records to read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// An entry's name, or `stack/environment/layer/entry`.
    pub entry: Option<String>,
    /// A token's id, `anonymous` or `server`.
    pub caller: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before, and not at.
    pub until: Option<Timestamp>,
    /// The newest that many; [`DEFAULT_LIMIT`] without, [`MAX_LIMIT`] at most.
    pub limit: Option<usize>,
}

/// The newest records that match, oldest first. Lines that are no records are passed over: to name them is
/// [`super::verify`]'s work.
///
/// # Errors
///
/// If the file cannot be read.
pub fn query(path: &Path, filter: &Filter) -> Result<AuditList, AuditError> {
    let failed = |error| AuditError::io(path, &error);
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut lines = ReverseLines::new(&file, end_of_lines(&file, length).map_err(failed)?);
    let mut records = VecDeque::new();
    let mut truncated = false;
    while let Some(line) = lines.next_line().map_err(failed)? {
        if !filter.may_match(&line) {
            continue;
        }
        let Ok(record) = serde_json::from_slice::<AuditRecord>(&line) else { continue };
        if !filter.matches(&record) {
            continue;
        }
        if records.len() == limit {
            truncated = true;
            break;
        }
        records.push_front(record);
    }
    Ok(AuditList { records: records.into(), truncated })
}

impl Filter {
    /// A look at the bytes, to parse only the lines that may match.
    fn may_match(&self, line: &[u8]) -> bool {
        // Of `stack/environment/layer/entry` only the last need stand in one piece.
        let entry = self.entry.as_deref().and_then(|entry| entry.rsplit('/').next());
        let wanted = [entry, self.caller.as_deref()];
        wanted.into_iter().flatten().filter(|text| stands_as_is(text)).all(|text| contains(line, text))
    }

    fn matches(&self, record: &AuditRecord) -> bool {
        let time = record.time.parse::<Timestamp>().ok();
        self.caller.as_ref().is_none_or(|caller| *caller == record.caller)
            && self.entry.as_ref().is_none_or(|entry| concerns(record, entry))
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until))
    }
}

fn concerns(record: &AuditRecord, entry: &str) -> bool {
    let is_it = |name: &str| name.strip_suffix(entry).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    let target = record.target.as_deref();
    // Of what was written, the version is told as well; and where it is not all in one layer, the layer.
    let is_among = |name: &String| {
        let name = name.rsplit_once(" v").map_or(name.as_str(), |(name, _)| name);
        is_it(name) || target.is_some_and(|target| is_it(&format!("{target}/{name}")))
    };
    target.is_some_and(is_it) || record.entries.iter().any(is_among)
}

/// Whether JSON writes the text as it is, so that the line holds its bytes.
fn stands_as_is(text: &str) -> bool {
    !text.contains(|c: char| c == '"' || c == '\\' || c.is_control())
}

fn contains(line: &[u8], text: &str) -> bool {
    memchr::memmem::find(line, text.as_bytes()).is_some()
}
