//! AWS Secrets Manager, over the SDK's own client.
//!
//! Credentials, the endpoint and the retry settings come as in every AWS tool: from the `AWS_…` variables, the shared
//! configuration files, a web identity, ECS or the instance's metadata. Nothing of it is looked at before the first call.

mod access;
mod client;
mod error;
mod id;
mod read;
mod refer;
mod write;

pub use access::{Access, Purpose, Rule};
pub use client::{Aws, Pace};
pub use error::{AwsError, Failing, Operation};
pub use id::{AwsRegion, SecretId, Version};
pub use read::{Batch, Described, Listed, Secret};
pub use write::{Creation, Replication};
