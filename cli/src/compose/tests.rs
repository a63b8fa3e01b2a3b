use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chandlery_wire::guess;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::service::{Command, Mounted};
use super::sources::Origin;
use super::variables::{Given, Variable};
use super::*;

/// Files in memory, and a shell.
struct Desk {
    files: Vec<(&'static str, &'static str)>,
    shell: BTreeMap<String, String>,
}

impl Desk {
    fn new(files: &[(&'static str, &'static str)], shell: &[(&str, &str)]) -> Self {
        let shell = shell.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { files: files.to_vec(), shell }
    }

    fn load(&self, names: &[&str]) -> Result<Project, Vec<Fault>> {
        self.load_with(Files { files: names.iter().map(PathBuf::from).collect(), ..Files::default() })
    }

    fn load_with(&self, files: Files) -> Result<Project, Vec<Fault>> {
        let read = |path: &Path| {
            let found = self.files.iter().find(|(name, _)| Path::new(name) == path);
            found
                .map(|(_, text)| Zeroizing::new(text.as_bytes().to_vec()))
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        load(&files, &World { shell: &self.shell, read: &read })
    }
}

fn one(text: &'static str) -> Project {
    Desk::new(&[("c.yml", text)], &[]).load(&["c.yml"]).unwrap()
}

fn variables(project: &Project, service: &str) -> Vec<(String, Option<String>)> {
    let found = &project.service(service).unwrap().variables;
    found.iter().map(|variable| (variable.name.clone(), variable.text().map(str::to_owned))).collect()
}

fn value(project: &Project, service: &str, name: &str) -> Option<String> {
    project.service(service).unwrap().variable(name).and_then(Variable::text).map(str::to_owned)
}

fn said<T: ToString>(items: &[T]) -> String {
    items.iter().map(|item| item.to_string() + "\n").collect()
}

#[test]
fn the_environment_of_a_service_is_its_files_in_order_and_then_its_own() {
    let desk = Desk::new(
        &[
            (
                "p/c.yml",
                "services:\n  a:\n    env_file: [one.env, {path: two.env, required: false}, {path: gone.env, required: false}]\n    \
                 environment: [B=own, SHELL_HAS, NOBODY_HAS]\n  b:\n    env_file: one.env\n    environment: {A: 1, C: ~}\n",
            ),
            ("p/one.env", "A=1\nB=2\nC='${A}'\nD=\"${A}-${FROM_ENV}\"\nA=3\nSHELL_HAS\n"),
            ("p/two.env", "B=file\nE=$x\n"),
            ("p/.env", "FROM_ENV=dot\nC=of-dotenv\n"),
        ],
        &[("SHELL_HAS", "shell")],
    );
    let project = desk.load(&["p/c.yml"]).unwrap();
    assert_eq!(value(&project, "a", "A").as_deref(), Some("3"));
    assert_eq!(value(&project, "a", "B").as_deref(), Some("own"));
    assert_eq!(value(&project, "a", "C").as_deref(), Some("${A}"));
    assert_eq!(value(&project, "a", "D").as_deref(), Some("1-dot"));
    assert_eq!(value(&project, "a", "E").as_deref(), Some("$x"));
    assert_eq!(value(&project, "a", "SHELL_HAS").as_deref(), Some("shell"));
    assert_eq!(value(&project, "b", "C").as_deref(), Some("of-dotenv"));
    let nobody = project.service("a").unwrap().variable("NOBODY_HAS").unwrap();
    assert_eq!(nobody.given, Given::Nothing);
    assert!(nobody.lacks().is_some());
    assert!(said(&project.notes).contains("two.env:2: E holds a $"), "{:?}", project.notes);
    assert!(said(&project.notes).contains("gone.env is not there"), "{:?}", project.notes);
}

#[test]
fn an_env_file_that_is_not_there_is_a_fault_unless_it_may_be_missing() {
    let desk = Desk::new(&[("c.yml", "services: {a: {env_file: .env.production}}\n")], &[]);
    let faults = desk.load(&["c.yml"]).unwrap_err();
    assert!(faults[0].to_string().starts_with("c.yml:1: .env.production cannot be read"), "{faults:?}");
    let files = Files { files: vec!["c.yml".into()], lenient: true, ..Files::default() };
    let project = desk.load_with(files).unwrap();
    assert_eq!(project.services[0].missing_env_files, [PathBuf::from(".env.production")]);
}

#[test]
fn references_see_the_shell_before_dotenv_and_what_they_lack_is_known() {
    let text = "services:\n  a:\n    image: app:${TAG:?which}\n    environment:\n      A: ${A}\n      B: ${B:-b}\n      C: x${C}\n      \
                D: ${D:?needed}\n      E: \"\"\n";
    let desk = Desk::new(&[("c.yml", text), (".env", "A=dot\nTAG=1\n")], &[("A", "shell")]);
    let project = desk.load(&["c.yml"]).unwrap();
    assert_eq!(value(&project, "a", "A").as_deref(), Some("shell"));
    assert_eq!(project.services[0].image.as_deref(), Some("app:1"));
    let lacks = |name: &str| project.services[0].variable(name).unwrap().lacks();
    assert_eq!((lacks("A"), lacks("B"), lacks("E")), (None, None, None));
    assert_eq!(lacks("C").as_deref(), Some("${C} is not set"));
    assert!(lacks("D").unwrap().contains("requires ${D}"));
    let other = Desk::new(&[("c.yml", text), ("x.env", "TAG=2\n")], &[]);
    let files = Files { files: vec!["c.yml".into()], env_files: vec!["x.env".into()], ..Files::default() };
    assert_eq!(other.load_with(files).unwrap().services[0].image.as_deref(), Some("app:2"));
}

#[test]
fn later_files_change_what_compose_says_they_change() {
    let base = "version: '3.1'\nservices:\n  a:\n    image: x\n    command: [one, two]\n    environment: [A=1, B=2]\n    \
                env_file: base.env\n    secrets: [s, {source: t, target: u}]\n    volumes: ['./a:/data', 'v:/w']\n    \
                healthcheck: {test: [CMD, a], interval: 5s}\nsecrets: {s: {file: ./s}, t: {file: ./t}}\n";
    let over = "version: '3.1'\nservices:\n  a:\n    command: three\n    environment: {B: 3, C: 4}\n    env_file: [over.env]\n    \
                secrets: [{source: s, target: u}]\n    volumes: ['./b:/data:ro']\n    healthcheck: {test: b}\n  b: {image: y}\n\
                secrets: {s: {external: true}}\n";
    let desk =
        Desk::new(&[("c.yml", base), ("o.yml", over), ("base.env", "A=base\nZ=1\n"), ("over.env", "Z=2\n")], &[]);
    let project = desk.load(&["c.yml", "o.yml"]).unwrap();
    let names = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect::<Vec<_>>()
    };
    assert_eq!(variables(&project, "a"), names(&[("A", "1"), ("Z", "2"), ("B", "3"), ("C", "4")]));
    let a = &project.services[0];
    assert_eq!(a.command, Command::Words(vec!["three".to_owned()]));
    assert_eq!(a.healthcheck, ["b"]);
    let secrets: Vec<(&str, &str)> = a.secrets.iter().map(|one| (one.source.as_str(), one.target.as_str())).collect();
    assert_eq!(secrets, [("s", "s"), ("s", "u")]);
    let tree = project.tree.get("services").and_then(|services| services.get("a")).unwrap();
    assert_eq!(tree.get("volumes").unwrap().strings(), ["./b:/data:ro", "v:/w"]);
    assert!(matches!(project.secrets["s"].origin, Origin::External(_)));
    assert_eq!(project.services.len(), 2);
}

#[test]
fn reset_and_override_take_away_and_replace() {
    let base = "services: {a: {image: x, environment: {A: 1, B: 2}, command: c, tmpfs: [/x]}}\n";
    let over = "services: {a: {environment: {A: !reset null}, command: !reset null, tmpfs: !override [/y]}}\n";
    let project = Desk::new(&[("c.yml", base), ("o.yml", over)], &[]).load(&["c.yml", "o.yml"]).unwrap();
    assert_eq!(variables(&project, "a").len(), 1);
    assert_eq!(project.services[0].command, Command::Unsaid);
    assert_eq!(project.services[0].tmpfs, ["/y"]);
}

#[test]
fn extends_brings_the_other_service_in() {
    let desk = Desk::new(
        &[
            (
                "c.yml",
                "services:\n  a: {extends: {service: base, file: common/c.yml}, environment: {B: own}}\n  b: {extends: a, image: y}\n",
            ),
            (
                "common/c.yml",
                "services:\n  root: {image: r}\n  base: {extends: root, env_file: x.env, environment: {B: base, C: base}}\n",
            ),
            ("common/x.env", "A=file\n"),
        ],
        &[],
    );
    let project = desk.load(&["c.yml"]).unwrap();
    assert_eq!(value(&project, "b", "A").as_deref(), Some("file"));
    assert_eq!(value(&project, "b", "B").as_deref(), Some("own"));
    assert_eq!(value(&project, "b", "C").as_deref(), Some("base"));
    assert_eq!(project.services[0].image.as_deref(), Some("r"));
    assert_eq!(project.services[1].image.as_deref(), Some("y"));
    let faults =
        Desk::new(&[("c.yml", "services: {a: {extends: b}, b: {extends: a}}\n")], &[]).load(&["c.yml"]).unwrap_err();
    assert!(faults[0].what.contains("extends itself"), "{faults:?}");
}

#[test]
fn secrets_have_their_name_owner_and_mode() {
    let project = one(
        "services:\n  a:\n    secrets:\n      - short\n      - {source: long, target: key.pem, uid: '103', gid: '104', mode: 0440}\n      \
         - {source: far, target: /etc/key}\n      - {source: near, target: /run/secrets/near2}\nsecrets:\n  short: {external: true}\n  \
         long: {external: {name: real}}\n  far: {environment: FAR}\n  near: {file: ./n}\n",
    );
    let found: Vec<Option<&str>> = project.services[0].secrets.iter().map(Mounted::name_in_secrets).collect();
    assert_eq!(found, [Some("short"), Some("key.pem"), None, Some("near2")]);
    let long = &project.services[0].secrets[1];
    assert_eq!(
        (long.uid.as_deref(), long.gid.as_deref(), long.mode.as_deref()),
        (Some("103"), Some("104"), Some("0440"))
    );
    assert_eq!(project.secrets["long"].origin, Origin::External("real".to_owned()));
    let decimal = one("services: {a: {secrets: [{source: s, mode: 288}]}}\nsecrets: {s: {file: x}}\n");
    assert_eq!(decimal.services[0].secrets[0].mode.as_deref(), Some("0440"));
}

#[test]
fn all_faults_come_at_once_and_no_value_is_in_them() {
    let text = "version: '1'\nservices:\n  a:\n    environment:\n      A: [s3cret]\n      B: ${s3cret!}\n    secrets: [gone, {target: x}]\n    \
                command: \"'s3cret\"\n  b: s3cret\nsecrets:\n  odd: {x: s3cret}\ninclude: [s3cret.yml]\n";
    let faults = Desk::new(&[("c.yml", text)], &[]).load(&["c.yml"]).unwrap_err();
    let lines: Vec<usize> = faults.iter().map(|fault| fault.at.line).collect();
    assert_eq!(lines, [1, 6, 9, 12], "{faults:?}");
    let text = "services:\n  a:\n    environment:\n      A: [s3cret]\n    secrets: [gone, {target: x}]\n    command: \"'s3cret\"\nsecrets:\n  odd: {x: s3cret}\n";
    let faults = Desk::new(&[("c.yml", text)], &[]).load(&["c.yml"]).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(!format!("{faults:?}").contains("s3cret"), "{faults:?}");
    for empty in ["services: {}\n", "x: 1\n", "db:\n  image: x\n"] {
        assert!(Desk::new(&[("c.yml", empty)], &[]).load(&["c.yml"]).is_err(), "{empty}");
    }
}

#[test]
fn what_is_not_imported_is_said() {
    let project = one(
        "services:\n  a:\n    image: x\n    enviroment: {A: 1}\n    command: redis-server --requirepass ${REDIS_PASSWORD}\n    \
         build: {context: ., args: {TOKEN: hunter22}}\n    volumes: ['./s:/run/secrets/s']\n    labels: [\"db.password=hunter2\"]\nfuture: {}\n",
    );
    let left = said(&project.left);
    for part in [
        "a.enviroment",
        "c.yml:5: ${REDIS_PASSWORD}",
        "build.args.TOKEN",
        "/run/secrets",
        "labels.db.password",
        "future",
    ] {
        assert!(left.contains(part), "{part} is not in\n{left}");
    }
    assert!(!left.contains("hunter2"), "{left}");
}

#[test]
fn commands_are_words_however_they_are_written() {
    let project = one(
        "services:\n  a: {image: x, entrypoint: \"sh -c 'a && b'\", command:\n    --one\n    --two=2}\n  b: {image: x, entrypoint: [], command: ~}\n",
    );
    let words = |words: &[&str]| Command::Words(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(project.services[0].entrypoint, words(&["sh", "-c", "a && b"]));
    assert_eq!(project.services[0].command, words(&["--one", "--two=2"]));
    assert_eq!(project.services[1].entrypoint, words(&[]));
    assert_eq!(project.services[1].command, Command::Unsaid);
}

#[test]
fn no_debug_shows_a_value() {
    let desk = Desk::new(
        &[
            ("c.yml", "services: {a: {image: x, environment: {A: s3cret, B: \"${B}\"}}}\nsecrets: {s: {file: x}}\n"),
            (".env", "B=s3cret\n"),
        ],
        &[],
    );
    assert!(!format!("{:?}", desk.load(&["c.yml"]).unwrap()).contains("s3cret"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\PC\n\t]{0,120}", yaml in "[a-c:{}\\[\\],&*!<>|\"' \n$?#-]{0,80}") {
        for text in [&text, &yaml] {
            let lookup = |name: &str| name.len().is_multiple_of(2).then(|| "x".to_owned());
            drop(interpolate::resolve(text, &lookup));
            drop(words::split(text));
            drop(guess::why_secret(text, text.as_bytes()));
            let shell = BTreeMap::new();
            let files = Files { files: vec!["c.yml".into()], ..Files::default() };
            let whole = format!("services:\n  a:\n    environment: {text}\n");
            for file in [text.as_str(), &whole] {
                drop(load(&files, &World { shell: &shell, read: &|_: &Path| Ok(Zeroizing::new(file.as_bytes().to_vec())) }));
            }
        }
    }

    #[test]
    fn what_is_emitted_reads_as_the_same(text in "\\PC{0,40}") {
        let at = Place { file: "f".into(), line: 1 };
        let map = Node::new(yaml::Kind::Map(vec![("k".to_owned(), Node::text(text.as_str(), &at))]), &at);
        let mut back = yaml::read(&emit(&map), &at.file).unwrap();
        back = Node::new(yaml::Kind::Map(vec![("services".to_owned(), back)]), &at);
        interpolate::tree(&mut back, &|_: &str| None, &mut Vec::new(), &mut Vec::new());
        prop_assert_eq!(back.get("services").unwrap().get("k").unwrap().as_str(), Some(text.as_str()));
    }
}
