use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use chandlery_wire::api::{AuditList, AuditVerification};
use jiff::Timestamp;
use ring::hmac;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::writer::{self, Writer};
use super::{Anchor, AuditError, Draft, Filter, Reads, chain, opening, query, reads, verify};
use crate::clock::Clock;

/// The server's audit log. Cheap to clone; the last one to go ends the writer, after what is queued was written.
#[derive(Debug, Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
    _thread: Arc<WriterThread>,
}

impl AuditLog {
    /// Opens the log, or begins it where there is none.
    ///
    /// The end of the file is checked: a line that a crash left unfinished is cut off (and the log says so), the last
    /// line has to fit the one before, and `anchor`, the head as the store last knew it, has to be in it.
    ///
    /// # Errors
    ///
    /// [`AuditError::Tampered`] if the log was cut or rewritten, and others if it cannot be used at all.
    pub fn open(
        path: &Path,
        key: hmac::Key,
        clock: Arc<dyn Clock>,
        anchor: Option<Anchor>,
    ) -> Result<Self, AuditError> {
        let opened = opening::open(path, &key, anchor.unwrap_or(Anchor::GENESIS))?;
        Self::start(path, key, clock, opened)
    }

    /// Sets the file aside (its new name is in the answer) and begins a new chain, whose first line tells of it. For an
    /// operator who has looked at a log that was tampered with and wants the server back.
    ///
    /// # Errors
    ///
    /// If the file cannot be renamed or the new one not be made.
    pub fn start_over(
        path: &Path,
        key: hmac::Key,
        clock: Arc<dyn Clock>,
        anchor: Option<Anchor>,
    ) -> Result<(Self, Option<PathBuf>), AuditError> {
        let aside = opening::set_aside(path, clock.as_ref())?;
        let mut opened = opening::open(path, &key, Anchor::GENESIS)?;
        opened.notes.push(opening::restarted(aside.as_deref(), anchor));
        Ok((Self::start(path, key, clock, opened)?, aside))
    }

    fn start(path: &Path, key: hmac::Key, clock: Arc<dyn Clock>, opened: opening::Opened) -> Result<Self, AuditError> {
        let shared = Arc::new(Shared::new(path, key.clone(), &opened));
        let writer = Writer::new(Arc::clone(&shared), key, clock, opened);
        let handle = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(writer))
            .map_err(|error| AuditError::io(path, &error))?;
        let thread = WriterThread { shared: Arc::clone(&shared), handle: Some(handle) };
        Ok(Self { shared, _thread: Arc::new(thread) })
    }

    /// Puts a line into the queue, at once; the receipt says when it is durable.
    pub fn append(&self, draft: &Draft<'_>) -> Receipt {
        if let Ok(runtime) = Handle::try_current() {
            // The first one stays: a process has one runtime.
            let _ = self.shared.runtime.set(runtime);
        }
        let members = chain::members(draft);
        let revision = draft.revision.filter(|_| chain::changes_store(draft.action));
        let (done, receipt) = oneshot::channel();
        let mut queue = self.shared.queue();
        // An empty queue is the one state in which the writer may be asleep.
        let wake = queue.items.is_empty();
        queue.items.push(Item { members, revision, done });
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        Receipt(receipt)
    }

    /// Whether a line that is appended now will be written, as far as that can be told without writing one.
    ///
    /// # Errors
    ///
    /// The reason why not, for `/v1/ready`.
    pub fn status(&self) -> Result<(), String> {
        if let Some(reason) = &self.shared.state().broken {
            return Err(reason.clone());
        }
        writer::check_place(&self.shared)
    }

    /// The last durable line: what the store keeps as its anchor.
    #[must_use]
    pub fn head(&self) -> Anchor {
        self.shared.state().head
    }

    /// The store's revision as of the last durable line that tells it. A store that is behind was put back.
    #[must_use]
    pub fn last_revision(&self) -> Option<u64> {
        self.shared.state().revision
    }

    /// Lines that were made durable and the `fdatasync` calls that took, since the log was opened.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.lines.load(Ordering::Relaxed), self.shared.syncs.load(Ordering::Relaxed))
    }

    /// Reads what matches. Blocking, and as slow as the log is long.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn query(&self, filter: &Filter) -> Result<AuditList, AuditError> {
        query::query(&self.shared.path, filter)
    }

    /// Which of these entries were in bundles of an environment (`stack/environment/`) that were served since then. Blocking,
    /// and as slow as the log since then is long.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn bundle_reads(
        &self,
        environment: &str,
        since: Timestamp,
        names: &BTreeSet<&str>,
    ) -> Result<Reads, AuditError> {
        reads::bundle_reads(&self.shared.path, environment, since, names)
    }

    /// Checks every durable line. Blocking, and as slow as the log is long.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn verify(&self) -> Result<AuditVerification, AuditError> {
        let State { head, length, .. } = *self.shared.state();
        verify::verify_prefix(&self.shared.path, &self.shared.key, Some(head), length)
    }
}

/// Becomes `Ok` when the line is durable.
#[derive(Debug)]
#[must_use = "a line that nobody waits for may never be written"]
pub struct Receipt(oneshot::Receiver<Result<(), AuditError>>);

impl Receipt {
    /// For threads outside the runtime: start, stop, commands.
    ///
    /// # Errors
    ///
    /// If the line could not be made durable.
    pub fn wait(self) -> Result<(), AuditError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(writer_gone()))
    }
}

impl Future for Receipt {
    type Output = Result<(), AuditError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|done| done.unwrap_or_else(|_| Err(writer_gone())))
    }
}

fn writer_gone() -> AuditError {
    AuditError::Broken("its writer has ended".to_owned())
}

/// A line that waits to be written.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) members: Vec<u8>,
    pub(super) revision: Option<u64>,
    pub(super) done: oneshot::Sender<Result<(), AuditError>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) items: Vec<Item>,
    pub(super) closed: bool,
}

/// What is durable, and why nothing more is.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) head: Anchor,
    /// Where the head's line ends.
    pub(super) length: u64,
    pub(super) revision: Option<u64>,
    pub(super) broken: Option<String>,
}

/// What the log's handles and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) identity: opening::Identity,
    pub(super) wake: Condvar,
    /// Where those that wait for their lines run. A batch is told through one task there: waking each of them from this
    /// thread would cost a system call for every request.
    pub(super) runtime: OnceLock<Handle>,
    pub(super) lines: AtomicU64,
    pub(super) syncs: AtomicU64,
    key: hmac::Key,
    queue: Mutex<Queue>,
    state: Mutex<State>,
}

impl Shared {
    fn new(path: &Path, key: hmac::Key, opened: &opening::Opened) -> Self {
        Self {
            path: path.to_owned(),
            identity: opened.identity,
            wake: Condvar::new(),
            runtime: OnceLock::new(),
            lines: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            key,
            queue: Mutex::default(),
            state: Mutex::new(State {
                head: opened.head,
                length: opened.length,
                revision: opened.revision,
                broken: None,
            }),
        }
    }

    /// Nothing panics while it holds a lock, so a poisoned one is as good as any.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the writer's thread when the last handle goes.
#[derive(Debug)]
struct WriterThread {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        if let Some(handle) = self.handle.take() {
            // A writer that panicked has told its waiters by dropping their receipts.
            let _ = handle.join();
        }
    }
}
