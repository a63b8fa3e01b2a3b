//! The one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::super::{StoreError, Verdict, WriteJob};
use super::reader::View;
use super::schema;

/// Jobs that share one commit, at most. While one batch is made durable the next one gathers by itself.
const MAX_BATCH: usize = 256;

/// Hands jobs to the thread, and ends it when dropped, after the jobs that it was given.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Option<Sender<Pending>>,
    thread: Option<JoinHandle<()>>,
    shut: Shut,
}

/// Why the store was shut for writing, once it was.
type Shut = Arc<Mutex<Option<StoreError>>>;

struct Pending {
    work: Work,
    reply: SyncSender<Result<(), StoreError>>,
}

enum Work {
    Job(WriteJob),
    Erase,
}

impl Writer {
    pub(super) fn start(file: PathBuf, connection: Connection) -> Result<Self, StoreError> {
        let (sender, receiver) = channel();
        let shut = Shut::default();
        let thread = Thread { file, connection: Some(connection), shut: Arc::clone(&shut) };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(&receiver))
            .map_err(StoreError::other)?;
        Ok(Self { sender: Some(sender), thread: Some(thread), shut })
    }

    pub(super) fn write(&self, job: WriteJob) -> Result<(), StoreError> {
        self.hand_over(Work::Job(job))
    }

    pub(super) fn erase(&self) -> Result<(), StoreError> {
        self.hand_over(Work::Erase)
    }

    fn hand_over(&self, work: Work) -> Result<(), StoreError> {
        let (reply, answer) = sync_channel(1);
        let gone = || StoreError::other("the thread that writes has ended");
        let sender = self.sender.as_ref().ok_or_else(gone)?;
        sender.send(Pending { work, reply }).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It ends by itself; that it panicked its callers were told.
            let _ = thread.join();
        }
    }
}

struct Thread {
    file: PathBuf,
    /// `None` after a failed commit, until it is opened again.
    connection: Option<Connection>,
    shut: Shut,
}

impl Thread {
    fn run(mut self, receiver: &Receiver<Pending>) {
        while let Ok(first) = receiver.recv() {
            let mut batch = Vec::new();
            for Pending { work, reply } in std::iter::once(first).chain(receiver.try_iter().take(MAX_BATCH - 1)) {
                match work {
                    Work::Job(job) => batch.push((job, reply)),
                    Work::Erase => {
                        self.settle(std::mem::take(&mut batch));
                        self.erase(&reply);
                    }
                }
            }
            self.settle(batch);
        }
    }

    fn erase(&mut self, reply: &SyncSender<Result<(), StoreError>>) {
        let result = self.open().and_then(schema::erase);
        if let Err(error) = &result {
            self.after_failure(error);
        }
        // A caller that is gone needs no answer.
        let _ = reply.send(result);
    }

    /// Runs the batch and tells every caller how it went.
    fn settle(&mut self, batch: Vec<(WriteJob, SyncSender<Result<(), StoreError>>)>) {
        if batch.is_empty() {
            return;
        }
        let (jobs, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let results = self.open().and_then(|connection| run_batch(connection, jobs));
        if let Err(error) = &results {
            self.after_failure(error);
        }
        let results = results.unwrap_or_else(|error| vec![Err(error); replies.len()]);
        for (reply, result) in replies.iter().zip(results) {
            // A caller that is gone needs no answer.
            let _ = reply.send(result);
        }
    }

    fn open(&mut self) -> Result<&Connection, StoreError> {
        if let Some(error) = &*self.shut.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        match self.connection.take() {
            Some(connection) => Ok(self.connection.insert(connection)),
            None => Ok(self.connection.insert(schema::open_writer(&self.file)?)),
        }
    }

    /// After a failed commit, what the connection has in memory may not be what is on the disk. A full disk is a clean
    /// failure: the next write begins with a new connection. A disk that fails to write or to sync is not: the kernel may
    /// have dropped what it could not write and report success the next time, so nothing more is written.
    fn after_failure(&mut self, error: &StoreError) {
        match error {
            StoreError::Locked if self.connection.as_ref().is_some_and(Connection::is_autocommit) => {}
            StoreError::Failed { .. } => {
                self.connection = None;
                *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            }
            _ => self.connection = None,
        }
    }
}

/// Runs the jobs in one transaction, with a savepoint each. An error is everybody's: nothing of the batch was kept.
fn run_batch(connection: &Connection, jobs: Vec<WriteJob>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut view = View::new(connection);
    let mut results = Vec::with_capacity(jobs.len());
    view.execute("BEGIN IMMEDIATE", [])?;
    let run = (|| {
        for job in jobs {
            results.push(run_job(&mut view, job)?);
        }
        view.execute("COMMIT", [])
    })();
    if run.is_err() && !connection.is_autocommit() {
        // Where this fails too, the connection is closed, which rolls back as well.
        let _ = view.execute("ROLLBACK", []);
    }
    run.map(|_| results)
}

fn run_job(view: &mut View<'_>, job: WriteJob) -> Result<Result<(), StoreError>, StoreError> {
    view.execute("SAVEPOINT job", [])?;
    let verdict = catch_unwind(AssertUnwindSafe(|| job(view)));
    // A full disk can make SQLite roll back the whole transaction by itself, and the other jobs with it.
    if view.connection().is_autocommit() {
        return Err(view.take_fault().unwrap_or_else(|| StoreError::other("the database rolled a write back")));
    }
    if !matches!(verdict, Ok(Verdict::Commit)) {
        view.execute("ROLLBACK TO job", [])?;
    }
    view.execute("RELEASE job", [])?;
    Ok(verdict.map(|_| ()).map_err(|_| StoreError::other("a write panicked and was rolled back")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_failed_shuts_the_store_for_writing_and_a_full_one_does_not() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("chandlery.db");
        super::super::file::create(&file).unwrap();
        let connection = schema::open_writer(&file).unwrap();
        let mut thread = Thread { file, connection: Some(connection), shut: Shut::default() };

        thread.after_failure(&StoreError::Full);
        assert!(thread.connection.is_none(), "what is in its memory may not be what is on the disk");
        assert!(thread.open().is_ok());

        let failed = StoreError::Failed { cause: "disk I/O error".to_owned() };
        thread.after_failure(&failed);
        assert_eq!(thread.open().unwrap_err(), failed);
        assert_eq!(*thread.shut.lock().unwrap(), Some(failed));
    }

    #[test]
    fn only_an_error_of_the_disk_is_one() {
        let of = |code| schema::error(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        assert!(matches!(of(rusqlite::ffi::SQLITE_IOERR_FSYNC), StoreError::Failed { .. }));
        assert!(matches!(of(rusqlite::ffi::SQLITE_IOERR_WRITE), StoreError::Failed { .. }));
        assert_eq!(of(rusqlite::ffi::SQLITE_FULL), StoreError::Full);
        assert_eq!(of(rusqlite::ffi::SQLITE_BUSY_SNAPSHOT), StoreError::Locked);
        assert_eq!(of(rusqlite::ffi::SQLITE_READONLY_DIRECTORY), StoreError::ReadOnly);
        assert!(matches!(of(rusqlite::ffi::SQLITE_CORRUPT_INDEX), StoreError::Damaged { .. }));
        assert!(matches!(of(rusqlite::ffi::SQLITE_MISUSE), StoreError::Other(_)));
    }
}
