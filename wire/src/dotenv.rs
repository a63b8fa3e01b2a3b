//! dotenv, as the CLI reads it from files and the server finds a key in a text that an outside source keeps. There is no
//! standard, so the reading is what a shell and the common readers agree on, and where they do not, the choice is written
//! down in `docs/CLI.md`.

use crate::name::VariableName;
use crate::value::Value;

/// One line that sets something, before anybody asked whether its name can be a variable's.
#[derive(Debug)]
pub struct Assignment {
    pub name: String,
    /// `None` for a name without `=`, which compose takes from the shell.
    pub value: Option<Value>,
    pub line: usize,
    /// Whether the value holds what a shell would expand.
    pub expands: bool,
}

/// One thing that is wrong with the text, on a line. It quotes nothing: what stands at a wrong place may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub what: String,
}

/// Everything that is set, in the order of the text, a name as often as it is there; and every fault.
#[must_use]
pub fn assignments(text: &str) -> (Vec<Assignment>, Vec<Fault>) {
    Reader::new(text).all()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Every CR before an LF is part of the line's end. So in a file whose first line ends that way.
    crlf: bool,
    found: Vec<Assignment>,
    faults: Vec<Fault>,
}

/// A value that could be read, and whether a shell would have expanded something in it.
struct Read {
    value: String,
    expands: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let crlf = text.split_once('\n').is_some_and(|(first, _)| first.ends_with('\r'));
        Self { text, at: 0, line: 1, crlf, found: Vec::new(), faults: Vec::new() }
    }

    fn all(mut self) -> (Vec<Assignment>, Vec<Fault>) {
        while self.at < self.text.len() {
            let (start, line) = (self.at, self.line);
            if let Err(wrong) = self.assignment() {
                self.faults.push(wrong);
                // An open quote may have swallowed the rest: go on after the line the trouble began on.
                (self.at, self.line) = (start, line);
                self.skip_line();
            }
        }
        (self.found, self.faults)
    }

    fn assignment(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.at_line_end() || self.rest().starts_with('#') {
            self.skip_line();
            return Ok(());
        }
        let line = self.line;
        let rest_of_line = self.rest().split('\n').next().unwrap_or_default();
        let Some((name, _)) = rest_of_line.split_once('=') else {
            return self.name_alone(rest_of_line);
        };
        self.at += name.len() + 1;
        let name = without_export(name);
        let Read { value, expands } = self.value()?;
        let name = name.trim_end_matches([' ', '\t']).to_owned();
        self.found.push(Assignment { name, value: Some(Value::new(value)), line, expands });
        Ok(())
    }

    fn name_alone(&mut self, line: &str) -> Result<(), Fault> {
        let name = without_export(line).trim_end_matches([' ', '\t', '\r']);
        if VariableName::parse(name).is_err() {
            let what = "is no assignment: NAME=value, a comment or an empty line is expected";
            return Err(fault(self.line, what));
        }
        self.found.push(Assignment { name: name.to_owned(), value: None, line: self.line, expands: false });
        self.skip_line();
        Ok(())
    }

    fn value(&mut self) -> Result<Read, Fault> {
        let before = self.at;
        self.skip_blanks();
        match self.rest().chars().next() {
            Some('\'' | '"') => self.quoted(),
            Some('`') => self.backquoted(),
            // `A= # comment`; but `A=#b` is the value `#b`.
            Some('#') if self.at > before => {
                self.skip_line();
                Ok(Read { value: String::new(), expands: false })
            }
            _ => Ok(self.bare()),
        }
    }

    /// To the end of the line, or to a `#` after a blank; blanks around it are not part of it.
    fn bare(&mut self) -> Read {
        let line = self.rest().split('\n').next().unwrap_or_default();
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t']));
        let value = line[..comment.map_or(line.len(), |(at, _)| at)].trim_end_matches([' ', '\t', '\r']).to_owned();
        self.skip_line();
        let expands = has_expansion(&value);
        Read { value, expands }
    }

    /// Quoted parts, one right after the other as in a shell: `'it'\''s'`.
    fn quoted(&mut self) -> Result<Read, Fault> {
        let opened = self.line;
        let mut read = Read { value: String::new(), expands: false };
        loop {
            match self.rest().chars().next() {
                Some('\'') => self.single(&mut read)?,
                Some('"') => self.double(&mut read)?,
                Some('\\') if self.rest()[1..].starts_with(['\'', '"', '\\', '$', '`', ' ', '#']) => {
                    read.value.push_str(&self.rest()[1..2]);
                    self.at += 2;
                }
                _ => break,
            }
        }
        self.end_of_quoted(opened)?;
        Ok(read)
    }

    fn single(&mut self, read: &mut Read) -> Result<(), Fault> {
        let opened = self.line;
        let Some((inside, _)) = self.rest()[1..].split_once('\'') else {
            return Err(unclosed(opened, "single"));
        };
        self.at += inside.len() + 2;
        self.line += inside.matches('\n').count();
        read.value.push_str(&self.newlines(inside));
        Ok(())
    }

    fn double(&mut self, read: &mut Read) -> Result<(), Fault> {
        let opened = self.line;
        let mut raw = String::new();
        let mut chars = self.rest()[1..].char_indices();
        let length = loop {
            let (at, c) = chars.next().ok_or_else(|| unclosed(opened, "double"))?;
            match c {
                '"' => break at,
                '\\' => match chars.next().ok_or_else(|| unclosed(opened, "double"))?.1 {
                    'n' => raw.push('\n'),
                    'r' => raw.push('\r'),
                    't' => raw.push('\t'),
                    escaped @ ('"' | '\\' | '$' | '`') => raw.push(escaped),
                    // A line that goes on in the next, as in a shell.
                    '\n' => {}
                    other => raw.extend(['\\', other]),
                },
                '$' => {
                    read.expands |= has_expansion(&self.rest()[1 + at..]);
                    raw.push('$');
                }
                '\r' if self.crlf && self.rest()[1 + at..].starts_with("\r\n") => {}
                other => raw.push(other),
            }
        };
        self.line += self.rest()[1..=length].matches('\n').count();
        self.at += length + 2;
        read.value.push_str(&raw);
        Ok(())
    }

    /// Backquotes as Node's dotenv has them: literal, for values that hold both other kinds of quotes.
    fn backquoted(&mut self) -> Result<Read, Fault> {
        let opened = self.line;
        let Some((inside, _)) = self.rest()[1..].split_once('`') else {
            return Err(unclosed(opened, "back"));
        };
        self.at += inside.len() + 2;
        self.line += inside.matches('\n').count();
        let value = self.newlines(inside);
        self.end_of_quoted(opened)?;
        Ok(Read { value, expands: false })
    }

    /// After the closing quote: nothing, or a comment.
    fn end_of_quoted(&mut self, opened: usize) -> Result<(), Fault> {
        let closed = self.at;
        self.skip_blanks();
        let comment = self.rest().starts_with('#') && self.at > closed;
        if !comment && !self.at_line_end() {
            let on = if self.line == opened { String::new() } else { format!(" on line {}", self.line) };
            let what = format!(
                "text follows the closing quote{on}; write \\\" for a quote inside double quotes, or quote with single ones"
            );
            return Err(fault(opened, what));
        }
        self.skip_line();
        Ok(())
    }

    fn newlines(&self, inside: &str) -> String {
        if self.crlf { inside.replace("\r\n", "\n") } else { inside.to_owned() }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn at_line_end(&self) -> bool {
        let rest = self.rest();
        rest.is_empty() || rest.starts_with('\n') || rest.starts_with("\r\n") || rest == "\r"
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |newline| newline + 1);
        self.line += 1;
    }
}

fn without_export(name: &str) -> &str {
    match name.strip_prefix("export").map(|rest| (rest, rest.trim_start_matches([' ', '\t']))) {
        Some((rest, name)) if rest.len() > name.len() => name,
        _ => name,
    }
}

/// Whether a shell would see something to expand: `$NAME`, `${…}` or `$(…)`.
fn has_expansion(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        text[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{' || c == '(')
    })
}

fn unclosed(line: usize, kind: &str) -> Fault {
    fault(line, format!("a {kind} quote is opened here and never closed"))
}

fn fault(line: usize, what: impl Into<String>) -> Fault {
    Fault { line, what: what.into() }
}
