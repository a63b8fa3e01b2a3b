//! What an entry is besides its value: where it is set, who gets it, and how it is delivered.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::{NameError, RegionName, ServiceName, VariableName};

/// Where a value is set: the environment's base, or one region's overlay. In JSON, `"base"` or the region's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    Base,
    Overlay(RegionName),
}

impl Layer {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Base => "base",
            Self::Overlay(region) => region.as_str(),
        }
    }

    #[must_use]
    pub fn region(&self) -> Option<&RegionName> {
        match self {
            Self::Base => None,
            Self::Overlay(region) => Some(region),
        }
    }
}

impl From<Option<RegionName>> for Layer {
    fn from(region: Option<RegionName>) -> Self {
        region.map_or(Self::Base, Self::Overlay)
    }
}

impl std::str::FromStr for Layer {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "base" { Ok(Self::Base) } else { RegionName::parse(text).map(Self::Overlay) }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which services get an entry. In JSON, `"all"` or a list of services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Every service of the stack.
    All,
    /// These services, sorted and each once.
    Services(Vec<ServiceName>),
}

impl Grant {
    /// A grant to the services named; `None` where there are none, because a grant to nobody is a mistake.
    #[must_use]
    pub fn to(mut services: Vec<ServiceName>) -> Option<Self> {
        services.sort();
        services.dedup();
        (!services.is_empty()).then_some(Self::Services(services))
    }

    /// Whether the service gets the entry. `None` stands for a caller that names no service: it gets what all get.
    #[must_use]
    pub fn includes(&self, service: Option<&ServiceName>) -> bool {
        match (self, service) {
            (Self::All, _) => true,
            (Self::Services(services), Some(service)) => services.contains(service),
            (Self::Services(_), None) => false,
        }
    }

    /// Whether a service is named by both, so that it would be unclear which of two values it gets.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Services(these), Self::Services(those)) => these.iter().any(|service| those.contains(service)),
            _ => false,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Services(services) => {
                let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
                f.pad(&names.join(","))
            }
        }
    }
}

impl std::str::FromStr for Grant {
    type Err = String;
    /// `all`, or services separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let services: Result<Vec<_>, NameError> = text.split(',').map(|name| ServiceName::parse(name.trim())).collect();
        Self::to(services.map_err(|error| error.to_string())?).ok_or_else(|| "no service is named".to_owned())
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Services(services) => services.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            List(Vec<ServiceName>),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Word(word)) if word == "all" => Ok(Self::All),
            Ok(Form::List(services)) => Self::to(services).ok_or_else(|| de::Error::custom("a grant names no service")),
            _ => Err(de::Error::custom("a grant is \"all\" or a list of service names")),
        }
    }
}

/// How an entry reaches the app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Delivery {
    /// In the environment, under the entry's name.
    Variable,
    /// As a file of the entry's name in the secrets directory.
    File(FileAttributes),
}

/// The metadata of an entry that is delivered as a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FileAttributes {
    /// Permission bits; 0400 where nothing is said.
    pub mode: Mode,
    /// The owner; whoever the entrypoint runs as where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group; that of whoever the entrypoint runs as where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// A variable that tells the app where the file is: `MYSQL_ROOT_PASSWORD_FILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<VariableName>,
}

/// Permission bits of a file, 0000 to 0777. In JSON, an octal string as `chmod` takes it (`"0400"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u32);

impl Mode {
    /// `None` where a bit outside 0777 is set: set-user-ID and the sticky bit have no business on a secret.
    #[must_use]
    pub fn new(bits: u32) -> Option<Self> {
        (bits <= 0o777).then_some(Self(bits))
    }

    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(0o400)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let bits = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        bits.and_then(Self::new).ok_or_else(|| "a mode is three octal digits, as in 0400 or 640".to_owned())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, schema::Type};
    use utoipa::{PartialSchema, ToSchema};

    use super::{Grant, Layer, Mode};
    use crate::name::ServiceName;

    fn string(pattern: &str, description: &str) -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).description(Some(description));
        RefOr::T(Schema::Object(text.build()))
    }

    impl PartialSchema for Mode {
        fn schema() -> RefOr<Schema> {
            string("^0?[0-7]{3}$", "Permission bits in octal")
        }
    }
    impl ToSchema for Mode {}

    impl PartialSchema for Layer {
        fn schema() -> RefOr<Schema> {
            string(r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$", "\"base\", or the name of a region")
        }
    }
    impl ToSchema for Layer {}

    impl PartialSchema for Grant {
        fn schema() -> RefOr<Schema> {
            let list = ArrayBuilder::new().items(ServiceName::schema()).min_items(Some(1));
            RefOr::T(Schema::OneOf(OneOfBuilder::new().item(string("^all$", "Every service")).item(list).build()))
        }
    }
    impl ToSchema for Grant {}
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_all_or_a_sorted_list() {
        let grant: Grant = "db,app,db".parse().unwrap();
        assert_eq!(serde_json::to_string(&grant).unwrap(), r#"["app","db"]"#);
        assert_eq!(grant.to_string(), "app,db");
        assert_eq!(serde_json::from_str::<Grant>("\"all\"").unwrap(), Grant::All);
        for json in ["[]", "\"app\"", "[\"APP\"]", "1", "null"] {
            assert!(serde_json::from_str::<Grant>(json).is_err(), "{json}");
        }
        assert!("".parse::<Grant>().is_err() && "app,,db".parse::<Grant>().is_err());
    }

    #[test]
    fn a_grant_by_name_and_one_to_all_do_not_overlap() {
        let of = |text: &str| text.parse::<Grant>().unwrap();
        assert!(of("app,db").overlaps(&of("db,web")) && of("all").overlaps(&of("all")));
        assert!(!of("app").overlaps(&of("db")) && !of("app").overlaps(&of("all")));
    }

    #[test]
    fn modes_are_octal_and_plain() {
        assert_eq!("0640".parse::<Mode>().unwrap().bits(), 0o640);
        assert_eq!("440".parse::<Mode>().unwrap().to_string(), "0440");
        for text in ["4755", "1777", "8", "0o400", "", "0x1", "+400", "-400", "00400", "rw-"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }
}
