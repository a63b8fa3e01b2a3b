//! Is everything there that is declared, in every region, and of the right shape?

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::api::{Check, Checked, Declaration, Finding, FindingKind, State};
use chandlery_wire::{
    Code, EntryName, EnvironmentName, Fault, Grant, Layer, RegionName, Scope, ServiceName, StackName, Value, Verb,
};
use regex::bytes::{Regex, RegexBuilder};

use super::attributes::Attributes;
use super::board::{Board, readable, require_reading};
use super::bundles::BundleOf;
use super::core::Core;
use super::operation::{Action, Done};
use super::outside::Abroad;
use super::records::Records;
use super::unread::unread;
use super::view::{View, Views, declared_region, list};
use super::{Error, Vault};
use crate::access::{Caller, may};
use crate::resolve::expand;
use crate::store::{EnvironmentRow, LayerKey, Row};

/// Declarations in one request, at most.
const MOST_DECLARATIONS: usize = 20_000;
/// A compiled pattern's size, at most: the engine runs in linear time, and this bounds by how much.
const PATTERN_BYTES: usize = 256 * 1024;

impl Vault {
    /// Compares what is declared with what is there, region by region. The answer holds no value; but whoever chooses the
    /// patterns can find values out by them, so it takes the right to read entries.
    ///
    /// # Errors
    /// Where the caller may read nothing there, a pattern is none, or a service or region was never declared.
    pub async fn check(
        &self,
        caller: &Caller,
        stack: StackName,
        environment: EnvironmentName,
        check: Check,
    ) -> Result<Checked, Error> {
        let action = Action::new("read-check").on(format!("{stack}/{environment}"));
        self.perform_abroad(caller, action, move |core, caller, abroad| {
            require_reading(caller, &stack, &environment)?;
            if check.declarations.len() > MOST_DECLARATIONS {
                return Err(Error::new(Code::TooLarge, format!("more than {MOST_DECLARATIONS} declarations at once"))
                    .hint("check fewer at a time"));
            }
            let patterns = patterns(&check.declarations)?;
            let keyring = core.keyring();
            core.read(|snapshot| {
                let records = Records::new(snapshot, &keyring);
                let row = records.environment(&stack, &environment)?;
                known_places(&records, &row, &check)?;
                permitted(caller, &row, &check)?;
                let board = Board::load_unfiltered(&records, &stack, &environment, |_| true)?;
                let checker =
                    Checker { records, caller, abroad, board: &board, patterns: &patterns, opened: Opened::default() };
                Ok(Done::new(checker.check(core, &check)?))
            })
        })
        .await
    }
}

fn patterns(declarations: &[Declaration]) -> Result<BTreeMap<String, Regex>, Error> {
    let (mut patterns, mut faults) = (BTreeMap::new(), Vec::new());
    for Declaration { name, pattern, .. } in declarations {
        let Some(text) = pattern.as_ref().filter(|text| !patterns.contains_key(*text)) else { continue };
        match RegexBuilder::new(text).size_limit(PATTERN_BYTES).build() {
            Ok(pattern) => drop(patterns.insert(text.clone(), pattern)),
            Err(_) => faults.push(Fault {
                name: name.to_string(),
                detail: "has a pattern that is no regular expression, or too large a one".to_owned(),
            }),
        }
    }
    match faults.is_empty() {
        true => Ok(patterns),
        false => Err(Error::new(Code::Invalid, "not all patterns can be used")
            .hint("the syntax is that of the Rust crate regex: no look-around, no back references")
            .faults(faults)),
    }
}

fn known_places(records: &Records<'_>, environment: &EnvironmentRow, check: &Check) -> Result<(), Error> {
    let services = records.stack(&environment.stack)?.services;
    let unknown = |service: &&ServiceName| !services.contains(service);
    if let Some(service) = check.declarations.iter().filter_map(|one| one.service.as_ref()).find(unknown) {
        return Err(super::validity::unknown_service(&environment.stack, service, &services));
    }
    let regions = check.regions.iter().chain(check.declarations.iter().flat_map(|one| &one.regions));
    regions.into_iter().try_for_each(|region| declared_region(environment, Some(region)))
}

/// The regions that are to be looked at; an environment without any is looked at as a whole.
fn regions<'r>(environment: &'r EnvironmentRow, check: &Check) -> Vec<Option<&'r RegionName>> {
    if environment.regions.is_empty() {
        return vec![None];
    }
    let wanted = |region: &&RegionName| check.regions.is_empty() || check.regions.contains(region);
    environment.regions.iter().filter(wanted).map(Some).collect()
}

fn applies(declaration: &Declaration, region: Option<&RegionName>) -> bool {
    declaration.regions.is_empty() || region.is_some_and(|region| declaration.regions.contains(region))
}

/// What a service gets in a region is told to those who may read all of it. Told to others, what they may not read would be
/// called missing, and a part of the regions would be called the whole.
fn permitted(caller: &Caller, environment: &EnvironmentRow, check: &Check) -> Result<(), Error> {
    let (stack, name) = (Some(environment.stack.clone()), Some(environment.name.clone()));
    let mut refused = Vec::new();
    for region in regions(environment, check) {
        let applying = check.declarations.iter().filter(|one| applies(one, region));
        let services: BTreeSet<Option<&ServiceName>> = applying.map(|one| one.service.as_ref()).collect();
        let scope = |service: Option<&ServiceName>| Scope {
            stack: stack.clone(),
            environment: name.clone(),
            region: region.cloned(),
            service: service.cloned(),
        };
        if !services.iter().all(|service| may(caller, Verb::ReadEntry, &scope(*service))) {
            refused.push(region);
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let places: Vec<&str> = refused.into_iter().flatten().map(RegionName::as_str).collect();
    let place = if places.is_empty() { String::new() } else { format!(" in {}", list(&places)) };
    Err(Error::new(Code::Forbidden, format!("this token may not read all that is declared{place}"))
        .hint("name a region that it may read with --region, or take a token that may read the entries of all of them"))
}

/// Plaintexts by the place of their row: a value of the base is opened once, not once a region.
#[derive(Default)]
struct Opened(std::cell::RefCell<BTreeMap<(usize, usize), Value>>);

struct Checker<'a> {
    records: Records<'a>,
    caller: &'a Caller,
    abroad: &'a Abroad<'a>,
    board: &'a Board,
    patterns: &'a BTreeMap<String, Regex>,
    opened: Opened,
}

/// A row by its place: the layer's number, the row's number.
type At = (usize, usize);

/// What one region has, by name: every grant of it, the nearest layer's.
struct Region<'b> {
    region: Option<&'b RegionName>,
    rows: BTreeMap<&'b EntryName, Vec<At>>,
}

impl Checker<'_> {
    fn check(&self, core: &Core, check: &Check) -> Result<Checked, Error> {
        let regions = regions(&self.board.row, check);
        let (mut checked, mut findings) = (0, Vec::new());
        for region in regions.iter().copied() {
            let region = self.region(region);
            let mut templates: BTreeMap<Option<&ServiceName>, Vec<&Declaration>> = BTreeMap::new();
            for declaration in &check.declarations {
                if !applies(declaration, region.region) {
                    continue;
                }
                checked += 1;
                self.declaration(&region, declaration, &mut findings, &mut templates)?;
            }
            for (service, declarations) in templates {
                self.templates(region.region, service, &declarations, &mut findings)?;
            }
        }
        findings.extend(self.undeclared(check));
        let mut reads_known_since = None;
        if let Some(days) = check.unread_days {
            let (found, since) = unread(core, self.caller, self.board, days)?;
            findings.extend(found);
            reads_known_since = since;
        }
        findings.sort_by(|one, other| {
            (one.kind, &one.name, &one.region, &one.service).cmp(&(
                other.kind,
                &other.name,
                &other.region,
                &other.service,
            ))
        });
        let regions = regions.into_iter().flatten().cloned().collect();
        Ok(Checked { revision: self.board.revision, regions, checked, findings, reads_known_since })
    }

    fn region<'b>(&'b self, region: Option<&'b RegionName>) -> Region<'b> {
        let overlay = self.board.layers.iter().position(|(key, _)| region.is_some() && key.layer.region() == region);
        let mut rows: BTreeMap<&EntryName, Vec<At>> = BTreeMap::new();
        for layer in overlay.into_iter().chain([0]) {
            for (at, row) in self.board.layers[layer].1.iter().enumerate() {
                rows.entry(&row.name).or_default().push((layer, at));
            }
        }
        Region { region, rows }
    }

    fn row(&self, (layer, at): At) -> &Row {
        &self.board.layers[layer].1[at]
    }

    /// The winner for the service: the overlay's before the base's, and in a layer what is for it by name. Without a
    /// service, every one that wins for somebody.
    fn winners(&self, region: &Region<'_>, declaration: &Declaration) -> Vec<At> {
        let Some(rows) = region.rows.get(&declaration.name) else { return Vec::new() };
        let nearest = |rows: &mut dyn Iterator<Item = &At>| {
            rows.min_by_key(|at| (at.0 == 0, self.row(**at).grant == Grant::All)).copied()
        };
        let found: Vec<At> = match &declaration.service {
            Some(service) => {
                let granted = &mut rows.iter().filter(|at| self.row(**at).grant.includes(Some(service)));
                nearest(granted).into_iter().collect()
            }
            None => {
                let grants: BTreeSet<&Grant> = rows.iter().map(|at| &self.row(*at).grant).collect();
                let of = |grant: &Grant| nearest(&mut rows.iter().filter(|at| self.row(**at).grant == *grant));
                grants.into_iter().filter_map(of).collect()
            }
        };
        found.into_iter().filter(|at| self.row(*at).state == State::Live).collect()
    }

    fn declaration<'d>(
        &self,
        region: &Region<'_>,
        declaration: &'d Declaration,
        findings: &mut Vec<Finding>,
        templates: &mut BTreeMap<Option<&'d ServiceName>, Vec<&'d Declaration>>,
    ) -> Result<(), Error> {
        let winners = self.winners(region, declaration);
        if winners.is_empty() {
            if declaration.required {
                let at = region.rows.get(&declaration.name).map(|rows| rows[0]);
                let why = match at.map(|at| (at, self.row(at))) {
                    None => "is not set".to_owned(),
                    Some((_, row)) if row.state == State::Removed => "is removed by the overlay".to_owned(),
                    Some((at, row)) if readable(self.caller, &self.board.layers[at.0].0, row) => {
                        format!("is set for {}, and not for this service", row.grant)
                    }
                    Some(_) => "is not set for this service".to_owned(),
                };
                findings.push(finding(FindingKind::Missing, declaration, region.region, why));
            }
            return Ok(());
        }
        for at in winners {
            let row = self.row(at);
            let attributes = Attributes::of(row)?;
            if declaration.secret.is_some_and(|secret| secret != attributes.secret) {
                let why = if attributes.secret {
                    "is a secret, and declared as none"
                } else {
                    "is shown in the clear, and declared a secret"
                };
                findings.push(finding(FindingKind::Secrecy, declaration, region.region, why.to_owned()));
            }
            if attributes.template || attributes.reference {
                templates.entry(declaration.service.as_ref()).or_default().push(declaration);
                continue;
            }
            let mut opened = self.opened.0.borrow_mut();
            let value = match opened.entry(at) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let (key, _): &(LayerKey, Vec<Row>) = &self.board.layers[at.0];
                    place.insert(self.records.open(key, row)?)
                }
            };
            findings.extend(self.shape(declaration, region.region, value));
        }
        Ok(())
    }

    fn shape(&self, declaration: &Declaration, region: Option<&RegionName>, value: &Value) -> Option<Finding> {
        if value.is_empty() {
            let empty = || finding(FindingKind::Empty, declaration, region, "is empty".to_owned());
            return (!declaration.empty).then(empty);
        }
        let pattern = declaration.pattern.as_ref().and_then(|text| self.patterns.get(text))?;
        let differs = !pattern.is_match(value.expose_secret());
        differs
            .then(|| finding(FindingKind::Shape, declaration, region, "does not have the declared pattern".to_owned()))
    }

    /// Templates and references are resolved as for the service's bundle, and what comes of them is looked at.
    fn templates(
        &self,
        region: Option<&RegionName>,
        service: Option<&ServiceName>,
        declarations: &[&Declaration],
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let EnvironmentRow { stack, name, .. } = &self.board.row;
        let of = BundleOf {
            stack: stack.clone(),
            environment: name.clone(),
            region: region.cloned(),
            node: None,
            service: service.cloned(),
        };
        let mut views = Views::new(self.records, self.caller, self.abroad, View::asked(&self.records, of)?);
        for declaration in declarations {
            // Without a service only what is for all of them has one value.
            if views.here.choices.get(&declaration.name).is_none_or(|choice| !choice.is_delivered()) {
                continue;
            }
            match expand(&mut views, [declaration.name.clone()])? {
                Ok(values) => {
                    findings.extend(values.values().filter_map(|value| self.shape(declaration, region, value)));
                }
                Err(faults) => {
                    let why: Vec<String> = faults.list.into_iter().map(|fault| fault.detail).collect();
                    findings.push(finding(FindingKind::Unresolvable, declaration, region, why.join("; ")));
                }
            }
        }
        Ok(())
    }

    fn undeclared(&self, check: &Check) -> Vec<Finding> {
        if check.declarations.is_empty() {
            return Vec::new();
        }
        let declared: BTreeSet<&EntryName> = check.declarations.iter().map(|declaration| &declaration.name).collect();
        let mut found: BTreeMap<&EntryName, Vec<&str>> = BTreeMap::new();
        for (key, rows) in &self.board.layers {
            let counts = key.layer == Layer::Base
                || check.regions.is_empty()
                || key.layer.region().is_some_and(|region| check.regions.contains(region));
            let tells = |row: &&Row| counts && !declared.contains(&row.name) && readable(self.caller, key, row);
            for row in rows.iter().filter(tells) {
                let layers = found.entry(&row.name).or_default();
                if layers.last() != Some(&key.layer.as_str()) {
                    layers.push(key.layer.as_str());
                }
            }
        }
        let finding = |(name, layers): (&EntryName, Vec<&str>)| Finding {
            kind: FindingKind::Undeclared,
            name: name.clone(),
            region: None,
            service: None,
            detail: format!("is set in {}, and nothing declares it", list(&layers)),
        };
        found.into_iter().map(finding).collect()
    }
}

fn finding(kind: FindingKind, declaration: &Declaration, region: Option<&RegionName>, detail: String) -> Finding {
    let Declaration { name, service, .. } = declaration;
    Finding { kind, name: name.clone(), region: region.cloned(), service: service.clone(), detail }
}
