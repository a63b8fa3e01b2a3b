use super::*;

/// Gives its answer in pieces of one size, and takes every request.
struct Fake<'a> {
    answer: &'a [u8],
    piece: usize,
}

impl Read for Fake<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(buffer.len()).min(self.answer.len());
        let (now, later) = self.answer.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.answer = later;
        Ok(count)
    }
}

impl Write for Fake<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(answer: &[u8], piece: usize) -> io::Result<(u16, Vec<u8>)> {
    let response = exchange(&mut Fake { answer, piece }, b"GET / HTTP/1.1\r\n\r\n")?;
    Ok((response.status, response.body.to_vec()))
}

#[test]
fn an_answer_is_the_same_in_pieces_of_any_size() {
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length:5\r\nContent-Length: 5\r\nX: \r\n\r\nhello and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    for answer in answers {
        for piece in 1..=answer.len() {
            assert_eq!(read(answer, piece).unwrap(), (200, b"hello".to_vec()));
        }
    }
}

#[test]
fn what_has_no_body_is_not_waited_for() {
    for header in ["", "Content-Length: 99\r\n", "Transfer-Encoding: chunked\r\n", "Retry-After: 5\r\n"] {
        let answer = format!("HTTP/1.1 304 Not Modified\r\n{header}\r\n");
        assert_eq!(read(answer.as_bytes(), 7).unwrap(), (304, Vec::new()), "{header}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_never_whole() {
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for answer in [&length[..], &chunked[..]] {
        for cut in 0..answer.len() {
            let error = read(&answer[..cut], 7).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
    }
}

#[test]
fn what_is_not_plain_http_is_refused() {
    let answers: [&[u8]; 16] = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    ];
    for answer in answers {
        let text = String::from_utf8_lossy(answer);
        assert_eq!(read(answer, 9).expect_err(&text).kind(), io::ErrorKind::InvalidData, "{text}");
    }
}

#[test]
fn headers_without_end_are_refused() {
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.extend_from_slice("A: b\r\n".repeat(MOST_HEADER / 6 + 1).as_bytes());
    assert_eq!(read(&endless, 999).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let long_line = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; MOST_HEADER]].concat();
    assert_eq!(read(&long_line, 999).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn the_request_is_one_get() {
    let token = TokenText::from_secret(&[7; 32]);
    let text = String::from_utf8(get("/v1/x?service=app", "store:8420", Some(&token), None).to_vec()).unwrap();
    assert!(text.starts_with("GET /v1/x?service=app HTTP/1.1\r\nHost: store:8420\r\nAuthorization: Bearer chd_"));
    assert!(text.ends_with("Connection: close\r\n\r\n"));
    assert!(!text.contains("If-None-Match"));
    let without = String::from_utf8(get("/", "localhost", None, Some(42)).to_vec()).unwrap();
    assert!(!without.contains("Authorization") && without.contains("\r\nIf-None-Match: \"42\"\r\n"));
}
