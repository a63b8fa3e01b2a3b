//! What reads what others send, for the fuzzers in `tests/fuzz`. No other build has this module.
//!
//! Each function asserts what must hold whatever it is given; that nothing panics or hangs is the fuzzer's part.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use chandlery_wire::Bundle;

use crate::config::{Config, PREFIX, Request};
use crate::{cache, environ, http, wait};

/// A server's answer means the same in one piece and byte by byte.
pub fn http_response(data: &[u8]) {
    let [whole, bytes] = [data.len().max(1), 1].map(|piece| {
        let mut fake = Fake { answer: data, piece };
        let response = http::exchange(&mut fake, b"");
        response.map(|response| (response.status, response.retry_after, response.body.to_vec())).ok()
    });
    assert_eq!(whole, bytes);
}

/// A bundle becomes an environment in which every name is a name, once, and none is ours; or nothing at all.
pub fn bundle(data: &[u8]) {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(data) else { return };
    let Ok(environment) = environ::build(&config(), &bundle) else { return };
    let strings = environment.to_strings().unwrap_or_default();
    let mut names: Vec<&[u8]> =
        strings.iter().filter_map(|string| string.to_bytes().split(|c| *c == b'=').next()).collect();
    assert!(names.iter().all(|name| !name.is_empty() && !name.starts_with(PREFIX.as_bytes())));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What a dependency answers, in each protocol, at any point of the answer.
pub fn probe_reply(data: &[u8]) {
    const URLS: [&str; 6] = ["http://h/", "postgres://h", "mysql://h", "redis://h", "amqp://h", "memcached://h"];
    let Some((first, answer)) = data.split_first() else { return };
    let url = URLS[usize::from(*first) % URLS.len()];
    for end in [answer.len() / 2, answer.len()] {
        if let Some(words) = wait::fuzz_reply(url, &answer[..end]) {
            assert!(words.chars().count() < 256);
        }
    }
}

/// The variables that say what to wait for: pairs of name and value, separated by NUL. No error tells a password.
pub fn wait_variables(data: &[u8]) {
    const PASSWORD: &str = "hunter2canary";
    let mut parts = data.split(|c| *c == 0);
    let mut variables: Vec<(String, &OsStr)> = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        variables.push((format!("WAIT_{}", String::from_utf8_lossy(name)), OsStr::from_bytes(value)));
    }
    // The old names are told of on stderr, each time.
    let ours = variables.iter().filter(|(name, _)| !name.ends_with("_HOSTS") && name != "WAIT_HOSTS_TIMEOUT");
    let ours: Vec<(OsString, OsString)> = ours.map(|(name, value)| (name.into(), OsString::from(value))).collect();
    let command = wait::compat::fuzz_variables(&ours);
    assert!(command.is_err() || command.is_ok_and(|words| words.iter().all(|word| !word.as_bytes().contains(&0))));
    let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    let said = match wait::Plan::read(&find, &[]) {
        Ok(plan) => plan.fuzz_shown(),
        Err(failure) => failure.text(),
    };
    // A path is shown as it is, and may look like anything.
    let path = |value: &&OsStr| ["file:", "unix:"].iter().any(|scheme| value.to_string_lossy().contains(scheme));
    let paths = variables.iter().any(|(name, value)| name == "WAIT_PATHS" || path(value));
    assert!(paths || !said.contains(&format!(":{PASSWORD}@")), "{said}");
}

/// A file of the cache is a copy that was sealed here, or none.
pub fn cache_file(data: &[u8]) {
    cache::fuzz_file(&config(), data);
}

fn config() -> Box<Config> {
    let words = ["", "--addr", "unix:///s", "--stack", "s", "--environment", "e", "--", "true"].map(OsString::from);
    let Ok(Request::Start(config)) = Config::read(words.into_iter(), [].into_iter()) else {
        unreachable!("these words are fine")
    };
    config
}

/// Gives its answer in pieces, and takes every request.
struct Fake<'a> {
    answer: &'a [u8],
    piece: usize,
}

impl Read for Fake<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.piece.min(self.answer.len());
        let mut piece = &self.answer[..end];
        let count = piece.read(buffer)?;
        self.answer = &self.answer[count..];
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
