//! Reading: one secret, many at once, and which there are.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry, SecretValueEntry};
use chandlery_wire::Value;
use tokio::task::JoinSet;

use super::error::{Operation, Subject};
use super::{Aws, AwsError, AwsRegion, Failing, Pace, SecretId, Version};

/// As many as AWS takes at once.
pub(super) const BATCH: usize = 20;
const PAGE: i32 = 100;
/// Nobody has so many that answers would go on for ever; a broken endpoint might.
const MOST_PAGES: usize = 10_000;

/// A secret's value, at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// As AWS says it, whatever it was asked by.
    pub name: String,
    pub arn: String,
    pub version_id: String,
    pub value: Value,
    /// Whether it was kept as bytes and not as text.
    pub binary: bool,
}

/// What came of asking for many: for each by what it was asked for.
#[derive(Debug, Default)]
pub struct Batch {
    pub secrets: BTreeMap<SecretId, Secret>,
    pub failed: BTreeMap<SecretId, AwsError>,
}

/// A secret of a list, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub arn: String,
    /// The region that it is a replica of, where it is one.
    pub primary_region: Option<String>,
}

/// What is known of a secret beside its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub arn: String,
    pub deleted: bool,
    pub primary_region: Option<String>,
    /// The regions it is replicated to, and how that stands.
    pub replicas: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl Aws {
    /// One secret.
    ///
    /// # Errors
    /// Where AWS does not give it out.
    pub async fn secret(
        &self,
        pace: Pace,
        region: &AwsRegion,
        id: &SecretId,
        version: &Version,
    ) -> Result<Secret, AwsError> {
        let subject = self.subject(Operation::GetSecretValue, region, Some(id));
        let call = self.client(&subject, pace).await?.get_secret_value().secret_id(id.as_str());
        let call = match version {
            Version::Current => call,
            Version::Stage(stage) => call.version_stage(stage),
            Version::Id(id) => call.version_id(id),
        };
        let got = call.send().await.map_err(|error| subject.failed(&error))?;
        let value = value(got.secret_string, got.secret_binary.map(|blob| blob.into_inner()));
        let (value, binary) = value.ok_or_else(|| subject.fails(Failing::NotFound))?;
        let (name, arn) = (got.name.unwrap_or_default(), got.arn.unwrap_or_default());
        Ok(Secret { name, arn, version_id: got.version_id.unwrap_or_default(), value, binary })
    }

    /// Many secrets at their current versions, twenty a call. Says after each call how many are done.
    ///
    /// Where the role may read secrets and not in batches, they are read one by one.
    ///
    /// # Errors
    /// Where a whole call fails. What is wrong with single secrets is in the batch.
    pub async fn secrets(
        &self,
        region: &AwsRegion,
        ids: &[SecretId],
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Batch, AwsError> {
        let mut batch = Batch::default();
        let mut by_batch = ids.len() > 1;
        for some in ids.chunks(BATCH) {
            if by_batch {
                by_batch = match self.fill(&mut batch, Pace::Patient, region, some).await {
                    Err(error) if matches!(error.failing, Failing::Refused(_)) => false,
                    filled => filled.map(|()| true)?,
                };
            }
            // One that a batch was asked for and did not answer, as well.
            for id in some.iter().filter(|id| !batch.has(id)).cloned().collect::<Vec<_>>() {
                match self.secret(Pace::Patient, region, &id, &Version::Current).await {
                    Ok(secret) => drop(batch.secrets.insert(id, secret)),
                    Err(error) if error.may_pass() => return Err(error),
                    Err(error) => drop(batch.failed.insert(id, error)),
                }
            }
            done(batch.secrets.len() + batch.failed.len());
        }
        Ok(batch)
    }

    /// At most a batch of secrets at their current versions, for somebody who waits. Where they may not be read in batches,
    /// they are read one by one and all at the same time; what fails then says nothing about the others.
    ///
    /// # Errors
    /// As [`Aws::secrets`].
    pub(super) async fn prompt(&self, region: &AwsRegion, ids: &[SecretId]) -> Result<Batch, AwsError> {
        let mut batch = Batch::default();
        if ids.len() > 1 {
            match self.fill(&mut batch, Pace::Prompt, region, ids).await {
                Err(error) if matches!(error.failing, Failing::Refused(_)) => {}
                filled => filled?,
            }
        }
        let mut tasks = JoinSet::new();
        for id in ids.iter().filter(|id| !batch.has(id)).cloned() {
            let (aws, region) = (self.clone(), region.clone());
            tasks.spawn(async move {
                let got = aws.secret(Pace::Prompt, &region, &id, &Version::Current).await;
                (id, got)
            });
        }
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok((id, Ok(secret))) => drop(batch.secrets.insert(id, secret)),
                Ok((id, Err(error))) => drop(batch.failed.insert(id, error)),
                Err(_) => {}
            }
        }
        Ok(batch)
    }

    async fn fill(&self, batch: &mut Batch, pace: Pace, region: &AwsRegion, ids: &[SecretId]) -> Result<(), AwsError> {
        let subject = self.subject(Operation::BatchGetSecretValue, region, None);
        let client = self.client(&subject, pace).await?;
        let named: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let call = client.batch_get_secret_value().set_secret_id_list(Some(named.clone()));
            let got = call.set_next_token(next).send().await.map_err(|error| subject.failed(&error))?;
            for entry in got.secret_values.unwrap_or_default() {
                batch.take(ids, entry);
            }
            for error in got.errors.unwrap_or_default() {
                let said = error.secret_id().unwrap_or_default();
                let Some(id) = ids.iter().find(|id| is_of(id, said, said)) else { continue };
                let (code, sentence) = (error.error_code().unwrap_or_default(), error.message().unwrap_or_default());
                let fault = Subject::of(Operation::GetSecretValue, region, id).fails_with(code, sentence);
                batch.failed.insert(id.clone(), fault);
            }
            next = got.next_token;
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The secrets whose names begin so, page by page; says after each page how many there are. Those that wait to be
    /// deleted are not among them.
    ///
    /// # Errors
    /// Where AWS does not list them.
    pub async fn list(
        &self,
        region: &AwsRegion,
        prefix: &str,
        found: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Vec<Listed>, AwsError> {
        let subject = self.subject(Operation::ListSecrets, region, None);
        let client = self.client(&subject, Pace::Patient).await?;
        let mut listed = BTreeMap::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let mut call = client.list_secrets().max_results(PAGE).set_next_token(next);
            if !prefix.is_empty() {
                call = call.filters(Filter::builder().key(FilterNameStringType::Name).values(prefix).build());
            }
            let page = call.send().await.map_err(|error| subject.failed(&error))?;
            // AWS's filter takes an upper-case letter for a lower-case one, and the beginning of each word for the name's.
            let meant = page.secret_list.unwrap_or_default().into_iter().filter_map(Listed::of);
            listed.extend(meant.filter(|one| one.name.starts_with(prefix)).map(|one| (one.name.clone(), one)));
            found(listed.len());
            next = page.next_token;
            if next.is_none() {
                break;
            }
        }
        Ok(listed.into_values().collect())
    }

    /// What is known of a secret beside its value; nothing where there is none of that name.
    ///
    /// # Errors
    /// Where AWS does not tell.
    pub async fn describe(&self, region: &AwsRegion, id: &SecretId) -> Result<Option<Described>, AwsError> {
        let subject = self.subject(Operation::DescribeSecret, region, Some(id));
        let client = self.client(&subject, Pace::Patient).await?;
        let got = match client.describe_secret().secret_id(id.as_str()).send().await {
            Ok(got) => got,
            Err(error) => {
                let error = subject.failed(&error);
                return if error.failing == Failing::NotFound { Ok(None) } else { Err(error) };
            }
        };
        let replicas = got.replication_status().iter().filter_map(|one| {
            Some((one.region()?.to_owned(), one.status().map_or("", |status| status.as_str()).to_owned()))
        });
        let tags = got.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
        Ok(Some(Described {
            name: got.name().unwrap_or_default().to_owned(),
            arn: got.arn().unwrap_or_default().to_owned(),
            deleted: got.deleted_date().is_some(),
            primary_region: got.primary_region().map(str::to_owned),
            replicas: replicas.collect(),
            tags: tags.collect(),
        }))
    }
}

impl Batch {
    fn has(&self, id: &SecretId) -> bool {
        self.secrets.contains_key(id) || self.failed.contains_key(id)
    }

    fn take(&mut self, asked: &[SecretId], entry: SecretValueEntry) {
        let (name, arn) = (entry.name.unwrap_or_default(), entry.arn.unwrap_or_default());
        let got = value(entry.secret_string, entry.secret_binary.map(|blob| blob.into_inner()));
        let id = asked.iter().find(|id| is_of(id, &name, &arn));
        if let (Some(id), Some((value, binary))) = (id, got) {
            let version_id = entry.version_id.unwrap_or_default();
            self.secrets.insert(id.clone(), Secret { name, arn, version_id, value, binary });
        }
    }
}

fn is_of(id: &SecretId, name: &str, arn: &str) -> bool {
    id.as_str() == name || id.as_str() == arn || (id.is_arn() && arn.starts_with(id.as_str()))
}

impl Listed {
    fn of(entry: SecretListEntry) -> Option<Self> {
        let present = entry.deleted_date.is_none();
        let (name, arn) = (entry.name?, entry.arn.unwrap_or_default());
        present.then_some(Self { name, arn, primary_region: entry.primary_region })
    }
}

/// The value, and whether it is binary. Nothing is copied; what the SDK read it from is not ours to wipe.
fn value(text: Option<String>, bytes: Option<Vec<u8>>) -> Option<(Value, bool)> {
    let text = text.map(|text| (Value::new(text), false));
    text.or_else(|| bytes.map(|bytes| (Value::new(bytes), true)))
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
