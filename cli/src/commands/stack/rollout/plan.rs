//! Which regions get their turn, where each of them is, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::RegionName;

use super::super::dock::Dock;
use super::super::render::StackArgs;
use super::Args;
use crate::client::look;
use crate::context::Context;
use crate::context::hosts::{Host, Hosts, RolloutRules};
use crate::failure::{Exit, Failure};

/// One Docker host's turn.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) region: RegionName,
    /// What the host is called in its region.
    pub(super) host: String,
    pub(super) dock: Dock,
    pub(super) health_url: Option<String>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// The options of `up`, with what is particular about this host.
    pub(super) stack: StackArgs,
}

impl Stop {
    /// What tells it from the others, also as a folder's name.
    pub(super) fn key(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        format!("{}@{}", self.region, self.host.chars().map(plain).collect::<String>())
    }
}

/// The stops in their order: as the regions are declared or said, the primary's last.
pub(super) fn stops(args: &Args, context: &Context, declared: &[RegionName]) -> Result<Vec<Stop>, Failure> {
    let known = hosts(args, context);
    let rules = context.project.as_ref().and_then(|project| project.keys.rollout.clone()).unwrap_or_default();
    let mut regions = wanted(args, context, declared)?;
    let primary = match (&args.primary, &rules.primary) {
        (Some(region), _) => Some(region.clone()),
        (None, Some(text)) => Some(region(text)?),
        (None, None) => None,
    };
    if let Some(primary) = &primary {
        if !declared.contains(primary) {
            return Err(undeclared(primary, declared));
        }
        // Where only others are asked for, it has no turn.
        if let Some(at) = regions.iter().position(|region| region == primary) {
            let last = regions.remove(at);
            regions.push(last);
        }
    }
    let without: Vec<&str> =
        regions.iter().filter(|region| !known.contains_key(*region)).map(RegionName::as_str).collect();
    if !without.is_empty() {
        let what = format!("it is not known on which Docker {} runs", without.join(", "));
        let hint = format!(
            "write `[hosts]` and `{0} = \"ssh://…\"` (or a docker context) into chandlery.toml, or --host {0}=…; `{0} = []` says that nothing runs there",
            without[0]
        );
        return Err(Failure::usage(what, hint));
    }
    let mut stops = Vec::new();
    for region in &regions {
        for host in known.get(region).into_iter().flat_map(|hosts| &hosts.0) {
            stops.push(stop(args, &rules, region, host)?);
        }
    }
    distinct(&stops)?;
    Ok(stops)
}

/// Of the file, and of `--host`, which is nearer.
fn hosts(args: &Args, context: &Context) -> BTreeMap<RegionName, Hosts> {
    let mut known = context.project.as_ref().map(|project| project.keys.hosts.clone()).unwrap_or_default();
    let said: BTreeSet<&RegionName> = args.hosts.iter().map(|(region, _)| region).collect();
    for region in said {
        let of_region = args.hosts.iter().filter(|(other, _)| other == region);
        known.insert(region.clone(), Hosts(of_region.map(|(_, host)| host.clone()).collect()));
    }
    known
}

/// `all`, a list, or the context's region; all where nothing is said.
fn wanted(args: &Args, context: &Context, declared: &[RegionName]) -> Result<Vec<RegionName>, Failure> {
    let regions = match (args.regions.as_deref(), context.region()) {
        (Some("all" | "base"), _) | (None, None) => declared.to_vec(),
        (Some(list), _) => list.split(',').map(|text| region(text.trim())).collect::<Result<Vec<_>, _>>()?,
        (None, Some(region)) => vec![region.clone()],
    };
    if let Some(unknown) = regions.iter().find(|region| !declared.contains(region)) {
        return Err(undeclared(unknown, declared));
    }
    if regions.is_empty() {
        let hint =
            "declare them with `chandlery region add`; a stack in one place is brought up with `chandlery stack up`";
        return Err(Failure::usage("the environment has no regions to go through", hint));
    }
    let mut seen = BTreeSet::new();
    Ok(regions.into_iter().filter(|region| seen.insert(region.clone())).collect())
}

fn region(text: &str) -> Result<RegionName, Failure> {
    RegionName::parse(text)
        .map_err(|error| Failure::usage(error.to_string(), "write all, or regions with commas between"))
}

fn undeclared(region: &RegionName, declared: &[RegionName]) -> Failure {
    let declared: Vec<&str> = declared.iter().map(RegionName::as_str).collect();
    let hint = format!("declared are {}", declared.join(", "));
    Failure::new(Exit::NotFound, format!("the region {region} was never declared"), hint)
}

fn stop(args: &Args, rules: &RolloutRules, region: &RegionName, host: &Host) -> Result<Stop, Failure> {
    let dock = match (&host.context, &host.host) {
        (Some(context), None) => Dock::of_context(context),
        (None, Some(url)) => Dock::of_url(url, host.cert_path.clone()),
        _ => Err(Failure::usage("a host has a `context` or a `host`, and not both", "say it in chandlery.toml")),
    };
    let dock =
        dock.map_err(|failure| Failure { what: format!("the host of {region}: {}", failure.what), ..failure })?;
    let url = host.host.as_deref().map(|url| url.rsplit("://").next().unwrap_or_default().trim_matches('/').to_owned());
    let name = host.name.clone().or_else(|| host.context.clone()).or(url).unwrap_or_default();
    let fill = |text: &String| text.replace("{region}", region.as_str()).replace("{host}", &name);
    let health_url = host.health_url.as_ref().or(args.health_url.as_ref()).or(rules.health_url.as_ref()).map(fill);
    if let Some(url) = &health_url {
        look::check(url).map_err(|why| {
            Failure::usage(
                format!("the health URL of {region}: {why}"),
                "write http://10.0.0.5:3000/up, or https://{region}.example/up",
            )
        })?;
    }
    let mut stack = args.stack.clone();
    if let Some(server) = &host.server {
        stack.identity.server = Some(server.clone());
    }
    if let Some(program) = &host.entrypoint {
        stack.identity.entrypoint = Some(program.clone());
    }
    let either = |own: &Option<String>, flag: &Option<String>, rule: &Option<String>| {
        own.clone().or_else(|| flag.clone()).or_else(|| rule.clone())
    };
    Ok(Stop {
        region: region.clone(),
        dock,
        health_url,
        before: either(&host.before, &args.before_each, &rules.before_each),
        after: either(&host.after, &args.after_each, &rules.after_each),
        host: name,
        stack,
    })
}

/// On one Docker, one project: the second would take the first one's place.
fn distinct(stops: &[Stop]) -> Result<(), Failure> {
    for (at, stop) in stops.iter().enumerate() {
        for other in &stops[..at] {
            if stop.key() == other.key() {
                let what = format!("{} has two hosts that are called {}", stop.region, stop.host);
                return Err(Failure::usage(what, "give them a `name`"));
            }
            if stop.dock.url() == other.dock.url() {
                let what = format!("{} and {} are on the same Docker, {}", other.key(), stop.key(), stop.dock);
                return Err(Failure::usage(what, "a host holds one region's stack: correct [hosts] in chandlery.toml"));
            }
        }
    }
    if stops.is_empty() {
        let hint = "give one a host in chandlery.toml, or with --host REGION=DOCKER";
        return Err(Failure::usage("none of these regions has a host", hint));
    }
    Ok(())
}

/// `REGION=DOCKER`
pub(super) fn host_option(text: &str) -> Result<(RegionName, Host), String> {
    let (region, word) = text.split_once('=').ok_or("write a region and its Docker, as in sfo3=ssh://deploy@vm-1")?;
    let region = RegionName::parse(region).map_err(|error| error.to_string())?;
    Ok((region, Host::of_word(word)))
}
