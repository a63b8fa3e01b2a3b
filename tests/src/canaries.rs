//! Values that nobody else can have thought of, and the search for them where they must not be.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Random values under names. Whatever holds one of them, in any of the spellings below, leaked it.
#[derive(Debug, Default)]
pub struct Canaries(Vec<(String, String)>);

impl Canaries {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new value, remembered under the name.
    ///
    /// # Panics
    /// If the machine has no randomness.
    pub fn value(&mut self, name: &str) -> String {
        let mut random = [0; 15];
        let mut source = fs::File::open("/dev/urandom").expect("/dev/urandom is there");
        source.read_exact(&mut random).expect("/dev/urandom has bytes");
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = format!("cnry-{hex}");
        self.watch(name, &value);
        value
    }

    /// Remembers a value that was made elsewhere: a token, for one.
    pub fn watch(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Fails if the bytes hold a canary.
    ///
    /// # Panics
    /// Then, naming the canary and not its value.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for (name, value) in &self.0 {
            for (spelling, needle) in spellings(value) {
                assert!(!contains(bytes, needle.as_bytes()), "{place} holds the value of {name} ({spelling})");
            }
        }
    }

    /// Fails if a file of the folder, at any depth, holds a canary in its content or its name.
    ///
    /// # Panics
    /// Then, naming the file.
    #[track_caller]
    pub fn assert_absent_below(&self, folder: &Path, except: &[&str]) {
        for file in files(folder) {
            let name = file.display().to_string();
            if except.iter().any(|except| name.ends_with(except)) {
                continue;
            }
            self.assert_absent("the name of a file", name.as_bytes());
            match fs::read(&file) {
                Ok(bytes) => self.assert_absent(&name, &bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{name} cannot be searched: {error}"),
            }
        }
    }

    /// # Panics
    /// If the bytes do not hold the canary: a search that finds nothing anywhere proves nothing.
    #[track_caller]
    pub fn assert_present(&self, name: &str, bytes: &[u8]) {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let value = value.unwrap_or_else(|| panic!("there is no canary of the name {name}"));
        assert!(contains(bytes, value.as_bytes()), "the value of {name} is not where it should be");
    }
}

/// A value as it is, in hex, and in base64 at each of the three offsets it can have in a longer text.
fn spellings(value: &str) -> [(&'static str, String); 5] {
    let hex = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let shifted = |offset: usize| {
        let padded = [&vec![0; offset][..], value.as_bytes()].concat();
        let encoded = base64(&padded);
        // The first and last characters depend on the neighbours.
        encoded[if offset == 0 { 0 } else { 4 }..encoded.len() - 4].to_owned()
    };
    [
        ("as it is", value.to_owned()),
        ("in hex", hex),
        ("in base64", shifted(0)),
        ("in base64, shifted by one", shifted(1)),
        ("in base64, shifted by two", shifted(2)),
    ]
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|chunk| {
        let word = chunk.iter().chain([&0, &0]).take(3).fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[word >> shift & 63]))
    });
    groups.collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.expect("a folder can be listed");
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_every_spelling() {
        let mut canaries = Canaries::new();
        let value = canaries.value("bird");
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut places = vec![format!("a {value} b"), format!("a {hex} b")];
        places.extend((0..3).map(|offset| base64(format!("{}{value}cage", "x".repeat(offset)).as_bytes())));
        for place in places {
            let search = std::panic::catch_unwind(|| canaries.assert_absent("here", place.as_bytes()));
            assert!(search.is_err(), "{place}");
        }
        canaries.assert_absent("here", b"nothing to see");
        canaries.assert_present("bird", format!("<{value}>").as_bytes());
    }
}
