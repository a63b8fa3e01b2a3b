//! What a bundle stands on: by it can be seen cheaply whether the bundle may have changed.

use chandlery_wire::{EnvironmentName, Layer, NodeName, RegionName, StackName};

use super::outside::Used;
use crate::store::EnvironmentRow;

/// Everything that a bundle stands on.
#[derive(Debug)]
pub(super) struct Grounds {
    pub(super) environments: Vec<Ground>,
    /// Where it was asked for by way of a node.
    pub(super) placement: Option<Placement>,
    /// What of it is kept outside.
    pub(super) outside: Vec<Used>,
}

/// That a node is in its region, since that revision of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) node: NodeName,
    pub(super) since: u64,
}

/// The layers of one environment that went into a bundle, at their revisions. Every write to a layer gives it a new one,
/// so a bundle whose grounds are as they were is as it was.
///
/// No mac is checked by it. Whoever edits a revision on disk causes a look at the layers, which finds them out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ground {
    pub(super) stack: StackName,
    pub(super) environment: EnvironmentName,
    /// The region that was asked for, whether or not this environment has it: it may come to have it.
    region: Option<RegionName>,
    base: u64,
    overlay: Option<u64>,
    /// Whether the environment has regions: the first one takes the bundle of the base away.
    regional: bool,
}

impl Ground {
    pub(super) fn new(declared: &EnvironmentRow, region: Option<RegionName>) -> Self {
        let EnvironmentRow { stack, name, regions, .. } = declared;
        let (stack, environment) = (stack.clone(), name.clone());
        Self { stack, environment, region, base: 0, overlay: None, regional: !regions.is_empty() }
    }

    /// Says which revision a layer had.
    pub(super) fn add(&mut self, layer: &Layer, revision: u64) {
        match layer {
            Layer::Base => self.base = revision,
            Layer::Overlay(_) => self.overlay = Some(revision),
        }
    }

    /// The newest revision of its layers.
    pub(super) fn revision(&self) -> u64 {
        self.overlay.map_or(self.base, |overlay| overlay.max(self.base))
    }

    /// Whether the environment, with these layers now, is what it was.
    pub(super) fn holds(&self, layers: &[(Layer, u64)]) -> bool {
        let mut now = Self { base: 0, overlay: None, regional: layers.len() > 1, ..self.clone() };
        let ours = |layer: &Layer| *layer == Layer::Base || layer.region() == self.region.as_ref();
        layers.iter().filter(|(layer, _)| ours(layer)).for_each(|(layer, revision)| now.add(layer, *revision));
        now == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::parse(name).unwrap()
    }

    fn ground(wanted: Option<&str>, regions: &[&str], layers: &[(Layer, u64)]) -> Ground {
        let row = EnvironmentRow {
            stack: StackName::parse("app").unwrap(),
            name: EnvironmentName::parse("live").unwrap(),
            regions: regions.iter().map(|name| region(name)).collect(),
            mac: [0; 32],
        };
        let mut ground = Ground::new(&row, wanted.map(region));
        layers.iter().for_each(|(layer, revision)| ground.add(layer, *revision));
        ground
    }

    #[test]
    fn it_holds_until_a_layer_of_its_own_moves_comes_or_goes() {
        let (eu, us) = (Layer::Overlay(region("eu")), Layer::Overlay(region("us")));
        let base = |revision| (Layer::Base, revision);
        let in_eu = ground(Some("eu"), &["eu", "us"], &[base(3), (eu.clone(), 5)]);
        assert_eq!(in_eu.revision(), 5);
        for (layers, holds) in [
            (vec![base(3), (eu.clone(), 5), (us.clone(), 4)], true),
            (vec![base(3), (eu.clone(), 5), (us.clone(), 9)], true),
            (vec![base(9), (eu.clone(), 5), (us.clone(), 4)], false),
            (vec![base(3), (eu.clone(), 9), (us.clone(), 4)], false),
            // An older one is another one, too.
            (vec![base(3), (eu.clone(), 4), (us.clone(), 4)], false),
            (vec![base(3), (us.clone(), 4)], false),
            (vec![(eu.clone(), 5), (us.clone(), 4)], false),
            (vec![], false),
        ] {
            assert_eq!(in_eu.holds(&layers), holds, "{layers:?}");
        }
        // Another environment may come to have the region.
        let elsewhere = ground(Some("eu"), &["us"], &[base(3)]);
        assert!(elsewhere.holds(&[base(3), (us.clone(), 7)]));
        assert!(!elsewhere.holds(&[base(3), (eu, 7), (us.clone(), 7)]));
        let alone = ground(None, &[], &[base(3)]);
        assert!(alone.holds(&[base(3)]) && !alone.holds(&[base(3), (us, 7)]));
    }
}
