//! The program as a container runs it, against a server that answers what each test wants. Traffic stays on this
//! machine, and secret files go to directories in /dev/shm.

#![expect(clippy::unwrap_used, reason = "panicking is how a test says no, in its helpers too")]

mod away;
mod descriptors;
mod dropin;
mod environment;
mod exec;
mod fetching;
mod live;
mod machine;
mod placing;
mod probes;
mod signals;
mod support;
mod terminal;
mod trust;
mod waiting;
mod watching;
