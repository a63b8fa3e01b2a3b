//! A command in one text, split as a POSIX shell splits it (compose: Python's `shlex.split`, Go's shellwords).

/// The words; `None` where a quote is not closed.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does_it() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  redis-server  --port 6379\n", &["redis-server", "--port", "6379"]),
            ("sh -c 'a && b'", &["sh", "-c", "a && b"]),
            (r#"a "b \" \\ \n $c" d"#, &["a", r#"b " \ \n $c"#, "d"]),
            (r"a\ b c", &["a b", "c"]),
            ("''", &[""]),
            ("a'b'\"c\"", &["abc"]),
            ("# not a comment", &["#", "not", "a", "comment"]),
            ("a # b", &["a", "#", "b"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
