//! The caller: an authenticated principal with what it may do, for one request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chandlery_wire::{EnvironmentName, NodeName, ProjectName, RegionName, Scope, ServiceName, Verb};

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// A process on this host, by the credentials the kernel gave for it.
    Unix {
        pid: Option<i32>,
        uid: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{}", address.ip()),
            Self::Unix { pid: Some(pid), uid } => write!(f, "unix pid={pid} uid={uid}"),
            Self::Unix { pid: None, uid } => write!(f, "unix uid={uid}"),
        }
    }
}

/// Remembers whether a request has its audit line, so that it gets exactly one, whose request it is, and whether it may
/// take its time.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Footprint>);

#[derive(Debug, Default)]
struct Footprint {
    audited: AtomicBool,
    caller: OnceLock<Arc<str>>,
    /// Milliseconds.
    patience: AtomicU64,
}

impl Trail {
    pub fn mark(&self) {
        self.0.audited.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.0.audited.load(Ordering::Acquire)
    }

    /// Says who it was, for the line of a request that never reaches an operation.
    pub fn identify(&self, id: Arc<str>) {
        // A request is authenticated once; a second time would name the same caller.
        let _ = self.0.caller.set(id);
    }

    /// Says that the request may take so much longer than others: it waits, as it was asked to.
    pub fn allow(&self, wait: Duration) {
        self.0.patience.store(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.0.patience.load(Ordering::Acquire))
    }

    #[must_use]
    pub fn caller(&self) -> &str {
        self.0.caller.get().map_or("anonymous", AsRef::as_ref)
    }
}

/// A container on this host, as the kernel and Docker tell it, and not as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    pub project: ProjectName,
    pub service: ServiceName,
    /// `sha256:…`
    pub image: String,
    /// Whether the process that asks came into the container from outside, as `docker exec`'s do.
    pub exec: bool,
}

/// Where the host is that the containers run on, as its server is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    pub environment: Option<EnvironmentName>,
    pub region: Option<RegionName>,
}

/// A container that was let in without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    pub container: Container,
    pub host: Host,
    /// The store's revision at which what it reaches was last changed.
    pub since: u64,
}

/// Every operation of the vault takes one first. Only the vault's authentication makes one that may do anything.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's id, `container:…` with its project and service, or `anonymous`.
    pub id: Arc<str>,
    pub verbs: Arc<[Verb]>,
    pub scopes: Arc<[Scope]>,
    /// The node that the token is bound to. Its scopes are those within the node's region already.
    pub node: Option<NodeName>,
    pub peer: Option<Peer>,
    /// The store's change counter when the caller was authenticated: what was read under it is not older than the
    /// request.
    pub as_of: u64,
    /// Absent for those who hold a token.
    pub resident: Option<Resident>,
    pub trail: Trail,
}

impl Caller {
    /// A caller that showed no valid token. It may do nothing; it exists so that its refusal can be audited.
    #[must_use]
    pub fn anonymous(peer: Option<Peer>, trail: Trail) -> Self {
        let (id, verbs, scopes) = ("anonymous".into(), Arc::new([]), Arc::new([]));
        Self { id, verbs, scopes, node: None, peer, as_of: 0, resident: None, trail }
    }
}
