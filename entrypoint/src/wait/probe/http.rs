//! HTTP/1.1: a GET, of whose answer only the status counts (RFC 9112, 4).

use super::{Verdict, first_line};
use crate::http::status;

/// Which statuses are ready ones, as ranges from and to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl Statuses {
    /// `2xx,401`. `None` for what is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let range = |item: &str| {
            let digits: &[u8; 3] = item.as_bytes().try_into().ok()?;
            let class = u16::from(digits[0].checked_sub(b'0').filter(|class| (1..=5).contains(class))?) * 100;
            if digits[1..].eq_ignore_ascii_case(b"xx") {
                return Some((class, class + 99));
            }
            let exact = item.parse().ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
            Some((exact, exact))
        };
        text.split(',').map(|item| range(item.trim())).collect::<Option<_>>().map(Self)
    }

    fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

/// The `Authorization` of a user and a password (RFC 7617).
pub(super) fn basic(login: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Authorization: Basic ");
    for group in login.chunks(3) {
        let byte = |at: usize| usize::from(group.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let shown = digit <= group.len();
            text.push(if shown { char::from(ALPHABET[word >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

/// `Name: value` as it is sent. `None` where it is not a header, or would be two.
pub(crate) fn header(text: &str) -> Option<String> {
    let (name, value) = text.split_once(':')?;
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let plain = !value.chars().any(|c| c.is_control() && c != '\t');
    let named = !name.is_empty() && name.bytes().all(token);
    // What frames the request is not for others to say.
    let free = !["host", "content-length", "transfer-encoding", "connection"].contains(&&*name.to_ascii_lowercase());
    (named && plain && free).then(|| format!("{name}: {}", value.trim()))
}

pub(super) fn request(path: &str, host: &str, login: Option<&[u8]>, headers: &[String]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: chandlery-entrypoint/{version}\r\nAccept: */*\r\n\
         Connection: close\r\n"
    );
    for line in headers.iter().cloned().chain(login.map(basic)) {
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

pub(super) fn reply(mut bytes: &[u8], ready: &Statuses) -> Verdict {
    loop {
        let Some(line) = first_line(bytes) else {
            let begin = &bytes[..bytes.len().min(5)];
            return if b"HTTP/".starts_with(begin) { Verdict::More } else { not_http() };
        };
        match status(line) {
            // 1xx announces that the answer is still to come; 101 ends HTTP altogether.
            Ok(100 | 102..=199) => match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(end) => bytes = &bytes[end + 4..],
                None => return Verdict::More,
            },
            Ok(status) if ready.holds(status) => return Verdict::Ready,
            Ok(status) => return Verdict::NotReady(format!("status {status}")),
            Err(_) => return not_http(),
        }
    }
}

fn not_http() -> Verdict {
    Verdict::NotThis("answers in something else than HTTP")
}
