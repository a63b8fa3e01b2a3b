use std::os::unix::ffi::OsStrExt;

use super::*;

type Variables = [(&'static str, &'static str)];

fn with_options(variables: &Variables, options: &Variables) -> Result<Plan, Failure> {
    let variables = variables.to_vec();
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsStr::new(*value));
    let options: Vec<_> = options.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
    Plan::read(&find, &options)
}

fn read(variables: &Variables) -> Result<Plan, Failure> {
    with_options(variables, &[])
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.items.iter().map(|item| item.target.to_string()).collect()
}

#[test]
fn hosts_and_paths_are_separated_by_commas() {
    let plan = read(&[
        ("WAIT_HOSTS", " db:3306,\n  [::1]:80 ,http://web/x#status=2xx, 401,tcp://a:1,db:3306 "),
        ("WAIT_PATHS", " /run/a, b/c "),
    ]);
    let plan = plan.unwrap();
    let all = ["db:3306", "[::1]:80", "http://web:80", "tcp://a:1", "db:3306", "/run/a", "b/c"];
    assert_eq!(shown(&plan), all);
    let written: Vec<&str> = plan.items.iter().map(|item| &*item.written).collect();
    assert_eq!(written, ["db:3306", "\n  [::1]:80 ", "http://web:80", "tcp://a:1", "db:3306", "/run/a", " b/c"]);
    assert_eq!(plan.items.iter().filter(|item| item.is_path).count(), 2);
    assert_eq!(shown(&plan.without_repetition()).len(), 6);
    assert!(read(&[]).unwrap().items.is_empty());
    assert!(read(&[("WAIT_HOSTS", " \n"), ("WAIT_PATHS", " ")]).unwrap().items.is_empty());
}

#[test]
fn what_is_not_set_is_as_docker_compose_wait_has_it() {
    let plan = read(&[]).unwrap();
    let seconds = [plan.timeout, plan.pace.patience, plan.before, plan.after].map(|time| time.as_secs());
    assert_eq!(seconds, [30, 5, 0, 0]);
    assert_eq!((plan.pace.interval, plan.pace.once), (None, false));
}

#[test]
fn numbers_are_seconds_units_are_understood_and_zero_is_one_attempt() {
    let plan = read(&[
        ("WAIT_TIMEOUT", "32"),
        ("WAIT_SLEEP_INTERVAL", "500ms"),
        ("WAIT_HOST_CONNECT_TIMEOUT", "+2"),
        ("WAIT_BEFORE", "2m"),
        ("WAIT_AFTER", "1"),
    ]);
    let plan = plan.unwrap();
    let milliseconds = [plan.timeout, plan.pace.patience, plan.before, plan.after].map(|time| time.as_millis());
    assert_eq!(milliseconds, [32_000, 2000, 120_000, 1000]);
    assert_eq!(plan.pace.interval, Some(Duration::from_millis(500)));
    let once = read(&[("WAIT_TIMEOUT", "0")]).unwrap();
    assert!(once.pace.once && once.time() == ONE_ATTEMPT && once.timeout.is_zero());
    assert!(read(&[("WAIT_TIMEOUT", "999999999999")]).is_ok());
}

#[test]
fn legacy_names_count_where_the_new_ones_are_not_set() {
    let old = [("WAIT_HOSTS_TIMEOUT", "2"), ("WAIT_BEFORE_HOSTS", "3"), ("WAIT_AFTER_HOSTS", "4")];
    let plan = read(&old).unwrap();
    assert_eq!([plan.timeout, plan.before, plan.after].map(|time| time.as_secs()), [2, 3, 4]);
    assert_eq!(plan.legacy.len(), 3);
    let plan = read(&[("WAIT_HOSTS_TIMEOUT", "2"), ("WAIT_TIMEOUT", "7")]).unwrap();
    assert_eq!((plan.timeout.as_secs(), plan.legacy), (7, vec![("WAIT_TIMEOUT", "WAIT_HOSTS_TIMEOUT")]));
    assert!(read(&[("WAIT_HOSTS_TIMEOUT", "x")]).unwrap_err().text().contains("WAIT_"));
}

#[test]
fn options_add_hosts_and_beat_the_rest() {
    let variables = [("WAIT_HOSTS", "db:1"), ("WAIT_TIMEOUT", "1")];
    let options = [
        ("WAIT_HOSTS", "http://web#status=2xx,401"),
        ("WAIT_HOSTS", "a:1,b:2"),
        ("WAIT_TIMEOUT", "5s"),
        (HEADER, "X-A: b"),
    ];
    let plan = with_options(&variables, &options).unwrap();
    assert_eq!(shown(&plan), ["db:1", "http://web:80", "a:1", "b:2"]);
    assert_eq!((plan.timeout.as_secs(), plan.headers), (5, vec!["X-A: b".to_owned()]));
    let fault = with_options(&[], &[("WAIT_HOSTS", "db")]).unwrap_err().text();
    assert!(fault.contains("--wait: item 1"), "{fault}");
    assert!(with_options(&[], &[(HEADER, "hunter2")]).is_err_and(|failure| !failure.text().contains("hunter2")));
}

#[test]
fn a_typo_is_an_error_before_any_waiting() {
    for hosts in
        ["db", "db:80,", ",", "db:80,,c:1", "a:1;b:2", "db:80,401", "mysql://root:hunter2@db:x", "hunter2@db:1"]
    {
        let failure = read(&[("WAIT_HOSTS", hosts)]).expect_err(hosts);
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.text().contains("WAIT_HOSTS: item") && !failure.text().contains("hunter2"),
            "{}",
            failure.text()
        );
    }
    for paths in [",", "/a,", "/a,,/b"] {
        assert!(read(&[("WAIT_PATHS", paths)]).expect_err(paths).text().contains("WAIT_PATHS"));
    }
    for name in ["WAIT_TIMEOUT", "WAIT_HOST_CONNECT_TIMEOUT", "WAIT_SLEEP_INTERVAL", "WAIT_BEFORE", "WAIT_AFTER"] {
        for value in ["", "hello", "0.5", "-32", " 7", "10o", "+", "++7"] {
            assert!(read(&[(name, value)]).expect_err(value).text().contains(name));
        }
    }
    let latin = OsStr::from_bytes(b"db:80\xff");
    assert!(Plan::read(&|name| (name == "WAIT_HOSTS").then_some(latin), &[]).is_err());
    assert!(read(&[("WAIT_HOST_CONNECT_TIMEOUT", "0")]).is_err());
}

#[test]
fn certificates_are_read_only_where_something_needs_them() {
    let nowhere = ("WAIT_CACERT", "/nowhere/ca.pem");
    assert!(read(&[nowhere, ("WAIT_HOSTS", "db:1")]).unwrap().means().is_ok());
    let fault = read(&[nowhere, ("WAIT_HOSTS", "https://web")]).unwrap().means().err().unwrap().text();
    assert!(fault.contains("WAIT_CACERT: /nowhere/ca.pem cannot be read"), "{fault}");
    let odd = [("WAIT_CACERT", "-----BEGIN hunter2"), ("WAIT_HOSTS", "rediss://cache")];
    let fault = read(&odd).unwrap().means().err().unwrap().text();
    assert!(fault.contains("no CA's certificate") && !fault.contains("hunter2"), "{fault}");
}
