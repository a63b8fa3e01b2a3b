//! Who may do what, and that every request has one line.

use std::time::Duration;

use chandlery_wire::api::{CreateToken, Outcome};
use chandlery_wire::{Code, Scope, ServiceName, Verb};

use super::{Fixture, caller, entry_name, key, of, scope};
use crate::access::Trail;
use crate::vault::{AuditQuery, Which};

#[tokio::test]
async fn a_token_for_one_region_and_service_gets_that_bundle_and_nothing_else() {
    let it = Fixture::new().await;
    it.set("production", "A=1").await.unwrap();
    let web = Scope { service: Some(ServiceName::parse("web").unwrap()), ..scope("production/eu") };
    let token = it.token(&[Verb::ReadBundle], &[web]).await;
    assert!(it.bundle_as(&token, "production/eu", Some("web")).await.is_ok());
    for (layer, service) in
        [("production/us", Some("web")), ("production/eu", Some("db")), ("production/eu", None), ("solo", Some("web"))]
    {
        assert_eq!(
            it.bundle_as(&token, layer, service).await.unwrap_err().code,
            Code::Forbidden,
            "{layer} {service:?}"
        );
    }
    assert_eq!(it.set_as(&token, "production/eu", "A=2").await.unwrap_err().code, Code::Forbidden);
    let which = Which { layer: key("production/eu"), name: entry_name("A"), grant: None };
    assert_eq!(it.vault.entry(&token, which, None).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.vault.tokens(&token).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.vault.audit_records(&token, AuditQuery::default()).await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn a_refusal_does_not_tell_whether_the_thing_exists() {
    let it = Fixture::new().await;
    it.set("production/eu", "A=1").await.unwrap();
    let us = it.token(&[Verb::ReadBundle, Verb::ReadEntry, Verb::Write], &[scope("production/us")]).await;
    let there = it.bundle_as(&us, "production/eu", None).await.unwrap_err();
    let nowhere = it.bundle_as(&us, "production/mars", None).await.unwrap_err();
    assert_eq!(there, nowhere);
    let entry = |layer: &str, name: &str| Which { layer: key(layer), name: entry_name(name), grant: None };
    let there = it.vault.entry(&us, entry("production/eu", "A"), None).await.unwrap_err();
    let nowhere = it.vault.entry(&us, entry("nothing/eu", "B"), None).await.unwrap_err();
    assert_eq!((there.code, there), (Code::Forbidden, nowhere));
    assert_eq!(
        it.set_as(&us, "production/eu", "A=2").await.unwrap_err(),
        it.set_as(&us, "production/eu", "NEW=2").await.unwrap_err()
    );
}

#[tokio::test]
async fn unknown_mistyped_revoked_and_expired_tokens_get_the_same_answer() {
    let it = Fixture::new().await;
    let all = [Scope::default()];
    let expiring = it.token_text(&[Verb::ReadBundle], &all, Some(60), None).await;
    let revoked = it.token_text(&[Verb::ReadBundle], &all, None, None).await;
    let id = caller(&it.vault, &revoked).await.unwrap().id.to_string();
    assert!(caller(&it.vault, &expiring).await.is_ok());
    it.vault.revoke_token(&it.admin, id.clone()).await.unwrap();
    it.clock.advance(Duration::from_secs(60));
    let unknown = chandlery_wire::TokenText::from_secret(&[9; 32]);
    let cut_off = revoked.expose_secret()[..30].to_owned();
    let text = |token: &chandlery_wire::TokenText| Some(token.expose_secret().to_owned());
    let mut answers = Vec::new();
    for token in [None, text(&unknown), text(&revoked), text(&expiring), Some(cut_off), Some("Basic x".to_owned())] {
        answers.push(it.vault.authenticate(token.as_deref(), None, Trail::default()).await.unwrap_err());
    }
    assert_eq!(answers[0].code, Code::Unauthenticated);
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    // The log knows which it was, and whose token.
    let lines = it.audit();
    let said: Vec<&str> = lines[lines.len() - 6..].iter().filter_map(|line| line.detail.as_deref()).collect();
    for (said, why) in said.iter().zip(["no token", "unknown", "revoked", "expired", "cut off", "start with"]) {
        assert!(said.contains(why), "{said} lacks {why}");
    }
    assert_eq!(lines[lines.len() - 4].caller, id);
}

#[tokio::test]
async fn a_hundred_requests_at_once_get_as_many_through_as_the_token_has_uses() {
    let it = Fixture::new().await;
    let token = it.token_text(&[Verb::ReadBundle], &[Scope::default()], None, Some(7)).await;
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let (vault, token) = (it.vault.clone(), token.clone());
            tokio::spawn(async move { caller(&vault, &token).await.is_ok() })
        })
        .collect();
    let mut through = 0;
    for attempt in tries {
        through += usize::from(attempt.await.unwrap());
    }
    assert_eq!(through, 7);
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_more_than_themselves() {
    let it = Fixture::new().await;
    let admin = it.token(&[Verb::Administer, Verb::ReadBundle], &[scope("production")]).await;
    let wish = |verbs: &[Verb], scope: Scope| CreateToken {
        description: String::new(),
        verbs: verbs.to_vec(),
        scopes: vec![scope],
        expires_in: None,
        uses: None,
        node: None,
    };
    assert!(it.vault.create_token(&admin, wish(&[Verb::ReadBundle], scope("production/eu"))).await.is_ok());
    for (verbs, scope) in [
        (vec![Verb::Write], scope("production")),
        (vec![Verb::ReadBundle], scope("solo")),
        (vec![Verb::ReadBundle], Scope::default()),
    ] {
        assert_eq!(it.vault.create_token(&admin, wish(&verbs, scope)).await.unwrap_err().code, Code::Forbidden);
    }
    // It sees and revokes those in its scope, and the others are not there.
    let theirs = it.token(&[Verb::ReadBundle], &[scope("solo")]).await;
    assert!(it.vault.tokens(&admin).await.unwrap().tokens.iter().all(|token| token.id != *theirs.id));
    let hidden = it.vault.revoke_token(&admin, theirs.id.to_string()).await.unwrap_err();
    let absent = it.vault.revoke_token(&admin, "tok_0000000000000000".to_owned()).await.unwrap_err();
    assert_eq!((hidden.code, &hidden), (Code::NotFound, &absent));
}

#[tokio::test]
async fn every_request_has_exactly_one_line_and_no_line_has_a_value() {
    let it = Fixture::new().await;
    let before = it.audit().len();
    let token = it.token(&[Verb::ReadBundle], &[scope("production/eu")]).await;
    it.set("production", "PW=canary-7f3a").await.unwrap();
    it.bundle("production/eu", None).await.unwrap();
    it.bundle("production/eu", None).await.unwrap();
    it.bundle_as(&token, "production/us", None).await.unwrap_err();
    it.set("production", "PW~${canary-7f3a").await.unwrap_err();
    it.vault.authenticate(Some("canary-7f3a"), None, Trail::default()).await.unwrap_err();
    let lines = it.audit().split_off(before);
    let told: Vec<(&str, Outcome)> = lines.iter().map(|line| (line.action.as_str(), line.outcome)).collect();
    assert_eq!(
        told,
        [
            ("create-token", Outcome::Allowed),
            ("write-entry", Outcome::Allowed),
            ("read-bundle", Outcome::Allowed),
            ("read-bundle", Outcome::Allowed),
            ("read-bundle", Outcome::Refused),
            ("write-entry", Outcome::Malformed),
            ("authenticate", Outcome::Refused),
        ]
    );
    assert_eq!(lines[2].entries, ["PW"]);
    assert_eq!(lines[2].target.as_deref(), Some("app/production/eu"));
    assert_eq!(lines[4].caller, *token.id);
    assert!(!format!("{lines:?}").contains("canary"));
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_served() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    assert!(it.vault.ready().await.is_ok());
    std::fs::remove_file(it.dir.path().join("audit.log")).unwrap();
    for _ in 0..2 {
        assert_eq!(it.bundle("solo", None).await.unwrap_err().code, Code::AuditUnavailable);
    }
    let ready = it.vault.ready().await.unwrap_err();
    assert!(ready.code == Code::AuditUnavailable && ready.detail.contains("audit log"), "{}", ready.detail);
    let query = it.vault.entries(&it.admin, of("solo", None).stack, of("solo", None).environment, None).await;
    assert_eq!(query.unwrap_err().code, Code::AuditUnavailable);
}
