use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, EnvironmentName, NodeName, ProjectName, RegionName, ServiceName, StackName};
use tempfile::TempDir;

use super::super::*;
use super::*;

fn key(layer: &str) -> LayerKey {
    LayerKey {
        stack: StackName::parse("simpleapp").unwrap(),
        environment: EnvironmentName::parse("production").unwrap(),
        layer: layer.parse().unwrap(),
    }
}

fn name(text: &str) -> EntryName {
    EntryName::parse(text).unwrap()
}

fn row(entry: &str, grant: &str, version: u64) -> Row {
    Row {
        name: name(entry),
        grant: grant.parse().unwrap(),
        version,
        state: State::Live,
        attributes: "{}".to_owned(),
        created: -1,
        author: "tok_1".to_owned(),
        previous: vec![0; if version == 1 { 0 } else { 16 }],
        sealed: vec![u8::try_from(version).unwrap(); 40],
    }
}

fn token(id: &str, byte: u8) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        hash: [byte; 32],
        description: "the pipeline".to_owned(),
        verbs: "[]".to_owned(),
        scopes: "[]".to_owned(),
        created: i64::from(byte),
        created_by: "server".to_owned(),
        expires: None,
        uses_left: Some(3),
        revoked: None,
        node: None,
        mac: [byte; 32],
    }
}

fn opening() -> OpeningRow {
    OpeningRow {
        stack: key("base").stack,
        environment: key("base").environment,
        project: ProjectName::parse("shop").unwrap(),
        images: "{}".to_owned(),
        allow_exec: true,
        revision: 7,
        created: 5,
        author: "tok_1".to_owned(),
        mac: [9; 32],
    }
}

fn node(region: &str) -> NodeRow {
    NodeRow {
        name: NodeName::parse("vm-1").unwrap(),
        region: RegionName::parse(region).unwrap(),
        revision: 7,
        created: 5,
        author: "tok_1".to_owned(),
        mac: [9; 32],
    }
}

/// A store with one stack, its environment, and the layers that belong to it.
fn declared(directory: &Path) -> SqliteStore {
    let store = SqliteStore::open(directory).unwrap();
    write_with(&store, |t| {
        let LayerKey { stack, environment, .. } = key("base");
        let (services, regions) = (vec![ServiceName::parse("app").unwrap()], vec![RegionName::parse("eu").unwrap()]);
        t.put_stack(&StackRow { name: stack.clone(), services, mac: [1; 32] })?;
        t.put_environment(&EnvironmentRow { stack, name: environment, regions, mac: [2; 32] })?;
        let revision = t.next_revision()?;
        t.put_layer(&key("base"), &LayerRow { revision, manifest: [3; 32] })?;
        t.put_layer(&key("eu"), &LayerRow { revision, manifest: [4; 32] })
    })
    .unwrap();
    store
}

fn put(store: &SqliteStore, layer: &str, row: Row) -> Result<(), StoreError> {
    let key = key(layer);
    write_with(store, move |t| t.append_row(&key, &row))
}

fn look<T>(store: &SqliteStore, f: impl FnOnce(&dyn Snapshot) -> Result<T, StoreError>) -> T {
    read_with(store, f).unwrap()
}

fn sqlite3(directory: &Path, sql: &str) -> bool {
    // Its own process, as somebody with the sqlite3 tool is: POSIX locks do not hold within one.
    let output = Command::new("sqlite3").arg(directory.join(DATABASE_FILE)).arg(sql).output().unwrap();
    output.status.success()
}

#[test]
fn the_story_of_a_store() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    put(&store, "base", row("DB_HOST", "all", 1)).unwrap();
    put(&store, "base", row("DB_HOST", "app", 2)).unwrap();
    put(&store, "base", row("DB_HOST", "all", 3)).unwrap();
    put(&store, "base", row("A", "all", 1)).unwrap();
    put(&store, "eu", row("DB_HOST", "all", 1)).unwrap();
    drop(store);

    let store = SqliteStore::open(directory.path()).unwrap();
    read_with::<_, StoreError>(&store, |s| {
        assert_eq!(s.revision()?, 1);
        assert_eq!(s.stacks()?.len(), 1);
        assert_eq!(s.stack(&key("base").stack)?.unwrap().mac, [1; 32]);
        assert_eq!(s.stack(&StackName::parse("other").unwrap())?, None);
        assert_eq!(s.environments(&key("base").stack)?[0].regions[0].as_str(), "eu");
        assert_eq!(s.environment(&key("base").stack, &key("base").environment)?.unwrap().mac, [2; 32]);

        let content = s.layer(&key("base"))?.unwrap();
        let current: Vec<_> =
            content.rows.iter().map(|row| (row.name.as_str(), row.grant.to_string(), row.version)).collect();
        assert_eq!(current, [("A", "all".into(), 1), ("DB_HOST", "all".into(), 3), ("DB_HOST", "app".into(), 2)]);
        assert_eq!(content.rows[0], row("A", "all", 1), "what was written is what is read");
        let tags = s.layer_tags(&key("base"))?.unwrap();
        assert_eq!(tags.layer, content.layer);
        assert_eq!((tags.rows[1].version, tags.rows[1].tag), (3, [3; 16]));
        assert_eq!(s.layer(&key("sfo3"))?, None);
        let revisions = s.layer_revisions(&key("base").stack, &key("base").environment)?;
        assert_eq!(revisions, [(key("base").layer, 1), (key("eu").layer, 1)]);
        assert_eq!(s.layer_revisions(&key("base").stack, &EnvironmentName::parse("staging").unwrap())?, []);

        let versions = s.versions(&key("base"), &name("DB_HOST"))?;
        assert_eq!(versions.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(s.version(&key("base"), &name("DB_HOST"), 1)?.unwrap(), row("DB_HOST", "all", 1));
        assert_eq!(s.version(&key("base"), &name("DB_HOST"), 4)?, None);
        assert_eq!(s.version(&key("base"), &name("DB_HOST"), u64::MAX)?, None);
        assert_eq!(s.latest(&key("base"), &name("DB_HOST"))?, Some((3, [3; 16])));
        assert_eq!(s.latest(&key("base"), &name("NONE"))?, None);
        Ok(())
    })
    .unwrap();

    write_with(&store, |t| t.remove_layer(&key("eu"))).unwrap();
    assert_eq!(look(&store, |s| s.layer(&key("eu"))), None);
    assert_eq!(look(&store, |s| s.versions(&key("base"), &name("DB_HOST"))).len(), 3, "the base is as it was");
}

#[test]
fn tokens_nodes_keys_and_meta_are_put_and_found() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    let data = KeyRow { id: 1, purpose: "data".to_owned(), wrapped: vec![1], created: 5, encryptions: 0 };
    let stored = data.clone();
    write_with::<_, StoreError>(&store, move |t| {
        t.put_token(&token("tok_b", 2))?;
        t.put_token(&token("tok_a", 1))?;
        t.put_token(&TokenRow { uses_left: Some(2), revoked: Some(9), ..token("tok_b", 2) })?;
        t.put_node(&node("eu"))?;
        t.put_node(&NodeRow { name: NodeName::parse("vm-2").unwrap(), ..node("eu") })?;
        t.put_node(&node("us"))?;
        t.remove_node(&NodeName::parse("vm-2").unwrap())?;
        t.put_opening(&OpeningRow { allow_exec: false, ..opening() })?;
        t.put_opening(&opening())?;
        t.put_opening(&OpeningRow { project: ProjectName::parse("other").unwrap(), ..opening() })?;
        t.remove_opening(&OpeningRow { project: ProjectName::parse("other").unwrap(), ..opening() })?;
        t.put_token(&TokenRow { node: Some(node("us").name), ..token("tok_c", 3) })?;
        t.put_key(&stored)?;
        t.count_encryptions(1, 7)?;
        assert!(t.count_encryptions(2, 1).is_err(), "a key that is not there");
        t.set_meta("a", b"1")?;
        t.set_meta("a", b"2")
    })
    .unwrap();
    read_with::<_, StoreError>(&store, |s| {
        assert_eq!(s.tokens()?.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), ["tok_a", "tok_b", "tok_c"]);
        assert_eq!(s.token_by_id("tok_c")?.unwrap().node, Some(node("us").name));
        assert_eq!(s.nodes()?, [node("us")]);
        assert_eq!(s.openings()?, [opening()]);
        let found = s.token_by_hash(&[2; 32])?.unwrap();
        assert_eq!((found.id.as_str(), found.uses_left, found.revoked), ("tok_b", Some(2), Some(9)));
        assert_eq!(s.token_by_hash(&[4; 32])?, None);
        assert_eq!(s.token_by_id("tok_a")?.unwrap(), token("tok_a", 1));
        assert_eq!(s.keys()?, [KeyRow { encryptions: 7, ..data.clone() }]);
        assert_eq!((s.meta("a")?, s.meta("b")?), (Some(b"2".to_vec()), None));
        Ok(())
    })
    .unwrap();
    assert_eq!(format!("{:?}", token("tok_a", 1)), "TokenRow { id: \"tok_a\", revoked: None, .. }");
}

#[test]
fn a_version_follows_the_one_before() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    assert!(put(&store, "base", row("A", "all", 2)).is_err(), "the first is 1");
    put(&store, "base", row("A", "all", 1)).unwrap();
    assert!(put(&store, "base", row("A", "all", 1)).is_err());
    assert!(put(&store, "base", row("A", "app", 1)).is_err(), "versions count across grants");
    assert!(put(&store, "sfo3", row("A", "all", 1)).is_err(), "a layer that was never put");
}

#[test]
fn jobs_of_many_threads_share_commits_and_keep_apart() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(declared(directory.path()));
    let refused = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (store, refused) = (Arc::clone(&store), Arc::clone(&refused));
            std::thread::spawn(move || {
                for number in 1..=50 {
                    let entry = row(&format!("E_{thread}"), "all", number);
                    let wrong = number % 5 == 0;
                    let result = write_with(&*store, move |t| {
                        t.next_revision()?;
                        if wrong {
                            t.append_row(&key("base"), &row("WRONG", "all", 1))?;
                            return Err(StoreError::other("changed my mind"));
                        }
                        let version = t.latest(&key("base"), &entry.name)?.map_or(1, |(latest, _)| latest + 1);
                        t.append_row(&key("base"), &Row { version, ..entry })
                    });
                    assert_eq!(result.is_err(), wrong);
                    refused.fetch_add(u32::from(wrong), Ordering::Relaxed);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(refused.load(Ordering::Relaxed), 80);
    assert_eq!(look(&store, |s| s.revision()), 1 + 320, "a job that rolls back takes its revision with it");
    assert_eq!(look(&store, |s| s.latest(&key("base"), &name("WRONG"))), None);
    let layer = look(&store, |s| s.layer(&key("base"))).unwrap();
    assert!(layer.rows.len() == 8 && layer.rows.iter().all(|row| row.version == 40));
}

#[test]
fn a_job_that_panics_takes_only_itself_away() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    let job: WriteJob = Box::new(|t| {
        t.next_revision().unwrap();
        panic!("on purpose");
    });
    assert!(store.write(job).is_err());
    assert_eq!(look(&store, |s| s.revision()), 1);
    assert_eq!(write_with(&store, |t| t.next_revision()).unwrap(), 2);
    store.check().unwrap();
}

#[test]
fn a_reader_sees_one_moment() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    let before = store.change_counter().unwrap();
    read_with::<_, StoreError>(&store, |s| {
        let revision = s.revision()?;
        write_with(&store, |t| t.next_revision())?;
        assert_eq!(s.revision()?, revision);
        Ok(())
    })
    .unwrap();
    let after = store.change_counter().unwrap();
    assert_ne!(before, after, "our own writes change the counter");
    assert_eq!(after, store.change_counter().unwrap());
    assert!(sqlite3(directory.path(), "UPDATE store SET revision = 77"));
    assert_ne!(after, store.change_counter().unwrap(), "another program's writes change it too");
    assert_eq!(look(&store, |s| s.revision()), 77);
}

#[test]
fn names_that_were_edited_on_disk_are_damage() {
    let edits = [
        ("UPDATE current_entries SET name = '../etc'", "simpleapp/production/base"),
        ("UPDATE current_entries SET name = x'ff'", "simpleapp/production/base"),
        ("UPDATE current_entries SET grant = 'web,app'", "simpleapp/production/base/A"),
        ("UPDATE current_entries SET state = 'alive'", "simpleapp/production/base/A"),
        ("UPDATE current_entries SET version = -1", "simpleapp/production/base/A"),
        ("UPDATE current_entries SET author = CAST(x'ff' AS TEXT)", "simpleapp/production/base/A"),
        ("UPDATE layers SET manifest = x'00'", "simpleapp/production/base"),
        ("UPDATE layers SET revision = -5", "simpleapp/production/base"),
    ];
    for (edit, record) in edits {
        let directory = TempDir::new().unwrap();
        let store = declared(directory.path());
        put(&store, "base", row("A", "all", 1)).unwrap();
        let edited = sqlite3(directory.path(), edit);
        match read_with(&store, |s| s.layer(&key("base"))) {
            Err(StoreError::Damaged { record: named, .. }) => assert!(named.starts_with(record), "{named}: {edit}"),
            // STRICT tables refuse some of it already.
            other => assert!(!edited, "{edit}: {other:?}"),
        }
    }
}

#[test]
fn edited_definitions_are_damage() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    assert!(sqlite3(
        directory.path(),
        "UPDATE stacks SET services = '[\"a/b\"]'; UPDATE environments SET regions = '{'"
    ));
    let (stack, environment) = (key("base").stack, key("base").environment);
    let found = read_with(&store, |s| s.stack(&stack)).unwrap_err();
    assert!(matches!(found, StoreError::Damaged { ref record, .. } if record == "stack simpleapp"), "{found}");
    let found = read_with(&store, |s| s.environment(&stack, &environment)).unwrap_err();
    assert!(matches!(found, StoreError::Damaged { ref record, .. } if record == "environment simpleapp/production"));
    assert!(sqlite3(directory.path(), "UPDATE store SET revision = 9223372036854775807"));
    assert!(write_with(&store, |t| t.next_revision()).is_err(), "the counter's end");
    store.check().unwrap();
}

#[test]
fn the_files_are_for_the_owner_alone() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    put(&store, "base", row("A", "all", 1)).unwrap();
    let mut names: Vec<_> = Vec::new();
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["chandlery.db", "chandlery.db-shm", "chandlery.db-wal", "chandlery.lock"]);
}

#[test]
fn one_server_to_a_directory_and_a_stale_lock_file_blocks_nobody() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(LOCK_FILE), "4711\n").unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let second = SqliteStore::open(directory.path()).unwrap_err();
    assert_eq!(second, StoreError::InUse { directory: directory.path().to_owned() });
    drop(store);
    SqliteStore::open(directory.path()).unwrap();
}

#[test]
fn left_over_files_of_a_killed_first_start_are_no_hindrance() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("chandlery.db.new"), "half").unwrap();
    fs::write(directory.path().join("chandlery.db.new-journal"), "half").unwrap();
    SqliteStore::open(directory.path()).unwrap().check().unwrap();
    assert!(!directory.path().join("chandlery.db.new").exists());
}

#[test]
fn a_newer_schema_is_refused_and_kept() {
    let directory = TempDir::new().unwrap();
    drop(declared(directory.path()));
    let file = directory.path().join(DATABASE_FILE);
    assert!(sqlite3(directory.path(), "PRAGMA user_version = 99"));
    let before = fs::read(&file).unwrap();
    let refused = SqliteStore::open(directory.path()).unwrap_err();
    assert_eq!(
        refused,
        StoreError::TooNew { file: file.clone(), found: 99, known: i64::try_from(schema::MIGRATIONS.len()).unwrap() }
    );
    assert!(refused.to_string().contains("has schema 99, and this program knows schemas up to 4"), "{refused}");
    assert_eq!(before, fs::read(&file).unwrap());
}

#[test]
fn what_is_not_our_database_is_refused_and_kept() {
    let whole = {
        let directory = TempDir::new().unwrap();
        drop(declared(directory.path()));
        fs::read(directory.path().join(DATABASE_FILE)).unwrap()
    };
    let mut foreign = whole.clone();
    foreign[68..72].fill(0);
    let cases = [
        (Vec::new(), "cut off"),
        (whole[..50].to_vec(), "cut off"),
        (whole[..4096].to_vec(), "cut off"),
        (whole[..whole.len() - 1].to_vec(), "cut off"),
        (b"hello".repeat(1000), "not an SQLite database"),
        (foreign, "another program's database"),
    ];
    for (bytes, reason) in cases {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(DATABASE_FILE);
        fs::write(&file, &bytes).unwrap();
        let refused = SqliteStore::open(directory.path()).unwrap_err();
        assert!(matches!(refused, StoreError::NotOurs { .. }), "{refused}");
        assert!(refused.to_string().contains(reason), "{refused}, and not {reason}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
        let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [DATABASE_FILE, LOCK_FILE]);
    }
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join(DATABASE_FILE)).unwrap();
    assert!(matches!(SqliteStore::open(directory.path()), Err(StoreError::NotOurs { .. })));
}

#[test]
fn a_log_without_its_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    fs::copy(directory.path().join("chandlery.db-wal"), directory.path().join("kept")).unwrap();
    drop(store);
    fs::rename(directory.path().join("kept"), directory.path().join("chandlery.db-wal")).unwrap();
    fs::remove_file(directory.path().join(DATABASE_FILE)).unwrap();
    let refused = SqliteStore::open(directory.path()).unwrap_err();
    assert!(refused.to_string().contains("it is gone"), "{refused}");
}

#[test]
fn damaged_pages_are_an_error_and_never_a_panic() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    for number in 0..200 {
        put(&store, "base", row(&format!("E{number}"), "all", 1)).unwrap();
    }
    drop(store);
    let file = directory.path().join(DATABASE_FILE);
    let whole = fs::read(&file).unwrap();
    for at in (100..whole.len()).step_by(211) {
        fs::write(&file, &whole).unwrap();
        OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[whole[at] ^ 0xff; 4], at as u64).ok();
        let Ok(store) = SqliteStore::open(directory.path()) else { continue };
        let _ = read_with(&store, |s| s.layer(&key("base")).map(|_| ()));
        let _ = read_with(&store, |s| s.versions(&key("base"), &name("E7")).map(|_| ()));
    }
}

#[test]
fn another_program_that_holds_the_lock_is_named() {
    let directory = TempDir::new().unwrap();
    let store = declared(directory.path());
    let other = Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(write_with(&store, |t| t.next_revision()).unwrap_err(), StoreError::Locked);
    assert_eq!(look(&store, |s| s.revision()), 1, "reads go on");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(write_with(&store, |t| t.next_revision()).unwrap(), 2);
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    let directory = TempDir::new().unwrap();
    let mount = |arguments: &[&str]| Command::new("mount").args(arguments).arg(directory.path()).status();
    if !mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).is_ok_and(|status| status.success()) {
        println!("skipped: a small tmpfs can only be mounted by root");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let store = declared(directory.path());
        let mut kept = 0;
        let failure = loop {
            let large = Row { sealed: vec![7; 20_000], ..row(&format!("E{kept}"), "all", 1) };
            match put(&store, "base", large) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 100, "the disk never filled");
        };
        assert_eq!(failure, StoreError::Full);
        assert_eq!(look(&store, |s| s.layer(&key("base"))).unwrap().rows.len(), kept, "reads go on");
        assert!(mount(&["-o", "remount,size=8m"]).unwrap().success());
        put(&store, "base", row("AFTER", "all", 1)).unwrap();
        drop(store);
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(look(&store, |s| s.layer(&key("base"))).unwrap().rows.len(), kept + 1);
    });
    assert!(Command::new("umount").arg(directory.path()).status().unwrap().success());
    outcome.unwrap();
}

#[test]
fn a_step_that_was_released_is_never_changed() {
    let hashes: Vec<String> = schema::MIGRATIONS
        .iter()
        .map(|step| {
            let hash = ring::digest::digest(&ring::digest::SHA256, step.as_bytes());
            hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        })
        .collect();
    assert_eq!(
        hashes,
        [
            "0a610b52b59a85abaeda3abdf2b5c3cb2ce0795566cf952e7f91224638c0363a",
            "bfcecbaaf9b3c03496a6656f40b25832611151987be7b25176900b7c0a1e55e8",
            "4f69dc50b9f65a43c44aa4e16f93debf1c4754a73e85facdb592c122d152b8bc",
            "a879d1889b2ad7d6690d57831b130f2f9896b98cbc617289e30a698fed874df1",
        ]
    );
}

#[test]
fn steps_go_on_where_they_stopped_and_a_bad_one_leaves_nothing() {
    let mut connection = Connection::open_in_memory().unwrap();
    let bad = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
    assert!(schema::migrate(&mut connection, &bad).is_err());
    let good = ["CREATE TABLE a (x)", "CREATE TABLE b (x)", "CREATE TABLE c (x)"];
    schema::migrate(&mut connection, &good).unwrap();
    schema::migrate(&mut connection, &good).unwrap();
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!((tables, version), (3, 3));
}
