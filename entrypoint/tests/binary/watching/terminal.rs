//! A terminal in front of the app.

use std::process::Command;

use crate::live::Live;
use crate::support::{Start, bundle};

/// Runs the program on a terminal of its own, once as the leader of its session, as in `docker run -it`, and once as a job
/// of an interactive shell; types at it, and says what happened.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys, time

APP = r"""
import os, signal, sys
count = 0
def say(text):
    os.write(1, (text + "\\n").encode())
def interrupted(number, frame):
    global count
    count += 1
    say(f"interrupted {count}")
signal.signal(signal.SIGINT, interrupted)
say(f"foreground {os.tcgetpgrp(0) == os.getpgrp()}")
for line in sys.stdin:
    say(f"read {line.strip()}")
    if line.strip() == "end":
        sys.exit(7)
"""

def start(argv):
    child, terminal = pty.fork()
    if child == 0:
        os.execv(argv[0], argv)
    return child, terminal

def until(terminal, text, seen=b""):
    end = time.monotonic() + 20
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        if not ready:
            sys.exit(f"no {text!r} in {seen!r}")
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            sys.exit(f"no {text!r} before the end in {seen!r}")
    return seen

program = [sys.argv[1], "--watch", "--", "python3", "-c", APP]

child, terminal = start(program)
until(terminal, "foreground True")
os.write(terminal, b"\x03")
until(terminal, "interrupted 1")
time.sleep(0.3)
os.write(terminal, b"hello\n")
seen = until(terminal, "read hello")
assert b"interrupted 2" not in seen, seen
os.write(terminal, b"end\n")
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
print("leader")

child, terminal = start(["/bin/bash", "--norc", "--noprofile", "-i"])
os.write(terminal, b"PS1='ready> '\n")
until(terminal, "\nready> ")
app = "import sys\nfor line in sys.stdin:\n  print('read', line.strip(), flush=True)\n  if line == 'end\\n': sys.exit(7)\n"
open(os.environ["SCRIPT"], "w").write(app)
os.write(terminal, (sys.argv[1] + " --watch -- python3 $SCRIPT\n").encode())
time.sleep(1)
os.write(terminal, b"one\n")
until(terminal, "read one")
os.write(terminal, b"\x1a")
until(terminal, "Stopped")
os.write(terminal, b"echo $((20 + 3))\n")
until(terminal, "\n23")
os.write(terminal, b"fg\n")
time.sleep(0.5)
os.write(terminal, b"two\n")
until(terminal, "read two")
os.write(terminal, b"end\n")
time.sleep(0.5)
os.write(terminal, b"echo code $?\n")
until(terminal, "code 7")
os.write(terminal, b"exit\n")
os.waitpid(child, 0)
print("job")
"#;

#[test]
fn control_c_arrives_once_and_jobs_are_stopped_and_continued() {
    let live = Live::new(bundle());
    let start = Start::at(&live.address);
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL]).arg(start.command.get_program());
    command.env_clear().envs(start.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("SCRIPT", start.scratch.path().join("script")).env("TERM", "dumb");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "leader\njob\n", "{}", String::from_utf8_lossy(&output.stderr));
}
