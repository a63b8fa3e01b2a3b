//! A flat JSON object of names and values.

use chandlery_wire::{Pairs, Value};
use serde_json::value::RawValue;

use super::{Fault, Reading, Variable, text_of, utf8, write_each};

pub(crate) fn read(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let text = match utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(fault) => {
            reading.faults.push(fault);
            return reading;
        }
    };
    match serde_json::from_str::<Pairs<&RawValue>>(text) {
        Ok(Pairs(pairs)) => pairs.into_iter().for_each(|(name, raw)| take(&mut reading, text, &name, raw)),
        // The parser's own sentence may quote what it found.
        Err(error) if error.is_data() => {
            reading.faults.push(Fault::at(error.line().max(1), "is not a JSON object of names and values"));
        }
        Err(error) => {
            let what = format!("is not JSON: something is wrong at column {}", error.column());
            reading.faults.push(Fault::at(error.line().max(1), what));
        }
    }
    reading
}

/// Strings by what they say; numbers, `true` and `false` exactly as they are written.
fn take(reading: &mut Reading, text: &str, name: &str, raw: &RawValue) {
    let literal = raw.get();
    let line = 1 + text[..literal.as_ptr().addr() - text.as_ptr().addr()].matches('\n').count();
    let fault = match literal.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(literal) {
            Ok(value) => return reading.take(name, Value::new(value), line),
            Err(_) => "holds an escape that is no character",
        },
        Some(b'{' | b'[') => "is an object or a list; the values of an import are strings, numbers, true and false",
        Some(b'n') => "is null; an empty value is written \"\"",
        _ => return reading.take(name, Value::new(literal.as_bytes()), line),
    };
    reading.faults.push(Fault::at(line, format!("{} {fault}", super::quoted(name))));
}

pub(crate) fn write(variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    let lines = write_each(variables, |text, name, value| {
        if !text.is_empty() {
            text.extend_from_slice(b",\n");
        }
        let value = serde_json::to_string(text_of(value)?).map_err(|error| error.to_string())?;
        text.extend_from_slice(format!("  \"{name}\": {value}").as_bytes());
        Ok(())
    })?;
    let empty = lines.is_empty();
    Ok(if empty { b"{}\n".to_vec() } else { [b"{\n", &lines[..], b"\n}\n"].concat() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_are_taken_as_they_are_written() {
        let reading = read(b"{\"A\": 1.10, \"B\": true, \"C\": \"x\\ny\", \"D\": 1e400, \"E\": 12345678901234567890}");
        let values: Vec<&[u8]> = reading.items.iter().map(|item| item.value.expose_secret()).collect();
        assert_eq!(values, [&b"1.10"[..], b"true", b"x\ny", b"1e400", b"12345678901234567890"]);
        assert!(reading.faults.is_empty());
    }

    #[test]
    fn all_faults_are_named_with_their_lines_and_no_value() {
        let text = b"{\n\"A\": {\"s3cret\": 1},\n\"B\": null,\n\"C\": [\"s3cret\"],\n\"D-D\": \"s3cret\",\n\"E\": \"1\",\n\"E\": \"2\",\n\"F\": \"\\u0000\"}";
        let reading = read(text);
        let lines: Vec<usize> = reading.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 7, 8]);
        assert!(!format!("{:?}", reading.faults).contains("s3cret"));
    }

    #[test]
    fn what_is_no_object_is_refused_without_a_quote_of_it() {
        for text in
            ["", "[1]", "\"s3cret\"", "{\"A\": s3cret}", "{\"A\": \"s3cret\"", "{} s3cret", "\u{feff}7", "{\"A\":01}"]
        {
            let reading = read(text.as_bytes());
            assert_eq!(reading.faults.len(), 1, "{text}");
            assert!(!reading.faults[0].what.contains("s3cret"), "{:?}", reading.faults);
        }
    }
}
