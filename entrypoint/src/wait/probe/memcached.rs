//! memcached: `version` (its `doc/protocol.txt`).

use super::{Verdict, first_line, words};

pub(super) const REQUEST: &[u8] = b"version\r\n";

/// One that wants to be logged in to first is as ready as one that does not.
pub(super) fn reply(bytes: &[u8]) -> Verdict {
    const READY: [&[u8]; 2] = [b"VERSION ", b"CLIENT_ERROR unauthenticated"];
    const TROUBLE: &[u8] = b"SERVER_ERROR ";
    let may_be = |wanted: &[u8]| bytes.iter().zip(wanted).all(|(byte, wanted)| byte == wanted);
    match first_line(bytes) {
        Some(line) if READY.iter().any(|ready| line.starts_with(ready)) => Verdict::Ready,
        Some(line) if line.starts_with(TROUBLE) => Verdict::NotReady(words(line)),
        None if may_be(TROUBLE) || READY.iter().any(|ready| may_be(ready)) => Verdict::More,
        _ => Verdict::NotThis("answers in something else than memcached's protocol"),
    }
}
