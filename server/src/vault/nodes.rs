//! Nodes: machines, each in its region. Swarm tells a task its node's name and not its node's region; we know it.

use chandlery_wire::api::{Node, NodeList};
use chandlery_wire::{Code, NodeName, RegionName, Scope, Verb};

use super::attributes::rfc3339;
use super::bundles::BundleOf;
use super::operation::{Action, Done};
use super::records::{NODES_MAC, Records, node_fields, sign_nodes};
use super::tokens::revoke;
use super::{Error, Vault};
use crate::access::{Caller, may, may_in_region};
use crate::crypto::{Definition, Keyring};
use crate::store::{NodeRow, StoreError, Transaction};

/// In one store, at most: they are read and verified together.
const MOST_NODES: usize = 10_000;

impl Vault {
    /// The nodes in the regions that the caller reaches.
    ///
    /// # Errors
    /// Where the caller has no verb that has to do with entries or administration.
    pub async fn nodes(&self, caller: &Caller) -> Result<NodeList, Error> {
        self.perform(caller, Action::new("read-nodes"), |core, caller| {
            if !SEEING.iter().any(|verb| caller.verbs.contains(verb)) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let mut rows = Records::new(snapshot, &keyring).nodes()?;
                rows.retain(|row| sees(caller, &row.region));
                Ok(Done::new(NodeList { nodes: rows.into_iter().map(describe).collect() }))
            })
        })
        .await
    }

    /// One node.
    ///
    /// # Errors
    /// The same where it was not registered and where it is in a region that the caller does not reach.
    pub async fn node(&self, caller: &Caller, name: NodeName) -> Result<Node, Error> {
        self.perform(caller, Action::new("read-node").on(&name), move |core, caller| {
            if !SEEING.iter().any(|verb| caller.verbs.contains(verb)) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let row = Records::new(snapshot, &keyring).find_node(&name)?.filter(|row| sees(caller, &row.region));
                row.map(describe).map(Done::new).ok_or_else(|| unknown(&name))
            })
        })
        .await
    }

    /// Registers a node, or moves it to another region. Where it is there already, nothing is written.
    ///
    /// # Errors
    /// Where the caller does not administer the region, or the one that the node is in.
    pub async fn place_node(&self, caller: &Caller, name: NodeName, region: RegionName) -> Result<Node, Error> {
        let action = Action::new("place-node").on(format!("{name} in {region}"));
        self.perform(caller, action, move |core, caller| {
            if !administers(caller, &region) {
                return Err(Error::forbidden());
            }
            let (keyring, caller, now) = (core.keyring(), caller.clone(), core.now());
            let (row, revision) = core.write(move |transaction| {
                // Checked before they are signed again: a new node must not bless an old one.
                let rows = Records::new(&*transaction, &keyring).nodes()?;
                let known = rows.iter().find(|row| row.name == name);
                if let Some(known) = known.filter(|known| known.region == region) {
                    return Ok((known.clone(), None));
                }
                if known.is_some_and(|known| !administers(&caller, &known.region)) {
                    return Err(Error::forbidden());
                }
                if known.is_none() && rows.len() >= MOST_NODES {
                    return Err(Error::new(Code::TooLarge, format!("more than {MOST_NODES} nodes"))
                        .hint("remove those that are gone: chandlery node rm NODE"));
                }
                let revision = transaction.next_revision()?;
                let author = caller.id.to_string();
                let mut row = NodeRow { name, region, revision, created: now, author, mac: [0; 32] };
                row.mac = Definition::Node(node_fields(&row)).sign(&keyring);
                transaction.put_node(&row)?;
                seal(transaction, &keyring)?;
                Ok((row, Some(revision)))
            })?;
            let done = Done::new(describe(row));
            Ok(match revision {
                Some(revision) => done.revision(revision),
                None => Done { detail: Some("it was there already".into()), ..done },
            })
        })
        .await
    }

    /// Removes a node, and revokes the tokens that are bound to it: they must not come back to life with another
    /// machine of its name.
    ///
    /// # Errors
    /// The same where it was not registered and where it is in a region that the caller does not administer.
    pub async fn remove_node(&self, caller: &Caller, name: NodeName) -> Result<Node, Error> {
        self.perform(caller, Action::new("delete-node").on(&name), move |core, caller| {
            if !caller.verbs.contains(&Verb::Administer) {
                return Err(Error::forbidden());
            }
            let (keyring, caller, now) = (core.keyring(), caller.clone(), core.now());
            let (node, revision) = core.write(move |transaction| {
                let row = Records::new(&*transaction, &keyring).find_node(&name)?;
                let row = row.filter(|row| administers(&caller, &row.region)).ok_or_else(|| unknown(&name))?;
                transaction.remove_node(&name)?;
                seal(transaction, &keyring)?;
                let mut node = describe(row);
                let bound = Records::new(&*transaction, &keyring).tokens()?.into_iter();
                for token in bound.filter(|token| token.node.as_ref() == Some(&name) && token.revoked.is_none()) {
                    node.revoked_tokens.push(token.id.clone());
                    revoke(transaction, &keyring, token, now)?;
                }
                Ok::<_, Error>((node, transaction.next_revision()?))
            })?;
            let revoked = node.revoked_tokens.clone();
            Ok(Done::new(node).entries(revoked).revision(revision))
        })
        .await
    }
}

/// Puts the region that a node is in in the node's place, and says since which revision of the store it is there.
/// Without a node, nothing is looked up.
pub(super) fn placed(records: &Records<'_>, caller: &Caller, of: BundleOf) -> Result<(BundleOf, u64), Error> {
    let Some(name) = &of.node else { return Ok((of, 0)) };
    if caller.node.as_ref().is_some_and(|bound| bound != name) {
        return Err(Error::forbidden());
    }
    let row = records.node(name)?;
    if let Some(region) = of.region.as_ref().filter(|region| **region != row.region) {
        return Err(Error::new(
            Code::Invalid,
            format!("the node {name} is in {}, and the region {region} was asked for", row.region),
        )
        .hint("keep one of CHANDLERY_NODE and CHANDLERY_REGION, or move the node: chandlery node add NODE --region REGION"));
    }
    let environment = records.environment(&of.stack, &of.environment)?;
    if !environment.regions.contains(&row.region) {
        return Err(super::view::undeclared(
            &environment,
            &format!("the node {name} is in {}, and ", row.region),
            &row.region,
        ));
    }
    Ok((BundleOf { region: Some(row.region), node: None, ..of }, row.revision))
}

/// Verbs whose holders may see which nodes there are.
const SEEING: [Verb; 3] = [Verb::ReadEntry, Verb::Write, Verb::Administer];

fn sees(caller: &Caller, region: &RegionName) -> bool {
    SEEING.iter().any(|verb| may_in_region(caller, *verb, region))
}

/// A node's region is every stack's business, so it takes a token that is limited to none of them.
fn administers(caller: &Caller, region: &RegionName) -> bool {
    may(caller, Verb::Administer, &Scope { region: Some(region.clone()), ..Scope::default() })
}

fn unknown(name: &NodeName) -> Error {
    Error::new(Code::NotFound, format!("there is no node named {name} in the regions of this token"))
        .hint("`chandlery node list` shows those that you see")
}

/// The mac over all nodes. Whoever calls it has checked the one before.
fn seal(transaction: &mut dyn Transaction, keyring: &Keyring) -> Result<(), StoreError> {
    let mac = sign_nodes(&*transaction, keyring)?;
    transaction.set_meta(NODES_MAC, &mac)
}

fn describe(row: NodeRow) -> Node {
    let NodeRow { name, region, created, author, .. } = row;
    Node { name, region, since: rfc3339(created), author, revoked_tokens: Vec::new() }
}
