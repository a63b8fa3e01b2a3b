//! Where the token comes from. It is never taken from the command line, and never printed.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chandlery_wire::TokenText;
use chandlery_wire::token::{PREFIX, TEXT_LENGTH};
use zeroize::Zeroizing;

use super::address::Address;
use super::settings::Settings;
use super::usage;
use crate::failure::Failure;
use crate::sys;

/// How long the writer of a token's pipe may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds the token: the variable, the file that is named, systemd's credential, Docker's secret; in this order.
///
/// # Errors
/// Two places are named at once, the file cannot be read, or what is there is not a whole token.
pub(super) fn find(settings: &Settings<'_>, address: &Address) -> Result<Option<TokenText>, Failure> {
    let direct = settings.text("CHANDLERY_TOKEN")?;
    let named = settings.text("CHANDLERY_TOKEN_FILE")?;
    match (direct, named) {
        (Some(_), Some((_, source))) => Err(usage(
            format!("CHANDLERY_TOKEN and {source} are both set"),
            "keep one; the file is better, because other processes of the user can read variables",
        )),
        (Some((text, source)), None) => check(text, source).map(Some),
        (None, Some((text, source))) if text.contains(PREFIX) => Err(usage(
            format!("{source} holds a token, and not the path of a file with one"),
            "put the token into a file, or set CHANDLERY_TOKEN to it",
        )),
        (None, Some((path, source))) => read(Path::new(path), source).map(Some),
        (None, None) => match usual_places(settings).into_iter().find(|path| path.exists()) {
            Some(path) => read(&path, &path.display().to_string()).map(Some),
            None if matches!(address, Address::Unix(_)) => Ok(None),
            None => Err(usage(
                "there is no token: neither CHANDLERY_TOKEN_FILE nor CHANDLERY_TOKEN is set, and there is no \
                 /run/secrets/chandlery_token",
                "make one with `chandlery token create`, and mount it as the secret chandlery_token",
            )),
        },
    }
}

fn usual_places(settings: &Settings<'_>) -> Vec<PathBuf> {
    let credentials = settings.variable("CREDENTIALS_DIRECTORY").map(Path::new);
    let systemd = credentials
        .into_iter()
        .flat_map(|directory| ["chandlery-token", "chandlery_token"].map(|name| directory.join(name)));
    let docker = Path::new(chandlery_wire::DEFAULT_SECRETS_DIRECTORY).join("chandlery_token");
    systemd.chain([docker]).collect()
}

/// Reads the token's file, and takes away every descriptor that leads to it: where the path is `/dev/fd/3`, the app would
/// inherit the one that this process was given.
fn read(path: &Path, source: &str) -> Result<TokenText, Failure> {
    let outcome = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    match outcome.and_then(|file| take(&file).inspect(|_| give_up(&file))) {
        Ok(bytes) => check(&String::from_utf8_lossy(&bytes), source),
        Err(error) => Err(usage(
            format!("the token's file {} cannot be read: {error}", path.display()),
            "mount it where this user can read it, or name another with CHANDLERY_TOKEN_FILE",
        )),
    }
}

/// Reads to the end, or more than a token with some white space around it, which need not be read on.
fn take(mut file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    const MOST: usize = 4 * TEXT_LENGTH;
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Zeroizing::new(vec![0; MOST]);
    let mut end = 0;
    // To a pipe that nobody has opened for writing yet, the end comes first and the bytes later.
    let mut may_begin = !file.metadata()?.is_file();
    while end < MOST {
        match file.read(&mut bytes[end..]) {
            Ok(0) if !may_begin || end > 0 => break,
            Ok(count @ 1..) => end += count,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {
                let left = deadline.saturating_duration_since(Instant::now());
                if sys::poll(&[(file.as_fd(), sys::Until::Readable)], left) != [true] {
                    let missing = format!("nobody wrote a token to it within {} s", PATIENCE.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, missing));
                }
                may_begin = false;
            }
        }
    }
    bytes.truncate(end);
    Ok(bytes)
}

/// Takes every other descriptor away that leads to the same file.
fn give_up(file: &File) {
    let Ok(wanted) = file.metadata() else { return };
    let same = |found: Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    let listed = File::open("/proc/self/fd").and_then(|directory| sys::names_in(&directory)).unwrap_or_default();
    let numbers = listed.iter().filter_map(|name| name.to_str().ok()?.parse::<RawFd>().ok());
    let others = numbers.filter(|number| *number != file.as_raw_fd());
    for number in others.filter(|number| std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(same)) {
        let _ = sys::give_up(number);
    }
}

fn check(text: &str, source: &str) -> Result<TokenText, Failure> {
    TokenText::parse(text).map_err(|error| {
        usage(format!("{source}: {error}"), "copy the whole token again, as `chandlery token create` printed it")
    })
}
