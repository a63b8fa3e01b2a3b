//! What compose and Swarm write on the containers they start, and what `docker run --label` can.

use std::collections::BTreeSet;

use chandlery_wire::{ProjectName, ServiceName};

use super::docker::Labels;
use super::refused;
use crate::vault::Error;

/// The labels of one tool.
struct Tool {
    name: &'static str,
    project: &'static str,
    service: &'static str,
    /// Those of which the image must have none: the tool puts them on containers, and nobody on images.
    witnesses: &'static [&'static str],
    /// The label, with its value, that tells of the tool where it leaves its witnesses out.
    instead: Option<(&'static str, &'static str)>,
}

const COMPOSE: Tool = Tool {
    name: "compose",
    project: "com.docker.compose.project",
    service: "com.docker.compose.service",
    witnesses: &["com.docker.compose.container-number"],
    // `run` of docker-compose 1 numbers nothing.
    instead: Some(("com.docker.compose.oneoff", "True")),
};
const SWARM: Tool = Tool {
    name: "a Swarm stack",
    project: "com.docker.stack.namespace",
    service: "com.docker.swarm.service.name",
    witnesses: &["com.docker.swarm.task.id"],
    instead: None,
};
/// Ours, for containers that are started by hand or by a unit.
const RUN: Tool = Tool {
    name: "docker run (chandlery.…)",
    project: "chandlery.project",
    service: "chandlery.service",
    witnesses: &["chandlery.project", "chandlery.service"],
    instead: None,
};

impl Tool {
    /// Its labels that a container lacks; `None` where it has none of them at all.
    fn missing(&self, labels: &Labels) -> Option<Vec<&'static str>> {
        let names: BTreeSet<&str> =
            [self.project, self.service].into_iter().chain(self.witnesses.iter().copied()).collect();
        let is_there = |name: &&'static str| labels.contains_key(*name);
        if !names.iter().any(is_there) && !self.is_instead(labels) {
            return None;
        }
        let needless = |name: &&str| self.is_instead(labels) && self.witnesses.contains(name);
        Some(names.into_iter().filter(|name| !is_there(name) && !needless(name)).collect())
    }

    fn is_instead(&self, labels: &Labels) -> bool {
        self.instead.is_some_and(|(name, value)| labels.get(name).is_some_and(|said| said == value))
    }

    /// What the image must not have.
    fn brought<'a>(&'a self, of_image: &Labels) -> Option<&'a str> {
        let instead = self.instead.iter().map(|(name, _)| *name);
        self.witnesses.iter().copied().chain(instead).find(|name| of_image.contains_key(*name))
    }
}

/// The project, which Swarm calls a stack, and the service.
///
/// Docker copies an image's labels to its containers, so by itself a label may be the image's author's word. Compose and
/// Swarm set theirs on every container they start, over the image's, and one of them that the image does not have tells
/// that they did: a number, a task's id; or that it is a one-off, which `run` of docker-compose 1 does not number. (That
/// the image has some is in order: compose v2 labels those it builds.) Our own come from whoever
/// wrote the `docker run`, or from the image: the image must have neither.
pub(super) fn read(labels: &Labels, of_image: &Labels) -> Result<(ProjectName, ServiceName), Error> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let named = |tool: &Tool| {
        let whole = tool.missing(labels).is_some_and(|missing| missing.is_empty());
        label(tool.project).zip(label(tool.service)).filter(|_| whole)
    };
    // Swarm's services are called stack_service.
    let swarm = named(&SWARM).and_then(|(stack, service)| {
        let service = service.strip_prefix(stack)?.strip_prefix('_')?;
        Some((stack, service))
    });
    let found = [(COMPOSE, named(&COMPOSE)), (SWARM, swarm), (RUN, named(&RUN))];
    let mut found = found.into_iter().filter_map(|(tool, names)| Some((tool, names?)));
    let (tool, (project, service)) = match (found.next(), found.next()) {
        (Some(found), None) => found,
        (None, _) => {
            return Err(refused(&none(labels)).hint(
                "start it with compose, `docker stack deploy`, or docker run --label chandlery.project=PROJECT \
                     --label chandlery.service=SERVICE; or give it a token",
            ));
        }
        (Some(_), Some(_)) => {
            let what = "this container has labels of more than one of compose, Swarm and docker run (chandlery.…)";
            return Err(
                refused(what).hint("take chandlery.project and chandlery.service off what compose or Swarm start")
            );
        }
    };
    if let Some(witness) = tool.brought(of_image) {
        let what = format!("this container's image brings the label {witness} along, so it says nothing");
        return Err(refused(&what).hint("build the image without that label"));
    }
    let project = ProjectName::parse(project).map_err(|error| refused(&error.to_string()));
    let service = ServiceName::parse(service).map_err(|error| refused(&error.to_string()));
    Ok((project?, service?))
}

/// Why it is nobody's. A container may have an image's labels of compose, so that the others come first.
fn none(labels: &Labels) -> String {
    let some =
        |tool: Tool| Some((tool.name, tool.missing(labels).filter(|missing| !missing.is_empty())?.join(" and ")));
    [RUN, SWARM, COMPOSE].into_iter().find_map(some).map_or_else(
        || "this container has no labels of compose or of a Swarm stack, and no chandlery.project".to_owned(),
        |(tool, missing)| format!("this container has some of the labels of {tool}, and not {missing}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// As each tool labels a container.
    fn compose(project: &str, service: &str) -> Labels {
        labels(&[(COMPOSE.project, project), (COMPOSE.service, service), (COMPOSE.witnesses[0], "1")])
    }

    fn swarm(stack: &str, service: &str) -> Labels {
        labels(&[(SWARM.project, stack), (SWARM.service, service), (SWARM.witnesses[0], "x")])
    }

    fn run(project: &str, service: &str) -> Labels {
        labels(&[(RUN.project, project), (RUN.service, service)])
    }

    fn found(labels: &Labels) -> Option<(String, String)> {
        let found = read(labels, &Labels::new()).ok()?;
        Some((found.0.to_string(), found.1.to_string()))
    }

    #[test]
    fn compose_swarm_and_docker_run_say_project_and_service() {
        let shop_app = Some(("shop".to_owned(), "app".to_owned()));
        assert_eq!(found(&compose("shop", "app")), shop_app);
        assert_eq!(found(&swarm("shop", "shop_app")), shop_app);
        assert_eq!(found(&run("shop", "app")), shop_app);
        assert_eq!(found(&swarm("a_b", "a_b_c")), Some(("a_b".to_owned(), "c".to_owned())));
    }

    #[test]
    fn half_a_name_two_names_and_no_name_are_refused() {
        let mut both = compose("a", "b");
        both.extend(swarm("c", "c_d"));
        let mut ours_too = compose("shop", "app");
        ours_too.extend(run("shop", "db"));
        for told in [
            Labels::new(),
            labels(&[(COMPOSE.project, "shop"), (COMPOSE.witnesses[0], "1")]),
            labels(&[(COMPOSE.project, "shop"), (COMPOSE.service, "app")]),
            labels(&[(SWARM.project, "shop"), (SWARM.service, "shop_app")]),
            labels(&[(SWARM.service, "shop_app"), (SWARM.witnesses[0], "x")]),
            swarm("shop", "app"),
            swarm("shop", "shopapp"),
            swarm("shop", "shop_"),
            compose("shop", "../app"),
            compose("", "app"),
            compose("shop", "all"),
            both,
            ours_too,
            labels(&[(RUN.project, "shop")]),
            labels(&[(RUN.service, "app")]),
            run("shop", "../app"),
        ] {
            assert_eq!(found(&told), None, "{told:?}");
        }
    }

    #[test]
    fn a_one_off_of_docker_compose_1_has_no_number() {
        let one_off = |said: &str| {
            labels(&[(COMPOSE.project, "shop"), (COMPOSE.service, "app"), ("com.docker.compose.oneoff", said)])
        };
        assert_eq!(found(&one_off("True")), Some(("shop".to_owned(), "app".to_owned())));
        for said in ["False", "", "true"] {
            assert_eq!(found(&one_off(said)), None, "{said}");
        }
        assert_eq!(found(&labels(&[("com.docker.compose.oneoff", "True")])), None);
        // Docker would have copied it from the image, whatever the image says there.
        for brought in [one_off("True"), labels(&[("com.docker.compose.oneoff", "False")]), compose("shop", "app")] {
            assert!(read(&one_off("True"), &brought).is_err(), "{brought:?}");
        }
        assert!(read(&compose("shop", "app"), &one_off("True")).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let what = |told: &[(&str, &str)]| read(&labels(told), &Labels::new()).unwrap_err().detail;
        let number = "some of the labels of compose, and not com.docker.compose.container-number";
        let built = [(COMPOSE.project, "shop"), (COMPOSE.service, "app")];
        assert!(what(&built).contains(number), "{}", what(&built));
        assert!(what(&[built[0], built[1], (RUN.project, "shop")]).ends_with("and not chandlery.service"));
        assert!(what(&[(SWARM.project, "shop"), (SWARM.service, "shop_app")]).contains(SWARM.witnesses[0]));
        assert!(what(&[("com.docker.compose.oneoff", "True")]).contains(COMPOSE.project));
        assert!(what(&[("maintainer", "x")]).contains("no labels of compose"));
    }

    #[test]
    fn a_label_of_the_image_is_nobodys_word() {
        // One of the two that the container was given is not enough where the image gave the other.
        for brought in [[(RUN.project, "shop")], [(RUN.service, "app")]] {
            assert!(read(&run("shop", "app"), &labels(&brought)).is_err());
        }
        assert!(read(&run("shop", "app"), &compose("shop", "db")).is_ok());
        for told in [compose("shop", "app"), swarm("shop", "shop_app")] {
            assert!(read(&told, &told).is_err());
            // What compose v2 writes on an image that it builds.
            let built =
                labels(&[(COMPOSE.project, "other"), (COMPOSE.service, "app"), ("com.docker.compose.version", "2")]);
            assert!(read(&told, &built).is_ok());
        }
    }
}
