//! What happens behind the vault's back is found out.

use std::sync::Arc;

use chandlery_wire::Code;

use super::{Fixture, entry_name, key, try_open};
use crate::store::{SqliteStore, Store};
use crate::vault::OpenError;

/// Runs SQL on the database as somebody with the `sqlite3` tool would.
pub(super) fn sql(it: &Fixture, statement: &str) -> usize {
    let path = it.dir.path().join(crate::store::DATABASE_FILE);
    rusqlite::Connection::open(path).unwrap().execute(statement, []).unwrap()
}

#[tokio::test]
async fn a_row_that_was_touched_is_not_served_and_the_line_names_it() {
    for (statement, record) in [
        ("DELETE FROM current_entries WHERE name = 'A'", "app/solo/base"),
        (
            "UPDATE current_entries SET sealed = (SELECT sealed FROM current_entries WHERE name = 'B') WHERE name = 'A'",
            "app/solo/base",
        ),
        ("UPDATE current_entries SET name = 'C' WHERE name = 'A'", "app/solo/base"),
        (
            "UPDATE current_entries SET attributes = replace(attributes, 'true', 'false') WHERE name = 'A'",
            "app/solo/base/A",
        ),
        ("UPDATE current_entries SET author = 'tok_0000000000000000' WHERE name = 'A'", "app/solo/base/A"),
        ("UPDATE current_entries SET created = created + 1 WHERE name = 'A'", "app/solo/base/A"),
        ("UPDATE environments SET regions = '[\"eu\"]' WHERE name = 'solo'", "app/solo"),
    ] {
        let it = Fixture::new().await;
        it.set("solo", "A=canary-1").await.unwrap();
        it.set("solo", "A=canary-2").await.unwrap();
        it.set("solo", "B=canary-3").await.unwrap();
        it.bundle("solo", None).await.unwrap();
        assert_eq!(sql(&it, statement), 1, "{statement}");
        let of = super::of("solo", None);
        let list = it.vault.entries(&it.admin, of.stack, of.environment, None).await.unwrap_err();
        assert_eq!(list.code, Code::Integrity, "{statement}");
        let error = it.bundle("solo", None).await.unwrap_err();
        assert_eq!(error.code, Code::Integrity, "{statement}");
        assert!(error.detail.contains(record), "{statement}: {}", error.detail);
        let line = it.audit().pop().unwrap();
        assert!(line.detail.as_deref().is_some_and(|detail| detail.contains(record)), "{line:?}");
        assert!(!format!("{line:?}{error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn a_write_does_not_bless_what_was_slipped_in() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    it.set("solo", "B=1").await.unwrap();
    sql(&it, "DELETE FROM current_entries WHERE name = 'A'");
    assert_eq!(it.set("solo", "B=2").await.unwrap_err().code, Code::Integrity);
    assert_eq!(it.bundle("solo", None).await.unwrap_err().code, Code::Integrity);
}

#[tokio::test]
async fn a_history_with_a_hole_is_not_served() {
    let it = Fixture::new().await;
    for value in ["A=1", "A=2", "A=3"] {
        it.set("solo", value).await.unwrap();
    }
    assert_eq!(sql(&it, "DELETE FROM past_entries WHERE version = 1"), 1);
    let error = it.vault.versions(&it.admin, key("solo"), entry_name("A")).await.unwrap_err();
    assert!(error.code == Code::Integrity && error.detail.contains("app/solo/base/A"), "{}", error.detail);
    // What is current is whole.
    assert_eq!(it.value("solo", None, "A").await.unwrap(), "3");
}

#[tokio::test]
async fn a_token_row_that_was_touched_lets_nobody_in() {
    let it = Fixture::new().await;
    let text = it.token_text(&[chandlery_wire::Verb::ReadBundle], &[super::scope("solo")], None, None).await;
    super::caller(&it.vault, &text).await.unwrap();
    assert_eq!(sql(&it, "UPDATE tokens SET scopes = '[{}]' WHERE description = 'test'"), 1);
    let before = it.audit().len();
    assert_eq!(super::caller(&it.vault, &text).await.unwrap_err().code, Code::Integrity);
    let lines = it.audit().split_off(before);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].detail.as_deref().is_some_and(|detail| detail.contains("token tok_")), "{lines:?}");
    let stranger = chandlery_wire::TokenText::from_secret(&[9; 32]);
    assert_eq!(super::caller(&it.vault, &stranger).await.unwrap_err().code, Code::Unauthenticated);
}

#[tokio::test]
async fn a_revoked_token_is_not_brought_back_by_its_old_row() {
    let it = Fixture::new().await;
    let text = it.token_text(&[chandlery_wire::Verb::ReadBundle], &[super::scope("solo")], None, None).await;
    let id = super::caller(&it.vault, &text).await.unwrap().id.to_string();
    sql(&it, "CREATE TABLE kept AS SELECT * FROM tokens WHERE description = 'test'");
    it.vault.revoke_token(&it.admin, id).await.unwrap();
    sql(&it, "INSERT OR REPLACE INTO tokens SELECT * FROM kept");
    assert_eq!(super::caller(&it.vault, &text).await.unwrap_err().code, Code::Integrity);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_put_back_is_found_against_the_audit_log() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    let (dir, clock) = (it.dir, it.clock);
    let copy = dir.path().join("copy");
    let database = dir.path().join(crate::store::DATABASE_FILE);
    let statement = format!("VACUUM INTO '{}'", copy.display());
    rusqlite::Connection::open(&database).unwrap().execute(&statement, []).unwrap();
    it.vault.write(&it.admin, key("solo"), vec![super::named("A=2")], false).await.unwrap();
    drop((it.vault, it.store, it.admin));
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(database.with_extension(format!("db{suffix}")));
    }
    std::fs::rename(copy, &database).unwrap();
    let place = dir.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&place).unwrap());
        let Err(OpenError::Fatal(error)) = try_open(&place, &store, &clock) else { panic!("it was opened") };
        assert!(
            error.code == Code::Integrity && error.detail.contains("an older copy was put back"),
            "{}",
            error.detail
        );
        let paths = (place.join("root.key"), place.join("audit.log"));
        let keep = |token: chandlery_wire::TokenText| Ok(token);
        crate::vault::accept_older(&super::opening(&store, &clock, &super::Sources::default(), &paths, &keep)).unwrap();
        assert!(try_open(&place, &store, &clock).is_ok());
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_its_root_key_the_store_is_sealed() {
    let it = Fixture::new().await;
    let (dir, clock, store) = (it.dir, it.clock, it.store);
    drop((it.vault, it.admin));
    let root = dir.path().join("root.key");
    let kept = std::fs::read(&root).unwrap();
    std::fs::remove_file(&root).unwrap();
    let place = dir.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let sealed = |says: &str| {
            let Err(OpenError::Sealed(error)) = try_open(&place, &store, &clock) else { panic!("it was opened") };
            assert!(error.detail.contains(says) && !error.hint.is_empty(), "{}", error.detail);
        };
        sealed("there is no root key");
        assert!(!root.exists(), "a second root key was made");
        std::fs::write(&root, b"nonsense").unwrap();
        sealed("root key");
        std::fs::remove_file(&root).unwrap();
        crate::crypto::RootKey::create(&root).unwrap();
        sealed("is not the one of this store");
        std::fs::remove_file(&root).unwrap();
        std::fs::write(&root, kept).unwrap();
        std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        sealed("root.key");
        std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(try_open(&place, &store, &clock).is_ok());
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_older_row_put_back_is_named() {
    let it = Fixture::new().await;
    it.set("solo", "A=1").await.unwrap();
    sql(&it, "CREATE TABLE kept AS SELECT * FROM current_entries WHERE name = 'A'");
    it.set("solo", "A=2").await.unwrap();
    sql(&it, "INSERT OR REPLACE INTO current_entries SELECT * FROM kept");
    it.set("solo", "B=1").await.unwrap_err();
    let error = it.bundle("solo", None).await.unwrap_err();
    assert!(error.code == Code::Integrity && error.detail.contains("app/solo/base/A"), "{}", error.detail);
}
