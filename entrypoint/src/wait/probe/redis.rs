//! Redis and what speaks its protocol: PING (the RESP specification).

use super::{Verdict, first_line, words};

/// As an array, which proxies understand too; an inline `PING` they may not.
pub(super) const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// An error that is about who asks, and not about the state of the server, comes from one that is ready.
pub(super) fn reply(bytes: &[u8]) -> Verdict {
    match bytes.first() {
        None => return Verdict::More,
        Some(b'+' | b'-') => {}
        Some(_) => return Verdict::NotThis("answers in something else than Redis's protocol"),
    }
    let Some(line) = first_line(bytes) else {
        return Verdict::More;
    };
    let (kind, text) = (line[0], &line[1..]);
    let word = text.split(|c| *c == b' ').next().unwrap_or_default();
    let ready = match kind {
        b'+' => word == b"PONG",
        // Before version 6 this is how "log in first" begins.
        _ => word == b"NOAUTH" || word == b"NOPERM" || text.starts_with(b"ERR operation not permitted"),
    };
    if ready { Verdict::Ready } else { Verdict::NotReady(words(text)) }
}
