//! The README's first command, as a newcomer runs it, on the programs that are built already.

use std::fs;

use chandlery_tests::{Program, Run, workspace};
use tempfile::TempDir;

fn leftovers() -> usize {
    let entries = fs::read_dir("/dev/shm").expect("/dev/shm is there");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("chandlery-demo")).count()
}

#[test]
fn the_demo_shows_two_regions_and_leaves_nothing() {
    let temporary = TempDir::new().expect("a temporary folder");
    let before = leftovers();
    let programs = Program::Server.path();
    let output = Run::new(workspace().join("demo"))
        .env("CHANDLERY_BIN_DIR", programs.parent().expect("a program is in a folder"))
        .env("TMPDIR", temporary.path())
        .env("HOME", temporary.path())
        .ok();
    let story = output.text();
    for shown in [
        "TZ=Europe/Dublin",
        "TZ=Asia/Singapore",
        "mysql_password: a-laptop-may-know-this-one",
        "mysql://root:a-laptop-may-know-this-one@db:3306/simple_db",
        "from base",
        "from eu-west-1",
        "from ap-southeast-1",
        "template",
        "read-bundle",
    ] {
        assert!(story.contains(shown), "{shown} is not shown:\n{output}");
    }
    assert_eq!(fs::read_dir(temporary.path()).expect("the folder is there").count(), 0, "files are left behind");
    assert_eq!(leftovers(), before, "secrets are left in memory");
}
