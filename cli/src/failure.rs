//! What goes wrong, for a person: what is wrong, and what to do about it.

use std::fmt;

use chandlery_wire::Problem;

/// How a command ends. The numbers are part of the interface: `docs/CLI.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Refused = 4,
    NotFound = 5,
    Conflict = 6,
    Invalid = 7,
    NotExecutable = 126,
    CommandNotFound = 127,
    /// Ctrl-C: 128 and the number of SIGINT.
    Interrupted = 130,
}

impl Exit {
    /// What a status of the API means for a script.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Refused,
            404 => Self::NotFound,
            409 | 412 => Self::Conflict,
            413 | 422 => Self::Invalid,
            408 | 429 | 502..=504 => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// One failure: two lines or more on stderr, and an exit code. No text in it ever holds a value or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    /// Everything that is at fault, where it is more than one thing.
    pub(crate) faults: Vec<String>,
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, what: what.into(), faults: Vec::new(), hint: hint.into() }
    }

    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, hint)
    }

    pub(crate) fn failed(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what, hint)
    }

    /// The answer was given, and is no: the exit code says so, and nothing else needs saying.
    pub(crate) fn answered_no() -> Self {
        Self::new(Exit::Failed, "", "")
    }

    /// For verbs with the exit codes of `diff`: 0 and 1 are answers, 2 is everything that went wrong.
    pub(crate) fn like_diff(self) -> Self {
        if self.what.is_empty() { self } else { Self { exit: Exit::Usage, ..self } }
    }

    pub(crate) fn with_faults(mut self, faults: Vec<String>) -> Self {
        self.faults = faults;
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let faults = problem.faults.iter().map(|fault| format!("{}: {}", fault.name, fault.detail)).collect();
        Self { exit: Exit::of_status(problem.status), what: problem.detail, faults, hint: problem.hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chandlery: {}", self.what)?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use chandlery_wire::{Code, Fault};

    use super::*;

    #[test]
    fn a_problem_becomes_its_sentences_and_a_code() {
        let faults = vec![Fault { name: "DB_HOST".to_owned(), detail: "is not set".to_owned() }];
        let problem = Problem::new(422, "Unprocessable Content", Code::Unresolvable, "the bundle cannot be made")
            .with_faults(faults)
            .with_hint("set them");
        let failure = Failure::from(problem);
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(
            failure.to_string(),
            "chandlery: the bundle cannot be made\n  DB_HOST: is not set\n  hint: set them"
        );
    }

    #[test]
    fn every_status_has_its_exit() {
        let codes = [(401, 4), (403, 4), (404, 5), (409, 6), (412, 6), (422, 7), (503, 3), (500, 1), (400, 1)];
        for (status, code) in codes {
            assert_eq!(Exit::of_status(status) as i32, code, "{status}");
        }
    }
}
