//! How a later file, or a service that extends another, changes an earlier one.

use super::Fault;
use super::yaml::{Kind, Mark, Node};

/// Keys of a service whose later value takes the place of the earlier one.
const REPLACED: [&str; 2] = ["command", "entrypoint"];
/// Keys that are a map, or a list of `NAME=value`; merged by name.
const PAIRS: [&str; 5] = ["environment", "labels", "args", "sysctls", "annotations"];
/// Keys that are a list of names, or a map of them.
const NAMED: [&str; 2] = ["depends_on", "networks"];
/// Keys that are one text, or a list of them; later ones are added.
const LISTS: [&str; 4] = ["env_file", "dns", "dns_search", "tmpfs"];

/// Gives every key its one form, so that all forms merge alike: lists of `NAME=value` become maps.
pub(super) fn normalise(root: &mut Node, faults: &mut Vec<Fault>) {
    let Some(services) = root.get_mut("services") else { return };
    let Kind::Map(services) = &mut services.kind else { return };
    for (name, service) in services {
        if service.is_null() {
            service.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(pairs) = &mut service.kind else {
            faults.push(Fault::new(&service.at, format!("services.{name} is no map")));
            continue;
        };
        for (key, value) in pairs {
            normalise_key(key, value, faults);
        }
    }
}

fn normalise_key(key: &str, value: &mut Node, faults: &mut Vec<Fault>) {
    if key == "build" && value.as_str().is_some() {
        let context = Node { mark: Mark::None, ..value.clone() };
        value.kind = Kind::Map(vec![("context".to_owned(), context)]);
    }
    if key == "build"
        && let Some(args) = value.get_mut("args")
    {
        normalise_key("args", args, faults);
    }
    if key == "deploy"
        && let Some(labels) = value.get_mut("labels")
    {
        normalise_key("labels", labels, faults);
    }
    if PAIRS.contains(&key)
        && let Kind::List(items) = &value.kind
    {
        let mut pairs: Vec<(String, Node)> = Vec::new();
        for item in items {
            match pair(item) {
                // The last one counts, as in the container.
                Some((name, node)) => {
                    pairs.retain(|(known, _)| *known != name);
                    pairs.push((name, node));
                }
                None => {
                    let what = format!("an item of {key} is no text; in a list it is NAME=value, without a blank");
                    faults.push(Fault::new(&item.at, what));
                }
            }
        }
        value.kind = Kind::Map(pairs);
    }
    if NAMED.contains(&key)
        && let Kind::List(items) = &value.kind
    {
        let named = items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), Node::new(Kind::Null, &item.at))));
        value.kind = Kind::Map(named.collect());
    }
    if LISTS.contains(&key) && value.as_str().is_some() {
        let one = Node { mark: Mark::None, ..value.clone() };
        value.kind = Kind::List(vec![one]);
    }
}

/// `NAME=value`, or `NAME`, which has its value from the shell.
fn pair(item: &Node) -> Option<(String, Node)> {
    let scalar = item.scalar()?;
    let Some((name, value)) = scalar.text.split_once('=') else {
        return Some((scalar.text.clone(), Node::new(Kind::Null, &item.at)));
    };
    let mut node = Node::text(value, &item.at);
    if let Kind::Scalar(text) = &mut node.kind {
        text.uses.clone_from(&scalar.uses);
    }
    Some((name.to_owned(), node))
}

/// A whole later file over an earlier one, both normalised.
pub(super) fn files(base: &mut Node, later: Node) {
    into(base, later, &mut Vec::new());
}

/// A service over the one that it extends.
pub(super) fn service(base: &mut Node, later: Node) {
    into(base, later, &mut vec!["services".to_owned(), String::new()]);
}

fn into(base: &mut Node, later: Node, path: &mut Vec<String>) {
    let key = path.last().map(String::as_str).unwrap_or_default();
    let in_service = path.len() >= 3 && path[0] == "services";
    // An override of `FOO:` without a value takes FOO from the shell; of any other key it says nothing.
    let from_shell = in_service && path.len() == 4 && path[2] == "environment";
    if later.is_null() && !from_shell {
        return;
    }
    let replaced = in_service
        && (path.len() == 3 && REPLACED.contains(&key) || path.len() == 4 && path[2] == "healthcheck" && key == "test");
    if replaced || later.mark == Mark::Override || base.is_null() {
        *base = later;
        return;
    }
    let place = path.get(2).filter(|_| in_service && path.len() == 3).cloned();
    match (&mut base.kind, later.kind) {
        (Kind::Map(_), Kind::Map(pairs)) => {
            for (name, node) in pairs {
                if node.mark == Mark::Reset {
                    base.take(&name);
                } else if let Some(known) = base.get_mut(&name) {
                    path.push(name);
                    into(known, node, path);
                    path.pop();
                } else {
                    base.put(&name, node);
                }
            }
        }
        (Kind::List(items), Kind::List(more)) => {
            for item in more {
                add(items, item, place.as_deref());
            }
        }
        (_, kind) => *base = Node { kind, ..Node::new(Kind::Null, &later.at) },
    }
}

/// Adds an item to a list, instead of the one that is for the same thing.
fn add(items: &mut Vec<Node>, item: Node, key: Option<&str>) {
    let identity = |node: &Node| -> Option<String> {
        match key {
            Some("volumes" | "devices") => container_path(node),
            Some("secrets" | "configs") => target(node),
            _ => node.as_str().map(str::to_owned),
        }
    };
    let wanted = identity(&item);
    let known = items.iter_mut().find(|known| wanted.is_some() && identity(known) == wanted);
    match known {
        Some(known) => *known = item,
        None => items.push(item),
    }
}

/// Where in the container a volume is mounted.
pub(super) fn container_path(node: &Node) -> Option<String> {
    if let Some(target) = node.get("target") {
        return target.as_str().map(str::to_owned);
    }
    let text = node.as_str()?;
    let mut parts = text.split(':').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some(_), Some(target)) if target.starts_with('/') => Some(target.to_owned()),
        (Some(only), _) => Some(only.to_owned()),
        _ => None,
    }
}

fn target(node: &Node) -> Option<String> {
    let long = node.get("target").or_else(|| node.get("source"));
    long.unwrap_or(node).as_str().map(str::to_owned)
}
