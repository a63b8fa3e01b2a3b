//! `http → vault → {access, resolve, crypto, store, source, audit} → wire`, and which folder knows which outside crate.

use std::path::Path;

use chandlery_tests::workspace;

use crate::sources::Source;

/// The folders of the server that have a place in the order, the highest first. What is not named here (`main`, `config`,
/// `telemetry`, …) puts the parts together or is used by all of them.
const ORDER: &[&[&str]] = &[&["http"], &["vault"], &["access", "resolve", "crypto", "store", "source", "audit"]];

/// Outside crates that one folder knows, and no other.
const KNOWN_TO: &[(&str, &[&str])] = &[
    // What is listened on and drained is an axum router, whoever made it.
    ("axum", &["http", "serve"]),
    ("utoipa_axum", &["http"]),
    ("tower_http", &["http"]),
    ("rusqlite", &["store"]),
    ("tokio_postgres", &["store"]),
    // For two of them it is a part of ring only: see RING_IN_PART.
    ("ring", &["crypto", "audit", "pki"]),
    ("aws_config", &["source"]),
    ("aws_credential_types", &["source"]),
    ("aws_sdk_secretsmanager", &["source"]),
    ("aws_smithy_http_client", &["source"]),
    ("aes", &["crypto"]),
    ("aes_gcm", &["crypto"]),
];

/// The audit log's chain is an HMAC; a certificate's fingerprint is a digest. Neither encrypts anything.
const RING_IN_PART: &[(&str, &[&str])] = &[("audit", &["hmac", "constant_time"]), ("pki", &["digest"])];

/// What a part that decides and does nothing else must not name.
const OUTSIDE_WORLD: &[&str] = &["tokio", "rusqlite", "axum", "reqwest", "ureq", "tracing"];

/// The part of the server that a file is in: the first folder or file below `src`.
fn part(path: &Path) -> String {
    let source = workspace().join("server/src");
    let below = path.strip_prefix(&source).expect("the file is the server's");
    let first = below.components().next().expect("a file has a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn rank(part: &str) -> Option<usize> {
    ORDER.iter().position(|parts| parts.contains(&part))
}

fn server() -> Vec<Source> {
    Source::below(&workspace().join("server/src"))
}

#[test]
fn imports_go_one_way() {
    let mut faults = Vec::new();
    for source in server() {
        let from = part(&source.path);
        let Some(own) = rank(&from) else { continue };
        for module in source.modules() {
            if module != from && rank(module).is_some_and(|other| other <= own) {
                faults.push(format!("{}: {from} imports {module}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn one_folder_knows_each_outside_crate() {
    let mut faults = Vec::new();
    for source in server() {
        let from = part(&source.path);
        // Parts without a rank put the server together, and may name what they start; keys and SQL they may not.
        for (other, folders) in KNOWN_TO {
            if source.names(other) && !folders.contains(&from.as_str()) {
                faults.push(format!("{}: {from} names {other}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn ciphers_are_known_to_crypto_alone() {
    for source in server() {
        let from = part(&source.path);
        let Some((_, allowed)) = RING_IN_PART.iter().find(|(part, _)| *part == from) else { continue };
        for name in source.parts_of("ring") {
            assert!(allowed.contains(&name), "{} names ring::{name}", source.path.display());
        }
    }
}

#[test]
fn the_parts_that_decide_do_no_input_and_no_output() {
    for source in server().iter().filter(|source| matches!(part(&source.path).as_str(), "access" | "resolve")) {
        for other in OUTSIDE_WORLD {
            assert!(!source.names(other), "{} names {other}", source.path.display());
        }
        for part in source.parts_of("std") {
            assert!(
                !["fs", "env", "io", "process", "thread"].contains(&part),
                "{} names std::{part}",
                source.path.display()
            );
        }
        for word in ["async", "SystemTime", "Instant", "TcpStream", "UdpSocket", "UnixStream", "println"] {
            assert!(!source.has(word), "{} has {word}", source.path.display());
        }
    }
}

#[test]
fn the_programs_share_the_wire_and_nothing_else() {
    for program in ["wire", "server", "cli", "entrypoint"] {
        for source in Source::below(&workspace().join(program).join("src")) {
            for other in ["chandlery_server", "chandlery", "chandlery_cli", "chandlery_entrypoint", "chandlery_tests"] {
                // A program's main may name its own library.
                let own = matches!((program, other), ("server", "chandlery_server") | ("cli", "chandlery"));
                let own = own || (program, other) == ("entrypoint", "chandlery_entrypoint");
                assert!(own || !source.names(other), "{} names {other}", source.path.display());
            }
            assert!(program != "wire" || !source.names("chandlery_wire"), "{}", source.path.display());
        }
    }
}
