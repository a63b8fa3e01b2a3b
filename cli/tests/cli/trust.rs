//! Which server is believed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::{Cli, Server, TOKEN};

type Tls = StreamOwned<ServerConnection, TcpStream>;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.der());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// A server whose certificate has this name, and which shows the CA's too.
    fn serve(&self, name: &str, server: &Server) -> String {
        let server = server.clone();
        self.listen(name, move |stream| server.serve(stream))
    }

    fn listen(&self, name: &str, serve: impl Fn(&mut Tls) + Send + 'static) -> String {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone(), self.0.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // As the server does. Else an answer may still wait for the client's acknowledgement when the connection is
                // closed with a body unread, and is thrown away.
                stream.set_nodelay(true).unwrap();
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                serve(&mut stream);
                stream.conn.send_close_notify();
                let _ = stream.conn.write_tls(&mut stream.sock);
            }
        });
        address
    }
}

#[test]
fn a_server_is_believed_by_its_ca_or_its_pin_and_its_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::always(r#"{"entries": []}"#);
    let address = authority.serve("127.0.0.1", &server);
    let cli = Cli::at(&address);
    std::fs::write(cli.path("ca.pem"), authority.0.pem()).unwrap();
    std::fs::write(cli.path("other.pem"), other.0.pem()).unwrap();
    std::fs::write(cli.path("no.pem"), "nothing").unwrap();
    cli.run(&["list", "--cacert", "ca.pem"]).succeeds();
    cli.run(&["list", "--fingerprint", &authority.fingerprint()]).succeeds();
    assert_eq!(server.asked().len(), 2);
    cli.run(&["list"]).fails(3, "CA that is not trusted");
    cli.run(&["list", "--cacert", "other.pem"]).fails(3, "CA that is not trusted");
    cli.run(&["list", "--fingerprint", &other.fingerprint()]).fails(3, "fingerprint that is pinned");
    cli.run(&["list", "--cacert", "no.pem"]).fails(2, "no certificate in PEM");
    cli.run(&["list", "--fingerprint", "sha256:12"]).fails(2, "64 hexadecimal digits");
    cli.run(&["list", "--fingerprint", "x", "--cacert", "ca.pem"]).fails(2, "exclude each other");
    let elsewhere = Cli::at(&authority.serve("elsewhere.example", &server));
    std::fs::write(elsewhere.path("ca.pem"), authority.0.pem()).unwrap();
    elsewhere.run(&["list", "--cacert", "ca.pem"]).fails(3, "for another name");
    elsewhere.run(&["list", "--fingerprint", &authority.fingerprint()]).fails(3, "for another name");
    assert_eq!(server.asked().len(), 2, "no token went to a server that was not believed");
}

#[test]
fn a_login_remembers_whom_to_believe() {
    let authority = Authority::new();
    let info = r#"{"id": "tok_x", "description": "me", "verbs": [], "scopes": [], "created": "x"}"#;
    let server = Server::always(info);
    let cli = Cli::bare();
    let address = authority.serve("127.0.0.1", &server);
    std::fs::write(cli.path("ca.pem"), authority.0.pem()).unwrap();
    cli.run_with_input(&["login", &address, "--cacert", "ca.pem"], TOKEN.as_bytes()).succeeds();
    std::fs::remove_file(cli.path("ca.pem")).unwrap();
    cli.run(&["token", "show"]).succeeds();
    cli.run_with_input(&["login", &address, "--fingerprint", &authority.fingerprint()], TOKEN.as_bytes()).succeeds();
    cli.run(&["token", "show"]).succeeds();
}

#[test]
fn plain_http_is_for_this_machine_and_the_socket_works() {
    Cli::at("http://192.0.2.1:80").run(&["list"]).fails(2, "in the clear");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::always(r#"{"entries": []}"#);
    let address = server.on_socket(&folder.path().join("a.sock"));
    Cli::at(&address).run(&["list"]).succeeds();
    assert_eq!(server.asked()[0].token.as_deref(), Some(TOKEN));
}

#[test]
fn half_an_answer_is_no_answer() {
    for reply in ["", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"entries\": []}", "hello\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut head);
            let _ = std::io::Write::write_all(&mut stream, reply.as_bytes());
        });
        Cli::at(&address).run(&["list"]).fails(3, "no usable answer");
    }
}

#[test]
fn a_server_that_refuses_a_body_before_it_has_read_it_is_heard() {
    let authority = Authority::new();
    let address = authority.listen("127.0.0.1", |stream| {
        let _ = stream.read(&mut [0; 100]);
        let problem = r#"{"title": "x", "status": 413, "code": "too-large", "detail": "the body is too large"}"#;
        let head = "HTTP/1.1 413 X\r\nContent-Type: application/problem+json\r\nContent-Length:";
        let _ = stream.write_all(format!("{head} {}\r\n\r\n{problem}", problem.len()).as_bytes());
    });
    let cli = Cli::at(&address);
    let lines: String = (0..30).map(|n| format!("V{n}={}\n", "x".repeat(400_000))).collect();
    std::fs::write(cli.path("big.env"), lines).unwrap();
    cli.run(&["import", "big.env", "--fingerprint", &authority.fingerprint()]).fails(7, "the body is too large");
}
