//! Waiting for what the server does at AWS, and showing how far it is.

use std::io::{self, IsTerminal, Write};

use chandlery_wire::api::AwsErrand;

use crate::client::{Client, Path};
use crate::failure::Failure;
use crate::output;

/// Seconds that the server keeps a question open for. What takes less is not shown.
const WAIT: u64 = 1;
/// The same where nobody watches a bar, after some questions: each is a line of the audit log.
const LONGEST_WAIT: u64 = 10;
const BAR: usize = 30;
/// Where nobody watches, a line is written at each tenth.
const TENTHS: u64 = 10;

/// Asks until it has come to its end.
pub(super) fn finish(client: &Client, path: &Path, begun: AwsErrand) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let (mut errand, mut wait) = (begun, WAIT);
    while !errand.finished {
        errand = match client.get(&path.clone().query("wait", Some(wait))) {
            Ok(errand) => errand,
            Err(failure) => {
                progress.clear();
                return Err(failure);
            }
        };
        if !errand.finished {
            progress.show(&errand);
        }
        if !progress.terminal {
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
    progress.clear();
    Ok(())
}

struct Progress {
    terminal: bool,
    drawn: bool,
    told: Option<(String, u64)>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), drawn: false, told: None }
    }

    fn show(&mut self, errand: &AwsErrand) {
        if self.terminal {
            // With stderr gone there is nobody to show it to.
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{}", bar(errand));
            let _ = io::stderr().lock().flush();
            self.drawn = true;
            return;
        }
        let tenth = errand.total.filter(|total| *total > 0).map_or(0, |total| errand.done * TENTHS / total);
        let now = (errand.doing.clone(), tenth);
        if self.told.as_ref() != Some(&now) {
            output::note(&line(errand));
            self.told = Some(now);
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

fn line(errand: &AwsErrand) -> String {
    let AwsErrand { doing, done, total, .. } = errand;
    match total {
        Some(total) => format!("{doing}: {done} of {total}"),
        None if *done > 0 => format!("{doing}: {done}"),
        None => format!("{doing} …"),
    }
}

fn bar(errand: &AwsErrand) -> String {
    let Some(total) = errand.total.filter(|total| *total > 0) else { return line(errand) };
    let full = usize::try_from(errand.done.min(total) * BAR as u64 / total).unwrap_or(BAR);
    format!("{} [{}{}]", line(errand), "#".repeat(full), " ".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        let errand = |done, total| AwsErrand {
            id: "e1".parse().unwrap(),
            finished: false,
            doing: "reading".to_owned(),
            done,
            total,
        };
        assert_eq!(bar(&errand(300, Some(600))), format!("reading: 300 of 600 [{}{}]", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(&errand(700, Some(600))), format!("reading: 700 of 600 [{}]", "#".repeat(30)));
        assert_eq!(bar(&errand(0, None)), "reading …");
        assert_eq!(bar(&errand(100, None)), "reading: 100");
        assert_eq!(bar(&errand(0, Some(0))), "reading: 0 of 0");
    }
}
