#!/usr/bin/env python3
"""Writes format-v1.json from docs/FORMAT.md with Python's `cryptography`, so that the vectors and the server's code
have nothing in common but that page. The vectors are frozen: a change of this file's output is a change of the format.
"""

import base64, hashlib, hmac, json, os, zlib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def field(data): return len(data).to_bytes(4, "big") + data
def text(t): return field(t.encode())
def number(n): return field((n % 2**64).to_bytes(8, "big"))
def texts(items): return number(len(items)) + b"".join(text(t) for t in items)
def optional(n): return number(0) if n is None else number(1) + number(n)
def mac(key, data): return hmac.new(key, data, hashlib.sha256).digest()
def filled(start, length): return bytes((start + i) % 256 for i in range(length))
def hkdf(info, length): return HKDF(hashes.SHA256(), length, None, info).derive(ROOT)


ROOT = filled(0, 32)
WRAPPING, ROOT_ID = hkdf(b"chandlery/v1/wrap", 32), hkdf(b"chandlery/v1/root-key-id", 8)

keys = []
for at, purpose in enumerate(["data", "manifest", "token", "audit", "fingerprint", "data"]):
    key, nonce, id = filled(32 * (at + 1), 32), filled(200 + at, 12), at + 1
    a = text("chandlery/v1/key") + number(1) + text(purpose) + number(id) + field(ROOT_ID)
    wrapped = b"\x01" + ROOT_ID + nonce + AESGCM(WRAPPING).encrypt(nonce, key, a)
    keys.append({"id": id, "purpose": purpose, "key": key.hex(), "associated": a.hex(), "wrapped": wrapped.hex()})
by_id = {k["id"]: bytes.fromhex(k["key"]) for k in keys}

records = []
def record(layer, name, grant, version, state, created, author, plaintext, key, previous, attributes='{"secret":true}'):
    r = {"stack": "simpleapp", "environment": "production", "layer": layer, "name": name, "grant": grant, "version": version,
         "state": state, "attributes": attributes, "created": created, "author": author, "previous": previous}
    a = (text("chandlery/v1/record") + number(1) + number(key) + text(r["stack"]) + text(r["environment"]) + text(layer)
         + text(name) + text(grant) + number(version) + text(state) + text(attributes) + number(created) + text(author)
         + field(bytes.fromhex(previous)))
    nonce = filled(100 + len(records), 12)
    sealed = b"\x01" + key.to_bytes(4, "big") + nonce + AESGCM(by_id[key]).encrypt(nonce, plaintext, a)
    records.append(r | {"key": key, "nonce": nonce.hex(), "plaintext": plaintext.hex(), "associated": a.hex(),
                        "sealed": sealed.hex()})
    return sealed[-16:].hex()

first = record("base", "MYSQL_PASSWORD", "all", 1, "live", 1767225600000, "tok_00000000000000a1", b"hunter2\n", 1, "")
second = record("base", "MYSQL_PASSWORD", "app,db", 2, "live", 1767225600001, "tok_00000000000000a1", bytes(range(256)), 6, first)
record("base", "tls-key.pem", "all", 1, "live", 0, "tok_00000000000000a1", b"", 6, "",
       '{"secret":true,"template":false,"deliver":{"file":{"mode":"0400"}},"size":0}')
record("eu-west-1", "MYSQL_PASSWORD", "all", 1, "removed", -1, "server", b"", 6, "")
record("base", "tls-key.pem", "all", 2, "deleted", 1767225600002, "tok_00000000000000a1", b"", 6, records[2]["sealed"][-32:])

manifests = []
def manifest(layer, revision, current):
    rows = sorted(({k: records[at][k] for k in ("name", "grant", "version", "state")} | {"tag": records[at]["sealed"][-32:]}
                   for at in current), key=lambda row: (row["name"], row["grant"]))
    data = (text("chandlery/v1/manifest") + text("simpleapp") + text("production") + text(layer) + number(revision)
            + number(len(rows)))
    for row in rows:
        data += (text(row["name"]) + text(row["grant"]) + number(row["version"]) + text(row["state"])
                 + field(bytes.fromhex(row["tag"])))
    manifests.append({"stack": "simpleapp", "environment": "production", "layer": layer, "revision": revision, "rows": rows,
                      "mac": mac(by_id[2], data).hex()})
manifest("base", 42, [4, 1, 0])
manifest("eu-west-1", 41, [3])
manifest("us-east-1", 1, [])

def destroyed(at):
    r = records[at]
    tag = r["sealed"][-32:]
    data = (text("chandlery/v1/destroyed") + text(r["stack"]) + text(r["environment"]) + text(r["layer"]) + text(r["name"])
            + text(r["grant"]) + number(r["version"]) + text(r["state"]) + text(r["attributes"]) + number(r["created"])
            + text(r["author"]) + field(bytes.fromhex(r["previous"])) + field(bytes.fromhex(tag)))
    return {"record": at, "sealed": "02" + mac(by_id[2], data).hex() + tag}

stack = {"name": "simpleapp", "services": ["app", "cache", "db"]}
stack["mac"] = mac(by_id[2], text("chandlery/v1/stack") + text(stack["name"]) + texts(stack["services"])).hex()
environment = {"stack": "simpleapp", "name": "production", "regions": ["eu-west-1", "us-east-1"]}
environment["mac"] = mac(by_id[2], text("chandlery/v1/environment") + text(environment["stack"])
                         + text(environment["name"]) + texts(environment["regions"])).hex()

secret = filled(7, 32)
token_text = "chd_" + base64.urlsafe_b64encode(secret + zlib.crc32(secret).to_bytes(4, "big")).decode()
tokens = []
for expires, uses_left, revoked in [(None, None, None), (1767229200000, 3, 1767225600005)]:
    t = {"id": f"tok_000000000000000{len(tokens)}", "hash": hashlib.sha256(token_text.encode()).hexdigest(),
         "description": "the pipeline", "verbs": '["read-bundle"]', "scopes": '[{"stack":"simpleapp"}]',
         "created": 1767225600000, "created_by": "server", "expires": expires, "uses_left": uses_left, "revoked": revoked}
    data = (text("chandlery/v1/token") + text(t["id"]) + field(bytes.fromhex(t["hash"])) + text(t["description"])
            + text(t["verbs"]) + text(t["scopes"]) + number(t["created"]) + text(t["created_by"]) + optional(expires)
            + optional(uses_left) + optional(revoked))
    tokens.append(t | {"mac": mac(by_id[3], data).hex()})
# Bound to a node: another label, and the node at the end.
t = tokens[1] | {"id": "tok_0000000000000002", "node": "vm-1"}
data = (text("chandlery/v1/node-token") + text(t["id"]) + field(bytes.fromhex(t["hash"])) + text(t["description"])
        + text(t["verbs"]) + text(t["scopes"]) + number(t["created"]) + text(t["created_by"]) + optional(t["expires"])
        + optional(t["uses_left"]) + optional(t["revoked"]) + text(t["node"]))
tokens.append(t | {"mac": mac(by_id[3], data).hex()})

nodes = []
for name, region, revision in [("DESKTOP-4F", "us-east-1", 9), ("vm-1", "eu-west-1", 43)]:
    n = {"name": name, "region": region, "revision": revision, "created": 1767225600000, "author": "tok_0000000000000000"}
    data = (text("chandlery/v1/node") + text(n["name"]) + text(n["region"]) + number(n["revision"]) + number(n["created"])
            + text(n["author"]))
    nodes.append(n | {"mac": mac(by_id[2], data).hex()})
all_nodes = text("chandlery/v1/nodes") + number(len(nodes)) + b"".join(field(bytes.fromhex(n["mac"])) for n in nodes)

outside = {"address": "aws:eu-west-1:app/production", "revision": 43, "value": b"hunter2".hex()}
outside["name"] = mac(by_id[5], text("chandlery/v1/outside-name") + text(outside["address"])).hex()
outside["stored"] = (outside["revision"].to_bytes(8, "big") + mac(by_id[5], text("chandlery/v1/outside")
                     + text(outside["address"]) + number(outside["revision"]) + field(b"hunter2"))).hex()

print_to = os.path.join(os.path.dirname(os.path.abspath(__file__)), "format-v1.json")
with open(print_to, "w") as out:
    json.dump({
        "note": "Made by format-v1.py from docs/FORMAT.md. Bytes are hex. Frozen: what is read here is readable for ever.",
        "root_key": {"file": f"chandlery-root-key-v1:{base64.b64encode(ROOT).decode()}\n", "key": ROOT.hex(),
                     "id": ROOT_ID.hex(), "wrapping_key": WRAPPING.hex()},
        "keys": keys, "records": records, "destroyed": [destroyed(0), destroyed(1)], "manifests": manifests, "stack": stack, "environment": environment,
        "token": {"secret": secret.hex(), "text": token_text, "hash": hashlib.sha256(token_text.encode()).hexdigest()},
        "tokens": tokens, "nodes": nodes, "nodes_mac": mac(by_id[2], all_nodes).hex(),
        "fingerprint": {"value": b"hunter2".hex(), "fingerprint":
                        mac(by_id[5], text("chandlery/v1/fingerprint") + field(b"hunter2"))[:8].hex(),
                        "shown": mac(by_id[5], text("chandlery/v1/shown-fingerprint") + text("simpleapp")
                                     + text("production") + field(b"hunter2")).hex()},
        "outside": outside,
    }, out, indent=1)
    out.write("\n")
