//! What an overlay must say, so that its region gets what it got before the base changed. Pure and deterministic.

use std::collections::BTreeMap;

use chandlery_wire::{Grant, ServiceName};

/// A change of one name in the base.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// For whom the base had it before.
    pub before: &'a [Grant],
    /// The grant whose value changes, comes or goes.
    pub grant: &'a Grant,
    /// Whether the base has a value for that grant afterwards.
    pub stays: bool,
}

impl<'a> Turn<'a> {
    fn was(&self, service: Option<&ServiceName>) -> Option<&'a Grant> {
        nearest(self.before.iter(), service)
    }

    fn will_be(&self, service: Option<&ServiceName>) -> Option<&'a Grant> {
        let others = self.before.iter().filter(|grant| *grant != self.grant);
        nearest(others.chain(self.stays.then_some(self.grant)), service)
    }
}

/// What the overlay must get beside the grants that it has: for whom, and of which of the base's grants before, or none
/// where it must hide the base. `same` says whether what the base had for a grant is what comes.
///
/// Whom the overlay names already is not asked: it hides the base from them, before and after.
pub fn keep<'a>(
    turn: Turn<'a>,
    overlay: &[&Grant],
    services: &[ServiceName],
    same: impl Fn(&Grant) -> bool,
) -> Vec<(Grant, Option<&'a Grant>)> {
    let is_free = |service: Option<&ServiceName>| !overlay.iter().any(|grant| grant.includes(service));
    let alters = |service: Option<&ServiceName>| {
        let (was, will_be) = (turn.was(service), turn.will_be(service));
        if will_be == Some(turn.grant) { !was.is_some_and(&same) } else { was != will_be }
    };
    let for_all = is_free(None) && alters(None);
    let mut groups: BTreeMap<Option<&Grant>, Vec<ServiceName>> = BTreeMap::new();
    for service in services.iter().filter(|service| is_free(Some(service))) {
        let was = turn.was(Some(service));
        // An overlay's value for all hides also what the base has for some.
        if if for_all { was != turn.was(None) } else { alters(Some(service)) } {
            groups.entry(was).or_default().push(service.clone());
        }
    }
    let groups = groups.into_iter().filter_map(|(was, services)| Some((Grant::to(services)?, was)));
    for_all.then(|| (Grant::All, turn.was(None))).into_iter().chain(groups).collect()
}

/// Within a layer, what is for the service by name beats what is for all.
fn nearest<'a>(grants: impl Iterator<Item = &'a Grant>, service: Option<&ServiceName>) -> Option<&'a Grant> {
    grants.filter(|grant| grant.includes(service)).min_by_key(|grant| **grant == Grant::All)
}

#[cfg(test)]
mod tests {
    use chandlery_wire::api::State;
    use chandlery_wire::{EntryName, Layer, RegionName};
    use proptest::prelude::*;

    use super::*;
    use crate::resolve::{Candidate, merge};

    /// What a layer has of one name; nothing as a value is a removal.
    type Rows = BTreeMap<Grant, Option<u8>>;

    fn services() -> Vec<ServiceName> {
        ["a", "b", "c"].map(|name| ServiceName::parse(name).unwrap()).to_vec()
    }

    fn got(base: &Rows, overlay: &Rows) -> Vec<Option<u8>> {
        let layers = [(Layer::Base, base), (Layer::Overlay(RegionName::parse("x").unwrap()), overlay)];
        let rows = layers.iter().flat_map(|(layer, rows)| {
            rows.iter().map(|(grant, value)| Candidate {
                name: EntryName::parse("K").unwrap(),
                layer: layer.clone(),
                grant: grant.clone(),
                state: if value.is_some() { State::Live } else { State::Removed },
                item: *value,
            })
        });
        let rows: Vec<Candidate<Option<u8>>> = rows.collect();
        let asked = services().into_iter().map(Some).chain([None]);
        asked
            .map(|service| merge(rows.clone(), service.as_ref()).into_values().next().and_then(|it| it.winner.item))
            .collect()
    }

    /// For all, and for each service at most one by name, as a layer may have it.
    fn rows(value: BoxedStrategy<Option<u8>>) -> impl Strategy<Value = Rows> {
        (prop::option::of(value.clone()), prop::collection::vec(0usize..3, 3), prop::collection::vec(value, 2))
            .prop_map(|(all, sides, values)| {
                let mut rows: Rows = all.map(|value| (Grant::All, value)).into_iter().collect();
                for (side, value) in values.into_iter().enumerate() {
                    let named = services().into_iter().zip(&sides).filter(|(_, of)| **of == side);
                    rows.extend(Grant::to(named.map(|(service, _)| service).collect()).map(|grant| (grant, value)));
                }
                rows
            })
    }

    proptest! {
        #[test]
        fn every_service_gets_what_it_got(
            base in rows((0u8..3).prop_map(Some).boxed()),
            overlay in rows(prop::option::of(3u8..6).boxed()),
            turned in 0usize..4,
            value in prop::option::of(0u8..3),
        ) {
            // One that is there, or a new one for whom none is by name.
            let unnamed = services().into_iter().filter(|service| {
                !base.keys().any(|grant| *grant != Grant::All && grant.includes(Some(service)))
            });
            let new = Grant::to(unnamed.collect()).unwrap_or(Grant::All);
            let grant = base.keys().nth(turned).cloned().unwrap_or(new);
            let before: Vec<Grant> = base.keys().cloned().collect();
            let turn = Turn { before: &before, grant: &grant, stays: value.is_some() };
            let has: Vec<&Grant> = overlay.keys().collect();
            let said = keep(turn, &has, &services(), |grant| base[grant] == value);
            let mut after = base.clone();
            after.remove(&grant);
            after.extend(value.map(|value| (grant.clone(), Some(value))));
            let mut kept = overlay.clone();
            for (grant, was) in &said {
                prop_assert!(!kept.keys().any(|other| other.overlaps(grant)), "{:?} beside {:?}", grant, kept);
                kept.insert(grant.clone(), was.and_then(|was| base[was]));
            }
            prop_assert_eq!(got(&after, &kept), got(&base, &overlay));
            let untouched = got(&after, &overlay) == got(&base, &overlay);
            prop_assert!(value.is_none() || said.is_empty() == untouched, "{:?} is more than is needed", said);
        }
    }
}
