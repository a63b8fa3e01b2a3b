//! The listeners, as clients and attackers meet them.

#![expect(clippy::unwrap_used, reason = "panicking is how a test says no")]

mod certificates;
mod drain;
mod limits;
mod places;
mod support;
