//! MySQL and MariaDB: the server speaks first, and greets only when it takes connections (the internals manual,
//! "Protocol::Handshake").

use super::{Verdict, words};

const PROTOCOL: u8 = 10;
/// The first byte of an ERR packet.
const ERROR: u8 = 0xff;
/// Greetings are about 100 bytes, errors at most 512 of text.
const MOST_PACKET: usize = 4 * 1024;

/// A packet is three bytes of length, least significant first, a number, and the payload. The greeting is
/// the protocol's version and the server's, which ends with a zero.
pub(super) fn reply(bytes: &[u8]) -> Verdict {
    let not_this = Verdict::NotThis("greets with something else than MySQL's protocol");
    let Some(header) = bytes.first_chunk::<4>() else {
        return Verdict::More;
    };
    let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    if !(3..=MOST_PACKET).contains(&length) {
        return not_this;
    }
    let Some(payload) = bytes.get(4..4 + length) else {
        // Who is not MySQL need not be waited for until it has sent as much as its first bytes seem to promise.
        return if bytes.get(4).is_none_or(|first| [PROTOCOL, ERROR].contains(first)) {
            Verdict::More
        } else {
            not_this
        };
    };
    match payload[0] {
        PROTOCOL if payload.contains(&0) => Verdict::Ready,
        ERROR => {
            let code = u16::from_le_bytes([payload[1], payload[2]]);
            let text = &payload[3..];
            // `#` and five characters of SQL state come before the text once the protocol is agreed on.
            let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
            Verdict::NotReady(format!("error {code}: {}", words(text)))
        }
        _ => not_this,
    }
}
