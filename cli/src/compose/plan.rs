//! What an import makes of a project: entries, for whom each is, and which are secrets.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::dangerous::is_dangerous;
use chandlery_wire::guess::{is_address, secret_by_name, why_secret, why_source};
use chandlery_wire::{Delivery, EntryName, FileAttributes, Grant, MAX_VALUE_BYTES, Mode, ServiceName, Value};

use super::service::Mounted;
use super::sources::{Origin, Source};
use super::variables::Given;
use super::{Project, Service, World};

/// What the user says that the guess must not.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) secret: BTreeSet<String>,
    pub(crate) plain: BTreeSet<String>,
    /// Services that are not looked at.
    pub(crate) except: BTreeSet<String>,
    /// Keep the newline at the end of a secret's file.
    pub(crate) no_trim: bool,
}

/// An entry that should be in the store.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: EntryName,
    pub(crate) services: BTreeSet<ServiceName>,
    pub(crate) value: Value,
    pub(crate) deliver: Delivery,
    /// Why it is a secret; `None` where it is plain.
    pub(crate) secret: Option<String>,
    /// Where it was found first.
    pub(crate) from: String,
    pub(crate) said: Said,
}

/// What is not a guess or a default, and so counts beside what the store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The user says that it is a secret, or that it is none.
    pub(crate) secret: Option<bool>,
    /// The file says the owner or the mode.
    pub(crate) attributes: bool,
}

/// A value that a service needs, and that is not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) name: EntryName,
    pub(crate) services: BTreeSet<ServiceName>,
    pub(crate) why: String,
    /// The command that sets it.
    pub(crate) command: String,
}

/// Everything that an import would do, before anybody looked into the store.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) services: Vec<ServiceName>,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) left: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) faults: Vec<String>,
}

fn grant(services: &BTreeSet<ServiceName>) -> Grant {
    Grant::to(services.iter().cloned().collect()).unwrap_or(Grant::All)
}

impl Plan {
    pub(crate) fn of(project: &Project, world: &World<'_>, wishes: &Wishes) -> Self {
        let mut plan = Self { left: project.left.clone(), notes: project.notes.clone(), ..Self::default() };
        for service in project.services.iter().filter(|service| !wishes.except.contains(&service.name)) {
            match ServiceName::parse(service.name.as_str()) {
                Ok(name) => {
                    plan.service(project, world, wishes, service, &name);
                    plan.services.push(name);
                }
                Err(error) => plan.faults.push(format!(
                    "{}: {}: {error}; --except {} leaves the service out",
                    service.at, service.name, service.name
                )),
            }
        }
        plan.check_wishes(wishes);
        plan.unify();
        plan.heed(wishes);
        plan.unasked(project);
        plan
    }

    fn service(
        &mut self,
        project: &Project,
        world: &World<'_>,
        wishes: &Wishes,
        service: &Service,
        name: &ServiceName,
    ) {
        for variable in &service.variables {
            let what = format!("{}: {name}.{}", variable.at, variable.name);
            if variable.name.starts_with("CHANDLERY_") {
                self.left.push(format!("{what} is for Chandlery itself"));
                continue;
            }
            if is_dangerous(&variable.name) {
                self.left.push(format!(
                    "{what} changes which code runs, so the entrypoint refuses it from the store; it stays in the file"
                ));
                continue;
            }
            let entry = EntryName::parse(variable.name.as_str()).ok().filter(|name| name.as_variable().is_some());
            let Some(entry) = entry else {
                self.left.push(format!("{what} has a name that no shell can assign to; it stays in the file"));
                continue;
            };
            let value = match (&variable.given, variable.lacks()) {
                (Given::Value(value), None) => value.clone(),
                (_, why) => {
                    let why = why.unwrap_or_default();
                    // An address is as secret as the password that is to come into it.
                    let names = variable.uses.iter().map(|used| &used.name).chain([&variable.name]);
                    let named = names.into_iter().any(|name| secret_by_name(name).is_some() || is_address(name));
                    let plain = !named && !wishes.secret.contains(&variable.name);
                    let flags = if plain { " --plain" } else { "" };
                    self.lack(entry, name, why, |name, grant| format!("chandlery set {name}{flags} --for {grant}"));
                    continue;
                }
            };
            let secret = secret(variable.name.as_str(), &value, wishes, None).or_else(|| {
                let sources = variable.uses.iter().map(|used| used.name.as_str());
                let guessed = !wishes.plain.contains(&variable.name);
                sources.filter(|_| guessed).find_map(|source| why_source(source, value.expose_secret()))
            });
            self.want(entry, name, value, Delivery::Variable, secret, variable.at.to_string());
        }
        for mounted in &service.secrets {
            let source = &project.secrets[&mounted.source];
            let Some(file) = mounted.name_in_secrets() else {
                self.left.push(format!(
                    "{}: {name} wants the secret {} at {}; the entrypoint places files in {} only, so it stays with compose",
                    mounted.at,
                    mounted.source,
                    mounted.target,
                    chandlery_wire::DEFAULT_SECRETS_DIRECTORY
                ));
                continue;
            };
            self.file(project, world, wishes, (mounted, source, file), name, Some("under secrets"));
        }
        for mounted in &service.configs {
            let source = &project.configs[&mounted.source];
            let base = mounted.target.rsplit('/').next().unwrap_or_default();
            let elsewhere = mounted.name_in_secrets().is_none();
            if elsewhere && matches!(source.origin, Origin::External(_)) {
                self.left.push(format!(
                    "{}: {name} wants the config {} at {}; Swarm has it and mounts it, so nothing is to be done",
                    mounted.at, mounted.source, mounted.target
                ));
                continue;
            }
            if elsewhere {
                self.left.push(format!(
                    "{}: {name} wants the config {} at {}; it is imported as a file for {}/{base}, and compose goes on mounting its own",
                    mounted.at,
                    mounted.source,
                    mounted.target,
                    chandlery_wire::DEFAULT_SECRETS_DIRECTORY
                ));
            }
            self.file(project, world, wishes, (mounted, source, base), name, None);
        }
    }

    fn file(
        &mut self,
        project: &Project,
        world: &World<'_>,
        wishes: &Wishes,
        (mounted, source, file): (&Mounted, &Source, &str),
        service: &ServiceName,
        kind: Option<&str>,
    ) {
        let at = &mounted.at;
        let (entry, deliver) = match (EntryName::parse(file), attributes(mounted)) {
            (Ok(entry), Ok(attributes)) => (entry, Delivery::File(attributes)),
            (Err(error), _) => return self.faults.push(format!("{at}: {error}")),
            (_, Err(why)) => return self.faults.push(format!("{at}: {}: {why}", mounted.source)),
        };
        let value = match source.content(project, world) {
            Ok(Some(value)) => value,
            Ok(None) if source.origin == Origin::Driver => {
                return self
                    .left
                    .push(format!("{}: a plug-in makes {}; it stays with Swarm", source.at, mounted.source));
            }
            found => {
                let external = "it is external: Swarm has it and does not give it back".to_owned();
                let why = found.err().unwrap_or(external);
                let flags = flags(&deliver, kind.is_none());
                return self.lack(entry, service, why, |name, grant| {
                    format!("chandlery set {name} @FILE {flags} --for {grant}")
                });
            }
        };
        let value = if kind.is_some() && !wishes.no_trim { self.trimmed(value, file, &source.at) } else { value };
        let secret = secret(file, &value, wishes, kind);
        let from = match &source.origin {
            Origin::File(path) => path.display().to_string(),
            _ => source.at.to_string(),
        };
        self.want(entry.clone(), service, value, deliver, secret, from);
        if [&mounted.mode, &mounted.uid, &mounted.gid].into_iter().any(Option::is_some) {
            let this = |wanted: &&mut Wanted| wanted.name == entry && wanted.services.contains(service);
            self.wanted.iter_mut().filter(this).for_each(|wanted| wanted.said.attributes = true);
        }
    }

    /// One line with a newline at its end is a password that an editor saved: the newline is not meant (and broke an app
    /// that reads the file byte for byte). A file of several lines is kept as it is.
    fn trimmed(&mut self, value: Value, file: &str, at: &super::Place) -> Value {
        let (trimmed, had_newline) = value.trimmed();
        if !had_newline || trimmed.expose_secret().contains(&b'\n') {
            return value;
        }
        let note = format!("{at}: took the newline off the end of {file}; --no-trim keeps it");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        trimmed
    }

    fn want(
        &mut self,
        name: EntryName,
        service: &ServiceName,
        value: Value,
        deliver: Delivery,
        secret: Option<String>,
        from: String,
    ) {
        if value.len() > MAX_VALUE_BYTES {
            return self.faults.push(format!("{from}: the value of {name} is larger than 512 KiB"));
        }
        if self.wanted.iter().any(|known| known.name == name && known.services.contains(service)) {
            return self
                .faults
                .push(format!("{from}: {service} has {name} both as a variable and as a file, or twice as a file"));
        }
        let same = |known: &&mut Wanted| known.name == name && known.value == value && known.deliver == deliver;
        match self.wanted.iter_mut().find(same) {
            Some(known) => {
                known.services.insert(service.clone());
            }
            None => {
                let services = BTreeSet::from([service.clone()]);
                let said = Said::default();
                self.wanted.push(Wanted { name, services, value, deliver, secret, from, said });
            }
        }
    }

    fn lack(
        &mut self,
        name: EntryName,
        service: &ServiceName,
        why: String,
        command: impl Fn(&EntryName, &Grant) -> String,
    ) {
        let known = self.absent.iter_mut().find(|known| known.name == name && known.why == why);
        let services: BTreeSet<ServiceName> = known
            .as_ref()
            .map(|known| known.services.clone())
            .unwrap_or_default()
            .into_iter()
            .chain([service.clone()])
            .collect();
        let absent = Absent { command: command(&name, &grant(&services)), name, services, why };
        match known {
            Some(known) => *known = absent,
            None => self.absent.push(absent),
        }
    }

    /// A name that is a secret for one service is one for all: half a secret is none.
    fn unify(&mut self) {
        let mut reasons: BTreeMap<EntryName, String> = BTreeMap::new();
        for wanted in &self.wanted {
            if let Some(why) = &wanted.secret {
                reasons.entry(wanted.name.clone()).or_insert_with(|| why.clone());
            }
        }
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.secret.is_none()) {
            wanted.secret = reasons.get(&wanted.name).cloned();
        }
        self.wanted.sort_by(|a, b| (&a.name, &a.services).cmp(&(&b.name, &b.services)));
        self.absent.sort_by(|a, b| (&a.name, &a.services).cmp(&(&b.name, &b.services)));
    }

    fn heed(&mut self, wishes: &Wishes) {
        for wanted in &mut self.wanted {
            let (secret, plain) = (&wishes.secret, &wishes.plain);
            let name = wanted.name.as_str();
            wanted.said.secret = plain.contains(name).then_some(false).or(secret.contains(name).then_some(true));
        }
    }

    /// A name that is picked out and not there is a typing error, which would show a secret in silence.
    fn check_wishes(&mut self, wishes: &Wishes) {
        for (option, names) in [("--secret", &wishes.secret), ("--plain", &wishes.plain)] {
            for name in names {
                let known =
                    self.wanted.iter().map(|wanted| &wanted.name).chain(self.absent.iter().map(|absent| &absent.name));
                if !known.into_iter().any(|known| known.as_str() == name) {
                    self.faults.push(format!("{option}: {name} is in none of the files"));
                }
            }
        }
    }

    fn unasked(&mut self, project: &Project) {
        for (kind, sources) in [("secret", &project.secrets), ("config", &project.configs)] {
            for (name, source) in sources {
                let asked = |mounted: &Vec<Mounted>| mounted.iter().any(|mounted| &mounted.source == name);
                if !project.services.iter().any(|service| asked(&service.secrets) || asked(&service.configs)) {
                    self.left.push(format!("{}: no service asks for the {kind} {name}", source.at));
                }
            }
        }
    }
}

fn secret(name: &str, value: &Value, wishes: &Wishes, kind: Option<&str>) -> Option<String> {
    if wishes.plain.contains(name) {
        return None;
    }
    if wishes.secret.contains(name) {
        return Some("you say so".to_owned());
    }
    kind.map(str::to_owned).or_else(|| why_secret(name, value.expose_secret()))
}

/// Owner and mode as the file says, and where it says nothing the mode that compose and Swarm have: 0444. Images that
/// give up root before they read their password file depend on it.
fn attributes(mounted: &Mounted) -> Result<FileAttributes, String> {
    let id = |text: &Option<String>| text.as_ref().map(|text| text.parse::<u32>()).transpose();
    let (Ok(uid), Ok(gid)) = (id(&mounted.uid), id(&mounted.gid)) else {
        return Err("uid and gid are numbers".to_owned());
    };
    let mode: Mode =
        mounted.mode.as_deref().unwrap_or("0444").parse().map_err(|_| "its mode is not a file's".to_owned())?;
    Ok(FileAttributes { mode, uid, gid, variable: None })
}

fn flags(deliver: &Delivery, plain: bool) -> String {
    let mut flags = if plain { "--file --plain".to_owned() } else { "--file".to_owned() };
    if let Delivery::File(file) = deliver {
        flags.push_str(&format!(" --mode {}", file.mode));
        file.uid.iter().for_each(|uid| flags.push_str(&format!(" --uid {uid}")));
        file.gid.iter().for_each(|gid| flags.push_str(&format!(" --gid {gid}")));
    }
    flags
}
