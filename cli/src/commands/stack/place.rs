//! In which region the containers will find themselves, and whether the server lets those in that bring no token.

use chandlery_wire::RegionName;
use chandlery_wire::api::Stack;

use super::door::{Door, Open};
use super::render::Prepared;
use crate::client::Path;
use crate::compose::overlay::Tool;
use crate::failure::Failure;
use crate::output;

/// Where the containers find themselves.
pub(super) enum Region {
    /// In this one, or in the only place that the environment has.
    One(Option<RegionName>),
    /// In that of the node which Swarm puts the task on: one of these.
    OfNode(Vec<RegionName>),
}

impl Region {
    pub(super) fn one(&self) -> Option<&RegionName> {
        match self {
            Self::One(region) => region.as_ref(),
            Self::OfNode(_) => None,
        }
    }

    pub(super) fn all(&self) -> Vec<Option<&RegionName>> {
        match self {
            Self::One(region) => vec![region.as_ref()],
            Self::OfNode(regions) => regions.iter().map(Some).collect(),
        }
    }
}

impl Prepared<'_> {
    /// What is open to the containers, where they bring no token; `None` where they do, and where it is not to be seen: by
    /// another token than an administrator's, or on another Docker's host, of which this server may know nothing.
    pub(super) fn open(&self) -> Result<Option<Open>, Failure> {
        if self.args.identity.is_token() || self.runner.dock.is_elsewhere() {
            return Ok(None);
        }
        let Self { client, stack, environment, project, .. } = self;
        Ok(Door { client, stack, environment, project }.look()?.transpose()?)
    }

    /// The region that is said. Without one, containers without a token are where the server says its host is, and a task under
    /// Swarm is in the region of its node, where there are regions at all.
    pub(super) fn place(&self, open: Option<&Open>) -> Result<Region, Failure> {
        match (open, &self.region) {
            (Some(open), said) => Ok(Region::One(open.region(&self.declared()?, said.as_ref())?)),
            (None, said) if said.is_some() || self.runner.tool != Tool::Swarm => Ok(Region::One(said.clone())),
            (None, _) => {
                let regions = self.declared()?;
                if regions.is_empty() {
                    return Ok(Region::One(None));
                }
                output::note(
                    "note: no region is said: each task gets that of its node, as `chandlery node list` has it",
                );
                Ok(Region::OfNode(regions))
            }
        }
    }

    fn declared(&self) -> Result<Vec<RegionName>, Failure> {
        let declared: Stack = self.client.get(&Path::new(&["stacks", self.stack.as_str()]))?;
        let mut environments = declared.environments.into_iter();
        let found = environments.find(|known| known.name == self.environment);
        Ok(found.map(|known| known.regions).unwrap_or_default())
    }
}
