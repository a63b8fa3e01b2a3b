//! `chandlery rollback`, `chandlery undelete` and `chandlery destroy`

use chandlery_wire::api::{Change, ChangeSet, Changed, Destroyed, RestoreEntry, Rollback, Spot, Terms};
use chandlery_wire::{EntryName, Grant, Layer};
use std::io::{self, BufRead, IsTerminal, Write};

use super::audit::revision_or_moment;
use super::plan::{Consent, sentences};
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It writes new versions with the old values, so that it can be undone like any other write.

Examples:
  chandlery rollback API_KEY --to 3                  # version 3 of the entry in the base
  chandlery rollback API_KEY --to @42                # as it was at revision 42, in all layers
  chandlery rollback --to 2026-11-20T10:00Z          # the whole environment; the plan is shown first
  chandlery rollback --to 2h --region sfo3           # one region's overlay")]
pub(crate) struct Args {
    /// The entry; without it, the whole environment.
    name: Option<EntryName>,
    /// With a name: a version. Otherwise, or with @: a revision (@42), a time (2026-11-20T10:00Z), or 2h ago.
    #[arg(long, value_name = "VERSION|REVISION|TIME")]
    to: String,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UndeleteArgs {
    /// The entry's name.
    name: EntryName,
    /// The one that was set for these services.
    #[arg(long = "for", value_name = "SERVICES")]
    grant: Option<Grant>,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The ciphertext of every version is taken out of the database and its log. Who wrote them and when stays, and that they were
destroyed. Backups that were made before still hold them: if the value is known to somebody who should not know it,
change it where it opens something.")]
pub(crate) struct DestroyArgs {
    /// The entry's name.
    name: EntryName,
    /// In the base and in all regions.
    #[arg(long)]
    all_layers: bool,
    /// Do it without being asked.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let version = args.name.as_ref().zip(args.to.parse::<u64>().ok());
    match version {
        Some((name, version)) => restore(args, name, version, context),
        None => roll_back(args, context),
    }
}

fn restore(args: &Args, name: &EntryName, version: u64, context: &Context) -> Result<(), Failure> {
    let ask = |terms| {
        let restore =
            RestoreEntry { name: name.clone(), region: context.region().cloned(), version, expect_version: None };
        change(Change::Restore(restore), terms, context)
    };
    args.consent.carry_out(context, ask, |_| String::new())
}

fn roll_back(args: &Args, context: &Context) -> Result<(), Failure> {
    let to = revision_or_moment(&args.to)
        .map_err(|why| Failure::usage(format!("--to {why}"), "write @42, or 2026-11-20T10:00Z"))?;
    let path = Path::new(&["rollbacks", context.stack()?.as_str(), context.environment()?.as_str()]);
    let layers: Vec<Layer> = context.layer.iter().map(|item| item.value.clone()).collect();
    if !layers.is_empty() {
        output::note(&format!("only what is set {}", context.layer_in_words()));
    }
    let names: Vec<EntryName> = args.name.iter().cloned().collect();
    let client = context.client()?;
    let ask = |terms| {
        let rollback = Rollback { to: to.clone(), layers: layers.clone(), names: names.clone(), terms };
        client.post::<Changed>(&path, &rollback)
    };
    args.consent.carry_out(context, ask, |_| String::new())
}

pub(crate) fn undelete(args: &UndeleteArgs, context: &Context) -> Result<(), Failure> {
    let UndeleteArgs { name, grant, .. } = args;
    let spot =
        Spot { name: name.clone(), region: context.region().cloned(), grant: grant.clone(), expect_version: None };
    let changed = change(Change::Undelete(spot), Terms::default(), context)?;
    args.format.print(&changed, |changed| sentences(changed, context))
}

fn change(change: Change, terms: Terms, context: &Context) -> Result<Changed, Failure> {
    let path = Path::new(&["changes", context.stack()?.as_str(), context.environment()?.as_str()]);
    context.client()?.post(&path, &ChangeSet { declare: Vec::new(), changes: vec![change], terms })
}

pub(crate) fn destroy(args: &DestroyArgs, context: &Context) -> Result<(), Failure> {
    let DestroyArgs { name, all_layers, .. } = args;
    let (stack, environment) = (context.stack()?.as_str(), context.environment()?.as_str());
    let path = Path::new(&["entries", stack, environment, name.as_str(), "versions"])
        .query("region", context.region().filter(|_| !all_layers))
        .query("all_layers", all_layers.then_some(true));
    let place = if *all_layers { "in all layers".to_owned() } else { context.layer_in_words() };
    if !args.yes
        && !confirmed(&format!("Destroy all versions of {name} {place} of {stack}/{environment}, for good? [y/N] "))?
    {
        output::note("nothing was destroyed");
        return Ok(());
    }
    let destroyed: Destroyed = context.client()?.delete(&path)?;
    args.format.print(&destroyed, |destroyed| {
        let layer = |layer: &chandlery_wire::api::DestroyedIn| {
            let versions: Vec<String> = layer.versions.iter().map(ToString::to_string).collect();
            match versions.is_empty() {
                true => format!("{name} in {}: there was no value left\n", layer.layer),
                false => {
                    format!("{name} in {}: destroyed the values of version {}\n", layer.layer, versions.join(", "))
                }
            }
        };
        destroyed.layers.iter().map(layer).collect()
    })
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked whether to do this, and nothing was destroyed", "say --yes"));
    }
    let mut stderr = io::stderr().lock();
    let mut answer = String::new();
    let read = write!(stderr, "{question}")
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format!("the terminal cannot be asked: {error}"), "say --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
