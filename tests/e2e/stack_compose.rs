//! The first team's compose file as they published it, and their stack file for Swarm: import, check, up, deploy. Nobody edits
//! a file, the laptop's passwords are deleted before anything starts, and no container is made with one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chandlery_tests::docker::{self, Images, Swarm, docker};
use chandlery_tests::stacks::folder;
use chandlery_tests::{Canaries, Output, Program, Run, Server, StartOptions};
use serde_json::Value;

const SERVICES: [&str; 3] = ["cache", "db", "app"];
const GET: &str = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())";
const POST: &str = "import urllib.request as u; u.urlopen('http://127.0.0.1/', b'name=kai&food=laksa')";

#[test]
fn the_compose_file_runs_as_it_is() {
    if !docker::available("the_compose_file_runs_as_it_is") {
        return;
    }
    let seed = Seed::new();
    seed.stack(&["import", "-f", "docker-compose.yml", "--yes"]).ok();
    seed.forget_devsecrets();
    seed.be_patient();
    assert_eq!(seed.heard(seed.stack(&["check"]).ok()).text().matches(" ok").count(), 3);
    let project = seed.project();
    let _down = Down(Some(seed.stack(&["down", "-p", &project, "--volumes", "--timeout", "2"])));
    seed.up(&project, &["--detach", "--build"]);

    let container = |service: &str| format!("mysimpleapp_{service}");
    seed.serves(&|| Some(container("app")));
    until("the database is healthy, by its image's own check", || {
        docker(&["inspect", "--format", "{{.State.Health.Status}}", &container("db")]).output().text().trim()
            == "healthy"
    });
    seed.shows_no_value(&SERVICES.map(container));
    let id = |service: &str| docker(&["inspect", "--format", "{{.Id}}", &container(service)]).ok().text().to_owned();
    let before = SERVICES.map(id);
    assert!(seed.server.project().join("chandlery/stacks").join(&project).join("tokens/app").exists());
    seed.up(&project, &["--detach"]);
    assert_eq!(SERVICES.map(id), before, "nothing has changed, so nothing is made anew");
    // The memory of a container that starts again is empty: it must fetch again, with the token that it has.
    docker(&["restart", "--time", "2", &container("app")]).ok();
    seed.serves(&|| Some(container("app")));

    seed.cli(&["set", "GREETING", "--plain", "Selamat", "--for", "app"]).ok();
    seed.up(&project, &["--detach"]);
    let after = SERVICES.map(id);
    assert_eq!((after[0] == before[0], after[1] == before[1], after[2] == before[2]), (true, true, false));
    seed.serves(&|| Some(container("app")));
    let environment = docker(&["exec", &container("app"), "cat", "/proc/1/environ"]).ok().environment();
    assert_eq!(environment.get("GREETING").map(String::as_str), Some("Selamat"));
    assert!(!environment.keys().any(|name| name.starts_with("CHANDLERY_")), "{environment:?}");

    seed.heard(seed.stack(&["down", "-p", &project, "--volumes", "--timeout", "2"]).ok());
    let tokens = seed.cli(&["token", "list", "--format", "json"]).ok().json();
    let of_containers =
        |token: &&Value| token["description"].as_str().is_some_and(|text| text.contains("by chandlery stack"));
    let tokens: Vec<&Value> = tokens["tokens"].as_array().expect("a list").iter().filter(of_containers).collect();
    assert_eq!(tokens.len(), 3, "one for each service, made once");
    assert!(tokens.iter().all(|token| token["revoked"].is_string() && token["expires"].is_string()), "{tokens:?}");
    assert!(!seed.server.project().join("chandlery/stacks").join(&project).exists(), "the token files are gone");
}

#[test]
fn the_stack_file_runs_in_swarm_in_the_region_of_its_node() {
    if !docker::available("the_stack_file_runs_in_swarm_in_the_region_of_its_node") {
        return;
    }
    let seed = Seed::new();
    let project = seed.project();
    let _volumes = Volumes(["cache", "db"].map(|service| format!("{project}_{service}_data")));
    seed.build_images();
    let _swarm = Swarm::alone();
    seed.cli(&["init", "simpleapp", "--regions", "eu-west-1,sfo3"]).ok();
    let node = docker(&["info", "--format", "{{.Name}}"]).ok().text().trim().to_owned();
    seed.cli(&["node", "add", &node, "--region", "sfo3"]).ok();
    let file = ["-f", "docker-stack.yml"];
    let imported = seed.heard(seed.stack(&[&["import", "--yes"], &file[..]].concat()).ok());
    for name in ["mysql_password --for app,db", "redis_password --for app"] {
        let (name, services) = name.split_once(' ').expect("two words");
        let command = format!("chandlery set {name} @FILE --file --mode 0444 {services}");
        assert!(imported.stderr.contains(&command), "{command} is not in {imported}");
    }
    let missing = seed.heard(seed.stack(&[&["check"], &file[..]].concat()).fails());
    assert_eq!(missing.code(), 1, "{missing}");
    assert!(missing.stderr.contains("db in sfo3: mysql_password"), "{missing}");
    let refused = seed.heard(seed.stack(&[&["deploy"], &file[..]].concat()).fails());
    assert_eq!(refused.code(), 1, "nothing is deployed that would not start: {refused}");
    for (name, services) in [("mysql_password", "app,db"), ("redis_password", "app")] {
        let value = fs::read_to_string(seed.folder().join("devsecrets").join(name)).expect("a password");
        seed.cli(&["set", name, "-", "--file", "--mode", "0444", "--for", services]).stdin(value.trim_end()).ok();
    }
    seed.forget_devsecrets();
    seed.be_patient();
    seed.cli(&["set", "GREETING", "--plain", "Hello", "--for", "app"]).ok();
    seed.cli(&["set", "GREETING", "--plain", "Selamat", "--region", "sfo3"]).ok();
    seed.stack(&[&["check"], &file[..]].concat()).ok();

    let name = ["-p", project.as_str()];
    let _down = Down(Some(seed.stack(&[&["down", "--swarm"], &file[..], &name[..]].concat())));
    seed.heard(seed.stack(&[&["deploy"], &file[..], &name[..]].concat()).ok());
    let task = |service: &str, number: u8| {
        let filter = format!("name={project}_{service}.{number}.");
        let found = docker(&["ps", "--quiet", "--filter", &filter, "--filter", "status=running"]).ok();
        found.text().lines().next().map(str::to_owned)
    };
    for number in [1, 2] {
        seed.serves(&|| task("app", number));
    }
    let app = task("app", 1).expect("it answered");
    let environment = docker(&["exec", &app, "cat", "/proc/1/environ"]).ok().environment();
    assert_eq!(environment.get("GREETING").map(String::as_str), Some("Selamat"), "the region of the node");
    let containers: Vec<String> = SERVICES.iter().filter_map(|service| task(service, 1)).collect();
    seed.shows_no_value(&containers);
    for service in SERVICES {
        let inspect = docker(&["service", "inspect", &format!("{project}_{service}")]).ok().stdout;
        seed.canaries.assert_absent("docker service inspect", &inspect);
        assert!(String::from_utf8_lossy(&inspect).contains("RestartPolicy"), "deploy keys are kept");
    }
    let placed = docker(&[
        "service",
        "inspect",
        "--format",
        "{{.Spec.TaskTemplate.Placement.Constraints}}",
        &format!("{project}_db"),
    ])
    .ok();
    assert!(placed.text().contains("node.role == manager"), "{placed}");
}

/// Users, file systems and capabilities as careful people have them, strings where lists are usual, and a health check that
/// needs a password: over TLS, for a user who is not root cannot use the socket of a server that runs as root.
#[test]
fn services_keep_their_user_their_words_and_their_health_check() {
    if !docker::available("services_keep_their_user_their_words_and_their_health_check") {
        return;
    }
    let images = Images::build();
    let mut canaries = Canaries::new();
    let args = ["--listen".to_owned(), format!("{}:0", docker::bridge_address())].to_vec();
    let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
    let (file, variable) = (canaries.value("the file"), canaries.value("the variable"));
    fs::write(server.project().join("pw.txt"), format!("{file}\n")).expect("a file");
    fs::write(server.project().join("app.env"), format!("API_TOKEN='{variable}'\nLINES=\"a\nb\"\n")).expect("a file");
    fs::write(server.project().join("docker-compose.yml"), CAREFUL.replace("IMAGE", &images.shell)).expect("a file");
    let stack = |args: &[&str]| {
        let run = server.cli(&[&["stack"], args].concat()).env("CHANDLERY_STACK", "careful");
        let run = run.env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path());
        run.env("CHANDLERY_ENVIRONMENT", "production").env("XDG_STATE_HOME", server.project())
    };
    let project = format!("chandlery-careful-{}", std::process::id());
    let said = stack(&["import", "--yes"]).ok();
    assert!(said.stderr.contains("chandlery set DB_URL --for nobody"), "{said}");
    server
        .cli(&["set", "DB_URL", "-", "-s", "careful", "-e", "production", "--for", "nobody"])
        .stdin("postgres://db")
        .ok();
    let _down = Down(Some(stack(&["down", "-p", &project, "--timeout", "1"])));
    stack(&["up", "-p", &project, "--detach"]).ok();

    let container = |service: &str| {
        let label = format!("label=com.docker.compose.service={service}");
        let of_project = format!("label=com.docker.compose.project={project}");
        docker(&["ps", "--all", "--quiet", "--filter", &label, "--filter", &of_project]).ok().text().trim().to_owned()
    };
    let (nobody, words) = (container("nobody"), container("words"));
    until("both have said what they have", || {
        docker::logs(&nobody).contains("end") && docker::logs(&words).contains("end")
    });
    let said = docker::logs(&nobody);
    canaries.assert_present("the file", said.as_bytes());
    assert!(said.contains("65534 a b|postgres://db|p$w|83|end"), "{said}");
    let said = docker::logs(&words);
    assert!(said.contains("zero o n e it's end"), "{said}");
    until("the health check has the app's password", || {
        docker(&["inspect", "--format", "{{.State.Health.Status}}", &words]).output().text().trim() == "healthy"
    });
    for container in [&nobody, &words] {
        canaries.assert_absent("docker inspect", &docker(&["inspect", container]).ok().stdout);
    }
}

const CAREFUL: &str = r#"
version: '3.7'
x-env: &env
    SHARED: "a b"
    DB_URL: postgres://app:${DB_PASSWORD:?it comes from the store}@db/x
services:
    nobody:
        image: IMAGE
        user: nobody
        read_only: true
        cap_drop: [ALL]
        security_opt: [no-new-privileges:true]
        environment:
            <<: *env
            DOLLAR: 'p$$w'
            NUMBER: 0123
        secrets: [{source: pw, target: database}]
        command: sh -c 'cat /run/secrets/database; echo " $$(id -u) $$SHARED|$$DB_URL|$$DOLLAR|$$NUMBER|end"; sleep 600'
    words:
        image: IMAGE
        entrypoint: sh -c 'echo "$$0 $$1 it'"'"'s end"; exec sleep 600'
        command: [zero, o n e]
        env_file: [app.env]
        healthcheck:
            test: test -n "$$API_TOKEN" && test "$$LINES" = "$$(printf 'a\nb')"
            interval: 1s
    tool:
        image: nowhere/to-be-found
        profiles: [tools]
secrets:
    pw: {file: ./pw.txt}
"#;

/// A server, the team's folder with passwords that only this run knows, and the one Docker that its fixed names live in.
struct Seed {
    server: Server,
    canaries: Canaries,
    /// `container_name` and the port are the file's own: one run at a time on this machine.
    _alone: File,
}

impl Seed {
    fn new() -> Self {
        let alone = File::create(std::env::temp_dir().join("chandlery-seed-001.lock")).expect("a lock file");
        alone.lock().expect("a lock");
        let images = Images::build();
        let mut canaries = Canaries::new();
        let server = Server::start();
        let seed = Self { server, _alone: alone, canaries: Canaries::new() };
        copy(&folder("simpleapp/seed"), &seed.folder());
        for name in ["mysql_password", "redis_password"] {
            let value = canaries.value(name);
            // With the newline that an editor leaves, and that broke the team's app.
            fs::write(seed.folder().join("devsecrets").join(name), format!("{value}\n")).expect("a file");
            seed.edit("redis_db/redis.conf", &format!("laptop-only-{}", name.trim_end_matches("_password")), &value);
        }
        seed.edit("redis_db/Dockerfile", "REDIS=redis", &format!("REDIS={}", images.redis));
        seed.edit("mysql_db/Dockerfile", "MYSQL=mysql:latest", &format!("MYSQL={}", images.mariadb));
        seed.edit("app/Dockerfile", "PYTHON=python", &format!("PYTHON={}", images.python));
        Self { canaries, ..seed }
    }

    fn folder(&self) -> PathBuf {
        self.server.project().join("simpleapp")
    }

    /// A name for compose's project that no other run has.
    fn project(&self) -> String {
        format!("chandlery-seed-{}", std::process::id())
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder().join(file);
        let text = fs::read_to_string(&path).expect("a file of the seed");
        fs::write(path, text.replace(from, to)).expect("a file of a copy");
    }

    fn forget_devsecrets(&self) {
        fs::remove_dir_all(self.folder().join("devsecrets")).expect("a folder");
    }

    /// The entrypoint waits for `WAIT_HOSTS`; a machine that runs all tests at once makes a database slowly.
    fn be_patient(&self) {
        self.cli(&["set", "WAIT_TIMEOUT", "--plain", "120", "--for", "app"]).ok();
    }

    fn cli(&self, args: &[&str]) -> Run {
        let home = std::env::var_os("HOME").unwrap_or_default();
        self.server
            .cli(args)
            .current_dir(self.folder())
            .env("CHANDLERY_STACK", "simpleapp")
            .env("CHANDLERY_ENVIRONMENT", "production")
            .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
            .env("XDG_STATE_HOME", self.server.project())
            .env("DOCKER_CONFIG", Path::new(&home).join(".docker"))
            // The classic builder finds the local images without asking anybody for them.
            .env("DOCKER_BUILDKIT", "0")
    }

    fn stack(&self, args: &[&str]) -> Run {
        self.cli(&[&["stack"], args].concat())
    }

    fn up(&self, project: &str, more: &[&str]) {
        let args = [&["up", "-p", project], more].concat();
        self.heard(self.stack(&args).ok());
    }

    /// No value in what was said.
    fn heard(&self, output: Output) -> Output {
        self.canaries.assert_absent("stdout", &output.stdout);
        self.canaries.assert_absent("stderr", output.stderr.as_bytes());
        output
    }

    fn build_images(&self) {
        for (service, context) in [("cache", "redis_db"), ("db", "mysql_db"), ("app", "app")] {
            let tag = format!("jeshocarmel/mysimpleapp_{service}");
            let context = self.folder().join(context);
            docker(&["build", "--tag", &tag]).args([context]).env("DOCKER_BUILDKIT", "0").ok();
        }
    }

    /// The app answers, counts, and stores: its passwords are those of Redis and of the database.
    fn serves(&self, container: &dyn Fn() -> Option<String>) {
        until("the app answers", || {
            container()
                .is_some_and(|container| docker(&["exec", &container, "python3", "-c", GET]).output().code() == 0)
        });
        let container = container().expect("it answered");
        docker(&["exec", &container, "python3", "-c", POST]).ok();
        let page = docker(&["exec", &container, "python3", "-c", GET]).ok().json();
        assert!(page["visits"].as_u64() >= Some(2), "{page}");
        assert_eq!(page["favourites"][0], serde_json::json!(["kai", "laksa"]));
        assert_eq!(page["chandlery_variables"], Value::Array(Vec::new()));
        let password = docker(&["exec", &container, "cat", "/run/secrets/mysql_password"]).ok().stdout;
        self.canaries.assert_present("mysql_password", &password);
        assert!(!password.ends_with(b"\n"));
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

/// Takes the stack down when the test ends, however it ends.
struct Down(Option<Run>);

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

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    let containers = docker(&["ps", "--all"]).output();
    panic!("it never came about that {what}: {containers}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let entry = entry.expect("a folder can be listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
