//! The third team's application in its regions: the page docs/stacks/global.md, step by step, on two Docker hosts behind a
//! load balancer, with a client that asks all the while.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chandlery_tests::docker::{Images, docker};
use chandlery_tests::page::{Block, Page, Reader};
use chandlery_tests::stacks::{folder, global_regions};
use chandlery_tests::{Program, Run, SecondHost, Server, StartOptions};
use serde_json::Value;

const NAME: &str = "the_page_of_the_global_stack_is_followed_without_one_failed_request";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_page_of_the_global_stack_is_followed_without_one_failed_request() {
    if !SecondHost::available(NAME) {
        return;
    }
    let world = World::new();
    let page = Page::read("docs/stacks/global.md");
    let mut sections: Vec<&str> = page.blocks().iter().map(|block| block.section.as_str()).collect();
    sections.dedup();
    let until = sections.iter().position(|section| *section == "A release").expect("a release is on the page");
    for section in &sections[..until] {
        world.follow(&page, section);
    }
    assert_eq!(sections[until..], ["A release", "A release that fails", "Back"], "the rest is followed below");
    world.serves("us-east-1", "1", None);
    world.serves("eu-west-1", "1", None);

    let client = Client::start(world.balancer);
    client.has_been_in_both_regions();
    world.follow(&page, "A release");
    client.has_been_in_both_regions();
    world.serves("us-east-1", "2", Some("Now in seven regions"));
    world.serves("eu-west-1", "2", Some("Now in seven regions"));

    world.follow(&page, "A release that fails");
    world.serves("us-east-1", "2", Some("Sale!"));
    world.serves("eu-west-1", "2", Some("Sale!"));
    client.has_been_in_both_regions();

    world.follow(&page, "Back");
    world.serves("us-east-1", "2", Some("Sale!"));
    world.serves("eu-west-1", "2", Some("Sale!"));
    client.has_been_in_both_regions();

    world.an_unreachable_host_changes_nothing();
    let seen = client.stop();
    assert_eq!(seen.failed, Vec::<String>::new(), "not one request may fail; {} went well", seen.well);
    assert!(seen.well > 100, "only {} requests were made", seen.well);
    world.nothing_secret_was_left();
}

/// Two Dockers, a server that both reach, the team's folder, and whoever follows the page in it.
struct World {
    reader: Reader,
    server: Server,
    second: SecondHost,
    folder: PathBuf,
    balancer: u16,
    web: u16,
}

impl World {
    fn new() -> Self {
        let images = Images::build();
        let second = SecondHost::start("chandlery-eu-west-1");
        let args = ["--listen".to_owned(), format!("{}:0", SecondHost::OURS)].to_vec();
        let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
        let at = server.project().join("chuspace");
        fs::create_dir_all(at.join("envs")).expect("a folder");
        fs::create_dir_all(at.join("app")).expect("a folder");
        for region in global_regions() {
            let name = format!("{region}.env");
            fs::copy(folder("global").join(&name), at.join("envs").join(&name)).expect("the region's file is there");
        }
        for name in ["Dockerfile", "puma", "sidekiq", "healthy"] {
            fs::copy(folder("global").join("app").join(name), at.join("app").join(name))
                .expect("the application is there");
        }
        let (balancer, web) = (free_port(), free_port());
        let reader = Reader::new(&at)
            .env("HOME", server.project())
            .env("CHANDLERY_DATA_DIR", server.data())
            .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
            // The classic builder finds the local images without asking anybody for them.
            .env("DOCKER_BUILDKIT", "0")
            .env("IMAGE_BASE", &images.python)
            .env("US_EAST_1", "unix:///var/run/docker.sock")
            .env("EU_WEST_1", second.url())
            .env("US_EAST_1_IP", "127.0.0.1")
            .env("EU_WEST_1_IP", SecondHost::THEIRS.to_string())
            .env("WEB_PORT", web.to_string())
            .env("LB_PORT", balancer.to_string());
        Self { reader, server, second, folder: at, balancer, web }
    }

    /// Does everything below this heading, in the page's order.
    fn follow(&self, page: &Page, section: &str) {
        let blocks: Vec<&Block> = page.blocks().iter().filter(|block| block.section == section).collect();
        assert!(!blocks.is_empty(), "there is nothing to be done below {section:?}");
        for block in blocks {
            if let Some(output) = self.reader.does(block) {
                self.server.hear(&output);
            }
        }
    }

    /// The region's own machine answers with this release and value, and with the values of that region and no other.
    fn serves(&self, region: &str, release: &str, banner: Option<&str>) {
        let address = if region == "us-east-1" { "127.0.0.1".to_owned() } else { SecondHost::THEIRS.to_string() };
        let reply = ask(&format!("{address}:{}", self.web)).unwrap_or_else(|why| panic!("{region}: {why}"));
        let expected = fs::read(folder("global").join(format!("{region}.json"))).expect("what each variable means");
        let expected: BTreeMap<String, String> = serde_json::from_slice(&expected).expect("a map");
        for name in ["REGION", "CLOUD", "REPLICA_URL", "MEMCACHE_SERVERS"] {
            assert_eq!(reply[name].as_str(), Some(expected[name].as_str()), "{name} in {region}");
        }
        assert_eq!(reply["RELEASE"], release, "{region}: {reply}");
        assert_eq!(reply["BANNER"].as_str(), banner, "{region}: {reply}");
    }

    fn an_unreachable_host_changes_nothing(&self) {
        let containers = || {
            let ids = |run: Run| run.ok().text().to_owned();
            let filter = ["ps", "-q", "--no-trunc", "--filter", "label=com.docker.compose.project=chuspace"];
            (ids(docker(&filter)), ids(self.second.docker(&filter)))
        };
        let before = containers();
        let lost = "--host eu-west-1=unix:///nowhere/docker.sock";
        let script =
            format!("printf Other | chandlery set BANNER --plain; chandlery stack rollout {lost} --primary eu-west-1");
        let refused = self.reader.run(&script).fails();
        assert_eq!(refused.code(), 3, "{refused}");
        assert!(refused.stderr.contains("eu-west-1 (unix:///nowhere/docker.sock)"), "{refused}");
        assert!(refused.stderr.contains("nothing was changed"), "{refused}");
        assert_eq!(containers(), before);
        let unknown = self.reader.run("chandlery stack rollout --region mars").fails();
        assert_eq!(unknown.code(), 5, "{unknown}");
        assert_eq!(containers(), before);
    }

    /// Neither in what rollouts keep, nor in what they have said, nor in what Docker tells of the containers.
    fn nothing_secret_was_left(&self) {
        let secrets = ["wJalrXUtnFEMI/K7MDENG", "hash#in#the#middle", "BL/Base64+Like/Text=="];
        let state = self.server.project().join(".local/state/chandlery/stacks/chuspace.production.rollout");
        let mut files = Vec::new();
        walk(&state, &mut files);
        assert!(files.iter().any(|file| file.ends_with("rollout.json")), "{files:?}");
        let mut texts: Vec<(String, String)> = files
            .iter()
            .map(|file| {
                (file.display().to_string(), String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned())
            })
            .collect();
        texts.push(("what was said".to_owned(), self.server.heard()));
        let ids = self.second.docker(&["ps", "-aq"]).ok().text().to_owned();
        for id in ids.split_whitespace() {
            texts.push(("docker inspect".to_owned(), self.second.docker(&["inspect", id]).ok().text().to_owned()));
        }
        for (place, text) in texts {
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "a secret is in {place}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.folder.join("lb.pid")) {
            for pid in pid.split_whitespace() {
                drop(Run::new("/bin/kill").args([pid]).output());
            }
        }
        let ids = docker(&["ps", "-aq", "--filter", "label=com.docker.compose.project=chuspace"]).output();
        let ids: Vec<&str> = ids.text().split_whitespace().collect();
        if !ids.is_empty() {
            drop(docker(&[&["rm", "--force"], &ids[..]].concat()).output());
        }
        drop(docker(&["network", "rm", "chuspace_default"]).output());
        drop(docker(&["volume", "rm", "chuspace_chandlery"]).output());
        drop(docker(&["rmi", "chuspace:1", "chuspace:2"]).output());
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // A token is a secret of its own, and this is the place that it is kept in.
        match entry.path() {
            path if path.is_dir() && path.ends_with("tokens") => {}
            path if path.is_dir() => walk(&path, files),
            path => files.push(path),
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Asks the load balancer, one connection after the other, until it is told to stop.
struct Client {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Seen>,
    regions: Arc<[AtomicBool; 2]>,
}

#[derive(Default)]
struct Seen {
    well: u64,
    failed: Vec<String>,
}

const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

impl Client {
    fn start(port: u16) -> Self {
        let (stop, regions) =
            (Arc::new(AtomicBool::new(false)), Arc::new([AtomicBool::new(false), AtomicBool::new(false)]));
        let (stopped, met) = (Arc::clone(&stop), Arc::clone(&regions));
        let work = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                match ask(&format!("127.0.0.1:{port}")) {
                    Ok(reply) => {
                        seen.well += 1;
                        let at = REGIONS.iter().position(|region| reply["REGION"] == *region);
                        met[at.expect("one of the two regions answers")].store(true, Ordering::Relaxed);
                    }
                    Err(why) => seen.failed.push(format!("request {}: {why}", seen.well)),
                }
                thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        Self { stop, work, regions }
    }

    /// Both regions answer, from now on.
    fn has_been_in_both_regions(&self) {
        self.regions.iter().for_each(|met| met.store(false, Ordering::Relaxed));
        for _ in 0..600 {
            if self.regions.iter().all(|met| met.load(Ordering::Relaxed)) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the client was not in both regions: {:?}", self.regions);
    }

    fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.work.join().expect("the client does its work")
    }
}

/// One request on one connection; the answer, if it is a good one.
fn ask(address: &str) -> Result<Value, String> {
    let fail = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(fail)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: chuspace\r\nConnection: close\r\n\r\n").map_err(fail)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(fail)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}
