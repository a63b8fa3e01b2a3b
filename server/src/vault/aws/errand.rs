//! What takes longer than a request: a table of what is under way, each for who began it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chandlery_wire::api::AwsErrand;
use chandlery_wire::{Code, EntryName, EnvironmentName, StackName};
use tokio::sync::watch;

use crate::access::Caller;
use crate::vault::operation::{Action, Done};
use crate::vault::{Error, Vault};

/// Errands at a time: each may hold hundreds of values.
const MOST: usize = 8;
/// How long what was found is kept for somebody to say yes to.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// What is under way, and what came of it.
pub(in crate::vault) struct Errands<T>(Mutex<Table<T>>);

struct Table<T> {
    next: u64,
    errands: Vec<Arc<Errand<T>>>,
}

/// One errand.
pub(in crate::vault) struct Errand<T> {
    id: EntryName,
    owner: Arc<str>,
    place: (StackName, EnvironmentName),
    progress: watch::Sender<Progress>,
    outcome: Mutex<Option<Result<Arc<T>, Error>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Progress {
    doing: &'static str,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

impl<T> Default for Errands<T> {
    fn default() -> Self {
        Self(Mutex::new(Table { next: 1, errands: Vec::new() }))
    }
}

impl<T> fmt::Debug for Errands<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errands").field("under_way", &self.lock().errands.len()).finish()
    }
}

impl<T: Send + Sync + 'static> Errands<T> {
    /// Begins one. `now` is in milliseconds since 1970, and makes its id another than those before a restart.
    pub(super) fn begin(
        &self,
        caller: &Caller,
        place: (StackName, EnvironmentName),
        now: i64,
    ) -> Result<Arc<Errand<T>>, Error> {
        let mut table = self.lock();
        if table.errands.len() >= MOST {
            // What nobody has come back for makes room; what is under way does not.
            let finished = table.errands.iter().position(|one| one.is_finished());
            let at = finished.ok_or_else(|| {
                Error::new(Code::Overloaded, format!("{MOST} imports from AWS or pushes are under way already"))
                    .hint("try again when one of them has ended")
            })?;
            table.errands.remove(at);
        }
        let id = EntryName::parse(format!("e{now:x}-{}", table.next))
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        table.next += 1;
        let progress = watch::Sender::new(Progress { doing: "beginning", done: 0, total: None, finished: false });
        let errand = Arc::new(Errand { id, owner: Arc::clone(&caller.id), place, progress, outcome: Mutex::default() });
        table.errands.push(Arc::clone(&errand));
        Ok(errand)
    }

    /// The errand of that id, where it is this caller's and for this environment. Anybody else's is none.
    pub(super) fn find(
        &self,
        caller: &Caller,
        place: &(StackName, EnvironmentName),
        id: &EntryName,
    ) -> Result<Arc<Errand<T>>, Error> {
        let table = self.lock();
        let found = table.errands.iter().find(|one| one.id == *id && one.owner == caller.id && one.place == *place);
        found.map(Arc::clone).ok_or_else(|| {
            Error::new(Code::NotFound, "there is no such import or push under way")
                .hint("begin it again: what was found is kept for a quarter of an hour, and not over a restart")
        })
    }

    /// Forgets what it found; it is wiped when nobody uses it any more.
    pub(super) fn end(&self, id: &EntryName) {
        self.lock().errands.retain(|one| one.id != *id);
    }
}

impl<T> Errands<T> {
    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync + 'static> Errand<T> {
    pub(super) fn id(&self) -> &EntryName {
        &self.id
    }

    /// Says how far it is.
    pub(super) fn tell(&self, doing: &'static str, done: usize, total: Option<usize>) {
        let (done, total) = (done as u64, total.map(|total| total as u64));
        self.progress.send_replace(Progress { doing, done, total, finished: false });
    }

    pub(super) fn finish(&self, outcome: Result<T, Error>) {
        *self.outcome() = Some(outcome.map(Arc::new));
        self.progress.send_modify(|progress| progress.finished = true);
    }

    /// Begins another part of it with what was found, which is nobody else's from now on.
    pub(super) fn resume(&self, doing: &'static str) -> Result<Arc<T>, Error> {
        let mut outcome = self.outcome();
        let found = outcome.clone().unwrap_or_else(|| Err(under_way()))?;
        *outcome = None;
        self.tell(doing, 0, None);
        Ok(found)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.progress.borrow().finished
    }

    /// How far it is, when it is finished or `wait` is over.
    pub(super) async fn status(&self, wait: Duration) -> Result<AwsErrand, Error> {
        let mut progress = self.progress.subscribe();
        let finished = progress.wait_for(|progress| progress.finished);
        // Either way, what is told is how it is now.
        drop(tokio::time::timeout(wait, finished).await);
        if let Some(Err(error)) = self.outcome().as_ref() {
            return Err(error.clone());
        }
        let Progress { doing, done, total, finished } = self.progress.borrow().clone();
        Ok(AwsErrand { id: self.id.clone(), finished, doing: doing.to_owned(), done, total })
    }

    /// What it found.
    pub(super) fn found(&self) -> Result<Arc<T>, Error> {
        match self.outcome().as_ref() {
            Some(outcome) => outcome.clone(),
            None => Err(under_way()),
        }
    }

    fn outcome(&self) -> MutexGuard<'_, Option<Result<Arc<T>, Error>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn under_way() -> Error {
    Error::new(Code::Conflict, "it is still under way").hint("ask again when it has finished")
}

/// Does the work in the background. One that breaks down inside the server has an end, too.
pub(super) fn run<T: Send + Sync + 'static>(errand: &Arc<Errand<T>>, work: impl Future<Output = ()> + Send + 'static) {
    let errand = Arc::clone(errand);
    tokio::spawn(async move {
        if tokio::spawn(work).await.is_err() {
            errand.finish(Err(
                Error::new(Code::Internal, "the server failed at this").hint("the server's log says where")
            ));
        }
    });
}

impl Vault {
    /// Ends an errand with what was found, for as long as that is kept: in the audit log before anybody can see it.
    pub(super) async fn settle<T: Send + Sync + 'static>(
        &self,
        caller: &Caller,
        action: Action,
        found: Result<Done<T>, Error>,
        (errands, errand): (&Errands<T>, &Errand<T>),
    ) {
        errand.finish(self.record(caller, &action, found).await);
        loop {
            tokio::time::sleep(KEPT).await;
            // It may have been resumed meanwhile.
            if errand.is_finished() {
                return errands.end(errand.id());
            }
        }
    }

    /// How far an errand is, when it has finished or `wait` is over; what it failed with.
    pub(super) async fn status_of<T: Send + Sync + 'static>(
        &self,
        caller: &Caller,
        action: Action,
        found: Result<Arc<Errand<T>>, Error>,
        wait: Duration,
    ) -> Result<AwsErrand, Error> {
        let status = async { found?.status(wait).await.map(Done::new) };
        let status = status.await;
        self.record(caller, &action, status).await
    }
}
