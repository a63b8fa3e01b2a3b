//! The command line. Hand-written: a parser that is generated costs more bytes than all of the TLS 1.3 handshake.

use std::ffi::OsString;

use super::settings::{Kind, OPTIONS};
use super::usage;
use crate::failure::Failure;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Start,
    Explain,
    Help,
    Version,
}

/// The command line, taken apart and not yet understood.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) wish: Wish,
    /// The variable an option stands for, and the option's value.
    pub(super) values: Vec<(&'static str, OsString)>,
    pub(super) command: Vec<OsString>,
}

impl Arguments {
    /// Takes the arguments without the program's name. The command begins after `--`, or at the first word that is not
    /// an option; `run` or `exec` before it is what the fingers of other tools' users type.
    pub(super) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parsed = Self { wish: Wish::Start, values: Vec::new(), command: Vec::new() };
        let mut first = true;
        while let Some(argument) = arguments.next() {
            let text = argument.to_str().unwrap_or_default();
            match text {
                "--" => {
                    parsed.command.extend(arguments);
                    break;
                }
                "run" | "exec" if first => {}
                "--help" | "-h" => parsed.wish = Wish::Help,
                "--version" | "-V" => parsed.wish = Wish::Version,
                "--explain" => parsed.wish = Wish::Explain,
                _ if text.starts_with('-') => parsed.option(text, &mut arguments)?,
                _ => {
                    parsed.command.push(argument);
                    parsed.command.extend(arguments);
                    break;
                }
            }
            if matches!(parsed.wish, Wish::Help | Wish::Version) {
                break;
            }
            first = false;
        }
        Ok(parsed)
    }

    fn option(&mut self, text: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Failure> {
        let (flag, inline) = text.split_once('=').map_or((text, None), |(flag, value)| (flag, Some(value)));
        if flag == "--token" {
            return Err(usage(
                "a token is never taken from the command line, where every user of the machine can read it",
                "set CHANDLERY_TOKEN_FILE, or mount the token as the secret chandlery_token",
            ));
        }
        let Some(option) = OPTIONS.iter().find(|option| option.flag == flag) else {
            return Err(usage(format!("there is no option {flag}"), "see --help; the app's own options come after --"));
        };
        let value = match (option.kind, inline) {
            (Kind::Switch, None) => OsString::from("1"),
            (_, Some(value)) => OsString::from(value),
            (_, None) => rest
                .next()
                .ok_or_else(|| usage(format!("{flag} is the last word, and its value is missing"), "see --help"))?,
        };
        if option.kind != Kind::List && self.values.iter().any(|(name, _)| *name == option.variable) {
            return Err(usage(format!("{flag} is given twice"), "keep one of the two"));
        }
        self.values.push((option.variable, value));
        Ok(())
    }
}
