//! Nodes give the region, tokens that are bound to one follow it, and nobody moves one behind our back.

use chandlery_wire::api::{CreateToken, Outcome};
use chandlery_wire::{Bundle, Code, NodeName, Scope, TokenText, Verb};

use super::integrity::sql;
use super::{Fixture, caller, environment, of, region, scope, stack};
use crate::access::Caller;
use crate::vault::{BundleOf, Error, Which};

pub(in crate::vault) fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// The bundle of `production`, or another environment, by node.
pub(in crate::vault) fn by(name: &str) -> BundleOf {
    BundleOf { node: Some(node(name)), ..of("production", None) }
}

async fn ask(it: &Fixture, caller: &Caller, of: BundleOf) -> Result<Bundle, Error> {
    let body = it.vault.bundle(caller, of, vec![]).await?.1.unwrap();
    Ok(serde_json::from_slice(&body).unwrap())
}

/// `production` with a value of its own in `eu` and in `us`; `vm-1` in `eu` and `vm-2` in `us`.
pub(in crate::vault) async fn fixture() -> Fixture {
    let it = Fixture::new().await;
    for (layer, value) in [("production", "PLACE=base"), ("production/eu", "PLACE=eu"), ("production/us", "PLACE=us")] {
        it.set(layer, value).await.unwrap();
    }
    it.vault.place_node(&it.admin, node("vm-1"), region("eu")).await.unwrap();
    it.vault.place_node(&it.admin, node("vm-2"), region("us")).await.unwrap();
    it
}

pub(in crate::vault) async fn bound(it: &Fixture, name: &str, scope: Scope) -> TokenText {
    let created = it.vault.create_token(&it.admin, wish(name, scope)).await.unwrap();
    TokenText::parse(std::str::from_utf8(created.token.expose_secret()).unwrap()).unwrap()
}

fn wish(name: &str, scope: Scope) -> CreateToken {
    CreateToken {
        description: "a node's".to_owned(),
        verbs: vec![Verb::ReadBundle, Verb::ReadEntry],
        scopes: vec![scope],
        expires_in: None,
        uses: None,
        node: Some(node(name)),
    }
}

pub(super) fn place_of(bundle: &Bundle) -> (&str, &[u8]) {
    (bundle.region.as_ref().unwrap().as_str(), bundle.variables[0].value.expose_secret())
}

#[tokio::test]
async fn each_node_gets_its_regions_bundle_and_follows_when_it_moves() {
    let it = fixture().await;
    for _ in 0..2 {
        assert_eq!(place_of(&ask(&it, &it.admin, by("vm-1")).await.unwrap()), ("eu", &b"eu"[..]));
        assert_eq!(place_of(&ask(&it, &it.admin, by("vm-2")).await.unwrap()), ("us", &b"us"[..]));
    }
    let line = it.audit().pop().unwrap();
    assert_eq!((line.target.as_deref(), line.detail.as_deref()), (Some("app/production/us"), Some("node vm-2")));
    let known = ask(&it, &it.admin, by("vm-1")).await.unwrap().revision;
    assert_eq!(it.vault.bundle(&it.admin, by("vm-1"), vec![known]).await.unwrap().1, None);
    it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
    // It has another bundle now, whatever the layers' revisions were: an old ETag must not hide it.
    let (revision, body) = it.vault.bundle(&it.admin, by("vm-1"), vec![known]).await.unwrap();
    assert!(revision > known && body.is_some());
    assert_eq!(place_of(&ask(&it, &it.admin, by("vm-1")).await.unwrap()), ("us", &b"us"[..]));
    // Saying it again writes nothing.
    let again = it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
    assert_eq!(again, it.vault.node(&it.admin, node("vm-1")).await.unwrap());
    assert_eq!(ask(&it, &it.admin, by("vm-1")).await.unwrap().revision, revision);
}

#[tokio::test]
async fn what_a_node_cannot_answer_is_an_error_that_says_so() {
    let it = fixture().await;
    it.vault.place_node(&it.admin, node("vm-3"), region("mars")).await.unwrap();
    let refused = |of| async { ask(&it, &it.admin, of).await.unwrap_err() };
    let unknown = refused(by("vm-9")).await;
    assert_eq!(unknown.code, Code::NotFound);
    assert!(unknown.detail.contains("vm-9") && unknown.hint.contains("chandlery node add vm-9"), "{unknown:?}");
    let elsewhere = refused(by("vm-3")).await;
    assert_eq!(elsewhere.code, Code::UnknownRegion);
    assert!(elsewhere.detail.contains("vm-3 is in mars") && elsewhere.detail.contains("declared are eu, us"));
    let solo = refused(BundleOf { environment: environment("solo"), ..by("vm-1") }).await;
    assert_eq!(solo.code, Code::UnknownRegion);
    assert!(solo.detail.contains("it has none"), "{}", solo.detail);
    let both = refused(BundleOf { region: Some(region("us")), ..by("vm-1") }).await;
    assert!(both.code == Code::Invalid && both.detail.contains("vm-1 is in eu"), "{both:?}");
    let agreed = ask(&it, &it.admin, BundleOf { region: Some(region("eu")), ..by("vm-1") }).await.unwrap();
    assert_eq!(place_of(&agreed).0, "eu");
}

#[tokio::test]
async fn a_token_bound_to_a_node_reaches_its_region_and_no_other() {
    let it = fixture().await;
    let regions = [None, Some("eu"), Some("us"), Some("mars")];
    let nodes = [None, Some("vm-1"), Some("vm-2"), Some("vm-9")];
    let scopes = [Scope::default(), scope("production"), scope("production/eu"), scope("production/us"), scope("solo")];
    for place in ["eu", "us"] {
        it.vault.place_node(&it.admin, node("vm-1"), region(place)).await.unwrap();
        for scope in &scopes {
            let text = bound(&it, "vm-1", scope.clone()).await;
            let token = caller(&it.vault, &text).await.unwrap();
            for (asked, claimed) in regions.iter().flat_map(|r| nodes.iter().map(move |n| (*r, *n))) {
                for name in ["production", "solo"] {
                    let of = BundleOf {
                        environment: environment(name),
                        region: asked.map(region),
                        node: claimed.map(node),
                        ..of("production", None)
                    };
                    let answer = ask(&it, &token, of.clone()).await;
                    let own = claimed.is_none_or(|claimed| claimed == "vm-1");
                    // Of what the container says, one thing can be true: its own node, and its own node's region.
                    let truthful = own && asked.map_or(claimed.is_some(), |asked| asked == place);
                    let held = scope.region.as_ref().is_none_or(|limit| limit.as_str() == place);
                    let within = scope.environment.as_ref().is_none_or(|limit| limit.as_str() == "production");
                    let expected = truthful && held && within && name == "production";
                    assert_eq!(answer.is_ok(), expected, "{scope} in {place}: {of:?}: {answer:?}");
                    if let Ok(bundle) = answer {
                        assert_eq!(place_of(&bundle), (place, place.as_bytes()));
                    }
                }
            }
            let other = if place == "eu" { "us" } else { "eu" };
            for layer in [format!("production/{other}"), "production".to_owned()] {
                let which = Which { layer: super::key(&layer), name: super::entry_name("PLACE"), grant: None };
                assert_eq!(it.vault.entry(&token, which, None).await.unwrap_err().code, Code::Forbidden, "{layer}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_follows_its_node_and_ends_with_it() {
    let it = fixture().await;
    let text = bound(&it, "vm-1", scope("production")).await;
    let token = caller(&it.vault, &text).await.unwrap();
    assert_eq!(place_of(&ask(&it, &token, by("vm-1")).await.unwrap()).0, "eu");
    it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
    let token = caller(&it.vault, &text).await.unwrap();
    assert_eq!(place_of(&ask(&it, &token, by("vm-1")).await.unwrap()).0, "us");
    assert_eq!(ask(&it, &token, of("production/eu", None)).await.unwrap_err().code, Code::Forbidden);
    let removed = it.vault.remove_node(&it.admin, node("vm-1")).await.unwrap();
    assert_eq!(removed.revoked_tokens, [token.id.to_string()]);
    assert_eq!(caller(&it.vault, &text).await.unwrap_err().code, Code::Unauthenticated);
    // Another machine of that name does not bring it back.
    it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
    assert_eq!(caller(&it.vault, &text).await.unwrap_err().code, Code::Unauthenticated);
    let nobody = it.vault.create_token(&it.admin, wish("vm-9", scope("production"))).await.unwrap_err();
    assert!(nobody.code == Code::NotFound && nobody.hint.contains("chandlery node add vm-9"), "{nobody:?}");
}

#[tokio::test]
async fn a_bound_token_hands_out_nothing_that_is_not_bound() {
    let it = fixture().await;
    let verbs = vec![Verb::Administer, Verb::ReadBundle, Verb::ReadEntry];
    let created = it.vault.create_token(&it.admin, CreateToken { verbs, ..wish("vm-1", scope("production")) });
    let text = created.await.unwrap().token;
    let text = TokenText::parse(std::str::from_utf8(text.expose_secret()).unwrap()).unwrap();
    let maker = caller(&it.vault, &text).await.unwrap();
    let pinned = scope("production/eu");
    for node in [None, Some(node("vm-2"))] {
        let wish = CreateToken { node, ..wish("vm-1", pinned.clone()) };
        assert_eq!(it.vault.create_token(&maker, wish).await.unwrap_err().code, Code::Forbidden);
    }
    assert!(it.vault.create_token(&maker, wish("vm-1", pinned)).await.is_ok());
    assert_eq!(it.vault.place_node(&maker, node("vm-1"), region("us")).await.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn who_is_limited_to_a_region_or_a_stack_moves_no_node_of_others() {
    let it = fixture().await;
    let verbs = [Verb::Administer];
    let europe = it.token(&verbs, &[Scope { region: Some(region("eu")), ..Scope::default() }]).await;
    let one_stack = it.token(&verbs, &[Scope { stack: Some(stack("app")), ..Scope::default() }]).await;
    let reader = it.token(&[Verb::ReadBundle], &[Scope::default()]).await;
    assert!(it.vault.place_node(&europe, node("vm-4"), region("eu")).await.is_ok());
    for (who, name, place) in [
        (&europe, "vm-4", "us"),
        (&europe, "vm-2", "eu"),
        (&europe, "vm-5", "us"),
        (&one_stack, "vm-5", "eu"),
        (&reader, "vm-5", "eu"),
    ] {
        let refused = it.vault.place_node(who, node(name), region(place)).await.unwrap_err();
        assert_eq!(refused.code, Code::Forbidden, "{name} to {place}");
    }
    let hidden = it.vault.remove_node(&europe, node("vm-2")).await.unwrap_err();
    let absent = it.vault.remove_node(&europe, node("vm-9")).await.unwrap_err();
    assert_eq!((hidden.code, absent.code), (Code::NotFound, Code::NotFound));
    assert_eq!(it.vault.remove_node(&reader, node("vm-1")).await.unwrap_err().code, Code::Forbidden);
    let seen: Vec<String> =
        it.vault.nodes(&europe).await.unwrap().nodes.iter().map(|node| node.name.to_string()).collect();
    assert_eq!(seen, ["vm-1", "vm-4"]);
    assert_eq!(it.vault.nodes(&one_stack).await.unwrap().nodes.len(), 3);
    assert_eq!(it.vault.nodes(&reader).await.unwrap_err().code, Code::Forbidden);
    let before = it.audit().len();
    it.vault.remove_node(&europe, node("vm-4")).await.unwrap();
    let line = it.audit().split_off(before).remove(0);
    assert_eq!(
        (line.action.as_str(), line.outcome, line.target.as_deref()),
        ("delete-node", Outcome::Allowed, Some("vm-4"))
    );
}

#[tokio::test]
async fn a_node_that_was_moved_by_hand_is_not_believed() {
    for (statement, record) in [
        ("UPDATE nodes SET region = 'us' WHERE name = 'vm-1'", "node vm-1"),
        ("UPDATE nodes SET revision = revision + 1 WHERE name = 'vm-1'", "node vm-1"),
        ("UPDATE nodes SET author = 'tok_0000000000000000' WHERE name = 'vm-1'", "node vm-1"),
        ("UPDATE nodes SET region = 'US/' WHERE name = 'vm-1'", "node vm-1"),
        ("DELETE FROM nodes WHERE name = 'vm-2'", "list of nodes"),
        ("DELETE FROM meta WHERE name = 'nodes-mac'", "list of nodes"),
        ("INSERT OR REPLACE INTO nodes SELECT * FROM kept", "list of nodes"),
    ] {
        let it = fixture().await;
        let text = bound(&it, "vm-1", scope("production")).await;
        sql(&it, "CREATE TABLE kept AS SELECT * FROM nodes WHERE name = 'vm-1'");
        it.vault.place_node(&it.admin, node("vm-1"), region("us")).await.unwrap();
        it.vault.place_node(&it.admin, node("vm-1"), region("eu")).await.unwrap();
        ask(&it, &it.admin, by("vm-1")).await.unwrap();
        assert_eq!(sql(&it, statement), 1, "{statement}");
        let error = ask(&it, &it.admin, by("vm-1")).await.unwrap_err();
        assert_eq!(error.code, Code::Integrity, "{statement}");
        assert!(error.detail.contains(record), "{statement}: {}", error.detail);
        assert_eq!(caller(&it.vault, &text).await.unwrap_err().code, Code::Integrity, "{statement}");
        // Nor is it blessed by the next write.
        let write = it.vault.place_node(&it.admin, node("vm-3"), region("eu")).await.unwrap_err();
        assert_eq!(write.code, Code::Integrity, "{statement}");
    }
}

#[tokio::test]
async fn a_token_is_not_set_free_by_hand() {
    for statement in [
        "UPDATE tokens SET node = NULL WHERE node IS NOT NULL",
        "UPDATE tokens SET node = 'vm-2' WHERE node IS NOT NULL",
    ] {
        let it = fixture().await;
        let text = bound(&it, "vm-1", scope("production")).await;
        caller(&it.vault, &text).await.unwrap();
        assert_eq!(sql(&it, statement), 1);
        assert_eq!(caller(&it.vault, &text).await.unwrap_err().code, Code::Integrity, "{statement}");
    }
}
