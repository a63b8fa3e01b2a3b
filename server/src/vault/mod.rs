//! The use cases. Every operation takes the [`Caller`](crate::access::Caller) first; one function checks the policy,
//! does the work and writes the audit line, and there is no other way in.
//!
//! The vault is where keys and rows meet: what it reads from the store it believes only after the manifest of the layer
//! and the tag of the record agree.

mod attributes;
mod auditing;
mod aws;
mod board;
mod bundles;
mod cache;
mod changes;
mod checking;
mod comparing;
mod copying;
mod core;
mod destroying;
mod draft;
mod entries;
mod error;
mod explain;
mod factoring;
mod fingerprints;
mod gate;
mod ground;
mod lookout;
mod matrix;
mod moment;
mod nodes;
mod open;
mod openings;
mod operation;
mod outside;
mod records;
mod roll;
mod rollback;
mod stacks;
mod tokens;
mod unread;
mod validity;
mod view;
mod waiting;
mod writes;

#[cfg(test)]
mod tests;

pub use auditing::AuditQuery;
pub use bundles::BundleOf;
pub use destroying::Destruction;
pub use entries::Which;
pub use error::Error;
pub use gate::Gate;
pub use lookout::NoWait;
pub use matrix::MatrixOf;
pub use open::{OpenError, Opening, accept_older, open, start_audit_over, verify_offline};
pub use openings::{OpeningOf, Said};
pub use operation::Vault;
pub use waiting::{Patience, Watched};
pub use writes::Removal;
