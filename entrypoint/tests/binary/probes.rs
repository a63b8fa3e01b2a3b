//! Probes by URL, against fakes that answer what each protocol has for "not ready", and what nobody expects.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};

use crate::support::{CANARY, Ended, Scratch, Server, Start, bundle, ended, json, ok, program, variable};
use crate::trust::{authority, identity};
use crate::waiting::{free_port, silent_port};

/// What the fake does with one connection, after it has read what the probe sends first.
#[derive(Clone)]
enum Does {
    Says(Vec<u8>),
    /// A byte at a time.
    Drips(Vec<u8>),
    /// Nothing, and keeps the connection.
    Silence,
    Closes,
}

/// A dependency. The nth connection gets the nth part of the script, and the last part stays.
struct Fake {
    address: String,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    /// `asks` is how many bytes of what the probe says first it reads.
    fn new(asks: usize, script: Vec<Does>, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, heard) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let (count, log) = (Arc::clone(&connections), Arc::clone(&heard));
        let tls = tls.map(Arc::new);
        thread::spawn(move || {
            let mut held = Vec::new();
            for socket in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                socket.set_nodelay(true).unwrap();
                let mut stream: Box<dyn Stream> = match &tls {
                    Some(config) => {
                        Box::new(rustls::StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), socket))
                    }
                    None => Box::new(socket),
                };
                let mut asked = vec![0; asks];
                let heard = stream.read_exact(&mut asked);
                log.lock().unwrap().extend_from_slice(&asked);
                let does = script.get(number).or(script.last()).cloned().unwrap();
                if heard.is_err() && tls.is_none() {
                    continue;
                }
                match does {
                    Does::Says(bytes) => _ = stream.write_all(&bytes).and_then(|()| stream.flush()),
                    Does::Drips(bytes) => bytes.iter().for_each(|byte| {
                        let _ = stream.write_all(&[*byte]).and_then(|()| stream.flush());
                        thread::sleep(Duration::from_millis(1));
                    }),
                    Does::Silence => {}
                    Does::Closes => continue,
                }
                held.push(stream);
            }
        });
        Self { address, connections, heard }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// `wait --format json` for these URLs, and what it said.
fn wait(urls: &[&str], time: &str, variables: &[(&str, &str)]) -> (Ended, Vec<serde_json::Value>) {
    let mut command = Command::new(program());
    command.env_clear().envs(variables.iter().copied()).args(["wait", "--format", "json", "--timeout", time]);
    urls.iter().for_each(|url| _ = command.args(["--wait", url]));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let ended = ended(child.unwrap());
    let said =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    (ended, said)
}

fn states(said: &[serde_json::Value]) -> Vec<&str> {
    said.iter().map(|line| line["state"].as_str().unwrap_or("?")).collect()
}

/// A protocol's scheme, how many bytes its probe says, what means "not ready" and why, and what means "ready".
type Protocol = (&'static str, usize, &'static [u8], &'static str, &'static [u8]);

fn protocols() -> Vec<Protocol> {
    vec![
        ("postgres", 20, b"E\0\0\0\x15C57P03\0Mstarting\0\0", "starting", b"R\0\0\0\x08\0\0\0\x05"),
        ("mysql", 0, b"\x0b\0\0\0\xff\x10\x04Too many", "error 1040: Too many", b"\x05\0\0\0\x0a8.0\0"),
        (
            "redis",
            14,
            b"+OK\r\n-LOADING Redis is loading\r\n",
            "LOADING Redis is loading",
            b"-ERR\r\n-NOAUTH Log in\r\n",
        ),
        ("amqp", 8, b"AMQP\0\0\x09\x01", "it speaks another version of AMQP", b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a"),
        ("memcached", 9, b"SERVER_ERROR busy\r\n", "SERVER_ERROR busy", b"VERSION 1.6\r\n"),
        ("http", 90, b"HTTP/1.1 503 No\r\n\r\n", "status 503", b"HTTP/1.1 200 OK\r\n\r\n"),
    ]
}

#[test]
fn each_protocol_is_waited_for_until_it_says_that_it_is_ready() {
    for (scheme, asks, not_ready, why, ready) in protocols() {
        for ready in [Does::Says(ready.to_vec()), Does::Drips(ready.to_vec())] {
            let script = vec![Does::Says(not_ready.to_vec()), Does::Closes, Does::Drips(not_ready.to_vec()), ready];
            let fake = Fake::new(asks, script, None);
            let (ended, said) = wait(&[&format!("{scheme}://me:{CANARY}@{}/x?y", fake.address)], "20s", &[]);
            assert_eq!(ended.code, 0, "{scheme}: {}", ended.stderr);
            assert_eq!(said[1]["detail"], why, "{scheme}: {}", ended.stderr);
            assert_eq!((states(&said)[0], states(&said)[1]), ("waiting", "not-ready"), "{scheme}");
            assert_eq!(said.last().unwrap()["event"], "ready", "{scheme}");
            assert_eq!(fake.connections.load(Ordering::SeqCst), 4, "{scheme}");
        }
    }
}

#[test]
fn who_answers_that_it_is_not_ready_is_not_stormed() {
    let fake = Fake::new(14, vec![Does::Says(b"-LOADING x\r\n".to_vec())], None);
    let (ended, _) = wait(&[&format!("redis://{}", fake.address)], "1500ms", &[]);
    assert_eq!(ended.code, 1);
    // 100 ms apart at first, and further apart later.
    let count = fake.connections.load(Ordering::SeqCst);
    assert!((2..=15).contains(&count), "{count} connections in 1.5 s");
    // Where an interval is set it is obeyed.
    let fake = Fake::new(14, vec![Does::Says(b"-LOADING x\r\n".to_vec())], None);
    let url = format!("redis://{}", fake.address);
    let _ = wait(&[&url], "1200ms", &[("WAIT_SLEEP_INTERVAL", "1s")]);
    assert!((1..=2).contains(&fake.connections.load(Ordering::SeqCst)));
}

#[test]
fn silence_and_garbage_end_at_the_deadline_and_are_told_apart() {
    let noise: Vec<u8> = (0..=255).rev().cycle().take(70_000).collect();
    for (scheme, asks, ..) in protocols() {
        let silent = Fake::new(asks, vec![Does::Silence], None);
        let garbage = Fake::new(asks, vec![Does::Says(noise.clone())], None);
        let closes = Fake::new(asks, vec![Does::Closes], None);
        let urls = [&silent, &garbage, &closes].map(|fake| format!("{scheme}://{}", fake.address));
        let (ended, said) = wait(&[&urls[0], &urls[1], &urls[2]], "3s", &[]);
        assert_eq!(ended.code, 1, "{scheme}: {}", ended.stderr);
        let seen = |number: usize| {
            let line = said.iter().find(|line| line["event"] == "timeout" && line["dependency"] == *urls[number]);
            line.unwrap_or_else(|| panic!("{scheme}: {}", ended.stderr))["detail"].as_str().unwrap().to_owned()
        };
        assert!(seen(0).contains("accepts the connection, and does not answer"), "{scheme}: {}", seen(0));
        assert!(seen(1).contains("something else than"), "{scheme}: {}", seen(1));
        assert!(seen(2).contains("closes the connection") || seen(2).contains("resets"), "{scheme}: {}", seen(2));
        // Who does not answer is asked again once a second, not at the pace of refusals.
        assert!(silent.connections.load(Ordering::SeqCst) <= 5, "{scheme}");
    }
}

#[test]
fn tls_is_checked_against_the_given_authority() {
    let (ours, other) = (authority(), authority());
    let pong = || vec![Does::Says(b"+PONG\r\n".to_vec())];
    let page = || vec![Does::Says(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())];
    let start = || vec![Does::Says(b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a".to_vec())];
    let identity = |expired| Some(identity(&ours, &["127.0.0.1"], expired));
    let fakes = [
        ("rediss", Fake::new(14, pong(), identity(false))),
        ("https", Fake::new(90, page(), identity(false))),
        ("amqps", Fake::new(8, start(), identity(false))),
    ];
    let urls = fakes.each_ref().map(|(scheme, fake)| format!("{scheme}://{}", fake.address));
    let urls = urls.each_ref().map(String::as_str);
    let scratch = Scratch::new();
    let file = scratch.path().join("ca.pem");
    std::fs::write(&file, ours.pem()).unwrap();
    for given in [ours.pem().as_str(), file.to_str().unwrap()] {
        let (ended, _) = wait(&urls, "20s", &[("WAIT_CACERT", given)]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let (ended, said) = wait(&urls, "500ms", &[("WAIT_CACERT", &other.pem())]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let untrusted =
        said.iter().filter(|line| line["detail"] == "its certificate does not lead to a CA that is trusted here");
    assert!(untrusted.count() >= 3, "{}", ended.stderr);
    let expired = Fake::new(14, pong(), identity(true));
    let (ended, _) = wait(&[&format!("rediss://{}", expired.address)], "500ms", &[("WAIT_CACERT", &ours.pem())]);
    assert!(ended.code == 1 && ended.stderr.contains("its certificate has expired"), "{}", ended.stderr);
    // Somebody who does not speak TLS, byte by byte, and somebody who says nothing in it.
    let plain = Fake::new(14, vec![Does::Drips(b"+PONG\r\n+PONG\r\n".to_vec())], None);
    let mute = Fake::new(14, vec![Does::Silence], None);
    let urls = [format!("rediss://{}", plain.address), format!("rediss://{}", mute.address)];
    let (ended, _) = wait(&[&urls[0], &urls[1]], "3s", &[("WAIT_CACERT", &ours.pem())]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("the answer is not TLS") && ended.stderr.contains("does not answer"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_http_request_has_what_the_url_says_and_no_fragment() {
    let server = Server::http(vec![json("503 Service Unavailable", b""), json("401 Unauthorized", b"")]);
    let url = server.address.replace("://", "://me:p%40ss@") + "/a%20b?c=d#status=2xx,401";
    let mut command = Command::new(program());
    command.env_clear().env("WAIT_HOSTS", format!("{url},{url}"));
    command.args(["wait", "-wait-http-header", "X-Probe: yes", "-timeout", "20s"]);
    let ended = ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let request = &server.requests()[0];
    let host = server.address.strip_prefix("http://").unwrap();
    assert!(request.starts_with(&format!("GET /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\n")), "{request}");
    assert!(
        request.contains("X-Probe: yes\r\n") && request.contains("Authorization: Basic bWU6cEBzcw==\r\n"),
        "{request}"
    );
    assert!(!request.contains("status"), "{request}");
}

#[test]
fn what_is_sent_to_postgres_is_a_startup_message() {
    let fake = Fake::new(35, vec![Does::Says(b"R\0\0\0\x08\0\0\0\0".to_vec())], None);
    let (ended, _) = wait(&[&format!("postgresql://o%27neil:{CANARY}@{}/shop", fake.address)], "20s", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let heard = fake.heard.lock().unwrap();
    assert_eq!(&heard[..], b"\0\0\0\x23\0\x03\0\0user\0o'neil\0database\0shop\0\0");
}

#[test]
fn sockets_files_and_ports_are_found_when_they_come() {
    let scratch = Scratch::new();
    let (socket, file, port) = (scratch.path().join("a b.sock"), scratch.path().join("file"), free_port());
    let urls = [
        format!("unix://{}", socket.display().to_string().replace(' ', "%20")),
        format!("file://{}", file.display()),
        format!("tcp://{port}"),
        format!("tcp4://localhost:{}", port.port()),
    ];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let opener = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        let unix = UnixListener::bind(socket).unwrap();
        std::fs::write(file, "").unwrap();
        (unix, TcpListener::bind(port).unwrap())
    });
    let (ended, said) = wait(&urls, "20s", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let _open = opener.join().unwrap();
    let detail = |at: usize| {
        said.iter()
            .find(|line| {
                line["dependency"] != ""
                    && line["detail"] != "no answer so far"
                    && line["dependency"].as_str().unwrap().starts_with(["unix", "file", "tcp:", "tcp4"][at])
            })
            .unwrap()["detail"]
            .clone()
    };
    assert_eq!(detail(0), "there is no such socket");
    assert_eq!(detail(1), "it does not exist");
    assert_eq!(detail(2), "connection refused");
    assert_eq!(detail(3), "connection refused");
}

#[test]
fn many_silent_hosts_leave_descriptors_for_the_rest() {
    let (listener, _held) = silent_port();
    let silent = listener.local_addr().unwrap().to_string();
    let hosts = vec![silent.as_str(); 60].join(",");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 128; exec \"$0\" wait --timeout 5s"]).arg(program());
    shell.env_clear().env("WAIT_HOSTS", hosts).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = ended(shell.spawn().unwrap());
    assert_eq!(ended.code, 1);
    assert!(!ended.stderr.contains("open files"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("it is silent").count(), 60, "{}", ended.stderr);
}

#[test]
fn a_start_waits_by_options_and_by_the_bundle_and_says_124_with_what_was_seen() {
    let redis = Fake::new(14, vec![Does::Says(b"+OK\r\n-LOADING Redis is loading\r\n".to_vec())], None);
    let url = format!("redis://:{CANARY}@{}", redis.address);
    let server = Server::unix(vec![ok(&bundle())]);
    let run = |arguments: &[&str]| Start::at(&server.address).args(arguments).sh("echo ran");
    let ended = run(&["--wait", &url, "--wait-timeout", "300ms"]);
    ended.failed(124, &format!("    redis://{}: LOADING Redis is loading", redis.address));
    run(&["-wait", &url, "-timeout", "300ms", "-wait-retry-interval", "100ms"]).failed(124, "LOADING");
    run(&["--wait", "db"]).failed(2, "--wait");
    run(&["-wait", "file:///usr", "-timeout", "soon"]).failed(2, "WAIT_TIMEOUT");
    assert_eq!(run(&["-wait", "file:///usr"]).stdout, "ran\n");

    let mut with_url = bundle();
    with_url.variables.push(variable("WAIT_HOSTS", &url, true));
    with_url.variables.push(variable("WAIT_HOSTS_TIMEOUT", "300ms", false));
    let server = Server::unix(vec![ok(&with_url)]);
    Start::at(&server.address).sh("echo ran").failed(124, "LOADING");
    let paths = Start::at(&server.address).env("WAIT_PATHS", "/nowhere/at/all").args(&["--preserve", "WAIT_HOSTS"]);
    paths.env("WAIT_HOSTS", "").sh("echo ran").failed(124, "/nowhere/at/all: it does not exist");
}

#[test]
fn what_is_inherited_and_wrong_is_found_before_the_fetch() {
    let server = Server::unix(vec![ok(&bundle())]);
    for (name, value) in [("WAIT_HOSTS", "db"), ("WAIT_BEFORE", "x"), ("WAIT_PATHS", ",")] {
        Start::at(&server.address).env(name, value).sh("echo ran").failed(2, name);
    }
    assert!(server.requests().is_empty(), "the server was asked");
}

#[test]
fn machines_get_lines_of_json_from_a_start_too() {
    let server = Server::unix(vec![ok(&bundle())]);
    let closed = free_port().to_string();
    let start = Start::at(&server.address).args(&["--format", "json"]);
    let ended = start.env("WAIT_HOSTS", &closed).env("WAIT_TIMEOUT", "300ms").sh("echo ran");
    assert_eq!(ended.code, 124);
    let said: Vec<serde_json::Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = said.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "waiting", "timeout", "failed"], "{}", ended.stderr);
    for line in &said[..3] {
        assert!(line["dependency"] == *closed && line["elapsed_ms"].is_u64() && line["detail"].is_string());
    }
    assert_eq!((&said[2]["state"], &said[3]["exit"]), (&"refused".into(), &124.into()));
}
