"""What the benchmarks here share: a quiet moment, a server of their own, and figures in one form."""

import base64
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
RELEASE = os.environ.get("CHANDLERY_BIN_DIR", os.path.join(TARGET, "release"))
TICK = os.sysconf("SC_CLK_TCK")


def end_on_signals():
    """A benchmark that is told to end takes its children with it: every `finally` runs."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("ended by a signal"))


def need(path, command):
    if not os.path.exists(path):
        sys.exit(f"{path} is not there; build it:\n    {command}")
    return path


def quiet(most=1.5, minutes=5):
    """Waits for others to be done with the machine, and says how far they were."""
    deadline = time.monotonic() + minutes * 60
    while os.getloadavg()[0] > most and time.monotonic() < deadline:
        time.sleep(5)
    say_load("before")


def say_load(when):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"load {when}: {load} on {os.cpu_count()} CPUs ({model}), kernel {os.uname().release}", flush=True)


class Others:
    """How much of the machine somebody else took since this was made, as a part of all its CPUs, the host's theft included.

    What children take counts when they have ended; of those that go on, name the process ids.
    """

    def __init__(self, *pids):
        self.pids = pids
        self.then = self.now()

    def now(self):
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        busy = (sum(fields) - fields[3] - fields[4]) / TICK
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        own += sum(cpu(pid, with_children=True) for pid in self.pids)
        return time.monotonic(), busy - own

    def share(self):
        (then, before), (now, after) = self.then, self.now()
        return max(0.0, (after - before) / (now - then) / os.cpu_count())


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "server", "entrypoint", "wire", "Cargo.lock")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def quantile(values, part):
    """The nearest rank: a value that was measured, and none in between."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def cpu(pid, with_children=False):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11 : 15 if with_children else 13]) / TICK


class Server:
    """A server with a data directory of its own; `with` it, so that it ends with the benchmark."""

    def __init__(self, directory, more=(), environment=(), release=RELEASE):
        self.directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)
        program = need(os.path.join(release, "chandlery-server"), "cargo build --release -p chandlery-server -p chandlery")
        arguments = ["--data-dir", directory, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--log-level", "error", *more]
        own = {name: value for name, value in os.environ.items() if not name.startswith("CHANDLERY_")}
        self.process = subprocess.Popen([program, *arguments], env=own | dict(environment))
        try:
            self.local = json.loads(self.made("local.json"))
            self.token = self.made("admin-token").strip()
        except BaseException:
            self.stop()
            raise

    def made(self, name):
        path = os.path.join(self.directory, name)
        for _ in range(200):
            if os.path.exists(path):
                with open(path) as file:
                    return file.read()
            if self.process.poll() is not None:
                sys.exit(f"chandlery-server ended with {self.process.returncode}")
            time.sleep(0.05)
        sys.exit(f"{path} did not appear")

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.local["http_address"] + path, data=data, method=method)
        request.add_header("Authorization", "Bearer " + self.token)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read() or b"null")

    def fill(self, environment, count, *more):
        """Declares the environment, and gives it variables of 64 characters; `more` are entries beside them."""
        self.call("PUT", "/v1/stacks/bench", {"services": ["app"]})
        self.call("PUT", f"/v1/stacks/bench/environments/{environment}", {})
        entries = [
            {"name": f"VARIABLE_{n}", "entry": {"value": base64.b64encode(os.urandom(48)).decode()}} for n in range(count)
        ]
        self.call("POST", f"/v1/entries/bench/{environment}", {"entries": [*entries, *more]})

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
