//! `--take-back`: every host that was touched goes back to what ran there before, and the store's values with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use chandlery_wire::api::{Changed, Rollback, Terms};
use chandlery_wire::{Layer, RegionName};
use jiff::Timestamp;

use super::super::dock::said;
use super::super::render::Prepared;
use super::super::up;
use super::health;
use super::ledger::{Line, State, Step};
use super::preflight::Ready;
use super::record::{self, Record, pins};
use super::turn::{Turns, before_folder, restarts, up_words};
use crate::client::Path;
use crate::commands::plan;
use crate::failure::Failure;
use crate::output;

/// What is to be written into the store again: for the base and each region, as it was at which revision.
struct Values {
    rollbacks: Vec<Rollback>,
    plans: Vec<Changed>,
}

impl Turns<'_> {
    /// Takes back what was touched, the last one first.
    pub(super) fn take_back(&mut self, all: &[Ready<'_>], root: &Prepared<'_>) -> Result<(), Failure> {
        let touched = |ready: &&Ready<'_>| {
            self.ledger.known(&ready.stop.key()).is_some_and(|line| line.touched && line.state != State::TakenBack)
        };
        let mut touched: Vec<&Ready<'_>> = all.iter().filter(touched).collect();
        touched.reverse();
        if touched.is_empty() {
            output::note("nothing was touched, and nothing is to be taken back");
            return self.finish();
        }
        self.images_are_there(&touched)?;
        let values = self.values(&touched, root)?;
        let hosts: Vec<String> = touched.iter().map(|ready| self.in_words(ready)).collect();
        output::note(&format!("to be taken back:\n  {}", hosts.join("\n  ")));
        values.plans.iter().for_each(|changed| output::note(plan::text(changed).trim_end()));
        if self.args.dry_run {
            output::note("nothing was changed");
            return Ok(());
        }
        if !self.args.yes && !confirmed()? {
            output::note("nothing was changed");
            return Ok(());
        }
        for rollback in &values.rollbacks {
            let path = Path::new(&["rollbacks", root.stack.as_str(), root.environment.as_str()]);
            let changed: Changed = root.client.post(&path, rollback)?;
            let layers: Vec<String> = rollback.layers.iter().map(ToString::to_string).collect();
            output::note(&format!(
                "{}: {} as at revision {}",
                layers.join(", "),
                match changed.entries.len() {
                    1 => "1 entry is".to_owned(),
                    count => format!("{count} entries are"),
                },
                rollback.to
            ));
        }
        // Half of it would be a rollout that has not ended.
        self.ledger.finished = None;
        for ready in touched {
            self.guard(ready, |turns| turns.return_one(ready))?;
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.ledger.finished = Some(Timestamp::now().to_string());
        self.book.write(&self.ledger)
    }

    fn in_words(&self, ready: &Ready<'_>) -> String {
        let key = ready.stop.key();
        let Some(Line { before, .. }) = self.ledger.known(&key) else { return key };
        match (before.containers.is_empty(), before.recorded) {
            (true, _) => format!("{key}: nothing ran there; its containers are taken down, its volumes stay"),
            (false, true) => format!("{key}: files, images and values of revision {}", before.revision.unwrap_or(0)),
            (false, false) => format!("{key}: the images alone, for nothing else was recorded of what ran there"),
        }
    }

    /// An image that is gone from a host cannot be run there again: that is to be known before anything is changed.
    fn images_are_there(&self, touched: &[&Ready<'_>]) -> Result<(), Failure> {
        let mut faults = Vec::new();
        for ready in touched {
            let containers = self.ledger.known(&ready.stop.key()).map(|line| &line.before.containers);
            let images: BTreeSet<&str> = containers.into_iter().flatten().map(|one| one.image.as_str()).collect();
            for image in images {
                if ready.stop.dock.image(image).is_none() {
                    faults.push(format!("{}: {image}", ready.stop.key()));
                }
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let hint = "load them there again, or roll out the version before from its own files";
        Err(Failure::failed("images that ran before are gone, and nothing was changed", hint).with_faults(faults))
    }

    /// The base as it was at the newest revision of those that ran, each region as it was at its own.
    fn values(&self, touched: &[&Ready<'_>], root: &Prepared<'_>) -> Result<Values, Failure> {
        let mut regions: BTreeMap<RegionName, u64> = BTreeMap::new();
        for ready in touched {
            let before = self.ledger.known(&ready.stop.key()).map(|line| &line.before);
            let Some(revision) = before.filter(|before| before.recorded).and_then(|before| before.revision) else {
                continue;
            };
            regions.insert(ready.stop.region.clone(), revision);
        }
        let mut values = Values { rollbacks: Vec::new(), plans: Vec::new() };
        if self.args.keep_values || regions.is_empty() {
            return Ok(values);
        }
        let newest = regions.values().copied().max().unwrap_or(0);
        let layers = [(Layer::Base, newest)].into_iter();
        let layers = layers.chain(regions.into_iter().map(|(region, revision)| (Layer::Overlay(region), revision)));
        let path = Path::new(&["rollbacks", root.stack.as_str(), root.environment.as_str()]);
        for (layer, revision) in layers {
            let rollback = Rollback {
                to: revision.to_string(),
                layers: vec![layer],
                names: Vec::new(),
                terms: Terms { dry_run: true, expect_revision: None },
            };
            let plan: Changed = root.client.post(&path, &rollback).map_err(|failure| {
                let hint = "--keep-values leaves the store as it is, and nothing was changed";
                Failure { what: format!("the values cannot be taken back: {}", failure.what), ..failure }
                    .with_hint(hint)
            })?;
            if !plan.entries.is_empty() {
                values.rollbacks.push(Rollback { terms: Terms::default(), ..rollback });
                values.plans.push(plan);
            }
        }
        Ok(values)
    }

    /// One host's turn, backwards.
    fn return_one(&mut self, ready: &Ready<'_>) -> Result<(), Failure> {
        let stop = ready.stop;
        let Some(before) = self.ledger.known(&stop.key()).map(|line| line.before.clone()) else { return Ok(()) };
        self.step(stop, Step::Before)?;
        self.hook(stop, stop.before.as_deref(), Step::Before)?;
        let restarts = restarts(ready)?;
        self.step(stop, Step::Up)?;
        let containers = if before.containers.is_empty() {
            self.take_down(ready)?;
            Vec::new()
        } else {
            self.up_as_before(ready, before.recorded)?;
            self.step(stop, Step::Healthy)?;
            let containers = self.healthy(ready, restarts)?;
            self.step(stop, Step::After)?;
            self.hook(stop, stop.after.as_deref(), Step::After)?;
            containers
        };
        record::copy(&before_folder(ready), &ready.folder.join("applied"))?;
        self.note(stop, |line| {
            (line.state, line.step, line.touched) = (State::TakenBack, None, false);
            (line.containers, line.revision, line.target) = (containers, before.revision, None);
        })?;
        self.say(stop, |report, line| report.taken_back(line))
    }

    fn take_down(&self, ready: &Ready<'_>) -> Result<(), Failure> {
        let Ready { prepared, .. } = ready;
        let options = up::options(prepared.args, &prepared.loaded.files, &prepared.project);
        self.compose(prepared, &options, &["down".into()], &prepared.required(), Some(self.patience()))
    }

    /// With the files as they were recorded, and the images by their ids. Where nothing is recorded, with the files as they
    /// are; and then with the last override, if Chandlery supplied the containers before.
    fn up_as_before(&self, ready: &Ready<'_>, recorded: bool) -> Result<(), Failure> {
        let Ready { stop, prepared, .. } = ready;
        let place = before_folder(ready);
        let line = self.ledger.known(&stop.key());
        let before = line.map(|line| line.before.containers.clone()).unwrap_or_default();
        let images = before.iter().map(|one| (one.service.clone(), one.image.clone())).collect();
        let record = if recorded { Record::read(&place) } else { None };
        let (mut files, version, mut variables) = match &record {
            Some(record) => (
                record.compose_files(&place, &prepared.loaded.files),
                record.version.clone(),
                record.required.iter().map(|name| (name.clone(), "given-by-chandlery".to_owned())).collect(),
            ),
            None => {
                let mut files = prepared.loaded.files.clone();
                if before.iter().any(|one| one.supplies.is_some()) {
                    files.push(prepared.state.folder.join("override.yml"));
                }
                (files, prepared.loaded.project.version.clone(), BTreeMap::new())
            }
        };
        variables.extend(prepared.required());
        let pinned = ready.folder.join("pins.yml");
        output::private_file(&pinned, pins(version.as_deref(), &images).as_bytes())?;
        files.push(pinned);
        let mut options = up::options(prepared.args, &files, &prepared.project);
        if let Some(record) = record.as_ref().filter(|_| prepared.args.files.project_directory.is_none()) {
            options.extend(["--project-directory".into(), record.folder.clone().into_os_string()]);
        }
        let mut words = up_words(self.args);
        words.extend(images.keys().map(OsString::from));
        self.compose(prepared, &options, &words, &variables, Some(self.patience()))?;
        // What the rollout has brought besides.
        for one in health::containers(&stop.dock, &prepared.project)? {
            if !images.contains_key(&one.service) && said(&mut stop.dock.docker(["rm", "--force", &one.id])).is_none() {
                output::note(&format!("note: {} could not be removed", one.name));
            }
        }
        Ok(())
    }
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let hint = "look at the plan, then say --yes; --dry-run shows it and is no error";
        return Err(Failure::usage("nobody can be asked whether to do this, and nothing was changed", hint));
    }
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "Take it back? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format!("the terminal cannot be asked: {error}"), "say --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
