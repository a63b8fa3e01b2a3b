use super::*;

fn order(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Order, Failure> {
    let variables: Vec<(OsString, OsString)> =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let arguments = Arguments::parse(arguments.iter().map(OsString::from))?;
    Order::read(arguments, &variables)
}

#[test]
fn the_name_or_the_first_word_asks_for_it() {
    let asked = |words: &[&str]| asked(words.iter().map(OsString::from)).map(|rest| rest.len());
    assert_eq!(asked(&["/wait"]), Some(0));
    assert_eq!(asked(&["wait", "wait", "x"]), Some(2));
    assert_eq!(asked(&["/usr/bin/dockerize", "-wait", "tcp://a:1"]), Some(2));
    assert_eq!(asked(&["chandlery-entrypoint", "wait", "cmd"]), Some(1));
    assert_eq!(asked(&["chandlery-entrypoint", "--", "wait"]), None);
    assert_eq!(asked(&["chandlery-entrypoint"]), None);
    assert_eq!(asked(&[]), None);
}

#[test]
fn dockerize_s_options_have_one_dash_or_two_and_the_command_follows() {
    let words =
        ["-wait", "tcp://a:1", "--wait=file:///b", "-timeout", "60s", "-wait-retry-interval=5s", "cmd", "-x", "--"];
    let order = order(&[], &words).unwrap();
    let targets: Vec<String> = order.plan.items.iter().map(|item| item.target.to_string()).collect();
    assert_eq!(targets, ["tcp://a:1", "file:///b"]);
    assert_eq!((order.plan.timeout.as_secs(), order.plan.pace.interval), (60, Some(Duration::from_secs(5))));
    assert_eq!(order.command, ["cmd", "-x", "--"]);
    assert_eq!(self::order(&[], &["--", "-x"]).unwrap().command, ["-x"]);
    for words in [&["-template", "a:b"][..], &["-timeout"], &["-timeout", "soon"], &["--format", "xml"], &["-"]] {
        assert_eq!(self::order(&[], words).err().unwrap().exit, Exit::Usage, "{words:?}");
    }
}

#[test]
fn the_variable_s_command_beats_the_arguments() {
    let both = order(&[("WAIT_COMMAND", " echo 'a b' ")], &["cmd"]).unwrap();
    assert_eq!(both.command, ["echo", "a b"]);
    assert!(both.ignores_arguments && both.command_text.as_deref() == Some("echo 'a b'"));
    for empty in ["", " \t\r\n"] {
        let order = order(&[("WAIT_COMMAND", empty)], &["cmd"]).unwrap();
        assert!(order.command == ["cmd"] && order.command_text.is_none() && !order.ignores_arguments);
    }
    for wrong in ["a 'b", "# x"] {
        let failure = order(&[("WAIT_COMMAND", wrong)], &[]).err().unwrap();
        assert!(failure.exit == Exit::Usage && failure.text().contains("WAIT_COMMAND"));
    }
}

#[test]
fn no_setting_of_ours_is_read_but_the_format() {
    let settings = [("CHANDLERY_ADDR", "nonsense"), ("CHANDLERY_TIMEOUT", "x"), ("CHANDLERY_LOG_FORMAT", "json")];
    assert!(order(&settings, &[]).unwrap().json);
    assert!(!order(&settings, &["--format", "text"]).unwrap().json);
    assert!(order(&[("CHANDLERY_LOG_FORMAT", "xml")], &[]).is_err());
}

#[test]
fn numbers_are_the_original_s_and_may_have_a_fraction() {
    let shown = [0, 30_000, 500, 1050, 60_001].map(|time| number(Duration::from_millis(time)));
    assert_eq!(shown, ["0", "30", "0.5", "1.05", "60.001"]);
}
