//! The user's own docker and compose, by their programs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use serde::Deserialize;

use crate::compose::overlay::{Image, Tool};
use crate::failure::{Exit, Failure};

/// The program that runs the stack, and its version's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runner {
    pub(super) tool: Tool,
    words: &'static [&'static str],
}

/// What a run of compose needs besides its verb.
#[derive(Debug, Default)]
pub(super) struct Invocation {
    /// Options that come before compose's verb.
    pub(super) options: Vec<OsString>,
    pub(super) verb: Vec<OsString>,
    /// Variables beside our own.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) folder: PathBuf,
}

impl Runner {
    pub(super) fn swarm() -> Self {
        Self { tool: Tool::Swarm, words: &["docker", "stack"] }
    }

    /// `docker compose` where there is one, else `docker-compose`.
    pub(super) fn compose() -> Result<Self, Failure> {
        for words in [&["docker", "compose"][..], &["docker-compose"]] {
            let Some(version) = said(words, &["version", "--short"]) else { continue };
            let version = version.trim().trim_start_matches('v');
            let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
            let parts = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
            return match parts {
                [1, ..] => Ok(Self { tool: Tool::One, words }),
                // Before, it knew no !override, and there is no other way to take a secret from a service.
                parts if parts < [2, 24, 4] => Err(Failure::failed(
                    format!("{} is of version {version}, and 2.24.4 is needed", words.join(" ")),
                    "update the compose plug-in",
                )),
                _ => Ok(Self { tool: Tool::Two, words }),
            };
        }
        let hint = "install docker-compose or the compose plug-in; `chandlery stack render --tool …` needs none";
        Err(Failure::new(Exit::CommandNotFound, "there is neither `docker compose` nor `docker-compose` here", hint))
    }

    /// A runner of this kind, whether it is installed or not.
    pub(super) fn of(tool: Tool) -> Self {
        match tool {
            Tool::One => Self { tool, words: &["docker-compose"] },
            Tool::Two => Self { tool, words: &["docker", "compose"] },
            Tool::Swarm => Self::swarm(),
        }
    }

    /// What compose calls the image of a service that it builds, and that has no `image:`.
    pub(super) fn built_image(&self, project: &str, service: &str) -> String {
        let between = if self.tool == Tool::Two { '-' } else { '_' };
        format!("{project}{between}{service}")
    }

    /// Runs it to its end, with our own stdin, stdout and stderr.
    pub(super) fn run(&self, invocation: &Invocation) -> Result<ExitStatus, Failure> {
        let mut command = Command::new(self.words[0]);
        command.args(&self.words[1..]).args(&invocation.options).args(&invocation.verb).envs(&invocation.variables);
        // Our own token is no business of compose's, or of a plug-in's.
        command.env_remove("CHANDLERY_TOKEN");
        if !invocation.folder.as_os_str().is_empty() {
            command.current_dir(&invocation.folder);
        }
        let failed = |error: std::io::Error| {
            Failure::new(
                Exit::CommandNotFound,
                format!("{} cannot be started: {error}", self.words.join(" ")),
                "install it, or look at PATH",
            )
        };
        let Some(stdin) = &invocation.stdin else { return command.status().map_err(failed) };
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut pipe) = child.stdin.take() {
            // Where it ends before it has read everything, its own words say why.
            let _ = pipe.write_all(stdin);
        }
        child.wait().map_err(failed)
    }
}

/// What a program prints, if it ends well.
fn said(words: &[&str], args: &[&str]) -> Option<String> {
    let output = Command::new(words[0]).args(&words[1..]).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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

/// What the image says of itself; `None` where it is not here.
pub(super) fn image(name: &str) -> Option<Image> {
    let json = said(&["docker"], &["image", "inspect", "--format", "{{json .Config}}", name])?;
    let config: Config = serde_json::from_str(&json).unwrap_or_default();
    Some(Image {
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        healthcheck: config.healthcheck.and_then(|check| check.test).unwrap_or_default(),
    })
}

/// Gets the image, with docker's own output.
pub(super) fn pull(name: &str) -> bool {
    // What is printed on stdout belongs to a result of ours, such as a rendered file.
    let status = Command::new("docker").args(["pull", name]).stdout(std::io::stderr()).status();
    status.is_ok_and(|status| status.success())
}

/// The ids of a user of the image, by the image's own `/etc/passwd` and `/etc/group`. Nothing of the image is run.
pub(super) fn ids(image: &str, user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    if let (Ok(uid), Some(Ok(gid))) = (user.parse(), group.map(str::parse)) {
        return Some((uid, gid));
    }
    let container = said(&["docker"], &["create", "--entrypoint", "/none", image])?;
    let container = container.trim().to_owned();
    let file = |path: &str| {
        let output =
            Command::new("docker").args(["cp", &format!("{container}:{path}"), "-"]).stderr(Stdio::null()).output();
        output.ok().and_then(|output| first_of_tar(&output.stdout)).unwrap_or_default()
    };
    let (passwd, groups) = (file("/etc/passwd"), file("/etc/group"));
    let _ = said(&["docker"], &["rm", &container]);
    look_up(&passwd, &groups, user, group)
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

    #[test]
    fn built_images_have_each_compose_s_name() {
        assert_eq!(Runner::of(Tool::One).built_image("p", "app"), "p_app");
        assert_eq!(Runner::of(Tool::Two).built_image("p", "app"), "p-app");
    }
}
