//! What the programs are made of: `cargo tree` and the lock file tell.

use std::collections::BTreeSet;
use std::fs;

use chandlery_tests::{Run, workspace};

/// The packages that a member's program is built from, tests aside.
fn tree(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let passed = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
    let run =
        Run::new(&cargo).args(["tree", "--offline", "--prefix", "none", "--edges", "normal", "--package", package]);
    let run = run.current_dir(workspace());
    let run = passed.iter().fold(run, |run, name| match std::env::var_os(name) {
        Some(value) => run.env(name, value),
        None => run,
    });
    run.ok().text().lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn each_program_depends_on_the_wire_alone_of_ours() {
    for (package, own) in
        [("chandlery-server", 2), ("chandlery", 2), ("chandlery-entrypoint", 2), ("chandlery-wire", 1)]
    {
        let packages = tree(package);
        let ours: Vec<_> = packages.iter().filter(|name| name.starts_with("chandlery")).collect();
        assert!(packages.contains("chandlery-wire"), "{package}: {packages:?}");
        assert_eq!(ours.len(), own, "{package} is built from {ours:?}");
    }
}

#[test]
fn the_entrypoint_has_no_async_runtime_and_no_http_stack() {
    let packages = tree("chandlery-entrypoint");
    for banned in ["tokio", "async-std", "smol", "futures", "mio", "hyper", "reqwest", "clap", "tracing"] {
        assert!(!packages.contains(banned), "the entrypoint is built from {banned}");
    }
}

#[test]
fn the_client_of_aws_is_the_servers_alone() {
    for package in ["chandlery", "chandlery-entrypoint", "chandlery-wire"] {
        let packages = tree(package);
        let aws: Vec<_> = packages.iter().filter(|name| name.starts_with("aws-")).collect();
        assert!(aws.is_empty(), "{package} is built from {aws:?}");
    }
    assert!(tree("chandlery-server").contains("aws-sdk-secretsmanager"));
}

#[test]
fn there_is_one_crypto_provider_in_the_whole_tree() {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).expect("the lock file is text");
    for banned in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{banned}\"")), "{banned} is in the lock file");
    }
    assert_eq!(lock.matches("name = \"ring\"").count(), 1, "ring is there once");
    assert_eq!(lock.matches("name = \"rustls\"").count(), 1, "rustls is there once");
}
