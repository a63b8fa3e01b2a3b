//! Who the containers are to the server, and how they reach it.
//!
//! Tokens are files of mode 0600 in a folder of mode 0700 outside the project: there, no image that is built from the
//! project's folder takes them in. Each is for one service in one region, and expires.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chandlery_wire::api::{CreateToken, CreatedToken, TokenInfo, TokenList};
use chandlery_wire::{EnvironmentName, RegionName, Scope, ServiceName, StackName, Verb};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use ring::digest;

use super::super::token::seconds;
use super::program;
use crate::client::address::Address;
use crate::client::tls::Trust;
use crate::client::{self, Client};
use crate::compose::overlay::{AUTHORITY, SOCKET_FOLDER, TOKEN};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Kind {
    /// A token for each service, made when it is needed and kept in a file.
    #[default]
    Token,
    /// None: the server tells the container by its unix socket.
    Socket,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Identity")]
pub(crate) struct IdentityArgs {
    /// How the containers say who they are.
    #[arg(long, value_enum, default_value_t)]
    identity: Kind,
    /// Where the containers reach the server, if not where this command does: https://host:8420.
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// The server's unix socket on the containers' host; its folder is mounted into them.
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    socket: Option<PathBuf>,
    /// How long a token is good for: 12h, 90d. It is made anew by `up` when half of that is over.
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "90d")]
    token_expires: u64,
    /// The static chandlery-entrypoint on the containers' host.
    #[arg(long, value_name = "FILE")]
    pub(super) entrypoint: Option<PathBuf>,
    /// Where tokens are kept; by default below $XDG_STATE_HOME/chandlery/stacks.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// The way from a container to the server.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) address: String,
    /// The server's socket on the host.
    pub(super) socket: Option<PathBuf>,
    /// The CA's certificate, as a file of ours, and its digest.
    pub(super) authority: Option<(PathBuf, String)>,
    fingerprint: Option<String>,
}

impl Road {
    /// The variables by which the entrypoint finds the server.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("CHANDLERY_ADDR", self.address.clone())];
        variables.extend(self.authority.iter().map(|_| ("CHANDLERY_CACERT", AUTHORITY.to_owned())));
        variables.extend(self.fingerprint.iter().map(|pin| ("CHANDLERY_FINGERPRINT", pin.clone())));
        variables
    }
}

/// The folder of one project's tokens.
#[derive(Debug)]
pub(super) struct State {
    pub(super) folder: PathBuf,
}

impl State {
    /// Without making it.
    pub(super) fn of(args: &IdentityArgs, context: &Context, folder: &Path) -> Result<Self, Failure> {
        let home = || context.surroundings.path("HOME").map(|home| home.join(".local/state"));
        let usual = || context.surroundings.path("XDG_STATE_HOME").filter(|path| path.is_absolute()).or_else(home);
        let base =
            args.state_dir.clone().or_else(|| usual().map(|path| path.join("chandlery/stacks"))).ok_or_else(|| {
                Failure::usage(
                    "it is not known where to keep tokens: HOME is not set",
                    "name a folder with --state-dir",
                )
            })?;
        let base = std::path::absolute(&base).unwrap_or(base);
        Ok(Self { folder: base.join(folder) })
    }

    pub(super) fn make(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            let what = format!("the folder {} cannot be made: {error}", self.folder.display());
            Failure::failed(what, "name one that you may write to with --state-dir")
        };
        let tokens = self.folder.join("tokens");
        DirBuilder::new().recursive(true).mode(0o700).create(&tokens).map_err(failed)?;
        for folder in [&self.folder, &tokens] {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(())
    }

    fn token(&self, service: &str) -> PathBuf {
        self.folder.join("tokens").join(service)
    }

    /// The tokens that were made for each service; the last one is in the file.
    fn index(&self) -> BTreeMap<String, Vec<String>> {
        let text = fs::read(self.folder.join("tokens.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write_index(&self, index: &BTreeMap<String, Vec<String>>) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(index)
            .map_err(|_| Failure::failed("the list of tokens cannot be written", ""))?;
        output::private_file(&self.folder.join("tokens.json"), &text)
    }

    /// Revokes the tokens and takes the files away. The ids of those that could not be revoked stay, for the next time; such
    /// a token expires.
    pub(super) fn forget(&self, client: Result<Client, Failure>) {
        let mut left = self.index();
        let mut why = client.as_ref().err().cloned();
        for ids in left.values_mut() {
            ids.retain(|id| match &client {
                // Who does not answer now is not asked for each.
                Ok(client) if !why.as_ref().is_some_and(|why| why.exit == Exit::Unreachable) => {
                    let gone: Result<TokenInfo, Failure> = client.delete(&client::Path::new(&["tokens", id]));
                    let failure = gone.err().filter(|failure| failure.exit != Exit::NotFound);
                    let stays = failure.is_some();
                    why = failure.or_else(|| why.take());
                    stays
                }
                _ => true,
            });
        }
        left.retain(|_, ids| !ids.is_empty());
        let gone = if left.is_empty() { self.folder.clone() } else { self.folder.join("tokens") };
        if gone.is_dir() && fs::remove_dir_all(&gone).is_err() {
            output::note(&format!("note: {} could not be removed", gone.display()));
        }
        let Some(why) = why.filter(|_| !left.is_empty()) else { return };
        let ids: Vec<&str> = left.values().flatten().map(String::as_str).collect();
        output::note(&format!(
            "note: {} of the containers' tokens could not be revoked, and hold until they expire: {}\n  hint: when the server \
             answers, `chandlery stack down` again revokes them; or chandlery token revoke ID for each of {}",
            ids.len(),
            why.what,
            ids.join(" ")
        ));
        // Those that are revoked already are not found the next time, which is in order.
        let _ = self.write_index(&left);
    }
}

/// Where a token is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scopes<'a> {
    pub(super) stack: &'a StackName,
    pub(super) environment: &'a EnvironmentName,
    pub(super) region: Option<&'a RegionName>,
}

/// A service, and whether others than root have to read its token.
pub(super) struct Holder {
    pub(super) service: ServiceName,
    pub(super) for_others: bool,
}

impl IdentityArgs {
    pub(super) fn is_token(&self) -> bool {
        self.identity == Kind::Token
    }

    /// The program that is mounted into the containers.
    pub(super) fn program(&self, context: &Context) -> Result<PathBuf, Failure> {
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("chandlery-entrypoint")));
        let usual = [
            Some(PathBuf::from("/usr/local/bin/chandlery-entrypoint")),
            Some("/usr/bin/chandlery-entrypoint".into()),
            beside,
        ];
        let said = self.entrypoint.clone().or_else(|| context.surroundings.path("CHANDLERY_ENTRYPOINT"));
        let found = match &said {
            Some(path) => path.is_file().then(|| path.clone()),
            None => usual.into_iter().flatten().find(|path| path.is_file()),
        };
        let missing = || {
            let what = match &said {
                Some(path) => format!("there is no program {}", path.display()),
                None => "there is no chandlery-entrypoint to mount into the containers".to_owned(),
            };
            Failure::usage(what, "name the static one with --entrypoint or CHANDLERY_ENTRYPOINT")
        };
        let found = found.ok_or_else(missing)?;
        let found = found.canonicalize().map_err(|_| missing())?;
        program::is_ours(&found)?;
        Ok(found)
    }

    /// How the containers reach the server: where they are told to; over the socket of the server on this host; else at
    /// the address that this command uses, if others can use it too.
    ///
    /// On another Docker host, a socket is only one that was named for it.
    pub(super) fn road(&self, context: &Context, state: &State, elsewhere: bool) -> Result<Road, Failure> {
        let connection = context.connection()?;
        let local = context.local.as_ref().and_then(|local| local.server.socket.clone()).map(PathBuf::from);
        let local = local.filter(|_| !elsewhere);
        let own = &connection.address.value;
        let socket = self.socket.clone().or_else(|| match own {
            Address::Unix(path) if !elsewhere => Some(path.clone()),
            _ => None,
        });
        let reachable =
            self.server.is_some() || matches!(own, Address::Tls(endpoint, _) if !is_loopback(&endpoint.host));
        let socket = match (socket, self.identity, reachable) {
            _ if self.server.is_some() => None,
            (Some(socket), ..) => Some(socket),
            (None, Kind::Token, true) => None,
            (None, ..) => Some(local.ok_or_else(|| {
                let hint = "name an address with --server https://…, or the server's socket with --socket";
                Failure::usage(format!("containers cannot reach the server at {own}"), hint)
            })?),
        };
        if let Some(socket) = socket {
            return over(&socket);
        }
        if self.identity == Kind::Socket {
            let hint = "leave --server out, and name the server's socket with --socket";
            return Err(Failure::usage("--identity socket goes over a socket, and --server names an address", hint));
        }
        let address = self.server.clone().unwrap_or_else(|| own.to_string());
        let (mut authority, mut fingerprint) = (None, None);
        match &connection.trust {
            Trust::System => {}
            Trust::Pinned(pin) => fingerprint = Some(pin.to_string()),
            Trust::Authority(pem) => {
                state.make()?;
                let path = state.folder.join("ca.crt");
                make_room(&path)?;
                output::private_file(&path, pem)?;
                // It is no secret, and the container may not be root.
                let _ = fs::set_permissions(&path, Permissions::from_mode(0o444));
                authority = Some((path, short_digest(pem)));
            }
        }
        Ok(Road { address, socket: None, authority, fingerprint })
    }

    /// A token file for each service: what is there is kept while more than half of its time is left.
    pub(super) fn tokens(
        &self,
        client: &Client,
        state: &State,
        scopes: Scopes<'_>,
        holders: &[Holder],
    ) -> Result<BTreeMap<ServiceName, (PathBuf, String)>, Failure> {
        state.make()?;
        let list: TokenList = client.get(&client::Path::new(&["tokens"]))?;
        let mut index = state.index();
        let mut made = BTreeSet::new();
        let mut tokens = BTreeMap::new();
        for holder in holders {
            let service = &holder.service;
            let scope = Scope {
                stack: Some(scopes.stack.clone()),
                environment: Some(scopes.environment.clone()),
                region: scopes.region.cloned(),
                service: Some(service.clone()),
            };
            let path = state.token(service.as_str());
            let ids = index.entry(service.to_string()).or_default();
            let known = ids.last().and_then(|id| list.tokens.iter().find(|token| token.id == *id));
            let fresh = known.is_some_and(|token| self.is_fresh(token, &scope)) && path.is_file();
            if !fresh {
                let info = self.mint(client, scope, &path)?;
                ids.push(info.id);
                // At once: a token whose id is not written down could not be revoked.
                state.write_index(&index)?;
                made.insert(service.as_str());
            }
            close(&path, holder.for_others)?;
            let id = index.get(service.as_str()).and_then(|ids| ids.last()).cloned().unwrap_or_default();
            tokens.insert(service.clone(), (path, id));
        }
        if !made.is_empty() {
            let names = made.into_iter().collect::<Vec<_>>().join(", ");
            output::note(&format!("made tokens for {names}; they are in {}", state.folder.display()));
        }
        Ok(tokens)
    }

    fn is_fresh(&self, token: &TokenInfo, scope: &Scope) -> bool {
        let half = SignedDuration::from_secs(i64::try_from(self.token_expires / 2).unwrap_or(i64::MAX));
        let expires = token.expires.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
        let long = expires.is_some_and(|expires| expires.duration_since(Timestamp::now()) > half);
        long && token.revoked.is_none() && token.scopes == [scope.clone()] && token.verbs == [Verb::ReadBundle]
    }

    fn mint(&self, client: &Client, scope: Scope, path: &Path) -> Result<TokenInfo, Failure> {
        let request = CreateToken {
            description: format!("containers of {scope}, by chandlery stack"),
            verbs: vec![Verb::ReadBundle],
            scopes: vec![scope],
            expires_in: Some(self.token_expires),
            uses: None,
            node: None,
        };
        make_room(path)?;
        let created: CreatedToken = client.post(&client::Path::new(&["tokens"]), &request)?;
        output::private_file(path, created.token.expose_secret())?;
        Ok(created.info)
    }
}

/// Where a file that is mounted is lost, Docker makes a folder in its place when the container starts again.
fn make_room(path: &Path) -> Result<(), Failure> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    fs::remove_dir(path).map_err(|error| {
        let what = format!("{} is a folder, where a file of ours is to be: {error}", path.display());
        Failure::failed(what, "Docker makes an empty one where the file was lost; look what is in it, and move it away")
    })
}

/// 0600 where the container's process is root and so may read it. Where it is not, 0444: the folder is closed, and what is
/// mounted is the file alone.
fn close(path: &Path, for_others: bool) -> Result<(), Failure> {
    let mode = if for_others { 0o444 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| {
        Failure::failed(format!("{} cannot be closed: {error}", path.display()), "look whose file it is")
    })
}

/// The folder is mounted, not the socket: a socket's file is another one after each start of the server.
fn over(socket: &Path) -> Result<Road, Failure> {
    let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    let Some(name) = socket.file_name() else {
        return Err(Failure::usage("--socket names no socket", "name the socket's file, with its folder"));
    };
    let address = format!("unix://{SOCKET_FOLDER}/{}", name.to_string_lossy());
    Ok(Road { address, socket: Some(socket), authority: None, fingerprint: None })
}

pub(super) fn token_variable() -> (&'static str, String) {
    ("CHANDLERY_TOKEN_FILE", TOKEN.to_owned())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn short_digest(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
