//! The page of the stack that scales (`docs/stacks/scaling.md`), followed command by command in Docker, while clients use
//! the load balancer in every way that breaks when somebody is careless. None of them may fail.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::page::{Page, Reader, Step};
use chandlery_tests::stacks;
use chandlery_tests::{Canaries, Habit, Program, Server, StartOptions, Tally, Traffic, turn};

const PAGE: &str = "docs/stacks/scaling.md";
/// What compose names containers after: the folder, and what the page says for the second region.
const PROJECTS: [&str; 2] = ["scaling", "scaling-sfo3"];
const HABITS: [Habit; 7] =
    [Habit::Fresh, Habit::Fresh, Habit::Post, Habit::Kept, Habit::Kept, Habit::Download, Habit::Download];

#[test]
fn the_page_scales_and_changes_without_a_failed_request() {
    if !docker::available("the_page_scales_and_changes_without_a_failed_request") {
        return;
    }
    let mut stack = Stack::new();
    let page = Page::read(PAGE);
    let section = |name: &str| {
        let blocks = page.blocks().iter().filter(move |block| block.section == name);
        let blocks: Vec<_> = blocks.collect();
        assert!(!blocks.is_empty(), "the page has no section {name}");
        blocks
    };
    let follow = |stack: &Stack, name: &str| section(name).into_iter().for_each(|block| drop(stack.reader.does(block)));
    follow(&stack, "Scaling a web application, without Consul");
    for block in section("The files") {
        let Step::Write { name, text } = &block.step else { panic!("{}: no file", block.place) };
        assert_eq!(
            *text,
            read(&stacks::folder("scaling").join(name)),
            "{}: {name} is another one in the folder",
            block.place
        );
    }
    follow(&stack, "Into the store");
    follow(&stack, "Start");
    let first = stack.know_password("eu-west-1");
    let balancer = stack.container(PROJECTS[0], "loadbalancer");
    let traffic = Traffic::start(address(&balancer), &HABITS);
    follow(&stack, "Scale");
    follow(&stack, "Change the configuration while it runs");
    assert_eq!(stack.statistics(&first), "401", "the password of before");
    let second = stack.know_password("eu-west-1");
    assert_eq!(stack.statistics(&second), "200");
    follow(&stack, "What is wrong is not used");
    // What was changed in the store is no reason to make the load balancer anew.
    stack.reader.run("chandlery stack up --region eu-west-1 --detach --scale web=2").ok();
    for round in 0..5 {
        stack.reader.run(&format!("chandlery set MAXCONN --plain {} --region eu-west-1", 3000 + round)).ok();
    }
    let told = "until sh stats.sh eu-west-1 | grep 'http,FRONTEND,3004'; do sleep 1; done";
    stack.reader.run(told).ok();
    let tally = traffic.stop();
    nothing_failed(&tally);

    let still = docker(&["inspect", "--format", "{{.Id}} {{.RestartCount}}", &balancer]).ok();
    assert_eq!(still.text().trim(), format!("{balancer} 0"), "the load balancer is the one that was started");
    assert_eq!(stack.container(PROJECTS[0], "loadbalancer"), balancer);
    follow(&stack, "The other region");
    let other = stack.know_password("sfo3");
    assert!(other != first && other != second);
    assert_eq!(stack.statistics(&other), "401", "another region's password");
    stack.shows_no_password();
    follow(&stack, "Down");
    assert!(PROJECTS.iter().all(|project| stack.containers(project).is_empty()));
}

fn nothing_failed(tally: &Tally) {
    assert!(tally.failures.is_empty(), "{tally}");
    for habit in HABITS {
        assert!(tally.answers.get(&habit).is_some_and(|answers| *answers > 2), "{habit:?}: {tally}");
    }
    assert!(tally.by.len() >= 5, "five web servers had something to do: {tally}");
}

/// A reader of the page in a copy of the folder, and what may be left of it.
struct Stack {
    server: Server,
    reader: Reader,
    canaries: Canaries,
    /// The project has the folder's name: one run at a time on this machine.
    _alone: File,
    _steady: File,
}

impl Stack {
    fn new() -> Self {
        let steady = docker::nobody_leaves_a_swarm();
        let alone = turn::alone("scaling");
        let images = Images::build();
        // HAProxy is not root here, and so not one to use the socket of a server of root's.
        let args = ["--listen".to_owned(), format!("{}:0", docker::bridge_address())].to_vec();
        let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
        let place = server.project().join("scaling");
        stacks::copy("scaling", &place);
        let reader = Reader::new(&place)
            .env("HOME", server.project())
            .env("CHANDLERY_DATA_DIR", server.data())
            .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
            .env("HAPROXY_IMAGE", images.haproxy)
            .env("WEB_IMAGE", images.python)
            .env("PORT", "18480")
            .env("STATS_PORT", "18490");
        let stack = Self { server, reader, canaries: Canaries::new(), _alone: alone, _steady: steady };
        stack.clear();
        stack
    }

    /// Remembers a region's password as one that must not be seen.
    fn know_password(&mut self, region: &str) -> String {
        let get = format!("chandlery get stats_password --resolved --service loadbalancer --region {region}");
        let password = self.reader.run(&get).ok().text().to_owned();
        assert_eq!(password.len(), 32, "openssl made 16 bytes, without a newline");
        self.canaries.watch(&format!("stats_password in {region}"), &password);
        password
    }

    /// What the first region's statistics page answers to this password.
    fn statistics(&self, password: &str) -> String {
        let ask = "curl --silent --output page --write-out '%{http_code}' -K - http://localhost:18490/haproxy_stats";
        self.reader.run(ask).stdin(format!("user = admin:{password}\n")).ok().text().to_owned()
    }

    fn containers(&self, project: &str) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={project}");
        let found = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label]).ok();
        found.text().lines().map(str::to_owned).collect()
    }

    fn container(&self, project: &str, service: &str) -> String {
        let labels = [
            format!("label=com.docker.compose.project={project}"),
            format!("label=com.docker.compose.service={service}"),
        ];
        let found = docker(&["ps", "--quiet", "--no-trunc", "--filter", &labels[0], "--filter", &labels[1]]).ok();
        found.text().trim().to_owned()
    }

    fn shows_no_password(&self) {
        for container in PROJECTS.iter().flat_map(|project| self.containers(project)) {
            for question in [&["inspect"][..], &["logs"], &["top"]] {
                let output = docker(&[question, &[container.as_str()]].concat()).ok();
                self.canaries.assert_absent(&format!("docker {question:?}"), &output.stdout);
                self.canaries.assert_absent(&format!("docker {question:?}"), output.stderr.as_bytes());
            }
        }
        self.canaries.assert_absent("the server's log", self.server.log().as_bytes());
        self.canaries.assert_absent_below(&self.server.project(), &["page"]);
    }

    /// What this run has left, or one before it that was killed.
    fn clear(&self) {
        for project in PROJECTS {
            for container in self.containers(project) {
                drop(docker(&["rm", "--force", &container]).output());
            }
            drop(docker(&["network", "rm", &format!("{project}_default")]).output());
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for container in PROJECTS.iter().flat_map(|project| self.containers(project)) {
                drop(writeln!(std::io::stderr(), "{}", docker::logs(&container)));
            }
        }
        self.clear();
    }
}

/// Where a container's port 80 is, without the proxy that Docker puts before a published port.
fn address(container: &str) -> SocketAddr {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:80";
    docker(&["inspect", "--format", format, container]).ok().text().trim().parse().expect("an address")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
