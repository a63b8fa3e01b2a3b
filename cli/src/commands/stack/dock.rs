//! One Docker: that of this shell, or one that was named. What is asked of it, by its own program.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::compose::overlay::Image;
use crate::failure::Failure;

/// Which Docker is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dock {
    named: Option<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// `ssh://…`, `unix://…` or `tcp://…`
    url: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, for TLS.
    certificates: Option<PathBuf>,
    context: Option<String>,
}

impl Dock {
    pub(super) fn of_url(url: &str, certificates: Option<PathBuf>) -> Result<Self, Failure> {
        let known =
            ["ssh://", "unix://", "tcp://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
        if !known || url.contains(char::is_whitespace) {
            let hint = "write ssh://user@machine, unix:///path or tcp://machine:2376, or the name of a docker context";
            return Err(Failure::usage("that is no address of a Docker", hint));
        }
        Ok(Self { named: Some(Named { url: url.to_owned(), certificates, context: None }) })
    }

    /// The Docker of a context. It is taken by its address, because docker-compose 1 knows contexts only in part.
    pub(super) fn of_context(name: &str) -> Result<Self, Failure> {
        let unknown = || {
            let hint = "`docker context ls` lists them; `docker context create` makes one";
            Failure::usage(format!("there is no docker context {name}"), hint)
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(unknown());
        }
        let json = said(Command::new("docker").args(["context", "inspect", name])).ok_or_else(unknown)?;
        let found: Vec<DockerContext> = serde_json::from_str(&json).map_err(|_| unknown())?;
        let DockerContext { endpoints, storage, tls } = found.into_iter().next().ok_or_else(unknown)?;
        let certificates = tls.docker.is_some_and(|files| !files.is_empty()).then(|| storage.folder.join("docker"));
        let mut dock = Self::of_url(&endpoints.docker.host, certificates)?;
        dock.named.iter_mut().for_each(|named| named.context = Some(name.to_owned()));
        Ok(dock)
    }

    /// Whether its containers may be on another machine than this process: its files are not ours then.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.named.is_some()
    }

    /// What `DOCKER_HOST` is to be, where it was named.
    pub(super) fn url(&self) -> Option<&str> {
        self.named.as_ref().map(|named| named.url.as_str())
    }

    /// How a person writes `docker` to talk to it.
    pub(super) fn in_words(&self) -> String {
        match &self.named {
            None => "docker".to_owned(),
            Some(Named { context: Some(name), .. }) => format!("docker --context {name}"),
            Some(Named { url, .. }) => format!("docker --host {url}"),
        }
    }

    /// Makes docker, compose and what else reads their variables talk to it.
    pub(super) fn point(&self, command: &mut Command) {
        let Some(Named { url, certificates, .. }) = &self.named else { return };
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", url);
        match certificates {
            Some(folder) => command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", folder),
            None => command.env_remove("DOCKER_TLS_VERIFY").env_remove("DOCKER_CERT_PATH"),
        };
    }

    /// `docker` with these words, at this Docker.
    pub(super) fn docker<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("docker");
        command.args(words).env_remove("CHANDLERY_TOKEN");
        self.point(&mut command);
        command
    }

    /// What tells this Docker from any other, whatever address it has: its own id, and its machine's name.
    pub(super) fn daemon(&self) -> Option<String> {
        let daemon = said(&mut self.docker(["info", "--format", "{{.ID}} {{.Name}}"]))?;
        let (id, _) = daemon.trim_end().split_once(' ')?;
        (!id.is_empty()).then(|| daemon.clone())
    }

    /// What the image says of itself; `None` where it is not here.
    pub(super) fn image(&self, name: &str) -> Option<Image> {
        let json = said(&mut self.docker(["image", "inspect", "--format", "{{json .Config}}", name]))?;
        let config: Config = serde_json::from_str(&json).unwrap_or_default();
        Some(Image {
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            healthcheck: config.healthcheck.and_then(|check| check.test).unwrap_or_default(),
        })
    }

    /// The image's id, by which openings name it.
    pub(super) fn image_id(&self, name: &str) -> Option<String> {
        let id = said(&mut self.docker(["image", "inspect", "--format", "{{.Id}}", name]))?;
        Some(id.trim().to_owned())
    }

    /// Gets the image, with docker's own output.
    pub(super) fn pull(&self, name: &str) -> bool {
        // What is printed on stdout belongs to a result of ours, such as a rendered file.
        let status = self.docker(["pull", name]).stdout(std::io::stderr()).status();
        status.is_ok_and(|status| status.success())
    }

    /// The ids of a user of the image, by the image's own `/etc/passwd` and `/etc/group`. Nothing of the image is run.
    pub(super) fn ids(&self, image: &str, user: &str) -> Option<(u32, u32)> {
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        if let (Ok(uid), Some(Ok(gid))) = (user.parse(), group.map(str::parse)) {
            return Some((uid, gid));
        }
        let container = said(&mut self.docker(["create", "--entrypoint", "/none", image]))?;
        let container = container.trim().to_owned();
        let file = |path: &str| {
            let output = self.docker(["cp", &format!("{container}:{path}"), "-"]).stderr(Stdio::null()).output();
            output.ok().and_then(|output| first_of_tar(&output.stdout)).unwrap_or_default()
        };
        let (passwd, groups) = (file("/etc/passwd"), file("/etc/group"));
        let _ = said(&mut self.docker(["rm", &container]));
        look_up(&passwd, &groups, user, group)
    }
}

impl fmt::Display for Dock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url().unwrap_or("the Docker of this shell"))
    }
}

/// What a program prints, if it ends well.
pub(super) fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The parts of `docker context inspect` that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContext {
    endpoints: Endpoints,
    storage: Storage,
    #[serde(rename = "TLSMaterial", default)]
    tls: Material,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

#[derive(Debug, Deserialize)]
struct Storage {
    #[serde(rename = "TLSPath")]
    folder: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
struct Material {
    docker: Option<Vec<String>>,
}

/// The parts of `docker image inspect` that matter here; all of them may be null.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Healthcheck {
    test: Option<Vec<String>>,
}

fn look_up(passwd: &str, groups: &str, user: &str, group: Option<&str>) -> Option<(u32, u32)> {
    let line = |text: &str, wanted: &str, by_id: bool| {
        let found = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        found.into_iter().find(|fields| fields.get(if by_id { 2 } else { 0 }).is_some_and(|field| field == wanted))
    };
    let number = |fields: &[String], at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let known = line(passwd, user, user.parse::<u32>().is_ok());
    let uid = user.parse().ok().or_else(|| number(known.as_deref()?, 2))?;
    let gid = match group {
        None => known.as_deref().and_then(|fields| number(fields, 3)).unwrap_or(0),
        Some(group) => group.parse().ok().or_else(|| number(&line(groups, group, false)?, 2))?,
    };
    Some((uid, gid))
}

/// The first file of an archive: its size is in octal at 124, its bytes begin at 512 (POSIX.1-2024, pax, "ustar").
fn first_of_tar(bytes: &[u8]) -> Option<String> {
    let size = std::str::from_utf8(bytes.get(124..135)?).ok()?;
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
    Some(String::from_utf8_lossy(bytes.get(512..512 + size)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_docker_is_known_by_its_scheme() {
        for url in ["ssh://deploy@vm-1", "unix:///run/docker.sock", "tcp://vm-1:2376"] {
            assert_eq!(Dock::of_url(url, None).unwrap().url(), Some(url));
        }
        for url in ["", "vm-1", "ssh://", "http://vm-1", "ssh://a b", "--host"] {
            assert!(Dock::of_url(url, None).is_err(), "{url}");
        }
        assert!(!Dock::default().is_elsewhere());
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nredis:x:999:1000::/:/bin/false\n";
        let groups = "root:x:0:\nwww:x:33:\n";
        let find = |user, group| look_up(passwd, groups, user, group);
        assert_eq!(find("redis", None), Some((999, 1000)));
        assert_eq!(find("999", None), Some((999, 1000)));
        assert_eq!(find("1234", None), Some((1234, 0)));
        assert_eq!(find("redis", Some("www")), Some((999, 33)));
        assert_eq!(find("redis", Some("5")), Some((999, 5)));
        assert_eq!(find("nobody-here", None), None);
        assert_eq!(find("redis", Some("gone")), None);
    }

    #[test]
    fn an_archive_s_first_file_is_read_and_nonsense_is_not() {
        let mut tar = vec![0_u8; 512];
        tar[124..135].copy_from_slice(b"00000000005");
        tar.extend_from_slice(b"hello\0\0\0");
        assert_eq!(first_of_tar(&tar).as_deref(), Some("hello"));
        assert_eq!(first_of_tar(b"short"), None);
        assert_eq!(first_of_tar(&[b'9'; 600]), None);
    }
}
