//! A table whose columns keep their meaning however narrow they are: a value that does not fit is shown by what stands for
//! it, and never cut, for two values that are cut look the same.

use chandlery_wire::api::{Cell, Matrix};
use unicode_width::UnicodeWidthStr;

use super::{in_full, inherited, mark, title};
use crate::output::table::{one_line, pad};

/// A value that is longer than this is shown by its mark on any terminal.
const WIDEST: usize = 24;
/// A name is cut to this before a column is left out.
const NARROWEST_NAME: usize = 16;

/// How a block of columns is laid out.
struct Shape {
    name: usize,
    /// Regions in it, beside the base.
    taken: usize,
    widths: Vec<usize>,
    gap: usize,
}

impl Shape {
    fn width(&self) -> usize {
        self.name + self.widths.iter().map(|width| width + self.gap).sum::<usize>()
    }

    fn line(&self, title: &str, cells: impl Iterator<Item = String>) -> String {
        let mut line = pad(title, self.name);
        for (cell, width) in cells.zip(&self.widths) {
            line.push_str(&" ".repeat(self.gap));
            line.push_str(&pad(&cell, *width));
        }
        format!("{}\n", line.trim_end())
    }
}

/// A cell in full, and what stands for it where that is too long.
#[derive(Debug)]
struct Text {
    full: String,
    short: String,
}

#[derive(Debug)]
pub(super) struct Grid {
    headers: Vec<String>,
    names: Vec<String>,
    /// By row: the base's, and each region's.
    cells: Vec<Vec<Text>>,
}

pub(super) fn grid(matrix: &Matrix) -> Grid {
    let regions = matrix.regions.iter().map(ToString::to_string);
    let headers = std::iter::once("BASE".to_owned()).chain(regions).collect();
    let text = |cell: Option<&Cell>, without: &str| match cell {
        Some(cell) => Text { full: one_line(&in_full(cell)), short: mark(cell) },
        None => Text { full: without.to_owned(), short: without.to_owned() },
    };
    let cells = matrix.rows.iter().map(|row| {
        let base = text(row.base.as_ref(), "-");
        let overlays = matrix.regions.iter().map(|region| text(row.overlays.get(region), inherited(row)));
        std::iter::once(base).chain(overlays).collect()
    });
    Grid { headers, names: matrix.rows.iter().map(title).collect(), cells: cells.collect() }
}

impl Grid {
    /// Whole where there is no terminal; else in as many blocks of columns as its width takes.
    pub(super) fn layout(&self, fit: Option<usize>) -> String {
        let columns = self.headers.len();
        let Some(fit) = fit else {
            let widths = (0..columns).map(|at| self.widest(at, usize::MAX)).collect();
            let shape = Shape { name: self.name_width(), taken: columns - 1, widths, gap: 2 };
            return self.block(&(0..columns).collect::<Vec<_>>(), &shape);
        };
        let mut text = String::new();
        let mut left: Vec<usize> = (1..columns).collect();
        loop {
            let shape = self.fitting(&left, fit);
            let shown: Vec<usize> = std::iter::once(0).chain(left.drain(..shape.taken)).collect();
            text.push_str(&self.block(&shown, &shape));
            if left.is_empty() {
                return text;
            }
            text.push('\n');
        }
    }

    /// How many of these columns fit beside the name and the base, how wide each is, and how far apart. Names give way
    /// last; before that, the columns move together.
    fn fitting(&self, left: &[usize], fit: usize) -> Shape {
        let mut taken = left.len();
        loop {
            let columns: Vec<usize> = std::iter::once(0).chain(left[..taken].iter().copied()).collect();
            let least: Vec<usize> = columns.iter().map(|at| self.narrowest(*at)).collect();
            let widths = columns.iter().map(|at| self.widest(*at, WIDEST).max(self.narrowest(*at))).collect();
            let mut shape = Shape { name: self.name_width(), taken, widths, gap: 2 };
            while shape.width() > fit {
                let Shape { widths, .. } = &mut shape;
                let widest = (0..widths.len()).filter(|at| widths[*at] > least[*at]).max_by_key(|at| widths[*at]);
                match widest {
                    Some(at) => widths[at] -= 1,
                    None if shape.gap > 1 => shape.gap = 1,
                    None if shape.name > NARROWEST_NAME => shape.name -= 1,
                    None => break,
                }
            }
            if shape.width() <= fit || taken <= 1 {
                return shape;
            }
            taken -= 1;
        }
    }

    fn name_width(&self) -> usize {
        self.names.iter().map(|name| name.width()).max().unwrap_or(0).max("NAME".len())
    }

    /// The width in which everything in the column that is not longer than `most` is shown in full.
    fn widest(&self, column: usize, most: usize) -> usize {
        let full = self.cells.iter().map(|row| row[column].full.width()).filter(|width| *width <= most).max();
        full.unwrap_or(0).max(self.headers[column].width().min(most))
    }

    /// The width that the column's marks take, and a readable piece of its header.
    fn narrowest(&self, column: usize) -> usize {
        self.cells.iter().map(|row| row[column].short.width()).max().unwrap_or(0).max(5)
    }

    fn block(&self, columns: &[usize], shape: &Shape) -> String {
        let wrapped = |(at, width): (&usize, &usize)| wrap(&self.headers[*at], *width);
        let headers: Vec<Vec<String>> = columns.iter().zip(&shape.widths).map(wrapped).collect();
        let lines = headers.iter().map(Vec::len).max().unwrap_or(1);
        let mut text = String::new();
        for line in 0..lines {
            let title = if line == 0 { "NAME" } else { "" };
            let piece = |header: &Vec<String>| header.get(line).cloned().unwrap_or_default();
            text.push_str(&shape.line(title, headers.iter().map(piece)));
        }
        for (title, row) in self.names.iter().zip(&self.cells) {
            let cell = |(at, width): (&usize, &usize)| {
                let Text { full, short } = &row[*at];
                if full.width() <= *width { full.clone() } else { short.clone() }
            };
            text.push_str(&shape.line(title, columns.iter().zip(&shape.widths).map(cell)));
        }
        text
    }
}

/// A region's name on several lines, broken at its dashes where that helps.
fn wrap(header: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = header;
    while rest.len() > width {
        let dash = rest[..width].rfind('-').map(|at| at + 1);
        let (line, more) = rest.split_at(dash.unwrap_or(width));
        lines.push(line.to_owned());
        rest = more;
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(regions: usize, value: &str) -> Grid {
        let headers =
            std::iter::once("BASE".to_owned()).chain((0..regions).map(|n| format!("ap-southeast-{n}"))).collect();
        let text = |full: &str| Text { full: full.to_owned(), short: "#2k9xw".to_owned() };
        let row = || std::iter::once(text(value)).chain((0..regions).map(|_| text("·"))).collect();
        Grid { headers, names: vec!["A_RATHER_LONG_NAME_OF_AN_ENTRY".to_owned(); 3], cells: vec![row(), row(), row()] }
    }

    #[test]
    fn seven_regions_fit_into_eighty_columns_without_a_value_that_is_cut() {
        let text = grid(7, "a value that is rather long").layout(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(text.contains("#2k9xw") && !text.contains("a value"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("A_RATHER_LONG_NAME")).count(), 3, "one block:\n{text}");
    }

    #[test]
    fn more_regions_than_fit_come_in_blocks() {
        let text = grid(20, "x").layout(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert_eq!(text.matches("BASE").count(), 3, "{text}");
        let joined: String = text.split_whitespace().collect();
        assert!(joined.contains("19"), "{text}");
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let text = grid(20, "a value that is rather long").layout(None);
        assert!(text.contains("a value that is rather long") && text.lines().count() == 4, "{text}");
    }

    #[test]
    fn a_terminal_of_no_width_at_all_is_survived() {
        assert!(grid(3, "x").layout(Some(1)).contains('…'));
    }

    #[test]
    fn names_of_regions_break_at_their_dashes() {
        assert_eq!(wrap("ap-southeast-1", 10), ["ap-", "southeast-", "1"]);
        assert_eq!(wrap("sfo3", 6), ["sfo3"]);
    }
}
