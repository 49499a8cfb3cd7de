"""Signatures on which Ed25519 verifiers are known to disagree, each made from its equation.

After Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020).  Every refused case but the plain forgeries would
be accepted by some verifier in use: one that allows small orders, one that multiplies by the cofactor, one that does
not reduce or check S.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256, sha512
from itertools import count
from typing import NamedTuple

from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from gossiplog.log.keys import Keypair, head_message

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19

ORDER_8_Y = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)


class Case(NamedTuple):
    name: str
    accepted: bool
    author: bytes
    seq: int
    id: bytes
    signature: bytes


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


SMALL_ORDER = {
    "order 1": encoded(1),
    "order 2": encoded(P - 1),
    "order 4, x even": encoded(0),
    "order 4, x odd": encoded(0, 1),
    "order 8, low y, x even": encoded(ORDER_8_Y),
    "order 8, low y, x odd": encoded(ORDER_8_Y, 1),
    "order 8, high y, x even": encoded(P - ORDER_8_Y),
    "order 8, high y, x odd": encoded(P - ORDER_8_Y, 1),
}
NON_CANONICAL_SMALL_ORDER = {
    "order 1, sign of zero": encoded(1, 1),
    "order 2, sign of zero": encoded(P - 1, 1),
    "order 4, y = p": encoded(P),
    "order 4, y = p, x odd": encoded(P, 1),
    "order 1, y = p + 1": encoded(P + 1),
    "order 1, y = p + 1, sign of zero": encoded(P + 1, 1),
}
TORSION = SMALL_ORDER["order 8, low y, x even"]
ENTRY_ID = sha256(b"an id").digest()


def base(scalar: int) -> bytes:
    return crypto_scalarmult_ed25519_base_noclamp((scalar % L).to_bytes(32, "little"))


def challenge(r: bytes, author: bytes, seq: int) -> int:
    return int.from_bytes(sha512(r + author + head_message(seq, ENTRY_ID)).digest(), "little") % L


def case(name: str, accepted: bool, author: bytes, seq: int, r: bytes, s: int) -> Case:
    return Case(name, accepted, author, seq, ENTRY_ID, r + s.to_bytes(32, "little"))


def cases() -> Iterator[Case]:
    """Every case; seqs are searched where the equation holds for some challenges only."""
    pair = Keypair(sha256(b"signature cases").digest())
    secret = int.from_bytes(sha512(pair.seed).digest()[:32], "little") & ~7 & (2**254 - 1) | 2**254
    nonce = int.from_bytes(sha512(b"nonce").digest(), "little") % L
    r = base(nonce)
    honest = pair.sign_head(1, ENTRY_ID)
    honest_s = int.from_bytes(honest[32:], "little")

    yield Case("honest", True, pair.author, 1, ENTRY_ID, honest)
    yield case(
        "honest, another nonce", True, pair.author, 1, r, (nonce + challenge(r, pair.author, 1) * secret) % L
    )
    yield Case("of another seq", False, pair.author, 2, ENTRY_ID, honest)
    yield Case("of another author", False, Keypair(bytes(32)).author, 1, ENTRY_ID, honest)
    yield Case("one bit of R changed", False, pair.author, 1, ENTRY_ID, bytes([honest[0] ^ 1]) + honest[1:])
    yield case("S + L", False, pair.author, 1, honest[:32], honest_s + L)
    yield case("S + 2 L", False, pair.author, 1, honest[:32], honest_s + 2 * L)
    yield case(
        "S = L, R of order 1, A of order 1", False, SMALL_ORDER["order 1"], 1, SMALL_ORDER["order 1"], L
    )
    yield case("zero S, R and A of order 1", False, SMALL_ORDER["order 1"], 1, SMALL_ORDER["order 1"], 0)

    for name, point in {**SMALL_ORDER, **NON_CANONICAL_SMALL_ORDER}.items():
        kind = "small-order A" if name in SMALL_ORDER else "non-canonical small-order A"
        seq = next(n for n in count(1) if challenge(r, point, n) % 8 == 0)
        yield case(f"{kind}: {name}", False, point, seq, r, nonce)
    for name, point in {**SMALL_ORDER, **NON_CANONICAL_SMALL_ORDER}.items():
        kind = "small-order R" if name in SMALL_ORDER else "non-canonical small-order R"
        yield case(
            f"{kind}: {name}", False, pair.author, 1, point, challenge(point, pair.author, 1) * secret % L
        )
    for y in (P + 3, P + 4, P + 18):
        yield case(f"non-canonical A of large order: y = p + {y - P}", False, encoded(y), 1, r, nonce)

    mixed = crypto_core_ed25519_add(pair.author, TORSION)
    cofactorless = next(n for n in count(1) if challenge(r, mixed, n) % 8 == 0)
    cofactored = next(n for n in count(1) if challenge(r, mixed, n) % 8)
    for name, accepted, seq in (
        ("mixed-order A, the cofactorless equation holds", True, cofactorless),
        ("mixed-order A, only the cofactored equation holds", False, cofactored),
    ):
        yield case(name, accepted, mixed, seq, r, (nonce + challenge(r, mixed, seq) * secret) % L)
    mixed_r = crypto_core_ed25519_add(r, TORSION)
    s = (nonce + challenge(mixed_r, pair.author, 1) * secret) % L
    yield case("mixed-order R, only the cofactored equation holds", False, pair.author, 1, mixed_r, s)
