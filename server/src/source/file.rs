//! Files of the server's host, below directories that the configuration names.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use chandlery_wire::{MAX_VALUE_BYTES, Value};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::place::covered;
use super::{Asker, Fetching, Place, Source, SourceError, Trouble};

/// One permission: `[[source.file.read]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Files in it and below it may be read.
    pub directory: PathBuf,
    /// `stack`, or `stack/environment`; all where none is named.
    #[serde(default, rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

impl Directory {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let shown = self.directory.display();
        match self.directory.is_absolute() && is_plain(&self.directory) && self.directory != Path::new("/") {
            true => Ok(()),
            false => Err((
                format!("source.file.read has {shown:?}, which is no directory that files can be read from"),
                "write an absolute path without .. in it, such as /etc/chandlery/values".to_owned(),
            )),
        }
    }
}

/// `file:/etc/chandlery/values/x`: all of a file, of 512 KiB at most.
#[derive(Debug)]
pub struct File {
    directories: Vec<Directory>,
}

impl File {
    #[must_use]
    pub fn new(directories: Vec<Directory>) -> Self {
        Self { directories }
    }

    /// The innermost of the directories that the path is below, whoever it is for: what leads out of that one is not
    /// followed, though an outer one may be for somebody else.
    fn directory(&self, path: &Path) -> Option<(&Path, PathBuf)> {
        let below = |one: &'_ Directory| path.strip_prefix(&one.directory).ok().map(Path::to_owned);
        let within = self.directories.iter().filter_map(|one| Some((one.directory.as_path(), below(one)?)));
        within
            .filter(|(_, rest)| rest.file_name().is_some())
            .max_by_key(|(directory, _)| directory.components().count())
    }
}

impl Source for File {
    fn admit(&self, asker: Asker<'_>, locator: &str) -> Result<(), SourceError> {
        let path = Path::new(locator);
        // As text too: `a//b` and `a/./b` would be other names for what is cached already.
        if !path.is_absolute() || !is_plain(path) || path.iter().collect::<PathBuf>().as_os_str() != locator {
            let detail = format!("file:{locator} is no absolute path without . and .. in it");
            return Err(SourceError::new(Trouble::Invalid, detail));
        }
        let allows = |one: &&Directory| covered(&one.places, asker) && path != one.directory;
        match self.directories.iter().filter(allows).any(|one| path.starts_with(&one.directory)) {
            true => Ok(()),
            false => {
                let detail = format!("file:{locator} may not be read for {asker}");
                let hint = format!(
                    "the server reads below the directories that its server.toml names: [[source.file.read]] directory = {:?} for = [\"{asker}\"]",
                    path.parent().unwrap_or(path)
                );
                Err(SourceError::new(Trouble::Refused, detail).hint(hint))
            }
        }
    }

    fn fetch<'a>(&'a self, locators: &'a [String]) -> Fetching<'a> {
        let read = |locator: &String| {
            let found = self.directory(Path::new(locator)).map(|(directory, rest)| (directory.to_owned(), rest));
            let locator = locator.clone();
            tokio::task::spawn_blocking(move || match found {
                Some((directory, rest)) => read(&directory, &rest).map_err(|why| explain(&locator, why)),
                None => Err(explain(&locator, Errno::NOENT)),
            })
        };
        let reading: Vec<_> = locators.iter().map(read).collect();
        Box::pin(async move {
            let mut values = Vec::with_capacity(reading.len());
            for (task, locator) in reading.into_iter().zip(locators) {
                values.push(task.await.unwrap_or_else(|_| Err(explain(locator, Errno::IO))));
            }
            values
        })
    }
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// Opened beneath the directory by the kernel: neither `..` nor a symbolic link leads out, however they change meanwhile.
fn read(directory: &Path, rest: &Path) -> Result<Value, Errno> {
    let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Not blocked by a FIFO, nor made anybody's terminal.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = fs::File::from(openat2(&directory, rest, flags, Mode::empty(), resolve)?);
    let metadata = file.metadata().map_err(|_| Errno::IO)?;
    if !metadata.is_file() {
        return Err(Errno::INVAL);
    }
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 1));
    file.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| Errno::IO)?;
    if bytes.len() > MAX_VALUE_BYTES { Err(Errno::FBIG) } else { Ok(Value::new(&bytes[..])) }
}

fn explain(locator: &str, why: Errno) -> SourceError {
    let error = |trouble, what: &str| SourceError::new(trouble, format!("file:{locator} {what}"));
    match why {
        Errno::NOENT | Errno::NOTDIR => {
            error(Trouble::Missing, "is not there").hint("the path is one of the server's host")
        }
        Errno::ACCESS | Errno::PERM => error(Trouble::Refused, "may not be read by the user that the server runs as")
            .hint("give that user the right to read it, and to pass through its directories"),
        Errno::XDEV | Errno::LOOP => error(Trouble::Refused, "leads out of the directory that may be read")
            .hint("no symbolic link is followed out of it; put the file itself there"),
        Errno::INVAL | Errno::ISDIR | Errno::NXIO => error(Trouble::Invalid, "is no regular file"),
        Errno::FBIG => error(Trouble::Invalid, "is larger than the 512 KiB that a value may have"),
        other => error(Trouble::Unreachable, &format!("cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn source(directory: &Path, places: &[&str]) -> File {
        let places = places.iter().map(|place| place.parse().unwrap()).collect();
        File::new(vec![Directory { directory: directory.to_owned(), places }])
    }

    async fn fetched(source: &File, path: &Path) -> Result<String, Trouble> {
        let answer = source.fetch(&[path.to_str().unwrap().to_owned()]).await.remove(0);
        answer.map(|value| String::from_utf8(value.expose_secret().to_vec()).unwrap()).map_err(|error| error.trouble)
    }

    #[tokio::test]
    async fn nothing_outside_of_its_directory_is_read() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        fs::create_dir_all(inside.join("deep")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "hunter2").unwrap();
        fs::write(inside.join("deep/value"), "v").unwrap();
        symlink(outside.join("secret"), inside.join("link")).unwrap();
        symlink("../out/secret", inside.join("relative")).unwrap();
        symlink(&outside, inside.join("folder")).unwrap();
        symlink("deep/value", inside.join("within")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        let source = source(&inside, &[]);
        assert_eq!(fetched(&source, &inside.join("deep/value")).await.unwrap(), "v");
        assert_eq!(
            fetched(&source, &inside.join("within")).await.unwrap(),
            "v",
            "a link that stays inside, as Kubernetes has"
        );
        for (name, trouble) in [
            ("link", Trouble::Refused),
            ("relative", Trouble::Refused),
            ("folder/secret", Trouble::Refused),
            ("magic/etc/passwd", Trouble::Refused),
            ("deep", Trouble::Invalid),
            ("none", Trouble::Missing),
        ] {
            assert_eq!(fetched(&source, &inside.join(name)).await, Err(trouble), "{name}");
        }
        assert_eq!(fetched(&source, &outside.join("secret")).await, Err(Trouble::Missing));
        fs::write(inside.join("large"), vec![b'x'; MAX_VALUE_BYTES + 1]).unwrap();
        assert_eq!(fetched(&source, &inside.join("large")).await, Err(Trouble::Invalid));
    }

    #[tokio::test]
    async fn a_directory_within_another_keeps_its_own_bounds() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("mine")).unwrap();
        fs::write(root.path().join("theirs"), "hunter2").unwrap();
        symlink("../theirs", root.path().join("mine/link")).unwrap();
        let directory = |path: &Path| Directory { directory: path.to_owned(), places: Vec::new() };
        let source = File::new(vec![directory(root.path()), directory(&root.path().join("mine"))]);
        assert_eq!(fetched(&source, &root.path().join("mine/link")).await, Err(Trouble::Refused));
    }

    #[test]
    fn who_may_read_what_is_decided_without_looking() {
        let source = source(Path::new("/values"), &["shop/live", "other"]);
        let admits = |stack: &str, environment: &str, locator: &str| {
            let (stack, environment) = (stack.parse().unwrap(), environment.parse().unwrap());
            source.admit(Asker { stack: &stack, environment: &environment }, locator).is_ok()
        };
        assert!(admits("shop", "live", "/values/x") && admits("other", "test", "/values/a/b"));
        for (stack, environment, locator) in [
            ("shop", "test", "/values/x"),
            ("mine", "live", "/values/x"),
            ("shop", "live", "/values"),
            ("shop", "live", "/values/"),
            ("shop", "live", "/valuesx"),
            ("shop", "live", "/values/../etc/shadow"),
            ("shop", "live", "/values/./x"),
            ("shop", "live", "/values//x"),
            ("shop", "live", "/values/x/"),
            ("shop", "live", "values/x"),
            ("shop", "live", "/etc/shadow"),
        ] {
            assert!(!admits(stack, environment, locator), "{stack}/{environment} {locator}");
        }
    }
}
