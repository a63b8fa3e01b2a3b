//! What the containers of another Docker host are to have mounted, brought there.
//!
//! `up` mounts files of this machine. On another one they are not there, so they travel through Docker itself: into a volume
//! of the project, from which each container gets the single files that are its own, by their place on that host. Nothing
//! has to be installed there, and no other way to it than Docker's is needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::digest;
use zeroize::Zeroizing;

use super::dock::{Dock, said};
use crate::compose::overlay::{Common, Supply};
use crate::failure::Failure;

/// Where the volume is, in a container that is made only to be copied into.
const INSIDE: &str = "/chandlery";
const BLOCK: usize = 512;

/// Brings the entrypoint, the CA and the tokens over, and names them as they are called there.
///
/// `image` is any that is there: a container of it is made, never started, and removed.
pub(super) fn carry(
    dock: &Dock,
    project: &str,
    image: &str,
    common: &mut Common,
    supplies: &mut [Supply<'_>],
) -> Result<(), Failure> {
    let volume = format!("{project}_chandlery");
    let there = volume_folder(dock, &volume)?;
    let mut freight = Freight::default();
    let program = read(&common.wrapper)?;
    // Under its digest: containers that run keep the one that they were made with, and a rollout that is taken back finds it.
    common.wrapper = there.join(freight.file(&format!("entrypoint-{}", short(&program)), 0o755, &program));
    if let Some((path, digest)) = &mut common.authority {
        let pem = read(path)?;
        *path = there.join(freight.file(&format!("ca-{digest}.crt"), 0o444, &pem));
    }
    freight.folder("tokens");
    for supply in supplies {
        let service = &supply.service.name;
        let Some((path, _)) = &mut supply.token else { continue };
        let readable = fs::metadata(&*path).is_ok_and(|metadata| {
            use std::os::unix::fs::PermissionsExt as _;
            metadata.permissions().mode() & 0o004 != 0
        });
        let token = read(path)?;
        *path = there.join(freight.file(&format!("tokens/{service}"), if readable { 0o444 } else { 0o600 }, &token));
    }
    freight.unload(dock, &volume, image)
}

/// The volume's place on its host; the volume is made where it is missing.
fn volume_folder(dock: &Dock, volume: &str) -> Result<PathBuf, Failure> {
    let failed = || {
        let what = format!("the volume {volume} cannot be made at {dock}");
        Failure::failed(what, "look whether that Docker may make volumes: `docker volume create` says why not")
    };
    said(&mut dock.docker(["volume", "create", volume])).ok_or_else(failed)?;
    let place = said(&mut dock.docker(["volume", "inspect", "--format", "{{.Mountpoint}}", volume]));
    let place = place.map(|text| PathBuf::from(text.trim_end_matches('\n')));
    place.filter(|path| path.is_absolute()).ok_or_else(failed)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    fs::read(path).map(Zeroizing::new).map_err(|error| {
        Failure::failed(format!("{} cannot be read: {error}", path.display()), "look whose file it is")
    })
}

fn short(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An archive in the making (POSIX.1-2024, pax, "ustar"); its memory is wiped, for tokens are in it.
#[derive(Default)]
struct Freight {
    archive: Zeroizing<Vec<u8>>,
}

impl Freight {
    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> String {
        self.entry(name, mode, b'0', bytes);
        name.to_owned()
    }

    fn folder(&mut self, name: &str) {
        self.entry(name, 0o700, b'5', &[]);
    }

    fn entry(&mut self, name: &str, mode: u32, kind: u8, bytes: &[u8]) {
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        // Names are a service's at the longest, and those are shorter than the 100 bytes that fit.
        put(0, name.get(..name.len().min(99)).unwrap_or_default());
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(257, "ustar");
        put(263, "00");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.append(&header);
        self.append(bytes);
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.append(&vec![0; rest]);
    }

    /// Grows without leaving a copy of what was there before.
    fn append(&mut self, bytes: &[u8]) {
        if self.archive.capacity() - self.archive.len() < bytes.len() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * (self.archive.len() + bytes.len())));
            larger.extend_from_slice(&self.archive);
            self.archive = larger;
        }
        self.archive.extend_from_slice(bytes);
    }

    fn unload(mut self, dock: &Dock, volume: &str, image: &str) -> Result<(), Failure> {
        self.append(&[0; 2 * BLOCK]);
        let failed = |why: &str| {
            let what = format!("the entrypoint and the tokens cannot be brought to {dock}: {}", why.trim());
            Failure::failed(what, "they go into the volume by `docker cp`; look at that Docker")
        };
        let mount = format!("{volume}:{INSIDE}");
        let made = dock.docker(["create", "--entrypoint", "/none", "--volume", &mount, image]).output();
        let made = made.map_err(|error| failed(&error.to_string()))?;
        if !made.status.success() {
            return Err(failed(&String::from_utf8_lossy(&made.stderr)));
        }
        let container = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let copied = fed(&mut dock.docker(["cp", "-", &format!("{container}:{INSIDE}")]), &self.archive);
        let _ = said(&mut dock.docker(["rm", &container]));
        copied.map_err(|why| failed(&why))
    }
}

/// Runs a program on this input; what it said where it failed.
fn fed(command: &mut Command, input: &[u8]) -> Result<(), String> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    if let Some(mut pipe) = child.stdin.take() {
        // Where it ends before it has read everything, its own words say why.
        let _ = pipe.write_all(input);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_tar_reads() {
        let mut freight = Freight::default();
        freight.folder("tokens");
        freight.file("tokens/web", 0o600, b"chd_x");
        freight.append(&[0; 2 * BLOCK]);
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        fed(tar.arg("-xf").arg("-").arg("-C").arg(folder.path()), &freight.archive).unwrap();
        assert_eq!(fs::read(folder.path().join("tokens/web")).unwrap(), b"chd_x");
    }
}
