//! One host's turn: render → before → up → healthy → after.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::docker::Invocation;
use super::super::interrupt::{Ended, Interrupt};
use super::super::render::{Builder, Prepared, Rendered};
use super::super::up;
use super::Args;
use super::health::{self, Container, Wanted};
use super::ledger::{Book, Ledger, Line, State, Step};
use super::plan::Stop;
use super::preflight::Ready;
use super::record::Record;
use super::report::Report;
use crate::failure::Failure;
use crate::output;

/// What all turns have in common.
pub(super) struct Turns<'a> {
    pub(super) args: &'a Args,
    pub(super) book: &'a Book,
    pub(super) ledger: Ledger,
    pub(super) report: Report,
    pub(super) interrupt: Interrupt,
}

impl Turns<'_> {
    /// Changes a host's line, and writes it down before anything else happens.
    pub(super) fn note(&mut self, stop: &Stop, change: impl FnOnce(&mut Line)) -> Result<(), Failure> {
        let key = stop.key();
        if let Some(line) = self.ledger.line(&key) {
            change(line);
        }
        self.book.write(&self.ledger)
    }

    /// Begins a step: on disk first, then for whoever looks on.
    pub(super) fn step(&mut self, stop: &Stop, step: Step) -> Result<(), Failure> {
        self.interrupt.check()?;
        self.note(stop, |line| {
            line.state = State::Working;
            line.step = Some(step);
            line.why = None;
            // From here on it is not as it was.
            line.touched |= step != Step::Render;
        })?;
        self.say(stop, |report, line| report.step(line, step.word()))
    }

    pub(super) fn say(
        &self,
        stop: &Stop,
        tell: impl FnOnce(Report, &Line) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.ledger.known(&stop.key()).map_or(Ok(()), |line| tell(self.report, line))
    }

    /// Rolls out to one host.
    pub(super) fn roll_out(&mut self, ready: &Ready<'_>) -> Result<(), Failure> {
        let Ready { stop, prepared, folder, aim, .. } = ready;
        self.step(stop, Step::Render)?;
        let (rendered, options) = self.render(ready)?;
        self.step(stop, Step::Before)?;
        self.hook(stop, stop.before.as_deref(), Step::Before)?;
        let restarts = restarts(ready)?;
        self.step(stop, Step::Up)?;
        self.compose(prepared, &options, &up_words(self.args), &rendered.variables, Some(self.patience()))?;
        self.step(stop, Step::Healthy)?;
        let containers = self.healthy(ready, restarts)?;
        self.step(stop, Step::After)?;
        self.hook(stop, stop.after.as_deref(), Step::After)?;
        Record::write(&folder.join("applied"), prepared, &rendered, &containers, (aim.revision, &aim.target))?;
        self.note(stop, |line| {
            (line.state, line.step) = (State::Done, None);
            line.revision = Some(aim.revision);
            line.target = Some(aim.target.clone());
            line.containers = containers;
        })?;
        self.say(stop, |report, line| report.done(line))
    }

    /// Everything that takes time and touches no container: images, the override, what it mounts.
    fn render(&self, ready: &Ready<'_>) -> Result<(Rendered, Vec<OsString>), Failure> {
        let Ready { prepared, .. } = ready;
        let mut options = up::options(prepared.args, &prepared.loaded.files, &prepared.project);
        let required = prepared.required();
        if self.args.pull {
            self.compose(prepared, &options, &["pull".into()], &required, None)?;
        }
        let build = |services: &[&str]| {
            let words: Vec<OsString> =
                [OsString::from("build")].into_iter().chain(services.iter().map(OsString::from)).collect();
            self.compose(prepared, &options, &words, &required, None)
        };
        let rendered = prepared.render(&Builder::Compose(&build, self.args.build))?;
        let file = prepared.state.folder.join("override.yml");
        prepared.state.make()?;
        output::private_file(&file, rendered.text.as_bytes())?;
        // The user's files come first in every case: paths are relative to the first one's folder.
        options.extend(["-f".into(), file.into_os_string()]);
        Ok((rendered, options))
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.args.timeout)
    }

    /// Runs compose at the stop's Docker.
    pub(super) fn compose(
        &self,
        prepared: &Prepared<'_>,
        options: &[OsString],
        verb: &[OsString],
        variables: &BTreeMap<String, String>,
        patience: Option<Duration>,
    ) -> Result<(), Failure> {
        let invocation = Invocation {
            options: options.to_vec(),
            verb: verb.to_vec(),
            variables: variables.clone(),
            ..Invocation::default()
        };
        let word = verb.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let mut command = prepared.runner.command(&invocation);
        let ended = self.interrupt.run(&mut command, patience).map_err(|error| prepared.runner.not_started(&error))?;
        match ended {
            Ended::With(status) if status.success() => Ok(()),
            Ended::With(status) => {
                Err(Failure::failed(format!("`{word}` of compose failed ({status})"), "see what it said above"))
            }
            Ended::Killed(why) => {
                self.interrupt.check()?;
                Err(Failure::failed(format!("`{word}` of compose was ended: {why}"), "--timeout gives it longer"))
            }
        }
    }

    /// Runs what the user wants to be run, by a shell, told by variables where it is.
    pub(super) fn hook(&self, stop: &Stop, hook: Option<&str>, step: Step) -> Result<(), Failure> {
        let Some(text) = hook else { return Ok(()) };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        command.env("ROLLOUT_REGION", stop.region.as_str()).env("ROLLOUT_HOST", &stop.host);
        command.env("ROLLOUT_DOCKER_HOST", stop.dock.url().unwrap_or_default()).env("ROLLOUT_STEP", step.word());
        let failed = |how: String| Failure::failed(format!("the hook {how}"), "see what it said above");
        match self.interrupt.run(&mut command, Some(self.patience())) {
            Ok(Ended::With(status)) if status.success() => Ok(()),
            Ok(Ended::With(status)) => Err(failed(format!("failed ({status})"))),
            Ok(Ended::Killed(why)) => {
                self.interrupt.check()?;
                Err(failed(format!("was ended: {why}")))
            }
            Err(error) => Err(failed(format!("cannot be started: {error}"))),
        }
    }

    pub(super) fn healthy(
        &self,
        ready: &Ready<'_>,
        restarts: BTreeMap<String, u64>,
    ) -> Result<Vec<Container>, Failure> {
        let Ready { stop, prepared, .. } = ready;
        let wanted = Wanted {
            dock: &stop.dock,
            project: &prepared.project,
            restarts,
            services: prepared.loaded.project.services.iter().map(|service| service.name.as_str()).collect(),
            url: stop.health_url.as_deref(),
            timeout: self.patience(),
            settle: Duration::from_secs(self.args.settle),
        };
        wanted.wait(&self.interrupt)
    }
}

/// How often each container there has been started again already.
pub(super) fn restarts(ready: &Ready<'_>) -> Result<BTreeMap<String, u64>, Failure> {
    let containers = health::containers(&ready.stop.dock, &ready.prepared.project)?;
    Ok(containers.into_iter().map(|one| (one.id, one.restarts)).collect())
}

/// `up`, always in the background: what is waited for is health.
pub(super) fn up_words(args: &Args) -> Vec<OsString> {
    ["up", "-d"].map(OsString::from).into_iter().chain(args.rest.iter().cloned()).collect()
}

/// Where a stop keeps what ran before the rollout.
pub(super) fn before_folder(ready: &Ready<'_>) -> PathBuf {
    ready.folder.join("before")
}
