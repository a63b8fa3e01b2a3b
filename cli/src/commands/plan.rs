//! What is planned, whether it is to be done, and what was done: shared by every verb that changes many entries.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};

use chandlery_wire::Layer;
use chandlery_wire::api::{Changed, ChangedEntry, Effect, Factored, Terms};
use serde::Serialize;

use super::attributes::granted;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, Format, FormatArg, MASK};

/// `--yes` and `--dry-run`, the same for every verb that shows a plan first.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Consent {
    /// Do it without being asked.
    #[arg(long, short)]
    yes: bool,
    /// Show the plan, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) format: FormatArg,
}

/// An answer that tells of changes.
pub(crate) trait Planned {
    fn changed(&self) -> &Changed;

    /// The changes, for people.
    fn text(&self) -> String {
        text(self.changed())
    }
}

impl Planned for Changed {
    fn changed(&self) -> &Changed {
        self
    }
}

impl Planned for Factored {
    fn changed(&self) -> &Changed {
        &self.changed
    }
}

impl Consent {
    /// Plans, shows the plan and asks; then does what was planned, if nobody has written in between. `show` says what is
    /// to be known beside the entries.
    pub(crate) fn carry_out<T: Planned + Serialize>(
        &self,
        context: &Context,
        ask: impl Fn(Terms) -> Result<T, Failure>,
        show: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        if self.yes {
            return self.report(context, &ask(Terms::default())?, show);
        }
        let plan = ask(Terms { dry_run: true, expect_revision: None })?;
        if self.dry_run || changes_nothing(plan.changed()) {
            return self.report(context, &plan, show);
        }
        output::note(format!("{}{}", show(&plan), plan.text()).trim_end());
        if !confirmed(plan.changed())? {
            output::note("nothing was changed");
            return Ok(());
        }
        let terms = Terms { dry_run: false, expect_revision: Some(plan.changed().revision) };
        self.report(context, &ask(terms)?, |_| String::new())
    }

    fn report<T: Planned + Serialize>(
        &self,
        context: &Context,
        done: &T,
        show: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        if self.format.format == Format::Json {
            output::json(done)?;
        } else if self.yes || self.dry_run || changes_nothing(done.changed()) {
            output::text(&format!("{}{}", show(done), done.text()))?;
        }
        let Changed { dry_run, entries, declared, unchanged, revision, .. } = done.changed();
        let place = format!("{}/{}", context.stack()?, context.environment()?);
        let count = entries.len();
        output::note(&match (changes_nothing(done.changed()), dry_run) {
            (true, _) => format!("nothing is to be changed in {place}"),
            (false, true) => {
                let regions =
                    if declared.is_empty() { String::new() } else { format!(" and declare {}", declared.len()) };
                format!("would change {count}{regions} in {place}, {unchanged} unchanged; nothing was changed")
            }
            (false, false) => format!("changed {count} in {place}, {unchanged} unchanged; revision {revision}"),
        });
        if !dry_run && let Some(layer) = layer_to_go_back(context, entries) {
            // All of it is said, for it may be typed elsewhere.
            let (stack, environment, before) = (context.stack()?, context.environment()?, revision.saturating_sub(1));
            output::note(&format!("to undo it: chandlery rollback -s {stack} -e {environment}{layer} --to @{before}"));
        }
        Ok(())
    }
}

/// How the command names what is to go back: nothing where it is the environment; its layer where only that was changed and the
/// context names one, for with one in the context going back is going back there alone.
fn layer_to_go_back(context: &Context, entries: &[ChangedEntry]) -> Option<String> {
    entries.first()?;
    let Some(layer) = context.layer.as_ref().map(|item| &item.value) else { return Some(String::new()) };
    entries.iter().all(|entry| entry.layer == *layer).then(|| format!(" --region {layer}"))
}

fn changes_nothing(changed: &Changed) -> bool {
    changed.entries.is_empty() && changed.declared.is_empty()
}

fn confirmed(changed: &Changed) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let hint = "look at the plan, then say --yes; --dry-run shows it and is no error";
        return Err(Failure::usage("nobody can be asked whether to do this, and nothing was changed", hint));
    }
    let mut stderr = io::stderr().lock();
    let (count, ask) = (changed.entries.len(), if changed.entries.len() == 1 { "change" } else { "changes" });
    let asked = write!(stderr, "Make {count} {ask}? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format!("the terminal cannot be asked: {error}"), "say --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The plan, entry by entry; secrets masked.
pub(crate) fn text(changed: &Changed) -> String {
    let mut text: String = changed.declared.iter().map(|region| format!("declares the region {region}\n")).collect();
    if !changed.entries.is_empty() {
        let mut table = Table::new(&["", "NAME", "LAYER", "FOR", "VALUE"]);
        for entry in &changed.entries {
            let (layer, grant) = (entry.layer.to_string(), entry.grant.to_string());
            table.row(vec![sign(entry.effect).to_owned(), entry.name.to_string(), layer, grant, value(entry)]);
        }
        text.push_str(&table.for_stderr_or_stdout());
    }
    let mut reasons: BTreeMap<(&str, &Layer), Vec<&str>> = BTreeMap::new();
    for skipped in &changed.skipped {
        reasons.entry((&skipped.why, &skipped.layer)).or_default().push(skipped.name.as_str());
    }
    for ((why, layer), names) in reasons {
        text.push_str(&format!("left out in {layer}: {}: {why}\n", names.join(", ")));
    }
    changed.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    text
}

fn sign(effect: Effect) -> &'static str {
    match effect {
        Effect::Added => "+",
        Effect::Changed => "~",
        Effect::Deleted => "-",
        Effect::Removed => "×",
    }
}

fn value(entry: &ChangedEntry) -> String {
    match (entry.effect, &entry.value) {
        (Effect::Deleted, _) => "(deleted)".to_owned(),
        (Effect::Removed, _) => "(removed here)".to_owned(),
        (_, Some(value)) => {
            String::from_utf8(value.expose_secret().to_vec()).unwrap_or_else(|_| format!("({} bytes)", value.len()))
        }
        (_, None) => MASK.to_owned(),
    }
}

/// One sentence for each entry of a change that shows no plan.
pub(crate) fn sentences(changed: &Changed, context: &Context) -> String {
    if changed.entries.is_empty() {
        return "it is so already\n".to_owned();
    }
    let sentence = |entry: &ChangedEntry| {
        let (name, grant, version, place) =
            (&entry.name, granted(&entry.grant), entry.version, context.layer_in_words());
        let done = match entry.effect {
            Effect::Added | Effect::Changed => "is back",
            Effect::Deleted => "is deleted",
            Effect::Removed => "is hidden",
        };
        format!("{name} {done} {place}, {grant}: version {version}\n")
    };
    changed.entries.iter().map(sentence).collect()
}
