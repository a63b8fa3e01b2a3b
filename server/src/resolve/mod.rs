//! From the values of two layers to what a service gets, and where each came from. Pure: no I/O, deterministic.
//!
//! First [`merge`] picks a winner for each name, without needing a plaintext; then [`expand`] resolves the winners'
//! templates, asking its [`Library`] for the plaintext of what a template refers to.

mod expand;
mod factor;
mod keep;
mod layers;
mod template;

pub use expand::{Expanded, Faults, Key, Library, Missing, Source, expand};
pub use factor::{Verdict, factor};
pub use keep::{Turn, keep};
pub use layers::{Candidate, Choice, merge};
pub use template::{Part, Reference, TemplateFault, parse, references};
