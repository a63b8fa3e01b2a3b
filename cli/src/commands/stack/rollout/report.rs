//! What is said while it goes on, and what stands where at its end.

use serde::Serialize;

use super::ledger::{Before, Ledger, Line, State, Step};
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, Format};

/// Lines for people on stderr, or a JSON object a line on stdout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report(pub(super) Format);

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
enum Event<'a> {
    Step {
        region: &'a str,
        host: &'a str,
        step: &'a str,
    },
    Done {
        region: &'a str,
        host: &'a str,
        revision: Option<u64>,
    },
    Failed {
        region: &'a str,
        host: &'a str,
        step: Option<Step>,
        why: &'a str,
    },
    TakenBack {
        region: &'a str,
        host: &'a str,
    },
    /// The last line: what stands where.
    End {
        result: &'a str,
        rollout: &'a Ledger,
    },
}

impl Report {
    pub(super) fn step(self, line: &Line, step: &str) -> Result<(), Failure> {
        let Line { region, host, .. } = line;
        self.tell(&Event::Step { region, host, step }, &format!("{region} ({host}): {step}"))
    }

    pub(super) fn done(self, line: &Line) -> Result<(), Failure> {
        let Line { region, host, revision, .. } = line;
        self.tell(&Event::Done { region, host, revision: *revision }, &format!("{region} ({host}): done"))
    }

    pub(super) fn taken_back(self, line: &Line) -> Result<(), Failure> {
        let Line { region, host, .. } = line;
        self.tell(&Event::TakenBack { region, host }, &format!("{region} ({host}): as it was before"))
    }

    pub(super) fn failed(self, line: &Line, why: &str) -> Result<(), Failure> {
        let Line { region, host, step, .. } = line;
        let at = step.map_or_else(String::new, |step| format!(" at {}", step.word()));
        self.tell(&Event::Failed { region, host, step: *step, why }, &format!("{region} ({host}): failed{at}: {why}"))
    }

    /// What stands where, in every case on stdout.
    pub(super) fn end(self, result: &str, ledger: &Ledger) -> Result<(), Failure> {
        match self.0 {
            Format::Table => output::text(&table(ledger)),
            Format::Json => self.tell(&Event::End { result, rollout: ledger }, ""),
        }
    }

    fn tell(self, event: &Event<'_>, sentence: &str) -> Result<(), Failure> {
        match self.0 {
            Format::Table => {
                output::note(sentence);
                Ok(())
            }
            Format::Json => {
                let mut line = serde_json::to_vec(event)
                    .map_err(|_| Failure::failed("the event cannot be written as JSON", "please report this"))?;
                line.push(b'\n');
                output::raw(&line)
            }
        }
    }
}

/// A row a host.
pub(super) fn table(ledger: &Ledger) -> String {
    let mut table = Table::new(&["REGION", "HOST", "STATE", "REVISION", "RUNS"]);
    for line in &ledger.lines {
        let Before { containers, revision, .. } = &line.before;
        // Nobody has been there: what ran before runs now.
        let untouched = !line.touched && line.containers.is_empty();
        let (containers, revision) =
            if untouched { (containers, revision) } else { (&line.containers, &line.revision) };
        let state = match (line.state, line.step) {
            (State::Waiting, _) => "waiting".to_owned(),
            (State::Working, step) => format!("stopped at {}", step.map_or("its begin", Step::word)),
            (State::Done, _) => "done".to_owned(),
            (State::Failed, step) => format!("failed at {}", step.map_or("its begin", Step::word)),
            (State::TakenBack, _) => "taken back".to_owned(),
        };
        let runs: Vec<String> = containers
            .iter()
            .map(|one| {
                // An id's first digits are enough to tell it by, as docker itself shows them.
                let image = one.image.trim_start_matches("sha256:");
                let how = one.health.as_deref().unwrap_or(&one.status);
                format!("{} {} {how}", one.service, image.get(..12).unwrap_or(image))
            })
            .collect();
        table.row(vec![
            line.region.clone(),
            line.host.clone(),
            state,
            revision.map_or_else(|| "-".to_owned(), |revision| revision.to_string()),
            if runs.is_empty() { "nothing".to_owned() } else { runs.join(", ") },
        ]);
    }
    table.for_stdout()
}
