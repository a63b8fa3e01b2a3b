//! `local.json`: how programs of the same user on the same host find the server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chandlery_wire::api::LocalServer;

use super::Bound;
use crate::fatal::Fatal;
use crate::paths::write_private;
use crate::pki::TrustAnchor;

const FILE_NAME: &str = "local.json";

/// What the file says of a server that listens.
#[must_use]
pub fn local_server(bound: &Bound, trust: &TrustAnchor, token_file: &Path) -> LocalServer {
    LocalServer {
        pid: std::process::id(),
        address: bound.tls.map(|address| format!("https://{}", reachable(address))).unwrap_or_default(),
        http_address: bound.http.map(|address| format!("http://{address}")),
        socket: bound.socket.as_deref().map(absolute),
        ca_file: absolute(&trust.file),
        ca_fingerprint: trust.fingerprint.clone(),
        token_file: absolute(token_file),
    }
}

/// The file, while the server listens: removed with this.
#[derive(Debug)]
pub struct LocalFile(PathBuf);

impl LocalFile {
    /// Removes what a killed server left, before anybody believes it.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be removed.
    pub fn clear(data_dir: &Path) -> Result<(), Fatal> {
        let path = data_dir.join(FILE_NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Says where the server is.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(data_dir: &Path, server: &LocalServer) -> Result<Self, Fatal> {
        let path = data_dir.join(FILE_NAME);
        let json = serde_json::to_vec_pretty(server).map_err(io::Error::other);
        json.and_then(|json| write_private(&path, &json)).map_err(|error| failed(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn failed(path: &Path, error: &io::Error) -> Fatal {
    let hint = "the data directory has to be writable by the server, with room on its disk";
    Fatal::new(format!("{} cannot be written: {error}", path.display()), hint)
}

/// From the same host, all addresses means the loopback one, which the certificate names.
fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// Readers have other working directories.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
