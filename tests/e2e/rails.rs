//! The Rails team's stack, as `docs/stacks/rails.md` has it: every command of the page, and behind each what the page promises.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::page::{Page, Reader};
use chandlery_tests::stacks::folder;
use chandlery_tests::{Canaries, Output, Program, Run, Server};
use serde_json::Value;

const SERVICES: [&str; 5] = ["web-1", "web-2", "lb", "db", "replica"];
const SECRETS: [&str; 5] =
    ["root_password", "replication_password", "backup_password", "app_password", "SECRET_KEY_BASE"];

#[test]
fn the_page_of_the_rails_stack_is_true() {
    if !docker::available("the_page_of_the_rails_stack_is_true") {
        return;
    }
    let _networks = docker::nobody_leaves_a_swarm();
    let mut team = Team::new();
    for section in ["1. The compose file stays", "2. Passwords, once each", "3. Configuration files, host by host"] {
        team.follow(section);
    }
    for name in SECRETS {
        team.watch(name, name);
    }
    team.starts_in_order();
    team.is_itself();
    team.is_balanced();
    team.survives_the_loss_of_its_databases();
    team.changes_its_password();
    team.follow("8. Logs");
    team.shows_no_value();
    team.canaries.assert_absent("the server's log", team.server.log().as_bytes());
    team.canaries.assert_absent("the audit log", team.server.audit_file().as_bytes());
    team.canaries.assert_absent_below(&team.server.data(), &[]);
    // The tokens' folder is in there, too, below the reader's home.
    team.canaries.assert_absent_below(&team.server.project(), &[]);
}

/// Somebody with the team's folder, who reads the page.
struct Team {
    page: Page,
    reader: Reader,
    project: String,
    canaries: Canaries,
    _down: Down,
    server: Server,
}

impl Team {
    fn new() -> Self {
        let images = Images::build();
        let server = Server::start();
        let own = server.project().join("dailyreport");
        Run::new("/bin/cp").args(["-r".into(), folder("rails"), own.clone()]).ok();
        let project = format!("chandlery-rails-{}", std::process::id());
        let home = std::env::var_os("HOME").unwrap_or_default();
        let reader = Reader::of(&server)
            .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
            .env("COMPOSE_PROJECT_NAME", &project)
            .env("RUBY_IMAGE", &images.ruby)
            .env("NGINX_IMAGE", &images.nginx)
            .env("MARIADB_IMAGE", &images.mariadb)
            .env("LB_PORT", "127.0.0.1:")
            .env("DOCKER_CONFIG", PathBuf::from(home).join(".docker"))
            // The classic builder finds the local images without asking anybody for them.
            .env("DOCKER_BUILDKIT", "0");
        reader.run(TYPE_IT_SO).ok();
        let page = Page::read("docs/stacks/rails.md");
        let down = Down { folder: own, project: project.clone() };
        Self { page, reader, project, canaries: Canaries::new(), _down: down, server }
    }

    /// Does a section's blocks, and hears what is said.
    fn follow(&self, section: &str) -> Vec<Output> {
        let outputs: Vec<Output> = (0..self.steps(section)).filter_map(|step| self.step(section, step)).collect();
        assert!(!outputs.is_empty(), "there is nothing to do in {section}");
        outputs
    }

    fn steps(&self, section: &str) -> usize {
        self.page.blocks().iter().filter(|block| block.section == section).count()
    }

    fn step(&self, section: &str, step: usize) -> Option<Output> {
        let mut blocks = self.page.blocks().iter().filter(|block| block.section == section);
        let output = self.reader.does(blocks.nth(step).unwrap_or_else(|| panic!("{section} has no block {step}")));
        output.map(|output| self.heard(output))
    }

    fn run(&self, script: &str) -> Output {
        self.heard(self.reader.run(script).ok())
    }

    /// No value in what was said, unless it was asked for.
    fn heard(&self, output: Output) -> Output {
        self.canaries.assert_absent("stdout", &output.stdout);
        self.canaries.assert_absent("stderr", output.stderr.as_bytes());
        output
    }

    /// A value that the page had made at random, for the search.
    fn watch(&mut self, name: &str, known_as: &str) -> String {
        let value = self.reader.run(&format!("chandlery get {name}")).ok().text().to_owned();
        assert!(value.len() >= 48, "{name} is long enough to be found by chance nowhere");
        self.canaries.watch(known_as, &value);
        value
    }

    fn container(&self, service: &str) -> String {
        container(&self.project, service)
    }

    fn inside(&self, service: &str, command: &[&str]) -> Output {
        docker(&[&["exec", &self.container(service)], command].concat()).ok()
    }

    fn sql(&self, service: &str, statement: &str) -> String {
        let client = ["mariadb", "--defaults-extra-file=/run/secrets/root.cnf", "--batch", "-N", "-e", statement];
        self.inside(service, &client).text().to_owned()
    }

    /// A database that is slow to come is waited for, and nobody is started twice because of it.
    fn starts_in_order(&self) {
        self.run(&format!("chandlery set WAIT_PATHS --plain {LET_GO} --for db"));
        self.run("chandlery set WAIT_TIMEOUT --plain 10m --for db");
        let project = self.project.clone();
        let slow = thread::spawn(move || let_the_database_start_when_all_wait(&project));
        self.follow("4. Start");
        slow.join().expect("everybody waited");
        self.run("chandlery rm WAIT_PATHS && chandlery rm WAIT_TIMEOUT --for db");
        for service in SERVICES {
            let restarts = docker(&["inspect", "--format", "{{.RestartCount}}", &self.container(service)]).ok();
            assert_eq!(restarts.text().trim(), "0", "{service} was started once");
        }
    }

    /// Two apps behind nginx, a replica that has what the primary has, and passwords from the store.
    fn is_itself(&self) {
        docker::until("both apps answer", || self.answering(10).len() == 2);
        for _ in 0..4 {
            let said = self.run("curl --silent --fail --cookie jar $address/reports").json();
            assert_eq!((said["reporter"].as_str(), said["env"].as_str()), (Some("kai"), Some("production")), "{said}");
        }
        assert_eq!(self.sql("replica", "SELECT text FROM dailyreport.reports").trim(), "hello");
        assert_eq!(self.sql("replica", "SELECT @@read_only").trim(), "1");
        let status = self.sql("replica", "SHOW SLAVE STATUS\\G");
        assert!(status.contains("\nYes\nYes\n"), "it does by replicating, and by nothing else: {status}");
        for service in ["web-1", "web-2"] {
            let environment = self.inside(service, &["cat", "/proc/1/environ"]);
            self.canaries.assert_present("app_password", &environment.stdout);
            self.canaries.assert_present("SECRET_KEY_BASE", &environment.stdout);
            assert!(!environment.environment().keys().any(|name| name.starts_with("CHANDLERY_")));
        }
        let replica = self.inside("replica", &["cat", "/run/secrets/replica.sql"]).stdout;
        self.canaries.assert_present("replication_password", &replica);
        let binary_log = self.inside("db", &["sh", "-c", "cat /var/lib/mysql/db.0*"]).stdout;
        assert!(binary_log.windows(5).any(|bytes| bytes == b"hello"), "it is what the replica reads");
        self.canaries.assert_absent("the binary log", &binary_log);
        self.shows_no_value();
    }

    /// Out of the balancing and back, with a mistake in between, and nobody who asks gets to feel it.
    fn is_balanced(&self) {
        let section = "5. Scale, and take out for maintenance";
        let visitors = Visitors::new(self.address());
        self.step(section, 0);
        docker::until("web-1 is out", || self.answering(10).len() == 1);
        self.run("chandlery set LB_SERVERS --plain 'server web-9:8080;'");
        docker::until("nginx refused the third", || docker::logs(&self.container("lb")).contains("is not used"));
        let file = self.inside("lb", &["cat", "/run/secrets/lb.conf"]);
        assert!(file.text().contains("server web-2:8080") && !file.text().contains("web-9"), "{file}");
        self.inside("lb", &["nginx", "-t", "-q", "-c", "/run/secrets/lb.conf"]);
        self.step(section, 1);
        docker::until("web-1 is back", || self.answering(10).len() == 2);
        visitors.were_all_served();
    }

    fn survives_the_loss_of_its_databases(&self) {
        let section = "6. Backup and restore";
        self.run("for i in 1 2 3; do curl --silent --fail --data \"text=it's $i\" $address/reports; done");
        docker::until("the replica has all", || {
            self.sql("replica", "SELECT count(*) FROM dailyreport.reports").trim() == "4"
        });
        let before = self.reports();
        self.step(section, 0);
        let dump = self.dump();
        assert!(dump.iter().any(|line| line.contains("(1,'hello')")), "{dump:?}");
        // A job that stays, to be looked at.
        let job = format!("{}-job", self.project);
        self.run(&format!("chandlery stack run --region host-1 --name {job} backup"));
        self.shows_nothing_of(&job);
        docker(&["rm", &job]).ok();

        self.step(section, 1);
        let volumes = docker(&["volume", "ls", "--quiet", "--filter", &format!("name={}", self.project)]).ok();
        assert_eq!(volumes.text().trim(), "", "both databases are gone");
        self.step(section, 2);
        docker::until("the replica has all again", || self.reports() == before);
        self.run("chandlery stack run --region host-1 --rm backup");
        assert_eq!(self.dump(), dump, "what is restored is what was there");
        self.shows_no_value();
    }

    /// The lines of the dump that are not about when and by whom it was made.
    fn dump(&self) -> Vec<String> {
        let path = self.server.project().join("dailyreport/backups/dailyreport.sql");
        let text = fs::read_to_string(path).expect("a dump");
        self.canaries.assert_absent("the dump", text.as_bytes());
        text.lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect()
    }

    fn changes_its_password(&mut self) {
        let section = "7. A new password for the database";
        let visitors = Visitors::new(self.address());
        let old = self.watch("app_password", "the old password");
        self.step(section, 0);
        let new = self.watch("app_password", "the new password");
        assert_ne!(old, new);
        for server in ["db", "replica"] {
            docker::until("both passwords are good", || self.opens(server, &old) && self.opens(server, &new));
        }
        self.step(section, 1);
        for service in ["web-1", "web-2"] {
            let environment = self.inside(service, &["cat", "/proc/1/environ"]).stdout;
            self.canaries.assert_present("the new password", &environment);
            assert!(!String::from_utf8_lossy(&environment).contains(&old), "{service} has the new one alone");
        }
        self.step(section, 2);
        for server in ["db", "replica"] {
            docker::until("the old one is good no more", || !self.opens(server, &old) && self.opens(server, &new));
        }
        docker::until("both apps answer", || self.answering(10).len() == 2);
        visitors.were_all_served();
    }

    /// Whether the app's user gets in with it.
    fn opens(&self, server: &str, password: &str) -> bool {
        let options = format!("[client]\nuser=dailyreport\npassword={password}\n");
        let container = self.container(server);
        let command = ["exec", "--interactive", &container, "sh", "-c", TRY];
        docker(&command).stdin(options).output().code() == 0
    }

    fn address(&self) -> String {
        let port = docker(&["port", &self.container("lb"), "80"]).ok();
        port.text().lines().next().expect("a port is published").to_owned()
    }

    fn reports(&self) -> Value {
        let body =
            get(&self.address()).and_then(|answer| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()));
        let said: Option<Value> = body.and_then(|body| serde_json::from_str(&body).ok());
        said.map_or(Value::Null, |said| said["reports"].clone())
    }

    /// Which containers answer so many requests.
    fn answering(&self, requests: usize) -> BTreeSet<String> {
        let address = self.address();
        let answers = (0..requests).filter_map(|_| get(&address));
        let by = answers.filter_map(|answer| Some(answer.rsplit_once("\"by\":\"")?.1.split('"').next()?.to_owned()));
        by.collect()
    }

    fn shows_no_value(&self) {
        SERVICES.iter().for_each(|service| self.shows_nothing_of(&self.container(service)));
    }

    fn shows_nothing_of(&self, container: &str) {
        let image = docker(&["inspect", "--format", "{{.Config.Image}}", container]).ok();
        for question in
            [&["inspect", container][..], &["logs", container], &["history", "--no-trunc", image.text().trim()]]
        {
            let output = docker(question).ok();
            self.canaries.assert_absent(&format!("docker {question:?}"), &output.stdout);
            self.canaries.assert_absent(&format!("docker {question:?}"), output.stderr.as_bytes());
        }
        // A job has ended, and has no processes.
        let top = docker(&["top", container, "-eo", "pid,args"]).output();
        self.canaries.assert_absent("docker top", &top.stdout);
    }
}

/// The page says `docker-compose`; where there is only Compose 2, its reader types `docker compose`.
const TYPE_IT_SO: &str = r#"command -v docker-compose >/dev/null || {
    mkdir bin && printf '#!/bin/sh\nexec docker compose "$@"\n' >bin/docker-compose && chmod +x bin/docker-compose
    export PATH="$PWD/bin:$PATH"
}"#;

/// What the database waits for before it starts, in this test.
const LET_GO: &str = "/tmp/let-go";

/// Who needs the database waits for it, and who needs these waits for them: told, and not ended. Only then it starts.
fn let_the_database_start_when_all_wait(project: &str) {
    let waits = |service: &str| {
        let container = container(project, service);
        let log = if container.is_empty() { String::new() } else { docker::logs(&container) };
        ["connection refused", "name is not found"].iter().any(|seen| log.contains(seen))
    };
    docker::until("all wait for the database", || ["replica", "web-1", "web-2", "lb"].into_iter().all(waits));
    docker(&["exec", &container(project, "db"), "touch", LET_GO]).ok();
}

fn container(project: &str, service: &str) -> String {
    let of_project = format!("label=com.docker.compose.project={project}");
    let of_service = format!("label=com.docker.compose.service={service}");
    let kept = "label=com.docker.compose.oneoff=False";
    let found =
        docker(&["ps", "--all", "--quiet", "--filter", &of_project, "--filter", &of_service, "--filter", kept]).ok();
    found.text().trim().to_owned()
}

/// A file is read twice by the client, and a pipe cannot be.
const TRY: &str = "umask 077; cat >/dev/shm/try.cnf; mariadb --defaults-extra-file=/dev/shm/try.cnf -h 127.0.0.1 -e 'SELECT 1' dailyreport; \
                   code=$?; rm /dev/shm/try.cnf; exit $code";

/// People who ask, one request after the other, each over a connection of its own.
struct Visitors {
    go: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Visitors {
    fn new(address: String) -> Self {
        let go = Arc::new(AtomicBool::new(true));
        let on = Arc::clone(&go);
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while on.load(Ordering::Relaxed) {
                let answer = get(&address).unwrap_or_else(|| "no answer".to_owned());
                answers.push(answer.lines().next().unwrap_or_default().to_owned());
                thread::sleep(Duration::from_millis(20));
            }
            answers
        });
        Self { go, thread }
    }

    #[track_caller]
    fn were_all_served(self) {
        self.go.store(false, Ordering::Relaxed);
        let answers = self.thread.join().expect("the visitors come back");
        let unserved: Vec<&String> = answers.iter().filter(|answer| !answer.contains(" 200 ")).collect();
        assert!(unserved.is_empty(), "{} of {} were not served: {unserved:?}", unserved.len(), answers.len());
        assert!(answers.len() > 20, "there were {} of them", answers.len());
    }
}

/// The whole answer to a request for the reports.
fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    stream.write_all(b"GET /reports HTTP/1.0\r\nHost: dailyreport\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Takes the stack down when the test ends, however it ends, and the images that were built for it.
struct Down {
    folder: PathBuf,
    project: String,
}

impl Drop for Down {
    fn drop(&mut self) {
        let down = format!("-p {} down --volumes --rmi local --timeout 2", self.project);
        let script = format!("docker-compose {down} || docker compose {down}");
        let home = std::env::var_os("HOME").unwrap_or_default();
        let compose = Run::new("/bin/sh").args(["-c", &script]).env("HOME", home).current_dir(&self.folder);
        drop(compose.output());
    }
}
