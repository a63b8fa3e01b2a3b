//! Regions beside each other: who sees what, and what nobody reads.

use std::time::Duration;

use chandlery_wire::api::{Check, Checked, Compare, Declaration, FindingKind, Matrix, Place, Side};
use chandlery_wire::{Code, Scope, ServiceName, Verb};

use super::{Fixture, entry_name, environment, named, of, scope, stack};
use crate::access::Caller;
use crate::vault::{Error, MatrixOf};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Fixture {
    async fn matrix(&self, caller: &Caller, reveal: bool) -> Result<Matrix, Error> {
        let (stack, environment) = (stack("app"), environment("production"));
        self.vault.matrix(caller, MatrixOf { stack, environment, service: None, at: None, reveal }).await
    }

    async fn unread(&self, days: u32) -> Checked {
        let check = Check { unread_days: Some(days), ..Check::default() };
        self.vault.check(&self.admin, stack("app"), environment("production"), check).await.unwrap()
    }

    async fn names_unread(&self, days: u32) -> Vec<String> {
        let found = self.unread(days).await.findings;
        assert!(found.iter().all(|finding| finding.kind == FindingKind::Unread));
        found.iter().map(|finding| finding.name.to_string()).collect()
    }
}

#[tokio::test]
async fn a_matrix_shows_what_its_reader_may_read() {
    let it = Fixture::new().await;
    it.set("production", "A=base").await.unwrap();
    it.set("production/eu", "A=eu").await.unwrap();
    it.set("production/us", "A=us").await.unwrap();
    it.set("production/eu", "db:B=eu").await.unwrap();
    let all = it.matrix(&it.admin, false).await.unwrap();
    assert_eq!((all.rows.len(), all.rows[0].overlays.len(), all.rows[0].differs), (2, 2, true));
    assert!(all.rows[0].base.as_ref().unwrap().value.is_none(), "a secret");
    let eu = it.token(&[Verb::ReadEntry], &[scope("production/eu")]).await;
    let seen = it.matrix(&eu, true).await.unwrap();
    assert!(seen.rows[0].base.is_none() && seen.rows[0].overlays.len() == 1);
    let service = Some(ServiceName::parse("web").unwrap());
    let web = it.token(&[Verb::ReadEntry], &[Scope { service, ..scope("production/eu") }]).await;
    assert!(it.matrix(&web, true).await.unwrap().rows.is_empty(), "what is for all is not for one alone to read");
    let container = it.token(&[Verb::ReadBundle], &[Scope::default()]).await;
    assert_eq!(it.matrix(&container, false).await.unwrap_err().code, Code::Forbidden);
    let side = |place: &str| Side::Place(Place { place: Some(place.to_owned()), at: None });
    let compare = |caller: Caller, left: &str, right: &str| {
        let compare = Compare { left: side(left), right: side(right), service: None, reveal: true };
        let vault = it.vault.clone();
        async move { vault.compare(&caller, stack("app"), environment("production"), compare).await }
    };
    assert_eq!(compare(container, "eu", "us").await.unwrap_err().code, Code::Forbidden);
    let of_eu = compare(eu, "eu", "us").await.unwrap();
    assert!(of_eu.differences.iter().all(|one| one.right.is_none()), "us is not for its eyes");
    assert_eq!(compare(it.admin.clone(), "eu", "moon").await.unwrap_err().code, Code::UnknownRegion);
    assert_eq!(compare(it.admin.clone(), "eu", "production").await.unwrap_err().code, Code::UnknownRegion);
    assert_eq!(compare(it.admin.clone(), "eu", "a/b/c/d").await.unwrap_err().code, Code::InvalidName);
    it.vault.declare_environment(&it.admin, stack("app"), environment("eu"), vec![]).await.unwrap();
    assert_eq!(compare(it.admin.clone(), "eu", "us").await.unwrap_err().code, Code::Conflict, "which eu?");
    assert_eq!(compare(it.admin.clone(), "production/eu", "us").await.unwrap().same, 0);
}

#[tokio::test]
async fn a_removed_entry_differs_from_one_that_is_there() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    assert!(!it.matrix(&it.admin, false).await.unwrap().rows[0].differs);
    it.set("production/eu", "A=1").await.unwrap();
    assert!(!it.matrix(&it.admin, false).await.unwrap().rows[0].differs, "an override that says the same");
    let which = crate::vault::Which { layer: super::key("production/eu"), name: entry_name("A"), grant: None };
    let removal = crate::vault::Removal { hide_base: true, expect_version: None };
    it.vault.delete(&it.admin, which, removal).await.unwrap();
    assert!(it.matrix(&it.admin, false).await.unwrap().rows[0].differs);
}

#[tokio::test]
async fn what_no_service_has_got_is_told_from_the_log() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    it.set("production", "db:B=1").await.unwrap();
    it.set("production/us", "C=1").await.unwrap();
    it.clock.advance(DAY * 100);
    it.set("production", "YOUNG=1").await.unwrap();
    it.bundle("production/eu", Some("web")).await.unwrap();
    it.clock.advance(DAY);
    assert_eq!(it.names_unread(90).await, ["B", "C"], "another region's reading is none of us's own");
    let young = it.unread(200).await;
    assert!(young.findings.is_empty() && young.reads_known_since.is_none(), "nothing is as old as that");

    // A container that has its bundle already is told so, without the names; they are in the older line.
    let revision = it.bundle("production/us", Some("db")).await.unwrap().revision;
    assert_eq!(it.names_unread(90).await, Vec::<String>::new());
    it.clock.advance(DAY * 60);
    it.vault.bundle(&it.admin, of("production/us", Some("db")), vec![revision]).await.unwrap();
    it.clock.advance(DAY);
    assert_eq!(it.names_unread(30).await, Vec::<String>::new());
    it.clock.advance(DAY * 40);
    assert_eq!(it.names_unread(30).await, ["A", "B", "C", "YOUNG"]);
}

#[tokio::test]
async fn a_check_names_unknown_places_and_bad_patterns() {
    let it = Fixture::new().await;
    let declaration = |service: &str, pattern: &str, region: &str| Declaration {
        name: entry_name("A"),
        service: Some(ServiceName::parse(service).unwrap()),
        required: true,
        empty: false,
        secret: None,
        pattern: Some(pattern.to_owned()),
        regions: vec![super::region(region)],
    };
    let ask = |declaration| {
        let check = Check { declarations: vec![declaration], ..Check::default() };
        it.vault.check(&it.admin, stack("app"), environment("production"), check)
    };
    assert_eq!(ask(declaration("nobody", "x", "eu")).await.unwrap_err().code, Code::NotFound);
    assert_eq!(ask(declaration("web", "x", "moon")).await.unwrap_err().code, Code::UnknownRegion);
    for pattern in ["(", "(?=look)", "a{1000}{1000}"] {
        let error = ask(declaration("web", pattern, "eu")).await.unwrap_err();
        assert!(error.code == Code::Invalid && !error.audit_detail().contains(pattern), "{}", error.audit_detail());
    }
    let mut plain = named("A=x");
    plain.entry.secret = Some(false);
    it.vault.write(&it.admin, super::key("production"), vec![plain], false).await.unwrap();
    assert!(ask(declaration("web", "^x$", "eu")).await.unwrap().findings.is_empty());
    assert_eq!(ask(declaration("web", "^y$", "eu")).await.unwrap().findings[0].kind, FindingKind::Shape);
}
