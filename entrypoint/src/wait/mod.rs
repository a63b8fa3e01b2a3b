//! Waiting until what the app needs is ready: it accepts connections, or answers as its protocol has it.

mod attempt;
pub(crate) mod compat;
mod host;
mod names;
mod plan;
mod probe;
mod progress;
mod target;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::failure::{Exit, Failure, say, seconds};
use crate::sys;

pub(crate) use plan::{HEADER, Plan};
pub(crate) use target::Target;

use attempt::Means;
use progress::Show;

/// How long one attempt may stay unanswered where nobody says it: to connect, and then again to answer.
const USUAL_PATIENCE: Duration = Duration::from_secs(5);
/// How often progress that shows the time gets a chance to.
const TICK: Duration = Duration::from_millis(100);

/// What was last seen of a target. Of two, the greater says more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// Nothing yet.
    Nothing,
    /// The name has no address.
    NoName,
    /// The path does not exist.
    Absent,
    /// No answer at all.
    Silent,
    /// Something there says no, or the network does; in the system's words.
    Refused(String),
    /// It answers, and is not ready: why.
    NotReady(String),
    /// The app can use it.
    Ready,
}

impl Sight {
    /// For people.
    fn words(&self) -> &str {
        match self {
            Self::Nothing => "no answer so far",
            Self::NoName => "the name is not found",
            Self::Absent => "it does not exist",
            Self::Silent => "it is silent: no answer to any attempt",
            Self::Refused(words) | Self::NotReady(words) => words,
            Self::Ready => "ready",
        }
    }

    /// For programs.
    fn state(&self) -> &'static str {
        match self {
            Self::Nothing => "waiting",
            Self::NoName => "name-not-found",
            Self::Absent => "absent",
            Self::Silent => "silent",
            Self::Refused(_) => "refused",
            Self::NotReady(_) => "not-ready",
            Self::Ready => "ready",
        }
    }
}

/// What a target's thread has to tell: which target, and what it sees now.
struct News {
    target: usize,
    sight: Sight,
}

/// How often to try. It is the same for all targets of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// How long one attempt may stay unanswered.
    patience: Duration,
    /// Between attempts, where the user says it.
    interval: Option<Duration>,
    /// One attempt and no more.
    once: bool,
    /// The most connections to one target at a time.
    most_open: usize,
}

impl Pace {
    /// Shares the descriptors that this process may have among so many targets, and leaves some for files.
    fn shared_by(self, targets: usize) -> Self {
        const KEPT: u64 = 32;
        const MOST: u64 = 64;
        let limit = sys::descriptor_limit().saturating_sub(KEPT) / targets.max(1) as u64;
        Self { most_open: limit.clamp(1, MOST) as usize, ..self }
    }
}

/// Waits for everything in the plan at once, and before and after it as the plan says.
///
/// # Errors
/// The time is over; says of each target that is missing what was last seen of it.
pub(crate) fn for_plan(plan: &Plan, json: bool) -> Result<(), Failure> {
    for (name, legacy) in &plan.legacy {
        say(&format!("the variable {legacy} is an old name: use {name}"));
    }
    std::thread::sleep(plan.before);
    if !plan.items.is_empty() {
        let mut show = progress::choose(plan, json);
        let seen = watch_all(plan, &mut *show)?;
        if seen.iter().any(|sight| *sight != Sight::Ready) {
            return Err(too_long(plan, &seen));
        }
    }
    std::thread::sleep(plan.after);
    Ok(())
}

/// Waits for one target, at the usual pace. Certificates are checked as `WAIT_CACERT` of this process says.
///
/// # Errors
/// The deadline passed, or nobody says whom to trust: what was last seen of it, in words.
pub(crate) fn until_ready(target: &Target, deadline: Instant) -> Result<(), String> {
    let authority = std::env::var("WAIT_CACERT").ok();
    let means = plan::means(target.tls.is_some(), authority.as_deref(), Vec::new());
    let means = means.map_err(|(what, _)| format!("WAIT_CACERT: {what}"))?;
    let pace = Pace { patience: USUAL_PATIENCE, interval: None, once: false, most_open: 1 }.shared_by(1);
    let (sender, receiver) = mpsc::channel();
    sys::pin_name_services();
    spawn(0, target, pace, &Arc::new(means), deadline, sender)
        .map_err(|error| format!("no thread to ask it: {error}"))?;
    let mut seen = Sight::Nothing;
    while let Ok(news) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if news.sight == Sight::Ready {
            return Ok(());
        }
        seen = news.sight;
    }
    Err(seen.words().to_owned())
}

/// Watches all targets until they are ready, the time is over, or nothing more is tried; returns what was last seen of
/// each.
fn watch_all(plan: &Plan, show: &mut dyn Show) -> Result<Vec<Sight>, Failure> {
    sys::pin_name_services();
    let means = Arc::new(plan.means()?);
    let pace = plan.pace.shared_by(plan.items.len());
    let begin = Instant::now();
    let deadline = begin + plan.time();
    let (sender, receiver) = mpsc::channel();
    show.begin();
    for (number, item) in plan.items.iter().enumerate() {
        spawn(number, &item.target, pace, &means, deadline, sender.clone()).map_err(|error| {
            let what = format!("no thread to wait for {}: {error}", item.target);
            Failure::new(Exit::Internal, what, "raise the container's pids limit")
        })?;
    }
    drop(sender);
    let mut seen = vec![Sight::Nothing; plan.items.len()];
    while seen.iter().any(|sight| *sight != Sight::Ready) {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(TICK)) {
            Ok(news) => {
                show.news(news.target, &news.sight, begin.elapsed());
                seen[news.target] = news.sight;
            }
            Err(mpsc::RecvTimeoutError::Timeout) if !left.is_zero() => show.tick(begin.elapsed()),
            Err(_) => break,
        }
    }
    show.end(&seen, begin.elapsed());
    Ok(seen)
}

/// Watches one target in a thread, which ends when the target is ready, or at the deadline.
fn spawn(
    number: usize,
    target: &Target,
    pace: Pace,
    means: &Arc<Means>,
    deadline: Instant,
    sender: mpsc::Sender<News>,
) -> std::io::Result<()> {
    let (target, means) = (target.clone(), Arc::clone(means));
    let watch = move || {
        // The other end is gone when nobody waits any more.
        host::watch(&target, pace, &means, deadline, &mut |sight| _ = sender.send(News { target: number, sight }));
    };
    sys::spawn_undisturbed(watch).map(drop)
}

fn too_long(plan: &Plan, seen: &[Sight]) -> Failure {
    let missing = plan.items.iter().zip(seen).filter(|(_, sight)| **sight != Sight::Ready);
    let faults: Vec<String> = missing.map(|(item, sight)| format!("{}: {}", item.target, sight.words())).collect();
    let what = format!("not ready within {} s:", seconds(plan.timeout));
    let hint = "look at the logs of what is missing; WAIT_TIMEOUT gives it more time";
    Failure::new(Exit::WaitedTooLong, what, hint).with_faults(faults)
}

/// What an answer to this URL's probe means, as words; `None` while there is more to come.
#[cfg(fuzzing)]
pub(crate) fn fuzz_reply(url: &str, answer: &[u8]) -> Option<String> {
    match Target::parse(url).ok()?.speech.reply(answer) {
        probe::Verdict::Ready => Some(String::new()),
        probe::Verdict::NotReady(why) => Some(why),
        probe::Verdict::NotThis(what) => Some(what.to_owned()),
        probe::Verdict::More => None,
    }
}
