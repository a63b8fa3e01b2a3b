//! One file a resource; a handler is extract → one call → respond.

pub(super) mod audit;
pub(super) mod aws;
pub(super) mod bundles;
pub(super) mod changes;
pub(super) mod entries;
pub(super) mod explanations;
pub(super) mod health;
pub(super) mod nodes;
pub(super) mod openings;
pub(super) mod regions;
pub(super) mod stacks;
pub(super) mod tokens;
