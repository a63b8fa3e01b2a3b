//! The configuration, as it is set from outside: flag over variable over file over default.

#![expect(clippy::unwrap_used, reason = "panicking is how a test says no")]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the server's binary with nothing in its environment but what is given.
fn run(place: &TempDir, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let data_dir = place.path().join("data");
    Command::new(env!("CARGO_BIN_EXE_chandlery-server"))
        .args(arguments)
        .env_clear()
        .env("CHANDLERY_DATA_DIR", data_dir)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The line of `config show` for one key.
fn shown(output: &Output, key: &str) -> String {
    let text = stdout(output);
    let line = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("no {key} in {text:?}, {}", stderr(output))).to_owned()
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("server.toml");
    fs::write(&file, "drain = \"1s\"\n").unwrap();
    let file = file.to_str().unwrap();
    let drain = |variables: &[(&str, &str)], arguments: &[&str]| {
        shown(&run(&place, variables, &[&["config", "show"], arguments].concat()), "drain")
    };
    let is = |line: &str, value: &str, source: &str| {
        assert!(line.starts_with(&format!("drain = \"{value}\"")) && line.ends_with(source), "{line}");
    };
    is(&drain(&[], &[]), "8s", "# default");
    is(&drain(&[("CHANDLERY_CONFIG", file)], &[]), "1s", file);
    is(&drain(&[], &["--config", file]), "1s", file);
    is(&drain(&[("CHANDLERY_DRAIN", "2s"), ("CHANDLERY_CONFIG", file)], &[]), "2s", "# variable");
    let all = [("CHANDLERY_DRAIN", "2s"), ("CHANDLERY_CONFIG", file)];
    is(&drain(&all, &["--drain", "3s"]), "3s", "# flag");
    // A flag may stand before the command, too.
    is(&shown(&run(&place, &all, &["--drain", "3s", "config", "show"]), "drain"), "3s", "# flag");
}

#[test]
fn the_file_in_the_data_directory_is_found() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("data")).unwrap();
    fs::write(place.path().join("data/server.toml"), "tls_names = [\"store.example.org\"]\n").unwrap();
    let line = shown(&run(&place, &[], &["config", "show"]), "tls_names");
    assert!(line.contains("store.example.org") && line.ends_with("data/server.toml"), "{line}");
    let line = shown(&run(&place, &[("CHANDLERY_TLS_NAMES", "a.example,b.example")], &["config", "show"]), "tls_names");
    assert!(line.contains("[\"a.example\", \"b.example\"]"), "{line}");
}

#[test]
fn the_example_can_be_used_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let example = run(&place, &[("HOME", "/home/somebody")], &["config", "example"]);
    assert!(example.status.success(), "{}", stderr(&example));
    let file = place.path().join("example.toml");
    fs::write(&file, stdout(&example)).unwrap();
    let check = run(&place, &[], &["config", "check", "--config", file.to_str().unwrap()]);
    assert!(check.status.success(), "{}", stderr(&check));
}

#[test]
fn what_cannot_be_used_is_told_in_two_parts_with_exit_code_2() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("server.toml");
    fs::write(&file, "drian = \"1s\"\n").unwrap();
    let unknown = run(&place, &[], &["config", "check", "--config", file.to_str().unwrap()]);
    let open = run(&place, &[("CHANDLERY_HTTP_LISTEN", "0.0.0.0:80")], &["config", "check"]);
    for (output, wanted) in [(&unknown, "drian"), (&open, "in the clear")] {
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(output);
        assert!(text.contains(wanted) && text.contains("\n hint: "), "{text}");
    }
    assert_eq!(run(&place, &[], &["--drain", "soon"]).status.code(), Some(2));
    assert_eq!(run(&place, &[("CHANDLERY_MAX_CONNECTIONS", "many")], &[]).status.code(), Some(2));
    assert!(!place.path().join("data").exists(), "nothing was begun");
}
