//! The matrix as CSV (RFC 4180): an entry a line, a column for the base and for each region.

use chandlery_wire::api::{Cell, Matrix};

use super::{in_full, inherited};

pub(super) fn write(matrix: &Matrix) -> String {
    let regions = matrix.regions.iter().map(|region| region.as_str());
    let header: Vec<String> =
        ["name", "for", "differs", "base"].into_iter().chain(regions).map(str::to_owned).collect();
    let mut text = line(&header);
    for row in &matrix.rows {
        let cell = |cell: Option<&Cell>, without: &str| cell.map_or_else(|| without.to_owned(), in_full);
        let mut fields = vec![row.name.to_string(), row.grant.to_string(), row.differs.to_string()];
        fields.push(cell(row.base.as_ref(), "-"));
        fields.extend(matrix.regions.iter().map(|region| cell(row.overlays.get(region), inherited(row))));
        text.push_str(&line(&fields));
    }
    text
}

fn line(fields: &[String]) -> String {
    let quoted = |field: &String| {
        let field = harmless(field);
        match field.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

/// With an apostrophe before what a spreadsheet would take for a formula, and run (CWE-1236): these files are made to be opened
/// in one, by people who can do more than those who write values. Numbers and our own sign stay.
fn harmless(field: &str) -> String {
    let starts_one = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    match starts_one && field != "-" && field.parse::<f64>().is_err() {
        true => format!("'{field}"),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["a", "b,c", "d\"e", "f\ng"].map(str::to_owned);
        assert_eq!(line(&fields), "a,\"b,c\",\"d\"\"e\",\"f\ng\"\r\n");
    }

    #[test]
    fn nothing_is_a_formula() {
        let of = |field: &str| line(&[field.to_owned()]);
        assert_eq!(of("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0\r\n");
        assert_eq!(of("@SUM(1,2)"), "\"'@SUM(1,2)\"\r\n");
        assert_eq!(of("\t=1"), "'\t=1\r\n");
        assert_eq!(of("-2+3"), "'-2+3\r\n");
        for harmless in ["-", "-5", "+1.5", "a=b", "·"] {
            assert_eq!(of(harmless), format!("{harmless}\r\n"));
        }
    }
}
