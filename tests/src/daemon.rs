//! Other people's servers, run from their Debian packages without their init scripts.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A server of somebody else, in a folder of its own, on a port of loopback. It is killed when the test ends.
#[derive(Debug)]
pub struct Daemon {
    child: Option<Child>,
    folder: TempDir,
    pub port: u16,
}

impl Daemon {
    /// Nothing runs yet.
    ///
    /// # Panics
    /// If there is no folder or no port to be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a folder and a port are no default")]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("chandlery-daemon-").expect("a temporary folder");
        // Servers that refuse to run as root run as nobody, who has to get in.
        open_to_all(folder.path());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        Self { child: None, folder, port: free.expect("a free port").port() }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of its folder, with this content.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, content).expect("an own folder takes a file");
        open_to_all(&path);
        path
    }

    /// The program's own words, for a test that fails.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Starts it, and does not wait for anything: that is what is tested.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn start(&mut self, command: &mut Command) {
        self.stop();
        let log = File::create(self.folder().join("log")).expect("an own folder takes a file");
        let errors = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(self.folder()).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: tests/run installs it"));
        self.child = Some(child);
    }

    /// Kills it, with everything it started.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            drop(child.wait());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program that Debian puts where no `PATH` of a user leads, or in a folder with its version in its name.
///
/// # Panics
/// If it is in none of them.
#[must_use]
pub fn installed(name: &str) -> PathBuf {
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = postgres.map(|version| version.path().join("bin"));
    let usual = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/lib/rabbitmq/bin"].map(PathBuf::from);
    let found = usual.into_iter().chain(versions).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed: tests/run installs it"))
}

/// A command that runs as nobody where this test runs as root: some servers refuse root.
#[must_use]
pub fn not_as_root(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(if path.is_dir() { 0o777 } else { 0o644 });
    std::fs::set_permissions(path, mode).expect("an own file");
}
