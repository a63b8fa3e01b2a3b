//! Ctrl-C, and programs that outlive it.
//!
//! Half an `up` is worse than a whole one, so what runs is let go to its end, in a process group that the terminal's Ctrl-C
//! does not reach. The second one ends it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{Exit, Failure};
use crate::output;

const TICK: Duration = Duration::from_millis(20);
/// For what is over in milliseconds as a rule.
const SHORT_TICK: Duration = Duration::from_millis(2);
/// How long a program has after it was asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// Whether somebody wants this to stop.
#[derive(Debug)]
pub(super) struct Interrupt {
    /// Set by the signal, taken by whoever looks.
    signal: Arc<AtomicBool>,
    asked: AtomicBool,
}

/// How a program ended.
#[derive(Debug)]
pub(super) enum Ended {
    With(ExitStatus),
    /// Its time was over, or it was told to stop.
    Killed(&'static str),
}

impl Interrupt {
    pub(super) fn watch() -> Result<Self, Failure> {
        let signal = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            signal_hook::flag::register(number, Arc::clone(&signal)).map_err(|error| {
                Failure::failed(format!("signals cannot be watched: {error}"), "please report this")
            })?;
        }
        Ok(Self { signal, asked: AtomicBool::new(false) })
    }

    pub(super) fn was_asked(&self) -> bool {
        if self.signal.swap(false, Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
        self.asked.load(Ordering::Relaxed)
    }

    /// A failure, where somebody wants this to stop.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.was_asked() {
            true => Err(Failure::new(Exit::Interrupted, "stopped, because it was asked to", "")),
            false => Ok(()),
        }
    }

    /// Sleeps, but not through a wish to stop.
    pub(super) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.was_asked() {
            thread::sleep(TICK.min(time));
        }
    }

    /// Runs a program to its end, its output on our stderr: stdout is for results.
    pub(super) fn run(&self, command: &mut Command, patience: Option<Duration>) -> io::Result<Ended> {
        let mut child = command.stdin(Stdio::null()).stdout(io::stderr()).process_group(0).spawn()?;
        let until = patience.map(|patience| Instant::now() + patience);
        let before = self.was_asked();
        let mut told = before;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::With(status));
            }
            if self.signal.swap(false, Ordering::Relaxed) && self.asked.swap(true, Ordering::Relaxed) {
                end(&mut child)?;
                return Ok(Ended::Killed("it was told to stop"));
            }
            if !told && self.asked.load(Ordering::Relaxed) {
                told = true;
                output::note("stopping when this step is done; once more ends it at once");
            }
            if until.is_some_and(|until| Instant::now() > until) {
                end(&mut child)?;
                return Ok(Ended::Killed("its time was over"));
            }
            thread::sleep(TICK);
        }
    }
}

/// Waits for a child for so long; nothing, where it had to be ended then.
pub(super) fn in_time(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() < until => thread::sleep(SHORT_TICK),
            None => {
                let _ = child.kill().and_then(|()| child.wait());
                return Ok(None);
            }
        }
    }
}

/// Asks the whole group to end, and then makes it.
fn end(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    signal(Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(TICK);
    }
    signal(Signal::KILL);
    child.wait().map(|_| ())
}
