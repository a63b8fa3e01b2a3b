//! What is kept between requests: verified tokens, and bundles, encrypted.
//!
//! Everything here is valid for one value of the store's change counter, which moves whenever anybody commits anything,
//! this server or a hand with `sqlite3`: then it is all read and verified anew. So revocation bites at the next request,
//! and an edited row is found at the next read.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use chandlery_wire::{NodeName, RegionName, Scope, Verb};
use zeroize::Zeroizing;

use super::Error;
use super::bundles::BundleOf;
use super::ground::Grounds;
use crate::crypto::{Envelope, TokenHash};

/// A token that was read and verified.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) id: Arc<str>,
    pub(super) verbs: Arc<[Verb]>,
    /// Of a token that is bound to a node, what is left of them in the node's region.
    pub(super) scopes: Arc<[Scope]>,
    pub(super) node: Option<NodeName>,
    /// It is bound to a node that is not registered any more.
    pub(super) adrift: bool,
    pub(super) expires: Option<i64>,
    pub(super) revoked: bool,
    /// Whether its uses are counted: such a token is never taken from the cache.
    pub(super) counted: bool,
}

#[derive(Debug)]
struct Generation<K, V> {
    counter: u64,
    items: HashMap<K, V>,
}

/// Values that are forgotten together when the store changes.
#[derive(Debug)]
struct Cache<K, V>(RwLock<Generation<K, V>>);

impl<K: std::hash::Hash + Eq, V: Clone> Cache<K, V> {
    fn new() -> Self {
        Self(RwLock::new(Generation { counter: 0, items: HashMap::new() }))
    }

    fn get(&self, counter: u64, key: &K) -> Option<V> {
        let generation = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (generation.counter == counter).then(|| generation.items.get(key).cloned()).flatten()
    }

    /// `counter` is the one from before the value was read: a change in between makes it stale, never wrongly fresh.
    fn put(&self, counter: u64, key: K, value: V, most: usize) {
        let mut generation = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if generation.counter != counter || generation.items.len() >= most {
            *generation = Generation { counter, items: HashMap::new() };
        }
        generation.items.insert(key, value);
    }
}

const MOST_TOKENS: usize = 10_000;
const MOST_BUNDLES: usize = 2_000;
/// A bundle larger than this is made each time: 2,000 of them may take 128 MiB.
const LARGEST_BUNDLE: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct TokenCache(Cache<TokenHash, Arc<KnownToken>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(Cache::new())
    }
}

impl TokenCache {
    pub(super) fn get(&self, counter: u64, hash: &TokenHash) -> Option<Arc<KnownToken>> {
        self.0.get(counter, hash).filter(|token| !token.counted)
    }

    pub(super) fn put(&self, counter: u64, hash: TokenHash, token: Arc<KnownToken>) {
        self.0.put(counter, hash, token, MOST_TOKENS);
    }
}

/// What is known of a bundle besides its values.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) region: Option<RegionName>,
    /// For its audit line.
    pub(super) entries: Arc<[String]>,
    /// What it was made from, and with it changes.
    pub(super) grounds: Arc<Grounds>,
}

/// A rendered bundle.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) told: Told,
    /// The JSON, encrypted with a key of this process that is stored nowhere.
    sealed: Vec<u8>,
}

/// For whom it was made: what a template may refer to depends on the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BundleKey {
    pub(super) caller: Arc<str>,
    pub(super) of: BundleOf,
}

#[derive(Debug)]
pub(super) struct BundleCache {
    envelope: Envelope,
    cache: Cache<BundleKey, Arc<Rendered>>,
}

impl BundleCache {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { envelope: Envelope::new()?, cache: Cache::new() })
    }

    pub(super) fn get(&self, counter: u64, key: &BundleKey) -> Option<Arc<Rendered>> {
        self.cache.get(counter, key)
    }

    pub(super) fn put(&self, counter: u64, key: BundleKey, told: Told, json: &[u8]) -> Result<(), Error> {
        if json.len() <= LARGEST_BUNDLE {
            let rendered = Rendered { told, sealed: self.envelope.seal(json)? };
            self.cache.put(counter, key, Arc::new(rendered), MOST_BUNDLES);
        }
        Ok(())
    }

    pub(super) fn open(&self, rendered: &Rendered) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(self.envelope.open(&rendered.sealed)?)
    }
}
