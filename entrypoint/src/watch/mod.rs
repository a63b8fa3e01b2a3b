//! Staying with the app and following its bundle: `--watch`.
//!
//! One thread ([`follow`]) asks the server, which holds the request until there is something new. The main thread
//! ([`supervise`]) is what a container's first process should be ([`family`]): it passes every signal on, buries every
//! orphan, and ends as the app ends. When there is something new it switches the files and tells the app ([`act`]); when
//! that goes wrong, the app has in the end what it had before.

mod act;
mod change;
mod family;
mod follow;
mod pace;
mod post;
mod supervise;

use std::os::unix::fs::PermissionsExt;

use crate::config::{Config, OnChange, Watch};
use crate::environ::Environment;
use crate::failure::{Exit, Failure, say};
use crate::fetch::Fetched;
use crate::files::Sets;
use crate::sys;
use crate::user::User;

use change::Set;
use family::Family;
use supervise::{Over, Supervisor};

/// What `exec:` needs: its command is one for a shell.
const SHELL: &str = "/bin/sh";

/// Finds out at the start what would otherwise come out at the first change.
///
/// # Errors
/// There is no shell for the command, or the app of another user could not be sent a signal.
pub(crate) fn check(watch: &Watch, user: Option<&User>) -> Result<(), Failure> {
    if user.is_some_and(|user| user.uid != sys::effective_user()) && !sys::may_signal_everybody() {
        return Err(Failure::new(
            Exit::Usage,
            "--watch could not pass signals on to an app of another user (--user): the right to is missing",
            "add to the service: cap_add: [KILL], or set `user:` there instead of CHANDLERY_USER",
        ));
    }
    let executable = |path: &str| std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
    match &watch.on_change {
        OnChange::Exec(_) if !executable(SHELL) => Err(Failure::new(
            Exit::Usage,
            format!("CHANDLERY_ON_CHANGE=exec: needs {SHELL}, and this image has none"),
            "use signal:… or restart, or add a shell to the image",
        )),
        _ => Ok(()),
    }
}

/// Starts the app and stays with it until both end. Then the files go, which nobody needs any more.
///
/// # Errors
/// The app could not be started.
pub(crate) fn run(
    config: &'static Config,
    watch: &Watch,
    app: App<'_>,
    fetched: Fetched,
    environment: Environment,
) -> Result<i32, Failure> {
    let (sender, post) = post::open().map_err(|error| {
        let what = format!("there is no pipe for news: {error}");
        Failure::new(Exit::Internal, what, "raise the limit on open files (`ulimits: nofile`)")
    })?;
    let mut family = Family::found(app.user, app.core)?;
    let current = Set::new(fetched, environment, config);
    family.start_app(&config.command, &current.environment)?;
    let (revision, follower) = (current.bundle.revision, sender.clone());
    let following = sys::spawn_undisturbed(move || follow::follow(config, revision, &follower));
    if let Err(error) = following {
        say(&format!("changes are not followed: no thread can be started: {error}"));
    }
    let (files, given_up, arrived, health) = (app.files, None, None, None);
    let mut supervisor =
        Supervisor { config, watch, family, files, current, given_up, sender, post, arrived, health, starts: 0 };
    let Over(code) = supervisor.run();
    supervisor.family.give_terminal_back();
    Ok(code)
}

/// How the app is to run.
pub(crate) struct App<'a> {
    pub user: Option<&'a User>,
    pub core: sys::CoreLimit,
    pub files: Sets<'a>,
}
