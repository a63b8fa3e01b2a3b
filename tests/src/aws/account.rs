use std::fs;
use std::path::Path;

use crate::{Output, Run, Server, StartOptions};

use super::{Moto, Proxy};

/// One account of AWS with a proxy before it, and a server that may use it.
#[derive(Debug)]
pub struct Account {
    pub proxy: Proxy,
    pub moto: Moto,
    pub server: Server,
    /// Holds server.toml, for as long as the server may be started again.
    folder: tempfile::TempDir,
}

/// What a server may read and write where a test does not say otherwise. The account is the one that moto has.
pub const RULES: &str = r#"
[source.aws]
timeout = "10s"
attempts = 5

[[source.aws.read]]
secrets = ["chuspace-app/*", "app/*", "arn:aws:secretsmanager:*:123456789012:secret:app/*"]
for = ["chuspace/production", "shop"]

[[source.aws.write]]
secrets = ["chuspace-app/*", "app/*"]
for = ["chuspace/production", "shop"]
"#;

impl Account {
    /// Nothing where moto is not installed; then it says that the test is skipped.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, RULES)
    }

    /// With other rules in `server.toml`.
    ///
    /// # Panics
    /// If something does not come up.
    #[must_use]
    pub fn start_with(test: &str, rules: &str) -> Option<Self> {
        Self::start_in(test, rules, |proxy, _| Moto::environment(proxy.port()))
    }

    /// In an environment that the test makes, of the proxy and a folder for its files.
    ///
    /// # Panics
    /// If something does not come up.
    #[must_use]
    pub fn start_in(
        test: &str,
        rules: &str,
        environment: impl FnOnce(&Proxy, &Path) -> Vec<(String, String)>,
    ) -> Option<Self> {
        let moto = Moto::start(test)?;
        let proxy = Proxy::before(moto.port());
        let folder = tempfile::TempDir::with_prefix("chandlery-rules-").expect("a temporary folder");
        let file = folder.path().join("server.toml");
        fs::write(&file, rules).expect("an own folder takes a file");
        let args = ["--listen", "127.0.0.1:0", "--config", file.to_str().expect("a plain path")].map(str::to_owned);
        let env = environment(&proxy, folder.path());
        let server = Server::start_with(StartOptions { args: args.to_vec(), env });
        Some(Self { proxy, moto, server, folder })
    }

    /// Where server.toml is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Declares the stack of seed 003 in production, with these regions.
    pub fn declare(&self, regions: &str) {
        let words = ["init", "chuspace", "--environment", "production", "--services", "app,db"];
        let regions: &[&str] = if regions.is_empty() { &[] } else { &["--regions", regions] };
        self.server.cli(&[&words[..], regions].concat()).ok();
    }

    /// The CLI, for that stack.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Run {
        self.server.cli(args).env("CHANDLERY_STACK", "chuspace").env("CHANDLERY_ENVIRONMENT", "production")
    }

    /// A run whose exit code the test knows.
    ///
    /// # Panics
    /// If it ends with another.
    #[track_caller]
    pub fn ends(&self, args: &[&str], code: i32) -> Output {
        let output = self.cli(args).output();
        assert_eq!(output.code(), code, "{output}");
        output
    }

    /// What a region's containers get, as dotenv's names and values.
    #[must_use]
    pub fn bundle(&self, region: Option<&str>) -> serde_json::Value {
        let region: &[&str] = region.as_ref().map_or(&[], |region| std::slice::from_ref(region));
        let words: Vec<&str> = region.iter().flat_map(|region| ["--region", region]).collect();
        self.cli(&[&["export", "--format", "json"], &words[..]].concat()).ok().json()
    }
}
