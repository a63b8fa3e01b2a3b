//! `chandlery aws push`

use std::io::{self, BufRead, IsTerminal, Write};

use chandlery_wire::RegionName;
use chandlery_wire::api::{AwsAction, AwsErrand, AwsPush, AwsPushed, AwsWrite};

use super::errand;
use crate::client::{Client, Path};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::Table;
use crate::output::{self, Format, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server writes to AWS, with its own credentials, and only where its configuration allows it (docs/AWS.md). Each region's
values go to a secret as one JSON object, or with --each to a secret an entry. What AWS has and the store does not is named,
and stays unless --prune says otherwise. If some of it fails, the rest is written; the same command again goes on.

What all services get is pushed; with --service, what that one gets.

Examples:
  chandlery aws push --environment production --secret-id 'chuspace-app/prod-env/{region}' --dry-run
  chandlery aws push --secret-id 'app/{region}/{name}' --each --region eu-west-1 --yes
  chandlery aws push --secret-id app/production --aws-region eu-west-1 --replicate us-east-1,ap-south-1")]
pub(crate) struct Args {
    /// The secret's name; {region} stands for the region, and with --each, {name} for the entry's name.
    #[arg(long, value_name = "PATTERN")]
    secret_id: String,
    /// Only these regions; `all` is what it is otherwise.
    #[arg(id = "region", long = "region", short = 'r', value_name = "REGION,…|all", value_delimiter = ',')]
    regions: Vec<String>,
    /// The region of AWS to write to. Otherwise the region itself where it is called like one of AWS's, or the server's own.
    #[arg(long, value_name = "AWS-REGION")]
    aws_region: Option<String>,
    /// A secret for each entry, in place of one JSON object.
    #[arg(long)]
    each: bool,
    /// Have AWS keep replicas in these regions of its own.
    #[arg(long, value_name = "AWS-REGION,…", value_delimiter = ',')]
    replicate: Vec<String>,
    /// Take away what AWS has in these secrets and the store does not; whole secrets can be restored for thirty days.
    #[arg(long)]
    prune: bool,
    /// The KMS key of new secrets: id, ARN or alias. The account's own otherwise.
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    /// Do it without being asked.
    #[arg(long, short)]
    yes: bool,
    /// Show the plan, and write nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let (stack, environment) = (context.stack()?, context.environment()?);
    let client = context.client()?;
    let begin = Path::new(&["aws", "pushes", stack.as_str(), environment.as_str()]);
    let begun: AwsErrand = client.post(&begin, &ask(args, context)?)?;
    let id = begun.id.clone();
    let own = Path::new(&["aws", "pushes", stack.as_str(), environment.as_str(), id.as_str()]);
    let secrets = Path::new(&["aws", "pushes", stack.as_str(), environment.as_str(), id.as_str(), "secrets"]);
    errand::finish(&client, &own, begun)?;
    let plan: AwsPushed = client.get(&secrets)?;
    let count = plan.secrets.iter().filter(|one| is_work(one)).count();
    if args.dry_run || count == 0 {
        args.format.print(&plan, table)?;
        output::note(&match count {
            0 => "nothing is to be written: AWS has it all".to_owned(),
            _ => format!("would write {}; nothing was written", counted(count)),
        });
        return Ok(());
    }
    if !args.yes {
        output::note(table(&plan).trim_end());
        if !confirmed(count)? {
            output::note("nothing was written");
            return Ok(());
        }
    }
    let written = carry_out(&client, &own, &secrets)?;
    match (args.format.format, args.yes) {
        (Format::Json, _) => output::json(&written)?,
        (Format::Table, true) => output::text(&table(&written))?,
        (Format::Table, false) => {}
    }
    outcome(&written)
}

fn ask(args: &Args, context: &Context) -> Result<AwsPush, Failure> {
    let wrong = |error: chandlery_wire::NameError| {
        Failure::usage(format!("--region: {error}"), "name regions of the environment, or all")
    };
    let named = args.regions.iter().filter(|region| *region != "all");
    let regions =
        named.map(|region| RegionName::parse(region.clone()).map_err(wrong)).collect::<Result<Vec<_>, _>>()?;
    Ok(AwsPush {
        secret: args.secret_id.clone(),
        regions: if args.regions.iter().any(|region| region == "all") { Vec::new() } else { regions },
        service: context.service().cloned(),
        aws_region: args.aws_region.clone(),
        each: args.each,
        replicate: args.replicate.clone(),
        prune: args.prune,
        kms_key: args.kms_key.clone(),
    })
}

fn carry_out(client: &Client, own: &Path, secrets: &Path) -> Result<AwsPushed, Failure> {
    let begun: AwsErrand = client.post(own, &serde_json::json!({}))?;
    errand::finish(client, own, begun)?;
    client.get(secrets)
}

fn confirmed(count: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let hint = "look at the plan, then say --yes; --dry-run shows it and is no error";
        return Err(Failure::usage("nobody can be asked whether to do this, and nothing was written", hint));
    }
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "Write {} to AWS? [y/N] ", counted(count)).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format!("the terminal cannot be asked: {error}"), "say --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What was written and what was not; a failure where anything was not.
fn outcome(written: &AwsPushed) -> Result<(), Failure> {
    let done = written.secrets.iter().filter(|one| one.done).count();
    let fault = |one: &AwsWrite| Some(format!("{} in {}: {}", one.secret, one.aws_region, one.failed.as_ref()?));
    let faults: Vec<String> = written.secrets.iter().filter_map(fault).collect();
    if faults.is_empty() {
        output::note(&format!("wrote {} to AWS", counted(done)));
        return Ok(());
    }
    let what = format!("{} written, {} not", counted(done), faults.len());
    let hint = "correct what is named and push again: what was written is not written again";
    Err(Failure::new(Exit::Failed, what, hint).with_faults(faults))
}

fn counted(count: usize) -> String {
    format!("{count} secret{}", if count == 1 { "" } else { "s" })
}

fn is_work(write: &AwsWrite) -> bool {
    match write.action {
        AwsAction::Create | AwsAction::Update | AwsAction::Delete => true,
        AwsAction::Unchanged => !write.replicas.is_empty(),
        AwsAction::Foreign => false,
    }
}

fn table(pushed: &AwsPushed) -> String {
    let mut table = Table::new(&["SECRET", "AWS REGION", "ACTION", "ADDED", "CHANGED", "ONLY AT AWS", "REPLICAS"]);
    for one in &pushed.secrets {
        let action = match (one.action, one.done) {
            (AwsAction::Create, false) => "create",
            (AwsAction::Create, true) => "created",
            (AwsAction::Update, false) => "update",
            (AwsAction::Update, true) => "updated",
            (AwsAction::Delete, false) => "delete",
            (AwsAction::Delete, true) => "deleted",
            (AwsAction::Unchanged, _) => "unchanged",
            (AwsAction::Foreign, _) => "only at AWS",
        };
        let action = if one.failed.is_some() { format!("{action}: failed") } else { action.to_owned() };
        table.row(vec![
            one.secret.clone(),
            one.aws_region.clone(),
            action,
            one.added.join(","),
            one.changed.join(","),
            one.foreign.join(","),
            one.replicas.join(","),
        ]);
    }
    let mut text = table.for_stderr_or_stdout();
    pushed.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    for one in pushed.secrets.iter().filter(|one| !one.pruned.is_empty() && one.failed.is_none()) {
        text.push_str(&format!("note: {}\n", pruning(one)));
    }
    if pushed.secrets.iter().any(|one| !one.foreign.is_empty() && one.pruned.is_empty()) {
        text.push_str("note: what only AWS has stays there; --prune takes it away\n");
    }
    text
}

/// What --prune takes away, by name: a whole secret, or keys of one.
fn pruning(one: &AwsWrite) -> String {
    let AwsWrite { secret, aws_region, pruned, .. } = one;
    let takes = if one.done { "took" } else { "takes" };
    match one.action {
        AwsAction::Delete => {
            format!("--prune {takes} away {secret} in {aws_region}; AWS can restore it for thirty days")
        }
        _ => format!("--prune {takes} away {} from {secret} in {aws_region}", pruned.join(", ")),
    }
}
