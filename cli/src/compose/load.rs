//! From files to a [`Project`]: parse, interpolate, resolve `extends`, merge, and read the services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use chandlery_wire::{Value, guess};

use super::interpolate::{self, Lookup, Met, Use};
use super::service::Service;
use super::sources::Source;
use super::variables::{Given, Reader};
use super::yaml::{self, Kind, Mark, Node};
use super::{Fault, Place, Project, World, dotenv, merge};

/// Which files, and where they belong.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) files: Vec<PathBuf>,
    /// The folder of the first file, where nothing else is said.
    pub(crate) folder: Option<PathBuf>,
    /// Instead of the `.env` beside the files.
    pub(crate) env_files: Vec<PathBuf>,
    /// Whether a service's `env_file` may be missing.
    pub(crate) lenient: bool,
}

/// Reads the files as compose does.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub(crate) fn load(files: &Files, world: &World<'_>) -> Result<Project, Vec<Fault>> {
    let mut loader = Loader { world, dotenv: BTreeMap::new(), uses: Vec::new(), notes: Vec::new(), faults: Vec::new() };
    let beside = files.files.first().and_then(|first| first.parent()).unwrap_or(Path::new(""));
    let folder = files.folder.clone().unwrap_or_else(|| beside.to_owned());
    loader.read_dotenv(files, &folder);
    let mut tree: Option<Node> = None;
    for file in &files.files {
        let Some(node) = loader.file(file) else { continue };
        match &mut tree {
            None => tree = Some(node),
            Some(tree) => merge::files(tree, node),
        }
    }
    let Some(tree) = tree.filter(|_| loader.faults.is_empty()) else { return Err(loader.faults) };
    loader.project(tree, folder, files.lenient)
}

/// What a name stands for.
pub(super) fn look_up(world: &World<'_>, dotenv: &BTreeMap<String, Value>, name: &str) -> Option<String> {
    let of_dotenv = || Some(String::from_utf8_lossy(dotenv.get(name)?.expose_secret()).into_owned());
    world.shell.get(name).cloned().or_else(of_dotenv)
}

struct Loader<'a> {
    world: &'a World<'a>,
    dotenv: BTreeMap<String, Value>,
    uses: Vec<Use>,
    notes: Vec<String>,
    faults: Vec<Fault>,
}

impl Loader<'_> {
    fn read_dotenv(&mut self, files: &Files, folder: &Path) {
        let usual = [folder.join(".env")];
        let paths = if files.env_files.is_empty() { &usual[..] } else { &files.env_files[..] };
        for path in paths {
            let bytes = match (self.world.read)(path) {
                Ok(bytes) => bytes,
                Err(_) if files.env_files.is_empty() => continue,
                Err(error) => {
                    let at = Place { file: path.display().to_string().into(), line: 1 };
                    self.faults.push(Fault::new(&at, format!("cannot be read: {error}")));
                    continue;
                }
            };
            let known = self.dotenv.clone();
            let lookup = |name: &str| look_up(self.world, &known, name);
            for variable in dotenv::read(&bytes, path, &lookup, &mut self.notes, &mut self.faults) {
                if let Given::Value(value) = variable.given {
                    self.dotenv.insert(variable.name, value);
                }
            }
        }
    }

    /// One file: interpolated, in its normal form, with `extends` resolved. `None` where it cannot be read at all.
    fn file(&mut self, path: &Path) -> Option<Node> {
        let mut root = self.parse(path)?;
        if let Some(include) = root.get("include") {
            self.faults
                .push(Fault::new(&include.at, "include is not read here; name the included files with -f as well"));
        }
        let names: Vec<String> = root.get("services")?.pairs().iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let mut chain = vec![(path.to_owned(), name.clone())];
            let Some(service) = root.get("services").and_then(|services| services.get(&name)).cloned() else {
                continue;
            };
            let extended = self.extended(&root, path, service, &mut chain);
            if let Some(known) = root.get_mut("services").and_then(|services| services.get_mut(&name)) {
                *known = extended;
            }
        }
        Some(root)
    }

    fn parse(&mut self, path: &Path) -> Option<Node> {
        let shown: Rc<str> = path.display().to_string().into();
        let at = Place { file: Rc::clone(&shown), line: 1 };
        let bytes = match (self.world.read)(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.faults.push(Fault::new(&at, format!("cannot be read: {error}")));
                return None;
            }
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            self.faults.push(Fault::new(&at, "is not UTF-8"));
            return None;
        };
        let mut root = match yaml::read(text, &shown) {
            Ok(root) => root,
            Err(faults) => {
                self.faults.extend(faults);
                return None;
            }
        };
        self.check_shape(&root);
        let dotenv = self.dotenv.clone();
        let lookup = |name: &str| look_up(self.world, &dotenv, name);
        interpolate::tree(&mut root, &lookup, &mut self.uses, &mut self.faults);
        merge::normalise(&mut root, &mut self.faults);
        Some(root)
    }

    fn check_shape(&mut self, root: &Node) {
        let version = root.get("version").and_then(Node::as_str);
        if let (Some(text), Some(node)) = (version, root.get("version"))
            && !text.starts_with('2')
            && !text.starts_with('3')
        {
            let what = "version is neither 2 nor 3; leave the line out if the file is of the newest kind";
            self.faults.push(Fault::new(&node.at, what));
        }
        match root.get("services").map(|services| (&services.kind, &services.at)) {
            Some((Kind::Map(_), _)) => {}
            Some((_, at)) => self.faults.push(Fault::new(at, "services is no map")),
            // An override may have only networks, or only secrets.
            None if root
                .pairs()
                .iter()
                .any(|(key, _)| matches!(key.as_str(), "secrets" | "configs" | "networks" | "volumes")) => {}
            None => {
                let what = "there is no `services:`; a file of version 1 has to be put under one first";
                self.faults.push(Fault::new(&root.at, what));
            }
        }
    }

    /// The service over the one that it extends, which may extend another, in this file or in one beside it.
    fn extended(&mut self, root: &Node, file: &Path, mut service: Node, chain: &mut Vec<(PathBuf, String)>) -> Node {
        let Some(extends) = service.take("extends") else { return service };
        let name = extends.as_str().or_else(|| extends.get("service").and_then(Node::as_str)).map(str::to_owned);
        let Some(name) = name else {
            self.faults.push(Fault::new(&extends.at, "extends names no service"));
            return service;
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        let other =
            extends.get("file").and_then(Node::as_str).map(|path| folder.join(path)).filter(|path| path != file);
        let link = (other.clone().unwrap_or_else(|| file.to_owned()), name.clone());
        if chain.contains(&link) {
            self.faults.push(Fault::new(&extends.at, format!("{name} extends itself in the end")));
            return service;
        }
        chain.push(link);
        let parsed = other.as_ref().and_then(|path| self.parse(path));
        let (root, path) = match (&other, &parsed) {
            (None, _) => (root, file),
            (Some(path), Some(parsed)) => (parsed, path.as_path()),
            // Why it could not be read was said.
            (Some(_), None) => return service,
        };
        let Some(base) = root.get("services").and_then(|services| services.get(&name)).cloned() else {
            let what = format!("{name}, which is extended here, is not in {}", path.display());
            self.faults.push(Fault::new(&extends.at, what));
            return service;
        };
        let mut base = self.extended(root, path, base, chain);
        if other.is_some() {
            rebase(&mut base, path.parent().unwrap_or(Path::new("")), folder);
        }
        merge::service(&mut base, service);
        base
    }

    fn project(mut self, mut tree: Node, folder: PathBuf, lenient: bool) -> Result<Project, Vec<Fault>> {
        reset(&mut tree);
        let mut left = Vec::new();
        for (key, node) in tree.pairs() {
            const KNOWN: [&str; 8] =
                ["version", "name", "services", "networks", "volumes", "secrets", "configs", "models"];
            if !KNOWN.contains(&key.as_str()) && !key.starts_with("x-") {
                left.push(format!("{}: {key} is no key that is known here; it stays with compose", node.at));
            }
        }
        for used in
            self.uses.iter().filter(|used| !used.in_environment() && guess::secret_by_name(&used.name).is_some())
        {
            left.push(format!("{used}: it is no variable of the container, and stays with compose"));
        }
        let dotenv = self.dotenv.clone();
        let lookup = |name: &str| look_up(self.world, &dotenv, name);
        let mut reader = Reader {
            folder: &folder,
            world: self.world,
            lookup: &lookup as &Lookup<'_>,
            lenient,
            notes: &mut self.notes,
            faults: &mut self.faults,
        };
        let services = tree.get("services").map(Node::pairs).unwrap_or_default();
        let services: Vec<Service> =
            services.iter().map(|(name, node)| Service::read(name, node, &mut reader, &mut left)).collect();
        let mut sources = |key: &str| -> BTreeMap<String, Source> {
            let pairs = tree.get(key).map(Node::pairs).unwrap_or_default();
            let read = pairs
                .iter()
                .filter_map(|(name, node)| Some((name.clone(), Source::read(name, node, &mut self.faults)?)));
            read.collect()
        };
        let (secrets, configs) = (sources("secrets"), sources("configs"));
        for service in &services {
            for (known, asked, kind) in [(&secrets, &service.secrets, "secret"), (&configs, &service.configs, "config")]
            {
                for mounted in asked.iter().filter(|mounted| !known.contains_key(&mounted.source)) {
                    let what =
                        format!("{} asks for the {kind} {}, which is not declared", service.name, mounted.source);
                    self.faults.push(Fault::new(&mounted.at, what));
                }
            }
        }
        if services.is_empty() {
            self.faults.push(Fault::new(&tree.at, "there is no service in it"));
        }
        if !self.faults.is_empty() {
            self.faults.sort();
            self.faults.dedup();
            return Err(self.faults);
        }
        let text = |key: &str| tree.get(key).and_then(Node::as_str).map(str::to_owned);
        let (version, name) = (text("version"), text("name"));
        let Self { uses, mut notes, .. } = self;
        // An anchor's line is read for each service that has it.
        let mut told = BTreeSet::new();
        notes.retain(|note| told.insert(note.clone()));
        Ok(Project { version, name, folder, services, secrets, configs, tree, dotenv, uses, notes, left })
    }
}

/// What compose itself will refuse: `${NAME:?}` without a value.
pub(super) fn required(uses: &[Use]) -> impl Iterator<Item = &Use> {
    uses.iter().filter(|used| used.met == Met::Required)
}

/// Takes away what is marked `!reset`, also where there was nothing before it.
fn reset(node: &mut Node) {
    match &mut node.kind {
        Kind::Map(pairs) => {
            pairs.retain(|(_, node)| node.mark != Mark::Reset);
            pairs.iter_mut().for_each(|(_, node)| reset(node));
        }
        Kind::List(items) => {
            items.retain(|node| node.mark != Mark::Reset);
            items.iter_mut().for_each(reset);
        }
        Kind::Null | Kind::Scalar(_) => {}
    }
}

/// Paths of a service from a file in another folder, seen from this one.
fn rebase(service: &mut Node, from: &Path, to: &Path) {
    let way = from.strip_prefix(to).unwrap_or(from);
    let moved = |text: &str| way.join(text).display().to_string();
    let files = service.get_mut("env_file").map(|node| &mut node.kind);
    if let Some(Kind::List(items)) = files {
        for item in items {
            if let Some(node) = item.get_mut("path") {
                move_text(node, &moved);
            } else {
                move_text(item, &moved);
            }
        }
    }
    if let Some(context) = service.get_mut("build").and_then(|build| build.get_mut("context")) {
        move_text(context, &moved);
    }
}

fn move_text(node: &mut Node, moved: &dyn Fn(&str) -> String) {
    if let Kind::Scalar(scalar) = &mut node.kind
        && !scalar.text.contains("://")
    {
        scalar.text = moved(&scalar.text);
    }
}
