//! What of a plan is in the store already. Pure: the store's own comparison of values comes in as a set.

use std::collections::BTreeSet;

use chandlery_wire::api::{EntryInfo, NamedEntry, State, WriteEntry};
use chandlery_wire::{Delivery, EntryName, FileAttributes, Grant, Layer, ServiceName};

use crate::compose::Wanted;

/// A value of the plan against one that is set: is it the same?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// Which of the plan's entries.
    pub(super) wanted: usize,
    pub(super) grant: Grant,
}

/// What becomes of one of the plan's entries, or of its part for some services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Unchanged,
    /// The region gets it from the base. Written to the overlay it would not follow the base any more.
    InBase,
    /// Written for these services, who have no value of it yet.
    New,
    /// The store has another value. It stays, unless it may be overwritten.
    Differs,
    /// The value is there, and the user says that it is a secret now, or none: that is written without more words.
    Told,
    /// Another value is set for these services and for others together: it cannot be changed for these alone.
    Shared(Grant),
}

/// One line of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) wanted: usize,
    pub(super) services: BTreeSet<ServiceName>,
    pub(super) outcome: Outcome,
    /// Where it is written to, if it is.
    pub(super) grant: Grant,
}

/// The live entries of one layer.
pub(super) struct Stored<'a> {
    entries: Vec<&'a EntryInfo>,
    /// What an overlay takes away.
    removed: Vec<&'a EntryInfo>,
}

/// The layer under an overlay, and the questions about it that the store answered with yes.
pub(super) struct Base<'a> {
    pub(super) stored: Stored<'a>,
    pub(super) same: BTreeSet<Question>,
}

impl Base<'_> {
    fn gives(&self, at: usize, wanted: &Wanted, service: &ServiceName) -> bool {
        let known = self.stored.covering(&wanted.name, service);
        known.is_some_and(|known| self.same.contains(&Question { wanted: at, grant: known.grant.clone() }))
    }
}

impl<'a> Stored<'a> {
    pub(super) fn of(entries: &'a [EntryInfo], layer: &Layer) -> Self {
        let of = |state| entries.iter().filter(move |entry| entry.state == state && entry.layer == *layer).collect();
        Self { entries: of(State::Live), removed: of(State::Removed) }
    }

    fn removes(&self, name: &EntryName, service: &ServiceName) -> bool {
        self.removed.iter().any(|entry| entry.name == *name && entry.grant.includes(Some(service)))
    }

    /// What the service gets from this layer: the entry for it by name, else the one for all.
    fn covering(&self, name: &EntryName, service: &ServiceName) -> Option<&'a EntryInfo> {
        let of_name = || self.entries.iter().filter(|entry| entry.name == *name);
        let named = of_name().find(|entry| entry.grant != Grant::All && entry.grant.includes(Some(service)));
        named.or_else(|| of_name().find(|entry| entry.grant == Grant::All)).copied()
    }

    /// What has to be asked before the steps are known.
    pub(super) fn questions(&self, wanted: &[Wanted]) -> Vec<Question> {
        let mut questions = BTreeSet::new();
        for (at, one) in wanted.iter().enumerate() {
            for known in one.services.iter().filter_map(|service| self.covering(&one.name, service)) {
                if same_kind(&known.deliver, &one.deliver) {
                    questions.insert(Question { wanted: at, grant: known.grant.clone() });
                }
            }
        }
        questions.into_iter().collect()
    }

    /// `same`: the questions that the store answered with yes. `base`: what is under this layer, where it is an overlay.
    pub(super) fn steps(&self, wanted: &[Wanted], same: &BTreeSet<Question>, base: Option<&Base<'_>>) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (at, one) in wanted.iter().enumerate() {
            for service in &one.services {
                let (outcome, grant) = match self.covering(&one.name, service) {
                    None if base.is_some_and(|base| base.gives(at, one, service))
                        && !self.removes(&one.name, service) =>
                    {
                        (Outcome::InBase, None)
                    }
                    None => (Outcome::New, None),
                    Some(known) if same.contains(&Question { wanted: at, grant: known.grant.clone() }) => {
                        (of_the_same(known, one), Some(known.grant.clone()))
                    }
                    Some(known) => match &known.grant {
                        // A value for the service by name goes beside the one for all.
                        Grant::All => (Outcome::Differs, None),
                        Grant::Services(named) if named.iter().all(|service| one.services.contains(service)) => {
                            (Outcome::Differs, Some(known.grant.clone()))
                        }
                        shared @ Grant::Services(_) => (Outcome::Shared(shared.clone()), Some(shared.clone())),
                    },
                };
                // What is written under a new grant is written once for all the services that it is for.
                let alike = |step: &&mut Step| {
                    step.wanted == at
                        && step.outcome == outcome
                        && (grant.is_none() || grant.as_ref() == Some(&step.grant))
                };
                match steps.iter_mut().find(alike) {
                    Some(step) => {
                        step.services.insert(service.clone());
                        if grant.is_none() {
                            step.grant = to(&step.services);
                        }
                    }
                    None => {
                        let services = BTreeSet::from([service.clone()]);
                        let grant = grant.unwrap_or_else(|| to(&services));
                        steps.push(Step { wanted: at, services, outcome, grant });
                    }
                }
            }
        }
        steps
    }

    /// The request's entry for a step. What is there keeps its attributes, unless it is delivered in another way now.
    pub(super) fn write(&self, step: &Step, wanted: &Wanted) -> NamedEntry {
        let of_name = || self.entries.iter().filter(|entry| entry.name == wanted.name);
        let known = of_name().find(|entry| entry.grant == step.grant);
        let deliver = match known {
            Some(known) if same_kind(&known.deliver, &wanted.deliver) => {
                attributes_differ(known, wanted).then(|| with_variable_of(&known.deliver, &wanted.deliver))
            }
            _ => Some(wanted.deliver.clone()),
        };
        let entry = WriteEntry {
            secret: wanted.said.secret.or_else(|| known.is_none().then_some(wanted.secret.is_some())),
            deliver,
            grant: Some(step.grant.clone()),
            ..WriteEntry::literal(wanted.value.clone())
        };
        NamedEntry { name: wanted.name.clone(), entry }
    }

    pub(super) fn has(&self, name: &EntryName) -> bool {
        self.entries.iter().any(|entry| entry.name == *name)
    }
}

/// What becomes of a value that is there already.
fn of_the_same(known: &EntryInfo, wanted: &Wanted) -> Outcome {
    match wanted.said.secret {
        Some(secret) if secret != known.secret => Outcome::Told,
        _ if attributes_differ(known, wanted) => Outcome::Differs,
        _ => Outcome::Unchanged,
    }
}

/// Whether the file says another owner or mode than the store has. What it does not say, the store may have otherwise.
fn attributes_differ(known: &EntryInfo, wanted: &Wanted) -> bool {
    wanted.said.attributes && known.deliver != with_variable_of(&known.deliver, &wanted.deliver)
}

/// No compose file says by which variable an app finds its file.
fn with_variable_of(known: &Delivery, wanted: &Delivery) -> Delivery {
    match (known, wanted) {
        (Delivery::File(known), Delivery::File(wanted)) => {
            Delivery::File(FileAttributes { variable: known.variable.clone(), ..wanted.clone() })
        }
        _ => wanted.clone(),
    }
}

fn to(services: &BTreeSet<ServiceName>) -> Grant {
    Grant::to(services.iter().cloned().collect()).unwrap_or(Grant::All)
}

fn same_kind(one: &Delivery, other: &Delivery) -> bool {
    matches!((one, other), (Delivery::Variable, Delivery::Variable) | (Delivery::File(_), Delivery::File(_)))
}

#[cfg(test)]
mod tests {
    use chandlery_wire::Value;

    use crate::compose::Said;

    use super::*;

    fn wanted(name: &str, services: &str, value: &str) -> Wanted {
        let services = services.split(',').map(|name| ServiceName::parse(name).unwrap()).collect();
        let name = EntryName::parse(name).unwrap();
        Wanted {
            name,
            services,
            value: Value::new(value),
            deliver: Delivery::Variable,
            secret: None,
            from: "f:1".to_owned(),
            said: Said::default(),
        }
    }

    fn stored(name: &str, grant: &str) -> EntryInfo {
        EntryInfo {
            name: EntryName::parse(name).unwrap(),
            layer: Layer::Base,
            grant: grant.parse().unwrap(),
            version: 1,
            state: State::Live,
            secret: true,
            template: false,
            reference: None,
            deliver: Delivery::Variable,
            size: 1,
            created: String::new(),
            author: String::new(),
            value: None,
        }
    }

    /// `name outcome grant`, a line a step, where the store says "same" to these.
    fn steps(wanted: &[Wanted], entries: &[EntryInfo], same: &[(usize, &str)]) -> Vec<String> {
        let known = Stored::of(entries, &Layer::Base);
        let same = same.iter().map(|(wanted, grant)| Question { wanted: *wanted, grant: grant.parse().unwrap() });
        let show = |step: Step| format!("{} {:?} {}", wanted[step.wanted].name, step.outcome, step.grant);
        known.steps(wanted, &same.collect(), None).into_iter().map(show).collect()
    }

    #[test]
    fn an_empty_store_gets_everything() {
        let plan = [wanted("A", "app,db", "1"), wanted("B", "app", "1"), wanted("B", "db", "2")];
        assert_eq!(steps(&plan, &[], &[]), ["A New app,db", "B New app", "B New db"]);
        assert!(Stored::of(&[], &Layer::Base).questions(&plan).is_empty());
    }

    #[test]
    fn what_is_there_is_asked_about_once_for_each_grant() {
        let plan = [wanted("A", "app,db", "1"), wanted("B", "app", "1"), wanted("B", "db", "2")];
        let entries = [stored("A", "app,db"), stored("B", "all")];
        let questions = Stored::of(&entries, &Layer::Base).questions(&plan);
        assert_eq!(questions.len(), 3, "{questions:?}");
        assert_eq!(
            steps(&plan, &entries, &[(0, "app,db"), (1, "all")]),
            ["A Unchanged app,db", "B Unchanged all", "B Differs db"]
        );
    }

    #[test]
    fn what_the_user_or_the_file_says_of_a_value_that_is_there_counts() {
        let said = |secret, attributes| Said { secret, attributes };
        let file = |mode: &str| {
            Delivery::File(FileAttributes { mode: mode.parse().unwrap(), uid: None, gid: None, variable: None })
        };
        let of = |said, mode| Wanted { said, deliver: file(mode), ..wanted("A", "app", "1") };
        let known = [EntryInfo { deliver: file("0444"), ..stored("A", "app") }];
        for (one, outcome) in [
            (of(said(None, false), "0400"), "Unchanged"),
            (of(said(Some(true), false), "0400"), "Unchanged"),
            (of(said(Some(false), false), "0400"), "Told"),
            (of(said(None, true), "0444"), "Unchanged"),
            (of(said(None, true), "0400"), "Differs"),
        ] {
            let plan = [one];
            assert_eq!(steps(&plan, &known, &[(0, "app")]), [format!("A {outcome} app")], "{:?}", plan[0].said);
            let store = Stored::of(&known, &Layer::Base);
            let step = store.steps(&plan, &BTreeSet::new(), None).remove(0);
            let entry = store.write(&step, &plan[0]).entry;
            assert_eq!((entry.secret, entry.deliver.is_some()), (plan[0].said.secret, outcome == "Differs"));
        }
    }

    #[test]
    fn a_service_that_came_later_gets_an_entry_of_its_own() {
        let plan = [wanted("A", "app,db,web", "1")];
        assert_eq!(steps(&plan, &[stored("A", "app")], &[(0, "app")]), ["A Unchanged app", "A New db,web"]);
        assert_eq!(steps(&plan, &[stored("A", "app")], &[]), ["A Differs app", "A New db,web"]);
    }

    #[test]
    fn a_value_shared_with_others_is_not_changed_for_some() {
        let plan = [wanted("A", "app", "2"), wanted("A", "db", "1")];
        let found = steps(&plan, &[stored("A", "app,db")], &[(1, "app,db")]);
        assert_eq!(found[0].split(' ').nth(1), Some("Shared(Services([\"app\","), "{found:?}");
        assert_eq!(found[1], "A Unchanged app,db");
    }

    #[test]
    fn a_region_keeps_what_is_the_same_in_the_base_there() {
        let plan = [wanted("A", "app,db", "1"), wanted("B", "app", "2"), wanted("C", "app", "3")];
        let removed = EntryInfo { state: State::Removed, layer: "sfo3".parse().unwrap(), ..stored("C", "all") };
        let entries = [stored("A", "app"), stored("B", "app"), stored("C", "app"), removed];
        let question = |wanted| Question { wanted, grant: "app".parse().unwrap() };
        let base = Base { stored: Stored::of(&entries, &Layer::Base), same: [question(0), question(2)].into() };
        let known = Stored::of(&entries, &"sfo3".parse().unwrap());
        let found = known.steps(&plan, &BTreeSet::new(), Some(&base));
        let found: Vec<_> = found.iter().map(|step| (step.wanted, &step.outcome, step.grant.to_string())).collect();
        let expected = [
            (0, &Outcome::InBase, "app"),
            (0, &Outcome::New, "db"),
            (1, &Outcome::New, "app"),
            // Taken away here, so it has to be said again.
            (2, &Outcome::New, "app"),
        ];
        assert_eq!(found, expected.map(|(wanted, outcome, grant)| (wanted, outcome, grant.to_owned())));
    }

    #[test]
    fn other_layers_and_deleted_entries_do_not_count() {
        let plan = [wanted("A", "app", "1")];
        let overlay = EntryInfo { layer: "sfo3".parse().unwrap(), ..stored("A", "app") };
        let deleted = EntryInfo { state: State::Deleted, ..stored("A", "app") };
        assert_eq!(steps(&plan, &[overlay, deleted], &[]), ["A New app"]);
    }
}
