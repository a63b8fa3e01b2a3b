//! A table whose columns keep their meaning however narrow they are: a value that does not fit is shown by what stands for
//! it, and never cut, for two values that are cut look the same.

use std::collections::HashSet;

use chandlery_wire::api::{Cell, Matrix};
use unicode_width::UnicodeWidthStr;

use super::{in_full, inherited, mark, title};
use crate::output::table::{one_line, pad};

/// A value that is longer than this is shown by its mark on any terminal.
const WIDEST: usize = 24;
/// A name is cut to this before a column is left out, if names that are cut so are still told apart.
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

    fn line<'t>(&self, text: &mut String, title: &Measured, cells: impl Iterator<Item = &'t Measured>) {
        match title.width <= self.name {
            true => fill(text, title, self.name),
            false => fill(text, &Measured::new(cut_in_the_middle(&title.text, self.name)), self.name),
        }
        for (cell, width) in cells.zip(&self.widths) {
            text.extend(std::iter::repeat_n(' ', self.gap));
            fill(text, cell, *width);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
}

/// Text, and the columns that it takes: measured once, for there may be tens of thousands.
#[derive(Debug)]
struct Measured {
    text: String,
    width: usize,
}

impl Measured {
    fn new(text: String) -> Self {
        Self { width: text.width(), text }
    }
}

/// A cell in full; and what stands for it where that is too long, if that is something else.
#[derive(Debug)]
struct Text {
    full: Measured,
    short: Option<Measured>,
}

impl Text {
    fn new(full: String, short: Option<String>) -> Self {
        Self { full: Measured::new(full), short: short.map(Measured::new) }
    }

    fn short(&self) -> &Measured {
        self.short.as_ref().unwrap_or(&self.full)
    }

    fn fitting(&self, width: usize) -> &Measured {
        if self.full.width <= width { &self.full } else { self.short() }
    }
}

#[derive(Debug)]
pub(super) struct Grid {
    headers: Vec<String>,
    names: Vec<Measured>,
    /// By row: the base's, and each region's.
    cells: Vec<Vec<Text>>,
}

pub(super) fn grid(matrix: &Matrix) -> Grid {
    let regions = matrix.regions.iter().map(ToString::to_string);
    let headers = std::iter::once("BASE".to_owned()).chain(regions).collect();
    let text = |cell: Option<&Cell>, without: &str| match cell {
        Some(cell) if cell.value.is_some() => Text::new(one_line(&in_full(cell)), Some(mark(cell))),
        Some(cell) => Text::new(mark(cell), None),
        None => Text::new(without.to_owned(), None),
    };
    let cells = matrix.rows.iter().map(|row| {
        let base = text(row.base.as_ref(), "-");
        let overlays = matrix.regions.iter().map(|region| text(row.overlays.get(region), inherited(row)));
        std::iter::once(base).chain(overlays).collect()
    });
    let names = matrix.rows.iter().map(|row| Measured::new(title(row))).collect();
    Grid { headers, names, cells: cells.collect() }
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
        let narrowest_name = self.narrowest_name();
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
                    None if shape.name > narrowest_name => shape.name -= 1,
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
        self.names.iter().map(|name| name.width).max().unwrap_or(0).max("NAME".len())
    }

    fn narrowest_name(&self) -> usize {
        let full = self.name_width();
        let different = |width: usize| {
            self.names.iter().map(|name| cut_in_the_middle(&name.text, width)).collect::<HashSet<String>>().len()
        };
        let all = different(full);
        let told_apart = |width: &usize| different(*width) == all;
        (NARROWEST_NAME..full).find(told_apart).unwrap_or(full)
    }

    /// The width in which everything in the column that is not longer than `most` is shown in full.
    fn widest(&self, column: usize, most: usize) -> usize {
        let full = self.cells.iter().map(|row| row[column].full.width).filter(|width| *width <= most).max();
        full.unwrap_or(0).max(self.headers[column].width().min(most))
    }

    /// The width that the column's marks take, and a readable piece of its header.
    fn narrowest(&self, column: usize) -> usize {
        self.cells.iter().map(|row| row[column].short().width).max().unwrap_or(0).max(5)
    }

    fn block(&self, columns: &[usize], shape: &Shape) -> String {
        let wrapped = |(at, width): (&usize, &usize)| -> Vec<Measured> {
            wrap(&self.headers[*at], *width).into_iter().map(Measured::new).collect()
        };
        let headers: Vec<Vec<Measured>> = columns.iter().zip(&shape.widths).map(wrapped).collect();
        let lines = headers.iter().map(Vec::len).max().unwrap_or(1);
        let (name, nothing) = (Measured::new("NAME".to_owned()), Measured::new(String::new()));
        let mut text = String::new();
        for line in 0..lines {
            let title = if line == 0 { &name } else { &nothing };
            shape.line(&mut text, title, headers.iter().map(|header| header.get(line).unwrap_or(&nothing)));
        }
        for (title, row) in self.names.iter().zip(&self.cells) {
            let cells = columns.iter().zip(&shape.widths).map(|(at, width)| row[*at].fitting(*width));
            shape.line(&mut text, title, cells);
        }
        text
    }
}

/// The text in exactly this width.
fn fill(line: &mut String, Measured { text, width: own }: &Measured, width: usize) {
    match width.checked_sub(*own) {
        Some(rest) => {
            line.push_str(text);
            line.extend(std::iter::repeat_n(' ', rest));
        }
        None => line.push_str(&pad(text, width)),
    }
}

/// A name without its middle: many begin alike, and many end alike.
fn cut_in_the_middle(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width || width < 3 {
        return name.to_owned();
    }
    let (head, tail) = (width / 2, width - width / 2 - 1);
    name.chars().take(head).chain(['…']).chain(name.chars().skip(count - tail)).collect()
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
        let text = |full: &str| Text::new(full.to_owned(), Some("#2k9xw".to_owned()));
        let row = || std::iter::once(text(value)).chain((0..regions).map(|_| text("·"))).collect();
        Grid {
            headers,
            names: (0..3).map(|_| Measured::new("A_RATHER_LONG_NAME_OF_AN_ENTRY".to_owned())).collect(),
            cells: vec![row(), row(), row()],
        }
    }

    #[test]
    fn seven_regions_fit_into_eighty_columns_without_a_value_that_is_cut() {
        let text = grid(7, "a value that is rather long").layout(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(text.contains("#2k9xw") && !text.contains("a value"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("A_RATHER_LON")).count(), 3, "one block:\n{text}");
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
    fn names_that_are_cut_are_still_told_apart() {
        let mut matrix = grid(7, "x");
        let name = |n: usize| Measured::new(format!("A_VARIABLE_OF_THE_APPLICATION_OF_A_LONG_NAME_{n:02}"));
        matrix.names = (0..3).map(name).collect();
        let text = matrix.layout(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        let rows: HashSet<&str> = text.lines().filter(|line| line.starts_with("A_VARIABLE_")).collect();
        assert!(rows.len() == 3 && text.contains("NAME_01"), "{text}");
        assert_eq!(cut_in_the_middle("ABCDEFGH", 5), "AB…GH");
        // Where they cannot be, columns give way instead.
        matrix.names = (0..3).map(|n| Measured::new(format!("{}{n}{}", "A".repeat(30), "B".repeat(30)))).collect();
        let text = matrix.layout(Some(80));
        assert!(text.matches("BASE").count() > 1 && text.contains(&format!("1{}", "B".repeat(30))), "{text}");
    }

    #[test]
    fn names_of_regions_break_at_their_dashes() {
        assert_eq!(wrap("ap-southeast-1", 10), ["ap-", "southeast-", "1"]);
        assert_eq!(wrap("sfo3", 6), ["sfo3"]);
    }
}
