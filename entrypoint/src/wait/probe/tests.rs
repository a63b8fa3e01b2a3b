use super::*;

fn http() -> Speech {
    let ready = Statuses::default();
    Speech::Http { path: "/".to_owned(), host: "web".to_owned(), login: None, ready }
}

fn redis() -> Speech {
    Speech::Redis { login: None }
}

fn logged_in() -> Speech {
    Speech::Redis { login: Some((b"me".to_vec(), b"p\r\n".to_vec())) }
}

fn postgres() -> Speech {
    Speech::Postgres { user: b"app".to_vec(), database: b"shop".to_vec() }
}

/// An ErrorResponse as PostgreSQL 15 sends it.
fn postgres_error(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0Fpostmaster.c\0L2391\0RProcessStartupPacket\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

fn mysql_packet(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[0], payload].concat()
}

/// Answers of real servers, or made after their specification, and what they mean.
fn answers() -> Vec<(Speech, Vec<u8>, Verdict)> {
    let not_ready = |why: &str| Verdict::NotReady(why.to_owned());
    let starting = "the database system is starting up";
    let greeting = b"\x0a5.5.5-10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15";
    let blocked = b"\xff\x69\x04Host '10.0.0.1' is blocked";
    vec![
        (http(), b"HTTP/1.1 200 OK\r\n".to_vec(), Verdict::Ready),
        (http(), b"HTTP/1.0 204\r\n".to_vec(), Verdict::Ready),
        (http(), b"HTTP/1.1 503 Service Unavailable\r\n".to_vec(), not_ready("status 503")),
        (http(), b"HTTP/1.1 301 Moved\r\n".to_vec(), not_ready("status 301")),
        (http(), b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n".to_vec(), Verdict::Ready),
        (postgres(), b"R\0\0\0\x08\0\0\0\0".to_vec(), Verdict::Ready),
        (postgres(), b"R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0".to_vec(), Verdict::Ready),
        (postgres(), postgres_error("57P03", starting), not_ready(starting)),
        (postgres(), postgres_error("28000", "no pg_hba.conf entry"), Verdict::Ready),
        (postgres(), postgres_error("3D000", "database \"shop\" does not exist"), Verdict::Ready),
        (postgres(), postgres_error("53300", "sorry, too many clients already"), Verdict::Ready),
        (Speech::MySql, mysql_packet(greeting), Verdict::Ready),
        (Speech::MySql, mysql_packet(blocked), not_ready("error 1129: Host '10.0.0.1' is blocked")),
        (
            Speech::MySql,
            mysql_packet(b"\xff\x10\x04#08004Too many connections"),
            not_ready("error 1040: Too many connections"),
        ),
        (logged_in(), b"+OK\r\n+PONG\r\n".to_vec(), Verdict::Ready),
        (logged_in(), b"+OK\r\n-LOADING Redis is loading\r\n".to_vec(), not_ready("LOADING Redis is loading")),
        (logged_in(), b"-WRONGPASS no\r\n-NOAUTH x\r\n".to_vec(), Verdict::Ready),
        (logged_in(), b"-ERR AUTH without any password set\r\n+PONG\r\n".to_vec(), Verdict::Ready),
        (logged_in(), b"-DENIED protected mode\r\n".to_vec(), not_ready("DENIED protected mode")),
        (redis(), b"+PONG\r\n".to_vec(), Verdict::Ready),
        (redis(), b"-NOAUTH Authentication required.\r\n".to_vec(), Verdict::Ready),
        (redis(), b"-NOPERM this user has no permissions to run the 'ping' command\r\n".to_vec(), Verdict::Ready),
        (redis(), b"-ERR operation not permitted\r\n".to_vec(), Verdict::Ready),
        (redis(), b"-LOADING Redis is loading\r\n".to_vec(), not_ready("LOADING Redis is loading")),
        (redis(), b"-MASTERDOWN Link down\r\n".to_vec(), not_ready("MASTERDOWN Link down")),
        (redis(), b"-BUSY Redis is busy\r\n".to_vec(), not_ready("BUSY Redis is busy")),
        (redis(), b"-DENIED protected mode\r\n".to_vec(), not_ready("DENIED protected mode")),
        (redis(), b"-ERR max number of clients reached\r\n".to_vec(), not_ready("ERR max number of clients reached")),
        (Speech::Amqp, b"\x01\0\0\0\0\x01\xf8\0\x0a\0\x0a\0\x09".to_vec(), Verdict::Ready),
        (Speech::Amqp, b"AMQP\0\x01\0\0".to_vec(), Verdict::NotThis("speaks another version of AMQP")),
        (Speech::Memcached, b"VERSION 1.6.18\r\n".to_vec(), Verdict::Ready),
        (Speech::Memcached, b"CLIENT_ERROR unauthenticated\r\n".to_vec(), Verdict::Ready),
        (Speech::Memcached, b"SERVER_ERROR out of memory\r\n".to_vec(), not_ready("SERVER_ERROR out of memory")),
    ]
}

#[test]
fn an_answer_means_the_same_in_pieces_of_any_size() {
    for (speech, bytes, verdict) in answers() {
        let name = speech.name();
        let first = (0..=bytes.len()).map(|end| speech.reply(&bytes[..end])).find(|it| *it != Verdict::More);
        assert_eq!(first, Some(verdict.clone()), "{name}: {}", String::from_utf8_lossy(&bytes));
        // More after it does not change it.
        let more = [&bytes[..], b"\r\nand more\0"].concat();
        assert_eq!(speech.reply(&more), verdict, "{name}");
    }
}

#[test]
fn another_protocol_is_told_from_this_one() {
    let greetings: [&[u8]; 6] = [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x03\0\x02\x02\x16",
        b"ERROR\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for speech in [http(), postgres(), Speech::MySql, redis(), Speech::Amqp, Speech::Memcached] {
        for greeting in greetings {
            let verdict = speech.reply(greeting);
            assert!(matches!(verdict, Verdict::NotThis(_)), "{}: {verdict:?} to {greeting:?}", speech.name());
        }
    }
}

#[test]
fn an_answer_without_end_is_given_up_and_words_are_short() {
    for (speech, begin) in [(http(), &b"HTTP/1.1 100 Go\r\n"[..]), (redis(), b"-"), (Speech::Memcached, b"VERSION ")] {
        let endless = [begin, &vec![b'a'; MOST_REPLY]].concat();
        assert!(matches!(speech.reply(&endless), Verdict::NotThis(_)), "{}", speech.name());
        assert_eq!(speech.reply(&endless[..MOST_REPLY - 1]), Verdict::More, "{}", speech.name());
    }
    let Verdict::NotReady(why) = redis().reply(&[b"-ERR ", "é".repeat(4000).as_bytes(), b"\r\n"].concat()) else {
        panic!("an error is not ready");
    };
    assert!(why.chars().count() <= MOST_WORDS);
}

#[test]
fn no_bytes_make_a_parser_panic() {
    // Each answer with each of its bytes changed, and random ones from a generator of three lines.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (speech, bytes, _) in answers() {
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x0a, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                (0..=changed.len()).for_each(|end| _ = speech.reply(&changed[..end]));
            }
        }
        for _ in 0..2000 {
            let length = random() as usize % 40;
            let noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            let _ = speech.reply(&noise);
        }
    }
}

#[test]
fn statuses_are_classes_and_numbers() {
    let speech = |text| Speech::Http {
        path: "/".to_owned(),
        host: "web".to_owned(),
        login: None,
        ready: Statuses::parse(text).unwrap(),
    };
    let ready = |text, status| speech(text).reply(format!("HTTP/1.1 {status} X\r\n").as_bytes()) == Verdict::Ready;
    assert!(ready("2xx,401", 204) && ready("2xx,401", 401) && !ready("2xx,401", 403) && !ready("401", 200));
    assert!(ready("3XX, 500", 301) && ready("3XX, 500", 500));
    for typo in ["", "2xx,", "6xx", "0xx", "20x", "xx2", "2000", "+20", "2xx;401", "٢xx"] {
        assert_eq!(Statuses::parse(typo), None, "{typo:?}");
    }
}

#[test]
fn requests_are_what_each_protocol_has() {
    let request = |speech: Speech, headers: &[String]| speech.request(headers).into_owned();
    let startup = request(postgres(), &[]);
    assert_eq!(startup, b"\0\0\0\x20\0\x03\0\0user\0app\0database\0shop\0\0");
    assert_eq!(request(redis(), &[]), b"*1\r\n$4\r\nPING\r\n");
    let login = b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$3\r\np\r\n\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(request(logged_in(), &[]), login);
    assert_eq!(request(Speech::Amqp, &[]), b"AMQP\0\0\x09\x01");
    assert!(request(Speech::MySql, &[]).is_empty() && request(Speech::None, &[]).is_empty());
    let speech = Speech::Http {
        path: "/healthz?x=1".to_owned(),
        host: "web:8080".to_owned(),
        login: Some(b"user:pass".to_vec()),
        ready: Statuses::default(),
    };
    let text = String::from_utf8(request(speech, &[header("X-Probe:  yes ").unwrap()])).unwrap();
    assert!(text.starts_with("GET /healthz?x=1 HTTP/1.1\r\nHost: web:8080\r\n"), "{text}");
    assert!(text.ends_with("X-Probe: yes\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n"), "{text}");
    for (login, encoded) in [("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")] {
        assert_eq!(basic(login.as_bytes()), format!("Authorization: Basic {encoded}"));
    }
    for bad in ["", "x", ": v", "a b: c", "A: b\r\nC: d", "Host: x", "content-length: 5", "é: x"] {
        assert_eq!(header(bad), None, "{bad:?}");
    }
}
