//! Texts made of the pieces that each format gives a meaning to: none may make a reader panic, hang, or take in a name
//! that is none.

use chandlery_wire::EntryName;
use proptest::prelude::*;

use super::{Reading, dotenv, json, yaml};

const YAML: [&str; 32] = [
    "A",
    "b: ",
    "- ",
    ": ",
    ":",
    "\n",
    "\n  ",
    "\n    ",
    "&a ",
    "*a",
    "<<: *a",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "|2\n",
    "# ",
    "---\n",
    "...\n",
    "!!str ",
    "!x ",
    "? ",
    "%YAML 1.2\n",
    "\t",
    "~",
    "0x1f",
    "é",
];
const JSON: [&str; 24] = [
    "{", "}", "[", "]", ":", ",", "\"", "\"A\"", "\"b\":", "\\", "\\u0000", "\\ud83d", "null", "true", "1e999", "-0",
    "0.1", " ", "\n", "\u{feff}", "é", "//", "NaN", "\"\":",
];
const DOTENV: [&str; 24] = [
    "A=", "export ", "B", "=", "'", "\"", "\\", "$", "${A}", "$(", "`", "\n", "\r\n", " ", "\t", "#", " #", "\u{feff}",
    "é", ":", "<<EOF", "\0", "-", "\\\n",
];

fn of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![8 => prop::sample::select(pieces), 1 => Just("x"), 1 => Just("\u{1}")], 0..40)
        .prop_map(|pieces| pieces.concat())
}

fn names_are_names(reading: &Reading) -> bool {
    reading.items.iter().all(|item| EntryName::parse(item.name.as_str()).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_much_for_a_reader(yaml_text in of(&YAML), json_text in of(&JSON), dotenv_text in of(&DOTENV)) {
        prop_assert!(names_are_names(&yaml::read(yaml_text.as_bytes())));
        prop_assert!(names_are_names(&json::read(json_text.as_bytes())));
        prop_assert!(names_are_names(&dotenv::read(dotenv_text.as_bytes())));
    }

    #[test]
    fn no_bytes_are_too_much_for_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for reading in [yaml::read(&bytes), json::read(&bytes), dotenv::read(&bytes)] {
            prop_assert!(names_are_names(&reading));
        }
    }
}

#[test]
fn depth_and_repetition_end() {
    let depth = 100_000;
    for text in ["[".repeat(depth), "{\"a\":".repeat(depth), "a: [".repeat(depth), "- ".repeat(depth)] {
        assert!(!json::read(text.as_bytes()).faults.is_empty());
        assert!(!yaml::read(text.as_bytes()).faults.is_empty());
    }
    // The billion laughs: aliases that double nine times over.
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..10 {
        let before = format!("*a{},", n - 1);
        bomb += &format!("a{n}: &a{n} [{}]\n", before.repeat(10));
    }
    assert!(!yaml::read(bomb.as_bytes()).faults.is_empty());
}
