//! What became of a write, and how times are shown.

use chandlery_wire::api::{State, Written};

use crate::output::table::Table;

/// The table of an import's answer.
pub(crate) fn table(written: &Written) -> String {
    let mut table = Table::new(&["NAME", "LAYER", "FOR", "VERSION", "RESULT"]);
    for entry in &written.entries {
        let result = if entry.changed { "written" } else { "unchanged" };
        let (layer, grant) = (entry.layer.to_string(), entry.grant.to_string());
        table.row(vec![entry.name.to_string(), layer, grant, entry.version.to_string(), result.to_owned()]);
    }
    table.for_stdout()
}

/// `2026-04-11T18:11:57.123Z` → `2026-04-11 18:11Z`: tables show minutes, JSON has it all.
pub(crate) fn minute(time: &str) -> String {
    match (time.get(..10), time.get(11..16)) {
        (Some(date), Some(clock)) if time.as_bytes()[10] == b'T' && time.ends_with('Z') => format!("{date} {clock}Z"),
        _ => time.to_owned(),
    }
}

pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Live => "live",
        State::Deleted => "deleted",
        State::Removed => "removed",
        State::Destroyed => "destroyed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_where_they_can_be() {
        assert_eq!(minute("2026-04-11T18:11:57.123Z"), "2026-04-11 18:11Z");
        assert_eq!(minute("yesterday"), "yesterday");
    }
}
