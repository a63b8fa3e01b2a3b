use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

use chandlery_wire::api::Outcome;
use jiff::Timestamp;
use memchr::memmem::{self, Finder};
use serde::Deserialize;

use super::AuditError;
use super::reader::{ReverseLines, end_of_lines};

/// Which entries were in bundles that were served.
#[derive(Debug, Default)]
pub struct Reads {
    /// By region (`base` for an environment without): the names, of those that were asked for.
    pub delivered: BTreeMap<String, BTreeSet<String>>,
    /// The time of the log's first line, where the reading came to it: nothing is known of what was before.
    pub begins: Option<Timestamp>,
}

/// A line about a bundle, as far as it matters here.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    target: Cow<'a, str>,
    #[serde(borrow, default)]
    service: Cow<'a, str>,
    outcome: Outcome,
    revision: Option<u64>,
}

/// The names in it. Most lines tell of a bundle whose names are known already, and are read without these.
#[derive(Deserialize)]
struct Names<'a> {
    #[serde(borrow, default)]
    entries: Vec<Cow<'a, str>>,
}

/// What was served of an environment (`stack/environment/`) since a time, read from the log's end.
///
/// A caller that has a bundle already is told so without its names being written again; they are in an older line of the
/// same service, region and revision, which may be older than `since`: the reading goes on until they are found.
///
/// # Errors
///
/// If the file cannot be read.
pub(super) fn bundle_reads(
    path: &Path,
    environment: &str,
    since: Timestamp,
    names: &BTreeSet<&str>,
) -> Result<Reads, AuditError> {
    let failed = |error| AuditError::io(path, &error);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut lines = ReverseLines::new(&file, end_of_lines(&file, length).map_err(failed)?);
    let mark = format!("\"target\":\"{environment}");
    let (finder, action) = (Finder::new(&mark), Finder::new("\"action\":\"read-bundle\""));
    let mut reads = Reads::default();
    // Of each bundle, whether its names are known; not yet, where somebody was told to have it already.
    let mut bundles: HashMap<(String, String, Option<u64>), bool> = HashMap::new();
    let mut waiting = 0_usize;
    while let Some(line) = lines.next_line().map_err(failed)? {
        let Some(time) = time_of(&line) else { continue };
        if time < since && waiting == 0 {
            return Ok(Reads { begins: None, ..reads });
        }
        reads.begins = Some(time);
        if action.find(&line).is_none() || finder.find(&line).is_none() {
            continue;
        }
        // Without a revision, nothing was sent: the caller waited for a change, and went away.
        let Ok(Line { target, service, outcome: Outcome::Allowed, revision: revision @ Some(_) }) =
            serde_json::from_slice(&line)
        else {
            continue;
        };
        let Some(region) = target.strip_prefix(environment).map(str::to_owned) else { continue };
        let bundle = (region.clone(), service.into_owned(), revision);
        let known = bundles.get(&bundle).copied();
        if known == Some(true) || (known.is_none() && time < since) {
            continue;
        }
        let Ok(Names { entries }) = serde_json::from_slice(&line) else { continue };
        waiting = waiting + usize::from(known.is_none() && entries.is_empty())
            - usize::from(known == Some(false) && !entries.is_empty());
        bundles.insert(bundle, !entries.is_empty());
        let delivered = reads.delivered.entry(region).or_default();
        delivered.extend(entries.iter().filter(|name| names.contains(name.as_ref())).map(ToString::to_string));
    }
    Ok(reads)
}

/// A line's time, which stands near its beginning.
fn time_of(line: &[u8]) -> Option<Timestamp> {
    let start = memmem::find(&line[..line.len().min(64)], TIME)? + TIME.len();
    let end = memchr::memchr(b'"', &line[start..])? + start;
    std::str::from_utf8(&line[start..end]).ok()?.parse().ok()
}

const TIME: &[u8] = b"\"time\":\"";
