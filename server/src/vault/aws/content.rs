//! What a secret of AWS holds: names and values, or one value.

use chandlery_wire::api::AwsForm;
use chandlery_wire::{Pairs, Value, dotenv};
use serde_json::value::RawValue;

/// One pair of a secret, before anybody asked whether its name can be an entry's.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    /// Or why it has none that an entry can have; whoever leaves the key out does not mind.
    pub(super) value: Result<Value, Unfit>,
}

/// Why a key has no value that an entry can have.
#[derive(Debug)]
pub(super) enum Unfit {
    Value(&'static str),
    /// A line of one word, which may be a value: it is not quoted.
    Line(usize),
}

/// What is in it. A fault quotes no value.
#[derive(Debug)]
pub(super) enum Content {
    /// Beside the pairs, what could not be read: it may hide keys.
    Pairs(AwsForm, Vec<Pair>, Vec<String>),
    One,
}

/// Looks at a secret of text. Faults name what each is about.
pub(super) fn read(value: &Value, form: Option<AwsForm>) -> Result<Content, Vec<String>> {
    let Ok(text) = std::str::from_utf8(value.expose_secret()) else {
        return Err(vec!["its text is not UTF-8".to_owned()]);
    };
    match form {
        Some(AwsForm::Plain) => Ok(Content::One),
        Some(AwsForm::Json) => json(text),
        Some(AwsForm::Dotenv) => {
            let (pairs, faults) = lines(text);
            Ok(Content::Pairs(AwsForm::Dotenv, pairs, faults))
        }
        None if text.trim_start().starts_with('{') => match json(text) {
            Err(faults) if !is_json(text) => {
                let one =
                    "it begins like JSON and is none; say --as dotenv or --as plain if it is to be taken as it is";
                Err(faults.into_iter().take(1).map(|fault| format!("{fault}: {one}")).collect())
            }
            read => read,
        },
        None => Ok(match lines(text) {
            (pairs, faults) if faults.is_empty() && looks_like_lines(text, &pairs) => {
                Content::Pairs(AwsForm::Dotenv, pairs, faults)
            }
            _ => Content::One,
        }),
    }
}

/// A password may have a `=` in it: one line alone is an assignment only where its name is one as people write them.
fn looks_like_lines(text: &str, pairs: &[Pair]) -> bool {
    let upper = |key: &str| key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    match pairs {
        [] => false,
        pairs if pairs.iter().any(|pair| pair.value.is_err()) => false,
        [pair] => {
            let empty = pair.value.as_ref().is_ok_and(Value::is_empty);
            upper(&pair.key) && !empty && text.trim_end_matches('=').contains('=')
        }
        _ => true,
    }
}

/// The assignments, and which lines are none.
fn lines(text: &str) -> (Vec<Pair>, Vec<String>) {
    let (read, faults) = dotenv::assignments(text);
    let faults = faults.iter().map(|fault| format!("line {}: {}", fault.line, fault.what)).collect();
    let pair = |one: dotenv::Assignment| Pair { key: one.name, value: one.value.ok_or(Unfit::Line(one.line)) };
    (read.into_iter().map(pair).collect(), faults)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Strings by what they say; numbers, `true` and `false` as they are written.
fn json(text: &str) -> Result<Content, Vec<String>> {
    // The parser's own sentence may quote what it found.
    let Pairs(raw) = serde_json::from_str::<Pairs<&RawValue>>(text).map_err(|error| match error.is_data() {
        true => vec!["it is not a JSON object of names and values".to_owned()],
        false => {
            vec![format!("it is not JSON: something is wrong on line {}, column {}", error.line(), error.column())]
        }
    })?;
    let pair = |(key, raw): (String, &RawValue)| {
        let literal = raw.get();
        let value = match literal.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<String>(literal) {
                Ok(value) => Ok(Value::new(value)),
                Err(_) => Err("holds an escape that is no character"),
            },
            Some(b'{' | b'[') => Err("is an object or a list; make a text of it at AWS, or leave it out"),
            Some(b'n') => Err("is null; leave it out, or give it a value at AWS"),
            _ => Ok(Value::new(literal.as_bytes())),
        };
        Pair { key, value: value.map_err(Unfit::Value) }
    };
    Ok(Content::Pairs(AwsForm::Json, raw.into_iter().map(pair).collect(), Vec::new()))
}

/// A value of a JSON object: what it says, and how it is written.
#[derive(Debug)]
pub(super) struct Literal {
    pub(super) value: Value,
    pub(super) json: Value,
}

/// Every pair of a JSON object, whatever its values are.
pub(super) fn literals(object: &Value) -> Result<Vec<(String, Literal)>, &'static str> {
    const NONE: &str = "holds what is no JSON object";
    let text = std::str::from_utf8(object.expose_secret()).map_err(|_| NONE)?;
    let Pairs(pairs) = serde_json::from_str::<Pairs<&RawValue>>(text).map_err(|_| NONE)?;
    let mut literals: Vec<(String, Literal)> = Vec::new();
    for (key, raw) in pairs {
        let json = raw.get();
        let said = if json.starts_with('"') { serde_json::from_str::<String>(json).ok() } else { None };
        let literal = Literal { value: said.map_or_else(|| Value::new(json), Value::new), json: Value::new(json) };
        // Of a key that stands twice, everybody's reader takes the last.
        literals.retain(|(other, _)| *other != key);
        literals.push((key, literal));
    }
    Ok(literals)
}

/// A key in a message, cut to what a person would recognise it by.
pub(super) fn quoted(key: &str) -> String {
    let short: String = key.chars().take(60).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> (&'static str, Vec<(String, String)>) {
        match read(&Value::new(text), None).unwrap() {
            Content::One => ("one", Vec::new()),
            Content::Pairs(form, pairs, faults) => {
                assert!(faults.is_empty(), "{faults:?}");
                let text = |value: &Value| String::from_utf8(value.expose_secret().to_vec()).unwrap();
                let word = if form == AwsForm::Json { "json" } else { "dotenv" };
                (word, pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref().unwrap()))).collect())
            }
        }
    }

    #[test]
    fn a_secret_is_looked_at() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(
            look(r#" {"A": "x\ny", "port": 3306, "on": true}"#),
            ("json", pairs(&[("A", "x\ny"), ("port", "3306"), ("on", "true")]))
        );
        assert_eq!(look("A=1\nB='x y'\n"), ("dotenv", pairs(&[("A", "1"), ("B", "x y")])));
        assert_eq!(look("# all\nDB_URL=postgres://a?b=c"), ("dotenv", pairs(&[("DB_URL", "postgres://a?b=c")])));
        for one in [
            "hunter2",
            "",
            "abc=def",
            "c2VjcmV0Cg==",
            "C2VJ==",
            "[1, 2]",
            "\"text\"",
            "-----BEGIN X-----\nMIIB=\n-----END X-----\n",
            "two words = x",
        ] {
            assert_eq!(look(one).0, "one", "{one}");
        }
    }

    #[test]
    fn faults_name_the_key_and_no_value() {
        for text in [r#"{"A": {"s3cret": 1}}"#, r#"{"A": ["s3cret"]}"#, r#"{"A": null}"#] {
            let Ok(Content::Pairs(AwsForm::Json, pairs, faults)) = read(&Value::new(text), None) else {
                panic!("{text}")
            };
            let why = format!("{:?}", pairs[0].value.as_ref().unwrap_err());
            assert!(pairs.len() == 1 && faults.is_empty() && pairs[0].key == "A" && !why.contains("s3cret"), "{why}");
        }
        for text in ["{\"A\": s3cret", "{s3cret}", "{\"A\": \"s3cret\"} s3cret"] {
            let faults = read(&Value::new(text), None).unwrap_err();
            assert!(!format!("{faults:?}").contains("s3cret"), "{faults:?}");
        }
        for text in ["hunter2", "two words\nA=1"] {
            let Ok(Content::Pairs(_, pairs, faults)) = read(&Value::new(text), Some(AwsForm::Dotenv)) else {
                panic!("{text}")
            };
            assert!(pairs.iter().any(|pair| pair.value.is_err()) || !faults.is_empty(), "{text}");
        }
        assert!(read(&Value::new([0xff]), None).is_err());
    }
}
