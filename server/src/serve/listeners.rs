use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::tls::Certificates;
use crate::config::Config;
use crate::fatal::Fatal;

/// Sockets that are bound: whoever makes them chooses the ports.
#[derive(Debug, Default)]
pub struct Listeners {
    tls: Option<(TcpListener, Arc<Certificates>)>,
    http: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// Where the server can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub tls: Option<SocketAddr>,
    pub http: Option<SocketAddr>,
    pub socket: Option<PathBuf>,
}

/// One listener and what comes with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tls(TcpListener, Arc<Certificates>),
    Http(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "its drop removes the file")] SocketFile),
}

impl Listeners {
    /// Binds everything the configuration asks for. Needs the runtime.
    ///
    /// # Errors
    ///
    /// If an address is taken or may not be bound, or another server answers on the unix socket.
    pub fn bind(config: &Config, certificates: Arc<Certificates>) -> Result<Self, Fatal> {
        let mut listeners = Self::default().with_tls(bind_tcp("listen", config.listen)?, certificates);
        if let Some(address) = config.http_listen {
            listeners = listeners.with_http(bind_tcp("http_listen", address)?);
        }
        if let Some(path) = &config.socket {
            let (listener, file) = bind_unix(path, config.socket_mode)?;
            listeners.unix = Some((listener, file));
        }
        Ok(listeners)
    }

    #[must_use]
    pub fn with_tls(mut self, listener: TcpListener, certificates: Arc<Certificates>) -> Self {
        self.tls = Some((listener, certificates));
        self
    }

    #[must_use]
    pub fn with_http(mut self, listener: TcpListener) -> Self {
        self.http = Some(listener);
        self
    }

    /// # Errors
    ///
    /// As [`Self::bind`].
    pub fn with_unix(mut self, path: &Path, mode: u32) -> Result<Self, Fatal> {
        self.unix = Some(bind_unix(path, mode)?);
        Ok(self)
    }

    /// Where they are, with the ports that port 0 became.
    #[must_use]
    pub fn bound(&self) -> Bound {
        Bound {
            tls: self.tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok()),
            http: self.http.as_ref().and_then(|listener| listener.local_addr().ok()),
            socket: self.unix.as_ref().map(|(_, file)| file.0.clone()),
        }
    }

    pub(super) fn into_parts(self) -> Vec<Listener> {
        let tls = self.tls.map(|(listener, certificates)| Listener::Tls(listener, certificates));
        let http = self.http.map(Listener::Http);
        let unix = self.unix.map(|(listener, file)| Listener::Unix(listener, file));
        [tls, http, unix].into_iter().flatten().collect()
    }
}

/// Removes the socket's file when nobody listens on it any more.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// How many clients may wait to be accepted, as far as the system allows (`net.core.somaxconn`). A whole stack that restarts
/// comes at once; who finds the queue full is silently dropped, and tries again a second later, then three. The standard
/// library asks for 128.
const BACKLOG: u32 = 4096;

fn bind_tcp(setting: &str, address: SocketAddr) -> Result<TcpListener, Fatal> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart does not wait for old connections.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or set another port (0 takes a free one)"
            }
            io::ErrorKind::AddrNotAvailable => "this host does not have that address; 0.0.0.0 stands for all it has",
            io::ErrorKind::PermissionDenied => "ports below 1024 are root's; set another",
            _ => "set another address",
        };
        Fatal::new(format!("{setting} {address} cannot be bound: {error}"), hint)
    })
}

fn bind_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Fatal> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let hint = "set a path of at most 106 bytes in a directory the server may write to, or --socket off";
        Fatal::new(format!("the unix socket {shown} cannot be bound: {error}"), hint)
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // Whoever may connect has to get through the directory.
        let directory = match mode {
            mode if mode & 0o007 != 0 => 0o755,
            mode if mode & 0o070 != 0 => 0o750,
            _ => 0o700,
        };
        make_dir(parent, directory).map_err(failed)?;
    }
    remove_stale(path)?;
    let bind = || {
        // It gets its name when it has its mode: a client that comes in between would be refused, and not try again.
        let new = hidden(path);
        let _ = fs::remove_file(&new);
        let listener = StdUnixListener::bind(&new)?;
        let mut file = SocketFile(new);
        fs::set_permissions(&file.0, Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        fs::rename(&file.0, path)?;
        file.0 = path.to_owned();
        Ok((listener, file))
    };
    bind().map_err(failed)
}

/// The name a socket has until it is ready, and for ever in the list of the system's sockets.
fn hidden(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Removes what a killed server left; a socket that somebody answers on, and a file that is none, stay.
fn remove_stale(path: &Path) -> Result<(), Fatal> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let what = format!("{shown} is there and is not a socket");
        return Err(Fatal::new(what, "move it away, or set another path with --socket"));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let removed = fs::remove_file(path);
            removed.map_err(|error| Fatal::new(format!("the stale socket {shown} stays: {error}"), "remove it"))
        }
        _ => {
            let what = format!("another server answers on {shown}");
            Err(Fatal::new(what, "stop it, or set another path with --socket"))
        }
    }
}
