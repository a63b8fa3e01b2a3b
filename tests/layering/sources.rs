//! Reads Rust sources as far as imports go: which modules of its own crate and which other crates a file names.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file, without comments, literals and unit tests.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    tokens: Vec<String>,
}

impl Source {
    /// All files below a folder of the workspace.
    pub(crate) fn below(folder: &Path) -> Vec<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder can be listed").path();
            // Unit tests may look around: a use case is tested on a real store.
            if path.file_name().is_some_and(|name| name == "tests.rs" || name == "tests") {
                continue;
            }
            if path.is_dir() {
                found.extend(Self::below(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push(Self {
                    tokens: tokens(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()),
                    path,
                });
            }
        }
        found
    }

    /// The modules that are named after `crate::`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        self.parts_of("crate")
    }

    /// What is named right after `root::`.
    pub(crate) fn parts_of(&self, root: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if self.at(at) == root && self.at(at + 1) == "::" {
                found.extend(self.heads(at + 2));
            }
        }
        found
    }

    /// Whether the word stands anywhere in the code.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token == word)
    }

    /// Whether the file names a crate: in `use` or in a path.
    pub(crate) fn names(&self, other: &str) -> bool {
        // `use rustls::crypto::ring;` gives the name to something else.
        let taken = self.tokens.windows(3).any(|three| three[0] == "::" && three[1] == other && three[2] == ";");
        !taken
            && (0..self.tokens.len()).any(|at| {
                let starts = at == 0 || self.at(at - 1) != "::";
                let used = at > 0 && self.at(at - 1) == "use";
                self.at(at) == other && starts && (self.at(at + 1) == "::" || used)
            })
    }

    /// The first names of a path or of each path in a group.
    fn heads(&self, at: usize) -> Vec<&str> {
        if self.at(at) != "{" {
            return vec![self.at(at)];
        }
        let mut depth = 0;
        let mut heads = Vec::new();
        for here in at..self.tokens.len() {
            match self.at(here) {
                "{" => depth += 1,
                "}" => depth -= 1,
                name if depth == 1 && matches!(self.at(here - 1), "{" | ",") => heads.push(name),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }

    fn at(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", String::as_str)
    }
}

/// Identifiers, `::` and single signs; comments and literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else if let Some(length) = character_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of a character literal such as `'"'`; a lifetime is none.
fn character_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let end = if inside.starts_with('\\') { inside[2..].find('\'')? + 2 } else { inside.chars().next()?.len_utf8() };
    inside[end..].starts_with('\'').then_some(end + 2)
}

#[test]
fn the_reader_sees_every_way_to_import() {
    let text = r#"
        // use crate::comment;
        use crate::{vault::{Error, Caller}, store as s, wire};
        use ring;
        fn f<'a>(x: &'a str) -> char { crate::audit::write("crate::text", '"'); tokio::spawn(x); 'x' }
        fn g() { String::from("rusqlite::x"); other::axum::y() }
    "#;
    let source = Source { path: PathBuf::new(), tokens: tokens(text) };
    assert_eq!(source.modules(), ["vault", "store", "wire", "audit"]);
    assert!(source.names("ring") && source.names("tokio"));
    assert!(!source.names("rusqlite") && !source.names("axum"));
    let provider =
        Source { path: PathBuf::new(), tokens: tokens("use rustls::crypto::ring; ring::default_provider()") };
    assert!(!provider.names("ring"), "it is another thing of the same name");
}
