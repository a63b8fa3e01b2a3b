//! A template's syntax: `${NAME}`, `${stack/environment/NAME}`, and `$${` for a literal `${`.

use std::fmt;

use chandlery_wire::{EntryName, EnvironmentName, NameError, StackName};

/// A piece of a template. Literals borrow from the template, so that no second copy of a secret is made.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Literal(Literal<'a>),
    Reference(Reference),
}

/// The bytes between references. A template is often a secret, so they have a redacted `Debug`.
#[derive(PartialEq, Eq)]
pub struct Literal<'a>(pub &'a [u8]);

impl fmt::Debug for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Literal(…)")
    }
}

/// What stands between the braces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// An entry of the same environment, as the same service sees it.
    Here(EntryName),
    /// An entry of another environment, in the same region's view if it has that region.
    There { stack: StackName, environment: EnvironmentName, name: EntryName },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(name) => write!(f, "{name}"),
            Self::There { stack, environment, name } => write!(f, "{stack}/{environment}/{name}"),
        }
    }
}

/// Why a template cannot be read. Where the braces hold no name, their text is not repeated: it may be a secret that
/// happens to contain `${`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateFault {
    Unclosed { at: usize },
    NotAName { at: usize, reason: NameError },
    Segments { at: usize },
    Default { at: usize },
    NotText { at: usize },
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed { at } => {
                write!(f, "the \"${{\" at byte {at} is never closed; for a literal \"${{\" write \"$${{\"")
            }
            Self::NotAName { at, reason } => write!(f, "the reference at byte {at} is not a name: {}", Quiet(reason)),
            Self::Segments { at } => {
                write!(f, "the reference at byte {at} is neither NAME nor stack/environment/NAME")
            }
            Self::Default { at } => {
                write!(
                    f,
                    "the reference at byte {at} has a default (\":-\"), which templates do not have: set the entry"
                )
            }
            Self::NotText { at } => write!(f, "the reference at byte {at} is not text"),
        }
    }
}

/// A name's fault without the character that was found.
struct Quiet<'a>(&'a NameError);

impl fmt::Display for Quiet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.split_once(" has ").zip(text.split_once("; ")) {
            Some(((kind, _), (_, allowed))) => {
                write!(f, "{kind} has a character it may not have; {allowed}")
            }
            None => f.write_str(&text),
        }
    }
}

/// Reads a template.
///
/// # Errors
/// The first fault, by its position in bytes from 0.
pub fn parse(template: &[u8]) -> Result<Vec<Part<'_>>, TemplateFault> {
    let mut parts = Vec::new();
    let mut literal = 0;
    let mut at = 0;
    while at < template.len() {
        let rest = &template[at..];
        if rest.starts_with(b"$${") {
            // The first dollar ends here; the literal goes on with the second.
            push_literal(&mut parts, &template[literal..at]);
            literal = at + 1;
            at += 3;
        } else if rest.starts_with(b"${") {
            push_literal(&mut parts, &template[literal..at]);
            let length = rest.iter().position(|byte| *byte == b'}').ok_or(TemplateFault::Unclosed { at })?;
            parts.push(Part::Reference(reference(&rest[2..length], at)?));
            at += length + 1;
            literal = at;
        } else {
            at += 1;
        }
    }
    push_literal(&mut parts, &template[literal..]);
    Ok(parts)
}

/// The references of a template, in its order.
///
/// # Errors
/// As [`parse`].
pub fn references(template: &[u8]) -> Result<Vec<Reference>, TemplateFault> {
    let parts = parse(template)?;
    Ok(parts.into_iter().filter_map(|part| if let Part::Reference(to) = part { Some(to) } else { None }).collect())
}

fn push_literal<'a>(parts: &mut Vec<Part<'a>>, bytes: &'a [u8]) {
    if !bytes.is_empty() {
        parts.push(Part::Literal(Literal(bytes)));
    }
}

fn reference(inside: &[u8], at: usize) -> Result<Reference, TemplateFault> {
    let text = std::str::from_utf8(inside).map_err(|_| TemplateFault::NotText { at })?;
    if text.contains(":-") || text.contains(":?") {
        return Err(TemplateFault::Default { at });
    }
    let not_a_name = |reason| TemplateFault::NotAName { at, reason };
    let segments: Vec<&str> = text.split('/').collect();
    match segments[..] {
        [name] => EntryName::parse(name).map(Reference::Here).map_err(not_a_name),
        [stack, environment, name] => Ok(Reference::There {
            stack: StackName::parse(stack).map_err(not_a_name)?,
            environment: EnvironmentName::parse(environment).map_err(not_a_name)?,
            name: EntryName::parse(name).map_err(not_a_name)?,
        }),
        _ => Err(TemplateFault::Segments { at }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(template: &str) -> String {
        let render = |part: Part<'_>| match part {
            Part::Literal(Literal(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Part::Reference(to) => format!("<{to}>"),
        };
        parse(template.as_bytes()).unwrap().into_iter().map(render).collect()
    }

    #[test]
    fn references_and_literals() {
        assert_eq!(shape("mysql://root:${PW}@${DB_HOST}/db"), "mysql://root:<PW>@<DB_HOST>/db");
        assert_eq!(shape("${shared/production/SMTP}"), "<shared/production/SMTP>");
        assert_eq!(shape("$${PW} costs $5 and ${PW}$"), "${PW} costs $5 and <PW>$");
        assert_eq!(shape("$$${PW}"), "$${PW}");
        assert_eq!(shape("${redis.conf}"), "<redis.conf>");
        assert_eq!(shape(""), "");
    }

    #[test]
    fn faults_say_where_and_repeat_nothing() {
        for template in ["a${hunter2", "${hun ter2}", "${}", "${a/hunter2}", "${HUNTER2:-x}", "${a//b}", "${а}"] {
            let fault = parse(template.as_bytes()).unwrap_err().to_string();
            assert!(fault.contains("byte"), "{fault}");
            assert!(!fault.to_lowercase().contains("hunter2") && !fault.contains("ter2"), "{fault}");
        }
        assert_eq!(parse(b"${\xff}").unwrap_err(), TemplateFault::NotText { at: 0 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop::sample::select(b"${}a/Z:-\xff".to_vec()), 0..40)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn escaping_keeps_a_text_as_it_is(text in "[ -~]{0,40}") {
            // Every "${" is written "$${"; a dollar before it would change which pair is the escape.
            prop_assume!(!text.contains("$${"));
            prop_assert_eq!(shape(&text.replace("${", "$${")), text);
        }
    }
}
