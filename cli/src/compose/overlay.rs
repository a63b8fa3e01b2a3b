//! The file that puts Chandlery's entrypoint before each service's own command.
//!
//! For docker-compose and Compose 2 it is an override, to be read after the user's own files, which stay as they are. For
//! Swarm it is a whole file: `docker stack deploy` wants one schema version for all files, and the one that the user's has
//! may be too old for memory at `/run/secrets` (`docs/decisions/0021-override.md`).

mod stack_file;

use std::path::PathBuf;

use chandlery_wire::{Bundle, BundleVariable, DEFAULT_SECRETS_DIRECTORY};
use ring::digest;

use super::service::{Command, Mounted, Service};
use super::sources::Origin;
use super::yaml::{Kind, Mark, Node, Scalar};
use super::{Place, Project};

/// Where the container finds what is mounted into it.
pub(crate) const WRAPPER: &str = "/usr/local/bin/chandlery-entrypoint";
pub(crate) const TOKEN: &str = "/run/chandlery/token";
pub(crate) const AUTHORITY: &str = "/run/chandlery/ca.crt";
pub(crate) const SOCKET_FOLDER: &str = "/run/chandlery/server";
/// Stands for a variable that compose requires and the store gives. No container gets to see it.
pub(crate) const PLACEHOLDER: &str = "given-by-chandlery";
/// Says what the service was last given, so that `up` makes the container anew when it changes.
pub(crate) const LABEL: &str = "chandlery.supplies";

/// What runs the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// docker-compose 1.
    One,
    /// Compose 2 and later.
    Two,
    /// docker stack deploy.
    Swarm,
}

/// What an image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) user: String,
    /// The texts of HEALTHCHECK.
    pub(crate) healthcheck: Vec<String>,
}

/// One service and everything that it is to get.
#[derive(Debug)]
pub(crate) struct Supply<'a> {
    pub(crate) service: &'a Service,
    pub(crate) image: Image,
    /// One; under Swarm one for each region that a task may find itself in.
    pub(crate) bundles: Vec<Bundle>,
    /// Whom the process runs as, where it is not root: its memory has to be its own.
    pub(crate) owner: Option<(u32, u32)>,
    /// The `CHANDLERY_…` variables.
    pub(crate) identity: Vec<(&'static str, String)>,
    /// The host's token file, where there is one, and the id that tells it from its successor.
    pub(crate) token: Option<(PathBuf, String)>,
}

/// What all services have in common.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// The entrypoint's program on the host.
    pub(crate) wrapper: PathBuf,
    /// The CA's certificate on the host, and a digest of it.
    pub(crate) authority: Option<(PathBuf, String)>,
    /// The folder of the server's socket.
    pub(crate) socket_folder: Option<PathBuf>,
    /// The project's folder, absolute: a whole file may be written anywhere, and its paths have to stay what they are.
    pub(crate) folder: PathBuf,
}

/// The file's tree.
///
/// # Errors
/// Names every service that has no command to start.
pub(crate) fn overlay(
    project: &Project,
    supplies: &[Supply<'_>],
    common: &Common,
    tool: Tool,
) -> Result<Node, Vec<String>> {
    let writer = Writer { at: Place { file: "override".into(), line: 1 }, common, project, tool };
    let empty = |supply: &&Supply<'_>| {
        let (entrypoint, command) = commands(supply);
        entrypoint.is_empty() && command.unwrap_or_default().is_empty() && supply.service.command == Command::Unsaid
    };
    let nothing: Vec<String> = supplies
        .iter()
        .filter(empty)
        .map(|supply| format!("{}: neither the file nor the image says what to start", supply.service.name))
        .collect();
    if !nothing.is_empty() {
        return Err(nothing);
    }
    Ok(if tool == Tool::Swarm { writer.whole(supplies) } else { writer.over(supplies) })
}

/// What stands before the command, and the command itself where the override has to repeat it: an `entrypoint` in a compose
/// file drops the image's CMD, and nothing else does.
fn commands(supply: &Supply<'_>) -> (Vec<String>, Option<Vec<String>>) {
    match (&supply.service.entrypoint, &supply.service.command) {
        (Command::Words(words), Command::Words(_)) => (words.clone(), None),
        // Compose's own entrypoint has dropped the image's CMD already; an empty one only drops the image's ENTRYPOINT.
        (Command::Words(words), Command::Unsaid) if words.is_empty() => {
            (Vec::new(), Some(supply.image.command.clone()))
        }
        (Command::Words(words), Command::Unsaid) => (words.clone(), None),
        (Command::Unsaid, Command::Words(_)) => (supply.image.entrypoint.clone(), None),
        (Command::Unsaid, Command::Unsaid) => (supply.image.entrypoint.clone(), Some(supply.image.command.clone())),
    }
}

/// A variable of the file that the store gives too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replaced<'a> {
    pub(crate) name: &'a str,
    pub(crate) secret: bool,
    /// What the container is made with in the place of the file's value; `None` where that stays.
    pub(crate) text: Option<&'a str>,
}

/// What becomes of the file's own values. Where the store's is secret, nothing is left, so that `docker inspect` shows none;
/// else it is the store's, so that health checks see it as well; unless that is another one in each region, or the container
/// follows the store by itself and would only be made anew for it.
pub(crate) fn replaced<'a>(service: &'a Service, bundles: &'a [Bundle]) -> Vec<Replaced<'a>> {
    let mut found = Vec::new();
    for name in service.variables.iter().map(|variable| variable.name.as_str()) {
        let of = |bundle: &'a Bundle| bundle.variables.iter().find(|variable| variable.name.as_str() == name);
        let stored: Vec<&BundleVariable> = bundles.iter().filter_map(of).collect();
        let Some(first) = stored.first() else { continue };
        let secret = stored.iter().any(|variable| variable.secret);
        let alike = !service.watches()
            && stored.len() == bundles.len()
            && stored.iter().all(|variable| variable.value == first.value);
        let text = std::str::from_utf8(first.value.expose_secret()).ok().filter(|_| alike);
        found.push(Replaced { name, secret, text: if secret { Some("") } else { text } });
    }
    found
}

/// The service's health check with the app's environment, where it uses a variable that the container is not made with: a
/// health check is another process, and sees nothing of what the entrypoint injects. `None` where it needs none of it.
pub(crate) fn health_check(supply: &Supply<'_>) -> Option<Vec<String>> {
    let (texts, names) = (check_of(supply), unseen(supply));
    if !texts.iter().any(|text| names.iter().any(|name| mentions(text, name))) {
        return None;
    }
    let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    let command = match texts.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" => shell(&rest.join(" ")),
        Some((kind, _)) if kind == "NONE" => return None,
        _ => shell(&texts.join(" ")),
    };
    let before = ["CMD", WRAPPER, "env", "--"].map(str::to_owned);
    Some(before.into_iter().chain(command).collect())
}

/// The variables that a health check by a script may want and does not see: whether it wants them, its file alone says.
pub(crate) fn unseen_by_script<'a>(supply: &'a Supply<'_>) -> Vec<&'a str> {
    const SCRIPTS: [&str; 6] = [".sh", ".py", ".rb", ".js", ".pl", ".php"];
    let is_script = |word: &str| SCRIPTS.iter().any(|end| word.ends_with(end));
    let texts = check_of(supply);
    let scripted = texts.iter().any(|text| text.split_whitespace().any(is_script));
    let through_us = texts.iter().any(|text| text.contains(WRAPPER));
    if scripted && !through_us && health_check(supply).is_none() { unseen(supply) } else { Vec::new() }
}

fn check_of<'a>(supply: &'a Supply<'_>) -> &'a [String] {
    let own = !supply.service.healthcheck.is_empty();
    if own { &supply.service.healthcheck } else { &supply.image.healthcheck }
}

/// The variables that the app gets, and that the container is not made with.
fn unseen<'a>(supply: &'a Supply<'_>) -> Vec<&'a str> {
    let found = replaced(supply.service, &supply.bundles).into_iter();
    found.filter(|found| found.secret || found.text.is_none()).map(|found| found.name).collect()
}

/// Shorter ones may be a word of their own.
const LONG_NAME: usize = 5;

/// Whether a text has `$NAME`, `${NAME…`, or the name by itself, as in Python's `environ["NAME"]`.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let by_itself = name.len() >= LONG_NAME && !before.ends_with(is_part);
        (by_itself || before.ends_with('$') || before.ends_with("${")) && !after.starts_with(is_part)
    })
}

/// What the label says: a container that follows the store by itself is not made anew for a value.
pub(crate) fn supplies_label(supply: &Supply<'_>) -> String {
    if supply.service.watches() { "followed".to_owned() } else { fingerprint(&supply.bundles) }
}

/// What a container would be made anew for: which version of which layer each value is. It tells nothing of the values.
pub(crate) fn fingerprint(bundles: &[Bundle]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for bundle in bundles {
        let variables = bundle.variables.iter().map(|variable| (variable.name.as_str(), &variable.origin));
        let files = bundle.files.iter().map(|file| (file.name.as_str(), &file.origin));
        for (name, origin) in variables.chain(files) {
            // What a template refers to may have changed where the template did not.
            let revision = if origin.template { bundle.revision } else { 0 };
            context.update(format!("{name} {} {} {revision}\n", origin.layer, origin.version).as_bytes());
        }
    }
    context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Writer<'a> {
    at: Place,
    common: &'a Common,
    project: &'a Project,
    tool: Tool,
}

impl Writer<'_> {
    fn text(&self, text: impl Into<String>) -> Node {
        Node::text(text, &self.at)
    }

    fn map(&self, pairs: Vec<(&str, Node)>) -> Node {
        Node::new(Kind::Map(pairs.into_iter().map(|(key, node)| (key.to_owned(), node)).collect()), &self.at)
    }

    fn list(&self, items: Vec<Node>) -> Node {
        Node::new(Kind::List(items), &self.at)
    }

    fn texts<T: Into<String>>(&self, texts: impl IntoIterator<Item = T>) -> Node {
        self.list(texts.into_iter().map(|text| self.text(text)).collect())
    }

    fn plain(&self, text: &str) -> Node {
        let scalar = Scalar { text: text.to_owned(), plain: true, uses: Vec::new() };
        Node::new(Kind::Scalar(scalar), &self.at)
    }

    /// The override for either compose.
    fn over(&self, supplies: &[Supply<'_>]) -> Node {
        let mut root = self.map(Vec::new());
        if let Some(version) = self.project.version.as_ref().filter(|_| self.tool == Tool::One) {
            root.put("version", self.text(version));
        }
        // docker-compose starts a container without its external secrets, and leaves the files to the entrypoint.
        let neutral: Vec<&String> = self.project.secrets.keys().filter(|name| self.is_ours(supplies, name)).collect();
        let mut services = self.map(Vec::new());
        for supply in supplies {
            services.put(&supply.service.name, self.service(supply, &neutral));
        }
        root.put("services", services);
        if self.tool == Tool::One && !neutral.is_empty() {
            let external = |name: &&String| ((*name).clone(), self.map(vec![("external", self.plain("true"))]));
            root.put("secrets", Node::new(Kind::Map(neutral.iter().map(external).collect()), &self.at));
        }
        root
    }

    fn service(&self, supply: &Supply<'_>, neutral: &[&String]) -> Node {
        let mut node = self.map(Vec::new());
        self.put_commands(&mut node, supply);
        let mut environment = self.map(Vec::new());
        self.put_environment(&mut environment, supply);
        node.put("environment", environment);
        node.put("labels", self.map(vec![(LABEL, self.text(supplies_label(supply)))]));
        let binds = self.binds(supply).into_iter().map(|(host, target)| format!("{}:{target}:ro", host.display()));
        // What docker-compose 1 itself makes of a secret's file; it does so no more for one that is external now.
        let elsewhere = supply.service.secrets.iter().filter(|secret| neutral.contains(&&secret.source));
        let elsewhere = elsewhere.filter_map(|secret| {
            let host = self.file_elsewhere(secret).filter(|_| self.tool == Tool::One)?;
            Some(format!("{}:{}:ro", host.display(), secret.target))
        });
        node.put("volumes", self.texts(binds.chain(elsewhere)));
        if !self.has_memory(supply) {
            node.put("tmpfs", self.texts([memory(supply)]));
        }
        if self.tool == Tool::Two {
            self.put_resets(&mut node, supply);
        }
        node
    }

    fn put_commands(&self, node: &mut Node, supply: &Supply<'_>) {
        let (entrypoint, command) = commands(supply);
        let wrapped = [WRAPPER.to_owned(), "--".to_owned()].into_iter().chain(entrypoint);
        node.put("entrypoint", self.texts(wrapped));
        if let Some(command) = command.filter(|command| !command.is_empty()) {
            node.put("command", self.texts(command));
        }
        if let Some(test) = health_check(supply) {
            let mut check = node.take("healthcheck").unwrap_or_else(|| self.map(Vec::new()));
            check.put("test", self.texts(test));
            node.put("healthcheck", check);
        }
    }

    fn put_environment(&self, environment: &mut Node, supply: &Supply<'_>) {
        for Replaced { name, text, .. } in replaced(supply.service, &supply.bundles) {
            text.iter().for_each(|text| environment.put(name, self.text(*text)));
        }
        for (name, text) in &supply.identity {
            environment.put(name, self.text(text.as_str()));
        }
    }

    /// What only Compose 2 can take away: its secrets, which it would mount over ours or refuse, and `env_file`s that are
    /// not there any more.
    fn put_resets(&self, node: &mut Node, supply: &Supply<'_>) {
        let marked = |mark, mut node: Node| {
            node.mark = mark;
            node
        };
        let own = self.own(supply.service);
        let kept = |key: &str, keep: &dyn Fn(&Node) -> bool| -> Vec<Node> {
            let items = own.and_then(|own| own.get(key)).map(Node::items).unwrap_or_default();
            items.iter().filter(|item| keep(item)).cloned().collect()
        };
        let lists: [(&str, bool, Vec<Node>); 2] = [
            (
                "secrets",
                supply.service.secrets.iter().any(|secret| secret.name_in_secrets().is_some()),
                kept("secrets", &|item| !is_for_us(item)),
            ),
            (
                "env_file",
                !supply.service.missing_env_files.is_empty(),
                kept("env_file", &|item| {
                    let path = item.as_str().or_else(|| item.get("path").and_then(Node::as_str)).unwrap_or_default();
                    !supply.service.missing_env_files.contains(&self.project.folder.join(path))
                }),
            ),
        ];
        for (key, needed, rest) in lists {
            match (needed, rest.is_empty()) {
                (false, _) => {}
                (true, true) => node.put(key, marked(Mark::Reset, self.list(Vec::new()))),
                (true, false) => node.put(key, marked(Mark::Override, self.list(rest))),
            }
        }
    }

    fn own(&self, service: &Service) -> Option<&Node> {
        self.project.tree.get("services").and_then(|services| services.get(&service.name))
    }

    fn has_memory(&self, supply: &Supply<'_>) -> bool {
        supply.service.tmpfs.iter().any(|path| path == DEFAULT_SECRETS_DIRECTORY)
    }

    /// What is mounted from the host, read-only.
    fn binds(&self, supply: &Supply<'_>) -> Vec<(PathBuf, &'static str)> {
        let mut binds = vec![(self.common.wrapper.clone(), WRAPPER)];
        binds.extend(self.common.socket_folder.iter().map(|folder| (folder.clone(), SOCKET_FOLDER)));
        // Swarm carries these itself, to whichever node the task runs on.
        if self.tool != Tool::Swarm {
            binds.extend(self.common.authority.iter().map(|(path, _)| (path.clone(), AUTHORITY)));
            binds.extend(supply.token.iter().map(|(path, _)| (path.clone(), TOKEN)));
        }
        binds
    }

    /// The host's file of a secret that a service wants outside of the secrets directory.
    fn file_elsewhere(&self, secret: &Mounted) -> Option<PathBuf> {
        let outside = secret.target.starts_with('/') && !secret.target.starts_with(DEFAULT_SECRETS_DIRECTORY);
        match self.project.secrets.get(&secret.source).map(|source| &source.origin) {
            Some(Origin::File(path)) if outside => Some(self.common.folder.join(path)),
            _ => None,
        }
    }

    /// Whether the entrypoint brings the secret to every service that asks for it, but for those that have it elsewhere.
    fn is_ours(&self, supplies: &[Supply<'_>], name: &str) -> bool {
        let uses: Vec<(&Service, &Mounted)> = self
            .project
            .services
            .iter()
            .flat_map(|service| {
                let of_service = service.secrets.iter().filter(|secret| secret.source == name);
                of_service.map(move |secret| (service, secret))
            })
            .collect();
        let placed = |secret: &Mounted| secret.name_in_secrets().is_some();
        let brought = |(service, secret): &(&Service, &Mounted)| {
            let supplied = supplies.iter().any(|supply| supply.service.name == service.name);
            (placed(secret) || self.file_elsewhere(secret).is_some()) && (supplied || !service.profiles.is_empty())
        };
        // One that is wanted elsewhere alone stays as it is.
        (uses.is_empty() || uses.iter().any(|(_, secret)| placed(secret))) && uses.iter().all(brought)
    }
}

/// Whether an item of a service's `secrets` is a file that the entrypoint brings.
fn is_for_us(item: &Node) -> bool {
    Mounted::read(item, false).is_some_and(|mounted| mounted.name_in_secrets().is_some())
}

/// Memory for the files: owned by the process, closed to others, twice as large as what goes in.
fn memory(supply: &Supply<'_>) -> String {
    let owner = supply.owner.map_or_else(String::new, |(uid, gid)| format!(",uid={uid},gid={gid}"));
    format!("{DEFAULT_SECRETS_DIRECTORY}:mode=0700,size={}m{owner}", megabytes(supply))
}

fn megabytes(supply: &Supply<'_>) -> usize {
    let bytes = |bundle: &Bundle| bundle.files.iter().map(|file| file.value.len()).sum::<usize>();
    let most = supply.bundles.iter().map(bytes).max().unwrap_or(0);
    (2 * most).div_ceil(1024 * 1024).max(1)
}

#[cfg(test)]
mod tests;
