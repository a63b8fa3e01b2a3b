use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chandlery_wire::api::{AuditRecord, AuditVerification, Outcome};
use ring::hmac;
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, FakeClock};

struct Place {
    directory: TempDir,
    clock: FakeClock,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: FakeClock::default() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn open(&self, anchor: Option<Anchor>) -> Result<AuditLog, AuditError> {
        AuditLog::open(&self.path(), key(), Arc::new(self.clock.clone()), anchor)
    }

    /// A log of that many lines, closed again, and its head.
    fn with_lines(lines: usize) -> (Self, Anchor) {
        let place = Self::new();
        let log = place.open(None).unwrap();
        for number in 0..lines {
            append(&log, number).unwrap();
        }
        let head = log.head();
        (place, head)
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn write_lines(&self, lines: &[String]) {
        fs::write(self.path(), lines.join("\n") + "\n").unwrap();
    }

    fn verify(&self, head: Anchor) -> AuditVerification {
        verify(&self.path(), &key(), Some(head)).unwrap()
    }
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
}

fn append(log: &AuditLog, number: usize) -> Result<(), AuditError> {
    let entry = format!("ENTRY_{number}");
    let mut draft = Draft::new("tok_a", "read-bundle", Outcome::Allowed);
    draft.target = Some("shop/production/eu");
    draft.entries = vec!["DB_HOST", &entry];
    log.append(&draft).wait()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_line_is_a_record_of_the_wire() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let mut draft = Draft::new("tok_a", "write-entry", Outcome::Failed);
    draft.peer = Some("10.0.0.1:99");
    draft.target = Some("shop/production/base/DB_HOST");
    draft.service = Some("app");
    draft.detail = Some("a \"quoted\"\nline");
    draft.entries = vec!["A", "B"];
    draft.revision = Some(17);
    log.append(&draft).wait().unwrap();
    append(&log, 1).unwrap();

    let lines = place.lines();
    for (line, seq) in lines.iter().zip(1..) {
        let record: AuditRecord = serde_json::from_str(line).unwrap();
        assert_eq!(record.seq, seq);
        assert_eq!(record.time.parse::<jiff::Timestamp>().unwrap(), place.clock.now());
        assert_eq!(*line, serde_json::to_string(&record).unwrap(), "the order and spelling of the wire's type");
    }
    let first: AuditRecord = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(first.detail.as_deref(), draft.detail);
    assert_eq!((first.entries, first.revision), (vec!["A".to_owned(), "B".to_owned()], Some(17)));
}

#[test]
fn the_documented_formula_gives_the_mac() {
    let (place, head) = Place::with_lines(2);
    let mut previous = vec![0; 32];
    for line in place.lines() {
        let (body, _) = line.split_once(r#","mac":""#).unwrap();
        let tag = hmac::sign(&key(), &[&previous, body.as_bytes()].concat());
        let record: AuditRecord = serde_json::from_str(&line).unwrap();
        previous = tag.as_ref().to_vec();
        let digits: String = previous.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(record.mac, digits);
    }
    assert_eq!(previous, head.mac);
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn text_from_outside_is_cut_and_cannot_make_lines() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let long = "ü".repeat(10_000);
    let mut draft = Draft::new(&long, "read-bundle", Outcome::Malformed);
    draft.target = Some("x\n{\"seq\":2}\u{1b}[31m");
    draft.detail = Some(&long);
    log.append(&draft).wait().unwrap();
    let lines = place.lines();
    assert_eq!(lines.len(), 1);
    let record: AuditRecord = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(record.caller.chars().count(), 256);
    assert_eq!(record.target.as_deref(), draft.target);
    assert!(!lines[0].contains('\u{1b}'));
}

#[test]
fn a_log_that_nobody_touched_is_intact() {
    let (place, head) = Place::with_lines(5);
    let intact = AuditVerification { intact: true, lines: 5, first_bad_line: None, reason: None };
    assert_eq!(place.verify(head), intact);
    let log = place.open(Some(head)).unwrap();
    assert_eq!(log.head(), head);
    append(&log, 5).unwrap();
    assert_eq!(log.verify().unwrap().lines, 6);
}

#[test]
fn every_edit_of_every_line_is_found_and_named() {
    let (place, head) = Place::with_lines(6);
    let lines = place.lines();
    let check = |what: &str, changed: Vec<String>, bad: usize| {
        place.write_lines(&changed);
        let found = place.verify(head);
        assert!(!found.intact, "{what}");
        assert_eq!(found.first_bad_line, Some(bad as u64), "{what}: {:?}", found.reason);
        assert!(place.open(Some(head)).is_err() || bad <= 5, "{what}: the end is checked at every start");
        place.write_lines(&lines);
    };
    for at in 0..lines.len() {
        let change = |edit: &dyn Fn(&mut Vec<String>)| {
            let mut changed = lines.clone();
            edit(&mut changed);
            changed
        };
        let line = at + 1;
        check("edit", change(&|lines| lines[at] = lines[at].replace("tok_a", "tok_b")), line);
        check("space", change(&|lines| lines[at] = lines[at].replace(",\"time\"", ", \"time\"")), line);
        check("garbage", change(&|lines| lines[at] = "garbage".to_owned()), line);
        check("empty", change(&|lines| lines[at] = String::new()), line);
        check("number", change(&|lines| lines[at] = lines[at].replace("\"seq\":", "\"seq\":1")), line);
        check("delete", change(&|lines| drop(lines.remove(at))), line);
        check("double", change(&|lines| lines.insert(at, lines[at].clone())), line + 1);
        check("truncate", change(&|lines| lines.truncate(at)), line.min(at + 1));
        if at + 1 < lines.len() {
            check("reorder", change(&|lines| lines.swap(at, at + 1)), line);
        }
    }
    assert!(place.verify(head).intact);
}

#[test]
fn every_byte_counts() {
    let (place, head) = Place::with_lines(2);
    let whole = fs::read(place.path()).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(place.path(), &changed).unwrap();
        assert!(!place.verify(head).intact, "byte {at}");
        fs::write(place.path(), &whole[..at]).unwrap();
        assert!(!place.verify(head).intact, "cut at {at}");
        // Whatever is in the file, opening it says so and does not panic.
        let _ = place.open(Some(head));
    }
}

#[test]
fn a_log_cut_at_a_line_is_found_by_the_anchor_alone() {
    let (place, head) = Place::with_lines(4);
    let lines = place.lines();
    place.write_lines(&lines[..3]);
    assert!(verify(&place.path(), &key(), None).unwrap().intact, "the file alone cannot tell");
    assert_eq!(place.verify(head).first_bad_line, Some(4));
    let error = place.open(Some(head)).unwrap_err();
    assert!(matches!(&error, AuditError::Tampered { line: Some(4), .. }), "{error}");
    fs::remove_file(place.path()).unwrap();
    assert!(matches!(place.open(Some(head)), Err(AuditError::Tampered { line: Some(1), .. })));
}

#[test]
fn a_log_rewritten_with_its_own_key_is_found_by_the_anchor() {
    let (_, head) = Place::with_lines(4);
    let other = Place::new();
    other.clock.advance(Duration::from_secs(1));
    let log = other.open(None).unwrap();
    (0..9).for_each(|number| append(&log, number).unwrap());
    drop(log);
    let error = other.open(Some(head)).unwrap_err();
    assert!(matches!(&error, AuditError::Tampered { line: Some(4), .. }), "{error}");
    assert_eq!(other.verify(head).first_bad_line, Some(4));
}

#[test]
fn an_old_anchor_is_found_in_a_long_log() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let mut anchors = Vec::new();
    for number in 0..3000 {
        append(&log, number).unwrap();
        if number % 97 == 0 {
            anchors.push(log.head());
        }
    }
    drop(log);
    for anchor in anchors {
        drop(place.open(Some(anchor)).unwrap());
        let wrong = Anchor { mac: [1; 32], ..anchor };
        assert!(matches!(place.open(Some(wrong)), Err(AuditError::Tampered { line, .. }) if line == Some(anchor.seq)));
    }
}

#[test]
fn another_key_is_an_error() {
    let (place, head) = Place::with_lines(2);
    let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
    let error = AuditLog::open(&place.path(), other, Arc::new(FakeClock::default()), Some(head)).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn a_line_that_a_crash_cut_short_is_cut_off_and_told() {
    let (place, head) = Place::with_lines(3);
    let whole = fs::read(place.path()).unwrap();
    for torn in [&b"{\"seq\":4,\"time\":\"20"[..], b"\0\0\0\0", b"\0\0\0\0\n\0\0{\"seq\":6}\n", b"x"] {
        fs::write(place.path(), [&whole, torn].concat()).unwrap();
        let log = place.open(Some(head)).unwrap();
        append(&log, 4).unwrap();
        let records = log.query(&Filter::default()).unwrap().records;
        assert_eq!(records.len(), 5);
        assert_eq!((records[3].action.as_str(), records[3].caller.as_str()), ("recovered-audit-log", SERVER));
        assert!(records[3].detail.as_deref().unwrap().contains(&format!("{} bytes", torn.len())));
        assert!(log.verify().unwrap().intact);
    }
}

#[test]
fn files_that_are_not_safe_to_write_to_are_refused() {
    let place = Place::new();
    let refused = |wanted: &str| {
        let error = place.open(None).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let elsewhere = place.directory.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    symlink(&elsewhere, place.path()).unwrap();
    refused("symlink");
    fs::remove_file(place.path()).unwrap();

    fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(place.path()).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o620)).unwrap();
    refused("0620");
    fs::remove_file(place.path()).unwrap();

    fs::create_dir(place.path()).unwrap();
    assert!(place.open(None).is_err());
}

#[test]
fn two_servers_cannot_write_one_log_and_no_lock_outlives_its_owner() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    assert!(place.open(None).unwrap_err().to_string().contains("in use"));
    drop(log);
    place.open(None).unwrap();
}

#[test]
fn the_revision_is_that_of_the_last_write() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    assert_eq!(log.last_revision(), None);
    let record = |action, revision| {
        let mut draft = Draft::new("tok_a", action, Outcome::Allowed);
        draft.revision = Some(revision);
        log.append(&draft).wait().unwrap();
    };
    record("write-entry", 5);
    record("read-bundle", 3);
    assert_eq!(log.last_revision(), Some(5));
    drop(log);
    assert_eq!(place.open(None).unwrap().last_revision(), Some(5));
}

#[test]
fn the_revision_is_told_again_before_it_is_far_away() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let mut draft = Draft::new("tok_a", "write-entry", Outcome::Allowed);
    draft.revision = Some(5);
    log.append(&draft).wait().unwrap();
    let receipts: Vec<_> =
        (0..10_000).map(|_| log.append(&Draft::new("tok_a", "read-bundle", Outcome::Allowed))).collect();
    receipts.into_iter().for_each(|receipt| receipt.wait().unwrap());
    (0..5000).map(|_| log.append(&Draft::new("a", "read-bundle", Outcome::Allowed))).for_each(drop);
    append(&log, 1).unwrap();
    drop(log);
    assert!(place.lines().iter().any(|line| line.contains("\"action\":\"checkpoint\"")));
    let log = place.open(None).unwrap();
    assert_eq!(log.last_revision(), Some(5));
    assert!(log.verify().unwrap().intact);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_come_together_share_a_sync() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                for line in 0..50 {
                    let target = format!("shop/production/base/T{task}_{line}");
                    let mut draft = Draft::new("tok_a", "write-entry", Outcome::Allowed);
                    draft.target = Some(&target);
                    log.append(&draft).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (lines, syncs) = log.counts();
    assert_eq!(lines, 64 * 50);
    assert!(syncs < lines / 2, "{syncs} syncs for {lines} lines");
    let filter = Filter { limit: Some(MAX_LIMIT), ..Filter::default() };
    let mut targets: Vec<_> =
        log.query(&filter).unwrap().records.into_iter().filter_map(|record| record.target).collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), 64 * 50);
    assert!(log.verify().unwrap().intact);
}

#[test]
fn what_is_queued_is_written_when_the_last_handle_goes() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let receipts: Vec<_> =
        (0..100).map(|_| log.append(&Draft::new("server", "read-nothing", Outcome::Allowed))).collect();
    drop(log);
    receipts.into_iter().for_each(|receipt| receipt.wait().unwrap());
    assert_eq!(place.lines().len(), 100);
}

#[test]
fn a_log_that_was_removed_takes_nothing_until_it_is_back() {
    let (place, head) = Place::with_lines(2);
    let log = place.open(Some(head)).unwrap();
    assert_eq!(log.status(), Ok(()));
    let moved = place.directory.path().join("moved");
    fs::rename(place.path(), &moved).unwrap();
    assert!(log.status().unwrap_err().contains("removed"), "noticed before anybody writes");
    let error = append(&log, 3).unwrap_err();
    assert!(error.to_string().contains("removed"), "{error}");
    assert!(append(&log, 4).is_err());

    fs::write(place.path(), "").unwrap();
    eventually("the other file is noticed", || log.status().is_err_and(|reason| reason.contains("replaced")));
    assert!(append(&log, 5).is_err());

    fs::rename(&moved, place.path()).unwrap();
    eventually("the log heals", || log.status().is_ok());
    append(&log, 6).unwrap();
    let records = log.query(&Filter::default()).unwrap().records;
    assert_eq!(records.len(), 4, "{records:?}");
    assert!(records[2].detail.as_deref().unwrap().contains("3 lines refused"), "{:?}", records[2]);
    assert!(log.verify().unwrap().intact);
}

#[test]
fn a_log_that_somebody_else_appends_to_takes_nothing_and_keeps_the_evidence() {
    let (place, head) = Place::with_lines(2);
    let log = place.open(Some(head)).unwrap();
    let length = fs::metadata(place.path()).unwrap().len();
    fs::OpenOptions::new().append(true).open(place.path()).unwrap().write_all(b"forged\n").unwrap();
    assert!(append(&log, 3).unwrap_err().to_string().contains("somebody else"));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(log.status().is_err());
    assert_eq!(place.lines()[2], "forged");
    fs::OpenOptions::new().write(true).open(place.path()).unwrap().set_len(length).unwrap();
    eventually("the log heals", || log.status().is_ok());
    append(&log, 4).unwrap();
    assert!(log.verify().unwrap().intact);
}

#[test]
fn an_operator_can_begin_again_and_nothing_is_lost() {
    let (place, head) = Place::with_lines(4);
    let lines = place.lines();
    place.write_lines(&lines[..2]);
    assert!(place.open(Some(head)).is_err());
    let clock: Arc<dyn Clock> = Arc::new(place.clock.clone());
    let (log, aside) = AuditLog::start_over(&place.path(), key(), clock, Some(head)).unwrap();
    assert_eq!(fs::read_to_string(aside.unwrap()).unwrap().lines().count(), 2);
    let records = log.query(&Filter::default()).unwrap().records;
    assert_eq!(records[0].action, "restarted-audit-log");
    assert!(records[0].detail.as_deref().unwrap().contains(&head.to_string()));
    assert!(log.verify().unwrap().intact);
}

#[test]
fn a_query_finds_by_entry_caller_and_time_and_takes_the_newest() {
    let place = Place::new();
    let log = place.open(None).unwrap();
    let start = place.clock.now();
    for number in 0..20_u64 {
        let caller = if number % 2 == 0 { "tok_even" } else { "tok_odd" };
        let target = format!("shop/production/base/E{number}");
        let mut draft = Draft::new(caller, "write-entry", Outcome::Allowed);
        draft.target = Some(&target);
        draft.revision = Some(number);
        log.append(&draft).wait().unwrap();
        place.clock.advance(Duration::from_secs(60));
    }
    append(&log, 7).unwrap();
    let seqs = |filter: Filter| {
        let found = log.query(&filter).unwrap();
        (found.records.iter().map(|record| record.seq).collect::<Vec<_>>(), found.truncated)
    };
    let any = Filter::default;
    assert_eq!(seqs(Filter { limit: Some(2), ..any() }), (vec![20, 21], true));
    assert_eq!(seqs(Filter { entry: Some("E7".into()), ..any() }), (vec![8], false));
    assert_eq!(seqs(Filter { entry: Some("base/E7".into()), ..any() }), (vec![8], false));
    assert_eq!(seqs(Filter { entry: Some("7".into()), ..any() }), (vec![], false));
    assert_eq!(seqs(Filter { entry: Some("ENTRY_7".into()), ..any() }), (vec![21], false));
    assert_eq!(seqs(Filter { caller: Some("tok_odd".into()), limit: Some(2), ..any() }), (vec![18, 20], true));
    let minute = |number| Some(start.saturating_add(jiff::SignedDuration::from_mins(number)).unwrap());
    assert_eq!(seqs(Filter { since: minute(3), until: minute(5), ..any() }), (vec![4, 5], false));
    assert_eq!(seqs(Filter { caller: Some("no\nbody\"".into()), ..any() }), (vec![], false));
}

#[test]
fn a_full_disk_serves_nothing_and_heals_when_there_is_room() {
    let Some(disk) = TinyDisk::mount("size=64k") else { return };
    let path = disk.path().join("audit.log");
    let log = AuditLog::open(&path, key(), Arc::new(FakeClock::default()), None).unwrap();
    append(&log, 0).unwrap();
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 16 * 1024]).unwrap();
    let written = (1..2000).take_while(|number| append(&log, *number).is_ok()).count();
    assert!(written < 1900, "the disk never filled up");
    assert!(append(&log, 0).unwrap_err().to_string().contains("No space"));
    assert!(log.status().is_err());
    let head = log.head();
    assert_eq!(head.seq, written as u64 + 1);

    fs::remove_file(&filler).unwrap();
    eventually("the log heals", || log.status().is_ok());
    append(&log, 0).unwrap();
    let verification = log.verify().unwrap();
    assert!(verification.intact, "{verification:?}");
    assert_eq!(verification.lines, head.seq + 2);
    drop(log);
    AuditLog::open(&path, key(), Arc::new(FakeClock::default()), Some(head)).unwrap();
}

#[test]
fn a_read_only_disk_serves_nothing() {
    let Some(disk) = TinyDisk::mount("size=256k") else { return };
    let path = disk.path().join("audit.log");
    let log = AuditLog::open(&path, key(), Arc::new(FakeClock::default()), None).unwrap();
    append(&log, 0).unwrap();
    drop(log);
    disk.remount("ro");
    let error = AuditLog::open(&path, key(), Arc::new(FakeClock::default()), None).unwrap_err();
    assert!(error.to_string().contains("Read-only"), "{error}");
    assert!(verify(&path, &key(), None).unwrap().intact, "it can be read all the same");
}

/// A file system of a few pages, for root.
struct TinyDisk(TempDir);

impl TinyDisk {
    fn mount(options: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting a tiny disk needs root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: no tmpfs can be mounted here");
            return None;
        }
        Some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
