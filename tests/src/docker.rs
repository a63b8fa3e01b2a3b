//! Docker, where there is one.

mod compose;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::{Output, Run, programs::workspace, skip, turn};

pub use compose::Tool;

/// A `docker` command.
#[must_use]
pub fn docker(args: &[&str]) -> Run {
    Run::new("/usr/bin/env").args(["docker"]).args(args).env("HOME", std::env::var_os("HOME").unwrap_or_default())
}

/// Whether the test can use Docker; says that it is skipped where it cannot.
#[must_use]
pub fn available(test: &str) -> bool {
    let answer = docker(&["version", "--format", "{{.Server.Version}}"]).output();
    if answer.code() != 0 {
        skip(test, "no docker daemon");
        return false;
    }
    true
}

/// The host's address on Docker's own bridge, which containers of every bridge network reach.
///
/// # Panics
/// If the bridge has none.
#[must_use]
pub fn bridge_address() -> Ipv4Addr {
    let format = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}";
    let output = docker(&["network", "inspect", "bridge", "--format", format]).ok();
    let (subnet, gateway) = output.text().trim_end_matches('\n').split_once(' ').expect("the bridge has a subnet");
    // A daemon that was never told otherwise does not say the gateway; it is the first address.
    gateway.parse().unwrap_or_else(|_| {
        let network: Ipv4Addr = subnet.split('/').next().and_then(|text| text.parse().ok()).expect("a subnet");
        Ipv4Addr::from(u32::from(network) + 1)
    })
}

/// The names of the images of `tests/images`, made if they are missing.
#[derive(Debug, Clone)]
pub struct Images {
    pub shell: String,
    pub redis: String,
    pub mariadb: String,
    pub python: String,
    pub ruby: String,
    pub nginx: String,
    pub haproxy: String,
}

impl Images {
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn build() -> Self {
        let script = workspace().join("tests/images/build");
        let home = std::env::var_os("HOME").unwrap_or_default();
        Run::new(&script).env("HOME", &home).ok();
        let names = Run::new(&script).args(["--names"]).env("HOME", &home).ok();
        let named = |image: &str| {
            let found = names.text().lines().find(|name| name.contains(&format!("/{image}:")));
            found.unwrap_or_else(|| panic!("there is no image {image}")).to_owned()
        };
        Self {
            shell: named("shell"),
            redis: named("redis"),
            mariadb: named("mariadb"),
            python: named("python"),
            ruby: named("ruby"),
            nginx: named("nginx"),
            haproxy: named("haproxy"),
        }
    }

    /// What tells these images from those of another version of `tests/images`.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.shell.rsplit(':').next().unwrap_or_default()
    }
}

/// One compose project; it is taken down, volumes and all, when it is dropped.
#[derive(Debug)]
pub struct Compose {
    program: &'static [&'static str],
    name: String,
    files: Vec<PathBuf>,
    env: Vec<(String, String)>,
}

impl Compose {
    /// The first files are for every version of compose, the last is for version 2 and later.
    #[must_use]
    pub fn new(name: &str, files: [&Path; 2], for_version_2: &Path, env: &[(&str, &str)]) -> Self {
        let standalone: &[&str] = &["docker-compose"];
        let version = |program| Run::new("/usr/bin/env").args(program).args(["version", "--short"]).output();
        let found = version(standalone);
        let (program, found) = match found.code() {
            0 => (standalone, found),
            _ => (&["docker", "compose"][..], version(&["docker", "compose"])),
        };
        let mut files = files.map(Path::to_owned).to_vec();
        if !found.text().trim_start_matches('v').starts_with("1.") {
            files.push(for_version_2.to_owned());
        }
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { program, name: name.to_owned(), files, env }
    }

    /// A compose command on the project.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Run {
        let files = self.files.iter().flat_map(|file| ["-f".into(), file.as_os_str().to_owned()]);
        let run = Run::new("/usr/bin/env").args(self.program).args(["-p", &self.name]).args(files).args(args);
        // The classic builder finds the local images without asking anybody for them.
        let run = run.env("HOME", std::env::var_os("HOME").unwrap_or_default()).env("DOCKER_BUILDKIT", "0");
        self.env.iter().fold(run, |run, (name, value)| run.env(name, value))
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        drop(self.run(&["down", "--volumes", "--timeout", "2"]).output());
    }
}

/// Held by who needs the networks that docker-compose 1 makes. It makes them attachable, and whoever leaves a Swarm takes all
/// containers off all such networks, those of other projects too (Docker 20.10, `clearAttachableNetworks`).
#[must_use]
pub fn nobody_leaves_a_swarm() -> File {
    turn::shared(SWARM)
}

/// Waits until no other test has a Swarm, or networks that leaving one would break.
#[must_use]
pub fn only_swarm() -> File {
    turn::alone(SWARM)
}

const SWARM: &str = "swarm";

/// A Swarm of this one machine. There is one a daemon, so whoever uses it holds a lock; the one who made it takes it
/// down.
#[derive(Debug)]
pub struct Swarm {
    made: bool,
    /// Released last.
    _lock: File,
}

impl Swarm {
    /// Waits until no other test has one, and makes one if there is none.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn alone() -> Self {
        let lock = only_swarm();
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).ok();
        let made = state.text().trim() != "active";
        if made {
            docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]).ok();
        }
        Self { made, _lock: lock }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if self.made {
            drop(docker(&["swarm", "leave", "--force"]).output());
        }
    }
}

/// What a container printed, both streams of it.
///
/// # Panics
/// If there is no such container.
#[must_use]
pub fn logs(container: &str) -> String {
    let Output { stdout, stderr, .. } = docker(&["logs", container]).ok();
    String::from_utf8_lossy(&stdout).into_owned() + &stderr
}

/// Asks until it is so.
///
/// # Panics
/// If it does not come about in five minutes, with the containers that are there. A test that fails already, and takes down
/// what it made, goes on.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    assert!(thread::panicking(), "it never came about that {what}: {}", docker(&["ps", "--all"]).output());
}
