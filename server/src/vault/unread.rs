//! Which entries no service has got for so many days: from the audit log.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::EntryName;
use chandlery_wire::api::{Finding, FindingKind, State};
use jiff::{SignedDuration, Timestamp};

use super::Error;
use super::attributes::rfc3339;
use super::board::Board;
use super::core::Core;

/// The findings; and since when the log tells of reads, where that is too late to tell anything.
pub(super) fn unread(core: &Core, board: &Board, days: u32) -> Result<(Vec<Finding>, Option<String>), Error> {
    let since =
        core.clock.now().saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN);
    let mut wanted: BTreeSet<EntryName> = BTreeSet::new();
    for row in board.layers.iter().flat_map(|(_, rows)| rows) {
        // What is younger than that was not there to be read.
        if row.state == State::Live && row.created < since.as_millisecond() {
            wanted.insert(row.name.clone());
        }
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
        for row in rows.iter().filter(|row| row.state == State::Live && wanted.contains(&row.name)) {
            let seen = match key.layer.region() {
                None => reads.delivered.values().any(|names| names.contains(row.name.as_str())),
                Some(region) => {
                    reads.delivered.get(region.as_str()).is_some_and(|names| names.contains(row.name.as_str()))
                }
            };
            if !seen && row.created < since.as_millisecond() {
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
