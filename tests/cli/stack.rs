//! `stack import` and `stack check` on a real server, with the compose files that people have.

use std::fs;
use std::path::Path;

use chandlery_tests::stacks::folder;
use chandlery_tests::{Canaries, Output, Run, Server, skip};
use serde_json::Value;

/// The first team's file as they published it, with passwords that only this run knows.
struct Seed {
    server: Server,
    canaries: Canaries,
}

impl Seed {
    fn new() -> Self {
        let mut canaries = Canaries::new();
        let server = Server::start();
        let project = server.project();
        fs::copy(folder("simpleapp/seed").join("docker-compose.yml"), project.join("docker-compose.yml"))
            .expect("a copy");
        fs::create_dir(project.join("devsecrets")).expect("a folder");
        for name in ["mysql_password", "redis_password"] {
            let value = canaries.value(name);
            fs::write(project.join("devsecrets").join(name), value + "\n").expect("a file");
        }
        Self { server, canaries }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.server.cli(args).env("CHANDLERY_STACK", "simpleapp").env("CHANDLERY_ENVIRONMENT", "production")
    }

    /// What the CLI says must never hold a value.
    fn heard(&self, output: Output) -> Output {
        self.canaries.assert_absent("stdout", &output.stdout);
        self.canaries.assert_absent("stderr", output.stderr.as_bytes());
        output
    }

    fn ok(&self, args: &[&str]) -> Output {
        self.heard(self.run(args).ok())
    }

    fn import(&self, more: &[&str]) -> Value {
        self.ok(&[&["stack", "import", "--yes", "--format", "json"], more].concat()).json()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.server.project().join(name), text).expect("the project's folder takes a file");
    }

    fn list(&self) -> usize {
        self.ok(&["list", "--format", "json"]).json()["entries"].as_array().expect("a list").len()
    }
}

/// `name result services`, a line an entry.
fn results(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let services =
        |line: &Value| line["for"].as_array().expect("a list").iter().map(text).collect::<Vec<_>>().join(",");
    let lines = report["entries"].as_array().expect("a list").iter();
    lines.map(|line| format!("{} {} {}", text(&line["name"]), text(&line["result"]), services(line))).collect()
}

#[test]
fn an_import_is_planned_written_and_then_complete() {
    let seed = Seed::new();
    let planned = seed.ok(&["stack", "import", "--dry-run"]);
    assert!(planned.text().contains("secret: under secrets"), "{planned}");
    assert!(planned.stderr.contains("nothing was written"), "{planned}");
    seed.run(&["list"]).fails();
    let without_yes = seed.run(&["stack", "import"]).fails();
    assert_eq!(without_yes.code(), 2, "{without_yes}");

    let expected = [
        "MYSQL_DATABASE new app,db",
        "MYSQL_ROOT_PASSWORD_FILE new db",
        "TZ new db",
        "WAIT_HOSTS new app",
        "mysql_password new app,db",
        "redis_password new app",
    ];
    assert_eq!(results(&seed.import(&[])), expected);
    let again = expected.map(|line| line.replace(" new ", " unchanged "));
    assert_eq!(results(&seed.import(&[])), again);
    assert_eq!(seed.list(), 6);

    let bundle = seed.run(&["export", "--format", "json", "--with-files", "--service", "db"]).ok().json();
    seed.canaries.assert_present("mysql_password", bundle["files"].to_string().as_bytes());
    assert_eq!(bundle["files"][0]["mode"], "0444");
    let password = seed.run(&["get", "mysql_password"]).ok().stdout;
    assert!(!password.ends_with(b"\n"), "the newline that an editor left is gone");
    assert!(seed.ok(&["stack", "check"]).text().contains("ok"));
}

#[test]
fn a_second_import_keeps_what_the_store_has_until_it_is_told_otherwise() {
    let seed = Seed::new();
    seed.import(&[]);
    seed.run(&["set", "TZ", "--plain", "Europe/Dublin"]).ok();
    seed.write(
        "docker-compose.override.yml",
        "version: '3.1'\nservices:\n  app: {environment: {MYSQL_DATABASE: simple_db, TZ: Asia/Tokyo}}\n  \
         web: {image: nginx, environment: {MYSQL_DATABASE: simple_db, STRIPE_KEY: sk_live_4eC39HqLyjWDarjtT1zdp7dc}}\n",
    );
    let report = seed.import(&[]);
    let changed: Vec<String> = results(&report).into_iter().filter(|line| !line.contains("unchanged")).collect();
    assert_eq!(changed, ["MYSQL_DATABASE new web", "STRIPE_KEY new web", "TZ new app", "TZ differs, kept db"]);
    assert_eq!(seed.ok(&["get", "TZ", "--resolved", "--service", "db"]).stdout, b"Europe/Dublin");
    assert_eq!(seed.ok(&["get", "TZ", "--resolved", "--service", "app"]).stdout, b"Asia/Tokyo");
    let overwritten = results(&seed.import(&["--overwrite"]));
    assert!(overwritten.contains(&"TZ overwrite db".to_owned()), "{overwritten:?}");
    assert_eq!(seed.ok(&["get", "TZ", "--resolved", "--service", "db"]).stdout, b"Asia/Singapore");
    assert!(results(&seed.import(&["--overwrite"])).iter().all(|line| line.contains("unchanged")));
    // What was taken for plain is shown in the list, until somebody says that it is none.
    assert!(seed.ok(&["list"]).text().contains("simple_db"));
    let told = results(&seed.import(&["--secret", "MYSQL_DATABASE"]));
    let made = |line: &&String| line.contains("made a secret");
    assert_eq!(told.iter().filter(made).count(), 2, "one for app and db, one for web: {told:?}");
    assert!(!seed.ok(&["list"]).text().contains("simple_db"));
    assert!(!results(&seed.import(&["--secret", "MYSQL_DATABASE"])).iter().any(|line| made(&line)));
}

#[test]
fn a_value_that_is_shared_in_the_store_is_not_changed_for_some() {
    let seed = Seed::new();
    seed.import(&[]);
    seed.write(
        "docker-compose.override.yml",
        "version: '3.1'\nservices: {app: {environment: {MYSQL_DATABASE: other}}}\n",
    );
    let refused = seed.heard(seed.run(&["stack", "import", "--yes", "--overwrite"]).fails());
    assert_eq!(refused.code(), 6, "{refused}");
    assert!(refused.stderr.contains("MYSQL_DATABASE is set for app,db together"), "{refused}");
    assert_eq!(seed.ok(&["get", "MYSQL_DATABASE"]).stdout, b"simple_db");
}

#[test]
fn an_import_goes_into_one_region_s_overlay() {
    let seed = Seed::new();
    seed.run(&["init", "simpleapp", "--regions", "eu-west-1,sfo3"]).ok();
    let undeclared = seed.run(&["stack", "import", "--yes", "--region", "mars"]).fails();
    assert_eq!(undeclared.code(), 5, "{undeclared}");
    assert_eq!(seed.import(&["--region", "sfo3"])["layer"], "sfo3");
    let missing = seed.heard(seed.run(&["stack", "check"]).fails());
    assert_eq!(missing.code(), 1, "{missing}");
    let table: Vec<Vec<&str>> = missing.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["SERVICE", "eu-west-1", "sfo3"]);
    assert_eq!(table[1], ["cache", "ok", "ok"]);
    assert_eq!(table[2][..2], ["db", "lacks"]);
    assert_eq!(table[2].last(), Some(&"ok"));
    assert!(missing.stderr.contains("app in eu-west-1: redis_password:"), "{missing}");
    seed.ok(&["stack", "check", "--region", "sfo3"]);
    seed.run(&["set", "TZ", "--plain", "x", "--region", "all"]).fails();
}

#[test]
fn external_secrets_and_what_nobody_says_are_named_with_their_commands() {
    let seed = Seed::new();
    seed.write(
        "stack.yml",
        "version: '3.8'\nservices:\n  app:\n    image: x\n    environment:\n      SESSION_KEY: ${SESSION_KEY:?set it}\n      PASSED:\n      \
         HALF: x${NOBODY}y\n      URL: redis://:${REDIS_PW}@cache\n    secrets:\n      - {source: tls, target: tls.key, mode: 0440, gid: '101'}\n    configs: [{source: conf, target: /etc/app.conf}]\n\
         secrets: {tls: {external: true, name: prod_tls}}\nconfigs: {conf: {file: ./app.conf}, old: {external: true}}\n",
    );
    seed.write("app.conf", "a = 1\n\n");
    let report = seed.import(&["-f", "stack.yml"]);
    assert_eq!(results(&report), ["app.conf new app"]);
    let commands: Vec<&str> = report["absent"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| line["command"].as_str().expect("a text"))
        .collect();
    assert_eq!(
        commands,
        [
            "chandlery set HALF --plain --for app",
            "chandlery set PASSED --plain --for app",
            "chandlery set SESSION_KEY --for app",
            "chandlery set URL --for app",
            "chandlery set tls.key @FILE --file --mode 0440 --gid 101 --for app"
        ]
    );
    let left = report["left"].to_string();
    assert!(left.contains("/etc/app.conf") && left.contains("no service asks for the config old"), "{left}");
    assert_eq!(seed.ok(&["get", "app.conf"]).stdout, b"a = 1\n\n", "a config is kept byte for byte");

    let missing = seed.heard(seed.run(&["stack", "check", "-f", "stack.yml", "--format", "json"]).fails());
    let names: Vec<Value> = missing.json()["checks"][0]["lacks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|lack| lack["name"].clone())
        .collect();
    assert_eq!(names, ["HALF", "PASSED", "SESSION_KEY", "URL", "tls.key"]);
    let junit = seed.heard(seed.run(&["stack", "check", "-f", "stack.yml", "--format", "junit"]).fails());
    assert!(junit.text().contains("tests=\"1\" failures=\"1\""), "{junit}");

    // The commands do what they say.
    seed.write("FILE", "k");
    for command in commands {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        seed.run(&words).stdin("value").ok();
    }
    seed.ok(&["stack", "check", "-f", "stack.yml"]);
    assert!(seed.import(&["-f", "stack.yml"])["absent"].as_array().expect("a list").is_empty());
}

#[test]
fn what_cannot_be_imported_is_a_fault_and_writes_nothing() {
    let seed = Seed::new();
    seed.write("bad.yml", "services:\n  App: {image: x, environment: {A: s3cret}}\n  b: {image: x, environment: {x: s3cret}, secrets: [x]}\nsecrets: {x: {file: devsecrets/mysql_password}}\n");
    let refused = seed.heard(seed.run(&["stack", "import", "--yes", "-f", "bad.yml", "--plain", "TYPO"]).fails());
    assert_eq!(refused.code(), 7, "{refused}");
    for part in ["App:", "b has x both as a variable and as a file", "--plain: TYPO"] {
        assert!(refused.stderr.contains(part), "{part:?} is not in {refused}");
    }
    assert!(!refused.stderr.contains("s3cret"), "{refused}");
    seed.run(&["list"]).fails();
    let nothing = seed.run(&["stack", "import", "--yes", "-f", "gone.yml"]).fails();
    assert_eq!(nothing.code(), 7, "{nothing}");
}

/// A `docker` that knows the images' configuration and compose's version, and writes down how it was called.
const DOCKER: &str = r#"#!/bin/sh
case "$*" in
"compose version --short") echo 2.30.1 ;;
*" down") : >downed ;;
"image inspect"*) echo '{"Entrypoint":["/ep"],"Cmd":["run","$x"],"User":"","Healthcheck":null}' ;;
*)
    for word; do
        echo "$word"
        case $word in *override.yml) cat "$word" >override.seen ;; esac
    done >called
    env >>called
    exit 17
    ;;
esac
"#;

#[test]
fn compose_2_gets_its_dialect_and_its_options_and_its_exit_code_comes_back() {
    use std::os::unix::fs::PermissionsExt;

    let seed = Seed::new();
    seed.write(
        "compose.yaml",
        "services:\n  app:\n    image: x\n    env_file: gone.env\n    environment: {KEY: \"${KEY:?}\", A: 1}\n    secrets: [pw]\nsecrets: {pw: {file: gone}}\n",
    );
    seed.write("docker", DOCKER);
    seed.write("entrypoint", "");
    let project = seed.server.project();
    fs::set_permissions(project.join("docker"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let run = |args: &[&str]| {
        let path = format!("{}:/usr/bin:/bin", project.display());
        let run = seed.run(&[&["stack"], args].concat()).env("PATH", path).env("XDG_STATE_HOME", project.join("state"));
        run.env("CHANDLERY_TOKEN", seed.server.admin_token()).env("CHANDLERY_ENTRYPOINT", project.join("entrypoint"))
    };
    let up = ["up", "-p", "p1", "--profile", "x", "--detach", "--wait"];
    let refused = run(&up).fails();
    assert_eq!(refused.code(), 5, "nothing is declared: {refused}");
    seed.run(&["init", "simpleapp", "--services", "app"]).ok();
    let refused = run(&up).fails();
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("KEY") && refused.stderr.contains("pw"), "{refused}");
    assert!(!project.join("called").exists(), "compose is not called for what would not start");
    seed.run(&["set", "KEY", "-", "--for", "app"]).stdin("k").ok();
    seed.run(&["set", "pw", "-", "--file", "--for", "app"]).stdin("p").ok();

    let ended = seed.heard(run(&up).output());
    assert_eq!(ended.code(), 17, "{ended}");
    let called = fs::read_to_string(project.join("called")).expect("docker was called");
    let words: Vec<&str> = called.lines().collect();
    let file = format!("{}/state/chandlery/stacks/p1/override.yml", project.display());
    let expected =
        ["compose", "-p", "p1", "--profile", "x", "-f", "compose.yaml", "-f", &file, "up", "--detach", "--wait"];
    assert_eq!(words[..expected.len()], expected);
    assert!(words.contains(&"KEY=given-by-chandlery"), "{called}");
    assert!(!called.contains(seed.server.admin_token()), "our token is no business of compose's");
    let rendered = fs::read_to_string(project.join("override.seen")).expect("it was there when compose was called");
    for part in ["secrets: !reset []", "env_file: !reset []", "- \"/ep\"", "- \"$$x\"", "KEY: \"\""] {
        assert!(rendered.contains(part), "{part} is not in {rendered}");
    }
    let misplaced = run(&["up", "--detach", "-f", "compose.yaml"]).fails();
    assert_eq!(misplaced.code(), 2, "{misplaced}");
    // Nobody renders what would be refused: this server asks no Docker who its callers are.
    let socket = run(&["render", "--identity", "socket"]).fails();
    assert_eq!((socket.code(), socket.text()), (1, ""), "{socket}");
    assert!(socket.stderr.contains("docker_socket is off"), "{socket}");
}

/// A stack of one service behind the stand-in, and how `chandlery stack` is run on it.
fn small() -> (Seed, impl Fn(&Seed, &[&str]) -> Run) {
    use std::os::unix::fs::PermissionsExt;

    let seed = Seed::new();
    seed.write("compose.yaml", "services: {app: {image: x, environment: {A: 1}}}\n");
    seed.write("docker", DOCKER);
    seed.write("entrypoint", "");
    fs::set_permissions(seed.server.project().join("docker"), fs::Permissions::from_mode(0o755)).expect("a mode");
    seed.run(&["init", "simpleapp", "--services", "app"]).ok();
    let run = |seed: &Seed, args: &[&str]| {
        let project = seed.server.project();
        let (verb, rest) = args.split_first().expect("a verb");
        let run = seed.run(&[&["stack", verb, "-p", "p1"], rest].concat());
        run.env("PATH", format!("{}:/usr/bin:/bin", project.display()))
            .env("XDG_STATE_HOME", project.join("state"))
            .env("CHANDLERY_TOKEN", seed.server.admin_token())
            .env("CHANDLERY_ENTRYPOINT", project.join("entrypoint"))
    };
    (seed, run)
}

#[test]
fn another_program_than_the_entrypoint_is_found_out_before_anything_is_changed() {
    let (seed, run) = small();
    for refused in
        [run(&seed, &["up", "--entrypoint", "/bin/ls"]), run(&seed, &["up"]).env("CHANDLERY_ENTRYPOINT", "/bin/ls")]
    {
        let refused = refused.fails();
        assert_eq!(refused.code(), 2, "{refused}");
        assert!(refused.stderr.contains("is not chandlery-entrypoint; nothing was changed"), "{refused}");
    }
    let project = seed.server.project();
    assert!(!project.join("called").exists() && !project.join("state/chandlery/stacks/p1/tokens").exists());
    let ours = chandlery_tests::Program::Entrypoint.path();
    assert_eq!(run(&seed, &["up"]).env("CHANDLERY_ENTRYPOINT", ours).output().code(), 17, "compose's own code");
}

#[test]
fn a_lost_token_that_docker_made_a_folder_of_is_made_anew() {
    let (seed, run) = small();
    let token = seed.server.project().join("state/chandlery/stacks/p1/tokens/app");
    fs::create_dir_all(token.join("something")).expect("a folder");
    let refused = run(&seed, &["up"]).fails();
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("tokens/app is a folder") && refused.stderr.contains("move it away"), "{refused}");
    fs::remove_dir(token.join("something")).expect("an empty folder");
    assert_eq!(run(&seed, &["up"]).output().code(), 17, "compose's own code");
    assert!(fs::read_to_string(&token).expect("a file").starts_with("chd_"));
}

#[test]
fn a_stack_is_taken_down_without_its_server_and_its_tokens_are_revoked_later() {
    let (seed, run) = small();
    let project = seed.server.project();
    assert_eq!(run(&seed, &["up"]).output().code(), 17, "compose's own code");
    let folder = project.join("state/chandlery/stacks/p1");
    let index = fs::read(folder.join("tokens.json")).expect("the tokens' ids");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let id = index["app"][0].as_str().expect("an id");
    let revoked = || {
        let list = seed.run(&["token", "list", "--format", "json"]).ok().json();
        let list = list["tokens"].as_array().expect("a list").clone();
        list.iter().find(|token| token["id"] == id).is_none_or(|token| !token["revoked"].is_null())
    };
    // Nothing says where it is; then it does not answer where it should be.
    for (name, value, why) in [
        ("CHANDLERY_DATA_DIR", "/nowhere", "it is not known where the server is"),
        ("CHANDLERY_ADDR", "http://127.0.0.1:9", "127.0.0.1:9"),
    ] {
        let down = run(&seed, &["down"]).env(name, value).ok();
        fs::remove_file(project.join("downed")).expect("compose has taken it down");
        for part in [why, "could not be revoked", "`chandlery stack down` again", "chandlery token revoke", id] {
            assert!(down.stderr.contains(part), "{part} is not in {down}");
        }
        assert!(!folder.join("tokens").exists() && !revoked());
    }
    let down = run(&seed, &["down"]).ok();
    assert!(!down.stderr.contains("revoked") && !folder.exists(), "{down}");
    assert!(revoked());
}

/// What docker-compose itself makes of the files; `None` where there is no docker-compose 1, or no Python to read its answer.
fn config(folder: &Path, files: &[&str]) -> Option<Value> {
    let files = files.iter().flat_map(|file| ["-f", file]);
    let run = |program: &str| Run::new("/usr/bin/env").args([program]).current_dir(folder).env("A", "shell");
    if !run("docker-compose").args(["version", "--short"]).output().text().starts_with("1.") {
        return None;
    }
    let answer = run("docker-compose").args(files).args(["config"]).ok();
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
    let json = run("python3").args(["-c", script]).stdin(answer.stdout).output();
    (json.code() == 0).then(|| json.json())
}

#[test]
fn docker_compose_itself_reads_the_same() {
    let seed = Seed::new();
    let folder = seed.server.project();
    seed.write(
        "base.yml",
        r#"
version: '3.7'
x-a: &a {L1: "x", L2: y}
services:
    root: {image: x, environment: [R=1, S=1]}
    a:
        extends: {service: root}
        env_file: [one.env, two.env]
        environment: {S: own}
    b:
        image: x
        environment:
            <<: *a
            L2: z
            N1: 0123
            N2: 1.10
            N4: 0x1F
            N5: -5
            N6: 1_000
            N7: 3.0
            T3: "yes"
            D1: $A
            D2: ${A}$$A
            D3: ${NO:-d:e}
            D4: ${EMPTY-d}${EMPTY:-e}
            D5: "${A:?x}"
            D6: ${Q}|${W}|${SINGLE}
    c:
        image: x
        environment: ["A=b=c", "A", "E=", 'F="q"', "G=${A} x"]
"#,
    );
    seed.write("over.yml", "version: '3.7'\nservices: {a: {env_file: three.env, environment: [T=2]}, c: {environment: {E: over, H: $Q}}}\n");
    seed.write(".env", "A=dotenv\nEMPTY=\nQ=\"a # b\"\nW=  spaced out  # c\nSINGLE='x y'\n");
    seed.write(
        "one.env",
        "# c\nV=1\nW=one\nexport X = y z # c\nDOUBLE=\"a\\nb\"\nMULTI='l1\nl2'\nB=${V}-${A}\n\nHASH=a#b\nEQ=x=y==\n",
    );
    seed.write("two.env", "W=two\nS=file\n");
    seed.write("three.env", "V=3\nEMPTY=\n");
    let files = ["base.yml", "over.yml"];
    let Some(theirs) = config(&folder, &files) else {
        return skip("docker_compose_itself_reads_the_same", "no docker-compose 1");
    };
    let args = ["stack", "import", "--yes", "-f", files[0], "-f", files[1]];
    seed.run(&args).env("A", "shell").ok();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace("$$", "$");
    let mut compared = 0;
    for (service, said) in theirs["services"].as_object().expect("services") {
        let ours = seed.run(&["export", "--format", "json", "--service", service]).ok().json();
        let variables = said["environment"].as_object().expect("variables");
        for (name, value) in variables {
            assert_eq!(ours[name].as_str(), Some(text(value).as_str()), "{service}.{name}");
            compared += 1;
        }
        assert_eq!(ours.as_object().map(serde_json::Map::len), Some(variables.len()), "{service}");
    }
    assert!(compared >= 30, "{compared} values were compared");
}
