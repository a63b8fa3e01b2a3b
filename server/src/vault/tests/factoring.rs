//! What `factor` leaves to each service, in regions with a copy and in those without one.

use chandlery_wire::Grant;
use chandlery_wire::api::{CopiedEntry, Factored, Factoring, RegionCopy, Terms};

use super::{Fixture, entry_name, environment, region, stack};

/// What web, db and whoever names no service get of `NAME` in a region, as `web db -`.
async fn of_each(it: &Fixture, layer: &str, name: &str) -> String {
    let mut all = Vec::new();
    for service in [Some("web"), Some("db"), None] {
        all.push(it.value(layer, service, name).await.unwrap_or_else(|| "×".to_owned()));
    }
    all.join(" ")
}

async fn with_regions() -> Fixture {
    let it = Fixture::new().await;
    it.declare("production", ["eu", "us", "x"].map(region).to_vec()).await;
    it
}

/// `eu` and `us` with these values of `K`.
async fn factor(it: &Fixture, eu: &str, us: &str, grant: Option<&str>) -> Factored {
    let regions = [("eu", eu), ("us", us)].map(|(name, value)| RegionCopy {
        region: region(name),
        entries: vec![CopiedEntry { name: entry_name("K"), value: chandlery_wire::Value::new(value) }],
    });
    let grant = grant.map(|grant| grant.parse::<Grant>().unwrap());
    let factoring =
        Factoring { regions: regions.to_vec(), plain: vec![], grant, exact: false, terms: Terms::default() };
    it.vault.factor(&it.admin, stack("app"), environment("production"), factoring).await.unwrap()
}

#[tokio::test]
async fn a_region_without_a_copy_keeps_what_the_base_gave_to_other_services() {
    let it = with_regions().await;
    it.set("production", "K=old").await.unwrap();
    it.set("production/x", "web:K=forweb").await.unwrap();
    assert_eq!(of_each(&it, "production/x", "K").await, "forweb old old");
    let told = factor(&it, "1", "2", None).await;
    assert_eq!(of_each(&it, "production/x", "K").await, "forweb old old");
    assert_eq!(told.kept.len(), 1, "and it is said: {:?}", told.kept);
    assert_eq!(of_each(&it, "production/eu", "K").await, "1 1 1");
    assert_eq!(of_each(&it, "production/us", "K").await, "2 2 2");
}

#[tokio::test]
async fn a_region_without_a_copy_gains_nothing_for_other_services() {
    let it = with_regions().await;
    it.set("production/x", "web:K=forweb").await.unwrap();
    factor(&it, "1", "1", None).await;
    assert_eq!(of_each(&it, "production/x", "K").await, "forweb × ×");
    assert_eq!(of_each(&it, "production/eu", "K").await, "1 1 1");
}

#[tokio::test]
async fn a_change_for_one_service_changes_nothing_for_it_elsewhere() {
    let it = with_regions().await;
    it.set("production", "K=old").await.unwrap();
    it.set("production", "db:K=ofdb").await.unwrap();
    it.set("production/x", "web:K=forweb").await.unwrap();
    factor(&it, "1", "1", Some("all")).await;
    assert_eq!(of_each(&it, "production/x", "K").await, "forweb ofdb old", "db is for db still");

    let it = with_regions().await;
    it.set("production", "K=old").await.unwrap();
    factor(&it, "1", "1", Some("db")).await;
    assert_eq!(of_each(&it, "production/x", "K").await, "old old old");
    assert_eq!(of_each(&it, "production/eu", "K").await, "old 1 old");
}

#[tokio::test]
async fn what_is_for_some_services_stays_for_them_and_is_said() {
    let it = with_regions().await;
    it.set("production", "db:K=old").await.unwrap();
    let told = factor(&it, "1", "2", None).await;
    assert_eq!(of_each(&it, "production/eu", "K").await, "× 1 ×", "the base loses it, and nobody gains it by that");
    assert_eq!(of_each(&it, "production/x", "K").await, "× old ×");
    assert!(told.changed.notes.iter().any(|note| note.contains("K stays for db alone")), "{:?}", told.changed.notes);

    let it = with_regions().await;
    it.set("production/eu", "db:K=old").await.unwrap();
    let told = factor(&it, "1", "2", None).await;
    assert_eq!(of_each(&it, "production/eu", "K").await, "× 1 ×");
    assert_eq!(of_each(&it, "production/us", "K").await, "× 2 ×", "as in the other region");
    assert!(told.changed.notes.iter().any(|note| note.contains("K stays for db alone")), "{:?}", told.changed.notes);
    assert!(factor(&it, "1", "2", Some("db")).await.changed.notes.is_empty(), "who says so needs no word of it");
}
