//! A dotenv of 200 lines that is imported and exported again means the same to a shell and to `docker run --env-file`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::common::{Asked, Cli, Server, bundle, written};

type Variables = BTreeMap<String, String>;

/// What a POSIX shell takes the file for.
fn by_shell(shell: &str, file: &Path, names: &[String]) -> Variables {
    let mut command = Command::new(shell);
    command.args(["-c", "set -a; . \"$1\"; exec env -0", shell]).arg(file).env_clear().env("PATH", "/usr/bin:/bin");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| names.iter().any(|known| known == name)).map(owned).collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What Docker takes the file for: docker/cli, pkg/kvfile, line for line.
fn by_docker(file: &Path) -> Variables {
    let text = fs::read_to_string(file).unwrap();
    let mut variables = Variables::new();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        assert!(line.len() < 64 * 1024, "bufio.Scanner: token too long");
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').expect("a variable without a value is taken from the caller");
        assert!(!name.contains([' ', '\t']), "docker refuses {name:?}");
        variables.insert(name.to_owned(), value.to_owned());
    }
    variables
}

/// What systemd takes an EnvironmentFile for: src/basic/env-file.c, as far as double quotes go.
fn by_systemd(file: &Path) -> Variables {
    let text = fs::read_to_string(file).unwrap();
    let mut variables = Variables::new();
    let mut rest = text.as_str();
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    special @ ('"' | '\\' | '`' | '$') => value.push(special),
                    '\n' => {}
                    other => value.extend(['\\', other]),
                },
                (_, other) => value.push(other),
            }
        };
        variables.insert(name.to_owned(), value);
        rest = after[end + 1..].strip_prefix('\n').unwrap();
    }
    assert_eq!(rest, "");
    variables
}

/// A server that keeps what is imported, and gives it back as a bundle.
fn keeper() -> Server {
    let kept = std::sync::Mutex::new(Vec::<(String, String)>::new());
    Server::new(move |asked: &Asked| {
        let mut kept = kept.lock().unwrap();
        if asked.method == "POST" {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let body = asked.json();
            let entries = body["entries"].as_array().unwrap();
            *kept = entries.iter().map(|entry| (text(&entry["name"]), text(&entry["entry"]["value"]))).collect();
            return (200, written("A", true));
        }
        (200, bundle(&kept, json!([])))
    })
}

fn line() -> impl Strategy<Value = (String, Option<String>)> {
    let sq = "[ -&(-~\té鍵]{0,30}".prop_map(|inside| (format!("'{inside}'"), Some(inside)));
    let multi = "[ -&(-~\n]{0,40}".prop_map(|inside| (format!("'{inside}'"), Some(inside)));
    let dq = "[ !#%-\\[\\]^_a-z|~é']{0,30}".prop_map(|inside| (format!("\"{inside}\""), Some(inside)));
    let escaped = "[a-z\"$`\\\\ #]{0,20}".prop_map(|value| {
        let mut text = String::from("\"");
        for c in value.chars() {
            if "\"$`\\".contains(c) {
                text.push('\\');
            }
            text.push(c);
        }
        (text + "\"", Some(value))
    });
    let bare = "[A-Za-z0-9_./:@%+,=-]{0,30}".prop_map(|value| (value.clone(), Some(value)));
    let commented = "[a-z0-9]{1,10}".prop_map(|value| (format!("{value} # it's a \"comment\""), Some(value)));
    let joined = "[a-z ]{0,8}".prop_map(|word| (format!("'{word}'\\''{word}'"), Some(format!("{word}'{word}"))));
    prop_oneof![sq, multi, dq, escaped, bare, commented, joined]
}

#[test]
fn two_hundred_nasty_lines() {
    let cli = Cli::at(&keeper().on_loopback());
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let strategy = (prop::collection::vec(line(), 200), any::<bool>());
    let outcome = runner.run(&strategy, |(lines, export)| {
        let names: Vec<String> = (0..lines.len()).map(|n| format!("V{n}")).collect();
        let mut text = String::from("# 200 lines\n\n");
        for (name, (written, _)) in names.iter().zip(&lines) {
            text.push_str(&format!("{}{name}={written}\n", if export { "export " } else { "" }));
        }
        let meant: Variables = names.iter().cloned().zip(lines.into_iter().filter_map(|(_, value)| value)).collect();
        fs::write(cli.path("in.env"), &text).unwrap();
        // The lines are such that a shell and we should agree on them from the start.
        prop_assert_eq!(&by_shell("sh", &cli.path("in.env"), &names), &meant);

        cli.run(&["import", "in.env"]).succeeds();
        cli.run(&["export", "-o", "out.env"]).succeeds();
        for shell in ["sh", "bash"] {
            prop_assert_eq!(&by_shell(shell, &cli.path("out.env"), &names), &meant);
        }
        cli.run(&["export", "--format", "shell", "-o", "out.sh"]).succeeds();
        prop_assert_eq!(&by_shell("sh", &cli.path("out.sh"), &names), &meant);
        cli.run(&["export", "--format", "systemd", "-o", "out.service.env"]).succeeds();
        prop_assert_eq!(&by_systemd(&cli.path("out.service.env")), &meant);

        for (format, file) in [("dotenv", "again.env"), ("json", "again.json"), ("yaml", "again.yaml")] {
            cli.run(&["export", "--format", format, "-o", file]).succeeds();
            cli.run(&["import", file]).succeeds();
            cli.run(&["export", "--format", "shell", "-o", "again.sh"]).succeeds();
            prop_assert_eq!(fs::read(cli.path("again.sh")).unwrap(), fs::read(cli.path("out.sh")).unwrap());
        }

        // An env-file has no way to hold a newline: each such variable is named, and without them the rest is the same.
        let multi: Vec<&String> =
            meant.iter().filter(|(_, value)| value.contains('\n')).map(|(name, _)| name).collect();
        if !multi.is_empty() {
            let ran = cli.run(&["export", "--format", "docker"]).fails(7, "cannot be written in this format");
            for name in &multi {
                let line = format!("  {name} holds a newline");
                prop_assert!(ran.stderr().contains(&line));
            }
        }
        let single: Variables = meant.into_iter().filter(|(_, value)| !value.contains('\n')).collect();
        let kept: serde_json::Map<_, _> = single.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        fs::write(cli.path("single.json"), serde_json::Value::Object(kept).to_string()).unwrap();
        cli.run(&["import", "single.json"]).succeeds();
        cli.run(&["export", "--format", "docker", "-o", "docker.env"]).succeeds();
        prop_assert_eq!(by_docker(&cli.path("docker.env")), single);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let origin = json!({"layer": "base", "version": 1});
    let variable = json!({"name": "BIN", "value": {"base64": "/w=="}, "secret": true, "origin": origin});
    let file = json!({"name": "f", "value": "x", "mode": "0400", "secret": true, "origin": origin});
    let bundle = json!({
        "stack": "shop", "environment": "production", "revision": 7, "variables": [variable], "files": [file],
    });
    let cli = Cli::at(&Server::always(&bundle.to_string()).on_loopback());
    for format in ["dotenv", "json", "yaml", "docker", "systemd"] {
        cli.run(&["export", "--format", format]).fails(7, "BIN is not UTF-8");
    }
    let ran = cli.run(&["export", "--format", "shell"]).succeeds();
    assert_eq!(ran.0.stdout, b"export BIN='\xff'\n");
    assert!(ran.stderr().contains("1 file is not among the variables: f"), "{}", ran.stderr());
    let ran = cli.run(&["export", "--format", "json", "--with-files"]).succeeds();
    let with_files: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!(with_files["variables"]["BIN"]["base64"], "/w==");
    assert_eq!(with_files["files"][0]["name"], "f");
}

/// What Docker itself takes the file for: nothing is run, so an image of nothing will do.
fn by_real_docker(file: &Path) -> Variables {
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("empty.tar");
    fs::write(&tar, [0; 10240]).unwrap();
    let image = docker(&["import", tar.to_str().unwrap()]);
    let container = docker(&["create", "--env-file", file.to_str().unwrap(), image.trim(), "nothing"]);
    let environment = docker(&["inspect", "--format", "{{json .Config.Env}}", container.trim()]);
    docker(&["rm", container.trim()]);
    docker(&["rmi", image.trim()]);
    let pairs: Vec<String> = serde_json::from_str(&environment).unwrap();
    pairs.iter().filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name != "PATH").map(owned).collect()
}

#[test]
#[ignore = "needs a Docker daemon: cargo test -p chandlery -- --ignored"]
fn docker_itself_agrees() {
    let cli = Cli::at(&keeper().on_loopback());
    let mut runner = TestRunner::new(Config { cases: 3, failure_persistence: None, ..Config::default() });
    let value = "[ -~\té鍵\u{1}\u{7f}\u{a0}\u{2028}]{0,60}|\r[a-z]|[ \t]{1,3}";
    let outcome = runner.run(&prop::collection::vec(value, 200), |values| {
        let meant: Variables = values.into_iter().enumerate().map(|(n, value)| (format!("V{n}"), value)).collect();
        fs::write(cli.path("in.json"), serde_json::to_string(&meant).unwrap()).unwrap();
        cli.run(&["import", "in.json"]).succeeds();
        cli.run(&["export", "--format", "docker", "-o", "docker.env"]).succeeds();
        prop_assert_eq!(&by_docker(&cli.path("docker.env")), &meant);
        prop_assert_eq!(by_real_docker(&cli.path("docker.env")), meant);
        Ok(())
    });
    outcome.unwrap();
}
