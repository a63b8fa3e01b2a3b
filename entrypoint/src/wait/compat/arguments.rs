//! The command line under the name `wait`: dockerize's options, and a command. docker-compose-wait itself has none.

use std::ffi::OsString;

use crate::failure::{Exit, Failure};
use crate::wait::plan::HEADER;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Wait,
    Help,
    Version,
}

#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) wish: Wish,
    /// The variable an option stands for, and the option's value.
    pub(super) options: Vec<(&'static str, OsString)>,
    pub(super) format: Option<String>,
    pub(super) command: Vec<OsString>,
}

/// Options, with one dash or two, and what each stands for.
const OPTIONS: [(&str, &str); 5] = [
    ("wait", "WAIT_HOSTS"),
    ("timeout", "WAIT_TIMEOUT"),
    ("wait-timeout", "WAIT_TIMEOUT"),
    ("wait-retry-interval", "WAIT_SLEEP_INTERVAL"),
    ("wait-http-header", HEADER),
];

impl Arguments {
    /// Takes the arguments behind the name. The command begins after `--`, or at the first word that is not an option.
    pub(super) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parsed = Self { wish: Wish::Wait, options: Vec::new(), format: None, command: Vec::new() };
        while let Some(argument) = arguments.next() {
            let text = argument.to_str().unwrap_or_default();
            let Some(flag) = text.strip_prefix('-').filter(|_| text != "--") else {
                if text != "--" {
                    parsed.command.push(argument);
                }
                parsed.command.extend(arguments);
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (flag, inline) = flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)));
            match flag {
                "help" | "h" => parsed.wish = Wish::Help,
                "version" | "V" => parsed.wish = Wish::Version,
                _ => {
                    let known = OPTIONS.iter().find(|(name, _)| *name == flag);
                    let variable = known.map(|(_, variable)| *variable);
                    if variable.is_none() && flag != "format" {
                        let hint = "see wait --help; the options of a command come after it";
                        return Err(usage(format!("there is no option -{flag}"), hint));
                    }
                    let missing =
                        || usage(format!("-{flag} is the last word, and its value is missing"), "see wait --help");
                    let value = inline.map(OsString::from).or_else(|| arguments.next()).ok_or_else(missing)?;
                    match variable {
                        Some(variable) => parsed.options.push((variable, value)),
                        None => parsed.format = Some(value.to_string_lossy().into_owned()),
                    }
                }
            }
            if parsed.wish != Wish::Wait {
                break;
            }
        }
        Ok(parsed)
    }
}

fn usage(what: String, hint: &str) -> Failure {
    Failure::new(Exit::Usage, what, hint)
}

pub(super) const HELP: &str = "\
Waits until everything is ready that an app needs, and becomes the app if there is a command.

Usage: wait [options] [--] [command [arguments]]      also: chandlery-entrypoint wait …, and the name dockerize

  WAIT_HOSTS                 db:3306,http://web/healthz: hosts with ports, and URLs; --wait adds to it
  WAIT_PATHS                 paths that are to exist
  WAIT_TIMEOUT               for all of it [30s]; 0: one attempt; --timeout beats it
  WAIT_HOST_CONNECT_TIMEOUT  for one attempt to connect, and again to answer [5s]
  WAIT_SLEEP_INTERVAL        between attempts [10ms after a refusal]; --wait-retry-interval beats it
  WAIT_BEFORE, WAIT_AFTER    sleep this long first, and last [0]
  WAIT_COMMAND               the command, with quotes as in a shell; beats the arguments
  WAIT_CACERT                the CA of https, rediss and amqps: a path, or the PEM itself [the image's own CAs]
  WAIT_LOGGER_LEVEL          debug, info, warn, error, off [debug]

URLs: tcp, tcp4, tcp6, unix, file, http, https, postgres, mysql, redis, rediss, amqp, amqps, memcached
  http://web/healthz#status=2xx,401 is ready with these statuses [2xx]

Options, with one dash or two:
  --wait URL                 one more to wait for; may be repeated
  --timeout TIME             500ms, 5s, 2m; a number alone is seconds
  --wait-retry-interval TIME
  --wait-http-header HEADER  \"Name: value\", for every http and https URL
  --format json              lines of JSON (CHANDLERY_LOG_FORMAT=json)
  --help, --version

Exit codes: the command's own. Before that:
    0  everything is ready, and there is no command      126  the command cannot be executed
    1  the time was over                                 127  the command was not found
    2  an option or variable is wrong                    128+n  ended by signal n
";
