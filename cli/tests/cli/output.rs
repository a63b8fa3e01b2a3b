//! What is shown, what is masked, and how a command ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::common::{Cli, Server, TOKEN, bundle};

fn info(name: &str, layer: &str, secret: bool, value: Option<&str>) -> serde_json::Value {
    let mut info = json!({
        "name": name, "layer": layer, "for": "all", "version": 2, "state": "live", "secret": secret, "template": false,
        "deliver": "variable", "size": 5, "created": "2026-04-11T18:11:57.123Z", "author": "tok_a",
    });
    if let Some(value) = value {
        info["value"] = json!(value);
    }
    info
}

#[test]
fn get_writes_the_bytes_and_nothing_else() {
    let entry = json!({"info": info("A", "base", true, None), "value": {"base64": "/wAK"}});
    let server = Server::always(&entry.to_string());
    let cli = Cli::at(&server.on_loopback());
    let ran = cli.run(&["get", "A", "--for", "app", "--version", "2", "-r", "sfo3"]).succeeds();
    assert_eq!(ran.0.stdout, b"\xff\x00\n");
    assert_eq!(ran.stderr(), "");
    assert_eq!(server.asked()[0].path, "/v1/entries/shop/production/A?region=sfo3&for=app&version=2");
    let json: serde_json::Value = serde_json::from_str(&cli.run(&["get", "A", "--format", "json"]).stdout()).unwrap();
    assert_eq!(json["value"]["base64"], "/wAK");
}

#[test]
fn on_a_terminal_secrets_are_masked_until_they_are_asked_for() {
    let answer = |asked: &crate::common::Asked| match asked.path.contains("bundles") {
        true => (200, bundle(&[("A".to_owned(), "hunter2".to_owned())], json!([]))),
        false => (200, json!({"info": info("A", "base", true, None), "value": "hunter2"}).to_string()),
    };
    let cli = Cli::at(&Server::new(answer).on_loopback());
    let on_terminal = |arguments: &str| {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_chandlery"));
        let mut command = cli.command(&[]);
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear().stdin(std::process::Stdio::null());
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(cli.home.path());
        let _ = &mut command;
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    for arguments in ["get A", "get A --format json", "get A --resolved", "export", "export --format json"] {
        let shown = on_terminal(arguments);
        assert!(shown.contains("••••") && !shown.contains("hunter2"), "{arguments}: {shown}");
        let shown = on_terminal(&format!("{arguments} --reveal"));
        assert!(shown.contains("hunter2"), "{arguments}: {shown}");
    }
}

#[test]
fn list_and_history_are_tables_without_secrets() {
    let entries = json!({"entries": [
        info("A", "base", true, None), info("B", "sfo3", false, Some("plain\u{1b}[2J\nx")),
    ]});
    let server = Server::always(&entries.to_string());
    let cli = Cli::at(&server.on_loopback());
    let expected = "\
NAME  LAYER  FOR  AS        VERSION  VALUE        CHANGED
A     base   all  variable  2        ••••         2026-04-11 18:11Z
B     sfo3   all  variable  2        plain\u{fffd}[2J↵x  2026-04-11 18:11Z
";
    assert_eq!(cli.run(&["list"]).succeeds().stdout(), expected);
    assert_eq!(cli.run(&["list", "-r", "base"]).succeeds().stdout().lines().count(), 2);
    assert!(cli.run(&["history", "A"]).succeeds().stdout().contains("tok_a"));
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    let at = "/v1/entries/shop/production";
    assert_eq!(paths, [at.to_owned(), at.to_owned(), format!("{at}/A/versions")]);
}

#[test]
fn rm_says_where_and_how() {
    let server = Server::always(&crate::common::written("A", true));
    let cli = Cli::at(&server.on_loopback());
    cli.run(&["rm", "A", "--hide-base"]).fails(2, "--hide-base");
    let arguments = ["rm", "A", "--hide-base", "-r", "sfo3", "--for", "all", "--expect-version", "3"];
    let ran = cli.run(&arguments).succeeds();
    assert!(ran.stdout().contains("A is hidden in region sfo3, for all services"), "{}", ran.stdout());
    let asked = &server.asked()[0];
    assert_eq!(asked.method, "DELETE");
    assert!(asked.path.ends_with("/A?region=sfo3&for=all&hide_base=true&expect_version=3"), "{}", asked.path);
}

#[test]
fn every_refusal_has_its_exit_code() {
    let cases = [
        (401, "unauthenticated", 4),
        (403, "forbidden", 4),
        (404, "unknown-region", 5),
        (409, "conflict", 6),
        (412, "version-conflict", 6),
        (422, "unresolvable", 7),
        (500, "integrity", 1),
        (503, "sealed", 3),
        (400, "code-of-a-newer-server", 1),
    ];
    for (status, code, exit) in cases {
        let cli = Cli::at(&Server::refusing(status, code, "because of this").on_loopback());
        let ran = cli.run(&["export"]).fails(exit, "chandlery: because of this");
        assert_eq!(ran.stdout(), "");
    }
}

#[test]
fn a_server_that_talks_nonsense_is_no_success() {
    for (status, body) in [(200, "hunter2"), (200, "{\"hunter2\": 1}"), (200, ""), (502, "<html>hunter2")] {
        let cli = Cli::at(&Server::new(move |_| (status, body.to_owned())).on_loopback());
        let ran = cli.run(&["export"]).fails(3, "no usable answer");
        assert!(!ran.stderr().contains("hunter2"), "{}", ran.stderr());
    }
    Cli::at("http://127.0.0.1:1").run(&["list"]).fails(3, "cannot be reached");
    Cli::at("unix:///nowhere").run(&["list"]).fails(3, "cannot be reached");
}

#[test]
fn a_token_is_printed_once_and_alone() {
    let info = json!({
        "id": "tok_x", "description": "app", "verbs": ["read-bundle"], "scopes": [{"stack": "shop"}],
        "created": "2026-04-11T18:11:57Z",
    });
    let server = Server::always(&json!({"token": TOKEN, "info": info}).to_string());
    let cli = Cli::at(&server.on_loopback());
    let create = ["token", "create", "-d", "app", "--verb", "read-bundle", "--expires", "90d", "--uses", "3"];
    let ran =
        cli.run(&[&create[..], &["-r", "sfo3", "--service", "app", "--also", "shop/staging"]].concat()).succeeds();
    assert_eq!(ran.stdout(), format!("{TOKEN}\n"));
    assert!(ran.stderr().contains("tok_x") && !ran.stderr().contains(TOKEN), "{}", ran.stderr());
    let scopes = json!([
        {"stack": "shop", "environment": "production", "region": "sfo3", "service": "app"},
        {"stack": "shop", "environment": "staging"},
    ]);
    let expected = json!({
        "description": "app", "verbs": ["read-bundle"], "scopes": scopes, "expires_in": 7_776_000, "uses": 3,
    });
    assert_eq!(server.asked()[0].json(), expected);
    let ran = cli.run(&[&create[..], &["-o", "app.token"]].concat()).succeeds();
    assert_eq!(ran.stdout(), "");
    assert_eq!(fs::read_to_string(cli.path("app.token")).unwrap(), format!("{TOKEN}\n"));
    assert_eq!(fs::metadata(cli.path("app.token")).unwrap().permissions().mode() & 0o777, 0o600);
    cli.run(&["token", "revoke", TOKEN]).fails(2, "not a token's id");
}

#[test]
fn audit_verify_says_no_with_the_first_bad_line() {
    let server = Server::always(r#"{"intact": false, "lines": 9, "first_bad_line": 4, "reason": "its mac is wrong"}"#);
    let cli = Cli::at(&server.on_loopback());
    cli.run(&["audit", "verify"]).fails(1, "line 4: its mac is wrong");
    let cli = Cli::at(&Server::always(r#"{"intact": true, "lines": 9}"#).on_loopback());
    assert_eq!(cli.run(&["audit", "verify"]).succeeds().stdout(), "intact: 9 lines\n");
    let server = Server::always(r#"{"records": [], "truncated": true}"#);
    let cli = Cli::at(&server.on_loopback());
    let since = "2026-04-11T18:00:00Z";
    let ran = cli.run(&["audit", "--entry", "A", "--caller", "tok_a", "--since", since, "--limit", "5"]).succeeds();
    assert!(ran.stderr().contains("older records"), "{}", ran.stderr());
    assert_eq!(server.asked()[0].path, "/v1/audit?entry=A&caller=tok_a&since=2026-04-11T18%3A00%3A00Z&limit=5");
}

#[test]
fn explain_ends_badly_where_a_reference_does() {
    let reference = json!({"text": "GONE", "fault": "is not set"});
    let explanation =
        json!({"name": "A", "winner": info("A", "sfo3", true, None), "hidden": [], "references": [reference]});
    let server = Server::always(&explanation.to_string());
    let cli = Cli::at(&server.on_loopback());
    let ran = cli.run(&["explain", "A", "--service", "app", "-r", "sfo3"]).fails(7, "${GONE}: is not set");
    assert!(ran.stdout().contains("└─ sfo3 wins: version 2"), "{}", ran.stdout());
    assert_eq!(server.asked()[0].path, "/v1/explanations/shop/production/A?region=sfo3&service=app");
}

#[test]
fn help_completions_and_manual_need_no_server() {
    let cli = Cli::bare();
    for verb in ["set", "get", "import", "export", "run", "token", "doctor"] {
        assert!(cli.run(&[verb, "--help"]).succeeds().stdout().contains("Usage"), "{verb}");
    }
    assert!(cli.run(&["--help"]).succeeds().stdout().contains("Exit codes:"));
    assert!(cli.run(&["--version"]).succeeds().stdout().starts_with("chandlery "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.run(&["completions", shell]).succeeds().stdout().contains("chandlery"));
    }
    assert!(cli.run(&["man"]).succeeds().stdout().contains(".TH"));
    fs::create_dir(cli.path("man")).unwrap();
    cli.run(&["man", "--out", "man"]).succeeds();
    assert!(cli.path("man/chandlery-set.1").exists());
    cli.run(&[]).fails(2, "a verb is missing");
    cli.run(&["lits"]).fails(2, "there is no such verb");
    cli.run(&["list", "--frmat", "json"]).fails(2, "there is no option --frmat");
    cli.run(&["list", "--format", "xml"]).fails(2, "is one of table, json");
}
