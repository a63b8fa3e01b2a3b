//! dotenv: no standard, so the reading is what a shell and the common readers agree on, and where they do not, the
//! choice is written down in `docs/CLI.md`.
//!
//! What is written is the narrow part that a POSIX shell (`set -a; . ./file`) and this reader take for the same.

use chandlery_wire::dotenv;
pub(crate) use chandlery_wire::dotenv::Assignment;

use super::{Fault, Reading, Variable, text_of, utf8, write_each};

/// Characters that mean themselves to a shell, to every dotenv reader and to `docker run --env-file`.
const PLAIN: &str = "_./:@%+,=-";

pub(crate) fn read(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let (assignments, faults) = assignments(bytes);
    reading.faults = faults;
    for Assignment { name, value, line, expands } in assignments {
        let Some(value) = value else {
            let what = "is no assignment: NAME=value, a comment or an empty line is expected";
            reading.faults.push(Fault::at(line, what));
            continue;
        };
        if expands {
            reading.unexpanded.push(name.clone());
        }
        reading.take(&name, value, line);
    }
    reading.faults.sort_by_key(|fault| fault.line);
    reading
}

/// Everything that is set, in the order of the file, a name as often as it is there.
pub(crate) fn assignments(bytes: &[u8]) -> (Vec<Assignment>, Vec<Fault>) {
    match utf8(bytes) {
        Ok(text) => {
            let (found, faults) = dotenv::assignments(text);
            (found, faults.into_iter().map(|dotenv::Fault { line, what }| Fault { line, what }).collect())
        }
        Err(fault) => (Vec::new(), vec![fault]),
    }
}

pub(crate) fn write(title: &str, variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    let lines = write_each(variables, |text, name, value| {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        quote(text, text_of(value)?);
        text.push(b'\n');
        Ok(())
    })?;
    // The comment is also what tells the reader that lines end with LF, whatever the first value holds.
    Ok([format!("# {title}\n").as_bytes(), &lines].concat())
}

/// Bare where nothing in it is special; else in the one kind of quotes it does not hold; else in single quotes with
/// `'\''` for a quote, which is a shell's way to say it.
fn quote(text: &mut Vec<u8>, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c);
    if value.chars().all(plain) {
        text.extend_from_slice(value.as_bytes());
    } else if value.contains('\'') && !value.contains(['"', '$', '`', '\\']) {
        text.push(b'"');
        text.extend_from_slice(value.as_bytes());
        text.push(b'"');
    } else {
        super::shell::single_quote(text, value.as_bytes());
    }
}

#[cfg(test)]
#[path = "dotenv_tests.rs"]
mod tests;
