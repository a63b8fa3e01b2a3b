//! Which bundle is asked for, and whether an answer is that one.

use std::time::Duration;

use chandlery_wire::Bundle;

use crate::config::Config;
use crate::failure::{Exit, Failure};

/// The request's target, with the wish to be held for this long until there is another revision. The names need no
/// escaping: their grammar has no character that a URL treats specially.
pub(super) fn target(config: &Config, wait: Duration) -> String {
    let node = config.node.as_ref().map(|node| format!("node={node}"));
    let service = config.service.as_ref().map(|service| format!("service={service}"));
    let (mut path, parts) = match (&config.token, &config.stack, &config.environment) {
        (Some(_), Some(stack), Some(environment)) => {
            let region = config.region.as_ref().map_or(String::new(), |region| format!("/{region}"));
            (format!("/v1/bundles/{stack}/{environment}{region}"), [None, None, None, service, node])
        }
        // Without a token the server knows whose it is. What is said all the same, it compares.
        (_, stack, environment) => {
            let stack = stack.as_ref().map(|stack| format!("stack={stack}"));
            let environment = environment.as_ref().map(|environment| format!("environment={environment}"));
            let region = config.region.as_ref().map(|region| format!("region={region}"));
            ("/v1/bundle".to_owned(), [stack, environment, region, service, node])
        }
    };
    let wait = (!wait.is_zero()).then(|| format!("wait={}", wait.as_secs()));
    for (at, part) in parts.into_iter().flatten().chain(wait).enumerate() {
        path = format!("{path}{}{part}", if at == 0 { '?' } else { '&' });
    }
    path
}

/// # Errors
/// It is another one: then nothing of it is used.
pub(super) fn check(config: &Config, bundle: &Bundle) -> Result<(), Failure> {
    // Without a token, what was not said is the server's to say.
    let open = config.token.is_none();
    let region = match (&config.region, &config.node) {
        // Which region a node is in is the server's to say as well; that it is in one is what a node asks for.
        (None, Some(_)) => bundle.region.is_some(),
        (None, None) if open => true,
        (region, _) => bundle.region == *region,
    };
    let same = config.stack.as_ref().is_none_or(|stack| bundle.stack == *stack)
        && config.environment.as_ref().is_none_or(|environment| bundle.environment == *environment);
    if same && region && (bundle.service == config.service || open && config.service.is_none()) {
        return Ok(());
    }
    let part = |before: &str, name: Option<&str>| name.map_or(String::new(), |name| format!("{before}{name}"));
    let show = |stack: &str, environment: &str, region: Option<&str>, service: Option<&str>| {
        format!("{stack}/{environment}{}{}", part("/", region), part(" for ", service))
    };
    let asked = show(
        config.stack.as_ref().map_or("*", AsRef::as_ref),
        config.environment.as_ref().map_or("*", AsRef::as_ref),
        config.region.as_ref().map(AsRef::as_ref),
        config.service.as_ref().map(AsRef::as_ref),
    );
    let node = part(" on node ", config.node.as_ref().map(AsRef::as_ref));
    let got = show(
        bundle.stack.as_str(),
        bundle.environment.as_str(),
        bundle.region.as_ref().map(AsRef::as_ref),
        bundle.service.as_ref().map(AsRef::as_ref),
    );
    Err(Failure::new(
        Exit::NoBundle,
        format!("asked for the bundle {asked}{node} and got {got}"),
        "something between this container and the server, such as a caching proxy, mixes up answers: take it away",
    ))
}

/// Says whose word the region was that an error may be about, where nobody here named it.
pub(super) fn where_the_region_is_from(config: &Config, failure: Failure) -> Failure {
    match (&config.region, &config.region_source) {
        (Some(region), Some(source)) if matches!(failure.exit, Exit::Refused | Exit::NoBundle) => {
            failure.with_fault(format!("the region {region} is from {source}; CHANDLERY_REGION says another, or base"))
        }
        _ => failure,
    }
}
