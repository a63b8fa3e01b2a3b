use std::process::{Command, Stdio};

use chandlery_wire::{Value, VariableName};
use proptest::prelude::*;

use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let reading = read(text.as_bytes());
    assert_eq!(reading.faults, [], "{text}");
    let text = |value: &Value| String::from_utf8(value.expose_secret().to_vec()).unwrap();
    reading.items.iter().map(|item| (item.name.to_string(), text(&item.value))).collect()
}

fn one(text: &str) -> String {
    let mut pairs = pairs(text);
    assert_eq!(pairs.len(), 1, "{text}: {pairs:?}");
    pairs.remove(0).1
}

fn fault_lines(text: &str) -> Vec<usize> {
    let reading = read(text.as_bytes());
    assert!(!format!("{:?}", reading.faults).contains("s3cret"), "{:?}", reading.faults);
    reading.faults.iter().map(|fault| fault.line).collect()
}

#[test]
fn values_without_quotes() {
    let cases = [
        ("A=b", "b"),
        ("A=", ""),
        ("A=   ", ""),
        ("A = b ", "b"),
        ("  A\t=\tb\t", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("exported=b", "b"),
        ("A=b # why", "b"),
        ("A=b\t# why", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", "#c"),
        ("A= # why", ""),
        ("A=b=c==", "b=c=="),
        ("A=two words", "two words"),
        ("A=don't", "don't"),
        ("A={\"a\": \"b c\"}", "{\"a\": \"b c\"}"),
        ("A=C:\\dir\\n", "C:\\dir\\n"),
        ("A=$B", "$B"),
        ("A=${B:-c}", "${B:-c}"),
        ("A=http://u:p@h/?q=1#f", "http://u:p@h/?q=1#f"),
        ("A=b\r\n", "b"),
        ("\u{feff}A=b", "b"),
        ("A=é鍵", "é鍵"),
    ];
    for (text, value) in cases {
        assert_eq!(one(text), value, "{text:?}");
    }
}

#[test]
fn values_in_quotes() {
    let cases = [
        ("A='b'", "b"),
        ("A=''", ""),
        ("A=\"\"", ""),
        ("A=' b '", " b "),
        ("A='b' # why", "b"),
        ("A='b # c'", "b # c"),
        (r"A='\n$B\'", r"\n$B\"),
        ("A='it'\\''s'", "it's"),
        ("A=''\\'''", "'"),
        ("A='a'\"'\"'b'", "a'b"),
        ("A=\"it's\"", "it's"),
        (r#"A="a\nb\tc\r\"d\"\\e\$f\`g\qh""#, "a\nb\tc\r\"d\"\\e$f`g\\qh"),
        ("A=\"one\ntwo\"", "one\ntwo"),
        ("A='one\ntwo\n'", "one\ntwo\n"),
        ("A=\"one\\\ntwo\"", "onetwo"),
        ("A=`it's \"so\"`", "it's \"so\""),
        ("A = \"b\"  ", "b"),
        ("A='a\rb'\n", "a\rb"),
        ("B=1\n", "1"),
    ];
    for (text, value) in cases {
        assert_eq!(one(text), value, "{text:?}");
    }
}

#[test]
fn many_lines_and_a_key_of_several() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE/+==\n#not a comment\n-----END RSA PRIVATE KEY-----";
    let text = format!("# a comment\n\nA=1\n  # another\nKEY=\"{key}\" # why\nB='2'\n");
    let expected = [("A", "1"), ("KEY", key), ("B", "2")];
    assert_eq!(pairs(&text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn in_a_file_of_crlf_lines_no_cr_is_part_of_a_value() {
    let text = "A=1\r\nB=\"one\r\ntwo\"\r\nC='one\r\ntwo' # why\r\nD=\r\nE=`x\r\ny`\r\n\r\n# c\r\nF=6\r";
    let expected = [("A", "1"), ("B", "one\ntwo"), ("C", "one\ntwo"), ("D", ""), ("E", "x\ny"), ("F", "6")];
    assert_eq!(pairs(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn what_a_shell_would_expand_is_noted() {
    let names = |text: &str| read(text.as_bytes()).unexpanded;
    assert_eq!(names("A=$B\nC='$D'\nE=\"${F}\"\nG=\"\\$H\"\nI=a$\nJ=$(k)\nL=5$6\nM=\"$\"\n"), ["A", "E", "J"]);
}

#[test]
fn all_faults_at_once_by_line_and_without_a_value() {
    assert_eq!(fault_lines("s3cret\nA=1\nA=2\nB-C=s3cret\n=s3cret\nD='s3cret\nE=5\nF F=s3cret\n"), [1, 3, 4, 5, 6, 8]);
    assert_eq!(fault_lines("A=\"s3cret\"s3cret\nB=1\nB=2\n"), [1, 3]);
    assert_eq!(fault_lines("A='s3cret\ns3cret'x\n"), [1, 2]);
    assert_eq!(fault_lines("A=a\0s3cret\n"), [1]);
    assert_eq!(fault_lines("A=\"s3cret\\"), [1]);
    assert_eq!(fault_lines("A=`s3cret\n"), [1]);
    assert_eq!(fault_lines("export\n"), [1]);
    assert_eq!(read(b"A=1\nB=\xff\n").faults[0].line, 2);
}

fn written(values: &[String]) -> String {
    let names: Vec<VariableName> = (0..values.len()).map(|n| VariableName::parse(format!("V{n}")).unwrap()).collect();
    let values: Vec<Value> = values.iter().map(|value| Value::new(value.as_str())).collect();
    let variables: Vec<Variable<'_>> =
        names.iter().zip(&values).map(|(name, value)| Variable { name, value }).collect();
    String::from_utf8(write("a title", &variables).unwrap()).unwrap()
}

/// What a POSIX shell takes the text for.
fn as_the_shell_reads_it(text: &str, count: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    std::fs::write(&file, text).unwrap();
    let script = "set -a; . \"$1\"; exec env -0";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&file).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let environ = String::from_utf8(output.stdout).unwrap();
    let value = |name: String| environ.split('\0').find_map(|line| line.strip_prefix(&name)).unwrap().to_owned();
    (0..count).map(|n| value(format!("V{n}="))).collect()
}

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "'", "\"", "\\", "$", "`", "\n", "\r\n", "\r", " ", "\t", "#", " #", "=", "~", "!", "*", "%", "&", ";",
            "|", "(", ")", "{", "}", "${HOME}", "$HOME", "$(id)", "\\n", "\\'", "\\\"", "export ", "é", "鍵",
            "\u{feff}", "-", ":", "/", "a", "B", "0", "<<", "\u{1}", "\u{7f}", "\u{2028}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back_by_us_and_by_a_shell(values in prop::collection::vec(nasty(), 1..40)) {
        let text = written(&values);
        let back: Vec<String> = pairs(&text).into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(&back, &values);
        prop_assert_eq!(as_the_shell_reads_it(&text, values.len()), values);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[A-Z='\"\\\\`$#\r\n \t{}\u{feff}é-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for reading in [read(text.as_bytes()), read(&bytes)] {
            let lines = 1 + text.matches('\n').count().max(bytes.len());
            prop_assert!(reading.faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
        }
        super::super::yaml::read(text.as_bytes());
        super::super::json::read(&bytes);
    }
}

#[test]
fn a_line_a_shell_cannot_misread_is_left_bare() {
    let values = ["postgres://u:p@h:5432/d", "a b", "it's", "", "~/x", "it's \"so\""].map(str::to_owned);
    let text = written(&values);
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "# a title",
        "V0=postgres://u:p@h:5432/d",
        "V1='a b'",
        "V2=\"it's\"",
        "V3=",
        "V4='~/x'",
        "V5='it'\\''s \"so\"'",
    ];
    assert_eq!(lines, expected);
}
