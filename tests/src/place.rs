//! Which bundle is wanted, and where its files go.

use std::path::Path;

use chandlery_wire::Verb;
use serde_json::{Value, json};
use tempfile::TempDir;

/// One service of one environment in one region.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub stack: &'a str,
    pub environment: &'a str,
    pub region: Option<&'a str>,
    pub service: &'a str,
}

impl Place<'_> {
    /// The path of the bundle in the API.
    #[must_use]
    pub fn bundle(&self) -> String {
        let region = self.region.map(|region| format!("/{region}")).unwrap_or_default();
        format!("/v1/bundles/{}/{}{region}?service={}", self.stack, self.environment, self.service)
    }

    /// The request for a token that may do this here and nowhere else.
    #[must_use]
    pub fn token_request(&self, verbs: &[Verb]) -> Value {
        let mut scope = json!({ "stack": self.stack, "environment": self.environment, "service": self.service });
        if let Some(region) = self.region {
            scope["region"] = region.into();
        }
        json!({ "description": "a test's", "verbs": verbs, "scopes": [scope] })
    }
}

/// A folder in memory, which stands for a container's `/run/secrets`.
#[derive(Debug)]
pub struct Memory(TempDir);

impl Memory {
    /// # Panics
    /// If the machine has no `/dev/shm`.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "making a folder is not a default")]
    pub fn new() -> Self {
        Self(TempDir::with_prefix_in("chandlery-", "/dev/shm").expect("/dev/shm is a folder in memory"))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
