#!/usr/bin/env python3
"""Checks a Consilium proof file offline: verify.py GENESIS FILE [LOG]. Exit status 0 proven, 1 refused. With LOG, a
folder of `consilium ledger export`, the transaction must also stand in the log that the members have cosigned.

An independent second implementation of `consilium verify`: it shares no code with it, only the formats that
docs/proofs.md describes. It needs hashlib and the `cryptography` package for Ed25519 (RFC 8032).
"""
import base64, hashlib, json, pathlib, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

class Refused(Exception):
    pass

def need(holds, why):
    if not holds:
        raise Refused(why)

# --- bytes: integers big-endian, strings and lists with a 32-bit count before them
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
num = lambda n, octets: n.to_bytes(octets, "big")
text = lambda s: num(len(s.encode()), 4) + s.encode()
items = lambda encoded: num(len(encoded), 4) + b"".join(encoded)
tagged = lambda tag, body: sha(num(len(tag), 1), tag.encode(), body)
raw = bytes.fromhex
purpose = lambda name, channel, body: text("consilium/v1/" + name) + text(channel) + body
SERVICES = "consensus validate ingest audit governance cosign".split()

def member(m):
    keys = b"".join(raw(m[s]) for s in SERVICES)
    return text(m["organisation"]) + keys + num(len(raw(m["authority"])), 4) + raw(m["authority"])

def header(h):
    return (num(h["version"], 2) + text(h["channel"]) + num(h["height"], 8) + raw(h["previous"]) + text(h["proposer"])
            + num(h["time"], 8) + raw(h["tx_root"]) + raw(h["state_root"]) + num(h["log_size"], 8)
            + raw(h["log_root"]) + raw(h["next_members"]))

def genesis_digest(g):
    p = g["params"]
    params = (num(p["committee"], 4) + num(p["epoch_blocks"], 8) + num(p["attestation_blocks"], 8)
              + num(p["max_block_bytes"], 4) + num(p["staleness_ms"], 8) + num(p["heartbeat_ms"], 8) + num(p["drift_ms"], 8))
    return tagged("consilium/v1/genesis", text(g["channel"]) + num(g["time"], 8) + items([member(m) for m in g["members"]])
                  + items([raw(s) for s in g["schemas"]]) + params)

class Reader:
    def __init__(self, data):
        self.data = data
    def take(self, n):
        need(len(self.data) >= n, "transaction: it ends too early")
        head, self.data = self.data[:n], self.data[n:]
        return head
    def num(self, octets):
        return int.from_bytes(self.take(octets), "big")
    def text(self):
        return self.take(self.num(4)).decode()

    def place(self):
        """Index and number of a message of a group, and as many hashes as they demand."""
        index, size = self.num(2), self.num(2)
        need(0 < size <= 1024 and index < size, "signature: no place in its group")
        at, last, path = index, size - 1, []
        while last:
            path.append(self.take(32).hex())
            while at == last and not at & 1:
                at, last = at >> 1, last >> 1
            at, last = at >> 1, last >> 1
        return {"index": index, "size": size, "path": path}

def signed(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False

def quorum(n):
    return n * 2 // 3 + 1

# --- Merkle trees of RFC 6962; walking a path up is RFC 9162, 2.1.3.2
leaf_hash = lambda data: sha(b"\0", data)
node_hash = lambda left, right: sha(b"\1", left, right)

def root_over(leaf, place):
    index, last = place["index"], place["size"] - 1
    if not 0 <= index <= last:
        return None
    for sibling in map(raw, place["path"]):
        if last == 0:
            return None
        if index & 1 or index == last:
            leaf = node_hash(sibling, leaf)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            leaf = node_hash(leaf, sibling)
        index, last = index >> 1, last >> 1
    return leaf if last == 0 else None

def included(leaf, place, root):
    return root_over(leaf, place) == root

def covered(name, channel, message, place):
    """The bytes that are signed where the message stands among others that were signed together."""
    root = root_over(leaf_hash(message), place)
    need(root is not None, "signature: no place in its group")
    return purpose(name, channel, num(place["size"], 2) + root)

# --- blocks: certificates, and the members from genesis on
def certified(channel, members, h, c):
    block = tagged("consilium/v1/block", header(h))
    need(h["channel"] == channel, "block: it is of another channel")
    need(c["height"] == h["height"] and raw(c["block"]) == block, "certificate: it is of another block")
    places = [s["validator"] for s in c["signatures"]]
    need(all(a < b for a, b in zip(places, places[1:])), "certificate: a signer stands there twice")
    need(all(0 <= p < len(members) for p in places), "certificate: an unknown signer")
    need(len(places) >= quorum(len(members)), "certificate: too few signers")
    for s in c["signatures"]:
        vote = num(c["height"], 8) + num(c["round"], 4) + b"\1" + block + num(s["validator"], 2)
        key = raw(members[s["validator"]]["consensus"])
        need(signed(key, purpose("precommit", channel, vote), raw(s["signature"])), "certificate: a bad signature")

def members_at(genesis, proof):
    """The members who certified the proof's header, which is checked."""
    channel, members, since = genesis["channel"], genesis["members"], 0
    for change in proof["validator_changes"]:
        h = change["header"]
        digest = tagged("consilium/v1/members", items([member(m) for m in change["members"]]))
        need(raw(h["next_members"]) == digest and h["height"] > since, "members: no header announces them")
        certified(channel, members, h, change["certificate"])
        members, since = change["members"], h["height"]
    need(proof["header"]["height"] > since, "members: they come after the block")
    certified(channel, members, proof["header"], proof["certificate"])
    return members

def transaction(genesis, proof, kind, service):
    """The body's reader, the sender and the members of its block."""
    members, tx = members_at(genesis, proof), raw(proof["tx"])
    need(included(leaf_hash(tx), proof["inclusion"], raw(proof["header"]["tx_root"])), "block: the transaction is not in it")
    body = Reader(tx)
    place, signature = body.place(), body.take(64)
    message = covered("transaction", genesis["channel"], body.data, place)
    sender = body.text()
    need(body.num(1) == kind, "transaction: it is of another kind")
    keys = [raw(m[service]) for m in members if m["organisation"] == sender]
    need(keys and signed(keys[0], message, signature), "transaction: bad signature")
    return body, sender, members

# --- the kinds of files
def record_digest(r):
    return tagged("consilium/v1/record", text(r["resource_type"]) + num(r["leaf_count"], 4) + raw(r["root"]))

def receipt(genesis, r):
    body, _, members = transaction(genesis, r["transaction"], 1, "ingest")
    start = body.data
    custodian, root, records, schema = body.text(), body.take(32), body.num(4), body.take(32)
    body.take(16)
    statement = start[: len(start) - len(body.data)]
    keys = {m["organisation"]: raw(m["validate"]) for m in members}
    attesters = []
    for _ in range(body.num(4)):
        attesters.append(body.text())
        need(attesters[-1] in keys, "attestation: by a stranger")
        message = covered("attestation", genesis["channel"], statement, body.place())
        need(signed(keys[attesters[-1]], message, body.take(64)), "attestation: bad signature")
    need(attesters == sorted(set(attesters)), "attestation: one stands there twice")
    size = genesis["params"]["committee"] or len(members)
    need(len(attesters) >= quorum(min(size, len(members))), "attestation: too few")
    need(r["batch"]["size"] == records and included(record_digest(r["record"]), r["batch"], root), "record: it is not in the batch")
    seen, kinds = set(), {"string": 1, "number": 2, "boolean": 3, "null": 4}
    for o in r["openings"]:
        value = tagged("consilium/v1/leaf", raw(o["salt"]) + o["token"].encode())
        leaf = leaf_hash(text(o["path"]) + num(kinds[o["kind"]], 1) + value)
        need(o["inclusion"]["size"] == r["record"]["leaf_count"] and o["inclusion"]["index"] not in seen
             and included(leaf, o["inclusion"], raw(r["record"]["root"])), "opening: it is not in the record")
        seen.add(o["inclusion"]["index"])
    return f"{r['record']['resource_type']} of {custodian}, {len(seen)} leaves open, attested by {len(attesters)}"

def audit(genesis, p):
    body, sender, _ = transaction(genesis, p["transaction"], 3, "audit")
    size, root = body.num(8), body.take(32)
    need(sender == p["organisation"] and p["inclusion"]["size"] == size
         and included(leaf_hash(p["event"].encode()), p["inclusion"], root), "event: it is not in the anchored log")
    return f"event {p['inclusion']['index']} of {sender}"

def sample(genesis, p):
    body, sender, _ = transaction(genesis, p["transaction"], 11, "ingest")
    body.text(), body.take(36 + 32 + 16)
    body.take(32 * body.num(4))
    first, count, root, s = body.num(8), body.num(4), body.take(32), p["sample"]
    value = tagged("consilium/v1/sample", raw(s["salt"]) + num(s["time"], 8) + text(s["value"]))
    need(p["inclusion"]["size"] == count and first + p["inclusion"]["index"] == s["index"]
         and included(leaf_hash(num(s["index"], 8) + value), p["inclusion"], root), "sample: it is not in the batch")
    return f"sample {s['index']} of a series of {sender}: {s['value']}"

def state(genesis, p):
    members_at(genesis, p)
    # The Jellyfish Merkle tree's proof (crate jmt 0.12, borsh: little-endian counts): leaf, then siblings bottom up.
    key, value, proof = sha(raw(p["key"])), p["value"] and sha(raw(p["value"])), Reader(raw(p["proof"]))
    jmt_leaf = lambda k, v: sha(b"JMT::LeafNode", k, v)
    jmt_node = lambda left, right: sha(b"JMT::IntrnalNode", left, right)
    empty, found = b"SPARSE_MERKLE_PLACEHOLDER_HASH__", None
    tag = proof.num(1)
    need(tag <= 1, "state: the proof is damaged")
    if tag:
        found = (proof.take(32), proof.take(32))
    count = int.from_bytes(proof.take(4), "little")
    need(count <= 256, "state: the proof is too long")
    siblings = []
    for _ in range(count):
        kind = proof.num(1)
        need(kind <= 2, "state: the proof is damaged")
        siblings.append(empty if kind == 0 else (jmt_node, jmt_leaf)[kind - 1](proof.take(32), proof.take(32)))
    need(not proof.data, "state: the proof is damaged")
    bits = f"{int.from_bytes(key, 'big'):0256b}"
    if value is not None:
        need(found == (key, value), "state: the value is another")
    elif found:
        other = f"{int.from_bytes(found[0], 'big'):0256b}"
        need(found[0] != key and bits[:count] == other[:count], "state: the key is there")
    node = jmt_leaf(*found) if found else empty
    for depth, sibling in zip(range(count - 1, -1, -1), siblings):
        node = jmt_node(sibling, node) if bits[depth] == "1" else jmt_node(node, sibling)
    need(node == raw(p["header"]["state_root"]), "state: the proof does not lead to the root")
    return f"{raw(p['key']).decode()} is {'absent' if value is None else 'present'}"

def checkpoint(genesis, p):
    members, channel = members_at(genesis, p), genesis["channel"]
    body, lines = p["note"].split("\n\n")
    h = p["header"]
    root = base64.b64encode(raw(h["log_root"])).decode()
    need(body == f"consilium.example/ledger/{channel}\n{h['log_size']}\n{root}", "checkpoint: the header has another log")
    names = {f"consilium.example/cosigner/{channel}/{m['organisation']}": raw(m["cosign"]) for m in members}
    signers = set()
    need(lines.endswith("\n"), "checkpoint: no signed note")
    for line in lines[:-1].split("\n"):
        dash, name, signature = line.split(" ")
        need(dash == "\u2014", "checkpoint: no signed note")
        blob, key = base64.b64decode(signature, validate=True), names.get(name)
        if key is None or blob[:4] != sha(name.encode(), b"\n\4", key)[:4]:
            continue
        message = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n{body}\n".encode()
        need(signed(key, message, blob[12:]), "checkpoint: a bad cosignature")
        signers.add(name)
    need(len(signers) >= quorum(len(members)), "checkpoint: too few cosigners")
    return f"the log has {h['log_size']} transactions, cosigned by {len(signers)}"

def any_transaction(genesis, p):
    need(set(p) == {"format", "genesis", "transaction"}, "format: there is more than a transaction")
    body = Reader(raw(p["transaction"]["tx"]))
    body.place(), body.take(64), body.text()
    kind = body.num(1)
    services = dict.fromkeys((1, 2, 7, 9, 10, 11), "ingest") | {3: "audit", 6: "consensus"} | dict.fromkeys((4, 5, 8), "governance")
    need(kind in services, "transaction: of an unknown kind")
    _, sender, _ = transaction(genesis, p["transaction"], kind, services[kind])
    return f"a transaction of {sender} in block {p['transaction']['header']['height']}"

# --- the log: a cosigned checkpoint and tiles of 256 hashes (c2sp.org/tlog-tiles)
def tree(nodes):
    if len(nodes) == 1:
        return nodes[0]
    left = 1 << (len(nodes) - 1).bit_length() - 1
    return node_hash(tree(nodes[:left]), tree(nodes[left:]))

def perfect(nodes):
    """Roots of the perfect subtrees over nodes, largest first."""
    if not nodes:
        return []
    left = 1 << len(nodes).bit_length() - 1
    return [tree(nodes[:left])] + perfect(nodes[left:])

def in_log(genesis, proof, fetch):
    """The transaction's number in the log; `fetch` gives the content of a file of the log by its path."""
    point, tx = json.loads(fetch("checkpoint.json")), proof["transaction"]
    need(point["format"] == "consilium-checkpoint-proof/1", "log: no checkpoint")
    verify(genesis, point)
    size, place = point["header"]["log_size"], tx["header"]["log_size"] + tx["inclusion"]["index"]
    number, node, peaks, level = place, leaf_hash(raw(tx["tx"])), [], 0
    need(0 <= number < size, "log: the checkpoint is older than the transaction")

    def tile(index, width):
        name, rest = f"{index % 1000:03}", index // 1000
        while rest:
            name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
        data = fetch(f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else ""))
        need(len(data) == 32 * width, "log: a tile of another length")
        return [data[i:i + 32] for i in range(0, len(data), 32)]

    while count := size >> 8 * level:
        edge = tile(count // 256, count % 256) if count % 256 else []
        if node is not None:
            last = place // 256 == count // 256
            here = edge if last else tile(place // 256, 256)
            need(place % 256 < len(here) and here[place % 256] == node, "log: another transaction stands there")
            # A tile of the right edge is part of the root below; a full one has its hash on the next level.
            node, place = (None, 0) if last else (tree(here), place // 256)
        peaks, level = perfect(edge) + peaks, level + 1
    top = peaks.pop()
    while peaks:
        top = node_hash(peaks.pop(), top)
    need(node is None and top == raw(point["header"]["log_root"]), "log: the tiles have another root")
    return number

KINDS = {"consilium-receipt/3": receipt, "consilium-transaction-proof/2": any_transaction, "consilium-audit-proof/3": audit, "consilium-sample-proof/2": sample,
         "consilium-state-proof/2": state, "consilium-checkpoint-proof/1": checkpoint}

def verify(genesis, proof):
    """What the proof shows; `Refused`, or any error of damaged input, if nothing."""
    need(proof["format"] in KINDS, "format: unknown")
    need(raw(proof["genesis"]) == genesis_digest(genesis), "genesis: another consortium")
    return KINDS[proof["format"]](genesis, proof)

if __name__ == "__main__":
    try:
        with open(sys.argv[1], encoding="utf-8") as g, open(sys.argv[2], encoding="utf-8") as f:
            genesis, proof = json.load(g), json.load(f)
        shown = verify(genesis, proof)
        if len(sys.argv) > 3:
            number = in_log(genesis, proof, lambda path: (pathlib.Path(sys.argv[3]) / path).read_bytes())
            shown += f", number {number} of the cosigned log"
        print("PROVEN:", shown)
    except (Refused, ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError, OSError) as error:
        sys.exit(f"REFUSED: {error}")
