//! Values that are kept outside: when they are asked for, by whom, and what of them is believed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandlery_wire::api::Outcome;
use chandlery_wire::{Code, Value, Verb};
use tokio::sync::Semaphore;

use super::super::waiting::Patience;
use super::*;
use crate::source::{Asker, Fetching, Scheme, Source, SourceError, Trouble};

/// A source that says what a test wants it to, and counts.
#[derive(Debug)]
struct Fake {
    says: Mutex<BTreeMap<String, Result<String, Trouble>>>,
    calls: AtomicUsize,
    asked: AtomicUsize,
    /// Closed while it is to keep everybody waiting.
    open: Semaphore,
}

impl Fake {
    fn new(says: &[(&str, &str)]) -> Arc<Self> {
        let fake = Self {
            says: Mutex::default(),
            calls: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
        };
        says.iter().for_each(|(locator, value)| fake.say(locator, Ok(value)));
        Arc::new(fake)
    }

    fn say(&self, locator: &str, answer: Result<&str, Trouble>) {
        self.says.lock().unwrap().insert(locator.to_owned(), answer.map(str::to_owned));
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Source for Fake {
    fn admit(&self, asker: Asker<'_>, locator: &str) -> Result<(), SourceError> {
        match locator.starts_with("of-solo/") && asker.environment.as_str() != "solo" {
            true => Err(SourceError::new(Trouble::Refused, format!("{locator} is not for {asker}"))),
            false => Ok(()),
        }
    }

    fn fetch<'a>(&'a self, locators: &'a [String]) -> Fetching<'a> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.asked.fetch_add(locators.len(), Ordering::Relaxed);
        Box::pin(async move {
            let _open = self.open.acquire().await.unwrap();
            let says = self.says.lock().unwrap();
            let answer = |locator: &String| match says.get(locator) {
                Some(Ok(value)) => Ok(Value::new(value.as_str())),
                Some(Err(trouble)) => Err(SourceError::new(*trouble, format!("{locator}: {trouble:?}"))),
                None => Err(SourceError::new(Trouble::Missing, format!("there is no {locator}"))),
            };
            locators.iter().map(answer).collect()
        })
    }
}

async fn with(fake: &Arc<Fake>) -> Fixture {
    let it = Fixture::with(Sources::default().with(Scheme::Exec, Arc::clone(fake) as Arc<dyn Source>)).await;
    it.vault.core.outside.leave_alone();
    it
}

impl Fixture {
    /// Lets time pass, and everything be done in the background that is due then.
    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        while self.vault.tend_once().await {}
    }

    async fn fault(&self, layer: &str) -> (Code, String) {
        let error = self.bundle(layer, None).await.unwrap_err();
        (error.code, error.faults.iter().map(|fault| format!("{} {}\n", fault.name, fault.detail)).collect())
    }
}

#[tokio::test]
async fn one_secret_is_fetched_once_for_all_its_keys_and_all_who_read_it() {
    let json = r#"{"A": "1", "B": "2", "URL": "x"}"#;
    let fake = Fake::new(&[("all", json), ("line", "whole\n")]);
    let it = Arc::new(with(&fake).await);
    for entry in ["A<exec:all#A", "B<exec:all#B", "C<exec:line", "T~${A}-${B}-${C}"] {
        it.set("production", entry).await.unwrap();
    }
    let before = fake.asked();
    it.pass(500).await;
    it.vault.core.outside.shelf.tend(it.vault.core.clock.monotonic() + Duration::from_secs(5000));
    assert!(before >= 3, "each was read when it was set");
    let (before, calls) = (fake.asked(), fake.calls());
    let readers: Vec<_> = (0..200)
        .map(|n| {
            let it = Arc::clone(&it);
            let layer = if n % 2 == 0 { "production/eu" } else { "production/us" };
            tokio::spawn(async move { it.value(layer, None, "T").await.unwrap() })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "1-2-whole");
    }
    assert_eq!((fake.asked() - before, fake.calls() - calls), (2, 1), "two secrets, in one call");
}

#[tokio::test]
async fn another_value_is_another_revision_and_the_same_is_not() {
    let fake = Fake::new(&[("a", "one")]);
    let it = with(&fake).await;
    it.set("production", "A<exec:a").await.unwrap();
    let first = it.bundle("production/eu", None).await.unwrap();
    assert_eq!(first.variables[0].value.expose_secret(), b"one");
    assert!(first.variables[0].origin.reference && first.stale.is_empty());
    it.pass(95).await;
    it.pass(95).await;
    assert_eq!(it.bundle("production/eu", None).await.unwrap(), first);
    fake.say("a", Ok("two"));
    it.pass(95).await;
    let second = it.bundle("production/eu", None).await.unwrap();
    assert_eq!(second.variables[0].value.expose_secret(), b"two");
    assert!(second.revision > first.revision);
    // A server that starts again knows that it is the value it knew.
    let (store, dir, clock) = (Arc::clone(&it.store), it.dir.path().to_owned(), it.clock.clone());
    let sources = Sources::default().with(Scheme::Exec, Arc::clone(&fake) as Arc<dyn Source>);
    let admin = it.admin.clone();
    drop(it.vault);
    let opened = tokio::task::spawn_blocking(move || try_open_with(&dir, &store, &clock, &sources).unwrap());
    let (again, _) = opened.await.unwrap();
    let (revision, body) = again.bundle(&admin, of("production/eu", None), vec![second.revision]).await.unwrap();
    assert_eq!((revision, body), (second.revision, None), "nobody has to start anew for it");
}

#[tokio::test]
async fn its_last_word_is_served_while_the_source_is_away_and_said_to_be_old() {
    let fake = Fake::new(&[("a", "one"), ("b", "other")]);
    let it = with(&fake).await;
    it.set("production", "A<exec:a").await.unwrap();
    it.set("production", "B<exec:b").await.unwrap();
    let fresh = it.bundle("production/eu", None).await.unwrap();
    fake.say("a", Err(Trouble::Unreachable));
    it.pass(95).await;
    assert_eq!(it.bundle("production/eu", None).await.unwrap(), fresh, "it is still good");
    it.pass(10).await;
    let stale = it.bundle("production/eu", None).await.unwrap();
    assert_eq!((stale.revision, &stale.variables), (fresh.revision, &fresh.variables));
    let [one] = &stale.stale[..] else { panic!("{:?}", stale.stale) };
    assert_eq!((one.source.as_str(), &one.entries[..]), ("exec:a", &["A".to_owned()][..]));
    assert_eq!(one.fetched, "2026-01-01T00:00:00Z");
    assert!(!one.to_string().contains("one"), "{one}");
    let explained = it.vault.explain(&it.admin, of("production/eu", None), entry_name("A")).await.unwrap();
    assert!(explained.outside.as_ref().unwrap().stale, "{explained:?}");
    // It is back.
    fake.say("a", Ok("one"));
    it.pass(61).await;
    assert_eq!(it.bundle("production/eu", None).await.unwrap(), fresh);
    // And away for too long.
    fake.say("a", Err(Trouble::Throttled));
    for _ in 0..20 {
        it.pass(60).await;
    }
    let (code, faults) = it.fault("production/eu").await;
    assert_eq!(code, Code::SourceUnavailable, "who waits a little may get it");
    assert!(faults.contains("A cannot be had from outside: a: Throttled"), "{faults}");
}

#[tokio::test]
async fn a_no_is_not_passed_over() {
    for trouble in [Trouble::Missing, Trouble::Refused, Trouble::Invalid] {
        let fake = Fake::new(&[("a", "one")]);
        let it = with(&fake).await;
        it.set("production", "A<exec:a").await.unwrap();
        it.set("production", "T~x${A}").await.unwrap();
        it.bundle("production/eu", None).await.unwrap();
        fake.say("a", Err(trouble));
        it.pass(95).await;
        let (code, faults) = it.fault("production/eu").await;
        assert_eq!(code, Code::Unresolvable);
        assert!(faults.contains(&format!("A cannot be had from outside: a: {trouble:?}")), "{faults}");
        assert!(faults.contains("T refers to A, which cannot be had"), "{faults}");
        let asked = fake.asked();
        for _ in 0..50 {
            it.fault("production/us").await;
        }
        assert_eq!(fake.asked(), asked, "a no is asked for once in a while");
        fake.say("a", Ok("again"));
        it.pass(11).await;
        assert_eq!(it.value("production/eu", None, "T").await.unwrap(), "xagain");
    }
}

#[tokio::test]
async fn who_waits_is_told_of_another_value_and_of_a_no_and_of_nothing_else() {
    let fake = Fake::new(&[("a", "one"), ("b", "other")]);
    let it = Arc::new(with(&fake).await);
    it.set("production", "A<exec:a").await.unwrap();
    it.set("solo", "B<exec:b").await.unwrap();
    it.bundle("solo", None).await.unwrap();
    let wait = |known: u64| {
        let it = Arc::clone(&it);
        tokio::spawn(async move {
            let patience = Patience { wait: Duration::from_secs(300), most: 10 };
            it.vault.next_bundle(&it.admin, of("production/eu", None), vec![known], patience).await
        })
    };
    let settled = || async {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let first = it.bundle("production/eu", None).await.unwrap();
    let waiting = wait(first.revision);
    settled().await;
    it.pass(95).await;
    fake.say("b", Ok("another"));
    it.pass(95).await;
    settled().await;
    assert!(!waiting.is_finished(), "the same value, and a value that is none of its business");
    fake.say("a", Ok("two"));
    it.pass(95).await;
    let second = waiting.await.unwrap().unwrap();
    let bundle: Bundle = serde_json::from_slice(&second.body.unwrap()).unwrap();
    assert_eq!(bundle.variables[0].value.expose_secret(), b"two");
    let waiting = wait(second.revision);
    settled().await;
    fake.say("a", Err(Trouble::Unreachable));
    it.pass(95).await;
    settled().await;
    assert!(!waiting.is_finished(), "that it is away is no news");
    fake.say("a", Err(Trouble::Refused));
    it.pass(61).await;
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(refused.code, Code::Unresolvable);
}

#[tokio::test]
async fn an_environment_gets_what_it_may_have_however_the_reference_came_there() {
    let fake = Fake::new(&[("of-solo/a", "hunter2")]);
    let it = with(&fake).await;
    it.set("solo", "A<exec:of-solo/a").await.unwrap();
    assert_eq!(it.value("solo", None, "A").await.unwrap(), "hunter2");
    let asked = fake.asked();
    let refused = it.set("production", "A<exec:of-solo/a").await.unwrap_err();
    assert!(refused.code == Code::Invalid && refused.detail.contains("is not for app/production"), "{refused:?}");
    let mut unread = named("A<exec:of-solo/a");
    unread.entry.unchecked = true;
    let refused = it.vault.write(&it.admin, key("production"), vec![unread], false).await.unwrap_err();
    assert_eq!(refused.code, Code::Invalid, "no check is no permission");
    let copying = chandlery_wire::api::Copying {
        from_stack: None,
        from_environment: Some(environment("solo")),
        layers: vec![],
        names: vec![],
        secrets: true,
        declare: vec![],
        terms: chandlery_wire::api::Terms::default(),
    };
    let refused = it.vault.copy(&it.admin, stack("app"), environment("production"), copying).await.unwrap_err();
    assert_eq!(refused.code, Code::Invalid, "{refused:?}");
    assert_eq!(fake.asked(), asked, "nobody was asked");
    // A template may reach there, for who may read there.
    it.set("production", "T~${app/solo/A}").await.unwrap();
    assert_eq!(it.value("production/eu", None, "T").await.unwrap(), "hunter2");
    let here = it.token(&[Verb::ReadBundle], &[scope("production")]).await;
    assert_eq!(it.bundle_as(&here, "production/eu", None).await.unwrap_err().code, Code::Unresolvable);
}

#[tokio::test]
async fn a_reference_is_read_when_it_is_set() {
    let fake = Fake::new(&[("a", r#"{"A": "1"}"#), ("away", "x")]);
    fake.say("away", Err(Trouble::Unreachable));
    let it = with(&fake).await;
    for (entry, code, part) in [
        ("A<exec:none", Code::Invalid, "there is no none"),
        ("A<exec:a#B", Code::Invalid, "it has no key B"),
        ("A<exec:away", Code::SourceUnavailable, "away: Unreachable"),
        ("A<file:/etc/passwd", Code::Invalid, "no source file:"),
        ("A<hunter2", Code::Invalid, "no reference"),
    ] {
        let error = it.set("solo", entry).await.unwrap_err();
        assert!(error.code == code && error.detail.contains(part), "{entry}: {error:?}");
    }
    assert!(it.bundle("solo", None).await.unwrap().variables.is_empty());
    let mut unread = named("A<exec:none");
    unread.entry.unchecked = true;
    it.vault.write(&it.admin, key("solo"), vec![unread], false).await.unwrap();
    assert_eq!(it.fault("solo").await.0, Code::Unresolvable);
    // The one that was just corrected is not taken from memory.
    it.set("solo", "A<exec:a#A").await.unwrap();
    fake.say("a", Ok(r#"{"A": "1", "B": "2"}"#));
    it.set("solo", "B<exec:a#B").await.unwrap();
    let list = it.vault.entries(&it.admin, stack("app"), environment("solo"), None).await.unwrap();
    let shown: Vec<_> =
        list.entries.iter().map(|entry| (entry.reference.clone().unwrap(), entry.value.clone())).collect();
    assert_eq!(shown, [("exec:a#A".to_owned(), None), ("exec:a#B".to_owned(), None)]);
    let reader = it.token(&[Verb::ReadEntry], &[scope("solo")]).await;
    assert_eq!(it.set_as(&reader, "solo", "C<exec:a#A").await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn who_may_not_read_a_bundle_makes_nobody_ask() {
    let fake = Fake::new(&[("a", "one")]);
    let it = with(&fake).await;
    let mut unread = named("A<exec:a");
    unread.entry.unchecked = true;
    it.vault.write(&it.admin, key("solo"), vec![unread], false).await.unwrap();
    let elsewhere = it.token(&[Verb::ReadBundle, Verb::ReadEntry, Verb::Write], &[scope("production")]).await;
    assert_eq!(it.bundle_as(&elsewhere, "solo", None).await.unwrap_err().code, Code::Forbidden);
    let refused = it.vault.explain(&elsewhere, of("solo", None), entry_name("A")).await.unwrap_err();
    assert_eq!((refused.code, fake.asked()), (Code::Forbidden, 0));
}

#[tokio::test]
async fn each_fetch_has_a_line_and_the_log_has_no_value() {
    let fake = Fake::new(&[("a", "hunter2")]);
    let it = with(&fake).await;
    it.set("solo", "A<exec:a").await.unwrap();
    it.pass(95).await;
    fake.say("a", Err(Trouble::Refused));
    it.pass(95).await;
    let audit = it.audit();
    let lines: Vec<_> = audit.iter().filter(|record| record.action == "fetch").collect();
    let seen: Vec<_> = lines.iter().map(|record| (record.outcome, record.revision.is_some())).collect();
    assert_eq!(seen, [(Outcome::Allowed, true), (Outcome::Allowed, false), (Outcome::Refused, false)]);
    assert!(lines.iter().all(|record| record.caller == "server" && record.target.as_deref() == Some("exec:a")));
    assert!(!format!("{audit:?}").contains("hunter2"));
    let database = std::fs::read(it.dir.path().join("chandlery.db-wal")).unwrap();
    assert!(!database.windows(7).any(|bytes| bytes == b"hunter2"), "it is nowhere at rest");
}

#[tokio::test]
async fn what_was_is_read_as_it_is_now() {
    let fake = Fake::new(&[("a", "one")]);
    let it = with(&fake).await;
    let at = it.set("solo", "A<exec:a").await.unwrap().revision;
    it.set("solo", "A=literal").await.unwrap();
    fake.say("a", Ok("two"));
    it.pass(95).await;
    let (_, body) = it.vault.bundle_at(&it.admin, of("solo", None), at.to_string()).await.unwrap();
    let bundle: Bundle = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(bundle.variables[0].value.expose_secret(), b"two");
    assert!(bundle.variables[0].origin.reference);
}
