//! The copy of the last good bundle, for when the server is away: `--cache DIR`.
//!
//! It is sealed under a key that only the token gives, used only when nobody answers, deleted when the server refuses, and
//! never the reason why a start fails or is late.

mod age;
mod directory;
mod sealed;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chandlery_wire::TokenText;

use crate::config::{Cache, Config};
use crate::failure::{Failure, OnCopy, say};
use crate::fetch::Fetched;

use directory::Directory;
use sealed::{Place, Seal};

/// Keeps a bundle that came from the server and that the app can have. What stands in the way is told, and is no failure.
pub(crate) fn keep(config: &Config, body: &[u8]) {
    let Some((cache, token, place)) = wanted(config) else { return };
    let outcome = Seal::new(token, &place).and_then(|seal| seal.close(milliseconds(SystemTime::now()), body));
    let outcome = outcome.ok_or_else(|| "the kernel gives no random bytes".to_owned()).and_then(|bytes| {
        let directory = Directory::make(&cache.directory)?;
        directory.write(&place.file_name(), &bytes).map_err(|error| error.to_string())
    });
    if let Err(why) = outcome {
        say(&format!("this bundle is not kept in {}: {why}", cache.directory.display()));
    }
}

/// Looks for a copy after a fetch that failed, and obeys a refusal by deleting it.
///
/// # Errors
/// The fetch's own failure, where no copy may stand in for the server.
pub(crate) fn instead(config: &Config, failure: Failure) -> Result<Fetched, Failure> {
    let Some((cache, token, place)) = wanted(config) else { return Err(failure) };
    match failure.copy {
        OnCopy::Keep => Err(failure),
        OnCopy::Delete => {
            delete(&cache.directory, &place);
            Err(failure)
        }
        OnCopy::Use => match find(cache, token, &place, SystemTime::now()) {
            Ok((fetched, age)) => {
                say(&format!(
                    "{}: starting with the copy of {age} old, revision {}; nothing newer is in it",
                    failure.what(),
                    fetched.bundle.revision
                ));
                Ok(fetched)
            }
            Err(why) => {
                say(&format!("no copy in {} stands in for the server: {why}", cache.directory.display()));
                Err(failure)
            }
        },
    }
}

/// Where copies are kept, the token that seals them, and of which bundle they are; the one comes with the others.
fn wanted(config: &Config) -> Option<(&Cache, &TokenText, Place<'_>)> {
    Some((config.cache.as_ref()?, config.token.as_ref()?, Place::of(config)?))
}

/// The copy, and from when and how old it is.
fn find(cache: &Cache, token: &TokenText, place: &Place<'_>, now: SystemTime) -> Result<(Fetched, String), String> {
    let bytes = Directory::open(&cache.directory)?.read(&place.file_name())?;
    let seal = Seal::new(token, place).ok_or("no key can be made")?;
    let (fetched, bundle) = seal.open(bytes).map_err(|unfit| unfit.to_string())?;
    let age = age::checked(fetched, milliseconds(now), cache.max_age)?;
    Ok((Fetched { bundle, body: None }, format!("{}, {}", age::utc(fetched), age::in_words(age))))
}

fn delete(directory: &Path, place: &Place<'_>) {
    let deleted = Directory::open(directory).and_then(|directory| directory.remove(&place.file_name()));
    let directory = directory.display();
    match deleted {
        Ok(true) => say(&format!("the copy in {directory} is deleted, because the server says no")),
        Ok(false) => {}
        Err(why) => say(&format!("a copy in {directory} could not be deleted: {why}")),
    }
}

/// Since 1970 began in UTC. A clock before that is taken for its first moment.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing opens that was not sealed, and what was sealed opens to what it was.
#[cfg(fuzzing)]
pub(crate) fn fuzz_file(config: &Config, data: &[u8]) {
    sealed::fuzz(config, data);
}
