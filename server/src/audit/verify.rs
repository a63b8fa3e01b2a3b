use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use chandlery_wire::api::AuditVerification;
use ring::hmac;

use super::chain::{self, Line};
use super::{Anchor, AuditError};

/// No record is as long: a file without newlines must not fill the memory.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// Checks every line of a log, and that `head`, the line the store knows as its last, is in it.
///
/// # Errors
///
/// If the file cannot be read. A log that is not what was written is an answer, not an error.
pub fn verify(path: &Path, key: &hmac::Key, head: Option<Anchor>) -> Result<AuditVerification, AuditError> {
    verify_prefix(path, key, head, u64::MAX)
}

/// The same, of the first `length` bytes: a log that is being written ends in lines that are not durable yet.
pub(super) fn verify_prefix(
    path: &Path,
    key: &hmac::Key,
    head: Option<Anchor>,
    length: u64,
) -> Result<AuditVerification, AuditError> {
    let file = File::open(path).map_err(|error| AuditError::io(path, &error))?;
    let mut lines = BufReader::with_capacity(256 * 1024, file.take(length));
    let mut walk = Walk { key, known: head.unwrap_or(Anchor::GENESIS), head: Anchor::GENESIS };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| AuditError::io(path, &error))? == 0 {
            break;
        }
        if let Err(reason) = walk.step(&line) {
            return Ok(bad(walk.head.seq, &reason));
        }
    }
    let Walk { head, known, .. } = walk;
    if head.seq < known.seq {
        return Ok(bad(head.seq, &format!("it is missing: the store knows the log up to line {}", known.seq)));
    }
    Ok(AuditVerification { intact: true, lines: head.seq, first_bad_line: None, reason: None })
}

fn bad(good: u64, reason: &str) -> AuditVerification {
    AuditVerification { intact: false, lines: good, first_bad_line: Some(good + 1), reason: Some(reason.to_owned()) }
}

/// Goes along the chain, a line at a time.
struct Walk<'a> {
    key: &'a hmac::Key,
    known: Anchor,
    /// The last good line.
    head: Anchor,
}

impl Walk<'_> {
    fn step(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.strip_suffix(b"\n").ok_or("it is not complete: a write was cut short, or the line was")?;
        let line = Line::parse(line)?;
        let seq = self.head.seq + 1;
        if line.anchor.seq != seq {
            let found = line.anchor.seq;
            return Err(format!("its number is {found}: lines are missing, doubled or out of order"));
        }
        if !line.follows(self.key, &self.head.mac) {
            return Err("its mac does not fit: the line was edited, or the audit key is another".to_owned());
        }
        if seq == self.known.seq && line.anchor.mac != self.known.mac {
            let known = chain::hex(&self.known.mac);
            return Err(format!("it is not the line the store knows, whose mac is {known}: the log was replaced"));
        }
        self.head = line.anchor;
        Ok(())
    }
}
