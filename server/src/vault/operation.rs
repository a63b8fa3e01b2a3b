//! Check and audit, in one place.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use chandlery_wire::Code;
use chandlery_wire::api::Outcome;

use super::Error;
use super::core::{AUDIT_ANCHOR, Core, anchor_bytes};
use crate::access::{Caller, Peer, Trail};
use crate::audit::{Draft, Receipt, SERVER};

/// The store, its keys and its audit log, open. Operations are in the files of what they are about.
#[derive(Debug, Clone)]
pub struct Vault {
    pub(super) core: Arc<Core>,
}

/// What a caller asks for, in the audit log's words.
#[derive(Debug, Clone)]
pub(super) struct Action {
    /// One that leaves the store as it is starts with `read-`.
    pub(super) name: &'static str,
    pub(super) target: Option<String>,
    pub(super) service: Option<String>,
    /// How long the request was kept waiting, on purpose, where it was.
    pub(super) waited: Option<Duration>,
}

impl Action {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, target: None, service: None, waited: None }
    }

    pub(super) fn on(mut self, target: impl Display) -> Self {
        self.target = Some(target.to_string());
        self
    }

    pub(super) fn service<T: Display>(mut self, service: Option<T>) -> Self {
        self.service = service.map(|service| service.to_string());
        self
    }

    /// The line's detail: what there is to say, and how long it took to come to it.
    fn detail<'a>(&self, said: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        let Some(waited) = self.waited else { return said };
        let waited = format!("waited {} s", waited.as_secs());
        Some(Cow::Owned(match said {
            Some(said) => format!("{said}; {waited}"),
            None => waited,
        }))
    }
}

/// What came of an operation, and what its audit line says of it.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) result: T,
    pub(super) detail: Option<Cow<'static, str>>,
    /// What the action's target turned out to be.
    pub(super) target: Option<String>,
    pub(super) entries: Arc<[String]>,
    pub(super) revision: Option<u64>,
}

impl<T> Done<T> {
    pub(super) fn new(result: T) -> Self {
        Self { result, detail: None, target: None, entries: Arc::new([]), revision: None }
    }

    pub(super) fn entries(mut self, entries: impl Into<Arc<[String]>>) -> Self {
        self.entries = entries.into();
        self
    }

    pub(super) fn revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }
}

impl Vault {
    /// Does the work, policy check included, and returns its result when the audit line that tells of it is durable.
    ///
    /// It runs to its end whether or not the client waits for it: a write that was done must not lack its line because
    /// a connection was cut.
    pub(super) async fn perform<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: Action,
        work: impl FnOnce(&Arc<Core>, &Caller) -> Result<Done<T>, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (vault, caller) = (self.clone(), caller.clone());
        let task = tokio::spawn(async move {
            let (core, worker) = (Arc::clone(&vault.core), caller.clone());
            let done = blocking(move || work(&core, &worker)).await;
            vault.record(&caller, &action, done).await
        });
        task.await.unwrap_or_else(|_| Err(Error::new(Code::Internal, "the operation was ended by the server")))
    }

    /// Writes the audit line of an operation. Only then its result is let go.
    pub(super) async fn record<T>(
        &self,
        caller: &Caller,
        action: &Action,
        done: Result<Done<T>, Error>,
    ) -> Result<T, Error> {
        let line = self.note(caller, action, done.as_ref());
        line.await?;
        done.map(|done| done.result)
    }

    /// Writes the audit line of what failed or was refused, and says what to answer: that, or why there is no line.
    pub(super) async fn fail(&self, caller: &Caller, action: &Action, error: Error) -> Error {
        self.note::<()>(caller, action, Err(&error)).await.err().map_or(error, Error::from)
    }

    /// Queues the line; the receipt says when it is durable.
    pub(super) fn note<T>(&self, caller: &Caller, action: &Action, done: Result<&Done<T>, &Error>) -> Receipt {
        let peer = caller.peer.as_ref().map(Peer::to_string);
        let (outcome, said) = match done {
            Ok(done) => (Outcome::Allowed, done.detail.as_deref().map(Cow::Borrowed)),
            Err(error) => (error.outcome(), Some(Cow::Owned(error.audit_detail()))),
        };
        let detail = action.detail(said);
        let mut draft = Draft::new(&caller.id, action.name, outcome);
        draft.peer = peer.as_deref();
        draft.target = action.target.as_deref();
        draft.service = action.service.as_deref();
        draft.detail = detail.as_deref();
        if let Ok(done) = done {
            draft.target = done.target.as_deref().or(draft.target);
            draft.entries = done.entries.iter().map(String::as_str).collect();
            draft.revision = done.revision;
        }
        // Marked before the wait: a line that could not be written must not be tried again by the guard.
        caller.trail.mark();
        self.core.audit.append(&draft)
    }

    /// The line of a request that reached no operation.
    ///
    /// # Errors
    /// When the line cannot be written; then the request must not be answered either.
    pub async fn audit_stray(&self, trail: &Trail, peer: Option<Peer>, action: &str, status: u16) -> Result<(), Error> {
        let peer = peer.as_ref().map(Peer::to_string);
        let outcome = match status {
            200..400 => Outcome::Allowed,
            401 | 403 => Outcome::Refused,
            400..500 => Outcome::Malformed,
            _ => Outcome::Failed,
        };
        let detail = format!("status {status}");
        let mut draft = Draft::new(trail.caller(), action, outcome);
        draft.peer = peer.as_deref();
        draft.detail = Some(&detail);
        trail.mark();
        Ok(self.core.audit.append(&draft).await?)
    }

    /// Whether the store and the audit log work.
    ///
    /// # Errors
    /// The reason why not.
    pub async fn ready(&self) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        let check = tokio::task::spawn_blocking(move || {
            core.audit.status().map_err(|reason| {
                Error::new(Code::AuditUnavailable, format!("the audit log cannot be written: {reason}"))
                    .hint("nothing is served without it; make room on its disk, or make it writable again")
            })?;
            core.store.check().map_err(Error::from)
        });
        check.await.unwrap_or_else(|_| Err(Error::new(Code::Internal, "the check failed inside the server")))
    }

    /// Puts the audit log's head into the database, if it is not there yet: a log cut behind it is found out. Every write
    /// does so; this is for the times without any.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn anchor_audit(&self) -> Result<(), Error> {
        let head = anchor_bytes(self.core.audit.head());
        let stored = self.core.read(|snapshot| Ok(snapshot.meta(AUDIT_ANCHOR)?))?;
        if stored.is_some_and(|stored| stored == head) { Ok(()) } else { self.core.write(|_| Ok::<(), Error>(())) }
    }

    /// The last line of a server's life; its place goes into the database, so that a log cut afterwards is found out.
    ///
    /// # Errors
    /// When the log or the store cannot be written.
    pub fn stop(&self) -> Result<(), Error> {
        self.core.audit.append(&Draft::new(SERVER, "stop", Outcome::Allowed)).wait()?;
        self.core.write(|_| Ok::<(), Error>(()))
    }
}

/// Runs what blocks, on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::new(Code::Internal, "the operation failed inside the server")))
}
