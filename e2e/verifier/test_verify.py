#!/usr/bin/env python3
"""The independent verifier accepts the ledger's own proof files and refuses them when anything in them is changed."""
import copy, json, pathlib, sys, unittest
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import verify

FOLDER = pathlib.Path(__file__).parent / "vectors"
load = lambda name: json.loads((FOLDER / name).read_text(encoding="utf-8"))
GENESIS = load("genesis.json")
FILES = sorted(p.name for p in FOLDER.glob("*.json") if p.name != "genesis.json")
# What damaged input may raise on the way; the command line refuses on all of them.
REFUSED = (verify.Refused, ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError)


def scalars(node, path=()):
    """Every string and number of a document, by its path."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from scalars(value, (*path, key))
    if isinstance(node, (str, int)):
        yield path, node


def put(document, path, value):
    out = copy.deepcopy(document)
    node = out
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return out


def changes(value):
    if isinstance(value, int):
        return [value + 1, value - 1, value ^ 1 << 20]
    flip = lambda at: value[:at] + ("1" if value[at] == "0" else "0") + value[at + 1:]
    return [flip(at) for at in {0, len(value) // 2, len(value) - 1}] + [value + "00", value[:-2], ""] if value else ["00"]


class Verifier(unittest.TestCase):
    def refuse(self, proof, what, genesis=GENESIS):
        try:
            shown = verify.verify(genesis, proof)
        except REFUSED:
            return
        self.fail(f"{what} was accepted: {shown}")

    def test_honest_files_are_proven(self):
        self.assertEqual(len(FILES), 8)
        for name in FILES:
            self.assertTrue(verify.verify(GENESIS, load(name)))

    def test_every_value_of_every_file_matters(self):
        tried = 0
        for name in FILES:
            proof = load(name)
            for path, value in scalars(proof):
                for changed in changes(value):
                    # How many transactions a block has is in no header: another number that leads to the same root
                    # says nothing else. Rust's test makes the same exception.
                    if changed == value or path == ("transaction", "inclusion", "size"):
                        continue
                    self.refuse(put(proof, path, changed), f"{name}: {path} = {changed!r}")
                    tried += 1
        self.assertGreater(tried, 4000)

    def test_lists_cannot_be_cut_or_padded(self):
        for name in FILES:
            proof = load(name)
            whole = proof.get("transaction", proof)
            cut = copy.deepcopy(proof)
            certificate = cut.get("transaction", cut)["certificate"]
            certificate["signatures"] = certificate["signatures"][:2]
            self.refuse(cut, f"{name}: two signatures")
            certificate["signatures"] = [certificate["signatures"][0]] * 3
            self.refuse(cut, f"{name}: one signature three times")
            # The newest change rotated a signer's key. (One may be left out only where more than two thirds of the
            # members before it have signed what follows just the same.)
            if whole["validator_changes"]:
                cut = copy.deepcopy(proof)
                cut.get("transaction", cut)["validator_changes"].pop()
                if "transaction" in proof:
                    self.refuse(cut, f"{name}: the newest change of the members left out")
                cut.get("transaction", cut)["validator_changes"].clear()
                self.refuse(cut, f"{name}: all changes of the members left out")
        doubled = load("receipt.json")
        doubled["openings"].append(doubled["openings"][0])
        self.refuse(doubled, "a leaf opened twice")
        alone = load("checkpoint.json")
        body, lines = alone["note"].split("\n\n")
        alone["note"] = body + "\n\n" + "".join(line + "\n" for line in lines.split("\n")[:2])
        self.refuse(alone, "two cosignatures")
        alone["note"] = body + "\n\n" + (lines.split("\n")[0] + "\n") * 4
        self.refuse(alone, "one cosigner four times")

    def test_only_the_given_genesis_counts(self):
        for path, value in scalars(GENESIS):
            for changed in changes(value)[:1]:
                for name in FILES:
                    self.refuse(load(name), f"genesis {path}", put(GENESIS, path, changed))
        for name in FILES:
            self.refuse({**load(name), "format": "consilium-receipt/1"}, "an old format")
            for other in verify.KINDS:
                if other != load(name)["format"]:
                    self.refuse({**load(name), "format": other}, f"{name} as {other}")

    def test_the_log_has_the_transaction_and_no_other(self):
        files = {str(p.relative_to(FOLDER / "log")): p.read_bytes() for p in (FOLDER / "log").rglob("*") if p.is_file()}
        of_transactions = [load(name) for name in FILES if "transaction" in load(name)]
        self.assertEqual(len(of_transactions), 5)
        for proof in of_transactions:
            verify.in_log(GENESIS, proof, files.__getitem__)
        proof = load("transaction.json")

        def refused(changed, what, files=files):
            try:
                verify.in_log(GENESIS, changed, files.__getitem__)
            except REFUSED:
                return
            self.fail(f"{what} was accepted")

        for at in (0, len(proof["transaction"]["tx"]) // 2, -2):
            tx = bytearray.fromhex(proof["transaction"]["tx"])
            tx[at // 2] ^= 1
            refused(put(proof, ("transaction", "tx"), tx.hex()), "another transaction")
        for path in (("header", "log_size"), ("inclusion", "index")):
            refused(put(proof, ("transaction", *path), 300), "another place")
            refused(put(proof, ("transaction", *path), 10**6), "a place beyond the log")
        for name, content in files.items():
            if name == "checkpoint":
                continue
            self.assertTrue(name == "checkpoint.json" or len(content) % 32 == 0, name)
            for at in (0, len(content) // 2, len(content) - 2):
                forged = bytearray(content)
                forged[at] ^= 1
                # The partial tile's other leaves are under the root too: each octet counts.
                refused(proof, f"a forged {name}", {**files, name: bytes(forged)})
            refused(proof, f"a log without {name}", {n: c for n, c in files.items() if n != name})
        # A forger who writes all tiles anew still has the members' root against him.
        mine = [verify.leaf_hash(bytes([n % 256, n // 256])) for n in range(json.loads(files["checkpoint.json"])["header"]["log_size"])]
        number = verify.in_log(GENESIS, proof, files.__getitem__)
        mine[number] = verify.leaf_hash(bytes.fromhex(proof["transaction"]["tx"]))
        tiles = {"tile/0/000": b"".join(mine[:256]), f"tile/0/001.p/{len(mine) - 256}": b"".join(mine[256:]),
                 "tile/1/000.p/1": verify.tree(mine[:256])}
        self.assertTrue(tiles.keys() <= files.keys())
        refused(proof, "a log written anew", {**files, **tiles})


if __name__ == "__main__":
    unittest.main()
