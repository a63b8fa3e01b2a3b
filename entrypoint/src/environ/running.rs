//! The environment of the app that runs: `chandlery-entrypoint env -- command`, for `docker exec` and health checks.
//!
//! Nothing of it is kept anywhere. It is read from the app's own process, where the kernel still has the block that this
//! program gave it, so whoever may read that may use this.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Environment;
use crate::config::PREFIX;
use crate::failure::{Exit, Failure};
use crate::sys;

/// What may run as process 1 before the app, and passes on what it was given: `init: true`, and what images bring along.
const INITS: [&str; 6] = ["docker-init", "podman-init", "catatonit", "tini", "tini-static", "dumb-init"];
/// What the parent of a watched app is called while the app runs; its process id follows. At most 15 bytes (prctl(2)).
pub(crate) const APP_NAME: &str = "app=";
/// The most processes between process 1 and the app: more is not a start, but a loop.
const MOST_STEPS: usize = 16;

/// Finds the app, from process 1 on, and reads its environment.
///
/// # Errors
/// There is no app yet, it is not of this container, it may not be read, or it has overwritten its environment.
pub(crate) fn of_app() -> Result<Environment, Failure> {
    // Where the kernel's own threads are, process 1 is the host's.
    if comm("2").is_ok_and(|name| name == "kthreadd") {
        return Err(unknown(
            "the processes here are the host's, and its process 1 is not this container's app",
            "take `pid: host` off the service",
        ));
    }
    let ourselves = comm("self").unwrap_or_default();
    let mut pid = 1;
    for _ in 0..MOST_STEPS {
        if pid == std::process::id() {
            return Err(unknown(
                "this is the container's first process, and there is no app beside it",
                "use it in `docker exec` and health checks; to start the program env, write: -- env …",
            ));
        }
        let name = comm(&pid.to_string()).map_err(|error| unreadable(pid, &error))?;
        if let Some(app) = name.strip_prefix(APP_NAME).and_then(|app| app.parse().ok()) {
            if family_of(app).is_none_or(|(parent, _)| parent != pid) {
                return Err(unknown("the app is being restarted", "try again"));
            }
            return look(app);
        }
        if name != ourselves && !INITS.contains(&name.as_str()) {
            let environment = look(pid)?;
            // With variables of ours it is somebody before the entrypoint: a script, a supervisor.
            if !environment.variables.iter().any(|(name, _)| name.as_bytes().starts_with(PREFIX.as_bytes())) {
                return Ok(environment);
            }
        }
        pid = oldest_child(pid).ok_or_else(|| {
            unknown(
                format!("the app does not run yet: process {pid} ({name}) has not started it"),
                "it fetches, waits, or failed: see the container's log, and try again",
            )
        })?;
    }
    Err(unknown("no app was found below process 1", "please report this, with the list of the container's processes"))
}

fn unknown(what: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Environment, what, hint)
}

fn unreadable(pid: u32, error: &io::Error) -> Failure {
    unknown(
        format!("the environment of process {pid} cannot be read by user {}: {error}", sys::effective_user()),
        "run this as the app's user or as root (`docker exec --user`); an app that forbids it is read by nobody",
    )
}

/// The environment of a process, read as the user it runs as: root needs no more than the right to become that user.
fn look(pid: u32) -> Result<Environment, Failure> {
    let status = text(&format!("/proc/{pid}/status")).map_err(|error| unreadable(pid, &error))?;
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok())
    };
    let (uid, gid) = id("Uid:").zip(id("Gid:")).unwrap_or((sys::effective_user(), sys::effective_group()));
    let (block, place) = sys::with_file_ids(uid, gid, || {
        (fs::read(format!("/proc/{pid}/environ")), fs::read_link(format!("/proc/{pid}/ns/mnt")))
    });
    let block = block.map_err(|error| unreadable(pid, &error))?;
    if place.is_ok_and(|place| fs::read_link("/proc/self/ns/mnt").is_ok_and(|ours| ours != place)) {
        return Err(unknown(
            format!("process {pid} is not of this container: it sees other files"),
            "take the shared process namespace (`pid: container:…`, shareProcessNamespace) off the service",
        ));
    }
    let variables = parse(&block).ok_or_else(|| {
        unknown(
            format!(
                "process {pid} has overwritten its environment, to show a title in the list of processes, or has none"
            ),
            "deliver what the command needs as a file; files are seen by every process of the container",
        )
    })?;
    Ok(Environment { variables, filled: Vec::new() })
}

/// The block as the kernel keeps it: `NAME=value`, each with its NUL, nothing else. Programs that show a title (nginx,
/// redis, postgres) write it over the block, or fill it with NULs.
fn parse(block: &[u8]) -> Option<Vec<(OsString, OsString)>> {
    let variable = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        Some((OsString::from_vec(entry[..at].to_vec()), OsString::from_vec(entry[at + 1..].to_vec())))
    };
    block.strip_suffix(&[0])?.split(|byte| *byte == 0).map(variable).collect()
}

/// The child that was started first; what comes later is its siblings, or orphans that process 1 takes in.
fn oldest_child(parent: u32) -> Option<u32> {
    let processes = File::open("/proc").and_then(|directory| sys::names_in(&directory)).ok()?;
    let pids = processes.iter().filter_map(|name| name.to_str().ok()?.parse::<u32>().ok());
    let children = pids.filter_map(|pid| {
        let (its_parent, started) = family_of(pid)?;
        (its_parent == parent).then_some((started, pid))
    });
    children.min().map(|(_, pid)| pid)
}

/// A process's parent, and when it was started; `None` where it is not there, or a zombie.
fn family_of(pid: u32) -> Option<(u32, u64)> {
    let stat = text(&format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: proc_pid_stat(5).
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let (state, parent, started) = (*fields.first()?, fields.get(1)?, fields.get(19)?);
    if state == "Z" { None } else { parent.parse().ok().zip(started.parse().ok()) }
}

fn comm(pid: &str) -> io::Result<String> {
    Ok(text(&format!("/proc/{pid}/comm"))?.trim_end().to_owned())
}

/// A name in it may be any bytes.
fn text(path: &str) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_variables_and_nothing_else() {
        let names = |block: &[u8]| parse(block).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        assert_eq!(names(b"A=1\0B=\0C=x=y\0"), Some(vec!["A".into(), "B".into(), "C".into()]));
        assert_eq!(parse(b"A=\xff\0").unwrap()[0].1.as_bytes(), b"\xff");
        for overwritten in [
            &b""[..],
            b"\0",
            b"\0\0\0\0",
            b"A=1",
            b"A=1\0\0",
            b"master process nginx\0\0\0\0",
            b"s x=y\0\0\0",
            b"A=1\0title\0",
            b"=1\0",
            b"A=1\0B=2\0C=",
        ] {
            assert_eq!(parse(overwritten), None, "{overwritten:?}");
        }
    }
}
