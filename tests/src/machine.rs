//! A whole machine, in a container: Debian with systemd as its first process, and a Docker of its own.
//!
//! What is said about units is tried here: they are installed, started, reloaded and stopped by a real systemd, and the
//! machine can be switched off and on again.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::docker::docker;
use crate::page::{Block, Step};
use crate::{Output, Program, Run, programs::workspace, skip};

/// What Docker 20.10 can hand out of what systemd uses, for hosts where `--privileged` is more than there is to give.
const CAPABILITIES: [&str; 22] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const TICK: Duration = Duration::from_millis(250);
/// A machine that shares two processors with all the other tests starts slowly.
const TICKS: u32 = 960;

/// A running machine; it is gone, disks and all, when this is dropped.
#[derive(Debug)]
pub struct Machine {
    name: String,
}

impl Machine {
    /// Boots one with the three programs in `/usr/local/bin`, and the documentation where a checkout has it. `None`, and
    /// said why, where that is not possible here.
    ///
    /// # Panics
    /// If it does not come up although it could.
    #[must_use]
    pub fn boot(test: &str, name: &str) -> Option<Self> {
        if !crate::docker::available(test) {
            return None;
        }
        let build = workspace().join("tests/machine/build");
        let home = std::env::var_os("HOME").unwrap_or_default();
        Run::new(&build).env("HOME", &home).ok();
        let image = Run::new(&build).args(["--name"]).ok().text().trim().to_owned();
        let machine = Self { name: format!("chandlery-{name}-{}", std::process::id()) };
        if let Err(why) = machine.switch_on_first(&image) {
            skip(test, &why);
            return None;
        }
        machine.wait_until_up();
        // It has the C library of Debian 12.
        let version = machine.run("chandlery-server --version").output();
        if version.code() != 0 {
            skip(test, &format!("programs that were built here do not run on Debian 12: {}", version.stderr.trim()));
            return None;
        }
        Some(machine)
    }

    /// A script, run by root's bash in the folder that a checkout would be in.
    #[must_use]
    pub fn run(&self, script: &str) -> Run {
        docker(&["exec", "--interactive", "--workdir", "/root/chandlery", &self.name])
            .args(["bash", "-euo", "pipefail", "-c", script])
    }

    /// A script that has to work; what it printed.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn ok(&self, script: &str) -> String {
        self.run(script).ok().text().trim_end().to_owned()
    }

    /// Does what a block of a page says.
    ///
    /// # Panics
    /// If its command fails; with the end of the journal.
    #[track_caller]
    pub fn does(&self, block: &Block) {
        match &block.step {
            Step::Run { script, .. } => {
                let output = self.run(script).output();
                assert_eq!(output.code(), 0, "{}: {output}\n{}", block.place, self.journal());
            }
            Step::Write { name, text } => {
                self.write(name, text);
            }
        }
    }

    /// Writes a file.
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        self.run(&format!("mkdir -p \"$(dirname '{path}')\"; cat >'{path}'")).stdin(text).ok();
    }

    /// Brings an image of this host's Docker into the machine's, under a name.
    ///
    /// # Panics
    /// If it cannot be brought.
    pub fn load(&self, image: &str, name: &str) {
        let saved = docker(&["save", image]).ok().stdout;
        self.run(&format!("docker load --quiet; docker tag {image} {name}")).stdin(saved).ok();
    }

    /// Waits until a script succeeds.
    ///
    /// # Panics
    /// If it never does; with the end of the journal.
    #[track_caller]
    pub fn until(&self, script: &str) {
        let mut last = None;
        for _ in 0..TICKS {
            let output = self.run(script).output();
            if output.code() == 0 {
                return;
            }
            last = Some(output);
            thread::sleep(TICK);
        }
        let last = last.as_ref().map(Output::to_string).unwrap_or_default();
        panic!("it never came about: {last}\n{}", self.journal());
    }

    /// Switches it off as its power button does, and on again: its memory is gone, its disks are not.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn reboot(&self) {
        docker(&["stop", "--time", "60", &self.name]).ok();
        self.power_on();
    }

    /// Cuts the power, and switches it on again.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn cut_power(&self) {
        docker(&["kill", &self.name]).ok();
        self.power_on();
    }

    /// The end of what everything on it has logged.
    #[must_use]
    pub fn journal(&self) -> String {
        let output = self.run("journalctl --no-pager --lines 80; systemctl --failed --no-pager").output();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn power_on(&self) {
        docker(&["start", &self.name]).ok();
        self.wait_until_up();
    }

    fn switch_on_first(&self, image: &str) -> Result<(), String> {
        let privileged = self.create(&["--privileged".to_owned()], image);
        let started = docker(&["start", &self.name]).output();
        if privileged.code() == 0 && started.code() == 0 {
            return Ok(());
        }
        drop(docker(&["rm", "--force", "--volumes", &self.name]).output());
        let mut given: Vec<String> = CAPABILITIES.iter().map(|name| format!("--cap-add={name}")).collect();
        given.extend(["seccomp=unconfined", "apparmor=unconfined"].map(|option| format!("--security-opt={option}")));
        let created = self.create(&given, image);
        let started = docker(&["start", &self.name]).output();
        match (created.code(), started.code()) {
            (0, 0) => Ok(()),
            _ => {
                Err(format!("no container here can be a machine: {} {}", created.stderr.trim(), started.stderr.trim()))
            }
        }
    }

    fn create(&self, given: &[String], image: &str) -> Output {
        let mounts = [Program::Server, Program::Cli, Program::StaticEntrypoint].map(|program| {
            let path = program.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("--volume={}:/usr/local/bin/{name}:ro", path.display())
        });
        let docs = format!("--volume={}:/root/chandlery/docs:ro", workspace().join("docs").display());
        docker(&["create", "--name", &self.name, "--hostname", "machine", "--cgroupns=private"])
            .args(["--tmpfs=/run:exec", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--volume=/var/lib/docker"])
            .args(mounts)
            .args([docs])
            .args(given)
            .args([image])
            .output()
    }

    fn wait_until_up(&self) {
        self.until(
            "state=$(systemctl is-system-running || true); [ \"$state\" = running ] || [ \"$state\" = degraded ]",
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = self.journal();
            drop(writeln!(std::io::stderr(), "the end of the machine's journal:\n{journal}"));
        }
        drop(docker(&["rm", "--force", "--volumes", &self.name]).output());
    }
}
