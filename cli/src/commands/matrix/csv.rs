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
    let quoted = |field: &String| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.clone(),
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["a", "b,c", "d\"e", "f\ng"].map(str::to_owned);
        assert_eq!(line(&fields), "a,\"b,c\",\"d\"\"e\",\"f\ng\"\r\n");
    }
}
