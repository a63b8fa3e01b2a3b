//! Everything the CLI writes: results on stdout, notes and failures on stderr.

pub(crate) mod table;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// What stands where a secret would.
pub(crate) const MASK: &str = "••••";

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the types of the HTTP API.
    Json,
}

/// `--format table|json`, the same for every verb.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct FormatArg {
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

impl FormatArg {
    /// Prints the result as JSON, or as `table` makes it.
    pub(crate) fn print<T: Serialize>(self, result: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => json(result),
            Format::Table => text(&table(result)),
        }
    }
}

pub(crate) fn json<T: Serialize>(result: &T) -> Result<(), Failure> {
    let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(result).map_err(|_| broken("cannot be written as JSON"))?);
    bytes.push(b'\n');
    raw(&bytes)
}

/// Text for people, with a newline at its end where it has none.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    raw(text.as_bytes())?;
    if text.is_empty() || text.ends_with('\n') { Ok(()) } else { raw(b"\n") }
}

/// Bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever read it has had enough (`chandlery list | head`): not a failure of ours.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(broken(&format!("cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn broken(how: &str) -> Failure {
    Failure::failed(format!("the output {how}"), "look at where the output goes: a full disk, a closed pipe")
}

/// A sentence beside the result. With stderr gone there is nobody to tell.
pub(crate) fn note(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(sentence));
}

/// Of which entries of the past nobody has kept what an outside source said then.
pub(crate) fn note_read_now(entries: &[String]) {
    if !entries.is_empty() {
        note(&format!("note: kept outside, and read as it is now, whatever it was then: {}", entries.join(", ")));
    }
}

pub(crate) fn failure(failure: &Failure) {
    // An answer that is no, and was given in full on stdout.
    if failure.what.is_empty() {
        return;
    }
    let _ = writeln!(io::stderr().lock(), "{}", printable(&failure.to_string()));
}

pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Text of others, without what would steer the reader's terminal. Newlines and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |c: char| (!c.is_control() && !is_unseen(c)) || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Characters without a width that turn the text around them, or are just not seen (Unicode's default-ignorable formats).
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Writes a file that only its owner reads: made under another name with 0600, then renamed, so that nobody ever sees
/// half of it and no symlink is followed.
pub(crate) fn private_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error: io::Error| {
        Failure::failed(
            format!("{} cannot be written: {error}", path.display()),
            "name a file in a folder that exists and that you may write to",
        )
    };
    let name = path.file_name().ok_or_else(|| fail(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(hidden);
    let result = create_private(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    });
    result.map_err(|error| {
        let _ = fs::remove_file(&part);
        fail(error)
    })
}

/// `O_EXCL`, which also follows no symlink, and 0600 whatever the umask is.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Where a command's result goes: stdout, or a file of mode 0600.
pub(crate) fn to(target: Option<&PathBuf>, bytes: &[u8]) -> Result<(), Failure> {
    match target {
        Some(path) => private_file(path, bytes),
        None => raw(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_private_file_replaces_a_symlink_and_not_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        private_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&link).unwrap(), b"new");
        assert_eq!(fs::symlink_metadata(&link).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let failure = private_file(Path::new("/nowhere/at/all"), b"x").unwrap_err();
        assert!(failure.what.contains("/nowhere/at/all"), "{failure}");
    }

    #[test]
    fn what_steers_a_terminal_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\n"), "a\u{fffd}[2Jb\tc\n");
    }
}
