//! Where the built programs are.

use std::path::{Path, PathBuf};

/// One of the programs under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Server,
    Cli,
    /// The entrypoint in the same profile as the others: for tests on this host.
    Entrypoint,
    /// The entrypoint as it ships, static and small: for containers, and for what is said about the shipped file.
    StaticEntrypoint,
}

impl Program {
    /// The program's file.
    ///
    /// # Panics
    /// If it is not there, and says how to build it.
    #[must_use]
    pub fn path(self) -> PathBuf {
        let folder = folder();
        let path = match self {
            Self::Server => folder.join("chandlery-server"),
            Self::Cli => folder.join("chandlery"),
            Self::Entrypoint => folder.join("chandlery-entrypoint"),
            Self::StaticEntrypoint => folder.join("../x86_64-unknown-linux-musl/entrypoint/chandlery-entrypoint"),
        };
        let found = path.canonicalize();
        found.unwrap_or_else(|_| panic!("{} is not there: ./tests/run builds it", path.display()))
    }
}

/// `CHANDLERY_BIN_DIR`, or the folder that this test's own binary was built into.
pub(crate) fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CHANDLERY_BIN_DIR") {
        return folder.into();
    }
    let own = std::env::current_exe().expect("a test knows its own file");
    own.ancestors().nth(2).expect("a test is in target/<profile>/deps").to_owned()
}

/// Where cargo builds, and `tests/run` installs testers beside.
///
/// # Panics
/// If the test was moved away from there.
#[must_use]
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own file");
    own.ancestors().nth(3).expect("a test is in target/<profile>/deps").to_owned()
}

/// The root of the repository.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}
