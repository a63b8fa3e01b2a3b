//! Secrets of AWS into the store, and the store's into AWS.
//!
//! AWS may take minutes for hundreds of secrets, so each is an errand: it is begun, it says how far it is, and what it
//! found is then carried out as any other change. Values stay in the server, in memory that is wiped.

mod content;
mod errand;
mod failing;
mod import;
mod loading;
mod pattern;
mod plan;
mod push;
mod reading;
mod regions;
mod sending;
mod standing;

pub(super) use errand::Errands;
pub(super) use import::Haul;
pub(super) use push::Cargo;
