//! `WAIT_HOSTS` and its companions, under the names that docker-compose-wait gave them.

use std::ffi::OsStr;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Pace, Target};
use crate::config::parse_duration;
use crate::failure::{Exit, Failure};

/// Below this a deadline would pass before the first attempt ends. `WAIT_TIMEOUT=0` means one attempt.
const SHORTEST: Duration = Duration::from_millis(50);

/// What to wait for, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) timeout: Duration,
    pub(super) pace: Pace,
}

impl Plan {
    /// Reads the plan from variables. Without `WAIT_HOSTS`, or with a blank one, there is nothing to wait for.
    ///
    /// # Errors
    /// Names the variable that cannot be read; nothing is waited for until all of them can.
    pub(crate) fn read<'a>(variable: impl Fn(&str) -> Option<&'a OsStr>) -> Result<Self, Failure> {
        let text = |name: &str| match variable(name).map(OsStr::to_str) {
            Some(None) => Err(wrong(name, "is not UTF-8", "write it again, in UTF-8")),
            Some(Some(text)) => Ok(Some(text)),
            None => Ok(None),
        };
        let duration = |name: &str| {
            let parsed = text(name)?.map(|text| parse_duration(text).map_err(|(what, hint)| wrong(name, &what, &hint)));
            parsed.transpose()
        };
        let mut targets = Vec::new();
        let hosts = text("WAIT_HOSTS")?.unwrap_or_default().trim();
        if !hosts.is_empty() {
            for (number, item) in hosts.split(',').enumerate() {
                let target = target(item.trim(), number + 1).map_err(|what| {
                    wrong("WAIT_HOSTS", &what, "write host:port, with commas in between: db:3306,cache:6379")
                })?;
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        let patience = duration("WAIT_HOST_CONNECT_TIMEOUT")?.unwrap_or(Duration::from_secs(5));
        if patience.is_zero() {
            let hint = "write a duration such as 5s";
            return Err(wrong("WAIT_HOST_CONNECT_TIMEOUT", "is zero, and no attempt could succeed", hint));
        }
        let timeout = duration("WAIT_TIMEOUT")?.unwrap_or(Duration::from_secs(30)).max(SHORTEST);
        let interval = duration("WAIT_SLEEP_INTERVAL")?;
        Ok(Self { targets, timeout, pace: Pace { patience, interval } })
    }
}

fn wrong(name: &str, what: &str, hint: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{name}: {what}"), hint)
}

/// `db:3306`, `127.0.0.1:80`, `[::1]:80`, or `::1:80` as docker-compose-wait takes it.
///
/// An error quotes the item only where it looks like a host: a URL may have a password in it.
fn target(item: &str, number: usize) -> Result<Target, String> {
    if item.is_empty() {
        return Err(format!("item {number} is empty: there is a comma too many"));
    }
    if item.contains('/') {
        return Err(format!("item {number} is a URL, and only a port can be waited for"));
    }
    if item.contains(|c: char| c == ';' || c.is_whitespace()) {
        return Err(format!("item {number} is not one host: hosts are separated by commas"));
    }
    if !item.chars().all(|c| c.is_ascii_alphanumeric() || "._-:[]%".contains(c)) {
        return Err(format!("item {number} has a character that no host has"));
    }
    let (host, port) = item.rsplit_once(':').ok_or_else(|| format!("{item:?} has no port"))?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || (bare.contains(':') || bare != host) && bare.parse::<Ipv6Addr>().is_err() {
        return Err(format!("{item:?} has no host that can be one"));
    }
    let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0);
    Ok(Target {
        host: bare.into(),
        port: port.ok_or_else(|| format!("{item:?} has a port that is not a number from 1 to 65535"))?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn read(variables: &[(&str, &'static str)]) -> Result<Plan, Failure> {
        Plan::read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsStr::from_bytes(value.as_bytes()))
        })
    }

    #[test]
    fn hosts_are_separated_by_commas() {
        let plan = read(&[("WAIT_HOSTS", " db:3306,\n  [::1]:80 ,::1:81,127.1:80,db:3306 ")]).unwrap();
        let shown: Vec<String> = plan.targets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["db:3306", "[::1]:80", "[::1]:81", "127.1:80"]);
        assert_eq!(plan.timeout, Duration::from_secs(30));
        assert_eq!(plan.pace.patience, Duration::from_secs(5));
        assert_eq!(plan.pace.interval, None);
        assert!(read(&[]).unwrap().targets.is_empty() && read(&[("WAIT_HOSTS", "  ")]).unwrap().targets.is_empty());
    }

    #[test]
    fn durations_have_units_and_zero_is_one_attempt() {
        let plan = read(&[("WAIT_TIMEOUT", "0"), ("WAIT_SLEEP_INTERVAL", "500ms"), ("WAIT_HOST_CONNECT_TIMEOUT", "2")]);
        let plan = plan.unwrap();
        assert_eq!(plan.timeout, SHORTEST);
        assert_eq!(plan.pace.interval, Some(Duration::from_millis(500)));
        assert_eq!(plan.pace.patience, Duration::from_secs(2));
    }

    #[test]
    fn a_typo_is_an_error_before_any_waiting() {
        for hosts in [
            "db",
            "db:",
            "db:http",
            "db:0",
            "db:99999",
            "db:+80",
            ":80",
            "db:80,",
            ",",
            "db:80,,c:1",
            "a:1;b:2",
            "a:1 b:2",
            "http://db:80",
            "mysql://root:hunter2@db:3306",
            "root:hunter2@db:3306",
            "a:1;hunter2",
            "tcp://db:80",
            "db:80/x",
            "[::1:80",
            "[db]:80",
            "a:b:80",
            "[]:80",
        ] {
            let failure = read(&[("WAIT_HOSTS", hosts)]).expect_err(hosts);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text().contains("WAIT_HOSTS"));
            assert!(!failure.text().contains("hunter2"), "{}", failure.text());
        }
        for name in ["WAIT_TIMEOUT", "WAIT_HOST_CONNECT_TIMEOUT", "WAIT_SLEEP_INTERVAL"] {
            for value in ["", "abc", "0.5", "-1", " 7", "10o"] {
                assert!(read(&[(name, value)]).expect_err(value).text().contains(name));
            }
        }
        let latin = OsStr::from_bytes(b"db:80\xff");
        assert!(Plan::read(|name| (name == "WAIT_HOSTS").then_some(latin)).is_err());
        assert!(read(&[("WAIT_HOST_CONNECT_TIMEOUT", "0")]).is_err());
    }
}
