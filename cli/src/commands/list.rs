//! `chandlery list`

use chandlery_wire::Layer;
use chandlery_wire::api::{EntryInfo, EntryList, State};

use super::attributes::delivery_in_words;
use super::written::minute;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, FormatArg, MASK};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let path = Path::new(&["entries", context.stack()?.as_str(), context.environment()?.as_str()]);
    let mut list: EntryList = context.client()?.get(&path.query("region", context.region()))?;
    if context.layer.as_ref().is_some_and(|item| item.value == Layer::Base) {
        list.entries.retain(|entry| entry.layer == Layer::Base);
    }
    if list.entries.is_empty() {
        output::note("nothing is set here yet; `chandlery set NAME` and `chandlery import FILE` do it");
    }
    args.format.print(&list, table)
}

fn table(list: &EntryList) -> String {
    let mut table = Table::new(&["NAME", "LAYER", "FOR", "AS", "VERSION", "VALUE", "CHANGED"]);
    for entry in list.entries.iter().filter(|entry| matches!(entry.state, State::Live | State::Removed)) {
        table.row(vec![
            entry.name.to_string(),
            entry.layer.to_string(),
            entry.grant.to_string(),
            delivery_in_words(&entry.deliver),
            entry.version.to_string(),
            shown(entry),
            minute(&entry.created),
        ]);
    }
    table.for_stdout()
}

/// The value of a plain entry; a mask for a secret's.
pub(crate) fn shown(entry: &EntryInfo) -> String {
    let value = match (&entry.value, entry.state) {
        (_, State::Removed) => return "(removed here)".to_owned(),
        (_, State::Destroyed) => return "(destroyed)".to_owned(),
        (_, State::Deleted) => return "(deleted)".to_owned(),
        _ if entry.reference.is_some() => return format!("→ {}", entry.reference.as_deref().unwrap_or_default()),
        (Some(value), _) if !entry.secret => value,
        _ => return if entry.template { format!("{MASK} template") } else { MASK.to_owned() },
    };
    match std::str::from_utf8(value.expose_secret()) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} bytes)", entry.size),
    }
}
