//! One service, as far as Chandlery has to know it.

use std::path::PathBuf;

use chandlery_wire::guess;

use super::Fault;
use super::Place;
use super::merge::container_path;
use super::variables::{Reader, Variable};
use super::words;
use super::yaml::{Kind, Node};

/// Where compose and Swarm put secrets, and Chandlery's entrypoint its files.
const SECRETS: &str = chandlery_wire::DEFAULT_SECRETS_DIRECTORY;

/// The keys of a service that compose 1.29, Compose 2 or Swarm know (Compose specification, `spec.json`; and what the
/// older schemas had besides). Another is a typing error, or newer than this list.
const KNOWN: &str = "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs \
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset \
    credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint \
    env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc \
    isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models \
    net network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop \
    privileged profiles provider pull_policy pull_refresh_after read_only restart runtime scale secrets security_opt \
    shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user \
    userns_mode uts volume_driver volumes volumes_from working_dir log_driver log_opt build.args";

/// A service of the files.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) at: Place,
    pub(crate) image: Option<String>,
    pub(crate) build: bool,
    pub(crate) profiles: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) entrypoint: Command,
    pub(crate) command: Command,
    /// The texts of `healthcheck.test`.
    pub(crate) healthcheck: Vec<String>,
    pub(crate) variables: Vec<Variable>,
    /// `env_file`s that are not there.
    pub(crate) missing_env_files: Vec<PathBuf>,
    pub(crate) secrets: Vec<Mounted>,
    pub(crate) configs: Vec<Mounted>,
    /// Paths that are in memory already.
    pub(crate) tmpfs: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
}

/// What a file says of `entrypoint` or `command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing: the image's own counts.
    Unsaid,
    Words(Vec<String>),
}

/// A secret or config that a service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) source: String,
    /// A name, or an absolute path.
    pub(crate) target: String,
    pub(crate) uid: Option<String>,
    pub(crate) gid: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) at: Place,
}

impl Mounted {
    /// An item of `secrets` or `configs`, short or long.
    pub(super) fn read(item: &Node, config: bool) -> Option<Self> {
        let text = |key: &str| item.get(key).and_then(Node::as_str).map(str::to_owned);
        let source = item.as_str().map(str::to_owned).or_else(|| text("source"))?;
        // Swarm puts a config without a target at the root, under its name.
        let usual = if config { format!("/{source}") } else { source.clone() };
        let target = text("target").filter(|target| !target.is_empty()).unwrap_or(usual);
        let mode = item.get("mode").and_then(octal);
        Some(Self { source, target, uid: text("uid"), gid: text("gid"), mode, at: item.at.clone() })
    }

    /// The file's name in `/run/secrets`, where that is its place.
    pub(crate) fn name_in_secrets(&self) -> Option<&str> {
        let name = match self.target.strip_prefix(SECRETS) {
            Some(rest) => rest.strip_prefix('/')?,
            None => &self.target,
        };
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

impl Service {
    pub(super) fn read(name: &str, node: &Node, reader: &mut Reader<'_>, left: &mut Vec<String>) -> Self {
        let (variables, missing_env_files) = reader.read(node);
        let text = |key: &str| node.get(key).and_then(Node::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let list = |key: &str| node.get(key).map(Node::strings).unwrap_or_default();
        for (key, value) in node.pairs() {
            if !key.starts_with("x-") && !KNOWN.split_whitespace().any(|known| known == key) {
                left.push(format!("{}: {name}.{key} is no key that is known here; it stays with compose", value.at));
            }
        }
        conspicuous(name, node, left);
        check_shapes(name, node, reader.faults);
        let volumes = node.get("volumes").map(Node::items).unwrap_or_default();
        for volume in volumes {
            if container_path(volume).is_some_and(|path| path.starts_with(SECRETS)) {
                left.push(format!("{}: {name} mounts a volume below {SECRETS}; it is not imported", volume.at));
            }
        }
        let in_memory = |volume: &&Node| volume.get("type").and_then(Node::as_str) == Some("tmpfs");
        let mut tmpfs: Vec<String> = volumes.iter().filter(in_memory).filter_map(container_path).collect();
        tmpfs.extend(list("tmpfs").iter().map(|text| text.split(':').next().unwrap_or_default().to_owned()));
        let mut command = |key: &str| command(name, key, node, reader.faults);
        Self {
            name: name.to_owned(),
            at: node.at.clone(),
            image: text("image"),
            build: node.get("build").is_some_and(|build| !build.is_null()),
            profiles: list("profiles"),
            user: text("user"),
            entrypoint: command("entrypoint"),
            command: command("command"),
            healthcheck: health_check(node),
            variables,
            missing_env_files,
            secrets: mounted(node, "secrets", reader.faults),
            configs: mounted(node, "configs", reader.faults),
            tmpfs,
            cap_drop: list("cap_drop"),
        }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// Whether the container takes up changes by itself: the file tells the entrypoint to watch, by the entrypoint's own
    /// variable, read as the entrypoint reads it.
    pub(crate) fn watches(&self) -> bool {
        let said = self.variable("CHANDLERY_WATCH").and_then(Variable::text);
        said.is_some_and(|text| matches!(text, "1" | "true" | "yes" | "on"))
    }
}

/// What is read of a service, where it is of another kind than compose takes: it would be passed over in silence.
fn check_shapes(name: &str, node: &Node, faults: &mut Vec<Fault>) {
    const LISTS: [&str; 5] = ["secrets", "configs", "profiles", "cap_drop", "volumes"];
    const TEXTS_OR_LISTS: [&str; 2] = ["env_file", "tmpfs"];
    for (key, value) in node.pairs() {
        let (is_list, is_text) = (matches!(value.kind, Kind::List(_)), matches!(value.kind, Kind::Scalar(_)));
        let expected = match key.as_str() {
            _ if value.is_null() => continue,
            key if LISTS.contains(&key) && !is_list => "a list",
            key if TEXTS_OR_LISTS.contains(&key) && !is_list && !is_text => "a text or a list",
            "healthcheck" if !matches!(value.kind, Kind::Map(_)) => "a map",
            "image" | "user" if !is_text => "a text",
            _ => continue,
        };
        faults.push(Fault::new(&value.at, format!("{name}.{key} is not {expected}, which compose wants there")));
    }
}

/// Switched off is a check too: that of the image does not come in its place.
fn health_check(node: &Node) -> Vec<String> {
    let Some(check) = node.get("healthcheck") else { return Vec::new() };
    let off = check.get("disable").is_some_and(Node::is_true);
    if off { vec!["NONE".to_owned()] } else { check.get("test").map(Node::strings).unwrap_or_default() }
}

fn command(service: &str, key: &str, node: &Node, faults: &mut Vec<Fault>) -> Command {
    let Some(found) = node.get(key).filter(|found| !found.is_null()) else { return Command::Unsaid };
    match &found.kind {
        Kind::List(items) => Command::Words(items.iter().filter_map(Node::as_str).map(str::to_owned).collect()),
        _ => match found.as_str().map(words::split) {
            Some(Some(words)) => Command::Words(words),
            _ => {
                faults.push(Fault::new(&found.at, format!("{service}.{key} is no command: a quote is not closed?")));
                Command::Unsaid
            }
        },
    }
}

fn mounted(node: &Node, key: &str, faults: &mut Vec<Fault>) -> Vec<Mounted> {
    let mut found = Vec::new();
    for item in node.get(key).map(Node::items).unwrap_or_default() {
        match Mounted::read(item, key == "configs") {
            Some(mounted) => found.push(mounted),
            None => faults.push(Fault::new(&item.at, format!("an item of {key} names no source"))),
        }
    }
    found
}

/// `0440` is a number to YAML, in octal, and `"0440"` means the same; `288` is that number in decimal.
fn octal(node: &Node) -> Option<String> {
    let scalar = node.scalar()?;
    let text = scalar.text.as_str();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match (scalar.plain && !digits.starts_with('0')).then(|| digits.parse::<u32>()) {
        Some(Ok(number)) => Some(format!("{number:04o}")),
        _ => Some(digits.to_owned()),
    }
}

/// What looks like a secret where Chandlery does not take it from, and where anybody can see it.
fn conspicuous(name: &str, node: &Node, left: &mut Vec<String>) {
    let build = node.get("build").and_then(|build| build.get("args")).map(Node::pairs).unwrap_or_default();
    let labels = node.get("labels").map(Node::pairs).unwrap_or_default();
    for (place, pairs) in [("build.args", build), ("labels", labels)] {
        for (key, value) in pairs {
            if let Some(why) = value.as_str().and_then(|text| guess::why_secret(key, text.as_bytes())) {
                left.push(format!(
                    "{}: {name}.{place}.{key} looks like a secret ({why}) and is not imported",
                    value.at
                ));
            }
        }
    }
    for key in ["command", "entrypoint"] {
        let Some(found) = node.get(key) else { continue };
        let words: Vec<String> =
            found.strings().iter().flat_map(|text| words::split(text).unwrap_or_default()).collect();
        if let Some(why) = guess::why_words(&words) {
            left.push(format!(
                "{}: {name}.{key} looks as if it held a secret ({why}); everybody can read it with ps",
                found.at
            ));
        }
    }
}
