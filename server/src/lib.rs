//! The server: an encrypted store that hands each service of each region its own bundle.
//!
//! Imports go one way: `http → vault → {access, resolve, crypto, store, audit} → wire`. `docs/ARCHITECTURE.md` has the
//! picture and the invariants.

pub mod access;
pub mod audit;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod fatal;
pub mod http;
pub mod resolve;
pub mod store;
pub mod vault;
