//! Many changes at once, factoring, copying, going back, destroying.

use chandlery_wire::api::{
    Change, ChangeSet, CopiedEntry, Copying, Effect, Factoring, RegionCopy, RestoreEntry, Rollback, SetEntry, Spot,
    State, Terms,
};
use chandlery_wire::{Code, Scope, Verb};

use super::{Fixture, entry_name, environment, key, named, of, region, scope, stack};
use crate::vault::{Destruction, Error, Which};

fn set(layer: Option<&str>, entry: &str) -> Change {
    let named = named(entry);
    Change::Set(SetEntry { name: named.name, region: layer.map(region), entry: named.entry })
}

fn spot(layer: Option<&str>, name: &str) -> Spot {
    Spot { name: entry_name(name), region: layer.map(region), grant: None, expect_version: None }
}

fn terms(expect_revision: Option<u64>, dry_run: bool) -> Terms {
    Terms { expect_revision, dry_run }
}

impl Fixture {
    async fn change(&self, changes: Vec<Change>, terms: Terms) -> Result<chandlery_wire::api::Changed, Error> {
        let set = ChangeSet { declare: vec![], changes, terms };
        self.vault.change(&self.admin, stack("app"), environment("production"), set).await
    }

    /// Everything the region gets, as `A=1 B=2`.
    async fn all(&self, layer: &str) -> String {
        let bundle = self.bundle(layer, None).await.unwrap();
        let text = |variable: &chandlery_wire::BundleVariable| {
            format!("{}={}", variable.name, String::from_utf8_lossy(variable.value.expose_secret()))
        };
        bundle.variables.iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test]
async fn changes_across_layers_are_one_revision_or_none() {
    let it = Fixture::new().await;
    let changes =
        vec![set(None, "A=1"), set(None, "B=1"), set(Some("eu"), "B=2"), Change::Remove(spot(Some("us"), "A"))];
    let plan = it.change(changes.clone(), terms(None, true)).await.unwrap();
    assert!(plan.dry_run && plan.entries.len() == 4);
    assert_eq!(it.all("production/eu").await, "", "a plan changes nothing");
    let done = it.change(changes.clone(), terms(Some(plan.revision), false)).await.unwrap();
    let told: Vec<String> =
        done.entries.iter().map(|e| format!("{}/{} {:?} v{}", e.layer, e.name, e.effect, e.version)).collect();
    assert_eq!(told, ["base/A Added v1", "us/A Removed v1", "base/B Added v1", "eu/B Added v1"]);
    assert_eq!((it.all("production/eu").await, it.all("production/us").await), ("A=1 B=2".into(), "B=1".into()));
    let line = it.audit().into_iter().rfind(|line| line.action == "write-changes").unwrap();
    assert_eq!(line.entries, ["base/A v1", "us/A v1", "base/B v1", "eu/B v1"]);
    assert_eq!(line.revision, Some(done.revision));
    let again = it.change(changes, terms(None, false)).await.unwrap();
    assert_eq!((again.entries.len(), again.unchanged, again.revision), (0, 4, done.revision));

    let late = it.change(vec![set(None, "A=9")], terms(Some(plan.revision), false)).await.unwrap_err();
    assert!(late.code == Code::VersionConflict && late.detail.contains("is at revision"), "{late:?}");
    let faulty = vec![set(None, "C=1"), set(Some("eu"), "not-a-variable=1"), set(Some("us"), "T~${")];
    let error = it.change(faulty, terms(None, false)).await.unwrap_err();
    let named: Vec<&str> = error.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!((error.code, named), (Code::Invalid, vec!["eu/not-a-variable", "us/T"]));
    let unknown = it.change(vec![set(None, "C=1"), set(Some("moon"), "C=1")], terms(None, false)).await.unwrap_err();
    assert_eq!(unknown.code, Code::UnknownRegion);
    assert_eq!(it.all("production/us").await, "B=1", "all of it or nothing");
}

#[tokio::test]
async fn each_change_needs_its_right() {
    let it = Fixture::new().await;
    let eu = it.token(&[Verb::Write, Verb::ReadEntry], &[scope("production/eu")]).await;
    let ask = |changes: Vec<Change>, declare: Vec<&str>| {
        let set = ChangeSet { declare: declare.into_iter().map(region).collect(), changes, terms: terms(None, false) };
        it.vault.change(&eu, stack("app"), environment("production"), set)
    };
    ask(vec![set(Some("eu"), "A=1")], vec![]).await.unwrap();
    for changes in [vec![set(Some("eu"), "A=2"), set(None, "A=2")], vec![set(Some("us"), "A=2")]] {
        assert_eq!(ask(changes, vec![]).await.unwrap_err().code, Code::Forbidden);
    }
    assert_eq!(ask(vec![set(Some("eu"), "A=2")], vec!["asia"]).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.all("production/eu").await, "A=1");
    let reader = it.token(&[Verb::ReadEntry], &[Scope::default()]).await;
    let rollback = Rollback { to: "1".into(), layers: vec![], names: vec![], terms: terms(None, false) };
    let refused = it.vault.roll_back(&reader, stack("app"), environment("production"), rollback).await.unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
    let what =
        Destruction { stack: stack("app"), environment: environment("production"), name: entry_name("A"), layer: None };
    assert_eq!(it.vault.destroy(&eu, what).await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn what_was_deleted_and_older_versions_come_back() {
    let it = Fixture::new().await;
    for value in ["A=1", "A=2", "A=3"] {
        it.set("production", value).await.unwrap();
    }
    let restore =
        |version| Change::Restore(RestoreEntry { name: entry_name("A"), region: None, version, expect_version: None });
    it.change(vec![restore(1)], terms(None, false)).await.unwrap();
    assert_eq!(it.all("production/eu").await, "A=1");
    assert_eq!(it.change(vec![restore(9)], terms(None, false)).await.unwrap_err().code, Code::NotFound);
    let live = it.change(vec![Change::Undelete(spot(None, "A"))], terms(None, false)).await.unwrap_err();
    assert_eq!(live.code, Code::Conflict);
    it.change(vec![Change::Delete(spot(None, "A"))], terms(None, false)).await.unwrap();
    assert_eq!(it.all("production/eu").await, "");
    let back = it.change(vec![Change::Undelete(spot(None, "A"))], terms(None, false)).await.unwrap();
    assert_eq!((back.entries[0].version, it.all("production/eu").await), (6, "A=1".to_owned()));
}

#[tokio::test]
async fn an_environment_goes_back_to_a_revision_and_forth_again() {
    let it = Fixture::new().await;
    it.change(vec![set(None, "A=1"), set(None, "db:B=1"), set(Some("eu"), "A=2")], terms(None, false)).await.unwrap();
    let past = it.change(vec![set(None, "T~x${A}")], terms(None, false)).await.unwrap().revision;
    it.clock.advance(std::time::Duration::from_secs(60));
    let changes = vec![
        Change::Delete(spot(None, "A")),
        Change::Remove(spot(Some("us"), "T")),
        set(None, "N=new"),
        Change::Delete(spot(Some("eu"), "A")),
        set(None, "T~y"),
    ];
    let present = it.change(changes, terms(None, false)).await.unwrap().revision;
    assert_eq!((it.all("production/eu").await, it.all("production/us").await), ("N=new T=y".into(), "N=new".into()));

    let roll = |to: &str, names: Vec<&str>, dry_run| {
        let names = names.into_iter().map(entry_name).collect();
        let rollback = Rollback { to: to.to_owned(), layers: vec![], names, terms: terms(None, dry_run) };
        it.vault.roll_back(&it.admin, stack("app"), environment("production"), rollback)
    };
    let text = |bundle: chandlery_wire::Bundle| bundle.variables.len();
    let old = it.vault.bundle_at(&it.admin, of("production/eu", None), past.to_string()).await.unwrap();
    let old: chandlery_wire::Bundle = serde_json::from_slice(&old.1.unwrap()).unwrap();
    assert_eq!((old.revision, text(old)), (past, 2), "A and the template, as they were");
    assert_eq!(it.all("production/eu").await, "N=new T=y");

    let plan = roll(&past.to_string(), vec![], true).await.unwrap();
    let done = roll(&past.to_string(), vec![], false).await.unwrap();
    assert_eq!(plan.entries, done.entries, "what was planned is what is done");
    assert_eq!((it.all("production/eu").await, it.all("production/us").await), ("A=2 T=x2".into(), "A=1 T=x1".into()));
    roll(&present.to_string(), vec![], false).await.unwrap();
    assert_eq!((it.all("production/eu").await, it.all("production/us").await), ("N=new T=y".into(), "N=new".into()));
    // By time, and one entry alone.
    roll("2026-01-01T00:00:30Z", vec!["A"], false).await.unwrap();
    assert_eq!(
        (it.all("production/eu").await, it.all("production/us").await),
        ("A=2 N=new T=y".into(), "A=1 N=new".into())
    );

    for (to, code) in
        [("9999", Code::NotFound), ("2027-01-01T00:00:00Z", Code::NotFound), ("yesterday", Code::BadRequest)]
    {
        assert_eq!(roll(to, vec![], false).await.unwrap_err().code, code, "{to}");
    }
    assert_eq!(roll("1", vec!["TYPO"], false).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn the_past_takes_the_right_to_read_entries() {
    let it = Fixture::new().await;
    let revision = it.set("production", "A=old").await.unwrap().revision;
    it.set("production", "A=new").await.unwrap();
    let container = it.token(&[Verb::ReadBundle], &[scope("production/eu")]).await;
    let past = it.vault.bundle_at(&container, of("production/eu", None), revision.to_string()).await;
    assert_eq!(past.unwrap_err().code, Code::Forbidden);
    let which = Which { layer: key("production"), name: entry_name("A"), grant: None };
    let entry = it.vault.entry_at(&it.admin, which, None, revision.to_string()).await.unwrap();
    assert_eq!(entry.value, chandlery_wire::Value::new("old"));
}

fn copy(name: &str, entries: &[(&str, &str)]) -> RegionCopy {
    let entry = |(name, value): &(&str, &str)| CopiedEntry { name: entry_name(name), value: (*value).into_value() };
    RegionCopy { region: region(name), entries: entries.iter().map(entry).collect() }
}

trait IntoValue {
    fn into_value(self) -> chandlery_wire::Value;
}

impl IntoValue for &str {
    fn into_value(self) -> chandlery_wire::Value {
        chandlery_wire::Value::new(self)
    }
}

#[tokio::test]
async fn copies_become_a_base_and_other_regions_keep_what_they_have() {
    let it = Fixture::new().await;
    it.change(
        vec![
            set(None, "A=before"),
            set(None, "GONE=1"),
            set(None, "STAYS=1"),
            set(Some("us"), "B=own"),
            set(None, "B=x"),
        ],
        terms(None, false),
    )
    .await
    .unwrap();
    let us = it.all("production/us").await;
    let factoring = |regions: Vec<RegionCopy>, exact, dry_run| Factoring {
        regions,
        plain: vec![],
        grant: None,
        exact,
        terms: terms(None, dry_run),
    };
    let copies = || {
        vec![
            copy("eu", &[("A", "1"), ("B", "1"), ("ONLY_EU", "1"), ("EMPTY", "")]),
            copy("asia", &[("A", "1"), ("B", "2"), ("EMPTY", ""), ("T", "${A}")]),
            copy("mars", &[("A", "2"), ("B", "2"), ("EMPTY", "")]),
        ]
    };
    let ask = |factoring| it.vault.factor(&it.admin, stack("app"), environment("production"), factoring);
    let plan = ask(factoring(copies(), false, true)).await.unwrap();
    assert_eq!((plan.values, plan.base, plan.overrides, plan.removals), (11, 3, 4, 0));
    assert_eq!(plan.changed.declared, [region("asia"), region("mars")]);
    assert!(plan.changed.notes[0].contains("GONE, STAYS"), "{:?}", plan.changed.notes);
    let kept: Vec<String> = plan.kept.iter().map(|kept| format!("{}/{}", kept.region, kept.name)).collect();
    assert_eq!(kept, ["us/A", "us/EMPTY"], "B is us's own, the others it keeps");
    assert_eq!(it.bundle("production/asia", None).await.unwrap_err().code, Code::UnknownRegion, "it was a plan");

    ask(factoring(copies(), false, false)).await.unwrap();
    assert_eq!(it.all("production/us").await, us);
    assert_eq!(it.all("production/eu").await, "A=1 B=1 EMPTY= GONE=1 ONLY_EU=1 STAYS=1");
    assert_eq!(it.all("production/asia").await, "A=1 B=2 EMPTY= GONE=1 STAYS=1 T=${A}");
    ask(factoring(copies(), true, false)).await.unwrap();
    assert_eq!(it.all("production/us").await, us);
    assert_eq!(it.all("production/mars").await, "A=2 B=2 EMPTY=");
    let again = ask(factoring(copies(), true, false)).await.unwrap();
    assert!(again.changed.entries.is_empty(), "{:?}", again.changed.entries);

    let tie = vec![
        copy("eu", &[("A", "2")]),
        copy("us", &[("A", "9")]),
        copy("asia", &[("A", "9")]),
        copy("mars", &[("A", "2")]),
    ];
    let tied = ask(factoring(tie, false, true)).await.unwrap();
    assert_eq!((tied.ties[0].values, &tied.ties[0].chosen[..]), (2, &[region("eu"), region("mars")][..]));
    let twice = vec![copy("eu", &[("A", "1"), ("A", "2")]), copy("eu", &[])];
    assert_eq!(ask(factoring(twice, false, true)).await.unwrap_err().faults.len(), 2);
    assert_eq!(ask(factoring(vec![copy("eu", &[])], false, true)).await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn secrets_are_promoted_only_by_name() {
    let it = Fixture::new().await;
    it.set("production", "PW=prod").await.unwrap();
    let mut plain = named("PORT=80");
    plain.entry.secret = Some(false);
    it.vault.write(&it.admin, key("solo"), vec![plain, named("PW=staging"), named("db:KEY=k")], false).await.unwrap();
    let ask = |names: Vec<&str>, secrets| {
        let copying = Copying {
            from_stack: None,
            from_environment: Some(environment("solo")),
            layers: vec![],
            names: names.into_iter().map(entry_name).collect(),
            secrets,
            declare: vec![],
            terms: Terms::default(),
        };
        it.vault.copy(&it.admin, stack("app"), environment("production"), copying)
    };
    let done = ask(vec![], false).await.unwrap();
    assert_eq!(done.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["PORT"]);
    assert_eq!(done.skipped.len(), 2, "{:?}", done.skipped);
    assert_eq!(it.all("production/eu").await, "PORT=80 PW=prod");
    // What is a secret there is not made plain by one who had it otherwise.
    let mut secret = named("PORT=2");
    secret.entry.secret = Some(true);
    it.vault.write(&it.admin, key("production"), vec![secret], false).await.unwrap();
    let kept = ask(vec!["PORT"], false).await.unwrap();
    assert!(kept.entries[0].secret && kept.entries[0].value.is_none(), "{kept:?}");
    assert_eq!(it.all("production/eu").await, "PORT=80 PW=prod");
    let named = ask(vec!["KEY"], false).await.unwrap();
    assert_eq!(named.entries[0].grant.to_string(), "db", "it is for those that it was for");
    ask(vec![], true).await.unwrap();
    assert_eq!(it.all("production/eu").await, "PORT=80 PW=staging");
    assert_eq!(ask(vec!["TYPO"], false).await.unwrap_err().code, Code::NotFound);

    // Only somebody who may read it may copy it.
    let writer = it.token(&[Verb::Write], &[Scope::default()]).await;
    let copying = Copying {
        from_stack: None,
        from_environment: Some(environment("solo")),
        layers: vec![],
        names: vec![],
        secrets: true,
        declare: vec![],
        terms: Terms::default(),
    };
    let refused = it.vault.copy(&writer, stack("app"), environment("production"), copying).await.unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
}

#[tokio::test]
async fn a_destroyed_entry_has_a_history_and_no_value() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    it.set("production", "A=2").await.unwrap();
    it.set("production/eu", "A=3").await.unwrap();
    let before = it.set("production", "B=1").await.unwrap().revision;
    let what = |layer| Destruction {
        stack: stack("app"),
        environment: environment("production"),
        name: entry_name("A"),
        layer,
    };
    let done = it.vault.destroy(&it.admin, what(Some(chandlery_wire::Layer::Base))).await.unwrap();
    assert_eq!(done.layers[0].versions, [1, 2]);
    assert_eq!((it.all("production/us").await, it.all("production/eu").await), ("B=1".into(), "A=3 B=1".into()));
    let history = it.vault.versions(&it.admin, key("production"), entry_name("A")).await.unwrap().entries;
    let told: Vec<(u64, State)> = history.iter().map(|entry| (entry.version, entry.state)).collect();
    assert_eq!(told, [(3, State::Destroyed), (2, State::Destroyed), (1, State::Destroyed)]);
    assert_eq!(history[0].author, &*it.admin.id);
    let which = || Which { layer: key("production"), name: entry_name("A"), grant: None };
    let gone = it.vault.entry(&it.admin, which(), Some(2)).await.unwrap_err();
    assert!(gone.code == Code::NotFound && gone.detail.contains("destroyed"), "{}", gone.detail);
    let undelete = it.change(vec![Change::Undelete(spot(None, "A"))], terms(None, false)).await.unwrap_err();
    assert!(undelete.detail.contains("destroyed"), "{}", undelete.detail);
    let rollback = Rollback { to: before.to_string(), layers: vec![], names: vec![], terms: terms(None, false) };
    let rolled = it.vault.roll_back(&it.admin, stack("app"), environment("production"), rollback).await.unwrap();
    assert!(rolled.entries.is_empty() && rolled.skipped[0].why.contains("destroyed"), "{rolled:?}");
    let past = it.vault.bundle_at(&it.admin, of("production/us", None), before.to_string()).await.unwrap_err();
    assert!(past.detail.contains("destroyed"), "{}", past.detail);

    it.vault.destroy(&it.admin, what(None)).await.unwrap();
    assert_eq!(it.all("production/eu").await, "B=1");
    it.set("production", "A=new").await.unwrap();
    assert_eq!(it.all("production/us").await, "A=new B=1");
    let history = it.vault.versions(&it.admin, key("production"), entry_name("A")).await.unwrap().entries;
    assert_eq!((history[0].version, history[0].state), (4, State::Live));
    let effect = it.change(vec![set(None, "A=newer")], terms(None, false)).await.unwrap().entries[0].effect;
    assert_eq!(effect, Effect::Changed);
}
