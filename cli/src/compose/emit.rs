//! A tree as YAML that every version of compose reads as the same tree.
//!
//! Texts are in double quotes, because a number or a `no` must stay one; and with `$$`, because compose will look for `${…}`
//! in them again.

use super::yaml::{Kind, Mark, Node};

/// The whole text. Comments of the caller's go before it.
pub(crate) fn emit(node: &Node) -> String {
    let mut text = String::new();
    block(&mut text, node, 0);
    text
}

fn block(text: &mut String, node: &Node, depth: usize) {
    let indent = "    ".repeat(depth);
    match &node.kind {
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                text.push_str(&indent);
                text.push_str(&self::key(key));
                text.push(':');
                value_of(text, value, depth);
            }
        }
        Kind::List(items) => {
            for item in items {
                text.push_str(&indent);
                text.push('-');
                value_of(text, item, depth);
            }
        }
        Kind::Null | Kind::Scalar(_) => {}
    }
}

/// What stands after `key:` or `-`: a scalar on the same line, a collection below.
fn value_of(text: &mut String, node: &Node, depth: usize) {
    match node.mark {
        Mark::None => {}
        Mark::Reset => text.push_str(" !reset"),
        Mark::Override => text.push_str(" !override"),
    }
    match &node.kind {
        Kind::Null => text.push_str(" null\n"),
        Kind::Scalar(scalar) if scalar.plain && !scalar.text.contains('$') => {
            text.push(' ');
            text.push_str(&scalar.text);
            text.push('\n');
        }
        Kind::Scalar(scalar) => {
            text.push(' ');
            text.push_str(&quoted(&scalar.text.replace('$', "$$")));
            text.push('\n');
        }
        Kind::List(items) if items.is_empty() => text.push_str(" []\n"),
        Kind::Map(pairs) if pairs.is_empty() => text.push_str(" {}\n"),
        Kind::List(_) | Kind::Map(_) => {
            text.push('\n');
            block(text, node, depth + 1);
        }
    }
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    if plain { name.to_owned() } else { quoted(name) }
}

fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                text.push_str(&format!("\\u{:04X}", c as u32));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::yaml::read;
    use super::*;

    fn round(text: &str) -> String {
        emit(&read(text, &Rc::from("f")).unwrap())
    }

    #[test]
    fn what_is_written_reads_as_the_same_tree() {
        let text = "a: 1\nb: [x, {c: \"no\", d: 1.10}, []]\n'no': {}\ne: ~\nf: \"\\\"\\\\ \\n\\u0007 é\"\ng: !reset null\n9: x\n";
        let once = round(text);
        assert_eq!(round(&once), once);
        let a = read(text, &Rc::from("f")).unwrap();
        let b = read(&once, &Rc::from("f")).unwrap();
        assert_eq!(b.get("f").unwrap().as_str(), a.get("f").unwrap().as_str());
        assert_eq!(b.get("b").unwrap().items()[1].get("d").unwrap().printed().unwrap(), "1.1");
        assert_eq!(b.get("b").unwrap().items()[1].get("c").unwrap().as_str(), Some("no"));
        assert_eq!(b.get("g").unwrap().mark, Mark::Reset);
        assert!(once.contains("\"no\": {}\n"), "{once}");
    }

    #[test]
    fn a_dollar_is_never_a_reference_again() {
        assert_eq!(round("a: 'p$A${B}'\nb: $$\n"), "a: \"p$$A$${B}\"\nb: \"$$$$\"\n");
    }
}
