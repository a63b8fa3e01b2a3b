//! The user's own compose, by its programs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use super::dock::{Dock, said};
use crate::compose::overlay::Tool;
use crate::failure::{Exit, Failure};

/// The program that runs the stack, and its version's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runner {
    pub(super) tool: Tool,
    pub(super) dock: Dock,
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
        Self { tool: Tool::Swarm, dock: Dock::default(), words: &["docker", "stack"] }
    }

    /// `docker compose` where there is one, else `docker-compose`.
    pub(super) fn compose() -> Result<Self, Failure> {
        for words in [&["docker", "compose"][..], &["docker-compose"]] {
            let Some(version) = said(Command::new(words[0]).args(&words[1..]).args(["version", "--short"])) else {
                continue;
            };
            let version = version.trim().trim_start_matches('v');
            let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
            let parts = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
            return match parts {
                [1, ..] => Ok(Self { tool: Tool::One, dock: Dock::default(), words }),
                // Before, it knew no !override, and there is no other way to take a secret from a service.
                parts if parts < [2, 24, 4] => Err(Failure::failed(
                    format!("{} is of version {version}, and 2.24.4 is needed", words.join(" ")),
                    "update the compose plug-in",
                )),
                _ => Ok(Self { tool: Tool::Two, dock: Dock::default(), words }),
            };
        }
        let hint = "install docker-compose or the compose plug-in; `chandlery stack render --tool …` needs none";
        Err(Failure::new(Exit::CommandNotFound, "there is neither `docker compose` nor `docker-compose` here", hint))
    }

    /// A runner of this kind, whether it is installed or not.
    pub(super) fn of(tool: Tool) -> Self {
        match tool {
            Tool::One => Self { tool, dock: Dock::default(), words: &["docker-compose"] },
            Tool::Two => Self { tool, dock: Dock::default(), words: &["docker", "compose"] },
            Tool::Swarm => Self::swarm(),
        }
    }

    /// The same, at another Docker.
    pub(super) fn at(&self, dock: Dock) -> Self {
        Self { dock, ..self.clone() }
    }

    /// What compose calls the image of a service that it builds, and that has no `image:`.
    pub(super) fn built_image(&self, project: &str, service: &str) -> String {
        let between = if self.tool == Tool::Two { '-' } else { '_' };
        format!("{project}{between}{service}")
    }

    /// Runs it to its end, with our own stdin, stdout and stderr.
    pub(super) fn run(&self, invocation: &Invocation) -> Result<ExitStatus, Failure> {
        let mut command = self.command(invocation);
        let failed = |error: std::io::Error| self.not_started(&error);
        let Some(stdin) = &invocation.stdin else { return command.status().map_err(failed) };
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut pipe) = child.stdin.take() {
            // Where it ends before it has read everything, its own words say why.
            let _ = pipe.write_all(stdin);
        }
        child.wait().map_err(failed)
    }

    /// The program with all of its words, not started yet. What is to be on its stdin is left to the caller.
    pub(super) fn command(&self, invocation: &Invocation) -> Command {
        let mut command = Command::new(self.words[0]);
        command.args(&self.words[1..]).args(&invocation.options).args(&invocation.verb).envs(&invocation.variables);
        self.dock.point(&mut command);
        // Our own token is no business of compose's, or of a plug-in's.
        command.env_remove("CHANDLERY_TOKEN");
        if !invocation.folder.as_os_str().is_empty() {
            command.current_dir(&invocation.folder);
        }
        command
    }

    pub(super) fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::new(
            Exit::CommandNotFound,
            format!("{} cannot be started: {error}", self.words.join(" ")),
            "install it, or look at PATH",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_images_have_each_compose_s_name() {
        assert_eq!(Runner::of(Tool::One).built_image("p", "app"), "p_app");
        assert_eq!(Runner::of(Tool::Two).built_image("p", "app"), "p-app");
    }
}
