//! What has to hold before the first line is appended.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use rustix::fs::OFlags;

use super::chain::{self, Line};
use super::reader::{self, ReverseLines};
use super::writer::{CHECKPOINT_EVERY, Note};
use super::{Anchor, AuditError, verify};
use crate::clock::Clock;
use crate::lock;

/// How far from the end blocks are looked for that a power cut left unwritten.
const UNWRITTEN_WINDOW: u64 = 16 * 1024 * 1024;

/// A log that is ready to be appended to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) identity: Identity,
    pub(super) head: Anchor,
    pub(super) length: u64,
    /// The store's revision, by the last line that tells it.
    pub(super) revision: Option<u64>,
    /// Lines behind that one.
    pub(super) since_revision: u64,
    /// What the log has to say about itself first.
    pub(super) notes: Vec<Note>,
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

pub(super) fn open(path: &Path, key: &hmac::Key, anchor: Anchor) -> Result<Opened, AuditError> {
    let failed = |error| AuditError::io(path, &error);
    let file = open_file(path)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut notes = Vec::new();
    let mut length = reader::end_of_lines(&file, metadata.len()).map_err(failed)?;
    let mut tail = walk_back(&file, length, key).map_err(failed)?;
    if tail.is_err()
        && let Some(nul) = reader::first_nul(&file, length, UNWRITTEN_WINDOW).map_err(failed)?
    {
        length = reader::end_of_lines(&file, nul).map_err(failed)?;
        tail = walk_back(&file, length, key).map_err(failed)?;
    }
    // Only what was never acknowledged is cut: a line that was is whole, or the anchor misses it.
    let tail = tail.map_err(|reason| name_the_line(path, key, length, reason))?;
    check_anchor(path, &file, length, tail.head, anchor)?;
    if length < metadata.len() {
        notes.push(cut(&file, length, metadata.len()).map_err(failed)?);
    }
    Ok(Opened {
        identity: Identity::of(&metadata),
        head: tail.head,
        length,
        revision: tail.revision,
        since_revision: tail.since_revision,
        notes,
        file,
    })
}

fn open_file(path: &Path) -> Result<File, AuditError> {
    let unusable = |reason: String| AuditError::Unusable { path: path.to_owned(), reason };
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
        .map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => unusable("is a symlink".to_owned()),
        _ => AuditError::io(path, &error),
    })?;
    let metadata = file.metadata().map_err(|error| AuditError::io(path, &error))?;
    if !metadata.is_file() {
        return Err(unusable("is not a regular file".to_owned()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(unusable(format!("may be written by others: its mode is {:04o}", metadata.mode() & 0o7777)));
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(unusable(format!("belongs to user {}, and the server runs as {user}", metadata.uid())));
    }
    if !lock::take(&file).map_err(|error| AuditError::io(path, &error))? {
        return Err(unusable("is in use by another server".to_owned()));
    }
    if metadata.len() == 0 {
        sync_directory(path).map_err(|error| AuditError::io(path, &error))?;
    }
    Ok(file)
}

/// A new name is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

struct Tail {
    head: Anchor,
    revision: Option<u64>,
    since_revision: u64,
}

/// Checks lines from the end back to the last that tells the store's revision, a few thousand at most.
fn walk_back(file: &File, length: u64, key: &hmac::Key) -> io::Result<Result<Tail, &'static str>> {
    let mut lines = ReverseLines::new(file, length);
    let mut tail = Tail { head: Anchor::GENESIS, revision: None, since_revision: 0 };
    let Some(mut bytes) = lines.next_line()? else { return Ok(Ok(tail)) };
    loop {
        let before = lines.next_line()?;
        let line = match Line::parse(&bytes) {
            Ok(line) => line,
            Err(reason) => return Ok(Err(reason)),
        };
        let previous = match before.as_deref().map(Line::parse).transpose() {
            Ok(line) => line.map_or(Anchor::GENESIS, |line| line.anchor),
            Err(reason) => return Ok(Err(reason)),
        };
        if line.anchor.seq != previous.seq + 1 || !line.follows(key, &previous.mac) {
            return Ok(Err("its mac does not fit"));
        }
        if tail.head.seq == 0 {
            tail.head = line.anchor;
        }
        tail.revision = line.wrote_revision;
        if tail.revision.is_some() || tail.since_revision > 2 * CHECKPOINT_EVERY {
            return Ok(Ok(tail));
        }
        tail.since_revision += 1;
        let Some(before) = before else { return Ok(Ok(tail)) };
        bytes = before;
    }
}

fn check_anchor(path: &Path, file: &File, length: u64, head: Anchor, anchor: Anchor) -> Result<(), AuditError> {
    let tampered = |line, reason: String| Err(AuditError::Tampered { path: path.to_owned(), line: Some(line), reason });
    if anchor.seq > head.seq {
        let (known, last) = (anchor.seq, head.seq);
        return tampered(last + 1, format!("it is missing: the store knows the log up to line {known}"));
    }
    if anchor.seq == 0 || anchor == head {
        return Ok(());
    }
    let line = reader::find_line(file, length, anchor.seq).map_err(|error| AuditError::io(path, &error))?;
    let found = line.as_deref().and_then(|line| Line::parse(line).ok());
    if found.is_some_and(|line| line.anchor == anchor) {
        return Ok(());
    }
    let known = chain::hex(&anchor.mac);
    tampered(anchor.seq, format!("it is not the line the store knows, whose mac is {known}: the log was replaced"))
}

/// The end does not fit; the first line that does not is further up, or it is the key.
fn name_the_line(path: &Path, key: &hmac::Key, length: u64, reason: &str) -> AuditError {
    match verify::verify_prefix(path, key, None, length) {
        Ok(found) => AuditError::Tampered {
            path: path.to_owned(),
            line: found.first_bad_line,
            reason: found.reason.unwrap_or_else(|| reason.to_owned()),
        },
        Err(error) => error,
    }
}

fn cut(file: &File, length: u64, was: u64) -> io::Result<Note> {
    file.set_len(length)?;
    file.sync_all()?;
    let bytes = was - length;
    Ok(Note {
        action: "recovered-audit-log",
        detail: format!("a line that was never acknowledged was not complete: {bytes} bytes cut off"),
    })
}

/// Renames the log, so that nothing of it is lost. `None` if there is none.
pub(super) fn set_aside(path: &Path, clock: &dyn Clock) -> Result<Option<PathBuf>, AuditError> {
    let stamp = clock.now().strftime("%Y%m%dT%H%M%S%.6fZ");
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{stamp}"));
    let aside = PathBuf::from(aside);
    match fs::rename(path, &aside).and_then(|()| sync_directory(path)) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::io(path, &error)),
    }
}

pub(super) fn restarted(aside: Option<&Path>, anchor: Option<Anchor>) -> Note {
    let kept = aside
        .and_then(Path::file_name)
        .map_or("it was missing".into(), |name| format!("it is kept as {}", name.to_string_lossy()));
    let known = anchor.map_or_else(|| "nothing".to_owned(), |anchor| anchor.to_string());
    Note {
        action: "restarted-audit-log",
        detail: format!("an operator began a new chain; of the log before, the store knew {known}; {kept}"),
    }
}
