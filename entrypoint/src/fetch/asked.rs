//! Which bundle is asked for, and whether an answer is that one.

use std::time::Duration;

use chandlery_wire::Bundle;

use crate::config::Config;
use crate::failure::{Exit, Failure};

/// The request's target, with the wish to be held for this long until there is another revision. The names need no escaping: their grammar has no character that a URL treats specially.
pub(super) fn target(config: &Config, wait: Duration) -> String {
    let mut path = format!("/v1/bundles/{}/{}", config.stack, config.environment);
    if let Some(region) = &config.region {
        path = format!("{path}/{region}");
    }
    let service = config.service.as_ref().map(|service| format!("service={service}"));
    let node = config.node.as_ref().map(|node| format!("node={node}"));
    let wait = (!wait.is_zero()).then(|| format!("wait={}", wait.as_secs()));
    for (at, part) in service.into_iter().chain(node).chain(wait).enumerate() {
        path = format!("{path}{}{part}", if at == 0 { '?' } else { '&' });
    }
    path
}

/// # Errors
/// It is another one: then nothing of it is used.
pub(super) fn check(config: &Config, bundle: &Bundle) -> Result<(), Failure> {
    let region = match (&config.region, &config.node) {
        // Which region it is, is the server's to say; that there is one is what a node asks for.
        (None, Some(_)) => bundle.region.is_some(),
        (region, _) => bundle.region == *region,
    };
    let same = bundle.stack == config.stack && bundle.environment == config.environment;
    if same && region && bundle.service == config.service {
        return Ok(());
    }
    let part = |before: &str, name: Option<&str>| name.map_or(String::new(), |name| format!("{before}{name}"));
    let show = |stack: &str, environment: &str, region: Option<&str>, service: Option<&str>| {
        format!("{stack}/{environment}{}{}", part("/", region), part(" for ", service))
    };
    let asked = show(
        config.stack.as_str(),
        config.environment.as_str(),
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
