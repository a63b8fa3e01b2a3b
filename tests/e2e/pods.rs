//! The second team's stack as `docs/stacks/pods.md` runs it: nginx, an app, three workers, a database and a mail catcher, on the
//! laptop and in production, from one file that nobody edits.

use std::fs;
use std::path::Path;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::machine::Machine;
use chandlery_tests::page::{Page, Reader, Step};
use chandlery_tests::stacks;
use chandlery_tests::{Output, Program, Server, turn};
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{containers_can_reach_it, follow};

/// What is not for a laptop.
const UNITS: &str = "By systemd, as they do it";

#[test]
fn the_page_runs_the_same_file_on_the_laptop_and_in_production() {
    if !docker::available("the_page_runs_the_same_file_on_the_laptop_and_in_production") {
        return;
    }
    let _networks = docker::nobody_leaves_a_swarm();
    // The ports are the file's own, and another team's file has one of them, too.
    let _alone = turn::alone("seed-001");
    let server = Server::start();
    let here = server.project().join("pods");
    stacks::copy("pods", &here);
    name_images(&here);
    let home = std::env::var_os("HOME").unwrap_or_default();
    let reader = Reader::of(&server)
        .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
        .env("XDG_STATE_HOME", server.project())
        .env("DOCKER_CONFIG", Path::new(&home).join(".docker"))
        // The classic builder finds the local images without asking anybody for them.
        .env("DOCKER_BUILDKIT", "0");
    reader.run("cd pods").ok();
    let _down = Down(&reader);

    let page = Page::read("docs/stacks/pods.md");
    let mut runs = 0;
    for block in page.blocks().iter().filter(|block| block.section != UNITS) {
        // While the stack is up: before the block that takes it down.
        if let Step::Run { script, .. } = &block.step
            && script.contains("docker inspect")
        {
            the_laptop_is_as_the_page_says(&reader);
            runs += 1;
        }
        let output = reader.does(block).expect("the page has nothing but commands");
        assert!(!format!("{output}").contains("toor"), "{}: a password was said", block.place);
    }
    assert_eq!(runs, 1, "the page shows what docker shows");
    let production = reader.run("chandlery get DB_PWD --environment production --service backend --resolved").ok();
    let development = reader.run("chandlery get DB_PWD --environment development --service backend --resolved").ok();
    assert_eq!((production.stdout.len(), development.stdout.len()), (32, 32));
    assert_ne!(production.stdout, development.stdout);
}

/// Their production: units, on a machine with a systemd and a Docker of its own. A database and a mail server, which are elsewhere
/// in production, run beside them.
#[test]
fn units_serve_production_on_a_machine() {
    let Some(machine) = Machine::boot("units_serve_production_on_a_machine", "pods") else { return };
    let here = TempDir::with_prefix("chandlery-pods-").expect("a temporary folder");
    stacks::copy("pods", here.path());
    name_images(here.path());
    for (service, name) in [("backend", "qwaya/app-backend"), ("frontend", "qwaya/app-frontend")] {
        let own = format!("chandlery-pods-{service}-{}", std::process::id());
        docker(&["build", "--quiet", "--tag", &own]).args([here.path().join(service)]).env("DOCKER_BUILDKIT", "0").ok();
        machine.load(&own, &format!("{name}:latest"));
        docker(&["rmi", &own]).ok();
    }
    for image in ["mysql:5.6", "schickling/mailcatcher:latest"] {
        machine.load(image, image);
    }
    follow(&machine, &Page::read("docs/SYSTEMD.md"), "The server");
    containers_can_reach_it(&machine, "");
    let file = fs::read_to_string(here.path().join("docker-compose.yml")).expect("the file");
    machine.write("/root/pods/docker-compose.yml", &file);
    machine.ok(ELSEWHERE);
    follow(&machine, &Page::read("docs/stacks/pods.md"), UNITS);

    machine.until(&format!("{HTTP} get 80 / | grep '\"site\": \"Qwaya\"'"));
    let style = machine.ok(&format!("{HTTP} get 80 /static/app.css"));
    assert!(style.ends_with("body { font: 16px sans-serif }"), "{style}");
    machine.until("[ $(docker ps --quiet --filter name=worker- | wc -l) = 3 ]");
    machine
        .ok(&format!("{HTTP} post 80 'mail=a@example.org&mail=b@example.org&mail=c@example.org&mail=d@example.org'"));
    machine.until(&format!("[ $({HTTP} get 80 / | grep -o '\"sent\": true' | wc -l) = 4 ]"));
    let mails = machine.ok(&format!("{HTTP} get 1080 /"));
    assert_eq!(mails.matches("Welcome to Qwaya").count(), 4, "{mails}");
    let password = machine.ok("chandlery get DB_PWD -s pods -e production");
    assert_eq!(password.len(), 32);
    let shown = machine.ok("docker inspect backend frontend worker-1 worker-2 worker-3; systemctl show 'pods-*'
         cat /proc/[0-9]*/cmdline | tr '\\0' ' ' || true");
    assert!(!shown.contains(&password) && !shown.contains("chd_") && !shown.contains("toor"));
    // The pod comes back whole: the frontend has the backend's address and volume.
    machine.ok("systemctl kill --signal KILL pods-backend");
    machine.until("[ $(systemctl show pods-backend --property NRestarts --value) -ge 1 ]");
    machine.until(&format!("{HTTP} get 80 / | grep '\"site\": \"Qwaya\"'"));
}

/// A request by bash alone; the last line of the answer.
const HTTP: &str = r#"get() { exec 3<>/dev/tcp/127.0.0.1/$1; printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3; tail -n 1 <&3; }
post() { exec 3<>/dev/tcp/127.0.0.1/$1; printf 'POST / HTTP/1.0\r\nContent-Length: %s\r\n\r\n%s' ${#2} "$2" >&3; tail -n 1 <&3; }
"#;

/// Production's values, and what stands for RDS and for a mail server.
const ELSEWHERE: &str = r#"cd /root/pods; export CHANDLERY_STACK=pods CHANDLERY_ENVIRONMENT=production
random() { head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
chandlery stack import --yes
password=$(random)
printf %s "$password" | chandlery set MYSQL_ROOT_PASSWORD
printf %s "$password" | chandlery set DB_PWD
random | chandlery set MAIL_PWD
MYSQL_ROOT_PASSWORD=$password docker run -d --name rds -e MYSQL_ROOT_PASSWORD -e MYSQL_DATABASE=app mysql:5.6
MAIL_PWD=$(chandlery get MAIL_PWD) docker run -d --name mail -e MAIL_USER=app -e MAIL_PWD -p 1080:1080 schickling/mailcatcher
address() { docker inspect --format '{{.NetworkSettings.IPAddress}}' $1; }
chandlery set DB_HOST --plain $(address rds)
chandlery set MAIL_HOST --plain $(address mail)
chandlery set SITE_NAME --plain Qwaya
chandlery set WAIT_HOSTS --plain "mysql://$(address rds),tcp://$(address mail):1025" --for backend,worker
chandlery set WAIT_TIMEOUT --plain 120 --for backend,worker
"#;

/// Three workers, each of which has the values and wrote a mail; and nobody else sees a password.
fn the_laptop_is_as_the_page_says(reader: &Reader) {
    let secrets = reader.run("chandlery get DB_PWD; echo; chandlery get MAIL_PWD").ok();
    let secrets: Vec<&str> = secrets.text().lines().collect();
    assert_eq!(secrets.len(), 2);
    let workers = containers("worker");
    assert_eq!(workers.len(), 3, "{workers:?}");
    for worker in &workers {
        let environment = docker(&["exec", worker, "cat", "/proc/1/environ"]).ok().environment();
        let has = |name: &str| environment.get(name).map(String::as_str);
        assert_eq!((has("DB_PWD"), has("MAIL_PWD")), (Some(secrets[0]), Some(secrets[1])));
        assert_eq!((has("PROCESS_NAME"), has("DB_HOST")), (Some("task"), Some("database")));
        assert!(!environment.keys().any(|name| name.starts_with("CHANDLERY_")), "{environment:?}");
    }
    // Whoever sent a mail is in its sender's address: a worker's host name, which is its container's id.
    let mails = reader.run("curl --silent --fail http://localhost:1080/").ok().json();
    let senders: Vec<&str> =
        mails.as_array().expect("a list").iter().filter_map(|mail| mail["sender"].as_str()).collect();
    assert_eq!(senders.len(), 6, "{mails}");
    for worker in &workers {
        let address = format!("task@{}", &worker[..12]);
        assert!(senders.contains(&address.as_str()), "{address} has sent nothing: {senders:?}");
    }
    let site: Value = reader.run("curl --silent --fail http://localhost/").ok().json();
    assert!(site["invitations"].as_array().is_some_and(|all| all.iter().all(|one| one["sent"] == true)), "{site}");
    let all = ["databasemaster", "mailcatcher", "backend", "worker", "frontend"].map(containers).concat();
    assert_eq!(all.len(), 7);
    for container in &all {
        for question in ["inspect", "logs", "top"] {
            let said = docker(&[question, container]).ok();
            let said = String::from_utf8_lossy(&said.stdout).into_owned() + &said.stderr;
            for secret in secrets.iter().chain(&["toor", "resu"]) {
                assert!(!said.contains(secret), "docker {question} shows a password");
            }
        }
    }
    // The old password opens nothing.
    let old = "import pymysql; pymysql.connect(host='database', user='root', password='toor')";
    let refused = docker(&["exec", &workers[0], "python3", "-c", old]).output();
    assert!(refused.code() != 0 && refused.stderr.contains("Access denied"), "{refused}");
}

fn containers(service: &str) -> Vec<String> {
    let filters = ["project=pods".to_owned(), format!("service={service}")];
    let [project, service] = filters.map(|filter| format!("label=com.docker.compose.{filter}"));
    let found = docker(&["ps", "--quiet", "--no-trunc", "--filter", &project, "--filter", &service]).ok();
    found.text().lines().map(str::to_owned).collect()
}

/// The images that this machine has for those that it cannot pull.
fn name_images(here: &Path) {
    let images = Images::build();
    let mysql = format!("FROM {}\nENTRYPOINT [\"docker-entrypoint.sh\"]\nCMD [\"mariadbd\"]\n", images.mariadb);
    docker(&["build", "--tag", "mysql:5.6", "-"]).stdin(mysql).env("DOCKER_BUILDKIT", "0").ok();
    let catcher = here.join("mailcatcher");
    docker(&["build", "--tag", "schickling/mailcatcher:latest", "--build-arg"])
        .args([&format!("PYTHON={}", images.python)])
        .args([catcher])
        .env("DOCKER_BUILDKIT", "0")
        .ok();
    for (file, from, image) in
        [("backend/Dockerfile", "PYTHON=python", &images.python), ("frontend/Dockerfile", "NGINX=nginx", &images.nginx)]
    {
        let text = fs::read_to_string(here.join(file)).expect("a file of the stack");
        let (name, _) = from.split_once('=').expect("an argument");
        fs::write(here.join(file), text.replace(from, &format!("{name}={image}"))).expect("a file of a copy");
    }
}

/// Takes both environments down when the test ends, however it ends.
struct Down<'a>(&'a Reader);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _: Output = self.0.run("chandlery stack down --volumes --timeout 2").output();
    }
}
