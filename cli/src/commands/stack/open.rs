//! `chandlery stack open`, `close` and `openings`: containers that need no token.

use std::collections::BTreeMap;

use chandlery_wire::api::{Open, OpeningInfo, OpeningList};
use chandlery_wire::{ProjectName, ServiceName};

use crate::client::Path;
use crate::commands::written::minute;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The containers of the project read their own bundles over the unix socket of a server on their host, without a token. The
server needs docker_socket in its configuration for it; docs/OPERATIONS.md says what that means.
Example:
  chandlery stack open -s simpleapp -e production --image app=sha256:…   # docker image inspect -f '{{.Id}}' IMAGE")]
pub(crate) struct OpenArgs {
    /// What compose calls the project, or Swarm the stack, where it is not the name of the stack here.
    #[arg(long, value_name = "NAME")]
    project: Option<ProjectName>,
    /// The image, by its id, that a service's containers must be of. Again for more; without it, any.
    #[arg(long = "image", value_name = "SERVICE=sha256:…", value_parser = image)]
    images: Vec<(ServiceName, String)>,
    /// What `docker exec` starts in a container gets the bundle, too.
    #[arg(long)]
    allow_exec: bool,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CloseArgs {
    /// The project, where it is not the name of the stack.
    #[arg(long, value_name = "NAME")]
    project: Option<ProjectName>,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OpeningsArgs {
    #[command(flatten)]
    format: FormatArg,
}

pub(crate) fn open(args: &OpenArgs, context: &Context) -> Result<(), Failure> {
    let mut wish = Open { images: BTreeMap::new(), allow_exec: args.allow_exec };
    for (service, id) in &args.images {
        wish.images.entry(service.clone()).or_default().push(id.clone());
    }
    let path = path(args.project.as_ref(), context)?;
    let opening: OpeningInfo = context.client()?.put(&path, &wish)?;
    args.format.print(&OpeningList { openings: vec![opening], host: None }, table)
}

pub(crate) fn close(args: &CloseArgs, context: &Context) -> Result<(), Failure> {
    let path = path(args.project.as_ref(), context)?;
    let closed: OpeningInfo = context.client()?.delete(&path)?;
    let OpeningInfo { stack, environment, project, .. } = &closed;
    output::note(&format!("{stack}/{environment} is no longer open for containers of {project}"));
    args.format.print(&closed, |_| String::new())
}

pub(crate) fn openings(args: &OpeningsArgs, context: &Context) -> Result<(), Failure> {
    let list: OpeningList = context.client()?.get(&Path::new(&["openings"]))?;
    args.format.print(&list, table)
}

fn path(project: Option<&ProjectName>, context: &Context) -> Result<Path, Failure> {
    let (stack, environment) = (context.stack()?.as_str(), context.environment()?.as_str());
    let project = project.map_or(stack, AsRef::as_ref);
    Ok(Path::new(&["openings", stack, environment, project]))
}

fn image(text: &str) -> Result<(ServiceName, String), String> {
    let (service, id) = text.split_once('=').ok_or("write the service and its image's id, as in app=sha256:…")?;
    let service = ServiceName::parse(service).map_err(|error| error.to_string())?;
    Ok((service, id.to_owned()))
}

fn table(list: &OpeningList) -> String {
    let mut table = Table::new(&["STACK", "ENVIRONMENT", "PROJECT", "IMAGES", "EXEC", "SINCE", "BY"]);
    for opening in &list.openings {
        let pinned = opening.images.iter().flat_map(|(service, ids)| {
            // An id's first digits are enough to tell it by, as docker itself shows them.
            ids.iter().map(move |id| format!("{service}={}", id.chars().take("sha256:".len() + 12).collect::<String>()))
        });
        let pinned: Vec<String> = pinned.collect();
        table.row(vec![
            opening.stack.to_string(),
            opening.environment.to_string(),
            opening.project.to_string(),
            if pinned.is_empty() { "any".to_owned() } else { pinned.join(" ") },
            if opening.allow_exec { "yes" } else { "no" }.to_owned(),
            minute(&opening.since),
            opening.author.clone(),
        ]);
    }
    table.for_stdout()
}
