//! Finding out which secrets are meant, and reading them.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::api::AwsImport;
use chandlery_wire::{Code, EnvironmentName, RegionName, StackName};

use super::errand::Errand;
use super::failing::{denied, together};
use super::import::{Haul, Item};
use super::pattern::Pattern;
use crate::source::Asker;
use crate::source::aws::{Aws, AwsRegion, Failing, Pace, Purpose, Secret, SecretId, Version};
use crate::vault::Error;
use crate::vault::view::list;

/// What is read, for which environment.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) stack: StackName,
    pub(super) environment: EnvironmentName,
    /// The regions that the environment has.
    pub(super) declared: Vec<RegionName>,
    pub(super) ask: AwsImport,
    pub(super) which: Which,
    pub(super) aws_region: Option<AwsRegion>,
}

#[derive(Debug, Clone)]
pub(super) enum Which {
    Named(Vec<SecretId>),
    Like(Pattern),
}

/// One secret that is to be read, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Meant {
    aws_region: AwsRegion,
    id: SecretId,
    region: Option<RegionName>,
    name: Option<String>,
}

impl Reading {
    fn asker(&self) -> Asker<'_> {
        Asker { stack: &self.stack, environment: &self.environment }
    }

    pub(super) async fn carry_out(&self, aws: &Aws, errand: &Errand<Haul>) -> Result<Haul, Error> {
        let mut haul = Haul { ask: self.ask.clone(), ..Haul::default() };
        let meant = match &self.which {
            Which::Named(ids) => self.named(aws, ids).await?,
            Which::Like(pattern) => self.like(aws, pattern, errand, &mut haul.notes).await?,
        };
        self.check_regions(&meant, &mut haul.notes)?;
        self.read(aws, meant, errand, &mut haul).await?;
        Ok(haul)
    }

    async fn named(&self, aws: &Aws, ids: &[SecretId]) -> Result<Vec<Meant>, Error> {
        let mut meant = Vec::new();
        for id in ids {
            let aws_region = match (id.region(), &self.aws_region) {
                (Some(own), Some(said)) if own != *said => {
                    let what = format!("{id} is in {own}, and {said} is asked for");
                    return Err(Error::new(Code::Invalid, what).hint("leave the region of AWS out: the ARN has it"));
                }
                (Some(own), _) => own,
                (None, _) => expected(aws, self.aws_region.as_ref(), self.ask.region.as_ref()).await?,
            };
            aws.access().allow(Purpose::Read, self.asker(), &aws_region, id).map_err(denied)?;
            meant.push(Meant { aws_region, id: id.clone(), region: self.ask.region.clone(), name: None });
        }
        Ok(meant)
    }

    async fn like(
        &self,
        aws: &Aws,
        pattern: &Pattern,
        errand: &Errand<Haul>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Meant>, Error> {
        if pattern.has_region() && !pattern.has_name() && !self.ask.regions.is_empty() {
            return self.filled(aws, pattern).await;
        }
        let places = self.places(aws, pattern).await?;
        let mut found: BTreeMap<(Option<RegionName>, Option<String>), Vec<Meant>> = BTreeMap::new();
        let (mut withheld, mut seen) = (0, 0);
        for place in &places {
            let tell = |count: usize| errand.tell("listing", seen + count, None);
            let listed = aws.list(place, pattern.prefix(), &tell).await?;
            seen += listed.len();
            for one in listed {
                let Some(what) = pattern.find(&one.name) else { continue };
                if what.region.as_ref().is_some_and(|region| !self.wants(region)) {
                    continue;
                }
                let Ok(id) = one.name.parse::<SecretId>() else { continue };
                if aws.access().allow(Purpose::Read, self.asker(), place, &id).is_err() {
                    withheld += 1;
                    continue;
                }
                let (region, name) = (what.region.or_else(|| self.ask.region.clone()), what.name);
                let key = (region.clone(), name.clone());
                found.entry(key).or_default().push(Meant { aws_region: place.clone(), id, region, name });
            }
        }
        let places = list(&places.iter().map(AwsRegion::as_str).collect::<Vec<_>>());
        if withheld > 0 {
            notes.push(format!(
                "{withheld} more of these may not be read: [[source.aws.read]] of server.toml does not name them"
            ));
        }
        if found.is_empty() {
            let why = if withheld > 0 { "that may be read" } else { "like that" };
            let what = format!("AWS has no secret {why} in {places}: {}", self.ask.secrets.join(", "));
            let hint = "look at the name; --aws-region says where to look, and --regions which regions there are";
            return Err(Error::new(Code::NotFound, what).hint(hint));
        }
        // One that is kept in another region of AWS would be missed in silence.
        if pattern.has_region() && self.ask.regions.is_empty() && self.aws_region.is_none() {
            notes.push(format!("these are looked for in {places}; --regions or --aws-region names others"));
        }
        let mut meant = Vec::new();
        for (_, mut places) in found {
            meant.push(if places.len() == 1 { places.remove(0) } else { self.choose(aws, places).await? });
        }
        Ok(meant)
    }

    fn wants(&self, region: &RegionName) -> bool {
        self.ask.regions.is_empty() || self.ask.regions.contains(region)
    }

    /// Where all regions are named, nothing has to be listed.
    async fn filled(&self, aws: &Aws, pattern: &Pattern) -> Result<Vec<Meant>, Error> {
        let mut meant = Vec::new();
        for region in &self.ask.regions {
            let aws_region = expected(aws, self.aws_region.as_ref(), Some(region)).await?;
            let id: SecretId = pattern.fill(Some(region.as_str()), None).parse().map_err(invalid)?;
            aws.access().allow(Purpose::Read, self.asker(), &aws_region, &id).map_err(denied)?;
            meant.push(Meant { aws_region, id, region: Some(region.clone()), name: None });
        }
        Ok(meant)
    }

    /// The regions of AWS that are looked in.
    async fn places(&self, aws: &Aws, pattern: &Pattern) -> Result<BTreeSet<AwsRegion>, Error> {
        if let Some(said) = &self.aws_region {
            return Ok(BTreeSet::from([said.clone()]));
        }
        if !pattern.has_region() {
            return Ok(BTreeSet::from([expected(aws, None, self.ask.region.as_ref()).await?]));
        }
        let named = if self.ask.regions.is_empty() { &self.declared } else { &self.ask.regions };
        let mut places: BTreeSet<AwsRegion> = named.iter().filter_map(as_aws).collect();
        places.extend(aws.own_region().await);
        if places.is_empty() { Err(nowhere()) } else { Ok(places) }
    }

    /// The one in the region's own place, where a secret of that name is in several: replicas are.
    async fn choose(&self, aws: &Aws, places: Vec<Meant>) -> Result<Meant, Error> {
        let region = places.first().and_then(|one| one.region.clone());
        let own = expected(aws, None, region.as_ref()).await.ok();
        let names: Vec<&str> = places.iter().map(|one| one.aws_region.as_str()).collect();
        let what = format!("{} is in {} at AWS", places[0].id, list(&names));
        let unclear = || Error::new(Code::Conflict, what).hint("say which with --aws-region");
        places.into_iter().find(|one| Some(&one.aws_region) == own.as_ref()).ok_or_else(unclear)
    }

    /// No region is made by being read.
    fn check_regions(&self, meant: &[Meant], notes: &mut Vec<String>) -> Result<(), Error> {
        let regions: BTreeSet<&RegionName> = meant.iter().filter_map(|one| one.region.as_ref()).collect();
        let new: Vec<&str> =
            regions.iter().filter(|region| !self.declared.contains(region)).map(|region| region.as_str()).collect();
        if !new.is_empty() && !self.ask.declare {
            let (stack, environment) = (&self.stack, &self.environment);
            let what =
                format!("{stack}/{environment} has no region {}; it has {}", new.join(", "), list(&self.declared));
            return Err(Error::new(Code::UnknownRegion, what)
                .hint("declare what AWS has with --declare, or name those that are meant with --regions"));
        }
        if matches!(&self.which, Which::Like(pattern) if pattern.has_region()) {
            let absent = |region: &&RegionName| !regions.contains(region) && self.wants(region);
            let absent: Vec<&str> = self.declared.iter().filter(absent).map(RegionName::as_str).collect();
            if !absent.is_empty() {
                notes.push(format!("{}: AWS has no such secret; what is there stays as it is", absent.join(", ")));
            }
        }
        Ok(())
    }

    async fn read(&self, aws: &Aws, meant: Vec<Meant>, errand: &Errand<Haul>, haul: &mut Haul) -> Result<(), Error> {
        let total = meant.len();
        let mut by_place: BTreeMap<AwsRegion, Vec<Meant>> = BTreeMap::new();
        for one in meant {
            by_place.entry(one.aws_region.clone()).or_default().push(one);
        }
        let (mut done, mut failed) = (0, Vec::new());
        errand.tell("reading", 0, Some(total));
        for (place, meant) in by_place {
            let tell = |count: usize| errand.tell("reading", done + count, Some(total));
            let ids: Vec<SecretId> = meant.iter().map(|one| one.id.clone()).collect();
            let mut batch = match &self.ask.stage {
                None => aws.secrets(&place, &ids, &tell).await?,
                Some(stage) => aws.staged(&place, &ids, stage, &tell).await?,
            };
            done += ids.len();
            for one in meant {
                if let Some(secret) = batch.secrets.remove(&one.id) {
                    believe(&one, &secret)?;
                    haul.items.push(Item::new(one.aws_region, one.region, one.name, secret));
                    continue;
                }
                match batch.failed.remove(&one.id) {
                    // It was there when they were listed.
                    Some(error)
                        if self.was_listed() && matches!(error.failing, Failing::NotFound | Failing::Deleted) =>
                    {
                        haul.notes.push(format!(
                            "left out {} in {}: it was deleted while they were read",
                            one.id, one.aws_region
                        ));
                    }
                    Some(error) => failed.push(error),
                    None => {}
                }
            }
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(together("some secrets cannot be read; nothing was imported", failed)),
        }
    }

    fn was_listed(&self) -> bool {
        matches!(&self.which, Which::Like(pattern) if pattern.has_name() || self.ask.regions.is_empty())
    }
}

/// A part of an ARN may be another secret's than the one whose name was allowed.
fn believe(one: &Meant, secret: &Secret) -> Result<(), Error> {
    if !one.id.is_arn() || one.id.as_str() == secret.arn {
        return Ok(());
    }
    Err(Error::new(Code::SourceRefused, format!("{} is not the whole ARN of a secret", one.id))
        .hint("write it as AWS has it, with the six characters at its end"))
}

impl Aws {
    /// As [`Aws::secrets`], for another version than the current one, which no batch gives.
    async fn staged(
        &self,
        region: &AwsRegion,
        ids: &[SecretId],
        stage: &str,
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<crate::source::aws::Batch, Error> {
        let mut batch = crate::source::aws::Batch::default();
        let version = Version::Stage(stage.to_owned());
        for (at, id) in ids.iter().enumerate() {
            match self.secret(Pace::Patient, region, id, &version).await {
                Ok(secret) => drop(batch.secrets.insert(id.clone(), secret)),
                Err(error) if error.may_pass() => return Err(error.into()),
                Err(error) => drop(batch.failed.insert(id.clone(), error)),
            }
            done(at + 1);
        }
        Ok(batch)
    }
}

/// Where in AWS the secrets of a region are: where it is said; in the region itself, where that is one of AWS's; otherwise
/// where the server is.
pub(super) async fn expected(
    aws: &Aws,
    said: Option<&AwsRegion>,
    region: Option<&RegionName>,
) -> Result<AwsRegion, Error> {
    if let Some(known) = said.cloned().or_else(|| region.and_then(as_aws)) {
        return Ok(known);
    }
    aws.own_region().await.ok_or_else(nowhere)
}

fn as_aws(region: &RegionName) -> Option<AwsRegion> {
    AwsRegion::has_its_form(region.as_str()).then(|| region.as_str().parse().ok()).flatten()
}

fn nowhere() -> Error {
    Error::new(Code::Invalid, "it is not clear which region of AWS is meant, and the server has none of its own")
        .hint("say --aws-region, as in --aws-region eu-west-1; or set AWS_REGION for the server")
}

pub(super) fn invalid(what: String) -> Error {
    Error::new(Code::Invalid, what).hint("docs/AWS.md shows how secrets are named")
}
