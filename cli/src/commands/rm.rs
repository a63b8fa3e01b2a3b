//! `chandlery rm`

use chandlery_wire::api::Written;
use chandlery_wire::{EntryName, Grant};

use super::attributes::granted;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::FormatArg;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The entry's name.
    name: EntryName,
    /// The one that is set for these services, where there are several of the name.
    #[arg(long = "for", value_name = "SERVICES")]
    grant: Option<Grant>,
    /// Take the base's value away from the region too.
    #[arg(long)]
    hide_base: bool,
    /// Delete only if the entry is at this version in this layer.
    #[arg(long, value_name = "N")]
    expect_version: Option<u64>,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if args.hide_base && context.region().is_none() {
        let hint = "say which region with --region, or leave --hide-base out to delete it from the base";
        return Err(Failure::usage("--hide-base takes an entry away from one region, and none is named", hint));
    }
    let path = Path::new(&["entries", context.stack()?.as_str(), context.environment()?.as_str(), args.name.as_str()])
        .query("region", context.region())
        .query("for", args.grant.as_ref())
        .query("hide_base", args.hide_base.then_some(true))
        .query("expect_version", args.expect_version);
    let written: Written = context.client()?.delete(&path)?;
    let place = context.layer_in_words();
    args.format.print(&written, |written| {
        let each = written.entries.iter().map(|entry| {
            let (name, grant, version) = (&entry.name, granted(&entry.grant), entry.version);
            let done = match (entry.changed, args.hide_base) {
                (false, _) => "was gone already",
                (true, true) => "is hidden",
                (true, false) => "is deleted",
            };
            format!("{name} {done} {place}, {grant}: version {version}\n")
        });
        each.collect()
    })
}
