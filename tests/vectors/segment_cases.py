"""Segments: valid ones, cuts and joins of them, and every way to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgpack

from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import (
    Head,
    Segment,
    build,
    chain_ids,
    drop_payloads,
    id_at,
    merge,
    signed_head,
    tail_after,
    verify,
)

PAIR = Keypair(sha256(b"segment cases").digest())
OTHER = Keypair(sha256(b"another author").digest())
START = Head(0, genesis_id(PAIR.author))
PREVIOUS = sha256(b"some id").digest()

Run = list[tuple[bytes, int]]
"""Bytes as (part, times): what would be half a megabyte of hex."""


def chained(previous: bytes, digests: list[bytes]) -> bytes:
    """The rule of the specification, once more and by itself."""
    for digest in digests:
        previous = sha256(previous + digest).digest()
    return previous


def crafted(
    first: int, previous: bytes, run: Run, digests: list[bytes], count: int | None = None
) -> dict[str, Any]:
    """A segment with a good chain and signature over ``digests``, whatever its bytes are."""
    last = first + len(digests) - 1
    signature = PAIR.sign_head(last, chained(previous, digests))
    return {
        "author": PAIR.author,
        "first": first,
        "count": len(digests) if count is None else count,
        "previous": previous,
        "signature": signature,
        "bodies": [[part, times] for part, times in run],
    }


def plain(segment: Segment) -> dict[str, Any]:
    return segment._asdict() | {"bodies": [[segment.bodies, 1]]}


def hashed(*bodies: bytes) -> list[bytes]:
    return [sha256(body).digest() for body in bodies]


def valid() -> Iterator[dict[str, Any]]:
    [small], head = build(PAIR, START, [b"one", b"two", b"", b"four" * 64])
    [more], last = build(PAIR, head, [b"five", b"six"])

    def case(name: str, segment: Segment) -> dict[str, Any]:
        return {"name": name, "segment": plain(segment), "ids": chain_ids(segment), "head": verify(segment)}

    yield case("four entries", small)
    yield case("that continue", more)
    yield case("two holes", drop_payloads(small, [2, 4]))
    yield case("all holes", drop_payloads(small, range(1, 5)))
    yield case("sliced after 2", tail_after(small, 2, id_at(small, 2)))
    yield case("merged", merge([small, more]))
    yield case("merged and sliced after 3", tail_after(merge([small, more]), 3, id_at(small, 3)))
    yield case("signed head of 4", signed_head(PAIR, head))
    yield case("signed head of 2^53-1", signed_head(PAIR, Head(2**53 - 1, PREVIOUS)))
    yield case("the last entry there can be", build(PAIR, Head(2**53 - 2, PREVIOUS), [b"end"])[0][0])
    assert last.seq == 6
    for name, run, bodies in (
        ("4,096 entries", [(b"\xc4\x00", 4096)], [b""] * 4096),
        ("129 KiB", bins(66043, 66043), [b"x" * 66043] * 2),
        ("one entry of 1 MiB", [(b"\xc6\x00\x10\x00\x00", 1), (b"x", 2**20)], [b"x" * 2**20]),
        (
            "bin 8, 16 and 32 at their limits",
            bins(255, 256, 65535, 300),
            [b"x" * n for n in (255, 256, 65535, 300)],
        ),
        ("one entry of 65,536", bins(65536), [b"x" * 65536]),
    ):
        made = crafted(9, PREVIOUS, run, hashed(*bodies))
        id_ = chained(PREVIOUS, hashed(*bodies))
        ids = (
            [chained(PREVIOUS, hashed(*bodies[: n + 1])) for n in range(len(bodies))]
            if len(bodies) < 9
            else None
        )
        yield {"name": name, "segment": made, "ids": ids, "head": Head(8 + len(bodies), id_)}


def bins(*sizes: int) -> Run:
    run: Run = []
    for size in sizes:
        header = msgpack.packb(b"x" * size)[:-size]
        run += [(header, 1), (b"x", size)]
    return run


def invalid() -> Iterator[tuple[str, str, dict[str, Any]]]:
    [small], _ = build(PAIR, START, [b"one", b"two"])
    good = plain(small)
    one, two, digests = b"\xc4\x03one", b"\xc4\x03two", hashed(b"one", b"two")

    def items(reason: str, *parts: bytes, count: int | None = None) -> tuple[str, str, dict[str, Any]]:
        made = crafted(9, PREVIOUS, [(part, 1) for part in parts], digests, count)
        return "BadSegmentError", reason, made

    def changed(reason: str, **fields: Any) -> tuple[str, str, dict[str, Any]]:
        return "BadSegmentError", reason, good | fields

    yield items("an array", one, b"\x90")
    yield items("an array of bodies", b"\x92" + one + two)
    yield items("a map", one, b"\x80")
    yield items("a map of bodies", b"\x81" + one + two)
    yield items("a str", one, b"\xa3two")
    yield items("an empty str", one, b"\xa0")
    yield items("an int", one, b"\x00")
    yield items("nil", one, b"\xc0")
    yield items("true", one, b"\xc3")
    yield items("a float", one, b"\xca\0\0\0\0")
    yield items("the byte msgpack never uses", one, b"\xc1")
    yield items("a timestamp extension", one, b"\xd6\xff\0\0\0\0")
    yield items("bin 16 for a short body", one, b"\xc5\x00\x03two")
    yield items("bin 32 for a short body", one, b"\xc6\x00\x00\x00\x03two")
    yield items("ext 8 of another type", one, b"\xc7\x20\x02" + digests[1])
    yield items("ext 8 of 31 bytes", one, b"\xc7\x1f\x01" + digests[1][1:])
    yield items("ext 8 of 33 bytes", one, b"\xc7\x21\x01" + digests[1] + b"\0")
    yield items("ext 16 for a hash", one, b"\xc8\x00\x20\x01" + digests[1])
    yield items("ext 32 for a hash", one, b"\xc9\x00\x00\x00\x20\x01" + digests[1])
    yield items("fixext 16", one, b"\xd8\x01" + digests[1][:16])
    yield items("one entry less", one)
    yield items("one entry more", one, two, two)
    yield items("the last cut off", one, two[:-1])
    yield items("a header cut off", one, b"\xc4")
    yield items("a body that announces four billion", one, b"\xc6\xff\xff\xff\xff")
    yield items("a byte behind", one, two, b"\xc4")
    yield items("a nil behind", one, two, b"\xc0")
    yield items("a count of 0 with items", one, count=0)
    yield items("no items", count=2)

    def crowd(reason: str, run: Run, bodies: list[bytes]) -> tuple[str, str, dict[str, Any]]:
        return "BadSegmentError", reason, crafted(9, PREVIOUS, run, hashed(*bodies))

    yield crowd("4,097 entries", [(b"\xc4\x00", 4097)], [b""] * 4097)
    yield crowd("129 KiB + 1", [*bins(66043), *bins(66044)], [b"x" * 66043, b"x" * 66044])
    yield crowd("a large and an empty entry", [*bins(132_090), (b"\xc4\x00", 1)], [b"x" * 132_090, b""])
    yield crowd("one entry of 1 MiB + 1", bins(2**20 + 1), [b"x" * (2**20 + 1)])
    yield crowd("arrays in arrays", [(b"\xdd\x00\x00\x10\x00", 26_000)], [b"one", b"two"])
    yield crowd("arrays of one in one another", [(b"\x91", 130_000)], [b"one", b"two"])

    yield changed("first 0", first=0)
    yield changed("first -1", first=-1)
    yield changed("count -1", count=-1)
    yield changed("no entries and the head of seq 0", count=0, bodies=[])
    yield changed("a last above 2^53-1", first=2**53 - 1, previous=PREVIOUS)
    yield changed("previous of the first entry is not id(0)", previous=PREVIOUS)
    yield changed("previous of the first entry is another author's id(0)", previous=genesis_id(OTHER.author))
    yield changed("author of 31 bytes", author=PAIR.author[:-1])
    yield changed("author of 33 bytes", author=PAIR.author + b"\0")
    yield changed("previous of 31 bytes", first=2, previous=PREVIOUS[1:])
    yield changed("signature of 63 bytes", signature=small.signature[:-1])
    yield changed("signature of 65 bytes", signature=small.signature + b"\0")

    unsigned = "BadSignatureError"
    yield unsigned, "a body changed", good | {"bodies": [[one, 1], [b"\xc4\x03twO", 1]]}
    yield unsigned, "two bodies swapped", good | {"bodies": [[two, 1], [one, 1]]}
    yield unsigned, "a wrong hash in a hole", good | {"bodies": [[one, 1], [b"\xc7\x20\x01" + digests[0], 1]]}
    yield unsigned, "the last entry missing", good | {"count": 1, "bodies": [[one, 1]]}
    yield unsigned, "another seq", good | {"first": 2}
    yield unsigned, "another previous", plain(tail_after(small, 1, PREVIOUS))
    yield unsigned, "another author", good | {"author": OTHER.author, "previous": genesis_id(OTHER.author)}
    yield unsigned, "signature of zeros", good | {"signature": bytes(64)}
    yield (
        unsigned,
        "one bit of the signature",
        good | {"signature": bytes([small.signature[0] ^ 1]) + small.signature[1:]},
    )


def without_payloads() -> Iterator[dict[str, Any]]:
    """Runs of one body each, and what is left when all are dropped that can be."""

    def case(name: str, *groups: tuple[int, int, bool]) -> dict[str, Any]:
        bodies = [(bytes([size]) * size, times, stays) for size, times, stays in groups]
        before = [(msgpack.packb(body), times) for body, times, _ in bodies]
        after = [
            (msgpack.packb(body) if stays else b"\xc7\x20\x01" + sha256(body).digest(), times)
            for body, times, stays in bodies
        ]
        digests = [sha256(body).digest() for body, times, _ in bodies for _ in range(times)]
        made = crafted(9, PREVIOUS, before, digests)
        return {"name": name, "segment": made, "dropped": [[part, times] for part, times in after]}

    yield case("within the limits, all", (5, 2000, False), (33, 1000, False), (60, 700, False))
    yield case(
        "above them, all that are larger",
        (5, 2000, True),
        (33, 1000, True),
        (34, 400, False),
        (60, 500, False),
    )


def segments() -> dict[str, Any]:
    refused = [{"reason": reason, "error": error, "segment": made} for error, reason, made in invalid()]
    return {"valid": list(valid()), "hashed": list(without_payloads()), "invalid": refused}
