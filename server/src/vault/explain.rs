//! Why a service gets the value it gets.

use chandlery_wire::api::{EntryInfo, Explanation, Outside, Reference as ReferenceInfo, State};
use chandlery_wire::{Code, EntryName, Verb};

use super::attributes::{Attributes, rfc3339};
use super::bundles::BundleOf;
use super::entries::described;
use super::operation::{Action, Done};
use super::outside::{Abroad, said};
use super::records::Records;
use super::view::{View, Views};
use super::{Error, Vault};
use crate::access::{Caller, may};
use crate::resolve::{Candidate, Key, Library as _, Missing, Reference, references};
use crate::source::Look;
use crate::store::Row;

impl Vault {
    /// Which layer won, what it hid, and what its template refers to. Values of plain entries only.
    ///
    /// # Errors
    /// Where the caller may not read entries in that view, or the entry is in none of its layers.
    pub async fn explain(&self, caller: &Caller, of: BundleOf, name: EntryName) -> Result<Explanation, Error> {
        let action = Action::new("read-explanation").on(format!("{}/{name}", of.target())).service(of.service.as_ref());
        self.perform_abroad(caller, action, move |core, caller, abroad| {
            if !may(caller, Verb::ReadEntry, &of.scope()) {
                return Err(Error::forbidden());
            }
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let mut views = Views::new(records, caller, abroad, View::asked(&records, of.clone())?);
                Ok(Done::new(explain(&records, abroad, &mut views, name.clone())?))
            })
        })
        .await
    }
}

fn explain(
    records: &Records<'_>,
    abroad: &Abroad<'_>,
    views: &mut Views<'_>,
    name: EntryName,
) -> Result<Explanation, Error> {
    let view = &views.here;
    let choice = view.choices.get(&name).ok_or_else(|| {
        let service = view.of.service.as_ref().map(|service| format!(" for {service}")).unwrap_or_default();
        Error::new(Code::NotFound, format!("{name} is set in no layer of {}{service}", view.of.target()))
            .hint("`chandlery list` shows what is set, and for which services")
    })?;
    let describe = |candidate: &Candidate<Row>| describe(records, view, candidate);
    let winner = describe(&choice.winner)?;
    let hidden: Result<Vec<EntryInfo>, Error> = choice.hidden.iter().map(describe).collect();
    let hidden = hidden?;
    let is_template = winner.state == State::Live && Attributes::of(&choice.winner.item)?.template;
    let named = match is_template {
        true => references(view.open(records, &choice.winner)?.expose_secret()).map_err(|fault| {
            Error::new(Code::Unresolvable, format!("{name} is not a template that can be read: {fault}"))
                .hint("set it again")
        })?,
        false => Vec::new(),
    };
    let references: Result<Vec<ReferenceInfo>, Error> =
        named.into_iter().map(|reference| look(records, abroad, views, reference)).collect();
    let references = references?;
    let is_outside = winner.reference.is_some();
    let outside = is_outside.then(|| outside(abroad, views, &Key::here(name.clone()))).transpose()?;
    Ok(Explanation { name, winner, hidden, references, outside })
}

/// How it stands with what the entry refers to.
fn outside(abroad: &Abroad<'_>, views: &mut Views<'_>, key: &Key) -> Result<Outside, Error> {
    let fault = match views.source(key)? {
        Err(Missing::Outside { why, .. }) => Some(why),
        _ => None,
    };
    Ok(match abroad.of(&key.to_string()) {
        Some(Look::Fresh(held)) => Outside { fetched: Some(rfc3339(held.fetched)), stale: false, fault },
        Some(Look::Stale(held, error)) => {
            Outside { fetched: Some(rfc3339(held.fetched)), stale: true, fault: fault.or_else(|| Some(said(&error))) }
        }
        _ => Outside { fetched: None, stale: false, fault },
    })
}

fn describe(records: &Records<'_>, view: &View, candidate: &Candidate<Row>) -> Result<EntryInfo, Error> {
    described(records, &view.layer_key(&candidate.layer), &candidate.item)
}

fn look(
    records: &Records<'_>,
    abroad: &Abroad<'_>,
    views: &mut Views<'_>,
    reference: Reference,
) -> Result<ReferenceInfo, Error> {
    let text = reference.to_string();
    let (view, name, missing) = match &reference {
        Reference::Here(name) => (Some(&views.here), name, "it is not set, or not granted to this service"),
        Reference::There { stack, environment, name } => (
            views.elsewhere(&(stack.clone(), environment.clone()))?,
            name,
            "it does not exist, or this token may not read it",
        ),
    };
    let found = view.and_then(|view| view.choices.get(name).map(|choice| (view, choice)));
    let fault = |why: &str| Some(why.to_owned());
    let (target, fault) = match found {
        Some((view, choice)) if choice.is_delivered() => (Some(describe(records, view, &choice.winner)?), None),
        Some(_) => (None, fault("this region's overlay removes it")),
        None => (None, fault(missing)),
    };
    let is_outside = target.as_ref().is_some_and(|target| target.reference.is_some());
    let key = match reference {
        Reference::Here(name) => Key::here(name),
        Reference::There { stack, environment, name } => Key { space: Some((stack, environment)), name },
    };
    let outside = is_outside.then(|| outside(abroad, views, &key)).transpose()?;
    Ok(ReferenceInfo { text, target, fault, outside })
}
