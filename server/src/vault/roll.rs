//! All tokens, read and verified together.

use std::collections::HashMap;
use std::sync::Arc;

use chandlery_wire::{NodeName, RegionName};
use tokio::sync::Mutex;

use super::cache::KnownToken;
use super::operation::blocking;
use super::records::Records;
use super::tokens::describe;
use super::{Error, Vault};
use crate::access::within_region;
use crate::store::TokenRow;

/// The tokens as they were at one moment, and where the nodes were that they are bound to.
#[derive(Debug)]
pub(super) struct Tokens {
    by_hash: HashMap<[u8; 32], Arc<TokenRow>>,
    by_id: HashMap<String, Arc<TokenRow>>,
    /// Not looked at where no token is bound to any. What is wrong with them concerns only tokens that are.
    nodes: Result<HashMap<NodeName, RegionName>, Error>,
}

/// What was read last, and the change counter from before.
///
/// One token is believed only when all were verified, so they are kept together. Many who come at the same moment, after
/// a write or when a wait ends, need them read once: one of them does, and the others wait for it.
pub(super) type Roll = Mutex<Option<(u64, Arc<Tokens>)>>;

impl Vault {
    /// The tokens as they are now, and as of which change counter.
    pub(super) async fn roll(&self) -> Result<(u64, Arc<Tokens>), Error> {
        let mut roll = self.core.roll.lock().await;
        let counter = self.core.store.change_counter()?;
        if let Some((as_of, tokens)) = &*roll
            && *as_of == counter
        {
            return Ok((counter, Arc::clone(tokens)));
        }
        let core = Arc::clone(&self.core);
        let read = blocking(move || {
            let keyring = core.keyring();
            core.read(|snapshot| Tokens::read(&Records::new(snapshot, &keyring)))
        });
        let tokens = Arc::new(read.await?);
        *roll = Some((counter, Arc::clone(&tokens)));
        Ok((counter, tokens))
    }
}

impl Tokens {
    pub(super) fn read(records: &Records<'_>) -> Result<Self, Error> {
        let rows: Vec<Arc<TokenRow>> = records.tokens()?.into_iter().map(Arc::new).collect();
        let nodes = match rows.iter().any(|row| row.node.is_some()) {
            true => records.nodes().map(|rows| rows.into_iter().map(|row| (row.name, row.region)).collect()),
            false => Ok(HashMap::new()),
        };
        let by_hash = rows.iter().map(|row| (row.hash, Arc::clone(row))).collect();
        Ok(Self { by_hash, by_id: rows.into_iter().map(|row| (row.id.clone(), row)).collect(), nodes })
    }

    /// A token that may be revoked or expired: see [`stale`].
    pub(super) fn by_hash(&self, hash: &[u8; 32]) -> Result<Option<KnownToken>, Error> {
        self.by_hash.get(hash).map(|row| self.known(row)).transpose()
    }

    /// As [`Tokens::by_hash`].
    pub(super) fn by_id(&self, id: &str) -> Result<Option<KnownToken>, Error> {
        self.by_id.get(id).map(|row| self.known(row)).transpose()
    }

    fn known(&self, row: &TokenRow) -> Result<KnownToken, Error> {
        let info = describe(row)?;
        let place = match &row.node {
            Some(node) => self.nodes.as_ref().map_err(Clone::clone)?.get(node),
            None => None,
        };
        let scopes = match place {
            Some(region) => info.scopes.iter().filter_map(|scope| within_region(scope, region)).collect(),
            None => info.scopes.into(),
        };
        Ok(KnownToken {
            id: info.id.into(),
            verbs: info.verbs.into(),
            scopes,
            adrift: row.node.is_some() && place.is_none(),
            node: row.node.clone(),
            expires: row.expires,
            revoked: row.revoked.is_some(),
            counted: row.uses_left.is_some(),
        })
    }
}

/// Why a token is not good any more.
pub(super) fn stale(token: &KnownToken, now: i64) -> Option<&'static str> {
    if token.revoked {
        return Some("the token is revoked");
    }
    if token.adrift {
        return Some("the node that the token is bound to is not registered");
    }
    token.expires.is_some_and(|expires| expires <= now).then_some("the token has expired")
}
