//! What lasts beyond the start: following changes (`--watch`) and the copy for when the server is away (`--cache`).

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::settings::Settings;
use super::{SHARED, Wrong, parse_duration, usage};
use crate::failure::Failure;
use crate::wait::Target;

/// How old a copy may be where nobody says it: a night and the morning in which somebody mends the server.
const USUAL_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// What an app gets to end by itself, as from `docker stop`.
const USUAL_GRACE: Duration = Duration::from_secs(10);
/// What an app gets to become healthy after a restart.
const USUAL_HEALTH_TIME: Duration = Duration::from_secs(30);
/// How long an app has to stay up after a restart where nothing tells its health: most that cannot start end sooner.
const USUAL_TRIAL: Duration = Duration::from_secs(5);

/// Where the last known good bundle is kept, and for how long it is good.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Absolute, without `..`.
    pub directory: PathBuf,
    pub max_age: Duration,
}

/// What to do when the bundle changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnChange {
    /// Place the new files, and leave it to the app to look.
    Nothing,
    /// Send the app this signal.
    Signal(i32),
    /// End the app and start it again, with the new environment too.
    Restart,
    /// Run this with a shell, next to the app.
    Exec(String),
}

/// How to follow changes.
#[derive(Debug)]
pub(crate) struct Watch {
    pub on_change: OnChange,
    /// The action comes at a random moment within this time.
    pub splay: Duration,
    /// What must be ready after a restart.
    pub health: Option<Target>,
    /// Within this time; without a target, the app must not have ended by then.
    pub health_timeout: Duration,
    /// Between the signal that ends the app and the one that kills it.
    pub stop_timeout: Duration,
}

/// # Errors
/// A time without a directory to apply to, what cannot be read, or a copy without a token, which is what it is sealed with.
pub(super) fn cache(settings: &Settings<'_>, has_token: bool) -> Result<Option<Cache>, Failure> {
    let directory = settings.parse("CHANDLERY_CACHE", own_directory)?;
    let max_age = settings.parse("CHANDLERY_CACHE_MAX_AGE", parse_long_duration)?;
    match (directory, max_age) {
        (Some(_), _) if !has_token => Err(usage(
            "CHANDLERY_CACHE is set, and there is no token: the copy is sealed with a key that only the token gives",
            "give this container a token (`chandlery token create`), or take CHANDLERY_CACHE away",
        )),
        (Some(directory), max_age) => Ok(Some(Cache { directory, max_age: max_age.unwrap_or(USUAL_AGE) })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(usage(
            "CHANDLERY_CACHE_MAX_AGE is set, and CHANDLERY_CACHE is not",
            "set CHANDLERY_CACHE to a directory that outlives the container, or take the age away",
        )),
    }
}

/// # Errors
/// A setting of the watch without the watch, or what cannot be read.
pub(super) fn watch(settings: &Settings<'_>) -> Result<Option<Watch>, Failure> {
    let on_change = settings.parse("CHANDLERY_ON_CHANGE", on_change)?;
    let splay = settings.parse("CHANDLERY_SPLAY", parse_duration)?;
    let health = settings.parse("CHANDLERY_HEALTH", health)?;
    let health_timeout = settings.parse("CHANDLERY_HEALTH_TIMEOUT", parse_duration)?;
    let stop_timeout = settings.parse("CHANDLERY_STOP_TIMEOUT", parse_duration)?;
    let restart = [
        ("CHANDLERY_HEALTH", health.is_some()),
        ("CHANDLERY_HEALTH_TIMEOUT", health_timeout.is_some()),
        ("CHANDLERY_STOP_TIMEOUT", stop_timeout.is_some()),
    ];
    let any = [("CHANDLERY_ON_CHANGE", on_change.is_some()), ("CHANDLERY_SPLAY", splay.is_some())];
    let first = |settings: &[(&'static str, bool)]| settings.iter().find(|(_, set)| *set).map(|(name, _)| *name);
    if !settings.switch("CHANDLERY_WATCH")? {
        return match first(&any).or(first(&restart)) {
            None => Ok(None),
            Some(name) => Err(usage(
                format!("{name} is set, and nothing follows changes"),
                "add --watch (CHANDLERY_WATCH=1), or take it away",
            )),
        };
    }
    let on_change = on_change.unwrap_or(OnChange::Nothing);
    match (&on_change, first(&restart)) {
        (OnChange::Restart, _) | (_, None) => {}
        (_, Some(name)) => {
            return Err(usage(
                format!("{name} is set, and a change does not restart the app"),
                "set CHANDLERY_ON_CHANGE=restart, or take it away",
            ));
        }
    }
    let trial = if health.is_some() { USUAL_HEALTH_TIME } else { USUAL_TRIAL };
    Ok(Some(Watch {
        on_change,
        splay: splay.unwrap_or_default(),
        health,
        health_timeout: health_timeout.unwrap_or(trial),
        stop_timeout: stop_timeout.unwrap_or(USUAL_GRACE),
    }))
}

/// More directories of other programs: one for copies is closed to them.
const SHARED_TOO: [&str; 7] = ["/home", "/opt", "/root", "/srv", "/var", "/var/cache", "/var/lib"];

fn own_directory(text: &str) -> Result<PathBuf, Wrong> {
    let path = absolute(text)?;
    if SHARED.iter().chain(&SHARED_TOO).any(|shared| path == Path::new(shared)) {
        return Err((
            "other programs use that directory too, and the one for copies is closed to them".to_owned(),
            format!("choose a directory of its own, such as {}/chandlery", path.display()),
        ));
    }
    Ok(path)
}

fn absolute(text: &str) -> Result<PathBuf, Wrong> {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let path = Path::new(text);
    if path.is_absolute() && path != Path::new("/") && path.components().all(plain) {
        return Ok(path.components().collect());
    }
    Err((
        "it is not an absolute path without `..`".to_owned(),
        "write a path such as /var/cache/chandlery, on a volume that outlives the container".to_owned(),
    ))
}

/// Ages may be longer than a day, and are then written in days.
fn parse_long_duration(text: &str) -> Result<Duration, Wrong> {
    const DAY: u64 = 24 * 60 * 60;
    let days = text.strip_suffix('d').filter(|days| days.bytes().all(|c| c.is_ascii_digit()));
    match days.and_then(|days| days.parse::<u64>().ok()) {
        Some(days) if (1..=365).contains(&days) => Ok(Duration::from_secs(days * DAY)),
        Some(_) => {
            Err(("it is not between a second and a year".to_owned(), "write an age such as 12h or 7d".to_owned()))
        }
        None => match parse_duration(text)? {
            Duration::ZERO => {
                Err(("it is zero, and no copy is that young".to_owned(), "write an age such as 12h or 7d".to_owned()))
            }
            age => Ok(age),
        },
    }
}

fn health(text: &str) -> Result<Target, Wrong> {
    Target::parse(text).map_err(|what| (what, "write a URL such as http://127.0.0.1:8080/healthz".to_owned()))
}

fn on_change(text: &str) -> Result<OnChange, Wrong> {
    let wrong = |what: &str| {
        let hint = "write signal:HUP, restart, exec:COMMAND, or none";
        Err((what.to_owned(), hint.to_owned()))
    };
    match text.split_once(':') {
        None if text == "none" => Ok(OnChange::Nothing),
        None if text == "restart" => Ok(OnChange::Restart),
        Some(("signal", name)) => match signal(name) {
            Some(number) => Ok(OnChange::Signal(number)),
            None => wrong("there is no such signal, or it is not one to tell an app something with"),
        },
        Some(("exec", command)) if !command.trim().is_empty() => Ok(OnChange::Exec(command.to_owned())),
        Some(("exec", _)) => wrong("exec: is followed by no command"),
        _ => wrong("it is none of signal:…, restart, exec:… and none"),
    }
}

/// A signal's number: by name, with or without `SIG`, or as digits. KILL and STOP say nothing to an app.
fn signal(text: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 11] = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CONT", libc::SIGCONT),
        ("WINCH", libc::SIGWINCH),
        ("IO", libc::SIGIO),
        ("PWR", libc::SIGPWR),
    ];
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let by_name = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let by_number = || {
        let number: i32 = text.parse().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit()))?;
        let usable = (1..=64).contains(&number) && ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(&number);
        usable.then_some(number)
    };
    by_name.or_else(by_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_on_a_change_is_one_of_four() {
        assert_eq!(on_change("signal:HUP").unwrap(), OnChange::Signal(libc::SIGHUP));
        assert_eq!(on_change("signal:SIGUSR1").unwrap(), OnChange::Signal(libc::SIGUSR1));
        assert_eq!(on_change("signal:36").unwrap(), OnChange::Signal(36));
        assert_eq!(on_change("restart").unwrap(), OnChange::Restart);
        assert_eq!(on_change("none").unwrap(), OnChange::Nothing);
        assert_eq!(on_change("exec:nginx -s reload").unwrap(), OnChange::Exec("nginx -s reload".to_owned()));
        for typo in
            ["", "signal", "signal:", "signal:KILL", "signal:9", "signal:0", "signal:+1", "exec:", "exec: ", "hup"]
        {
            assert!(on_change(typo).is_err(), "{typo:?}");
        }
    }

    #[test]
    fn ages_may_be_days() {
        assert_eq!(parse_long_duration("7d").unwrap().as_secs(), 7 * 24 * 60 * 60);
        assert_eq!(parse_long_duration("12h").unwrap().as_secs(), 12 * 60 * 60);
        for typo in ["", "d", "0d", "0", "366d", "-1d", "1.5d", "d7"] {
            assert!(parse_long_duration(typo).is_err(), "{typo:?}");
        }
    }
}
