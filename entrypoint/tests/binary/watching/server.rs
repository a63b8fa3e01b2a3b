//! What the server may do to those who follow it.

use std::thread;
use std::time::Duration;

use chandlery_wire::{Code, Fault, Problem, Value};

use super::watched;
use crate::support::{Answer, json, problem};

#[test]
fn one_request_is_held_until_there_is_something_new() {
    let (live, app) = watched(&[]);
    thread::sleep(Duration::from_secs(3));
    let requests = live.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[1].starts_with("GET /v1/bundles/simpleapp/production/eu-west-1?service=app&wait="));
    assert!(requests[1].contains("\r\nIf-None-Match: \"42\"\r\n"));
    live.write(|bundle| bundle.files[0].value = Value::new("x"));
    live.until_asked(3);
    assert!(live.requests()[2].contains("\r\nIf-None-Match: \"43\"\r\n"));
    assert_eq!(app.stop().code, 9);
}

#[test]
fn a_server_that_cannot_hold_is_asked_without_the_wish_to_be_held() {
    let (live, app) = watched(&["--on-change", "signal:HUP"]);
    live.cannot_hold();
    live.write(|bundle| bundle.files[0].value = Value::new("x"));
    app.until_lines(2);
    live.until_asked(4);
    let requests = live.requests();
    assert!(requests[2].contains("wait=") && !requests[3].contains("wait="), "{requests:?}");
    assert!(requests[3].contains("If-None-Match: \"43\""));
    assert!(app.stop().stderr.lines().count() == 1, "it is no trouble");
}

#[test]
fn whatever_the_server_answers_the_app_runs_and_the_server_is_not_stormed() {
    let refused = Problem::new(401, "Unauthorized", Code::Unauthenticated, "the token is not good");
    let unresolved = Problem::new(422, "Unprocessable Content", Code::Unresolvable, "has no bundle: 1 fault")
        .with_faults(vec![Fault { name: "app.conf".to_owned(), detail: "refers to GONE".to_owned() }]);
    for (answer, about) in [
        (json("500 Internal Server Error", b"oops"), None),
        (Answer::Bytes(b"garbage\r\n\r\n".to_vec()), None),
        (Answer::Bytes(Vec::new()), None),
        (json("200 OK", b"{\"no\": \"bundle\"}"), None),
        (Answer::Bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()), None),
        (
            Answer::Bytes(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n".to_vec()),
            None,
        ),
        (problem(&unresolved), Some("(app.conf: refers to GONE); the app keeps what it has")),
        (problem(&refused), Some("the token is not good (401); the app keeps what it has")),
        (json("403 Forbidden", b""), Some("the server says no")),
        (json("404 Not Found", b""), Some("the server says no")),
        (json("422 Unprocessable Content", b""), Some("the server says no")),
    ] {
        let (live, app) = watched(&["--on-change", "signal:HUP"]);
        live.answer(Some(answer));
        thread::sleep(Duration::from_secs(3));
        assert!(live.requests().len() <= 5, "{:?}", live.requests());
        assert_eq!(app.lines().len(), 1);
        let ended = app.stop();
        assert_eq!(ended.code, 9, "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(about.unwrap_or("the server says no")).count(), usize::from(about.is_some()));
    }
}

#[test]
fn a_server_that_comes_back_is_followed_again() {
    let (live, app) = watched(&["--on-change", "signal:HUP"]);
    live.answer(Some(Answer::Bytes(Vec::new())));
    live.until_asked(3);
    live.answer(None);
    live.write(|bundle| bundle.files[0].value = Value::new("x"));
    assert_eq!(app.until_lines(2)[1], "hup x");
    assert_eq!(app.stop().stderr.lines().count(), 1, "a short outage is no trouble");
}
