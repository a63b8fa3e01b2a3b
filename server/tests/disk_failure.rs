//! A disk whose fsync fails: nothing is acknowledged, nothing more is written, and reads go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chandlery_server::store::{SqliteStore, Store, StoreError, read_with, write_with};

/// Fails every sync while the file exists that it is told of.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int sync_with(const char *name, int fd) {
    const char *flag = getenv("CHANDLERY_TEST_FAIL_SYNC");
    if (flag && access(flag, F_OK) == 0) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }
"#;

#[test]
fn a_failed_fsync_is_never_acknowledged_and_shuts_the_store_for_writing() {
    let directory = tempfile::tempdir().unwrap();
    let (source, shim) = (directory.path().join("shim.c"), directory.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).arg("-ldl").status();
    if !compiled.is_ok_and(|status| status.success()) {
        println!("skipped: there is no C compiler to make a failing fsync with");
        return;
    }
    // Itself again, with the shim under it: only a new process can be given one.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "on_a_disk_that_fails", "--ignored", "--nocapture"])
        .env("LD_PRELOAD", &shim)
        .env("CHANDLERY_TEST_FAIL_SYNC", directory.path().join("fail"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn next(store: &SqliteStore) -> Result<u64, StoreError> {
    write_with(store, |transaction| transaction.next_revision())
}

#[test]
#[ignore = "runs within the other test, on a disk that fails"]
#[expect(clippy::disallowed_methods, reason = "the other test says by a variable where its switch is")]
fn on_a_disk_that_fails() {
    let Some(fail) = std::env::var_os("CHANDLERY_TEST_FAIL_SYNC").map(PathBuf::from) else { return };
    let switch = |on: bool, file: &Path| if on { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() };
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(next(&store), Ok(1));

    switch(true, &fail);
    assert!(matches!(next(&store), Err(StoreError::Failed { .. })));
    assert!(matches!(store.check(), Err(StoreError::Failed { .. })));
    let seen = || read_with(&store, |snapshot| snapshot.revision());
    assert_eq!(seen(), Ok(1), "reads go on, and see nothing of the write that failed");

    switch(false, &fail);
    assert!(matches!(next(&store), Err(StoreError::Failed { .. })), "a disk that failed once is not believed again");
    assert_eq!(seen(), Ok(1));
    drop(store);

    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(next(&store), Ok(2), "opened again, it goes on from the last write that was acknowledged");
}
