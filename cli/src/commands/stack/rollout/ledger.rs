//! What stands where, on disk before anything is done: a rollout that is killed at any moment can be gone on with, or be taken
//! back, by whoever has the folder. There is no value in it, and no token.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::Container;
use crate::failure::{Exit, Failure};
use crate::output;

const FILE: &str = "rollout.json";

/// How far a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Waiting,
    /// Its turn has begun and is not over. Found in a ledger that nobody holds, its rollout was killed.
    Working,
    Done,
    Failed,
    TakenBack,
}

/// What is being done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Render,
    Before,
    Up,
    Healthy,
    After,
}

impl Step {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Render => "render",
            Self::Before => "before-each",
            Self::Up => "up",
            Self::Healthy => "healthy",
            Self::After => "after-each",
        }
    }
}

/// What ran on a host before the rollout came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) containers: Vec<Container>,
    /// Whether the files and the versions that these were made of are recorded, too.
    pub(super) recorded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
}

/// One host's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) region: String,
    pub(super) host: String,
    pub(super) docker: String,
    pub(super) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<Step>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// Whether its hooks or containers have been touched.
    pub(super) touched: bool,
    /// The bundles' revision that runs there now, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    /// Tells what was rolled out from anything else: files, versions of values, images by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    pub(super) containers: Vec<Container>,
    pub(super) before: Before,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub(super) stack: String,
    pub(super) environment: String,
    pub(super) project: String,
    pub(super) started: String,
    /// When it went through, or was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<String>,
    pub(super) lines: Vec<Line>,
}

impl Ledger {
    pub(super) fn line(&mut self, key: &str) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.key == key)
    }

    pub(super) fn known(&self, key: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.key == key)
    }
}

/// The folder of a project's rollouts, held by one of them.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) folder: PathBuf,
    _held: File,
}

impl Book {
    /// Opens the folder, and refuses while another rollout has it.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(
                format!("{} cannot be used: {error}", folder.display()),
                "name a folder that you may write to with --state-dir",
            )
        };
        let path = folder.join("lock");
        let mut lock =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        if lock.try_lock().is_err() {
            let mut who = String::new();
            let _ = lock.read_to_string(&mut who);
            let what = format!("another rollout is under way: {}", output::printable(who.trim()));
            return Err(Failure::new(
                Exit::Conflict,
                what,
                "wait for its end; a process that was killed holds nothing",
            ));
        }
        let who = format!("process {} since {}\n", std::process::id(), Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ"));
        let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(who.as_bytes()));
        written.map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), _held: lock })
    }

    /// The last rollout, without holding anything: to be looked at.
    pub(super) fn look(folder: &Path) -> Result<Option<Ledger>, Failure> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::failed(format!("{} cannot be read: {error}", path.display()), "look whose it is"));
            }
        };
        serde_json::from_slice(&text).map(Some).map_err(|_| {
            let what = format!("{} is not what a rollout writes", path.display());
            Failure::failed(what, "move it away; what runs where is to be seen with `docker ps`")
        })
    }

    pub(super) fn last(&self) -> Result<Option<Ledger>, Failure> {
        Self::look(&self.folder)
    }

    /// Under another name first, so that there is a whole one at every moment.
    pub(super) fn write(&self, ledger: &Ledger) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(ledger)
            .map_err(|_| Failure::failed("the state of the rollout cannot be written as JSON", "please report this"))?;
        text.push(b'\n');
        output::private_file(&self.folder.join(FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rollout_at_a_time_and_a_dead_one_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path()).unwrap();
        let failure = Book::open(folder.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.what.contains(&std::process::id().to_string()), "{failure}");
        assert!(book.last().unwrap().is_none());
        let ledger = Ledger {
            stack: "ship".to_owned(),
            environment: "production".to_owned(),
            project: "ship".to_owned(),
            started: "now".to_owned(),
            finished: None,
            lines: Vec::new(),
        };
        book.write(&ledger).unwrap();
        drop(book);
        assert_eq!(Book::open(folder.path()).unwrap().last().unwrap(), Some(ledger));
    }
}
