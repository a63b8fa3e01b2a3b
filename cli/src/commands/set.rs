//! `chandlery set`

use chandlery_wire::EntryName;
use chandlery_wire::api::{WriteEntry, Written};

use super::attributes::{Attributes, granted};
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::input::{self, From};
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  openssl rand -hex 32 | chandlery set SESSION_KEY --trim
  chandlery set tls.key @server.key --file --mode 0440 --for proxy
  chandlery set DB_HOST --plain db.eu-west-1.internal --region eu-west-1
  chandlery set DB_PASSWORD --from file:/etc/chandlery/values/app.env#DB_PASSWORD
  printf 'mysql://root:${MYSQL_PASSWORD}@${DB_HOST}/app' | chandlery set DATABASE_URL --template")]
pub(crate) struct Args {
    /// The entry's name.
    name: EntryName,
    /// `-` for stdin, `@path` for a file; with --plain also the value itself. Without it: stdin if it is piped, else a prompt.
    #[arg(value_name = "VALUE", num_args = 0..)]
    value: Vec<String>,
    /// Resolve `${NAME}` and `${stack/environment/NAME}` in the value; `$${` is a literal `${`.
    #[arg(long)]
    template: bool,
    /// Keep the value outside, and read it from there whenever it is needed: aws:REGION:SECRET#KEY, file:/PATH#KEY or
    /// exec:NAME:ARGUMENT#KEY.
    /// Without #KEY, all of it.
    #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["value", "template", "trim"])]
    from: Option<String>,
    /// With --from: do not look first whether it can be read.
    #[arg(long, requires = "from")]
    no_check: bool,
    /// Take one newline off the end of the value.
    #[arg(long)]
    trim: bool,
    /// Write only if the entry is at this version in this layer; 0: only if it is not there.
    #[arg(long, value_name = "N")]
    expect_version: Option<u64>,
    #[command(flatten)]
    attributes: Attributes,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if args.value.len() > 1 {
        let hint = "one value, in quotes if it has spaces; a secret comes by a pipe, a file (@path) or the prompt";
        return Err(Failure::usage("there is more than one value", hint));
    }
    let from = match &args.from {
        // No secret: it says where one is.
        Some(reference) => From::Argument(reference.clone()),
        None => From::argument(args.value.first().map(String::as_str), args.attributes.plain)?,
    };
    let deliver = args.attributes.delivery(&args.name);
    let deliver = deliver.map_err(|why| Failure::usage(why, "--file-variable alone takes NAME_FILE"))?;
    let path = Path::new(&["entries", context.stack()?.as_str(), context.environment()?.as_str(), args.name.as_str()]);
    let client = context.client()?;
    let value = input::value(&from, &format!("Value of {}", args.name))?;
    let (trimmed, had_newline) = value.trimmed();
    // A file of several lines ends with one as it should.
    if had_newline && !args.trim && !trimmed.expose_secret().contains(&b'\n') {
        output::note("note: the value is kept byte for byte, including a newline at its end; --trim takes it off");
    }
    let value = if args.trim { trimmed } else { value };
    input::check_size(&value, args.name.as_str())?;
    let write = WriteEntry {
        value,
        template: args.template,
        reference: args.from.is_some(),
        unchecked: args.no_check,
        secret: args.attributes.secret(),
        deliver,
        grant: args.attributes.grant.clone(),
        expect_version: args.expect_version,
    };
    let written: Written = client.put(&path.query("region", context.region()), &write)?;
    if args.from.is_some() && args.no_check {
        output::note("note: nobody has looked whether it can be read; `chandlery explain` does");
    }
    args.format.print(&written, |written| sentence(written, context))
}

fn sentence(written: &Written, context: &Context) -> String {
    let place = context.layer_in_words();
    let each = written.entries.iter().map(|entry| {
        let (name, grant, version) = (&entry.name, granted(&entry.grant), entry.version);
        match entry.changed {
            true => format!("set {name} {place}, {grant}: version {version}\n"),
            false => format!("{name} is so already {place}, {grant}: version {version}\n"),
        }
    });
    each.collect()
}
