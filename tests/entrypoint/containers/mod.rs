//! The shipped entrypoint in real containers, down to those that allow it nothing.

mod away;
mod beside;
mod leaks;
mod memory;
mod nothing;
mod refusals;
mod swarm;
mod users;
mod watching;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::{Output, Place, Program, Run, Server, StartOptions};
use serde_json::json;
use tempfile::TempDir;

const PLACE: Place<'static> = Place { stack: "ship", environment: "production", region: None, service: "app" };

/// Where the file is, what holds it, and who may do what with it.
const SHOW: &str = "cat /run/secrets/FILE; echo; stat -L -c '%a %u:%g' /run/secrets /run/secrets/FILE; \
                    stat -L -f -c %T /run/secrets/FILE";
/// What a start left behind.
const LEFT: &str = "find /run/secrets /dev/shm -mindepth 1 2>/dev/null; grep -c /run/secrets /proc/mounts";

/// A server with a variable and a file, and what containers need to get them.
struct Ship {
    server: Server,
    images: Images,
    token: String,
    /// With the server's socket, which any user may connect to: each still needs a token.
    folder: TempDir,
}

impl Ship {
    /// `None` where there is no Docker.
    fn launch(test: &str) -> Option<Self> {
        if !docker::available(test) {
            return None;
        }
        let folder = TempDir::new().expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("an own folder");
        let socket = folder.path().join("chandlery.sock").display().to_string();
        let mut options = StartOptions::default();
        options.args.extend(["--socket".to_owned(), socket, "--socket-mode".to_owned(), "0666".to_owned()]);
        let server = Server::start_with(options);
        let api = server.api();
        api.ok("PUT", "/v1/stacks/ship", Some(&json!({ "services": ["app"] })));
        api.ok("PUT", "/v1/stacks/ship/environments/production", Some(&json!({})));
        api.ok("PUT", "/v1/entries/ship/production/FLAG", Some(&json!({ "value": "blue peter" })));
        let token = server.bundle_token(&PLACE);
        let ship = Self { server, images: Images::build(), token, folder };
        ship.set("FILE", "x");
        Some(ship)
    }

    fn set(&self, file: &str, value: &str) {
        let body = json!({ "value": value, "deliver": { "file": { "variable": format!("{file}_PATH") } } });
        self.server.api().ok("PUT", &format!("/v1/entries/ship/production/{file}"), Some(&body));
    }

    /// The binary and the socket.
    fn mounts(&self) -> [String; 2] {
        let (binary, folder) = (Program::StaticEntrypoint.path(), self.folder.path());
        [format!("{}:/chandlery-entrypoint:ro", binary.display()), format!("{}:/store:ro", folder.display())]
    }

    /// The settings. For a test the token may stand in the container's configuration; a real one is mounted.
    fn variables(&self) -> [String; 5] {
        [
            "CHANDLERY_ADDR=unix:///store/chandlery.sock".to_owned(),
            format!("CHANDLERY_TOKEN={}", self.token),
            "CHANDLERY_STACK=ship".to_owned(),
            "CHANDLERY_ENVIRONMENT=production".to_owned(),
            "CHANDLERY_SERVICE=app".to_owned(),
        ]
    }

    /// What every container gets, as options of `docker run`.
    fn common(&self) -> Vec<String> {
        let mounts = self.mounts().map(|mount| ["-v".to_owned(), mount]);
        let variables = self.variables().map(|variable| ["-e".to_owned(), variable]);
        let network = ["--network", "none"].map(str::to_owned);
        mounts.into_iter().chain(variables).flatten().chain(network).collect()
    }

    /// `docker run` of the command behind the entrypoint; `options` are Docker's.
    fn run(&self, options: &[&str], command: &[&str]) -> Output {
        let command = [&["--"], command].concat();
        self.docker(&["run", "--rm", "--entrypoint", "/chandlery-entrypoint"], options, &command).output()
    }

    /// A shell script as the first process, which starts `$E` as often as it likes; a container's shell says more than
    /// Docker about what a start left.
    fn script(&self, options: &[&str], script: &str) -> Output {
        let script = format!("E=/chandlery-entrypoint; {script}");
        self.docker(&["run", "--rm", "--entrypoint", "/bin/sh"], options, &["-c", &script]).output()
    }

    /// A container that stays, with the entrypoint in front of a shell that sleeps.
    fn stay(&self, options: &[&str]) -> Container {
        let container = Container::new();
        let first = ["run", "-d", "--name", &container.0, "--entrypoint", "/chandlery-entrypoint"];
        let command = ["--", "sh", "-c", "trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.1; done"];
        self.docker(&first, &[&["--tmpfs", "/tmp"], options].concat(), &command).ok();
        container.until_up();
        container
    }

    fn docker(&self, first: &[&str], options: &[&str], command: &[&str]) -> Run {
        let common = self.common();
        let common: Vec<&str> = common.iter().map(String::as_str).collect();
        docker(&[first, &common, options, &[self.images.shell.as_str()], command].concat())
    }
}

/// A container that runs until it is dropped.
struct Container(String);

impl Container {
    /// A name that nobody else has, for a container to be.
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("chandlery-test-{}-{number}", std::process::id()))
    }

    fn sh(&self, script: &str) -> Output {
        docker(&["exec", &self.0, "sh", "-c", script]).output()
    }

    fn restart(&self) {
        docker(&["restart", "-t", "5", &self.0]).ok();
        self.until_up();
    }

    fn until_up(&self) {
        for _ in 0..600 {
            if self.sh("test -e /tmp/up").code() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the app does not start: {}", docker::logs(&self.0));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(docker(&["rm", "-f", &self.0]).output());
    }
}

/// A file on the host, for a bind mount that stands for one of Docker's own secrets.
fn host_file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder takes a file");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("an own file");
    path.display().to_string()
}

/// The argument of the `tmpfs:` line that an error says to add.
fn line_to_add(output: &Output) -> String {
    let (_, line) = output.stderr.split_once("tmpfs: [\"").unwrap_or_else(|| panic!("no line to add: {output}"));
    line.split('"').next().expect("a quoted text").to_owned()
}
