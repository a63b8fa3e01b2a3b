//! `chandlery factor`

use std::path::{Path, PathBuf};

use chandlery_wire::api::{CopiedEntry, Factored, Factoring, RegionCopy, Terms};
use chandlery_wire::{EntryName, Grant, RegionName};

use super::plan::Consent;
use crate::client;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::formats;
use crate::input;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What two regions or more share goes to the base, if that takes fewer entries; what differs goes to the regions' overlays; what
a region lacks is removed there. Afterwards each region named gets exactly what its file says, and every other region what
it got before. The plan is shown first; it is carried out as a whole or not at all.

Examples:
  chandlery factor --region eu-west-1=eu.env --region sfo3=us.env --plain-names RAILS_ENV,PORT
  chandlery factor envs/*.env --dry-run        # each file's name says its region: envs/eu-west-1.env")]
pub(crate) struct Args {
    /// A region and the file with everything that it has: dotenv, .json, or .yaml.
    #[arg(id = "region", long = "region", short = 'r', value_name = "REGION=FILE", action = clap::ArgAction::Append)]
    copies: Vec<String>,
    /// The same; without a region, the file's name says it.
    #[arg(value_name = "[REGION=]FILE")]
    files: Vec<String>,
    /// These are no secrets.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    plain_names: Vec<EntryName>,
    /// Which services get them; as it is already, and all for a new one, where nothing is said.
    #[arg(long = "for", value_name = "SERVICES")]
    grant: Option<Grant>,
    /// Take variables that no file names away from these regions. Otherwise they stay as they are.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let path = client::Path::new(&["factorings", context.stack()?.as_str(), context.environment()?.as_str()]);
    let mut faults = Vec::new();
    let regions = copies(args, &mut faults)?;
    if !faults.is_empty() {
        let hint = "correct these, and try again; nothing was changed";
        return Err(Failure::new(Exit::Invalid, "the files have faults", hint).with_faults(faults));
    }
    let client = context.client()?;
    let ask = |terms: Terms| -> Result<Factored, Failure> {
        let (plain, grant, exact) = (args.plain_names.clone(), args.grant.clone(), args.exact);
        client.post(&path, &Factoring { regions: regions.clone(), plain, grant, exact, terms })
    };
    args.consent.carry_out(context, ask, summary)
}

fn copies(args: &Args, faults: &mut Vec<String>) -> Result<Vec<RegionCopy>, Failure> {
    let mut copies = Vec::new();
    let named = args.copies.iter().map(|text| (text, true)).chain(args.files.iter().map(|text| (text, false)));
    for (text, needs_region) in named {
        let (region, file) = match text.split_once('=') {
            Some((region, file)) => (region.to_owned(), PathBuf::from(file)),
            None if needs_region => {
                let hint = "write --region eu-west-1=eu.env";
                return Err(Failure::usage("--region names a region and its file", hint));
            }
            None => {
                let path = PathBuf::from(text);
                (path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(), path)
            }
        };
        let region = RegionName::parse(region).map_err(|error| {
            Failure::usage(format!("{}: {error}", file.display()), "write REGION=FILE, as in eu-west-1=eu.env")
        })?;
        copies.push(RegionCopy { entries: read(&file, faults)?, region });
    }
    Ok(copies)
}

/// The variables of a file, by whatever format its name says.
fn read(file: &Path, faults: &mut Vec<String>) -> Result<Vec<CopiedEntry>, Failure> {
    let reading = formats::read_by_name(file, &input::whole(file)?);
    let shown = file.display();
    faults.extend(reading.faults.iter().map(|fault| format!("{shown}:{}: {}", fault.line, fault.what)));
    if !reading.unexpanded.is_empty() {
        output::note(&format!(
            "note: {shown}: `$` is taken literally, where a shell would expand it ({})",
            reading.unexpanded.join(", ")
        ));
    }
    Ok(reading.items.into_iter().map(|item| CopiedEntry { name: item.name, value: item.value }).collect())
}

pub(super) fn summary(factored: &Factored) -> String {
    let Factored { values, base, overrides, removals, ties, kept, .. } = factored;
    let removed = if *removals == 0 { String::new() } else { format!(" + {}", counted(*removals, "removal")) };
    let mut text =
        format!("{} → {base} base + {}{removed}\n", counted(*values, "value"), counted(*overrides, "override"));
    for tie in ties {
        let chosen: Vec<&str> = tie.chosen.iter().map(RegionName::as_str).collect();
        text.push_str(&format!(
            "tie: {}: {} values are in as many regions each; the base gets that of {}\n",
            tie.name,
            tie.values,
            chosen.join(", ")
        ));
    }
    if !kept.is_empty() {
        let mut regions: Vec<&str> = kept.iter().map(|kept| kept.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        let what = counted(kept.len() as u64, "entry").replace("entrys", "entries");
        text.push_str(&format!("{}: no file, so {what} there keep what the base has now\n", regions.join(", ")));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use chandlery_wire::api::Changed;

    use super::*;

    #[test]
    fn the_summary_says_what_shrank() {
        let changed = Changed {
            revision: 1,
            dry_run: true,
            declared: vec![],
            entries: vec![],
            unchanged: 0,
            skipped: vec![],
            notes: vec![],
        };
        let factored =
            Factored { values: 420, base: 57, overrides: 26, removals: 1, ties: vec![], kept: vec![], changed };
        assert_eq!(summary(&factored), "420 values → 57 base + 26 overrides + 1 removal\n");
    }
}
