//! Which stack, environment, region and service, at which server, as whom: and where each of these was said.
//!
//! Flags beat `CHANDLERY_…` variables, those beat the project's `chandlery.toml`, that beats the stored login, and that
//! beats the server that runs on this machine. A token that was stored for one server is never sent to another.

pub(crate) mod credentials;
pub(crate) mod hosts;
pub(crate) mod local;
mod machine;
pub(crate) mod project;
pub(crate) mod secure;
mod source;

use std::path::{Path, PathBuf};

use chandlery_wire::{EnvironmentName, Layer, NameError, RegionName, ServiceName, StackName, TokenText};

use crate::client::Client;
use crate::client::address::Address;
use crate::client::tls::{Fingerprint, Trust};
use crate::failure::{Exit, Failure};
use credentials::Credentials;
use local::Local;
use project::Project;
pub(crate) use source::{Item, Source, Surroundings};

/// The flags that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Context (also CHANDLERY_… variables and chandlery.toml)")]
pub(crate) struct Flags {
    /// The server: https://host or https://host:port, unix:///path, or http:// on this machine.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) addr: Option<String>,
    /// A file that holds the token, readable by nobody else.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The CA to trust: a PEM file.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "fingerprint")]
    pub(crate) cacert: Option<String>,
    /// The CA to trust: sha256: and the hex SHA-256 of its certificate.
    #[arg(long, global = true, value_name = "PIN")]
    pub(crate) fingerprint: Option<String>,
    /// The application: what compose and Swarm call a stack.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// production, staging, …
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// A region; `base` means the layer under all regions.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// The service whose view is asked for.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) service: Option<String>,
}

/// All that is known before the first request.
#[derive(Debug)]
pub(crate) struct Context {
    flags: Flags,
    pub(crate) surroundings: Surroundings,
    pub(crate) project: Option<Project>,
    pub(crate) credentials: Credentials,
    pub(crate) local: Option<Local>,
    pub(crate) stack: Option<Item<StackName>>,
    pub(crate) environment: Option<Item<EnvironmentName>>,
    pub(crate) layer: Option<Item<Layer>>,
    pub(crate) service: Option<Item<ServiceName>>,
}

/// How the server is reached. Kept apart from [`Context`], because `doctor` wants to know each fault of it by itself.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) address: Item<Address>,
    pub(crate) trust: Trust,
    pub(crate) trust_source: Option<Source>,
}

impl Context {
    pub(crate) fn gather(flags: Flags, surroundings: Surroundings) -> Result<Self, Failure> {
        let project = Project::find(&surroundings.folder)?;
        let credentials = Credentials::load(&surroundings)?;
        let local = Local::find(&surroundings);
        let mut context = Self {
            stack: None,
            environment: None,
            layer: None,
            service: None,
            flags,
            surroundings,
            project,
            credentials,
            local,
        };
        context.stack = context.name("--stack", "CHANDLERY_STACK", |flags| &flags.stack, |keys| &keys.stack)?;
        context.environment = context.name(
            "--environment",
            "CHANDLERY_ENVIRONMENT",
            |flags| &flags.environment,
            |keys| &keys.environment,
        )?;
        context.layer = context.name("--region", "CHANDLERY_REGION", |flags| &flags.region, |keys| &keys.region)?;
        context.service =
            context.name("--service", "CHANDLERY_SERVICE", |flags| &flags.service, |keys| &keys.service)?;
        Ok(context)
    }

    /// Where what a service gets is asked for and no region is said: the one that the machine is in. `auto` asks for that,
    /// of the cloud as well. What writes to a layer never guesses it.
    pub(crate) fn place_by_machine(&mut self) -> Result<(), Failure> {
        let auto = match &self.layer {
            None => false,
            Some(item) if item.value.as_str() == chandlery_wire::machine::AUTO => true,
            Some(_) => return Ok(()),
        };
        let found = match machine::of_file(&self.surroundings)? {
            None if auto => Some(machine::of_cloud(&self.surroundings)?),
            found => found,
        };
        if let Some(Item { value, source }) = found {
            self.layer = Some(Item { value: Layer::Overlay(value), source });
        }
        Ok(())
    }

    /// Flag, then variable, then the project's file.
    fn said(
        &self,
        flag: &'static str,
        variable: &'static str,
        of_flags: impl Fn(&Flags) -> &Option<String>,
        of_project: impl Fn(&project::Keys) -> &Option<String>,
    ) -> Result<Option<Item<String>>, Failure> {
        if let Some(value) = of_flags(&self.flags) {
            return Ok(Some(Item { value: value.clone(), source: Source::Flag(flag) }));
        }
        if let Some(value) = self.surroundings.text(variable)? {
            return Ok(Some(Item { value, source: Source::Variable(variable) }));
        }
        Ok(self.project.as_ref().and_then(|project| {
            let value = of_project(&project.keys).clone()?;
            Some(Item { value, source: Source::Project(project.path.clone()) })
        }))
    }

    fn name<T: std::str::FromStr<Err = NameError>>(
        &self,
        flag: &'static str,
        variable: &'static str,
        of_flags: impl Fn(&Flags) -> &Option<String>,
        of_project: impl Fn(&project::Keys) -> &Option<String>,
    ) -> Result<Option<Item<T>>, Failure> {
        let said = self.said(flag, variable, of_flags, of_project)?;
        said.map(|item| {
            let parsed = item.value.parse().map_err(|error: NameError| {
                Failure::usage(
                    format!("{}: {error}", item.source),
                    "names are taken exactly as they stand; correct it there",
                )
            });
            Ok(Item { value: parsed?, source: item.source })
        })
        .transpose()
    }

    /// What `login ADDR` says, as if `--addr` had said it.
    pub(crate) fn point_at(&mut self, address: Option<&str>) {
        if let Some(address) = address {
            self.flags.addr = Some(address.to_owned());
        }
    }

    /// What `promote FROM TO` says, as if `--environment` had said it.
    pub(crate) fn work_in(&mut self, environment: EnvironmentName) {
        self.environment = Some(Item { value: environment, source: Source::Flag("--environment") });
    }

    pub(crate) fn said_token_file(&self) -> Option<&Path> {
        self.flags.token_file.as_deref()
    }

    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        let address = self.address()?;
        let (trust, trust_source) = self.trust(&address)?;
        Ok(Connection { address, trust, trust_source })
    }

    pub(crate) fn address(&self) -> Result<Item<Address>, Failure> {
        let said = self.said("--addr", "CHANDLERY_ADDR", |flags| &flags.addr, |keys| &keys.addr)?;
        let login = || {
            let value = self.credentials.default_address()?.to_owned();
            Some(Item { value, source: Source::Login(self.credentials.path.clone()) })
        };
        let local = || {
            let local = self.local.as_ref()?;
            Some(Item { value: local.server.address.clone(), source: Source::Local(local.path.clone()) })
        };
        let Some(item) = said.or_else(login).or_else(local) else {
            return Err(Failure::usage(
                "it is not known where the server is",
                "start chandlery-server on this machine, or name one with --addr, CHANDLERY_ADDR or `chandlery login`",
            ));
        };
        let parsed = item.value.parse().map_err(|why: String| {
            Failure::usage(
                format!("the address from {}: {why}", item.source),
                "write https://host:8420 or unix:///path",
            )
        });
        Ok(Item { value: parsed?, source: item.source })
    }

    fn trust(&self, address: &Item<Address>) -> Result<(Trust, Option<Source>), Failure> {
        let pin =
            self.said("--fingerprint", "CHANDLERY_FINGERPRINT", |flags| &flags.fingerprint, |keys| &keys.fingerprint)?;
        let ca = self.said("--cacert", "CHANDLERY_CACERT", |flags| &flags.cacert, |keys| &keys.cacert)?;
        // What was said nearer wins; at the same place, only one of the two may be said.
        let rank = |source: &Source| match source {
            Source::Flag(_) => 0,
            Source::Variable(_) => 1,
            _ => 2,
        };
        match (pin, ca) {
            (Some(pin), Some(ca)) if rank(&pin.source) == rank(&ca.source) => Err(Failure::usage(
                format!("a CA file and a fingerprint are both given, by {} and {}", ca.source, pin.source),
                "keep one of them",
            )),
            (Some(pin), ca) if ca.as_ref().is_none_or(|ca| rank(&pin.source) < rank(&ca.source)) => {
                let parsed = fingerprint(&pin.value, &pin.source)?;
                Ok((Trust::Pinned(parsed), Some(pin.source)))
            }
            (_, Some(ca)) => Ok((authority(&ca.value, &ca.source)?, Some(ca.source))),
            _ => self.stored_trust(&address.value.to_string()),
        }
    }

    /// What is known about exactly this server, from the login or from its own file on this machine.
    fn stored_trust(&self, address: &str) -> Result<(Trust, Option<Source>), Failure> {
        if let Some(login) = self.credentials.servers.get(address) {
            let source = Source::Login(self.credentials.path.clone());
            if let Some(pin) = &login.fingerprint {
                return Ok((Trust::Pinned(fingerprint(pin, &source)?), Some(source)));
            }
            if let Some(ca) = &login.cacert {
                return Ok((authority(ca, &source)?, Some(source)));
            }
        }
        if let Some(local) = self.local.as_ref().filter(|local| local.serves(address)) {
            let source = Source::Local(local.path.clone());
            return Ok((authority(&local.server.ca_file, &source)?, Some(source)));
        }
        Ok((Trust::System, None))
    }

    /// The token for this server, if there is one.
    pub(crate) fn token(&self, address: &Address) -> Result<Option<Item<TokenText>>, Failure> {
        if let Some(path) = &self.flags.token_file {
            return token_file(path, Source::Flag("--token-file")).map(Some);
        }
        let direct = self.surroundings.variables.get("CHANDLERY_TOKEN").filter(|value| !value.is_empty());
        let named = self.surroundings.path("CHANDLERY_TOKEN_FILE");
        match (direct, named) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "CHANDLERY_TOKEN and CHANDLERY_TOKEN_FILE are both set",
                    "keep one; the file is better, because other processes of yours can read variables",
                ));
            }
            (Some(text), None) => {
                let source = Source::Variable("CHANDLERY_TOKEN");
                return parse_token(&text.to_string_lossy(), source).map(Some);
            }
            (None, Some(path)) => return token_file(&path, Source::Variable("CHANDLERY_TOKEN_FILE")).map(Some),
            (None, None) => {}
        }
        if let Some((project, path)) = self.project.as_ref().and_then(|project| Some((project, project.token_file()?)))
        {
            return token_file(&path, Source::Project(project.path.clone())).map(Some);
        }
        self.stored_token(&address.to_string())
    }

    fn stored_token(&self, address: &str) -> Result<Option<Item<TokenText>>, Failure> {
        if let Some(login) = self.credentials.servers.get(address) {
            return Ok(Some(Item { value: login.token.clone(), source: Source::Login(self.credentials.path.clone()) }));
        }
        if let Some(local) = self.local.as_ref().filter(|local| local.serves(address)) {
            return token_file(Path::new(&local.server.token_file), Source::Local(local.path.clone())).map(Some);
        }
        let mounted = secure::mounted_token(&self.surroundings);
        mounted.map(|path| token_file(&path, Source::Mounted(path.clone()))).transpose()
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let connection = self.connection()?;
        let token = self.token(&connection.address.value)?;
        Client::new(connection.address.value, &connection.trust, token.map(|item| item.value))
    }

    pub(crate) fn stack(&self) -> Result<&StackName, Failure> {
        let missing = || missing("stack", "--stack, CHANDLERY_STACK");
        self.stack.as_ref().map(|item| &item.value).ok_or_else(missing)
    }

    pub(crate) fn environment(&self) -> Result<&EnvironmentName, Failure> {
        let missing = || missing("environment", "--environment, CHANDLERY_ENVIRONMENT");
        self.environment.as_ref().map(|item| &item.value).ok_or_else(missing)
    }

    /// The region, where one is said and it is not `base`.
    pub(crate) fn region(&self) -> Option<&RegionName> {
        self.layer.as_ref().and_then(|item| item.value.region())
    }

    /// Whether the region was said with this very command, and not by the project or the shell.
    pub(crate) fn region_is_said(&self) -> bool {
        self.layer.as_ref().is_some_and(|item| matches!(item.source, Source::Flag(_)))
    }

    pub(crate) fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref().map(|item| &item.value)
    }

    /// The region and who told it, where that was the machine and nobody who works here.
    pub(crate) fn region_of_machine(&self) -> Option<&Item<Layer>> {
        self.layer.as_ref().filter(|item| matches!(item.source, Source::Machine(_) | Source::Metadata(_)))
    }

    /// The layer in words, for what was done to it; where it came from if nobody typed it just now.
    pub(crate) fn layer_in_words(&self) -> String {
        match &self.layer {
            None => "in base".to_owned(),
            Some(item) => {
                let layer = match &item.value {
                    Layer::Base => "in base".to_owned(),
                    Layer::Overlay(region) => format!("in region {region}"),
                };
                match item.source {
                    Source::Flag(_) => layer,
                    _ => format!("{layer} (from {})", item.source),
                }
            }
        }
    }
}

fn missing(what: &str, how: &str) -> Failure {
    Failure::usage(
        format!("it is not known which {what} is meant"),
        format!("say it with {how} or a chandlery.toml, which `chandlery init` writes"),
    )
}

pub(crate) fn fingerprint(text: &str, source: &Source) -> Result<Fingerprint, Failure> {
    text.parse().map_err(|why: String| Failure::usage(format!("{source}: {why}"), "copy it as the server printed it"))
}

/// A path, or the PEM itself, which is how CI systems hand certificates over.
pub(crate) fn authority(text: &str, source: &Source) -> Result<Trust, Failure> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(Trust::Authority(text.as_bytes().to_vec()));
    }
    std::fs::read(text).map(Trust::Authority).map_err(|error| {
        Failure::usage(
            format!("the CA file {text}, named by {source}, cannot be read: {error}"),
            "name the tls/ca.crt of the server's data directory, or pin it with --fingerprint",
        )
    })
}

fn token_file(path: &Path, source: Source) -> Result<Item<TokenText>, Failure> {
    let text = secure::read_token_file(path)?;
    parse_token(&text, source)
}

pub(crate) fn parse_token(text: &str, source: Source) -> Result<Item<TokenText>, Failure> {
    let token = TokenText::parse(text).map_err(|error| {
        let hint = "copy the whole token again, as `chandlery token create` printed it";
        Failure::new(Exit::Refused, format!("the token from {source}: {error}"), hint)
    });
    Ok(Item { value: token?, source })
}
