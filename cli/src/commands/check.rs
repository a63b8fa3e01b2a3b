//! `chandlery check`: is everything there that is declared?

mod junit;

use chandlery_wire::RegionName;
use chandlery_wire::api::{Check, Checked, Declaration, Finding, FindingKind};
use clap::ValueEnum;
use serde::Serialize;

use crate::client::Path;
use crate::context::Context;
use crate::context::project::{CheckRules, Keys, Rule, Severity};
use crate::failure::Failure;
use crate::output;
use crate::output::table::Table;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// For people.
    Table,
    /// For programs: the types of the HTTP API, and what is an error.
    Json,
    /// For pipelines.
    Junit,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is declared stands in chandlery.toml. Each item may be left out:

  [check]
  undeclared = \"warning\"                  # or error, ignore
  unread_days = 90                        # tell of entries that no service has got for so long

  [services.app.keys]
  DATABASE_URL = { pattern = \"^postgres://\" }
  SENTRY_DSN = { required = false, secret = true }
  VAT_ID = { regions = [\"eu-west-1\"], empty = true }

  [keys]                                  # whichever service gets it
  TZ = { secret = false }

Values are compared in the server, and none is printed.
Exit codes: 0 all is well, 1 something is wrong, 2 it could not be checked.")]
pub(crate) struct Args {
    /// Tell of entries that no service has got for so many days.
    #[arg(long, value_name = "DAYS")]
    unread: Option<u32>,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Kind,
}

/// A finding, and how bad it is.
#[derive(Debug, Serialize)]
struct Judged<'a> {
    severity: Severity,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// The answer, judged.
#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    revision: u64,
    regions: &'a [RegionName],
    checked: u64,
    findings: Vec<Judged<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads_known_since: Option<&'a str>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    check(args, context).map_err(Failure::like_diff)
}

fn check(args: &Args, context: &Context) -> Result<(), Failure> {
    let keys = context.project.as_ref().map(|project| &project.keys);
    let declarations = keys.map(declarations).unwrap_or_default();
    if declarations.is_empty() {
        let hint = "declare what is needed in chandlery.toml: [keys] and [services.NAME.keys]; `chandlery check --help` has an example";
        return Err(Failure::usage("nothing is declared that could be checked", hint));
    }
    let rules = keys.and_then(|keys| keys.check.clone()).unwrap_or_default();
    let regions = context.region().cloned().into_iter().collect();
    let unread_days = args.unread.or(rules.unread_days);
    let path = Path::new(&["checks", context.stack()?.as_str(), context.environment()?.as_str()]);
    let place = format!("{}/{}", context.stack()?, context.environment()?);
    let check = Check { declarations, regions, unread_days };
    let checked: Checked = context.client()?.post(&path, &check)?;
    let report = judge(&checked, &rules, args.strict);
    match args.format {
        Kind::Json => output::json(&report)?,
        Kind::Junit => output::text(&junit::write(&report, &check.declarations, &place))?,
        Kind::Table => output::text(&table(&report))?,
    }
    if let Some(since) = report.reads_known_since {
        output::note(&format!("note: the audit log begins at {since}: too late to say what was not read"));
    }
    let errors = report.findings.iter().filter(|one| one.severity == Severity::Error).count();
    let warnings = report.findings.len() - errors;
    let count = checked.regions.len().max(1);
    output::note(&format!(
        "{place}: {} checked in {count} regions: {errors} errors, {warnings} warnings",
        checked.checked
    ));
    if report.ok { Ok(()) } else { Err(Failure::answered_no()) }
}

fn declarations(keys: &Keys) -> Vec<Declaration> {
    let of_stack = keys.keys.iter().map(|(name, rule)| (name, None, rule));
    let of_services = keys
        .services
        .iter()
        .flat_map(|(service, rules)| rules.keys.iter().map(move |(name, rule)| (name, Some(service), rule)));
    let declaration =
        |(name, service, rule): (&chandlery_wire::EntryName, Option<&chandlery_wire::ServiceName>, &Rule)| {
            let Rule { required, empty, secret, pattern, regions } = rule.clone();
            Declaration { name: name.clone(), service: service.cloned(), required, empty, secret, pattern, regions }
        };
    of_stack.chain(of_services).map(declaration).collect()
}

fn judge<'a>(checked: &'a Checked, rules: &CheckRules, strict: bool) -> Report<'a> {
    let severity = |finding: &Finding| {
        let severity = match finding.kind {
            FindingKind::Undeclared => rules.undeclared.unwrap_or(Severity::Warning),
            FindingKind::Unread => rules.unread.unwrap_or(Severity::Warning),
            _ => Severity::Error,
        };
        if strict && severity == Severity::Warning { Severity::Error } else { severity }
    };
    let judged = checked.findings.iter().map(|finding| Judged { severity: severity(finding), finding });
    let mut findings: Vec<Judged<'_>> = judged.filter(|judged| judged.severity != Severity::Ignore).collect();
    findings.sort_by_key(|judged| std::cmp::Reverse(judged.severity));
    let ok = findings.iter().all(|judged| judged.severity != Severity::Error);
    let Checked { revision, regions, checked, reads_known_since, .. } = checked;
    Report {
        ok,
        revision: *revision,
        regions,
        checked: *checked,
        findings,
        reads_known_since: reads_known_since.as_deref(),
    }
}

fn table(report: &Report<'_>) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["", "NAME", "SERVICE", "REGION", "WHAT"]);
    for Judged { severity, finding } in &report.findings {
        let Finding { name, service, region, detail, .. } = finding;
        let or_all = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            if *severity == Severity::Error { "error" } else { "warning" }.to_owned(),
            name.to_string(),
            or_all(service.as_ref().map(ToString::to_string)),
            or_all(region.as_ref().map(ToString::to_string)),
            detail.clone(),
        ]);
    }
    table.for_stdout()
}
