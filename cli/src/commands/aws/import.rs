//! `chandlery aws import`

use std::collections::BTreeMap;

use chandlery_wire::api::{AwsEntry, AwsErrand, AwsForm, AwsImport, AwsImported, AwsResult, Changed, Factored, Terms};
use chandlery_wire::{EntryName, Grant, RegionName};
use clap::ValueEnum;

use super::errand;
use crate::client::Path;
use crate::commands::factor;
use crate::commands::plan::{self, Consent, Planned};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;

/// What a secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// An object of names and values.
    Json,
    /// Lines NAME=value.
    Dotenv,
    /// One value.
    Plain,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server reads AWS, with its own credentials, and only what its configuration allows (docs/AWS.md). The plan is shown first;
it is carried out as a whole or not at all. A secret that holds a JSON object or lines NAME=value becomes a variable for each;
one that is a single value needs --name; a binary one becomes a file. All of it is secret but what --plain names, and what the
store has as plain already.

Examples:
  chandlery aws import --secret-id chuspace-app/prod-env/eu-west-1 --region eu-west-1 --dry-run
  chandlery aws import --pattern 'chuspace-app/prod-env/{region}' --declare
  chandlery aws import --pattern 'app/production/{name}' --aws-region eu-west-1
  chandlery aws import --secret-id stripe/key --name STRIPE_KEY --for app --yes")]
pub(crate) struct Args {
    /// Secrets by name or ARN.
    #[arg(long, value_name = "ID,…", value_delimiter = ',', required_unless_present = "pattern")]
    secret_id: Vec<String>,
    /// Several secrets by name: {region} stands for a region of the environment, {name} for an entry's name.
    #[arg(long, value_name = "PATTERN", conflicts_with = "secret_id")]
    pattern: Option<String>,
    /// What {region} stands for. Otherwise every region that AWS has a secret for.
    #[arg(long, value_name = "REGION,…", value_delimiter = ',')]
    regions: Vec<RegionName>,
    /// The region of AWS to read from. Otherwise that of the ARN, the region itself where it is called like one of AWS's, or
    /// the server's own.
    #[arg(long, value_name = "AWS-REGION")]
    aws_region: Option<String>,
    /// Another version than the current one, by its label: AWSPREVIOUS.
    #[arg(long, value_name = "LABEL", visible_alias = "version-stage")]
    stage: Option<String>,
    /// What the secrets hold. Otherwise each is looked at.
    #[arg(long = "as", value_enum, value_name = "FORM")]
    form: Option<As>,
    /// The entry's name, for a secret that is one value.
    #[arg(long, value_name = "NAME")]
    name: Option<EntryName>,
    /// Give a key another name.
    #[arg(long, value_name = "KEY=NAME", value_parser = rename)]
    rename: Vec<(String, EntryName)>,
    /// Leave these keys out.
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    skip: Vec<String>,
    /// These are secrets, also where the store has them as plain.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    secret: Vec<EntryName>,
    /// These are no secrets: their values are shown in plans and lists.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    plain: Vec<EntryName>,
    /// Everything is a secret that --plain does not name, also what the store has as plain.
    #[arg(long)]
    all_secret: bool,
    /// Which services get them; as it is already, and all for a new one, where nothing is said.
    #[arg(long = "for", value_name = "SERVICES")]
    grant: Option<Grant>,
    /// Declare the regions that AWS has a secret for and the environment does not have.
    #[arg(long)]
    declare: bool,
    /// Take AWS's values where the store has others.
    #[arg(long)]
    overwrite: bool,
    /// Have the regions get exactly what AWS says: take AWS's values, and take away variables that AWS does not have.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    consent: Consent,
}

fn rename(text: &str) -> Result<(String, EntryName), String> {
    let (key, name) = text.rsplit_once('=').ok_or("write KEY=NAME, as in db-password=DB_PASSWORD")?;
    Ok((key.to_owned(), EntryName::parse(name).map_err(|error| error.to_string())?))
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let (stack, environment) = (context.stack()?, context.environment()?);
    let client = context.client()?;
    let begin = Path::new(&["aws", "imports", stack.as_str(), environment.as_str()]);
    let begun: AwsErrand = client.post(&begin, &ask(args, context))?;
    let own = Path::new(&["aws", "imports", stack.as_str(), environment.as_str(), begun.id.as_str()]);
    errand::finish(&client, &own, begun)?;
    let carried = args.consent.carry_out(context, |terms: Terms| client.post(&own, &terms), show);
    // What was read is not kept longer than it is needed. Once it is imported, the server has forgotten it already.
    drop(client.delete_only(&own));
    carried
}

fn ask(args: &Args, context: &Context) -> AwsImport {
    let by_region = args.pattern.as_deref().is_some_and(|pattern| pattern.contains("{region}"));
    AwsImport {
        secrets: args.pattern.iter().chain(&args.secret_id).cloned().collect(),
        // The project may be for one region; a pattern that is for several says more.
        region: context.region().filter(|_| !by_region || context.region_is_said()).cloned(),
        regions: args.regions.clone(),
        aws_region: args.aws_region.clone(),
        stage: args.stage.clone(),
        form: args.form.map(|form| match form {
            As::Json => AwsForm::Json,
            As::Dotenv => AwsForm::Dotenv,
            As::Plain => AwsForm::Plain,
        }),
        name: args.name.clone(),
        rename: args.rename.iter().cloned().collect::<BTreeMap<_, _>>(),
        skip: args.skip.clone(),
        secret: args.secret.clone(),
        plain: args.plain.clone(),
        all_secret: args.all_secret,
        grant: args.grant.clone(),
        declare: args.declare,
        overwrite: args.overwrite,
        exact: args.exact,
    }
}

impl Planned for AwsImported {
    fn changed(&self) -> &Changed {
        &self.changed
    }

    /// The entries of one layer are all in the table that is shown before.
    fn text(&self) -> String {
        match self.factored {
            Some(_) => plan::text(&self.changed),
            None => plan::text(&Changed { entries: Vec::new(), ..self.changed.clone() }),
        }
    }
}

/// What was read, and what becomes of each entry; no values.
fn show(imported: &AwsImported) -> String {
    let mut text = String::new();
    let mut secrets = Table::new(&["SECRET", "AWS REGION", "FORM", "VALUES", "FOR"]);
    for one in &imported.secrets {
        let region = one.region.as_ref().map_or_else(|| "base".to_owned(), ToString::to_string);
        secrets.row(vec![
            one.secret.clone(),
            one.aws_region.clone(),
            one.form.clone(),
            one.entries.to_string(),
            region,
        ]);
    }
    // Hundreds of secrets with a value each are in the table of entries.
    if imported.secrets.len() != imported.entries.len() || imported.entries.len() == 1 {
        text.push_str(&secrets.for_stderr_or_stdout());
        text.push('\n');
    }
    let mut entries = Table::new(&["NAME", "KIND", "SECRET", "FROM", "RESULT"]);
    for AwsEntry { name, kind, secret, why, from, result } in &imported.entries {
        let secret = if *secret { format!("secret: {why}") } else { format!("plain: {why}") };
        entries.row(vec![name.to_string(), kind.clone(), secret, from.clone(), word(*result).to_owned()]);
    }
    text.push_str(&entries.for_stderr_or_stdout());
    if let Some(factored) = &imported.factored {
        let chandlery_wire::api::AwsFactored { values, base, overrides, removals, ties, kept } = factored.clone();
        let changed = imported.changed.clone();
        text.push('\n');
        text.push_str(&factor::summary(&Factored { values, base, overrides, removals, ties, kept, changed }));
    }
    text
}

fn word(result: AwsResult) -> &'static str {
    match result {
        AwsResult::New => "new",
        AwsResult::Unchanged => "unchanged",
        AwsResult::Overwritten => "overwrite",
        AwsResult::Kept => "differs, kept",
    }
}
