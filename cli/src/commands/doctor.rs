//! `chandlery doctor`: everything that is needed to work, and where it came from.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

use chandlery_wire::api::{Health, Ready, Stack, TokenInfo};
use chandlery_wire::{TokenText, Verb};
use jiff::Timestamp;
use serde::Serialize;

use super::token;
use crate::client::{Client, Path};
use crate::context::{Connection, Context, Flags, Item, Surroundings};
use crate::failure::{Exit, Failure};
use crate::output::FormatArg;

/// More than this, and expiry dates and audit times begin to be wrong.
const WARN_SKEW: i64 = 5;
const FAIL_SKEW: i64 = 300;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    verdict: Verdict,
    subject: &'static str,
    finding: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    checks: Vec<Check>,
}

pub(crate) fn run(args: &Args, flags: Flags) -> Result<(), Failure> {
    let mut report = Report::default();
    match Context::gather(flags, Surroundings::of_process()) {
        Ok(mut context) => {
            if let Err(failure) = context.place_by_machine() {
                report.fail("region of the machine", failure);
            }
            report.all(&context);
        }
        Err(failure) => report.fail("context", failure),
    }
    args.format.print(&report, Report::text)?;
    let failed = report.checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::failed(
        format!("{failed} of {} checks failed", report.checks.len()),
        "each says what to do; start with the first",
    ))
}

impl Report {
    fn add(&mut self, verdict: Verdict, subject: &'static str, finding: impl Into<String>, hint: impl Into<String>) {
        self.checks.push(Check { verdict, subject, finding: finding.into(), hint: hint.into() });
    }

    fn ok(&mut self, subject: &'static str, finding: impl Into<String>) {
        self.add(Verdict::Ok, subject, finding, "");
    }

    fn fail(&mut self, subject: &'static str, failure: Failure) {
        self.add(Verdict::Fail, subject, failure.what, failure.hint);
    }

    fn all(&mut self, context: &Context) {
        self.sources(context);
        self.files(context);
        let connection = match context.connection() {
            Ok(connection) => connection,
            Err(failure) => return self.fail("server", failure),
        };
        self.ok("address", said(&connection.address));
        match &connection.trust_source {
            Some(source) => self.ok("CA", format!("from {source}")),
            None => self.ok("CA", "those of the system"),
        }
        let token = context.token(&connection.address.value);
        match &token {
            Ok(Some(item)) => self.ok("token", format!("from {}", item.source)),
            Ok(None) => self.add(
                Verdict::Fail,
                "token",
                "there is none for this server",
                "`chandlery login`, or CHANDLERY_TOKEN_FILE",
            ),
            Err(failure) => self.fail("token", failure.clone()),
        }
        self.server(context, connection, token.ok().flatten());
    }

    /// What was said about stack, environment, region and service, and where.
    fn sources(&mut self, context: &Context) {
        self.name("stack", &context.stack, "--stack, CHANDLERY_STACK or `chandlery init`");
        self.name("environment", &context.environment, "--environment, CHANDLERY_ENVIRONMENT or `chandlery init`");
        match &context.layer {
            Some(item) => self.ok("region", said(item)),
            None => self.ok("region", "none is said: the base"),
        }
        match &context.service {
            Some(item) => self.ok("service", said(item)),
            None => self.ok("service", "none is said: what all services get"),
        }
    }

    fn name<T: fmt::Display>(&mut self, subject: &'static str, item: &Option<Item<T>>, how: &str) {
        match item {
            Some(item) => self.ok(subject, said(item)),
            None => self.add(Verdict::Warn, subject, "none is said", format!("say it with {how}")),
        }
    }

    /// The files that were read; that a credential is open to others has already been refused by whoever read it.
    fn files(&mut self, context: &Context) {
        if let Some(project) = &context.project {
            self.ok("project", project.path.display().to_string());
        }
        let folder = context.credentials.path.parent().filter(|folder| folder.exists());
        if let Some((folder, mode)) =
            folder.and_then(|folder| Some((folder, fs::metadata(folder).ok()?.mode() & 0o7777)))
        {
            let shown = format!("{} has mode {mode:04o}", folder.display());
            match mode & 0o077 {
                0 => self.ok("login folder", shown),
                _ => self.add(Verdict::Warn, "login folder", shown, format!("chmod 700 {}", folder.display())),
            }
        }
        if let Some(local) = &context.local {
            self.ok("local server", local.path.display().to_string());
        }
    }

    fn server(&mut self, context: &Context, connection: Connection, token: Option<Item<TokenText>>) {
        let client =
            Client::new(connection.address.value, &connection.trust, token.as_ref().map(|item| item.value.clone()));
        let client = match client {
            Ok(client) => client,
            Err(failure) => return self.fail("TLS", failure),
        };
        match client.get::<Health>(&Path::new(&["health"])) {
            Ok(health) => self.ok("server", format!("it lives, is trusted, and is version {}", health.version)),
            Err(failure) => return self.fail("server", failure),
        }
        self.clock(&client);
        match client.get::<Ready>(&Path::new(&["ready"])) {
            Ok(_) => self.ok("ready", "it serves"),
            Err(failure) => self.fail("ready", failure),
        }
        if token.is_none() {
            return;
        }
        match client.get::<TokenInfo>(&Path::new(&["tokens", "self"])) {
            Ok(info) => {
                self.ok("token valid", token::describe(&info).trim_end().replace("\n  ", "; "));
                self.declared(context, &client, &info);
            }
            Err(failure) => self.fail("token valid", failure),
        }
    }

    fn clock(&mut self, client: &Client) {
        let date = client.server_date().ok().flatten();
        let Some(server) = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok()) else {
            return self.add(Verdict::Warn, "clock", "the server does not say what time it is", "");
        };
        let skew = Timestamp::now().duration_since(server.timestamp()).as_secs();
        let hint = "set the clocks of both machines by NTP: expiry and audit depend on them";
        let (verdict, hint) = match skew.abs() {
            skew if skew > FAIL_SKEW => (Verdict::Fail, hint),
            skew if skew > WARN_SKEW => (Verdict::Warn, hint),
            _ => (Verdict::Ok, ""),
        };
        self.add(verdict, "clock", format!("{} s from the server's", skew.abs()), hint);
    }

    fn declared(&mut self, context: &Context, client: &Client, info: &TokenInfo) {
        let Some(stack) = &context.stack else { return };
        let may = |verb: &Verb| matches!(verb, Verb::ReadEntry | Verb::Administer);
        if !info.verbs.iter().any(may) {
            return self.ok("declared", "not checked: the token may not look");
        }
        let declared = match client.get::<Stack>(&Path::new(&["stacks", stack.value.as_str()])) {
            Ok(declared) => declared,
            Err(failure) if failure.exit == Exit::NotFound => {
                return self.add(
                    Verdict::Fail,
                    "declared",
                    format!("the server knows no stack {}", stack.value),
                    "`chandlery init`",
                );
            }
            Err(failure) => return self.fail("declared", failure),
        };
        let Some(wanted) = &context.environment else { return self.ok("declared", format!("stack {}", stack.value)) };
        let Some(environment) = declared.environments.iter().find(|known| known.name == wanted.value) else {
            let what = format!("the stack has no environment {}", wanted.value);
            return self.add(Verdict::Fail, "declared", what, "`chandlery init` declares it");
        };
        if let Some(region) = context.region().filter(|region| !environment.regions.contains(region)) {
            let known: Vec<&str> = environment.regions.iter().map(AsRef::as_ref).collect();
            let what = format!("{region} is no region of {}; declared are {}", wanted.value, known.join(", "));
            return self.add(
                Verdict::Fail,
                "declared",
                what,
                format!("`chandlery region add {region}`, if it is a new one"),
            );
        }
        if let Some(service) = context.service().filter(|service| !declared.services.contains(service)) {
            let what = format!("{service} is no service of the stack");
            return self.add(
                Verdict::Fail,
                "declared",
                what,
                format!("`chandlery service add {service}`, if it is a new one"),
            );
        }
        self.ok("declared", "the server knows stack, environment, region and service as far as they are said");
    }

    fn text(&self) -> String {
        let widest = self.checks.iter().map(|check| check.subject.len()).max().unwrap_or(0);
        let line = |check: &Check| {
            let Check { verdict, subject, finding, hint } = check;
            let hint = if hint.is_empty() { String::new() } else { format!("      hint: {hint}\n") };
            format!("{verdict:4}  {subject:widest$}  {}\n{hint}", crate::output::printable(finding))
        };
        self.checks.iter().map(line).collect()
    }
}

fn said<T: fmt::Display>(item: &Item<T>) -> String {
    format!("{}, from {}", item.value, item.source)
}
