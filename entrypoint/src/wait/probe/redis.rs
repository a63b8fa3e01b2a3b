//! Redis and what speaks its protocol: PING (the RESP specification).

use super::{Verdict, first_line, words};

/// As arrays, which proxies understand too; an inline `PING` they may not.
///
/// Who is not logged in is told NOAUTH before LOADING: only with the password that the app will use can a server that
/// still loads its data be told from one that is ready.
pub(super) fn request(login: Option<&(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut request = Vec::new();
    match login {
        None => {}
        Some((user, password)) if user.is_empty() => command(&mut request, &[b"AUTH", password]),
        Some((user, password)) => command(&mut request, &[b"AUTH", user, password]),
    }
    command(&mut request, &[b"PING"]);
    request
}

fn command(request: &mut Vec<u8>, words: &[&[u8]]) {
    request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
}

/// An error that is about who asks, and not about the state of the server, comes from one that is ready. After a login
/// there are two answers, and the second counts.
pub(super) fn reply(bytes: &[u8], login: bool) -> Verdict {
    match line(bytes) {
        // These come unasked, and then nothing more.
        Ok(line) if login && !line.starts_with(b"-DENIED") && !line.starts_with(b"-ERR max number") => {
            let rest = bytes.iter().position(|c| *c == b'\n').map_or(&b""[..], |end| &bytes[end + 1..]);
            self::line(rest).map_or_else(|verdict| verdict, judge)
        }
        Ok(line) => judge(line),
        Err(verdict) => verdict,
    }
}

/// The first line, if it is an answer of this protocol.
fn line(bytes: &[u8]) -> Result<&[u8], Verdict> {
    match bytes.first() {
        None => Err(Verdict::More),
        Some(b'+' | b'-') => first_line(bytes).ok_or(Verdict::More),
        Some(_) => Err(Verdict::NotThis("answers in something else than Redis's protocol")),
    }
}

fn judge(line: &[u8]) -> Verdict {
    let (kind, text) = (line[0], &line[1..]);
    let word = text.split(|c| *c == b' ').next().unwrap_or_default();
    let ready = match kind {
        b'+' => word == b"PONG",
        // Before version 6 this is how "log in first" begins.
        _ => word == b"NOAUTH" || word == b"NOPERM" || text.starts_with(b"ERR operation not permitted"),
    };
    if ready { Verdict::Ready } else { Verdict::NotReady(words(text)) }
}
