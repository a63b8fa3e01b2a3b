use super::*;
use crate::failure::Exit;

const TOKEN: [u8; 32] = [7; 32];

fn token() -> String {
    TokenText::from_secret(&TOKEN).expose_secret().to_owned()
}

/// Reads a configuration that is complete but for what is given; `NAME=` takes a variable away.
fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Request, Failure> {
    let token = token();
    let mut all = vec![
        ("CHANDLERY_ADDR", "https://store"),
        ("CHANDLERY_TOKEN", token.as_str()),
        ("CHANDLERY_STACK", "simpleapp"),
        ("CHANDLERY_ENVIRONMENT", "production"),
    ];
    all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
    all.extend(variables.iter().filter(|(_, value)| *value != "-"));
    let arguments = ["chandlery-entrypoint"].iter().chain(arguments).map(OsString::from);
    Config::read(arguments, all.into_iter().map(|(name, value)| (name.into(), value.into())))
}

fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
    match read(arguments, variables) {
        Ok(Request::Start(config)) => *config,
        other => panic!("no start but {other:?}"),
    }
}

fn fault(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let failure = read(arguments, variables).expect_err("it was taken");
    assert_eq!(failure.exit, Exit::Usage);
    failure.text()
}

#[test]
fn variables_are_enough_and_options_beat_them() {
    let config = start(&["--", "app", "--stack", "x"], &[]);
    assert_eq!(config.stack.as_ref().unwrap().as_str(), "simpleapp");
    assert_eq!(config.command, ["app", "--stack", "x"]);
    assert_eq!(config.timeout, Duration::from_secs(30));
    assert_eq!(config.secrets_dir, Path::new("/run/secrets"));
    assert!(matches!(config.trust, Trust::System));

    let options = ["run", "--stack=other", "--region", "eu", "--timeout", "500ms", "--allow-disk", "--", "app"];
    let config = start(&options, &[("CHANDLERY_REGION", "us")]);
    assert_eq!(config.stack.as_ref().unwrap().as_str(), "other");
    assert_eq!(config.region.unwrap().as_str(), "eu");
    assert_eq!(config.timeout, Duration::from_millis(500));
    assert!(config.allow_disk && !config.pristine);
}

#[test]
fn a_node_is_a_name_and_not_a_placeholder_that_nobody_filled_in() {
    let config = start(&["--", "app"], &[("CHANDLERY_NODE", "ip-10-0-0-7.eu-west-1.compute.internal")]);
    assert_eq!(config.node.unwrap().as_str(), "ip-10-0-0-7.eu-west-1.compute.internal");
    let text = fault(&["app"], &[("CHANDLERY_NODE", "{{.Node.Hostname}}")]);
    assert!(text.contains("CHANDLERY_NODE: it was not filled in") && text.contains("docker stack deploy"), "{text}");
    assert!(fault(&["--node", "a/b", "app"], &[]).contains("--node: the node name has '/'"));
    assert!(fault(&["app"], &[("CHANDLERY_NODE", "")]).contains("CHANDLERY_NODE is set and empty"));
}

#[test]
fn the_command_may_follow_without_dashes() {
    assert_eq!(start(&["npm", "start", "--", "x"], &[]).command, ["npm", "start", "--", "x"]);
    assert_eq!(start(&["exec", "--verbose", "npm"], &[]).command, ["npm"]);
    assert_eq!(start(&["--", "run"], &[]).command, ["run"]);
    assert!(fault(&[], &[]).contains("CMD"));
    assert!(fault(&["--"], &[]).contains("CMD"));
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let text = fault(&["--", "app"], &[("CHANDLERY_STACK", "-"), ("CHANDLERY_ENVIRONMENT", "-")]);
    assert!(text.contains("CHANDLERY_STACK, CHANDLERY_ENVIRONMENT"), "{text}");
    let none = Config::read(["x", "app"].iter().map(OsString::from), std::iter::empty());
    let text = none.expect_err("nothing was set").text();
    assert!(text.lines().count() == 2 && text.contains("set CHANDLERY_ADDR"), "{text}");
}

#[test]
fn on_the_unix_socket_and_without_a_token_the_address_is_enough() {
    let nothing = [("CHANDLERY_STACK", "-"), ("CHANDLERY_ENVIRONMENT", "-"), ("CHANDLERY_ADDR", "unix:///run/c.sock")];
    let config = start(&["--", "app"], &[&nothing[..], &[("CHANDLERY_TOKEN", "-")]].concat());
    assert!(config.stack.is_none() && config.environment.is_none() && config.token.is_none());
    assert!(fault(&["--", "app"], &nothing).contains("CHANDLERY_STACK, CHANDLERY_ENVIRONMENT"));
}

#[test]
fn a_typo_is_an_error_that_names_its_place() {
    for (name, value) in [
        ("CHANDLERY_TIMEOUT", "5sec"),
        ("CHANDLERY_TIMEOUT", "0"),
        ("CHANDLERY_REGION", ""),
        ("CHANDLERY_STACK", "Simple App"),
        ("CHANDLERY_ALLOW_DISK", "maybe"),
        ("CHANDLERY_ADDR", "store:8420"),
        ("CHANDLERY_SECRETS_DIR", "run/secrets"),
        ("CHANDLERY_SECRETS_DIR", "/run/../etc/x"),
        ("CHANDLERY_SECRETS_DIR", "/dev/shm/"),
        ("CHANDLERY_FINGERPRINT", "sha256:12"),
        ("CHANDLERY_CACERT", "/nowhere/ca.pem"),
        ("CHANDLERY_PRESERVE", "A,,B"),
        ("CHANDLERY_EXPAND_FILES", "A,,B"),
        ("CHANDLERY_CACHE", "/var/cache"),
        ("CHANDLERY_CACHE", "copies"),
        ("CHANDLERY_ALLOW_NAMES", "LD PRELOAD"),
    ] {
        let text = fault(&["--", "app"], &[(name, value)]);
        assert!(text.contains(name) && text.lines().count() == 2, "{text}");
    }
    assert!(fault(&["--preserve", "A,CHANDLERY_TOKEN", "--", "app"], &[]).contains("CHANDLERY_TOKEN"));
    assert!(fault(&["--timeout", "5sec", "--", "app"], &[]).contains("--timeout"));
    assert!(fault(&["--colour", "--", "app"], &[]).contains("--colour"));
    assert!(fault(&["--stack"], &[]).contains("--stack"));
    assert!(fault(&["--stack", "a", "--stack", "b"], &[]).contains("twice"));
}

#[test]
fn a_token_is_checked_here_and_never_shown() {
    let token = token();
    let cut = &token[..40];
    for text in [
        fault(&["--", "app"], &[("CHANDLERY_TOKEN", cut)]),
        fault(&["--token", &token, "--", "app"], &[]),
        fault(&[&format!("--token={token}"), "--", "app"], &[]),
        fault(&["--token-file", "/x", "--", "app"], &[]),
        fault(&["--", "app"], &[("CHANDLERY_TOKEN", "-"), ("CHANDLERY_TOKEN_FILE", &token)]),
        fault(&["--", "app"], &[("CHANDLERY_TIMEOUT", &token)]),
        fault(&["--", "app"], &[("CHANDLERY_ADDR", &token)]),
        fault(&["--", "app"], &[("CHANDLERY_FINGERPRINT", &token)]),
    ] {
        assert!(!text.contains(&cut[..12]), "{text}");
    }
    assert!(fault(&["--", "app"], &[("CHANDLERY_TOKEN", "-")]).contains("there is no token"));
    let socket = [("CHANDLERY_TOKEN", "-"), ("CHANDLERY_ADDR", "unix:///run/c.sock")];
    assert!(start(&["--", "app"], &socket).token.is_none());
}

#[test]
fn a_fingerprint_may_have_colons() {
    let plain = format!("sha256:{}", "0aF1".repeat(16));
    let colons = format!("sha256:{}", ["0A:f1"; 16].join(":"));
    for text in [plain, colons] {
        let config = start(&["--", "app"], &[("CHANDLERY_FINGERPRINT", &text)]);
        assert!(matches!(config.trust, Trust::Fingerprint(pin) if pin[..2] == [0x0a, 0xf1]));
    }
    let both = [("CHANDLERY_FINGERPRINT", "sha256:0"), ("CHANDLERY_CACERT", "-----BEGIN")];
    assert!(read(&["--", "app"], &both).is_err());
}

#[test]
fn help_and_version_need_no_configuration() {
    for flag in ["--help", "--version", "-h", "-V"] {
        let request = Config::read(["x", flag].iter().map(OsString::from), std::iter::empty());
        assert!(matches!(request, Ok(Request::Print(_))), "{flag}");
    }
    assert!(matches!(read(&["--explain"], &[]), Ok(Request::Explain(_))));
}
