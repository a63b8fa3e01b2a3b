//! `chandlery init`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use chandlery_wire::api::{DeclareEnvironment, DeclareStack};
use chandlery_wire::{EnvironmentName, RegionName, ServiceName, StackName};

use crate::client::Path;
use crate::context::project::{self, Keys};
use crate::context::{Context, Source};
use crate::failure::Failure;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stack's name; by default that of this folder.
    name: Option<StackName>,
    /// Its regions; none for an environment that runs in one place.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    regions: Vec<RegionName>,
    /// Its services.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    services: Vec<ServiceName>,
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let stack = stack(args, context)?;
    let environment = match &context.environment {
        Some(item) => item.value.clone(),
        None => EnvironmentName::parse("production").map_err(|error| Failure::failed(error.to_string(), ""))?,
    };
    let client = context.client()?;
    let services = DeclareStack { services: args.services.clone() };
    let _: serde_json::Value = client.put(&Path::new(&["stacks", stack.as_str()]), &services)?;
    let regions = DeclareEnvironment { regions: args.regions.clone() };
    let place = Path::new(&["stacks", stack.as_str(), "environments", environment.as_str()]);
    let _: serde_json::Value = client.put(&place, &regions)?;
    let declared: chandlery_wire::api::Stack = client.get(&Path::new(&["stacks", stack.as_str()]))?;
    args.format.print(&declared, |declared| {
        let mut text = format!("stack {stack}: services {}\n", list(&declared.services));
        for environment in &declared.environments {
            text.push_str(&format!("environment {}: regions {}\n", environment.name, list(&environment.regions)));
        }
        text
    })?;
    write_project(context, &stack, &environment)
}

fn stack(args: &Args, context: &Context) -> Result<StackName, Failure> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    if let Some(item) = &context.stack {
        return Ok(item.value.clone());
    }
    let folder = context.surroundings.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    StackName::parse(folder).map_err(|error| {
        let what = format!("this folder's name is not a stack's: {error}");
        Failure::usage(what, "name the stack: `chandlery init simpleapp`")
    })
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

/// What was said for this server only now is written down; what is found by itself later is not.
fn write_project(context: &Context, stack: &StackName, environment: &EnvironmentName) -> Result<(), Failure> {
    let connection = context.connection()?;
    let said = |source: &Source| matches!(source, Source::Flag(_) | Source::Variable(_) | Source::Project(_));
    let mut keys =
        Keys { stack: Some(stack.to_string()), environment: Some(environment.to_string()), ..Keys::default() };
    if said(&connection.address.source) {
        keys.addr = Some(connection.address.value.to_string());
        if let (crate::client::tls::Trust::Pinned(pin), Some(source)) = (&connection.trust, &connection.trust_source)
            && said(source)
        {
            keys.fingerprint = Some(pin.to_string());
        }
    }
    let path = context.surroundings.folder.join(project::NAME);
    let wanted = toml::to_string(&keys).map_err(|_| Failure::failed("chandlery.toml cannot be written", ""))?;
    let text = format!("# Which stack this folder is. `chandlery doctor` says what comes from where.\n{wanted}");
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
    {
        Ok(()) => output::note(&format!("wrote {}", path.display())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => report_kept(&path, &keys),
        Err(error) => {
            let what = format!("{} cannot be written: {error}", path.display());
            return Err(Failure::failed(what, "the server knows the stack now; write the file, or use flags"));
        }
    }
    Ok(())
}

fn report_kept(path: &std::path::Path, wanted: &Keys) {
    let found: Option<Keys> = std::fs::read_to_string(path).ok().and_then(|text| toml::from_str(&text).ok());
    let same =
        found.as_ref().is_some_and(|found| found.stack == wanted.stack && found.environment == wanted.environment);
    if same {
        return output::note(&format!("{} says so already; it is kept as it is", path.display()));
    }
    let found = found.unwrap_or_default();
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".to_owned());
    output::note(&format!(
        "note: {} is there already, and says something else: stack {}, environment {}. It is kept; here it was stack {}, \
         environment {}. Edit it, or delete it and run init again.",
        path.display(),
        or_none(&found.stack),
        or_none(&found.environment),
        or_none(&wanted.stack),
        or_none(&wanted.environment),
    ));
}
