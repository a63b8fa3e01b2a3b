//! The one thread that writes. What it has not written yet is in the queue; what it has is on the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chandlery_wire::api::Outcome;
use ring::hmac;
use rustix::fs::StatVfsMountFlags;

use super::log::{Item, Shared, State};
use super::opening::{Identity, Opened};
use super::{Anchor, AuditError, Draft, SERVER, chain};
use crate::clock::Clock;

/// How often a broken log tries to heal.
const RETRY: Duration = Duration::from_secs(1);
/// After that many lines without it, a line tells the store's revision again, so that nobody has to look far for it.
pub(super) const CHECKPOINT_EVERY: u64 = 4096;

/// Something the log says about itself.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) action: &'static str,
    pub(super) detail: String,
}

impl Note {
    fn members(&self) -> Vec<u8> {
        let mut draft = Draft::new(SERVER, self.action, Outcome::Allowed);
        draft.detail = Some(&self.detail);
        chain::members(&draft)
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    key: hmac::Key,
    clock: Arc<dyn Clock>,
    file: File,
    /// As in [`Shared`]; this thread is the only one that changes it.
    durable: State,
    since_revision: u64,
    /// Whether bytes of a batch that failed may stand behind the last durable line.
    torn: bool,
    notes: Vec<Note>,
    /// Lines that were refused since the log broke.
    refused: u64,
    last_try: Instant,
    /// Kept for its capacity.
    batch: Vec<u8>,
}

fn tell(items: Vec<Item>, result: &Result<(), AuditError>) {
    for item in items {
        // A request whose client went away no longer waits for its line.
        let _ = item.done.send(result.clone());
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, key: hmac::Key, clock: Arc<dyn Clock>, opened: Opened) -> Self {
        let durable = shared.state().clone();
        let mut writer = Self {
            shared,
            key,
            clock,
            file: opened.file,
            durable,
            since_revision: opened.since_revision,
            torn: false,
            notes: opened.notes,
            refused: 0,
            last_try: Instant::now(),
            batch: Vec::new(),
        };
        // A disk that is full at start is as good a reason to wait for room as one that fills up later.
        if let Err(reason) = writer.write_notes() {
            writer.break_down(reason);
        }
        writer
    }

    /// Waits for lines. `None` when there will be no more; none of them when a broken log should try to heal.
    fn next_batch(&self) -> Option<Vec<Item>> {
        let mut queue = self.shared.queue();
        loop {
            if !queue.items.is_empty() {
                let capacity = queue.items.len();
                return Some(std::mem::replace(&mut queue.items, Vec::with_capacity(capacity)));
            }
            if queue.closed {
                return None;
            }
            if self.durable.broken.is_none() {
                queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let rest = RETRY.saturating_sub(self.last_try.elapsed());
            if rest.is_zero() {
                return Some(Vec::new());
            }
            queue = self.shared.wake.wait_timeout(queue, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn process(&mut self, items: Vec<Item>) {
        if self.durable.broken.is_some() && self.last_try.elapsed() >= RETRY {
            self.heal();
        }
        let result = match &self.durable.broken {
            Some(reason) => Err(reason.clone()),
            None if items.is_empty() => return,
            None => self.write_items(&items),
        };
        if let Err(reason) = &result {
            self.refused += items.len() as u64;
            if self.durable.broken.is_none() {
                self.break_down(reason.clone());
            }
        }
        let result = result.map_err(AuditError::Broken);
        match self.shared.runtime.get().filter(|_| items.len() > 1) {
            // A runtime that is going down drops the task, and with it the receipts: nobody is told of success.
            Some(runtime) => drop(runtime.spawn(async move { tell(items, &result) })),
            None => tell(items, &result),
        }
    }

    fn break_down(&mut self, reason: String) {
        tracing::error!(reason, "the audit log cannot be written; nothing is served until it can");
        self.last_try = Instant::now();
        self.durable.broken = Some(reason.clone());
        self.shared.state().broken = Some(reason);
    }

    /// Cuts off what a failed write left, says what happened, and, if that worked, takes lines again.
    fn heal(&mut self) {
        self.last_try = Instant::now();
        let Some(broken) = self.durable.broken.clone() else { return };
        if let Err(reason) = self.cut_torn().and_then(|()| self.write_healed(&broken)) {
            self.durable.broken = Some(reason.clone());
            self.shared.state().broken = Some(reason);
            return;
        }
        tracing::info!(refused = self.refused, "the audit log can be written again");
        self.refused = 0;
        self.durable.broken = None;
        self.shared.state().broken = None;
    }

    fn cut_torn(&mut self) -> Result<(), String> {
        if !self.torn {
            return Ok(());
        }
        check_identity(&self.shared)?;
        let length = self.file.metadata().map_err(|error| error.to_string())?.len();
        if length < self.durable.length {
            return Err(changed_behind(length, self.durable.length));
        }
        self.file.set_len(self.durable.length).map_err(|error| error.to_string())?;
        self.torn = false;
        Ok(())
    }

    fn write_healed(&mut self, broken: &str) -> Result<(), String> {
        let detail = format!("{} lines refused while the log was broken: {broken}", self.refused);
        self.notes.push(Note { action: "recovered-audit-log", detail });
        let written = self.write_notes();
        if written.is_err() {
            self.notes.pop();
        }
        written
    }

    fn write_notes(&mut self) -> Result<(), String> {
        if self.notes.is_empty() {
            return Ok(());
        }
        let members: Vec<_> = self.notes.iter().map(Note::members).collect();
        self.commit(members.iter().map(Vec::as_slice), None)?;
        self.notes.clear();
        Ok(())
    }

    fn write_items(&mut self, items: &[Item]) -> Result<(), String> {
        let revision = items.iter().filter_map(|item| item.revision).max();
        let checkpoint = self.checkpoint(items.len() as u64, revision);
        let members = items.iter().map(|item| item.members.as_slice()).chain(checkpoint.as_deref());
        self.commit(members, revision)
    }

    fn checkpoint(&self, lines: u64, revision: Option<u64>) -> Option<Vec<u8>> {
        if revision.is_some() || self.since_revision + lines < CHECKPOINT_EVERY {
            return None;
        }
        let mut draft = Draft::new(SERVER, "checkpoint", Outcome::Allowed);
        draft.revision = Some(self.durable.revision?);
        Some(chain::members(&draft))
    }

    /// One write, one `fdatasync`; durable or an error. The head only moves when it is durable.
    fn commit<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>, revision: Option<u64>) -> Result<(), String> {
        let mut head = self.durable.head;
        let time = format!("{:.6}", self.clock.now());
        self.batch.clear();
        for members in lines {
            chain::write_line(&self.key, &mut head, &time, members, &mut self.batch);
        }
        let length = self.durable.length + self.batch.len() as u64;
        check_length(&self.shared, self.durable.length)?;
        self.torn = true;
        self.write_out().map_err(|error| error.to_string())?;
        let placed = check_length(&self.shared, length);
        // Bytes of somebody else among ours are evidence: they are not cut off.
        self.torn = placed.is_err() && self.file.metadata().is_ok_and(|metadata| metadata.len() == length);
        placed?;
        self.publish(head, length, revision);
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.batch)?;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn publish(&mut self, head: Anchor, length: u64, revision: Option<u64>) {
        let lines = head.seq - self.durable.head.seq;
        self.since_revision += lines;
        if self.since_revision >= CHECKPOINT_EVERY || revision.is_some() {
            self.since_revision = 0;
        }
        self.durable.head = head;
        self.durable.length = length;
        self.durable.revision = revision.or(self.durable.revision);
        self.shared.lines.fetch_add(lines, Ordering::Relaxed);
        let mut state = self.shared.state();
        let broken = state.broken.take();
        *state = State { broken, ..self.durable.clone() };
    }
}

/// Writes until the last handle is gone and the queue is empty.
pub(super) fn run(mut writer: Writer) {
    while let Some(items) = writer.next_batch() {
        writer.process(items);
    }
}

/// Whether the log is where it was, on a file system that takes more.
pub(super) fn check_place(shared: &Shared) -> Result<(), String> {
    check_identity(shared)?;
    let file_system = rustix::fs::statvfs(&shared.path).map_err(|error| io::Error::from(error).to_string())?;
    if file_system.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err("its file system is read-only".to_owned());
    }
    let free = if rustix::process::geteuid().is_root() { file_system.f_bfree } else { file_system.f_bavail };
    // Some file systems do not count their blocks.
    if file_system.f_blocks > 0 && free == 0 {
        return Err("its file system is full".to_owned());
    }
    Ok(())
}

fn check_identity(shared: &Shared) -> Result<fs::Metadata, String> {
    let metadata = look(&shared.path)?;
    if Identity::of(&metadata) != shared.identity {
        return Err("its file was replaced by another; put the true one back, or restart".to_owned());
    }
    Ok(metadata)
}

fn look(path: &Path) -> Result<fs::Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "its file was removed or renamed; put it back".to_owned(),
        _ => error.to_string(),
    })
}

fn check_length(shared: &Shared, expected: u64) -> Result<(), String> {
    let length = check_identity(shared)?.len();
    if length == expected { Ok(()) } else { Err(changed_behind(length, expected)) }
}

fn changed_behind(length: u64, expected: u64) -> String {
    format!("somebody else changed its file: it has {length} bytes, and {expected} were written")
}
