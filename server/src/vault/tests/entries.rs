//! Writing, reading and deleting entries.

use chandlery_wire::api::State;
use chandlery_wire::{Code, Grant, Layer, MAX_VALUE_BYTES, Value};

use super::{Fixture, entry_name, key, named, of};
use crate::vault::{Destruction, Removal, Which};

fn which(layer: &str, name: &str) -> Which {
    Which { layer: key(layer), name: entry_name(name), grant: None }
}

const PLAIN: Removal = Removal { hide_base: false, expect_version: None };

#[tokio::test]
async fn versions_count_from_one_and_a_delete_is_one_too() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    it.set("solo", "A=2").await.unwrap();
    it.vault.delete(&it.admin, which("solo", "A"), PLAIN).await.unwrap();
    it.set("solo", "A=4").await.unwrap();
    let versions = it.vault.versions(&it.admin, key("solo"), entry_name("A")).await.unwrap().entries;
    let told: Vec<(u64, State)> = versions.iter().map(|entry| (entry.version, entry.state)).collect();
    assert_eq!(told, [(4, State::Live), (3, State::Deleted), (2, State::Live), (1, State::Live)]);
    let old = it.vault.entry(&it.admin, which("solo", "A"), Some(1)).await.unwrap();
    assert_eq!(old.value, Value::new("1"));
    let gone = it.vault.entry(&it.admin, which("solo", "A"), Some(3)).await.unwrap_err();
    assert!(gone.code == Code::NotFound && gone.detail.contains("version 3 deletes it"), "{}", gone.detail);
}

#[tokio::test]
async fn the_second_of_two_writers_is_told() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    let mut entry = named("A=2");
    entry.entry.expect_version = Some(1);
    it.vault.write(&it.admin, key("solo"), vec![entry.clone()], false).await.unwrap();
    entry.entry.value = Value::new("3");
    let error = it.vault.write(&it.admin, key("solo"), vec![entry.clone()], false).await.unwrap_err();
    assert_eq!(error.code, Code::VersionConflict);
    assert!(error.detail.contains("is at version 2, not 1"), "{}", error.detail);
    entry.entry.expect_version = Some(0);
    assert_eq!(
        it.vault.write(&it.admin, key("solo"), vec![entry], false).await.unwrap_err().code,
        Code::VersionConflict
    );
    assert_eq!(it.value("solo", None, "A").await.unwrap(), "2");
}

#[tokio::test]
async fn many_are_written_or_none() {
    let it = Fixture::new().await;
    let faulty = ["A=1", "not-a-variable=2", "T~${", "B=3"].map(named).to_vec();
    let error = it.vault.write(&it.admin, key("solo"), faulty, false).await.unwrap_err();
    let told: Vec<&str> = error.faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!((error.code, told), (Code::Invalid, vec!["not-a-variable", "T"]));
    let dry = it.vault.write(&it.admin, key("solo"), ["A=1", "B=3"].map(named).to_vec(), true).await.unwrap();
    assert!(dry.entries.iter().all(|entry| entry.changed));
    assert!(it.bundle("solo", None).await.unwrap().variables.is_empty());
    it.vault.write(&it.admin, key("solo"), ["A=1", "B=3"].map(named).to_vec(), false).await.unwrap();
    assert_eq!(it.bundle("solo", None).await.unwrap().variables.len(), 2);
}

#[tokio::test]
async fn a_new_value_never_widens_who_gets_the_entry() {
    let it = Fixture::new().await;
    it.set("production", "db,web:PW@one").await.unwrap();
    let again = it.set("production", "PW@two").await.unwrap();
    assert_eq!(again.entries[0].grant, "db,web".parse::<Grant>().unwrap());
    let overlay = it.set("production/eu", "PW=three").await.unwrap();
    assert_eq!(overlay.entries[0].grant, "db,web".parse::<Grant>().unwrap());
    // What is not said is inherited: it is still a file.
    assert_eq!(it.bundle("production/eu", Some("db")).await.unwrap().files[0].value, Value::new("three"));
    let clash = it.set("production", "web:PW@x").await.unwrap_err();
    assert!(clash.code == Code::Conflict && clash.hint.contains("--for db,web"), "{clash:?}");
    it.set("production", "all:PW@x").await.unwrap();
    let unclear = it.set("production", "PW@y").await.unwrap_err();
    assert!(unclear.code == Code::Conflict && unclear.detail.contains("for several grants"), "{unclear:?}");
    assert_eq!(it.set("production", "wbe:PW@x").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn any_bytes_are_kept_up_to_the_limit() {
    let it = Fixture::new().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let mut entry = named("blob@");
    entry.entry.value = Value::new(bytes.clone());
    it.vault.write(&it.admin, key("solo"), vec![entry.clone()], false).await.unwrap();
    assert_eq!(it.bundle("solo", None).await.unwrap().files[0].value, Value::new(bytes));
    entry.entry.value = Value::new(vec![b'x'; MAX_VALUE_BYTES]);
    it.vault.write(&it.admin, key("solo"), vec![entry.clone()], false).await.unwrap();
    entry.entry.value = Value::new(vec![b'x'; MAX_VALUE_BYTES + 1]);
    let error = it.vault.write(&it.admin, key("solo"), vec![entry], false).await.unwrap_err();
    assert!(error.code == Code::TooLarge && error.detail.contains("524289 bytes"), "{}", error.detail);
    assert_eq!(it.set("solo", "NUL=a\0b").await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn lists_hold_plain_values_and_no_secret_ones() {
    let it = Fixture::new().await;
    it.set("solo", "SECRET=s").await.unwrap();
    let mut plain = named("PLAIN=p");
    plain.entry.secret = Some(false);
    it.vault.write(&it.admin, key("solo"), vec![plain], false).await.unwrap();
    let of = of("solo", None);
    let entries = it.vault.entries(&it.admin, of.stack, of.environment, None).await.unwrap().entries;
    let told: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.value.clone())).collect();
    assert_eq!(told, [("PLAIN", Some(Value::new("p"))), ("SECRET", None)]);
}

#[tokio::test]
async fn a_region_is_taken_back_only_when_it_is_empty() {
    let it = Fixture::new().await;
    it.set("production/eu", "A=1").await.unwrap();
    let of = of("production/eu", None);
    let take = || it.vault.withdraw_region(&it.admin, of.stack.clone(), of.environment.clone(), super::region("eu"));
    let error = take().await.unwrap_err();
    assert!(error.code == Code::Conflict && error.detail.contains("1 entries: A"), "{}", error.detail);
    it.vault.delete(&it.admin, which("production/eu", "A"), PLAIN).await.unwrap();
    // It could be had back, and the past would be told without it.
    let error = take().await.unwrap_err();
    assert!(error.code == Code::Conflict && error.detail.contains("1 deleted entries: A"), "{}", error.detail);
    let what = Destruction {
        stack: of.stack.clone(),
        environment: of.environment.clone(),
        name: entry_name("A"),
        layer: Some(Layer::Overlay(super::region("eu"))),
    };
    it.vault.destroy(&it.admin, what).await.unwrap();
    let stack = take().await.unwrap();
    assert_eq!(stack.environments[0].regions, [super::region("us")]);
    assert_eq!(it.bundle("production/eu", None).await.unwrap_err().code, Code::UnknownRegion);
}
