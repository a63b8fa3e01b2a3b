//! What `chandlery login` stores: for each server its token and whom to trust, in a file that only its owner reads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use chandlery_wire::TokenText;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::{Surroundings, secure};
use crate::failure::Failure;
use crate::output;

/// The file, as it was found; empty where there is none.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) path: PathBuf,
    default: Option<String>,
    pub(crate) servers: BTreeMap<String, Login>,
}

/// One server's login.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    #[serde(serialize_with = "write_token", deserialize_with = "read_token")]
    pub(crate) token: TokenText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cacert: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default)]
    servers: BTreeMap<String, Login>,
}

fn write_token<S: Serializer>(token: &TokenText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

fn read_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenText, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    TokenText::parse(&text).map_err(de::Error::custom)
}

impl Credentials {
    pub(crate) fn load(surroundings: &Surroundings) -> Result<Self, Failure> {
        let home = || surroundings.path("HOME").map(|home| home.join(".config"));
        let folder = surroundings.path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(home);
        let path = folder.map_or_else(PathBuf::new, |folder| folder.join("chandlery/credentials.toml"));
        let mut credentials = Self { path, default: None, servers: BTreeMap::new() };
        if fs::symlink_metadata(&credentials.path).is_ok() {
            let text = secure::read_private(&credentials.path)?;
            // The parser's own rendering shows the line, and the line may hold the token.
            let document: Document = toml::from_str(&text).map_err(|error| credentials.broken(error.span(), &text))?;
            credentials.default = document.default;
            credentials.servers = document.servers;
        }
        Ok(credentials)
    }

    fn broken(&self, span: Option<std::ops::Range<usize>>, text: &str) -> Failure {
        let line = span.map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Failure::usage(
            format!("{} cannot be used: something is wrong on line {line}", self.path.display()),
            "delete it, and log in again with `chandlery login`",
        )
    }

    /// The server of the last login.
    pub(crate) fn default_address(&self) -> Option<&str> {
        self.default.as_deref().filter(|address| self.servers.contains_key(*address))
    }

    pub(crate) fn store(&mut self, address: String, login: Login) -> Result<(), Failure> {
        self.servers.insert(address.clone(), login);
        self.default = Some(address);
        self.save()
    }

    /// Forgets a server's login; false where there was none.
    pub(crate) fn forget(&mut self, address: &str) -> Result<bool, Failure> {
        if self.servers.remove(address).is_none() {
            return Ok(false);
        }
        if self.default.as_deref() == Some(address) {
            self.default = None;
        }
        self.save().map(|()| true)
    }

    fn save(&self) -> Result<(), Failure> {
        let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            let hint = "set HOME or XDG_CONFIG_HOME, or use CHANDLERY_TOKEN_FILE instead of a login";
            return Err(Failure::usage("there is no home folder to keep a login in", hint));
        };
        let cannot = |error: std::io::Error| {
            let hint = "make it a folder that you alone may read: mkdir -p, chmod 700";
            Failure::failed(format!("{} cannot be used: {error}", folder.display()), hint)
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        let mode = fs::metadata(folder).map_err(cannot)?.mode();
        if mode & 0o022 != 0 {
            let what = format!("{} can be written by others (mode {:04o})", folder.display(), mode & 0o7777);
            return Err(Failure::failed(what, format!("chmod 700 {}", folder.display())));
        }
        let document = Document { default: self.default.clone(), servers: self.servers.clone() };
        let text = toml::to_string(&document).map(Zeroizing::new);
        let text = text.map_err(|_| Failure::failed("the login cannot be written as TOML", "please report this"))?;
        output::private_file(&self.path, text.as_bytes())
    }
}
