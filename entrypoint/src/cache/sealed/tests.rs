use super::*;

const BODY: &[u8] =
    br#"{"stack":"simpleapp","environment":"production","region":"eu-west-1","service":"app","revision":42,
"variables":[{"name":"A","value":"hunter2","secret":true,"origin":{"layer":"base","version":1}}],"files":[]}"#;
const FETCHED: u64 = 1_800_000_000_123;

/// Stack, environment, region, service; an empty text is none.
fn with_place<T>(names: [&str; 4], work: impl FnOnce(&Place<'_>) -> T) -> T {
    let [stack, environment, region, service] = names;
    work(&Place {
        stack: &StackName::parse(stack).unwrap(),
        environment: &EnvironmentName::parse(environment).unwrap(),
        region: RegionName::parse(region).ok().as_ref(),
        service: ServiceName::parse(service).ok().as_ref(),
        node: None,
    })
}

const HERE: [&str; 4] = ["simpleapp", "production", "eu-west-1", "app"];

fn seal(token: u8, names: [&str; 4]) -> Seal {
    with_place(names, |place| Seal::new(&TokenText::from_secret(&[token; 32]), place).unwrap())
}

fn fault(bytes: &[u8]) -> Unfit {
    seal(7, HERE).open(bytes.to_vec()).map(|_| ()).expect_err("it was opened")
}

#[test]
fn what_was_sealed_opens_and_shows_nothing_until_then() {
    let bytes = seal(7, HERE).close(FETCHED, BODY).unwrap();
    assert_eq!(bytes.len(), 1 + 12 + 8 + BODY.len() + 16);
    assert!(!bytes.windows(7).any(|part| part == b"hunter2" || part == b"simplea"));
    let (fetched, bundle) = seal(7, HERE).open(bytes.clone()).unwrap();
    assert_eq!((fetched, bundle.revision), (FETCHED, 42));
    assert_eq!(bundle.variables[0].value.expose_secret(), b"hunter2");
    assert_ne!(bytes, seal(7, HERE).close(FETCHED, BODY).unwrap(), "a nonce was used twice");
}

#[test]
fn another_node_s_copy_does_not_open() {
    let token = TokenText::from_secret(&[7; 32]);
    let [one, other] = ["vm-1", "vm-2"].map(|node| NodeName::parse(node).unwrap());
    let on = |node| with_place(HERE, |place| Seal::new(&token, &Place { node, ..*place }).unwrap());
    let bytes = on(Some(&one)).close(FETCHED, BODY).unwrap();
    for node in [None, Some(&other)] {
        assert_eq!(on(node).open(bytes.clone()).err(), Some(Unfit::Unauthentic));
    }
    assert!(on(Some(&one)).open(bytes).is_ok());
}

#[test]
fn another_place_s_or_token_s_copy_does_not_open() {
    let bytes = seal(7, HERE).close(FETCHED, BODY).unwrap();
    assert_eq!(seal(8, HERE).open(bytes.clone()).err(), Some(Unfit::Unauthentic));
    let mut names = Vec::new();
    for other in [
        ["simpleap", "pproduction", "eu-west-1", "app"],
        ["simpleapp", "staging", "eu-west-1", "app"],
        ["simpleapp", "production", "eu-west-2", "app"],
        ["simpleapp", "production", "", "app"],
        ["simpleapp", "production", "eu-west-1", "db"],
        ["simpleapp", "production", "eu-west-1", ""],
        // A region and a service of the same name: which of the two is absent matters.
        ["simpleapp", "production", "app", ""],
        ["simpleapp", "production", "", ""],
    ] {
        assert_eq!(seal(7, other).open(bytes.clone()).err(), Some(Unfit::Unauthentic), "{other:?}");
        names.push(with_place(other, |place| place.file_name()));
    }
    names.push(with_place(HERE, |place| place.file_name()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 9, "two places share a file");
    assert!(names.iter().all(|name| name.to_bytes().len() == 32));
}

#[test]
fn every_flipped_bit_and_every_length_is_refused() {
    let bytes = seal(7, HERE).close(FETCHED, BODY).unwrap();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 8 { Unfit::Format } else { Unfit::Unauthentic };
        assert_eq!(fault(&flipped), expected, "bit {bit}");
    }
    for length in 0..bytes.len() {
        let expected = if length < 37 { Unfit::Short } else { Unfit::Unauthentic };
        assert_eq!(fault(&bytes[..length]), expected, "{length} bytes");
    }
    assert_eq!(fault(&[&bytes[..], &[0]].concat()), Unfit::Unauthentic);
}

#[test]
fn what_is_sealed_and_no_bundle_is_said_to_be_none() {
    for body in [&b""[..], b"{}", b"null", &BODY[..BODY.len() - 1], &[BODY, b"x"].concat(), b"\xff"] {
        let bytes = seal(7, HERE).close(FETCHED, body).unwrap();
        assert_eq!(fault(&bytes), Unfit::NoBundle);
    }
    for plaintext in 0..8 {
        assert_eq!(read(&[0; 8][..plaintext]).err(), Some(Unfit::Short));
    }
}

#[test]
fn any_bytes_are_refused_and_never_a_panic() {
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let seal = seal(7, HERE);
    for length in 0..2000 {
        let mut bytes: Vec<u8> = (0..length % 100).map(|_| next()).collect();
        if let Some(format) = bytes.first_mut().filter(|_| length % 2 == 0) {
            *format = FORMAT;
        }
        assert!(seal.open(bytes).is_err());
    }
}

/// `tests/vectors/copy-v1.json` was made by another program, in another language, from `docs/FORMAT.md`.
#[test]
fn the_bytes_are_as_drawn() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/copy-v1.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let copies = vectors["copies"].as_array().unwrap();
    assert!(copies.len() >= 3);
    for copy in copies {
        let text = |name: &str| copy[name].as_str().unwrap_or_default();
        let bytes = |name: &str| -> Vec<u8> {
            text(name)
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let names = ["stack", "environment", "region", "service"].map(text);
        let token = TokenText::parse(text("token")).unwrap();
        let (name, seal) = with_place(names, |place| (place.file_name(), Seal::new(&token, place).unwrap()));
        assert_eq!(name.to_str().unwrap(), text("file_name"));
        assert_eq!(seal.associated, bytes("associated"));
        let fetched = copy["fetched"].as_u64().unwrap();
        let nonce = bytes("nonce").try_into().unwrap();
        assert_eq!(seal.close_with(nonce, fetched, text("body").as_bytes()).unwrap(), bytes("sealed"));
        let (time, bundle) = seal.open(bytes("sealed")).unwrap();
        assert_eq!((time, bundle.stack.as_str()), (fetched, text("stack")));
    }
}
