//! Tokens: who holds one, and making and revoking them.

use std::sync::Arc;

use chandlery_wire::api::{CreateToken, CreatedToken, TokenInfo, TokenList};
use chandlery_wire::{Code, Scope, TokenText, Value, Verb};

use super::attributes::rfc3339;
use super::cache::KnownToken;
use super::core::Core;
use super::operation::{Action, Done, blocking};
use super::records::{Records, TOKENS_MAC, sign_tokens, token_fields};
use super::roll::stale;
use super::{Error, Vault};
use crate::access::{Caller, Peer, Trail, may, may_delegate};
use crate::crypto::{Definition, Keyring, TokenHash, new_token, new_token_id};
use crate::store::{StoreError, TokenRow, Transaction};

const LONGEST_DESCRIPTION: usize = 200;
const MOST_SCOPES: usize = 100;
/// A hundred years: more is a mistake in the unit.
const LONGEST_LIFE_SECONDS: u64 = 100 * 365 * 24 * 3600;

impl Vault {
    /// Who holds this token. A token whose uses are counted has one fewer afterwards.
    ///
    /// # Errors
    /// The same sentence for a token that is unknown, mistyped, expired, revoked or used up; which of them it is, the
    /// audit line says.
    pub async fn authenticate(&self, token: Option<&str>, peer: Option<Peer>, trail: Trail) -> Result<Caller, Error> {
        let action = Action::new("authenticate");
        let refusal = match token.map(TokenText::parse) {
            None => Refusal::new("anonymous", "there is no token"),
            Some(Err(error)) => Refusal::new("anonymous", &error.to_string()),
            Some(Ok(token)) => match self.look_up(TokenHash::of(&token)).await {
                Ok(Ok((known, as_of))) => {
                    trail.identify(Arc::clone(&known.id));
                    let KnownToken { id, verbs, scopes, node, .. } = &*known;
                    let (id, verbs, scopes) = (Arc::clone(id), Arc::clone(verbs), Arc::clone(scopes));
                    return Ok(Caller { id, verbs, scopes, node: node.clone(), peer, as_of, resident: None, trail });
                }
                Ok(Err(refusal)) => refusal,
                // A token's row that is not what was written: the line names it.
                Err(error) => return Err(self.fail(&Caller::anonymous(peer, trail), &action, error).await),
            },
        };
        let caller = Caller { id: refusal.caller.into(), ..Caller::anonymous(peer, trail) };
        let reason = Error::new(Code::Unauthenticated, refusal.reason);
        // What is logged says which; what is answered does not.
        let told = self.fail(&caller, &action, reason).await;
        if told.code != Code::Unauthenticated {
            return Err(told);
        }
        Err(unauthenticated())
    }

    /// The token, and the store's change counter from before it was looked at.
    async fn look_up(&self, hash: TokenHash) -> Result<Result<(Arc<KnownToken>, u64), Refusal>, Error> {
        let counter = self.core.store.change_counter()?;
        let unknown = || Refusal::new("anonymous", "the token is unknown");
        // One that is stale is looked up like one that is unknown: an answer must not come sooner because the token was
        // good once.
        let now = self.core.now();
        let (known, counter) = match self.core.tokens.get(counter, &hash).filter(|known| stale(known, now).is_none()) {
            Some(known) => (known, counter),
            None => {
                let (counter, tokens) = match self.roll().await {
                    Ok(roll) => roll,
                    // Which token is not what was written is told to nobody who holds none.
                    Err(_) if !self.is_stored(hash).await? => return Ok(Err(unknown())),
                    Err(error) => return Err(error),
                };
                let Some(known) = tokens.by_hash(hash.as_bytes())?.map(Arc::new) else { return Ok(Err(unknown())) };
                self.core.tokens.put(counter, hash, Arc::clone(&known));
                (known, counter)
            }
        };
        if let Some(reason) = stale(&known, now) {
            return Ok(Err(Refusal::new(&known.id, reason)));
        }
        if known.counted {
            let core = Arc::clone(&self.core);
            if !blocking(move || use_up(&core, hash)).await? {
                return Ok(Err(Refusal::new(&known.id, "the token is used up")));
            }
        }
        Ok(Ok((known, counter)))
    }

    async fn is_stored(&self, hash: TokenHash) -> Result<bool, Error> {
        let core = Arc::clone(&self.core);
        blocking(move || core.read(|snapshot| Ok(snapshot.token_by_hash(hash.as_bytes())?.is_some()))).await
    }

    /// The tokens all of whose scopes the caller administers.
    ///
    /// # Errors
    /// Where the caller administers nothing.
    pub async fn tokens(&self, caller: &Caller) -> Result<TokenList, Error> {
        self.perform(caller, Action::new("read-tokens"), |core, caller| {
            if !caller.verbs.contains(&Verb::Administer) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let mut tokens = Vec::new();
                for row in records.tokens()? {
                    let info = describe(&row)?;
                    if administers(caller, &info) {
                        tokens.push(info);
                    }
                }
                Ok(Done::new(TokenList { tokens }))
            })
        })
        .await
    }

    /// Makes a token that may do no more than its maker.
    ///
    /// # Errors
    /// Where it would, and where what is asked for makes no sense.
    pub async fn create_token(&self, caller: &Caller, wish: CreateToken) -> Result<CreatedToken, Error> {
        self.perform(caller, Action::new("create-token"), move |core, caller| {
            if !caller.verbs.contains(&Verb::Administer) {
                return Err(Error::forbidden());
            }
            check(&wish)?;
            if !may_delegate(caller, &wish.verbs, &wish.scopes) {
                return Err(Error::forbidden().hint("a token may not do more than the one that makes it"));
            }
            // Else it could outlive its maker's region: that moves with the node.
            if caller.node.is_some() && wish.node != caller.node {
                return Err(Error::forbidden().hint("a token that is bound to a node makes tokens for that node only"));
            }
            let text = new_token()?;
            let row = draft(&core.keyring(), &text, &caller.id, wish, core.now())?;
            let info = describe(&row)?;
            let done =
                Done::new(CreatedToken { token: Value::new(text.expose_secret()), info }).entries(vec![row.id.clone()]);
            let keyring = core.keyring();
            let revision = core.write(move |transaction| {
                // Checked before it is signed again: a new token must not bless an old one.
                let records = Records::new(&*transaction, &keyring);
                records.tokens()?;
                row.node.as_ref().map(|node| records.node(node)).transpose()?;
                put(transaction, &keyring, &row)?;
                Ok::<_, Error>(transaction.next_revision()?)
            })?;
            Ok(done.revision(revision))
        })
        .await
    }

    /// The caller's own token.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn own_token(&self, caller: &Caller) -> Result<TokenInfo, Error> {
        self.perform(caller, Action::new("read-own-token"), |core, caller| {
            let keyring = core.keyring();
            core.read(|snapshot| {
                let row = Records::new(snapshot, &keyring).token_by_id(&caller.id)?;
                let row = row.ok_or_else(|| Error::new(Code::NotFound, "this token is gone"))?;
                Ok(Done::new(describe(&row)?))
            })
        })
        .await
    }

    /// Revokes a token. It may be the caller's own.
    ///
    /// # Errors
    /// The same for a token that is not there and for one that the caller does not administer.
    pub async fn revoke_token(&self, caller: &Caller, id: String) -> Result<TokenInfo, Error> {
        let action = Action::new("revoke-token").on(&id);
        self.perform(caller, action, move |core, caller| {
            if !caller.verbs.contains(&Verb::Administer) {
                return Err(Error::forbidden());
            }
            let (keyring, caller, now) = (core.keyring(), caller.clone(), core.now());
            let (info, revision) = core.write(move |transaction| {
                let gone = || {
                    Error::new(Code::NotFound, "there is no token of that id that you administer")
                        .hint("`chandlery token list` shows those that you do")
                };
                let mut row = Records::new(&*transaction, &keyring).token_by_id(&id)?.ok_or_else(gone)?;
                if !administers(&caller, &describe(&row)?) {
                    return Err(gone());
                }
                row = revoke(transaction, &keyring, row, now)?;
                Ok((describe(&row)?, transaction.next_revision()?))
            })?;
            Ok(Done::new(info).revision(revision))
        })
        .await
    }
}

/// The one answer to a token that is not good, whatever is wrong with it.
pub(super) fn unauthenticated() -> Error {
    Error::new(Code::Unauthenticated, "there is no valid token in this request")
        .hint("a token may be mistyped, expired, revoked or used up; get a new one: chandlery token create")
}

/// The row of a store's first token: all verbs, no limit.
pub(super) fn first_token(keyring: &Keyring, text: &TokenText, now: i64) -> Result<TokenRow, Error> {
    let wish = CreateToken {
        description: "the admin token of the first start".to_owned(),
        verbs: Verb::ALL.to_vec(),
        scopes: vec![Scope::default()],
        expires_in: None,
        uses: None,
        node: None,
    };
    draft(keyring, text, "server", wish, now)
}

/// Why a token was refused, and whose it was, where that is known.
struct Refusal {
    caller: String,
    reason: String,
}

impl Refusal {
    fn new(caller: &str, reason: &str) -> Self {
        Self { caller: caller.to_owned(), reason: reason.to_owned() }
    }
}

/// Takes one use off, durably, before the request goes on: of a hundred requests at once, a token good for one gets one
/// through.
fn use_up(core: &Core, hash: TokenHash) -> Result<bool, Error> {
    let keyring = core.keyring();
    core.write(move |transaction| {
        let records = Records::new(&*transaction, &keyring);
        let Some(mut row) = records.token_by_hash(hash.as_bytes())? else { return Ok(false) };
        let Some(left) = row.uses_left.and_then(|left| left.checked_sub(1)) else { return Ok(row.uses_left.is_none()) };
        row.uses_left = Some(left);
        sign(&keyring, &mut row);
        put(transaction, &keyring, &row)?;
        Ok(true)
    })
}

fn check(wish: &CreateToken) -> Result<(), Error> {
    let invalid = |detail: String, hint: &str| Err(Error::new(Code::Invalid, detail).hint(hint));
    if wish.verbs.is_empty() {
        return invalid(
            "a token with no verb may do nothing".to_owned(),
            "name at least one, as in --verb read-bundle",
        );
    }
    if wish.scopes.is_empty() || wish.scopes.len() > MOST_SCOPES {
        return invalid(format!("a token has 1 to {MOST_SCOPES} scopes"), "an empty scope is not limited");
    }
    if wish.description.len() > LONGEST_DESCRIPTION || wish.description.chars().any(char::is_control) {
        return invalid(
            format!("a description is one line of at most {LONGEST_DESCRIPTION} bytes"),
            "say in a few words who will hold the token",
        );
    }
    if wish.uses == Some(0) || wish.expires_in == Some(0) {
        return invalid(
            "a token that is used up or expired at once lets nobody in".to_owned(),
            "leave it out for no limit",
        );
    }
    if wish.expires_in.is_some_and(|seconds| seconds > LONGEST_LIFE_SECONDS) {
        return invalid(
            "expires_in is more than a hundred years".to_owned(),
            "it is in seconds; leave it out for never",
        );
    }
    Ok(())
}

fn draft(keyring: &Keyring, text: &TokenText, maker: &str, wish: CreateToken, now: i64) -> Result<TokenRow, Error> {
    let json = |json: Result<String, serde_json::Error>| {
        json.map_err(|_| Error::new(Code::Internal, "a token cannot be written as JSON"))
    };
    let life = wish.expires_in.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    let mut verbs = wish.verbs;
    verbs.sort();
    verbs.dedup();
    let mut row = TokenRow {
        id: new_token_id()?,
        hash: *TokenHash::of(text).as_bytes(),
        description: wish.description,
        verbs: json(serde_json::to_string(&verbs))?,
        scopes: json(serde_json::to_string(&wish.scopes))?,
        created: now,
        created_by: maker.to_owned(),
        expires: life.map(|life| now.saturating_add(life)),
        uses_left: wish.uses,
        revoked: None,
        node: wish.node,
        mac: [0; 32],
    };
    sign(keyring, &mut row);
    Ok(row)
}

/// Revokes a token, as of now or of when it was. Whoever calls it has checked the rows.
pub(super) fn revoke(
    transaction: &mut dyn Transaction,
    keyring: &Keyring,
    mut row: TokenRow,
    now: i64,
) -> Result<TokenRow, StoreError> {
    row.revoked.get_or_insert(now);
    sign(keyring, &mut row);
    put(transaction, keyring, &row)?;
    Ok(row)
}

fn sign(keyring: &Keyring, row: &mut TokenRow) {
    row.mac = Definition::Token(token_fields(row)).sign(keyring);
}

/// Writes a token, and the mac over all of them. Whoever calls it has checked that mac.
pub(super) fn put(transaction: &mut dyn Transaction, keyring: &Keyring, row: &TokenRow) -> Result<(), StoreError> {
    transaction.put_token(row)?;
    let mac = sign_tokens(&*transaction, keyring)?;
    transaction.set_meta(TOKENS_MAC, &mac)
}

pub(super) fn describe(row: &TokenRow) -> Result<TokenInfo, Error> {
    let damaged = |_| Error::new(Code::Integrity, format!("the token {} cannot be read", row.id));
    Ok(TokenInfo {
        id: row.id.clone(),
        description: row.description.clone(),
        verbs: serde_json::from_str(&row.verbs).map_err(damaged)?,
        scopes: serde_json::from_str(&row.scopes).map_err(damaged)?,
        created: rfc3339(row.created),
        expires: row.expires.map(rfc3339),
        uses_left: row.uses_left,
        revoked: row.revoked.map(rfc3339),
        node: row.node.clone(),
    })
}

fn administers(caller: &Caller, token: &TokenInfo) -> bool {
    token.scopes.iter().all(|scope| may(caller, Verb::Administer, scope))
}
