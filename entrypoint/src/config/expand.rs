//! Which inherited `X_FILE` fill an `X` (`--expand-files`).

use chandlery_wire::VariableName;

use super::Wrong;

/// Which variables to fill from the files that others name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExpandFiles {
    Nothing,
    /// Those whose file lies where secrets lie: `LOG_FILE` and `SSL_CERT_FILE` are none of these.
    Secrets,
    /// These, wherever their files lie.
    Named(Vec<String>),
}

/// Reads a switch, or a list of names.
pub(super) fn parse(text: &str) -> Result<ExpandFiles, Wrong> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(ExpandFiles::Secrets),
        "0" | "false" | "no" | "off" => Ok(ExpandFiles::Nothing),
        names => {
            let names: Result<_, _> = names.split(',').map(|name| VariableName::parse(name.trim())).collect();
            let names: Vec<VariableName> = names.map_err(|error| {
                let hint = "write 1 for every X_FILE that lies in /run/secrets, or the names X, separated by commas";
                (error.to_string(), hint.to_owned())
            })?;
            // Whoever writes the name of the other variable means this one.
            let plain = |name: &VariableName| name.as_str().strip_suffix("_FILE").unwrap_or(name.as_str()).to_owned();
            Ok(ExpandFiles::Named(names.iter().map(plain).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_or_names() {
        assert_eq!(parse("1"), Ok(ExpandFiles::Secrets));
        assert_eq!(parse("off"), Ok(ExpandFiles::Nothing));
        assert_eq!(parse("A, B_FILE"), Ok(ExpandFiles::Named(vec!["A".to_owned(), "B".to_owned()])));
        for typo in ["A,", ",", "2", "A B", "a=b", "A;B"] {
            assert!(parse(typo).is_err(), "{typo:?}");
        }
    }
}
