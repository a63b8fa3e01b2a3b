//! What to fetch, from where, and what to start: read once, from options and variables, and checked in full.

mod address;
mod arguments;
mod duration;
mod expand;
mod help;
mod lasting;
mod region;
mod settings;
mod token;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use chandlery_wire::{EnvironmentName, NameError, NodeName, RegionName, ServiceName, StackName, TokenText};

use crate::failure::{Exit, Failure};

pub(crate) use address::{Address, Endpoint};
pub(crate) use duration::{parse as parse_duration, parse_wait};
pub(crate) use expand::ExpandFiles;
pub(crate) use lasting::{Cache, OnChange, Watch};
pub(crate) use settings::PREFIX;

use arguments::{Arguments, Wish};
use settings::Settings;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// `--help` or `--version`: this text.
    Print(String),
    /// `--explain`: show the bundle, start nothing.
    Explain(Box<Config>),
    /// `env -- command`: run this beside the app, in its environment.
    Beside(Vec<OsString>),
    /// Everything else.
    Start(Box<Config>),
}

/// A start's configuration. Nothing in it is checked again later.
#[derive(Debug)]
pub(crate) struct Config {
    pub address: Address,
    pub trust: Trust,
    /// Absent only on the unix socket, where the server can tell the caller by its process.
    pub token: Option<TokenText>,
    /// Absent only where there is no token: then the server knows it.
    pub stack: Option<StackName>,
    /// As `stack`.
    pub environment: Option<EnvironmentName>,
    pub region: Option<RegionName>,
    /// The machine's file or its cloud, where the region is their word.
    pub region_source: Option<String>,
    /// The machine this runs on, for the server to tell the region by.
    pub node: Option<NodeName>,
    pub service: Option<ServiceName>,
    /// Absolute, without `..` and without a slash at its end.
    pub secrets_dir: PathBuf,
    /// For the whole fetch with all its tries.
    pub timeout: Duration,
    /// Place files on a file system that is not memory.
    pub allow_disk: bool,
    /// The user that the app is to run as, as it was written: a name or a number, and perhaps `:group`.
    pub user: Option<String>,
    /// Dangerous variables that the bundle may set all the same.
    pub allowed_names: Vec<String>,
    /// Variables whose inherited value beats the bundle's.
    pub preserved: Vec<String>,
    /// Inherit next to nothing.
    pub pristine: bool,
    /// Fill `X` from the file that an inherited `X_FILE` names.
    pub expand_files: ExpandFiles,
    pub cache: Option<Cache>,
    /// Absent where nothing is left of this program after the exec.
    pub watch: Option<Watch>,
    /// Options about waiting: the variable that each stands for, and its value.
    pub wait: Vec<(&'static str, OsString)>,
    pub verbose: bool,
    /// Progress as lines of JSON, for machines.
    pub json: bool,
    /// The command and its arguments; empty only with `--explain`.
    pub command: Vec<OsString>,
    /// The environment this process was started with.
    pub inherited: Vec<(OsString, OsString)>,
}

/// Which server to take for the right one.
#[derive(Debug)]
pub(crate) enum Trust {
    /// One whose certificate leads to a CA that the image trusts.
    System,
    /// One whose certificate leads to these CAs: PEM, and where it came from.
    Authority { pem: Vec<u8>, source: String },
    /// One that presents the certificate with this SHA-256.
    Fingerprint([u8; 32]),
}

impl Config {
    /// Reads options and variables; an option beats its variable.
    ///
    /// # Errors
    /// Names the option or variable that is missing or cannot be read.
    pub(crate) fn read(
        arguments: impl Iterator<Item = OsString>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Request, Failure> {
        let arguments: Vec<OsString> = arguments.skip(1).collect();
        // With nothing between the two, so that `docker run image env NAME=value command` stays what it was.
        if let [word, dashes, command @ ..] = arguments.as_slice()
            && (word == "env" && dashes == "--")
        {
            return beside(command);
        }
        let arguments = Arguments::parse(arguments.into_iter())?;
        match arguments.wish {
            Wish::Help => return Ok(Request::Print(help::text())),
            Wish::Version => return Ok(Request::Print(help::version())),
            Wish::Start | Wish::Explain => {}
        }
        let inherited: Vec<_> = variables.collect();
        let settings = Settings::new(&arguments, &inherited);
        settings.warn_of_typos();
        let address = settings.parse("CHANDLERY_ADDR", Address::parse)?;
        let token = address.as_ref().map(|address| token::find(&settings, address)).transpose()?.flatten();
        // Without a token the server knows by itself whose bundle it is.
        let by_process = token.is_none() && matches!(address, Some(Address::Unix(_)));
        if !by_process {
            settings.require(&["CHANDLERY_ADDR", "CHANDLERY_STACK", "CHANDLERY_ENVIRONMENT"])?;
        }
        let address = address.ok_or_else(settings::nothing_set)?;
        let (region, region_source) = region::find(&settings)?;
        let config = Box::new(Self {
            trust: trust(&settings)?,
            cache: lasting::cache(&settings, token.is_some())?,
            token,
            stack: name(&settings, "CHANDLERY_STACK", StackName::parse)?,
            environment: name(&settings, "CHANDLERY_ENVIRONMENT", EnvironmentName::parse)?,
            region,
            region_source,
            node: settings.parse("CHANDLERY_NODE", node)?,
            service: name(&settings, "CHANDLERY_SERVICE", ServiceName::parse)?,
            secrets_dir: settings
                .parse("CHANDLERY_SECRETS_DIR", secrets_directory)?
                .unwrap_or_else(|| chandlery_wire::DEFAULT_SECRETS_DIRECTORY.into()),
            timeout: settings.parse("CHANDLERY_TIMEOUT", timeout)?.unwrap_or(Duration::from_secs(30)),
            allow_disk: settings.switch("CHANDLERY_ALLOW_DISK")?,
            user: settings.text("CHANDLERY_USER")?.map(|(user, _)| user.to_owned()),
            allowed_names: settings.list("CHANDLERY_ALLOW_NAMES")?,
            preserved: preserved(&settings)?,
            pristine: settings.switch("CHANDLERY_PRISTINE")?,
            expand_files: settings.parse("CHANDLERY_EXPAND_FILES", expand::parse)?.unwrap_or(ExpandFiles::Nothing),
            watch: lasting::watch(&settings)?,
            wait: settings.waiting(),
            verbose: settings.switch("CHANDLERY_VERBOSE")?,
            json: settings.parse("CHANDLERY_LOG_FORMAT", is_json)?.unwrap_or(false),
            address,
            command: arguments.command,
            inherited,
        });
        match (arguments.wish, config.command.is_empty()) {
            (Wish::Explain, _) => Ok(Request::Explain(config)),
            (_, false) => Ok(Request::Start(config)),
            (_, true) => Err(usage(
                "there is no command to start: nothing follows the options",
                "give the image a CMD (an `entrypoint:` in the compose file drops the image's), or write \
                 chandlery-entrypoint -- command args",
            )),
        }
    }
}

impl Config {
    /// The value a variable had when this process started.
    pub(crate) fn inherited(&self, name: &str) -> Option<&OsStr> {
        let found = self.inherited.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str())
    }
}

fn beside(command: &[OsString]) -> Result<Request, Failure> {
    match command {
        [] => Err(usage("after `env --` comes no command", "write chandlery-entrypoint env -- command args")),
        command => Ok(Request::Beside(command.to_vec())),
    }
}

fn usage(what: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, what, hint)
}

fn name<T>(
    settings: &Settings<'_>,
    variable: &'static str,
    parse: impl Fn(String) -> Result<T, NameError>,
) -> Result<Option<T>, Failure> {
    settings.parse(variable, |text| parse(text.to_owned()).map_err(|error| no_name(&error)))
}

/// Apart from what calls it, which is compiled once for each kind of name.
#[inline(never)]
fn no_name(error: &NameError) -> Wrong {
    let hint = "names are taken exactly as they stand; `chandlery stacks` shows those there are";
    (error.to_string(), hint.to_owned())
}

/// A machine's name. Swarm fills in `{{.Node.Hostname}}`; whoever else reads it takes it for the name itself.
fn node(text: &str) -> Result<NodeName, Wrong> {
    if text.contains("{{") {
        return Err((
            "it was not filled in: only Swarm replaces what stands in {{…}}".to_owned(),
            "deploy with `docker stack deploy`, or name the machine or its region (CHANDLERY_REGION)".to_owned(),
        ));
    }
    let hint =
        "write the machine's host name as `chandlery node list` shows it, or CHANDLERY_NODE: \"{{.Node.Hostname}}\"";
    NodeName::parse(text).map_err(|error| (error.to_string(), hint.to_owned()))
}

/// Names of ours would never be kept, whoever asks for it.
fn preserved(settings: &Settings<'_>) -> Result<Vec<String>, Failure> {
    let names = settings.list("CHANDLERY_PRESERVE")?;
    match names.iter().find(|name| name.starts_with(PREFIX)) {
        None => Ok(names),
        Some(name) => Err(usage(
            format!("--preserve: no variable of this program's own reaches the app, and {name} is one"),
            "take it out of the list; what the app needs of it, set under another name",
        )),
    }
}

/// What is wrong with a text, and what to do about it; the setting's name goes before it.
type Wrong = (String, String);

fn timeout(text: &str) -> Result<Duration, Wrong> {
    match parse_duration(text)? {
        Duration::ZERO => Err((
            "it is zero, which leaves no time for even one try".to_owned(),
            "write a duration such as 30s".to_owned(),
        )),
        time => Ok(time),
    }
}

/// Whether progress is told as lines of JSON.
///
/// # Errors
/// It is neither of the two formats.
pub(crate) fn is_json(text: &str) -> Result<bool, Wrong> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(("it is neither text nor json".to_owned(), "write text or json".to_owned())),
    }
}

/// Directories that other programs use too: the directory for secrets gets mode 0700, which would lock them out.
const SHARED: [&str; 9] = ["/", "/dev", "/dev/shm", "/etc", "/run", "/tmp", "/usr", "/var/run", "/var/tmp"];

fn secrets_directory(text: &str) -> Result<PathBuf, Wrong> {
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err((
            "it is not an absolute path without `..`".to_owned(),
            "write a path such as /run/secrets".to_owned(),
        ));
    }
    // Put together again from its parts: with a slash at its end, a symlink in the last place would be followed.
    let path: PathBuf = path.components().collect();
    if SHARED.iter().any(|shared| path == Path::new(shared)) {
        return Err((
            "other programs use that directory too, and the one for secrets is closed to them".to_owned(),
            format!("choose a directory of its own, such as {}/secrets", text.trim_end_matches('/')),
        ));
    }
    Ok(path)
}

fn trust(settings: &Settings<'_>) -> Result<Trust, Failure> {
    let authority = settings.parse("CHANDLERY_CACERT", authority)?;
    let fingerprint = settings.parse("CHANDLERY_FINGERPRINT", fingerprint)?;
    match (authority, fingerprint) {
        (Some(_), Some(_)) => Err(usage(
            "CHANDLERY_CACERT and CHANDLERY_FINGERPRINT are both set",
            "keep one: the CA's certificate, or its fingerprint",
        )),
        (Some(trust), None) | (None, Some(trust)) => Ok(trust),
        (None, None) => Ok(Trust::System),
    }
}

fn authority(text: &str) -> Result<Trust, Wrong> {
    let (pem, source) = if text.trim_start().starts_with("-----BEGIN") {
        (text.as_bytes().to_vec(), "CHANDLERY_CACERT".to_owned())
    } else {
        let unreadable = |error| {
            let hint = "mount the CA's certificate at that path, or use CHANDLERY_FINGERPRINT, which needs no file";
            (format!("{text} cannot be read: {error}"), hint.to_owned())
        };
        (std::fs::read(text).map_err(unreadable)?, text.to_owned())
    };
    Ok(Trust::Authority { pem, source })
}

fn fingerprint(text: &str) -> Result<Trust, Wrong> {
    let parse = || {
        // Colons between the bytes, as openssl prints them, do no harm.
        let digits: Vec<u8> = text.strip_prefix("sha256:")?.bytes().filter(|c| *c != b':').collect();
        let mut pin = [0; 32];
        if digits.len() != 2 * pin.len() {
            return None;
        }
        for (byte, pair) in pin.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Some(Trust::Fingerprint(pin))
    };
    parse().ok_or_else(|| {
        (
            "it is not `sha256:` and 64 hexadecimal digits".to_owned(),
            "the server logs it when it starts; it is the SHA-256 of the CA's certificate (DER)".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests;
