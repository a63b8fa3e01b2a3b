//! `run`: what the command finds, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::{Cli, Server, bundle};

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(name: &str) -> serde_json::Value {
    json!({
        "name": name, "value": "s3cret", "mode": "0440", "variable": "PASSWORD_FILE", "secret": true,
        "origin": {"layer": "base", "version": 1},
    })
}

#[test]
fn the_command_gets_the_bundle_and_none_of_our_variables() {
    let server = Server::always(&bundle(&variables(&[("A", "it's \"so\"\n"), ("B", "")]), json!([])));
    let cli = Cli::at(&server.on_loopback()).with("A", "inherited").with("CHANDLERY_SERVICE", "app").with("C", "c");
    let ran = cli.run(&["run", "-r", "sfo3", "--", "env", "-0"]).succeeds();
    let stdout = ran.stdout();
    let mut lines: Vec<&str> = stdout.split('\0').filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    let home = format!("HOME={}", cli.home.path().display());
    assert_eq!(lines, ["A=it's \"so\"\n", "B=", "C=c", &home, "PATH=/usr/bin:/bin"]);
    assert_eq!(server.asked()[0].path, "/v1/bundles/shop/production/sfo3?service=app");
}

#[test]
fn it_is_an_exec() {
    let cli = Cli::at(&Server::always(&bundle(&[], json!([]))).on_loopback());
    let script = "echo $$; ls /proc/self/fd | wc -l; ulimit -c; exit 42";
    let mut child = cli.command(&["run", "--", "sh", "-c", script]);
    let child = child.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().map(str::trim).collect();
    assert_eq!(lines[0], pid, "the same process");
    assert_eq!(output.status.code(), Some(42));
    let alone = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).output().unwrap();
    let alone = String::from_utf8(alone.stdout).unwrap();
    let alone: Vec<&str> = alone.lines().map(str::trim).collect();
    assert_eq!(lines[1..], alone[1..], "no open connection is left to it, and the core limit is given back");
    let arguments = cli.run(&["exec", "--", "printf", "%s|", "a b", "$HOME", "--reveal"]).succeeds();
    assert_eq!(arguments.stdout(), "a b|$HOME|--reveal|", "no shell in between");
}

#[test]
fn what_only_a_shell_could_start_is_not_started() {
    let cli = Cli::at(&Server::always(&bundle(&[], json!([]))).on_loopback());
    let script = cli.path("no-interpreter");
    fs::write(&script, "echo a shell ran this\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    assert_eq!(cli.run(&["run", "--", script]).fails(126, "names its interpreter").stdout(), "");
}

#[test]
fn what_cannot_be_started_ends_as_in_a_shell() {
    let cli = Cli::at(&Server::always(&bundle(&[], json!([file("password")]))).on_loopback());
    fs::write(cli.path("plain"), "#!/bin/sh\n").unwrap();
    let shm = || {
        fs::read_dir("/dev/shm")
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("chandlery-run-"))
            .count()
    };
    let before = shm();
    cli.run(&["run", "--", "no-such-command"]).fails(127, "was not found");
    cli.run(&["run", "--", "./plain"]).fails(126, "cannot be executed");
    cli.run(&["run"]).fails(2, "<COMMAND>");
    assert!(shm() <= before, "files of a command that never ran are removed");
}

#[test]
fn files_are_in_memory_and_go_when_the_command_is_gone() {
    let cli = Cli::at(&Server::always(&bundle(&[], json!([file("password")]))).on_loopback());
    let script = "cat $PASSWORD_FILE; stat -c ' %a' $PASSWORD_FILE $(dirname $PASSWORD_FILE); echo $PASSWORD_FILE";
    let ran = cli.run(&["run", "--", "sh", "-c", script]).succeeds();
    let stdout = ran.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines[0], lines[1]), ("s3cret 440", " 700"));
    assert!(lines[2].starts_with("/dev/shm/chandlery-run-"), "{stdout}");
    assert!(ran.stderr().contains("1 file in /dev/shm/"), "{}", ran.stderr());
    // The next run tidies up.
    cli.run(&["run", "--", "true"]).succeeds();
    assert!(!std::path::Path::new(lines[2]).exists());

    cli.run(&["run", "--no-files", "--", "true"]).fails(1, "--no-files is set");
    let folder = cli.path("files");
    fs::create_dir(&folder).unwrap();
    let on_disk = ["run", "--files-dir", "files", "--allow-disk", "--", "sh", "-c", "cat $PASSWORD_FILE"];
    assert_eq!(cli.run(&on_disk).succeeds().stdout(), "s3cret");
    assert_eq!(fs::metadata(folder.join("password")).unwrap().permissions().mode() & 0o7777, 0o440);
}

#[test]
fn dangerous_names_are_refused_before_anything_runs() {
    let cli = Cli::at(
        &Server::always(&bundle(&variables(&[("LD_PRELOAD", "s3cret"), ("PATH", "/x")]), json!([]))).on_loopback(),
    );
    let ran = cli.run(&["run", "--", "touch", "ran"]).fails(7, "--allow-name LD_PRELOAD,PATH");
    assert!(!ran.stderr().contains("s3cret") && !cli.path("ran").exists());
    let cli = Cli::at(&Server::always(&bundle(&variables(&[("PATH", "/usr/bin")]), json!([]))).on_loopback());
    let ran = cli.run(&["run", "--allow-name", "PATH", "--pristine", "--", "/usr/bin/env"]).succeeds();
    assert!(ran.stdout().contains("PATH=/usr/bin\n"), "{}", ran.stdout());
}
