//! From the store into AWS: what differs is found first, then written, secret by secret. AWS has no transaction over
//! several secrets; so what was written and what was not is told of each, and a push that is made again goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chandlery_wire::api::{AwsAction, AwsErrand, AwsPush, AwsPushed, AwsWrite};
use chandlery_wire::{Code, EntryName, EnvironmentName, RegionName, Scope, ServiceName, StackName, Value, Verb};

use super::errand::{Errand, run};
use super::failing::denied;
use super::import::target;
use super::loading::{Load, load};
use super::pattern::Pattern;
use super::reading::{expected, invalid};
use super::sending::{Sending, Wanted, compare, foreign, send};
use crate::access::{Caller, may, may_somewhere};
use crate::source::Asker;
use crate::source::aws::{Aws, AwsRegion, Failing, Purpose, SecretId};
use crate::vault::core::Core;
use crate::vault::operation::{Action, Done};
use crate::vault::outside::Abroad;
use crate::vault::records::Records;
use crate::vault::view::list;
use crate::vault::{Error, Vault};

type Place = (StackName, EnvironmentName);

/// What a push found, and what became of it.
pub(in crate::vault) struct Cargo {
    sendings: Mutex<Vec<Sending>>,
    notes: Vec<String>,
    replicate: Vec<AwsRegion>,
    kms_key: Option<String>,
    description: String,
}

impl fmt::Debug for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cargo").field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl Cargo {
    fn told(&self) -> AwsPushed {
        let sendings = self.sendings.lock().unwrap_or_else(PoisonError::into_inner);
        AwsPushed { secrets: sendings.iter().map(|one| one.told.clone()).collect(), notes: self.notes.clone() }
    }
}

/// What is asked for, checked.
#[derive(Debug)]
struct Order {
    place: Place,
    ask: AwsPush,
    pattern: Pattern,
    aws_region: Option<AwsRegion>,
    replicate: Vec<AwsRegion>,
}

impl Vault {
    /// Begins to find out what AWS has otherwise than an environment.
    ///
    /// # Errors
    /// Where the caller may not read the entries, where the server's configuration lets nothing be written to AWS for the
    /// environment, and where it is not clear what is meant. What AWS says is told by [`Vault::aws_push_status`].
    pub async fn begin_aws_push(&self, caller: &Caller, place: Place, ask: AwsPush) -> Result<AwsErrand, Error> {
        let action = Action::new("read-for-aws-push").on(target(&place));
        let (own, wish) = (place.clone(), ask.clone());
        let work = move |core: &Core, caller: &Caller, abroad: &Abroad<'_>| {
            let (stack, environment) = &own;
            if !may_somewhere(caller, Verb::ReadEntry, stack, Some(environment)) {
                return Err(Error::forbidden());
            }
            core.outside.aws.access().allow_some(Purpose::Write, Asker { stack, environment }).map_err(denied)?;
            let order = Order::new(own.clone(), wish.clone())?;
            let keyring = core.keyring();
            let load = core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let regions = order.regions(&records.environment(stack, environment)?.regions)?;
                if !regions.iter().all(|region| may(caller, Verb::ReadEntry, &order.scope(region.as_ref()))) {
                    return Err(Error::forbidden());
                }
                load(records, (caller, abroad), &own, &regions, order.ask.service.as_ref())
            })?;
            let entries = load.names();
            Ok(Done::new((order, load)).entries(entries))
        };
        let (order, load) = self.perform_abroad(caller, action, work).await?;
        let errand = self.core.pushes.begin(caller, place, self.core.now())?;
        let (vault, caller) = (self.clone(), caller.clone());
        let running = Arc::clone(&errand);
        run(&errand, async move { vault.compare_with_aws(&caller, &running, order, load).await });
        errand.status(Duration::ZERO).await
    }

    async fn compare_with_aws(&self, caller: &Caller, errand: &Arc<Errand<Cargo>>, order: Order, load: Load) {
        let action = Action::new("read-aws").on(target(&order.place));
        let found = order.compare(&self.core.outside.aws, errand, load).await.map(|cargo| {
            let secrets = cargo.told().secrets;
            let looked_at = secrets.iter().filter(|one| one.action != AwsAction::Create);
            let entries: Vec<String> = looked_at.map(|one| format!("{}:{}", one.aws_region, one.secret)).collect();
            Done::new(cargo).entries(entries)
        });
        self.settle(caller, action, found, (&self.core.pushes, errand)).await;
    }

    /// How far a push is, when it has finished or `wait` is over.
    ///
    /// # Errors
    /// What it failed with; and where it is not this caller's.
    pub async fn aws_push_status(
        &self,
        caller: &Caller,
        place: Place,
        id: EntryName,
        wait: Duration,
    ) -> Result<AwsErrand, Error> {
        let action = Action::new("read-aws-push").on(target(&place));
        self.status_of(caller, action, self.core.pushes.find(caller, &place, &id), wait).await
    }

    /// What is to be written; afterwards, what was.
    ///
    /// # Errors
    /// Where it is still under way, and where it is not this caller's.
    pub async fn aws_push(&self, caller: &Caller, place: Place, id: EntryName) -> Result<AwsPushed, Error> {
        let action = Action::new("read-aws-push").on(target(&place));
        let found = self.core.pushes.find(caller, &place, &id).and_then(|errand| errand.found());
        self.record(caller, &action, found.map(|cargo| Done::new(cargo.told()))).await
    }

    /// Begins to write what was found to differ. Each secret is in the audit log before it is written, and what became of
    /// all of them afterwards.
    ///
    /// # Errors
    /// Where it is still under way, and where it is not this caller's.
    pub async fn carry_out_aws_push(&self, caller: &Caller, place: Place, id: EntryName) -> Result<AwsErrand, Error> {
        let action = Action::new("start-aws-push").on(target(&place));
        let found = self.core.pushes.find(caller, &place, &id);
        let found = found.and_then(|errand| Ok((errand.resume("writing")?, errand)));
        let (cargo, errand) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.fail(caller, &action, error).await),
        };
        let entries: Vec<String> = cargo.told().secrets.iter().filter(|one| is_work(one)).map(line).collect();
        if let Err(error) = self.record(caller, &action, Ok(Done::new(()).entries(entries))).await {
            errand.finish(Err(error.clone()));
            return Err(error);
        }
        let (vault, caller) = (self.clone(), caller.clone());
        let running = Arc::clone(&errand);
        run(&errand, async move { vault.write_to_aws(&caller, &place, &cargo, &running).await });
        errand.status(Duration::ZERO).await
    }

    async fn write_to_aws(&self, caller: &Caller, place: &Place, cargo: &Cargo, errand: &Errand<Cargo>) {
        let mut sendings = std::mem::take(&mut *cargo.sendings.lock().unwrap_or_else(PoisonError::into_inner));
        let total = sendings.iter().filter(|one| is_work(&one.told)).count();
        let (mut done, mut stopped) = (0, None);
        for one in sendings.iter_mut().filter(|one| is_work(&one.told)) {
            errand.tell("writing", done, Some(total));
            if let Some(why) = &stopped {
                one.told.failed = Some(format!("not tried: {why}"));
                continue;
            }
            let new = (cargo.kms_key.as_deref(), cargo.description.as_str());
            match send(&self.core.outside.aws, one, new, &cargo.replicate).await {
                Ok(()) => {
                    one.told.done = true;
                    one.told.failed = None;
                }
                Err(error) => {
                    one.told.failed = Some(format!("{error}; {}", error.hint()));
                    // What AWS is not there for now, it is not there for the others either.
                    if error.may_pass() || matches!(error.failing, Failing::NoCredentials(_)) {
                        stopped = Some(format!("AWS failed at {}", one.told.secret));
                    }
                }
            }
            done += 1;
        }
        let written: Vec<String> = sendings.iter().filter(|one| one.told.done).map(|one| line(&one.told)).collect();
        let detail = format!("{} of {total} written", written.len());
        let after = Cargo {
            sendings: Mutex::new(sendings),
            notes: cargo.notes.clone(),
            replicate: cargo.replicate.clone(),
            kms_key: cargo.kms_key.clone(),
            description: cargo.description.clone(),
        };
        let done = Done { detail: Some(detail.into()), ..Done::new(after).entries(written) };
        let outcome = self.record(caller, &Action::new("write-aws").on(target(place)), Ok(done)).await;
        errand.finish(outcome);
    }
}

/// Whether there is anything to do, or was something to do that failed.
fn is_work(write: &AwsWrite) -> bool {
    let replicas = write.action == AwsAction::Unchanged && !write.replicas.is_empty();
    !write.done && (replicas || !matches!(write.action, AwsAction::Unchanged | AwsAction::Foreign))
}

fn line(write: &AwsWrite) -> String {
    format!("{}:{}", write.aws_region, write.secret)
}

impl Order {
    fn new(place: Place, ask: AwsPush) -> Result<Self, Error> {
        let pattern = Pattern::parse(&ask.secret)?;
        let region = |text: &str| text.parse::<AwsRegion>().map_err(invalid);
        let aws_region = ask.aws_region.as_deref().map(region).transpose()?;
        let replicate = ask.replicate.iter().map(|text| region(text)).collect::<Result<Vec<_>, _>>()?;
        let wrong = |what: &str, hint: &str| Err(Error::new(Code::Invalid, what).hint(hint));
        if ask.each != pattern.has_name() {
            return match ask.each {
                true => wrong(
                    "each entry is to be a secret, and the name has no {name}",
                    "write it as in app/production/{name}",
                ),
                false => wrong(
                    "the name has {name}, and the entries are to be one secret",
                    "say --each for a secret an entry",
                ),
            };
        }
        if ask.secret.starts_with("arn:") {
            return wrong(
                "secrets to be written are named, not by ARN",
                "write the name alone; --aws-region says where",
            );
        }
        Ok(Self { place, ask, pattern, aws_region, replicate })
    }

    fn scope(&self, region: Option<&RegionName>) -> Scope {
        let (stack, environment) = self.place.clone();
        Scope {
            stack: Some(stack),
            environment: Some(environment),
            region: region.cloned(),
            service: self.ask.service.clone(),
        }
    }

    /// The regions that are pushed; one that is none, where the environment has no regions.
    fn regions(&self, declared: &[RegionName]) -> Result<Vec<Option<RegionName>>, Error> {
        let (stack, environment) = &self.place;
        if let Some(region) = self.ask.regions.iter().find(|region| !declared.contains(region)) {
            let what = format!("{stack}/{environment} has no region {region}; it has {}", list(declared));
            return Err(
                Error::new(Code::UnknownRegion, what).hint("look at the name; chandlery region add declares one")
            );
        }
        let wanted = if self.ask.regions.is_empty() { declared } else { &self.ask.regions };
        let wanted: BTreeSet<&RegionName> = wanted.iter().collect();
        if wanted.len() > 1 && !self.pattern.has_region() && self.aws_region.is_some() {
            return Err(Error::new(Code::Invalid, "several regions would go to one secret")
                .hint("write {region} into its name, as in app/production/{region}, or name one region"));
        }
        if wanted.is_empty() && self.pattern.has_region() {
            return Err(Error::new(
                Code::Invalid,
                format!("{stack}/{environment} has no regions, and the name has {{region}}"),
            )
            .hint("write the name without it"));
        }
        match wanted.is_empty() {
            true => Ok(vec![None]),
            false => Ok(wanted.into_iter().cloned().map(Some).collect()),
        }
    }

    async fn compare(self, aws: &Aws, errand: &Errand<Cargo>, load: Load) -> Result<Cargo, Error> {
        let (stack, environment) = &self.place;
        let asker = Asker { stack, environment };
        let Load { regions, mut notes } = load;
        let mut wanted = Wanted::new();
        let mut places: BTreeMap<AwsRegion, Vec<Option<RegionName>>> = BTreeMap::new();
        for (region, values) in regions {
            let place = expected(aws, self.aws_region.as_ref(), region.as_ref()).await?;
            places.entry(place.clone()).or_default().push(region.clone());
            for (name, values) in self.secrets(region.as_ref(), values) {
                let id: SecretId = name.parse().map_err(invalid)?;
                aws.access().allow(Purpose::Write, asker, &place, &id).map_err(denied)?;
                if let Some((other, _)) = wanted.insert((place.clone(), id.clone()), (region.clone(), values)) {
                    let names = [other, region.clone()].into_iter().flatten().map(|region| region.to_string());
                    let what = format!("{id} in {place} would be that of {}", names.collect::<Vec<_>>().join(" and "));
                    return Err(Error::new(Code::Invalid, what)
                        .hint("write {region} into its name, as in app/production/{region}"));
                }
            }
        }
        let mut sendings = compare(aws, errand, wanted, &self.ask, &self.replicate).await?;
        if self.ask.each {
            sendings.extend(foreign(aws, asker, &self.pattern, &places, &sendings, self.ask.prune, &mut notes).await?);
        }
        Ok(Cargo {
            sendings: Mutex::new(sendings),
            notes,
            replicate: self.replicate,
            kms_key: self.ask.kms_key,
            description: format!("{stack}/{environment}, pushed by Chandlery"),
        })
    }

    /// The secrets of one region: one with everything, or one for each entry.
    fn secrets(
        &self,
        region: Option<&RegionName>,
        values: BTreeMap<EntryName, Value>,
    ) -> Vec<(String, BTreeMap<String, Value>)> {
        let region = region.map(RegionName::as_str);
        let values = values.into_iter().map(|(name, value)| (name.to_string(), value));
        match self.ask.each {
            false => vec![(self.pattern.fill(region, None), values.collect())],
            true => values
                .map(|(name, value)| (self.pattern.fill(region, Some(&name)), BTreeMap::from([(name, value)])))
                .collect(),
        }
    }
}

/// Which service's, in a sentence.
pub(super) fn whose(service: Option<&ServiceName>) -> String {
    service.map_or_else(|| "all services get".to_owned(), |service| format!("{service} gets"))
}
