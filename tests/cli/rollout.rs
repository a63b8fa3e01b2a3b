//! `stack rollout` on a real server and on two Docker hosts that are stood in for: what is done in which order, what is said, and
//! what stands where afterwards. On real ones: tests/e2e/global_stack.rs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use chandlery_tests::{Output, Run, Server, workspace};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const COMPOSE: &str = "services:\n  web:\n    image: app:1\n    environment: {GREETING: }\n";

/// A stack in two regions, `east` and `west`, with a host each; `west` is the primary.
struct Fleet {
    server: Server,
    fake: PathBuf,
}

impl Fleet {
    fn new() -> Self {
        let server = Server::start();
        let fake = server.project().join("fake");
        fs::create_dir_all(fake.join("bin")).expect("a folder");
        fs::copy(workspace().join("tests/cli/rollout_docker.py"), fake.join("bin/docker")).expect("a copy");
        let fleet = Self { server, fake };
        let init = ["init", "ship", "--services", "web", "--regions", "east,west", "--environment", "production"];
        fleet.server.cli(&init).ok();
        fleet.set("one");
        fleet.write("docker-compose.yml", COMPOSE);
        fleet.write("entrypoint", "");
        let path = fleet.server.project().join("chandlery.toml");
        let text = fs::read_to_string(&path).expect("init has written it")
            + "\n[hosts]\neast = 'unix:///fake/east'\nwest = { host = 'unix:///fake/west', name = 'first' }\n[rollout]\nprimary = 'west'\n";
        fs::write(path, text).expect("the project's file");
        fleet
    }

    fn run(&self, args: &[&str]) -> Run {
        let path = format!("{}:/usr/bin:/bin", self.fake.join("bin").display());
        let args = [&["stack", "rollout", "-p", "p", "--server", "https://store.example:8420"], args].concat();
        self.server
            .cli(&args)
            .env("PATH", path)
            .env("FAKE", &self.fake)
            .env("XDG_STATE_HOME", self.server.project().join("state"))
            .env("CHANDLERY_ENTRYPOINT", self.server.project().join("entrypoint"))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.server.project().join(name), text).expect("the project's folder takes a file");
    }

    fn set(&self, value: &str) {
        self.server.cli(&["set", "GREETING", "-", "--for", "web"]).stdin(value).ok();
    }

    fn get(&self) -> Vec<u8> {
        self.server.cli(&["get", "GREETING"]).ok().stdout
    }

    /// Makes something be so with the hosts: `west.sick`, `east.away`, `slow`.
    fn make(&self, what: &str) {
        fs::write(self.fake.join(what), "").expect("a file");
    }

    fn unmake(&self, what: &str) {
        fs::remove_file(self.fake.join(what)).expect("a file");
    }

    /// What was done to the hosts since the last look, but for the freight.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.fake.join("log")).unwrap_or_default();
        let _ = fs::remove_file(self.fake.join("log"));
        text.lines().filter(|line| !line.contains(" cp ")).map(str::to_owned).collect()
    }

    /// The image and the label of what runs on a host.
    fn runs(&self, host: &str) -> Option<(Value, Value)> {
        let text = fs::read(self.fake.join(format!("{host}.json"))).ok()?;
        let found: Value = serde_json::from_slice(&text).expect("what the stand-in wrote");
        let one = found.get(0)?;
        Some((one["Image"].clone(), one["Config"]["Labels"]["chandlery.supplies"].clone()))
    }

    fn begin(&self, args: &[&str]) -> Child {
        self.run(args).spawn(Stdio::piped(), Stdio::piped())
    }

    fn wait_for(&self, line: &str) {
        for _ in 0..6000 {
            if fs::read_to_string(self.fake.join("log")).unwrap_or_default().contains(line) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it never came to {line}");
    }
}

fn states(output: &Output) -> Vec<String> {
    let lines = output.text().lines().skip(1);
    lines
        .map(|line| {
            line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).take(3).collect::<Vec<_>>().join("|")
        })
        .collect()
}

#[test]
fn region_after_region_and_the_primary_last() {
    let fleet = Fleet::new();
    let planned = fleet.run(&["--dry-run"]).ok();
    assert!(
        planned.text().contains("unix:///fake/east") && planned.stderr.contains("nothing was changed"),
        "{planned}"
    );
    assert_eq!(fleet.log(), Vec::<String>::new());

    let hooks = [
        "--before-each",
        "echo out $ROLLOUT_REGION $ROLLOUT_DOCKER_HOST >>$FAKE/log",
        "--after-each",
        "echo in $ROLLOUT_REGION $ROLLOUT_HOST >>$FAKE/log",
    ];
    let done = fleet.run(&[&["--region", "all", "--primary", "east"][..], &hooks].concat()).ok();
    let expected = [
        "out west unix:///fake/west",
        "west up",
        "in west first",
        "out east unix:///fake/east",
        "east up",
        "in east fake/east",
    ];
    assert_eq!(fleet.log(), expected);
    assert_eq!(states(&done), ["west|first|done", "east|fake/east|done"], "{done}");
    let steps: Vec<&str> = done.stderr.lines().filter(|line| line.starts_with("west (first)")).collect();
    let named = ["render", "before-each", "up", "healthy", "after-each", "done"];
    assert_eq!(steps, named.map(|step| format!("west (first): {step}")), "{done}");

    let again = fleet.run(&["--region", "west,east", "--format", "json"]).ok();
    let events: Vec<Value> =
        again.text().lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(events.first().map(|event| (&event["event"], &event["region"])), Some((&"step".into(), &"east".into())));
    let last = events.last().expect("an end");
    assert_eq!((&last["event"], &last["result"]), (&"end".into(), &"done".into()));
    assert_eq!(last["rollout"]["lines"][1]["state"], "done");
    assert_eq!(fleet.log(), ["east up", "west up"], "the file's primary, where no flag says another");
    let one = fleet.run(&["--region", "east"]).ok();
    assert_eq!(states(&one), ["east|fake/east|done"]);
}

#[test]
fn the_first_failure_stops_it_and_it_can_be_gone_on_with() {
    let fleet = Fleet::new();
    fleet.make("west.sick");
    let failed = fleet.run(&["--settle", "1s"]).fails();
    assert_eq!(failed.code(), 1, "{failed}");
    assert_eq!(states(&failed), ["east|fake/east|done", "west|first|failed at healthy"], "{failed}");
    for part in [
        "west@first at healthy: the container p_web_1 is unhealthy",
        "docker --host unix:///fake/west logs p_web_1",
        "rollout -p p --server https://store.example:8420 --settle 1s --resume` goes on",
        "--take-back",
    ] {
        assert!(failed.stderr.contains(part), "{part} is not in {failed}");
    }
    assert_eq!(fleet.log(), ["east up", "west up"]);
    assert_eq!(fleet.run(&["--status"]).ok().stdout, failed.stdout);
    fleet.unmake("west.sick");
    assert_eq!(states(&fleet.run(&["--resume"]).ok()), ["east|fake/east|done", "west|first|done"]);
    assert_eq!(fleet.log(), ["west up"], "what is done is left alone");
    assert_eq!(fleet.run(&["--resume"]).fails().code(), 1, "there is nothing to go on with");

    // A fix that is for all of them gives those that were done another turn.
    fleet.set("two");
    fleet.make("west.sick");
    fleet.run(&[]).fails();
    fleet.unmake("west.sick");
    fleet.set("three");
    fleet.log();
    let resumed = fleet.run(&["--resume"]).ok();
    assert!(resumed.stderr.contains("another turn"), "{resumed}");
    assert_eq!(fleet.log(), ["east up", "west up"]);
}

#[test]
fn what_was_touched_is_taken_back_with_its_values() {
    let fleet = Fleet::new();
    fleet.run(&[]).ok();
    let before = (fleet.runs("east"), fleet.runs("west"));
    fleet.set("two");
    fleet.write("docker-compose.yml", &COMPOSE.replace("app:1", "app:2"));
    fleet.make("west.sick");
    fleet.run(&[]).fails();
    assert_ne!(fleet.runs("east"), before.0);
    fleet.unmake("west.sick");
    let asked = fleet.run(&["--take-back"]).fails();
    assert_eq!(asked.code(), 2, "nobody can be asked: {asked}");
    fleet.make("no-images");
    let gone = fleet.run(&["--take-back", "--yes"]).fails();
    assert!(
        gone.stderr.contains("images that ran before are gone") && gone.stderr.contains("west@first: sha256:"),
        "{gone}"
    );
    fleet.unmake("no-images");
    fleet.log();
    let shown = fleet.run(&["--take-back", "--dry-run"]).ok();
    assert!(shown.stderr.contains("east@fake_east: files, images and values of revision"), "{shown}");
    assert_eq!((fleet.log(), fleet.get()), (Vec::new(), b"two".to_vec()), "nothing was changed");

    let back = fleet.run(&["--take-back", "--yes"]).ok();
    assert_eq!(states(&back), ["east|fake/east|taken back", "west|first|taken back"], "{back}");
    assert_eq!(fleet.log(), ["west up", "east up"], "the last one first");
    assert_eq!((fleet.runs("east"), fleet.runs("west")), before);
    assert_eq!(fleet.get(), b"one");
    assert!(fleet.run(&["--take-back", "--yes"]).ok().stderr.contains("nothing was touched"));

    // A second failure on top of a first is taken back to what was whole.
    for image in ["app:3", "app:4"] {
        fleet.write("docker-compose.yml", &COMPOSE.replace("app:1", image));
        fleet.make("west.sick");
        fleet.run(&[]).fails();
        fleet.unmake("west.sick");
    }
    fleet.set("three");
    fleet.run(&["--take-back", "--yes", "--keep-values"]).ok();
    assert_eq!((fleet.runs("east"), fleet.runs("west")), before);
    assert_eq!(fleet.get(), b"three");
}

#[test]
fn where_nothing_ran_a_take_back_takes_down() {
    let fleet = Fleet::new();
    fleet.make("west.sick");
    fleet.run(&[]).fails();
    fleet.log();
    let back = fleet.run(&["--take-back", "--yes"]).ok();
    assert_eq!(fleet.log(), ["west down", "east down"]);
    assert!(fleet.runs("east").is_none() && fleet.runs("west").is_none());
    assert_eq!(states(&back), ["east|fake/east|taken back", "west|first|taken back"], "{back}");
    assert_eq!(fleet.get(), b"one", "the values have no before");
}

#[test]
fn nothing_is_changed_where_something_is_not_ready() {
    let fleet = Fleet::new();
    for (args, code, part) in [
        (&["--region", "mars"][..], 5, "declared are east, west"),
        (&["--primary", "mars"], 5, "mars was never declared"),
        (&["--host", "west=unix:///fake/east"], 2, "are on the same Docker"),
        (&["--host", "west=nowhere"], 2, "there is no docker context nowhere"),
        (&["--health-url", "ftp://x"], 2, "health URL"),
        (&["--take-back"], 1, "there was no rollout yet"),
        (&["--status"], 1, "there was no rollout yet"),
    ] {
        let refused = fleet.run(args).fails();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.stderr.contains(part), "{part} is not in {refused}");
    }
    fleet.make("west.away");
    let away = fleet.run(&[]).fails();
    assert_eq!(away.code(), 3, "{away}");
    assert!(away.stderr.contains("west (unix:///fake/west): Cannot connect"), "{away}");
    fleet.unmake("west.away");
    fleet.make("one-daemon");
    let same = fleet.run(&[]).fails();
    assert_eq!(same.code(), 2, "{same}");
    for part in ["east@fake_east", "west@first", "same Docker", "project p"] {
        assert!(same.stderr.contains(part), "{part} is not in {same}");
    }
    fleet.make("no-id");
    fleet.run(&["--dry-run"]).ok();
    fleet.unmake("one-daemon");
    fleet.server.cli(&["rm", "GREETING"]).ok();
    let lacking = fleet.run(&[]).fails();
    assert_eq!(lacking.code(), 1, "{lacking}");
    assert!(
        lacking.stderr.contains("web in east: GREETING") && lacking.stderr.contains("web in west: GREETING"),
        "{lacking}"
    );
    fleet.server.cli(&["region", "add", "north"]).ok();
    let forgotten = fleet.run(&[]).fails();
    assert_eq!(forgotten.code(), 2, "{forgotten}");
    assert!(forgotten.stderr.contains("on which Docker north runs"), "{forgotten}");
    assert_eq!(fleet.log(), Vec::<String>::new());
}

#[test]
fn one_at_a_time_and_a_stopped_or_killed_one_can_be_gone_on_with() {
    let fleet = Fleet::new();
    fleet.make("slow");
    let first = fleet.begin(&[]);
    fleet.wait_for("east up");
    let second = fleet.run(&[]).fails();
    assert_eq!(second.code(), 6, "{second}");
    assert!(second.stderr.contains(&format!("process {}", first.id())), "{second}");

    signal(&first, Signal::INT);
    thread::sleep(Duration::from_millis(200));
    fleet.unmake("slow");
    let ended = first.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping when this step is done") && said.contains("--resume"), "{said}");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("waiting"), "what stands where is said");
    assert_eq!(fleet.log(), ["east up"], "the step came to its end, and no other began");

    fleet.make("slow");
    let mut third = fleet.begin(&["--resume"]);
    fleet.wait_for("east up");
    signal(&third, Signal::KILL);
    drop(third.wait());
    fleet.unmake("slow");
    let status = fleet.run(&["--status"]).ok();
    assert_eq!(states(&status), ["east|fake/east|stopped at up", "west|first|waiting"], "{status}");
    assert_eq!(states(&fleet.run(&["--resume"]).ok()), ["east|fake/east|done", "west|first|done"]);

    // The state is for its owner alone, and holds no value.
    let state = fleet.server.project().join("state/chandlery/stacks/p.production.rollout");
    let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("rollout.json"))), (0o700, 0o600));
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
    kill_process(pid, signal).expect("an own child can be signalled");
}
