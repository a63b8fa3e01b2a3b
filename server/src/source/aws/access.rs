//! Who may have the server use its AWS credentials, and for which secrets. Nobody, until `server.toml` says so.
//!
//! The server's role can usually reach more than one stack's secrets. Without these rules, whoever may write to any
//! environment could have another team's secret copied into it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AwsRegion, SecretId};
use crate::config::units::Period;
use crate::source::place::covered;
use crate::source::{Asker, Pattern, Place};

/// The most attempts that AWS's throttling is waited out for.
const MOST_ATTEMPTS: u32 = 20;

/// `[source.aws]`: what the server's own AWS credentials may be used for, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// How long one attempt may take.
    pub timeout: Period,
    /// How often something is tried that AWS was too busy for, or that got no answer. For a bundle, 3 times at most.
    pub attempts: u32,
    /// What may be read: by references, and by `chandlery aws import`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<Rule>,
    /// What `chandlery aws push` may create and change; and read, to see what differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<Rule>,
}

impl Default for Access {
    fn default() -> Self {
        Self { timeout: Period(Duration::from_secs(5)), attempts: 8, read: Vec::new(), write: Vec::new() }
    }
}

/// One permission: these secrets, in these regions, for these stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names of the server's own account, or ARNs of any, in which `*` stands for any characters.
    pub secrets: Vec<Pattern>,
    /// Regions of AWS; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<AwsRegion>,
    /// `stack`, or `stack/environment`; all where none is named.
    #[serde(default, rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

/// What is done with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Read,
    Write,
}

impl Access {
    /// What is written so that nothing could work.
    ///
    /// # Errors
    /// What is wrong, and what to write instead: a sentence each.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.timeout.0.is_zero() {
            let what = "timeout in [source.aws] is 0: no call could succeed";
            return Err((what.to_owned(), "set it to 1s or more".to_owned()));
        }
        if !(1..=MOST_ATTEMPTS).contains(&self.attempts) {
            let what = format!("attempts in [source.aws] is {}", self.attempts);
            return Err((what, format!("set it to a number from 1 to {MOST_ATTEMPTS}")));
        }
        let rules = || self.read.iter().chain(&self.write);
        if rules().any(|rule| rule.secrets.is_empty()) {
            let what = "a rule of [source.aws] names no secrets";
            return Err((what.to_owned(), "name them, as in secrets = [\"app/production/*\"]".to_owned()));
        }
        let neither = |pattern: &&Pattern| pattern.0.contains(':') && !pattern.0.starts_with("arn:");
        match rules().flat_map(|rule| &rule.secrets).find(neither) {
            Some(pattern) => Err((
                format!("a rule of [source.aws] has {:?}, which no secret can be called", pattern.0),
                "write a name, which has no colon, or an ARN, which begins with arn:".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Whether an environment may have anything done with any secret.
    ///
    /// # Errors
    /// As [`Access::allow`].
    pub fn allow_some(&self, purpose: Purpose, asker: Asker<'_>) -> Result<(), (String, String)> {
        let (rules, word, done) = self.rules(purpose);
        match rules.iter().any(|rule| covered(&rule.places, asker)) {
            true => Ok(()),
            false => Err((
                format!("nothing may be {done} AWS for {asker}"),
                format!(
                    "the server allows what its server.toml names: [[source.aws.{word}]] secrets = [\"…\"]; docs/AWS.md shows how"
                ),
            )),
        }
    }

    /// Whether a secret may be used so for an environment.
    ///
    /// # Errors
    /// What is not allowed, and what to write into `server.toml`: a sentence each.
    pub fn allow(
        &self,
        purpose: Purpose,
        asker: Asker<'_>,
        region: &AwsRegion,
        secret: &SecretId,
    ) -> Result<(), (String, String)> {
        let (rules, word, done) = self.rules(purpose);
        if rules.iter().any(|rule| rule.meets(asker, region, secret)) {
            return Ok(());
        }
        let what = format!("{secret} in {region} may not be {done} AWS for {asker}");
        let arn = if secret.is_arn() {
            "; a rule without arn: is for names, which are the server's own account's"
        } else {
            ""
        };
        let hint = format!(
            "the server allows what its server.toml names: [[source.aws.{word}]] secrets = [\"{secret}\"] for = [\"{}\"]{arn}",
            asker.stack
        );
        Err((what, hint))
    }

    fn rules(&self, purpose: Purpose) -> (&[Rule], &'static str, &'static str) {
        match purpose {
            Purpose::Read => (&self.read, "read", "read from"),
            Purpose::Write => (&self.write, "write", "written to"),
        }
    }
}

impl Rule {
    fn meets(&self, asker: Asker<'_>, region: &AwsRegion, secret: &SecretId) -> bool {
        let named = |pattern: &Pattern| {
            // A name is one of the server's own account, and an ARN may be of any: what is said of names says nothing of ARNs.
            pattern.0.starts_with("arn:") == secret.is_arn() && pattern.matches(secret.as_str())
        };
        self.secrets.iter().any(named)
            && (self.regions.is_empty() || self.regions.contains(region))
            && covered(&self.places, asker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rule: &str) -> Access {
        Access { read: vec![toml::from_str(rule).unwrap()], ..Access::default() }
    }

    fn allows(access: &Access, purpose: Purpose, place: &str, region: &str, secret: &str) -> bool {
        let (stack, environment) = place.split_once('/').unwrap();
        let (stack, environment) = (stack.parse().unwrap(), environment.parse().unwrap());
        let asker = Asker { stack: &stack, environment: &environment };
        access.allow(purpose, asker, &region.parse().unwrap(), &secret.parse().unwrap()).is_ok()
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        let none = Access::default();
        assert!(!allows(&none, Purpose::Read, "a/b", "eu-west-1", "x"));
        let access = reading(
            r#"
            secrets = ["chuspace-app/*", "exact"]
            regions = ["eu-west-1"]
            for = ["chuspace", "other/production"]
        "#,
        );
        assert!(allows(&access, Purpose::Read, "chuspace/staging", "eu-west-1", "chuspace-app/prod-env/x"));
        assert!(allows(&access, Purpose::Read, "other/production", "eu-west-1", "exact"));
        for (purpose, place, region, secret) in [
            (Purpose::Write, "chuspace/staging", "eu-west-1", "exact"),
            (Purpose::Read, "other/staging", "eu-west-1", "exact"),
            (Purpose::Read, "stranger/production", "eu-west-1", "exact"),
            (Purpose::Read, "chuspace/staging", "eu-west-2", "exact"),
            (Purpose::Read, "chuspace/staging", "eu-west-1", "exactly"),
            (Purpose::Read, "chuspace/staging", "eu-west-1", "chuspace-apps/x"),
        ] {
            assert!(!allows(&access, purpose, place, region, secret), "{purpose:?} {place} {region} {secret}");
        }
        assert!(toml::from_str::<Rule>("secrets = [\"x\"]\nregion = [\"y\"]\n").is_err());
        assert!(toml::from_str::<Rule>("regions = [\"y\"]\n").is_err(), "a rule names its secrets");
    }

    #[test]
    fn what_is_said_of_names_says_nothing_of_arns() {
        let arn = |account: &str, name: &str| format!("arn:aws:secretsmanager:eu-west-1:{account}:secret:{name}");
        let (own, other) = ("123456789012", "999999999999");
        let may = |access: &Access, secret: &str| allows(access, Purpose::Read, "a/b", "eu-west-1", secret);
        for names in ["app/*", "*", "*app/x-AbCdEf"] {
            let access = reading(&format!("secrets = [\"{names}\"]"));
            for account in [own, other, ""] {
                assert!(!may(&access, &arn(account, "app/x-AbCdEf")), "{names} {account}: it may be another account's");
            }
        }
        let access = reading(&format!("secrets = [\"{}\"]", arn(own, "app/*").replace("eu-west-1", "*")));
        assert!(may(&access, &arn(own, "app/x-AbCdEf")));
        for secret in [arn(other, "app/x-AbCdEf"), arn(own, "other/x-AbCdEf"), "app/x".to_owned()] {
            assert!(!may(&access, &secret), "{secret}");
        }
        // No account can be written into another part of an ARN: a name has no colon.
        let within = arn(other, "x:123456789012:secret:app/x-AbCdEf");
        assert!(within.parse::<SecretId>().is_err());
    }
}
