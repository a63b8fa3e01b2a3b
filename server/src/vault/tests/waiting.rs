//! Waiting for a bundle to change.

use std::time::Duration;

use chandlery_wire::api::{AuditRecord, Outcome};
use chandlery_wire::{Bundle, Code, Scope, TokenText, Verb};
use tokio::task::JoinHandle;

use super::nodes::{bound, by, fixture, node, place_of};
use super::{Fixture, caller, of, region, scope};
use crate::access::Caller;
use crate::vault::{BundleOf, Error, NoWait, Patience, Watched};

/// So long that a test would be seen to hang.
const LONG: u64 = 300;

fn eu() -> BundleOf {
    of("production/eu", None)
}

type Waiting = JoinHandle<Result<Watched, Error>>;

impl Fixture {
    async fn revision(&self, of: &BundleOf) -> u64 {
        self.vault.bundle(&self.admin, of.clone(), vec![]).await.unwrap().0
    }

    /// Somebody who has the bundle and waits for another; they wait when this returns.
    async fn waiting(&self, token: &TokenText, of: BundleOf, seconds: u64) -> Waiting {
        let asker = caller(&self.vault, token).await.unwrap();
        let waiting = self.asks(&asker, of, seconds, 1000).await;
        while asker.trail.patience().is_zero() {
            assert!(!waiting.is_finished(), "it did not wait");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        waiting
    }

    async fn asks(&self, asker: &Caller, of: BundleOf, seconds: u64, most: usize) -> Waiting {
        let (vault, asker, known) = (self.vault.clone(), asker.clone(), self.revision(&of).await);
        let patience = Patience { wait: Duration::from_secs(seconds), most };
        tokio::spawn(async move { vault.next_bundle(&asker, of, vec![known], patience).await })
    }

    async fn reader(&self) -> TokenText {
        self.token_text(&[Verb::ReadBundle], &[scope("production")], None, None).await
    }

    /// The lines of requests that waited, and what they say besides.
    fn waited(&self) -> Vec<(AuditRecord, String)> {
        let said = |line: AuditRecord| {
            let (said, waited) = line.detail.as_deref()?.rsplit_once("waited ")?;
            assert!(waited.strip_suffix(" s").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{waited}");
            let said = said.to_owned();
            Some((line, said))
        };
        self.audit().into_iter().filter_map(said).collect()
    }
}

#[tokio::test]
async fn a_change_brings_the_new_bundle_and_its_line_says_that_it_was_waited_for() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let waiting = it.waiting(&it.reader().await, eu(), LONG).await;
    it.set("production/us", "A=elsewhere").await.unwrap();
    it.set("solo", "A=elsewhere").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    it.set("production/eu", "A=2").await.unwrap();
    let watched = waiting.await.unwrap().unwrap();
    let bundle: Bundle = serde_json::from_slice(&watched.body.unwrap()).unwrap();
    assert_eq!((watched.revision, watched.cut), (bundle.revision, None));
    assert_eq!(bundle.variables[0].value.expose_secret(), b"2");
    let [(line, said)] = &it.waited()[..] else { panic!("one line to a request") };
    assert_eq!((line.action.as_str(), line.outcome, said.as_str()), ("read-bundle", Outcome::Allowed, ""));
    assert_eq!((&line.entries[..], line.revision), (&["A".to_owned()][..], Some(bundle.revision)));
}

#[tokio::test]
async fn without_a_change_the_wait_ends_in_its_time() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let revision = it.revision(&eu()).await;
    let watched = it.waiting(&it.reader().await, eu(), 1).await.await.unwrap().unwrap();
    assert_eq!((watched.revision, watched.body, watched.cut), (revision, None, None));
    let [(line, said)] = &it.waited()[..] else { panic!("one line to a request") };
    assert_eq!((said.as_str(), line.entries.len(), line.revision), ("not modified; ", 0, Some(revision)));
}

#[tokio::test]
async fn another_revision_than_those_known_is_not_waited_for() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let asker = caller(&it.vault, &it.reader().await).await.unwrap();
    let patience = Patience { wait: Duration::from_secs(LONG), most: 1000 };
    let watched = it.vault.next_bundle(&asker, eu(), vec![1, 999], patience).await.unwrap();
    assert!(watched.body.is_some() && asker.trail.patience().is_zero());
    assert!(it.waited().is_empty());
}

#[tokio::test]
async fn a_bundle_that_is_no_more_ends_the_wait_with_its_faults() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let waiting = it.waiting(&it.reader().await, eu(), LONG).await;
    it.set("production", "A~${NOPE}").await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.code, error.faults.len()), (Code::Unresolvable, 1));
    let said = &it.waited()[0].1;
    assert!(said.starts_with("unresolvable: ") && said.ends_with("; "), "{said}");
}

#[tokio::test]
async fn a_revoked_token_ends_its_own_waits_and_no_other() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let (revoked, kept) = (it.reader().await, it.reader().await);
    let id = caller(&it.vault, &revoked).await.unwrap().id.to_string();
    let (one, other) = (it.waiting(&revoked, eu(), LONG).await, it.waiting(&kept, eu(), LONG).await);
    it.vault.revoke_token(&it.admin, id.clone()).await.unwrap();
    let error = one.await.unwrap().unwrap_err();
    assert_eq!(error, caller(&it.vault, &revoked).await.unwrap_err(), "it tells no more than at the door");
    let [(line, said)] = &it.waited()[..] else { panic!("one line to a request") };
    assert_eq!((line.caller.as_str(), line.outcome), (id.as_str(), Outcome::Refused));
    assert_eq!(said, "unauthenticated: the token is revoked; ");
    assert!(!other.is_finished());
    it.set("production", "A=2").await.unwrap();
    assert!(other.await.unwrap().unwrap().body.is_some());
}

#[tokio::test]
async fn a_token_that_expires_meanwhile_gets_no_new_bundle() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let token = it.token_text(&[Verb::ReadBundle], &[Scope::default()], Some(60), None).await;
    let (woken, over) = (it.waiting(&token, eu(), LONG).await, it.waiting(&token, of("production/us", None), 1).await);
    it.clock.advance(Duration::from_secs(60));
    it.set("production/eu", "A=2").await.unwrap();
    for waiting in [woken, over] {
        assert_eq!(waiting.await.unwrap().unwrap_err().code, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_node_that_moves_brings_its_new_region_and_takes_what_is_bound_to_it_along() {
    let it = fixture().await;
    let bound = bound(&it, "vm-1", scope("production")).await;
    let moved = [it.waiting(&it.reader().await, by("vm-1"), LONG).await, it.waiting(&bound, by("vm-1"), LONG).await];
    let left = it.waiting(&bound, eu(), LONG).await;
    let stays =
        [it.waiting(&it.reader().await, by("vm-2"), LONG).await, it.waiting(&it.reader().await, eu(), LONG).await];
    it.vault.place_node(&it.admin, node("vm-3"), region("eu")).await.unwrap();
    it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
    for waiting in moved {
        let body = waiting.await.unwrap().unwrap().body.unwrap();
        assert_eq!(place_of(&serde_json::from_slice(&body).unwrap()), ("us", &b"us"[..]));
    }
    assert_eq!(left.await.unwrap().unwrap_err().code, Code::Forbidden);
    assert!(stays.iter().all(|waiting| !waiting.is_finished()));
    let [by_node, by_region] = stays;
    it.vault.remove_node(&it.admin, node("vm-2")).await.unwrap();
    assert_eq!(by_node.await.unwrap().unwrap_err().code, Code::NotFound);
    let said: Vec<_> = it.waited().into_iter().map(|(line, said)| (line.target.unwrap(), said)).collect();
    let of_node = ("app/production/us".to_owned(), "node vm-1; ".to_owned());
    assert_eq!(said.iter().filter(|line| **line == of_node).count(), 2, "{said:?}");
    it.set("production/eu", "PLACE=changed").await.unwrap();
    assert!(by_region.await.unwrap().unwrap().body.is_some());
}

#[tokio::test]
async fn a_wait_takes_one_use_of_a_token() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let token = it.token_text(&[Verb::ReadBundle], &[Scope::default()], None, Some(2)).await;
    let waiting = it.waiting(&token, eu(), LONG).await;
    it.set("production", "A=2").await.unwrap();
    assert!(waiting.await.unwrap().unwrap().body.is_some());
    let last = it.waiting(&token, eu(), 1).await;
    assert_eq!(last.await.unwrap().unwrap().body, None, "used up, and in all the same: this is what its use was for");
    assert!(caller(&it.vault, &token).await.is_err());
}

#[tokio::test]
async fn no_more_wait_than_may_and_a_place_is_free_again_when_its_client_goes() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let token = it.reader().await;
    let first = it.waiting(&token, eu(), LONG).await;
    let asker = caller(&it.vault, &token).await.unwrap();
    let crowded = it.asks(&asker, eu(), LONG, 1).await.await.unwrap().unwrap();
    assert_eq!((crowded.body, crowded.cut), (None, Some(NoWait::Crowded)));
    assert_eq!(it.audit().last().unwrap().detail.as_deref(), Some("not modified; as many wait as may"));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = it.asks(&asker, eu(), 1, 1).await.await.unwrap().unwrap();
    assert_eq!((second.body, second.cut), (None, None));
    let said: Vec<_> = it.waited().into_iter().map(|(_, said)| said).collect();
    assert_eq!(said, ["given up; ", "not modified; "]);
}

#[tokio::test]
async fn a_server_that_stops_lets_nobody_wait() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let token = it.reader().await;
    let waiting = it.waiting(&token, eu(), LONG).await;
    it.vault.end_waits();
    assert_eq!(waiting.await.unwrap().unwrap().cut, Some(NoWait::Stopping));
    assert_eq!(it.waited()[0].1, "not modified; the server stops; ");
    let asker = caller(&it.vault, &token).await.unwrap();
    let late = it.asks(&asker, eu(), LONG, 1000).await.await.unwrap().unwrap();
    assert_eq!(late.cut, Some(NoWait::Stopping));
}

#[tokio::test]
async fn many_with_tokens_of_their_own_are_all_told() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(it.waiting(&it.reader().await, eu(), LONG).await);
    }
    it.set("production", "A=2").await.unwrap();
    for waiting in waiting {
        assert!(waiting.await.unwrap().unwrap().body.is_some());
    }
    assert_eq!(it.waited().len(), 100);
}
