//! The processes: the app, a command beside it, and whoever lost its parent. And the signals, which are the app's.

use std::ffi::{OsString, c_int};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::environ::{APP_NAME, Environment};
use crate::exec;
use crate::failure::{Exit, Failure};
use crate::sys::{self, Birth, ChildNews, CoreLimit, Stillborn, Until};
use crate::user::{self, User};

/// Whoever is waited for with a deadline waits no longer than this at once, and looks at the clock again.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// All that runs below this process.
pub(super) struct Family<'a> {
    user: Option<&'a User>,
    core: CoreLimit,
    signals: sys::Signals,
    /// The app, which is also the name of its process group.
    app: libc::pid_t,
    /// How the app ended.
    ended: Option<i32>,
    command: Option<libc::pid_t>,
    command_ended: Option<i32>,
    /// The signal that somebody sent to end the app.
    told: Option<c_int>,
    restarting: bool,
}

impl<'a> Family<'a> {
    /// Takes over: from here on no signal ends this process, and orphans come to it.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn found(user: Option<&'a User>, core: CoreLimit) -> Result<Self, Failure> {
        let signals = sys::Signals::queue().map_err(|error| {
            let what = format!("signals cannot be taken from a queue: {error}");
            Failure::new(Exit::Internal, what, "raise the limit on open files (`ulimits: nofile`)")
        })?;
        sys::adopt_orphans();
        let (app, ended, told) = (0, None, None);
        Ok(Self { user, core, signals, app, ended, command: None, command_ended: None, told, restarting: false })
    }

    /// Starts the app, in front of the terminal if this process, or the app before, is.
    pub(super) fn start_app(&mut self, command: &[OsString], environment: &Environment) -> Result<(), Failure> {
        let before = (self.app != 0).then_some(self.app);
        let foreground = sys::foreground_group();
        let terminal = foreground.is_some_and(|group| group == sys::own_group() || Some(group) == before);
        let birth = Birth { user: self.user, core: self.core, terminal, no_input: false };
        self.app = start(command, environment, birth)?;
        self.ended = None;
        // For `env`: orphans are children of this process too, and some are older than an app that was restarted.
        sys::name_process(&format!("{APP_NAME}{}", self.app));
        Ok(())
    }

    /// Starts a command beside the app, with nothing to read.
    pub(super) fn start_command(&mut self, command: &[OsString], environment: &Environment) -> Result<(), Failure> {
        let birth = Birth { user: self.user, core: self.core, terminal: false, no_input: true };
        self.command = Some(start(command, environment, birth)?);
        self.command_ended = None;
        Ok(())
    }

    /// The app's exit code, or 128 + n, once it has ended.
    pub(super) fn app_ended(&self) -> Option<i32> {
        self.ended
    }

    /// The same of the command.
    pub(super) fn command_ended(&self) -> Option<i32> {
        self.command_ended
    }

    /// Whether somebody told the app to end: then it is neither restarted nor bothered with anything new.
    pub(super) fn told_to_end(&self) -> bool {
        self.told.is_some()
    }

    /// Says that a restart begins or is over. To some apps SIGQUIT says something else than to end, and to some images it
    /// is the signal to stop with: it ends a restart, and nothing more.
    pub(super) fn restarting(&mut self, restarting: bool) {
        self.restarting = restarting;
        self.told.take_if(|told| *told == libc::SIGQUIT);
    }

    pub(super) fn signal_app(&self, signal: c_int) {
        if self.ended.is_none() {
            sys::send(self.app, signal);
        }
    }

    /// Sends a signal to what is left of the app and what it started, but for what went its own way, and says whether
    /// there is any; signal 0 only asks.
    pub(super) fn signal_app_group(&self, signal: c_int) -> bool {
        sys::send_to_group(self.app, signal)
    }

    pub(super) fn kill_command(&self) {
        if let Some(command) = self.command {
            sys::send_to_group(command, libc::SIGKILL);
        }
    }

    /// Puts the terminal back where it was found: a script that started this goes on reading it.
    pub(super) fn give_terminal_back(&self) {
        if sys::foreground_group() == Some(self.app) {
            sys::give_terminal_to(sys::own_group());
        }
    }

    /// Waits until there is a signal, the bell rings, or this moment has come; passes signals on, buries the dead, and says
    /// whether the bell rang.
    pub(super) fn wait(&mut self, bell: BorrowedFd<'_>, until: Option<Instant>) -> bool {
        let time = until.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now()).min(LONGEST));
        let ready = sys::poll(&[(self.signals.as_fd(), Until::Readable), (bell, Until::Readable)], time);
        // In this order: until it is buried, nobody else can have a child's number, and a signal goes to no stranger.
        while let Some(signal) = self.signals.next() {
            self.pass_on(signal);
        }
        while let Some(news) = sys::reap() {
            self.note(news);
        }
        ready[1]
    }

    fn pass_on(&mut self, signal: c_int) {
        match signal {
            libc::SIGCHLD => return,
            libc::SIGTERM | libc::SIGINT => self.told = Some(signal),
            libc::SIGQUIT if self.restarting => self.told = Some(signal),
            // A shell's `fg` continues this process, and means the app with all that was stopped together with it.
            libc::SIGCONT if self.ended.is_none() => {
                self.bring_to_front();
                self.signal_app_group(libc::SIGCONT);
                return;
            }
            _ => {}
        }
        self.signal_app(signal);
    }

    fn note(&mut self, news: ChildNews) {
        match news {
            ChildNews::Ended(child, code) if child == self.app && self.ended.is_none() => self.ended = Some(code),
            ChildNews::Ended(child, code) if self.command == Some(child) => {
                self.command = None;
                self.command_ended = Some(code);
            }
            ChildNews::Stopped(child, signal) if child == self.app => self.app_stopped(signal),
            // An orphan.
            ChildNews::Ended(..) | ChildNews::Stopped(..) => {}
        }
    }

    /// The app was stopped at the terminal. The shell that started this process waits for this process, and gets its
    /// terminal back only when this is stopped, too. An app that was brought to the front as a part of this is continued.
    fn app_stopped(&mut self, signal: c_int) {
        let by_terminal = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        if !by_terminal || sys::foreground_group().is_none() {
            return;
        }
        if self.bring_to_front() {
            self.signal_app_group(libc::SIGCONT);
        } else {
            sys::stop_as_job();
        }
    }

    /// Gives the terminal to the app if it is this process that has it, and says whether it was.
    fn bring_to_front(&self) -> bool {
        let ours = sys::foreground_group() == Some(sys::own_group());
        if ours {
            sys::give_terminal_to(self.app);
        }
        ours
    }
}

fn start(command: &[OsString], environment: &Environment, birth: Birth<'_>) -> Result<libc::pid_t, Failure> {
    let program = exec::prepare(command, environment)?;
    sys::spawn(&program, birth).map_err(|why| match (why, birth.user) {
        (Stillborn::Program(why), _) => exec::refused(command, environment, why),
        (Stillborn::User(error), Some(user)) => user::cannot_become(user, &error),
        (Stillborn::User(error) | Stillborn::Resources(error), _) => {
            let hint = "raise the limits on processes and open files (`pids_limit`, `ulimits`)";
            Failure::new(Exit::Internal, format!("no process can be started: {error}"), hint)
        }
    })
}
