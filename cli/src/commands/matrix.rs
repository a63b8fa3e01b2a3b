//! `chandlery matrix`: entries × regions.

mod csv;
mod layout;

use chandlery_wire::Grant;
use chandlery_wire::api::{Cell, Matrix, MatrixRow, State};
use clap::ValueEnum;

use super::audit::revision_or_moment;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, MASK, table};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// For people.
    Table,
    /// For programs: the types of the HTTP API.
    Json,
    /// For spreadsheets.
    Csv,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
In a region's column `·` is what the base has, `×` is removed there, `-` is not there at all; anything else is the region's own.
#2k9xw stands for a value: the same one everywhere in this table is the same value, another one is another. $ is before a
template, → before a reference to an outside source. A value that looks like one of these signs is in quotes. In CSV, an
apostrophe stands before what a spreadsheet would take for a formula; programs that want values as they are take --format json.

Examples:
  chandlery matrix --only-different
  chandlery matrix --service app --format csv > matrix.csv")]
pub(crate) struct Args {
    /// Only entries that are not the same in all regions.
    #[arg(long)]
    only_different: bool,
    /// As it was: @42 (a revision), 2026-11-20T10:00Z, or 2h ago.
    #[arg(long, value_name = "REVISION|TIME", value_parser = revision_or_moment)]
    at: Option<String>,
    /// Show secrets.
    #[arg(long)]
    reveal: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value = "table")]
    format: Kind,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let path = Path::new(&["matrix", context.stack()?.as_str(), context.environment()?.as_str()])
        .query("service", context.service())
        .query("at", args.at.as_ref())
        .query("reveal", args.reveal.then_some(true));
    let mut matrix: Matrix = context.client()?.get(&path)?;
    let all = matrix.rows.len();
    if args.only_different {
        matrix.rows.retain(|row| row.differs);
    }
    if matrix.partial {
        output::note("note: this token may not read everything here; what it may not read is not in the matrix");
    }
    match args.format {
        Kind::Json => return output::json(&matrix),
        Kind::Csv => return output::text(&csv::write(&matrix)),
        Kind::Table => output::text(&layout::grid(&matrix).layout(table::terminal_width()))?,
    }
    let overrides: usize = matrix.rows.iter().map(|row| row.overlays.len()).sum();
    let shown = if args.only_different {
        format!("{} of {all} entries differ", matrix.rows.len())
    } else {
        format!("{all} entries")
    };
    output::note(&format!(
        "{shown}, {} regions, {overrides} overrides; revision {}",
        matrix.regions.len(),
        matrix.revision
    ));
    Ok(())
}

/// An entry's name; for whom it is, where that is not everybody.
fn title(row: &MatrixRow) -> String {
    match &row.grant {
        Grant::All => row.name.to_string(),
        Grant::Services(_) => format!("{} ({})", row.name, row.grant),
    }
}

/// What stands for the value in a narrow column.
pub(crate) fn mark(cell: &Cell) -> String {
    let template = if cell.template {
        "$"
    } else if cell.reference {
        "→"
    } else {
        ""
    };
    match (&cell.fingerprint, cell.state) {
        (_, State::Removed) => "×".to_owned(),
        (_, State::Destroyed) => "†".to_owned(),
        (Some(fingerprint), _) => format!("{template}#{fingerprint}"),
        (None, _) => MASK.to_owned(),
    }
}

/// The value where it is known, and text; else what stands for it. One that could be taken for a sign is in quotes.
pub(crate) fn in_full(cell: &Cell) -> String {
    let text = cell.value.as_ref().and_then(|value| std::str::from_utf8(value.expose_secret()).ok());
    match text {
        Some(text) if cell.template => format!("$ {text}"),
        Some(text) if cell.reference => format!("→ {text}"),
        Some(text) if is_like_a_sign(text) => format!("\"{text}\""),
        Some(text) => text.to_owned(),
        None => mark(cell),
    }
}

/// Whether the text says something else in a cell than that it is the value: also one that says so in quotes already.
fn is_like_a_sign(text: &str) -> bool {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    matches!(text, "" | "·" | "×" | "†" | "-" | MASK)
        || text.starts_with(['#', ' '])
        || text.ends_with(' ')
        || text.starts_with("$#")
        || text.starts_with("$ ")
        || text.starts_with('→')
        || quoted.is_some_and(is_like_a_sign)
}

/// What a region has where its overlay says nothing.
fn inherited(row: &MatrixRow) -> &'static str {
    if row.base.is_some() { "·" } else { "-" }
}

#[cfg(test)]
mod tests {
    use chandlery_wire::{Delivery, Value};

    use super::*;

    fn cell(value: &str, template: bool) -> Cell {
        let (deliver, fingerprint) = (Delivery::Variable, Some("2k9xw".to_owned()));
        let reference = false;
        let (secret, size, value) = (false, value.len() as u64, Some(Value::new(value)));
        Cell { version: 1, state: State::Live, secret, template, reference, deliver, size, fingerprint, value }
    }

    #[test]
    fn a_value_is_never_taken_for_a_sign() {
        for sign in ["", "·", "×", "-", "#2k9xw", "$#2k9xw", "$ ${A}", "→ aws:x", MASK, " a", "\"\"", "\"-\""] {
            assert_eq!(in_full(&cell(sign, false)), format!("\"{sign}\""));
        }
        for plain in ["--", "a", "-5", "\"a\"", "\"", "$5", "a # b"] {
            assert_eq!(in_full(&cell(plain, false)), plain);
        }
        assert_eq!(in_full(&cell("${A}", true)), "$ ${A}");
        assert_eq!(in_full(&Cell { reference: true, ..cell("aws:x", false) }), "→ aws:x");
        assert_eq!(in_full(&Cell { value: None, ..cell("x", true) }), "$#2k9xw");
        assert_eq!(in_full(&Cell { value: Some(Value::new([0xff])), ..cell("x", false) }), "#2k9xw");
    }
}
