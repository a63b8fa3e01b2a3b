//! `chandlery export`, and the bundle that it, `run` and `get --resolved` begin with.

use std::path::PathBuf;

use chandlery_wire::{Bundle, BundleFile, Value};
use clap::ValueEnum;
use serde::Serialize;

use super::audit::revision_or_moment;
use crate::client::Path;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::formats::{self, Variable};
use crate::output::{self, MASK};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// For a shell (`set -a; . ./file`), for dotenv readers, and for `chandlery import`.
    Dotenv,
    /// An object of names and values.
    Json,
    /// A mapping of names and values.
    Yaml,
    /// `export NAME='value'`, for eval.
    Shell,
    /// For `docker run --env-file`: no quotes, no newlines.
    Docker,
    /// For `EnvironmentFile=` of a unit.
    Systemd,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chandlery export --service app --region sfo3 --format docker -o app.env
  eval \"$(chandlery export --service app --format shell)\"")]
pub(crate) struct Args {
    #[arg(long, value_enum, default_value = "dotenv")]
    format: Kind,
    /// Write to this file, mode 0600, in one step.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As it was: @42 (a revision), 2026-11-20T10:00Z, or 2h ago.
    #[arg(long, value_name = "REVISION|TIME", value_parser = revision_or_moment)]
    at: Option<String>,
    /// With --format json: the files too, as {"variables": …, "files": …}.
    #[arg(long)]
    with_files: bool,
    /// Show secrets on the terminal.
    #[arg(long)]
    reveal: bool,
}

/// What the service gets.
pub(crate) fn bundle(context: &Context, at: Option<&String>) -> Result<Bundle, Failure> {
    let mut segments = vec!["bundles", context.stack()?.as_str(), context.environment()?.as_str()];
    segments.extend(context.region().map(AsRef::<str>::as_ref));
    let path = Path::new(&segments).query("service", context.service()).query("at", at);
    let bundle: Bundle = context.client()?.get(&path)?;
    bundle.stale.iter().for_each(|stale| output::note(&format!("warning: {stale}")));
    output::note_read_now(&bundle.read_now);
    Ok(bundle)
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if args.with_files && args.format != Kind::Json {
        return Err(Failure::usage("--with-files is only for --format json", "add --format json"));
    }
    let mut bundle = bundle(context, args.at.as_ref())?;
    if args.output.is_none() && output::stdout_is_terminal() && !args.reveal && mask(&mut bundle) {
        output::note("note: secrets are masked; --reveal shows them, and a pipe or -o FILE gets them as they are");
    }
    if args.with_files {
        let mut text = serde_json::to_vec_pretty(&WithFiles::of(&bundle)?).map(zeroize::Zeroizing::new);
        text.iter_mut().for_each(|text| text.push(b'\n'));
        let text = text.map_err(|_| Failure::failed("the bundle cannot be written as JSON", "please report this"))?;
        return output::to(args.output.as_ref(), &text);
    }
    let text = zeroize::Zeroizing::new(write(args.format, &bundle)?);
    output::to(args.output.as_ref(), &text)?;
    if !bundle.files.is_empty() {
        let names: Vec<&str> = bundle.files.iter().map(|file| file.name.as_str()).collect();
        output::note(&format!(
            "note: {} not among the variables: {}; `chandlery run` places files, --format json --with-files shows them",
            if names.len() == 1 { "1 file is".to_owned() } else { format!("{} files are", names.len()) },
            names.join(", ")
        ));
    }
    Ok(())
}

/// Masks the secrets; false where there were none.
fn mask(bundle: &mut Bundle) -> bool {
    let variables = bundle.variables.iter_mut().map(|variable| (variable.secret, &mut variable.value));
    let files = bundle.files.iter_mut().map(|file| (file.secret, &mut file.value));
    let secrets: Vec<&mut Value> =
        variables.chain(files).filter_map(|(secret, value)| secret.then_some(value)).collect();
    let any = !secrets.is_empty();
    secrets.into_iter().for_each(|value| *value = Value::new(MASK));
    any
}

fn write(kind: Kind, bundle: &Bundle) -> Result<Vec<u8>, Failure> {
    let variables: Vec<Variable<'_>> =
        bundle.variables.iter().map(|variable| Variable { name: &variable.name, value: &variable.value }).collect();
    let written = match kind {
        Kind::Dotenv => formats::dotenv::write(&title(bundle), &variables),
        Kind::Json => formats::json::write(&variables),
        Kind::Yaml => formats::yaml::write(&variables),
        Kind::Shell => formats::shell::write(&variables),
        Kind::Docker => formats::docker::write(&variables),
        Kind::Systemd => formats::systemd::write(&variables),
    };
    written.map_err(|faults| {
        let hint = "take another --format, or deliver these as files; nothing was written";
        Failure::new(Exit::Invalid, "some variables cannot be written in this format", hint).with_faults(faults)
    })
}

/// Which bundle it was: the line a person looks for in a stray file.
fn title(bundle: &Bundle) -> String {
    let mut title = format!("{}/{}", bundle.stack, bundle.environment);
    if let Some(region) = &bundle.region {
        title.push_str(&format!("/{region}"));
    }
    if let Some(service) = &bundle.service {
        title.push_str(&format!(":{service}"));
    }
    format!("{title}, revision {}, by chandlery export", bundle.revision)
}

#[derive(Serialize)]
struct WithFiles<'a> {
    variables: serde_json::Map<String, serde_json::Value>,
    files: &'a [BundleFile],
}

impl<'a> WithFiles<'a> {
    fn of(bundle: &'a Bundle) -> Result<Self, Failure> {
        let pairs = bundle
            .variables
            .iter()
            .map(|variable| Ok((variable.name.to_string(), serde_json::to_value(&variable.value)?)));
        let variables = pairs.collect::<Result<_, serde_json::Error>>();
        let variables =
            variables.map_err(|_| Failure::failed("the bundle cannot be written as JSON", "please report this"))?;
        Ok(Self { variables, files: &bundle.files })
    }
}
