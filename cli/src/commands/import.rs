//! `chandlery import`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chandlery_wire::api::{NamedEntry, WriteEntries, WriteEntry, Written};
use chandlery_wire::{Delivery, EntryName, FileAttributes, Value};
use clap::ValueEnum;

use super::attributes::Attributes;
use super::written;
use crate::client;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::formats::{self, Reading, folder};
use crate::input;
use crate::output::{self, Format, FormatArg};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Dotenv,
    Json,
    Yaml,
    /// A folder with a file for each secret.
    Dir,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chandlery import .env --plain-names RAILS_ENV,PORT
  chandlery import sfo3.env --region sfo3
  chandlery import ./devsecrets --file-variable
  vault kv get -format=json … | jq .data.data | chandlery import - --format json --dry-run")]
pub(crate) struct Args {
    /// Files, folders of one-value-a-file secrets, or `-` for stdin.
    #[arg(required = true, value_name = "FILE|DIR")]
    sources: Vec<PathBuf>,
    /// What the files are; by default their names say it: .json, .yaml, .yml, a folder, anything else dotenv.
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// These are no secrets.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with_all = ["plain", "secret"])]
    plain_names: Vec<EntryName>,
    /// Resolve `${…}` in the values of these.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    template: Vec<EntryName>,
    /// Take one newline off the end of a folder's files; this is the default.
    #[arg(long, conflicts_with = "no_trim")]
    trim: bool,
    /// Keep a folder's files byte for byte.
    #[arg(long)]
    no_trim: bool,
    /// Have everything checked, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    attributes: Attributes,
}

/// What all sources together hold.
#[derive(Default)]
struct Haul {
    /// In the order of their names, with the source each came from.
    values: BTreeMap<EntryName, (Value, Option<Delivery>, String)>,
    faults: Vec<String>,
    notes: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let path = client::Path::new(&["entries", context.stack()?.as_str(), context.environment()?.as_str()]);
    let mut haul = Haul::default();
    for source in &args.sources {
        haul.load(source, args)?;
    }
    haul.check_names(args);
    haul.notes.iter().for_each(|note| output::note(note));
    if !haul.faults.is_empty() {
        let hint = "correct these, and import again; nothing was imported";
        return Err(Failure::new(Exit::Invalid, "the import has faults", hint).with_faults(haul.faults));
    }
    if haul.values.is_empty() {
        return Err(Failure::failed("there is nothing to import", "look whether these are the right files"));
    }
    let write = WriteEntries { region: context.region().cloned(), entries: entries(haul, args), dry_run: args.dry_run };
    let result: Written = context.client()?.post(&path, &write)?;
    let format = if args.json { Format::Json } else { Format::Table };
    FormatArg { format }.print(&result, written::table)?;
    let changed = result.entries.iter().filter(|entry| entry.changed).count();
    let unchanged = result.entries.len() - changed;
    let place = context.layer_in_words();
    output::note(&match args.dry_run {
        true => format!("would write {changed} {place}, {unchanged} unchanged; nothing was written"),
        false => format!("wrote {changed} {place}, {unchanged} unchanged; revision {}", result.revision),
    });
    Ok(())
}

fn entries(haul: Haul, args: &Args) -> Vec<NamedEntry> {
    let (templates, plain) = (set_of(&args.template), set_of(&args.plain_names));
    let entry = |(name, (value, deliver, _)): (EntryName, (Value, Option<Delivery>, String))| {
        let secret = if plain.contains(&name) { Some(false) } else { args.attributes.secret() };
        let template = templates.contains(&name);
        let grant = args.attributes.grant.clone();
        NamedEntry { entry: WriteEntry { template, secret, deliver, grant, ..WriteEntry::literal(value) }, name }
    };
    haul.values.into_iter().map(entry).collect()
}

fn set_of(names: &[EntryName]) -> BTreeSet<EntryName> {
    names.iter().cloned().collect()
}

impl Haul {
    fn load(&mut self, source: &Path, args: &Args) -> Result<(), Failure> {
        let kind = args.format.unwrap_or_else(|| kind_of(source));
        if kind == Kind::Dir {
            return self.load_folder(source, args);
        }
        if source.is_dir() {
            let what = format!("{} is a folder, and --format says that it is a file", source.display());
            return Err(Failure::usage(what, "leave --format out, or say dir"));
        }
        let bytes = input::whole(source)?;
        let reading = match kind {
            Kind::Json => formats::json::read(&bytes),
            Kind::Yaml => formats::yaml::read(&bytes),
            Kind::Dotenv | Kind::Dir => formats::dotenv::read(&bytes),
        };
        let name = if source == Path::new("-") { "stdin".to_owned() } else { source.display().to_string() };
        self.take_reading(&name, reading, args);
        Ok(())
    }

    fn take_reading(&mut self, source: &str, reading: Reading, args: &Args) {
        self.faults.extend(reading.faults.iter().map(|fault| format!("{source}:{}: {}", fault.line, fault.what)));
        if !reading.unexpanded.is_empty() {
            self.notes.push(format!(
                "note: {source}: `$` is taken literally, where a shell would expand it ({}); --template NAME resolves ${{…}} for each region",
                reading.unexpanded.join(", ")
            ));
        }
        for item in reading.items {
            let place = format!("{source}:{}", item.line);
            if item.value.len() > chandlery_wire::MAX_VALUE_BYTES {
                self.faults.push(format!("{place}: the value of {} is larger than 512 KiB", item.name));
                continue;
            }
            self.take(item.name, item.value, None, place, args);
        }
    }

    fn load_folder(&mut self, source: &Path, args: &Args) -> Result<(), Failure> {
        let found = folder::read(source, !args.no_trim).map_err(|error| {
            Failure::usage(
                format!("the folder {} cannot be read: {error}", source.display()),
                "name a folder that is there",
            )
        })?;
        let shown = source.display().to_string();
        self.faults.extend(found.faults.iter().map(|fault| format!("{shown}/{fault}")));
        self.notes.extend(found.skipped.iter().map(|skipped| format!("note: left out {shown}/{skipped}")));
        if !found.trimmed.is_empty() {
            let names = found.trimmed.join(", ");
            self.notes.push(format!("note: {shown}: took the newline off the end of {names}; --no-trim keeps it"));
        }
        for (name, value) in found.files {
            let place = format!("{shown}/{name}");
            self.take(name, value, Some(Delivery::File(FileAttributes::default())), place, args);
        }
        Ok(())
    }

    fn take(&mut self, name: EntryName, value: Value, usual: Option<Delivery>, place: String, args: &Args) {
        if let Some((_, _, first)) = self.values.get(&name) {
            return self.faults.push(format!("{place}: {name} is set twice; the first time in {first}"));
        }
        match args.attributes.delivery(&name) {
            Ok(said) => {
                self.values.insert(name, (value, said.or(usual), place));
            }
            Err(why) => self.faults.push(format!("{place}: {why}")),
        }
    }

    /// A name that is picked out and not there is a typing error, which would make a secret of a plain one in silence.
    fn check_names(&mut self, args: &Args) {
        let picked = [("--plain-names", &args.plain_names), ("--template", &args.template)];
        for (option, name) in
            picked.into_iter().flat_map(|(option, names)| names.iter().map(move |name| (option, name)))
        {
            if !self.values.contains_key(name) {
                self.faults.push(format!("{option}: {name} is in none of the files"));
            }
        }
    }
}

fn kind_of(source: &Path) -> Kind {
    let extension = source.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        _ if source.is_dir() => Kind::Dir,
        Some("json") => Kind::Json,
        Some("yaml" | "yml") => Kind::Yaml,
        _ => Kind::Dotenv,
    }
}
