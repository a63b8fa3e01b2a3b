//! `chandlery get`

use chandlery_wire::api::Entry;
use chandlery_wire::{Bundle, EntryName, Grant, Value};
use serde::Serialize;

use super::audit::revision_or_moment;
use super::export::bundle;
use crate::client::Path;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format, FormatArg, MASK};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The entry's name.
    name: EntryName,
    /// The one that is set for these services, where there are several of the name.
    #[arg(long = "for", value_name = "SERVICES", conflicts_with = "resolved")]
    grant: Option<Grant>,
    /// An older version.
    #[arg(long, value_name = "N", conflicts_with = "resolved")]
    version: Option<u64>,
    /// As it was: @42 (a revision), 2026-11-20T10:00Z, or 2h ago.
    #[arg(long, value_name = "REVISION|TIME", value_parser = revision_or_moment, conflicts_with = "version")]
    at: Option<String>,
    /// What the --service gets: layers merged, templates resolved.
    #[arg(long)]
    resolved: bool,
    /// Show a secret on the terminal.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if args.resolved { resolved(args, context) } else { as_written(args, context) }
}

fn as_written(args: &Args, context: &Context) -> Result<(), Failure> {
    let path = Path::new(&["entries", context.stack()?.as_str(), context.environment()?.as_str(), args.name.as_str()])
        .query("region", context.region())
        .query("for", args.grant.as_ref())
        .query("version", args.version)
        .query("at", args.at.as_ref());
    let mut entry: Entry = context.client()?.get(&path).map_err(|failure| match context.region() {
        Some(region) if failure.exit == Exit::NotFound && failure.hint.is_empty() => failure.with_hint(format!(
            "this asks what is set for {region} itself; --resolved asks what it gets, --region base the base"
        )),
        _ => failure,
    })?;
    // What a reference says is no secret; what it leads to is.
    let secret = entry.info.secret && entry.info.reference.is_none();
    if entry.info.reference.is_some() {
        output::note("note: it is kept outside, and this says where; --resolved shows the value");
    }
    show(args, secret, entry.value.clone(), |value| {
        if secret {
            entry.value = value;
        }
        entry
    })
}

fn resolved(args: &Args, context: &Context) -> Result<(), Failure> {
    let Bundle { variables, files, .. } = bundle(context, args.at.as_ref())?;
    let name = args.name.as_str();
    if let Some(mut variable) = variables.into_iter().find(|variable| variable.name.as_str() == name) {
        return show(args, variable.secret, variable.value.clone(), |value| {
            variable.value = value;
            variable
        });
    }
    if let Some(mut file) = files.into_iter().find(|file| file.name.as_str() == name) {
        return show(args, file.secret, file.value.clone(), |value| {
            file.value = value;
            file
        });
    }
    let who =
        context.service().map_or("a service without a name".to_owned(), |service| format!("the service {service}"));
    Err(Failure::new(
        Exit::NotFound,
        format!("{who} gets no {name}"),
        "`chandlery list` shows what is set and for which services; --service says which one is meant",
    ))
}

/// On a terminal a secret is masked unless it is asked for; a pipe gets the bytes. `with` puts the value that may be
/// shown into the JSON.
fn show<T: Serialize>(args: &Args, secret: bool, value: Value, with: impl FnOnce(Value) -> T) -> Result<(), Failure> {
    let terminal = output::stdout_is_terminal();
    let masked = secret && terminal && !args.reveal;
    if masked {
        output::note("note: it is masked; --reveal shows it, and a pipe or a file gets it byte for byte");
    }
    match (args.format.format, masked) {
        (Format::Json, true) => output::json(&with(Value::new(MASK))),
        (Format::Json, false) => output::json(&with(value)),
        (Format::Table, true) => output::text(MASK),
        (Format::Table, false) => {
            output::raw(value.expose_secret())?;
            // So that the prompt starts on a line of its own.
            if terminal && !value.expose_secret().ends_with(b"\n") { output::raw(b"\n") } else { Ok(()) }
        }
    }
}
