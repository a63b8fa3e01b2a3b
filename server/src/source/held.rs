//! What a source said, kept in memory.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use chandlery_wire::Value;

use super::pick::parts;

/// All of a secret, as it was fetched.
#[derive(Debug)]
pub struct Held {
    value: Value,
    /// Its parts by their keys, read when the first is asked for.
    parts: OnceLock<Result<BTreeMap<String, Value>, &'static str>>,
    /// Since which revision of the store it is what it is.
    pub revision: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub fetched: i64,
    /// The same moment, for reckoning its age.
    pub at: Instant,
}

impl Held {
    #[must_use]
    pub fn new(value: Value, revision: u64, fetched: i64, at: Instant) -> Self {
        Self { value, parts: OnceLock::new(), revision, fetched, at }
    }

    /// The part with this key, or all of it.
    ///
    /// # Errors
    /// There is no such part. The sentence holds nothing of the value, and no other key: of a text that is no list of
    /// parts, anything may look like a key.
    pub fn part(&self, key: Option<&str>) -> Result<Value, String> {
        let Some(key) = key else { return Ok(self.value.clone()) };
        match self.parts.get_or_init(|| parts(&self.value)) {
            Ok(parts) => parts.get(key).cloned().ok_or_else(|| format!("it has no key {key}")),
            Err(why) => Err(format!("{why}, so it has no key {key}")),
        }
    }
}
