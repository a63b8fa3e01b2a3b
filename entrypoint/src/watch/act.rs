//! What a change does: the files are switched, and then the app is told, restarted, or helped by a command.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::SHELL;
use super::change::{Change, Set};
use super::post::News;
use super::supervise::{Over, Supervisor};
use crate::config::OnChange;
use crate::failure::{say, seconds};
use crate::{sys, wait};

/// How long the command of `exec:` may take: then it is killed, and has failed.
const COMMAND_TIME: Duration = Duration::from_secs(60);
/// How often to look for what is left of an app's process group, whose end nobody is told.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(2);

impl Supervisor<'_> {
    /// Changes to a set. Where that fails the app has, in the end, what it had.
    ///
    /// # Errors
    /// The app is over.
    pub(super) fn change(&mut self, next: Set) -> Result<(), Over> {
        let change = Change::between(&self.current, &next);
        if let Err(failure) = self.files.switch(&next.bundle.files) {
            self.stay(next.bundle.revision, &failure.line());
            self.given_up = Some(next);
            return Ok(());
        }
        let what = format!("revision {}: {}", next.bundle.revision, change.words());
        match &self.watch.on_change {
            OnChange::Nothing => say(&format!("{what}{}", unseen(&change))),
            OnChange::Signal(number) => {
                self.family.signal_app(*number);
                say(&format!("{what}; the app gets signal {number}{}", unseen(&change)));
            }
            OnChange::Exec(command) => {
                say(&format!("{what}; the command of exec: is run"));
                if let Err(why) = self.run_beside(command, &next)? {
                    self.give_up(next, &why);
                    return Ok(());
                }
            }
            OnChange::Restart => {
                say(&format!("{what}; the app is restarted"));
                self.family.restarting(true);
                self.restart(next)?;
                self.family.restarting(false);
                return Ok(());
            }
        }
        self.accept(next);
        Ok(())
    }

    /// The set is good. The one before is wiped.
    fn accept(&mut self, next: Set) {
        self.files.settle();
        self.current = next;
        self.current.keep(self.config);
        self.given_up = None;
    }

    /// The set is not good: the files of the one before come back.
    fn give_up(&mut self, next: Set, why: &str) {
        self.stay(next.bundle.revision, why);
        self.given_up = Some(next);
        if let Err(failure) = self.files.back() {
            say(&failure.line());
        }
    }

    /// Ends the app and starts it with the new set; with the old one, if that does not go well.
    fn restart(&mut self, next: Set) -> Result<(), Over> {
        self.stop_app()?;
        let why = match self.family.start_app(&self.config.command, &next.environment) {
            Ok(()) => match self.trial()? {
                Ok(()) => {
                    say(&format!("the app runs with revision {}", next.bundle.revision));
                    self.accept(next);
                    return Ok(());
                }
                Err(why) => why,
            },
            Err(failure) => failure.line(),
        };
        self.stop_app()?;
        self.give_up(next, &why);
        self.family.start_app(&self.config.command, &self.current.environment).map_err(|failure| {
            say(&failure.line());
            Over(failure.exit as i32)
        })
    }

    /// Ends the app, and what is left of its process group: an old worker that keeps its port would be the end of the new
    /// app. Whoever does not end in time is killed.
    fn stop_app(&mut self) -> Result<(), Over> {
        self.family.signal_app(libc::SIGTERM);
        let mut deadline = Instant::now() + self.watch.stop_timeout;
        let (mut asked, mut killed) = (false, false);
        loop {
            let ended = self.family.app_ended();
            // Whoever told the app to end is the one to be patient with it, or not.
            if let Some(code) = ended.filter(|_| self.family.told_to_end()) {
                return Err(Over(code));
            }
            if ended.is_some() {
                if !self.family.signal_app_group(if asked { 0 } else { libc::SIGTERM }) {
                    return Ok(());
                }
                asked = true;
            }
            let look = ended.map_or(deadline, |_| deadline.min(Instant::now() + LOOK_AGAIN));
            self.turn(Some(look).filter(|_| !self.family.told_to_end()));
            if Instant::now() < deadline || self.family.told_to_end() {
                continue;
            }
            match (killed, ended) {
                (false, _) => {
                    say(&format!("the app did not end within {} s, and is killed", seconds(self.watch.stop_timeout)));
                    self.family.signal_app_group(libc::SIGKILL);
                    killed = true;
                }
                // What is left of its group is dead, and whoever started that does not want to know.
                (true, Some(_)) => return Ok(()),
                (true, None) => {}
            }
            deadline = Instant::now() + KILLED;
        }
    }

    /// Whether the app that was just started is one that works, or why not.
    fn trial(&mut self) -> Result<Result<(), String>, Over> {
        let time = self.watch.health_timeout;
        let deadline = Instant::now() + time;
        self.starts += 1;
        if let Some(target) = self.watch.health.clone() {
            let (sender, start) = (self.sender.clone(), self.starts);
            let asked = sys::spawn_undisturbed(move || {
                sender.send(News::Health(start, wait::until_ready(&target, deadline)));
            });
            if let Err(error) = asked {
                return Ok(Err(format!("its health cannot be asked for: {error}")));
            }
        }
        loop {
            match self.family.app_ended() {
                // It did what it was there for, or what somebody told it.
                Some(code) if code == 0 || self.family.told_to_end() => return Err(Over(code)),
                Some(code) => return Ok(Err(format!("with it the app ended with {code}"))),
                None => {}
            }
            match self.health.take_if(|(start, _)| *start == self.starts) {
                Some((_, Ok(()))) => return Ok(Ok(())),
                Some((_, Err(seen))) => {
                    let target = self.watch.health.iter().map(ToString::to_string).collect::<String>();
                    return Ok(Err(format!("with it {target} was not ready within {} s: {seen}", seconds(time))));
                }
                None => {}
            }
            // The probe has the same deadline, and tells when it has passed.
            let until = self.watch.health.is_none().then_some(deadline);
            if !self.turn(until) && self.family.app_ended().is_none() {
                return Ok(Ok(()));
            }
        }
    }

    /// Runs the command of `exec:` with the new environment, or says why it failed.
    fn run_beside(&mut self, command: &str, next: &Set) -> Result<Result<(), String>, Over> {
        let command = [SHELL, "-c", command].map(OsString::from);
        if let Err(failure) = self.family.start_command(&command, &next.environment) {
            return Ok(Err(failure.line()));
        }
        let mut deadline = Some(Instant::now() + COMMAND_TIME);
        loop {
            if let Some(code) = self.family.app_ended() {
                return Err(Over(code));
            }
            match (self.family.command_ended(), deadline) {
                (Some(_), None) => {
                    return Ok(Err(format!("its command took more than {} s, and was killed", seconds(COMMAND_TIME))));
                }
                (Some(0), _) => return Ok(Ok(())),
                (Some(code), _) => return Ok(Err(format!("its command ended with {code}"))),
                (None, _) => {}
            }
            if !self.turn(deadline) && self.family.command_ended().is_none() {
                self.family.kill_command();
                deadline = None;
            }
        }
    }
}

/// Says what a running app cannot see.
fn unseen(change: &Change) -> &'static str {
    if change.variables.is_empty() { "" } else { "; the variables reach it when it is started again" }
}
