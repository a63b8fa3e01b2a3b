//! A stack of two services in two regions, which several of these tests begin with.

use std::fs;
use std::path::PathBuf;

use chandlery_tests::{Output, Run, Server};

pub(crate) fn cli(server: &Server, args: &[&str]) -> Run {
    server.cli(args).env("CHANDLERY_STACK", "ship").env("CHANDLERY_ENVIRONMENT", "production")
}

/// It is declared, and nothing is set.
pub(crate) fn start() -> Server {
    let server = Server::start();
    server.cli(&["init", "ship", "--environment", "production", "--regions", "east,west", "--services", "app,db"]).ok();
    server
}

/// A file where the CLI runs.
pub(crate) fn write(server: &Server, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = server.project().join(name);
    fs::write(&path, bytes).expect("the project's folder takes a file");
    path
}

/// A run whose exit code the test knows.
#[track_caller]
pub(crate) fn ends(run: Run, code: i32) -> Output {
    let output = run.output();
    assert_eq!(output.code(), code, "{output}");
    output
}
