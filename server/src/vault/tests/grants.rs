//! What the verbs for regions tell somebody who may do a part: docs/decisions/0039.

use std::collections::BTreeMap;

use chandlery_wire::api::{
    Check, Compare, Comparison, CopiedEntry, Copying, Declaration, Factoring, Matrix, Place, RegionCopy, Rollback,
    Side, Terms,
};
use chandlery_wire::{Code, Scope, ServiceName, Value, Verb};

use super::{Fixture, entry_name, environment, key, named, region, scope, stack};
use crate::access::Caller;
use crate::vault::{Error, MatrixOf};

fn place(place: &str) -> Side {
    Side::Place(Place { place: Some(place.to_owned()), at: None })
}

fn file(entries: &[(&str, &str)]) -> Side {
    Side::Values(entries.iter().map(|(name, value)| (entry_name(name), Value::new(*value))).collect())
}

fn for_service(service: &str, scope: Scope) -> Scope {
    Scope { service: Some(ServiceName::parse(service).unwrap()), ..scope }
}

fn declaration(name: &str, service: Option<&str>) -> Declaration {
    Declaration {
        name: entry_name(name),
        service: service.map(|name| ServiceName::parse(name).unwrap()),
        required: true,
        empty: false,
        secret: None,
        pattern: None,
        regions: vec![],
    }
}

impl Fixture {
    async fn compare(&self, caller: &Caller, left: Side, right: Side) -> Result<Comparison, Error> {
        let compare = Compare { left, right, service: None, reveal: false };
        self.vault.compare(caller, stack("app"), environment("production"), compare).await
    }

    async fn whole(&self, caller: &Caller) -> Matrix {
        let of = MatrixOf {
            stack: stack("app"),
            environment: environment("production"),
            service: None,
            at: None,
            reveal: true,
        };
        self.vault.matrix(caller, of).await.unwrap()
    }

    /// What `check` finds, as `kind NAME region`.
    async fn check_as(&self, caller: &Caller, check: Check) -> Result<Vec<String>, Error> {
        let checked = self.vault.check(caller, stack("app"), environment("production"), check).await?;
        let text = |one: &chandlery_wire::api::Finding| {
            let region = one.region.as_ref().map_or("-", |region| region.as_str());
            format!("{:?} {} {region}: {}", one.kind, one.name, one.detail)
        };
        Ok(checked.findings.iter().map(text).collect())
    }
}

#[tokio::test]
async fn a_guess_is_named_as_in_no_matrix() {
    let it = Fixture::new().await;
    it.set("production", "PIN=4711").await.unwrap();
    it.set("production/eu", "PIN=0815").await.unwrap();
    it.set("production/us", "OPEN=x").await.unwrap();
    it.set("solo", "GUESS=4711").await.unwrap();
    let printed = it.whole(&it.admin).await;
    let row = printed.rows.iter().find(|row| row.name.as_str() == "PIN").unwrap();
    let pin = row.base.as_ref().unwrap().fingerprint.clone().unwrap();

    // Somebody who may read one entry there, and has seen that printout.
    let attacker = it.token(&[Verb::ReadEntry, Verb::Write], &[scope("production/us"), scope("solo")]).await;
    let guesses = file(&[("A", "4711"), ("B", "1234")]);
    let named = it.compare(&attacker, guesses.clone(), place("us")).await.unwrap();
    let names: BTreeMap<&str, &String> = named
        .differences
        .iter()
        .filter_map(|one| Some((one.name.as_str(), one.left.as_ref()?.fingerprint.as_ref()?)))
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.values().all(|name| **name != pin), "{names:?} and {pin}");
    let again = it.compare(&attacker, guesses, place("us")).await.unwrap();
    assert_ne!(again.differences, named.differences, "they are another answer's");
    let elsewhere = it.compare(&attacker, place("solo/base"), place("us")).await.unwrap();
    let fingerprints: Vec<&String> = elsewhere
        .differences
        .iter()
        .flat_map(|one| [&one.left, &one.right])
        .filter_map(|cell| cell.as_ref()?.fingerprint.as_ref())
        .collect();
    assert!(fingerprints.len() == 2 && fingerprints.iter().all(|name| **name != pin), "{fingerprints:?} and {pin}");

    // Within the environment they are those of the matrix, and within any answer the same value has the same.
    let own = it.compare(&it.admin, place("base"), place("eu")).await.unwrap();
    assert_eq!(own.differences[0].left.as_ref().unwrap().fingerprint.as_ref(), Some(&pin));
    let same = it.compare(&it.admin, file(&[("X", "4711"), ("PIN", "1")]), place("base")).await.unwrap();
    let of = |name: &str, left: bool| {
        let one = same.differences.iter().find(|one| one.name.as_str() == name).unwrap();
        let cell = if left { &one.left } else { &one.right };
        cell.as_ref().unwrap().fingerprint.clone()
    };
    assert_eq!(of("X", true), of("PIN", false));
}

#[tokio::test]
async fn who_may_read_a_part_is_told_a_part() {
    let it = Fixture::new().await;
    it.set("production", "BASE=1").await.unwrap();
    it.set("production", "db:OF_DB=1").await.unwrap();
    it.set("production", "web:OF_WEB=1").await.unwrap();
    it.set("production/eu", "OF_EU=1").await.unwrap();
    it.set("production/us", "OF_US=1").await.unwrap();
    assert!(!it.whole(&it.admin).await.partial);
    let eu = it.token(&[Verb::ReadEntry], &[scope("production/eu")]).await;
    let seen = it.whole(&eu).await;
    assert!(seen.partial && seen.rows.len() == 1, "{:?}", seen.rows);
    let web = it.token(&[Verb::ReadEntry], &[for_service("web", scope("production"))]).await;
    let seen = it.whole(&web).await;
    assert!(seen.partial && seen.rows.len() == 1 && seen.rows[0].name.as_str() == "OF_WEB");
    let part = it.compare(&eu, place("eu"), file(&[("OF_EU", "1")])).await.unwrap();
    assert!(part.partial && part.same == 1);
    assert!(!it.compare(&it.admin, place("eu"), place("us")).await.unwrap().partial);
    // An environment that it may not read is as one that is not there.
    let one = it.compare(&eu, place("solo"), place("eu")).await.unwrap_err();
    let other = it.compare(&eu, place("nada"), place("eu")).await.unwrap_err();
    assert_eq!((one.code, one.detail.replace("solo", "")), (other.code, other.detail.replace("nada", "")));

    // All of a service's view of a region, or a refusal; never "missing" for what is only not to be seen.
    let check = |declarations: &[Declaration], regions: &[&str]| Check {
        declarations: declarations.to_vec(),
        regions: regions.iter().map(|name| region(name)).collect(),
        unread_days: None,
    };
    let all = [declaration("BASE", Some("web")), declaration("OF_EU", None)];
    let found = it.check_as(&eu, check(&all, &["eu"])).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    let refused = it.check_as(&eu, check(&all, &[])).await.unwrap_err();
    assert!(refused.code == Code::Forbidden && refused.detail.ends_with("in us"), "{refused:?}");
    assert_eq!(it.check_as(&web, check(&all, &["eu"])).await.unwrap_err().code, Code::Forbidden);
    let of_web = [declaration("BASE", Some("web")), declaration("OF_DB", Some("web"))];
    let found = it.check_as(&web, check(&of_web, &["eu"])).await.unwrap();
    let expected = [
        "Missing OF_DB eu: is not set for this service",
        "Undeclared OF_WEB -: is set in base, and nothing declares it",
    ];
    assert_eq!(found, expected, "neither db nor OF_EU is named");
}

#[tokio::test]
async fn copies_and_plans_name_nothing_beyond_the_grant() {
    let it = Fixture::new().await;
    let mut plain = named("SHOWN=plain");
    plain.entry.secret = Some(false);
    let old = it.vault.write(&it.admin, key("production"), vec![plain], false).await.unwrap().revision;
    let mut other = named("SHOWN=other");
    other.entry.secret = Some(false);
    it.vault.write(&it.admin, key("production"), vec![other], false).await.unwrap();
    it.set("production", "db:HIDDEN=1").await.unwrap();
    it.set("production", "web:OPEN=1").await.unwrap();
    let web = [for_service("web", scope("production")), scope("solo")];
    let copier = it.token(&[Verb::ReadEntry, Verb::Write], &web).await;
    let copying = |names: &[&str]| Copying {
        from_stack: None,
        from_environment: Some(environment("production")),
        layers: vec![],
        names: names.iter().map(|name| entry_name(name)).collect(),
        secrets: true,
        declare: vec![],
        terms: Terms::default(),
    };
    let done = it.vault.copy(&copier, stack("app"), environment("solo"), copying(&[])).await.unwrap();
    let names: Vec<&str> = done.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!((names, done.skipped.len()), (vec!["OPEN"], 0));
    assert!(done.notes.iter().any(|note| note.contains("may not read")), "{:?}", done.notes);
    let hidden = it.vault.copy(&copier, stack("app"), environment("solo"), copying(&["HIDDEN"])).await.unwrap_err();
    let absent = it.vault.copy(&copier, stack("app"), environment("solo"), copying(&["ABSENT"])).await.unwrap_err();
    assert_eq!((hidden.code, hidden.detail), (absent.code, absent.detail));

    let writer = it.token(&[Verb::Write], &[scope("production")]).await;
    let terms = Terms { dry_run: true, expect_revision: None };
    let rollback = Rollback { to: old.to_string(), layers: vec![], names: vec![entry_name("SHOWN")], terms };
    let plan = |caller: &Caller| {
        let (vault, caller, rollback) = (it.vault.clone(), caller.clone(), rollback.clone());
        async move { vault.roll_back(&caller, stack("app"), environment("production"), rollback).await.unwrap() }
    };
    assert_eq!(plan(&it.admin).await.entries[0].value, Some(Value::new("plain")));
    assert_eq!(plan(&writer).await.entries[0].value, None, "who only writes is shown no value");

    let copies = ["eu", "us"].map(|name| RegionCopy {
        region: region(name),
        entries: vec![CopiedEntry { name: entry_name("NEW"), value: Value::new("1") }],
    });
    let terms = Terms { dry_run: true, expect_revision: None };
    let factoring = Factoring { regions: copies.to_vec(), plain: vec![], grant: None, exact: false, terms };
    let factored = it.vault.factor(&writer, stack("app"), environment("production"), factoring.clone()).await.unwrap();
    assert!(!factored.changed.notes.iter().any(|note| note.contains("HIDDEN")), "{:?}", factored.changed.notes);
    let factored = it.vault.factor(&it.admin, stack("app"), environment("production"), factoring).await.unwrap();
    assert!(factored.changed.notes.iter().any(|note| note.contains("HIDDEN")), "{:?}", factored.changed.notes);
}
