//! How values and tokens come in: a pipe, a file, or a prompt that does not show them. Never an argument.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use chandlery_wire::{MAX_VALUE_BYTES, Value};
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// The most that is read of a file of many values.
const MOST: u64 = 64 * 1024 * 1024;

/// Where a value is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// `-`: stdin, even if it is a terminal or has nothing to say.
    Stdin,
    /// `@path`
    File(std::path::PathBuf),
    /// Nothing was said: stdin where it is piped, a prompt where it is a terminal.
    Anywhere,
    /// The argument itself, which only a plain value may be.
    Argument(String),
}

impl From {
    /// What the argument after the name says. `plain`: whether the value is no secret.
    pub(crate) fn argument(argument: Option<&str>, plain: bool) -> Result<Self, Failure> {
        match argument {
            None => Ok(Self::Anywhere),
            Some("-") => Ok(Self::Stdin),
            Some(text) => match text.strip_prefix('@') {
                Some("") => Err(Failure::usage("after @ comes no file", "write @path, or - for stdin")),
                Some(path) => Ok(Self::File(path.into())),
                None if plain => Ok(Self::Argument(text.to_owned())),
                None => Err(Failure::usage(
                    "a secret does not belong on the command line: the shell's history and `ps` would keep it",
                    "pipe it in (… | chandlery set NAME), name a file (@path), or give no value and be asked; \
                     a value that is no secret may be an argument with --plain",
                )),
            },
        }
    }
}

/// Reads the value. `subject` is what the prompt asks for.
pub(crate) fn value(from: &From, subject: &str) -> Result<Value, Failure> {
    match from {
        From::Stdin => bounded(io::stdin().lock(), "stdin"),
        From::File(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
            bounded(file, &name)
        }
        From::Argument(text) => Ok(Value::new(text.as_bytes())),
        From::Anywhere if io::stdin().is_terminal() => {
            let first = Zeroizing::new(prompt(&format!("{subject} (it is not shown): "))?);
            let again = Zeroizing::new(prompt("Once more: ")?);
            if *first != *again {
                return Err(Failure::failed("the two are not the same", "try again; nothing was changed"));
            }
            Ok(Value::new(first.as_bytes()))
        }
        From::Anywhere => {
            let value = bounded(io::stdin().lock(), "stdin")?;
            if value.is_empty() {
                // A cron job's stdin is /dev/null: a value is not emptied by accident.
                let hint = "pipe the value in; if it is to be empty, say so with `chandlery set NAME -`";
                return Err(Failure::usage("stdin has no value", hint));
            }
            Ok(value)
        }
    }
}

/// A token: from a hidden prompt on a terminal, else from stdin.
pub(crate) fn token_text() -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        return prompt("Token (it is not shown): ").map(Zeroizing::new);
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let read = io::stdin().lock().take(4000).read_to_string(&mut text);
    read.map_err(|error| unreadable("stdin", &error))?;
    Ok(text)
}

fn prompt(question: &str) -> Result<String, Failure> {
    rpassword::prompt_password(question).map_err(|error| {
        Failure::usage(format!("the terminal cannot be asked: {error}"), "pipe the value in, or name a file with @path")
    })
}

/// A whole file for an import, which may be as large as many values.
pub(crate) fn whole(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let reader: Box<dyn Read> = match name.as_str() {
        "stdin" => Box::new(io::stdin().lock()),
        name => Box::new(File::open(path).map_err(|error| unreadable(name, &error))?),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    reader.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&name, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(Failure::usage(format!("{name} is larger than 64 MiB"), "name a file of variables"));
    }
    Ok(bytes)
}

/// A file of at most 64 MiB, for whoever says what is wrong in words of their own.
pub(crate) fn bounded_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // Reserved at once: a buffer that grows leaves copies behind.
    let size = file.metadata().map_or(0, |metadata| metadata.len()).min(MOST);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST { Err(io::Error::other("it is larger than 64 MiB")) } else { Ok(bytes) }
}

/// At most a value's bytes, a newline that may yet be trimmed, and one more, by which it is known to be too large.
fn bounded(reader: impl Read, name: &str) -> Result<Value, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 4));
    let most = MAX_VALUE_BYTES as u64 + 3;
    reader.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    Ok(Value::new(std::mem::take(&mut *bytes)))
}

/// Refuses what the server would refuse, before it is sent.
pub(crate) fn check_size(value: &Value, name: &str) -> Result<(), Failure> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    let hint = "keep large files elsewhere, and their key or their address here";
    Err(Failure::new(Exit::Invalid, format!("the value of {name} is larger than 512 KiB"), hint))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("{name} cannot be read: {error}"), "name a file that is there and that you may read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_an_argument() {
        let failure = From::argument(Some("hunter2"), false).unwrap_err();
        assert!(failure.exit == Exit::Usage && !failure.to_string().contains("hunter2"), "{failure}");
        assert_eq!(From::argument(Some("3306"), true).unwrap(), From::Argument("3306".to_owned()));
        assert_eq!(From::argument(Some("-"), false).unwrap(), From::Stdin);
        assert_eq!(From::argument(Some("@a"), false).unwrap(), From::File("a".into()));
        assert_eq!(From::argument(None, false).unwrap(), From::Anywhere);
        assert!(From::argument(Some("@"), true).is_err());
    }

    #[test]
    fn a_value_of_512_kib_fits_and_one_of_a_byte_more_does_not() {
        let of = |size: usize| bounded(&vec![b'x'; size][..], "x").unwrap();
        assert!(check_size(&of(MAX_VALUE_BYTES), "A").is_ok());
        assert!(check_size(&of(MAX_VALUE_BYTES + 1), "A").is_err());
        let with_newline = bounded(&[vec![b'x'; MAX_VALUE_BYTES], b"\r\n".to_vec()].concat()[..], "x").unwrap();
        assert!(check_size(&with_newline.trimmed().0, "A").is_ok());
        assert!(check_size(&of(MAX_VALUE_BYTES * 2), "A").is_err());
    }
}
