//! `chandlery stack rollout`: region after region, the primary last, and a stop at the first that does not come up.

mod health;
mod ledger;
mod plan;
mod preflight;
mod record;
mod report;
mod take_back;
mod turn;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use chandlery_wire::RegionName;
use chandlery_wire::api::Stack;
use jiff::Timestamp;
use serde::Serialize;

use super::super::token::seconds;
use super::docker::Runner;
use super::identity::State as Folder;
use super::interrupt::Interrupt;
use super::render::{Prepared, StackArgs};
use super::up;
use crate::client;
use crate::context::Context;
use crate::context::hosts::Host;
use crate::failure::{Exit, Failure};
use crate::formats::shell::single_quote;
use crate::output::table::Table;
use crate::output::{self, Format, FormatArg};
use ledger::{Before, Book, Ledger, Line, State};
use plan::{Stop, host_option};
use preflight::{Ready, preflight};
use record::Record;
use report::Report;
use turn::{Turns, before_folder};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A region's Docker is named in chandlery.toml, as a docker context or by its address; a list where a region has several:
  [hosts]
  eu-west-1 = \"ssh://deploy@vm-1.example\"
  sfo3 = [\"sfo3-a\", \"sfo3-b\"]
Every Docker has to answer and every region to have what the files ask for before anything is changed. Then each gets its turn:
render, --before-each, up, healthy, --after-each. The first failure stops it and says what stands where.
  chandlery stack rollout --region all --primary eu-west-1 --health-url 'https://{region}.example/up'
  chandlery stack rollout --resume                # after the fix
  chandlery stack rollout --take-back --yes       # what ran before, where it was touched
Commands of --before-each and --after-each are a shell's, with ROLLOUT_REGION, ROLLOUT_HOST and ROLLOUT_DOCKER_HOST. What comes
after our own options is handed on to `up` of compose. docs/ROLLOUT.md has the whole of it.")]
pub(crate) struct Args {
    #[command(flatten)]
    stack: StackArgs,
    /// What `--region` says; taken from the context's flags, because it may be a list here.
    #[arg(skip)]
    regions: Option<String>,
    /// The region that comes last.
    #[arg(long, value_name = "REGION")]
    primary: Option<RegionName>,
    /// A region's Docker: a context or an address. Again for more, in their order; it beats chandlery.toml.
    #[arg(long = "host", value_name = "REGION=DOCKER", value_parser = host_option)]
    hosts: Vec<(RegionName, Host)>,
    /// What answers 2xx when a region serves; {region} and {host} stand for its names.
    #[arg(long, value_name = "URL")]
    health_url: Option<String>,
    /// Run this before each turn: to take the region out of the load balancer, say.
    #[arg(long, value_name = "COMMAND")]
    before_each: Option<String>,
    /// Run this after each turn that went well.
    #[arg(long, value_name = "COMMAND")]
    after_each: Option<String>,
    /// How long each step may take: before-each, up, healthy, after-each.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "5m")]
    timeout: u64,
    /// How long a container has to run that has no health check.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "3s")]
    settle: u64,
    /// Pull the images first, at each host before its turn.
    #[arg(long)]
    pull: bool,
    /// Build the images first, at each host before its turn.
    #[arg(long)]
    build: bool,
    /// Show the order and the checks, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Go on with the rollout that stopped.
    #[arg(long, conflicts_with = "take_back")]
    resume: bool,
    /// Return every host that was touched to what ran there before.
    #[arg(long)]
    take_back: bool,
    /// With --take-back: leave the store's values as they are now.
    #[arg(long, requires = "take_back")]
    keep_values: bool,
    /// With --take-back: do it without being asked.
    #[arg(long, short, requires = "take_back")]
    yes: bool,
    /// Show what stands where after the last rollout, and do nothing.
    #[arg(long, conflicts_with_all = ["resume", "take_back", "dry_run"])]
    status: bool,
    #[command(flatten)]
    format: FormatArg,
    /// What `up` of compose takes: --scale, --remove-orphans, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMPOSE'S")]
    rest: Vec<OsString>,
}

impl Args {
    /// `--region all` and lists are only understood here.
    pub(super) fn take_regions(&mut self, region: &mut Option<String>) {
        self.regions = region.take();
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    up::check_rest(&args.rest)?;
    let runner = Runner::compose()?;
    let mut root = Prepared::new(&args.stack, context, runner.clone())?;
    let folder = format!("{}.{}.rollout", root.project, root.environment);
    root.state = Folder::of(&args.stack.identity, context, Path::new(&folder))?;
    let report = Report(args.format.format);
    if args.status {
        let last = Book::look(&root.state.folder)?.ok_or_else(nothing_yet)?;
        return report.end("status", &last);
    }
    record::make(&root.state.folder)?;
    let book = Book::open(&root.state.folder)?;
    let last = book.last()?;
    let unfinished = last.filter(|ledger| ledger.finished.is_none());
    if unfinished.is_none() && args.resume {
        return Err(Failure::failed("no rollout has stopped on its way", "begin one without --resume"));
    }
    let stops = stops(args, context, &root, unfinished.as_ref(), book.last()?.as_ref())?;
    let ready = preflight(&stops, context, &runner, &root)?;
    let fresh = !args.resume && !args.take_back;
    if fresh && args.dry_run {
        return show_plan(args, &ready);
    }
    let ledger = match (args.take_back, book.last()?) {
        (true, last) => last.ok_or_else(nothing_yet)?,
        (false, _) => opened(args, &root, unfinished, &ready)?,
    };
    let mut turns = Turns { args, book: &book, ledger, report, interrupt: Interrupt::watch()? };
    if args.take_back {
        turns.take_back(&ready, &root)?;
        return if args.dry_run { Ok(()) } else { report.end("taken-back", &turns.ledger) };
    }
    if args.dry_run {
        return report.end("plan", &turns.ledger);
    }
    book.write(&turns.ledger)?;
    for one in &ready {
        let done = turns.ledger.known(&one.stop.key()).is_some_and(|line| line.state == State::Done);
        if !done {
            turns.guard(one, |turns| turns.roll_out(one))?;
        }
    }
    turns.ledger.finished = Some(Timestamp::now().to_string());
    book.write(&turns.ledger)?;
    report.end("done", &turns.ledger)
}

fn nothing_yet() -> Failure {
    Failure::failed(
        "there was no rollout yet",
        "its state is kept where it was begun; --state-dir names another folder",
    )
}

/// Those that are asked for; for one that goes on or back, those of its ledger.
fn stops(
    args: &Args,
    context: &Context,
    root: &Prepared<'_>,
    unfinished: Option<&Ledger>,
    last: Option<&Ledger>,
) -> Result<Vec<Stop>, Failure> {
    let declared: Stack = root.client.get(&client::Path::new(&["stacks", root.stack.as_str()]))?;
    let mut environments = declared.environments.into_iter();
    let found = environments.find(|known| known.name == root.environment).ok_or_else(|| {
        let hint = format!("declare it with `chandlery init --environment {}`", root.environment);
        Failure::new(Exit::NotFound, format!("the stack {} has no environment {}", root.stack, root.environment), hint)
    })?;
    let of_ledger = match (args.resume, args.take_back) {
        (true, _) => unfinished,
        (_, true) => Some(last.ok_or_else(nothing_yet)?),
        _ => None,
    };
    let Some(ledger) = of_ledger else { return plan::stops(args, context, &found.regions) };
    let known: BTreeSet<&str> = ledger.lines.iter().map(|line| line.region.as_str()).collect();
    let regions: Vec<RegionName> = found.regions.into_iter().filter(|region| known.contains(region.as_str())).collect();
    let mut stops = plan::stops(args, context, &regions)?;
    // In the order in which it began: the primary need not be said again.
    let place = |stop: &Stop| ledger.lines.iter().position(|line| line.key == stop.key());
    stops.sort_by_key(|stop| place(stop).unwrap_or(usize::MAX));
    let lost = ledger.lines.iter().filter(|line| line.touched && !stops.iter().any(|stop| stop.key() == line.key));
    for line in lost {
        output::note(&format!("note: {} is not in [hosts] any more, and is left as it is", line.key));
    }
    Ok(stops)
}

/// A new ledger, or the one that is gone on with. What ran before is what ran before the first touch: a rollout that
/// takes the place of one that failed can still be taken back to what was whole.
fn opened(
    args: &Args,
    root: &Prepared<'_>,
    unfinished: Option<Ledger>,
    ready: &[Ready<'_>],
) -> Result<Ledger, Failure> {
    if let Some(old) = unfinished.as_ref().filter(|_| !args.resume) {
        output::note(&format!(
            "note: the rollout of {} did not end; this one takes its place, and --take-back goes back to what was before both",
            old.started
        ));
    }
    let known = |ready: &Ready<'_>| unfinished.as_ref().and_then(|old| old.known(&ready.stop.key())).cloned();
    let mut lines = Vec::new();
    for one in ready {
        lines.push(match known(one).filter(|line| line.touched) {
            Some(line) if args.resume && line.state == State::Done && line.target.as_ref() == Some(&one.aim.target) => {
                line
            }
            Some(line) => {
                if args.resume && line.state == State::Done {
                    output::note(&format!("note: what {} is to get has changed since; it gets another turn", line.key));
                }
                Line { state: State::Waiting, step: None, why: None, containers: one.now.clone(), ..line }
            }
            None => first_line(one)?,
        });
    }
    // Hosts of a failed rollout that are none of this one's: they can still be taken back.
    let carried = unfinished.iter().flat_map(|old| &old.lines).filter(|line| line.touched);
    let carried: Vec<Line> = carried.filter(|line| !lines.iter().any(|new| new.key == line.key)).cloned().collect();
    lines.extend(carried);
    let started = unfinished.filter(|_| args.resume).map(|old| old.started);
    Ok(Ledger {
        stack: root.stack.to_string(),
        environment: root.environment.to_string(),
        project: root.project.clone(),
        started: started.unwrap_or_else(|| Timestamp::now().to_string()),
        finished: None,
        lines,
    })
}

/// A host that nobody has touched yet: what runs there is kept, with its record where that tells of it.
fn first_line(ready: &Ready<'_>) -> Result<Line, Failure> {
    let Ready { stop, folder, now, .. } = ready;
    let applied = folder.join("applied");
    let record = Record::read(&applied).filter(|record| record.tells_of(now));
    let kept = if record.is_some() { applied.as_path() } else { Path::new("") };
    record::copy(kept, &before_folder(ready))?;
    Ok(Line {
        key: stop.key(),
        region: stop.region.to_string(),
        host: stop.host.clone(),
        docker: stop.dock.to_string(),
        state: State::Waiting,
        step: None,
        why: None,
        touched: false,
        revision: None,
        target: None,
        containers: Vec::new(),
        before: Before {
            containers: now.clone(),
            recorded: record.is_some(),
            revision: record.map(|record| record.revision),
        },
    })
}

impl Turns<'_> {
    /// Does something with a host; where it fails, writes it down and says what stands where.
    fn guard(&mut self, ready: &Ready<'_>, act: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), Failure> {
        let Err(failure) = act(self) else { return Ok(()) };
        let stop = ready.stop;
        // Whatever is wrong now, what has gone wrong first is to be told.
        let now = health::containers(&stop.dock, &ready.prepared.project).unwrap_or_default();
        let interrupted = failure.exit == Exit::Interrupted;
        let written = self.note(stop, |line| {
            if line.state == State::Working {
                line.containers = now;
                if !interrupted {
                    line.state = State::Failed;
                    line.why = Some(failure.what.clone());
                }
            }
        });
        if !interrupted {
            self.say(stop, |report, line| report.failed(line, &failure.what))?;
        }
        self.report.end(if interrupted { "stopped" } else { "failed" }, &self.ledger)?;
        written?;
        let again = again(std::env::args_os(), self.args.rest.len());
        let then = format!("`{again}` goes on; --take-back in the place of --resume returns to what ran before");
        let hint = if failure.hint.is_empty() { then } else { format!("{}; then {then}", failure.hint) };
        let line = self.ledger.known(&stop.key());
        let at = line.and_then(|line| line.step).map_or_else(String::new, |step| format!(" at {}", step.word()));
        let what = if interrupted { failure.what } else { format!("{}{at}: {}", stop.key(), failure.what) };
        let exit = if interrupted { Exit::Interrupted } else { Exit::Failed };
        Err(Failure { exit, what, hint, faults: failure.faults })
    }
}

/// The command that goes on: an option that is not said again would not hold, and nothing of them is kept. `rest` is how many
/// of the words are compose's.
fn again(words: impl Iterator<Item = OsString>, rest: usize) -> String {
    const OTHER_WAYS: [&str; 5] = ["--resume", "--take-back", "--keep-values", "--yes", "-y"];
    let mut ours: Vec<String> = words.skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let composes = ours.split_off(ours.len().saturating_sub(rest));
    let end = if ours.last().is_some_and(|word| word == "--") { ours.pop() } else { None };
    ours.retain(|word| !OTHER_WAYS.contains(&word.as_str()));
    let words = ours.into_iter().chain(["--resume".to_owned()]).chain(end).chain(composes);
    ["chandlery".to_owned()].into_iter().chain(words.map(|word| quoted(&word))).collect::<Vec<_>>().join(" ")
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        let mut text = Vec::new();
        single_quote(&mut text, word.as_bytes());
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// One host of a plan.
#[derive(Serialize)]
struct Planned<'a> {
    region: &'a RegionName,
    host: &'a str,
    docker: String,
    health_url: Option<&'a str>,
    before_each: Option<&'a str>,
    after_each: Option<&'a str>,
    revision: u64,
    runs_now: &'a [health::Container],
}

fn show_plan(args: &Args, ready: &[Ready<'_>]) -> Result<(), Failure> {
    let planned: Vec<Planned<'_>> = ready
        .iter()
        .map(|Ready { stop, now, aim, .. }| Planned {
            region: &stop.region,
            host: &stop.host,
            docker: stop.dock.to_string(),
            health_url: stop.health_url.as_deref(),
            before_each: stop.before.as_deref(),
            after_each: stop.after.as_deref(),
            revision: aim.revision,
            runs_now: now,
        })
        .collect();
    if args.format.format == Format::Json {
        return output::json(&planned);
    }
    let mut table = Table::new(&["", "REGION", "DOCKER", "REVISION", "RUNS NOW", "CHECK"]);
    for (number, one) in planned.iter().enumerate() {
        table.row(vec![
            (number + 1).to_string(),
            one.region.to_string(),
            one.docker.clone(),
            one.revision.to_string(),
            one.runs_now.len().to_string(),
            one.health_url.unwrap_or("the containers' own").to_owned(),
        ]);
    }
    output::text(&table.for_stdout())?;
    for one in &planned {
        for (word, command) in [("before-each", one.before_each), ("after-each", one.after_each)] {
            if let Some(command) = command {
                output::note(&format!("{} {word}: {command}", one.region));
            }
        }
    }
    output::note("every Docker answers, and every region has what the files ask for; nothing was changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_has_the_options_of_what_stopped() {
        let again = |line: &[&str], rest| super::again(line.iter().map(OsString::from), rest);
        let said = ["/usr/bin/chandlery", "stack", "rollout", "--socket", "/run/c.sock", "--before-each", "echo '$X'"];
        let expected = r"chandlery stack rollout --socket /run/c.sock --before-each 'echo '\''$X'\''' --resume";
        assert_eq!(again(&said, 0), expected);
        assert_eq!(
            again(&["c", "stack", "rollout", "--take-back", "-y", "-p", "p"], 0),
            "chandlery stack rollout -p p --resume"
        );
        let composes = ["c", "stack", "rollout", "--resume", "--", "--scale", "-y"];
        assert_eq!(again(&composes, 2), "chandlery stack rollout --resume -- --scale -y");
    }
}
