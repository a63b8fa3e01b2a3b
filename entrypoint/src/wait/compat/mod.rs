//! Under the name `wait`: a drop-in for docker-compose-wait 2.12.1. Its variables, its steps, its lines on stderr and its
//! exit codes, without its bugs. Under the name `dockerize`, or with its options, the same.

mod arguments;
mod log;
mod show;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use super::{Plan, Sight, progress, watch_all};
use crate::config::is_json;
use crate::environ::Environment;
use crate::failure::{Exit, Failure, speak_json};
use crate::{exec, report, sys};

use arguments::{Arguments, Wish};
use log::{Level, Log};
use show::Original;

/// The version whose lines these are.
const VERSION: &str = "2.12.1";

/// What was asked for under this name.
struct Order {
    plan: Plan,
    /// `WAIT_COMMAND` as it was written, without white space around it.
    command_text: Option<String>,
    /// What to become in the end.
    command: Vec<OsString>,
    /// There are arguments too, and `WAIT_COMMAND` beats them.
    ignores_arguments: bool,
    log: Log,
    json: bool,
}

/// The arguments, if this program was started under one of these names or with `wait` as its first word.
pub(crate) fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let own = arguments.next()?;
    let mut rest: Vec<OsString> = arguments.collect();
    match Path::new(&own).file_name().and_then(OsStr::to_str) {
        Some("wait" | "dockerize") => Some(rest),
        _ if rest.first().is_some_and(|word| word == "wait") => Some(rest.split_off(1)),
        _ => None,
    }
}

/// Waits, and then becomes the command if there is one.
///
/// # Errors
/// A variable or option cannot be read, or the command cannot be executed. When the time is over it does not come back.
pub(crate) fn run(
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    core_limit: sys::CoreLimit,
) -> Result<(), Failure> {
    let arguments = Arguments::parse(arguments.into_iter())?;
    match arguments.wish {
        Wish::Help => return report::print(arguments::HELP),
        Wish::Version => return report::print(concat!("chandlery-entrypoint ", env!("CARGO_PKG_VERSION"), "\n")),
        Wish::Wait => {}
    }
    let order = Order::read(arguments, &variables)?;
    if order.json {
        speak_json();
    }
    order.say_configuration();
    order.sleep(order.plan.before, "before checking for hosts/paths availability");
    if !order.wait()? {
        std::process::exit(Exit::Internal as i32);
    }
    order.sleep(order.plan.after, "after hosts/paths availability");
    order.log(Level::Info, "docker-compose-wait - Everything's fine, the application can now start!");
    order.rule(Level::Info);
    if order.command.is_empty() {
        return Ok(());
    }
    Err(exec::exec(&order.command, &Environment::unchanged(variables), core_limit))
}

impl Order {
    fn read(arguments: Arguments, variables: &[(OsString, OsString)]) -> Result<Self, Failure> {
        let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
        let text = |name: &str| match find(name).map(OsStr::to_str) {
            Some(None) => Err(Failure::new(Exit::Usage, format!("{name}: is not UTF-8"), "write it again, in UTF-8")),
            found => Ok(found.flatten()),
        };
        let format = arguments.format.as_deref().or(text("CHANDLERY_LOG_FORMAT")?);
        let json = is_json(format.unwrap_or("text"))
            .map_err(|(what, hint)| Failure::new(Exit::Usage, format!("the log format: {what}"), hint))?;
        let log = Log::parse(text("WAIT_LOGGER_LEVEL")?.unwrap_or("debug"));
        let plan = Plan::read(&find, &arguments.options)?;
        for (name, legacy) in plan.legacy.iter().filter(|_| !json) {
            let line = format!("Environment variable [{legacy}] is deprecated. Use [{name}] instead.");
            log.say(Level::Warn, &line);
        }
        let command_text = text("WAIT_COMMAND")?.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let command = match &command_text {
            None => arguments.command.clone(),
            Some(text) => words::split(text)
                .filter(|words| !words.is_empty())
                .ok_or_else(|| {
                    let hint = "close it, or take WAIT_COMMAND away; for a pipe or a variable write sh -c '…'";
                    Failure::new(
                        Exit::Usage,
                        "WAIT_COMMAND: has a quote that is not closed, or is only a comment",
                        hint,
                    )
                })?
                .into_iter()
                .map(OsString::from)
                .collect(),
        };
        let ignores_arguments = command_text.is_some() && !arguments.command.is_empty();
        Ok(Self { plan, command_text, command, ignores_arguments, log, json })
    }

    fn log(&self, level: Level, line: &str) {
        if !self.json {
            self.log.say(level, line);
        }
    }

    fn rule(&self, level: Level) {
        self.log(level, show::RULE);
    }

    /// The original's banner and configuration, to the letter: there is a space at the end of two of its lines.
    fn say_configuration(&self) {
        let plan = &self.plan;
        let written = |paths: bool| {
            let items = plan.items.iter().filter(|item| item.is_path == paths);
            items.map(|item| item.written.as_str()).collect::<Vec<_>>().join(",")
        };
        // Where nothing is set the line says what the original's says; scripts compare it.
        let pause = plan.pace.interval.unwrap_or(Duration::from_secs(1));
        self.rule(Level::Info);
        self.log(Level::Info, &format!(" docker-compose-wait {VERSION}"));
        self.log(Level::Info, "---------------------------");
        let debug = |line: &str| self.log(Level::Debug, line);
        debug("Starting with configuration:");
        debug(&format!(" - Hosts to be waiting for: [{}]", written(false)));
        debug(&format!(" - Paths to be waiting for: [{}]", written(true)));
        debug(&format!(" - Timeout before failure: {} seconds ", number(plan.timeout)));
        debug(&format!(" - TCP connection timeout before retry: {} seconds ", number(plan.pace.patience)));
        if let Some(command) = &self.command_text {
            debug(&format!(" - Command to run once ready: {command}"));
        }
        let line = |when: &str, time| debug(&format!(" - Sleeping time {when}: {} seconds", number(time)));
        line("before checking for hosts/paths availability", plan.before);
        line("once all hosts/paths are available", plan.after);
        line("between retries", pause);
        self.rule(Level::Debug);
        if self.ignores_arguments {
            self.log(Level::Warn, "WAIT_COMMAND is set: the arguments are ignored.");
        }
    }

    fn sleep(&self, time: Duration, when: &str) {
        if !time.is_zero() {
            self.log(Level::Info, &format!("Waiting {} seconds {when}", number(time)));
            self.rule(Level::Info);
            std::thread::sleep(time);
        }
    }

    /// Whether everything became ready in time.
    fn wait(&self) -> Result<bool, Failure> {
        if self.plan.items.is_empty() {
            return Ok(true);
        }
        let seen = if self.json {
            watch_all(&self.plan, &mut *progress::choose(&self.plan, true))
        } else {
            watch_all(&self.plan, &mut Original::new(&self.plan, &self.log))
        };
        Ok(seen?.iter().all(|sight| *sight == Sight::Ready))
    }
}

/// Seconds as the original prints them, and with a fraction where there is one.
fn number(time: Duration) -> String {
    let whole = time.as_secs();
    match time.subsec_millis() {
        0 => whole.to_string(),
        fraction => format!("{whole}.{fraction:03}").trim_end_matches('0').to_owned(),
    }
}

/// What the drop-in makes of these variables: its command, or what it says is wrong.
#[cfg(fuzzing)]
pub(crate) fn fuzz_variables(variables: &[(OsString, OsString)]) -> Result<Vec<OsString>, Failure> {
    Order::read(Arguments::parse(std::iter::empty())?, variables).map(|order| order.command)
}

#[cfg(test)]
mod tests;
