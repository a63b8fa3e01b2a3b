//! `WAIT_HOSTS` and its companions, under the names that docker-compose-wait gave them.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::attempt::Means;
use super::probe::{Statuses, header};
use super::target::Target;
use super::{Pace, USUAL_PATIENCE};
use crate::config::{Trust, parse_wait};
use crate::failure::{Exit, Failure};
use crate::tls::{self, NoTrust};

/// `WAIT_TIMEOUT=0` means one attempt. It gets this long: who has not answered by then lost the first packet, and the
/// kernel is only now about to send it again.
const ONE_ATTEMPT: Duration = Duration::from_secs(1);
/// What `-wait-http-header` stands for. There is no such variable.
pub(crate) const HEADER: &str = "WAIT_HTTP_HEADER";

/// The names that variables had before docker-compose-wait 2.9.0.
const LEGACY: [(&str, &str); 3] =
    [("WAIT_TIMEOUT", "WAIT_HOSTS_TIMEOUT"), ("WAIT_BEFORE", "WAIT_BEFORE_HOSTS"), ("WAIT_AFTER", "WAIT_AFTER_HOSTS")];

/// What to wait for, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) items: Vec<Item>,
    pub(super) timeout: Duration,
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) pace: Pace,
    /// Legacy variables that are set, each with the one to use instead.
    pub(super) legacy: Vec<(&'static str, &'static str)>,
    authority: Option<String>,
    headers: Vec<String>,
}

/// One thing to wait for.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) target: Target,
    /// As it was written, white space and all, where there can be no password in it.
    pub(super) written: String,
    /// From `WAIT_PATHS`.
    pub(super) is_path: bool,
}

/// Where variables are looked up.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<&'a OsStr> + 'a;

/// A variable's value, and what to call it in an error: an option beats its variable.
struct Source<'a> {
    variable: &'a Lookup<'a>,
    options: &'a [(&'static str, OsString)],
}

impl Plan {
    /// Reads the plan from options and variables. Without hosts and paths there is nothing to wait for.
    ///
    /// # Errors
    /// Names the variable that cannot be read; nothing is waited for until all of them can.
    pub(crate) fn read<'a>(variable: &'a Lookup<'a>, options: &'a [(&'static str, OsString)]) -> Result<Self, Failure> {
        let source = Source { variable, options };
        let mut items = Vec::new();
        for (text, name) in source.all("WAIT_HOSTS")? {
            if name != "WAIT_HOSTS" && text.trim().is_empty() {
                return Err(wrong(name, "is empty", "give it a host with its port, or a URL"));
            }
            let pieces = if text.trim().is_empty() { Vec::new() } else { split(text.trim()) };
            for (number, piece) in pieces.iter().enumerate() {
                let target = Target::parse(piece.trim()).map_err(|what| {
                    let hint = "write host:port or a URL, with commas in between: db:3306,http://web/healthz";
                    wrong(name, &format!("item {} {what}", number + 1), hint)
                })?;
                let written = if piece.contains("://") { target.to_string() } else { (*piece).to_owned() };
                items.push(Item { target, written, is_path: false });
            }
        }
        let paths = source.text("WAIT_PATHS")?.map_or("", |(text, _)| text.trim());
        for (number, piece) in paths.split(',').enumerate().filter(|_| !paths.is_empty()) {
            if piece.trim().is_empty() {
                let what = format!("item {} is empty: there is a comma too many", number + 1);
                return Err(wrong("WAIT_PATHS", &what, "write paths with commas in between"));
            }
            items.push(Item { target: Target::path(piece.trim()), written: piece.to_owned(), is_path: true });
        }
        let patience = source.duration("WAIT_HOST_CONNECT_TIMEOUT")?.unwrap_or(USUAL_PATIENCE);
        if patience.is_zero() {
            let hint = "write a duration such as 5s";
            return Err(wrong("WAIT_HOST_CONNECT_TIMEOUT", "is zero, and no attempt could succeed", hint));
        }
        let mut headers = Vec::new();
        for (text, _) in source.all(HEADER)? {
            let hint = "write it as \"Name: value\"; Host and what frames the request are not yours to set";
            headers.push(header(text).ok_or_else(|| wrong("-wait-http-header", "is not one header", hint))?);
        }
        let timeout = source.duration("WAIT_TIMEOUT")?.unwrap_or(Duration::from_secs(30));
        let interval = source.duration("WAIT_SLEEP_INTERVAL")?;
        Ok(Self {
            items,
            timeout,
            before: source.duration("WAIT_BEFORE")?.unwrap_or_default(),
            after: source.duration("WAIT_AFTER")?.unwrap_or_default(),
            pace: Pace { patience, interval, once: timeout.is_zero(), most_open: 1 },
            legacy: LEGACY.into_iter().filter(|(_, legacy)| variable(legacy).is_some()).collect(),
            authority: source.text("WAIT_CACERT")?.map(|(text, _)| text.to_owned()),
            headers,
        })
    }

    /// The same thing twice is waited for once.
    #[must_use]
    pub(crate) fn without_repetition(mut self) -> Self {
        let mut items: Vec<Item> = Vec::with_capacity(self.items.len());
        for item in self.items {
            if !items.iter().any(|known| known.target == item.target) {
                items.push(item);
            }
        }
        self.items = items;
        self
    }

    /// Everything that is ever shown of it.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz_shown(&self) -> String {
        self.items.iter().map(|item| item.target.to_string() + &item.written).collect()
    }

    /// How long to wait at most.
    pub(super) fn time(&self) -> Duration {
        if self.pace.once { ONE_ATTEMPT.min(self.pace.patience) } else { self.timeout }
    }

    /// What the probes need. Certificates are read only now: they may be a file that was just placed.
    pub(super) fn means(&self) -> Result<Means, Failure> {
        let any = self.items.iter().any(|item| item.target.tls.is_some());
        let means = means(any, self.authority.as_deref(), self.headers.clone());
        means.map_err(|(what, hint)| wrong("WAIT_CACERT", &what, hint))
    }
}

/// # Errors
/// What is wrong with `WAIT_CACERT`, and what to do about it.
pub(super) fn means(tls: bool, authority: Option<&str>, headers: Vec<String>) -> Result<Means, (String, &'static str)> {
    if !tls {
        return Ok(Means { tls: None, headers });
    }
    let trust = match authority {
        None => Trust::System,
        Some(text) if text.trim_start().starts_with("-----BEGIN") => {
            Trust::Authority { pem: text.as_bytes().to_vec(), source: String::new() }
        }
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| {
                (format!("{path} cannot be read: {error}"), "mount the CA's certificate there, or give the PEM itself")
            })?;
            Trust::Authority { pem, source: String::new() }
        }
    };
    let client = tls::client(&trust).map_err(|why| match why {
        NoTrust::NoCertificate => ("holds no CA's certificate in PEM".to_owned(), "give the CA of what is waited for"),
        NoTrust::NoSystemRoots => (
            "is not set, and this image has no CA certificates of its own".to_owned(),
            "set it to the CA of what is waited for: a path, or the PEM itself",
        ),
        NoTrust::Defect => ("cannot be used: TLS cannot be set up".to_owned(), "please report this"),
    })?;
    Ok(Means { tls: Some(client), headers })
}

impl<'a> Source<'a> {
    fn of_variable(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        match (self.variable)(name).map(OsStr::to_str) {
            Some(None) => Err(not_utf8(name)),
            Some(text) => Ok(text),
            None => Ok(None),
        }
    }

    /// The option's value, the variable's, or that of the variable's legacy name; and the name of where it is from.
    fn text(&self, name: &'static str) -> Result<Option<(&'a str, &'static str)>, Failure> {
        if let Some((_, value)) = self.options.iter().find(|(variable, _)| *variable == name) {
            let text = value.to_str().ok_or_else(|| not_utf8(name))?;
            return Ok(Some((text, name)));
        }
        let legacy = LEGACY.iter().find(|(new, _)| *new == name);
        match (self.of_variable(name)?, legacy) {
            (None, Some((_, legacy))) => Ok(self.of_variable(legacy)?.map(|text| (text, *legacy))),
            (text, _) => Ok(text.map(|text| (text, name))),
        }
    }

    /// The variable's value and those of all options of that name, each with what to call it.
    fn all(&self, name: &'static str) -> Result<Vec<(&'a str, &'static str)>, Failure> {
        let mut all: Vec<_> = self.of_variable(name)?.map(|text| (text, name)).into_iter().collect();
        for (_, value) in self.options.iter().filter(|(variable, _)| *variable == name) {
            let text = value.to_str().ok_or_else(|| not_utf8(name))?;
            all.push((text, if name == HEADER { "-wait-http-header" } else { "--wait" }));
        }
        Ok(all)
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, Failure> {
        let Some((text, name)) = self.text(name)? else {
            return Ok(None);
        };
        // docker-compose-wait takes a plus sign before the number.
        let digits = text.strip_prefix('+').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        parse_wait(digits.unwrap_or(text)).map(Some).map_err(|(what, hint)| wrong(name, &what, &hint))
    }
}

/// The items between commas. The comma in `#status=2xx,401` is not between items.
fn split(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut begin = 0;
    let mut end = text.find(',').unwrap_or(text.len());
    loop {
        let rest = text.get(end + 1..);
        let next = rest.map(|rest| end + 1 + rest.find(',').unwrap_or(rest.len()));
        let item = &text[begin..end];
        match next {
            Some(next) if item.contains("#status=") && Statuses::parse(text[end + 1..next].trim()).is_some() => {}
            _ => {
                items.push(item);
                begin = end + 1;
            }
        }
        match next {
            Some(next) => end = next,
            None => return items,
        }
    }
}

fn not_utf8(name: &str) -> Failure {
    wrong(name, "is not UTF-8", "write it again, in UTF-8")
}

fn wrong(name: &str, what: &str, hint: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{name}: {what}"), hint)
}

#[cfg(test)]
mod tests;
