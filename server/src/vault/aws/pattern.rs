//! `chuspace-app/prod-env/{region}`: the names of secrets, and what stands in them.

use chandlery_wire::api::AwsForm;
use chandlery_wire::{Code, RegionName};

use crate::vault::Error;

/// A name with places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Region,
    Name,
}

/// What stands in the places of a secret's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) region: Option<RegionName>,
    pub(super) name: Option<String>,
}

impl Pattern {
    /// Reads a pattern; a name without places is one, too.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            Err(Error::new(Code::Invalid, format!("{text:?} {what}"))
                .hint("write it as in chuspace-app/prod-env/{region}, or chuspace-app/prod-env/{name}"))
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((word, after)) = after.split_once('}') else { return wrong("has a { without its }") };
            let part = match word {
                "region" => Part::Region,
                "name" => Part::Name,
                _ => return wrong("has a place that is neither {region} nor {name}"),
            };
            if parts.contains(&part) {
                return wrong("has the same place twice");
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            } else if !parts.is_empty() {
                return wrong("has two places with nothing between them");
            }
            parts.push(part);
            rest = after;
        }
        if rest.contains('}') {
            return wrong("has a } without its {");
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(super) fn has_region(&self) -> bool {
        self.0.contains(&Part::Region)
    }

    pub(super) fn has_name(&self) -> bool {
        self.0.contains(&Part::Name)
    }

    /// What all names begin with that it could mean.
    pub(super) fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The name with these in its places.
    pub(super) fn fill(&self, region: Option<&str>, name: Option<&str>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Region => region.unwrap_or_default().to_owned(),
            Part::Name => name.unwrap_or_default().to_owned(),
        };
        self.0.iter().map(part).collect()
    }

    /// What stands in the places of this name, where it is one that is meant. No place takes a `/`.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        let mut found = Found::default();
        let mut rest = name;
        for (at, part) in self.0.iter().enumerate() {
            if let Part::Text(text) = part {
                rest = rest.strip_prefix(text.as_str())?;
                continue;
            }
            let end = match self.0.get(at + 1) {
                // The last one that leaves enough for what follows.
                Some(Part::Text(next)) => {
                    let within = rest.find('/').map_or(rest.len(), |slash| (slash + next.len()).min(rest.len()));
                    rest.get(..within)?.rfind(next.as_str())?
                }
                _ => rest.len(),
            };
            let (word, after) = rest.split_at(end);
            if word.is_empty() || word.contains('/') {
                return None;
            }
            match part {
                Part::Region => found.region = Some(word.parse().ok()?),
                _ => found.name = Some(word.to_owned()),
            }
            rest = after;
        }
        rest.is_empty().then_some(found)
    }
}

/// The words of the API.
pub(super) fn word_of(form: Option<AwsForm>) -> &'static str {
    match form {
        Some(AwsForm::Json) => "json",
        Some(AwsForm::Dotenv) => "dotenv",
        Some(AwsForm::Plain) => "plain",
        None => "binary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, name: &str) -> Option<(Option<String>, Option<String>)> {
        let found = Pattern::parse(pattern).unwrap().find(name)?;
        Some((found.region.map(|region| region.to_string()), found.name))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_name_tells_what_stands_in_its_places() {
        let env = "chuspace-app/prod-env/{region}";
        assert_eq!(found(env, "chuspace-app/prod-env/eu-west-1"), Some((some("eu-west-1"), None)));
        for other in [
            "chuspace-app/prod-env/",
            "chuspace-app/prod-env/a/b",
            "chuspace-app/prod-env",
            "x",
            "",
            "chuspace-app/prod-env/A",
        ] {
            assert_eq!(found(env, other), None, "{other}");
        }
        assert_eq!(found("app/{region}/{name}", "app/sfo3/DB_URL"), Some((some("sfo3"), some("DB_URL"))));
        assert_eq!(found("{region}.env", "eu.west.env"), Some((some("eu.west"), None)));
        assert_eq!(found("{name}-{region}", "DB-URL-sfo3"), Some((some("sfo3"), some("DB-URL"))));
        assert_eq!(found("plain", "plain"), Some((None, None)));
        assert_eq!(found("app/{name}/end", "app/x/end"), Some((None, some("x"))));
        assert_eq!(found("app/{name}/end", "app/x/y/end"), None);
    }

    #[test]
    fn what_is_filled_in_is_found_again() {
        let pattern = Pattern::parse("a/{region}/b-{name}").unwrap();
        let name = pattern.fill(Some("eu"), Some("X"));
        assert_eq!(name, "a/eu/b-X");
        assert_eq!(found("a/{region}/b-{name}", &name), Some((some("eu"), some("X"))));
        assert_eq!(pattern.prefix(), "a/");
    }

    #[test]
    fn a_pattern_with_a_typo_is_an_error() {
        for text in ["{regoin}", "a/{region", "a}", "{region}{name}", "{region}/{region}", "{}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
