//! The verbs that look at all regions, on a real server: the walk of docs/REGIONS.md, and what scripts depend on.

use std::fs;

use chandlery_tests::page::{Page, Reader};
use chandlery_tests::stacks::{folder, global_regions};
use chandlery_tests::{Canaries, Server};

use crate::ship::{cli, ends, start, write};

fn set(server: &Server, name: &str, region: &str, value: &str, more: &[&str]) {
    cli(server, &[&["set", name, "--region", region], more].concat()).stdin(value).ok();
}

#[test]
fn every_command_on_the_page_works() {
    let server = Server::start();
    let envs = server.project().join("envs");
    fs::create_dir_all(&envs).expect("the project's folder takes a folder");
    for region in global_regions() {
        let name = format!("{region}.env");
        fs::copy(folder("global").join(&name), envs.join(&name)).expect("the region's file is there");
    }
    let page = Page::read("docs/REGIONS.md");
    assert!(page.blocks().len() >= 10, "{} blocks were found on the page", page.blocks().len());
    page.follow(&Reader::of(&server));
    let check = fs::read_to_string(server.project().join("check.xml")).expect("the report is there");
    assert!(check.starts_with("<?xml") && check.contains("failures=\"0\""), "{check}");
}

#[test]
fn diff_ends_as_diff_does_and_shows_no_secret() {
    let server = start();
    let mut canaries = Canaries::new();
    let (one, other) = (canaries.value("east's secret"), canaries.value("west's secret"));
    set(&server, "SHARED", "base", "the same", &[]);
    set(&server, "OWN", "east", &one, &[]);
    set(&server, "OWN", "west", &other, &[]);
    set(&server, "PORT", "west", "80", &["--plain"]);
    let different = ends(cli(&server, &["diff", "east", "west"]), 1);
    assert!(different.text().contains("~  OWN") && different.text().contains("+  PORT"), "{different}");
    canaries.assert_absent("a diff", &different.stdout);
    canaries.assert_absent("what a diff says beside", different.stderr.as_bytes());
    assert!(!different.stderr.contains("chandlery:"), "an answer is no error: {different}");
    let revealed = ends(cli(&server, &["diff", "east..west", "--reveal"]), 1);
    canaries.assert_present("east's secret", &revealed.stdout);
    ends(cli(&server, &["diff", "east", "east"]), 0);
    for wrong in [&["diff", "east", "north"][..], &["diff", "east"], &["diff", "nowhere.env", "east"]] {
        let output = ends(cli(&server, wrong), 2);
        assert!(output.stderr.contains("hint: "), "{output}");
    }

    let same = write(&server, "east.env", format!("SHARED='the same'\nOWN={one}\n"));
    ends(cli(&server, &["diff", same.to_str().expect("a path"), "east"]), 0);
    let json = ends(cli(&server, &["diff", "east.env", "west", "--format", "json"]), 1).json();
    let names: Vec<&str> =
        json["differences"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!((names, &json["same"]), (vec!["OWN", "PORT"], &serde_json::json!(1)));

    // What a service gets: the template is one, and what comes of it differs.
    set(&server, "URL", "base", "http://${OWN}/", &["--template"]);
    let written = ends(cli(&server, &["diff", "east", "west"]), 1);
    assert!(!written.text().contains("URL"), "{written}");
    let resolved = ends(cli(&server, &["diff", "east", "west", "--service", "app"]), 1);
    assert!(resolved.text().contains("~  URL"), "{resolved}");
}

#[test]
fn whole_environments_and_revisions_are_compared_layer_by_layer() {
    let server = start();
    set(&server, "A", "base", "1", &["--plain"]);
    let matrix = cli(&server, &["matrix", "--format", "json"]).ok().json();
    let revision = format!("@{}", matrix["revision"]);
    ends(cli(&server, &["diff", &revision]), 0);
    set(&server, "A", "west", "2", &["--plain"]);
    let then = ends(cli(&server, &["diff", &revision]), 1);
    assert!(then.text().contains("LAYER") && then.text().contains("west"), "{then}");
    server.cli(&["init", "ship", "--environment", "staging", "--regions", "east,west"]).ok();
    ends(cli(&server, &["diff", "production..staging"]), 1);
    cli(&server, &["promote", "production", "staging", "--yes"]).ok();
    ends(cli(&server, &["diff", "production..staging"]), 0);
    let got = cli(&server, &["get", "A", "--region", "west", "--at", &revision]).output();
    assert_eq!(got.code(), 5, "{got}");
    let export = cli(&server, &["export", "--region", "west", "--at", &revision, "--format", "json"]).ok().json();
    assert_eq!(export, serde_json::json!({ "A": "1" }));
}

#[test]
fn the_matrix_tells_equal_secrets_without_showing_them() {
    let server = start();
    let mut canaries = Canaries::new();
    let secret = canaries.value("a secret in two places");
    set(&server, "ONE", "base", &secret, &[]);
    set(&server, "TWO", "east", &secret, &[]);
    set(&server, "TWO", "west", "another", &[]);
    set(&server, "GONE", "base", "x", &[]);
    cli(&server, &["rm", "GONE", "--region", "west", "--hide-base"]).ok();
    let json = cli(&server, &["matrix", "--format", "json"]).ok();
    canaries.assert_absent("the matrix", &json.stdout);
    let json = json.json();
    let row = |name: &str| {
        json["rows"].as_array().expect("rows").iter().find(|row| row["name"] == name).expect("a row").clone()
    };
    assert_eq!(row("ONE")["base"]["fingerprint"], row("TWO")["overlays"]["east"]["fingerprint"]);
    assert_ne!(row("TWO")["overlays"]["west"]["fingerprint"], row("TWO")["overlays"]["east"]["fingerprint"]);
    assert_eq!((&row("ONE")["differs"], &row("TWO")["differs"]), (&false.into(), &true.into()));
    let table = cli(&server, &["matrix", "--only-different"]).ok();
    assert!(!table.text().contains("\nONE") && table.text().contains('×'), "{table}");
    let csv = cli(&server, &["matrix", "--format", "csv"]).ok();
    assert!(csv.text().starts_with("name,for,differs,base,east,west\r\n"), "{csv}");
    let revealed = cli(&server, &["matrix", "--reveal"]).ok();
    canaries.assert_present("a secret in two places", &revealed.stdout);
    let audit = cli(&server, &["audit", "--entry", "ONE", "--format", "json"]).ok().json();
    let shown = audit["records"].as_array().expect("records").iter().any(|line| line["detail"] == "secrets shown");
    assert!(shown, "what was shown is in the log: {audit}");

    // Another environment has other fingerprints: two printouts do not tell that a secret is shared.
    server.cli(&["init", "ship", "--environment", "staging"]).ok();
    cli(&server, &["set", "ONE", "--environment", "staging"]).stdin(secret.as_str()).ok();
    let staging = cli(&server, &["matrix", "--environment", "staging", "--format", "json"]).ok().json();
    assert_ne!(staging["rows"][0]["base"]["fingerprint"], row("ONE")["base"]["fingerprint"]);
}

#[test]
fn check_finds_what_is_declared_and_not_there() {
    let server = start();
    let mut canaries = Canaries::new();
    let secret = canaries.value("a value of the wrong shape");
    set(&server, "SHAPE", "base", &secret, &[]);
    set(&server, "BLANK", "east", "x", &[]);
    cli(&server, &["set", "BLANK", "-", "--region", "west"]).stdin("").ok();
    set(&server, "OPEN", "base", "x", &["--plain"]);
    set(&server, "DB_ONLY", "base", "x", &["--for", "db"]);
    set(&server, "BROKEN", "base", "${NOWHERE}", &["--template"]);
    set(&server, "FINE", "base", "${OPEN}1", &["--template"]);
    set(&server, "STRAY", "west", "x", &[]);
    set(&server, "HIDDEN", "base", "x", &[]);
    cli(&server, &["rm", "HIDDEN", "--region", "west", "--hide-base"]).ok();
    let toml = fs::read_to_string(server.project().join("chandlery.toml")).expect("init wrote it");
    let rules = r#"
[keys]
BLANK = {}
OPEN = { secret = true }
HIDDEN = {}
[services.app.keys]
SHAPE = { pattern = "^[0-9]+$" }
DB_ONLY = {}
ABSENT = { regions = ["east"] }
OPTIONAL = { required = false }
BROKEN = {}
FINE = { pattern = "^x1$" }
"#;
    write(&server, "chandlery.toml", format!("{toml}{rules}"));
    let report = ends(cli(&server, &["check", "--format", "json"]), 1);
    canaries.assert_absent("the report", &report.stdout);
    let report = report.json();
    let found: Vec<String> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("severity"), text("kind"), text("name"), text("region"))
        })
        .collect();
    let expected = [
        "error missing ABSENT east",
        "error missing DB_ONLY east",
        "error missing DB_ONLY west",
        "error missing HIDDEN west",
        "error empty BLANK west",
        "error unresolvable BROKEN east",
        "error unresolvable BROKEN west",
        "error shape SHAPE east",
        "error shape SHAPE west",
        "error secrecy OPEN east",
        "error secrecy OPEN west",
        "warning undeclared STRAY -",
    ];
    assert_eq!(found, expected);
    let table = ends(cli(&server, &["check"]), 1);
    canaries.assert_absent("the table", &table.stdout);
    let xml = ends(cli(&server, &["check", "--format", "junit"]), 1);
    assert!(xml.text().contains("failures=\"11\""), "{xml}");

    write(&server, "chandlery.toml", format!("{toml}\n[keys]\nOPEN = {{}}\n[check]\nundeclared = \"ignore\"\n"));
    ends(cli(&server, &["check", "--strict"]), 0);
    write(&server, "chandlery.toml", format!("{toml}\n[keys]\nOPEN = {{}}\n"));
    ends(cli(&server, &["check"]), 0);
    ends(cli(&server, &["check", "--strict"]), 1);
    write(&server, "chandlery.toml", format!("{toml}\n[keys]\nOPEN = {{ pattern = \"(\" }}\n"));
    ends(cli(&server, &["check"]), 2);
    write(&server, "chandlery.toml", &toml);
    ends(cli(&server, &["check"]), 2);
}

#[test]
fn nothing_is_changed_where_nobody_can_be_asked() {
    let server = start();
    set(&server, "A", "base", "1", &["--plain"]);
    let (east, west) = (write(&server, "east.env", "A=2\nB=1\n"), write(&server, "west.env", "A=2\n"));
    let files = [east.to_str().expect("a path"), west.to_str().expect("a path")];
    let asked = ends(cli(&server, &["factor", files[0], files[1]]), 2);
    assert!(asked.stderr.contains("3 values → 1 base + 1 override") && asked.stderr.contains("--yes"), "{asked}");
    let planned = ends(cli(&server, &["factor", files[0], files[1], "--dry-run"]), 0);
    assert!(planned.text().contains("~  A"), "{planned}");
    for verb in [
        &["rollback", "--to", "@1"][..],
        &["destroy", "A"],
        &["copy", "base", "east"],
        &["region", "add", "north", "--like", "east"],
    ] {
        let run = ends(cli(&server, verb), 2);
        assert!(run.stderr.contains("--yes"), "{run}");
    }
    assert_eq!(cli(&server, &["get", "A"]).ok().text(), "1");
    let by_option = format!("east={}", files[0]);
    let other = format!("west={}", files[1]);
    cli(&server, &["factor", "--region", &by_option, "-r", &other, "--yes"]).ok();
    assert_eq!(
        cli(&server, &["export", "--region", "east", "--format", "json"]).ok().json(),
        serde_json::json!({"A": "2", "B": "1"})
    );
    cli(&server, &["region", "add", "north", "--like", "east", "--yes"]).ok();
    ends(cli(&server, &["diff", "north", "east"]), 0);
}
