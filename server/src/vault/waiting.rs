//! Waiting for a bundle to change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chandlery_wire::Code;
use tokio::time::Instant;

use super::bundles::{Answer, BundleOf, Reply, cached, make, read_bundle};
use super::core::Core;
use super::ground::Grounds;
use super::lookout::{Ending, NoWait, Place};
use super::operation::{Action, Done};
use super::outside::{Abroad, ROUNDS, Run, restless};
use super::roll::stale;
use super::tokens::unauthenticated;
use super::{Error, Vault};
use crate::access::Caller;

/// How long a request is ready to wait, and how many may wait at a time.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub wait: Duration,
    pub most: usize,
}

/// What came of a wait.
#[derive(Debug)]
pub struct Watched {
    pub revision: u64,
    /// None, where nothing has changed.
    pub body: Option<Bytes>,
    /// Why nothing was waited for, or not to the end.
    pub cut: Option<NoWait>,
}

impl Vault {
    /// The bundle as JSON, as soon as its revision is none that the caller knows; or, when its patience is at its end,
    /// that there was no such revision.
    ///
    /// Who asks is asked again at the end: a token that was revoked or has expired meanwhile is refused. While it waits
    /// a request holds no snapshot, no value and no thread, and its one audit line is still to be written; that of a
    /// client that goes away is written then.
    ///
    /// # Errors
    /// As [`Vault::bundle`]; and, after a wait, as [`Vault::authenticate`].
    pub async fn next_bundle(
        &self,
        caller: &Caller,
        of: BundleOf,
        known: Vec<u64>,
        patience: Patience,
    ) -> Result<Watched, Error> {
        let until = Instant::now() + patience.wait;
        let mut visit =
            Visit { vault: self, action: read_bundle(&of), caller: caller.clone(), since: None, ended: false };
        loop {
            let Answer { done, grounds } = match self.look(&visit.caller, &of, &known).await {
                Ok(answer) if answer.done.result.1.is_none() => answer,
                looked => return visit.end(looked.map(|answer| answer.done), None).await,
            };
            let place = match visit.join(grounds, patience.most) {
                Ok(place) => place,
                Err(cut) => return visit.end(Ok(done), Some(cut)).await,
            };
            visit.caller.trail.allow(patience.wait);
            let ending = place.wait(until).await;
            let caller = match self.again(&visit.caller).await {
                Ok(caller) => caller,
                Err(error) => return Err(visit.refuse(error).await),
            };
            // Who may do less or more than before is answered by the policy.
            let same = caller.verbs == visit.caller.verbs && caller.scopes == visit.caller.scopes;
            visit.caller = caller;
            match ending {
                Ending::TimeOver if same => return visit.end(Ok(done), None).await,
                Ending::Stopping if same => return visit.end(Ok(done), Some(NoWait::Stopping)).await,
                _ => {}
            }
        }
    }

    /// Answers all who wait, and lets nobody wait any more: the server stops.
    pub fn end_waits(&self) {
        self.core.lookout.close();
    }

    async fn look(&self, caller: &Caller, of: &BundleOf, known: &[u64]) -> Result<Answer, Error> {
        let (mine, named) = (of.clone(), known.to_vec());
        let work = Arc::new(move |core: &Core, caller: &Caller, abroad: &Abroad<'_>| {
            make(core, caller, abroad, mine.clone(), &named)
        });
        for _ in 0..ROUNDS {
            let turn = self.core.lookout.turn().await;
            // Looked at only now: another one may just have made it.
            if let Some(answer) = cached(&self.core, caller, of, known) {
                return answer;
            }
            let run = self.core.attempt(caller, &work).await?;
            // The turn is for those who have something to do, and not for those who wait for a source.
            drop(turn);
            match run {
                Run::Done(result) => return result,
                Run::Lacks(wanted) => self.core.procure(&wanted).await,
            }
        }
        Err(restless())
    }

    /// The caller as of now, if its token is still good, or its project still open. It takes no use off: it is still the same request.
    async fn again(&self, caller: &Caller) -> Result<Caller, Error> {
        if let Some(resident) = &caller.resident {
            return self.reside(caller, resident.clone()).await;
        }
        let (as_of, tokens) = self.roll().await?;
        let refused = |reason| Err(Error::new(Code::Unauthenticated, reason));
        let Some(token) = tokens.by_id(&caller.id)? else { return refused("the token is unknown") };
        if let Some(reason) = stale(&token, self.core.now()) {
            return refused(reason);
        }
        Ok(Caller { verbs: token.verbs, scopes: token.scopes, as_of, ..caller.clone() })
    }
}

/// One request that waits, from its first look to its one audit line.
struct Visit<'a> {
    vault: &'a Vault,
    action: Action,
    caller: Caller,
    /// When the wait began.
    since: Option<Instant>,
    /// Whether its line is written, or with whoever writes it.
    ended: bool,
}

impl Visit<'_> {
    fn join(&mut self, grounds: Arc<Grounds>, most: usize) -> Result<Place, NoWait> {
        let place = self.vault.core.join(&self.caller, grounds, most)?;
        self.since.get_or_insert_with(Instant::now);
        Ok(place)
    }

    async fn end(&mut self, mut done: Result<Done<Reply>, Error>, cut: Option<NoWait>) -> Result<Watched, Error> {
        if let (Ok(Done { detail: Some(detail), .. }), Some(cut)) = (&mut done, cut) {
            detail.to_mut().push_str(match cut {
                NoWait::Crowded => "; as many wait as may",
                NoWait::Stopping => "; the server stops",
            });
        }
        self.close();
        let (revision, body) = self.vault.record(&self.caller, &self.action, done).await?;
        Ok(Watched { revision, body, cut })
    }

    /// What is logged says what is wrong with the token; what is answered does not.
    async fn refuse(&mut self, error: Error) -> Error {
        self.close();
        let told = self.vault.fail(&self.caller, &self.action, error).await;
        if told.code == Code::Unauthenticated { unauthenticated() } else { told }
    }

    fn close(&mut self) {
        self.ended = true;
        self.action.waited = self.since.map(|since| since.elapsed());
    }
}

impl Drop for Visit<'_> {
    /// The client went away, or the time limit was over.
    fn drop(&mut self) {
        if !self.ended {
            self.close();
            let given_up = Done { detail: Some("given up".into()), ..Done::new(()) };
            // The line is in the queue, and nobody is left who could be told that it is durable.
            drop(self.vault.note(&self.caller, &self.action, Ok(&given_up)));
        }
    }
}
