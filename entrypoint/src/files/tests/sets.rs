//! Whole sets only, whatever is read while they are switched.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

/// A set of files that all hold the same number.
fn set(names: &[&str], number: u32) -> Vec<BundleFile> {
    let of = |name: &&str| BundleFile { value: Value::new(format!("{number:08}")), ..file(name, 0o400) };
    names.iter().map(of).collect()
}

/// What the app sees by each name, and what the current set holds.
fn seen(path: &Path) -> (Vec<(String, String)>, BTreeSet<String>) {
    let listed = |path: PathBuf| {
        let names = fs::read_dir(path).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    let names = listed(path.to_owned()).into_iter().filter(|name| !name.starts_with(".."));
    let read = |name: String| {
        let text = fs::read_to_string(path.join(&name)).unwrap_or_else(|error| error.kind().to_string());
        (name, text)
    };
    (names.map(read).collect(), listed(path.join("..data")))
}

fn pairs(names: &[&str], number: u32) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), format!("{number:08}"))).collect()
}

#[test]
fn sets_are_switched_put_back_and_settled() {
    let scratch = Scratch::new("switch");
    let (path, config) = (scratch.secrets(), config(&scratch.secrets()));
    let mut sets = Sets::first(&set(&["a", "b"], 1), &config, None).unwrap();
    assert_eq!(seen(&path).0, pairs(&["a", "b"], 1));
    assert_eq!(scratch.names(), ["..data", "..set-1", "a", "b"]);
    sets.back().unwrap();
    assert_eq!(seen(&path).0, pairs(&["a", "b"], 1), "there is nothing to go back to");

    sets.switch(&set(&["b", "c"], 2)).unwrap();
    assert_eq!(seen(&path).1, BTreeSet::from(["b".to_owned(), "c".to_owned()]));
    sets.back().unwrap();
    assert_eq!(seen(&path).0, pairs(&["a", "b"], 1));
    assert_eq!(scratch.names(), ["..data", "..set-1", "a", "b"]);

    sets.switch(&set(&["b", "c"], 3)).unwrap();
    sets.settle();
    assert_eq!(seen(&path).0, pairs(&["b", "c"], 3));
    assert_eq!(scratch.names(), ["..data", "..set-3", "b", "c"]);
    sets.back().unwrap();
    assert_eq!(seen(&path).0, pairs(&["b", "c"], 3), "a set that is settled is gone");

    sets.switch(&[]).unwrap();
    sets.switch(&set(&["d"], 5)).unwrap();
    assert_eq!(seen(&path).0, pairs(&["d"], 5));
    drop(sets);
    assert!(!path.exists(), "the directory was made by this start");
}

#[test]
fn an_app_without_files_needs_no_directory_until_there_is_one() {
    let scratch = Scratch::new("later");
    let config = config(&scratch.secrets());
    let mut sets = Sets::first(&[], &config, None).unwrap();
    assert!(!scratch.secrets().exists());
    sets.switch(&set(&["a"], 1)).unwrap();
    assert_eq!(seen(&scratch.secrets()).0, pairs(&["a"], 1));
    sets.back().unwrap();
    assert!(!scratch.secrets().exists(), "the way back from the first files is to none");
    sets.switch(&set(&["a"], 2)).unwrap();
    sets.settle();
    sets.back().unwrap();
    assert_eq!(seen(&scratch.secrets()).0, pairs(&["a"], 2));
}

#[test]
fn a_set_that_cannot_be_placed_leaves_the_old_one_and_nothing_else() {
    let scratch = Scratch::new("refused");
    let (path, config) = (scratch.secrets(), config(&scratch.secrets()));
    let mut sets = Sets::first(&set(&["a", "b"], 1), &config, None).unwrap();
    fs::create_dir(path.join("z")).unwrap();
    let before = scratch.names();
    let refused = |sets: &mut Sets<'_>, files: &[BundleFile]| {
        assert_eq!(sets.switch(files).unwrap_err().exit, Exit::Files);
        assert_eq!(scratch.names(), before);
        assert_eq!(seen(&path).0[..2], pairs(&["a", "b"], 1));
        assert_eq!(mode(&path.join("..set-1/a")), 0o400);
    };
    refused(&mut sets, &set(&["a", "c", "z"], 2));
    refused(&mut sets, &set(&["c", "c"], 2));
    // A set that another hand put a directory in the way of is written beside it.
    fs::create_dir(path.join("..set-2")).unwrap();
    sets.switch(&set(&["a"], 3)).unwrap();
    assert_eq!(fs::read_link(path.join("..data")).unwrap(), Path::new("..set-3"));
}

/// A tmpfs of 1 MiB, until the test ends.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// `None` for who may not mount.
    fn mount(path: &'a Path) -> Option<Self> {
        sys::mount_tmpfs(&fs::File::open(path).unwrap(), 1).ok().map(|()| Self(path))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        sys::remove_all(&[sys::Removal::of_mount(sys::c_string(self.0).unwrap())]);
    }
}

#[test]
fn a_full_memory_takes_no_set_in_part_and_does_not_block_the_way_back() {
    let scratch = Scratch::new("full");
    let (path, config) = (scratch.secrets(), config(&scratch.secrets()));
    fs::create_dir(&path).unwrap();
    let Some(_small) = Small::mount(&path) else {
        println!("skipped: only root can mount");
        return;
    };
    let mut sets = Sets::first(&set(&["a", "b"], 1), &config, None).unwrap();
    let before = scratch.names();
    let large = BundleFile { value: Value::new("x".repeat(2 << 20)), ..file("c", 0o400) };
    let failure = sets.switch(&[file("a", 0o400), large]).unwrap_err().text();
    assert!(failure.contains("is full: there is no room for the file c"), "{failure}");
    assert_eq!((scratch.names(), seen(&path).0), (before, pairs(&["a", "b"], 1)));

    sets.switch(&set(&["b", "d"], 2)).unwrap();
    let filled = fs::write(path.join("filler"), "x".repeat(2 << 20)).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    sets.back().unwrap();
    fs::remove_file(path.join("filler")).unwrap();
    assert_eq!(seen(&path).0, pairs(&["a", "b"], 1));
}

#[test]
fn what_earlier_starts_left_goes_and_what_is_not_ours_stays() {
    let scratch = Scratch::new("earlier");
    let (path, config) = (scratch.secrets(), config(&scratch.secrets()));
    fs::create_dir(&path).unwrap();
    let foreign = ["mine", "..mine", "b.txt"];
    foreign.iter().for_each(|name| fs::write(path.join(name), "x").unwrap());
    symlink("..data/other", path.join("link")).unwrap();
    let kept = ["..mine", "b.txt", "link", "mine"];
    let with = |more: &[&str]| {
        let mut names: Vec<_> = kept.iter().chain(more).map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    // A start that is killed drops nothing.
    std::mem::forget(place(&set(&["a", "b", "c"], 1), &config, None).unwrap());
    std::mem::forget(place(&set(&["b", "c"], 2), &config, None).unwrap());
    assert_eq!(scratch.names(), with(&["..placed", "b", "c"]));
    let mut sets = Sets::first(&set(&["c"], 3), &config, None).unwrap();
    assert_eq!(scratch.names(), with(&["..data", "..set-1", "c"]));
    sets.switch(&set(&["c", "d"], 4)).unwrap();
    std::mem::forget(sets);
    std::mem::forget(place(&set(&["d"], 5), &config, None).unwrap());
    assert_eq!(scratch.names(), with(&["..placed", "d"]));
    assert_eq!(fs::read_to_string(path.join("d")).unwrap(), "00000005");
    place(&[], &config, None).unwrap();
    assert_eq!(scratch.names(), with(&[]));
    assert!(foreign.iter().all(|name| fs::read(path.join(name)).unwrap() == b"x"));
}

#[test]
fn an_index_that_others_could_have_written_names_nothing() {
    let scratch = Scratch::new("index");
    let config = config(&scratch.secrets());
    let path = scratch.secrets();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("victim"), "x").unwrap();
    let lie = |text: &str, mode: u32| {
        let _ = fs::remove_file(path.join("..placed"));
        fs::write(path.join("..placed"), text).unwrap();
        fs::set_permissions(path.join("..placed"), Permissions::from_mode(mode)).unwrap();
        drop(place(&set(&["a"], 1), &config, None).unwrap());
    };
    lie("victim\n", 0o622);
    fs::write(scratch.0.join("outside"), "x").unwrap();
    lie("../outside\n/etc/hostname\n..\n\nvictim/x\n", 0o600);
    fs::write(scratch.0.join("list"), "victim\n").unwrap();
    symlink(scratch.0.join("list"), path.join("..placed")).unwrap();
    drop(place(&set(&["a"], 1), &config, None).unwrap());
    assert!(path.join("victim").exists() && scratch.0.join("outside").exists());
    // What the owner wrote is believed.
    lie("victim\n", 0o600);
    assert!(!path.join("victim").exists());
}

/// What readers of three files saw: all of one set, or of more than one.
#[derive(Default)]
struct Tally {
    whole: AtomicU32,
    mixed: AtomicU32,
}

impl Tally {
    fn read_until(&self, done: &AtomicBool, path: &Path, by_name: bool) {
        while !done.load(Ordering::Relaxed) {
            let data = fs::File::open(path.join("..data")).unwrap();
            let read = |name: &str| {
                let file = match by_name {
                    true => fs::File::open(path.join(name)),
                    false => sys::open_at(&data, &c_name(name).unwrap()),
                };
                let mut text = String::new();
                file.and_then(|mut file| file.read_to_string(&mut text)).map(|_| text)
            };
            // A set that was settled meanwhile is gone as a whole, and the reader opens the next one.
            let Ok(first) = read("a") else { continue };
            std::thread::yield_now();
            let (Ok(second), Ok(third)) = (read("b"), read("c")) else { continue };
            assert_eq!(first.len(), 8, "half a file");
            let count = if first == second && second == third { &self.whole } else { &self.mixed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_reader_sees_whole_sets_while_a_thousand_are_switched() {
    let scratch = Scratch::new("reader");
    let (path, config) = (scratch.secrets(), config(&scratch.secrets()));
    let mut sets = Sets::first(&set(&["a", "b", "c"], 0), &config, None).unwrap();
    let done = AtomicBool::new(false);
    let (careful, careless) = (Tally::default(), Tally::default());
    std::thread::scope(|scope| {
        scope.spawn(|| careful.read_until(&done, &path, false));
        // The control: names that are opened one after the other, with a switch in between, do mix sets.
        scope.spawn(|| careless.read_until(&done, &path, true));
        for number in 1..100_000 {
            sets.switch(&set(&["a", "b", "c"], number)).unwrap();
            if number % 7 == 0 {
                sets.back().unwrap();
            }
            let seen = [&careful.whole, &careless.mixed].iter().all(|count| count.load(Ordering::Relaxed) > 0);
            if number >= 1000 && seen {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(careful.mixed.into_inner(), 0);
    assert!(careful.whole.into_inner() > 0);
    assert!(careless.mixed.into_inner() > 0, "no reader could have seen a mixed set: the test shows nothing");
}
