//! The page about the first team's stack, done as it stands: their compose file as they published it, and their stack file for
//! Swarm. Nobody edits a file, the laptop's passwords are deleted before anything starts, and no container is made with one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use chandlery_tests::docker::{self, Images, Swarm, Tool, docker};
use chandlery_tests::page::{Block, Page, Reader, Step};
use chandlery_tests::stacks;
use chandlery_tests::{Canaries, Output, Program, Run, Server, turn};
use serde_json::Value;

const PAGE: &str = "docs/stacks/simpleapp.md";
const PARTS: [&str; 3] = ["The laptop", "The password that was in the image", "Production"];
const SERVICES: [&str; 3] = ["cache", "db", "app"];
const GET: &str = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())";
const POST: &str = "import urllib.request as u; u.urlopen('http://127.0.0.1/', b'name=kai&food=laksa')";

#[test]
fn simpleapp_s_page_is_done_by_somebody() {
    let page = Page::read(PAGE);
    for Block { section, place, .. } in page.blocks() {
        assert!(PARTS.contains(&section.as_str()), "{place}: no test does this part");
    }
}

#[test]
fn the_compose_file_runs_as_it_is() {
    if !docker::available("the_compose_file_runs_as_it_is") {
        return;
    }
    Tool::all().iter().for_each(the_compose_file_runs);
}

fn the_compose_file_runs(tool: &Tool) {
    let _steady = docker::nobody_leaves_a_swarm();
    let mut seed = Seed::new(tool, "development");
    let _down = Down(Some(seed.stack(&["down", "--volumes", "--timeout", "2"])));
    seed.does(PARTS[0], |_, _| true);
    seed.know("mysql_password", None);
    let app = || Some(container("app"));
    seed.serves(None, &app);
    docker::until("the database is healthy, by its image's own check", || {
        docker(&["inspect", "--format", "{{.State.Health.Status}}", &container("db")]).output().text().trim()
            == "healthy"
    });
    seed.shows_no_value(&SERVICES.map(container));
    let ids = || SERVICES.map(|service| docker(&["inspect", "--format", "{{.Id}}", &container(service)]).ok().stdout);
    let before = ids();
    seed.heard(seed.stack(&["up", "--detach"]).ok());
    assert_eq!(ids(), before, "nothing has changed, so nothing is made anew");
    // The memory of a container that starts again is empty: it must fetch again, with the token that it has.
    docker(&["restart", "--time", "2", &container("app")]).ok();
    seed.serves(None, &app);
    let environment = docker(&["exec", &container("app"), "cat", "/proc/1/environ"]).ok().environment();
    assert!(!environment.keys().any(|name| name.starts_with("CHANDLERY_")), "{environment:?}");

    seed.does(PARTS[1], |seed, step| {
        if runs(step, "stack down") {
            seed.know("redis_password", None);
            let after = ids();
            assert_eq!([after[0] == before[0], after[1] == before[1], after[2] == before[2]], [false, true, false]);
            seed.serves(None, &app);
            let ping = |password: &str| docker(&["exec", &container("cache"), "redis-cli", "-a", password, "ping"]);
            assert_eq!(ping(&seed.value("redis_password", None)).output().text(), "PONG\n");
            assert!(!ping(&seed.baked).output().text().contains("PONG"), "what is in the image opens nothing any more");
            seed.shows_no_value(&SERVICES.map(container));
            assert_eq!(seed.tokens().len(), 3, "one for each service, made once");
        }
        true
    });
    let tokens = seed.tokens();
    assert!(tokens.iter().all(|token| token["revoked"].is_string() && token["expires"].is_string()), "{tokens:?}");
    assert!(!seed.state().exists(), "the token files are gone");
}

#[test]
fn the_stack_file_runs_in_swarm_in_the_region_of_its_node() {
    if !docker::available("the_stack_file_runs_in_swarm_in_the_region_of_its_node") {
        return;
    }
    let _volumes = Volumes(["cache", "db"].map(|service| format!("simpleapp_{service}_data")));
    let _swarm = Swarm::alone();
    let mut seed = Seed::new(&Tool::all()[0], "production");
    seed.build_images();
    let files = ["-f", "docker-stack.yml", "-f", "redis.yml"];
    let _down = Down(Some(seed.stack(&[&["down", "--swarm"], &files[..]].concat())));
    // What the page has done before, but for the containers on the laptop.
    seed.does(PARTS[0], |_, step| !runs(step, "stack up") && !runs(step, "docker "));
    seed.does(PARTS[1], |_, step| !runs(step, "stack "));
    let task = |service: &str, number: u8| {
        let filter = format!("name=simpleapp_{service}.{number}.");
        let found = docker(&["ps", "--quiet", "--filter", &filter, "--filter", "status=running"]).ok();
        found.text().lines().next().map(str::to_owned)
    };
    let mut looks = 0;
    seed.does(PARTS[2], |seed, step| {
        if runs(step, "for region in") {
            seed.misses_its_external_secrets(&files);
        }
        if !runs(step, "service scale") && !runs(step, "stack down") {
            return true;
        }
        looks += 1;
        let format = "{{with .UpdateStatus}}{{.State}}{{else}}completed{{end}}";
        docker::until("the update is done", || {
            docker(&["service", "inspect", "--format", format, "simpleapp_app"]).ok().text().trim() == "completed"
        });
        seed.know("mysql_password", Some("sfo3"));
        seed.know("redis_password", Some("sfo3"));
        for number in [1, 2] {
            seed.serves(Some("sfo3"), &|| task("app", number));
        }
        let containers: Vec<String> = SERVICES.iter().filter_map(|service| task(service, 1)).collect();
        assert_eq!(containers.len(), 3);
        seed.shows_no_value(&containers);
        for service in SERVICES {
            let inspect = docker(&["service", "inspect", &format!("simpleapp_{service}")]).ok();
            seed.canaries.assert_absent("docker service inspect", &inspect.stdout);
            assert!(inspect.text().contains("RestartPolicy"), "deploy keys are kept");
        }
        let format = "{{.Spec.TaskTemplate.Placement.Constraints}}";
        let placed = docker(&["service", "inspect", "--format", format, "simpleapp_db"]).ok();
        assert!(placed.text().contains("node.role == manager"), "{placed}");
        true
    });
    assert_eq!(looks, 2);
}

/// Whether this is a block with that command.
fn runs(step: &Step, command: &str) -> bool {
    matches!(step, Step::Run { script, .. } if script.contains(command))
}

/// The name that the seed's own file gives it.
fn container(service: &str) -> String {
    format!("mysimpleapp_{service}")
}

/// A server, the team's folder with passwords that only this run knows, and the one Docker that its fixed names live in.
struct Seed {
    server: Server,
    canaries: Canaries,
    tool: Tool,
    reader: Reader,
    environment: &'static str,
    /// Redis's password in the image.
    baked: String,
    /// `container_name` and the port are the file's own: one run at a time on this machine.
    _alone: File,
}

impl Seed {
    fn new(tool: &Tool, environment: &'static str) -> Self {
        let alone = turn::alone("seed-001");
        let images = Images::build();
        let server = Server::start();
        stacks::copy("simpleapp/seed", &server.project().join("simpleapp"));
        let reader = Reader::of(&server).env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path());
        let reader = reader.env("XDG_STATE_HOME", server.project()).env("COMPOSE_PROJECT_NAME", project());
        let reader = tool.variables().into_iter().fold(reader, |reader, (name, value)| reader.env(name, value));
        reader.run("cd simpleapp").ok();
        let canaries = Canaries::new();
        let (tool, baked) = (tool.clone(), String::new());
        let mut seed = Self { server, canaries, tool, reader, environment, baked, _alone: alone };
        for name in ["mysql_password", "redis_password"] {
            let value = seed.canaries.value(name);
            // With the newline that an editor leaves, and that broke the team's app.
            fs::write(seed.folder().join("devsecrets").join(name), format!("{value}\n")).expect("a file");
            seed.edit("redis_db/redis.conf", &format!("laptop-only-{}", name.trim_end_matches("_password")), &value);
            seed.baked = value;
        }
        seed.edit("redis_db/Dockerfile", "REDIS=redis", &format!("REDIS={}", images.redis));
        seed.edit("mysql_db/Dockerfile", "MYSQL=mysql:latest", &format!("MYSQL={}", images.mariadb));
        seed.edit("app/Dockerfile", "PYTHON=python", &format!("PYTHON={}", images.python));
        seed
    }

    fn folder(&self) -> PathBuf {
        self.server.project().join("simpleapp")
    }

    /// Where the tokens of its containers are.
    fn state(&self) -> PathBuf {
        self.server.project().join("chandlery/stacks").join(project())
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder().join(file);
        let text = fs::read_to_string(&path).expect("a file of the seed");
        fs::write(path, text.replace(from, to)).expect("a file of a copy");
    }

    /// Does a part of the page; each step after the test has looked at what is there, and only where it says so.
    fn does(&mut self, section: &str, mut looks: impl FnMut(&mut Self, &Step) -> bool) {
        let page = Page::read(PAGE);
        let blocks: Vec<&Block> = page.blocks().iter().filter(|block| block.section == section).collect();
        assert!(!blocks.is_empty(), "the page has no part {section}");
        for block in blocks {
            if looks(self, &block.step)
                && let Some(output) = self.reader.does(block)
            {
                self.heard(output);
            }
        }
    }

    fn stack(&self, args: &[&str]) -> Run {
        let run = self.server.cli(&[&["stack"], args].concat()).current_dir(self.folder());
        let run = run.env("CHANDLERY_STACK", "simpleapp").env("CHANDLERY_ENVIRONMENT", self.environment);
        let run = run.env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path());
        self.tool.to(run.env("XDG_STATE_HOME", self.server.project()).env("COMPOSE_PROJECT_NAME", project()))
    }

    /// What the store has now, where the reader is.
    fn value(&self, name: &str, region: Option<&str>) -> String {
        let region = region.map_or(String::new(), |region| format!(" --region {region}"));
        self.reader.run(&format!("chandlery get {name}{region}")).ok().text().to_owned()
    }

    /// From now on it must not be seen either.
    fn know(&mut self, name: &str, region: Option<&str>) {
        let value = self.value(name, region);
        self.canaries.watch(name, &value);
    }

    /// No value in what was said.
    fn heard(&self, output: Output) -> Output {
        self.canaries.assert_absent("stdout", &output.stdout);
        self.canaries.assert_absent("stderr", output.stderr.as_bytes());
        output
    }

    /// Those that `up` has made.
    fn tokens(&self) -> Vec<Value> {
        let tokens = self.reader.run("chandlery token list --format json").ok().json();
        let made =
            |token: &&Value| token["description"].as_str().is_some_and(|text| text.contains("by chandlery stack"));
        tokens["tokens"].as_array().expect("a list").iter().filter(made).cloned().collect()
    }

    /// What `import` cannot read back from Swarm it has named; until it is set, nothing is deployed.
    fn misses_its_external_secrets(&self, files: &[&str]) {
        let said = self.heard(self.stack(&[&["import", "--yes"], files].concat()).ok());
        for name in ["mysql_password --for app,db", "redis_password --for app"] {
            let (name, services) = name.split_once(' ').expect("two words");
            let command = format!("chandlery set {name} @FILE --file --mode 0444 {services}");
            assert!(said.stderr.contains(&command), "{command} is not in {said}");
        }
        let missing = self.heard(self.stack(&[&["check"], files].concat()).fails());
        assert_eq!(missing.code(), 1, "{missing}");
        assert!(missing.stderr.contains("db in sfo3: mysql_password"), "{missing}");
        let refused = self.heard(self.stack(&[&["deploy"], files].concat()).fails());
        assert_eq!(refused.code(), 1, "nothing is deployed that would not start: {refused}");
    }

    fn build_images(&self) {
        for (service, context) in [("cache", "redis_db"), ("db", "mysql_db"), ("app", "app")] {
            let tag = format!("jeshocarmel/mysimpleapp_{service}");
            let context = self.folder().join(context);
            docker(&["build", "--tag", &tag]).args([context]).env("DOCKER_BUILDKIT", "0").ok();
        }
    }

    /// The app answers, counts, and stores: its passwords are those of Redis and of the database.
    fn serves(&self, region: Option<&str>, container: &dyn Fn() -> Option<String>) {
        docker::until("the app answers", || {
            container()
                .is_some_and(|container| docker(&["exec", &container, "python3", "-c", GET]).output().code() == 0)
        });
        let container = container().expect("it answered");
        docker(&["exec", &container, "python3", "-c", POST]).ok();
        let page = docker(&["exec", &container, "python3", "-c", GET]).ok().json();
        assert!(page["visits"].as_u64() >= Some(2), "{page}");
        assert_eq!(page["favourites"][0], serde_json::json!(["kai", "laksa"]));
        assert_eq!(page["chandlery_variables"], Value::Array(Vec::new()));
        let password = docker(&["exec", &container, "cat", "/run/secrets/mysql_password"]).ok();
        assert!(password.text() == self.value("mysql_password", region), "byte for byte, without a newline at its end");
    }

    fn shows_no_value(&self, containers: &[String]) {
        for container in containers {
            for question in [&["inspect"][..], &["logs"], &["top"]] {
                let output = docker(&[question, &[container.as_str()]].concat()).ok();
                self.canaries.assert_absent(&format!("docker {question:?}"), &output.stdout);
                self.canaries.assert_absent(&format!("docker {question:?}"), output.stderr.as_bytes());
            }
        }
    }
}

/// A name for compose's project that no other run has.
fn project() -> String {
    format!("chandlery-seed-{}", std::process::id())
}

/// Takes a stack down when its test ends, however it ends.
pub(crate) struct Down(pub(crate) Option<Run>);

impl Drop for Down {
    fn drop(&mut self) {
        drop(self.0.take().map(Run::output));
    }
}

/// What `docker stack rm` leaves: it goes when the last container has let go of it.
struct Volumes([String; 2]);

impl Drop for Volumes {
    fn drop(&mut self) {
        for name in &self.0 {
            for _ in 0..100 {
                if docker(&["volume", "rm", "--force", name]).output().code() == 0 {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
