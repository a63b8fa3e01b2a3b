//! `${NAME}` and its relatives, as compose resolves them. docker-compose 1.29 knows no `+` and no nested defaults, Compose
//! 2 knows all of it; a file that either of them reads means the same here.

use std::fmt;

use super::yaml::{Kind, Node};
use super::{Fault, Place};

/// One `${NAME…}` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) at: Place,
    /// The keys that lead to it: `services`, `app`, `image`.
    pub(crate) path: Vec<String>,
    /// Whether there is a value, be it the default.
    pub(crate) met: Met,
}

/// What became of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// The variable is set.
    Set,
    /// The file says what to take instead.
    Default,
    /// Nothing is set, and nothing is taken instead: it became empty.
    Empty,
    /// `${NAME:?}`, and nothing is set: compose refuses the file.
    Required,
}

impl Use {
    /// Whether it stands in the value of a variable of a service.
    pub(crate) fn in_environment(&self) -> bool {
        matches!(&self.path[..], [services, _, environment, ..] if services == "services" && environment == "environment")
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ${{{}}} in {}", self.at, self.name, self.path.join("."))
    }
}

/// What `${…}` can see.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Resolves the scalars of the sections in which compose does so.
pub(crate) fn tree(node: &mut Node, lookup: &Lookup<'_>, uses: &mut Vec<Use>, faults: &mut Vec<Fault>) {
    const SECTIONS: [&str; 6] = ["services", "secrets", "configs", "volumes", "networks", "name"];
    for section in SECTIONS {
        if let Some(found) = node.get_mut(section) {
            walk(found, lookup, &mut vec![section.to_owned()], uses, faults);
        }
    }
}

fn walk(node: &mut Node, lookup: &Lookup<'_>, path: &mut Vec<String>, uses: &mut Vec<Use>, faults: &mut Vec<Fault>) {
    match &mut node.kind {
        Kind::Null => {}
        Kind::List(items) => items.iter_mut().for_each(|item| walk(item, lookup, path, uses, faults)),
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                path.push(key.clone());
                walk(value, lookup, path, uses, faults);
                path.pop();
            }
        }
        Kind::Scalar(scalar) if scalar.text.contains('$') => match resolve(&scalar.text, lookup) {
            Ok(resolved) => {
                scalar.text = resolved.text;
                scalar.plain = false;
                let found = resolved.names.into_iter();
                scalar.uses =
                    found.map(|(name, met)| Use { name, met, at: node.at.clone(), path: path.clone() }).collect();
                uses.extend(scalar.uses.iter().cloned());
            }
            Err(why) => faults.push(Fault::new(&node.at, format!("{}: {why}", path.join(".")))),
        },
        Kind::Scalar(_) => {}
    }
}

/// A text with its references resolved.
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// The names that decided what the text is.
    pub(crate) names: Vec<(String, Met)>,
}

/// # Errors
/// Says what is wrong with a reference, and quotes nothing of it but a name.
pub(crate) fn resolve(text: &str, lookup: &Lookup<'_>) -> Result<Resolved, String> {
    let mut resolved = Resolved { text: String::with_capacity(text.len()), names: Vec::new() };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        resolved.text.push_str(before);
        rest = match after.chars().next() {
            Some('$') => {
                resolved.text.push('$');
                &after[1..]
            }
            Some('{') => {
                let inside = &after[1..];
                let end = closing(inside).ok_or("a ${ is opened and never closed")?;
                braced(&inside[..end], lookup, &mut resolved)?;
                &inside[end + 1..]
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let length = name_length(after);
                let name = &after[..length];
                let value = lookup(name);
                resolved.names.push((name.to_owned(), if value.is_some() { Met::Set } else { Met::Empty }));
                resolved.text.push_str(&value.unwrap_or_default());
                &after[length..]
            }
            _ => return Err("a single $; write $$ for one that is meant".to_owned()),
        };
    }
    resolved.text.push_str(rest);
    Ok(resolved)
}

/// Where the brace that closes this one is, references within it skipped.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// What stands between the braces: a name, and what to do where it is not set (`-`, `?`, `+`) or empty (`:-`, `:?`, `:+`).
fn braced(inside: &str, lookup: &Lookup<'_>, resolved: &mut Resolved) -> Result<(), String> {
    let (name, operation) = inside.split_at(name_length(inside));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("between ${ and } stands no name".to_owned());
    }
    let value = lookup(name);
    let (colon, operation) = operation.strip_prefix(':').map_or((false, operation), |rest| (true, rest));
    let good = value.filter(|value| !(colon && value.is_empty()));
    let mut nested = |text: &str, met| -> Result<(), String> {
        let inner = resolve(text, lookup)?;
        resolved.text.push_str(&inner.text);
        resolved.names.push((name.to_owned(), met));
        resolved.names.extend(inner.names);
        Ok(())
    };
    match (operation.chars().next(), good) {
        (None, _) if colon => Err(format!("${{{name}:}} has nothing after its colon")),
        (None | Some('-' | '?'), Some(value)) => {
            resolved.text.push_str(&value);
            resolved.names.push((name.to_owned(), Met::Set));
            Ok(())
        }
        (None, None) => {
            resolved.names.push((name.to_owned(), Met::Empty));
            Ok(())
        }
        (Some('-'), None) => nested(&operation[1..], Met::Default),
        (Some('?'), None) => {
            resolved.names.push((name.to_owned(), Met::Required));
            Ok(())
        }
        (Some('+'), Some(_)) => nested(&operation[1..], Met::Set),
        (Some('+'), None) => {
            resolved.names.push((name.to_owned(), Met::Default));
            Ok(())
        }
        _ => Err(format!("${{{name}…}} is followed by what compose does not know")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let known = [("A", "a"), ("EMPTY", ""), ("B", "b"), ("a_1", "low")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn every_form_means_what_compose_says() {
        let cases = [
            ("x", "x"),
            ("$A-$B", "a-b"),
            ("${A}", "a"),
            ("$a_1", "low"),
            ("$$A $${A}", "$A ${A}"),
            ("${NO}", ""),
            ("$NO", ""),
            ("${NO-d}${EMPTY-d}${A-d}", "da"),
            ("${NO:-d}${EMPTY:-d}${A:-d}", "dda"),
            ("${NO:-}", ""),
            ("${NO:-http://x:80/?a=b}", "http://x:80/?a=b"),
            ("${NO:-${EMPTY:-${B}}}", "b"),
            ("${NO:-$$}", "$"),
            ("${A:+yes}${EMPTY:+yes}${NO+yes}${EMPTY+set}", "yesset"),
            ("${A:?no}${EMPTY?no}", "a"),
            ("{$A}", "{a}"),
            ("${NO:-{}}", "{}"),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text, &lookup).unwrap().text, expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_told_from_what_has_a_default() {
        let met = |text: &str| resolve(text, &lookup).unwrap().names.last().unwrap().1;
        assert_eq!(met("${A}"), Met::Set);
        assert_eq!(met("${NO}"), Met::Empty);
        assert_eq!(met("${NO:-}"), Met::Default);
        assert_eq!(met("${NO:?set it}"), Met::Required);
        assert_eq!(met("${EMPTY:?set it}"), Met::Required);
        assert_eq!(met("${EMPTY?set it}"), Met::Set);
        assert_eq!(met("${NO:+x}"), Met::Default);
    }

    #[test]
    fn what_compose_refuses_is_refused() {
        for text in ["$", "a$", "$5", "${", "${A", "${}", "${5}", "${A:}", "${A!x}", "${A b}", "$ A", "${NO:-${A}"] {
            assert!(resolve(text, &lookup).is_err(), "{text}");
        }
    }
}
