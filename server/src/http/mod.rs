//! The HTTP API: extract, call the vault, respond. The only folder that knows axum.
//!
//! A handler holds no policy, no cipher and no SQL. It can only get a [`crate::access::Caller`] through the extractor
//! that authenticates.

mod app;
mod caller;
mod extract;
mod guard;
mod problem;
mod router;
mod routes;

pub use app::{App, Identity, Limits};
pub use router::{openapi, router};
