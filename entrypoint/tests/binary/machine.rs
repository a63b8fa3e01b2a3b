//! The region of a machine that nobody names: its file, its cloud, and what is said all the same.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use chandlery_wire::{Code, Problem};

use crate::support::{Ended, Scratch, Server, Start, bundle, ok, problem};

/// A metadata service as the two clouds have it, on this machine.
#[derive(Debug, Clone, Copy)]
enum Cloud {
    /// IMDSv2: a token is had by `PUT` alone, with its time to live, and without one there is nothing.
    Ec2(&'static str),
    /// Knows nothing of tokens.
    DigitalOcean(&'static str),
    /// A web server that is something else.
    Other,
    /// EC2's, which has had enough of questions until it was asked this often.
    Tired(usize),
}

struct Metadata {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

const IMDS_TOKEN: &str = "AQAEAFrBQyk-not_a_secret==";

impl Metadata {
    fn of(cloud: Cloud) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let lines = header(&stream);
                log.lock().unwrap().push(lines[0].clone());
                let (status, body) = match cloud {
                    Cloud::Tired(times) if number < times => ("503 Service Unavailable", ""),
                    Cloud::Tired(_) => Cloud::Ec2("eu-west-1").answer(&lines),
                    cloud => cloud.answer(&lines),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn header(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    lines.take_while(|line| !line.is_empty()).collect()
}

impl Cloud {
    fn answer(self, lines: &[String]) -> (&'static str, &'static str) {
        let header = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        match (self, lines[0].strip_suffix(" HTTP/1.1").unwrap()) {
            (Self::Ec2(_), "PUT /latest/api/token") => match header("X-aws-ec2-metadata-token-ttl-seconds") {
                Some(seconds) if (1..=21_600).contains(&seconds.parse::<u32>().unwrap()) => ("200 OK", IMDS_TOKEN),
                _ => ("400 Bad Request", ""),
            },
            (Self::Ec2(_), _) if header("X-aws-ec2-metadata-token") != Some(IMDS_TOKEN) => ("401 Unauthorized", ""),
            (Self::Ec2(region), "GET /latest/meta-data/placement/region") => ("200 OK", region),
            (Self::DigitalOcean(region), "GET /metadata/v1/region") => ("200 OK", region),
            (Self::DigitalOcean(_), line) if line.starts_with("PUT") => ("405 Method Not Allowed", "405"),
            _ => ("404 Not Found", "404 - Not Found"),
        }
    }
}

/// The machine's file, with this in it.
fn file(scratch: &Scratch, text: &str) -> PathBuf {
    let path = scratch.path().join("region");
    fs::write(&path, text).unwrap();
    path
}

/// A start on a machine with this file, where nobody names the region.
fn on_machine(server: &Server, text: &str) -> Start {
    let start = Start::at(&server.address).without("CHANDLERY_REGION");
    let path = file(&start.scratch, text);
    start.env("CHANDLERY_REGION_FILE", path)
}

fn asked_region(server: &Server) -> String {
    let request = server.requests().pop().unwrap();
    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    path.strip_prefix("/v1/bundles/simpleapp/production").unwrap().to_owned()
}

#[track_caller]
fn started(ended: &Ended) {
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "db.eu.internal 0\n"), "{}", ended.stderr);
}

const SHOW: &str = "echo $DB_HOST $(env | grep -c CHANDLERY_)";

#[test]
fn where_no_region_is_said_it_is_the_machines_file() {
    let server = Server::unix(vec![ok(&bundle())]);
    started(&on_machine(&server, "eu-west-1\n").sh(SHOW));
    assert_eq!(asked_region(&server), "/eu-west-1");
    // It says where the region is from, for whoever looks.
    let told = on_machine(&server, "eu-west-1").env("CHANDLERY_VERBOSE", "1").sh(SHOW);
    let title = "simpleapp/production/eu-west-1 for app, revision 42, region from /dev/shm/";
    assert!(told.stderr.contains(title), "{}", told.stderr);
    // What is said beats it; and `base` says that there is none.
    started(&on_machine(&server, "us-east-1").env("CHANDLERY_REGION", "eu-west-1").sh(SHOW));
    assert_eq!(asked_region(&server), "/eu-west-1");
    started(&on_machine(&server, "us-east-1").args(&["--region", "eu-west-1"]).sh(SHOW));
    let nowhere = Server::unix(vec![ok(&chandlery_wire::Bundle { region: None, ..bundle() })]);
    started(&on_machine(&nowhere, "us-east-1").env("CHANDLERY_REGION", "base").sh(SHOW));
    assert_eq!(asked_region(&nowhere), "");
}

#[test]
fn a_file_that_is_named_has_to_be_there_and_hold_a_name() {
    let server = Server::unix(vec![ok(&bundle())]);
    for (text, why) in [
        ("", "the region name is empty"),
        ("EU", "'E' at character 1"),
        ("eu-west-1\nus-east-1", "'\\n' at character 10"),
        ("all", "must not be \"all\""),
    ] {
        let ended = on_machine(&server, text).sh("echo ran");
        ended.failed(2, why);
        assert!(ended.stderr.contains("hint: the file holds the region's name and nothing else"), "{}", ended.stderr);
    }
    // A file of any length is not read to its end.
    on_machine(&server, &"a".repeat(1 << 20)).sh("echo ran").failed(2, "longer than 63");
    let missing = on_machine(&server, "").env("CHANDLERY_REGION_FILE", "/nowhere/region").sh("echo ran");
    missing.failed(2, "the region's file /nowhere/region cannot be read: No such file");
    on_machine(&server, "").env("CHANDLERY_REGION_FILE", "/proc").sh("echo ran").failed(2, "cannot be read: Is a dir");
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}

#[test]
fn auto_is_the_file_and_then_the_cloud() {
    let server = Server::unix(vec![ok(&bundle())]);
    let auto = |endpoint: &str| {
        let start = Start::at(&server.address).env("CHANDLERY_REGION", "auto");
        start.env("CHANDLERY_METADATA", endpoint)
    };
    // EC2 by its token; DigitalOcean, which has none; EC2 again, when it has recovered.
    let ec2 = Metadata::of(Cloud::Ec2("eu-west-1"));
    started(&auto(&ec2.endpoint).sh(SHOW));
    assert_eq!(asked_region(&server), "/eu-west-1");
    let lines = ["PUT /latest/api/token HTTP/1.1", "GET /latest/meta-data/placement/region HTTP/1.1"];
    assert_eq!(ec2.asked(), lines);
    let ocean = Metadata::of(Cloud::DigitalOcean("eu-west-1"));
    let told = auto(&ocean.endpoint).env("CHANDLERY_VERBOSE", "1").sh(SHOW);
    started(&told);
    assert!(told.stderr.contains("region from DigitalOcean's metadata service"), "{}", told.stderr);
    assert_eq!(ocean.asked(), [lines[0], "GET /metadata/v1/region HTTP/1.1"]);
    let tired = Metadata::of(Cloud::Tired(2));
    started(&auto(&tired.endpoint).sh(SHOW));
    // The file comes before the cloud, and then the cloud is not asked. Nor is it where nobody says auto.
    let unasked = Metadata::of(Cloud::Ec2("us-east-1"));
    let with_file = on_machine(&server, "eu-west-1").env("CHANDLERY_REGION", "auto");
    started(&with_file.env("CHANDLERY_METADATA", &unasked.endpoint).sh(SHOW));
    started(&on_machine(&server, "eu-west-1").env("CHANDLERY_METADATA", &unasked.endpoint).sh(SHOW));
    started(&auto(&unasked.endpoint).env("CHANDLERY_REGION", "eu-west-1").sh(SHOW));
    assert!(unasked.asked().is_empty());
}

#[test]
fn a_cloud_that_does_not_tell_is_an_error_soon() {
    let server = Server::unix(vec![ok(&bundle())]);
    let auto = |endpoint: &str| {
        let start = Start::at(&server.address).env("CHANDLERY_REGION", "auto");
        start.env("CHANDLERY_METADATA", endpoint).sh("echo ran")
    };
    let other = auto(&Metadata::of(Cloud::Other).endpoint);
    other.failed(
        2,
        "it is neither EC2's (PUT /latest/api/token: 404) nor DigitalOcean's (GET /metadata/v1/region: 404)",
    );
    assert!(other.stderr.contains("write it into /etc/chandlery/region"), "{}", other.stderr);
    auto(&Metadata::of(Cloud::Ec2("<html>")).endpoint).failed(2, "is no region: the region name has '<'");
    auto(&Metadata::of(Cloud::Tired(usize::MAX)).endpoint).failed(3, "an answer with status 503");
    // Nobody listens; somebody listens and says nothing.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    auto(&format!("http://{closed}")).failed(3, "Connection refused");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    auto(&format!("http://{}", silent.local_addr().unwrap())).failed(3, "it does not answer");
    for wrong in ["https://127.0.0.1", "http://metadata.google.internal", "127.0.0.1"] {
        auto(wrong).failed(2, "CHANDLERY_METADATA: it is not the address of a metadata service");
    }
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}

#[test]
fn what_contradicts_the_machine_says_whose_word_the_region_is() {
    let no = Problem::new(403, "Forbidden", Code::Forbidden, "the region is east, and west was asked for")
        .with_hint("take CHANDLERY_REGION away; the server knows it");
    let server = Server::unix(vec![problem(&no)]);
    // By the socket's identity the server knows the region, and what the file says is compared.
    let ended = on_machine(&server, "west").without("CHANDLERY_TOKEN").sh("echo ran");
    ended.failed(4, "the region is east, and west was asked for");
    assert!(ended.stderr.contains("    the region west is from /dev/shm/"), "{}", ended.stderr);
    assert!(server.requests()[0].contains("region=west"), "{:?}", server.requests());
    // Said by name, it is nobody else's word.
    let said = on_machine(&server, "west").env("CHANDLERY_REGION", "west").sh("echo ran");
    assert!(!said.stderr.contains("is from"), "{}", said.stderr);
    // Where the server is to know the region, `base` keeps the machine's out of it.
    let silent = Server::unix(vec![ok(&bundle())]);
    let base = on_machine(&silent, "west").env("CHANDLERY_REGION", "base");
    started(&base.without("CHANDLERY_TOKEN").sh(SHOW));
    assert!(!silent.requests()[0].contains("region="), "{:?}", silent.requests());
}
