//! A server on free ports, and a client that speaks HTTP by hand, so that it can also speak it badly.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::Extension;
use axum::routing::get;
use axum::{Router, body::Body};
use chandlery_server::clock::SystemClock;
use chandlery_server::config::Config;
use chandlery_server::notify::Notifier;
use chandlery_server::pki::Pki;
use chandlery_server::serve::{Certificates, Limits, Listeners, Peer, Unreadable, reload_requested, serve};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) struct Server {
    _directory: TempDir,
    pub(crate) config: Config,
    pub(crate) tls: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) socket: PathBuf,
    /// What the server could not read, as it told.
    pub(crate) unreadable: Arc<Mutex<Vec<&'static str>>>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<usize>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut Limits)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::at_defaults(directory.path()).unwrap();
        let mut limits = Limits::from(&config);
        set(&mut limits);
        let pki = Pki::new(&config, Arc::new(SystemClock));
        pki.ensure().unwrap();
        let certificates = Certificates::load(&config.tls).unwrap();
        let manager = Notifier::from_environment(String::new());
        tokio::spawn(Arc::clone(&certificates).watch(pki, reload_requested(), manager));
        let listener = || TcpListener::bind("127.0.0.1:0");
        let socket = config.socket.clone().unwrap();
        let listeners = Listeners::default()
            .with_tls(listener().await.unwrap(), certificates)
            .with_http(listener().await.unwrap())
            .with_unix(&socket, 0o600)
            .unwrap();
        let bound = listeners.bound();
        let unreadable = Arc::<Mutex<Vec<_>>>::default();
        let told = Arc::clone(&unreadable);
        let tell = Unreadable::new(move |_, what| told.lock().unwrap().push(what));
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(serve(listeners, router(), limits, tell, async move { drop(stopped.await) }));
        Self {
            _directory: directory,
            config,
            tls: bound.tls.unwrap(),
            http: bound.http.unwrap(),
            socket,
            unreadable,
            stop,
            running,
        }
    }

    /// Tells it to stop; what it returns is how many connections it dropped, and how long it took.
    pub(crate) fn stop(self) -> impl Future<Output = (usize, Duration)> {
        let start = Instant::now();
        self.stop.send(()).unwrap();
        async move { (self.running.await.unwrap(), start.elapsed()) }
    }

    pub(crate) fn ca(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        let ca = self.config.data_dir.join("tls/ca.crt");
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        roots
    }

    pub(crate) async fn connect_tls(&self) -> Client<TlsStream<TcpStream>> {
        self.connect_tls_as(tls_config(self.ca())).await.unwrap()
    }

    pub(crate) async fn connect_tls_as(
        &self,
        config: rustls::ClientConfig,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.tls).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(Client)
    }

    pub(crate) async fn connect_http(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.http).await.unwrap())
    }

    pub(crate) async fn connect_unix(&self) -> Client<UnixStream> {
        Client(UnixStream::connect(&self.socket).await.unwrap())
    }
}

pub(crate) fn tls_config(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn router() -> Router {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "slow"
    };
    let never = || async {
        std::future::pending::<()>().await;
        "never"
    };
    let peer = |Extension(peer): Extension<Peer>| async move { Body::from(format!("{peer:?}")) };
    Router::new()
        .route("/", get("hello"))
        .route("/slow", get(slow))
        .route("/never", get(never))
        .route("/peer", get(peer))
}

/// One connection.
pub(crate) struct Client<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: &str) -> std::io::Result<()> {
        self.0.write_all(bytes.as_bytes()).await?;
        self.0.flush().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> std::io::Result<Reply> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await?;
        self.reply().await
    }

    pub(crate) async fn reply(&mut self) -> std::io::Result<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Reply { head, body: String::from_utf8(body).unwrap() })
    }

    /// Waits until the server closes, and says how long that took.
    pub(crate) async fn closed(&mut self) -> Duration {
        let start = Instant::now();
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        start.elapsed()
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came to pass that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
