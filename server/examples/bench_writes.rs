//! Durable writes a second, below the API: what the engine gives, what the store makes of it, and what the vault does.
//!
//! `bench_writes MODE DIRECTORY WRITERS SECONDS`, in an empty directory; prints one line of JSON. A write is a new version
//! of one of 50 entries of one layer, with a value of 64 bytes, in turn.
//!
//! | MODE | What one write is |
//! |---|---|
//! | `engine` | rusqlite alone, same pragmas and table: one INSERT of the same bytes; WRITERS of them in a transaction |
//! | `engine-line` | the same, and then one line of the audit log's length for each, with one `fdatasync` |
//! | `engine-all` | rusqlite alone: all rows that a write changes, each with the statement that changes it |
//! | `store` | the same rows through the store's writer thread, from WRITERS threads |
//! | `vault` | everything but HTTP: policy, cipher, manifest, store, audit line; from WRITERS tasks |

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chandlery_server::access::Trail;
use chandlery_server::clock::SystemClock;
use chandlery_server::source::aws::{Access, Aws};
use chandlery_server::source::{Freshness, Sources};
use chandlery_server::store::{
    EnvironmentRow, KeyRow, LayerKey, LayerRow, Row, SqliteStore, StackRow, Store, StoreError, Transaction, write_with,
};
use chandlery_server::vault::{self, Opening, Vault};
use chandlery_wire::api::{NamedEntry, State, WriteEntry};
use chandlery_wire::{EntryName, EnvironmentName, Grant, Layer, StackName, TokenText, Value};
use rusqlite::{Connection, params};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ENTRIES: u64 = 50;
/// A value of 64 bytes, encrypted: format version, key id, nonce, value, tag.
const SEALED: usize = 1 + 4 + 12 + 64 + 16;
const ATTRIBUTES: &str = r#"{"secret":true,"template":false,"deliver":"variable","size":64}"#;
const AUTHOR: &str = "tok_0123456789abcdef";
const AUDIT_LINE: usize = 330;
const AUDIT_ANCHOR: &str = "audit-anchor";
const SCHEMA: &str = include_str!("../src/store/sqlite/migrations/0001-first.sql");

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, directory, writers, seconds] = &arguments[..] else {
        return Err("bench_writes MODE DIRECTORY WRITERS SECONDS".into());
    };
    let (directory, writers) = (Path::new(directory), writers.parse()?);
    let until = Deadline(Instant::now() + Duration::from_secs_f64(seconds.parse()?));
    let began = Instant::now();
    let times = match mode.as_str() {
        "engine" => engine(directory, writers, until, Rows::One, false)?,
        "engine-line" => engine(directory, writers, until, Rows::One, true)?,
        "engine-all" => engine(directory, writers, until, Rows::All, false)?,
        "store" => store(directory, writers, until)?,
        "vault" => in_vault(directory, writers, until)?,
        other => return Err(format!("there is no mode {other}").into()),
    };
    report(times, began.elapsed())
}

#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// How long each write took, from when it was asked for to when it was durable.
type Times = Vec<Duration>;

fn report(mut times: Times, took: Duration) -> Outcome<()> {
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, Duration::as_secs_f64) * 1e3;
    let rate = times.len() as f64 / took.as_secs_f64();
    let mut out = std::io::stdout();
    writeln!(out, r#"{{"rate": {rate:.1}, "p50": {:.4}, "p99": {:.4}}}"#, at(0.50), at(0.99))?;
    Ok(())
}

fn entry(number: u64) -> String {
    format!("VARIABLE_{}", number % ENTRIES)
}

/// Bytes that differ from write to write, as ciphertext does.
fn sealed(number: u64) -> [u8; SEALED] {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Rows {
    One,
    All,
}

/// SQLite as the store sets it up, with nothing around it.
fn engine(directory: &Path, batch: u64, until: Deadline, rows: Rows, lines: bool) -> Outcome<Times> {
    let connection = open_engine(directory)?;
    let mut audit = File::options().append(true).create_new(true).open(directory.join("lines"))?;
    let text = [b'x'; AUDIT_LINE];
    let mut times = Times::new();
    let mut number = 0;
    while !until.is_over() {
        let began = Instant::now();
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for _ in 0..batch {
            match rows {
                Rows::One => insert(&connection, "INSERT INTO past_entries", number)?,
                Rows::All => change_all(&connection, number)?,
            }
            number += 1;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        if lines {
            audit.write_all(&text.repeat(batch as usize))?;
            audit.sync_data()?;
        }
        times.extend(std::iter::repeat_n(began.elapsed(), batch as usize));
    }
    Ok(times)
}

fn open_engine(directory: &Path) -> Outcome<Connection> {
    let connection = Connection::open(directory.join("engine.db"))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
         PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;",
    )?;
    connection.execute_batch(SCHEMA)?;
    connection.execute_batch(
        "INSERT INTO stacks VALUES ('bench', '[]', x''); INSERT INTO environments VALUES ('bench', 'live', '[]', x'');
         INSERT INTO layers VALUES (1, 'bench', 'live', 'base', 0, x'');
         INSERT INTO keys VALUES (1, 'data', x'', 0, 0);",
    )?;
    Ok(connection)
}

fn insert(connection: &Connection, into: &str, number: u64) -> rusqlite::Result<()> {
    let sql = format!(
        "{into} VALUES (1, ?1, 'all', ?2, 'live', ?3, 1763726400000, ?4, x'000102030405060708090a0b0c0d0e0f', ?5)"
    );
    let version = 1 + number / ENTRIES;
    let parameters = params![entry(number), version.cast_signed(), ATTRIBUTES, AUTHOR, sealed(number)];
    connection.prepare_cached(&sql)?.execute(parameters)?;
    Ok(())
}

fn change_all(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    let run = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(parameters);
    let past =
        "INSERT INTO past_entries SELECT * FROM current_entries WHERE layer_id = 1 AND name = ?1 AND grant = 'all'";
    run(past, &[&entry(number)])?;
    insert(connection, "INSERT OR REPLACE INTO current_entries", number)?;
    run("UPDATE store SET revision = revision + 1", &[])?;
    run(
        "UPDATE layers SET revision = ?1, manifest = ?2 WHERE id = 1",
        &[&number.cast_signed(), &&sealed(number)[..32]],
    )?;
    run("UPDATE keys SET encryptions = encryptions + 1 WHERE id = 1", &[])?;
    let meta = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    run(meta, &[&AUDIT_ANCHOR, &&sealed(number)[..40]])?;
    Ok(())
}

fn layer() -> Outcome<LayerKey> {
    Ok(LayerKey { stack: StackName::parse("bench")?, environment: EnvironmentName::parse("live")?, layer: Layer::Base })
}

/// The store's own way of writing, with what the vault writes through it.
fn store(directory: &Path, writers: u64, until: Deadline) -> Outcome<Times> {
    let store = SqliteStore::open(directory)?;
    prepare_store(&store)?;
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(|| write_rows(&store, &next, until))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a writer panicked".into())));
        Ok(joined.collect::<Outcome<Vec<Times>>>()?.concat())
    })
}

fn prepare_store(store: &dyn Store) -> Outcome<()> {
    let key = layer()?;
    write_with(store, move |transaction| {
        let LayerKey { stack, environment, .. } = key.clone();
        transaction.put_stack(&StackRow { name: stack.clone(), services: Vec::new(), mac: [0; 32] })?;
        transaction.put_environment(&EnvironmentRow { stack, name: environment, regions: Vec::new(), mac: [0; 32] })?;
        transaction.put_key(&KeyRow {
            id: 1,
            purpose: "data".to_owned(),
            wrapped: vec![0; 69],
            created: 0,
            encryptions: 0,
        })?;
        transaction.put_layer(&key, &LayerRow { revision: 0, manifest: [0; 32] })
    })?;
    Ok(())
}

fn write_rows(store: &SqliteStore, next: &AtomicU64, until: Deadline) -> Outcome<Times> {
    let key = layer()?;
    let mut times = Times::new();
    while !until.is_over() {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (key, name) = (key.clone(), EntryName::parse(entry(number))?);
        let began = Instant::now();
        write_with(store, move |transaction| append(transaction, &key, name, number))?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn append(transaction: &mut dyn Transaction, key: &LayerKey, name: EntryName, number: u64) -> Result<(), StoreError> {
    let before = transaction.latest(key, &name)?;
    let (version, previous) = before.map_or((1, Vec::new()), |(version, tag)| (version + 1, tag.to_vec()));
    let row = Row {
        name,
        grant: Grant::All,
        version,
        state: State::Live,
        attributes: ATTRIBUTES.to_owned(),
        created: 1_763_726_400_000,
        author: AUTHOR.to_owned(),
        previous,
        sealed: sealed(number).to_vec(),
    };
    transaction.append_row(key, &row)?;
    let revision = transaction.next_revision()?;
    transaction.put_layer(key, &LayerRow { revision, manifest: [version.to_le_bytes()[0]; 32] })?;
    transaction.count_encryptions(1, 1)?;
    transaction.set_meta(AUDIT_ANCHOR, &sealed(number)[..40])
}

/// All of a write but HTTP.
fn in_vault(directory: &Path, writers: u64, until: Deadline) -> Outcome<Times> {
    let (vault, token) = open_vault(directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let admin = vault.authenticate(Some(token.expose_secret()), None, Trail::default()).await.map_err(told)?;
        let LayerKey { stack, environment, .. } = layer()?;
        vault.declare_stack(&admin, stack.clone(), Vec::new()).await.map_err(told)?;
        vault.declare_environment(&admin, stack, environment, Vec::new()).await.map_err(told)?;
        let next = Arc::new(AtomicU64::new(0));
        let start =
            || tokio::spawn(write_values(vault.clone(), token.expose_secret().to_owned(), Arc::clone(&next), until));
        let tasks: Vec<_> = (0..writers).map(|_| start()).collect();
        let mut times = Times::new();
        for task in tasks {
            times.extend(task.await??);
        }
        Ok(times)
    })
}

fn open_vault(directory: &Path) -> Outcome<(Vault, TokenText)> {
    let opening = Opening {
        store: Arc::new(SqliteStore::open(directory)?),
        clock: Arc::new(SystemClock),
        root_key_file: &directory.join("root.key"),
        audit_file: &directory.join("audit.log"),
        sources: Sources::default(),
        freshness: Freshness { ttl: Duration::from_secs(300), stale: Duration::ZERO },
        aws: Aws::new(Access::default()),
        keep_token: &Ok,
    };
    let (vault, token) = vault::open(&opening).map_err(|error| format!("{error:?}"))?;
    Ok((vault, token.ok_or("the directory was used before")?))
}

async fn write_values(vault: Vault, token: String, next: Arc<AtomicU64>, until: Deadline) -> Outcome<Times> {
    let key = layer()?;
    let mut times = Times::new();
    while !until.is_over() {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let value = Value::new(format!("{number:064x}").into_bytes());
        let entry = WriteEntry {
            value,
            template: false,
            reference: false,
            unchecked: false,
            secret: None,
            deliver: None,
            grant: None,
            expect_version: None,
        };
        let named = NamedEntry { name: EntryName::parse(self::entry(number))?, entry };
        let began = Instant::now();
        let caller = vault.authenticate(Some(&token), None, Trail::default()).await.map_err(told)?;
        vault.write(&caller, key.clone(), vec![named], false).await.map_err(told)?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn told(error: vault::Error) -> String {
    format!("{error:?}")
}
