use super::*;

#[test]
fn a_change_is_said_at_once_the_next_a_second_later_and_readiness_always() {
    let mut line = Line::all(vec!["db:1".to_owned()]).remove(0);
    let at = Duration::from_millis;
    let refused = Sight::Refused("connection refused".to_owned());
    assert!(!line.may_say(at(0)));
    line.see(&refused, at(5));
    assert!(line.may_say(at(5)));
    line.see(&refused, at(900));
    assert!(!line.may_say(at(2000)), "nothing has changed");
    line.see(&Sight::Silent, at(2100));
    assert!(line.may_say(at(2100)));
    line.see(&refused, at(2200));
    assert!(!line.may_say(at(3000)) && line.may_say(at(3100)));
    assert_eq!(line.since, at(2200));
    line.see(&Sight::Ready, at(3150));
    assert!(line.may_say(at(3150)));
}
