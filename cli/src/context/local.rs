//! The server that runs on this machine, found by the `local.json` in its data directory.

use std::fs;
use std::path::{Path, PathBuf};

use chandlery_wire::api::LocalServer;

use super::Surroundings;
use crate::client::address::Address;

/// The server's file, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) path: PathBuf,
    pub(crate) server: LocalServer,
}

impl Local {
    /// The first that can be read, in the places where a server puts its data. A file that cannot be read, or not yet
    /// whole, belongs to somebody else's server or to one that is just starting.
    pub(crate) fn find(surroundings: &Surroundings) -> Option<Self> {
        let home = || surroundings.path("HOME").map(|home| home.join(".local/share"));
        let shared = surroundings.path("XDG_DATA_HOME").filter(|path| path.is_absolute()).or_else(home);
        let user = shared.map(|folder| folder.join("chandlery"));
        let system = Some(PathBuf::from("/var/lib/chandlery"));
        let folders = [surroundings.path("CHANDLERY_DATA_DIR"), user, system];
        folders.into_iter().flatten().find_map(|folder| Self::load(&folder.join("local.json")))
    }

    fn load(path: &Path) -> Option<Self> {
        let server = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some(Self { path: path.to_owned(), server })
    }

    /// Whether this is the server at that address: its token goes to no other.
    pub(crate) fn serves(&self, address: &str) -> bool {
        let server = &self.server;
        let same = |text: &str| text.parse::<Address>().is_ok_and(|parsed| parsed.to_string() == address);
        same(&server.address)
            || server.http_address.as_deref().is_some_and(same)
            || server.socket.as_deref().is_some_and(|socket| format!("unix://{socket}") == address)
    }
}
