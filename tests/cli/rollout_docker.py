#!/usr/bin/env python3
"""Stands for docker with two Docker hosts behind it, told apart by DOCKER_HOST. FAKE is the folder in which they live; a file
HOST.away there takes one off the network, HOST.sick makes what it starts unhealthy, and while there is a file `slow`, `up` waits.
`one-daemon` makes them one Docker with two addresses, which `no-id` keeps to itself."""

import hashlib
import json
import os
import re
import sys
import time

fake, words = os.environ["FAKE"], sys.argv[1:]
host = os.path.basename(os.environ.get("DOCKER_HOST", ""))
store = os.path.join(fake, host + ".json")


def there(name):
    return os.path.exists(os.path.join(fake, name))


def log(text):
    with open(os.path.join(fake, "log"), "a") as file:
        file.write(f"{host} {text}\n")


def containers():
    return json.load(open(store)) if os.path.exists(store) else []


def digest(text):
    return text if text.startswith("sha256:") else "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def up(files):
    log("up")
    while there("slow"):
        time.sleep(0.02)
    if "before" in files[0] and not os.path.exists(os.path.join(words[words.index("--project-directory") + 1], "docker-compose.yml")):
        sys.exit("that is not the project's directory")
    text = "".join(open(file).read() for file in files)
    images = re.findall(r'image: "?([^"\n]+)', text)
    labels = re.findall(r'chandlery.supplies: "(\w+)"', text)
    image = digest(images[-1])
    health = {"Status": "unhealthy" if there(host + ".sick") else "healthy"}
    label = {"com.docker.compose.service": "web", "com.docker.compose.project": "p"}
    if labels:
        label["chandlery.supplies"] = labels[-1]
    found = {"Id": digest(image + str(labels[-1:]))[7:], "Name": "/p_web_1", "Image": image, "RestartCount": 0,
             "State": {"Status": "running", "ExitCode": 0, "Health": health}, "Config": {"Labels": label}}
    json.dump([found], open(store, "w"))


if words[:2] == ["compose", "version"]:
    print("2.30.1")
elif there(host + ".away"):
    sys.exit(f"Cannot connect to the Docker daemon at {os.environ['DOCKER_HOST']}")
elif words[0] == "version":
    print("amd64")
elif words[0] == "info":
    print("" if there("no-id") else "THE:ONE vm" if there("one-daemon") else f"{host} vm")
elif words[:2] == ["image", "inspect"]:
    if there("no-images"):
        sys.exit(1)
    print('{"Entrypoint":["/ep"],"Cmd":["run"],"User":"","Healthcheck":null}')
elif words[:2] == ["volume", "inspect"]:
    print("/volumes/" + words[-1])
elif words[0] == "create":
    print("freight")
elif words[0] == "cp":
    log("cp %d" % (len(sys.stdin.buffer.read()) > 1024))
elif words[0] == "ps":
    print("\n".join(found["Id"] for found in containers()))
elif words[0] == "inspect":
    print(json.dumps([found for found in containers() if found["Id"] in words]))
elif words[0] == "compose" and "up" in words:
    up([words[at + 1] for at, word in enumerate(words) if word == "-f"])
elif words[0] == "compose" and "down" in words:
    log("down")
    json.dump([], open(store, "w"))
