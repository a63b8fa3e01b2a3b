//! Telling the service manager: `sd_notify(3)`, one datagram a message, to the socket in `NOTIFY_SOCKET`.
//!
//! Without that variable nobody is told, and nothing else is different.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The way to the service manager, if there is one. All copies are the same one.
#[derive(Debug, Clone)]
pub struct Notifier(Arc<Told>);

#[derive(Debug)]
struct Told {
    socket: Option<SocketAddr>,
    /// What `systemctl status` shows while all is well.
    serving: String,
    ready: AtomicBool,
}

impl Notifier {
    /// The manager that started this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the service manager's own protocol, and no setting")]
    pub fn from_environment(serving: String) -> Self {
        Self::new(std::env::var_os("NOTIFY_SOCKET"), serving)
    }

    /// `socket` is a path, or an abstract name after an `@`. What is neither (`vsock:…`) is for virtual machines.
    fn new(socket: Option<OsString>, serving: String) -> Self {
        let address = socket.filter(|socket| !socket.is_empty()).map(|socket| match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(&socket),
            _ => Err(io::ErrorKind::Unsupported.into()),
        });
        let socket = address.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told anything");
            None
        });
        Self(Arc::new(Told { socket, serving, ready: AtomicBool::new(false) }))
    }

    /// The server listens and serves: what is ordered after it may start.
    pub fn ready(&self) {
        self.0.ready.store(true, Ordering::Relaxed);
        self.tell(&format!("READY=1\nSTATUS={}\n", self.0.serving));
    }

    /// The server listens, and cannot serve yet.
    pub fn waiting(&self, why: &str) {
        self.tell(&format!("STATUS={}\n", why.replace('\n', " ")));
    }

    /// Files are read again; [`Notifier::reloaded`] follows.
    pub fn reloading(&self) {
        if self.0.ready.load(Ordering::Relaxed) {
            self.tell("RELOADING=1\nSTATUS=reading its files again\n");
        }
    }

    /// A server that was not ready before is not ready now.
    pub fn reloaded(&self) {
        if self.0.ready.load(Ordering::Relaxed) {
            self.ready();
        }
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing requests\n");
    }

    /// A manager that cannot be told is no reason to stop.
    fn tell(&self, message: &str) {
        let Some(address) = &self.0.socket else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::warn!(%error, message, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(receiver: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = receiver.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("chandlery-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, receiver) in [(path.into_os_string(), by_path), (format!("@{name}").into(), by_name)] {
            let notifier = Notifier::new(Some(socket), "serving on 8420".to_owned());
            notifier.waiting("sealed:\nno key");
            assert_eq!(heard(&receiver), "STATUS=sealed: no key\n");
            // Not ready yet, so a reload must not say that it is.
            notifier.reloading();
            notifier.reloaded();
            notifier.ready();
            assert_eq!(heard(&receiver), "READY=1\nSTATUS=serving on 8420\n");
            notifier.reloading();
            assert!(heard(&receiver).starts_with("RELOADING=1\n"));
            notifier.clone().reloaded();
            assert!(heard(&receiver).starts_with("READY=1\n"));
            notifier.stopping();
            assert!(heard(&receiver).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for socket in [None, Some(""), Some("vsock:2:1234"), Some("notify"), Some("/nowhere/notify")] {
            Notifier::new(socket.map(OsString::from), String::new()).stopping();
        }
    }
}
