//! `chandlery stack import`

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};

use chandlery_wire::api::{
    DeclareEnvironment, DeclareStack, EntryInfo, EntryList, NamedEntry, Stack, WriteEntries, Written,
};
use chandlery_wire::{Delivery, EntryName, Grant, Layer, RegionName, ServiceName, StackName};
use serde::Serialize;

use super::compare::{Base, Outcome, Question, Step, Stored};
use super::files::{FileArgs, stack};
use crate::client::{Client, Path};
use crate::compose::{Plan, Wanted, Wishes};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::Table;
use crate::output::{self, Format, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Variables of `environment` and `env_file` become entries, plain unless they look like secrets; what a service asks for under
`secrets` becomes a secret file for that service, and its configs plain files. The compose file itself is not changed.
Examples:
  chandlery stack import -f docker-compose.yml --environment production --dry-run
  chandlery stack import -f docker-compose.yml -f docker-compose.prod.yml --secret SENTRY_DSN --yes")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    /// Leave these services out.
    #[arg(long, value_name = "SERVICE,…", value_delimiter = ',')]
    except: Vec<String>,
    /// These are secrets, whatever they look like.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    secret: Vec<EntryName>,
    /// These are no secrets, whatever they look like.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    plain: Vec<EntryName>,
    /// Write over values that the store has and the files have otherwise.
    #[arg(long)]
    overwrite: bool,
    /// Keep the newline at the end of a secret's file of one line.
    #[arg(long)]
    no_trim: bool,
    /// Show the plan, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// Where it goes.
struct Target<'a> {
    client: Client,
    stack: &'a StackName,
    context: &'a Context,
    region: Option<RegionName>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let loaded = args.files.load(context, false)?;
    let names = |names: &[EntryName]| names.iter().map(ToString::to_string).collect();
    loaded.check_names(&args.except)?;
    let except = args.except.iter().cloned().collect();
    let wishes = Wishes { secret: names(&args.secret), plain: names(&args.plain), except, no_trim: args.no_trim };
    let plan = Plan::of(&loaded.project, &loaded.world(), &wishes);
    if !plan.faults.is_empty() {
        let hint = "nothing was written; correct the files, and import them again";
        return Err(Failure::new(Exit::Invalid, "the files cannot be imported", hint).with_faults(plan.faults));
    }
    context.environment()?;
    let stack = stack(context, &loaded.project)?;
    let target = Target { client: context.client()?, stack: &stack, context, region: context.region().cloned() };
    let declared = target.declared()?;
    let entries = target.entries(declared.as_ref())?;
    let stored = Stored::of(&entries, &Layer::from(target.region.clone()));
    let same = target.compare(target.region.as_ref(), &stored, &plan.wanted)?;
    let base = match &target.region {
        None => None,
        Some(_) => {
            let stored = Stored::of(&entries, &Layer::Base);
            let same = target.compare(None, &stored, &plan.wanted)?;
            Some(Base { stored, same })
        }
    };
    let steps = stored.steps(&plan.wanted, &same, base.as_ref());
    let report = Report::new(&target, &plan, &steps, &stored, args.overwrite)?;
    args.format.print(&report, Report::table)?;
    if args.format.format == Format::Table {
        report.tell(&plan);
    }
    let writes = writes(&steps, &stored, &plan.wanted, args.overwrite);
    let undeclared = target.undeclared(declared.as_ref(), &plan.services)?;
    let shared: Vec<String> = steps.iter().filter_map(|step| shared(step, &plan.wanted)).collect();
    if args.overwrite && !shared.is_empty() {
        let hint = "delete these with `chandlery rm NAME --for …`, then import again; nothing was written";
        let what = "some values are set for several services together, and differ now";
        return Err(Failure::new(Exit::Conflict, what, hint).with_faults(shared));
    }
    if args.dry_run {
        undeclared.iter().for_each(|undeclared| output::note(&undeclared.in_words(&stack)));
        output::note(&format!("would write {} {}; nothing was written", writes.len(), context.layer_in_words()));
        return Ok(());
    }
    if writes.is_empty() && undeclared.is_none() {
        output::note("nothing to write: the store has it all");
        return Ok(());
    }
    confirm(args.yes, writes.len(), context)?;
    target.declare(undeclared)?;
    target.write(writes)
}

fn writes(steps: &[Step], stored: &Stored<'_>, wanted: &[Wanted], overwrite: bool) -> Vec<NamedEntry> {
    let written = |step: &&Step| match step.outcome {
        Outcome::New | Outcome::Told => true,
        Outcome::Differs => overwrite,
        Outcome::Unchanged | Outcome::InBase | Outcome::Shared(_) => false,
    };
    let mut entries: Vec<NamedEntry> =
        steps.iter().filter(written).map(|step| stored.write(step, &wanted[step.wanted])).collect();
    let names: Vec<EntryName> = entries.iter().map(|entry| entry.name.clone()).collect();
    for entry in &mut entries {
        // Nobody else's value is written over, not even one that was set while the plan was read.
        let alone = names.iter().filter(|name| **name == entry.name).count() == 1;
        if alone && !stored.has(&entry.name) {
            entry.entry.expect_version = Some(0);
        }
    }
    entries
}

fn shared(step: &Step, wanted: &[Wanted]) -> Option<String> {
    let Outcome::Shared(grant) = &step.outcome else { return None };
    let name = &wanted[step.wanted].name;
    Some(format!("{name} is set for {grant} together; the files have another value for {}", list(&step.services)))
}

fn confirm(yes: bool, count: usize, context: &Context) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let hint = "look at the plan with --dry-run, then say --yes; nothing was written";
        return Err(Failure::usage("there is no terminal to ask whether the plan is right", hint));
    }
    output::note(&format!("Write {count} {}? [y/N]", context.layer_in_words()));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::failed("nothing was written, as you wish", "")),
    }
}

/// What the server has yet to be told before it takes the entries.
struct Undeclared {
    services: Option<Vec<ServiceName>>,
    environment: bool,
}

impl Undeclared {
    fn in_words(&self, stack: &StackName) -> String {
        let services = self.services.iter().flatten().map(ServiceName::as_str).collect::<Vec<_>>().join(",");
        let environment = if self.environment { " with the environment" } else { "" };
        format!("would declare {stack}{environment}, services: {services}").trim_end_matches(", services: ").to_owned()
    }
}

impl Target<'_> {
    fn path(&self, kind: &str) -> Result<Path, Failure> {
        Ok(Path::new(&[kind, self.stack.as_str(), self.context.environment()?.as_str()]))
    }

    fn declared(&self) -> Result<Option<Stack>, Failure> {
        match self.client.get(&Path::new(&["stacks", self.stack.as_str()])) {
            Ok(stack) => Ok(Some(stack)),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn has_environment(&self, declared: Option<&Stack>) -> Result<bool, Failure> {
        let environment = self.context.environment()?;
        let known = declared.and_then(|stack| stack.environments.iter().find(|known| known.name == *environment));
        if let Some(region) = &self.region
            && !known.is_some_and(|known| known.regions.contains(region))
        {
            let hint = format!("declare it: chandlery region add {region}");
            let what = format!("{}/{environment} has no region {region}", self.stack);
            return Err(Failure::new(Exit::NotFound, what, hint));
        }
        Ok(known.is_some())
    }

    fn entries(&self, declared: Option<&Stack>) -> Result<Vec<EntryInfo>, Failure> {
        if !self.has_environment(declared)? {
            return Ok(Vec::new());
        }
        let list: EntryList = self.client.get(&self.path("entries")?.query("region", self.region.as_ref()))?;
        Ok(list.entries)
    }

    fn undeclared(&self, declared: Option<&Stack>, services: &[ServiceName]) -> Result<Option<Undeclared>, Failure> {
        let known = declared.map(|stack| stack.services.as_slice());
        let missing = services.iter().filter(|service| !known.unwrap_or_default().contains(service));
        let missing: Vec<ServiceName> = missing.cloned().collect();
        let services = (known.is_none() || !missing.is_empty()).then_some(missing);
        let environment = !self.has_environment(declared)?;
        Ok((services.is_some() || environment).then_some(Undeclared { services, environment }))
    }

    /// Has the store compare: it says what a write would change, writes nothing, and sends no value back.
    fn compare(
        &self,
        region: Option<&RegionName>,
        stored: &Stored<'_>,
        wanted: &[Wanted],
    ) -> Result<BTreeSet<Question>, Failure> {
        let mut open = stored.questions(wanted);
        let mut same = BTreeSet::new();
        while !open.is_empty() {
            // In one request a name and grant can be asked about once.
            let mut asked = BTreeSet::new();
            let (now, later): (Vec<_>, Vec<_>) = open
                .into_iter()
                .partition(|question| asked.insert((wanted[question.wanted].name.clone(), question.grant.clone())));
            open = later;
            let entries = now.iter().map(|question| {
                let step = Step {
                    wanted: question.wanted,
                    services: BTreeSet::new(),
                    outcome: Outcome::Differs,
                    grant: question.grant.clone(),
                };
                let mut entry = stored.write(&step, &wanted[question.wanted]);
                // The value alone is asked about.
                (entry.entry.secret, entry.entry.deliver) = (None, None);
                entry
            });
            let request = WriteEntries { region: region.cloned(), entries: entries.collect(), dry_run: true };
            let answer: Written = self.client.post(&self.path("entries")?, &request)?;
            let unchanged = |name: &EntryName, grant: &Grant| {
                answer.entries.iter().any(|entry| entry.name == *name && entry.grant == *grant && !entry.changed)
            };
            same.extend(now.into_iter().filter(|question| unchanged(&wanted[question.wanted].name, &question.grant)));
        }
        Ok(same)
    }

    fn declare(&self, undeclared: Option<Undeclared>) -> Result<(), Failure> {
        let Some(undeclared) = undeclared else { return Ok(()) };
        if let Some(services) = undeclared.services {
            let place = Path::new(&["stacks", self.stack.as_str()]);
            let _: serde_json::Value = self.client.put(&place, &DeclareStack { services })?;
        }
        if undeclared.environment {
            let environment = self.context.environment()?.as_str();
            let place = Path::new(&["stacks", self.stack.as_str(), "environments", environment]);
            let _: serde_json::Value = self.client.put(&place, &DeclareEnvironment::default())?;
        }
        Ok(())
    }

    /// All entries in one request, which is all or nothing.
    fn write(&self, entries: Vec<NamedEntry>) -> Result<(), Failure> {
        if entries.is_empty() {
            output::note("declared; there was no value to write");
            return Ok(());
        }
        let count = entries.len();
        let request = WriteEntries { region: self.region.clone(), entries, dry_run: false };
        let written: Result<Written, Failure> = self.client.post(&self.path("entries")?, &request);
        let written = written.map_err(|failure| {
            let hint = format!("{}; stack and services are declared, no value was written: import again", failure.hint);
            failure.with_hint(hint.trim_start_matches("; "))
        })?;
        output::note(&format!("wrote {count} {}; revision {}", self.context.layer_in_words(), written.revision));
        Ok(())
    }
}

/// The plan as it is shown. It holds no value.
#[derive(Debug, Serialize)]
struct Report {
    stack: StackName,
    environment: String,
    layer: Layer,
    entries: Vec<Line>,
    absent: Vec<AbsentLine>,
    left: Vec<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: EntryName,
    #[serde(rename = "for")]
    services: BTreeSet<ServiceName>,
    kind: &'static str,
    secret: bool,
    /// Why it is taken for a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    from: String,
    result: &'static str,
}

#[derive(Debug, Serialize)]
struct AbsentLine {
    name: EntryName,
    #[serde(rename = "for")]
    services: BTreeSet<ServiceName>,
    why: String,
    command: String,
}

impl Report {
    fn new(
        target: &Target<'_>,
        plan: &Plan,
        steps: &[Step],
        stored: &Stored<'_>,
        overwrite: bool,
    ) -> Result<Self, Failure> {
        let line = |step: &Step| {
            let Wanted { name, deliver, secret, from, .. } = &plan.wanted[step.wanted];
            Line {
                name: name.clone(),
                services: step.services.clone(),
                kind: if *deliver == Delivery::Variable { "variable" } else { "file" },
                secret: secret.is_some(),
                why: secret.clone(),
                from: from.clone(),
                result: match step.outcome {
                    Outcome::Unchanged => "unchanged",
                    Outcome::InBase => "as in base",
                    Outcome::New => "new",
                    Outcome::Told if secret.is_some() => "made a secret",
                    Outcome::Told => "made plain",
                    Outcome::Differs if overwrite => "overwrite",
                    Outcome::Differs | Outcome::Shared(_) => "differs, kept",
                },
            }
        };
        // What somebody has set in the meantime is no longer missing.
        let absent = plan.absent.iter().filter(|absent| !stored.has(&absent.name)).map(|absent| AbsentLine {
            name: absent.name.clone(),
            services: absent.services.clone(),
            why: absent.why.clone(),
            command: absent.command.clone(),
        });
        Ok(Self {
            stack: target.stack.clone(),
            environment: target.context.environment()?.to_string(),
            layer: Layer::from(target.region.clone()),
            entries: steps.iter().map(line).collect(),
            absent: absent.collect(),
            left: plan.left.clone(),
            notes: plan.notes.clone(),
        })
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["NAME", "KIND", "FOR", "SECRET", "FROM", "RESULT"]);
        for line in &self.entries {
            let secret = line.why.as_ref().map_or_else(|| "plain".to_owned(), |why| format!("secret: {why}"));
            table.row(vec![
                line.name.to_string(),
                line.kind.to_owned(),
                list(&line.services),
                secret,
                line.from.clone(),
                line.result.to_owned(),
            ]);
        }
        for line in &self.absent {
            table.row(vec![
                line.name.to_string(),
                "?".to_owned(),
                list(&line.services),
                "?".to_owned(),
                line.why.clone(),
                "to be set".to_owned(),
            ]);
        }
        table.for_stdout()
    }

    /// What the table has no room for.
    fn tell(&self, plan: &Plan) {
        plan.notes.iter().for_each(|note| output::note(&format!("note: {note}")));
        self.left.iter().for_each(|left| output::note(&format!("left alone: {left}")));
        for absent in &self.absent {
            output::note(&format!("to be set: {}", absent.command));
        }
        let differs = self.entries.iter().filter(|line| line.result == "differs, kept").count();
        if differs > 0 {
            output::note(&format!(
                "note: the store has other values for {differs}; --overwrite takes those of the files"
            ));
        }
    }
}

fn list(services: &BTreeSet<ServiceName>) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",")
}
