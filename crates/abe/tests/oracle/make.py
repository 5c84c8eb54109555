#!/usr/bin/env python3
"""Makes tests/vectors/oracle: keys and headers that no part of the crate under test had a hand in.

The same equations, encodings and library as oracle.py, forwards: authorities with proofs of possession, attribute keys,
a header and its secret, all from a seed. The crate must decode, verify and open them.

    .tools/venv/bin/python crates/abe/tests/oracle/make.py --check   compare with what is committed
    .tools/venv/bin/python crates/abe/tests/oracle/make.py --write   write anew, a decision to review
"""

import hashlib
import pathlib
import sys

from oracle import COINS, POP, SUITE, R, G1, G2, add, multiply, neg, pairing
from oracle import attribute_point, cbor, derive, digest, g1_bytes, g2_bytes, gt_bytes, identity_point
from oracle import matrix, parse, prefixed, rows_of, shake_scalar

CHANNEL, CLASS, EPOCH, GID = "channel-2", "patient-7/restricted", 12, "did:key:z6MkOracle"
# Name, policy, and the attributes held, as policies name them.
CASES = [
    (
        "threshold-of-gates",
        "2 of (a=x@hospital-0#2026W47.3, b@hospital-1 AND c@hospital-0, d@hospital-1#w)",
        ["b@hospital-1", "c@hospital-0", "d@hospital-1#w"],
    ),
]


def make(seed, text, held):
    count = 0

    def random():
        nonlocal count
        count += 1
        return shake_scalar(f"consilium oracle {seed} {count}".encode())

    lines = [
        ("channel", CHANNEL),
        ("class", CLASS),
        ("class-epoch", str(EPOCH)),
        ("gid", GID),
        ("policy", text),
    ]
    node = parse(text)
    terms, shape = rows_of(node), []
    matrix(node, {0: 1}, [1], shape)
    policy = cbor([1, node])
    lines.append(("policy-bytes", policy.hex()))
    base = pairing(G2, G1)
    secrets, publics, digests = {}, {}, {}
    for authority in sorted({term[0] for term in terms}):
        alpha, y, k_a, k_y = (random() for _ in range(4))
        a, big_y = base**alpha, multiply(G1, y)
        head = SUITE + prefixed(CHANNEL) + prefixed(authority) + gt_bytes(a) + g1_bytes(big_y)
        c = shake_scalar(POP + head + gt_bytes(base**k_a) + g1_bytes(multiply(G1, k_y)))
        proof = [c, (k_a + c * alpha) % R, (k_y + c * y) % R]
        encoded = head + b"".join(part.to_bytes(32, "big") for part in proof)
        lines.append(("authority-public-key", encoded.hex()))
        secrets[authority], publics[authority] = (alpha, y), (a, big_y)
        digests[authority] = digest("authority public key", encoded)

    identity = identity_point(CHANNEL, GID)
    for name in held:
        term = rows_of(parse(name))[0]
        alpha, y = secrets[term[0]]
        t = random()
        k = add(add(multiply(G2, alpha), multiply(identity, y)), multiply(attribute_point(CHANNEL, term), t))
        fields = b"".join(map(prefixed, (CHANNEL, GID) + term[:4])) + term[4].to_bytes(4, "big")
        lines.append(("attribute-key", (SUITE + fields + g2_bytes(k) + g1_bytes(multiply(G1, t))).hex()))

    context = cbor([1, CHANNEL, CLASS, EPOCH, policy, [digests[term[0]] for term in terms]])
    context_hash = digest("kem context", context)
    message = hashlib.shake_256(f"consilium oracle {seed} message".encode()).digest(32)

    def coin(kind, index):
        return shake_scalar(COINS + message + context_hash + bytes([kind]) + index.to_bytes(4, "big"))

    s = coin(1, 0)
    body = b""
    for index, (term, row) in enumerate(zip(terms, shape)):
        share = lambda kind, first: sum(
            m * (first if column == 0 else coin(kind, column - 1)) for column, m in row.items()
        )
        lam, omega, t = share(2, s) % R, share(3, 0) % R, coin(4, index)
        a, big_y = publics[term[0]]
        body += gt_bytes(base**lam * a**t) + g1_bytes(neg(multiply(G1, t)))
        body += g1_bytes(add(multiply(big_y, t), multiply(G1, omega)))
        body += g2_bytes(multiply(attribute_point(CHANNEL, term), t))
    pad = derive(gt_bytes(base**s), "mask", context_hash)
    masked = bytes(x ^ y for x, y in zip(message, pad))
    header = SUITE + prefixed(policy) + body + masked
    lines.append(("header", header.hex()))
    lines.append(("secret", derive(message, "secret", context_hash, digest("header", header)).hex()))
    return "".join(f"{name}: {value}\n" for name, value in lines)


def main():
    if sys.argv[1:] not in (["--check"], ["--write"]):
        sys.exit(__doc__)
    folder = pathlib.Path(__file__).parent.parent / "vectors/oracle"
    for seed, (name, text, held) in enumerate(CASES, 1):
        made, path = make(seed, text, held), folder / f"{name}.txt"
        if sys.argv[1] == "--write":
            folder.mkdir(exist_ok=True)
            path.write_text(made)
        assert path.read_text() == made, f"{path.name} is not what comes out"
        print(f"{path.name}: made again, the same")


if __name__ == "__main__":
    main()
