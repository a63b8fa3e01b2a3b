//! Whether the server will let the containers in that bring no token, asked before the first of them is made.
//!
//! What is refused at a container's start is found in its log, if at all; here it is found by whoever can do something about it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path as FilePath;

use chandlery_wire::api::{ContainerHost, OpeningInfo, OpeningList};
use chandlery_wire::{EnvironmentName, RegionName, StackName};
use serde::Serialize;

use crate::client::{Client, Path};
use crate::failure::{Exit, Failure};
use crate::output;

/// The containers of one project, and the bundles that they are to get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) client: &'a Client,
    pub(super) stack: &'a StackName,
    pub(super) environment: &'a EnvironmentName,
    /// As compose's and Swarm's labels have it.
    pub(super) project: &'a str,
}

/// Something that keeps containers out, and the command or setting that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shut {
    pub(super) what: String,
    pub(super) hint: String,
}

/// What the server says: which opening it is, and what it knows of its host.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) opening: OpeningInfo,
    pub(super) host: ContainerHost,
}

impl Door<'_> {
    /// `None` where this token may not look.
    pub(super) fn look(&self) -> Result<Option<Result<Open, Shut>>, Failure> {
        match self.client.get(&Path::new(&["openings"])) {
            Ok(list) => Ok(Some(self.find(list))),
            Err(failure) if failure.exit == Exit::Refused => {
                output::note(
                    "note: only a token that administers sees what is open to containers without one; a container that is \
                     refused says so in its log",
                );
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn find(&self, list: OpeningList) -> Result<Open, Shut> {
        let Self { stack, environment, project, .. } = self;
        let host = list.host.ok_or_else(|| Shut {
            what: "the server does not know containers: docker_socket is off in its configuration".to_owned(),
            hint: "set docker_socket = \"/run/docker.sock\" (--docker-socket) and start it again; docs/OPERATIONS.md says \
                   what that means"
                .to_owned(),
        })?;
        let of_project = |opening: &&OpeningInfo| opening.project.as_str() == *project;
        let is_ours = |opening: &&OpeningInfo| opening.stack == **stack && opening.environment == **environment;
        let Some(opening) = list.openings.iter().filter(of_project).find(is_ours) else {
            return Err(Shut {
                what: format!("{stack}/{environment} is not open for containers of the project {project}"),
                hint: format!("chandlery stack open -s {stack} -e {environment} --project {project}"),
            });
        };
        let mut others = list.openings.iter().filter(of_project).filter(|opening| !is_ours(opening));
        match (&host.environment, others.next()) {
            (Some(here), _) if here != *environment => Err(Shut {
                what: format!("this server's host is in the environment {here}, and {environment} is asked for"),
                hint: "correct host_environment in the server's configuration, or --environment".to_owned(),
            }),
            (None, Some(other)) => Err(Shut {
                what: format!(
                    "{}/{} is open for containers of the project {project}, too",
                    other.stack, other.environment
                ),
                hint:
                    "say with host_environment in the server's configuration which one this host is in, or close one: \
                       chandlery stack close"
                        .to_owned(),
            }),
            _ => Ok(Open { opening: opening.clone(), host }),
        }
    }
}

impl Open {
    /// The region that the server will say, where the environment has regions, if it is the one that was said.
    pub(super) fn region(
        &self,
        declared: &[RegionName],
        said: Option<&RegionName>,
    ) -> Result<Option<RegionName>, Shut> {
        let names = || declared.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        match (&self.host.region, said) {
            _ if declared.is_empty() => Ok(None),
            (None, _) => Err(Shut {
                what: format!("the server does not say in which region its host is; declared are {}", names()),
                hint: "set host_region in the server's configuration (--host-region), and start it again".to_owned(),
            }),
            (Some(here), _) if !declared.contains(here) => Err(Shut {
                what: format!("the server's host is in {here}, which was not declared; declared are {}", names()),
                hint: format!("correct host_region in the server's configuration, or chandlery region add {here}"),
            }),
            (Some(here), Some(said)) if here != said => Err(Shut {
                what: format!("the containers of this host are in {here}, and {said} is asked for"),
                hint: "leave --region out, or correct host_region in the server's configuration".to_owned(),
            }),
            (Some(here), _) => Ok(Some(here.clone())),
        }
    }

    /// The images that a service's containers may be of, where it is pinned to some.
    pub(super) fn pins(&self, service: &str) -> Option<&Vec<String>> {
        self.opening.images.iter().find(|(name, _)| name.as_str() == service).map(|(_, ids)| ids)
    }

    /// Whether the services' containers may be of these images.
    pub(super) fn images(&self, found: &[(&str, String)]) -> Result<(), Shut> {
        let OpeningInfo { stack, environment, project, images, .. } = &self.opening;
        let is_wrong = |(service, id): &&(&str, String)| self.pins(service).is_some_and(|ids| !ids.contains(id));
        let wrong: Vec<&(&str, String)> = found.iter().filter(is_wrong).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        // An opening is replaced as a whole, so the command has all of it.
        let kept = images.iter().flat_map(|(name, ids)| ids.iter().map(move |id| (name.as_str(), id.as_str())));
        let kept = kept.filter(|(name, _)| !wrong.iter().any(|(service, _)| service == name));
        let new = wrong.iter().map(|(name, id)| (*name, id.as_str()));
        let options: Vec<String> = kept.chain(new).map(|(name, id)| format!(" --image {name}={id}")).collect();
        let exec = if self.opening.allow_exec { " --allow-exec" } else { "" };
        let services: Vec<&str> = wrong.iter().map(|(service, _)| *service).collect();
        Err(Shut {
            what: format!("the containers may not be of the images that are here: {}", services.join(", ")),
            hint: format!(
                "if they are the right ones: chandlery stack open -s {stack} -e {environment} --project {project}{exec}{}",
                options.concat()
            ),
        })
    }
}

impl From<Shut> for Failure {
    fn from(shut: Shut) -> Self {
        Self::failed(shut.what, shut.hint)
    }
}

/// Whom a container's process is to the host's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Root, with the capability that lets root into everything.
    pub(super) overrides: bool,
}

/// Whether the process can connect to the server's socket, whose folder is mounted into its container.
pub(super) fn reaches(service: &str, process: Process, socket: &FilePath) -> Result<(), Shut> {
    let found = |path: &FilePath| match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Shut {
            what: format!("there is no socket {}", socket.display()),
            hint: "look whether the server runs, and name its socket with --socket".to_owned(),
        }),
        // It is somebody else's; what the container may do is not to be seen from here.
        Err(_) => Ok(None),
    };
    let (Some(file), Some(folder)) = (found(socket)?, found(socket.parent().unwrap_or(socket))?) else {
        return Ok(());
    };
    let may = |file: &fs::Metadata, right: u32| {
        let shift = match (file.uid() == process.uid, file.gid() == process.gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        process.overrides || file.mode() >> shift & right == right
    };
    // Connecting takes the right to write (unix(7)), and getting there the right to pass through the folder.
    if may(&file, 0o2) && may(&folder, 0o1) {
        return Ok(());
    }
    Err(Shut {
        what: format!(
            "{service} runs as user {}, who may not use {} (mode {:04o}, in a folder of mode {:04o})",
            process.uid,
            socket.display(),
            file.mode() & 0o7777,
            folder.mode() & 0o7777
        ),
        hint: "start the server with --socket /run/chandlery/chandlery.sock --socket-mode 0666".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chandlery_wire::ProjectName;

    use super::*;
    use crate::client::tls::Trust;

    fn opening(stack: &str, environment: &str, project: &str) -> OpeningInfo {
        OpeningInfo {
            stack: StackName::parse(stack).unwrap(),
            environment: EnvironmentName::parse(environment).unwrap(),
            project: ProjectName::parse(project).unwrap(),
            images: [].into(),
            allow_exec: false,
            since: String::new(),
            author: String::new(),
        }
    }

    fn region(name: &str) -> RegionName {
        RegionName::parse(name).unwrap()
    }

    /// What is said of ship's production in the project `ship`.
    fn find(openings: &[OpeningInfo], host: Option<ContainerHost>) -> Result<Open, Shut> {
        let (stack, environment) = (StackName::parse("ship").unwrap(), EnvironmentName::parse("production").unwrap());
        let client = Client::new("unix:///none".parse().unwrap(), &Trust::System, None).unwrap();
        let door = Door { client: &client, stack: &stack, environment: &environment, project: "ship" };
        door.find(OpeningList { openings: openings.to_vec(), host })
    }

    #[test]
    fn what_is_shut_says_which_command_opens_it() {
        let host = ContainerHost::default;
        let ours = opening("ship", "production", "ship");
        assert!(find(std::slice::from_ref(&ours), None).unwrap_err().hint.contains("docker_socket"));
        for others in [&[][..], &[opening("ship", "staging", "ship"), opening("ship", "production", "other")]] {
            let shut = find(others, Some(host())).unwrap_err();
            assert_eq!(shut.hint, "chandlery stack open -s ship -e production --project ship");
        }
        let two = [ours, opening("ship", "staging", "ship")];
        assert!(find(&two, Some(host())).unwrap_err().what.contains("ship/staging is open"));
        let here = |name: &str| ContainerHost { environment: EnvironmentName::parse(name).ok(), region: None };
        assert!(find(&two, Some(here("production"))).is_ok());
        assert!(find(&two, Some(here("staging"))).unwrap_err().what.contains("environment staging"));
    }

    #[test]
    fn the_region_is_the_hosts_or_nobodys() {
        let at = |name: Option<&str>| {
            let host = ContainerHost { environment: None, region: name.map(region) };
            find(&[opening("ship", "production", "ship")], Some(host)).unwrap()
        };
        let both = [region("east"), region("west")];
        assert_eq!(at(Some("east")).region(&both, None), Ok(Some(region("east"))));
        assert_eq!(at(Some("east")).region(&[], None), Ok(None));
        assert_eq!(at(None).region(&[], None), Ok(None));
        for (host, said, why) in [
            (None, None, "host_region"),
            (Some("south"), None, "host_region"),
            (Some("east"), Some("west"), "--region"),
        ] {
            let said = said.map(region);
            let shut = at(host).region(&both, said.as_ref()).unwrap_err();
            assert!(shut.hint.contains(why), "{shut:?}");
        }
    }

    #[test]
    fn a_pinned_service_names_the_command_that_keeps_the_other_pins() {
        let mut of = opening("ship", "production", "ship");
        for (service, id) in [("app", "sha256:a"), ("db", "sha256:d")] {
            of.images.insert(chandlery_wire::ServiceName::parse(service).unwrap(), vec![id.to_owned()]);
        }
        let open = find(&[of], Some(ContainerHost::default())).unwrap();
        let images = |found: [(&'static str, &str); 2]| open.images(&found.map(|(name, id)| (name, id.to_owned())));
        assert_eq!(images([("app", "sha256:a"), ("cache", "sha256:x")]), Ok(()));
        let shut = images([("app", "sha256:b"), ("db", "sha256:d")]).unwrap_err();
        assert!(shut.hint.ends_with("--project ship --image db=sha256:d --image app=sha256:b"), "{shut:?}");
    }

    #[test]
    fn who_may_use_the_socket_is_told_by_modes() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let root = Process { uid: 0, gid: 0, overrides: true };
        assert!(reaches("app", root, &socket).unwrap_err().what.contains("there is no socket"));
        fs::write(&socket, "").unwrap();
        let mode = |path: &FilePath, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (own, nobody) = (fs::metadata(&socket).unwrap(), Process { uid: 65533, gid: 65533, overrides: false });
        let ours = Process { uid: own.uid(), gid: own.gid(), overrides: false };
        let group = Process { uid: 65533, ..ours };
        let may = |of_folder, of_socket| {
            mode(&socket, of_socket);
            mode(folder.path(), of_folder);
            [root, ours, group, nobody].map(|process| reaches("app", process, &socket).is_ok())
        };
        assert_eq!(may(0o700, 0o600), [true, true, false, false]);
        assert_eq!(may(0o755, 0o660), [true, true, true, false]);
        assert_eq!(may(0o750, 0o666), [true, true, true, false]);
        assert_eq!(may(0o755, 0o666), [true; 4]);
        mode(folder.path(), 0o700);
    }
}
