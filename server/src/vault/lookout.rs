//! Looks out for changes on behalf of all who wait for one.
//!
//! Who waits is a line in a table: who it is, what its bundle stands on, and how to tell it. One task looks at the
//! store's change counter, at once after a commit of this server and twice a second otherwise; only when it has moved,
//! it reads the revisions of the layers that anybody waits for, each environment once, and tells those whose ground has
//! moved. So a thousand who wait cost next to nothing, and a write elsewhere costs one look, not a thousand.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chandlery_wire::NodeName;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Error;
use super::core::Core;
use super::ground::{Ground, Grounds};
use super::records::{NODES_MAC, OPENINGS_MAC, Records, TOKENS_MAC};
use super::roll::{Tokens, stale};
use crate::access::Caller;

/// How often the change counter is looked at. It is what is relied on: another program commits without telling us.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks, so that a store that is written to all the time is not looked at all the time.
const REST: Duration = Duration::from_millis(5);
/// Those whose wait has ended make their bundles so many at a time: the first ones fill the cache for the others, and no
/// more threads and connections to the database are needed for a thousand than for these.
const TURNS: usize = 16;

/// How a wait came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// What the bundle was made from, or whether the token is good, may have changed.
    Moved,
    TimeOver,
    Stopping,
}

/// Why somebody may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWait {
    /// As many wait already as may.
    Crowded,
    /// The server stops.
    Stopping,
}

#[derive(Debug)]
pub(super) struct Lookout {
    table: Mutex<Table>,
    commits: Notify,
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<u64, Waiter>,
    next: u64,
    /// The change counter at the last look.
    seen: Option<u64>,
    /// The macs over all tokens, all nodes and all openings at the last look; nothing, where it failed.
    macs: Option<[Option<Vec<u8>>; 3]>,
    /// Somebody came who was let in and served under another counter than that: something may have passed unseen.
    behind: bool,
    /// A value that is kept outside has become another one, or there is none any more.
    stirred: bool,
    /// Whether the task runs. It ends when nobody waits.
    manned: bool,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    caller: Caller,
    grounds: Arc<Grounds>,
    tell: oneshot::Sender<Ending>,
}

/// A place among those who wait; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    core: Arc<Core>,
    number: u64,
    told: oneshot::Receiver<Ending>,
}

impl Lookout {
    pub(super) fn new() -> Self {
        Self { table: Mutex::default(), commits: Notify::new(), turns: Semaphore::new(TURNS) }
    }

    /// Says that this process has committed something.
    pub(super) fn committed(&self) {
        self.commits.notify_one();
    }

    /// Says that there may be news of what is kept outside.
    pub(super) fn stir(&self) {
        self.table().stirred = true;
        self.commits.notify_one();
    }

    /// One's turn to make a bundle.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// Ends all waits, now and later.
    pub(super) fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        for (_, waiter) in table.waiting.drain() {
            // One that is just leaving needs not be told.
            let _ = waiter.tell.send(Ending::Stopping);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to look at; `None` where nobody is left to look for, and the task is to end.
    fn is_due(&self, core: &Core) -> Option<bool> {
        let counter = core.store.change_counter().ok();
        let mut table = self.table();
        if table.waiting.is_empty() {
            table.manned = false;
            return None;
        }
        // A counter that cannot be read is a reason to look, and to find out more.
        Some(table.behind || table.stirred || counter.is_none() || counter != table.seen)
    }

    /// One look, for everybody. Blocking.
    fn look(&self, core: &Core) {
        match self.survey(core) {
            Ok(survey) => self.tell(|waiter| survey.concerns(waiter) || core.has_news(&waiter.grounds.outside)),
            Err(error) => {
                tracing::warn!(reason = %error.detail, "those who wait for a change look for themselves");
                self.tell(|_| true);
            }
        }
    }

    fn survey(&self, core: &Core) -> Result<Survey, Error> {
        // From before anything is read: what is committed in between moves it again.
        let counter = core.store.change_counter()?;
        let mut table = self.table();
        table.seen = Some(counter);
        let behind = std::mem::take(&mut table.behind);
        table.stirred = false;
        let before = table.macs.take();
        let mut grounds = HashSet::new();
        for ground in table.waiting.values().flat_map(|waiter| &waiter.grounds.environments) {
            if !grounds.contains(ground) {
                grounds.insert(ground.clone());
            }
        }
        drop(table);
        let keyring = core.keyring();
        let (survey, macs) = core.read(|snapshot| {
            let records = Records::new(snapshot, &keyring);
            let macs = [TOKENS_MAC, NODES_MAC, OPENINGS_MAC].map(|name| snapshot.meta(name));
            let [tokens, nodes, openings] = macs;
            let macs = Some([tokens?, nodes?, openings?]);
            let rights = (behind || macs != before).then(|| Rights::read(&records, core.now())).transpose()?;
            Ok((Survey { moved: moved(&records, grounds)?, rights }, macs))
        })?;
        self.table().macs = macs;
        Ok(survey)
    }

    fn tell(&self, concerned: impl Fn(&Waiter) -> bool) {
        for (_, waiter) in self.table().waiting.extract_if(|_, waiter| concerned(waiter)) {
            // One that is just leaving needs not be told.
            let _ = waiter.tell.send(Ending::Moved);
        }
    }
}

impl Core {
    /// A place for a caller whose bundle stood on these grounds.
    pub(super) fn join(self: &Arc<Self>, caller: &Caller, grounds: Arc<Grounds>, most: usize) -> Result<Place, NoWait> {
        let mut table = self.lookout.table();
        if table.closed {
            return Err(NoWait::Stopping);
        }
        if table.waiting.len() >= most {
            return Err(NoWait::Crowded);
        }
        let (tell, told) = oneshot::channel();
        let number = table.next;
        table.next += 1;
        table.waiting.insert(number, Waiter { caller: caller.clone(), grounds: Arc::clone(&grounds), tell });
        if table.seen != Some(caller.as_of) {
            table.behind = true;
            self.lookout.commits.notify_one();
        }
        // What was settled after the bundle was made, and looked at before it came into the table.
        if self.has_news(&grounds.outside) {
            table.stirred = true;
            self.lookout.commits.notify_one();
        }
        if !std::mem::replace(&mut table.manned, true) {
            tokio::spawn(man(Arc::clone(self)));
        }
        drop(table);
        Ok(Place { core: Arc::clone(self), number, told })
    }
}

/// The task.
async fn man(core: Arc<Core>) {
    loop {
        // Which of the two it was, makes no difference.
        let _ = timeout(LOOK_EVERY, core.lookout.commits.notified()).await;
        match core.lookout.is_due(&core) {
            None => return,
            Some(false) => continue,
            Some(true) => {}
        }
        let worker = Arc::clone(&core);
        if tokio::task::spawn_blocking(move || worker.lookout.look(&worker)).await.is_err() {
            core.lookout.tell(|_| true);
        }
        sleep(REST).await;
    }
}

impl Place {
    /// Waits for news, no longer than that.
    pub(super) async fn wait(mut self, until: Instant) -> Ending {
        match timeout_at(until, &mut self.told).await {
            Ok(told) => told.unwrap_or(Ending::Moved),
            Err(_) => Ending::TimeOver,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.lookout.table().waiting.remove(&self.number);
    }
}

/// What a look has found.
struct Survey {
    /// Grounds that are not any more what they were.
    moved: HashSet<Ground>,
    /// Looked at only where any token, node or opening may have changed.
    rights: Option<Rights>,
}

/// Who may do what, and where the nodes are.
struct Rights {
    tokens: Tokens,
    /// Since which revision each is where it is; nothing, where they are not what was written.
    nodes: Option<HashMap<NodeName, u64>>,
    now: i64,
}

impl Survey {
    fn concerns(&self, Waiter { caller, grounds, .. }: &Waiter) -> bool {
        grounds.environments.iter().any(|ground| self.moved.contains(ground))
            || self.rights.as_ref().is_some_and(|rights| !rights.are_as_they_were(caller, grounds))
    }
}

impl Rights {
    fn read(records: &Records<'_>, now: i64) -> Result<Self, Error> {
        let nodes = records.nodes().map(|rows| rows.into_iter().map(|row| (row.name, row.revision)).collect());
        Ok(Self { tokens: Tokens::read(records)?, nodes: nodes.ok(), now })
    }

    fn are_as_they_were(&self, caller: &Caller, grounds: &Grounds) -> bool {
        // What is open to whom is rarely changed: then every container without a token has another look.
        if caller.resident.is_some() {
            return false;
        }
        let token = self.tokens.by_id(&caller.id).ok().flatten().filter(|token| stale(token, self.now).is_none());
        let since = |node| self.nodes.as_ref().and_then(|nodes| nodes.get(node)).copied();
        token.is_some_and(|token| token.verbs == caller.verbs && token.scopes == caller.scopes)
            && grounds.placement.as_ref().is_none_or(|placement| since(&placement.node) == Some(placement.since))
    }
}

fn moved(records: &Records<'_>, grounds: HashSet<Ground>) -> Result<HashSet<Ground>, Error> {
    let mut environments = HashMap::new();
    let mut moved = HashSet::new();
    for ground in grounds {
        let Ground { stack, environment, .. } = &ground;
        let layers = match environments.entry((stack.clone(), environment.clone())) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(records.snapshot.layer_revisions(stack, environment)?),
        };
        if !ground.holds(layers) {
            moved.insert(ground);
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use chandlery_wire::{RegionName, Verb};

    use super::super::bundles::{BundleOf, make};
    use super::super::outside::Abroad;
    use super::super::tests::nodes::{bound, by, fixture, node};
    use super::super::tests::{Fixture, caller, environment, key, named, of, region, scope, stack};
    use super::*;
    use crate::access::Caller;
    use crate::store::LayerKey;

    /// Nothing told yet, after a look at everything that was committed.
    fn is_quiet(place: &mut Place) -> bool {
        place.core.lookout.look(&place.core);
        place.told.try_recv().is_err()
    }

    impl Fixture {
        async fn place(&self, caller: &Caller, of: BundleOf) -> Place {
            let (core, asker) = (Arc::clone(&self.vault.core), caller.clone());
            let made = tokio::task::spawn_blocking(move || make(&core, &asker, &Abroad::new(&core), of, &[]).unwrap())
                .await
                .unwrap();
            self.vault.core.join(caller, made.grounds, 10).unwrap()
        }

        async fn declare_elsewhere(&self, regions: &[&str]) {
            let regions: Vec<RegionName> = regions.iter().map(|name| region(name)).collect();
            self.vault.declare_stack(&self.admin, stack("infra"), vec![]).await.unwrap();
            self.vault.declare_environment(&self.admin, stack("infra"), environment("live"), regions).await.unwrap();
        }

        async fn set_elsewhere(&self, layer: &str, entry: &str) {
            let key = LayerKey { stack: stack("infra"), ..key(layer) };
            self.vault.write(&self.admin, key, vec![named(entry)], false).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_write_that_is_none_of_its_business_tells_nobody() {
        let it = Fixture::new().await;
        it.set("production", "A=1").await.unwrap();
        let mut place = it.place(&it.admin, of("production/eu", None)).await;
        assert!(is_quiet(&mut place));
        it.set("production/us", "A=2").await.unwrap();
        it.set("solo", "A=2").await.unwrap();
        it.set("production", "A=1").await.unwrap();
        it.declare_elsewhere(&["eu"]).await;
        it.set_elsewhere("live/eu", "A=2").await;
        let regions = vec![region("ap")];
        it.vault.declare_environment(&it.admin, stack("app"), environment("production"), regions).await.unwrap();
        it.token(&[Verb::ReadBundle], &[scope("production")]).await;
        assert!(is_quiet(&mut place));
        it.set("production/eu", "A=2").await.unwrap();
        assert!(!is_quiet(&mut place));
    }

    #[tokio::test]
    async fn another_environment_that_a_template_reaches_into_is_its_business() {
        let it = Fixture::new().await;
        it.declare_elsewhere(&["us"]).await;
        it.set_elsewhere("live", "SMTP=mail").await;
        it.set("production", "MAIL~smtp://${infra/live/SMTP}").await.unwrap();
        for (layer, entry, quiet) in
            [("live/us", "SMTP=mail.us", true), ("live", "SMTP=post", false), ("live", "OTHER=x", false)]
        {
            let mut place = it.place(&it.admin, of("production/eu", None)).await;
            it.set_elsewhere(layer, entry).await;
            assert_eq!(is_quiet(&mut place), quiet, "{layer} {entry}");
        }
        // It may come to have the region that is asked for.
        let mut place = it.place(&it.admin, of("production/eu", None)).await;
        it.declare_elsewhere(&["eu"]).await;
        assert!(!is_quiet(&mut place));
    }

    #[tokio::test]
    async fn a_region_that_comes_or_goes_is_its_business() {
        let it = Fixture::new().await;
        it.set("production", "A=1").await.unwrap();
        it.set("solo", "A=1").await.unwrap();
        let mut in_eu = it.place(&it.admin, of("production/eu", None)).await;
        let mut alone = it.place(&it.admin, of("solo", None)).await;
        it.vault.withdraw_region(&it.admin, stack("app"), environment("production"), region("us")).await.unwrap();
        assert!(is_quiet(&mut in_eu) && is_quiet(&mut alone));
        it.vault.withdraw_region(&it.admin, stack("app"), environment("production"), region("eu")).await.unwrap();
        assert!(!is_quiet(&mut in_eu) && is_quiet(&mut alone));
        it.vault.declare_environment(&it.admin, stack("app"), environment("solo"), vec![region("eu")]).await.unwrap();
        assert!(!is_quiet(&mut alone));
    }

    #[tokio::test]
    async fn a_node_that_moves_is_the_business_of_who_asked_by_it_or_is_bound_to_it() {
        let it = fixture().await;
        let bound = caller(&it.vault, &bound(&it, "vm-1", scope("production")).await).await.unwrap();
        let mut asked_by_it = it.place(&it.admin, by("vm-1")).await;
        let mut bound_to_it = it.place(&bound, of("production/eu", None)).await;
        let mut others = [it.place(&it.admin, by("vm-2")).await, it.place(&it.admin, of("production/eu", None)).await];
        it.vault.place_node(&it.admin, node("vm-2"), region("us")).await.unwrap();
        it.vault.place_node(&it.admin, node("vm-3"), region("us")).await.unwrap();
        assert!(is_quiet(&mut asked_by_it) && is_quiet(&mut bound_to_it));
        it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
        assert!(!is_quiet(&mut asked_by_it) && !is_quiet(&mut bound_to_it));
        assert!(others.iter_mut().all(is_quiet));
    }

    #[tokio::test]
    async fn what_happened_before_it_came_is_not_missed() {
        let it = Fixture::new().await;
        it.set("production", "A=1").await.unwrap();
        let token = it.token_text(&[Verb::ReadBundle], &[scope("production")], None, None).await;
        let asker = caller(&it.vault, &token).await.unwrap();
        let (core, known) = (Arc::clone(&it.vault.core), asker.clone());
        let make = move || make(&core, &known, &Abroad::new(&core), of("production/eu", None), &[]).unwrap();
        let made = tokio::task::spawn_blocking(make).await.unwrap();
        it.vault.revoke_token(&it.admin, asker.id.to_string()).await.unwrap();
        // Somebody else's wait makes the lookout see it now, and find nobody whom it concerns.
        let mut other = it.place(&it.admin, of("solo", None)).await;
        assert!(is_quiet(&mut other));
        let mut place = it.vault.core.join(&asker, made.grounds, 10).unwrap();
        assert!(!is_quiet(&mut place) && is_quiet(&mut other));
    }

    #[tokio::test]
    async fn a_place_is_free_when_it_is_left() {
        let it = Fixture::new().await;
        it.set("solo", "A=1").await.unwrap();
        let places = [it.place(&it.admin, of("solo", None)).await, it.place(&it.admin, of("solo", None)).await];
        assert_eq!(it.vault.core.lookout.table().waiting.len(), 2);
        drop(places);
        assert!(it.vault.core.lookout.table().waiting.is_empty());
        let idle = async {
            while it.vault.core.lookout.table().manned {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), idle).await.expect("nobody looks out for nobody");
    }
}
