//! The copy for when the server is away: when it is used, when not, and when it goes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use chandlery_wire::{Code, Problem, TokenText};

use crate::support::{Answer, CANARY, Ended, Scratch, Server, Start, bundle, is_root, json, ok, problem, program};

/// A server that answered once, a copy from then, and starts that find it gone.
struct Away {
    scratch: Scratch,
    /// Where a server would listen; nobody does.
    nowhere: String,
}

impl Away {
    fn new() -> Self {
        let scratch = Scratch::new();
        let nowhere = format!("unix://{}", scratch.path().join("none").display());
        let away = Self { scratch, nowhere };
        let server = Server::unix(vec![ok(&bundle())]);
        let ended = away.start(&server.address).sh("echo $DB_HOST");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("db.eu.internal\n", ""));
        away
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join("copies")
    }

    fn copies(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.directory()).unwrap();
        listed.map(|entry| entry.unwrap().path()).collect()
    }

    /// The one copy there is.
    fn copy(&self) -> PathBuf {
        let copies = self.copies();
        assert_eq!(copies.len(), 1, "{copies:?}");
        copies[0].clone()
    }

    fn start(&self, address: &str) -> Start {
        let start = Start::at(address).env("CHANDLERY_CACHE", self.directory());
        start.env("CHANDLERY_TIMEOUT", "200ms")
    }

    fn alone(&self) -> Ended {
        self.start(&self.nowhere).sh("echo $DB_HOST; cat $TLS_KEY_FILE")
    }

    fn stands_in(&self) {
        let ended = self.alone();
        assert_eq!(ended.stdout, format!("db.eu.internal\n{CANARY}\n"), "{}", ended.stderr);
        let line = ended.stderr.trim_end();
        assert!(line.contains("seen last: No such file") && line.contains(" s old, revision 42"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        let year = line.split("copy of 2").nth(1).and_then(|rest| rest.split('Z').next()).unwrap_or_default();
        assert_eq!(year.len(), "026-01-01T00:00:00".len(), "{line}");
    }

    fn does_not(&self, why: &str) {
        let ended = self.alone();
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains(why) && ended.stdout.is_empty(), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 3, "{}", ended.stderr);
    }
}

#[test]
fn the_last_good_bundle_stands_in_for_a_server_that_is_away() {
    let away = Away::new();
    let copy = away.copy();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&copy), mode(&away.directory())), (0o600, 0o700));
    let name = copy.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.len() == 32 && !name.contains("simpleapp"), "{name}");
    let bytes = fs::read(&copy).unwrap();
    assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()));
    away.stands_in();
    // Each of these is a server that is there and cannot answer now.
    let sealed = Problem::new(503, "Service Unavailable", Code::Sealed, "the root key is not there");
    for answer in [
        problem(&sealed),
        json("502 Bad Gateway", b"<html>"),
        json("429 Too Many Requests", b""),
        Answer::Silence,
        Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()),
        Answer::Bytes(Vec::new()),
    ] {
        let server = Server::unix(vec![answer]);
        let ended = away.start(&server.address).sh("echo $DB_HOST");
        assert_eq!(ended.stdout, "db.eu.internal\n", "{}", ended.stderr);
    }
    assert_eq!(fs::read(&copy).unwrap(), bytes, "only an answer of the server changes it");
}

#[test]
fn the_next_answer_takes_its_place() {
    let away = Away::new();
    let before = fs::read(away.copy()).unwrap();
    let mut newer = bundle();
    newer.revision = 43;
    let server = Server::unix(vec![ok(&newer)]);
    assert_eq!(away.start(&server.address).sh("true").code, 0);
    assert_ne!(fs::read(away.copy()).unwrap(), before);
    assert!(away.alone().stderr.contains("revision 43"));
}

#[test]
fn a_refusal_deletes_it() {
    for (status, code) in [(401, Code::Unauthenticated), (403, Code::Forbidden), (404, Code::UnknownRegion)] {
        let mut answers = vec![problem(&Problem::new(status, "No", code, "no"))];
        // Another body is a proxy's, which knows about tokens only what the server told it.
        answers.extend((status != 404).then(|| json(&format!("{status} No"), b"<html>")));
        for answer in answers {
            let away = Away::new();
            let server = Server::unix(vec![answer]);
            let ended = away.start(&server.address).sh("echo ran");
            assert!([4, 5].contains(&ended.code) && ended.stdout.is_empty(), "{}", ended.stderr);
            assert!(ended.stderr.contains("is deleted"), "{}", ended.stderr);
            assert!(away.copies().is_empty());
            away.does_not("there is none of this bundle yet");
        }
    }
}

#[test]
fn what_is_no_refusal_and_no_bundle_neither_uses_nor_deletes_it() {
    let away = Away::new();
    let bytes = fs::read(away.copy()).unwrap();
    let mut other = bundle();
    other.service = None;
    let refusal = |status, code| problem(&Problem::new(status, "No", code, "no"));
    for (answer, code) in [
        (refusal(400, Code::InvalidName), 4),
        (refusal(412, Code::VersionConflict), 4),
        (refusal(422, Code::Unresolvable), 5),
        (refusal(500, Code::Integrity), 5),
        (ok(&other), 5),
        (json("404 Not Found", b"<html>"), 5),
        (json("200 OK", b"{}"), 3),
        (json("302 Found", b""), 3),
        (Answer::Bytes(b"SSH-2.0-x\r\n".to_vec()), 3),
    ] {
        let server = Server::unix(vec![answer]);
        away.start(&server.address).sh("echo ran").failed(code, "");
    }
    let server = crate::trust::somebody_else();
    let mut start = away.start(&server.address).env("CHANDLERY_FINGERPRINT", format!("sha256:{}", "00".repeat(32)));
    start.sh("echo ran").failed(8, "");
    assert_eq!(fs::read(away.copy()).unwrap(), bytes);
    away.stands_in();
}

#[test]
fn a_bundle_that_no_app_can_have_is_not_kept() {
    let away = Away::new();
    let mut dangerous = bundle();
    dangerous.revision = 43;
    dangerous.variables.push(crate::support::variable("LD_PRELOAD", "/x.so", false));
    let server = Server::unix(vec![ok(&dangerous)]);
    away.start(&server.address).sh("echo ran").failed(7, "LD_PRELOAD");
    away.stands_in();
}

#[test]
fn another_place_s_or_token_s_copy_does_not_open() {
    let away = Away::new();
    let server = Server::unix(vec![ok(&bundle())]);
    for (name, value) in [
        ("CHANDLERY_STACK", "other"),
        ("CHANDLERY_ENVIRONMENT", "staging"),
        ("CHANDLERY_REGION", "us-east-1"),
        ("CHANDLERY_SERVICE", "db"),
    ] {
        let copy = away.copy();
        let mut start = away.start(&away.nowhere).env(name, value);
        start.sh("echo ran").failed(3, "there is none of this bundle yet");
        // And when somebody puts the one there under the name of the other: found by making the other place's name.
        let mut elsewhere = bundle();
        match name {
            "CHANDLERY_STACK" => elsewhere.stack = chandlery_wire::StackName::parse(value).unwrap(),
            "CHANDLERY_ENVIRONMENT" => {
                elsewhere.environment = chandlery_wire::EnvironmentName::parse(value).unwrap();
            }
            "CHANDLERY_REGION" => elsewhere.region = chandlery_wire::RegionName::parse(value).ok(),
            _ => elsewhere.service = chandlery_wire::ServiceName::parse(value).ok(),
        }
        let there = Server::unix(vec![ok(&elsewhere)]);
        assert_eq!(away.start(&there.address).env(name, value).sh("true").code, 0);
        let theirs = away.copies().into_iter().find(|path| *path != copy).unwrap();
        fs::copy(&copy, &theirs).unwrap();
        let mut start = away.start(&away.nowhere).env(name, value);
        start.sh("echo ran").failed(3, "another token or for another place");
        fs::remove_file(theirs).unwrap();
    }
    let token = TokenText::from_secret(&[0x5A; 32]);
    let mut start = away.start(&away.nowhere).env("CHANDLERY_TOKEN", token.expose_secret());
    start.sh("echo ran").failed(3, "another token or for another place");
    // The new token's copy takes the place of the old one's.
    let renewed = away.start(&server.address).env("CHANDLERY_TOKEN", token.expose_secret()).sh("true");
    assert_eq!((renewed.code, away.copies().len()), (0, 1));
    away.does_not("another token or for another place");
}

#[test]
fn damage_is_told_and_never_a_panic() {
    let away = Away::new();
    let copy = away.copy();
    let whole = fs::read(&copy).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut version = whole.clone();
    version[0] = 2;
    for (bytes, why) in [
        (&b""[..], "empty or cut off"),
        (&whole[..20], "empty or cut off"),
        (&whole[..whole.len() - 1], "it is damaged"),
        (&flipped, "it is damaged"),
        (&version, "another version"),
    ] {
        fs::write(&copy, bytes).unwrap();
        away.does_not(why);
    }
    fs::write(&copy, &whole).unwrap();
    away.stands_in();
}

#[test]
fn it_is_used_up_to_its_age_and_not_when_the_clock_went_backwards() {
    let away = Away::new();
    std::thread::sleep(Duration::from_millis(1100));
    let with = |age: &str| away.start(&away.nowhere).env("CHANDLERY_CACHE_MAX_AGE", age).sh("echo $DB_HOST");
    assert_eq!(with("1h").stdout, "db.eu.internal\n");
    with("1s").failed(3, "at most 1 s are allowed");
    // The time is sealed: the file's own says nothing.
    let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
    fs::File::options().write(true).open(away.copy()).unwrap().set_modified(long_ago).unwrap();
    away.stands_in();
    with("0").failed(2, "CHANDLERY_CACHE_MAX_AGE");
}

#[test]
fn what_others_can_reach_is_not_believed_and_stops_no_start() {
    let server = Server::unix(vec![ok(&bundle())]);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let away = Away::new();
    set(&away.directory(), 0o777);
    away.does_not("others may write to it");
    let ended = away.start(&server.address).sh("echo $DB_HOST");
    assert_eq!(ended.stdout, "db.eu.internal\n");
    assert!(ended.stderr.contains("is not kept") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    set(&away.directory(), 0o700);
    set(&away.copy(), 0o666);
    away.does_not("not a plain file");
    let copy = away.copy();
    let moved = away.scratch.path().join("moved");
    fs::rename(&copy, &moved).unwrap();
    symlink(&moved, &copy).unwrap();
    away.does_not("ymbolic link");
    fs::remove_file(&copy).unwrap();
    assert!(Command::new("mkfifo").arg(&copy).status().unwrap().success());
    away.does_not("not a plain file");
    // What a start writes takes the place of what is there, whatever it is, and follows nothing.
    let ended = away.start(&server.address).sh("true");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    away.stands_in();

    let real = away.scratch.path().join("real");
    fs::rename(away.directory(), &real).unwrap();
    symlink(&real, away.directory()).unwrap();
    away.does_not("symlink");
    fs::remove_file(away.directory()).unwrap();
    fs::write(away.directory(), "").unwrap();
    away.does_not("not a directory");
    assert_eq!(away.start(&server.address).sh("echo $DB_HOST").stdout, "db.eu.internal\n");
}

#[test]
fn a_fresh_volume_is_closed_and_one_in_use_is_left_as_it_is() {
    let server = Server::unix(vec![ok(&bundle())]);
    for (mode, full, after) in
        [(0o755, false, 0o700), (0o777, false, 0o700), (0o755, true, 0o755), (0o1777, false, 0o1777)]
    {
        let scratch = Scratch::new();
        let directory = scratch.path().join("volume");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
        if full {
            fs::create_dir(directory.join("lost+found")).unwrap();
        }
        let ended = Start::at(&server.address).env("CHANDLERY_CACHE", &directory).sh("true");
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(ended.stderr.is_empty(), after & 0o022 == 0, "{}", ended.stderr);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, after);
    }
}

#[test]
fn a_directory_that_cannot_be_written_stops_no_start() {
    let server = Server::unix(vec![ok(&bundle())]);
    for directory in ["/proc/copies", "/nowhere/at/all"] {
        let ended = Start::at(&server.address).env("CHANDLERY_CACHE", directory).sh("echo $DB_HOST");
        assert_eq!(ended.stdout, "db.eu.internal\n");
        assert!(ended.stderr.contains(directory) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
    for (directory, about) in [("/var/cache", "other programs"), ("copies", "absolute"), ("/", "absolute")] {
        Start::at(&server.address).env("CHANDLERY_CACHE", directory).sh("echo ran").failed(2, about);
    }
    let mut nobody = Start::at(&server.address).env("CHANDLERY_CACHE", "/var/cache/chandlery");
    nobody.command.env_remove("CHANDLERY_TOKEN");
    nobody.sh("echo ran").failed(2, "there is no token");
}

#[test]
fn a_full_disk_stops_no_start_and_keeps_the_last_copy() {
    if !is_root() {
        return;
    }
    let away = Away::new();
    let server = Server::unix(vec![ok(&bundle())]);
    let (kept, copies) = (fs::read(away.copy()).unwrap(), away.directory());
    // A tmpfs with room for no more than the copy that is in it, in a mount namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=4k,mode=0700 none {0} && head -c 4000 /dev/zero >{0}/x && exec {1} -- echo ran",
        copies.display(),
        program().display()
    );
    let start = away.start(&server.address);
    let mut shell = Command::new("unshare");
    shell.args(["-m", "/bin/sh", "-c", &script]).env_clear();
    shell.envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ran\n", "{told}");
    assert!(told.contains("No space left"), "{told}");
    assert_eq!(fs::read(away.copy()).unwrap(), kept);
}
