//! The first team's stack in Docker, with a real Redis and a real MariaDB, in two regions at once: one reaches the server
//! over TLS at the bridge's address, the other over the unix socket in a mounted folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chandlery_tests::docker::{self, Compose, Images, docker};
use chandlery_tests::stacks::{ASIA, EUROPE, folder, import_simpleapp, simpleapp};
use chandlery_tests::{Canaries, Program, Server, StartOptions};
use serde_json::Value;
use tempfile::TempDir;

const SERVICES: [&str; 3] = ["app", "db", "cache"];

#[test]
fn two_regions_run_with_passwords_that_nobody_else_sees() {
    if !docker::available("two_regions_run_with_passwords_that_nobody_else_sees") {
        return;
    }
    let images = Images::build();
    let _steady = docker::nobody_leaves_a_swarm();
    let mut canaries = Canaries::new();
    let server = server_on_the_bridge();
    import_simpleapp(&server, &mut canaries);
    let europe = Region::up(&server, &images, &mut canaries, EUROPE, Road::Tls);
    let asia = Region::up(&server, &images, &mut canaries, ASIA, Road::Socket);

    for region in [&europe, &asia] {
        region.is_itself(&canaries);
        region.counts_and_stores();
    }
    // The tmpfs of a container that starts again is empty: it must fetch again, and does.
    europe.restart("app");
    assert_eq!(europe.get()["visits"], 4, "the cache remembers, the app came back");
    europe.is_itself(&canaries);
    for region in [&europe, &asia] {
        region.shows_no_value(&canaries);
    }
    canaries.assert_absent("the server's log", server.log().as_bytes());
    canaries.assert_absent("what the CLI said", server.heard().as_bytes());
    canaries.assert_absent_below(&server.data(), &[]);
}

/// A server that containers reach at the address of Docker's own bridge.
fn server_on_the_bridge() -> Server {
    let args = ["--listen".to_owned(), format!("{}:0", docker::bridge_address())].to_vec();
    Server::start_with(StartOptions { args, ..StartOptions::default() })
}

/// How a region's containers reach the server.
#[derive(Clone, Copy, PartialEq)]
enum Road {
    Tls,
    Socket,
}

/// The stack of one region, up.
struct Region {
    name: &'static str,
    project: String,
    compose: Compose,
    /// The folder with the services' tokens, which the containers have mounted.
    _tokens: TempDir,
}

impl Region {
    fn up(server: &Server, images: &Images, canaries: &mut Canaries, name: &'static str, road: Road) -> Self {
        let tokens = TempDir::with_prefix("chandlery-tokens-").expect("a temporary folder");
        for service in SERVICES {
            let token = server.bundle_token(&simpleapp(name, service));
            canaries.watch(&format!("the token of {service} in {name}"), &token);
            fs::write(tokens.path().join(service), token + "\n").expect("the folder takes a file");
        }
        let local = server.local();
        let socket = PathBuf::from(local.socket.as_ref().expect("the server has a socket"));
        let authority = Path::new(&local.ca_file);
        let (address, share) = match road {
            Road::Tls => (local.address.clone(), authority.parent()),
            Road::Socket => ("unix:///run/chandlery/server/chandlery.sock".to_owned(), socket.parent()),
        };
        let authority = authority.file_name().expect("a file has a name").to_string_lossy();
        let authority = format!("/run/chandlery/server/{authority}");
        let project = format!("chandlery-test-{}-{name}", std::process::id());
        let stack = folder("simpleapp");
        let [plain, ours, second] = ["docker-compose.yml", "docker-compose.chandlery.yml", "docker-compose.v2.yml"]
            .map(|file| stack.join(file));
        let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let mut env = vec![
            ("PROJECT", project.clone()),
            ("IMAGES", format!("chandlery-test-{}", images.tag())),
            ("APP_PORT", "127.0.0.1:".to_owned()),
            ("CHANDLERY_ADDR", address),
            ("CHANDLERY_REGION", name.to_owned()),
            ("CHANDLERY_ENTRYPOINT", path(&Program::StaticEntrypoint.path())),
            ("CHANDLERY_TOKENS", path(tokens.path())),
            ("CHANDLERY_SHARE", path(share.expect("the file is in a folder"))),
        ];
        if road == Road::Tls {
            env.push(("CHANDLERY_CACERT", authority));
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let compose = Compose::new(&project, [&plain, &ours], &second, &env);
        for (service, base) in [("cache", &images.redis), ("db", &images.mariadb), ("app", &images.python)] {
            compose.run(&["build", "--build-arg", &format!("BASE={base}"), service]).ok();
        }
        compose.run(&["up", "-d"]).ok();
        let region = Self { name, project, compose, _tokens: tokens };
        region.wait_until_it_serves();
        region
    }

    fn container(&self, service: &str) -> String {
        format!("{}_{service}", self.project)
    }

    fn restart(&self, service: &str) {
        docker(&["restart", "--time", "2", &self.container(service)]).ok();
        self.wait_until_it_serves();
    }

    /// The region's own variables, and its own passwords byte for byte, with nothing of ours left in the environment.
    fn is_itself(&self, canaries: &Canaries) {
        for name in ["mysql_password", "redis_password"] {
            let path = format!("/run/secrets/{name}");
            let password = docker(&["exec", &self.container("app"), "cat", &path]).ok().stdout;
            canaries.assert_present(&format!("{name} in {}", self.name), &password);
            assert_eq!(password.len(), "cnry-".len() + 30);
        }
        let page = self.get();
        let (tz, url) = match self.name {
            EUROPE => ("Europe/Dublin", "https://eu.simpleapp.example"),
            _ => ("Asia/Singapore", "https://ap.simpleapp.example"),
        };
        assert_eq!((page["tz"].as_str(), page["public_url"].as_str()), (Some(tz), Some(url)));
        assert_eq!(page["database_url_works"], true);
        assert_eq!(page["chandlery_variables"], Value::Array(Vec::new()));
        // Redis asks for the password that its configuration, a template, was given.
        let answer = docker(&["exec", &self.container("cache"), "redis-cli", "ping"]).output();
        assert!(answer.text().contains("NOAUTH"), "{answer}");
    }

    /// The second page the region serves, with a row that was stored before it.
    fn counts_and_stores(&self) {
        let before = self.get();
        let form = format!("name={}&food=laksa", self.name);
        let curl = ["exec", &self.container("app"), "python3", "-c", POST, &form].map(str::to_owned);
        docker(&curl.each_ref().map(String::as_str)).ok();
        let after = self.get();
        assert_eq!(after["visits"].as_u64(), before["visits"].as_u64().map(|visits| visits + 1));
        assert_eq!(after["favourites"], serde_json::json!([[self.name, "laksa"]]));
    }

    /// No password and no token in an image, in what `inspect` and `logs` show, or in the containers' processes' arguments.
    fn shows_no_value(&self, canaries: &Canaries) {
        for service in SERVICES {
            let container = self.container(service);
            let inspect = docker(&["inspect", &container]).ok().stdout;
            canaries.assert_absent(&format!("docker inspect {container}"), &inspect);
            canaries.assert_absent(&format!("docker logs {container}"), docker::logs(&container).as_bytes());
            let top = docker(&["top", &container, "-eo", "pid,args"]).ok().stdout;
            canaries.assert_absent(&format!("docker top {container}"), &top);
            // What the container wrote to its own layer is what `docker commit` would make an image of.
            let layer = docker(&["export", &container]).ok().stdout;
            canaries.assert_absent(&format!("the files of {container}"), &layer);
            let image = docker(&["inspect", "--format", "{{.Config.Image}}", &container]).ok();
            let history = docker(&["history", "--no-trunc", image.text().trim()]).ok().stdout;
            canaries.assert_absent("docker history", &history);
        }
    }

    fn get(&self) -> Value {
        let page = docker(&["exec", &self.container("app"), "python3", "-c", GET]).ok();
        page.json()
    }

    fn wait_until_it_serves(&self) {
        for _ in 0..600 {
            if docker(&["exec", &self.container("app"), "python3", "-c", LISTENS]).output().code() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        let logs = SERVICES.map(|service| docker::logs(&self.container(service))).join("\n");
        let state = self.compose.run(&["ps"]).output();
        panic!("{} does not serve: {state}\n{logs}", self.name);
    }
}

const LISTENS: &str = "import socket; socket.create_connection(('127.0.0.1', 80)).close()";
const GET: &str = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())";
const POST: &str = "import sys, urllib.request as u; u.urlopen('http://127.0.0.1/', sys.argv[1].encode())";
