//! Cells for people to compare: values by short keyed names, which within one answer are the same exactly where the
//! values are.

use std::collections::HashMap;

use chandlery_wire::Value;
use chandlery_wire::api::{Cell, State};

use super::attributes::Attributes;
use crate::crypto::{Fingerprinter, Mac};

/// Characters of a fingerprint where no two of the answer's values begin with the same: 25 bits.
const SHORTEST: usize = 5;
/// Five bits a character (Crockford's base32 in small letters): no two that look alike, and no words.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 130 bits: what differs in more is different.
const LONGEST: usize = 26;

/// A value, named by its mac, and what it is besides.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) version: u64,
    pub(super) state: State,
    pub(super) attributes: Attributes,
    /// Nothing, where there is no value.
    pub(super) mac: Option<Mac>,
    /// The value, where it may be shown.
    pub(super) value: Option<Value>,
}

impl Shown {
    /// Whether both say the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let kind = |shown: &Self| {
            let Attributes { secret, template, reference, deliver, .. } = shown.attributes.clone();
            (shown.state, secret, template, reference, deliver)
        };
        self.mac == other.mac && kind(self) == kind(other)
    }
}

/// Who makes cells.
#[derive(Debug)]
pub(super) struct Marker {
    pub(super) names: Fingerprinter,
    /// Whether secrets are shown.
    pub(super) reveal: bool,
}

impl Marker {
    pub(super) fn shown(&self, version: u64, state: State, attributes: Attributes, value: Value) -> Shown {
        let live = state == State::Live;
        let mac = live.then(|| self.names.name(&value));
        let value = (live && (self.reveal || !attributes.secret || attributes.reference)).then_some(value);
        Shown { version, state, attributes, mac, value }
    }
}

/// How long the short names of all values of one answer are.
pub(super) struct Names(HashMap<Mac, usize>);

impl Names {
    /// Each as long as it takes to be told from all others.
    pub(super) fn of<'a>(shown: impl Iterator<Item = &'a Shown>) -> Self {
        let mut macs: Vec<Mac> = shown.filter_map(|shown| shown.mac).collect();
        macs.sort_unstable();
        macs.dedup();
        let length = |at: usize| {
            let shared = |other: Option<&Mac>| other.map_or(0, |other| common(&macs[at], other));
            let before = at.checked_sub(1).and_then(|before| macs.get(before));
            (shared(before).max(shared(macs.get(at + 1))) + 1).clamp(SHORTEST, LONGEST)
        };
        Self(macs.iter().enumerate().map(|(at, mac)| (*mac, length(at))).collect())
    }

    pub(super) fn cell(&self, shown: Shown) -> Cell {
        let Shown { version, state, attributes, mac, value } = shown;
        let fingerprint = mac.and_then(|mac| self.0.get(&mac).map(|length| text(&mac, *length)));
        let Attributes { secret, template, reference, deliver, size } = attributes;
        let size = if state == State::Live { size } else { 0 };
        Cell { version, state, secret, template, reference, deliver, size, fingerprint, value }
    }
}

/// With how many characters both begin.
fn common(one: &Mac, other: &Mac) -> usize {
    let bytes = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let bits = one.get(bytes).zip(other.get(bytes)).map_or(0, |(one, other)| (one ^ other).leading_zeros());
    (bytes * 8 + bits as usize) / 5
}

/// The first so many characters, at most [`LONGEST`].
fn text(mac: &Mac, length: usize) -> String {
    let bit = |at: usize| mac[at / 8] >> (7 - at % 8) & 1;
    let digit = |at: usize| (0..5).fold(0, |number, offset| number << 1 | usize::from(bit(at * 5 + offset)));
    (0..length).map(|at| char::from(ALPHABET[digit(at)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mac: Mac) -> Shown {
        Shown { version: 1, state: State::Live, attributes: Attributes::default(), mac: Some(mac), value: None }
    }

    fn names(macs: &[Mac]) -> Vec<String> {
        let all: Vec<Shown> = macs.iter().map(|mac| shown(*mac)).collect();
        let names = Names::of(all.iter());
        all.into_iter().map(|shown| names.cell(shown).fingerprint.unwrap()).collect()
    }

    #[test]
    fn what_begins_alike_is_told_apart() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        one[15] = 0b1000;
        other[15] = 0b0100;
        let [first, second, third, again] = &names(&[one, other, [255; 32], one])[..] else { panic!("four") };
        assert!(first != second && first == again, "{first} {second}");
        assert_eq!((first.len(), third.len()), (25, SHORTEST), "no longer than it takes");
    }

    #[test]
    fn the_text_is_base32() {
        let mut mac = [0; 32];
        mac[0] = 0b1111_1000;
        mac[1] = 0b0010_0001;
        assert_eq!(text(&mac, 4), "z0gg");
        assert_eq!(text(&mac, LONGEST).len(), LONGEST);
    }
}
