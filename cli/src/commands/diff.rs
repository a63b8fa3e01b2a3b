//! `chandlery diff`

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use chandlery_wire::Grant;
use chandlery_wire::api::{Cell, Compare, Comparison, Difference, Place, Side};
use unicode_width::UnicodeWidthStr;

use super::attributes::delivery_in_words;
use super::audit::revision_or_moment;
use super::matrix::{in_full, mark};
use crate::client::Path;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::formats;
use crate::input;
use crate::output::table::{Table, one_line, terminal_width};
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A side is a region, `base`, an environment, environment/region or stack/environment/region; with @REVISION or @TIME behind it, as
it was then; or a file (dotenv, .json, .yaml; `-` for stdin). Two whole environments are compared layer by layer.
What is written is compared, templates as they are; with --service, what that service gets.

Exit codes: 0 the same, 1 different, 2 something went wrong.

Examples:
  chandlery diff eu-west-1 sfo3
  chandlery diff production..staging
  chandlery diff production/eu-west-1@42 production/eu-west-1
  chandlery diff @2026-11-20T10:00Z            # the environment then and now
  chandlery diff eu.env eu-west-1 --service app")]
pub(crate) struct Args {
    /// The sides: A B, A..B, or one side with a revision or time, which is compared with now.
    #[arg(required = true, num_args = 1..=2, value_name = "SIDE")]
    sides: Vec<String>,
    /// Show secrets.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// A side is shown in so many columns at least: a mark fits.
const NARROWEST_SIDE: usize = 12;

/// One side, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    File(PathBuf),
    Place(Place),
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    compare(args, context).map_err(Failure::like_diff)
}

fn compare(args: &Args, context: &Context) -> Result<(), Failure> {
    let (left, right) = operands(&args.sides, &|path| path.is_file())?;
    let (left, right) = (side(left, context)?, side(right, context)?);
    let path = Path::new(&["comparisons", context.stack()?.as_str(), context.environment()?.as_str()]);
    let compare = Compare { left, right, service: context.service().cloned(), reveal: args.reveal };
    let comparison: Comparison = context.client()?.post(&path, &compare)?;
    args.format.print(&comparison, |comparison| table(comparison, terminal_width()))?;
    if comparison.partial {
        output::note("note: this token may not read everything there; what it may not read is not compared");
    }
    output::note_read_now(&comparison.read_now);
    if comparison.differences.is_empty() {
        output::note(&format!("no difference; {} are the same", comparison.same));
        return Ok(());
    }
    output::note(&format!("{} differ, {} are the same", comparison.differences.len(), comparison.same));
    Err(Failure::answered_no())
}

fn operands(sides: &[String], is_file: &dyn Fn(&FilePath) -> bool) -> Result<(Operand, Operand), Failure> {
    match sides {
        [left, right] => Ok((operand(left, is_file)?, operand(right, is_file)?)),
        [one] => match one.split_once("..").filter(|_| !is_file(FilePath::new(one))) {
            Some((left, right)) if !left.is_empty() => Ok((operand(left, is_file)?, operand(right, is_file)?)),
            _ => match operand(one, is_file)? {
                Operand::Place(Place { place, at: Some(at) }) => {
                    let now = Operand::Place(Place { place: place.clone(), at: None });
                    Ok((Operand::Place(Place { place, at: Some(at) }), now))
                }
                _ => Err(Failure::usage(
                    "one side alone has nothing to be compared with",
                    "name two: `chandlery diff A B` or A..B; or one with @REVISION or @TIME, to compare it with now",
                )),
            },
        },
        _ => Err(Failure::usage("there are two sides to a comparison", "name two: `chandlery diff A B`")),
    }
}

fn operand(text: &str, is_file: &dyn Fn(&FilePath) -> bool) -> Result<Operand, Failure> {
    let path = FilePath::new(text);
    let looks_like_one = text == "-"
        || text.starts_with(['/', '.'])
        || matches!(path.extension().and_then(|end| end.to_str()), Some("env" | "json" | "yaml" | "yml"));
    if looks_like_one || is_file(path) {
        if !looks_like_one && !text.contains('/') {
            output::note(&format!(
                "note: {text} is taken for the file of that name; a region is written ENVIRONMENT/{text}"
            ));
        }
        return Ok(Operand::File(path.to_owned()));
    }
    let (place, at) = match text.split_once('@') {
        None => (text, None),
        Some((place, at)) => {
            let at = revision_or_moment(at)
                .map_err(|why| Failure::usage(format!("what is behind @ {why}"), "write @42, or @2026-11-20T10:00Z"))?;
            (place, Some(at))
        }
    };
    let place = (!place.is_empty()).then(|| place.to_owned());
    Ok(Operand::Place(Place { place, at }))
}

fn side(operand: Operand, context: &Context) -> Result<Side, Failure> {
    let file = match operand {
        // A side that names no place is the region of the context, where there is one.
        Operand::Place(Place { place, at }) => {
            let place = place.or_else(|| context.layer.as_ref().map(|item| item.value.to_string()));
            return Ok(Side::Place(Place { place, at }));
        }
        Operand::File(file) => file,
    };
    let reading = formats::read_by_name(&file, &input::whole(&file)?);
    if !reading.faults.is_empty() {
        let faults = reading.faults.iter().map(|fault| format!("{}:{}: {}", file.display(), fault.line, fault.what));
        let failure = Failure::new(Exit::Invalid, format!("{} has faults", file.display()), "correct them first");
        return Err(failure.with_faults(faults.collect()));
    }
    Ok(Side::Values(reading.items.into_iter().map(|item| (item.name, item.value)).collect::<BTreeMap<_, _>>()))
}

fn table(comparison: &Comparison, fit: Option<usize>) -> String {
    let differences = &comparison.differences;
    if differences.is_empty() {
        return String::new();
    }
    let by_layer = differences.iter().any(|one| one.layer.is_some());
    let by_grant = differences.iter().any(|one| one.grant.as_ref().is_some_and(|grant| *grant != Grant::All));
    let mut header = vec!["", "NAME"];
    header.extend(by_layer.then_some("LAYER"));
    header.extend(by_grant.then_some("FOR"));
    header.extend(["LEFT", "RIGHT"]);
    let before: Vec<Vec<String>> = differences.iter().map(|one| about(one, by_layer, by_grant)).collect();
    let room = fit.map(|fit| room(fit, &before));
    let mut table = Table::new(&header);
    for (mut cells, difference) in before.into_iter().zip(differences) {
        cells.extend(sides(difference, room));
        table.row(cells);
    }
    table.layout(fit)
}

/// What differs, and where; how is in the two cells that follow.
fn about(difference: &Difference, by_layer: bool, by_grant: bool) -> Vec<String> {
    let Difference { layer, name, grant, left, right } = difference;
    let sign = match (left, right) {
        (Some(_), None) => "-",
        (None, _) => "+",
        _ => "~",
    };
    let mut cells = vec![sign.to_owned(), name.to_string()];
    cells.extend(by_layer.then(|| layer.as_ref().map_or_else(String::new, ToString::to_string)));
    cells.extend(by_grant.then(|| grant.as_ref().map_or_else(String::new, ToString::to_string)));
    cells
}

/// What is left for each side in a line of this width.
fn room(fit: usize, before: &[Vec<String>]) -> usize {
    let columns = before.first().map_or(0, Vec::len);
    let widest = |column: usize| before.iter().map(|cells| cells[column].width()).max().unwrap_or(0);
    let taken: usize = (0..columns).map(widest).sum();
    (fit.saturating_sub(taken + 2 * (columns + 1)) / 2).max(NARROWEST_SIDE)
}

/// Both sides; and what differs beside the value, where that is the same. A value that does not fit is shown by what stands
/// for it, for two values that are cut look the same.
fn sides(difference: &Difference, room: Option<usize>) -> [String; 2] {
    let (left, right) = (difference.left.as_ref(), difference.right.as_ref());
    let beside = |cell: &Cell| {
        let mut text = String::new();
        let (Some(one), Some(other)) = (left, right) else { return text };
        if one.deliver != other.deliver {
            text.push_str(&format!(" as {}", delivery_in_words(&cell.deliver)));
        }
        if one.secret != other.secret {
            text.push_str(if cell.secret { " (secret)" } else { " (plain)" });
        }
        text
    };
    let text = |cell: &Cell| {
        let (full, beside) = (in_full(cell), beside(cell));
        let fits = room.is_none_or(|room| one_line(&full).width() + beside.width() <= room);
        if fits { format!("{full}{beside}") } else { format!("{}{beside}", mark(cell)) }
    };
    let texts = [left, right].map(|cell| cell.map_or_else(String::new, text));
    let alike = one_line(&texts[0]) == one_line(&texts[1]);
    match (left, right) {
        // They differ in something that is not seen.
        (Some(one), Some(other)) if alike && one.fingerprint != other.fingerprint => {
            [(one, &texts[0]), (other, &texts[1])].map(|(cell, text)| format!("{text} ({})", mark(cell)))
        }
        _ => texts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sides: &[&str]) -> Result<(Operand, Operand), Failure> {
        let sides: Vec<String> = sides.iter().map(|&side| side.to_owned()).collect();
        operands(&sides, &|path| path == FilePath::new("odd-name"))
    }

    fn place(place: Option<&str>, at: Option<&str>) -> Operand {
        Operand::Place(Place { place: place.map(str::to_owned), at: at.map(str::to_owned) })
    }

    #[test]
    fn sides_are_places_moments_and_files() {
        let file = |path: &str| Operand::File(path.into());
        assert_eq!(
            of(&["production..staging"]).unwrap(),
            (place(Some("production"), None), place(Some("staging"), None))
        );
        assert_eq!(of(&["@42"]).unwrap(), (place(None, Some("42")), place(None, None)));
        assert_eq!(of(&["eu@42"]).unwrap(), (place(Some("eu"), Some("42")), place(Some("eu"), None)));
        assert_eq!(of(&["@41..@42"]).unwrap(), (place(None, Some("41")), place(None, Some("42"))));
        assert_eq!(of(&["@41.."]).unwrap(), (place(None, Some("41")), place(None, None)));
        let time = Some("2026-11-20T10:00:00Z");
        assert_eq!(of(&["a/b@2026-11-20T10:00Z", "-"]).unwrap(), (place(Some("a/b"), time), file("-")));
        assert_eq!(of(&["../eu.env", "odd-name"]).unwrap(), (file("../eu.env"), file("odd-name")));
        for wrong in [&["eu"][..], &["eu@yesterday"], &["eu.env"]] {
            assert_eq!(of(wrong).unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
    }
}
