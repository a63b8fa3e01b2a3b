//! A flat YAML mapping of names and values.
//!
//! Read from the parser's events rather than into its values: `yes`, `0123` and `1.10` stay what is written, where a
//! schema would make `true`, 83 and 1.1 of them.

use chandlery_wire::Value;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Fault, Reading, Variable, text_of, utf8, write_each};

pub(crate) fn read(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    match utf8(bytes) {
        Ok(text) => mapping(text.strip_prefix('\u{feff}').unwrap_or(text), &mut reading),
        Err(fault) => reading.faults.push(fault),
    }
    reading
}

/// Walks the events of one document. `depth` counts open collections; names and values are those at depth 1.
fn mapping(text: &str, reading: &mut Reading) {
    let mut depth = 0;
    let mut name: Option<(String, usize)> = None;
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(pair) => pair,
            Err(error) => {
                let what = format!("is not YAML: something is wrong at column {}", error.marker().col() + 1);
                return reading.faults.push(Fault::at(error.marker().line(), what));
            }
        };
        let line = line_of(&span);
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return reading.faults.push(Fault::at(line, "a second document starts here; one is expected"));
                }
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                if depth == 1 && matches!(event, Event::SequenceStart(..)) {
                    return reading.faults.push(Fault::at(line, "a list; a mapping of names and values is expected"));
                }
                if depth == 2 {
                    nested(reading, name.take(), line);
                }
            }
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            Event::Alias(_) if depth == 1 => {
                name = None;
                reading.faults.push(Fault::at(line, "an alias; write the value itself"));
            }
            Event::Scalar(..) if depth == 0 => not_a_mapping(reading, &event, line),
            Event::Scalar(value, style, ..) if depth == 1 => match name.take() {
                None => name = Some((value.into_owned(), line)),
                Some((name, line)) => scalar(reading, &name, &value, style, line),
            },
            _ => {}
        }
    }
}

fn scalar(reading: &mut Reading, name: &str, value: &str, style: ScalarStyle, line: usize) {
    let null = style == ScalarStyle::Plain && matches!(value, "" | "~" | "null" | "Null" | "NULL");
    if name == "<<" && style == ScalarStyle::Plain {
        reading.faults.push(Fault::at(line, "a merge key; write the values themselves"));
    } else if null {
        let what = format!("{} is null; an empty value is written \"\"", super::quoted(name));
        reading.faults.push(Fault::at(line, what));
    } else {
        reading.take(name, Value::new(value.as_bytes()), line);
    }
}

fn nested(reading: &mut Reading, name: Option<(String, usize)>, line: usize) {
    let what = match name {
        Some((name, _)) => {
            format!("{} is a mapping or a list; the values of an import are scalars", super::quoted(&name))
        }
        None => "a name is a mapping or a list".to_owned(),
    };
    reading.faults.push(Fault::at(line, what));
}

/// A document without anything in it is an import of nothing; any other scalar is not what was meant.
fn not_a_mapping(reading: &mut Reading, event: &Event<'_>, line: usize) {
    if !matches!(event, Event::Scalar(value, ScalarStyle::Plain, ..) if value.is_empty()) {
        reading.faults.push(Fault::at(line, "is not a YAML mapping of names and values"));
    }
}

fn line_of(span: &Span) -> usize {
    span.start.line().max(1)
}

pub(crate) fn write(variables: &[Variable<'_>]) -> Result<Vec<u8>, Vec<String>> {
    write_each(variables, |text, name, value| {
        // Names are quoted too: to a reader of YAML 1.1, `NO` is a boolean.
        text.extend_from_slice(format!("\"{name}\": \"").as_bytes());
        for c in text_of(value)?.chars() {
            match c {
                '"' | '\\' => text.extend([b'\\', c as u8]),
                '\n' => text.extend_from_slice(b"\\n"),
                '\t' => text.extend_from_slice(b"\\t"),
                '\r' => text.extend_from_slice(b"\\r"),
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                    text.extend_from_slice(format!("\\u{:04X}", c as u32).as_bytes());
                }
                c => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        text.extend_from_slice(b"\"\n");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let reading = read(text.as_bytes());
        assert_eq!(reading.faults, [], "{text}");
        let text = |item: &super::super::Item| String::from_utf8(item.value.expose_secret().to_vec()).unwrap();
        reading.items.iter().map(|item| (item.name.to_string(), text(item))).collect()
    }

    #[test]
    fn scalars_are_what_is_written() {
        let text = "A: yes\nB: 0123\nC: 1.10\nD: 'it''s'\nE: \"a\\nb\"\nF: |\n  one\n  two\nG: >-\n  one\n  two\nH: \"\"\nNO: off # why\n";
        let expected = [
            ("A", "yes"),
            ("B", "0123"),
            ("C", "1.10"),
            ("D", "it's"),
            ("E", "a\nb"),
            ("F", "one\ntwo\n"),
            ("G", "one two"),
            ("H", ""),
            ("NO", "off"),
        ];
        assert_eq!(pairs(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("# nothing\n"), []);
        assert_eq!(pairs("---\nA: 1\n...\n").len(), 1);
        assert_eq!(pairs("{A: 1, B: x}").len(), 2);
    }

    #[test]
    fn all_faults_are_named_with_their_lines_and_no_value() {
        let text = "A: {s3cret: 1}\nB:\nC: [s3cret]\nD-D: s3cret\nE: 1\nE: 2\nF: ~\nG: &x s3cret\nH: *x\n<<: s3cret\n";
        let reading = read(text.as_bytes());
        let lines: Vec<usize> = reading.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6, 7, 9, 10]);
        assert!(!format!("{:?}", reading.faults).contains("s3cret"), "{:?}", reading.faults);
    }

    #[test]
    fn what_is_no_mapping_is_refused_without_a_quote_of_it() {
        for text in ["s3cret", "- s3cret\n", "A: \"s3cret\n", "A: 1\n---\nB: s3cret\n", "A: 1\n B: s3cret\n", "\"\""] {
            let reading = read(text.as_bytes());
            assert_eq!(reading.faults.len(), 1, "{text}: {:?}", reading.faults);
            assert!(!reading.faults[0].what.contains("s3cret"), "{:?}", reading.faults);
        }
    }
}
