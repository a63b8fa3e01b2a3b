//! Whether a program is the entrypoint, asked before a container is made that would die of another one.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::interrupt::in_time;
use crate::failure::Failure;

/// What `--version` of it begins with.
const NAME: &str = "chandlery-entrypoint ";
/// It takes a millisecond; another program may wait for something.
const PATIENCE: Duration = Duration::from_secs(5);

/// What cannot be run here may be for another machine, and is that machine's to judge.
pub(super) fn is_ours(program: &Path) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Ok(()) };
    let pipe = child.stdout.take();
    let (hand_over, said) = mpsc::channel();
    thread::spawn(move || {
        let (mut start, Some(mut pipe)) = (Vec::new(), pipe) else { return };
        let _ = pipe.by_ref().take(NAME.len() as u64).read_to_end(&mut start);
        let _ = hand_over.send(start);
        // To its end, so that it is not ended by a pipe that nobody reads.
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    let ended = in_time(&mut child, PATIENCE).ok().flatten();
    // Ended by a signal, it was not made for this machine's processor.
    if ended.is_some_and(|status| status.code().is_none()) {
        return Ok(());
    }
    // A pipe that a child of it holds on to is not waited for.
    if said.recv_timeout(Duration::from_secs(1)).is_ok_and(|start| start == NAME.as_bytes()) {
        return Ok(());
    }
    let what = format!("{} is not chandlery-entrypoint; nothing was changed", program.display());
    Err(Failure::usage(what, "name the static one with --entrypoint or CHANDLERY_ENTRYPOINT"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn another_program_is_refused_and_what_cannot_run_here_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let judged = |name: &str, bytes: &[u8], mode| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            is_ours(&path)
        };
        assert_eq!(
            judged(
                "ours",
                b"#!/bin/sh
[ $* = --version ] && echo chandlery-entrypoint 9.9
",
                0o755
            ),
            Ok(())
        );
        // For another processor, and not to be run at all.
        assert_eq!(judged("foreign", b"ELFnonsense", 0o755), Ok(()));
        assert_eq!(judged("plain", b"", 0o644), Ok(()));
        let other = judged(
            "other",
            b"#!/bin/sh
echo ls 1.0
",
            0o755,
        )
        .unwrap_err();
        assert!(other.what.contains("other is not chandlery-entrypoint"), "{other}");
        assert!(is_ours(Path::new("/bin/ls")).is_err());
        assert!(is_ours(Path::new("/bin/false")).is_err());
        // More than a pipe holds.
        assert!(
            judged(
                "loud",
                b"#!/bin/sh
head -c 300000 /dev/zero
",
                0o755
            )
            .is_err()
        );
    }
}
