//! The vault on a real SQLite store and a real audit log, with a clock that a test moves.

mod changes;
mod entries;
mod factoring;
mod grants;
mod integrity;
pub(super) mod nodes;
mod openings;
mod outside;
mod regions;
mod resolving;
mod tokens;
mod waiting;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chandlery_wire::api::{AuditRecord, CreateToken, NamedEntry, WriteEntry, Written};
use chandlery_wire::{
    Bundle, Delivery, EntryName, EnvironmentName, Grant, Layer, RegionName, Scope, ServiceName, StackName, TokenText,
    Value, Verb,
};

use super::{BundleOf, Error, OpenError, Opening, Vault, open};
use crate::access::{Caller, Trail};
use crate::audit::Filter;
use crate::clock::FakeClock;
use crate::source::aws::{Access, Aws};
use crate::source::{Freshness, Sources};
use crate::store::{LayerKey, SqliteStore, Store};

/// `app` with `production` (eu, us) and `solo` (no region), services web and db; and an admin caller.
pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: FakeClock,
    pub(super) vault: Vault,
    pub(super) admin: Caller,
}

/// How long the tests' values from outside are good.
pub(super) const FRESHNESS: Freshness = Freshness { ttl: Duration::from_secs(100), stale: Duration::from_secs(1000) };

pub(super) fn opening<'a>(
    store: &Arc<dyn Store>,
    clock: &FakeClock,
    sources: &Sources,
    paths: &'a (PathBuf, PathBuf),
    keep: &'a dyn Fn(TokenText) -> Result<TokenText, Error>,
) -> Opening<'a> {
    Opening {
        store: Arc::clone(store),
        clock: Arc::new(clock.clone()),
        root_key_file: &paths.0,
        audit_file: &paths.1,
        sources: sources.clone(),
        freshness: FRESHNESS,
        aws: Aws::new(Access::default()),
        keep_token: keep,
    }
}

pub(super) fn try_open(
    dir: &Path,
    store: &Arc<dyn Store>,
    clock: &FakeClock,
) -> Result<(Vault, Option<TokenText>), OpenError> {
    try_open_with(dir, store, clock, &Sources::default())
}

pub(super) fn try_open_with(
    dir: &Path,
    store: &Arc<dyn Store>,
    clock: &FakeClock,
    sources: &Sources,
) -> Result<(Vault, Option<TokenText>), OpenError> {
    let paths = (dir.join("root.key"), dir.join("audit.log"));
    open(&opening(store, clock, sources, &paths, &Ok))
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(Sources::default()).await
    }

    pub(super) async fn with(sources: Sources) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let clock = FakeClock::default();
        let (place, shelf, time) = (dir.path().to_owned(), Arc::clone(&store), clock.clone());
        let opened = tokio::task::spawn_blocking(move || try_open_with(&place, &shelf, &time, &sources).unwrap());
        let (vault, token) = opened.await.unwrap();
        let admin = caller(&vault, &token.unwrap()).await.unwrap();
        let fixture = Self { dir, store, clock, vault, admin };
        let services = ["web", "db"].map(|name| ServiceName::parse(name).unwrap()).to_vec();
        fixture.vault.declare_stack(&fixture.admin, stack("app"), services).await.unwrap();
        let regions = ["eu", "us"].map(region).to_vec();
        fixture.declare("production", regions).await;
        fixture.declare("solo", vec![]).await;
        fixture
    }

    async fn declare(&self, name: &str, regions: Vec<RegionName>) {
        self.vault.declare_environment(&self.admin, stack("app"), environment(name), regions).await.unwrap();
    }

    /// `NAME=value`, `NAME~template`, `NAME<reference`, or `NAME@file content`; before it, optionally, `services:`.
    pub(super) async fn set(&self, layer: &str, entry: &str) -> Result<Written, Error> {
        self.set_as(&self.admin, layer, entry).await
    }

    pub(super) async fn set_as(&self, caller: &Caller, layer: &str, entry: &str) -> Result<Written, Error> {
        self.vault.write(caller, key(layer), vec![named(entry)], false).await
    }

    pub(super) async fn bundle(&self, layer: &str, service: Option<&str>) -> Result<Bundle, Error> {
        self.bundle_as(&self.admin, layer, service).await
    }

    pub(super) async fn bundle_as(&self, caller: &Caller, layer: &str, service: Option<&str>) -> Result<Bundle, Error> {
        let body = self.vault.bundle(caller, of(layer, service), vec![]).await?.1.unwrap();
        Ok(serde_json::from_slice(&body).unwrap())
    }

    /// The value of a variable, or the content of a file.
    pub(super) async fn value(&self, layer: &str, service: Option<&str>, name: &str) -> Option<String> {
        let bundle = self.bundle(layer, service).await.unwrap();
        let variables = bundle.variables.iter().map(|variable| (variable.name.as_str(), &variable.value));
        let files = bundle.files.iter().map(|file| (file.name.as_str(), &file.value));
        let found = variables.chain(files).find(|(found, _)| *found == name);
        found.map(|(_, value)| String::from_utf8(value.expose_secret().to_vec()).unwrap())
    }

    pub(super) async fn token(&self, verbs: &[Verb], scopes: &[Scope]) -> Caller {
        let text = self.token_text(verbs, scopes, None, None).await;
        caller(&self.vault, &text).await.unwrap()
    }

    pub(super) async fn token_text(
        &self,
        verbs: &[Verb],
        scopes: &[Scope],
        expires_in: Option<u64>,
        uses: Option<u32>,
    ) -> TokenText {
        let (verbs, scopes) = (verbs.to_vec(), scopes.to_vec());
        let wish = CreateToken { description: "test".to_owned(), verbs, scopes, expires_in, uses, node: None };
        let created = self.vault.create_token(&self.admin, wish).await.unwrap();
        TokenText::parse(std::str::from_utf8(created.token.expose_secret()).unwrap()).unwrap()
    }

    pub(super) fn audit(&self) -> Vec<AuditRecord> {
        self.vault.core.audit.query(&Filter { limit: Some(10_000), ..Filter::default() }).unwrap().records
    }
}

pub(super) async fn caller(vault: &Vault, token: &TokenText) -> Result<Caller, Error> {
    vault.authenticate(Some(token.expose_secret()), None, Trail::default()).await
}

pub(super) fn stack(name: &str) -> StackName {
    StackName::parse(name).unwrap()
}

pub(super) fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::parse(name).unwrap()
}

pub(super) fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

pub(super) fn entry_name(name: &str) -> EntryName {
    EntryName::parse(name).unwrap()
}

/// `production`, `production/eu`.
pub(super) fn key(layer: &str) -> LayerKey {
    let (name, region_name) = layer.split_once('/').map_or((layer, None), |(name, region)| (name, Some(region)));
    LayerKey { stack: stack("app"), environment: environment(name), layer: Layer::from(region_name.map(region)) }
}

pub(super) fn of(layer: &str, service: Option<&str>) -> BundleOf {
    let LayerKey { stack, environment, layer } = key(layer);
    let service = service.map(|name| ServiceName::parse(name).unwrap());
    BundleOf { stack, environment, region: layer.region().cloned(), node: None, service }
}

pub(super) fn scope(layer: &str) -> Scope {
    let BundleOf { stack, environment, region, service, .. } = of(layer, None);
    Scope { stack: Some(stack), environment: Some(environment), region, service }
}

pub(super) fn named(entry: &str) -> NamedEntry {
    let (grant, entry) = entry
        .split_once(':')
        .filter(|(services, _)| !services.contains(['=', '~', '@', '<']))
        .map_or((None, entry), |(services, entry)| (Some(services.parse::<Grant>().unwrap()), entry));
    let at = entry.find(['=', '~', '@', '<']).unwrap();
    let (name, value) = (&entry[..at], &entry[at + 1..]);
    let deliver = entry[at..].starts_with('@').then(|| Delivery::File(chandlery_wire::FileAttributes::default()));
    let entry = WriteEntry {
        value: Value::new(value),
        template: entry[at..].starts_with('~'),
        reference: entry[at..].starts_with('<'),
        unchecked: false,
        secret: None,
        deliver,
        grant,
        expect_version: None,
    };
    NamedEntry { name: entry_name(name), entry }
}
