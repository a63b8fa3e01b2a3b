"""start.c as the benchmarks of starts use it."""

import os
import select
import struct
import subprocess
import sys

from support import TARGET

PROGRAM_BUILD = "cargo build -p chandlery-entrypoint --profile entrypoint --target x86_64-unknown-linux-musl"
PROGRAM = os.path.join(TARGET, "x86_64-unknown-linux-musl", "entrypoint", "chandlery-entrypoint")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.c")


def build(directory):
    """Compiles start.c; says where the program is."""
    program = os.path.join(directory, "start")
    subprocess.run(["musl-gcc", "-static", "-O2", "-s", "-o", program, SOURCE], check=True)
    return program


class Starter:
    """start.c, running: starts a program and says how long its app took to come up."""

    def __init__(self, directory):
        self.app = build(directory)
        self.open([self.app])

    def open(self, command):
        """`command` is start.c's program, and whatever runs it."""
        self.process = subprocess.Popen([*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, way, look=False):
        words = [word.encode() + b"\0" for word in [*way.command, self.app, *way.environment]]
        text = b"".join(words)
        self.process.stdin.write(struct.pack("=4I", look, len(way.command) + 1, len(way.environment), len(text)) + text)
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], 20)[0]:
            sys.exit(f"{way.name}: no app came up within 20 s")
        took, status, *memory = (int(word) for word in self.process.stdout.readline().split())
        if status != 0:
            sys.exit(f"{way.name}: " + ("it was too late" if status < 0 else f"it ended with {status}"))
        return took / 1e6, memory

    def stop(self):
        self.process.kill()
        self.process.wait()
