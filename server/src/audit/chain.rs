//! A line's bytes and its hash. The only place that knows the format.

use std::io::Write as _;

use chandlery_wire::api::Outcome;
use ring::hmac;
use serde::{Deserialize, Serialize, Serializer};

use super::{Anchor, Draft};

/// Between a line's body and its hash.
const MAC_KEY: &[u8] = br#","mac":""#;
/// What a line ends with: `,"mac":"`, 64 hex digits, `"}`.
const SUFFIX_LEN: usize = MAC_KEY.len() + 64 + 2;
/// Text from outside is cut here.
const MAX_CHARS: usize = 256;

/// What a draft says, as a JSON object: the part of a line that does not depend on its place in the log.
pub(super) fn members(draft: &Draft<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + 24 * draft.entries.len());
    let members = Members {
        caller: cut(draft.caller),
        peer: draft.peer.map(cut),
        action: cut(draft.action),
        target: draft.target.map(cut),
        service: draft.service.map(cut),
        outcome: draft.outcome,
        detail: draft.detail.map(cut),
        entries: &draft.entries,
        revision: draft.revision,
    };
    // Strings and numbers into memory: there is nothing that could fail.
    let written = serde_json::to_writer(&mut out, &members);
    debug_assert!(written.is_ok());
    out
}

#[derive(Serialize)]
struct Members<'a> {
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty", serialize_with = "cut_all")]
    entries: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

fn cut_all<S: Serializer>(entries: &&[&str], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|entry| cut(entry)))
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Adds the line that follows `head` to `out`, newline included, and moves the head to it.
///
/// `members` is what [`members`] gave: its braces are replaced by the line's own.
pub(super) fn write_line(key: &hmac::Key, head: &mut Anchor, time: &str, members: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let seq = head.seq + 1;
    // A Vec takes every write.
    let _ = write!(out, r#"{{"seq":{seq},"time":"{time}","#);
    out.extend_from_slice(members.get(1..members.len().saturating_sub(1)).unwrap_or_default());
    let mac = mac(key, &head.mac, &out[start..]);
    out.extend_from_slice(MAC_KEY);
    push_hex(out, &mac);
    out.extend_from_slice(b"\"}\n");
    *head = Anchor { seq, mac };
}

/// `HMAC-SHA-256(key, mac of the line before ‖ body)`.
pub(super) fn mac(key: &hmac::Key, previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(previous);
    context.update(body);
    let tag = context.sign();
    let mut mac = [0; 32];
    mac.copy_from_slice(tag.as_ref());
    mac
}

/// A line taken apart, without its newline, and not yet checked against the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) body: &'a [u8],
    pub(super) anchor: Anchor,
    /// The store's revision, if the line is about a change to the store.
    pub(super) wrote_revision: Option<u64>,
}

impl<'a> Line<'a> {
    /// Parses what the chain needs; `Err` says what is wrong with the line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let brief: Brief<'_> = serde_json::from_slice(line).map_err(|_| "it is not a record")?;
        let (body, mac) = split(line).ok_or("it does not end with a mac")?;
        let wrote_revision = brief.revision.filter(|_| changes_store(brief.action.as_ref()));
        Ok(Self { body, anchor: Anchor { seq: brief.seq, mac }, wrote_revision })
    }

    /// Whether the line belongs behind one with that hash.
    pub(super) fn follows(&self, key: &hmac::Key, previous: &[u8; 32]) -> bool {
        let mut context = hmac::Context::with_key(key);
        context.update(previous);
        context.update(self.body);
        // The log is no oracle for its own hashes, so an early exit of the comparison tells nobody anything.
        context.sign().as_ref() == self.anchor.mac
    }
}

#[derive(Deserialize)]
struct Brief<'a> {
    seq: u64,
    #[serde(borrow)]
    action: std::borrow::Cow<'a, str>,
    revision: Option<u64>,
}

/// Whether an action of that name gives the store a new revision, so that a record's revision is the store's.
pub(super) fn changes_store(action: &str) -> bool {
    !action.starts_with("read-")
}

fn split(line: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let (body, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX_LEN)?)?;
    let digits = suffix.strip_prefix(MAC_KEY)?.strip_suffix(b"\"}")?;
    Some((body, from_hex(digits)?))
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    let mut out = Vec::with_capacity(64);
    push_hex(&mut out, bytes);
    out.into_iter().map(char::from).collect()
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8; 32]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Lower case only: there is one way to write a hash, so there is one line with it.
fn from_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}
