//! `set` and `import`: how values come in, and how they do not.

use std::fs;

use serde_json::json;

use crate::common::{Cli, Server, written};

#[test]
fn set_keeps_a_piped_value_byte_for_byte_and_trims_when_asked() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    let ran = cli.run_with_input(&["set", "A"], b"v \n").succeeds();
    assert!(ran.stderr().contains("--trim"), "{}", ran.stderr());
    assert_eq!(ran.stdout(), "set A in base, for all services: version 3\n");
    let ran = cli.run_with_input(&["set", "A", "--trim"], b"v\n\n").succeeds();
    assert_eq!(ran.stderr(), "");
    cli.run_with_input(&["set", "A", "-"], b"").succeeds();
    cli.run_with_input(&["set", "A"], b"\xff\x00").succeeds();
    let values: Vec<_> = server.asked().iter().map(|asked| asked.json()["value"].clone()).collect();
    assert_eq!(values, [json!("v \n"), json!("v\n"), json!(""), json!({"base64": "/wA="})]);
}

#[test]
fn set_sends_what_its_flags_say() {
    let server = Server::always(&written("tls.key", true));
    let cli = Cli::at(&server.on_loopback());
    fs::write(cli.path("key"), "k").unwrap();
    let flags =
        ["set", "tls.key", "@key", "--file", "--mode", "440", "--gid", "5", "--file-variable", "--for", "db,app"];
    cli.run(&[&flags[..], &["--region", "sfo3", "--expect-version", "0", "--template", "--secret"]].concat())
        .succeeds();
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("PUT", "/v1/entries/shop/production/tls.key?region=sfo3")
    );
    let file = json!({"file": {"mode": "0440", "gid": 5, "variable": "TLS_KEY_FILE"}});
    let expected = json!({
        "value": "k", "template": true, "secret": true, "deliver": file, "for": ["app", "db"], "expect_version": 0,
    });
    assert_eq!(asked.json(), expected);
}

#[test]
fn a_secret_in_the_arguments_is_refused_and_not_repeated() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    let cases: [(&[&str], &str); 6] = [
        (&["set", "A", "hunter2"], "does not belong on the command line"),
        (&["set", "A=hunter2"], "'=' at character 2"),
        (&["set", "A", "one", "hunter2"], "more than one value"),
        (&["set", "A", "--hunter2-HUNTER"], "an argument too many"),
        (&["get", "A", "hunter2"], "an argument too many"),
        (&["login", "https://h", "hunter2"], "an argument too many"),
    ];
    for (arguments, part) in cases {
        let ran = cli.run(arguments).fails(2, part);
        assert!(!ran.stderr().contains("hunter2"), "{}", ran.stderr());
    }
    assert_eq!(server.asked(), []);
    cli.run(&["set", "A", "--plain", "3306"]).succeeds();
    assert_eq!(server.asked()[0].json()["value"], "3306");
    assert_eq!(server.asked()[0].json()["secret"], false);
}

#[test]
fn what_cannot_be_a_value_is_refused_before_it_is_sent() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    cli.run(&["set", "A"]).fails(2, "stdin has no value");
    cli.run(&["set", "A", "@nowhere"]).fails(2, "nowhere cannot be read");
    cli.run_with_input(&["set", "A"], &vec![b'x'; 513 * 1024]).fails(7, "larger than 512 KiB");
    cli.run_with_input(&["set", "A", "--mode", "4755"], b"x").fails(2, "--mode");
    cli.run_with_input(&["set", "A", "--for", "app,,db"], b"x").fails(2, "--for");
    cli.run_with_input(&["set", "A", "--region", "EU"], b"x").fails(2, "--region: the region name");
    cli.run_with_input(&["set", "A", "--variable", "--file"], b"x").fails(2, "exclude each other");
    assert_eq!(server.asked(), []);
}

#[test]
fn an_import_is_one_request_with_everything() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    fs::write(cli.path(".env"), "B=2 # two\nexport A='1'\nURL=\"x${A}\"\n").unwrap();
    fs::write(cli.path("more.json"), r#"{"C": 3, "D": true}"#).unwrap();
    fs::write(cli.path("more.yaml"), "E: 0123\n").unwrap();
    let files = ["import", ".env", "more.json", "more.yaml", "--region", "sfo3"];
    let ran =
        cli.run(&[&files[..], &["--plain-names", "B,C", "--template", "URL", "--for", "app"]].concat()).succeeds();
    assert!(ran.stderr().contains("taken literally") && ran.stderr().contains("(URL)"), "{}", ran.stderr());
    assert!(ran.stderr().contains("wrote 1 in region sfo3"), "{}", ran.stderr());
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/v1/entries/shop/production"));
    let body = asked[0].json();
    assert_eq!((&body["region"], &body["dry_run"]), (&json!("sfo3"), &json!(false)));
    let entries = body["entries"].as_array().unwrap().iter().map(|entry| {
        let inner = &entry["entry"];
        (
            entry["name"].as_str().unwrap(),
            inner["value"].as_str().unwrap(),
            inner["secret"].as_bool(),
            inner["template"] == true,
        )
    });
    let entries: Vec<_> = entries.collect();
    let expected = [
        ("A", "1", None, false),
        ("B", "2", Some(false), false),
        ("C", "3", Some(false), false),
        ("D", "true", None, false),
        ("E", "0123", None, false),
        ("URL", "x${A}", None, true),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn a_folder_becomes_files_without_their_newlines() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    let folder = cli.path("devsecrets");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mysql_password"), "toor\n").unwrap();
    fs::write(folder.join(".gitkeep"), "").unwrap();
    let ran = cli.run(&["import", "devsecrets", "--file-variable"]).succeeds();
    assert!(ran.stderr().contains("took the newline off the end of mysql_password"), "{}", ran.stderr());
    assert!(ran.stderr().contains("left out devsecrets/.gitkeep"), "{}", ran.stderr());
    cli.run(&["import", "devsecrets", "--no-trim", "--dry-run"]).succeeds();
    let asked = server.asked();
    let entry = |n: usize| asked[n].json()["entries"][0]["entry"].clone();
    assert_eq!(entry(0)["value"], "toor");
    assert_eq!(entry(0)["deliver"], json!({"file": {"mode": "0400", "variable": "MYSQL_PASSWORD_FILE"}}));
    assert_eq!(entry(1)["value"], "toor\n");
    assert_eq!(entry(1)["deliver"], json!({"file": {"mode": "0400"}}));
    assert_eq!(asked[1].json()["dry_run"], true);
}

#[test]
fn a_faulty_import_names_every_fault_and_sends_nothing() {
    let server = Server::always(&written("A", true));
    let cli = Cli::at(&server.on_loopback());
    fs::write(cli.path(".env"), "A=hunter2\nhunter2\nA=3\nB='hunter2\n").unwrap();
    fs::write(cli.path("b.env"), "A=hunter2\n").unwrap();
    let ran = cli.run(&["import", ".env", "b.env", "--plain-names", "C"]).fails(7, "nothing was imported");
    let stderr = ran.stderr();
    assert!(!stderr.contains("hunter2"), "{stderr}");
    for part in
        [".env:2: ", ".env:3: A is set twice", ".env:4: a single quote", "b.env:1: A is set twice", "C is in none"]
    {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
    fs::write(cli.path("empty"), "# nothing\n").unwrap();
    cli.run(&["import", "empty"]).fails(1, "nothing to import");
    cli.run(&["import", "nowhere"]).fails(2, "nowhere cannot be read");
    cli.run_with_input(&["import", "-", "--format", "json"], b"{\"A\": {\"hunter2\": 1}}").fails(7, "stdin:1");
    assert_eq!(server.asked(), []);
}
