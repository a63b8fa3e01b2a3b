//! What crosses the network between Chandlery's programs.
//!
//! The server, the CLI and the entrypoint agree on these types and on nothing else. Names are parsed here, once, so
//! that a name that was accepted is a name everywhere; values are kept in memory that is wiped when it is dropped and
//! that no `Debug` prints.

pub mod api;
pub mod bundle;
pub mod dangerous;
#[cfg(feature = "dotenv")]
pub mod dotenv;
pub mod entry;
#[cfg(feature = "guess")]
pub mod guess;
pub mod machine;
pub mod name;
pub mod pairs;
pub mod problem;
pub mod token;
pub mod value;

pub use bundle::{Bundle, BundleFile, BundleVariable, Origin, StaleSource};
pub use entry::{Delivery, FileAttributes, Grant, Layer, Mode};
pub use name::{
    EntryName, EnvironmentName, NameError, NodeName, ProjectName, RegionName, ServiceName, StackName, VariableName,
};
pub use pairs::Pairs;
pub use problem::{Code, Fault, Problem};
pub use token::{Scope, TokenError, TokenText, Verb};
pub use value::Value;

/// The largest value of one entry, in bytes: 512 KiB. Swarm's own limit for a secret is 500 KiB.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// The directory in which a container finds its secret files, as Docker has it.
pub const DEFAULT_SECRETS_DIRECTORY: &str = "/run/secrets";
