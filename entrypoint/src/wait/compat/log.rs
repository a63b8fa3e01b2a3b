//! Lines as the original's logger (env_logger) prints and filters them.

use crate::failure::{printable, write_stderr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What the original calls itself in its logger.
const TARGET: &str = "wait";

/// `WAIT_LOGGER_LEVEL`, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Log {
    most: Level,
    /// Only lines with this in them.
    with: Option<String>,
}

impl Log {
    /// Reads a filter directive: levels and `target=level`, separated by commas; the longest target that fits counts.
    /// After a slash comes a text that lines must have. What is no level is a target: `bogus` shuts everything off.
    pub(super) fn parse(text: &str) -> Self {
        let (text, with) = text.split_once('/').map_or((text, None), |(text, with)| (text, Some(with.to_owned())));
        let mut best: Option<(usize, Level)> = None;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                None => match level(part) {
                    Some(level) => ("", level),
                    None => (part, Level::Trace),
                },
                Some((target, "")) => (target, Level::Trace),
                // What is no level here is ignored, the whole of it.
                Some((target, text)) => match level(text) {
                    Some(level) => (target, level),
                    None => continue,
                },
            };
            if TARGET.starts_with(target) && best.is_none_or(|(length, _)| target.len() >= length) {
                best = Some((target.len(), level));
            }
        }
        Self { most: best.map_or(Level::Off, |(_, level)| level), with }
    }

    pub(super) fn say(&self, level: Level, line: &str) {
        if level <= self.most && self.with.as_ref().is_none_or(|with| line.contains(&**with)) {
            let name = match level {
                Level::Off | Level::Error => "ERROR",
                Level::Warn => "WARN ",
                Level::Info => "INFO ",
                Level::Debug => "DEBUG",
                Level::Trace => "TRACE",
            };
            // A folded YAML text has line ends in it, which the original prints as they are; a terminal obeys the rest.
            let line: Vec<String> = line.split('\n').map(printable).collect();
            write_stderr(&format!("[{name} {TARGET}] {}\n", line.join("\n")));
        }
    }
}

fn level(text: &str) -> Option<Level> {
    const NAMES: [(&str, Level); 6] = [
        ("off", Level::Off),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_directive() {
        let most = |text| Log::parse(text).most;
        assert_eq!(
            ["debug", "INFO", "Warn", "error", "off", "trace"].map(most),
            [Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Off, Level::Trace]
        );
        assert_eq!(
            ["wait=info", "w=info,wait=warn", "other=trace,error", "wait="].map(most),
            [Level::Info, Level::Warn, Level::Error, Level::Trace]
        );
        assert_eq!(["", "bogus", "false", "other=debug", "wait=bogus", "waits=info"].map(most), [Level::Off; 6]);
        assert_eq!(Log::parse("info/Host"), Log { most: Level::Info, with: Some("Host".to_owned()) });
    }
}
