//! Which machines a region runs on, and how a rollout is to go there: `[hosts]` and `[rollout]` of `chandlery.toml`.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The Docker hosts of one region: none, one, or several, in the order in which they get their turn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hosts(pub(crate) Vec<Host>);

/// One Docker, and what is particular about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Host {
    /// What it is called where the region has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// A docker context,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// or an address: `ssh://`, `unix://` or `tcp://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// For `tcp://` with TLS: the folder of ca.pem, cert.pem and key.pem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert_path: Option<PathBuf>,
    /// What answers 2xx when the stack serves here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_url: Option<String>,
    /// What is run before and after this one's turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// Where containers here reach the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// The entrypoint for this machine's architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<PathBuf>,
}

/// What holds for every region's turn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RolloutRules {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) primary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before_each: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_each: Option<String>,
}

impl Host {
    /// Of one word: an address where it has a scheme, else a context.
    pub(crate) fn of_word(word: &str) -> Self {
        let word = Some(word.to_owned());
        if word.as_ref().is_some_and(|word| word.contains("://")) {
            Self { host: word, ..Self::default() }
        } else {
            Self { context: word, ..Self::default() }
        }
    }
}

/// A word, a table, or a list of these.
impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |value: toml::Value| match value {
            toml::Value::String(word) => Ok(Host::of_word(&word)),
            table @ toml::Value::Table(_) => {
                Host::deserialize(table).map_err(|error| D::Error::custom(error.message()))
            }
            _ => Err(D::Error::custom("a host is a docker context, an address, or a table with `context` or `host`")),
        };
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(values) => values.into_iter().map(one).collect::<Result<_, _>>().map(Self),
            value => one(value).map(|host| Self(vec![host])),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Hosts>, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_region_has_none_one_or_several() {
        let hosts = read(
            "none = []\nword = 'sfo3'\nboth = ['ssh://a', { context = 'b', name = 'second' }]\n[one]\nhost = 'unix:///x'\n",
        )
        .unwrap();
        assert!(hosts["none"].0.is_empty());
        assert_eq!(hosts["word"].0, [Host { context: Some("sfo3".to_owned()), ..Host::default() }]);
        assert_eq!(hosts["both"].0[0].host.as_deref(), Some("ssh://a"));
        assert_eq!(hosts["both"].0[1].name.as_deref(), Some("second"));
        assert_eq!(hosts["one"].0[0].host.as_deref(), Some("unix:///x"));
    }

    #[test]
    fn a_key_that_is_unknown_is_named() {
        let error = read("[one]\nhots = 'ssh://a'\n").unwrap_err();
        assert!(error.message().contains("hots"), "{error}");
        assert!(read("one = 1").is_err());
    }
}
