//! A stack whose containers bring no token: what `up` and `deploy` say while it is shut, and that nothing is asked of anybody
//! once it is open.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use chandlery_tests::docker::{self, Images, Swarm, Tool, docker};
use chandlery_tests::{Canaries, Output, Program, Run, Server, StartOptions};
use tempfile::TempDir;

/// What a team has that never heard of Chandlery.
const COMPOSE: &str = r#"
version: '3.7'
services:
    app:
        image: IMAGE
        environment:
            GREETING: Ahoy
            API_TOKEN: ${API_TOKEN}
        secrets: [key]
        command:
            - sh
            - -c
            - 'echo "$$GREETING $$PLACE $$API_TOKEN $$(cat /run/secrets/key) $$(env | grep -c CHANDLERY_)" >/tmp/index.html;
              exec busybox httpd -f -p 80 -h /tmp'
    worker:
        image: IMAGE
        user: "999"
        read_only: true
        cap_drop: [ALL]
        secrets: [key]
        command: sh -c 'cat /run/secrets/key; echo " worker $$GREETING"; exec sleep 600'
secrets:
    key: {file: ./key.txt}
"#;

/// A server that knows its host's containers, and a stack in its folder.
struct Host {
    server: Server,
    /// The folder of the socket, as an administrator makes it.
    sockets: TempDir,
    canaries: Canaries,
    image: String,
    key: String,
    token: String,
    project: String,
}

impl Host {
    fn new(name: &str, more: &[&str]) -> Self {
        let sockets = TempDir::with_prefix("chandlery-socket-").expect("a temporary folder");
        fs::set_permissions(sockets.path(), Permissions::from_mode(0o755)).expect("an own folder");
        let socket = sockets.path().join("chandlery.sock");
        let usual = ["--listen", "127.0.0.1:0", "--socket", socket.to_str().expect("a plain path")];
        let args = [&usual, more].concat().into_iter().map(str::to_owned).collect();
        let server = Server::start_with(StartOptions { args, ..StartOptions::default() });
        let mut canaries = Canaries::new();
        let (key, token) = (canaries.value("the file"), canaries.value("the variable"));
        let image = Images::build().shell;
        fs::write(server.project().join("docker-compose.yml"), COMPOSE.replace("IMAGE", &image)).expect("a file");
        fs::write(server.project().join("key.txt"), format!("{key}\n")).expect("a file");
        fs::write(server.project().join(".env"), format!("API_TOKEN={token}\n")).expect("a file");
        let project = format!("chandlery-{name}-{}", std::process::id());
        Self { server, sockets, canaries, image, key, token, project }
    }

    fn cli(&self, args: &[&str]) -> Run {
        self.server
            .cli(args)
            .env("CHANDLERY_STACK", "ship")
            .env("CHANDLERY_ENVIRONMENT", "production")
            .env("CHANDLERY_ENTRYPOINT", Program::StaticEntrypoint.path())
            .env("XDG_STATE_HOME", self.server.project())
    }

    /// A verb of `stack` about this project, without tokens.
    fn stack(&self, tool: &Tool, verb: &str, more: &[&str]) -> Run {
        let identity = ["--identity", "socket", "-p", &self.project];
        tool.to(self.cli(&[&["stack", verb], &identity[..], more].concat()))
    }

    /// The file's values are in the store, and nowhere else any more.
    fn import(&self) {
        self.cli(&["stack", "import", "--yes"]).ok();
        for name in ["key.txt", ".env"] {
            fs::remove_file(self.server.project().join(name)).expect("an own file");
        }
    }

    /// Runs the command that a hint names, as it stands there.
    fn obey(&self, refusal: &Output, command: &str) {
        let line = refusal.stderr.lines().find_map(|line| Some(&line[line.find(command)?..]));
        let line = line.unwrap_or_else(|| panic!("nothing says `{command}`: {refusal}"));
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        self.server.cli(&words).ok();
    }

    fn containers(&self, service: &str, by: [&str; 2]) -> Vec<String> {
        let [project, of] = by;
        let filters = [format!("label={project}={}", self.project), format!("label={of}={service}")];
        let found = docker(&["ps", "--quiet", "--filter", &filters[0], "--filter", &filters[1]]).ok();
        found.text().split_whitespace().map(str::to_owned).collect()
    }

    fn composed(&self, service: &str) -> Vec<String> {
        self.containers(service, ["com.docker.compose.project", "com.docker.compose.service"])
    }

    /// What the app of a container answers.
    fn answers(&self, container: &str, expected: &str) {
        let mut seen = String::new();
        docker::until(&format!("the app answers {expected}"), || {
            let output = docker(&["exec", container, "wget", "-q", "-O", "-", "http://127.0.0.1/"]).output();
            output.text().clone_into(&mut seen);
            output.code() == 0
        });
        assert_eq!(seen, expected, "{}", docker::logs(container));
    }

    fn tokens(&self) -> usize {
        let list = self.cli(&["token", "list", "--format", "json"]).ok().json();
        list["tokens"].as_array().expect("a list").len()
    }

    /// Nothing that opens anything is in the container's configuration.
    fn brings_nothing(&self, container: &str) {
        let inspected = docker(&["inspect", container]).ok().stdout;
        self.canaries.assert_absent("docker inspect", &inspected);
        let text = String::from_utf8_lossy(&inspected);
        assert!(!text.contains("CHANDLERY_TOKEN") && !text.contains("chd_") && !text.contains("/tokens/"), "{text}");
        assert!(text.contains("CHANDLERY_ADDR=unix:///run/chandlery/server/chandlery.sock"), "{text}");
    }
}

/// Takes a stack down when its test ends, however it ends.
struct Down(Vec<Run>);

impl Drop for Down {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|run| drop(run.output()));
    }
}

const ON_HOST: [&str; 4] = ["--socket-mode", "0666", "--docker-socket", "/var/run/docker.sock"];

#[test]
fn a_new_user_opens_the_stack_and_nobody_has_a_token() {
    if !docker::available("a_new_user_opens_the_stack_and_nobody_has_a_token") {
        return;
    }
    for (number, tool) in Tool::all().iter().enumerate() {
        let host = Host::new(&format!("sitting{number}"), &ON_HOST);
        host.import();
        let down = Down(vec![host.stack(tool, "down", &["--timeout", "1"])]);
        let nothing_runs = || assert!(host.composed("app").is_empty() && host.composed("worker").is_empty());

        // Shut: both say so, with the command, before anything is there.
        let command = format!("chandlery stack open -s ship -e production --project {}", host.project);
        for verb in [&["check"][..], &["up", "--detach"]] {
            let refused = host.stack(tool, verb[0], &verb[1..]).fails();
            assert_eq!(refused.code(), 1, "{}: {refused}", tool.name);
            assert!(refused.stderr.contains("is not open for containers of the project"), "{refused}");
            assert!(refused.stderr.contains(&format!("hint: {command}\n")), "{refused}");
            nothing_runs();
        }
        let json = host.stack(tool, "check", &["--format", "json"]).fails().json();
        assert_eq!((&json["complete"], &json["refused"]["hint"]), (&false.into(), &command.as_str().into()));
        let junit = host.stack(tool, "check", &["--format", "junit"]).fails();
        assert!(junit.text().contains("<testcase classname=\"ship/production/openings\""), "{junit}");

        // Open, by that command.
        host.obey(&host.stack(tool, "check", &[]).fails(), "chandlery stack open");
        host.stack(tool, "check", &[]).ok();
        let up = host.stack(tool, "up", &["--detach"]).ok();
        host.canaries.assert_absent("up", up.stderr.as_bytes());
        let app = host.composed("app").pop().expect("it was started");
        host.answers(&app, &format!("Ahoy  {} {} 0\n", host.token, host.key));
        let worker = host.composed("worker").pop().expect("it was started");
        let said = || docker::logs(&worker);
        docker::until("the worker has its file", || said().contains("worker"));
        assert_eq!(said().trim(), format!("{} worker", host.key), "{}", tool.name);
        [&app, &worker].iter().for_each(|container| host.brings_nothing(container));
        assert_eq!(host.tokens(), 1, "the administrator's of the first start, and no other");
        assert!(!host.server.project().join("chandlery/stacks").join(&host.project).join("tokens/app").exists());
        // The memory of a container that starts again is empty: it asks again, by nothing but its socket.
        docker(&["restart", "--time", "1", &app]).ok();
        host.answers(&app, &format!("Ahoy  {} {} 0\n", host.token, host.key));
        host.brings_nothing(&app);

        // Pinned to another image, `up` says so before it touches what runs; the command that it names keeps the rest.
        let pin = format!("app=sha256:{}", "0".repeat(64));
        host.cli(&["stack", "open", "--project", &host.project, "--image", &pin, "--allow-exec"]).ok();
        let refused = host.stack(tool, "up", &["--detach"]).fails();
        assert!(refused.stderr.contains("may not be of the images that are here: app"), "{refused}");
        assert_eq!(host.composed("app"), [&app[..]]);
        host.obey(&refused, "chandlery stack open");
        host.stack(tool, "up", &["--detach"]).ok();
        let opening = host.cli(&["stack", "openings", "--format", "json"]).ok().json();
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &host.image]).ok().text().trim().to_owned();
        assert_eq!(opening["openings"][0]["images"]["app"][0], id.as_str());
        assert_eq!(opening["openings"][0]["allow_exec"], true);

        // Who may not see what is open goes on, and is told.
        let reader = ["token", "create", "-d", "ci", "--verb", "read-bundle", "--stack", "ship", "-e", "production"];
        let reader = host.cli(&[&reader[..], &["-o", "ci.token"]].concat());
        reader.ok();
        let blind = host.stack(tool, "up", &["--detach"]).env("CHANDLERY_TOKEN_FILE", "ci.token").ok();
        assert!(blind.stderr.contains("only a token that administers sees"), "{blind}");
        drop(down);
        nothing_runs();
    }
}

#[test]
fn what_would_keep_the_containers_out_is_said_before_they_start() {
    if !docker::available("what_would_keep_the_containers_out_is_said_before_they_start") {
        return;
    }
    let tool = &Tool::all()[0];
    let open = |host: &Host| host.cli(&["stack", "open", "--project", &host.project]).ok();
    let refused = |host: &Host, more: &[&str], why: &str, hint: &str| {
        let refused = host.stack(tool, "up", &[more, &["--detach"]].concat()).fails();
        assert!(refused.stderr.contains(why) && refused.stderr.contains(hint), "{refused}");
        assert!(host.composed("app").is_empty(), "{refused}");
    };
    // A server that asks no Docker.
    let plain = Host::new("plain", &[]);
    plain.import();
    open(&plain);
    refused(&plain, &[], "does not know containers", "docker_socket");
    // A socket that only root may use, and a service that runs as somebody else.
    let closed = Host::new("closed", &["--docker-socket", "/var/run/docker.sock"]);
    closed.import();
    open(&closed);
    refused(&closed, &[], "worker runs as user 999, who may not use", "--socket-mode 0666");
    let _down = Down(vec![closed.stack(tool, "down", &["--timeout", "1"])]);
    // Without that service, the same socket will do.
    let file = closed.server.project().join("docker-compose.yml");
    let text = fs::read_to_string(&file).expect("an own file");
    let (before, _) = text.split_once("    worker:").expect("it has a worker");
    fs::write(&file, format!("{before}secrets:\n    key: {{external: true}}\n")).expect("an own file");
    closed.stack(tool, "up", &["--detach"]).ok();
    closed.answers(&closed.composed("app")[0], &format!("Ahoy  {} {} 0\n", closed.token, closed.key));
    // Regions, and a server that does not say in which one its host is.
    closed.cli(&["region", "add", "east"]).ok();
    let no_region = closed.stack(tool, "check", &[]).fails();
    assert!(no_region.stderr.contains("does not say in which region its host is"), "{no_region}");
    // One that does: it is its host's word, and nobody has to say it.
    let east = Host::new("east", &[&ON_HOST[..], &["--host-region", "east"]].concat());
    east.import();
    east.cli(&["region", "add", "east"]).ok();
    east.cli(&["region", "add", "west"]).ok();
    for region in ["east", "west"] {
        east.cli(&["set", "PLACE", "--plain", region, "--region", region, "--for", "app"]).ok();
    }
    open(&east);
    refused(&east, &["--region", "west"], "are in east, and west is asked for", "leave --region out");
    let _down = Down(vec![east.stack(tool, "down", &["--timeout", "1"])]);
    east.stack(tool, "up", &["--detach"]).ok();
    let app = east.composed("app").pop().expect("it was started");
    east.answers(&app, &format!("Ahoy east {} {} 0\n", east.token, east.key));
    // The machine's file says the same or nothing: one that says another region is found out, in `up` and in a container.
    let file = east.server.project().join("region");
    fs::write(&file, "west\n").expect("a file");
    let told = east.stack(tool, "up", &["--detach"]).env("CHANDLERY_REGION_FILE", &file).fails();
    assert!(told.stderr.contains("note: the region is west, from "), "{told}");
    assert!(told.stderr.contains("are in east, and west is asked for"), "{told}");
    contradicts(&east, &file, "west", 4, "the region is east, and west was asked for");
    contradicts(&east, &file, "east", 0, "");
}

/// A container of the project with the machine's file in it, at the path where every machine has it.
fn contradicts(host: &Host, file: &std::path::Path, region: &str, code: i32, why: &str) {
    fs::write(file, region).expect("an own file");
    let label = |name: &str, value: &str| format!("--label=com.docker.compose.{name}={value}");
    let entrypoint = format!("{}:/chandlery-entrypoint:ro", Program::StaticEntrypoint.path().display());
    let output = docker(&["run", "--rm", "--network", "none", "--tmpfs", "/run/secrets:mode=0700"])
        .args([label("project", &host.project), label("service", "app"), label("container-number", "9")])
        .args(["-v", &entrypoint, "-v", &format!("{}:/run/chandlery:ro", host.sockets.path().display())])
        .args(["-v", &format!("{}:/etc/chandlery/region:ro", file.display())])
        .args(["-e", "CHANDLERY_ADDR=unix:///run/chandlery/chandlery.sock"])
        .args([&host.image[..], "/chandlery-entrypoint", "--", "sh", "-c", "echo in $PLACE"])
        .output();
    assert_eq!(output.code(), code, "{output}");
    match code {
        0 => assert_eq!(output.text(), format!("in {region}\n"), "{output}"),
        _ => {
            let source = format!("the region {region} is from /etc/chandlery/region");
            assert!(output.stderr.contains(why) && output.stderr.contains(&source), "{output}");
        }
    }
}

#[test]
fn swarm_s_tasks_are_known_by_their_labels() {
    if !docker::available("swarm_s_tasks_are_known_by_their_labels") {
        return;
    }
    let host = Host::new("swarm", &[&ON_HOST[..], &["--host-region", "east"]].concat());
    host.import();
    host.cli(&["region", "add", "east"]).ok();
    host.cli(&["region", "add", "west"]).ok();
    for region in ["east", "west"] {
        host.cli(&["set", "PLACE", "--plain", region, "--region", region, "--for", "app"]).ok();
    }
    let file = host.server.project().join("docker-stack.yml");
    fs::write(&file, STACK.replace("IMAGE", &host.image)).expect("a file");
    let tool = &Tool::all()[0];
    let files = ["-f", "docker-stack.yml"];
    let swarm = Swarm::alone();
    let refused = host.stack(tool, "deploy", &files).fails();
    assert!(refused.stderr.contains("is not open for containers of the project"), "{refused}");
    let services = docker(&["service", "ls", "--quiet", "--filter", &format!("name={}_", host.project)]);
    assert_eq!(services.ok().text(), "", "nothing was deployed");
    host.obey(&refused, "chandlery stack open");
    let down = Down(vec![host.stack(tool, "down", &[&["--swarm"], &files[..]].concat())]);
    host.stack(tool, "deploy", &files).ok();

    let service = format!("{}_app", host.project);
    let tasks = || host.containers(&service, ["com.docker.stack.namespace", "com.docker.swarm.service.name"]);
    let page = |greeting: &str| format!("{greeting} east {} {} 0\n", host.token, host.key);
    let all_answer = |count: usize, page: &str| {
        docker::until(&format!("{count} tasks answer {page}"), || {
            let tasks = tasks();
            tasks.len() == count
                && tasks.iter().all(|task| {
                    let asked = docker(&["exec", task, "wget", "-q", "-O", "-", "http://127.0.0.1/"]).output();
                    asked.code() == 0 && asked.text() == page
                })
        });
    };
    all_answer(1, &page("Ahoy"));
    host.brings_nothing(&tasks()[0]);
    let spec = docker(&["service", "inspect", &service]).ok();
    host.canaries.assert_absent("docker service inspect", &spec.stdout);
    assert!(!spec.text().contains("chandlery_token") && !spec.text().contains("CHANDLERY_NODE"), "{spec}");
    assert!(spec.json()[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"].as_array().is_none_or(Vec::is_empty));

    // More of them; then others in their place, with what is new in the store.
    docker(&["service", "scale", "--detach", &format!("{service}=3")]).ok();
    all_answer(3, &page("Ahoy"));
    let before = tasks();
    host.cli(&["set", "GREETING", "--plain", "Selamat", "--for", "app"]).ok();
    host.stack(tool, "deploy", &files).ok();
    // The file says one replica; the deploy brings it back to that, and rolls it.
    all_answer(1, &page("Selamat"));
    assert!(tasks().iter().all(|task| !before.contains(task)), "{before:?}");
    assert_eq!(host.tokens(), 1);
    // Each of them was let in as what Swarm calls it, and is in the log as that.
    let log = host.cli(&["audit", "--since", "1h"]).ok();
    assert!(log.text().contains(&format!("{}/app", host.project)), "{log}");
    drop(down);
    docker::until("the tasks are gone", || tasks().is_empty());
    drop(swarm);
}

const STACK: &str = r#"
version: '3.7'
services:
    app:
        image: IMAGE
        environment:
            GREETING: Ahoy
            API_TOKEN: ${API_TOKEN}
        secrets: [key]
        stop_grace_period: 1s
        command:
            - sh
            - -c
            - 'echo "$$GREETING $$PLACE $$API_TOKEN $$(cat /run/secrets/key) $$(env | grep -c CHANDLERY_)" >/tmp/index.html;
              exec busybox httpd -f -p 80 -h /tmp'
        deploy:
            replicas: 1
            endpoint_mode: dnsrr
            restart_policy: {delay: 1s}
            update_config: {parallelism: 1, order: start-first}
secrets:
    key: {external: true}
"#;
