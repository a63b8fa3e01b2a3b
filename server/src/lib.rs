//! The server: an encrypted store that hands each service of each region its own bundle.
//!
//! Imports go one way: `http → vault → {access, resolve, crypto, store, audit} → wire`. `docs/ARCHITECTURE.md` has the
//! picture and the invariants.

pub mod access;
pub mod audit;
pub mod clock;
pub mod commands;
pub mod config;
pub mod crypto;
pub mod fatal;
pub mod http;
pub mod identity;
pub mod lock;
pub mod notify;
pub mod paths;
pub mod pki;
pub mod resolve;
pub mod run;
pub mod serve;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod vault;
