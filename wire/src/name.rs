//! Names, parsed and never normalised.
//!
//! A name that is not exactly as it should be is refused: a server that lower-cases, trims or percent-decodes names
//! sooner or later checks one name and reads another (CVE-2026-3605, GHSA-59w7).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most bytes a stack, environment, region or service name may have: that of a DNS label.
const MAX_LABEL: usize = 63;
/// The most bytes a host name may have: RFC 1035, 2.3.4, as text.
const MAX_HOST: usize = 253;
/// The most bytes an entry's name may have.
const MAX_ENTRY: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    kind: &'static str,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Empty,
    TooLong(usize),
    Character { found: char, at: usize, allowed: &'static str },
    Start(&'static str),
    End,
    DoubleDot,
    Reserved(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind;
        match &self.reason {
            Reason::Empty => write!(f, "the {kind} is empty"),
            Reason::TooLong(most) => write!(f, "the {kind} is longer than {most} characters"),
            Reason::Character { found, at, allowed } => {
                write!(f, "the {kind} has {found:?} at character {}; allowed are {allowed}", at + 1)
            }
            Reason::Start(allowed) => write!(f, "the {kind} must start with {allowed}"),
            Reason::End => write!(f, "the {kind} must not end with a dot or a dash"),
            Reason::DoubleDot => write!(f, "the {kind} must not contain two dots in a row"),
            Reason::Reserved(word) => write!(f, "the {kind} must not be {word:?}: that word has a meaning of its own"),
        }
    }
}

impl std::error::Error for NameError {}

/// What a kind of name may look like.
struct Grammar {
    kind: &'static str,
    longest: usize,
    first: (fn(char) -> bool, &'static str),
    rest: (fn(char) -> bool, &'static str),
    dots: bool,
    reserved: &'static [&'static str],
}

impl Grammar {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let fault = |reason| Err(NameError { kind: self.kind, reason });
        let Some(first) = text.chars().next() else {
            return fault(Reason::Empty);
        };
        let (rest, allowed) = self.rest;
        if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !rest(*c)) {
            return fault(Reason::Character { found, at, allowed });
        }
        if !(self.first.0)(first) {
            return fault(Reason::Start(self.first.1));
        }
        if text.len() > self.longest {
            return fault(Reason::TooLong(self.longest));
        }
        if self.dots && text.contains("..") {
            return fault(Reason::DoubleDot);
        }
        if self.dots && text.ends_with(['.', '-']) {
            return fault(Reason::End);
        }
        match self.reserved.iter().find(|word| **word == text) {
            Some(word) => fault(Reason::Reserved(word)),
            None => Ok(()),
        }
    }
}

const fn label(kind: &'static str, reserved: &'static [&'static str]) -> Grammar {
    Grammar {
        kind,
        longest: MAX_LABEL,
        first: (|c| c.is_ascii_lowercase() || c.is_ascii_digit(), "a small letter or a digit"),
        rest: (
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c),
            "a-z, 0-9, dot, dash and underscore",
        ),
        dots: true,
        reserved,
    }
}

const STACK: Grammar = label("stack name", &[]);
const ENVIRONMENT: Grammar = label("environment name", &[]);
const REGION: Grammar = label("region name", &["base", "all"]);
const SERVICE: Grammar = label("service name", &["all"]);
// Swarm fills in what the machine calls itself, and machines may have capitals in their names.
const NODE: Grammar = Grammar {
    kind: "node name",
    longest: MAX_HOST,
    first: (|c| c.is_ascii_alphanumeric(), "a letter or a digit"),
    rest: (|c| c.is_ascii_alphanumeric() || "._-".contains(c), "A-Z, a-z, 0-9, dot, dash and underscore"),
    dots: true,
    reserved: &[],
};
// Swarm's stacks may have capitals, and compose's projects any length; nobody's have dots in a row.
const PROJECT: Grammar = Grammar { kind: "project name", longest: MAX_ENTRY, ..NODE };
const ENTRY: Grammar = Grammar {
    kind: "entry name",
    longest: MAX_ENTRY,
    first: (|c| c.is_ascii_alphanumeric() || c == '_', "a letter, a digit or an underscore"),
    rest: (|c| c.is_ascii_alphanumeric() || "._-".contains(c), "A-Z, a-z, 0-9, underscore, dot and dash"),
    dots: true,
    reserved: &[],
};
const VARIABLE: Grammar = Grammar {
    kind: "variable name",
    // An entry's path variable has to fit: an underscore before a digit, and the ending.
    longest: MAX_ENTRY + "__FILE".len(),
    first: (|c| c.is_ascii_alphabetic() || c == '_', "a letter or an underscore"),
    rest: (|c| c.is_ascii_alphanumeric() || c == '_', "A-Z, a-z, 0-9 and underscore"),
    dots: false,
    reserved: &[],
};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $grammar:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = $pattern))]
        pub struct $type(String);

        impl $type {
            /// Takes the text for a name if it is one, exactly as it stands.
            ///
            /// # Errors
            /// Says which character or length is at fault.
            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $grammar.check(&text).map(|()| Self(text))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).and_then(|text| Self::parse(text).map_err(de::Error::custom))
            }
        }
    };
}

name!(
    /// An application made of services (`simpleapp`).
    StackName,
    STACK,
    r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
);
name!(
    /// `production`, `staging`, … of a stack.
    EnvironmentName,
    ENVIRONMENT,
    r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
);
name!(
    /// A place where an environment runs (`eu-west-1`). Never `base`, which is the layer under all regions.
    RegionName,
    REGION,
    r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
);
name!(
    /// One service of a stack (`app`). Never `all`, which is the grant to every service.
    ServiceName,
    SERVICE,
    r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
);
name!(
    /// A machine, by its host name exactly as the machine tells it.
    NodeName,
    NODE,
    r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
);
name!(
    /// What containers that were started together are called by compose (a project) and Swarm (a stack).
    ProjectName,
    PROJECT,
    r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
);
name!(
    /// A named thing in the store: an environment variable or a file.
    EntryName,
    ENTRY,
    r"^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
);
name!(
    /// A name that a shell can assign to: POSIX.1-2024, 3.216 "Name".
    VariableName,
    VARIABLE,
    r"^[A-Za-z_][A-Za-z0-9_]*$"
);

impl EntryName {
    /// The entry's name as a variable's, where it can be one.
    #[must_use]
    pub fn as_variable(&self) -> Option<VariableName> {
        VariableName::parse(self.0.as_str()).ok()
    }

    /// The variable that by convention tells where a file is: `mysql_password` → `MYSQL_PASSWORD_FILE`.
    #[must_use]
    pub fn path_variable(&self) -> VariableName {
        let mut name: String =
            self.0.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        name.push_str("_FILE");
        VariableName(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_as_they_stand() {
        for text in ["app", "eu-west-1", "sfo3", "my_app", "a.b", "1password", "a-_b"] {
            assert_eq!(ServiceName::parse(text).unwrap().as_str(), text);
        }
        for text in ["vm-1", "ip-10-0-0-7.eu-west-1.compute.internal", "DESKTOP-4F"] {
            assert_eq!(NodeName::parse(text).unwrap().as_str(), text);
        }
        for text in ["DB_HOST", "mysql_password", "redis.conf", "_", "9lives", "tls-key.pem"] {
            assert_eq!(EntryName::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let hostile = [
            "",
            " ",
            ".",
            "..",
            "a/b",
            "/",
            "../a",
            "a..b",
            "%2f",
            "a%2e",
            "a=b",
            "a\0b",
            "a\nb",
            "a b",
            "*",
            "+",
            "а",
            "ａ",
            "a.",
            "a-",
            "-a",
            "é",
            "a\u{200d}b",
            "${A}",
        ];
        for text in hostile {
            assert!(StackName::parse(text).is_err(), "{text:?} was taken for a stack");
            assert!(RegionName::parse(text).is_err(), "{text:?} was taken for a region");
            assert!(EntryName::parse(text).is_err(), "{text:?} was taken for an entry");
            assert!(NodeName::parse(text).is_err(), "{text:?} was taken for a node");
            assert!(VariableName::parse(text).is_err(), "{text:?} was taken for a variable");
        }
        assert!(StackName::parse("App").is_err(), "mixed case is refused, not lowered");
        assert!(RegionName::parse("base").is_err());
        assert!(ServiceName::parse("all").is_err());
        assert!(VariableName::parse("1A").is_err());
        assert!(StackName::parse("a".repeat(64)).is_err());
        assert!(EntryName::parse("A".repeat(129)).is_err());
    }

    #[test]
    fn a_fault_is_named_by_character() {
        let fault = EntryName::parse("DB/HOST").unwrap_err().to_string();
        assert!(fault.contains("'/' at character 3"), "{fault}");
    }

    #[test]
    fn path_variables_follow_the_convention() {
        let of = |text: &str| EntryName::parse(text).unwrap().path_variable().to_string();
        assert_eq!(of("mysql_password"), "MYSQL_PASSWORD_FILE");
        assert_eq!(of("redis.conf"), "REDIS_CONF_FILE");
        assert_eq!(of("9lives"), "_9LIVES_FILE");
        let longest = of(&"9".repeat(MAX_ENTRY));
        assert!(VariableName::parse(longest).is_ok());
    }

    proptest! {
        #[test]
        fn every_entry_name_has_a_path_variable(text in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}") {
            if let Ok(name) = EntryName::parse(text) {
                prop_assert!(VariableName::parse(name.path_variable().as_str()).is_ok());
            }
        }

        #[test]
        fn a_parsed_name_is_a_plain_path_segment(text in "\\PC{0,12}") {
            if let Ok(name) = EntryName::parse(text.clone()) {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!(!text.contains('/') && text != "." && text != "..");
            }
        }
    }
}
