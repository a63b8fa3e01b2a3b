//! The one rule: a caller may do what one of its verbs allows within one of its scopes, and nothing else.

use chandlery_wire::{EnvironmentName, Grant, Layer, RegionName, Scope, StackName, Verb};

use super::Caller;

/// The scope that an operation on a layer needs. The base belongs to all regions, so only a token that is not limited
/// to a region reaches it.
#[must_use]
pub fn scope_of(stack: &StackName, environment: &EnvironmentName, layer: &Layer) -> Scope {
    Scope {
        stack: Some(stack.clone()),
        environment: Some(environment.clone()),
        region: layer.region().cloned(),
        service: None,
    }
}

/// Whether the caller may do this everywhere in the scope.
#[must_use]
pub fn may(caller: &Caller, verb: Verb, scope: &Scope) -> bool {
    caller.verbs.contains(&verb) && caller.scopes.iter().any(|held| held.covers(scope))
}

/// Whether the caller may do this to what is granted so. A grant to all services needs a token that is not limited to
/// one; a grant to a list needs the right for each on it.
#[must_use]
pub fn may_use_grant(caller: &Caller, verb: Verb, scope: &Scope, grant: &Grant) -> bool {
    match grant {
        Grant::All => may(caller, verb, scope),
        Grant::Services(services) => {
            services.iter().all(|service| may(caller, verb, &Scope { service: Some(service.clone()), ..scope.clone() }))
        }
    }
}

/// Whether the caller may do this in the scope for one service at least; for which is decided record by record.
#[must_use]
pub fn may_for_some_service(caller: &Caller, verb: Verb, scope: &Scope) -> bool {
    let of_any_service = |held: &Scope| Scope { service: None, ..held.clone() };
    caller.verbs.contains(&verb) && caller.scopes.iter().any(|held| of_any_service(held).covers(scope))
}

/// Whether the caller may do this to anything at all within the stack and environment; what exactly is decided record
/// by record. `None` for the environment asks for the stack.
#[must_use]
pub fn may_somewhere(caller: &Caller, verb: Verb, stack: &StackName, environment: Option<&EnvironmentName>) -> bool {
    let meets = |held: &Scope| {
        held.stack.as_ref().is_none_or(|limit| limit == stack)
            && match (&held.environment, environment) {
                (Some(limit), Some(environment)) => limit == environment,
                _ => true,
            }
    };
    caller.verbs.contains(&verb) && caller.scopes.iter().any(meets)
}

/// Whether the caller may do this to anything at all in a region, in whatever stack.
#[must_use]
pub fn may_in_region(caller: &Caller, verb: Verb, region: &RegionName) -> bool {
    let meets = |held: &Scope| held.region.as_ref().is_none_or(|limit| limit == region);
    caller.verbs.contains(&verb) && caller.scopes.iter().any(meets)
}

/// What is left of a scope in one region; nothing, where it is another's.
#[must_use]
pub fn within_region(scope: &Scope, region: &RegionName) -> Option<Scope> {
    let reaches = scope.region.as_ref().is_none_or(|limit| limit == region);
    reaches.then(|| Scope { region: Some(region.clone()), ..scope.clone() })
}

/// Whether everything these verbs could do in these scopes, the caller could do itself: nobody hands out more than
/// they hold.
#[must_use]
pub fn may_delegate(caller: &Caller, verbs: &[Verb], scopes: &[Scope]) -> bool {
    scopes
        .iter()
        .all(|scope| may(caller, Verb::Administer, scope) && verbs.iter().all(|verb| may(caller, *verb, scope)))
}

#[cfg(test)]
mod tests {
    use chandlery_wire::ServiceName;
    use proptest::prelude::*;

    use super::*;
    use crate::access::Trail;

    fn caller(verbs: &[Verb], scopes: &[Scope]) -> Caller {
        Caller { verbs: verbs.into(), scopes: scopes.into(), ..Caller::anonymous(None, Trail::default()) }
    }

    fn scope(parts: [Option<u8>; 4]) -> Scope {
        let name = |part: Option<u8>| part.map(|n| format!("n{n}"));
        Scope {
            stack: name(parts[0]).map(|n| StackName::parse(n).unwrap()),
            environment: name(parts[1]).map(|n| EnvironmentName::parse(n).unwrap()),
            region: name(parts[2]).map(|n| RegionName::parse(n).unwrap()),
            service: name(parts[3]).map(|n| ServiceName::parse(n).unwrap()),
        }
    }

    fn parts() -> impl Strategy<Value = [Option<u8>; 4]> {
        prop::array::uniform4(prop::option::of(0u8..3))
    }

    fn verb() -> impl Strategy<Value = Verb> {
        prop::sample::select(Verb::ALL.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        /// The reference: a scope is the set of all (stack, environment, region, service) it contains, spelled out,
        /// where a part that names nothing stands for a thing outside every name (the base; an unnamed service).
        #[test]
        fn the_policy_equals_a_brute_force_reference(
            verbs in prop::collection::vec(verb(), 0..3),
            held in prop::collection::vec(parts(), 0..3),
            asked in parts(),
            want in verb(),
        ) {
            let scopes: Vec<Scope> = held.iter().map(|parts| scope(*parts)).collect();
            let contains = |set: &[Option<u8>; 4], point: &[Option<u8>; 4]| {
                (0..4).all(|i| set[i].is_none() || set[i] == point[i])
            };
            let points = |set: [Option<u8>; 4]| {
                let axis = |part: Option<u8>| match part {
                    Some(n) => vec![Some(n)],
                    None => vec![None, Some(0), Some(1), Some(2), Some(9)],
                };
                let mut all = Vec::new();
                for a in axis(set[0]) { for b in axis(set[1]) { for c in axis(set[2]) { for d in axis(set[3]) {
                    all.push([a, b, c, d]);
                }}}}
                all
            };
            // One scope must contain every point: two halves do not make a whole.
            let reference = verbs.contains(&want)
                && held.iter().any(|set| points(asked).iter().all(|point| contains(set, point)));
            prop_assert_eq!(may(&caller(&verbs, &scopes), want, &scope(asked)), reference);
        }

        #[test]
        fn nobody_hands_out_more_than_they_hold(
            held in prop::collection::vec(parts(), 1..3),
            given in prop::collection::vec(parts(), 1..3),
            verbs in prop::collection::vec(verb(), 0..4),
            asked in parts(),
            want in verb(),
        ) {
            let giver = caller(&[Verb::Administer, Verb::Write], &held.iter().map(|p| scope(*p)).collect::<Vec<_>>());
            let scopes: Vec<Scope> = given.iter().map(|p| scope(*p)).collect();
            if may_delegate(&giver, &verbs, &scopes) {
                let taker = caller(&verbs, &scopes);
                prop_assert!(!may(&taker, want, &scope(asked)) || may(&giver, want, &scope(asked)));
            }
        }
    }

    #[test]
    fn a_token_for_one_region_reaches_neither_the_base_nor_another_region() {
        let eu = caller(&[Verb::ReadEntry], &[scope([Some(0), Some(0), Some(0), None])]);
        assert!(may(&eu, Verb::ReadEntry, &scope([Some(0), Some(0), Some(0), Some(1)])));
        assert!(!may(&eu, Verb::ReadEntry, &scope([Some(0), Some(0), Some(1), None])));
        assert!(!may(&eu, Verb::ReadEntry, &scope([Some(0), Some(0), None, None])));
        assert!(!may(&eu, Verb::Write, &scope([Some(0), Some(0), Some(0), None])));
    }

    #[test]
    fn a_grant_to_a_list_needs_the_right_for_each() {
        let both = Grant::to(vec![ServiceName::parse("n0").unwrap(), ServiceName::parse("n1").unwrap()]).unwrap();
        let one = caller(&[Verb::Write], &[scope([None, None, None, Some(0)])]);
        let two = caller(&[Verb::Write], &[scope([None, None, None, Some(0)]), scope([None, None, None, Some(1)])]);
        let whole = Scope::default();
        assert!(!may_use_grant(&one, Verb::Write, &whole, &both) && may_use_grant(&two, Verb::Write, &whole, &both));
        assert!(!may_use_grant(&two, Verb::Write, &whole, &Grant::All));
    }
}
