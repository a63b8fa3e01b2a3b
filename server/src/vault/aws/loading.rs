//! What an environment's regions have, to be written elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::{Delivery, EntryName, EnvironmentName, Grant, RegionName, ServiceName, StackName, Value};

use crate::access::Caller;
use crate::resolve::expand;
use crate::store::Row;
use crate::vault::Error;
use crate::vault::attributes::Attributes;
use crate::vault::bundles::{BundleOf, unresolvable};
use crate::vault::outside::Abroad;
use crate::vault::records::{Records, is_set};
use crate::vault::view::{View, Views};

/// Resolved values, region by region.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) regions: Vec<(Option<RegionName>, BTreeMap<EntryName, Value>)>,
    pub(super) notes: Vec<String>,
}

impl Load {
    pub(super) fn names(&self) -> Vec<String> {
        let names: BTreeSet<&EntryName> = self.regions.iter().flat_map(|(_, values)| values.keys()).collect();
        names.into_iter().map(ToString::to_string).collect()
    }
}

/// Resolves each region as a bundle does: all of it, or nothing.
pub(super) fn load(
    records: Records<'_>,
    (caller, abroad): (&Caller, &Abroad<'_>),
    (stack, environment): &(StackName, EnvironmentName),
    regions: &[Option<RegionName>],
    service: Option<&ServiceName>,
) -> Result<Load, Error> {
    let mut load = Load { regions: Vec::new(), notes: Vec::new() };
    let mut files = BTreeSet::new();
    for region in regions {
        let of = BundleOf {
            stack: stack.clone(),
            environment: environment.clone(),
            region: region.clone(),
            node: None,
            service: service.cloned(),
        };
        let mut views = Views::new(records, caller, abroad, View::asked(&records, of)?);
        let delivered = views.delivered();
        let values = expand(&mut views, delivered)?.map_err(|faults| unresolvable(&views.here.of, faults))?;
        for (name, choice) in &views.here.choices {
            if values.contains_key(name) && Attributes::of(&choice.winner.item)?.deliver != Delivery::Variable {
                files.insert(name.clone());
            }
        }
        load.regions.push((region.clone(), values));
    }
    let others = others(&records, (stack, environment), service)?;
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(EntryName::as_str).collect();
        load.notes.push(format!(
            "left out: {}: not what {}; --service pushes what one service gets",
            names.join(", "),
            super::push::whose(service)
        ));
    }
    if !files.is_empty() {
        let names: Vec<&str> = files.iter().map(EntryName::as_str).collect();
        load.notes.push(format!("files are pushed as what is in them: {}", names.join(", ")));
    }
    Ok(load)
}

/// Entries that only other services get.
fn others(
    records: &Records<'_>,
    (stack, environment): (&StackName, &EnvironmentName),
    service: Option<&ServiceName>,
) -> Result<BTreeSet<EntryName>, Error> {
    let row = records.environment(stack, environment)?;
    let (mut others, mut ours) = (BTreeSet::new(), BTreeSet::new());
    for key in records.layers(&row) {
        for Row { name, grant, state, .. } in records.layer(&key)?.rows {
            if is_set(state) {
                let all = grant == Grant::All || grant.includes(service);
                if all {
                    ours.insert(name)
                } else {
                    others.insert(name)
                };
            }
        }
    }
    Ok(others.difference(&ours).cloned().collect())
}
