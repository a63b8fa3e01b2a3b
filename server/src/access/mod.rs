//! Who asks, and what they may do. Pure: no I/O, no clock, no randomness.

mod caller;
mod policy;

pub use caller::{Caller, Container, Host, Peer, Resident, Trail};
pub use policy::{
    may, may_delegate, may_for_some_service, may_in_region, may_somewhere, may_use_grant, scope_of, within_region,
};
