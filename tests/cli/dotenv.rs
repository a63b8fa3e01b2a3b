//! A dotenv that goes in and comes out again means what it meant, and a real shell and a real Docker are the judges.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chandlery_tests::docker::{self, Images, docker};
use chandlery_tests::stacks::folder;
use chandlery_tests::{Run, Server};

/// What a file means to a shell that sources it.
fn sourced(file: &Path) -> BTreeMap<String, String> {
    let script = "set -a; . \"$0\"; env -0";
    let run = Run::new("/bin/sh").args(["-c", script]).args([file]);
    without(run.ok().environment(), &["PATH", "PWD", "OLDPWD", "SHLVL", "_"])
}

fn without(mut environment: BTreeMap<String, String>, names: &[&str]) -> BTreeMap<String, String> {
    names.iter().for_each(|name| drop(environment.remove(*name)));
    environment
}

fn cli(server: &Server, args: &[&str]) -> Run {
    server.cli(args).env("CHANDLERY_STACK", "everyday").env("CHANDLERY_ENVIRONMENT", "production")
}

/// A server that holds the 200 lines, and what they mean.
fn imported() -> (Server, BTreeMap<String, String>) {
    let file = folder("dotenv").join("everyday.env");
    assert_eq!(fs::read_to_string(&file).expect("the file is text").lines().count(), 200);
    let server = Server::start();
    server.cli(&["init", "everyday", "--environment", "production", "--services", "app"]).ok();
    cli(&server, &["import", file.to_str().expect("a plain path")]).ok();
    let meant = sourced(&file);
    assert!(meant.len() > 150, "the shell understood the file");
    (server, meant)
}

#[test]
fn two_hundred_lines_mean_the_same_to_a_shell() {
    let (server, meant) = imported();
    for format in ["shell", "dotenv"] {
        let exported = cli(&server, &["export", "--format", format, "--service", "app"]).ok();
        let file = server.project().join(format);
        fs::write(&file, &exported.stdout).expect("the project's folder takes a file");
        assert_eq!(sourced(&file), meant, "as {format}");
    }
}

#[test]
fn two_hundred_lines_mean_the_same_to_a_program_that_run_starts() {
    let (server, meant) = imported();
    let output = cli(&server, &["run", "--service", "app", "--", "cat", "/proc/self/environ"]).ok();
    let environment = output.environment();
    for (name, value) in &meant {
        assert_eq!(environment.get(name), Some(value), "{name}");
    }
}

#[test]
fn two_hundred_lines_come_back_from_an_import_of_their_export() {
    let (server, meant) = imported();
    for format in ["dotenv", "json", "yaml"] {
        let exported = cli(&server, &["export", "--format", format, "--service", "app"]).ok();
        let extension = if format == "dotenv" { "env" } else { format };
        let file = server.project().join(format!("again.{extension}"));
        fs::write(&file, &exported.stdout).expect("the project's folder takes a file");
        let again = |args: &[&str]| cli(&server, args).env("CHANDLERY_ENVIRONMENT", format);
        server.cli(&["init", "everyday", "--environment", format, "--services", "app"]).ok();
        again(&["import", file.to_str().expect("a plain path")]).ok();
        let output = again(&["export", "--format", "json", "--service", "app"]).ok();
        let back: BTreeMap<String, String> = serde_json::from_value(output.json()).expect("names and values");
        assert_eq!(back, meant, "through {format}");
    }
}

#[test]
fn two_hundred_lines_mean_the_same_to_docker() {
    if !docker::available("two_hundred_lines_mean_the_same_to_docker") {
        return;
    }
    let (server, meant) = imported();
    let exported = cli(&server, &["export", "--format", "docker", "--service", "app"]).ok();
    let file = server.project().join("docker.env");
    fs::write(&file, &exported.stdout).expect("the project's folder takes a file");
    let images = Images::build();
    let env_file = file.to_str().expect("a plain path");
    let output = docker(&["run", "--rm", "--env-file", env_file, &images.shell, "cat", "/proc/self/environ"]).ok();
    assert_eq!(without(output.environment(), &["PATH", "HOME", "HOSTNAME"]), meant);
}

#[test]
fn what_docker_cannot_carry_is_refused_and_named() {
    let (server, _) = imported();
    cli(&server, &["set", "MANY_LINES", "-"]).stdin("first\nsecond").ok();
    let output = cli(&server, &["export", "--format", "docker", "--service", "app"]).fails();
    assert!(output.stderr.contains("MANY_LINES"), "{output}");
    assert!(output.stdout.is_empty(), "nothing is half exported: {output}");
}
