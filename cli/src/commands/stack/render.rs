//! `chandlery stack render`, and the rendering that `up` and `deploy` begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chandlery_wire::{EnvironmentName, RegionName, StackName};
use clap::ValueEnum;

use super::bundles::Bundles;
use super::callers::process;
use super::carry::carry;
use super::docker::Runner;
use super::door::reaches;
use super::files::{FileArgs, Loaded, Profiles, project_name, stack};
use super::identity::{IdentityArgs, Road, State};
use super::place::Region;
use crate::client::Client;
use crate::compose::overlay::{
    Common, PLACEHOLDER, Supply, Tool, WRAPPER, health_check, overlay, supplies_label, unseen_by_script,
};
use crate::compose::{Met, Service, emit, lacks};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// What `render`, `up`, `down` and `deploy` have in common.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StackArgs {
    #[command(flatten)]
    pub(super) files: FileArgs,
    #[command(flatten)]
    pub(super) profiles: Profiles,
    /// The project's name, or the stack's under Swarm.
    #[arg(long, short, value_name = "NAME", help_heading = "Compose files")]
    pub(super) project_name: Option<String>,
    /// Leave these services as they are.
    #[arg(long, value_name = "SERVICE,…", value_delimiter = ',')]
    pub(super) except: Vec<String>,
    /// Variables that may be missing, though the files leave their values open.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) optional: Vec<String>,
    #[command(flatten)]
    pub(super) identity: IdentityArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ToolName {
    /// docker-compose 1.
    #[value(name = "docker-compose")]
    One,
    /// docker compose, 2.24.4 or later.
    Compose,
    /// docker stack deploy: a whole file.
    Swarm,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The override goes after your own files; they stay as they are:
  chandlery stack render -f docker-compose.yml --region sfo3 -o chandlery.yml
  docker-compose -f docker-compose.yml -f chandlery.yml up -d
For Swarm it is a whole file:
  chandlery stack render -f stack.yml --swarm --region sfo3 -o rendered.yml && docker stack deploy -c rendered.yml simpleapp")]
pub(crate) struct Args {
    #[command(flatten)]
    stack: StackArgs,
    /// Whose dialect to write; by default that of the compose that is installed.
    #[arg(long, value_enum)]
    tool: Option<ToolName>,
    /// The same as --tool swarm.
    #[arg(long, conflicts_with = "tool")]
    swarm: bool,
    /// Write it to this file, mode 0600.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let runner = match args.tool {
        _ if args.swarm => Runner::swarm(),
        Some(ToolName::Swarm) => Runner::swarm(),
        Some(ToolName::One) => Runner::of(Tool::One),
        Some(ToolName::Compose) => Runner::of(Tool::Two),
        None => Runner::compose()?,
    };
    let prepared = Prepared::new(&args.stack, context, runner)?;
    let rendered = prepared.render(&Builder::None)?;
    if !rendered.variables.is_empty() {
        let names: Vec<&str> = rendered.variables.keys().map(String::as_str).collect();
        output::note(&format!(
            "note: your file requires {} of the shell, and the store gives it to the containers: set it to anything when you run compose",
            names.join(", ")
        ));
    }
    output::to(args.output.as_ref(), rendered.text.as_bytes())
}

/// How images come about that are not here yet.
pub(super) enum Builder<'a> {
    /// By `docker pull`, and not at all for those that have to be built.
    None,
    /// By compose, from the services' `build:`.
    Compose(&'a dyn Fn(&[&str]) -> Result<(), Failure>, bool),
}

/// Everything that is known before the first container.
pub(super) struct Prepared<'a> {
    pub(super) args: &'a StackArgs,
    pub(super) context: &'a Context,
    pub(super) runner: Runner,
    pub(super) loaded: Loaded,
    pub(super) project: String,
    pub(super) state: State,
    pub(super) client: Client,
    pub(super) stack: StackName,
    pub(super) environment: EnvironmentName,
    pub(super) region: Option<RegionName>,
}

/// The file, and what compose needs besides it.
pub(super) struct Rendered {
    pub(super) text: String,
    /// Values for what the user's own file requires and the store gives.
    pub(super) variables: BTreeMap<String, String>,
    /// Each service's label that tells which versions it was given.
    pub(super) labels: BTreeMap<String, String>,
}

/// Where a stack is put that is put in several places.
pub(super) struct Site {
    pub(super) region: RegionName,
    /// Where its tokens are kept, below the folder of all stacks.
    pub(super) folder: PathBuf,
}

/// What is known without a server.
pub(super) struct Named {
    pub(super) loaded: Loaded,
    pub(super) stack: StackName,
    pub(super) project: String,
}

impl Named {
    pub(super) fn of(args: &StackArgs, context: &Context, runner: &Runner) -> Result<Self, Failure> {
        let loaded = args.files.load(context, true)?;
        loaded.check_names(&args.except)?;
        let stack = stack(context, &loaded.project)?;
        let project = args.project_name.clone().unwrap_or_else(|| match runner.tool {
            Tool::Swarm => stack.to_string(),
            _ => project_name(context, &loaded.project),
        });
        // docker-compose takes the capitals away wherever the name is said, and Compose 2 refuses them.
        let project = if runner.tool == Tool::Swarm { project } else { project.to_lowercase() };
        // It becomes a folder's name.
        if project.is_empty() || !project.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            let hint = "letters, digits, dashes and underscores";
            return Err(Failure::usage("that is not a project's name", hint));
        }
        Ok(Self { loaded, stack, project })
    }
}

/// A value for everything that the files require: for what of compose looks at no value.
pub(super) fn required(loaded: &Loaded) -> BTreeMap<String, String> {
    let required = loaded.project.uses.iter().filter(|used| used.met == Met::Required);
    required.map(|used| (used.name.clone(), PLACEHOLDER.to_owned())).collect()
}

impl<'a> Prepared<'a> {
    pub(super) fn new(args: &'a StackArgs, context: &'a Context, runner: Runner) -> Result<Self, Failure> {
        Self::at(args, context, runner, None)
    }

    /// In a place of several; the context's region and the project's own folder where there is only one.
    pub(super) fn at(
        args: &'a StackArgs,
        context: &'a Context,
        runner: Runner,
        site: Option<&Site>,
    ) -> Result<Self, Failure> {
        let Named { loaded, stack, project } = Named::of(args, context, &runner)?;
        let environment = context.environment()?.clone();
        let folder = site.map_or_else(|| PathBuf::from(&project), |site| site.folder.clone());
        let state = State::of(&args.identity, context, &folder)?;
        let client = context.client()?;
        let region = site.map_or_else(|| context.region().cloned(), |site| Some(site.region.clone()));
        Ok(Self { args, context, runner, loaded, project, state, client, stack, environment, region })
    }

    pub(super) fn required(&self) -> BTreeMap<String, String> {
        required(&self.loaded)
    }

    pub(super) fn services(&self) -> Vec<&Service> {
        let mut services = self.args.profiles.of(self.context, &self.loaded.project);
        services.retain(|service| !self.args.except.contains(&service.name));
        services
    }

    /// What would fail at the rendering for reasons that have nothing to do with the store or the images.
    pub(super) fn foresee(&self) -> Result<(), Failure> {
        self.check_env_files()?;
        let mut faults = Vec::new();
        self.placeholders(&self.services(), &mut faults);
        if !faults.is_empty() {
            let hint = "set it in the shell, or give it a default in the file";
            return Err(Failure::failed("compose does not get what the files require", hint).with_faults(faults));
        }
        self.args.identity.road(self.context, &self.state, self.runner.dock.is_elsewhere()).map(|_| ())
    }

    /// The entrypoint that its containers are to have.
    pub(super) fn program(&self) -> Result<PathBuf, Failure> {
        self.args.identity.program(self.context)
    }

    pub(super) fn render(&self, builder: &Builder<'_>) -> Result<Rendered, Failure> {
        self.check_env_files()?;
        let road = self.args.identity.road(self.context, &self.state, self.runner.dock.is_elsewhere())?;
        let program = self.args.identity.program(self.context)?;
        let open = self.open()?;
        let place = self.place(open.as_ref())?;
        let bundles = Bundles { client: &self.client, stack: &self.stack, environment: &self.environment };
        let services = self.services();
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for service in &services {
            let mut of_service = Vec::new();
            for region in place.all() {
                let bundle = bundles.get(&service.name, region)?;
                let place = region.map_or_else(String::new, |region| format!(" in {region}"));
                let lacking = lacks(&self.loaded.project, service, &bundle, &self.args.optional).into_iter();
                faults.extend(lacking.map(|lack| format!("{}{place}: {}: {}", service.name, lack.name, lack.detail)));
                of_service.push(bundle);
            }
            found.push((*service, of_service));
        }
        let variables = self.placeholders(&services, &mut faults);
        if !faults.is_empty() {
            let hint = "set what is missing, import it, or name what may be missing with --optional; `chandlery stack check` shows it for every region";
            return Err(Failure::failed("the store does not give all that the files ask for", hint).with_faults(faults));
        }
        let images = self.images(&services, builder)?;
        let any_image = images.first().map(|(name, _)| name.clone());
        if let Some(open) = &open {
            self.check_pins(open, &services, &images)?;
        }
        let mut supplies = Vec::new();
        for ((service, bundles), (name, image)) in found.into_iter().zip(images) {
            let owner = self.owner(service, &name, &image)?;
            let identity = self.identity(service, &road, &place);
            // On another Docker's host, it is not to be seen from here.
            if let Some(socket) = road.socket.as_ref().filter(|_| !self.runner.dock.is_elsewhere()) {
                reaches(&service.name, process(service, owner), socket)?;
            }
            supplies.push(Supply { service, image, bundles, owner, identity, token: None });
        }
        self.hand_out_tokens(&mut supplies, &place)?;
        for supply in supplies.iter().filter(|supply| health_check(supply).is_some()) {
            let name = &supply.service.name;
            output::note(&format!(
                "note: the health check of {name} uses what only the app has; it gets the app's environment"
            ));
        }
        for supply in &supplies {
            let (name, unseen) = (&supply.service.name, unseen_by_script(supply).join(", "));
            if !unseen.is_empty() {
                output::note(&format!(
                    "note: the health check of {name} is a script, and does not see what only the app has: {unseen}; if it \
                     needs them, let it run `{WRAPPER} env -- SCRIPT`"
                ));
            }
        }
        let socket_folder = road.socket.as_ref().and_then(|socket| socket.parent()).map(Into::into);
        let Road { authority, .. } = road;
        let folder = self.context.surroundings.folder.join(&self.loaded.project.folder);
        let mut common = Common { wrapper: program, authority, socket_folder, folder };
        // Under Swarm, its own secrets and configs travel, and the program is to be on every node.
        if let Some(image) = any_image.filter(|_| self.runner.dock.is_elsewhere() && self.runner.tool != Tool::Swarm) {
            carry(&self.runner.dock, &self.project, &image, &mut common, &mut supplies)?;
        }
        let tree = overlay(&self.loaded.project, &supplies, &common, self.runner.tool).map_err(|faults| {
            let hint = "give the image a CMD, or the service a `command:`";
            Failure::new(Exit::Invalid, "some services have nothing to start", hint).with_faults(faults)
        })?;
        let labels = supplies.iter().map(|supply| (supply.service.name.clone(), supplies_label(supply))).collect();
        Ok(Rendered { text: format!("{}{}", self.header(&place), emit(&tree)), variables, labels })
    }

    fn header(&self, place: &Region) -> String {
        let region = match place {
            Region::One(region) => region.as_ref().map_or_else(String::new, |region| format!("/{region}")),
            Region::OfNode(_) => " in the region of each node".to_owned(),
        };
        let what = match self.runner.tool {
            Tool::Swarm => "The whole stack, for docker stack deploy",
            Tool::One => "An override for docker-compose 1, to be read after your own files",
            Tool::Two => "An override for Compose 2, to be read after your own files",
        };
        format!("# {what}: {}/{}{region}, by chandlery stack. It holds no secret.\n", self.stack, self.environment)
    }

    /// docker-compose 1 refuses the file where one is missing, and nothing in an override can take it away.
    fn check_env_files(&self) -> Result<(), Failure> {
        let missing: BTreeSet<String> = self
            .services()
            .iter()
            .flat_map(|service| service.missing_env_files.iter().map(|path| path.display().to_string()))
            .collect();
        if missing.is_empty() || self.runner.tool != Tool::One {
            return Ok(());
        }
        let faults: Vec<String> = missing.into_iter().map(|path| format!("{path} is not there")).collect();
        let hint = "an empty file will do, the store gives the rest; Compose 2 needs none";
        Err(Failure::failed("docker-compose 1 wants every env_file", hint).with_faults(faults))
    }

    /// What the user's file requires of the shell only to hand it to containers that have it from the store: compose looks
    /// at that file before it sees ours, and has to be given something.
    fn placeholders(&self, services: &[&Service], faults: &mut Vec<String>) -> BTreeMap<String, String> {
        let mut placeholders = BTreeMap::new();
        let uses = &self.loaded.project.uses;
        for used in uses.iter().filter(|used| used.met == Met::Required && used.in_environment()) {
            let only_ours = uses.iter().filter(|other| other.name == used.name).all(|other| {
                other.in_environment() && services.iter().any(|service| other.path.get(1) == Some(&service.name))
            });
            if only_ours {
                placeholders.insert(used.name.clone(), PLACEHOLDER.to_owned());
            } else {
                faults.push(format!("{used}: it is required of the shell, and not for the store's variables alone"));
            }
        }
        placeholders
    }
}
