//! `chandlery stack check`

use std::fmt::Write as _;

use chandlery_wire::api::{Environment, Stack};
use chandlery_wire::{Bundle, EnvironmentName, RegionName, StackName};
use clap::ValueEnum;
use serde::Serialize;

use super::bundles::Bundles;
use super::door::{Door, Shut};
use super::files::{FileArgs, Profiles, project_name, stack};
use super::identity::Kind;
use crate::client::Path;
use crate::compose::{Lack, Project, Service, lacks};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::output::table::Table;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Services down, regions across.
    #[default]
    Table,
    Json,
    /// For CI systems: a suite for each region, a case for each service.
    Junit,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks for each service's bundle in each region, once, and ends with 1 where the files ask for what is not there. It prints no value.
Without --region, or with --region all, every declared region is checked.
Examples:
  chandlery stack check -f docker-compose.yml --environment production
  chandlery stack check --region sfo3 --format junit > check.xml")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    profiles: Profiles,
    /// Leave these services out.
    #[arg(long, value_name = "SERVICE,…", value_delimiter = ',')]
    except: Vec<String>,
    /// Variables that may be missing, though the files leave their values open.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    optional: Vec<String>,
    /// The project's name, or the stack's under Swarm.
    #[arg(long, short, value_name = "NAME", help_heading = "Compose files")]
    project_name: Option<String>,
    /// With `socket`: whether the environment is open to the project's containers, too.
    #[arg(long, value_enum, default_value_t)]
    identity: Kind,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    stack: StackName,
    environment: EnvironmentName,
    complete: bool,
    checks: Vec<Check>,
    /// Why containers without a token would be refused, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Shut>,
}

/// One service in one region.
#[derive(Debug, Serialize)]
struct Check {
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<RegionName>,
    lacks: Vec<Lack>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let loaded = args.files.load(context, true)?;
    loaded.project.notes.iter().for_each(|note| output::note(&format!("note: {note}")));
    loaded.check_names(&args.except)?;
    let stack = stack(context, &loaded.project)?;
    let environment = context.environment()?.clone();
    let client = context.client()?;
    let declared: Stack = client.get(&Path::new(&["stacks", stack.as_str()]))?;
    let bundles = Bundles { client: &client, stack: &stack, environment: &environment };
    let mut checks = Vec::new();
    let services = args.profiles.of(context, &loaded.project);
    for region in regions(context, &declared, &environment)? {
        for service in services.iter().filter(|service| !args.except.contains(&service.name)) {
            let (lacks, _) = of_service(&bundles, &loaded.project, service, region.as_ref(), &args.optional)?;
            checks.push(Check { service: service.name.clone(), region: region.clone(), lacks });
        }
    }
    let refused = match args.identity {
        Kind::Token => None,
        Kind::Socket => {
            let project = args.project_name.clone().unwrap_or_else(|| project_name(context, &loaded.project));
            let door = Door { client: &client, stack: &stack, environment: &environment, project: &project };
            let regions = &environment_of(&declared, &environment)?.regions;
            door.look()?.and_then(|open| open.and_then(|open| open.region(regions, context.region())).err())
        }
    };
    let complete = refused.is_none() && checks.iter().all(|check| check.lacks.is_empty());
    let report = Report { stack, environment, complete, checks, refused };
    match args.format {
        Format::Table => output::text(&report.table())?,
        Format::Json => output::json(&report)?,
        Format::Junit => output::text(&report.junit())?,
    }
    if complete { Ok(()) } else { Err(report.failure()) }
}

/// What one service lacks in one region; and its bundle, where there is one.
pub(super) fn of_service(
    bundles: &Bundles<'_>,
    project: &Project,
    service: &Service,
    region: Option<&RegionName>,
    optional: &[String],
) -> Result<(Vec<Lack>, Option<Bundle>), Failure> {
    match bundles.get(&service.name, region) {
        Ok(bundle) => Ok((lacks(project, service, &bundle, optional), Some(bundle))),
        Err(failure) => Ok((unanswered(failure)?, None)),
    }
}

/// A bundle that cannot be made, or that nobody declared, is what a check is there to find. Anything else ends it: without
/// an answer there is nothing to be said.
fn unanswered(failure: Failure) -> Result<Vec<Lack>, Failure> {
    match failure.exit {
        Exit::Invalid | Exit::NotFound if failure.faults.is_empty() => Ok(vec![Lack::new("(bundle)", failure.what)]),
        Exit::Invalid | Exit::NotFound => {
            let lack = |fault: &String| {
                let (name, detail) = fault.split_once(": ").unwrap_or(("(bundle)", fault));
                Lack::new(name, detail)
            };
            Ok(failure.faults.iter().map(lack).collect())
        }
        _ => Err(failure),
    }
}

/// The region that is said; else all that are declared; else the one place in which the environment runs.
fn regions(context: &Context, declared: &Stack, name: &EnvironmentName) -> Result<Vec<Option<RegionName>>, Failure> {
    let found = environment_of(declared, name)?;
    if let Some(region) = context.region() {
        return Ok(vec![Some(region.clone())]);
    }
    let all: Vec<_> = found.regions.iter().cloned().map(Some).collect();
    Ok(if all.is_empty() { vec![None] } else { all })
}

fn environment_of<'a>(declared: &'a Stack, name: &EnvironmentName) -> Result<&'a Environment, Failure> {
    declared.environments.iter().find(|environment| environment.name == *name).ok_or_else(|| {
        let hint = format!("declare it with `chandlery init --environment {name}`, or `chandlery stack import`");
        Failure::new(Exit::NotFound, format!("the stack {} has no environment {name}", declared.name), hint)
    })
}

impl Report {
    fn regions(&self) -> Vec<Option<&RegionName>> {
        let mut regions: Vec<_> = self.checks.iter().map(|check| check.region.as_ref()).collect();
        regions.dedup();
        regions
    }

    fn table(&self) -> String {
        let regions = self.regions();
        let titles: Vec<&str> = regions.iter().map(|region| region.map_or("BASE", RegionName::as_str)).collect();
        let mut table = Table::new(&[&["SERVICE"], titles.as_slice()].concat());
        let mut services: Vec<&str> = Vec::new();
        for check in &self.checks {
            if !services.contains(&check.service.as_str()) {
                services.push(&check.service);
            }
        }
        for service in services {
            let cell = |region: &Option<&RegionName>| {
                let found =
                    self.checks.iter().find(|check| check.service == service && check.region.as_ref() == *region);
                match found.map_or(0, |check| check.lacks.len()) {
                    0 => "ok".to_owned(),
                    count => format!("lacks {count}"),
                }
            };
            table.row([service.to_owned()].into_iter().chain(regions.iter().map(cell)).collect());
        }
        table.for_stdout()
    }

    fn failure(&self) -> Failure {
        let lines = self.checks.iter().flat_map(|check| {
            let place = check.region.as_ref().map_or_else(String::new, |region| format!(" in {region}"));
            check.lacks.iter().map(move |lack| format!("{}{place}: {}: {}", check.service, lack.name, lack.detail))
        });
        let lines: Vec<String> = lines.collect();
        match &self.refused {
            Some(shut) if lines.is_empty() => shut.clone().into(),
            shut => {
                let refused = shut.iter().map(|shut| format!("{}: {}", shut.what, shut.hint));
                let lines = lines.into_iter().chain(refused).collect();
                let hint = "set what is missing with `chandlery set NAME --for SERVICE [--region R]`, or import it with `chandlery stack import`; --optional names what may be missing";
                Failure::failed("the store does not give all that the files ask for", hint).with_faults(lines)
            }
        }
    }

    fn junit(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for region in self.regions() {
            let checks: Vec<&Check> = self.checks.iter().filter(|check| check.region.as_ref() == region).collect();
            let failures = checks.iter().filter(|check| !check.lacks.is_empty()).count();
            let place = region.map_or("base", RegionName::as_str);
            let name = format!("{}/{}/{place}", self.stack, self.environment);
            let _ = writeln!(
                text,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
                xml(&name),
                checks.len()
            );
            for check in checks {
                let _ = write!(text, "    <testcase classname=\"{}\" name=\"{}\"", xml(&name), xml(&check.service));
                if check.lacks.is_empty() {
                    text.push_str("/>\n");
                    continue;
                }
                let lines: Vec<String> =
                    check.lacks.iter().map(|lack| format!("{}: {}", lack.name, lack.detail)).collect();
                let message = format!("lacks {}", check.lacks.len());
                let _ = writeln!(
                    text,
                    ">\n      <failure message=\"{message}\">{}</failure>\n    </testcase>",
                    xml(&lines.join("\n"))
                );
            }
            text.push_str("  </testsuite>\n");
        }
        if let Some(Shut { what, hint }) = &self.refused {
            let name = xml(&format!("{}/{}/openings", self.stack, self.environment));
            let text = &mut text;
            let _ = writeln!(text, "  <testsuite name=\"{name}\" tests=\"1\" failures=\"1\">");
            let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"containers without a token\">");
            let _ = writeln!(text, "      <failure message=\"refused\">{}</failure>", xml(&format!("{what}\n{hint}")));
            text.push_str("    </testcase>\n  </testsuite>\n");
        }
        text.push_str("</testsuites>\n");
        text
    }
}

fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
