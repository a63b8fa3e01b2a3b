//! The harness: it starts the three real programs on loopback and free ports, with everything they write in a folder of
//! their own, and kills them when a test ends.
//!
//! `tests/run` builds the programs first; the tests do not build. The folders beside this one mirror the surface: `server`,
//! `cli`, `entrypoint`, `e2e` (all of them together, and Docker), `layering` (who may import whom).

mod api;
pub mod aws;
mod canaries;
pub mod daemon;
pub mod docker;
pub mod machine;
pub mod page;
mod place;
mod programs;
mod run;
mod second_host;
mod server;
pub mod stacks;
mod traffic;
pub mod turn;

use std::io::Write;

pub use api::{Api, Reply};
pub use canaries::Canaries;
pub use place::{Memory, Place};
pub use programs::{Program, target, workspace};
pub use run::{Output, Run};
pub use second_host::SecondHost;
pub use server::{Server, StartOptions};
pub use traffic::{Habit, Tally, Traffic};

/// Says that a test did not run, and why; `tests/run` lists these lines, and CI takes one for a failure.
///
/// It writes past the test runner, which keeps the output of tests that pass to itself.
pub fn skip(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("stderr takes a line");
}
