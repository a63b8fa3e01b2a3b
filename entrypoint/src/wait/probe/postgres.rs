//! PostgreSQL's startup, as `pg_isready` reads it (the manual's "Message Formats"; libpq's `PQping`).

use super::{Verdict, words};

/// "The database system is starting up", or shutting down, or not yet consistent: `cannot_connect_now`.
const CANNOT_CONNECT_NOW: &[u8] = b"57P03";
/// The longest message worth waiting for.
const MOST_MESSAGE: usize = 8 * 1024;

/// A StartupMessage of protocol 3.0: length, version, pairs of names and values, and a zero.
pub(super) fn request(user: &[u8], database: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 3, 0, 0];
    for part in [&b"user"[..], user, b"database", database] {
        message.extend_from_slice(part);
        message.push(0);
    }
    message.push(0);
    let length = u32::try_from(message.len()).unwrap_or(0);
    message[..4].copy_from_slice(&length.to_be_bytes());
    message
}

/// An answer is a letter, a length that counts itself, and as much as it says. Who asks for a password takes
/// connections; so does who refuses this user, this database or one connection more.
pub(super) fn reply(bytes: &[u8]) -> Verdict {
    let not_this = Verdict::NotThis("answers in something else than PostgreSQL's protocol");
    match bytes.first() {
        None => return Verdict::More,
        Some(b'R' | b'E') => {}
        Some(_) => return not_this,
    }
    let Some(length) = bytes.get(1..5) else {
        return Verdict::More;
    };
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    if !(8..=MOST_MESSAGE).contains(&length) {
        return not_this;
    }
    if bytes[0] == b'R' {
        return Verdict::Ready;
    }
    let Some(body) = bytes.get(5..1 + length) else {
        return Verdict::More;
    };
    let field = |kind: u8| body.split(|c| *c == 0).find(|field| field.first() == Some(&kind)).map(|field| &field[1..]);
    match field(b'C') {
        Some(code) if code == CANNOT_CONNECT_NOW => Verdict::NotReady(words(field(b'M').unwrap_or(code))),
        Some(code) if code.len() == 5 => Verdict::Ready,
        _ => not_this,
    }
}
