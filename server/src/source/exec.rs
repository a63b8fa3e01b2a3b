//! What a program prints, of those that the configuration names.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chandlery_wire::{MAX_VALUE_BYTES, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::place::covered;
use super::{Asker, Fetching, Pattern, Place, Source, SourceError, Trouble};

/// How long a program may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a program that has closed its output is looked at.
const TICK: Duration = Duration::from_millis(2);
/// Programs at a time.
const MOST: usize = 8;
/// Where the programs find theirs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One program that may be run: `[[source.exec.run]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What references call it: `exec:NAME`.
    pub name: String,
    /// The program by its absolute path, and its arguments as they are: no shell is in between.
    pub command: Vec<String>,
    /// Arguments that a reference may add at the end, in which `*` stands for any characters: `exec:NAME:ARGUMENT`. None
    /// where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Pattern>,
    /// Its environment, besides PATH. It gets nothing of the server's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// `stack`, or `stack/environment`; all where none is named.
    #[serde(default, rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

impl Program {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let Self { name, command, .. } = self;
        let wrong = |what: &str, hint: &str| Err((format!("source.exec.run {name:?} {what}"), hint.to_owned()));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return wrong("is no name", "use letters, digits, - _ and .");
        }
        match command.first() {
            Some(program) if program.starts_with('/') => Ok(()),
            _ => wrong("has no program by its absolute path", "write command = [\"/usr/bin/pass\", \"show\"]"),
        }
    }
}

/// `exec:NAME` and `exec:NAME:ARGUMENT`: what a program prints, 512 KiB at most.
#[derive(Debug)]
pub struct Exec(Arc<Programs>);

#[derive(Debug)]
struct Programs {
    all: Vec<Program>,
    turns: Semaphore,
    deadline: Duration,
}

impl Exec {
    #[must_use]
    pub fn new(programs: Vec<Program>) -> Self {
        Self(Arc::new(Programs { all: programs, turns: Semaphore::new(MOST), deadline: DEADLINE }))
    }
}

impl Source for Exec {
    fn admit(&self, asker: Asker<'_>, locator: &str) -> Result<(), SourceError> {
        match self.0.find(locator) {
            Some((program, _)) if covered(&program.places, asker) => Ok(()),
            // Whether there is such a program is for those to know who may run it.
            _ => Err(refused(locator, &format!(" for {asker}"))),
        }
    }

    fn fetch<'a>(&'a self, locators: &'a [String]) -> Fetching<'a> {
        let mut tasks = JoinSet::new();
        for (at, locator) in locators.iter().enumerate() {
            let (programs, locator) = (Arc::clone(&self.0), locator.clone());
            tasks.spawn(async move { (at, programs.run(&locator).await) });
        }
        Box::pin(async move {
            let broken = |locator: &String| {
                Err(SourceError::new(Trouble::Unreachable, format!("exec:{locator} failed in the server")))
            };
            let mut answers: Vec<Result<Value, SourceError>> = locators.iter().map(broken).collect();
            while let Some(task) = tasks.join_next().await {
                if let Ok((at, answer)) = task {
                    answers[at] = answer;
                }
            }
            answers
        })
    }
}

impl Programs {
    /// The program, and what is added to its arguments.
    fn find<'a>(&self, locator: &'a str) -> Option<(&Program, Option<&'a str>)> {
        let (name, argument) = locator.split_once(':').map_or((locator, None), |(name, rest)| (name, Some(rest)));
        let program = self.all.iter().find(|program| program.name == name)?;
        // What looks like an option would change what the program does.
        let allowed = |text: &str| {
            !text.is_empty() && !text.starts_with('-') && program.arguments.iter().any(|pattern| pattern.matches(text))
        };
        argument.is_none_or(allowed).then_some((program, argument))
    }

    async fn run(self: &Arc<Self>, locator: &str) -> Result<Value, SourceError> {
        let Some((program, argument)) = self.find(locator) else { return Err(refused(locator, "")) };
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let error = |(trouble, what): (Trouble, String)| {
            SourceError::new(trouble, format!("exec:{locator} has no value: {what}"))
                .hint(format!("run {} by hand, as the user that the server runs as", program.command[0]))
        };
        let mut command = Command::new(&program.command[0]);
        command.args(&program.command[1..]).args(argument).env_clear().env("PATH", PATH).envs(&program.environment);
        // What it says on stderr may hold anything, so nobody reads it. In a group of its own, what it starts ends with it.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let deadline = self.deadline;
        let output = tokio::task::spawn_blocking(move || output(command, deadline)).await;
        output.unwrap_or_else(|_| Err((Trouble::Unreachable, "the server failed".to_owned()))).map_err(error)
    }
}

fn refused(locator: &str, whom: &str) -> SourceError {
    SourceError::new(Trouble::Refused, format!("exec:{locator} may not be run{whom}")).hint(
        "the server runs what its server.toml names: [[source.exec.run]] with name, command, arguments and for; \
         docs/SOURCES.md has an example",
    )
}

/// What a program prints until it ends well. Blocking.
fn output(mut command: Command, deadline: Duration) -> Result<Value, (Trouble, String)> {
    let until = Instant::now() + deadline;
    let late = || (Trouble::Unreachable, format!("it took more than {} s", deadline.as_secs_f32()));
    let child = command.spawn().map_err(|why| (Trouble::Invalid, format!("it cannot be started ({why})")))?;
    let mut running = Running(child);
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_VALUE_BYTES + 1]);
    let mut length = 0;
    if let Some(mut stdout) = running.0.stdout.take() {
        loop {
            let mut waited = [PollFd::new(&stdout, PollFlags::IN)];
            match poll(&mut waited, Some(&left(until).ok_or_else(late)?)) {
                Ok(0) => return Err(late()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(why) => return Err((Trouble::Unreachable, format!("its output cannot be read ({why})"))),
            }
            match stdout.read(&mut bytes[length..]) {
                Ok(0) if length > MAX_VALUE_BYTES => {
                    let what = "it prints more than the 512 KiB that a value may have";
                    return Err((Trouble::Invalid, what.to_owned()));
                }
                Ok(0) => break,
                Ok(read) => length += read,
                Err(why) => return Err((Trouble::Unreachable, format!("its output cannot be read ({why})"))),
            }
        }
    }
    loop {
        match running.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(Value::new(&bytes[..length])),
            Ok(Some(status)) => return Err((Trouble::Unreachable, format!("it ended with {status}"))),
            Ok(None) => left(until).map(|_| std::thread::sleep(TICK)).ok_or_else(late)?,
            Err(why) => return Err((Trouble::Unreachable, format!("it cannot be waited for ({why})"))),
        }
    }
}

/// None, where it is over.
fn left(until: Instant) -> Option<Timespec> {
    let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Timespec::try_from(left).ok()
}

/// A program that is killed, with everything that it started, when its output is not waited for any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Where it was waited for, its number may be somebody else's by now.
        if let Ok(None) = self.0.try_wait() {
            if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
                // One that has just ended needs not be killed.
                let _ = kill_process_group(group, Signal::KILL);
            }
            // So that nothing is left of it.
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, command: &[&str], arguments: &[&str], places: &[&str]) -> Program {
        Program {
            name: name.to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            arguments: arguments.iter().map(|&text| Pattern(text.to_owned())).collect(),
            environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
            places: places.iter().map(|place| place.parse().unwrap()).collect(),
        }
    }

    async fn printed(exec: &Exec, locator: &str) -> Result<String, SourceError> {
        let answer = exec.fetch(&[locator.to_owned()]).await.remove(0);
        answer.map(|value| String::from_utf8(value.expose_secret().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_program_gets_its_words_and_nothing_of_the_server() {
        let exec = Exec::new(vec![
            program("say", &["/bin/echo", "-n", "a  b;$HOME"], &["x*"], &[]),
            program("env", &["/usr/bin/env"], &[], &[]),
        ]);
        assert_eq!(printed(&exec, "say").await.unwrap(), "a  b;$HOME");
        assert_eq!(printed(&exec, "say:x; rm -rf /").await.unwrap(), "a  b;$HOME x; rm -rf /");
        let environment = printed(&exec, "env").await.unwrap();
        assert_eq!(environment.lines().count(), 2, "{environment}");
        assert!(environment.contains("GREETING=hello") && environment.contains("PATH=/"), "{environment}");
    }

    #[tokio::test]
    async fn one_that_fails_prints_too_much_or_does_not_end_has_no_value() {
        let mut programs = vec![
            program("fail", &["/bin/sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"], &[], &[]),
            program("flood", &["/bin/sh", "-c", "while :; do echo hunter2; done"], &[], &[]),
            program("hang", &["/bin/sh", "-c", "echo hunter2; sleep 600 & wait"], &[], &[]),
            program("none", &["/nowhere/to/be/found"], &[], &[]),
        ];
        programs.push(program("well", &["/bin/echo", "v"], &[], &[]));
        let all = Programs { all: programs, turns: Semaphore::new(MOST), deadline: Duration::from_millis(300) };
        let exec = Exec(Arc::new(all));
        for (name, trouble, part) in [
            ("fail", Trouble::Unreachable, "exit status: 3"),
            ("flood", Trouble::Invalid, "512 KiB"),
            ("hang", Trouble::Unreachable, "it took more"),
            ("none", Trouble::Invalid, "cannot be started"),
        ] {
            let error = printed(&exec, name).await.unwrap_err();
            assert!(error.trouble == trouble && error.detail.contains(part), "{error:?}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        // Together, each gets its own answer.
        let names = ["well", "fail", "well"].map(str::to_owned);
        let answers: Vec<bool> = exec.fetch(&names).await.iter().map(Result::is_ok).collect();
        assert_eq!(answers, [true, false, true]);
    }

    #[test]
    fn only_what_is_named_may_be_run_and_only_for_whom() {
        let exec = Exec::new(vec![program("pass", &["/usr/bin/pass", "show"], &["shop/*"], &["shop/live"])]);
        let admits = |environment: &str, locator: &str| {
            let (stack, environment) = ("shop".parse().unwrap(), environment.parse().unwrap());
            exec.admit(Asker { stack: &stack, environment: &environment }, locator).is_ok()
        };
        assert!(admits("live", "pass") && admits("live", "pass:shop/db"));
        for (environment, locator) in [
            ("test", "pass"),
            ("live", "pass:"),
            ("live", "pass:other/db"),
            ("live", "pass:-shop/"),
            ("live", "/usr/bin/pass"),
            ("live", "sh"),
            ("live", ""),
        ] {
            assert!(!admits(environment, locator), "{environment} {locator}");
        }
        let options = Exec::new(vec![program("any", &["/bin/true"], &["*"], &[])]);
        assert!(options.0.find("any:-o").is_none() && options.0.find("any:o").is_some());
        assert!(program("a b", &["/x"], &[], &[]).check().is_err() && program("a", &["x"], &[], &[]).check().is_err());
    }
}
