//! The bytes at rest, as `docs/FORMAT.md` draws them: the vectors are read first by what that page says, with ring and
//! nothing of ours, and then by the server's own code. What either cannot read is a change of the format.

#![expect(clippy::unwrap_used, reason = "panicking is how a test says no, in its helpers too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use chandlery_server::crypto::{
    Definition, Fault, Keyring, LayerHeader, ManifestLine, NodeFields, RecordHeader, RootKey, Sealed, TokenFields,
    TokenHash, WrappedKey,
};
use chandlery_wire::api::State;
use chandlery_wire::{
    EntryName, EnvironmentName, Grant, Layer, NodeName, RegionName, ServiceName, StackName, TokenText, Value,
};
use serde::Deserialize;
use serde_json::from_value;

#[derive(Deserialize)]
struct Vectors {
    root_key: Root,
    keys: Vec<Key>,
    records: Vec<Record>,
    destroyed: Vec<Destroyed>,
    manifests: Vec<Manifest>,
    stack: Stack,
    environment: Environment,
    token: Token,
    tokens: Vec<TokenRow>,
    nodes: Vec<NodeRow>,
    nodes_mac: String,
    fingerprint: Fingerprint,
    outside: Outside,
}

#[derive(Deserialize)]
struct Root {
    file: String,
    key: String,
    id: String,
    wrapping_key: String,
}

#[derive(Deserialize)]
struct Key {
    id: u32,
    purpose: String,
    key: String,
    associated: String,
    wrapped: String,
}

#[derive(Deserialize)]
struct Record {
    stack: String,
    environment: String,
    layer: String,
    name: String,
    grant: String,
    version: u64,
    state: String,
    attributes: String,
    created: i64,
    author: String,
    previous: String,
    key: u32,
    nonce: String,
    plaintext: String,
    associated: String,
    sealed: String,
}

#[derive(Deserialize)]
struct Manifest {
    stack: String,
    environment: String,
    layer: String,
    revision: u64,
    rows: Vec<Line>,
    mac: String,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    grant: String,
    version: u64,
    state: String,
    tag: String,
}

#[derive(Deserialize)]
struct Stack {
    name: String,
    services: Vec<String>,
    mac: String,
}

#[derive(Deserialize)]
struct Environment {
    stack: String,
    name: String,
    regions: Vec<String>,
    mac: String,
}

#[derive(Deserialize)]
struct Token {
    secret: String,
    text: String,
    hash: String,
}

#[derive(Deserialize)]
struct TokenRow {
    id: String,
    hash: String,
    description: String,
    verbs: String,
    scopes: String,
    created: i64,
    created_by: String,
    expires: Option<i64>,
    uses_left: Option<u32>,
    revoked: Option<i64>,
    node: Option<String>,
    mac: String,
}

#[derive(Deserialize)]
struct NodeRow {
    name: String,
    region: String,
    revision: u64,
    created: i64,
    author: String,
    mac: String,
}

#[derive(Deserialize)]
struct Destroyed {
    record: usize,
    sealed: String,
}

#[derive(Deserialize)]
struct Outside {
    address: String,
    revision: u64,
    value: String,
    name: String,
    stored: String,
}

#[derive(Deserialize)]
struct Fingerprint {
    value: String,
    fingerprint: String,
    shown: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/format-v1.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    unhex(hex).try_into().unwrap()
}

/// What the page says, with ring and nothing of ours.
mod page {
    use ring::{aead, digest, hkdf, hmac};

    use super::{Destroyed, Environment, Fingerprint, Key, Manifest, NodeRow, Outside, Record, Stack, TokenRow, unhex};

    /// A field: its length in 4 bytes, big-endian, and its bytes.
    fn field(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// A number: a field of 8 bytes, big-endian, a negative one in two's complement.
    fn number(number: impl Into<i128>) -> Vec<u8> {
        field(&number.into().to_be_bytes()[8..])
    }

    /// A list: the number of its items, and a field for each.
    fn list(items: &[String]) -> Vec<u8> {
        let count = number(u32::try_from(items.len()).unwrap());
        count.into_iter().chain(items.iter().flat_map(|item| field(item.as_bytes()))).collect()
    }

    /// A number that may be absent: a list of none or one.
    fn optional(value: Option<impl Into<i128>>) -> Vec<u8> {
        value.map_or_else(|| number(0), |value| [number(1), number(value)].concat())
    }

    fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
    }

    pub(super) fn hkdf_sha256(root: &[u8], info: &str, length: usize) -> Vec<u8> {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut out = vec![0; length];
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(root);
        secret.expand(&[info.as_bytes()], Length(length)).unwrap().fill(&mut out).unwrap();
        out
    }

    fn aes_256_gcm_open(key: &[u8], nonce: &[u8], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, key).unwrap());
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).unwrap();
        let mut buffer = sealed.to_vec();
        key.open_in_place(nonce, aead::Aad::from(associated), &mut buffer).unwrap().to_vec()
    }

    pub(super) fn unwrap(root: &[u8], key: &Key) -> Vec<u8> {
        let wrapped = unhex(&key.wrapped);
        let (format, root_id, nonce, sealed) = (wrapped[0], &wrapped[1..9], &wrapped[9..21], &wrapped[21..]);
        assert_eq!((format, wrapped.len()), (1, 69));
        assert_eq!(root_id, hkdf_sha256(root, "chandlery/v1/root-key-id", 8));
        let associated =
            [field(b"chandlery/v1/key"), number(1), field(key.purpose.as_bytes()), number(key.id), field(root_id)];
        assert_eq!(associated.concat(), unhex(&key.associated));
        aes_256_gcm_open(&hkdf_sha256(root, "chandlery/v1/wrap", 32), nonce, &associated.concat(), sealed)
    }

    pub(super) fn open(keys: impl Fn(u32) -> Vec<u8>, record: &Record) -> Vec<u8> {
        let sealed = unhex(&record.sealed);
        let (format, id, nonce, rest) = (sealed[0], &sealed[1..5], &sealed[5..17], &sealed[17..]);
        let id = u32::from_be_bytes(id.try_into().unwrap());
        assert_eq!((format, id, nonce), (1, record.key, &unhex(&record.nonce)[..]));
        let associated = [
            field(b"chandlery/v1/record"),
            number(1),
            number(id),
            field(record.stack.as_bytes()),
            field(record.environment.as_bytes()),
            field(record.layer.as_bytes()),
            field(record.name.as_bytes()),
            field(record.grant.as_bytes()),
            number(record.version),
            field(record.state.as_bytes()),
            field(record.attributes.as_bytes()),
            number(record.created),
            field(record.author.as_bytes()),
            field(&unhex(&record.previous)),
        ];
        assert_eq!(associated.concat(), unhex(&record.associated));
        aes_256_gcm_open(&keys(id), nonce, &associated.concat(), rest)
    }

    pub(super) fn destroyed(key: &[u8], destroyed: &Destroyed, record: &Record) -> Vec<u8> {
        let sealed = unhex(&record.sealed);
        let tag = &sealed[sealed.len() - 16..];
        let data = [
            field(b"chandlery/v1/destroyed"),
            field(record.stack.as_bytes()),
            field(record.environment.as_bytes()),
            field(record.layer.as_bytes()),
            field(record.name.as_bytes()),
            field(record.grant.as_bytes()),
            number(record.version),
            field(record.state.as_bytes()),
            field(record.attributes.as_bytes()),
            number(record.created),
            field(record.author.as_bytes()),
            field(&unhex(&record.previous)),
            field(tag),
        ];
        assert_eq!(destroyed.sealed.len(), 2 * 49);
        [&[2][..], &hmac_sha256(key, &data.concat()), tag].concat()
    }

    pub(super) fn manifest(key: &[u8], manifest: &Manifest) -> Vec<u8> {
        let mut data = [
            field(b"chandlery/v1/manifest"),
            field(manifest.stack.as_bytes()),
            field(manifest.environment.as_bytes()),
            field(manifest.layer.as_bytes()),
            number(manifest.revision),
            number(u32::try_from(manifest.rows.len()).unwrap()),
        ]
        .concat();
        for row in &manifest.rows {
            data.extend(field(row.name.as_bytes()));
            data.extend(field(row.grant.as_bytes()));
            data.extend(number(row.version));
            data.extend(field(row.state.as_bytes()));
            data.extend(field(&unhex(&row.tag)));
        }
        hmac_sha256(key, &data)
    }

    pub(super) fn stack(key: &[u8], row: &Stack) -> Vec<u8> {
        let data = [field(b"chandlery/v1/stack"), field(row.name.as_bytes()), list(&row.services)];
        hmac_sha256(key, &data.concat())
    }

    pub(super) fn environment(key: &[u8], row: &Environment) -> Vec<u8> {
        let (stack, name) = (field(row.stack.as_bytes()), field(row.name.as_bytes()));
        hmac_sha256(key, &[field(b"chandlery/v1/environment"), stack, name, list(&row.regions)].concat())
    }

    pub(super) fn token(key: &[u8], row: &TokenRow) -> Vec<u8> {
        let label: &[u8] = if row.node.is_some() { b"chandlery/v1/node-token" } else { b"chandlery/v1/token" };
        let data = [
            field(label),
            field(row.id.as_bytes()),
            field(&unhex(&row.hash)),
            field(row.description.as_bytes()),
            field(row.verbs.as_bytes()),
            field(row.scopes.as_bytes()),
            number(row.created),
            field(row.created_by.as_bytes()),
            optional(row.expires),
            optional(row.uses_left),
            optional(row.revoked),
            row.node.as_ref().map(|node| field(node.as_bytes())).unwrap_or_default(),
        ];
        hmac_sha256(key, &data.concat())
    }

    pub(super) fn node(key: &[u8], row: &NodeRow) -> Vec<u8> {
        let data = [
            field(b"chandlery/v1/node"),
            field(row.name.as_bytes()),
            field(row.region.as_bytes()),
            number(row.revision),
            number(row.created),
            field(row.author.as_bytes()),
        ];
        hmac_sha256(key, &data.concat())
    }

    pub(super) fn nodes(key: &[u8], rows: &[NodeRow]) -> Vec<u8> {
        let mut data = [field(b"chandlery/v1/nodes"), number(u32::try_from(rows.len()).unwrap())].concat();
        data.extend(rows.iter().flat_map(|row| field(&unhex(&row.mac))));
        hmac_sha256(key, &data)
    }

    pub(super) fn fingerprint(key: &[u8], vector: &Fingerprint) -> Vec<u8> {
        let data = [field(b"chandlery/v1/fingerprint"), field(&unhex(&vector.value))];
        hmac_sha256(key, &data.concat())[..8].to_vec()
    }

    pub(super) fn shown_fingerprint(key: &[u8], vector: &Fingerprint) -> Vec<u8> {
        let (stack, environment) = (field(b"simpleapp"), field(b"production"));
        let data = [field(b"chandlery/v1/shown-fingerprint"), stack, environment, field(&unhex(&vector.value))];
        hmac_sha256(key, &data.concat())
    }

    pub(super) fn outside_name(key: &[u8], vector: &Outside) -> Vec<u8> {
        hmac_sha256(key, &[field(b"chandlery/v1/outside-name"), field(vector.address.as_bytes())].concat())
    }

    pub(super) fn outside(key: &[u8], vector: &Outside) -> Vec<u8> {
        let revision = vector.revision.to_be_bytes();
        let (address, value) = (field(vector.address.as_bytes()), field(&unhex(&vector.value)));
        let data = [field(b"chandlery/v1/outside"), address, field(&revision), value];
        [&revision[..], &hmac_sha256(key, &data.concat())].concat()
    }

    pub(super) fn token_hash(text: &str) -> Vec<u8> {
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
    }
}

#[test]
fn the_page_alone_reads_the_vectors() {
    let vectors = vectors();
    let root = unhex(&vectors.root_key.key);
    let encoded = vectors.root_key.file.strip_prefix("chandlery-root-key-v1:").unwrap().strip_suffix('\n').unwrap();
    assert_eq!(Base64::decode_vec(encoded).unwrap(), root);
    assert_eq!(page::hkdf_sha256(&root, "chandlery/v1/root-key-id", 8), unhex(&vectors.root_key.id));
    assert_eq!(page::hkdf_sha256(&root, "chandlery/v1/wrap", 32), unhex(&vectors.root_key.wrapping_key));
    for key in &vectors.keys {
        assert_eq!(page::unwrap(&root, key), unhex(&key.key));
    }
    let key = |id: u32| unhex(&vectors.keys.iter().find(|key| key.id == id).unwrap().key);
    let of = |purpose: &str| unhex(&vectors.keys.iter().find(|key| key.purpose == purpose).unwrap().key);
    for record in &vectors.records {
        assert_eq!(page::open(key, record), unhex(&record.plaintext));
    }
    for destroyed in &vectors.destroyed {
        let record = &vectors.records[destroyed.record];
        assert_eq!(page::destroyed(&of("manifest"), destroyed, record), unhex(&destroyed.sealed));
    }
    for manifest in &vectors.manifests {
        assert_eq!(page::manifest(&of("manifest"), manifest), unhex(&manifest.mac));
    }
    assert_eq!(page::stack(&of("manifest"), &vectors.stack), unhex(&vectors.stack.mac));
    assert_eq!(page::environment(&of("manifest"), &vectors.environment), unhex(&vectors.environment.mac));
    for token in &vectors.tokens {
        assert_eq!(page::token(&of("token"), token), unhex(&token.mac));
    }
    for node in &vectors.nodes {
        assert_eq!(page::node(&of("manifest"), node), unhex(&node.mac));
    }
    assert_eq!(page::nodes(&of("manifest"), &vectors.nodes), unhex(&vectors.nodes_mac));
    assert_eq!(page::fingerprint(&of("fingerprint"), &vectors.fingerprint), unhex(&vectors.fingerprint.fingerprint));
    assert_eq!(page::shown_fingerprint(&of("fingerprint"), &vectors.fingerprint), unhex(&vectors.fingerprint.shown));
    assert_eq!(page::outside_name(&of("fingerprint"), &vectors.outside), unhex(&vectors.outside.name));
    assert_eq!(page::outside(&of("fingerprint"), &vectors.outside), unhex(&vectors.outside.stored));
    let Token { secret, text, hash } = &vectors.token;
    let bytes = Base64UrlUnpadded::decode_vec(text.strip_prefix("chd_").unwrap()).unwrap();
    assert_eq!((bytes.len(), &bytes[..32]), (36, &unhex(secret)[..]));
    assert_eq!(page::token_hash(text), unhex(hash));
}

fn keyring(vectors: &Vectors) -> Keyring {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.key");
    fs::write(&path, &vectors.root_key.file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let root = RootKey::load(&path).unwrap();
    assert_eq!(root.id().to_string(), vectors.root_key.id);
    let wrapped = |key: &Key| WrappedKey { id: key.id, purpose: key.purpose.clone(), bytes: unhex(&key.wrapped) };
    Keyring::open(&root, &vectors.keys.iter().map(wrapped).collect::<Vec<_>>()).unwrap()
}

fn state(text: &str) -> State {
    from_value(text.into()).unwrap()
}

#[test]
fn the_server_reads_records() {
    let vectors = vectors();
    let keyring = keyring(&vectors);
    for (number, record) in vectors.records.iter().enumerate() {
        let (stack, environment) =
            (StackName::parse(&record.stack).unwrap(), EnvironmentName::parse(&record.environment).unwrap());
        let (layer, name, grant): (Layer, EntryName, Grant) =
            (record.layer.parse().unwrap(), record.name.parse().unwrap(), record.grant.parse().unwrap());
        let previous = unhex(&record.previous);
        let header = RecordHeader {
            stack: &stack,
            environment: &environment,
            layer: &layer,
            name: &name,
            grant: &grant,
            version: record.version,
            state: state(&record.state),
            attributes: &record.attributes,
            created: record.created,
            author: &record.author,
            previous: &previous,
        };
        let sealed = Sealed::from_bytes(unhex(&record.sealed));
        assert_eq!(header.open(&keyring, sealed.as_bytes()).unwrap(), Value::new(unhex(&record.plaintext)));
        if let Some(destroyed) = vectors.destroyed.iter().find(|destroyed| destroyed.record == number) {
            let remains = header.destroy(&keyring, sealed.as_bytes()).unwrap();
            assert_eq!(remains.as_bytes(), unhex(&destroyed.sealed));
            header.authenticate(&keyring, remains.as_bytes()).unwrap();
            assert_eq!(header.open(&keyring, remains.as_bytes()).unwrap_err().fault, Fault::Destroyed);
            let mut forged = remains.into_bytes();
            for at in 1..forged.len() {
                forged[at] ^= 1;
                assert!(header.authenticate(&keyring, &forged).is_err(), "byte {at}");
                forged[at] ^= 1;
                assert!(header.authenticate(&keyring, &forged[..at]).is_err(), "cut to {at}");
            }
        }
    }
}

#[test]
fn the_server_computes_the_same_macs() {
    let vectors = vectors();
    let keyring = keyring(&vectors);
    for manifest in &vectors.manifests {
        let (stack, environment) =
            (StackName::parse(&manifest.stack).unwrap(), EnvironmentName::parse(&manifest.environment).unwrap());
        let layer: Layer = manifest.layer.parse().unwrap();
        let header =
            LayerHeader { stack: &stack, environment: &environment, layer: &layer, revision: manifest.revision };
        let rows: Vec<(EntryName, Grant, &Line, Vec<u8>)> = manifest
            .rows
            .iter()
            .map(|row| (row.name.parse().unwrap(), row.grant.parse().unwrap(), row, unhex(&row.tag)))
            .collect();
        let lines = rows.iter().map(|(name, grant, row, tag)| ManifestLine {
            name,
            grant,
            version: row.version,
            state: state(&row.state),
            tag,
        });
        assert_eq!(header.sign(&keyring, lines), array(&manifest.mac));
    }
    let Stack { name, services, mac } = &vectors.stack;
    let services: Vec<_> = services.iter().map(|name| ServiceName::parse(name).unwrap()).collect();
    let stack = StackName::parse(name).unwrap();
    Definition::Stack { name: &stack, services: &services }.verify(&keyring, &array(mac)).unwrap();
    let Environment { name, regions, mac, .. } = &vectors.environment;
    let regions: Vec<_> = regions.iter().map(|name| RegionName::parse(name).unwrap()).collect();
    let name = EnvironmentName::parse(name).unwrap();
    Definition::Environment { stack: &stack, name: &name, regions: &regions }.verify(&keyring, &array(mac)).unwrap();
    for token in &vectors.tokens {
        let node = token.node.as_ref().map(|node| NodeName::parse(node).unwrap());
        let fields = TokenFields {
            id: &token.id,
            hash: &array(&token.hash),
            description: &token.description,
            verbs: &token.verbs,
            scopes: &token.scopes,
            created: token.created,
            created_by: &token.created_by,
            expires: token.expires,
            uses_left: token.uses_left,
            revoked: token.revoked,
            node: node.as_ref(),
        };
        Definition::Token(fields).verify(&keyring, &array(&token.mac)).unwrap();
    }
    for node in &vectors.nodes {
        let fields = NodeFields {
            name: &NodeName::parse(&node.name).unwrap(),
            region: &RegionName::parse(&node.region).unwrap(),
            revision: node.revision,
            created: node.created,
            author: &node.author,
        };
        Definition::Node(fields).verify(&keyring, &array(&node.mac)).unwrap();
    }
    let macs: Vec<_> = vectors.nodes.iter().map(|node| array(&node.mac)).collect();
    Definition::Nodes { macs: &macs }.verify(&keyring, &array(&vectors.nodes_mac)).unwrap();
    let Fingerprint { value, fingerprint, shown } = &vectors.fingerprint;
    let value = Value::new(unhex(value));
    assert_eq!(keyring.fingerprint(&value), array(fingerprint));
    let (stack, environment) = (StackName::parse("simpleapp").unwrap(), EnvironmentName::parse("production").unwrap());
    assert_eq!(keyring.fingerprinter(&stack, &environment).name(&value), array(shown));
    let Outside { address, revision, value, name, stored } = &vectors.outside;
    let (value, stored) = (Value::new(unhex(value)), unhex(stored));
    assert_eq!(keyring.outside_name(address), array(name));
    assert_eq!(
        (&stored[..8], &stored[8..]),
        (&revision.to_be_bytes()[..], &keyring.outside_mark(address, *revision, &value)[..])
    );
    assert!(keyring.is_outside_mark(address, *revision, &value, &stored[8..].try_into().unwrap()));
    assert!(!keyring.is_outside_mark(address, revision + 1, &value, &stored[8..].try_into().unwrap()));
}

#[test]
fn the_server_reads_tokens() {
    let Token { secret, text, hash } = vectors().token;
    assert_eq!(TokenText::from_secret(&array(&secret)).expose_secret(), text);
    assert_eq!(TokenHash::of(&TokenText::parse(&text).unwrap()).as_bytes(), &array(&hash));
}
