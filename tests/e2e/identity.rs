//! No credential on one host: real containers on the server's unix socket, and everything that tries to pass for one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::{Output, Program, Run, Server, StartOptions};
use tempfile::TempDir;

/// Prints what the region's bundle has.
const SHOW: [&str; 4] = ["--", "/bin/busybox", "sh", "-c"];
const ECHO: &str = "echo got $PLACE $(cat /run/secrets/key)";

/// A server for this host's Docker, its socket in a folder for containers, and a stack that is opened to a project.
struct Host {
    server: Server,
    folder: TempDir,
    images: Images,
    project: String,
}

impl Host {
    fn new(name: &str) -> Self {
        let folder = TempDir::with_prefix("chandlery-socket-").expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("an own folder");
        let socket = folder.path().join("chandlery.sock");
        let args = [
            "--listen",
            "127.0.0.1:0",
            "--socket",
            socket.to_str().expect("a plain path"),
            "--socket-mode",
            "0666",
            "--docker-socket",
            "/var/run/docker.sock",
            "--host-region",
            "east",
        ];
        let server =
            Server::start_with(StartOptions { args: args.map(str::to_owned).to_vec(), ..StartOptions::default() });
        server.cli(&["init", "ship", "--services", "app,db", "--regions", "east,west"]).ok();
        for region in ["east", "west"] {
            server.cli(&["set", "PLACE", "--plain", region, "--region", region]).ok();
        }
        server.cli(&["set", "key", "--file"]).stdin("k3y").ok();
        let project = format!("chandlery-{name}-{}", std::process::id());
        Self { server, folder, images: Images::build(), project }
    }

    fn open(&self, more: &[&str]) {
        self.server.cli(&[&["stack", "open", "--project", &self.project], more].concat()).ok();
    }

    /// The arguments of a `docker run`, with the folder and the entrypoint, and nothing that says who it is.
    fn run<'a>(&'a self, more: &[&'a str]) -> Vec<String> {
        let entrypoint = Program::StaticEntrypoint.path();
        let mut args: Vec<String> = ["run", "--rm", "--network", "none"].map(str::to_owned).to_vec();
        args.extend(["-v".to_owned(), format!("{}:/run/chandlery:ro", self.folder.path().display())]);
        args.extend(["-v".to_owned(), format!("{}:/chandlery-entrypoint:ro", entrypoint.display())]);
        args.extend(["--tmpfs", "/run/secrets:mode=0700"].map(str::to_owned));
        args.extend(["-e", "CHANDLERY_ADDR=unix:///run/chandlery/chandlery.sock"].map(str::to_owned));
        args.extend(["-e", "CHANDLERY_TIMEOUT=5s"].map(str::to_owned));
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    /// As compose labels the containers of a service.
    fn labels(&self, service: &str) -> [String; 6] {
        let label = |name: &str, value: &str| format!("com.docker.compose.{name}={value}");
        let flag = || "--label".to_owned();
        [
            flag(),
            label("project", &self.project),
            flag(),
            label("service", service),
            flag(),
            label("container-number", "1"),
        ]
    }

    /// A container with these arguments that asks for its bundle and shows it.
    fn ask(&self, args: &[&str], image: &str) -> Output {
        let mut all = self.run(args);
        all.extend([image, "/chandlery-entrypoint"].map(str::to_owned));
        all.extend(SHOW.map(str::to_owned));
        all.push(ECHO.to_owned());
        docker(&all.iter().map(String::as_str).collect::<Vec<_>>()).output()
    }

    fn labelled(&self, service: &str, more: &[&str]) -> Vec<String> {
        let labels = self.labels(service);
        labels.into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect()
    }

    #[track_caller]
    fn got(&self, args: &[String], image: &str, expected: &str) {
        let output = self.ask(&args.iter().map(String::as_str).collect::<Vec<_>>(), image);
        assert_eq!((output.code(), output.text()), (0, expected), "{output}");
    }

    #[track_caller]
    fn refused(&self, args: &[String], image: &str, because: &str) {
        let output = self.ask(&args.iter().map(String::as_str).collect::<Vec<_>>(), image);
        says_no(&output, because);
    }

    /// A container that stays, until it is dropped.
    fn stays(&self, args: &[String], image: &str) -> Staying {
        let mut all = self.run(&["-d"]);
        all.extend_from_slice(args);
        all.extend([image, "/bin/busybox", "sleep", "600"].map(str::to_owned));
        let output = docker(&all.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        Staying(output.text().trim().to_owned())
    }

    fn image_id(image: &str) -> String {
        docker(&["image", "inspect", "-f", "{{.Id}}", image]).ok().text().trim().to_owned()
    }
}

struct Staying(String);

impl Staying {
    fn exec(&self, script: &str) -> Output {
        docker(&["exec", &self.0, "/bin/busybox", "sh", "-c", script]).output()
    }

    /// The container's first process.
    fn pid(&self) -> String {
        docker(&["inspect", "-f", "{{.State.Pid}}", &self.0]).ok().text().trim().to_owned()
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        drop(docker(&["rm", "-f", &self.0]).output());
    }
}

#[track_caller]
fn says_no(output: &Output, because: &str) {
    assert_eq!(output.code(), 4, "{output}");
    assert!(output.stderr.contains(because) && !output.text().contains("got"), "{output}");
}

/// An image that is another one, with what a Dockerfile's line says.
fn changed(image: &str, name: &str, change: &str) -> String {
    let container = docker(&["create", image, "/bin/busybox"]).ok();
    let container = Staying(container.text().trim().to_owned());
    let name = format!("chandlery-test/{name}:{}", std::process::id());
    docker(&["commit", "--change", change, &container.0, &name]).ok();
    name
}

fn label_of(compose: &str) -> [String; 2] {
    ["--label".to_owned(), format!("com.docker.compose.{compose}")]
}

fn last_line(server: &Server) -> serde_json::Value {
    serde_json::from_str(server.audit_file().lines().last().expect("a line")).expect("JSON")
}

#[test]
fn a_composed_container_needs_the_socket_and_nothing_else() {
    if !docker::available("a_composed_container_needs_the_socket_and_nothing_else") {
        return;
    }
    let host = Host::new("compose");
    host.open(&[]);
    let file = host.folder.path().join("compose.yml");
    let entrypoint = Program::StaticEntrypoint.path();
    let text = format!(
        "version: '3.7'\nservices:\n  app:\n    image: {}\n    entrypoint: [/chandlery-entrypoint, --]\n    \
         command: [/bin/busybox, sh, -c, 'echo got $$PLACE $$(cat /run/secrets/key) $$(env | grep -c CHANDLERY_)']\n    \
         user: '999'\n    read_only: true\n    cap_drop: [ALL]\n    security_opt: [no-new-privileges]\n    \
         network_mode: none\n    tmpfs: ['/run/secrets:mode=0700,uid=999,gid=999']\n    \
         environment: {{CHANDLERY_ADDR: 'unix:///run/chandlery/chandlery.sock'}}\n    \
         volumes: ['{}:/run/chandlery:ro', '{}:/chandlery-entrypoint:ro']\n",
        host.images.shell,
        host.folder.path().display(),
        entrypoint.display(),
    );
    fs::write(&file, text).expect("a folder takes a file");
    let compose = Compose { file: &file, project: &host.project };
    compose.run(&["up", "-d"]).ok();
    drop(docker(&["wait", &format!("{}_app_1", host.project)]).output());
    let logs = docker::logs(&format!("{}_app_1", host.project));
    assert_eq!(logs.trim(), "got east k3y 0");
    let one_off = compose.run(&["run", "--rm", "-T", "app"]).ok();
    assert_eq!(one_off.text().trim(), "got east k3y 0", "{one_off}");
    let line = last_line(&host.server);
    assert!(line["caller"].as_str().is_some_and(|caller| {
        caller.starts_with("container:") && caller.ends_with(&format!(" {}/app", host.project))
    }));
    assert_eq!((&line["target"], &line["outcome"]), (&"ship/production/east".into(), &"allowed".into()));
    let list = host.server.cli(&["stack", "openings", "--format", "json"]).ok().json();
    assert_eq!(list["openings"][0]["project"], host.project.as_str());
    host.server.cli(&["stack", "close", "--project", &host.project]).ok();
    host.refused(&host.labelled("app", &[]), &host.images.shell, "no stack is open for containers of the project");
}

struct Compose<'a> {
    file: &'a Path,
    project: &'a str,
}

impl Compose<'_> {
    fn run(&self, args: &[&str]) -> Run {
        let standalone = Run::new("/usr/bin/env").args(["docker-compose", "version"]).output().code() == 0;
        let program: &[&str] = if standalone { &["docker-compose"] } else { &["docker", "compose", "--compatibility"] };
        Run::new("/usr/bin/env")
            .args(program)
            .args(["-p", self.project, "-f"])
            .args([self.file])
            .args(args)
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
    }
}

impl Drop for Compose<'_> {
    fn drop(&mut self) {
        drop(self.run(&["down", "--timeout", "1"]).output());
    }
}

#[test]
fn what_only_looks_like_a_container_of_the_stack_is_refused() {
    if !docker::available("what_only_looks_like_a_container_of_the_stack_is_refused") {
        return;
    }
    let host = Host::new("spoof");
    let shell = host.images.shell.clone();
    host.refused(&host.labelled("app", &[]), &shell, "no stack is open");
    host.open(&["--image", &format!("app={}", Host::image_id(&shell))]);
    host.got(&host.labelled("app", &[]), &shell, "got east k3y\n");
    let victim = host.stays(&host.labelled("app", &[]), &shell);

    // A process on the host.
    let on_host = Run::new(Program::Entrypoint.path())
        .args(["--", "/bin/sh", "-c", "echo got"])
        .env("CHANDLERY_ADDR", format!("unix://{}", host.folder.path().join("chandlery.sock").display()))
        .output();
    says_no(&on_host, "in no container");
    assert_eq!(last_line(&host.server)["caller"], "anonymous");
    // A container without labels, one of another project, and one whose parent group is named after the victim.
    host.refused(&[], &shell, "no labels of compose");
    let other = host.labels("app").map(|arg| arg.replace(&host.project, "other"));
    host.refused(&other, &shell, "no stack is open");
    for parent in [format!("/docker/{}", victim.0), format!("/{}", victim.0), format!("docker/{}/x", victim.0)] {
        host.refused(&["--cgroup-parent".to_owned(), parent.clone()], &shell, "no labels of compose");
        let with = |args: &[String]| [args, &["--cgroup-parent".to_owned(), parent.clone()]].concat();
        host.refused(&with(&other), &shell, "no stack is open");
        // It is who it is, wherever its group hangs.
        host.got(&with(&host.labels("app")), &shell, "got east k3y\n");
    }
    // Forged labels where an image is pinned; and labels that came with the image.
    let forged = changed(&shell, "forged", "ENV X=1");
    host.refused(&host.labelled("app", &[]), &forged, "is pinned to other images");
    host.got(&host.labelled("db", &[]), &forged, "got east k3y\n");
    let labels = format!(
        "LABEL com.docker.compose.project={} com.docker.compose.service=db com.docker.compose.container-number=1",
        host.project
    );
    let labelled = changed(&shell, "labelled", &labels);
    host.refused(&[], &labelled, "brings the label");
    // A one-off of docker-compose 1 has no number; an image that says it is one does.
    let one_off = |said: &str| [&host.labels("app")[..4], &label_of(said)].concat();
    host.got(&one_off("oneoff=True"), &shell, "got east k3y\n");
    host.refused(&one_off("oneoff=False"), &shell, "and not com.docker.compose.container-number");
    host.refused(&one_off("oneoff=True"), &forged, "is pinned to other images");
    let claims = changed(&shell, "claims", "LABEL com.docker.compose.oneoff=True");
    host.refused(&host.labels("db")[..4], &claims, "brings the label");
    // Those that a plain `docker run` gives: both from the command, none from the image, and no other tool's beside them.
    let own = |service: &str| {
        let label = |label: String| ["--label".to_owned(), label];
        let project = format!("chandlery.project={}", host.project);
        [label(project), label(format!("chandlery.service={service}"))].concat()
    };
    host.got(&own("app"), &shell, "got east k3y\n");
    host.refused(&own("app"), &forged, "is pinned to other images");
    host.refused(&own("app")[..2], &shell, "and not chandlery.service");
    host.refused(&[own("app"), host.labelled("app", &[])].concat(), &shell, "more than one");
    let half = changed(&shell, "half", &format!("LABEL chandlery.project={}", host.project));
    host.refused(&own("db")[2..], &half, "brings the label");
    host.refused(&own("db"), &half, "brings the label");
    // The host's processes in view make nobody another.
    host.refused(&["--pid=host".to_owned()], &shell, "no labels of compose");
    host.got(&host.labelled("app", &["--pid=host"]), &shell, "got east k3y\n");
    host.got(&host.labelled("app", &["--init"]), &shell, "got east k3y\n");
    // What it says about itself must be true.
    host.refused(
        &host.labelled("app", &["-e", "CHANDLERY_REGION=west"]),
        &shell,
        "the region is east, and west was asked for",
    );
    host.refused(&host.labelled("app", &["-e", "CHANDLERY_SERVICE=db"]), &shell, "the service is app");
    docker(&["rmi", &forged, &labelled, &half, &claims]).ok();
}

#[test]
fn what_is_started_in_a_container_from_outside_gets_nothing_unless_it_is_allowed() {
    if !docker::available("what_is_started_in_a_container_from_outside_gets_nothing_unless_it_is_allowed") {
        return;
    }
    let host = Host::new("exec");
    host.open(&[]);
    let container = host.stays(&host.labelled("app", &[]), &host.images.shell);
    let ask = format!("/chandlery-entrypoint -- /bin/busybox sh -c '{ECHO}'");
    // The same, from a process whose parent is gone: then the container's first process is its parent.
    let orphan = format!("({ask} >/run/secrets.log 2>&1; echo $? >>/run/secrets.log) & ");
    let orphaned = || {
        drop(container.exec("rm -f /run/secrets.log"));
        drop(container.exec(&orphan));
        for _ in 0..100 {
            let log = container.exec("cat /run/secrets.log");
            if log.text().lines().last().is_some_and(|line| line.parse::<i32>().is_ok()) {
                return log.text().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the orphan does not end");
    };
    says_no(&container.exec(&ask), "docker exec");
    assert!(orphaned().contains("docker exec"), "{}", orphaned());
    host.open(&["--allow-exec"]);
    assert_eq!(container.exec(&ask).text(), "got east k3y\n");
    assert!(orphaned().contains("got east k3y"));
    host.open(&[]);
    says_no(&container.exec(&ask), "docker exec");
    // Started again, it is another process in the same container.
    drop(docker(&["restart", "--time", "1", &container.0]).output());
    drop(container);
    host.got(&host.labelled("app", &[]), &host.images.shell, "got east k3y\n");
}

/// Speaks to the socket by hand: what to send is in argv.
const SPEAK: &str = "import socket,sys\n\
    s=socket.socket(socket.AF_UNIX); s.connect('/run/chandlery/chandlery.sock')\n\
    s.sendall(('GET /v1/bundle HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n'+sys.argv[1]+'\\r\\n').encode())\n\
    print(s.makefile().read())";

#[test]
fn a_program_that_was_talked_into_a_request_gets_nothing() {
    if !docker::available("a_program_that_was_talked_into_a_request_gets_nothing") {
        return;
    }
    let host = Host::new("confused");
    host.open(&[]);
    let speak = |headers: &str| {
        let mut args = host.run(&[]);
        args.extend(host.labels("app"));
        args.extend([host.images.python.as_str(), "python3", "-c", SPEAK, headers].map(str::to_owned));
        docker(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok().text().to_owned()
    };
    assert!(speak("X-Chandlery-Request: true\r\n").contains("\"value\":\"k3y\""));
    for headers in [
        "",
        "X-Chandlery-Request: yes\r\n",
        "X-Chandlery-Request: true\r\nX-Forwarded-For: 10.0.0.1\r\n",
        "X-Chandlery-Request: true\r\nForwarded: for=10.0.0.1\r\n",
        "Authorization: Bearer nonsense\r\nX-Chandlery-Request: true\r\n",
    ] {
        let answer = speak(headers);
        assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("k3y"), "{headers}: {answer}");
    }
}

/// As root on the host: connects, hands the connection to a child and ends; then a process with the same number is made
/// and put into the victim's control groups, and only then the child asks.
const REUSE: &str = include_str!("identity_reuse.py");

#[test]
fn a_number_that_was_given_again_is_not_taken_for_the_process_that_connected() {
    let name = "a_number_that_was_given_again_is_not_taken_for_the_process_that_connected";
    if !docker::available(name) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        chandlery_tests::skip(name, "only root chooses a process's number");
        return;
    }
    let host = Host::new("reuse");
    // What came in from outside is allowed, so that nothing but the number stands against it.
    host.open(&["--allow-exec"]);
    let victim = host.stays(&host.labelled("app", &[]), &host.images.shell);
    let socket: PathBuf = host.folder.path().join("chandlery.sock");
    let reuse = |how: &str| {
        let socket = socket.to_str().expect("a plain path");
        Run::new("/usr/bin/python3").args(["-c", REUSE, socket, &victim.pid(), how]).ok().text().to_owned()
    };
    // The trick itself works: a process that is put into the victim's groups is taken for one that came in from outside.
    assert!(reuse("moved").contains("\"value\":\"k3y\""), "{}", reuse("moved"));
    let answer = reuse("reused");
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("it has ended"), "{answer}");
    assert!(!answer.contains("k3y"));
}
