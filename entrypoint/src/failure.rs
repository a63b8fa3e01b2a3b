//! How a start fails: what is wrong, what to do about it, and a code a script can branch on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit codes, all of them; `--help` prints this list.
///
/// Docker keeps 125 to 127 for itself, and 126 and 127 mean here what they mean there and in a shell. A start that is
/// ended by signal n ends with 128 + n. Once the app runs, its exit code is the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A defect of this program, or of the kernel under it.
    Internal = 1,
    /// An option or a variable is missing or cannot be read.
    Usage = 2,
    /// No good answer from the server before the deadline.
    Unreachable = 3,
    /// The server refused the token or the request.
    Refused = 4,
    /// There is no such bundle, it cannot be resolved, or it is not the one that was asked for.
    NoBundle = 5,
    /// The secret files cannot be placed.
    Files = 6,
    /// The environment would be dangerous, contradictory or too large.
    Environment = 7,
    /// The server is not the one that was to be trusted.
    Untrusted = 8,
    /// What `WAIT_HOSTS` names was not reachable in time: as in coreutils' `timeout`.
    WaitedTooLong = 124,
    /// The command was found and could not be executed.
    NotExecutable = 126,
    /// The command was not found.
    NotFound = 127,
}

/// What a failure means for the copy of an earlier bundle (`--cache`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCopy {
    /// It stays, and is not used.
    Keep,
    /// Nobody answered who could have refused it: it may stand in.
    Use,
    /// The server refused: it must go.
    Delete,
}

/// A start that failed. No field ever holds a value or a token.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub copy: OnCopy,
    what: String,
    faults: Vec<String>,
    hint: String,
}

impl Failure {
    #[must_use]
    pub(crate) fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, copy: OnCopy::Keep, what: what.into(), faults: Vec::new(), hint: hint.into() }
    }

    /// Says what the failure means for the copy of an earlier bundle.
    #[must_use]
    pub(crate) fn with_copy(mut self, copy: OnCopy) -> Self {
        self.copy = copy;
        self
    }

    /// Adds what is at fault where it is more than one thing, a line each.
    #[must_use]
    pub(crate) fn with_faults(mut self, faults: Vec<String>) -> Self {
        self.faults = faults;
        self
    }

    /// Adds one more of them.
    #[must_use]
    pub(crate) fn with_fault(mut self, fault: String) -> Self {
        self.faults.push(fault);
        self
    }

    /// What is wrong, without the rest.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What is wrong, in one line, where there is somebody who goes on in spite of it.
    pub(crate) fn line(&self) -> String {
        match self.faults.as_slice() {
            [] => self.what.clone(),
            faults => format!("{} ({})", self.what.trim_end_matches(':'), faults.join("; ")),
        }
    }

    /// The lines a person reads: what is wrong, the faults, and what to do.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{NAME}: {}\n", printable(&self.what));
        for fault in &self.faults {
            let _ = writeln!(text, "    {}", printable(fault));
        }
        let _ = writeln!(text, "  hint: {}", printable(&self.hint));
        text
    }

    /// The same for programs, in one line.
    fn json(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(|fault| quoted(fault)).collect();
        let (what, hint, exit) = (quoted(&self.what), quoted(&self.hint), self.exit as i32);
        let faults = faults.join(",");
        format!("{{\"event\":\"failed\",\"detail\":{what},\"faults\":[{faults}],\"hint\":{hint},\"exit\":{exit}}}\n")
    }

    pub(crate) fn report_and_exit(self) -> ! {
        write_stderr(&if JSON.load(Ordering::Relaxed) { self.json() } else { self.text() });
        std::process::exit(self.exit as i32)
    }
}

const NAME: &str = "chandlery-entrypoint";

/// Whether what is said is for programs.
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on every line is JSON.
pub(crate) fn speak_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Prints one line about what goes on.
pub(crate) fn say(line: &str) {
    write_stderr(&match JSON.load(Ordering::Relaxed) {
        true => format!("{{\"event\":\"note\",\"detail\":{}}}\n", quoted(line)),
        false => format!("{NAME}: {}\n", printable(line)),
    });
}

/// The only way to stderr. A closed or full one never stops a start.
pub(crate) fn write_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The text with control characters escaped: part of it may come from a server or a variable, and a terminal obeys
/// what is written to it.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// The text as a JSON string (RFC 8259, 7).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Up to U+009F, so four digits are enough.
            c if c.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Seconds with one decimal. Formatting a float would link 12 KB of code that nothing else needs.
pub(crate) fn seconds(time: std::time::Duration) -> String {
    format!("{}.{}", time.as_secs(), time.subsec_millis() / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_is_wrong_and_what_to_do() {
        let failure = Failure::new(Exit::Usage, "it is\x1b[2J wrong", "do this\nor that");
        assert_eq!(failure.text(), "chandlery-entrypoint: it is\\u{1b}[2J wrong\n  hint: do this\\nor that\n");
        let failure = failure.with_faults(vec!["A: bad".to_owned()]);
        assert_eq!(failure.text().lines().nth(1), Some("    A: bad"));
    }

    #[test]
    fn a_json_string_has_no_control_character_and_no_bare_quote() {
        let odd = "a\"b\\c\n\x1b[2J\u{9b}é";
        let quoted = quoted(odd);
        assert!(!quoted.chars().any(char::is_control));
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), odd);
    }
}
