//! Where the token comes from. It is never taken from the command line, and never printed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use chandlery_wire::TokenText;
use chandlery_wire::token::{PREFIX, TEXT_LENGTH};
use zeroize::Zeroizing;

use super::address::Address;
use super::settings::Settings;
use super::usage;
use crate::failure::Failure;

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

fn read(path: &Path, source: &str) -> Result<TokenText, Failure> {
    // More than a token with some white space around it is not a token, and need not be read.
    const MOST: u64 = 4 * TEXT_LENGTH as u64;
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize));
    let outcome = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    match outcome {
        Ok(_) => check(&text, source),
        Err(error) => Err(usage(
            format!("the token's file {} cannot be read: {error}", path.display()),
            "mount it where this user can read it, or name another with CHANDLERY_TOKEN_FILE",
        )),
    }
}

fn check(text: &str, source: &str) -> Result<TokenText, Failure> {
    TokenText::parse(text).map_err(|error| {
        usage(format!("{source}: {error}"), "copy the whole token again, as `chandlery token create` printed it")
    })
}
