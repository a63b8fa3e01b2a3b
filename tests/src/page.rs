//! A page of the documentation as a reader follows it: its commands, its files, and the output that it promises.
//!
//! What a page shows is what a test runs, so that no page goes stale:
//!
//! - A block of `sh` is run by bash, which stops at the first command that fails. What one block has exported, and where it
//!   has gone with `cd`, the next one finds.
//! - A block of `console` is the same, its commands behind `$ `; the lines without it are what they print.
//! - A block of `text` that stands after one of `sh` is what that prints. There, and in a `console`, `…` stands for
//!   anything in a line, and for any number of lines where it is all of the line.
//! - A block whose fence names a file, as in ```` ```yaml docker-compose.yml ````, is written to that file.
//! - Every other block is for the eye alone.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Output, Program, Run, Server, workspace};

/// A page, read.
#[derive(Debug, Clone)]
pub struct Page {
    blocks: Vec<Block>,
}

/// One thing that the reader is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading above it, without its signs.
    pub section: String,
    /// Where it is, for a test that fails: `docs/REGIONS.md:17`.
    pub place: String,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A script, and what it prints on stdout, where the page says that.
    Run { script: String, prints: Option<String> },
    /// A file in the folder where the reader is.
    Write { name: String, text: String },
}

impl Page {
    /// Reads a page, named from the root of the repository.
    ///
    /// # Panics
    /// If it is not there, or a block on it is not closed.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self::parse(name, &text)
    }

    fn parse(name: &str, text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let mut section = String::new();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if line.starts_with('#') {
                line.trim_start_matches('#').trim().clone_into(&mut section);
            }
            let Some(info) = line.trim_start().strip_prefix("```") else { continue };
            let (indent, info) = (line.len() - line.trim_start().len(), info.trim_start_matches('`'));
            let mut body = String::new();
            loop {
                let Some((line, _)) = lines.next() else { panic!("{name}:{number}: the block is not closed") };
                if line.trim_start().starts_with("```") {
                    break;
                }
                let margin = line.len() - line.trim_start().len();
                body.push_str(&line[margin.min(indent)..]);
                body.push('\n');
            }
            let (kind, file) = info.split_once(' ').unwrap_or((info, ""));
            let step = match kind {
                _ if !file.is_empty() => Step::Write { name: file.trim().to_owned(), text: body },
                "sh" => Step::Run { script: body, prints: None },
                "console" => console(&body),
                "text" => {
                    if let Some(Block { step: Step::Run { prints: prints @ None, .. }, .. }) = blocks.last_mut() {
                        *prints = Some(body);
                    }
                    continue;
                }
                _ => continue,
            };
            blocks.push(Block { section: section.clone(), place: format!("{name}:{number}"), step });
        }
        Self { blocks }
    }

    /// Everything on it that is to be done, in its order.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Does all of it, in its order.
    ///
    /// # Panics
    /// If a command fails or prints something else than the page says, or there is nothing to do at all.
    pub fn follow(&self, reader: &Reader) {
        assert!(!self.blocks.is_empty(), "nothing on the page is to be done");
        for block in &self.blocks {
            reader.does(block);
        }
    }
}

/// The commands of a `console`, and what they print.
fn console(body: &str) -> Step {
    let (mut script, mut prints) = (String::new(), String::new());
    let mut open = false;
    for line in body.lines() {
        let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ").filter(|_| open));
        open = command.is_some();
        let (into, line) = command.map_or((&mut prints, line), |command| (&mut script, command));
        into.push_str(line);
        into.push('\n');
    }
    Step::Run { script, prints: (!prints.is_empty()).then_some(prints) }
}

/// Who follows a page: a folder, an environment, and what remains of one block for the next.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    variables: Vec<(String, std::ffi::OsString)>,
    memory: TempDir,
}

impl Reader {
    /// Somebody in this folder, with the built programs on the `PATH` and nothing else of ours.
    ///
    /// # Panics
    /// If there is no temporary folder to be had.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let programs = Program::Cli.path().parent().expect("a program is in a folder").to_owned();
        let memory = TempDir::with_prefix("chandlery-reader-").expect("a temporary folder");
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        Self { folder: folder.into(), variables: Vec::new(), memory }.env("PATH", path)
    }

    /// Somebody in the project's folder of a server that runs on this machine.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        Self::new(server.project()).env("HOME", server.project()).env("CHANDLERY_DATA_DIR", server.data())
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<std::ffi::OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Does what a block says; the output, where it is a command.
    ///
    /// # Panics
    /// If the command fails, or prints something else than the page says.
    #[track_caller]
    pub fn does(&self, block: &Block) -> Option<Output> {
        match &block.step {
            Step::Write { name, text } => {
                let path = self.place().join(name);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", block.place));
                }
                fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", block.place));
                None
            }
            Step::Run { script, prints } => {
                let output = self.run(script).output();
                assert_eq!(output.code(), 0, "{}: {output}", block.place);
                if let Some(prints) = prints {
                    assert!(is_like(output.text(), prints), "{}: it is to print\n{prints}\n{output}", block.place);
                }
                Some(output)
            }
        }
    }

    /// A script, where the last block has left the reader.
    #[must_use]
    pub fn run(&self, script: &str) -> Run {
        let kept = self.memory.path().join("variables");
        let kept = kept.to_str().expect("a plain path");
        // Without the -e, a command that fails in the middle of a block would be passed over.
        let whole =
            format!("trap 'export -p >{kept}; pwd >{kept}.folder' EXIT\nif [ -e {kept} ]; then . {kept}; fi\n{script}");
        let run = Run::new("/bin/bash").args(["-euo", "pipefail", "-c", &whole]).current_dir(self.place());
        self.variables.iter().fold(run, |run, (name, value)| run.env(name, value))
    }

    fn place(&self) -> PathBuf {
        let left = fs::read_to_string(self.memory.path().join("variables.folder"));
        left.map_or_else(|_| self.folder.clone(), |folder| Path::new(folder.trim_end_matches('\n')).to_owned())
    }
}

/// Whether a text is what a page says, where `…` stands for anything.
fn is_like(text: &str, page: &str) -> bool {
    let [text, page] = [text, page].map(|text| text.trim_end().lines().collect::<Vec<_>>());
    lines_are_like(&text, &page)
}

fn lines_are_like(text: &[&str], page: &[&str]) -> bool {
    match page.split_first() {
        None => text.is_empty(),
        Some((line, rest)) if line.trim() == "…" => (0..=text.len()).any(|from| lines_are_like(&text[from..], rest)),
        Some((line, rest)) => text.split_first().is_some_and(|(first, others)| {
            line_is_like(first.trim_end(), line.trim_end()) && lines_are_like(others, rest)
        }),
    }
}

fn line_is_like(text: &str, page: &str) -> bool {
    let mut parts = page.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n```sh\ncd /tmp\n```\n\n## Part\n\n- item:\n\n  ```sh\n  echo a\n    echo b\n  ```\n\n\
        ```text\na\n…\n```\n\n```yaml\nfor: the eye\n```\n\n```toml a/b.toml\nx = 1\n```\n\n```console\n$ echo \\\n> c\nc\n$ pwd\n/tmp\n```\n";

    #[test]
    fn a_page_is_what_is_to_be_done() {
        let page = Page::parse("p.md", PAGE);
        let run = |script: &str, prints: Option<&str>| Step::Run {
            script: script.to_owned(),
            prints: prints.map(str::to_owned),
        };
        let steps: Vec<&Step> = page.blocks().iter().map(|block| &block.step).collect();
        let write = Step::Write { name: "a/b.toml".to_owned(), text: "x = 1\n".to_owned() };
        let expected = [
            &run("cd /tmp\n", None),
            &run("echo a\n  echo b\n", Some("a\n…\n")),
            &write,
            &run("echo \\\nc\npwd\n", Some("c\n/tmp\n")),
        ];
        assert_eq!(steps, expected);
        assert_eq!((page.blocks()[1].section.as_str(), page.blocks()[1].place.as_str()), ("Part", "p.md:11"));
    }

    #[test]
    fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
        for (text, page) in [("a b c", "a … c"), ("a\nb\nc\n", "…\nc"), ("a\nc", "a\n…\nc"), ("ab", "a…b"), ("a", "…")]
        {
            assert!(is_like(text, page), "{text:?} {page:?}");
        }
        for (text, page) in [("a b d", "a … c"), ("a\nb", "a"), ("a", "a\nb"), ("b", "a\n…"), ("aXbY", "a…b")] {
            assert!(!is_like(text, page), "{text:?} {page:?}");
        }
    }

    #[test]
    fn what_is_exported_and_where_one_is_remains() {
        let folder = TempDir::new().unwrap();
        let reader =
            Reader { folder: folder.path().to_owned(), variables: Vec::new(), memory: TempDir::new().unwrap() };
        Page::parse("p.md", "```sh\nmkdir sub; cd sub; export A='b c'\n```\n```txt a\nx\n```\n```sh\ncat a; echo \"$A\"\n```\n```text\nx\nb c\n```\n")
            .follow(&reader);
        assert!(folder.path().join("sub/a").exists());
        assert_ne!(reader.run("false; true").output().code(), 0);
    }
}
