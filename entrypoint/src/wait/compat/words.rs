//! `WAIT_COMMAND`, taken apart as the original does (the crate shell-words): quotes, backslashes and comments as in a POSIX
//! shell, and nothing else of a shell.

/// The words; `None` where a quote is not closed.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| is_space(*c)).is_some() {}
        match rest.peek() {
            None => return Some(words),
            Some('#') => while rest.next_if(|c| *c != '\n').is_some() {},
            Some(_) => words.extend(word(&mut rest)?),
        }
    }
}

/// One word, from its first character on; no word where there was only a line that goes on in the next.
fn word(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Option<String>> {
    let mut word = String::new();
    let mut begun = false;
    while let Some(c) = rest.next_if(|c| !is_space(*c)) {
        match c {
            '\\' => match rest.next() {
                // Outside of a word it separates, as white space does.
                Some('\n') if !begun => return Some(None),
                Some('\n') => {}
                escaped => word.push(escaped.unwrap_or('\\')),
            },
            '\'' => loop {
                match rest.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => match rest.next()? {
                        '\n' => {}
                        c @ ('$' | '`' | '"' | '\\') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            c => word.push(c),
        }
        begun = true;
    }
    Some(Some(word))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_original_splits_them() {
        for (text, words) in [
            ("", &[][..]),
            (" \t\n", &[]),
            ("echo a 'b c' \"d $HOME\" e\\ f # c", &["echo", "a", "b c", "d $HOME", "e f"]),
            ("# only a comment", &[]),
            ("a #b\nc", &["a", "c"]),
            ("a#b '#c'", &["a#b", "#c"]),
            ("''", &[""]),
            ("a'b'\"c\"d", &["abcd"]),
            ("\"a\\\"b\\$c\\d\\\ne\"", &["a\"b$c\\de"]),
            ("'a\\b'", &["a\\b"]),
            ("a\\\nb \\\n c", &["ab", "c"]),
            ("a\\", &["a\\"]),
            ("\\'a", &["'a"]),
            ("a\r\nb", &["a\r", "b"]),
            ("VAR=x cmd && y | z > *", &["VAR=x", "cmd", "&&", "y", "|", "z", ">", "*"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text:?}");
        }
        for open in ["'", "\"", "a 'b", "a \"b\\\"", "a \"b\\"] {
            assert_eq!(split(open), None, "{open:?}");
        }
    }
}
