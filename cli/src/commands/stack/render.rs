//! `chandlery stack render`, and the rendering that `up` and `deploy` begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chandlery_wire::api::Stack;
use chandlery_wire::{EnvironmentName, RegionName, ServiceName, StackName};
use clap::ValueEnum;

use super::bundles::Bundles;
use super::docker::{self, Runner};
use super::files::{FileArgs, Loaded, Profiles, project_name, stack};
use super::identity::{Holder, IdentityArgs, Road, Scopes, State, token_variable};
use crate::client::{Client, Path};
use crate::compose::overlay::{Common, Image, PLACEHOLDER, Supply, Tool, health_check, overlay};
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
    stack: StackName,
    environment: EnvironmentName,
    region: Option<RegionName>,
}

/// Where the containers find themselves.
enum Region {
    /// In this one, or in the only place that the environment has.
    One(Option<RegionName>),
    /// In that of the node which Swarm puts the task on: one of these.
    OfNode(Vec<RegionName>),
}

impl Region {
    fn one(&self) -> Option<&RegionName> {
        match self {
            Self::One(region) => region.as_ref(),
            Self::OfNode(_) => None,
        }
    }

    fn all(&self) -> Vec<Option<&RegionName>> {
        match self {
            Self::One(region) => vec![region.as_ref()],
            Self::OfNode(regions) => regions.iter().map(Some).collect(),
        }
    }
}

/// The file, and what compose needs besides it.
pub(super) struct Rendered {
    pub(super) text: String,
    /// Values for what the user's own file requires and the store gives.
    pub(super) variables: BTreeMap<String, String>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(args: &'a StackArgs, context: &'a Context, runner: Runner) -> Result<Self, Failure> {
        let loaded = args.files.load(context, true)?;
        let unknown: Vec<&String> = args.except.iter().filter(|name| loaded.project.service(name).is_none()).collect();
        if let Some(name) = unknown.first() {
            return Err(Failure::usage(format!("--except: {name} is no service of the files"), "correct its name"));
        }
        let stack = stack(context, &loaded.project)?;
        let project = args.project_name.clone().unwrap_or_else(|| match runner.tool {
            Tool::Swarm => stack.to_string(),
            _ => project_name(context, &loaded.project),
        });
        // It becomes a folder's name.
        if project.is_empty() || !project.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            let hint = "letters, digits, dashes and underscores";
            return Err(Failure::usage("that is not a project's name", hint));
        }
        let environment = context.environment()?.clone();
        let state = State::of(&args.identity, context, &project)?;
        let client = context.client()?;
        let region = context.region().cloned();
        Ok(Self { args, context, runner, loaded, project, state, client, stack, environment, region })
    }

    /// A value for everything that the files require: for what of compose looks at no value.
    pub(super) fn required(&self) -> BTreeMap<String, String> {
        let required = self.loaded.project.uses.iter().filter(|used| used.met == Met::Required);
        required.map(|used| (used.name.clone(), PLACEHOLDER.to_owned())).collect()
    }

    fn services(&self) -> Vec<&Service> {
        let mut services = self.args.profiles.of(self.context, &self.loaded.project);
        services.retain(|service| !self.args.except.contains(&service.name));
        services
    }

    pub(super) fn render(&self, builder: &Builder<'_>) -> Result<Rendered, Failure> {
        self.check_env_files()?;
        let place = self.place()?;
        let bundles = Bundles { client: &self.client, stack: &self.stack, environment: &self.environment };
        let services = self.services();
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for service in &services {
            let mut of_service = Vec::new();
            for region in place.all() {
                let bundle = bundles.get(&service.name, region)?;
                let place = region.map_or_else(String::new, |region| format!(" in {region}"));
                let lacking = lacks(&self.loaded.project, service, &bundle).into_iter();
                faults.extend(lacking.map(|lack| format!("{}{place}: {}: {}", service.name, lack.name, lack.detail)));
                of_service.push(bundle);
            }
            found.push((*service, of_service));
        }
        let variables = self.placeholders(&services, &mut faults);
        if !faults.is_empty() {
            let hint = "set what is missing, or import it; `chandlery stack check` shows it for every region";
            return Err(Failure::failed("the store does not give all that the files ask for", hint).with_faults(faults));
        }
        let images = self.images(&services, builder)?;
        let road = self.args.identity.road(self.context, &self.state)?;
        let program = self.args.identity.program(self.context)?;
        let mut supplies = Vec::new();
        for ((service, bundles), (name, image)) in found.into_iter().zip(images) {
            let owner = self.owner(service, &name, &image)?;
            let identity = self.identity(service, &road, &place);
            supplies.push(Supply { service, image, bundles, owner, identity, token: None });
        }
        self.hand_out_tokens(&mut supplies, &place)?;
        for supply in supplies.iter().filter(|supply| health_check(supply).is_some()) {
            let name = &supply.service.name;
            output::note(&format!(
                "note: the health check of {name} uses what only the app has; it gets the app's environment"
            ));
        }
        let Road { authority, socket_folder, .. } = road;
        let common = Common { wrapper: program, authority, socket_folder };
        let tree = overlay(&self.loaded.project, &supplies, &common, self.runner.tool).map_err(|faults| {
            let hint = "give the image a CMD, or the service a `command:`";
            Failure::new(Exit::Invalid, "some services have nothing to start", hint).with_faults(faults)
        })?;
        Ok(Rendered { text: format!("{}{}", self.header(&place), emit(&tree)), variables })
    }

    /// Without a region said, a task under Swarm is in the region of its node, where there are regions at all.
    fn place(&self) -> Result<Region, Failure> {
        if self.region.is_some() || self.runner.tool != Tool::Swarm {
            return Ok(Region::One(self.region.clone()));
        }
        let declared: Stack = self.client.get(&Path::new(&["stacks", self.stack.as_str()]))?;
        let mut environments = declared.environments.into_iter();
        let regions = environments.find(|known| known.name == self.environment).map(|known| known.regions);
        let regions = regions.unwrap_or_default();
        if regions.is_empty() {
            return Ok(Region::One(None));
        }
        output::note("note: no region is said: each task gets that of its node, as `chandlery node list` has it");
        Ok(Region::OfNode(regions))
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

    /// The images of the services, in their order.
    fn images(&self, services: &[&Service], builder: &Builder<'_>) -> Result<Vec<(String, Image)>, Failure> {
        let name = |service: &Service| {
            service.image.clone().unwrap_or_else(|| self.runner.built_image(&self.project, &service.name))
        };
        if let Builder::Compose(build, always) = builder {
            let wanted =
                services.iter().filter(|service| service.build && (*always || docker::image(&name(service)).is_none()));
            let wanted: Vec<&str> = wanted.map(|service| service.name.as_str()).collect();
            if !wanted.is_empty() {
                build(&wanted)?;
            }
        }
        let mut images = Vec::new();
        let mut faults = Vec::new();
        for service in services {
            let name = name(service);
            let here = docker::image(&name).or_else(|| {
                let pulled = !service.build && docker::pull(&name);
                pulled.then(|| docker::image(&name)).flatten()
            });
            match here {
                Some(image) => images.push((name, image)),
                None if service.build => faults.push(format!("{}: {name} is not built yet", service.name)),
                None => faults.push(format!("{}: {name} is not here and cannot be pulled", service.name)),
            }
        }
        if faults.is_empty() {
            return Ok(images);
        }
        let hint = "build or pull them first: what an image starts is read from the image";
        Err(Failure::failed("some images are not here", hint).with_faults(faults))
    }

    /// Whom the service's process runs as, where it is not root.
    fn owner(&self, service: &Service, image: &str, found: &Image) -> Result<Option<(u32, u32)>, Failure> {
        let user = service.user.as_deref().unwrap_or(&found.user);
        if user.is_empty() || user == "root" || user == "0" || user.starts_with("0:") || user.starts_with("root:") {
            return Ok(None);
        }
        let ids = docker::ids(image, user).ok_or_else(|| {
            let hint = "write `user:` as numbers, such as \"999:999\"";
            Failure::failed(format!("{}: it is not known who {user} is in the image {image}", service.name), hint)
        })?;
        Ok((ids != (0, 0)).then_some(ids))
    }

    fn identity(&self, service: &Service, road: &Road, place: &Region) -> Vec<(&'static str, String)> {
        let mut identity = road.variables();
        identity.push(("CHANDLERY_STACK", self.stack.to_string()));
        identity.push(("CHANDLERY_ENVIRONMENT", self.environment.to_string()));
        match place {
            Region::One(region) => {
                identity.extend(region.iter().map(|region| ("CHANDLERY_REGION", region.to_string())));
            }
            Region::OfNode(_) => identity.push(("CHANDLERY_NODE", "{{.Node.Hostname}}".to_owned())),
        }
        identity.push(("CHANDLERY_SERVICE", service.name.clone()));
        if self.args.identity.is_token() {
            identity.push(token_variable());
        }
        identity
    }

    fn hand_out_tokens(&self, supplies: &mut [Supply<'_>], place: &Region) -> Result<(), Failure> {
        if !self.args.identity.is_token() {
            return Ok(());
        }
        let mut holders = Vec::new();
        for supply in supplies.iter() {
            let service = ServiceName::parse(supply.service.name.as_str());
            let service =
                service.map_err(|error| Failure::usage(error.to_string(), "rename the service, or use --except"))?;
            // Without its capabilities, not even root reads a file of another user.
            let bare = supply
                .service
                .cap_drop
                .iter()
                .any(|name| matches!(name.to_uppercase().as_str(), "ALL" | "DAC_OVERRIDE"));
            let own = rustix::process::geteuid().is_root();
            holders.push(Holder { service, for_others: supply.owner.is_some() || (bare && !own) });
        }
        let scopes = Scopes { stack: &self.stack, environment: &self.environment, region: place.one() };
        let mut tokens = self.args.identity.tokens(&self.client, &self.state, scopes, &holders)?;
        for (supply, holder) in supplies.iter_mut().zip(&holders) {
            supply.token = tokens.remove(&holder.service);
        }
        Ok(())
    }
}
