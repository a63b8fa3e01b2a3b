//! Entries that refer to a secret of AWS: `aws:eu-west-1:app/production`, or by its ARN.

use std::collections::BTreeMap;

use chandlery_wire::Value;
use tokio::task::JoinSet;

use super::read::BATCH;
use super::{Aws, AwsError, AwsRegion, Failing, Pace, Purpose, Secret, SecretId, Version};
use crate::source::{Asker, Fetching, Source, SourceError, Trouble};

const FORM: &str = "write aws:eu-west-1:app/production, or aws:arn:aws:secretsmanager:…, and ?stage=AWSPREVIOUS or ?version=ID after it";

/// What a locator names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Located {
    region: AwsRegion,
    id: SecretId,
    version: Version,
}

impl Located {
    fn parse(locator: &str) -> Result<Self, String> {
        let (place, version) = match locator.split_once('?') {
            None => (locator, Version::Current),
            Some((place, choice)) => (place, version(choice)?),
        };
        if place.starts_with("arn:") {
            let id: SecretId = place.parse()?;
            let region = id.region().ok_or("the ARN names no region")?;
            return Ok(Self { region, id, version });
        }
        let (region, secret) = place.split_once(':').ok_or("there is no region before the secret's name")?;
        let id: SecretId = secret.parse()?;
        match id.is_arn() {
            true => Err("an ARN has its own region: nothing comes before it".to_owned()),
            false => Ok(Self { region: region.parse()?, id, version }),
        }
    }
}

fn version(choice: &str) -> Result<Version, String> {
    let plain = |text: &str| {
        (1..=256).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte))
    };
    match choice.split_once('=') {
        Some(("stage", stage)) if plain(stage) => Ok(Version::Stage(stage.to_owned())),
        Some(("version", id)) if plain(id) => Ok(Version::Id(id.to_owned())),
        _ => Err("after the ? comes neither a stage nor a version".to_owned()),
    }
}

fn located(locator: &str) -> Result<Located, SourceError> {
    Located::parse(locator)
        .map_err(|why| SourceError::new(Trouble::Invalid, format!("aws:{locator} cannot be read: {why}")).hint(FORM))
}

impl Source for Aws {
    fn admit(&self, asker: Asker<'_>, locator: &str) -> Result<(), SourceError> {
        let Located { region, id, .. } = located(locator)?;
        self.access()
            .allow(Purpose::Read, asker, &region, &id)
            .map_err(|(what, hint)| SourceError::new(Trouble::Refused, what).hint(hint))
    }

    fn fetch<'a>(&'a self, locators: &'a [String]) -> Fetching<'a> {
        Box::pin(async move {
            let wanted: Vec<Result<Located, SourceError>> = locators.iter().map(|locator| located(locator)).collect();
            // What batches can give, and what they cannot.
            let mut current: BTreeMap<AwsRegion, Vec<(usize, SecretId)>> = BTreeMap::new();
            let mut tasks = JoinSet::new();
            for (at, one) in wanted.iter().enumerate() {
                match one {
                    Ok(Located { region, id, version: Version::Current }) => {
                        current.entry(region.clone()).or_default().push((at, id.clone()));
                    }
                    Ok(one) => {
                        let (aws, one) = (self.clone(), one.clone());
                        tasks.spawn(async move {
                            let got = aws.secret(Pace::Prompt, &one.region, &one.id, &one.version).await;
                            vec![(at, answer(&one.id, got))]
                        });
                    }
                    Err(_) => {}
                }
            }
            for (region, places) in current {
                for some in places.chunks(BATCH) {
                    let (aws, region, some) = (self.clone(), region.clone(), some.to_vec());
                    tasks.spawn(async move { aws.current(&region, &some).await });
                }
            }
            let mut answers: BTreeMap<usize, Result<Value, SourceError>> = BTreeMap::new();
            while let Some(done) = tasks.join_next().await {
                answers.extend(done.unwrap_or_default());
            }
            let broken = || Err(SourceError::new(Trouble::Unreachable, "the server failed while it asked AWS"));
            let each = wanted.into_iter().enumerate();
            each.map(|(at, one)| one.and_then(|_| answers.remove(&at).unwrap_or_else(broken))).collect()
        })
    }
}

impl Aws {
    /// As many of one region as a batch takes, and at which place of the answer each belongs.
    async fn current(
        &self,
        region: &AwsRegion,
        places: &[(usize, SecretId)],
    ) -> Vec<(usize, Result<Value, SourceError>)> {
        let ids: Vec<SecretId> = places.iter().map(|(_, id)| id.clone()).collect();
        let batch = match self.prompt(region, &ids).await {
            Ok(batch) => batch,
            Err(error) => {
                return places.iter().map(|(at, id)| (*at, Err(error.clone().about(id).into()))).collect();
            }
        };
        let one = |(at, id): &(usize, SecretId)| {
            let got = match (batch.secrets.get(id), batch.failed.get(id)) {
                (Some(secret), _) => Ok(secret.clone()),
                (None, Some(error)) => Err(error.clone()),
                // The server failed, which is no word of AWS.
                (None, None) => return None,
            };
            Some((*at, answer(id, got)))
        };
        places.iter().filter_map(one).collect()
    }
}

/// A part of an ARN may be of another secret than the one that was allowed.
fn answer(id: &SecretId, got: Result<Secret, AwsError>) -> Result<Value, SourceError> {
    let secret = got.map_err(SourceError::from)?;
    if id.is_arn() && id.as_str() != secret.arn {
        let what = format!("{id} is not the whole ARN of a secret");
        return Err(
            SourceError::new(Trouble::Refused, what).hint("write it as AWS has it, with the six characters at its end")
        );
    }
    Ok(secret.value)
}

impl From<AwsError> for SourceError {
    fn from(error: AwsError) -> Self {
        let trouble = match &error.failing {
            Failing::NotFound | Failing::Deleted => Trouble::Missing,
            Failing::Refused(_) | Failing::Key => Trouble::Refused,
            Failing::Throttled => Trouble::Throttled,
            // Credentials that cannot be had now, or are good no more, say nothing about the secret.
            Failing::NoCredentials(_)
            | Failing::Misconfigured(_)
            | Failing::TimedOut
            | Failing::Unreachable(_)
            | Failing::Broken(_) => Trouble::Unreachable,
            Failing::Exists | Failing::Moved | Failing::Invalid | Failing::Limit => Trouble::Invalid,
        };
        Self::new(trouble, error.to_string()).hint(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_is_a_region_and_a_name_or_an_arn() {
        let parse =
            |text: &str| Located::parse(text).map(|one| (one.region.to_string(), one.id.to_string(), one.version));
        assert_eq!(parse("eu-west-1:app/env").unwrap(), ("eu-west-1".into(), "app/env".into(), Version::Current));
        let staged = parse("eu-west-1:app/env?stage=AWSPREVIOUS").unwrap();
        assert_eq!(staged.2, Version::Stage("AWSPREVIOUS".into()));
        assert_eq!(parse("eu-west-1:app/env?version=0-1").unwrap().2, Version::Id("0-1".into()));
        let arn = "arn:aws:secretsmanager:sa-east-1:123456789012:secret:app/env-AbCdEf";
        assert_eq!(parse(arn).unwrap().0, "sa-east-1");
        for text in [
            "",
            "app/env",
            "eu-west-1:",
            ":app",
            "eu-west-1:a b",
            "eu-west-1:a?",
            "eu-west-1:a?stage=",
            "eu-west-1:a?x=1",
            "arn:aws:s3:::x",
            "eu-west-1:arn:aws:secretsmanager:sa-east-1:123456789012:secret:app/env-AbCdEf",
        ] {
            assert!(Located::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_outage_is_an_outage() {
        let (region, id) = ("eu-west-1".parse().unwrap(), "app/env".parse().unwrap());
        let subject = super::super::error::Subject::of(super::super::Operation::GetSecretValue, &region, &id);
        for (code, outage) in [
            ("ThrottlingException", true),
            ("InternalServiceError", true),
            ("ExpiredTokenException", true),
            ("UnrecognizedClientException", true),
            ("InvalidSignatureException", true),
            ("AccessDeniedException", false),
            ("ResourceNotFoundException", false),
            ("DecryptionFailure", false),
        ] {
            assert_eq!(SourceError::from(subject.fails_with(code, "")).is_outage(), outage, "{code}");
        }
    }
}
