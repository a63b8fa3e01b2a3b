//! What is wrong with the command line, without repeating what may be a secret in it.
//!
//! clap quotes what it could not use, and people do type `chandlery set API_KEY=hunter2`.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

pub(crate) fn failure(error: &clap::Error) -> Failure {
    let argument = strings(error, ContextKind::InvalidArg).join(" ");
    let what = match error.kind() {
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            format!("{argument}: {}", why.unwrap_or_else(|| "is not what is expected".to_owned()))
        }
        ErrorKind::InvalidValue => match strings(error, ContextKind::ValidValue).join(", ") {
            valid if valid.is_empty() => format!("{argument} needs a value"),
            valid => format!("{argument} is one of {valid}"),
        },
        ErrorKind::UnknownArgument => match option_name(&argument) {
            Some(name) => format!("there is no option {name} here"),
            None => "there is an argument too many; it is not repeated here, since it may be a secret".to_owned(),
        },
        ErrorKind::InvalidSubcommand => "there is no such verb".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a verb is missing".to_owned()
        }
        ErrorKind::ArgumentConflict => {
            let other = strings(error, ContextKind::PriorArg).join(" ");
            format!("{argument} and {other} exclude each other")
        }
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            format!("{argument} has another number of values")
        }
        ErrorKind::NoEquals => format!("{argument} is written with =, as in --option=value"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => "the command line cannot be understood".to_owned(),
    };
    Failure::usage(what, hint(error))
}

fn hint(error: &clap::Error) -> String {
    let suggested = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg];
    if let Some(suggestion) = suggested.iter().flat_map(|kind| strings(error, *kind)).next() {
        return format!("did you mean {suggestion}?");
    }
    match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => {
            let usage = usage.to_string();
            let first = usage.lines().next().unwrap_or_default().trim();
            format!("{}; --help says more", first.replacen("Usage:", "usage:", 1))
        }
        _ => "`chandlery --help` lists the verbs; every verb has --help too".to_owned(),
    }
}

/// `--option` of `--option=value`; nothing of what does not look like an option.
fn option_name(argument: &str) -> Option<&str> {
    let name = argument.split('=').next().unwrap_or_default();
    let word = name.strip_prefix("--")?;
    let plain = word.len() <= 24 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    (plain && word.starts_with(|c: char| c.is_ascii_lowercase())).then_some(name)
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
