//! One unambiguous way to write fields one after the other.

use zeroize::Zeroize;

/// Bytes that associated data and macs are computed over.
///
/// ```text
/// transcript = field(label) ‖ field …
/// field      = length (4 bytes, big-endian) ‖ bytes
/// number     = field of 8 bytes, big-endian
/// list       = number(count) ‖ field …
/// ```
///
/// Every field carries its length, so no two different sequences of fields give the same bytes: `ab ‖ c` is not
/// `a ‖ bc`. The label comes first and says what kind of thing follows, so a mac of one kind is never one of another.
#[derive(Debug, Clone)]
pub struct Transcript(Vec<u8>);

impl Transcript {
    /// Begins with a label, which is a constant of the program: `chandlery/v1/…`.
    #[must_use]
    pub fn new(label: &'static str) -> Self {
        Self(Vec::with_capacity(256)).bytes(label.as_bytes())
    }

    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.push(field);
        self
    }

    #[must_use]
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.push(&number.to_be_bytes());
        self
    }

    /// A number that may be absent: a list of none or one.
    #[must_use]
    pub fn optional(self, number: Option<u64>) -> Self {
        match number {
            None => self.number(0),
            Some(number) => self.number(1).number(number),
        }
    }

    #[must_use]
    pub fn list<T: AsRef<str>>(mut self, texts: &[T]) -> Self {
        self = self.number(texts.len() as u64);
        for text in texts {
            self.push(text.as_ref().as_bytes());
        }
        self
    }

    /// Room for as many bytes more, where the caller knows how much comes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    pub(super) fn push(&mut self, field: &[u8]) {
        Self::field(field, |bytes| self.0.extend_from_slice(bytes));
    }

    /// The bytes of one field, to wherever they go: a secret goes into a hash, and not into a buffer.
    pub(super) fn field(field: &[u8], mut to: impl FnMut(&[u8])) {
        // No field comes near 4 GiB: the longest is a value of 512 KiB. A longer one is cut to a length that then does
        // not match its bytes, which makes the transcript wrong and never ambiguous with a right one of ours.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        to(&length.to_be_bytes());
        to(field);
    }

    /// Wipes what was written, where a field was a secret.
    pub(super) fn wipe(mut self) {
        self.0.zeroize();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_fields_give_different_bytes(
            one in prop::collection::vec("[ab]{0,3}", 0..4),
            other in prop::collection::vec("[ab]{0,3}", 0..4),
        ) {
            let of = |fields: &[String]| fields.iter().fold(Transcript::new("x"), |t, field| t.text(field)).0;
            prop_assert_eq!(one == other, of(&one) == of(&other));
        }
    }

    #[test]
    fn the_encoding_is_as_drawn() {
        let transcript = Transcript::new("a").text("bc").number(7).list(&["d"]).optional(None);
        assert_eq!(
            transcript.as_bytes(),
            b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0\x01d\0\0\0\x08\0\0\0\0\0\0\0\0"
        );
    }
}
