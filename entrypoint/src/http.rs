//! As much of HTTP/1.1 (RFC 9112) as one GET needs. Whatever is out of the ordinary is an error: a server of ours does
//! not send it, and what is lenient can be fooled.

use std::io::{self, Read, Write};

use chandlery_wire::TokenText;
use zeroize::{Zeroize, Zeroizing};

/// The most bytes of a status line and headers: eight times what servers commonly accept.
const MOST_HEADER: usize = 64 * 1024;
/// The most bytes of a body: 90 files of 512 KiB in base64. The files have to fit into the container's memory.
const MOST_BODY: usize = 64 * 1024 * 1024;
/// The most bytes of a line that gives the size of a chunk.
const MOST_CHUNK_LINE: usize = 256;

/// Bytes both ways: a socket, or TLS on one.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// An answer, whole.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Seconds, where the server says them.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// A request as bytes: for what is there, or only for another revision than this one.
pub(crate) fn get(path: &str, host: &str, token: Option<&TokenText>, other_than: Option<u64>) -> Zeroizing<Vec<u8>> {
    let asker = Zeroizing::new(match token {
        Some(token) => format!("Authorization: Bearer {}\r\n", token.expose_secret()),
        // Then the server looks this process up. A program that was talked into a request does not send this header.
        None => "X-Chandlery-Request: true\r\n".to_owned(),
    });
    let condition = other_than.map_or(String::new(), |revision| format!("If-None-Match: \"{revision}\"\r\n"));
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{}{condition}Accept: application/json\r\n\
         User-Agent: chandlery-entrypoint/{version}\r\nConnection: close\r\n\r\n",
        asker.as_str()
    );
    Zeroizing::new(request.into_bytes())
}

/// Sends a request and reads the answer.
///
/// # Errors
/// The stream's own; `UnexpectedEof` where the answer is cut off; `InvalidData` where it is not HTTP.
pub(crate) fn exchange(stream: &mut dyn Stream, request: &[u8]) -> io::Result<Response> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut reader = Reader { stream, buffer: Zeroizing::new(Vec::new()), at: 0 };
    let mut room = MOST_HEADER;
    loop {
        let head = reader.head(&mut room)?;
        // 1xx announces that the answer is still to come.
        if !(100..200).contains(&head.status) {
            let body = reader.body(head.framing)?;
            return Ok(Response { status: head.status, retry_after: head.retry_after, body });
        }
    }
}

/// How the end of the body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// The end of the connection is the end of the body; JSON that is cut off is still found out.
    Close,
}

struct Head {
    status: u16,
    retry_after: Option<u64>,
    framing: Framing,
}

struct Reader<'a> {
    stream: &'a mut dyn Stream,
    /// What was read and not yet used begins at `at`.
    buffer: Zeroizing<Vec<u8>>,
    at: usize,
}

impl Reader<'_> {
    fn head(&mut self, room: &mut usize) -> io::Result<Head> {
        let status = status(&self.line(room)?)?;
        let (mut length, mut chunked, mut retry_after) = (None, false, None);
        loop {
            let line = self.line(room)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = header(&line)?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let parsed = number(value, 10).filter(|length| *length <= MOST_BODY);
                    let parsed = parsed.ok_or_else(|| invalid("the answer's length is no number, or too large"))?;
                    if length.replace(parsed).is_some_and(|before| before != parsed) {
                        return Err(invalid("the answer has two lengths"));
                    }
                }
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") && !chunked => chunked = true,
                "transfer-encoding" => return Err(invalid("the answer has a transfer encoding nobody asked for")),
                "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                    return Err(invalid("the answer is compressed, and nobody asked for it"));
                }
                "retry-after" => retry_after = number(value, 10).and_then(|seconds| seconds.try_into().ok()),
                _ => {}
            }
        }
        let framing = match (length, chunked) {
            // These have no body, whatever their headers say of the one there would be (RFC 9112, 6.3).
            _ if matches!(status, 204 | 304) => Framing::Length(0),
            (Some(_), true) => return Err(invalid("the answer has a length and comes in chunks")),
            (Some(length), false) => Framing::Length(length),
            (None, true) => Framing::Chunked,
            (None, false) => Framing::Close,
        };
        Ok(Head { status, retry_after, framing })
    }

    fn body(&mut self, framing: Framing) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut body = Zeroizing::new(Vec::new());
        match framing {
            Framing::Length(length) => self.take(length, &mut body)?,
            Framing::Chunked => loop {
                let mut room = MOST_CHUNK_LINE;
                let line = self.line(&mut room)?;
                let size = line.split(|c| *c == b';').next().unwrap_or_default().trim_ascii();
                let size = std::str::from_utf8(size).ok().and_then(|size| number(size, 16));
                let size = size.ok_or_else(|| invalid("a chunk's size is no number"))?;
                if size > MOST_BODY - body.len() {
                    return Err(invalid("the answer is too large"));
                }
                if size == 0 {
                    let mut room = MOST_HEADER;
                    while !self.line(&mut room)?.is_empty() {}
                    break;
                }
                self.take(size, &mut body)?;
                if !self.line(&mut 2)?.is_empty() {
                    return Err(invalid("a chunk is longer than it says"));
                }
            },
            Framing::Close => loop {
                let rest = self.buffer.len() - self.at;
                if body.len() + rest > MOST_BODY {
                    return Err(invalid("the answer is too large"));
                }
                self.take(rest, &mut body)?;
                if self.fill()? == 0 {
                    break;
                }
            },
        }
        Ok(body)
    }

    /// The next line, without its end (CR LF). `room` is how long it may be, and shrinks by what it was.
    fn line(&mut self, room: &mut usize) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(end) = rest[seen..].iter().position(|c| *c == b'\n').map(|end| end + seen) {
                let line = rest[..end].strip_suffix(b"\r");
                let line = line.ok_or_else(|| invalid("a line of the answer does not end as HTTP has it"))?.to_vec();
                *room = room.checked_sub(end + 1).ok_or_else(|| invalid("the answer's headers are too long"))?;
                self.at += end + 1;
                return Ok(line);
            }
            seen = rest.len();
            if seen > *room {
                return Err(invalid("the answer's headers are too long"));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Moves the next `count` bytes to `out`.
    fn take(&mut self, mut count: usize, out: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
        grow(out, count);
        while count > 0 {
            let rest = &self.buffer[self.at..];
            let part = rest.len().min(count);
            out.extend_from_slice(&rest[..part]);
            self.at += part;
            count -= part;
            if count > 0 && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads what there is, and says how much it was.
    fn fill(&mut self) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.zeroize();
            self.at = 0;
        }
        let end = self.buffer.len();
        grow(&mut self.buffer, 16 * 1024);
        self.buffer.resize(end + 16 * 1024, 0);
        let outcome = loop {
            match self.stream.read(&mut self.buffer[end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.buffer.truncate(end + outcome.as_ref().map_or(0, |count| *count));
        outcome
    }
}

/// Makes room in a vector without leaving a copy of what is in it behind, as its own growing would.
fn grow(vector: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = vector.len() + more;
    if needed > vector.capacity() {
        let mut larger = Vec::with_capacity(needed.max(2 * vector.capacity()));
        larger.extend_from_slice(vector);
        *vector = Zeroizing::new(larger);
    }
}

/// `HTTP/1.1 200 OK` → 200
pub(crate) fn status(line: &[u8]) -> io::Result<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "));
    let digits = rest.and_then(|rest| rest.split(|c| *c == b' ').next());
    let digits = digits.filter(|digits| digits.len() == 3).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| number(digits, 10)).filter(|status| *status >= 100);
    status.and_then(|status| status.try_into().ok()).ok_or_else(|| invalid("the answer is not HTTP"))
}

/// `Name: value` → name and value, without the white space around the value.
fn header(line: &[u8]) -> io::Result<(&str, &str)> {
    let text = std::str::from_utf8(line).ok();
    let split = text.and_then(|text| text.split_once(':'));
    let named = |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_graphic());
    let (name, value) = split.filter(|(name, _)| named(name)).ok_or_else(|| invalid("a header is not one"))?;
    Ok((name, value.trim()))
}

/// Digits and nothing else: `parse` alone would also take a sign.
fn number(text: &str, radix: u32) -> Option<usize> {
    let digits = text.chars().all(|c| c.is_digit(radix));
    digits.then(|| usize::from_str_radix(text, radix).ok()).flatten()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
