use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use chandlery_wire::{EntryName, Layer, Mode, Origin, Value};

use super::*;
use crate::config::Request;
use crate::failure::Exit;

mod sets;

/// A directory of its own in memory, which goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/dev/shm/chandlery-unit-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(self.secrets()).unwrap();
        let mut names: Vec<_> = listed.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(directory: &Path) -> Box<Config> {
    let variables = [
        ("CHANDLERY_ADDR", "unix:///nowhere"),
        ("CHANDLERY_STACK", "simpleapp"),
        ("CHANDLERY_ENVIRONMENT", "production"),
        ("CHANDLERY_SECRETS_DIR", directory.to_str().unwrap()),
    ];
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    match Config::read(["x", "app"].iter().map(Into::into), variables).unwrap() {
        Request::Start(config) => config,
        other => panic!("{other:?}"),
    }
}

fn file(name: &str, mode: u32) -> BundleFile {
    BundleFile {
        name: EntryName::parse(name).unwrap(),
        value: Value::new(format!("the value of {name}")),
        mode: Mode::new(mode).unwrap(),
        uid: None,
        gid: None,
        variable: None,
        secret: true,
        origin: Origin { layer: Layer::Base, version: 1, template: false, reference: false },
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_have_exactly_their_mode_and_go_with_a_failed_start() {
    let scratch = Scratch::new("modes");
    let config = config(&scratch.secrets());
    let placed = place(&[file("a", 0o400), file("b", 0o600), file("c", 0o000)], &config, None).unwrap();
    assert_eq!(scratch.names(), ["..placed", "a", "b", "c"]);
    assert_eq!(mode(&scratch.secrets()), 0o700);
    let path = scratch.secrets();
    assert_eq!([mode(&path.join("a")), mode(&path.join("b")), mode(&path.join("c"))], [0o400, 0o600, 0]);
    assert_eq!(fs::read(path.join("a")).unwrap(), b"the value of a");
    drop(placed);
    assert!(!scratch.secrets().exists(), "the directory was made by the start that failed");
}

#[test]
fn the_directory_is_closed_or_passable_and_nothing_else() {
    let scratch = Scratch::new("close");
    fs::create_dir(scratch.secrets()).unwrap();
    for (before, file_mode, after) in [
        (0o1777, 0o400, 0o700),
        (0o755, 0o400, 0o700),
        (0o700, 0o444, 0o711),
        (0o755, 0o440, 0o711),
        (0o500, 0o400, 0o700),
    ] {
        fs::set_permissions(scratch.secrets(), Permissions::from_mode(before)).unwrap();
        let config = config(&scratch.secrets());
        let placed = place(&[file("a", file_mode)], &config, None).unwrap();
        assert_eq!(mode(&scratch.secrets()), after, "{before:o}");
        drop(placed);
        assert!(scratch.names().is_empty());
    }
}

#[test]
fn what_is_in_the_way_is_named_and_left_alone() {
    let scratch = Scratch::new("way");
    let path = scratch.secrets();
    fs::create_dir(&path).unwrap();
    fs::create_dir(path.join("directory")).unwrap();
    symlink("/etc/passwd", path.join("symlink")).unwrap();
    fs::write(path.join("linked"), "x").unwrap();
    fs::hard_link(path.join("linked"), path.join("twin")).unwrap();
    fs::write(path.join("file"), "y").unwrap();
    std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    let before = scratch.names();
    for (name, what) in [
        ("directory", "a directory"),
        ("symlink", "a symlink"),
        ("linked", "more than one link"),
        ("socket", "a socket"),
        ("file", "somebody else's file"),
    ] {
        let failure = place(&[file("a", 0o400), file(name, 0o400)], &config(&path), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Files);
        assert!(failure.text().contains(what) && failure.text().contains(name), "{}", failure.text());
        assert_eq!(scratch.names(), before);
    }
    assert!(!failure_text(&[file("a", 0o400), file("a", 0o400)], &path).contains("value"));
}

fn failure_text(files: &[BundleFile], path: &Path) -> String {
    place(files, &config(path), None).unwrap_err().text()
}

#[test]
fn leftovers_of_an_earlier_start_are_replaced() {
    let scratch = Scratch::new("left");
    let path = scratch.secrets();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), "old").unwrap();
    fs::write(path.join("..placed"), "a\n").unwrap();
    fs::write(path.join("..new-0"), "half").unwrap();
    let config = config(&path);
    let placed = place(&[file("a", 0o400)], &config, None).unwrap();
    assert_eq!(scratch.names(), ["..placed", "a"]);
    assert_eq!(fs::read(path.join("a")).unwrap(), b"the value of a");
    drop(placed);
}

#[test]
fn a_directory_that_is_not_fit_is_refused() {
    let scratch = Scratch::new("unfit");
    fs::create_dir(scratch.0.join("real")).unwrap();
    symlink(scratch.0.join("real"), scratch.secrets()).unwrap();
    assert!(failure_text(&[file("a", 0o400)], &scratch.secrets()).contains("is a symlink"));
    fs::write(scratch.0.join("file"), "").unwrap();
    assert!(failure_text(&[file("a", 0o400)], &scratch.0.join("file")).contains("is not a directory"));
    assert!(failure_text(&[file("a", 0o400)], &scratch.0.join("no/parent")).contains("cannot be made"));
    // In a container there would be memory to link to.
    if fs::metadata("/proc/self/ns/ipc").unwrap().ino() == 0xEFFF_FFFF {
        let disk = failure_text(&[file("a", 0o400)], Path::new("/var/lib/chandlery-unit"));
        assert!(disk.contains("not in memory") && disk.contains(":mode=0700,size=1m"), "{disk}");
        assert!(!Path::new("/var/lib/chandlery-unit").exists());
    }
    assert!(place(&[], &config(&scratch.0.join("no/parent")), None).is_ok(), "no files, no directory needed");
}

#[test]
fn a_name_that_is_swapped_for_a_symlink_leads_nowhere() {
    let scratch = Scratch::new("race");
    let path = scratch.secrets();
    fs::create_dir(&path).unwrap();
    let outside = scratch.0.join("outside");
    fs::write(&outside, "untouched").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = symlink(&outside, path.join("swap"));
                let _ = fs::rename(path.join("swap"), path.join("a"));
                let _ = fs::remove_file(path.join("a"));
            }
        });
        let config = config(&path);
        for _ in 0..10_000 {
            match place(&[file("a", 0o400)], &config, None) {
                Ok(placed) => drop(placed),
                Err(failure) => assert_eq!(failure.exit, Exit::Files),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
}
