//! Where the context comes from, and to whom a token goes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::common::{Cli, Server, TOKEN};

fn empty_list() -> Server {
    Server::always(r#"{"entries": []}"#)
}

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn flags_beat_variables_and_those_beat_the_project() {
    let server = empty_list();
    let address = server.on_loopback();
    let cli =
        Cli::bare().with("CHANDLERY_TOKEN", TOKEN).with("CHANDLERY_ENVIRONMENT", "staging").with("CHANDLERY_STACK", "");
    let project = format!("addr = \"{address}\"\nstack = \"shop\"\nenvironment = \"production\"\nregion = \"sfo3\"\n");
    fs::write(cli.path("chandlery.toml"), project).unwrap();
    cli.run(&["list"]).succeeds();
    cli.run(&["list", "-e", "test", "-r", "base"]).succeeds();
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/v1/entries/shop/staging?region=sfo3", "/v1/entries/shop/test"]);
    fs::write(cli.path("chandlery.toml"), "stak = \"shop\"\n").unwrap();
    cli.run(&["list"]).fails(2, "unknown field `stak`");
    fs::write(cli.path("chandlery.toml"), "").unwrap();
    cli.run(&["list"]).fails(2, "which stack is meant");
    chmod(&cli.path("chandlery.toml"), 0o666);
    cli.run(&["list"]).fails(2, "can be written by anybody");
}

#[test]
fn the_server_of_this_machine_is_found_and_its_token_goes_to_no_other() {
    let server = empty_list();
    let address = server.on_loopback();
    let cli = Cli::bare().with("CHANDLERY_STACK", "a").with("CHANDLERY_ENVIRONMENT", "b");
    let folder = cli.path(".local/share/chandlery");
    fs::create_dir_all(&folder).unwrap();
    let token = folder.join("admin.token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    chmod(&token, 0o600);
    let local = json!({
        "pid": 1, "address": address, "ca_file": "/nowhere/ca.pem", "ca_fingerprint": "sha256:00", "token_file": token,
    });
    fs::write(folder.join("local.json"), local.to_string()).unwrap();
    // The CA's file is not there, but for plain HTTP on loopback it is not needed: only reading it is.
    cli.run(&["list"]).fails(2, "/nowhere/ca.pem");
    fs::write(cli.path("ca.pem"), "").unwrap();
    let local = local.to_string().replace("/nowhere/ca.pem", &cli.path("ca.pem").display().to_string());
    fs::write(folder.join("local.json"), local).unwrap();
    cli.run(&["list"]).succeeds();
    assert_eq!(server.asked()[0].token.as_deref(), Some(TOKEN));
    let other = empty_list();
    cli.run(&["list", "--addr", &other.on_loopback()]).succeeds();
    assert_eq!(other.asked()[0].token, None);
    chmod(&token, 0o640);
    cli.run(&["list"]).fails(4, "is open to others (mode 0640)");
}

#[test]
fn a_token_file_must_be_private_and_no_symlink() {
    let server = empty_list();
    let address = server.on_loopback();
    let cli =
        Cli::bare().with("CHANDLERY_ADDR", &address).with("CHANDLERY_STACK", "a").with("CHANDLERY_ENVIRONMENT", "b");
    let token = cli.path("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    chmod(&token, 0o644);
    cli.run(&["list", "--token-file", "token"]).fails(4, "chmod 600");
    chmod(&token, 0o600);
    cli.run(&["list", "--token-file", "token"]).succeeds();
    symlink(&token, cli.path("link")).unwrap();
    cli.run(&["list", "--token-file", "link"]).fails(4, "symbolic link");
    fs::write(&token, "chd_tooshort").unwrap();
    let ran = cli.run(&["list", "--token-file", "token"]).fails(4, "cut off");
    assert!(!ran.stderr().contains("tooshort"));
    let both = cli.with("CHANDLERY_TOKEN", TOKEN).with("CHANDLERY_TOKEN_FILE", "token");
    both.run(&["list"]).fails(2, "both set");
    // What the shell hands over is not a file of anybody's.
    let piped = format!("{} list --token-file <(echo {TOKEN})", env!("CARGO_BIN_EXE_chandlery"));
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", &piped])
        .env("CHANDLERY_ADDR", &address)
        .env("CHANDLERY_STACK", "a")
        .env("CHANDLERY_ENVIRONMENT", "b");
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn self_info() -> Server {
    let info = json!({"id": "tok_x", "description": "me", "verbs": ["write"], "scopes": [{}], "created": "2026-01-01T00:00:00Z"});
    Server::new(move |asked| match asked.path.as_str() {
        "/v1/tokens/self" => (200, info.to_string()),
        _ => (200, r#"{"entries": []}"#.to_owned()),
    })
}

#[test]
fn login_keeps_a_token_that_works_for_that_server_alone() {
    let server = self_info();
    let address = server.on_loopback();
    let cli = Cli::bare().with("CHANDLERY_STACK", "a").with("CHANDLERY_ENVIRONMENT", "b");
    let ran = cli.run_with_input(&["login", &address], format!("{TOKEN}\n").as_bytes()).succeeds();
    assert!(!ran.stdout().contains(TOKEN) && !ran.stderr().contains(TOKEN));
    let file = cli.path(".config/chandlery/credentials.toml");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    cli.run(&["list"]).succeeds();
    assert_eq!(server.asked().last().unwrap().token.as_deref(), Some(TOKEN));
    let other = empty_list();
    cli.run(&["list", "--addr", &other.on_loopback()]).succeeds();
    assert_eq!(other.asked()[0].token, None);

    chmod(&file, 0o604);
    cli.run(&["list"]).fails(4, "open to others");
    chmod(&file, 0o600);
    fs::rename(&file, cli.path("moved")).unwrap();
    symlink(cli.path("moved"), &file).unwrap();
    cli.run(&["list"]).fails(4, "symbolic link");
    fs::remove_file(&file).unwrap();
    fs::rename(cli.path("moved"), &file).unwrap();
    cli.run(&["logout"]).succeeds();
    assert!(!fs::read_to_string(&file).unwrap().contains(TOKEN));
    cli.run(&["list"]).fails(2, "where the server is");
}

#[test]
fn a_token_that_does_not_work_is_not_kept() {
    let cli = Cli::bare();
    let address = Server::refusing(401, "unauthenticated", "the token is not known").on_loopback();
    cli.run_with_input(&["login", &address], TOKEN.as_bytes()).fails(4, "the token is not known");
    cli.run_with_input(&["login", &address], b"password").fails(4, "does not start with");
    assert!(!cli.path(".config").exists());
    let cli = Cli::bare().with("CHANDLERY_STACK", "a").with("CHANDLERY_ENVIRONMENT", "b");
    cli.run(&["list", "--addr", &address]).fails(4, "wants a token, and there is none");
}

#[test]
fn init_declares_and_writes_the_project_once() {
    let stack = json!({
        "name": "shop", "services": ["app"], "environments": [{"name": "production", "regions": ["sfo3"]}],
    });
    let server = Server::always(&stack.to_string());
    let cli = Cli::bare().with("CHANDLERY_ADDR", &server.on_loopback()).with("CHANDLERY_TOKEN", TOKEN);
    cli.run(&["init", "shop", "--regions", "sfo3", "--services", "app"]).succeeds();
    let asked = server.asked();
    let asked: Vec<_> =
        asked.iter().map(|asked| (asked.method.as_str(), asked.path.as_str(), asked.body.as_str())).collect();
    let expected = [
        ("PUT", "/v1/stacks/shop", r#"{"services":["app"]}"#),
        ("PUT", "/v1/stacks/shop/environments/production", r#"{"regions":["sfo3"]}"#),
        ("GET", "/v1/stacks/shop", ""),
    ];
    assert_eq!(asked, expected);
    let text = fs::read_to_string(cli.path("chandlery.toml")).unwrap();
    assert!(text.contains("stack = \"shop\"") && !text.contains(TOKEN), "{text}");
    let ran = cli.run(&["init", "other"]).succeeds();
    assert!(ran.stderr().contains("says something else"), "{}", ran.stderr());
    assert_eq!(fs::read_to_string(cli.path("chandlery.toml")).unwrap(), text);
    cli.run(&["init", "-e", "production"]).succeeds();
}

#[test]
fn doctor_says_what_came_from_where_and_what_is_wrong() {
    let stack = json!({"name": "shop", "services": [], "environments": [{"name": "production", "regions": ["sfo3"]}]});
    let info = json!({"id": "tok_x", "description": "me", "verbs": ["administer"], "scopes": [{}], "created": "2026-01-01T00:00:00Z"});
    let server = Server::new(move |asked| match asked.path.as_str() {
        "/v1/health" => (200, r#"{"status": "live", "version": "1"}"#.to_owned()),
        "/v1/ready" => (200, r#"{"status": "ready"}"#.to_owned()),
        "/v1/tokens/self" => (200, info.to_string()),
        _ => (200, stack.to_string()),
    });
    let cli = Cli::at(&server.on_loopback());
    let ran = cli.run(&["doctor", "-r", "sfo3"]).succeeds();
    for part in ["sfo3, from --region", "shop, from the variable CHANDLERY_STACK", "ok    ready", "tok_x: me"] {
        assert!(ran.stdout().contains(part), "{part} is not in\n{}", ran.stdout());
    }
    assert!(!ran.stdout().contains(TOKEN));
    let ran = cli.run(&["doctor", "-r", "eu"]).fails(1, "1 of ");
    assert!(ran.stdout().contains("declared are sfo3"), "{}", ran.stdout());
    let json: serde_json::Value = serde_json::from_str(&cli.run(&["doctor", "--format", "json"]).stdout()).unwrap();
    assert_eq!(json["checks"][0]["verdict"], "ok");
    Cli::bare().run(&["doctor"]).fails(1, "checks failed");
    Cli::at("http://127.0.0.1:1").run(&["doctor"]).fails(1, "checks failed");
}
