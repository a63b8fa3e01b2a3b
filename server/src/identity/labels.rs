//! What compose and Swarm write on the containers they start.

use chandlery_wire::{ProjectName, ServiceName};

use super::docker::Labels;
use super::refused;
use crate::vault::Error;

/// The labels of one tool: project and service, and one that it puts on containers and never on images.
struct Tool {
    project: &'static str,
    service: &'static str,
    witness: &'static str,
}

const COMPOSE: Tool = Tool {
    project: "com.docker.compose.project",
    service: "com.docker.compose.service",
    witness: "com.docker.compose.container-number",
};
const SWARM: Tool = Tool {
    project: "com.docker.stack.namespace",
    service: "com.docker.swarm.service.name",
    witness: "com.docker.swarm.task.id",
};

/// The project, which Swarm calls a stack, and the service.
///
/// Docker copies an image's labels to its containers, so by itself a label may be the image's author's word. Both tools set
/// theirs on every container they start, over the image's, and one of them that the image does not have tells that they did.
/// (That the image has some is in order: compose v2 labels those it builds.)
pub(super) fn read(labels: &Labels, of_image: &Labels) -> Result<(ProjectName, ServiceName), Error> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let named = |tool: &Tool| label(tool.project).zip(label(tool.service)).filter(|_| label(tool.witness).is_some());
    // Swarm's services are called stack_service.
    let swarm = named(&SWARM).and_then(|(stack, service)| {
        let service = service.strip_prefix(stack)?.strip_prefix('_')?;
        Some((stack, service))
    });
    let (tool, (project, service)) = match (named(&COMPOSE), swarm) {
        (Some(found), None) => (COMPOSE, found),
        (None, Some(found)) => (SWARM, found),
        (None, None) => {
            return Err(refused("this container has no labels of compose or of a Swarm stack")
                .hint("start it with compose or `docker stack deploy`, or give it a token"));
        }
        (Some(_), Some(_)) => return Err(refused("this container has the labels of compose and of a Swarm stack")),
    };
    if of_image.contains_key(tool.witness) {
        let what = format!("this container's image brings the label {} along, so it says nothing", tool.witness);
        return Err(refused(&what).hint("build the image without that label"));
    }
    let project = ProjectName::parse(project).map_err(|error| refused(&error.to_string()));
    let service = ServiceName::parse(service).map_err(|error| refused(&error.to_string()));
    Ok((project?, service?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// As each tool labels a container.
    fn compose(project: &str, service: &str) -> Labels {
        labels(&[(COMPOSE.project, project), (COMPOSE.service, service), (COMPOSE.witness, "1")])
    }

    fn swarm(stack: &str, service: &str) -> Labels {
        labels(&[(SWARM.project, stack), (SWARM.service, service), (SWARM.witness, "x")])
    }

    fn found(labels: &Labels) -> Option<(String, String)> {
        let found = read(labels, &Labels::new()).ok()?;
        Some((found.0.to_string(), found.1.to_string()))
    }

    #[test]
    fn compose_and_swarm_say_project_and_service() {
        let shop_app = Some(("shop".to_owned(), "app".to_owned()));
        assert_eq!(found(&compose("shop", "app")), shop_app);
        assert_eq!(found(&swarm("shop", "shop_app")), shop_app);
        assert_eq!(found(&swarm("a_b", "a_b_c")), Some(("a_b".to_owned(), "c".to_owned())));
    }

    #[test]
    fn half_a_name_two_names_and_no_name_are_refused() {
        let mut both = compose("a", "b");
        both.extend(swarm("c", "c_d"));
        for told in [
            Labels::new(),
            labels(&[(COMPOSE.project, "shop"), (COMPOSE.witness, "1")]),
            labels(&[(COMPOSE.project, "shop"), (COMPOSE.service, "app")]),
            labels(&[(SWARM.project, "shop"), (SWARM.service, "shop_app")]),
            labels(&[(SWARM.service, "shop_app"), (SWARM.witness, "x")]),
            swarm("shop", "app"),
            swarm("shop", "shopapp"),
            swarm("shop", "shop_"),
            compose("shop", "../app"),
            compose("", "app"),
            compose("shop", "all"),
            both,
        ] {
            assert_eq!(found(&told), None, "{told:?}");
        }
    }

    #[test]
    fn a_label_of_the_image_is_nobodys_word() {
        for told in [compose("shop", "app"), swarm("shop", "shop_app")] {
            assert!(read(&told, &told).is_err());
            // What compose v2 writes on an image that it builds.
            let built =
                labels(&[(COMPOSE.project, "other"), (COMPOSE.service, "app"), ("com.docker.compose.version", "2")]);
            assert!(read(&told, &built).is_ok());
        }
    }
}
