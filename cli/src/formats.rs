//! The formats of import and export, a file each. Pure: text in, names and values out, and the reverse.
//!
//! No fault quotes what it found: what stands at a wrong place in a file of secrets may be one.

pub(crate) mod docker;
pub(crate) mod dotenv;
pub(crate) mod folder;
pub(crate) mod json;
pub(crate) mod shell;
pub(crate) mod systemd;
pub(crate) mod yaml;

use std::collections::HashMap;
use std::path::Path;

use chandlery_wire::{EntryName, Value, VariableName};

/// One name and value of an import, and the line it stood on.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: EntryName,
    pub(crate) value: Value,
    pub(crate) line: usize,
}

/// One thing that is wrong with the text, on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// What a reader of a format collects: everything that is right, and everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) items: Vec<Item>,
    pub(crate) faults: Vec<Fault>,
    /// Names of values that hold `$NAME`, `${…}` or `$(…)` where a shell would expand it. They are taken literally.
    pub(crate) unexpanded: Vec<String>,
    first_lines: HashMap<String, usize>,
}

impl Reading {
    /// Takes a variable in, or notes why it cannot be one.
    fn take(&mut self, name: &str, value: Value, line: usize) {
        if let Some(first) = self.first_lines.get(name) {
            let what = format!("{name} is set twice; the first time on line {first}");
            return self.faults.push(Fault::at(line, what));
        }
        match EntryName::parse(name) {
            Ok(_) if VariableName::parse(name).is_err() => {
                let what = "the name is no variable's: those have letters, digits and underscores";
                self.faults.push(Fault::at(line, what));
            }
            Ok(_) if value.expose_secret().contains(&0) => {
                self.faults.push(Fault::at(line, format!("the value of {name} holds a NUL byte")));
            }
            Ok(parsed) => {
                self.first_lines.insert(name.to_owned(), line);
                self.items.push(Item { name: parsed, value, line });
            }
            Err(error) => self.faults.push(Fault::at(line, error.to_string())),
        }
    }
}

/// Reads a file by the format that its name says: .json, .yaml, .yml, and anything else dotenv.
pub(crate) fn read_by_name(file: &Path, bytes: &[u8]) -> Reading {
    let extension = file.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("json") => json::read(bytes),
        Some("yaml" | "yml") => yaml::read(bytes),
        _ => dotenv::read(bytes),
    }
}

/// A name in a message, cut to what a person would recognise it by.
fn quoted(name: &str) -> String {
    let short: String = name.chars().take(40).collect();
    format!("{short:?}")
}

/// The text of a file, or the line its first bad byte is on.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        Fault::at(line, "is not UTF-8; a binary value is imported as a file of its own, from a folder")
    })
}

/// One variable of an export.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a VariableName,
    pub(crate) value: &'a Value,
}

/// Writes every variable, or says of each that cannot be written why.
fn write_each(
    variables: &[Variable<'_>],
    mut write: impl FnMut(&mut Vec<u8>, &str, &[u8]) -> Result<(), String>,
) -> Result<Vec<u8>, Vec<String>> {
    let mut text = Vec::new();
    let mut faults = Vec::new();
    for variable in variables {
        let name = variable.name.as_str();
        if let Err(why) = write(&mut text, name, variable.value.expose_secret()) {
            faults.push(format!("{name} {why}"));
        }
    }
    if faults.is_empty() { Ok(text) } else { Err(faults) }
}

/// The value as text, for the formats that can hold nothing else.
fn text_of(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| "is not UTF-8, and this format holds nothing else".to_owned())
}

#[cfg(test)]
#[path = "formats/hostile_tests.rs"]
mod hostile_tests;
