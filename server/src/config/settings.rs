use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{Period, Permissions, Size, Switch};
use crate::source::Rules;

/// Everything that can be set, each by flag, by `CHANDLERY_…` variable, and by key of the TOML file.
///
/// The comments are the help, and the comments of `config example`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where everything is kept: keys, database, certificates, audit log. It is made with mode 0700, and refused if
    /// others can look into it.
    #[arg(long, global = true, env = "CHANDLERY_DATA_DIR", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,

    /// The address and port for TLS. Port 0 takes a free one; local.json in the data directory says which.
    #[arg(long, global = true, env = "CHANDLERY_LISTEN", value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,

    /// An address and port without TLS, or "off". Only a loopback address is taken.
    #[arg(long, global = true, env = "CHANDLERY_HTTP_LISTEN", value_name = "ADDRESS:PORT|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_listen: Option<Switch<SocketAddr>>,

    /// The unix socket for programs on this host, or "off".
    #[arg(long, global = true, env = "CHANDLERY_SOCKET", value_name = "PATH|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<Switch<String>>,

    /// The unix socket's mode: 0660 lets the group's programs connect. They still need a token.
    #[arg(long, global = true, env = "CHANDLERY_SOCKET_MODE", value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_mode: Option<Permissions>,

    /// The Docker API's socket, or "off". With it, containers of stacks that were opened (`chandlery stack open`) need no
    /// token on the unix socket: the server finds out which container asks. It needs access to Docker's socket for that,
    /// which is as good as root on this host; see docs/OPERATIONS.md.
    #[arg(long, global = true, env = "CHANDLERY_DOCKER_SOCKET", value_name = "PATH|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_socket: Option<Switch<String>>,

    /// The environment that the containers on this host are of, or "off" where each project is open for one environment.
    #[arg(long, global = true, env = "CHANDLERY_HOST_ENVIRONMENT", value_name = "NAME|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_environment: Option<Switch<String>>,

    /// The region that this host is in, or "off". It is for containers without a token.
    #[arg(long, global = true, env = "CHANDLERY_HOST_REGION", value_name = "NAME|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_region: Option<Switch<String>>,

    /// The root key, which opens everything else. It is made at the first start; a Docker secret or a systemd credential
    /// works too. Without it the store cannot be read: keep a copy, and not beside the backup of the data.
    #[arg(long, global = true, env = "CHANDLERY_ROOT_KEY_FILE", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_key_file: Option<PathBuf>,

    /// The audit log.
    #[arg(long, global = true, env = "CHANDLERY_AUDIT_FILE", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_file: Option<PathBuf>,

    /// The server certificate with its chain, PEM. The server makes and renews the one at the default path itself; one at
    /// another path is yours, and is never written to. A new one is picked up while connections go on.
    #[arg(long, global = true, env = "CHANDLERY_TLS_CERT", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// The server certificate's key, PEM.
    #[arg(long, global = true, env = "CHANDLERY_TLS_KEY", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// More host names and addresses that clients reach the server by, for the certificate it makes. localhost, the
    /// host's name and the address of `listen` are in it already.
    #[arg(long, global = true, env = "CHANDLERY_TLS_NAMES", value_name = "NAME,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_names: Option<Vec<String>>,

    /// How long requests may take to finish when the server is told to stop. Docker kills after 10s.
    #[arg(long, global = true, env = "CHANDLERY_DRAIN", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Period>,

    /// How long a request may take from its headers to its reply.
    #[arg(long, global = true, env = "CHANDLERY_REQUEST_TIMEOUT", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Period>,

    /// How long a client may take for the TLS handshake, and then for each request's headers. An idle connection is
    /// closed after the same time.
    #[arg(long, global = true, env = "CHANDLERY_HEADER_TIMEOUT", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_timeout: Option<Period>,

    /// Connections at a time; more wait until one ends.
    #[arg(long, global = true, env = "CHANDLERY_MAX_CONNECTIONS", value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,

    /// The part of `max_connections`, in percent, that may wait for a change of their bundle at a time (on all listeners
    /// together). More are answered at once and told when to ask again. At most 90: others must get in.
    #[arg(long, global = true, env = "CHANDLERY_WAITING_SHARE", value_name = "PERCENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_share: Option<u32>,

    /// Bytes of a request's headers.
    #[arg(long, global = true, env = "CHANDLERY_MAX_HEADER_BYTES", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_header_bytes: Option<Size>,

    /// Bytes of a request's body, so of an import. A single value has at most 512KiB whatever is set here.
    #[arg(long, global = true, env = "CHANDLERY_MAX_BODY_BYTES", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<Size>,

    /// What is logged to stderr: off, error, warn, info, debug or trace. No level logs a value or a token.
    #[arg(long, global = true, env = "CHANDLERY_LOG_LEVEL", value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,

    /// How it is logged: text or json.
    #[arg(long, global = true, env = "CHANDLERY_LOG_FORMAT", value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,

    /// How long a value from outside (docs/SOURCES.md) is good. It is asked for again before that is over, in the
    /// background.
    #[arg(long, global = true, env = "CHANDLERY_SOURCE_TTL", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ttl: Option<Period>,

    /// How much longer it is served where its source is away; the bundle says so. A source that says no, or that there is
    /// no such secret, is believed at once.
    #[arg(long, global = true, env = "CHANDLERY_SOURCE_STALE", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_stale: Option<Period>,

    // Only the file has it: what may be had for whom is more than a flag can say.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Rules>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
