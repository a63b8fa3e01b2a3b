//! Which entries no service has got for so many days: from the audit log.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::EntryName;
use chandlery_wire::api::{Finding, FindingKind, State};
use jiff::{SignedDuration, Timestamp};

use super::Error;
use super::attributes::rfc3339;
use super::board::{Board, readable};
use super::core::Core;
use crate::access::Caller;
use crate::store::{LayerKey, Row};

/// The findings; and since when the log tells of reads, where that is too late to tell anything.
pub(super) fn unread(
    core: &Core,
    caller: &Caller,
    board: &Board,
    days: u32,
) -> Result<(Vec<Finding>, Option<String>), Error> {
    let since =
        core.clock.now().saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN);
    let mut wanted: BTreeSet<EntryName> = BTreeSet::new();
    // What is younger than that was not there to be read.
    let counts = |key: &LayerKey, row: &Row| {
        row.state == State::Live && row.created < since.as_millisecond() && readable(caller, key, row)
    };
    for (key, rows) in &board.layers {
        wanted.extend(rows.iter().filter(|row| counts(key, row)).map(|row| row.name.clone()));
    }
    if wanted.is_empty() {
        return Ok((Vec::new(), None));
    }
    let environment = format!("{}/{}/", board.row.stack, board.row.name);
    let names: BTreeSet<&str> = wanted.iter().map(EntryName::as_str).collect();
    let reads = core.audit.bundle_reads(&environment, since, &names)?;
    if let Some(begins) = reads.begins.filter(|begins| *begins > since) {
        return Ok((Vec::new(), Some(rfc3339(begins.as_millisecond()))));
    }
    let mut layers: BTreeMap<&EntryName, Vec<&str>> = BTreeMap::new();
    for (key, rows) in &board.layers {
        for row in rows.iter().filter(|row| counts(key, row)) {
            let seen = match key.layer.region() {
                None => reads.delivered.values().any(|names| names.contains(row.name.as_str())),
                Some(region) => {
                    reads.delivered.get(region.as_str()).is_some_and(|names| names.contains(row.name.as_str()))
                }
            };
            if !seen {
                layers.entry(&row.name).or_default().push(key.layer.as_str());
            }
        }
    }
    let finding = |(name, mut layers): (&EntryName, Vec<&str>)| {
        layers.dedup();
        let detail = format!("no service has got it for {days} days (set in {})", layers.join(", "));
        Finding { kind: FindingKind::Unread, name: name.clone(), region: None, service: None, detail }
    };
    Ok((layers.into_iter().map(finding).collect(), None))
}
