//! From a full copy in each region to one base and what differs. Pure and deterministic.

use std::collections::{BTreeMap, BTreeSet};

use chandlery_wire::EntryName;

/// What the base is to have for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<V> {
    /// The value for the base; nothing, where each region has its own, or most have none.
    pub base: Option<V>,
    /// How many values were in as many regions as the one that was taken, itself among them; 1 where it was clear.
    pub candidates: usize,
}

/// Decides for each name that is in one copy at least.
///
/// The value that most regions share goes to the base, if two regions share it and that takes no more entries than none
/// in the base would: a value, one override for each region that has another, one removal for each that has none. Among
/// values that as many regions share, the one that the base has now is taken, or else that of the copy that comes first.
pub fn factor<V: Clone + Eq>(
    copies: &[BTreeMap<EntryName, V>],
    now: impl Fn(&EntryName) -> Option<V>,
) -> BTreeMap<EntryName, Verdict<V>> {
    let names: BTreeSet<&EntryName> = copies.iter().flat_map(BTreeMap::keys).collect();
    names.into_iter().map(|name| (name.clone(), verdict(copies, name, &now))).collect()
}

fn verdict<V: Clone + Eq>(
    copies: &[BTreeMap<EntryName, V>],
    name: &EntryName,
    now: impl Fn(&EntryName) -> Option<V>,
) -> Verdict<V> {
    let mut counts: Vec<(&V, usize)> = Vec::new();
    for value in copies.iter().filter_map(|copy| copy.get(name)) {
        match counts.iter_mut().find(|(other, _)| *other == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    let present: usize = counts.iter().map(|(_, count)| count).sum();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let with_base = 1 + copies.len() - most;
    if most < 2 || with_base > present {
        return Verdict { base: None, candidates: 1 };
    }
    let candidates: Vec<&V> = counts.iter().filter(|(_, count)| *count == most).map(|(value, _)| *value).collect();
    let kept = if candidates.len() > 1 { now(name).filter(|value| candidates.contains(&value)) } else { None };
    Verdict { candidates: candidates.len(), base: kept.or_else(|| candidates.first().map(|value| (*value).clone())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Copy = BTreeMap<EntryName, u8>;

    fn copy(entries: &[(&str, u8)]) -> Copy {
        entries.iter().map(|(name, value)| (EntryName::parse(*name).unwrap(), *value)).collect()
    }

    fn of(copies: &[Copy], name: &str, now: Option<u8>) -> (Option<u8>, usize) {
        let verdict = factor(copies, |_| now)[&EntryName::parse(name).unwrap()].clone();
        (verdict.base, verdict.candidates)
    }

    #[test]
    fn the_majority_goes_to_the_base() {
        let copies = [copy(&[("A", 1), ("B", 1)]), copy(&[("A", 2), ("B", 2)]), copy(&[("A", 1), ("B", 3)])];
        assert_eq!(of(&copies, "A", Some(2)), (Some(1), 1));
        assert_eq!(of(&copies, "B", Some(2)), (None, 1), "each region has its own");
    }

    #[test]
    fn what_most_regions_lack_stays_out_of_the_base() {
        let copies = [copy(&[("A", 1), ("B", 1)]), copy(&[("A", 1)]), copy(&[("A", 1)]), copy(&[("B", 1)])];
        assert_eq!(of(&copies, "A", None), (Some(1), 1), "one removal instead of two values more");
        assert_eq!(of(&copies, "B", None), (None, 1));
    }

    #[test]
    fn a_tie_is_the_base_s_or_the_first_copy_s() {
        let copies = [copy(&[("A", 1)]), copy(&[("A", 2)]), copy(&[("A", 2)]), copy(&[("A", 1)])];
        assert_eq!(of(&copies, "A", None), (Some(1), 2));
        assert_eq!(of(&copies, "A", Some(2)), (Some(2), 2));
        assert_eq!(of(&copies, "A", Some(3)), (Some(1), 2), "what no copy has is no candidate");
    }

    fn copies() -> impl Strategy<Value = Vec<Copy>> {
        let one = prop::collection::btree_map("[A-E]", 0u8..4, 0..6);
        let one = one.prop_map(|map| map.into_iter().map(|(name, v)| (EntryName::parse(name).unwrap(), v)).collect());
        prop::collection::vec(one, 1..7)
    }

    proptest! {
        #[test]
        fn it_never_takes_more_entries_than_there_were_values(copies in copies(), now in prop::option::of(0u8..4)) {
            let verdicts = factor(&copies, |_| now);
            let values: usize = copies.iter().map(BTreeMap::len).sum();
            let entries: usize = verdicts.iter().map(|(name, verdict)| {
                let differing = copies.iter().filter(|copy| copy.get(name) != verdict.base.as_ref()).count();
                usize::from(verdict.base.is_some()) + differing
            }).sum();
            prop_assert!(entries <= values, "{} entries of {} values", entries, values);
        }

        #[test]
        fn only_a_tie_depends_on_the_order(copies in copies()) {
            let reversed: Vec<Copy> = copies.iter().rev().cloned().collect();
            for (name, verdict) in factor(&copies, |_| None) {
                let other = &factor(&reversed, |_| None)[&name];
                prop_assert_eq!(verdict.candidates, other.candidates);
                prop_assert!(verdict.candidates > 1 || verdict.base == other.base);
            }
        }
    }
}
