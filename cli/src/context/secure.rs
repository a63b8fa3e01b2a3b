//! Files that hold a credential: read only where nobody else can read them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chandlery_wire::DEFAULT_SECRETS_DIRECTORY;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::Surroundings;
use crate::failure::{Exit, Failure};

/// More than any token or credentials file has, and little enough to read by mistake.
const MOST: u64 = 1024 * 1024;

/// Opens the file, following no symlink at its end, and refuses it where others may read it.
pub(crate) fn open_private(path: &Path) -> Result<File, Failure> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nofollow).open(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return refused(path, "is a symbolic link", "name the file itself");
        }
        unreadable(path, &error)
    })?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        let hint = format!("chmod 600 {0}; if others use this machine, take a new token too", path.display());
        return Err(refused(path, &format!("is open to others (mode {:04o})", metadata.mode() & 0o7777), &hint));
    }
    Ok(file)
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, Failure> {
    read(open_private(path)?, path)
}

/// A token's file. What the shell or a container runtime puts somewhere for this process has their permissions:
/// `--token-file <(pass show chandlery)`, Docker's /run/secrets, systemd's credentials.
pub(crate) fn read_token_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let provided = ["/dev/fd", "/dev/stdin", "/proc/self/fd", DEFAULT_SECRETS_DIRECTORY];
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute());
    let trusted = provided.iter().map(Path::new).chain(credentials.as_deref()).any(|folder| path.starts_with(folder));
    let stays = !path.components().any(|component| component == std::path::Component::ParentDir);
    if trusted && stays {
        return read(File::open(path).map_err(|error| unreadable(path, &error))?, path);
    }
    read_private(path)
}

/// The token that a container or a systemd unit was given, in the places where the entrypoint looks too.
pub(crate) fn mounted_token(surroundings: &Surroundings) -> Option<PathBuf> {
    let credentials = surroundings.path("CREDENTIALS_DIRECTORY");
    let systemd =
        credentials.into_iter().flat_map(|folder| ["chandlery-token", "chandlery_token"].map(|name| folder.join(name)));
    let docker = Path::new(DEFAULT_SECRETS_DIRECTORY).join("chandlery_token");
    systemd.chain([docker]).find(|path| path.exists())
}

fn read(file: File, path: &Path) -> Result<Zeroizing<String>, Failure> {
    // Reserved at once: a buffer that grows leaves copies behind.
    let size = file.metadata().map_or(0, |metadata| metadata.len()).clamp(4096, MOST);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(4096) + 1));
    file.take(MOST).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run as the user it belongs to, or `chandlery login` with a token of your own"
        }
        _ => "name a file that is there",
    };
    Failure::usage(format!("{} cannot be read: {error}", path.display()), hint)
}

fn refused(path: &Path, why: &str, hint: &str) -> Failure {
    Failure::new(Exit::Refused, format!("{} holds a credential and {why}; it is not used", path.display()), hint)
}
