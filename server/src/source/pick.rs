//! The parts of a value: of a JSON object, or of lines `NAME=value`.

use std::collections::BTreeMap;

use chandlery_wire::{Pairs, Value, dotenv};
use serde_json::value::RawValue;

/// All parts by their keys. A text of a JSON object's is itself; everything else is as it is written in JSON, so that
/// `3306` and `true` are what `jq` would print. `null` is no value.
pub(super) fn parts(whole: &Value) -> Result<BTreeMap<String, Value>, &'static str> {
    let bytes = whole.expose_secret();
    if bytes.trim_ascii_start().starts_with(b"{") {
        return of_object(bytes).map_err(|_| "it begins like a JSON object and is none");
    }
    let (read, faults) = dotenv::assignments(std::str::from_utf8(bytes).map_err(|_| NEITHER)?);
    // A name alone is no assignment; a password looks like one.
    let parts: Option<BTreeMap<String, Value>> = read.into_iter().map(|one| Some((one.name, one.value?))).collect();
    parts.filter(|parts| faults.is_empty() && !parts.is_empty()).ok_or(NEITHER)
}

fn of_object(bytes: &[u8]) -> serde_json::Result<BTreeMap<String, Value>> {
    let mut parts = BTreeMap::new();
    // Borrowed: a copy that nobody wipes would stay behind.
    let Pairs(pairs) = serde_json::from_slice::<Pairs<&RawValue>>(bytes)?;
    for (key, raw) in pairs {
        let text = raw.get();
        let value = match text.as_bytes().first() {
            Some(b'"') => Value::new(serde_json::from_str::<String>(text)?.into_bytes()),
            _ if text == "null" => continue,
            _ => Value::new(text.as_bytes()),
        };
        parts.insert(key, value);
    }
    Ok(parts)
}

const NEITHER: &str = "it is neither a JSON object nor lines NAME=value";

#[cfg(test)]
mod tests {
    use super::*;

    fn part(whole: &str, key: &str) -> Option<String> {
        let parts = parts(&Value::new(whole)).ok()?;
        parts.get(key).map(|value| String::from_utf8(value.expose_secret().to_vec()).unwrap())
    }

    #[test]
    fn of_a_json_object() {
        let json =
            r#" {"A": "x\n\u00e9", "port": 3306, "tls": true, "n": null, "list": [1, {"a": 2}], "": "e", "A.b": ""}"#;
        for (key, value) in [
            ("A", Some("x\né")),
            ("port", Some("3306")),
            ("tls", Some("true")),
            ("n", None),
            ("list", Some(r#"[1, {"a": 2}]"#)),
            ("", Some("e")),
            ("A.b", Some("")),
            ("B", None),
        ] {
            assert_eq!(part(json, key).as_deref(), value, "{key}");
        }
        assert_eq!(part(r#"{"A": "1", "A": "2"}"#, "A").as_deref(), Some("2"));
    }

    #[test]
    fn of_lines() {
        let text = "# all of it\nexport DB_HOST=db.internal\nDB_PASSWORD='it'\\''s # me'\nEMPTY=\nURL=a=b\n";
        for (key, value) in [
            ("DB_HOST", Some("db.internal")),
            ("DB_PASSWORD", Some("it's # me")),
            ("EMPTY", Some("")),
            ("URL", Some("a=b")),
        ] {
            assert_eq!(part(text, key).as_deref(), value, "{key}");
        }
    }

    #[test]
    fn what_has_no_parts_says_so_and_nothing_else() {
        for whole in ["hunter2", "", "{\"A\": hunter2}", "[1]", "\"hunter2\"", "{\"hunter2\": 1"] {
            let why = parts(&Value::new(whole)).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        assert!(parts(&Value::new([0xff, b'=', b'1'])).is_err());
    }
}
