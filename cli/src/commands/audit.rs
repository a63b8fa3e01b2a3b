//! `chandlery audit`

use chandlery_wire::api::{AuditList, AuditRecord, AuditVerification, Outcome};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp, civil};

use super::token::seconds;
use super::written::minute;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only about this entry.
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Only by this caller: a token's id, `anonymous` or `server`.
    #[arg(long, value_name = "ID")]
    caller: Option<String>,
    /// Only since then: 2h, 7d, or 2026-04-11T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only until then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// The newest so many.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the chain of the whole log, and name the first bad line.
    Verify {
        #[command(flatten)]
        format: FormatArg,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if let Some(Action::Verify { format }) = &args.action {
        return verify(*format, context);
    }
    let path = Path::new(&["audit"])
        .query("entry", args.entry.as_ref())
        .query("caller", args.caller.as_ref())
        .query("since", args.since)
        .query("until", args.until)
        .query("limit", args.limit);
    let list: AuditList = context.client()?.get(&path)?;
    args.format.print(&list, |list| {
        let mut table = Table::new(&["SEQ", "TIME", "CALLER", "FROM", "ACTION", "TARGET", "OUTCOME", "DETAIL"]);
        list.records.iter().for_each(|record| table.row(row(record)));
        table.for_stdout()
    })?;
    if list.truncated {
        output::note("note: older records match too; --limit shows more, --since and --until narrow it");
    }
    Ok(())
}

fn row(record: &AuditRecord) -> Vec<String> {
    let outcome = match record.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Refused => "refused",
        Outcome::Malformed => "malformed",
        Outcome::Failed => "failed",
    };
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut target = text(&record.target);
    if let Some(service) = &record.service {
        target.push_str(&format!(":{service}"));
    }
    let detail = match (&record.detail, record.entries.len()) {
        (Some(detail), _) => detail.clone(),
        (None, 0) => String::new(),
        (None, 1..=3) => record.entries.join(","),
        (None, count) => format!("{count} entries"),
    };
    let (time, caller) = (minute(&record.time), record.caller.clone());
    let peer = text(&record.peer);
    vec![record.seq.to_string(), time, caller, peer, record.action.clone(), target, outcome.to_owned(), detail]
}

fn verify(format: FormatArg, context: &Context) -> Result<(), Failure> {
    let result: AuditVerification = context.client()?.get(&Path::new(&["audit", "verification"]))?;
    format.print(&result, |result| match result.intact {
        true => format!("intact: {} lines", result.lines),
        false => format!("NOT intact; {} lines were checked", result.lines),
    })?;
    if result.intact {
        return Ok(());
    }
    let line = result.first_bad_line.map_or_else(|| "a line".to_owned(), |line| format!("line {line}"));
    let why = result.reason.unwrap_or_else(|| "does not follow from the one before".to_owned());
    Err(Failure::failed(
        format!("the audit log is not what was written: {line}: {why}"),
        "keep a copy of the file as it is, and compare it with your backups: from this line on it proves nothing",
    ))
}

/// A revision (`42` or `@42`), a moment, or how long ago it was: as the API takes it.
pub(crate) fn revision_or_moment(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    if text.parse::<u64>().is_ok() {
        return Ok(text.to_owned());
    }
    moment(text).map(|time| time.to_string()).map_err(|why| format!("is no revision, and {why}"))
}

/// A moment, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = seconds(text) {
        let ago = SignedDuration::from_secs(i64::try_from(ago).unwrap_or(i64::MAX));
        return Timestamp::now().checked_sub(ago).map_err(|_| "is too long ago".to_owned());
    }
    let without_zone = text.parse::<civil::DateTime>().is_ok();
    text.parse().map_err(|_| match without_zone {
        true => "has no zone: add Z for UTC, or as much as +02:00".to_owned(),
        false => "is no time: one is 2h or 7d ago, or 2026-04-11T18:00:00Z".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("2026-04-11T18:00:00Z").unwrap().to_string(), "2026-04-11T18:00:00Z");
        let ago = Timestamp::now().duration_since(moment("2h").unwrap()).as_secs();
        assert!((7199..7205).contains(&ago), "{ago}");
        assert_eq!(moment("2026-04-11T20:00+02:00").unwrap().to_string(), "2026-04-11T18:00:00Z");
        for without_zone in ["2026-04-11T18:00:00", "2026-04-11T18:00", "2026-04-11"] {
            assert!(moment(without_zone).unwrap_err().contains("zone"), "{without_zone}");
        }
        for wrong in ["yesterday", "", "2026-13-01T00:00Z"] {
            assert!(moment(wrong).unwrap_err().contains("2h"), "{wrong}");
        }
    }
}
