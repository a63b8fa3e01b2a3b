"""Many entrypoints at the same moment, each with a tiny app behind it that says when it runs: `herd` and `references`."""

import os
import shutil
import subprocess
import threading

from support import TARGET, quantile

PROGRAM = os.path.join(TARGET, "x86_64-unknown-linux-musl", "entrypoint", "chandlery-entrypoint")
BUILD = "cargo build -p chandlery-entrypoint --profile entrypoint --target x86_64-unknown-linux-musl"
HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60


def compiled(folder):
    """The parent and the app, herd.c."""
    app = os.path.join(folder, "herd")
    subprocess.run(["musl-gcc", "-static", "-O2", "-s", "-o", app, os.path.join(HERE, "herd.c")], check=True)
    return app


def credentials(server, folder, environment):
    """What each entrypoint is told, for the service `app` of the stack `bench`."""
    token = server.call("POST", "/v1/tokens", {
        "description": "bench", "verbs": ["read-bundle"], "scopes": [{"stack": "bench", "environment": environment, "service": "app"}],
    })["token"]
    path = os.path.join(folder, f"token-{environment}")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.write(token)
    return {
        "PATH": "/usr/bin:/bin", "CHANDLERY_TOKEN_FILE": path, "CHANDLERY_CACERT": server.local["ca_file"],
        "CHANDLERY_STACK": "bench", "CHANDLERY_ENVIRONMENT": environment, "CHANDLERY_SERVICE": "app",
    }


def times_of(times):
    """Of those that arrived, in milliseconds."""
    return f"first {times[0]:>7.1f} ms  p50 {quantile(times, 0.5):>7.1f}  p99 {quantile(times, 0.99):>7.1f}"


class Herd:
    def __init__(self, folder, app, environment, options):
        self.folder, self.app, self.environment, self.options = folder, app, environment, options

    def run(self, address, more=(), when_going=lambda: None, program=(PROGRAM, "--")):
        """Lets them all go, and returns the milliseconds of those that arrived, and the codes of the others."""
        secrets = os.path.join(self.folder, "secrets")
        shutil.rmtree(secrets, ignore_errors=True)
        os.mkdir(secrets)
        environment = self.environment | {"CHANDLERY_ADDR": address} | dict(more)
        command = [self.app, "start", str(self.options.count), str(PATIENCE), secrets, *program]
        with open(os.path.join(self.folder, "stderr"), "w") as told:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=told, text=True)
            assert process.stdout.readline() == "go\n"
            meanwhile = threading.Thread(target=when_going)
            meanwhile.start()
            lines = [line.split() for line in process.stdout]
            process.wait()
            meanwhile.join()
        ends = [(int(took) / 1000, int(code)) for took, code in lines]
        return sorted(took for took, _ in ends if took >= 0), [code for took, code in ends if took < 0 or code != 0]

    def arrived(self):
        """How many apps have what they need; only their files can be looked at from outside."""
        secrets = os.path.join(self.folder, "secrets")
        return sum(1 for entry in os.scandir(secrets))

    def complaint(self):
        with open(os.path.join(self.folder, "stderr")) as told:
            return "".join(told.readlines()[:4])
