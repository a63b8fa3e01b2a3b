//! `chandlery stacks`, `chandlery region`, `chandlery service`

use chandlery_wire::api::{DeclareEnvironment, DeclareStack, Stack, StackList};
use chandlery_wire::{RegionName, ServiceName};
use clap::Subcommand;
use serde::Serialize;

use super::plan::Consent;
use crate::client::Path;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::Table;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
pub(crate) struct StacksArgs {
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RegionArgs {
    #[command(subcommand)]
    action: RegionAction,
}

#[derive(Debug, Subcommand)]
enum RegionAction {
    /// The declared regions of the environment.
    List(StacksArgs),
    /// Declare regions.
    Add {
        #[arg(required = true)]
        names: Vec<RegionName>,
        /// Copy what is set for this region: all that differs there from the base. The plan is shown first.
        #[arg(long, value_name = "REGION")]
        like: Option<RegionName>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Take a region back, if nothing is set in its overlay and what was deleted there is destroyed.
    Rm {
        name: RegionName,
        #[command(flatten)]
        format: FormatArg,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    action: ServiceAction,
}

#[derive(Debug, Subcommand)]
enum ServiceAction {
    /// The declared services of the stack.
    List(StacksArgs),
    /// Declare services.
    Add {
        #[arg(required = true)]
        names: Vec<ServiceName>,
        #[command(flatten)]
        format: FormatArg,
    },
}

pub(crate) fn stacks(args: &StacksArgs, context: &Context) -> Result<(), Failure> {
    let list: StackList = context.client()?.get(&Path::new(&["stacks"]))?;
    args.format.print(&list, |list| {
        let mut table = Table::new(&["STACK", "ENVIRONMENT", "REGIONS", "SERVICES"]);
        for stack in &list.stacks {
            let services = joined(&stack.services);
            for environment in &stack.environments {
                let regions = joined(&environment.regions);
                table.row(vec![stack.name.to_string(), environment.name.to_string(), regions, services.clone()]);
            }
            if stack.environments.is_empty() {
                table.row(vec![stack.name.to_string(), "-".to_owned(), "-".to_owned(), services]);
            }
        }
        table.for_stdout()
    })
}

/// The answer of every `region` verb: what is declared now.
#[derive(Serialize)]
struct Regions {
    regions: Vec<RegionName>,
}

/// The answer of `service list` and `service add`.
#[derive(Serialize)]
struct Services {
    services: Vec<ServiceName>,
}

pub(crate) fn region(args: &RegionArgs, context: &Context) -> Result<(), Failure> {
    let (stack, environment) = (context.stack()?, context.environment()?);
    let place = ["stacks", stack.as_str(), "environments", environment.as_str()];
    let format = match &args.action {
        RegionAction::List(args) => args.format,
        RegionAction::Add { names, like: Some(model), consent } => {
            return super::copy::like(names, model, consent, context);
        }
        RegionAction::Add { names, like: None, consent } => {
            let declare = DeclareEnvironment { regions: names.clone() };
            let _: serde_json::Value = context.client()?.put(&Path::new(&place), &declare)?;
            consent.format
        }
        RegionAction::Rm { name, format } => {
            let path = Path::new(&[&place[..], &["regions", name.as_str()]].concat());
            context.client()?.delete_only(&path)?;
            output::note(&format!("{name} is no longer a region of {stack}/{environment}"));
            *format
        }
    };
    let declared = declared(context)?;
    let found = declared.environments.into_iter().find(|known| known.name == *environment).ok_or_else(|| {
        let hint = format!("declare it with `chandlery init --environment {environment}`");
        Failure::new(Exit::NotFound, format!("the stack {stack} has no environment {environment}"), hint)
    })?;
    format.print(&Regions { regions: found.regions }, |found| lines(&found.regions))
}

pub(crate) fn service(args: &ServiceArgs, context: &Context) -> Result<(), Failure> {
    let format = match &args.action {
        ServiceAction::List(args) => args.format,
        ServiceAction::Add { names, format } => {
            let declare = DeclareStack { services: names.clone() };
            let _: serde_json::Value =
                context.client()?.put(&Path::new(&["stacks", context.stack()?.as_str()]), &declare)?;
            *format
        }
    };
    let services = declared(context)?.services;
    format.print(&Services { services }, |found| lines(&found.services))
}

pub(crate) fn declared(context: &Context) -> Result<Stack, Failure> {
    context.client()?.get(&Path::new(&["stacks", context.stack()?.as_str()]))
}

fn lines<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("{}\n", name.as_ref())).collect()
}

fn joined<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}
