//! Tables for people: aligned, and no wider than the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::printable;

const GAP: &str = "  ";
/// No column is cut below this.
const NARROWEST: usize = 8;

/// A table in the making. Cells are one line each; what would break that is replaced.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&title| title.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for every column");
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    /// Lays it out for whoever reads stdout: cut to the terminal's width, or whole where there is no terminal.
    pub(crate) fn for_stdout(&self) -> String {
        self.layout(terminal_width())
    }

    /// For a plan, which is shown on stderr where stdout goes elsewhere.
    pub(crate) fn for_stderr_or_stdout(&self) -> String {
        self.layout(terminal_width().or_else(|| columns(std::io::stderr())))
    }

    pub(crate) fn layout(&self, fit: Option<usize>) -> String {
        let widths = self.widths(fit);
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
        }
        text
    }

    /// The widest column gives way first, until the row fits or there is nothing left to take. The first one, which says
    /// what the row is about, does so last.
    fn widths(&self, fit: Option<usize>) -> Vec<usize> {
        let columns = self.rows[0].len();
        let widest = |column: usize| self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        let Some(fit) = fit else { return widths };
        let room = fit.saturating_sub(GAP.len() * (columns - 1));
        while widths.iter().sum::<usize>() > room {
            let (first, others) = widths.split_at_mut(1);
            match others.iter_mut().max().filter(|width| **width > NARROWEST).or(first.first_mut()) {
                Some(width) if *width > NARROWEST => *width -= 1,
                _ => break,
            }
        }
        widths
    }
}

/// The width of the terminal that stdout is; nothing, where it is none.
pub(crate) fn terminal_width() -> Option<usize> {
    columns(std::io::stdout())
}

fn columns(of: impl std::os::fd::AsFd) -> Option<usize> {
    let width = rustix::termios::tcgetwinsize(of).ok().map(|size| usize::from(size.ws_col));
    width.filter(|columns| *columns > 0)
}

/// With a sign for what would not stay in its cell, so that two values that differ in it alone look different.
pub(crate) fn one_line(cell: &str) -> String {
    printable(cell).replace('\n', "↵").replace('\t', "⇥")
}

/// The cell in exactly this width: cut with an ellipsis, or filled with spaces.
pub(crate) fn pad(cell: &str, width: usize) -> String {
    let mut text = if cell.width() <= width { cell.to_owned() } else { cut(cell, width) };
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(text.width())));
    text
}

fn cut(cell: &str, width: usize) -> String {
    let mut taken = 0;
    let keeps = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken < width
    };
    cell.chars().take_while(keeps).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "VALUE"]);
        table.row(vec!["DB_HOST".to_owned(), "a value that is rather long".to_owned()]);
        table.row(vec!["鍵".to_owned(), "two\nlines".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_the_eye_sees() {
        assert_eq!(table().layout(None), "NAME     VALUE\nDB_HOST  a value that is rather long\n鍵       two↵lines\n");
    }

    #[test]
    fn the_widest_column_gives_way() {
        let text = table().layout(Some(20));
        assert!(text.lines().all(|line| line.width() <= 20), "{text}");
        assert!(text.contains("DB_HOST  a value th…"), "{text}");
    }

    #[test]
    fn a_terminal_of_no_width_at_all_is_survived() {
        assert!(table().layout(Some(1)).contains('…'));
    }
}
