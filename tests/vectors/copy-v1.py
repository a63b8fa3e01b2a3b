#!/usr/bin/env python3
"""Writes copy-v1.json from docs/FORMAT.md with Python's `cryptography`, so that the vectors and the entrypoint's code
have nothing in common but that page. The vectors are frozen: a change of this file's output is a change of the format.
"""

import base64, hashlib, json, os, zlib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def field(data): return len(data).to_bytes(4, "big") + data
def text(t): return field(t.encode())
def number(n): return field(n.to_bytes(8, "big"))
def texts(items): return number(len(items)) + b"".join(text(t) for t in items)
def filled(start, length): return bytes((start + i) % 256 for i in range(length))
def transcript(label, place):
    stack, environment, region, service = place
    return (text(label) + number(1) + text(stack) + text(environment)
            + texts([region] if region else []) + texts([service] if service else []))


secret = filled(7, 32)
token = "chd_" + base64.urlsafe_b64encode(secret + zlib.crc32(secret).to_bytes(4, "big")).decode()
key = HKDF(hashes.SHA256(), 32, None, b"chandlery/v1/copy-key").derive(token.encode())

copies = []
for at, place in enumerate([("simpleapp", "production", "eu-west-1", "app"), ("simpleapp", "production", None, "app"),
                            ("simpleapp", "production", "app", None), ("s", "e", None, None)]):
    stack, environment, region, service = place
    body = {"stack": stack, "environment": environment, "region": region, "service": service, "revision": 42 + at,
            "variables": [{"name": "DB_PASSWORD", "value": "hunter2\n", "secret": True,
                           "origin": {"layer": "base", "version": 1}}], "files": []}
    body = json.dumps({name: value for name, value in body.items() if value is not None}, separators=(",", ":"))
    nonce, fetched, associated = filled(100 + at, 12), 1767225600000 + at, transcript("chandlery/v1/copy", place)
    sealed = b"\x01" + nonce + AESGCM(key).encrypt(nonce, fetched.to_bytes(8, "big") + body.encode(), associated)
    names = {"stack": stack, "environment": environment, "region": region, "service": service}
    copies.append({name: value for name, value in names.items() if value is not None} | {
        "file_name": hashlib.sha256(transcript("chandlery/v1/copy-name", place)).hexdigest()[:32], "token": token,
        "key": key.hex(), "associated": associated.hex(), "nonce": nonce.hex(), "fetched": fetched, "body": body,
        "sealed": sealed.hex()})

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "copy-v1.json"), "w") as out:
    json.dump({"note": "Made by copy-v1.py from docs/FORMAT.md. Bytes are hex. Frozen: what is read here is readable for ever.",
               "copies": copies}, out, indent=1)
    out.write("\n")
