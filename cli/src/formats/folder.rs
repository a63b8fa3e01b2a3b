//! A folder of one-value-a-file secrets: what compose calls `secrets: file:` and Swarm's `docker secret create`.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chandlery_wire::{EntryName, MAX_VALUE_BYTES, Value};
use zeroize::Zeroizing;

/// What was found in the folder. Nothing in it is dropped in silence.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// Sorted by name.
    pub(crate) files: Vec<(EntryName, Value)>,
    /// Names of the files that a newline was taken off.
    pub(crate) trimmed: Vec<String>,
    /// Dot files and folders, which are left out with a note.
    pub(crate) skipped: Vec<String>,
    pub(crate) faults: Vec<String>,
}

pub(crate) fn read(path: &Path, trim: bool) -> Result<Folder, std::io::Error> {
    let mut folder = Folder::default();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let shown = name.to_string_lossy().into_owned();
        if name.as_bytes().starts_with(b".") {
            folder.skipped.push(format!("{shown}: its name starts with a dot"));
            continue;
        }
        match one_file(&path) {
            Ok(Some(value)) => folder.take(&shown, value, trim),
            Ok(None) => folder.skipped.push(format!("{shown}: it is not a file; name a folder by itself to import it")),
            Err(why) => folder.faults.push(format!("{shown}: {why}")),
        }
    }
    Ok(folder)
}

impl Folder {
    fn take(&mut self, name: &str, value: Value, trim: bool) {
        let parsed = match EntryName::parse(name) {
            Ok(parsed) => parsed,
            Err(error) => return self.faults.push(format!("{}: {error}", super::quoted(name))),
        };
        let (trimmed, had_newline) = value.trimmed();
        let value = if trim { trimmed } else { value };
        if trim && had_newline {
            self.trimmed.push(name.to_owned());
        }
        if value.len() > MAX_VALUE_BYTES {
            return self.faults.push(format!("{name}: it is larger than 512 KiB"));
        }
        self.files.push((parsed, value));
    }
}

/// The file's bytes; `None` for what is not a file. A symlink to a file is followed: that is how Kubernetes and
/// many people lay such folders out.
fn one_file(path: &Path) -> Result<Option<Value>, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Ok(None);
    }
    let file = fs::File::open(path).map_err(cannot)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    // A newline of two bytes may still be trimmed.
    file.take(MAX_VALUE_BYTES as u64 + 3).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(Some(Value::new(std::mem::take(&mut *bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_dropped_in_silence() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("mysql_password"), "toor\n").unwrap();
        fs::write(at("redis_password"), "a\n\n").unwrap();
        fs::write(at("tls.key"), b"\xff\x00").unwrap();
        fs::write(at(".gitkeep"), "").unwrap();
        fs::write(at("not a name"), "x").unwrap();
        fs::write(at("large"), vec![b'x'; MAX_VALUE_BYTES + 1]).unwrap();
        fs::write(at("just"), [vec![b'x'; MAX_VALUE_BYTES], b"\r\n".to_vec()].concat()).unwrap();
        fs::create_dir(at("more")).unwrap();
        let folder = read(temp.path(), true).unwrap();
        let files: Vec<(&str, usize)> = folder.files.iter().map(|(name, value)| (name.as_str(), value.len())).collect();
        assert_eq!(files, [("just", MAX_VALUE_BYTES), ("mysql_password", 4), ("redis_password", 2), ("tls.key", 2)]);
        assert_eq!(folder.trimmed, ["just", "mysql_password", "redis_password"]);
        assert_eq!(folder.skipped.len(), 2);
        assert_eq!(folder.faults.len(), 2, "{:?}", folder.faults);
        let kept = read(temp.path(), false).unwrap();
        assert_eq!(kept.files.iter().find(|(name, _)| name.as_str() == "mysql_password").unwrap().1.len(), 5);
    }
}
