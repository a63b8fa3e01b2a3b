//! Bundles: what one service of one environment in one region gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chandlery_wire::{
    Bundle, BundleFile, BundleVariable, Code, Delivery, EntryName, EnvironmentName, Fault, NodeName, Origin,
    RegionName, Scope, ServiceName, StackName, Value, VariableName, Verb,
};
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::cache::{BundleKey, Told};
use super::core::Core;
use super::ground::{Grounds, Placement};
use super::moment::Moment;
use super::nodes::placed;
use super::operation::{Action, Done};
use super::outside::Abroad;
use super::records::Records;
use super::view::{View, Views};
use super::{Error, Vault};
use crate::access::{Caller, may, may_somewhere};
use crate::resolve::{Faults, expand};

/// Whose bundle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BundleOf {
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub region: Option<RegionName>,
    /// A node in whose region it is to be.
    pub node: Option<NodeName>,
    pub service: Option<ServiceName>,
}

impl BundleOf {
    pub(super) fn scope(&self) -> Scope {
        Scope {
            stack: Some(self.stack.clone()),
            environment: Some(self.environment.clone()),
            region: self.region.clone(),
            service: self.service.clone(),
        }
    }

    pub(super) fn target(&self) -> String {
        let Self { stack, environment, .. } = self;
        match (&self.region, &self.node) {
            (Some(region), _) => format!("{stack}/{environment}/{region}"),
            (None, Some(node)) => format!("{stack}/{environment}/node:{node}"),
            (None, None) => format!("{stack}/{environment}/base"),
        }
    }
}

/// A bundle as it is sent, at its revision; no body where the caller has that revision already.
pub(super) type Reply = (u64, Option<Bytes>);

/// What a caller gets that knows these revisions already, and what it hangs on.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) done: Done<Reply>,
    pub(super) grounds: Arc<Grounds>,
}

impl Vault {
    /// The bundle as JSON, unless its revision is one that the caller knows.
    ///
    /// # Errors
    /// Where the caller may not read it, where anything of it is missing or cannot be resolved (all faults at once), and
    /// where a record is not what was written.
    pub async fn bundle(&self, caller: &Caller, of: BundleOf, known: Vec<u64>) -> Result<Reply, Error> {
        let action = read_bundle(&of);
        if let Some(answer) = cached(&self.core, caller, &of, &known) {
            return self.record(caller, &action, answer.map(|answer| answer.done)).await;
        }
        let work = move |core: &Core, caller: &Caller, abroad: &Abroad<'_>| {
            Ok(make(core, caller, abroad, of.clone(), &known)?.done)
        };
        self.perform_abroad(caller, action, work).await
    }

    /// The bundle as it was at a revision or a time; of what is kept outside, what it is now. What has been deleted since is in it, so it takes the right to read
    /// entries beside that to read the bundle.
    ///
    /// # Errors
    /// As [`Vault::bundle`]; and where the moment has not come yet, or a value was destroyed.
    pub async fn bundle_at(&self, caller: &Caller, of: BundleOf, at: String) -> Result<Reply, Error> {
        let action = Action::new("read-past-bundle").on(of.target()).service(of.service.as_ref());
        let work = move |core: &Core, caller: &Caller, abroad: &Abroad<'_>| {
            if !may(caller, Verb::ReadEntry, &of.scope()) {
                return Err(Error::forbidden());
            }
            let (told, json) = build(core, caller, abroad, of.clone(), Some(&at))?;
            Ok(answer(&of, told, &[], || Ok(json))?.done)
        };
        self.perform_abroad(caller, action, work).await
    }
}

/// In the audit log's words.
pub(super) fn read_bundle(of: &BundleOf) -> Action {
    Action::new("read-bundle").on(of.target()).service(of.service.as_ref())
}

/// From the cache, as of the moment at which the caller was authenticated, which is this request's.
///
/// The policy is asked again although only this caller's bundles are looked at: one `if` is cheap, a mistake is not.
pub(super) fn cached(core: &Core, caller: &Caller, of: &BundleOf, known: &[u64]) -> Option<Result<Answer, Error>> {
    if !may_ask(caller, of) {
        return Some(Err(Error::forbidden()));
    }
    let key = BundleKey { caller: Arc::clone(&caller.id), of: of.clone() };
    let rendered =
        core.bundles.get(caller.as_of, &key).filter(|rendered| core.still(&rendered.told.grounds.outside))?;
    let region = rendered.told.region.clone();
    if !may(caller, Verb::ReadBundle, &Scope { region, ..of.scope() }) {
        return Some(Err(Error::forbidden()));
    }
    Some(answer(of, rendered.told.clone(), known, || core.bundles.open(&rendered)))
}

/// From the store; and into the cache.
pub(super) fn make(
    core: &Core,
    caller: &Caller,
    abroad: &Abroad<'_>,
    of: BundleOf,
    known: &[u64],
) -> Result<Answer, Error> {
    let counter = core.store.change_counter()?;
    let (told, json) = build(core, caller, abroad, of.clone(), None)?;
    let key = BundleKey { caller: Arc::clone(&caller.id), of };
    if !abroad.is_lacking() {
        core.bundles.put(counter, key.clone(), told.clone(), &json)?;
    }
    answer(&key.of, told, known, || Ok(json))
}

/// What is refused before anything is looked up. Where only a node is named, the region is not known yet.
fn may_ask(caller: &Caller, of: &BundleOf) -> bool {
    match (&of.region, &of.node) {
        (None, Some(_)) => may_somewhere(caller, Verb::ReadBundle, &of.stack, Some(&of.environment)),
        _ => may(caller, Verb::ReadBundle, &of.scope()),
    }
}

fn answer(
    of: &BundleOf,
    told: Told,
    known: &[u64],
    json: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, Error>,
) -> Result<Answer, Error> {
    let Told { revision, region, entries, grounds } = told;
    let mut done = match known.contains(&revision) {
        true => Done { detail: Some("not modified".into()), ..Done::new((revision, None)) },
        false => Done::new((revision, Some(Bytes::from_owner(json()?)))).entries(entries),
    };
    if let Some(node) = &of.node {
        // The line tells whose values were read: the region's, by way of the node.
        done.target = Some(BundleOf { region, ..of.clone() }.target());
        let node = format!("node {node}");
        done.detail = Some(done.detail.map_or(node.clone(), |detail| format!("{detail}, {node}")).into());
    }
    Ok(Answer { done: done.revision(revision), grounds })
}

fn names(bundle: &Bundle) -> Arc<[String]> {
    let variables = bundle.variables.iter().map(|variable| variable.name.to_string());
    variables.chain(bundle.files.iter().map(|file| file.name.to_string())).collect()
}

fn build(
    core: &Core,
    caller: &Caller,
    abroad: &Abroad<'_>,
    of: BundleOf,
    at: Option<&str>,
) -> Result<(Told, Zeroizing<Vec<u8>>), Error> {
    if !may_ask(caller, &of) {
        return Err(Error::forbidden());
    }
    let keyring = core.keyring();
    let (bundle, grounds) = core.read(|snapshot| {
        let moment = at.map(|at| Moment::parse(core, snapshot, at)).transpose()?;
        let records = Records::new(snapshot, &keyring).as_of(moment);
        let named = of.node.clone();
        let (of, since) = placed(&records, caller, of)?;
        if !may(caller, Verb::ReadBundle, &of.scope()) {
            return Err(Error::forbidden());
        }
        let mut views = Views::new(records, caller, abroad, View::asked(&records, of)?);
        views.placement = named.map(|node| Placement { node, since });
        let delivered = views.delivered();
        match expand(&mut views, delivered)? {
            Ok(values) => {
                let read_now = if at.is_some() { abroad.entries() } else { Vec::new() };
                let bundle = Bundle { stale: abroad.stale(), read_now, ..deliver(&views, values)? };
                Ok((bundle, views.grounds()))
            }
            Err(faults) => Err(unresolvable(&views.here.of, faults)),
        }
    })?;
    // Room for all of it at once: a buffer that grows leaves plaintext behind in freed memory.
    let values = bundle.variables.iter().map(|v| v.value.len()).chain(bundle.files.iter().map(|f| f.value.len()));
    let mut json = Zeroizing::new(Vec::with_capacity(1024 + values.map(|length| 2 * length + 256).sum::<usize>()));
    serde_json::to_writer(&mut *json, &bundle)
        .map_err(|_| Error::new(Code::Internal, "the bundle cannot be written as JSON"))?;
    let (revision, region, entries) = (bundle.revision, bundle.region.clone(), names(&bundle));
    Ok((Told { revision, region, entries, grounds: Arc::new(grounds) }, json))
}

pub(super) fn unresolvable(of: &BundleOf, faults: Faults) -> Error {
    let Faults { list: faults, passing } = faults;
    let service = of.service.as_ref().map(|service| format!(" for {service}")).unwrap_or_default();
    let count = faults.len();
    let what = if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") };
    let (code, hint) = match passing {
        true => (
            Code::SourceUnavailable,
            "it is tried again; look whether the sources named are there, and the network to them",
        ),
        false => {
            let hint = "set or correct what is named; `chandlery explain NAME` shows where a value comes from";
            (Code::Unresolvable, hint)
        }
    };
    Error::new(code, format!("{}{service} has no bundle: {what}", of.target())).hint(hint).faults(faults)
}

/// Turns resolved values into variables and files, and finds what the app could not use.
fn deliver(views: &Views<'_>, mut values: BTreeMap<EntryName, Value>) -> Result<Bundle, Error> {
    let of = &views.here.of;
    let mut bundle = Bundle {
        stack: of.stack.clone(),
        environment: of.environment.clone(),
        region: of.region.clone(),
        service: views.service().cloned(),
        revision: views.revision(),
        variables: Vec::new(),
        files: Vec::new(),
        stale: Vec::new(),
        read_now: Vec::new(),
    };
    let mut faults = Vec::new();
    for (name, choice) in views.here.choices.iter().filter(|(_, choice)| choice.is_delivered()) {
        let Some(value) = values.remove(name) else { continue };
        let attributes = Attributes::of(&choice.winner.item)?;
        let (layer, version) = (choice.winner.layer.clone(), choice.winner.item.version);
        let origin = Origin { layer, version, template: attributes.template, reference: attributes.reference };
        let secret = attributes.secret;
        match attributes.deliver {
            Delivery::Variable => match variable(name, &value) {
                Ok(variable) => bundle.variables.push(BundleVariable { name: variable, value, secret, origin }),
                Err(detail) => faults.push(Fault { name: name.to_string(), detail: detail.to_owned() }),
            },
            Delivery::File(file) => bundle.files.push(BundleFile {
                name: name.clone(),
                value,
                mode: file.mode,
                uid: file.uid,
                gid: file.gid,
                variable: file.variable,
                secret,
                origin,
            }),
        }
    }
    faults.extend(collisions(&bundle));
    if faults.is_empty() { Ok(bundle) } else { Err(unresolvable(of, Faults { list: faults, passing: false })) }
}

fn variable(name: &EntryName, value: &Value) -> Result<VariableName, &'static str> {
    if value.expose_secret().contains(&0) {
        return Err("has a NUL byte, which no variable can hold: deliver it as a file");
    }
    name.as_variable().ok_or("is not a name that a variable can have: deliver it as a file")
}

/// A path variable that is also set by itself, and `X` beside `X_FILE`: apps take either for an error.
fn collisions(bundle: &Bundle) -> Vec<Fault> {
    let is_variable = |name: &str| bundle.variables.iter().any(|variable| variable.name.as_str() == name);
    let mut faults = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for file in &bundle.files {
        let Some(path) = file.variable.as_ref().map(VariableName::as_str) else { continue };
        let mut fault = |detail: String| faults.push(Fault { name: file.name.to_string(), detail });
        if is_variable(path) {
            fault(format!("its path goes to {path}, which is a variable of its own as well"));
        }
        if !seen.insert(path) {
            fault(format!("its path goes to {path}, which is another file's as well"));
        }
        if let Some(plain) = path.strip_suffix("_FILE").filter(|plain| is_variable(plain)) {
            fault(format!("both {plain} and {path} would be set"));
        }
    }
    faults
}
