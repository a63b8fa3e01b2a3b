//! The verbs that look at all regions, given what nobody expects: signs of ours as values, files of every kind, narrow
//! terminals, tokens that may do a part.

use std::fs;

use chandlery_tests::{Canaries, Run, Server, skip};
use serde_json::{Value, json};

use crate::ship::{cli, ends, start, write};

/// Many values in one request: by layer and name.
fn fill(server: &Server, entries: &[(Option<&str>, &str, Value)]) {
    let set = |(region, name, entry): &(Option<&str>, &str, Value)| json!({ "set": { "name": name, "region": region, "entry": entry } });
    let changes: Vec<Value> = entries.iter().map(set).collect();
    server.api().ok("POST", "/v1/changes/ship/production", Some(&json!({ "changes": changes })));
}

fn plain(value: &str) -> Value {
    json!({ "value": value, "secret": false })
}

/// The verb on a terminal of so many columns, as a person sees it.
fn on_a_terminal(server: &Server, columns: usize, args: &[&str]) -> Option<String> {
    if !["/usr/bin/script", "/bin/script"].iter().any(|path| fs::exists(path).unwrap_or(false)) {
        skip("a terminal's width", "`script` is not there");
        return None;
    }
    let (words, variables) = cli(server, args).parts();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let command = format!("stty cols {columns} rows 50; {}", quoted.join(" "));
    let run = Run::new("script").args(["-qec", &command, "/dev/null"]).current_dir(server.project());
    let run = variables.into_iter().fold(run, |run, (name, value)| run.env(&name, value));
    // Its own stdin ends at once, which the terminal echoes.
    Some(run.ok().text().replace("\r\n", "\n").replace("^D\u{8}\u{8}", ""))
}

#[test]
fn sixty_entries_in_seven_regions_fit_a_terminal_of_eighty_columns() {
    let server = Server::start();
    let regions = ["ap-south-1", "ap-southeast-1", "blr1", "eu-west-1", "sa-east-1", "sfo3", "us-east-1"];
    let list = regions.join(",");
    server.cli(&["init", "ship", "--environment", "production", "--regions", &list]).ok();
    let names: Vec<String> = (0..60).map(|n| format!("VARIABLE_OF_THE_APP_{n}")).collect();
    let mut entries: Vec<(Option<&str>, &str, Value)> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let base = if number % 2 == 0 {
            json!({ "value": format!("secret {number}") })
        } else {
            plain("a value of some length")
        };
        entries.push((None, name, base));
        if number % 5 == 0 {
            entries.extend(
                regions
                    .iter()
                    .step_by(2)
                    .map(|region| (Some(*region), name.as_str(), json!({ "value": format!("{region} {number}") }))),
            );
        }
    }
    fill(&server, &entries);
    for (columns, shown_in_full) in [(80, false), (200, true)] {
        let Some(text) = on_a_terminal(&server, columns, &["matrix"]) else { return };
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= columns, "{widest} columns of {columns}:\n{text}");
        let rows = text.lines().filter(|line| line.starts_with("VARIABLE_OF_THE_APP_")).count();
        assert_eq!(rows, 60, "one block of {columns} columns:\n{text}");
        assert!(text.contains("60 entries, 7 regions, 48 overrides"), "{text}");
        assert_eq!(text.contains("a value of some length"), shown_in_full, "{text}");
    }
    let narrow = on_a_terminal(&server, 40, &["matrix", "--only-different"]).expect("there is one");
    assert!(
        narrow.lines().take_while(|line| !line.contains("entries differ")).all(|line| line.chars().count() <= 40),
        "{narrow}"
    );
    assert!(narrow.contains("12 of 60 entries differ"), "{narrow}");
}

#[test]
fn a_matrix_of_odd_values_says_what_they_are() {
    let server = start();
    let binary = json!({ "value": { "base64": "/wD+" }, "secret": false, "deliver": { "file": {} } });
    fill(
        &server,
        &[
            (None, "DASH", plain("-")),
            (None, "DOT", plain("·")),
            (None, "EMPTY", plain("")),
            (None, "FORMULA", plain("=HYPERLINK(\"http://x\",\"y\")")),
            (None, "LINES", plain("one\ntwo,\"three\"")),
            (None, "SIGN", plain("#2k9xw")),
            (None, "TEMPLATE", json!({ "value": "x${UNICODE}", "secret": false, "template": true })),
            (None, "UNICODE", plain("Ærø 鍵 🔑")),
            (None, "binary.key", binary),
            (Some("west"), "ONLY_WEST", plain("here")),
        ],
    );
    let table = cli(&server, &["matrix"]).ok();
    for line in [
        "DASH        \"-\"",
        "DOT         \"·\"",
        "EMPTY       \"\"",
        "LINES       one↵two,\"three\"",
        "SIGN        \"#2k9xw\"",
        "TEMPLATE    $ x${UNICODE}",
        "UNICODE     Ærø 鍵 🔑",
    ] {
        assert!(table.text().contains(line), "{line}: {table}");
    }
    let csv = cli(&server, &["matrix", "--format", "csv"]).ok();
    for line in [
        "name,for,differs,base,east,west\r\n",
        "FORMULA,all,false,\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\",·,·\r\n",
        "LINES,all,false,\"one\ntwo,\"\"three\"\"\",·,·\r\n",
        "ONLY_WEST,all,true,-,-,here\r\n",
    ] {
        assert!(csv.text().contains(line), "{line}: {csv}");
    }
    let json = cli(&server, &["matrix", "--format", "json"]).ok();
    let again = cli(&server, &["matrix", "--format", "json"]).ok();
    assert_eq!(json.stdout, again.stdout, "the same, byte for byte");
    let row = |name: &str| {
        json.json()["rows"].as_array().expect("rows").iter().find(|row| row["name"] == name).expect("it").clone()
    };
    assert_eq!(row("UNICODE")["base"]["value"], "Ærø 鍵 🔑");
    assert_eq!(
        (&row("binary.key")["base"]["value"], &row("binary.key")["base"]["size"]),
        (&json!({ "base64": "/wD+" }), &json!(3))
    );
    assert!(row("ONLY_WEST")["base"].is_null() && row("DASH")["overlays"].is_null());
    // A region without overrides is one: it has a column, and what the base has.
    assert_eq!(json.json()["regions"], json!(["east", "west"]));
    ends(cli(&server, &["diff", "east", "base"]), 0);
    let diff = ends(cli(&server, &["diff", "east", "west"]), 1);
    assert!(diff.text().contains("+  ONLY_WEST") && diff.stderr.contains("1 differ, 9 are the same"), "{diff}");
}

#[test]
fn diff_ends_with_2_for_whatever_goes_wrong() {
    let server = start();
    fill(&server, &[(None, "A", plain("1")), (Some("west"), "T", json!({ "value": "${NOWHERE}", "template": true }))]);
    write(&server, "bad.env", "A=1\nA=2\n=x\n");
    write(&server, "same.env", "\u{feff}A=1\r\n");
    write(&server, "same.json", "{\"A\": 1}");
    let token = server.api().ok(
        "POST",
        "/v1/tokens",
        Some(&json!({ "description": "x", "verbs": ["read-bundle"], "scopes": [{}] })),
    );
    let refused = token["token"].as_str().expect("a token").to_owned();
    for args in [
        &["diff"][..],
        &["diff", "east"],
        &["diff", "east", "moon"],
        &["diff", "east", "west", "more"],
        &["diff", "east@99999"],
        &["diff", "east@yesterday"],
        &["diff", "east@2999-01-01T00:00Z"],
        &["diff", "east", "missing.env"],
        &["diff", "east", "bad.env"],
        &["diff", "east", "/"],
        &["diff", "east", "production"],
        &["diff", "a/b/c/d", "east"],
        &["diff", "east", "west", "--service", "nobody"],
        &["diff", "east", "west", "--service", "app"],
        &["diff", "--no-such-flag"],
        &["diff", "east", "west", "--addr", "https://127.0.0.1:1"],
    ] {
        let output = ends(cli(&server, args), 2);
        assert!(output.stdout.is_empty() && !output.stderr.trim().is_empty(), "{output}");
    }
    let output = ends(cli(&server, &["diff", "east", "west"]).env("CHANDLERY_TOKEN", &refused), 2);
    assert!(output.stderr.contains("hint:"), "{output}");
    ends(cli(&server, &["diff", "east", "west", "--reveal"]).env("CHANDLERY_TOKEN", &refused), 2);
    for same in ["same.env", "same.json"] {
        ends(cli(&server, &["diff", same, "east"]), 0);
        ends(cli(&server, &["diff", "east", same]), 0);
    }
    ends(cli(&server, &["diff", "same.env", "same.json"]), 0);
    ends(cli(&server, &["diff", "-", "east"]).stdin("A='1'\n"), 0);
    ends(cli(&server, &["diff", "-", "east"]).stdin("A='2'\n"), 1);
    ends(cli(&server, &["diff", "-", "east"]).stdin(""), 1);
}

#[test]
fn factor_takes_whatever_files_there_are_or_says_what_is_wrong_with_them() {
    let server = start();
    let mut canaries = Canaries::new();
    let secret = canaries.value("a value in a faulty file");
    write(&server, "east.env", "\u{feff}SHARED=1\r\nOWN=\"two\\nlines\"\r\nexport EMPTY=\r\n# a comment\r\n");
    write(&server, "west.json", "{\"SHARED\": 1, \"OWN\": \"Ærø\", \"EMPTY\": \"\", \"ONLY\": \"${NOT_A_TEMPLATE}\"}");
    write(&server, "north.yaml", "SHARED: 1\nOWN: three\n");
    write(&server, "twice.env", format!("A={secret}\nA={secret}\nno assignment {secret}\n1A=x\nB=\"open\n"));
    write(&server, "latin1.env", b"A=\xe9\n");
    let faulty = ends(cli(&server, &["factor", "east.env", "north=twice.env", "south=latin1.env", "--yes"]), 7);
    for fault in
        ["twice.env:2: A is set twice", "twice.env:3: ", "twice.env:4: ", "twice.env:5: ", "latin1.env:1: is not UTF-8"]
    {
        assert!(faulty.stderr.contains(fault), "{fault}: {faulty}");
    }
    canaries.assert_absent("what is said of a faulty file", faulty.stderr.as_bytes());
    for (args, code) in [
        (&["factor", "--yes"][..], 7),
        (&["factor", "east.env", "--yes"][..], 7),
        (&["factor", "east.env", "east=west.json", "--yes"][..], 7),
        (&["factor", "east.env", "no such region=west.json", "--yes"][..], 2),
        (&["factor", "east.env", "--region", "west.json", "--yes"][..], 2),
        (&["factor", "east.env", "nowhere.env", "--yes"][..], 2),
        (&["factor", "east.env", "west.json", "--plain-names", "TYPO", "--yes"][..], 7),
        (&["factor", "east.env", "west.json", "--for", "nobody", "--yes"][..], 5),
    ] {
        let output = ends(cli(&server, args), code);
        assert!(output.stderr.contains("hint:"), "{output}");
    }
    assert_eq!(cli(&server, &["matrix", "--format", "json"]).ok().json()["rows"], json!([]), "nothing was changed");

    let done = cli(&server, &["factor", "east.env", "west.json", "north.yaml", "--yes"]).ok();
    assert!(done.text().starts_with("9 values → 2 base + 4 overrides + 1 removal\n"), "{done}");
    assert!(
        done.text().contains("declares the region north") && done.stderr.contains("to undo it: chandlery rollback"),
        "{done}"
    );
    let export = |region: &str| cli(&server, &["export", "--region", region, "--format", "json"]).ok().json();
    assert_eq!(export("east"), json!({ "SHARED": "1", "OWN": "two\nlines", "EMPTY": "" }));
    assert_eq!(export("west"), json!({ "SHARED": "1", "OWN": "Ærø", "EMPTY": "", "ONLY": "${NOT_A_TEMPLATE}" }));
    assert_eq!(export("north"), json!({ "SHARED": "1", "OWN": "three" }));
    for file in ["east.env", "west.json", "north.yaml"] {
        ends(cli(&server, &["diff", file, file.split('.').next().expect("a region")]), 0);
    }
    let again = cli(&server, &["factor", "east.env", "west.json", "north.yaml", "--yes"]).ok();
    assert!(again.stderr.contains("nothing is to be changed"), "{again}");
    // What was a file becomes a variable, and what is for another service in one layer is not clear.
    fill(
        &server,
        &[
            (None, "FILE", json!({ "value": "x", "deliver": { "file": {} } })),
            (Some("east"), "MIXED", json!({ "value": "x", "for": ["app"] })),
            (None, "MIXED", json!({ "value": "y" })),
        ],
    );
    let copies = [write(&server, "a.env", "FILE=1\n"), write(&server, "b.env", "FILE=1\n")];
    let sides = ["east", "west"].map(|region| format!("{region}={}", copies[usize::from(region == "west")].display()));
    let plan = cli(&server, &["factor", &sides[0], &sides[1], "--dry-run"]).ok();
    assert!(plan.text().contains("FILE was delivered as a file, and becomes a variable"), "{plan}");
    write(&server, "a.env", "MIXED=1\n");
    write(&server, "b.env", "MIXED=1\n");
    let unclear = ends(cli(&server, &["factor", &sides[0], &sides[1], "--dry-run"]), 6);
    assert!(unclear.stderr.contains("--for"), "{unclear}");
}

#[test]
fn the_report_for_pipelines_is_xml_that_counts_what_was_looked_at() {
    let server = start();
    fill(&server, &[(None, "A", plain("<&\"'>")), (Some("west"), "STRAY", plain("1"))]);
    let toml = fs::read_to_string(server.project().join("chandlery.toml")).expect("init wrote it");
    let rules = "[services.app.keys]\nA = { pattern = \"^[0-9]+$\" }\nB = { regions = [\"west\"] }\n[keys]\nC = { required = false }\n";
    write(&server, "chandlery.toml", format!("{toml}\n{rules}"));
    let report = ends(cli(&server, &["check", "--format", "junit"]), 1);
    write(&server, "report.xml", &report.stdout);
    // Read by another program than ours.
    let script = "\
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
suites = root.findall('testsuite')
cases = root.findall('testsuite/testcase')
failed = root.findall('testsuite/testcase/failure')
assert root.tag == 'testsuites' and all(case.get('name') and case.get('classname') for case in cases)
assert all(s.get(key) is not None for s in suites for key in ('name', 'tests', 'failures', 'errors'))
assert all(int(s.get('tests')) == len(s.findall('testcase')) for s in suites)
assert sum(int(s.get('failures')) for s in suites) == len(failed) == int(root.get('failures'))
assert all(one.get('type') and one.get('message') for one in failed)
print([s.get('name') for s in suites], len(cases), len(failed))";
    let read = Run::new("python3").args(["-c", script, "report.xml"]).current_dir(server.project()).ok();
    let suites = "['ship/production/east', 'ship/production/west', 'ship/production: beside what is declared']";
    assert_eq!(read.text().trim(), format!("{suites} 6 3"), "{report}");
    let one = ends(cli(&server, &["check", "--region", "east", "--format", "junit"]), 1);
    assert!(one.text().contains("tests=\"2\" failures=\"1\""), "{one}");
}

#[test]
fn the_past_comes_back_by_revision_and_by_time_and_goes_again() {
    let server = start();
    fill(
        &server,
        &[
            (None, "A", plain("1")),
            (Some("east"), "A", plain("2")),
            (None, "GONE", plain("x")),
            (None, "LEAK", plain("leaked")),
        ],
    );
    let then = cli(&server, &["matrix", "--format", "json"]).ok().json();
    let revision = then["revision"].as_u64().expect("a revision");
    let created = cli(&server, &["history", "A", "--format", "json"]).ok().json()["entries"][0]["created"]
        .as_str()
        .expect("a time")
        .to_owned();
    // Revisions are written at some millisecond; the next write is to be at a later one.
    std::thread::sleep(std::time::Duration::from_millis(20));
    cli(&server, &["rm", "GONE"]).ok();
    cli(&server, &["region", "add", "north"]).ok();
    cli(&server, &["service", "add", "late"]).ok();
    fill(
        &server,
        &[
            (Some("north"), "A", plain("3")),
            (None, "NEW", json!({ "value": "n", "secret": false, "for": ["late"] })),
            (None, "A", plain("9")),
        ],
    );
    cli(&server, &["destroy", "LEAK", "--yes"]).ok();
    let rows = |server: &Server| {
        let json = cli(server, &["matrix", "--format", "json"]).ok().json();
        let cell = |cell: &Value| cell["value"].as_str().unwrap_or("-").to_owned();
        let row = |row: &Value| {
            let region = |name: &str| cell(&row["overlays"][name]);
            format!(
                "{}={}/{}/{}",
                row["name"].as_str().expect("a name"),
                cell(&row["base"]),
                region("east"),
                region("north")
            )
        };
        json["rows"].as_array().expect("rows").iter().map(row).collect::<Vec<_>>().join(" ")
    };
    let now = rows(&server);
    assert_eq!(now, "A=9/2/3 NEW=n/-/-");
    // The same moment by its number, and as a time in two spellings.
    let instant: String = created.trim_end_matches('Z').to_owned();
    for to in [format!("@{revision}"), created, format!("{instant}+00:00")] {
        let plan = cli(&server, &["rollback", "--to", &to, "--dry-run"]).ok();
        assert!(plan.stderr.contains("would change 4"), "{to}: {plan}");
        assert!(plan.text().contains("LEAK") && plan.text().contains("was destroyed"), "{plan}");
    }
    for (to, code) in
        [("yesterday", 2), ("2026-13-01", 2), ("@999999", 5), ("2999-01-01T00:00Z", 5), ("", 2), ("-1h", 2)]
    {
        ends(cli(&server, &["rollback", "--to", to, "--yes"]), code);
    }
    let done = cli(&server, &["rollback", "--to", &format!("@{revision}"), "--yes"]).ok();
    assert_eq!(rows(&server), "A=1/2/- GONE=x/-/-", "what was destroyed stays so");
    let undo: Vec<&str> =
        done.stderr.split("to undo it: chandlery ").nth(1).expect("a hint").trim().split(' ').collect();
    cli(&server, &[&undo[..], &["--yes"]].concat()).ok();
    assert_eq!(rows(&server), now, "there and back");
    let past =
        cli(&server, &["export", "--region", "east", "--at", &format!("@{revision}"), "--format", "json"]).output();
    assert_eq!(past.code(), 5, "it cannot be what it was: {past}");
    assert!(past.stderr.contains("LEAK") && past.stderr.contains("destroyed"), "{past}");
    cli(&server, &["rollback", "--to", "@1", "--yes"]).ok();
    assert_eq!(rows(&server), "", "before anything was set");
    let at = format!("@{}", revision + 1);
    let deleted = cli(&server, &["get", "GONE", "--at", &at]).output();
    assert_eq!(deleted.code(), 5, "{deleted}");
}

#[test]
fn promoting_needs_the_regions_and_services_to_be_there() {
    let server = start();
    server.cli(&["init", "ship", "--environment", "staging", "--regions", "west,moon"]).ok();
    server.cli(&["init", "boat", "--environment", "production", "--services", "sail"]).ok();
    fill(
        &server,
        &[
            (None, "A", plain("1")),
            (Some("east"), "A", plain("2")),
            (Some("west"), "A", plain("3")),
            (None, "S", json!({ "value": "s" })),
        ],
    );
    let plan = cli(&server, &["promote", "production", "staging", "--dry-run"]).ok();
    assert!(plan.text().contains("ship/staging has no region east: what differs there is not copied"), "{plan}");
    assert!(plan.text().contains("S: a secret is copied only if it is named, or with --secrets"), "{plan}");
    cli(&server, &["promote", "production", "staging", "--yes"]).ok();
    let matrix = cli(&server, &["matrix", "-e", "staging", "--format", "json"]).ok().json();
    assert_eq!(matrix["rows"][0]["overlays"]["west"]["value"], "3");
    for (args, code) in [
        (&["promote", "production", "nowhere", "--yes"][..], 5),
        (&["promote", "nowhere", "production", "--yes"][..], 5),
        (&["promote", "production", "production", "--yes"][..], 7),
        (&["promote", "production", "staging", "TYPO", "--yes"][..], 5),
        (&["copy", "east", "moon", "--yes"][..], 5),
        (&["copy", "east", "east", "--yes"][..], 7),
        (&["copy", "a/b/c/d", "east", "--yes"][..], 2),
        (&["region", "add", "north", "--like", "moon", "--yes"][..], 5),
        (&["region", "add", "east", "--like", "west", "--dry-run"][..], 0),
    ] {
        ends(cli(&server, args), code);
    }
    // Of another stack, whose services this one does not have.
    let entry = json!({ "set": { "name": "MAST", "entry": { "value": "m", "for": ["sail"] } } });
    server.api().ok("POST", "/v1/changes/boat/production", Some(&json!({ "changes": [entry] })));
    let foreign = ends(cli(&server, &["copy", "boat/production/base", "base", "--secrets", "--yes"]), 5);
    assert!(foreign.stderr.contains("sail"), "{foreign}");
    assert_eq!(
        cli(&server, &["stacks", "--format", "json"]).ok().json()["stacks"][1]["environments"][0]["regions"],
        json!(["east", "west"])
    );
}

#[test]
fn each_verb_refuses_a_token_that_may_not() {
    let server = start();
    fill(&server, &[(None, "A", json!({ "value": "1" })), (Some("east"), "A", json!({ "value": "2" }))]);
    write(&server, "east.env", "A=1\n");
    write(&server, "west.env", "A=1\n");
    let toml = fs::read_to_string(server.project().join("chandlery.toml")).expect("init wrote it");
    write(&server, "chandlery.toml", format!("{toml}\n[keys]\nA = {{}}\n"));
    let token = |verbs: &[&str], scope: Value| {
        let wish = json!({ "description": "x", "verbs": verbs, "scopes": [scope] });
        server.api().ok("POST", "/v1/tokens", Some(&wish))["token"].as_str().expect("a token").to_owned()
    };
    let nothing = token(&["read-bundle"], json!({}));
    let reader = token(&["read-entry"], json!({}));
    let writer = token(&["write"], json!({}));
    let east =
        token(&["read-entry", "write"], json!({ "stack": "ship", "environment": "production", "region": "east" }));
    let reading: [&[&str]; 4] = [&["matrix"], &["matrix", "--reveal"], &["history", "A"], &["list"]];
    let changing: [&[&str]; 6] = [
        &["factor", "east.env", "west.env", "--yes"],
        &["promote", "staging", "production", "--yes"],
        &["copy", "base", "west", "--yes"],
        &["rollback", "--to", "@1", "--yes"],
        &["region", "add", "north", "--like", "east", "--yes"],
        &["destroy", "A", "--yes"],
    ];
    for token in [&nothing, &writer] {
        for args in reading {
            ends(cli(&server, args).env("CHANDLERY_TOKEN", token), 4);
        }
        for args in [&["diff", "east", "west"][..], &["check"]] {
            ends(cli(&server, args).env("CHANDLERY_TOKEN", token), 2);
        }
    }
    for token in [&nothing, &reader, &east] {
        // Who may read nothing of the base copies nothing from it, and is told so.
        for args in changing.iter().filter(|args| token != &east || args[0] != "copy") {
            ends(cli(&server, args).env("CHANDLERY_TOKEN", token), 4);
        }
    }
    for args in [changing[2], changing[4], changing[5]] {
        ends(cli(&server, args).env("CHANDLERY_TOKEN", &writer), 4);
    }
    let seen = cli(&server, &["matrix"]).env("CHANDLERY_TOKEN", &east).ok();
    assert!(seen.stderr.contains("may not read everything"), "{seen}");
    let refused = ends(cli(&server, &["check"]).env("CHANDLERY_TOKEN", &east), 2);
    assert!(refused.stderr.contains("in west") && refused.stderr.contains("--region"), "{refused}");
    ends(cli(&server, &["check", "--region", "east"]).env("CHANDLERY_TOKEN", &east), 0);
    cli(&server, &["rollback", "--to", "@1", "--region", "east", "--yes"]).env("CHANDLERY_TOKEN", &east).ok();
}

#[test]
fn values_that_look_alike_are_told_apart() {
    let server = start();
    let pairs = [("BIDI", "\u{202e}abc", "\u{202d}abc"), ("TAB", "a\tb", "a b"), ("ZERO", "x\u{200b}y", "x\u{200c}y")];
    for (name, east, west) in pairs {
        fill(&server, &[(Some("east"), name, plain(east)), (Some("west"), name, plain(west))]);
    }
    let differ = ends(cli(&server, &["diff", "east", "west"]), 1);
    for line in differ.text().lines().skip(1) {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert!(cells.len() == 4 && cells[2] != cells[3], "{line:?}");
    }
    for shown in [differ, cli(&server, &["matrix"]).ok()] {
        assert!(!shown.text().contains(['\u{202e}', '\u{202d}', '\u{200b}', '\t']), "{shown}");
    }
}
