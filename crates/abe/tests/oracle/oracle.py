#!/usr/bin/env python3
"""Checks tests/vectors/good without the crate under test.

Every value is computed again from the equations of RW15 (Rouselakis and Waters 2015) and the
encodings stated in the crate's documentation, over py_ecc (MIT), a pure Python BLS12-381:

    scripts/setup.sh test
    .tools/venv/bin/python crates/abe/tests/oracle/oracle.py [file ...]

For each vector: public keys and their proofs of possession from the secret keys; attribute keys by
the pairing equation; the secret of the header from the attribute keys; then, from the message
recovered, all coins, all rows, the masked message and the encapsulated secret, byte for byte.
"""

import hashlib
import hmac
import pathlib
import re
import sys

from py_ecc.bls.hash_to_curve import hash_to_G2
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import FQ12, G1, G2, add, curve_order, multiply, neg
from py_ecc.optimized_bls12_381 import pairing as ate_pairing

R = curve_order
P = FQ12.field_modulus
SUITE = (1).to_bytes(2, "big")
DST_H = b"CONSILIUM-MAABE-V01-CS01-H-BLS12381G2_XMD:SHA-256_SSWU_RO_"
DST_F = b"CONSILIUM-MAABE-V01-CS01-F-BLS12381G2_XMD:SHA-256_SSWU_RO_"
COINS = b"CONSILIUM-MAABE-V01-CS01-COINS-SHAKE256"
POP = b"CONSILIUM-MAABE-V01-CS01-POP-SHAKE256"
SALT = b"CONSILIUM-MAABE-V01-CS01-KDF-HKDF-SHA-256"


def pairing(q, p):
    """The pairing of suite 1, that of blst: the optimal ate pairing for the negative parameter x
    with final exponent 3·(p^12-1)/r. py_ecc takes |x| and (p^12-1)/r: a conjugate and a cube apart.
    """
    return ate_pairing(q, p) ** (R - 3)


# Encodings.


def prefixed(data):
    data = data.encode() if isinstance(data, str) else data
    return len(data).to_bytes(8, "big") + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0
        assert self.take(2) == SUITE

    def take(self, count):
        assert self.at + count <= len(self.data)
        self.at += count
        return self.data[self.at - count : self.at]

    def field(self):
        return self.take(int.from_bytes(self.take(8), "big"))

    def text(self):
        return self.field().decode()


def g1_bytes(point):
    return compress_G1(point).to_bytes(48, "big")


def g2_bytes(point):
    return b"".join(half.to_bytes(48, "big") for half in compress_G2(point))


def g1_point(data):
    return decompress_G1(int.from_bytes(data, "big"))


def g2_point(data):
    return decompress_G2((int.from_bytes(data[:48], "big"), int.from_bytes(data[48:], "big")))


def gt_bytes(element):
    """Fp2 coefficients of w^0 … w^5 over w^6 = u + 1, from py_ecc's w^12 = 2w^6 - 2.

    There u = w^6 - 1, so c0 + c1·u at w^k is (c0 - c1) at w^k and c1 at w^(k+6).
    """
    coeffs = [int(c) % P for c in element.coeffs]
    out = b""
    for k in range(6):
        c1 = coeffs[k + 6]
        c0 = (coeffs[k] + c1) % P
        out += c0.to_bytes(48, "big") + c1.to_bytes(48, "big")
    return out


def gt_element(data):
    parts = [int.from_bytes(data[i : i + 48], "big") for i in range(0, 576, 48)]
    coeffs = [0] * 12
    for k in range(6):
        c0, c1 = parts[2 * k], parts[2 * k + 1]
        coeffs[k], coeffs[k + 6] = (c0 - c1) % P, c1
    return FQ12(coeffs)


def cbor_head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | code]) + value.to_bytes(size, "big")
    raise ValueError(value)


def cbor(value):
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        return cbor_head(3, len(value.encode())) + value.encode()
    return cbor_head(4, len(value)) + b"".join(map(cbor, value))


# Hashes.


def digest(label, *fields):
    return hashlib.sha256(b"".join(map(prefixed, (label, *fields)))).digest()


def derive(secret, label, *fields):
    info = b"".join(map(prefixed, (label, *fields)))
    extracted = hmac.new(SALT, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\1", hashlib.sha256).digest()


def shake_scalar(data):
    return int.from_bytes(hashlib.shake_256(data).digest(64), "big") % R


def identity_point(channel, gid):
    return hash_to_G2(prefixed(channel) + prefixed(gid), DST_H, hashlib.sha256)


def attribute_point(channel, term):
    authority, name, value, epoch, version = term
    message = b"".join(map(prefixed, (channel, authority, name, value, epoch)))
    return hash_to_G2(message + version.to_bytes(4, "big"), DST_F, hashlib.sha256)


# Policies, as nested lists like the canonical form: [0, …] attribute, [2, […]] AND, [3, […]] OR,
# [4, k, […]] threshold.


def parse(text):
    tokens = re.findall(r"[(),]|[^\s(),]+", text)

    def primary():
        token = tokens.pop(0)
        if token == "(":
            node = or_list()
            assert tokens.pop(0) == ")"
            return node
        if token.isdigit():
            assert tokens.pop(0) == "of" and tokens.pop(0) == "("
            children = [or_list()]
            while tokens.pop(0) == ",":
                children.append(or_list())
            return [4, int(token), children]
        name, rest = token.split("@")
        name, _, value = name.partition("=")
        authority, _, epoch = rest.partition("#")
        epoch, _, version = epoch.partition(".")
        return [0, authority, name, value, epoch, int(version or 0)]

    def chain(code, word, inner):
        children = [inner()]
        while tokens and tokens[0] == word:
            tokens.pop(0)
            children.append(inner())
        return children[0] if len(children) == 1 else [code, children]

    def or_list():
        return chain(3, "OR", lambda: chain(2, "AND", primary))

    return or_list()


def rows_of(node):
    if node[0] == 0:
        return [tuple(node[1:])]
    return [row for child in node[-1] for row in rows_of(child)]


def matrix(node, vector, columns, out):
    """The LSSS matrix written out (Lewko and Waters 2011; Vandermonde for k-of-n)."""
    if node[0] == 0:
        out.append(dict(vector))
    elif node[0] == 3:
        for child in node[-1]:
            matrix(child, vector, columns, out)
    elif node[0] == 2:
        # Children are visited in order and columns numbered as they are met.
        left = dict(vector)
        for index, child in enumerate(node[-1]):
            if index + 1 < len(node[-1]):
                column = columns[0]
                columns[0] += 1
                matrix(child, {**left, column: 1}, columns, out)
                left = {column: -1}
            else:
                matrix(child, left, columns, out)
    else:
        first = columns[0]
        columns[0] += node[1] - 1
        for point, child in enumerate(node[-1], 1):
            powers = {first + j: point ** (j + 1) for j in range(node[1] - 1)}
            matrix(child, {**vector, **powers}, columns, out)


def solve(rows, held):
    """ε with Σ ε·row = (1, 0, …, 0) over the held rows, by Gaussian elimination modulo r."""
    width = 1 + max(column for row in rows for column in row)
    system = [[rows[i].get(c, 0) % R for i in held] + [int(c == 0)] for c in range(width)]
    pivots, at = [], 0
    for column in range(len(held)):
        pivot = next((i for i in range(at, width) if system[i][column]), None)
        if pivot is None:
            continue
        system[at], system[pivot] = system[pivot], system[at]
        scale = pow(system[at][column], -1, R)
        system[at] = [x * scale % R for x in system[at]]
        for i in range(width):
            if i != at and system[i][column]:
                factor = system[i][column]
                system[i] = [(x - factor * y) % R for x, y in zip(system[i], system[at])]
        pivots.append(column)
        at += 1
    assert not any(row[-1] for row in system[at:]), "the held rows do not satisfy the policy"
    return {held[column]: system[i][-1] for i, column in enumerate(pivots) if system[i][-1]}


# The check of one vector.


def check(path):
    fields = {}
    for line in path.read_text().splitlines():
        name, value = line.split(": ", 1)
        fields.setdefault(name, []).append(value)
    one = lambda name: fields[name][0]
    raw = lambda name: [bytes.fromhex(value) for value in fields[name]]
    channel, gid, base = one("channel"), one("gid"), pairing(G2, G1)

    publics, secrets, digests = {}, {}, {}
    for encoded, secret, stated in zip(
        raw("authority-public-key"), raw("authority-secret-key"), raw("authority-public-key-digest")
    ):
        reader = Reader(secret)
        assert reader.text() == channel
        authority = reader.text()
        alpha, y = (int.from_bytes(reader.take(32), "big") for _ in range(2))
        a, big_y = base**alpha, multiply(G1, y)
        head = SUITE + prefixed(channel) + prefixed(authority) + gt_bytes(a) + g1_bytes(big_y)
        assert encoded[:-96] == head, "public key"
        c, z_a, z_y = (int.from_bytes(encoded[-96:][i : i + 32], "big") for i in (0, 32, 64))
        commit_a = base**z_a * a ** (R - c)
        commit_y = add(multiply(G1, z_y), neg(multiply(big_y, c)))
        assert c == shake_scalar(POP + head + gt_bytes(commit_a) + g1_bytes(commit_y)), "proof"
        digests[authority] = digest("authority public key", encoded)
        assert digests[authority] == stated, "digest"
        publics[authority], secrets[authority] = (a, big_y), (alpha, y)

    identity = identity_point(channel, gid)
    keys = {}
    for encoded in raw("attribute-key"):
        reader = Reader(encoded)
        assert (reader.text(), reader.text()) == (channel, gid)
        term = tuple(reader.text() for _ in range(4)) + (int.from_bytes(reader.take(4), "big"),)
        k, k_prime = g2_point(reader.take(96)), g1_point(reader.take(48))
        alpha, y = secrets[term[0]]
        # K - α·g2 - y·H(GID) = t·F(u), and K' = t·g1.
        rest = add(k, neg(add(multiply(G2, alpha), multiply(identity, y))))
        assert pairing(rest, G1) == pairing(attribute_point(channel, term), k_prime), "key"
        keys[term] = (k, k_prime)

    node = parse(one("policy"))
    policy = cbor([1, node])
    assert policy == raw("policy-bytes")[0], "policy"
    terms = rows_of(node)
    shape = []
    matrix(node, {0: 1}, [1], shape)
    encoded = raw("header")[0]
    reader = Reader(encoded)
    assert reader.field() == policy
    rows = [[reader.take(size) for size in (576, 48, 48, 96)] for _ in terms]
    masked = reader.take(32)
    assert reader.at == len(encoded)

    # Decrypt.
    held = [i for i, term in enumerate(terms) if term in keys]
    z, c3_sum = FQ12.one(), None
    for i, coefficient in solve(shape, held).items():
        k, k_prime = keys[terms[i]]
        c1, c2, c3, c4 = (
            gt_element(rows[i][0]),
            g1_point(rows[i][1]),
            g1_point(rows[i][2]),
            g2_point(rows[i][3]),
        )
        z *= (c1 * pairing(k, c2) * pairing(c4, k_prime)) ** coefficient
        c3 = multiply(c3, coefficient)
        c3_sum = c3 if c3_sum is None else add(c3_sum, c3)
    z *= pairing(identity, c3_sum)
    context = cbor(
        [1, channel, one("class"), int(one("class-epoch")), policy, [digests[t[0]] for t in terms]]
    )
    context_hash = digest("kem context", context)
    pad = derive(gt_bytes(z), "mask", context_hash)
    message = bytes(x ^ y for x, y in zip(masked, pad))

    # Encrypt again.
    def coin(kind, index):
        tail = bytes([kind]) + index.to_bytes(4, "big")
        return shake_scalar(COINS + message + context_hash + tail)

    s = coin(1, 0)
    assert base**s == z, "Z"
    for i, (term, row) in enumerate(zip(terms, shape)):
        share = lambda kind, first: sum(
            m * (first if column == 0 else coin(kind, column - 1)) for column, m in row.items()
        )
        lam, omega, t = share(2, s) % R, share(3, 0) % R, coin(4, i)
        a, big_y = publics[term[0]]
        expected = [
            gt_bytes(base**lam * a**t),
            g1_bytes(neg(multiply(G1, t))),
            g1_bytes(add(multiply(big_y, t), multiply(G1, omega))),
            g2_bytes(multiply(attribute_point(channel, term), t)),
        ]
        for name, found, wanted in zip(("C1", "C2", "C3", "C4"), rows[i], expected):
            assert found == wanted, f"row {i}, {name}"
    secret = derive(message, "secret", context_hash, digest("header", encoded))
    assert secret == raw("secret")[0], "secret"


def main():
    default = sorted((pathlib.Path(__file__).parent.parent / "vectors/good").glob("*.txt"))
    paths = [pathlib.Path(name) for name in sys.argv[1:]] or default
    assert paths, "no vectors found"
    for path in paths:
        check(path)
        print(f"{path.name}: every value agrees")


if __name__ == "__main__":
    main()
