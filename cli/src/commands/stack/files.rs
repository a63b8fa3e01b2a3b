//! Which compose files are meant, and the project in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chandlery_wire::StackName;

use crate::compose::{self, Files, Project, Service, World};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output;

/// What compose looks for in a folder, in its order.
const USUAL: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The options that compose has too, and that mean the same.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Compose files")]
pub(crate) struct FileArgs {
    /// A compose or stack file; later ones change what earlier ones say. By default what compose would take here.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Read this instead of the `.env` beside the first file.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// What relative paths are relative to, instead of the first file's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: Option<PathBuf>,
}

/// Which of the services run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Profiles {
    /// Services of this profile too; `*` means all.
    #[arg(long, value_name = "NAME", help_heading = "Compose files")]
    pub(crate) profile: Vec<String>,
    /// Words of compose's own; one that names a service asks for it, whatever its profiles are.
    #[arg(skip)]
    pub(crate) named: Vec<String>,
}

impl Profiles {
    /// The services without a profile, those of the profiles that are asked for, and those that are asked for by name.
    pub(crate) fn of<'a>(&self, context: &Context, project: &'a Project) -> Vec<&'a Service> {
        let named = context.surroundings.path("COMPOSE_PROFILES").unwrap_or_default().display().to_string();
        let wanted: Vec<&str> = self.profile.iter().map(String::as_str).chain(named.split(',')).collect();
        let asked = |name: &String| wanted.iter().any(|wanted| wanted == name || *wanted == "*");
        let runs = |service: &&Service| {
            service.profiles.is_empty() || service.profiles.iter().any(asked) || self.named.contains(&service.name)
        };
        project.services.iter().filter(runs).collect()
    }
}

/// The files as they were found, and what is in them.
pub(crate) struct Loaded {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) project: Project,
    pub(crate) shell: BTreeMap<String, String>,
}

impl Loaded {
    /// A service that is named in an option and not there is a typing error.
    pub(crate) fn check_names(&self, except: &[String]) -> Result<(), Failure> {
        match except.iter().find(|name| self.project.service(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                Err(Failure::usage(format!("--except: {name} is no service of the files"), "correct its name"))
            }
        }
    }

    pub(crate) fn world(&self) -> World<'_> {
        World { shell: &self.shell, read: &read }
    }
}

fn read(path: &Path) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    // A folder or a device in the place of a file is found out by the reading, which says it in the system's words.
    input::bounded_file(path)
}

impl FileArgs {
    /// `lenient`: whether an `env_file` may be missing.
    pub(crate) fn load(&self, context: &Context, lenient: bool) -> Result<Loaded, Failure> {
        let files = self.found(context)?;
        let shell: BTreeMap<String, String> = context
            .surroundings
            .variables
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone().into_string().ok()?)))
            .collect();
        let wanted = Files {
            files: files.clone(),
            folder: self.project_directory.clone(),
            env_files: self.env_file.clone(),
            lenient,
        };
        let project = compose::load(&wanted, &World { shell: &shell, read: &read }).map_err(|faults| {
            let faults = faults.iter().map(ToString::to_string).collect();
            let hint = "correct the files; `docker-compose config` says what compose makes of them";
            Failure::new(Exit::Invalid, "the compose files cannot be used as they are", hint).with_faults(faults)
        })?;
        Ok(Loaded { files, project, shell })
    }

    /// The files named; else those of `COMPOSE_FILE`; else compose's own in this folder, with the override beside it.
    fn found(&self, context: &Context) -> Result<Vec<PathBuf>, Failure> {
        if !self.file.is_empty() {
            return Ok(self.file.clone());
        }
        if let Some(named) = context.surroundings.path("COMPOSE_FILE") {
            return Ok(std::env::split_paths(&named).collect());
        }
        let folder = Path::new("");
        let Some(first) = USUAL.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            let hint = "name it with -f; compose looks for compose.yaml and docker-compose.yml";
            return Err(Failure::usage("there is no compose file in this folder", hint));
        };
        let text = first.display().to_string();
        let (stem, _) = text.rsplit_once('.').unwrap_or((&text, ""));
        let beside = ["yml", "yaml"].map(|extension| PathBuf::from(format!("{stem}.override.{extension}")));
        let found = beside.into_iter().find(|path| path.is_file());
        Ok([first].into_iter().chain(found).collect())
    }
}

/// The stack that is meant: the context's, else the one that compose would name these containers after.
pub(crate) fn stack(context: &Context, project: &Project) -> Result<StackName, Failure> {
    if let Some(item) = &context.stack {
        return Ok(item.value.clone());
    }
    let name = project_name(context, project);
    let stack = StackName::parse(name.as_str()).map_err(|error| {
        Failure::usage(format!("the folder's name is not a stack's: {error}"), "name the stack with --stack")
    })?;
    output::note(&format!(
        "note: nothing says which stack this is; taken after the folder: {stack} (`chandlery init {stack}` writes it down here)"
    ));
    Ok(stack)
}

/// What compose names the project where nobody says `-p`.
pub(crate) fn project_name(context: &Context, project: &Project) -> String {
    let said = context.surroundings.path("COMPOSE_PROJECT_NAME").map(|name| name.display().to_string());
    if let Some(name) = said.or_else(|| project.name.clone()) {
        return name;
    }
    let folder = context.surroundings.folder.join(&project.folder);
    let folder = folder.canonicalize().unwrap_or(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    let name = name.trim_start_matches(['_', '-']);
    if name.is_empty() { "default".to_owned() } else { name.to_owned() }
}
