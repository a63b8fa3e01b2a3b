//! The log for operators: lines on stderr. What was asked and by whom is in the audit log, not here.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel};

/// Starts logging. A second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let layer = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only a test that starts two servers in one process comes here twice.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets(level))).try_init();
}

/// Where the SDK warns with what a program of the AWS profile's wrote to stderr, which may be anything. That there are no
/// credentials is said by the call that needs them.
const QUOTING: [&str; 2] = ["aws_config::meta::credentials", "aws_config::profile::credentials"];

/// What the libraries log below a warning may quote bytes from the wire, and those may be a token or a value.
fn targets(level: LogLevel) -> Targets {
    let level = filter(level);
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("chandlery", level);
    targets.with_targets(QUOTING.map(|target| (target, LevelFilter::OFF)))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn no_level_lets_a_library_speak_below_a_warning() {
        for level in [LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let targets = targets(level);
            for library in ["hyper::proto", "rustls::server", "tokio_postgres", "h2", "axum::rejection"] {
                assert!(!targets.would_enable(library, &Level::INFO), "{library}");
                assert!(targets.would_enable(library, &Level::WARN), "{library}");
            }
            assert!(targets.would_enable("chandlery_server::serve", &Level::INFO));
        }
        assert!(!targets(LogLevel::Trace).would_enable("aws_config::profile::credentials", &Level::ERROR));
        assert!(!targets(LogLevel::Off).would_enable("hyper", &Level::ERROR));
        assert!(!targets(LogLevel::Error).would_enable("chandlery_server", &Level::WARN));
    }
}
