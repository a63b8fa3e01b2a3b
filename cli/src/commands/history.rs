//! `chandlery history`

use chandlery_wire::EntryName;
use chandlery_wire::api::EntryList;

use super::attributes::delivery_in_words;
use super::list::shown;
use super::written::{minute, state};
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::FormatArg;
use crate::output::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The entry's name.
    name: EntryName,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let (stack, environment) = (context.stack()?.as_str(), context.environment()?.as_str());
    let path = Path::new(&["entries", stack, environment, args.name.as_str(), "versions"]);
    let list: EntryList = context.client()?.get(&path.query("region", context.region()))?;
    args.format.print(&list, |list| {
        let mut table = Table::new(&["VERSION", "LAYER", "FOR", "AS", "STATE", "BYTES", "VALUE", "CHANGED", "BY"]);
        for entry in &list.entries {
            table.row(vec![
                entry.version.to_string(),
                entry.layer.to_string(),
                entry.grant.to_string(),
                delivery_in_words(&entry.deliver),
                state(entry.state).to_owned(),
                entry.size.to_string(),
                shown(entry),
                minute(&entry.created),
                entry.author.clone(),
            ]);
        }
        table.for_stdout()
    })
}
