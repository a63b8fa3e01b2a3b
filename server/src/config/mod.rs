//! What the server is told: by flag, over `CHANDLERY_…` variable, over TOML file, over default.

mod command_line;
mod document;
mod settings;
#[cfg(test)]
mod tests;
pub mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chandlery_wire::NameError;
use clap::ArgMatches;
use clap::parser::ValueSource;

pub use command_line::{AuditCommand, Command, ConfigCommand, RootKeyCommand, parse};
pub use document::{example, show};
pub use settings::{LogFormat, LogLevel, Settings};
use units::{Period, Permissions, Size, Switch};

use crate::access::Host;
use crate::fatal::Fatal;
use crate::source::{Freshness, Rules};

/// Percent.
const MOST_WAITING_SHARE: u32 = 90;
const LEAST_TTL: Duration = Duration::from_secs(1);
/// What a configuration file is called in the data directory, and where else it is looked for.
const FILE_NAME: &str = "server.toml";
const SYSTEM_FILE: &str = "/etc/chandlery/server.toml";
/// What hyper needs to work at all.
const LEAST_HEADER_BYTES: usize = 8 * 1024;

/// What the server is to do, complete and checked. [`Settings`] explains each field; paths are absolute, or relative to
/// the working directory if the data directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// A loopback address.
    pub http_listen: Option<SocketAddr>,
    pub socket: Option<PathBuf>,
    pub socket_mode: u32,
    /// Absent where only tokens count.
    pub identity: Option<IdentityConfig>,
    pub root_key_file: PathBuf,
    pub audit_file: PathBuf,
    pub tls: TlsFiles,
    pub drain: Duration,
    pub request_timeout: Duration,
    pub header_timeout: Duration,
    /// At least 1.
    pub max_connections: usize,
    /// Requests that may wait for a change at a time: fewer than connections.
    pub max_waiting: usize,
    /// At least 8 KiB.
    pub max_header_bytes: usize,
    pub max_body_bytes: usize,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    /// What may be had from outside, and for whom.
    pub sources: Rules,
    pub freshness: Freshness,
}

/// How containers without a token are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    pub docker_socket: PathBuf,
    pub host: Host,
}

/// Where the certificate is, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// More names for a certificate of the server's own making.
    pub names: Vec<String>,
    /// Whether the server makes and renews it; else it is the operator's, and never written to.
    pub managed: bool,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag,
    Variable,
    File(PathBuf),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable => f.write_str("variable"),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A configuration, and where each of its settings came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The settings that were merged, by their names in the file.
    pub settings: toml::Table,
    pub sources: BTreeMap<String, Source>,
}

/// Merges the layers and checks the whole.
///
/// `settings` and `matches` are the same command line, once for what was said and once for how; `file` is `--config`.
///
/// # Errors
///
/// If the file cannot be read or has unknown keys, and if the settings contradict each other.
pub fn load(settings: &Settings, matches: &ArgMatches, file: Option<&Path>) -> Result<Loaded, Fatal> {
    let path = find_file(file, settings.data_dir.as_deref())?;
    let mut from_file = path.as_deref().map(read_file).transpose()?.unwrap_or_default();
    let said = settings.data_dir.clone().or(from_file.data_dir.clone());
    let data_dir = said.map_or_else(default_data_dir, Ok)?;
    let mut merged = Merged::default();
    let mut defaults = defaults(data_dir.clone());
    defaults.place_under(&data_dir);
    merged.add(&defaults, |_| Source::Default)?;
    if let Some(path) = path {
        from_file.place_under(&data_dir);
        merged.add(&from_file, |_| Source::File(path.clone()))?;
    }
    merged.add(settings, |key| match matches.value_source(key) {
        Some(ValueSource::EnvVariable) => Source::Variable,
        _ => Source::Flag,
    })?;
    let complete: Settings = merged.table.clone().try_into().map_err(|error| unreadable(&error))?;
    Ok(Loaded { config: complete.resolve()?, settings: merged.table, sources: merged.sources })
}

/// The layers so far, a key at a time.
#[derive(Default)]
struct Merged {
    table: toml::Table,
    sources: BTreeMap<String, Source>,
}

impl Merged {
    fn add(&mut self, settings: &Settings, source: impl Fn(&str) -> Source) -> Result<(), Fatal> {
        let layer = toml::Table::try_from(settings).map_err(|error| unreadable(&error))?;
        for (key, value) in layer {
            self.sources.insert(key.clone(), source(&key));
            self.table.insert(key, value);
        }
        Ok(())
    }
}

fn unreadable(error: &impl fmt::Display) -> Fatal {
    Fatal::usage(format!("the settings cannot be read: {error}"), "paths have to be UTF-8")
}

/// What is set where nobody says anything. Paths are relative to the data directory.
#[must_use]
pub fn defaults(data_dir: PathBuf) -> Settings {
    Settings {
        data_dir: Some(data_dir),
        listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420)),
        http_listen: Some(Switch::Off),
        socket: Some(Switch::On("run/chandlery.sock".to_owned())),
        socket_mode: Some(Permissions(0o600)),
        docker_socket: Some(Switch::Off),
        host_environment: Some(Switch::Off),
        host_region: Some(Switch::Off),
        root_key_file: Some("root.key".into()),
        audit_file: Some("audit.log".into()),
        tls_cert: Some(TLS_CERT.into()),
        tls_key: Some(TLS_KEY.into()),
        tls_names: Some(Vec::new()),
        drain: Some(Period(Duration::from_secs(8))),
        request_timeout: Some(Period(Duration::from_secs(10))),
        header_timeout: Some(Period(Duration::from_secs(10))),
        max_connections: Some(2048),
        waiting_share: Some(75),
        max_header_bytes: Some(Size(16 * 1024)),
        max_body_bytes: Some(Size(8 * 1024 * 1024)),
        log_level: Some(LogLevel::Info),
        log_format: Some(LogFormat::Text),
        source_ttl: Some(Period(Duration::from_secs(300))),
        source_stale: Some(Period(Duration::from_secs(24 * 3600))),
        source: None,
    }
}

const TLS_CERT: &str = "tls/server.crt";
const TLS_KEY: &str = "tls/server.key";

/// `/var/lib/chandlery` for root, else a directory under the user's own data.
fn default_data_dir() -> Result<PathBuf, Fatal> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/chandlery".into());
    }
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    variable("XDG_DATA_HOME")
        .and_then(absolute)
        .or_else(|| variable("HOME").and_then(absolute).map(|home| home.join(".local/share")))
        .map(|data| data.join("chandlery"))
        .ok_or_else(|| Fatal::usage("there is no HOME to keep data in", "say where with --data-dir"))
}

#[expect(clippy::disallowed_methods, reason = "where a user's data goes is the desktop's convention, not a setting")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The file that was named, or the first that is there.
fn find_file(named: Option<&Path>, data_dir: Option<&Path>) -> Result<Option<PathBuf>, Fatal> {
    if let Some(named) = named {
        return Ok(Some(named.to_owned()));
    }
    let data_dir = data_dir.map_or_else(default_data_dir, |path| Ok(path.to_owned()));
    let places = [data_dir.ok().map(|data_dir| data_dir.join(FILE_NAME)), Some(SYSTEM_FILE.into())];
    Ok(places.into_iter().flatten().find(|place| place.exists()))
}

fn read_file(path: &Path) -> Result<Settings, Fatal> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Fatal::usage(format!("the configuration file {shown} cannot be read: {error}"), "check the path and its mode")
    })?;
    toml::from_str(&text).map_err(|error| {
        let hint = "`chandlery-server config example` prints every key with its default";
        Fatal::usage(format!("the configuration file {shown} cannot be used:\n{}", error.to_string().trim_end()), hint)
    })
}

impl Settings {
    /// A file's paths are relative to the data directory, so that it can be moved as a whole.
    fn place_under(&mut self, data_dir: &Path) {
        let paths = [&mut self.root_key_file, &mut self.audit_file, &mut self.tls_cert, &mut self.tls_key];
        for path in paths.into_iter().flatten() {
            *path = data_dir.join(&path);
        }
        if let Some(Switch::On(socket)) = &mut self.socket {
            *socket = data_dir.join(&socket).to_string_lossy().into_owned();
        }
    }

    /// The complete settings as what the server works with.
    fn resolve(self) -> Result<Config, Fatal> {
        let complete = || Fatal::usage("a setting is missing", "report this: every setting has a default");
        let data_dir = self.data_dir.ok_or_else(complete)?;
        let config = Config {
            listen: self.listen.ok_or_else(complete)?,
            http_listen: self.http_listen.and_then(Switch::on),
            socket: self.socket.and_then(Switch::on).map(PathBuf::from),
            socket_mode: self.socket_mode.ok_or_else(complete)?.0,
            identity: identity(
                self.docker_socket.and_then(Switch::on),
                self.host_environment.and_then(Switch::on),
                self.host_region.and_then(Switch::on),
            )?,
            root_key_file: self.root_key_file.ok_or_else(complete)?,
            audit_file: self.audit_file.ok_or_else(complete)?,
            tls: TlsFiles::new(
                &data_dir,
                self.tls_cert.ok_or_else(complete)?,
                self.tls_key.ok_or_else(complete)?,
                self.tls_names.unwrap_or_default(),
            )?,
            drain: self.drain.ok_or_else(complete)?.0,
            request_timeout: self.request_timeout.ok_or_else(complete)?.0,
            header_timeout: self.header_timeout.ok_or_else(complete)?.0,
            max_connections: self.max_connections.ok_or_else(complete)? as usize,
            max_waiting: max_waiting(
                self.max_connections.ok_or_else(complete)?,
                self.waiting_share.ok_or_else(complete)?,
            )?,
            max_header_bytes: self.max_header_bytes.ok_or_else(complete)?.0,
            max_body_bytes: self.max_body_bytes.ok_or_else(complete)?.0,
            log_level: self.log_level.ok_or_else(complete)?,
            log_format: self.log_format.ok_or_else(complete)?,
            sources: self.source.unwrap_or_default(),
            freshness: Freshness {
                ttl: self.source_ttl.ok_or_else(complete)?.0,
                stale: self.source_stale.ok_or_else(complete)?.0,
            },
            data_dir,
        };
        config.check()?;
        Ok(config)
    }
}

fn max_waiting(connections: u32, share: u32) -> Result<usize, Fatal> {
    if share > MOST_WAITING_SHARE {
        let what = format!("waiting_share is {share}: those who wait would keep the others out");
        return Err(Fatal::usage(what, format!("set it to {MOST_WAITING_SHARE} percent or less; 0 lets nobody wait")));
    }
    Ok(connections as usize * share as usize / 100)
}

fn identity(
    docker: Option<String>,
    environment: Option<String>,
    region: Option<String>,
) -> Result<Option<IdentityConfig>, Fatal> {
    let Some(docker) = docker else {
        if environment.is_some() || region.is_some() {
            let what = "host_environment and host_region are for containers without a token, and docker_socket is off";
            return Err(Fatal::usage(what, "set docker_socket, such as /run/docker.sock, or take them away"));
        }
        return Ok(None);
    };
    if !Path::new(&docker).is_absolute() {
        let what = "docker_socket is not an absolute path";
        return Err(Fatal::usage(what, "write a path such as /run/docker.sock, without unix://"));
    }
    fn name<T: FromStr<Err = NameError>>(setting: &str, text: Option<String>) -> Result<Option<T>, Fatal> {
        let wrong = |error: NameError| {
            Fatal::usage(format!("{setting}: {error}"), "names are taken exactly as they were declared")
        };
        text.map(|text| text.parse().map_err(wrong)).transpose()
    }
    let host = Host { environment: name("host_environment", environment)?, region: name("host_region", region)? };
    Ok(Some(IdentityConfig { docker_socket: docker.into(), host }))
}

impl TlsFiles {
    fn new(data_dir: &Path, cert: PathBuf, key: PathBuf, names: Vec<String>) -> Result<Self, Fatal> {
        let managed = cert == data_dir.join(TLS_CERT);
        if managed != (key == data_dir.join(TLS_KEY)) {
            let what = "of tls_cert and tls_key one is yours and the other the server's own";
            return Err(Fatal::usage(what, "set both, or neither"));
        }
        if let Some(name) = names.iter().find(|name| !is_host(name)) {
            let hint = "tls_names are host names such as store.example.org, or addresses such as 10.0.0.5";
            return Err(Fatal::usage(format!("tls_names has {name:?}, which a certificate cannot hold"), hint));
        }
        Ok(Self { cert, key, names, managed })
    }
}

fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

impl Config {
    /// Everything at its default.
    ///
    /// # Errors
    ///
    /// None, with the defaults as they are.
    pub fn at_defaults(data_dir: &Path) -> Result<Self, Fatal> {
        let mut settings = defaults(data_dir.to_owned());
        settings.place_under(data_dir);
        settings.resolve()
    }

    /// What no single setting can tell.
    fn check(&self) -> Result<(), Fatal> {
        if let Some(address) = self.http_listen.filter(|address| !address.ip().is_loopback()) {
            let what = format!("http_listen is {address}: values would cross the network in the clear");
            return Err(Fatal::usage(what, "use a loopback address such as 127.0.0.1:8421, or listen, which has TLS"));
        }
        let in_data_dir = self.socket.as_ref().is_some_and(|socket| socket.starts_with(&self.data_dir));
        if in_data_dir && self.socket_mode & 0o077 != 0 {
            let what =
                "socket_mode lets others connect, and the socket is in the data directory, which is closed to them";
            return Err(Fatal::usage(what, "set socket to a path elsewhere, such as /run/chandlery/chandlery.sock"));
        }
        if self.identity.is_some() && self.socket.is_none() {
            let what = "docker_socket is set, and socket is off: no container could ask";
            return Err(Fatal::usage(what, "set socket, such as /run/chandlery/chandlery.sock, and socket_mode 0666"));
        }
        self.sources.check().map_err(|(what, hint)| Fatal::usage(what, hint))?;
        if self.freshness.ttl < LEAST_TTL {
            let what = format!("source_ttl is {}: sources would be asked all the time", Period(self.freshness.ttl));
            return Err(Fatal::usage(what, format!("set it to {} or more", Period(LEAST_TTL))));
        }
        if self.max_connections == 0 {
            return Err(Fatal::usage("max_connections is 0: nobody could connect", "set it to 1 or more"));
        }
        if self.max_header_bytes < LEAST_HEADER_BYTES {
            let what = format!("max_header_bytes is {}", Size(self.max_header_bytes));
            return Err(Fatal::usage(what, format!("set it to {} or more", Size(LEAST_HEADER_BYTES))));
        }
        let periods = [("request_timeout", self.request_timeout), ("header_timeout", self.header_timeout)];
        match periods.into_iter().find(|(_, period)| period.is_zero()) {
            Some((name, _)) => {
                Err(Fatal::usage(format!("{name} is 0: no request could succeed"), "set it to 1s or more"))
            }
            None => Ok(()),
        }
    }
}
