use clap::{Args as _, FromArgMatches as _};

use super::*;

/// Parses a command line the way `main` does.
fn load_from(arguments: &[&str], file: Option<&Path>) -> Result<Loaded, String> {
    let command = Settings::augment_args(clap::Command::new("server"));
    let matches = command.try_get_matches_from([&["server"], arguments].concat()).map_err(|error| error.to_string())?;
    let settings = Settings::from_arg_matches(&matches).unwrap();
    load(&settings, &matches, file).map_err(|fatal| fatal.to_string())
}

fn load_file(text: &str) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    load_from(&["--data-dir", "/d"], Some(&path))
}

#[test]
fn the_example_is_the_defaults_and_has_every_key() {
    let text = example().unwrap();
    let parsed: Settings = toml::from_str(&text).unwrap();
    assert_eq!(parsed, defaults(default_data_dir().unwrap()));
    for argument in Settings::augment_args(clap::Command::new("server")).get_arguments() {
        let key = argument.get_id();
        assert!(text.contains(&format!("\n{key} = ")), "{key} is missing in:\n{text}");
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert_eq!(variable, format!("CHANDLERY_{}", key.as_str().to_uppercase()));
    }
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
}

#[test]
fn the_example_is_a_file_that_changes_nothing() {
    let by_file = load_file(&example().unwrap()).unwrap().config;
    assert_eq!(by_file, load_from(&["--data-dir", "/d"], None).unwrap().config);
    assert_eq!(by_file.socket.as_deref(), Some(Path::new("/d/run/chandlery.sock")));
    assert!(by_file.tls.managed);
}

#[test]
fn a_flag_beats_the_file_and_the_file_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.toml");
    std::fs::write(&path, "data_dir = \"/from-file\"\ndrain = \"3s\"\nlisten = \"0.0.0.0:1\"\n").unwrap();
    let loaded = load_from(&["--listen", "127.0.0.1:2", "--audit-file", "here.log"], Some(&path)).unwrap();
    assert_eq!(loaded.config.listen.port(), 2);
    assert_eq!(loaded.config.drain, Duration::from_secs(3));
    assert_eq!(loaded.config.root_key_file, Path::new("/from-file/root.key"));
    // A path on the command line means what it means to the shell.
    assert_eq!(loaded.config.audit_file, Path::new("here.log"));
    let source = |key: &str| loaded.sources[key].to_string();
    assert_eq!(source("listen"), "flag");
    assert_eq!(source("drain"), path.display().to_string());
    assert_eq!(source("socket"), "default");
    let shown = show(&loaded);
    assert!(shown.contains("drain = \"3s\""), "{shown}");
    toml::from_str::<Settings>(&shown).unwrap();
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = load_file("drain = \"3s\"\nlissten = \"0.0.0.0:1\"\n").unwrap_err();
    assert!(error.contains("lissten") && error.contains("line 2"), "{error}");
}

#[test]
fn a_typo_in_a_value_is_an_error_that_names_it() {
    for line in
        ["drain = \"10\"", "max_connections = -1", "listen = \"8420\"", "socket_mode = 600", "log_level = \"loud\""]
    {
        let error = load_file(line).unwrap_err();
        assert!(error.contains("line 1"), "{line}: {error}");
    }
    assert!(load_from(&["--drain", "ten"], None).unwrap_err().contains("ten"));
}

#[test]
fn what_cannot_work_is_refused() {
    for (line, wanted) in [
        ("http_listen = \"0.0.0.0:80\"", "in the clear"),
        ("http_listen = \"192.0.2.1:80\"", "in the clear"),
        ("socket_mode = \"0660\"", "elsewhere"),
        ("max_connections = 0", "max_connections"),
        ("waiting_share = 91", "keep the others out"),
        ("max_header_bytes = \"4KiB\"", "8KiB"),
        ("header_timeout = \"0s\"", "header_timeout"),
        ("tls_cert = \"/etc/my.crt\"", "both, or neither"),
        ("tls_names = [\"not a name\"]", "not a name"),
    ] {
        let error = load_file(line).unwrap_err();
        assert!(error.contains(wanted) && error.contains("hint: "), "{line}: {error}");
    }
}

#[test]
fn what_may_be_had_from_outside_is_named_in_the_file() {
    let text = r#"
        [source.aws]
        timeout = "500ms"
        [[source.aws.read]]
        secrets = ["app/*"]
        for = ["shop/production"]
    "#;
    let loaded = load_file(text).unwrap();
    assert_eq!(loaded.config.sources.aws.read.len(), 1);
    let again = load_file(&show(&loaded)).unwrap();
    assert_eq!(again.config.sources, loaded.config.sources, "what is shown is a configuration");
    assert!(load_file("").unwrap().config.sources.is_empty());
    for (text, wanted) in [
        ("[source.aws]\nreed = []", "reed"),
        ("[source.aws]\nattempts = 0", "attempts"),
        ("[source.aws]\ntimeout = \"0s\"", "timeout"),
        ("[[source.aws.read]]\nsecrets = []", "names no secrets"),
        ("[[source.aws.write]]\nsecrets = [\"a\"]\nregions = [\"a b\"]", "region"),
        ("[[source.aws.read]]\nsecrets = [\"a\"]\nfor = [\"a/b/c\"]", "STACK"),
    ] {
        let error = load_file(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

/// What `config example` shows of the sources is commented out; it has to be right all the same.
#[test]
fn the_example_of_the_sources_can_be_used() {
    let text = example().unwrap();
    let (_, sources) = text.split_once("\n# [source.aws]\n").unwrap();
    let lines: Vec<&str> = sources.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim).collect();
    let loaded = load_file(&format!("[source.aws]\n{}", lines.join("\n"))).unwrap();
    assert_eq!(loaded.config.sources.aws.read.len() + loaded.config.sources.aws.write.len(), 2);
}

#[test]
fn those_who_wait_leave_connections_to_the_others() {
    for (lines, most) in [("", 1536), ("max_connections = 8\nwaiting_share = 50", 4), ("max_connections = 1", 0)] {
        let config = load_file(lines).unwrap().config;
        assert_eq!(config.max_waiting, most, "{lines}");
        assert!(config.max_waiting < config.max_connections, "{lines}");
    }
    assert_eq!(load_file("waiting_share = 0").unwrap().config.max_waiting, 0);
}

#[test]
fn what_can_be_off_is_off() {
    let config = load_file("socket = \"off\"\nhttp_listen = \"[::1]:0\"\n").unwrap().config;
    assert_eq!(config.socket, None);
    assert_eq!(config.http_listen.unwrap().port(), 0);
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let error = load_from(&["--data-dir", "/d"], Some(Path::new("/nowhere/server.toml"))).unwrap_err();
    assert!(error.contains("/nowhere/server.toml"), "{error}");
}
