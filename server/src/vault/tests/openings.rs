//! Which containers may do without a token, and that nobody opens a stack behind our back.

use std::collections::BTreeMap;

use chandlery_wire::api::Open;
use chandlery_wire::{Code, ProjectName, Scope, ServiceName, Verb};

use super::integrity::sql;
use super::{Fixture, environment, of, region, scope, stack};
use crate::access::{Caller, Container, Host, Trail};
use crate::vault::{Error, OpeningOf, Patience, Said};

const IMAGE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn which(name: &str, of_project: &str) -> OpeningOf {
    OpeningOf { stack: stack("app"), environment: environment(name), project: project(of_project) }
}

fn container(of_service: &str) -> Container {
    Container {
        id: "c".repeat(64),
        project: project("shop"),
        service: service(of_service),
        image: IMAGE.to_owned(),
        exec: false,
    }
}

fn in_region(name: &str) -> Host {
    Host { environment: None, region: Some(region(name)) }
}

async fn admit(it: &Fixture, container: Container, host: &Host) -> Result<Caller, Error> {
    it.vault.admit(container, host, None, Trail::default()).await
}

/// The place of `A` in the container's own bundle, and the bundle's place.
async fn own(it: &Fixture, caller: &Caller, said: Said) -> Result<(String, String), Error> {
    let of = it.vault.own(caller, said).await?;
    let body = it.vault.bundle(caller, of, vec![]).await?.1.unwrap();
    let bundle: chandlery_wire::Bundle = serde_json::from_slice(&body).unwrap();
    let value = String::from_utf8(bundle.variables[0].value.expose_secret().to_vec()).unwrap();
    let region = bundle.region.map_or("-".to_owned(), |region| region.to_string());
    Ok((value, format!("{}/{region}:{}", bundle.environment, bundle.service.unwrap())))
}

async fn opened(wish: Open) -> Fixture {
    let it = Fixture::new().await;
    for (layer, value) in
        [("production", "A=base"), ("production/eu", "A=eu"), ("production/us", "A=us"), ("solo", "A=solo")]
    {
        it.set(layer, value).await.unwrap();
    }
    it.vault.open_to(&it.admin, which("production", "shop"), wish).await.unwrap();
    it
}

#[tokio::test]
async fn an_opened_stacks_container_reads_its_own_bundle_and_nothing_else() {
    let it = opened(Open::default()).await;
    let web = admit(&it, container("web"), &in_region("eu")).await.unwrap();
    assert_eq!(&*web.id, "container:cccccccccccc shop/web");
    let found = own(&it, &web, Said::default()).await.unwrap();
    assert_eq!(found, ("eu".to_owned(), "production/eu:web".to_owned()));
    let line = it.audit().pop().unwrap();
    assert_eq!((&*line.caller, line.target.as_deref()), (&*web.id, Some("app/production/eu")));
    let true_said = Said {
        stack: Some(stack("app")),
        environment: Some(environment("production")),
        region: Some(region("eu")),
        node: None,
        service: Some(service("web")),
    };
    assert!(own(&it, &web, true_said.clone()).await.is_ok());
    for lie in [
        Said { stack: Some(stack("other")), ..true_said.clone() },
        Said { environment: Some(environment("solo")), ..true_said.clone() },
        Said { region: Some(region("us")), ..true_said.clone() },
        Said { service: Some(service("db")), ..true_said },
    ] {
        let refused = own(&it, &web, lie).await.unwrap_err();
        assert!(refused.code == Code::Forbidden && refused.hint.contains("take CHANDLERY_"), "{refused:?}");
    }
    for layer in ["production/us", "production", "solo"] {
        assert_eq!(it.bundle_as(&web, layer, Some("web")).await.unwrap_err().code, Code::Forbidden, "{layer}");
    }
    assert_eq!(it.bundle_as(&web, "production/eu", Some("db")).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.bundle_as(&web, "production/eu", None).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.vault.tokens(&web).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.set_as(&web, "production/eu", "A=x").await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn what_is_not_opened_is_refused_and_says_how_to_open_it() {
    let it = opened(Open::default()).await;
    let stranger = Container { project: project("other"), ..container("web") };
    let refused = admit(&it, stranger, &in_region("eu")).await.unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
    assert!(refused.hint.contains("chandlery stack open") && refused.hint.contains("--project other"), "{refused:?}");
    let line = it.audit().pop().unwrap();
    assert_eq!(&*line.caller, "container:cccccccccccc other/web");
    let elsewhere = Host { environment: Some(environment("solo")), ..in_region("eu") };
    assert_eq!(admit(&it, container("web"), &elsewhere).await.unwrap_err().code, Code::Forbidden);
    // A service that the stack does not have has no bundle.
    let unknown = admit(&it, container("mail"), &in_region("eu")).await.unwrap();
    assert_eq!(own(&it, &unknown, Said::default()).await.unwrap_err().code, Code::NotFound);
    it.vault.close_to(&it.admin, which("production", "shop")).await.unwrap();
    assert_eq!(admit(&it, container("web"), &in_region("eu")).await.unwrap_err().code, Code::Forbidden);
    assert_eq!(it.vault.close_to(&it.admin, which("production", "shop")).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn the_host_says_the_region_and_which_of_two_environments() {
    let it = opened(Open::default()).await;
    let nowhere = admit(&it, container("web"), &Host::default()).await.unwrap_err();
    assert!(nowhere.code == Code::Forbidden && nowhere.hint.contains("host_region"), "{nowhere:?}");
    let mars = admit(&it, container("web"), &in_region("mars")).await.unwrap_err();
    assert!(mars.code == Code::UnknownRegion && mars.detail.contains("declared are eu, us"), "{mars:?}");
    it.vault.open_to(&it.admin, which("solo", "shop"), Open::default()).await.unwrap();
    let both = admit(&it, container("web"), &in_region("eu")).await.unwrap_err();
    assert!(both.code == Code::Forbidden && both.hint.contains("host_environment"), "{both:?}");
    for (name, expected) in [("production", "production/eu:web"), ("solo", "solo/-:web")] {
        let host = Host { environment: Some(environment(name)), ..in_region("eu") };
        let web = admit(&it, container("web"), &host).await.unwrap();
        assert_eq!(own(&it, &web, Said::default()).await.unwrap().1, expected);
    }
}

#[tokio::test]
async fn an_image_can_be_pinned_and_exec_be_allowed() {
    let pinned = Open { images: BTreeMap::from([(service("web"), vec![IMAGE.to_owned()])]), allow_exec: false };
    let it = opened(pinned.clone()).await;
    let eu = in_region("eu");
    assert!(admit(&it, container("web"), &eu).await.is_ok());
    let forged = admit(&it, Container { image: OTHER.to_owned(), ..container("web") }, &eu).await.unwrap_err();
    assert!(forged.code == Code::Forbidden && !forged.detail.contains("1111"), "{forged:?}");
    // The other service may be of any image.
    assert!(admit(&it, Container { image: OTHER.to_owned(), ..container("db") }, &eu).await.is_ok());
    let exec = Container { exec: true, ..container("web") };
    let refused = admit(&it, exec.clone(), &eu).await.unwrap_err();
    assert!(refused.code == Code::Forbidden && refused.detail.contains("docker exec"), "{refused:?}");
    it.vault.open_to(&it.admin, which("production", "shop"), Open { allow_exec: true, ..pinned }).await.unwrap();
    assert!(admit(&it, exec.clone(), &eu).await.is_ok());
    assert!(admit(&it, Container { image: OTHER.to_owned(), ..exec }, &eu).await.is_err());
    for images in [vec!["app:latest".to_owned()], vec!["sha256:11".to_owned()], vec![]] {
        let wish = Open { images: BTreeMap::from([(service("web"), images)]), allow_exec: false };
        let refused = it.vault.open_to(&it.admin, which("production", "shop"), wish).await.unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
    }
    let wish = Open { images: BTreeMap::from([(service("mail"), vec![IMAGE.to_owned()])]), allow_exec: false };
    assert_eq!(it.vault.open_to(&it.admin, which("production", "shop"), wish).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn who_administers_the_environment_opens_it_and_nobody_else() {
    let it = opened(Open::default()).await;
    let ours = it.token(&[Verb::Administer], &[scope("production")]).await;
    let region_only = it.token(&[Verb::Administer], &[scope("production/eu")]).await;
    let writer = it.token(&[Verb::Write, Verb::ReadEntry], &[Scope::default()]).await;
    assert!(it.vault.open_to(&ours, which("production", "more"), Open::default()).await.is_ok());
    for (who, name) in [(&ours, "solo"), (&region_only, "production"), (&writer, "production")] {
        let refused = it.vault.open_to(who, which(name, "more"), Open::default()).await.unwrap_err();
        assert_eq!(refused.code, Code::Forbidden);
        assert_eq!(it.vault.close_to(who, which(name, "more")).await.unwrap_err().code, Code::Forbidden);
    }
    it.vault.open_to(&it.admin, which("solo", "more"), Open::default()).await.unwrap();
    assert_eq!(it.vault.openings(&ours).await.unwrap().len(), 2);
    assert_eq!(it.vault.openings(&it.admin).await.unwrap().len(), 3);
    assert_eq!(it.vault.openings(&writer).await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn a_bundle_is_as_new_as_the_opening_it_is_read_by() {
    let it = opened(Open::default()).await;
    let eu = in_region("eu");
    let ask = async || {
        let web = admit(&it, container("web"), &eu).await.unwrap();
        let of = it.vault.own(&web, Said::default()).await.unwrap();
        it.vault.bundle(&web, of, vec![]).await.unwrap().0
    };
    let before = ask().await;
    it.vault
        .open_to(&it.admin, which("production", "shop"), Open { allow_exec: true, ..Open::default() })
        .await
        .unwrap();
    assert!(ask().await > before);
}

/// How long a wait may take that ends before its time, and how long one is that must not end by time.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_container_waits_for_its_bundle_and_is_sent_away_when_its_stack_is_closed() {
    let it = opened(Open::default()).await;
    let web = admit(&it, container("web"), &in_region("eu")).await.unwrap();
    let of_own = it.vault.own(&web, Said::default()).await.unwrap();
    let known = it.vault.bundle(&web, of_own.clone(), vec![]).await.unwrap().0;
    let wait = |known: u64| {
        let (vault, web, of_own) = (it.vault.clone(), web.clone(), of_own.clone());
        let patience = Patience { wait: LONG, most: 10 };
        tokio::spawn(async move { vault.next_bundle(&web, of_own, vec![known], patience).await })
    };
    let waiting = wait(known);
    it.set("production/eu", "A=new").await.unwrap();
    let next = waiting.await.unwrap().unwrap();
    assert!(next.revision > known && next.body.is_some());
    let waiting = wait(next.revision);
    // Another's token is no business of the container's, and another opening is none either.
    it.token(&[Verb::ReadBundle], &[scope("solo")]).await;
    it.vault.close_to(&it.admin, which("production", "shop")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn a_token_with_one_scope_has_a_bundle_of_its_own_too() {
    let it = opened(Open::default()).await;
    let whole = Scope { service: Some(service("web")), ..scope("production/us") };
    let one = it.token(&[Verb::ReadBundle], &[whole]).await;
    assert_eq!(own(&it, &one, Said::default()).await.unwrap().0, "us");
    for scopes in [vec![Scope::default()], vec![scope("solo"), scope("production")]] {
        let many = it.token(&[Verb::ReadBundle], &scopes).await;
        assert_eq!(it.vault.own(&many, Said::default()).await.unwrap_err().code, Code::BadRequest);
    }
    let no_region = it.token(&[Verb::ReadBundle], &[scope("production")]).await;
    let of_own = it.vault.own(&no_region, Said::default()).await.unwrap();
    assert_eq!(of_own, of("production", None));
    assert_eq!(it.vault.bundle(&no_region, of_own, vec![]).await.unwrap_err().code, Code::UnknownRegion);
}

#[tokio::test]
async fn an_opening_that_was_touched_by_hand_opens_nothing() {
    for (statement, record) in [
        ("UPDATE openings SET project = 'other'", "opening app/production for other"),
        ("UPDATE openings SET environment = 'solo'", "opening app/solo for shop"),
        ("UPDATE openings SET allow_exec = 1", "opening app/production for shop"),
        ("UPDATE openings SET images = '{}'", "opening app/production for shop"),
        ("UPDATE openings SET revision = 0", "opening app/production for shop"),
        ("INSERT INTO openings SELECT * FROM kept", "list of openings"),
        ("DELETE FROM openings", "list of openings"),
        ("DELETE FROM meta WHERE name = 'openings-mac'", "list of openings"),
    ] {
        let images = BTreeMap::from([(service("web"), vec![IMAGE.to_owned()])]);
        let it = opened(Open { images, allow_exec: false }).await;
        it.vault.open_to(&it.admin, which("production", "closed"), Open::default()).await.unwrap();
        sql(&it, "CREATE TABLE kept AS SELECT * FROM openings WHERE project = 'closed'");
        it.vault.close_to(&it.admin, which("production", "closed")).await.unwrap();
        admit(&it, container("web"), &in_region("eu")).await.unwrap();
        assert_eq!(sql(&it, statement), 1, "{statement}");
        let error = admit(&it, container("web"), &in_region("eu")).await.unwrap_err();
        assert_eq!(error.code, Code::Integrity, "{statement}");
        assert!(error.detail.contains(record), "{statement}: {}", error.detail);
        let write = it.vault.open_to(&it.admin, which("solo", "more"), Open::default()).await.unwrap_err();
        assert_eq!(write.code, Code::Integrity, "{statement}");
    }
}
