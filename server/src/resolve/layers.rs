//! Which of an entry's values wins for a service.

use std::collections::BTreeMap;

use chandlery_wire::api::State;
use chandlery_wire::{EntryName, Grant, Layer, ServiceName};

/// The current version of an entry in one layer for one grant; `item` is whatever the caller needs back.
#[derive(Debug, Clone)]
pub struct Candidate<T> {
    pub name: EntryName,
    pub layer: Layer,
    pub grant: Grant,
    pub state: State,
    pub item: T,
}

/// The winner, and what it hides, the nearest first.
#[derive(Debug, Clone)]
pub struct Choice<T> {
    pub winner: Candidate<T>,
    pub hidden: Vec<Candidate<T>>,
}

impl<T> Choice<T> {
    /// Whether the service gets the entry: not where the region's overlay takes it away.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.winner.state == State::Live
    }
}

/// Picks the winners among the current versions of the base and of at most one overlay.
///
/// What is not granted to the service is no candidate. An overlay's value beats the base's; within a layer, a value for
/// the service by name beats one for all services. A deleted or destroyed version is none; a removed one wins like a value, and then
/// the service does not get the entry.
pub fn merge<T>(
    candidates: impl IntoIterator<Item = Candidate<T>>,
    service: Option<&ServiceName>,
) -> BTreeMap<EntryName, Choice<T>> {
    let mut by_name: BTreeMap<EntryName, Vec<Candidate<T>>> = BTreeMap::new();
    for candidate in candidates {
        if matches!(candidate.state, State::Live | State::Removed) && candidate.grant.includes(service) {
            by_name.entry(candidate.name.clone()).or_default().push(candidate);
        }
    }
    let choose = |(name, mut candidates): (EntryName, Vec<Candidate<T>>)| {
        candidates.sort_by_key(precedence);
        let mut nearest_first = candidates.into_iter();
        nearest_first.next().map(|winner| (name, Choice { winner, hidden: nearest_first.collect() }))
    };
    by_name.into_iter().filter_map(choose).collect()
}

/// Smaller wins.
fn precedence<T>(candidate: &Candidate<T>) -> (bool, bool) {
    (candidate.layer == Layer::Base, candidate.grant == Grant::All)
}

#[cfg(test)]
mod tests {
    use chandlery_wire::RegionName;

    use super::*;

    fn candidate(layer: &str, grant: &str, state: State) -> Candidate<String> {
        let layer = match layer {
            "base" => Layer::Base,
            region => Layer::Overlay(RegionName::parse(region).unwrap()),
        };
        let name = EntryName::parse("X").unwrap();
        Candidate { item: format!("{layer} {grant}"), name, layer, grant: grant.parse().unwrap(), state }
    }

    fn winner(candidates: &[(&str, &str, State)], service: Option<&str>) -> Option<String> {
        let service = service.map(|name| ServiceName::parse(name).unwrap());
        let candidates = candidates.iter().map(|(layer, grant, state)| candidate(layer, grant, *state));
        let choices = merge(candidates, service.as_ref());
        choices.into_values().find(Choice::is_delivered).map(|choice| choice.winner.item)
    }

    const LIVE: State = State::Live;

    #[test]
    fn an_overlay_beats_the_base() {
        let rows = [("base", "all", LIVE), ("eu", "all", LIVE)];
        assert_eq!(winner(&rows, Some("app")).unwrap(), "eu all");
    }

    #[test]
    fn within_a_layer_the_service_by_name_beats_all() {
        let rows = [("base", "all", LIVE), ("base", "app", LIVE)];
        assert_eq!(winner(&rows, Some("app")).unwrap(), "base app");
        assert_eq!(winner(&rows, Some("db")).unwrap(), "base all");
        assert_eq!(winner(&rows, None).unwrap(), "base all");
    }

    #[test]
    fn an_overlay_for_all_beats_the_base_for_one() {
        let rows = [("base", "app", LIVE), ("eu", "all", LIVE)];
        assert_eq!(winner(&rows, Some("app")).unwrap(), "eu all");
    }

    #[test]
    fn what_is_not_granted_is_no_candidate() {
        let rows = [("base", "db", LIVE)];
        assert_eq!(winner(&rows, Some("app")), None);
        assert_eq!(winner(&rows, None), None);
        assert_eq!(winner(&rows, Some("db")).unwrap(), "base db");
    }

    #[test]
    fn a_deleted_overlay_uncovers_the_base_and_a_removed_one_hides_it() {
        assert_eq!(winner(&[("base", "all", LIVE), ("eu", "all", State::Deleted)], None).unwrap(), "base all");
        assert_eq!(winner(&[("base", "all", LIVE), ("eu", "all", State::Removed)], None), None);
    }

    #[test]
    fn what_was_hidden_is_remembered_the_nearest_first() {
        let rows = [("base", "all", LIVE), ("base", "app", LIVE), ("eu", "all", LIVE), ("eu", "app", LIVE)];
        let rows = rows.iter().map(|(layer, grant, state)| candidate(layer, grant, *state));
        let choices = merge(rows, Some(&ServiceName::parse("app").unwrap()));
        let choice = choices.into_values().next().unwrap();
        let hidden: Vec<String> = choice.hidden.into_iter().map(|candidate| candidate.item).collect();
        assert_eq!(choice.winner.item, "eu app");
        assert_eq!(hidden, ["eu all", "base app", "base all"]);
    }
}
