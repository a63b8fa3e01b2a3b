//! Writing: a new secret, a new version of one, and its replicas.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::{ReplicaRegionType, Tag};
use chandlery_wire::Value;

use super::error::{Operation, Subject};
use super::{Aws, AwsError, AwsRegion, Failing, Pace, SecretId};

/// As many as AWS takes.
const RECOVERY_DAYS: i64 = 30;

/// What a new secret is made of.
#[derive(Debug, Clone)]
pub struct Creation<'a> {
    pub value: &'a Value,
    pub description: &'a str,
    pub tags: &'a BTreeMap<String, String>,
    /// The account's default key, where none is named.
    pub kms_key: Option<&'a str>,
    pub replicas: &'a [AwsRegion],
}

/// How a replica stands: `InProgress`, `InSync` or `Failed`, by region.
pub type Replication = BTreeMap<String, String>;

impl Aws {
    /// Makes a secret. Gives the id of its version.
    ///
    /// # Errors
    /// Where AWS does not make it.
    pub async fn create(&self, region: &AwsRegion, id: &SecretId, new: Creation<'_>) -> Result<String, AwsError> {
        let subject = self.subject(Operation::CreateSecret, region, Some(id));
        let call = self.client(&subject, Pace::Patient).await?.create_secret().name(id.as_str());
        let tags = new.tags.iter().map(|(key, value)| tag(key, value)).collect::<Vec<_>>();
        let call = call
            .description(new.description)
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_kms_key_id(new.kms_key.map(str::to_owned))
            .set_add_replica_regions(Some(replicas(new.replicas)).filter(|regions| !regions.is_empty()));
        let call = match text(new.value) {
            Some(text) => call.secret_string(text),
            None => call.secret_binary(Blob::new(new.value.expose_secret())),
        };
        let made = call.send().await.map_err(|error| subject.failed(&error))?;
        Ok(made.version_id.unwrap_or_default())
    }

    /// Makes a new version of a secret, which becomes the current one. Gives its id.
    ///
    /// # Errors
    /// Where AWS does not take it.
    pub async fn put(&self, region: &AwsRegion, id: &SecretId, value: &Value) -> Result<String, AwsError> {
        let subject = self.subject(Operation::PutSecretValue, region, Some(id));
        let call = self.client(&subject, Pace::Patient).await?.put_secret_value().secret_id(id.as_str());
        let call = match text(value) {
            Some(text) => call.secret_string(text),
            None => call.secret_binary(Blob::new(value.expose_secret())),
        };
        let put = call.send().await.map_err(|error| subject.failed(&error))?;
        Ok(put.version_id.unwrap_or_default())
    }

    /// Has AWS keep copies of a secret in more regions. Says how each of its replicas stands.
    ///
    /// # Errors
    /// Where AWS does not do so.
    pub async fn replicate(
        &self,
        region: &AwsRegion,
        id: &SecretId,
        to: &[AwsRegion],
    ) -> Result<Replication, AwsError> {
        let subject = self.subject(Operation::ReplicateSecretToRegions, region, Some(id));
        let call = self.client(&subject, Pace::Patient).await?.replicate_secret_to_regions().secret_id(id.as_str());
        let call = call.set_add_replica_regions(Some(replicas(to)));
        let done = call.send().await.map_err(|error| subject.failed(&error))?;
        let status = done.replication_status().iter().filter_map(|one| {
            Some((one.region()?.to_owned(), one.status().map_or("", |status| status.as_str()).to_owned()))
        });
        Ok(status.collect())
    }

    /// Deletes a secret; for thirty days, it can be restored.
    ///
    /// # Errors
    /// Where AWS does not do so.
    pub async fn delete(&self, region: &AwsRegion, id: &SecretId) -> Result<(), AwsError> {
        let subject = self.subject(Operation::DeleteSecret, region, Some(id));
        let call = self.client(&subject, Pace::Patient).await?.delete_secret().secret_id(id.as_str());
        let done = call.recovery_window_in_days(RECOVERY_DAYS).send().await;
        done.map(|_| ()).map_err(|error| subject.failed(&error))
    }

    /// What to say of a secret that is at another version than expected.
    #[must_use]
    pub fn moved(&self, region: &AwsRegion, id: &SecretId) -> AwsError {
        Subject::of(Operation::PutSecretValue, region, id).fails(Failing::Moved)
    }
}

/// What is text is kept as text, so that everybody's tools show it; anything else as bytes.
fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.expose_secret()).ok().filter(|text| !text.is_empty())
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn replicas(regions: &[AwsRegion]) -> Vec<ReplicaRegionType> {
    regions.iter().map(|region| ReplicaRegionType::builder().region(region.as_str()).build()).collect()
}
