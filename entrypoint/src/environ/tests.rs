use chandlery_wire::{BundleVariable, EnvironmentName, Layer, Origin, StackName, Value, VariableName};

use super::limits::MOST_OF_ONE;
use super::*;
use crate::config::Request;

fn config(options: &[&str], inherited: &[(&str, &[u8])]) -> Box<Config> {
    let base = ["x", "--addr", "unix:///nowhere", "--stack", "s", "--environment", "e"];
    let arguments = base.iter().chain(options).chain(&["--", "app"]).map(OsString::from);
    let variables = inherited.iter().map(|(name, value)| (OsString::from(name), OsStr::from_bytes(value).to_owned()));
    match Config::read(arguments, variables).unwrap() {
        Request::Start(config) => config,
        other => panic!("{other:?}"),
    }
}

fn bundle(variables: &[(&str, &[u8])]) -> Bundle {
    Bundle {
        stack: StackName::parse("s").unwrap(),
        environment: EnvironmentName::parse("e").unwrap(),
        region: None,
        service: None,
        revision: 1,
        variables: variables
            .iter()
            .map(|(name, value)| BundleVariable {
                name: VariableName::parse(*name).unwrap(),
                value: Value::new(*value),
                secret: true,
                origin: Origin { layer: Layer::Base, version: 1, template: false, reference: false },
            })
            .collect(),
        files: Vec::new(),
        stale: Vec::new(),
        read_now: Vec::new(),
    }
}

fn built(options: &[&str], inherited: &[(&str, &[u8])], injected: &[(&str, &[u8])]) -> Vec<String> {
    let environment = build(&config(options, inherited), &bundle(injected));
    let environment = environment.map_err(|failure| failure.text()).unwrap();
    let strings = environment.to_strings().unwrap();
    strings.into_iter().map(|string| string.to_string_lossy().into_owned()).collect()
}

fn refused(options: &[&str], injected: &[(&str, &[u8])]) -> String {
    let failure = build(&config(options, &[]), &bundle(injected)).err().unwrap();
    assert_eq!(failure.exit, Exit::Environment);
    failure.text()
}

#[test]
fn injected_beats_inherited_unless_preserved() {
    let inherited: [(&str, &[u8]); 4] = [("A", b"old"), ("B", b"old"), ("CHANDLERY_REGION", b"eu"), ("Z", b"\xff")];
    let injected: [(&str, &[u8]); 2] = [("A", b"new"), ("C", b"new")];
    let base = config(&["--region", "eu"], &inherited);
    assert!(base.region.is_some());
    let all = built(&[], &inherited, &injected);
    assert_eq!(all, ["B=old", "Z=\u{fffd}", "A=new", "C=new"]);
    assert_eq!(built(&["--preserve", "A,C"], &inherited, &injected), ["A=old", "B=old", "Z=\u{fffd}", "C=new"]);
}

#[test]
fn pristine_inherits_next_to_nothing() {
    let inherited: [(&str, &[u8]); 5] =
        [("PATH", b"/bin"), ("HOME", b"/"), ("LC_ALL", b"C"), ("DEBUG", b"1"), ("KEEP", b"1")];
    assert_eq!(
        built(&["--pristine", "--preserve", "KEEP"], &inherited, &[]),
        ["PATH=/bin", "HOME=/", "LC_ALL=C", "KEEP=1"]
    );
}

#[test]
fn dangerous_names_are_refused_all_at_once_and_can_be_allowed() {
    let injected: [(&str, &[u8]); 4] =
        [("PATH", b"/x"), ("LD_PRELOAD", b"/x"), ("GIT_SSH_COMMAND", b"x"), ("OK", b"x")];
    let text = refused(&[], &injected);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("CHANDLERY_ALLOW_NAMES=PATH,LD_PRELOAD,GIT_SSH_COMMAND"), "{text}");
    assert_eq!(built(&["--allow-name", "PATH,LD_PRELOAD", "--allow-name", "GIT_SSH_COMMAND"], &[], &injected).len(), 4);
    assert!(refused(&["--allow-name", "CHANDLERY_X"], &[("CHANDLERY_X", b"1")]).contains("own"));
}

#[test]
fn what_contradicts_itself_is_refused_without_its_value() {
    assert!(refused(&[], &[("A", b"hunter2"), ("A_FILE", b"/hunter2")]).contains("A_FILE"));
    assert!(refused(&[], &[("A", b"hunter2"), ("A", b"hunter2")]).contains("twice"));
    let text = refused(&[], &[("A", b"hunter2\0")]);
    assert!(text.contains("NUL") && !text.contains("hunter2"), "{text}");
}

#[test]
fn what_the_kernel_would_refuse_is_found_out_first() {
    let most = vec![b'x'; MOST_OF_ONE - 4];
    assert_eq!(built(&[], &[], &[("AB", &most)]).len(), 1);
    let more = [&most[..], b"x"].concat();
    assert!(refused(&[], &[("AB", &more)]).contains("AB: 131073 bytes"));
    let names: Vec<String> = (0..64).map(|n| format!("N{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &most[..100_000])).collect();
    let text = refused(&[], &many);
    assert!(text.contains("the kernel allows") && text.lines().count() == 7, "{text}");
}
