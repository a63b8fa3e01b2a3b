//! The process and its directory: closed to everybody else before anything secret is there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::fatal::Fatal;

/// No core dump, no debugger of the same user, no file that others can read.
pub fn harden_process() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process cannot be made undumpable");
    }
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Sees to it that so many files can be open, as far as the hard limit goes: the soft one is 1,024 on most machines, for
/// programs that cannot count further.
pub fn allow_open_files(wanted: u64) {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    if allowed < wanted {
        tracing::warn!(allowed, wanted, "when all connections are in use, some will have to wait for file descriptors");
    }
}

/// Makes the data directory, or checks that the one that is there is closed to others.
///
/// # Errors
///
/// If it cannot be made, is not a directory, is somebody else's, or is open to others and not empty.
pub fn prepare_data_dir(path: &Path) -> Result<(), Fatal> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let hint = "make it for the server's user with mode 0700, or choose another with --data-dir";
        Fatal::new(format!("the data directory {shown} cannot be used: {error}"), hint)
    };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let metadata = fs::metadata(path).map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        let what = format!("the data directory {shown} belongs to user {}, the server runs as {user}", metadata.uid());
        return Err(Fatal::new(what, format!("chown {user} {shown}, or run the server as its owner")));
    }
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    // Nothing was ever in an empty one, so nobody can have read it: a fresh volume is like that.
    if fs::read_dir(path).map_err(failed)?.next().is_none() {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed);
    }
    let mode = metadata.mode() & 0o7777;
    let what = format!("others can look into the data directory {shown}: its mode is {mode:04o}");
    Err(Fatal::new(what, format!("look who did, then chmod 700 {shown}")))
}

/// Makes a directory inside the data directory, mode 0700.
///
/// # Errors
///
/// The system's.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file of mode 0600 so that it is there as a whole or not at all, and still is after a power cut.
///
/// # Errors
///
/// The system's.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    // What a crash left here is ours, and incomplete.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_data_directory_is_made_closed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        prepare_data_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        prepare_data_dir(&path).unwrap();
    }

    #[test]
    fn an_open_one_is_closed_if_it_is_empty_and_refused_if_it_is_not() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        prepare_data_dir(place.path()).unwrap();
        assert_eq!(mode(place.path()), 0o700);
        fs::write(place.path().join("root.key"), "x").unwrap();
        for open in [0o750, 0o701] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(open)).unwrap();
            let error = prepare_data_dir(place.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 700"), "{error}");
            assert_eq!(mode(place.path()), open);
        }
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(prepare_data_dir(&path).unwrap_err().to_string().contains("--data-dir"));
    }

    #[test]
    fn a_private_file_replaces_another_and_what_a_crash_left() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(place.path().join("key.new"), "half").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
