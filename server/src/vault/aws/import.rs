//! From AWS into the store: read first, then as any other change.

use std::sync::Arc;
use std::time::Duration;

use chandlery_wire::api::{AwsErrand, AwsImport, AwsImported, Terms};
use chandlery_wire::{Code, EntryName, EnvironmentName, RegionName, Scope, StackName, Value, Verb};

use super::errand::{Errand, run};
use super::failing::denied;
use super::pattern::Pattern;
use super::plan::Taken;
use super::reading::{Reading, Which, invalid};
use crate::access::{Caller, may, may_somewhere};
use crate::source::Asker;
use crate::source::aws::{AwsRegion, Purpose, Secret};
use crate::vault::operation::{Action, Done};
use crate::vault::records::Records;
use crate::vault::{Error, Vault};

/// The most secrets named in one request.
const MOST_NAMED: usize = 1_000;

/// What was read at AWS, until somebody says what to do with it.
#[derive(Debug, Default)]
pub(in crate::vault) struct Haul {
    pub(super) ask: AwsImport,
    pub(super) items: Vec<Item>,
    pub(super) notes: Vec<String>,
}

/// One secret, and what it is for.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) aws_region: AwsRegion,
    pub(super) secret: String,
    pub(super) version_id: String,
    pub(super) region: Option<RegionName>,
    /// What stands for `{name}`.
    pub(super) name: Option<String>,
    pub(super) value: Value,
    pub(super) binary: bool,
}

impl Item {
    pub(super) fn new(aws_region: AwsRegion, region: Option<RegionName>, name: Option<String>, secret: Secret) -> Self {
        let Secret { name: own, version_id, value, binary, .. } = secret;
        Self { aws_region, secret: own, version_id, region, name, value, binary }
    }
}

type Place = (StackName, EnvironmentName);

impl Vault {
    /// Begins to read secrets of AWS for an environment.
    ///
    /// # Errors
    /// Where the caller may not write there, where the server's configuration lets nothing be read for it, and where it is
    /// not clear what is meant. What AWS says is told by [`Vault::aws_import_status`].
    pub async fn begin_aws_import(&self, caller: &Caller, place: Place, ask: AwsImport) -> Result<AwsErrand, Error> {
        let action = Action::new("start-aws-import").on(target(&place));
        let (errand, reading) = self
            .perform(caller, action, move |core, caller| {
                let (stack, environment) = &place;
                if !may_somewhere(caller, Verb::Write, stack, Some(environment)) {
                    return Err(Error::forbidden());
                }
                let asker = Asker { stack, environment };
                core.outside.aws.access().allow_some(Purpose::Read, asker).map_err(denied)?;
                let keyring = core.keyring();
                let declared = core
                    .read(|snapshot| Ok(Records::new(snapshot, &keyring).environment(stack, environment)?.regions))?;
                let reading = reading(place.clone(), declared, ask)?;
                let errand = core.imports.begin(caller, place, core.now())?;
                Ok(Done::new((errand, reading)))
            })
            .await?;
        let (vault, caller) = (self.clone(), caller.clone());
        let running = Arc::clone(&errand);
        run(&errand, async move { vault.read_for_import(&caller, &running, reading).await });
        errand.status(Duration::ZERO).await
    }

    async fn read_for_import(&self, caller: &Caller, errand: &Arc<Errand<Haul>>, reading: Reading) {
        let action = Action::new("read-aws").on(format!("{}/{}", reading.stack, reading.environment));
        let read = reading.carry_out(&self.core.outside.aws, errand).await.map(|haul| {
            let one = |item: &Item| format!("{}:{}@{}", item.aws_region, item.secret, item.version_id);
            let entries: Vec<String> = haul.items.iter().map(one).collect();
            Done::new(haul).entries(entries)
        });
        self.settle(caller, action, read, (&self.core.imports, errand)).await;
    }

    /// How far the reading is, when it has finished or `wait` is over.
    ///
    /// # Errors
    /// What it failed with; and where it is not this caller's.
    pub async fn aws_import_status(
        &self,
        caller: &Caller,
        place: Place,
        id: EntryName,
        wait: Duration,
    ) -> Result<AwsErrand, Error> {
        let action = Action::new("read-aws-import").on(target(&place));
        self.status_of(caller, action, self.core.imports.find(caller, &place, &id), wait).await
    }

    /// Writes what was read, or says what would be written.
    ///
    /// # Errors
    /// As [`Vault::change`]; where the reading has not finished; and where something of it cannot be taken, all of it
    /// named at once.
    pub async fn aws_import(
        &self,
        caller: &Caller,
        place: Place,
        id: EntryName,
        terms: Terms,
    ) -> Result<AwsImported, Error> {
        let found = self.core.imports.find(caller, &place, &id).and_then(|errand| errand.found());
        let haul = match found {
            Ok(haul) => haul,
            Err(error) => {
                return Err(self.fail(caller, &Action::new("write-aws-import").on(target(&place)), error).await);
            }
        };
        let for_real = !terms.dry_run;
        let mut imported = self.import(caller, &place, haul, terms).await?;
        // Who may write and not read has not read it by importing it, as a plain one or any other.
        let scope = Scope { stack: Some(place.0), environment: Some(place.1), ..Scope::default() };
        if !may(caller, Verb::ReadEntry, &scope) {
            imported.changed.entries.iter_mut().for_each(|entry| entry.value = None);
        }
        if for_real {
            self.core.imports.end(&id);
        }
        Ok(imported)
    }

    async fn import(
        &self,
        caller: &Caller,
        place: &Place,
        haul: Arc<Haul>,
        terms: Terms,
    ) -> Result<AwsImported, Error> {
        let taken = match Taken::of(&haul) {
            Ok(taken) => taken,
            Err(error) => {
                return Err(self.fail(caller, &Action::new("write-aws-import").on(target(place)), error).await);
            }
        };
        let secrets = taken.secrets(&haul);
        let notes = haul.notes.clone();
        let (mut changed, told) = taken.write(self, caller, place, haul, terms).await?;
        changed.notes = [notes, changed.notes].concat();
        Ok(AwsImported { secrets, entries: told.entries, factored: told.factored, changed })
    }

    /// Forgets what was read.
    ///
    /// # Errors
    /// Where it is not this caller's.
    pub async fn end_aws_import(&self, caller: &Caller, place: Place, id: EntryName) -> Result<(), Error> {
        let action = Action::new("end-aws-import").on(target(&place));
        let ended = self.core.imports.find(caller, &place, &id).map(|errand| self.core.imports.end(errand.id()));
        self.record(caller, &action, ended.map(Done::new)).await
    }
}

pub(super) fn target((stack, environment): &Place) -> String {
    format!("{stack}/{environment}")
}

/// What is asked for, checked.
fn reading((stack, environment): Place, declared: Vec<RegionName>, ask: AwsImport) -> Result<Reading, Error> {
    let aws_region =
        ask.aws_region.as_deref().map(|region| region.parse::<AwsRegion>().map_err(invalid)).transpose()?;
    let wrong = |what: &str, hint: &str| Err(Error::new(Code::Invalid, what).hint(hint));
    if ask.secrets.is_empty() {
        return wrong("no secret is named", "name one, or a pattern such as chuspace-app/prod-env/{region}");
    }
    if ask.secrets.len() > MOST_NAMED {
        return wrong("more than 1000 secrets are named", "use a pattern, or several imports");
    }
    let is_pattern = |text: &String| text.contains(['{', '}']);
    let which = match ask.secrets.iter().find(|text| is_pattern(text)) {
        Some(_) if ask.secrets.len() > 1 => {
            return wrong("a pattern is named beside other secrets", "import each pattern by itself");
        }
        Some(pattern) => Which::Like(Pattern::parse(pattern)?),
        None => Which::Named(ask.secrets.iter().map(|id| id.parse().map_err(invalid)).collect::<Result<_, _>>()?),
    };
    let by_region = matches!(&which, Which::Like(pattern) if pattern.has_region());
    if by_region && ask.region.is_some() {
        return wrong(
            "{region} is in the pattern, and a region is named as well",
            "leave one of them out; --regions names several",
        );
    }
    if !by_region && (!ask.regions.is_empty() || ask.exact) {
        return wrong(
            "regions, and exactly what they have, are for a pattern with {region}",
            "write {region} where it stands in the secrets' names",
        );
    }
    if let Some(region) = ask.region.as_ref().filter(|region| !declared.contains(region) && !ask.declare) {
        let what =
            format!("{stack}/{environment} has no region {region}; it has {}", crate::vault::view::list(&declared));
        return Err(
            Error::new(Code::UnknownRegion, what).hint("declare it with chandlery region add, or with --declare")
        );
    }
    Ok(Reading { stack, environment, declared, ask, which, aws_region })
}
