use super::*;

fn shown(text: &str) -> String {
    Target::parse(text).unwrap().to_string()
}

fn tcp(text: &str) -> (String, u16, Family) {
    match Target::parse(text).unwrap().place {
        Place::Tcp { host, port, family } => (host.to_string(), port, family),
        _ => panic!("{text} is not on TCP"),
    }
}

#[test]
fn hosts_have_ports_as_docker_compose_wait_takes_them() {
    assert_eq!(shown("db:3306"), "db:3306");
    assert_eq!(shown("[::1]:80"), "[::1]:80");
    assert_eq!(shown("::1:81"), "[::1]:81");
    assert_eq!(shown("127.1:80"), "127.1:80");
    assert_eq!(shown("h:+18081"), "h:18081");
    assert_eq!(shown("h:018081"), "h:18081");
    assert_eq!(shown("my_app.example:1"), "my_app.example:1");
}

#[test]
fn urls_have_usual_ports_and_only_host_and_port_are_shown() {
    for (url, label) in [
        ("tcp://db:3306", "tcp://db:3306"),
        ("tcp4://db:1", "tcp4://db:1"),
        ("http://web", "http://web:80"),
        ("HTTPS://web/healthz?key=hunter2#status=2xx,401", "https://web:443"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("postgres://root:hunter2@db/shop?sslmode=disable", "postgres://db:5432"),
        ("postgresql+psycopg2://root:hunter2@db:5433/shop", "postgresql://db:5433"),
        ("jdbc:postgresql://db/shop?user=root&password=hunter2", "jdbc:postgresql://db:5432"),
        ("mysql://root:hunter2@db/simple_db", "mysql://db:3306"),
        ("mysql2://root:hunter2@db/simple_db", "mysql2://db:3306"),
        ("mariadb://db", "mariadb://db:3306"),
        ("redis://:hunter2@cache/0", "redis://cache:6379"),
        ("rediss://:hunter2@h@cache:6380", "rediss://cache:6380"),
        ("amqp://guest:hunter2@mq/%2f", "amqp://mq:5672"),
        ("amqps://mq", "amqps://mq:5671"),
        ("memcached://cache", "memcached://cache:11211"),
        ("unix:///run/my%20app.sock", "unix:///run/my app.sock"),
        ("file:///run/ready", "file:///run/ready"),
    ] {
        let target = Target::parse(url).expect(url);
        assert_eq!(target.to_string(), label);
        assert_eq!(format!("{target:?}"), label);
    }
    assert_eq!(tcp("tcp4://db:1"), ("db".to_owned(), 1, Family::V4));
    assert_eq!(tcp("tcp6://[::1]:1"), ("::1".to_owned(), 1, Family::V6));
    assert!(Target::parse("https://web").unwrap().tls.is_some() && Target::parse("http://web").unwrap().tls.is_none());
}

#[test]
fn what_is_sent_is_decoded_and_a_fragment_is_not_sent() {
    let speech = |url| Target::parse(url).unwrap().speech;
    let Speech::Http { path, host, login, .. } = speech("http://me:p%40ss@web:8080/a%20b?c=d#status=401") else {
        panic!("it is HTTP");
    };
    assert_eq!((path.as_str(), host.as_str()), ("/a%20b?c=d", "web:8080"));
    assert_eq!(login.as_deref(), Some(&b"me:p@ss"[..]));
    let Speech::Http { path, host, login, .. } = speech("http://[::1]?x") else { panic!("it is HTTP") };
    assert_eq!((path.as_str(), host.as_str(), login), ("/?x", "[::1]", None));
    let postgres = |url| match speech(url) {
        Speech::Postgres { user, database } => (String::from_utf8(user).unwrap(), String::from_utf8(database).unwrap()),
        _ => panic!("it is PostgreSQL"),
    };
    assert_eq!(postgres("postgres://o%27neil:x@db/the%20shop?a=b"), ("o'neil".to_owned(), "the shop".to_owned()));
    assert_eq!(postgres("postgres://db"), ("postgres".to_owned(), "postgres".to_owned()));
    assert_eq!(decoded("%41%4g%%4"), b"A%4g%%4");
}

#[test]
fn what_cannot_be_waited_for_is_refused_and_no_password_is_quoted() {
    for text in [
        "",
        "db",
        "db:",
        "db:http",
        "db:0",
        "db:99999",
        "db:-1",
        "db:++1",
        ":80",
        "a:1;b:2",
        "a:1 b:2",
        "a+b:1",
        "[::1:80",
        "[db]:80",
        "a:b:80",
        "[]:80",
        "db:80/x",
        "root:hunter2@db:3306",
        "a:1;hunter2",
        "tcp://db",
        "tcp://db:0",
        "tcp://:1",
        "tcp://",
        "tcp://[::1",
        "tcp://[::1]x",
        "tcp://[db]:1",
        "tcp://db:1:2",
        "ftp://db:1",
        "http+unix://x",
        "redis+sentinel://x",
        "unix://run/x.sock",
        "unix://x",
        "file://x",
        "file:///a%00b",
        "postgres://db/a%00b",
        "http://web/#hunter2",
        "http://web/#status=hunter2",
        "http://web/a b",
        "redis://x#hunter2",
        // A password with a character that ends the host, were it not for the @ after it.
        "postgres://root:12/hunter2@db/x",
        "postgres://root:12#hunter2@db/x",
        "http://root:12?hunter2@db/x",
        "mysql://root:hunter2@",
        "mysql://root:hunter2@db:x",
        "mysql://ro ot:hunter2@db",
        "https://-:1",
    ] {
        let what = Target::parse(text).expect_err(text);
        assert!(!what.contains("hunter2") && !what.contains("12"), "{text}: {what}");
    }
    let long = format!("unix:///{}", "a".repeat(107));
    assert!(Target::parse(&long).unwrap_err().contains("107"));
    assert!(Target::parse(&long[..long.len() - 1]).is_ok());
}
