//! Whether what was brought up runs: by Docker's own knowledge of the containers, and by an address that is looked at.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::dock::Dock;
use super::super::interrupt::Interrupt;
use crate::client::look;
use crate::compose::overlay::LABEL;
use crate::failure::Failure;

const TICK: Duration = Duration::from_millis(250);

/// A container of the project, as Docker has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Container {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) id: String,
    /// The image, by its id.
    pub(super) image: String,
    /// `running`, `exited`, …
    pub(super) status: String,
    /// `healthy`, `unhealthy`, `starting`; nothing where it has no health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<String>,
    pub(super) exit_code: i64,
    pub(super) restarts: u64,
    /// Which versions it was given, where Chandlery supplies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) supplies: Option<String>,
}

/// The parts of `docker inspect` that matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    image: String,
    restart_count: u64,
    state: State,
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    exit_code: i64,
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

/// The project's containers there, those of `run` aside, in the order of their services and names.
pub(super) fn containers(dock: &Dock, project: &str) -> Result<Vec<Container>, Failure> {
    let label = format!("label=com.docker.compose.project={project}");
    let ids = answer(dock, &["ps", "--all", "--quiet", "--no-trunc", "--filter", &label])?;
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let json = answer(dock, &[&["inspect", "--type", "container"], &ids[..]].concat())?;
    let found: Vec<Inspected> = serde_json::from_str(&json).map_err(|_| {
        Failure::failed(format!("what {dock} says of its containers is not understood"), "please report this")
    })?;
    let mut containers: Vec<Container> = found.into_iter().filter_map(Container::of).collect();
    containers.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
    Ok(containers)
}

impl Container {
    fn of(found: Inspected) -> Option<Self> {
        let mut labels = found.config.labels.unwrap_or_default();
        if labels.get("com.docker.compose.oneoff").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return None;
        }
        Some(Self {
            service: labels.remove("com.docker.compose.service")?,
            name: found.name.trim_start_matches('/').to_owned(),
            id: found.id,
            image: found.image,
            status: found.state.status,
            health: found.state.health.map(|health| health.status).filter(|status| status != "none"),
            exit_code: found.state.exit_code,
            restarts: found.restart_count,
            supplies: labels.remove(LABEL),
        })
    }

    /// What Docker says of it, in a word or two.
    fn verdict(&self, restarts_before: u64) -> Verdict {
        if self.restarts > restarts_before || self.status == "restarting" {
            // Once it runs again, its exit code is forgotten.
            let how = if self.exit_code == 0 { String::new() } else { format!(" with {}", self.exit_code) };
            return Verdict::Broken(format!("ended{how} and was started again"));
        }
        match (self.status.as_str(), self.health.as_deref()) {
            ("running", Some("healthy")) => Verdict::Healthy,
            ("running", Some("unhealthy")) => Verdict::Broken("is unhealthy".to_owned()),
            ("running", Some(_)) => Verdict::NotYet("is starting".to_owned()),
            ("running", None) => Verdict::Runs,
            // A job that is done.
            ("exited", _) if self.exit_code == 0 => Verdict::Healthy,
            ("exited" | "dead", _) => Verdict::Broken(format!("ended with {}", self.exit_code)),
            (status, _) => Verdict::NotYet(format!("is {status}")),
        }
    }
}

enum Verdict {
    Healthy,
    /// It has no health check, so that this is all that is known.
    Runs,
    NotYet(String),
    Broken(String),
}

/// What is waited for.
pub(super) struct Wanted<'a> {
    pub(super) dock: &'a Dock,
    pub(super) project: &'a str,
    /// How often each container had been started again before.
    pub(super) restarts: BTreeMap<String, u64>,
    /// Containers of other services are nobody's business here.
    pub(super) services: Vec<&'a str>,
    pub(super) url: Option<&'a str>,
    pub(super) timeout: Duration,
    /// How long what has no health check has to run.
    pub(super) settle: Duration,
}

impl Wanted<'_> {
    /// Waits until everything is healthy; fails at once when something ends, and when the time is over.
    pub(super) fn wait(&self, interrupt: &Interrupt) -> Result<Vec<Container>, Failure> {
        let until = Instant::now() + self.timeout;
        let mut since: Option<Instant> = None;
        loop {
            let containers = containers(self.dock, self.project)?;
            let lacking = self.lacking(&containers, &mut since)?;
            let Some(lacking) = lacking else { return Ok(containers) };
            if Instant::now() > until {
                let hint = "give it longer with --timeout, or look at why";
                return Err(Failure::failed(
                    format!("it is not healthy in {} s: {lacking}", self.timeout.as_secs()),
                    hint,
                ));
            }
            interrupt.check()?;
            interrupt.sleep(TICK);
        }
    }

    /// What is missing yet; nothing where all is well.
    fn lacking(&self, containers: &[Container], since: &mut Option<Instant>) -> Result<Option<String>, Failure> {
        let ours: Vec<&Container> =
            containers.iter().filter(|one| self.services.contains(&one.service.as_str())).collect();
        if ours.is_empty() {
            return Err(Failure::failed("compose has started no container", "look at what it said above"));
        }
        let mut only_runs = false;
        for one in ours {
            match one.verdict(self.restarts.get(&one.id).copied().unwrap_or(0)) {
                Verdict::Healthy => {}
                Verdict::Runs => only_runs = true,
                Verdict::NotYet(how) => {
                    *since = None;
                    return Ok(Some(format!("{} {how}", one.name)));
                }
                Verdict::Broken(how) => {
                    let hint = format!("`{} logs {}` shows what it said", self.dock.in_words(), one.name);
                    return Err(Failure::failed(format!("the container {} {how}", one.name), hint));
                }
            }
        }
        let started = *since.get_or_insert_with(Instant::now);
        if only_runs && started.elapsed() < self.settle {
            return Ok(Some("it has not run for long enough yet".to_owned()));
        }
        let Some(url) = self.url else { return Ok(None) };
        Ok(match look::look(url) {
            Ok(200..=299) => None,
            Ok(status) => Some(format!("{url} answers {status}")),
            Err(why) => Some(format!("{url}: {why}")),
        })
    }
}

fn answer(dock: &Dock, words: &[&str]) -> Result<String, Failure> {
    let failed = |why: &str| {
        let why = why.trim().lines().last().unwrap_or("it says nothing").to_owned();
        Failure::failed(format!("{dock} does not answer: {why}"), format!("try `{} ps`", dock.in_words()))
    };
    let output = dock.docker(words.iter().copied()).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(&error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(status: &str, health: Option<&str>, exit_code: i64, restarts: u64) -> Container {
        Container {
            service: "web".to_owned(),
            name: "p_web_1".to_owned(),
            id: "1".to_owned(),
            image: "sha256:1".to_owned(),
            status: status.to_owned(),
            health: health.map(str::to_owned),
            exit_code,
            restarts,
            supplies: None,
        }
    }

    #[test]
    fn docker_s_words_become_a_verdict() {
        let of = |status, health, exit_code, restarts| match container(status, health, exit_code, restarts).verdict(1) {
            Verdict::Healthy => "healthy",
            Verdict::Runs => "runs",
            Verdict::NotYet(_) => "not yet",
            Verdict::Broken(_) => "broken",
        };
        assert_eq!(of("running", Some("healthy"), 0, 1), "healthy");
        assert_eq!(of("running", Some("starting"), 0, 0), "not yet");
        assert_eq!(of("running", Some("unhealthy"), 0, 0), "broken");
        assert_eq!(of("running", None, 0, 1), "runs");
        assert_eq!(of("running", Some("healthy"), 0, 2), "broken", "it has been started again since");
        assert_eq!(of("exited", None, 0, 0), "healthy", "a job that is done");
        assert_eq!(of("exited", None, 5, 0), "broken");
        assert_eq!(of("restarting", None, 1, 1), "broken");
        assert_eq!(of("created", None, 0, 0), "not yet");
    }
}
