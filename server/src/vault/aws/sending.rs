//! One secret of AWS: what it holds now, what it is to hold, and writing it.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::api::{AwsAction, AwsPush, AwsWrite};
use chandlery_wire::{Code, Fault, RegionName, Value};
use zeroize::Zeroizing;

use super::content;
use super::errand::Errand;
use super::failing::together;
use super::pattern::Pattern;
use super::push::Cargo;
use crate::source::Asker;
use crate::source::aws::{Aws, AwsError, AwsRegion, Creation, Failing, Pace, Purpose, Secret, SecretId, Version};
use crate::vault::Error;

/// What AWS keeps in one secret, in bytes.
const MOST_BYTES: usize = 65_536;

/// One secret that is to be written, or is as it should be.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) told: AwsWrite,
    id: SecretId,
    place: AwsRegion,
    /// What it is to hold.
    value: Option<Value>,
    /// The version that was compared with.
    version_id: Option<String>,
}

/// What each secret is to say, and for which region.
pub(super) type Wanted = BTreeMap<(AwsRegion, SecretId), (Option<RegionName>, BTreeMap<String, Value>)>;

/// Compares what AWS has with what it is to have.
pub(super) async fn compare(
    aws: &Aws,
    errand: &Errand<Cargo>,
    wanted: Wanted,
    ask: &AwsPush,
    replicate: &[AwsRegion],
) -> Result<Vec<Sending>, Error> {
    let total = wanted.len();
    let mut by_place: BTreeMap<AwsRegion, Vec<SecretId>> = BTreeMap::new();
    for (place, id) in wanted.keys() {
        by_place.entry(place.clone()).or_default().push(id.clone());
    }
    let (mut there, mut failed, mut done) = (BTreeMap::new(), Vec::new(), 0);
    for (place, ids) in by_place {
        let tell = |count: usize| errand.tell("comparing", done + count, Some(total));
        let batch = aws.secrets(&place, &ids, &tell).await?;
        done += ids.len();
        failed.extend(batch.failed.into_values().filter(|error| error.failing != Failing::NotFound));
        there.extend(batch.secrets.into_iter().map(|(id, secret)| ((place.clone(), id), secret)));
    }
    if !failed.is_empty() {
        return Err(together("some secrets cannot be compared with; nothing was written", failed));
    }
    let (mut sendings, mut faults) = (Vec::new(), Vec::new());
    for ((place, id), (region, values)) in wanted {
        let secret = there.get(&(place.clone(), id.clone()));
        let told = AwsWrite {
            secret: id.to_string(),
            aws_region: place.to_string(),
            region,
            action: if secret.is_some() { AwsAction::Unchanged } else { AwsAction::Create },
            added: Vec::new(),
            changed: Vec::new(),
            foreign: Vec::new(),
            pruned: Vec::new(),
            replicas: Vec::new(),
            done: false,
            failed: None,
        };
        let version_id = secret.map(|secret| secret.version_id.clone());
        let mut sending = Sending { told, id, place, value: None, version_id };
        let compared = if ask.each { sending.one(secret, values) } else { sending.many(secret, values, ask.prune) };
        if let Err(detail) = compared {
            faults.push(Fault { name: format!("{} in {}", sending.id, sending.place), detail });
        }
        sendings.push(sending);
    }
    if !faults.is_empty() {
        return Err(Error::new(Code::Invalid, "some secrets cannot be pushed; nothing was written")
            .hint("docs/AWS.md says what a push can write")
            .faults(faults));
    }
    if !replicate.is_empty() {
        for sending in &mut sendings {
            sending.replicas(aws, replicate).await?;
        }
    }
    Ok(sendings)
}

impl Sending {
    /// A secret that is one value.
    fn one(&mut self, secret: Option<&Secret>, values: BTreeMap<String, Value>) -> Result<(), String> {
        let Some((name, value)) = values.into_iter().next() else { return Ok(()) };
        if value.is_empty() {
            return Err("is empty, and AWS keeps no empty secret".to_owned());
        }
        match secret {
            None => self.told.added.push(name),
            Some(secret) if secret.value != value => {
                self.told.action = AwsAction::Update;
                self.told.changed.push(name);
            }
            Some(_) => return Ok(()),
        }
        self.set(value)
    }

    /// A secret that is a JSON object. Keys that only AWS has stay in it, unless they are to go.
    fn many(&mut self, secret: Option<&Secret>, values: BTreeMap<String, Value>, prune: bool) -> Result<(), String> {
        let now = match secret {
            None => Vec::new(),
            Some(secret) if secret.binary => return Err("is binary at AWS, and a push writes a JSON object".to_owned()),
            Some(secret) => content::literals(&secret.value)
                .map_err(|why| format!("{why}, and a push writes a JSON object; name another secret"))?,
        };
        let mut object = Zeroizing::new(Vec::with_capacity(64 * 1024));
        let mut known = BTreeSet::new();
        for (key, literal) in &now {
            known.insert(key.clone());
            match values.get(key) {
                Some(value) if literal.value == *value => append(&mut object, key, literal.json.expose_secret()),
                Some(value) => {
                    self.told.changed.push(key.clone());
                    append(&mut object, key, text(key, value)?.as_slice());
                }
                None => {
                    self.told.foreign.push(key.clone());
                    match prune {
                        true => self.told.pruned.push(key.clone()),
                        false => append(&mut object, key, literal.json.expose_secret()),
                    }
                }
            }
        }
        for (key, value) in values.iter().filter(|(key, _)| !known.contains(*key)) {
            self.told.added.push(key.clone());
            append(&mut object, key, text(key, value)?.as_slice());
        }
        object.push(b'}');
        let gone = !self.told.pruned.is_empty();
        if secret.is_some() && (gone || !self.told.changed.is_empty() || !self.told.added.is_empty()) {
            self.told.action = AwsAction::Update;
        }
        if self.told.action == AwsAction::Unchanged {
            return Ok(());
        }
        if object.len() == 1 {
            object.insert(0, b'{');
        }
        self.set(Value::new(std::mem::take(&mut *object)))
    }

    fn set(&mut self, value: Value) -> Result<(), String> {
        if value.len() > MOST_BYTES {
            return Err(format!("would have {} bytes, and AWS takes {MOST_BYTES}", value.len()));
        }
        self.value = Some(value);
        Ok(())
    }

    async fn replicas(&mut self, aws: &Aws, wanted: &[AwsRegion]) -> Result<(), Error> {
        let have = match self.told.action {
            AwsAction::Create => BTreeMap::new(),
            _ => aws.describe(&self.place, &self.id).await?.map(|known| known.replicas).unwrap_or_default(),
        };
        let missing = wanted.iter().filter(|region| **region != self.place && !have.contains_key(region.as_str()));
        self.told.replicas = missing.map(ToString::to_string).collect();
        Ok(())
    }
}

fn append(object: &mut Vec<u8>, key: &str, json: &[u8]) {
    object.push(if object.is_empty() { b'{' } else { b',' });
    // A key is text, and text can always be written.
    object.extend_from_slice(serde_json::to_string(key).unwrap_or_default().as_bytes());
    object.push(b':');
    object.extend_from_slice(json);
}

/// A value as JSON has it.
fn text(key: &str, value: &Value) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = std::str::from_utf8(value.expose_secret());
    let text = text.map_err(|_| {
        format!("{key} is not text, and JSON holds nothing else; --each pushes it as a secret of its own")
    })?;
    // Room for all of it at once: a buffer that grows leaves plaintext behind.
    let mut json = Zeroizing::new(Vec::with_capacity(6 * text.len() + 2));
    serde_json::to_writer(&mut *json, text).map_err(|_| format!("{key} cannot be written as JSON"))?;
    Ok(json)
}

/// Secrets that the pattern means, and that nothing in the store is for.
pub(super) async fn foreign(
    aws: &Aws,
    asker: Asker<'_>,
    pattern: &Pattern,
    places: &BTreeMap<AwsRegion, Vec<Option<RegionName>>>,
    sendings: &[Sending],
    prune: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Sending>, Error> {
    let mut foreign = Vec::new();
    for (place, regions) in places {
        let listed = match aws.list(place, pattern.prefix(), &|_| ()).await {
            // What is not ours does not keep what is ours from being written.
            Err(error) if matches!(error.failing, Failing::Refused(_)) && !prune => {
                notes.push(format!("{error}; so it is not known what else is there"));
                continue;
            }
            listed => listed?,
        };
        for one in listed {
            let Some(found) = pattern.find(&one.name) else { continue };
            // A name without {region} is that of whatever region is kept there.
            let of_these = !pattern.has_region() || regions.contains(&found.region);
            let ours = sendings.iter().any(|sending| sending.place == *place && sending.id.as_str() == one.name);
            let Ok(id) = one.name.parse::<SecretId>() else { continue };
            if !of_these || ours || aws.access().allow(Purpose::Write, asker, place, &id).is_err() {
                continue;
            }
            let told = AwsWrite {
                secret: one.name,
                aws_region: place.to_string(),
                region: if pattern.has_region() { found.region } else { only(regions) },
                action: if prune { AwsAction::Delete } else { AwsAction::Foreign },
                added: Vec::new(),
                changed: Vec::new(),
                pruned: found.name.iter().filter(|_| prune).cloned().collect(),
                foreign: found.name.into_iter().collect(),
                replicas: Vec::new(),
                done: false,
                failed: None,
            };
            foreign.push(Sending { told, id, place: place.clone(), value: None, version_id: None });
        }
    }
    Ok(foreign)
}

/// The region, where there is one alone.
fn only(regions: &[Option<RegionName>]) -> Option<RegionName> {
    if let [region] = regions { region.clone() } else { None }
}

/// Writes one secret.
pub(super) async fn send(
    aws: &Aws,
    sending: &Sending,
    (kms_key, description): (Option<&str>, &str),
    replicate: &[AwsRegion],
) -> Result<(), AwsError> {
    let Sending { told, id, place, value, version_id } = sending;
    let replicas: Vec<AwsRegion> =
        replicate.iter().filter(|region| told.replicas.iter().any(|name| name == region.as_str())).cloned().collect();
    let empty = Value::new([]);
    let value = value.as_ref().unwrap_or(&empty);
    match told.action {
        AwsAction::Create => {
            let tags = BTreeMap::new();
            let new = Creation { value, description, tags: &tags, kms_key, replicas: &replicas };
            aws.create(place, id, new).await?;
            return Ok(());
        }
        AwsAction::Update => {
            let now = aws.secret(Pace::Patient, place, id, &Version::Current).await?;
            if version_id.as_ref() != Some(&now.version_id) {
                return Err(aws.moved(place, id));
            }
            aws.put(place, id, value).await?;
        }
        AwsAction::Delete => return aws.delete(place, id).await,
        AwsAction::Unchanged | AwsAction::Foreign => {}
    }
    if !replicas.is_empty() {
        aws.replicate(place, id, &replicas).await?;
    }
    Ok(())
}
