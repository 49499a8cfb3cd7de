"""Write the vectors of the wire: ``python -m tests.vectors.generate_wire`` in a checkout.

They are frozen: a change of these files is a change of the protocol.  ``wire_noise.json`` is not written here, it
was published by others.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack
from nacl.bindings import crypto_scalarmult_base

from gossiplog.errors import ByeCode
from gossiplog.gossip.messages import (
    FORKED_CHECK,
    Address,
    Bye,
    Contact,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Segment,
    Want,
    WantItem,
)
from gossiplog.limits import MAX_NESTING, MAX_SEQ
from gossiplog.log.fork import ForkProof
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.frames import frame
from tests.test_wire_vectors import VECTORS, plain

A, B, C = (bytes([n]) * 32 for n in (0x0A, 0x0B, 0x0C))
SHORT = b"\x0d" * 31


def derived(name: str, size: int = 32) -> bytes:
    """Return fixed bytes that look random."""
    return b"".join(sha256(f"{name} {part}".encode()).digest() for part in range(size // 32 + 1))[:size]


SEGMENT = Segment(A, 7, 2, derived("previous"), derived("signature", 64), b"\xc4\x03one\xc4\x03two")
HEAD = Segment(A, 8, 0, derived("other id"), derived("other signature", 64), b"")

MESSAGES: list[tuple[str, Message]] = [
    ("all authors", Hello(1, 1, (), "gossiplog", derived("instance", 16))),
    (
        "some authors",
        Hello(
            1, 3, ("fill", "x"), "grün", derived("instance", 16), Interest.WANTED, (A, B), derived("root", 16)
        ),
    ),
    ("nothing to compare", Ranges(0, ())),
    (
        "one list",
        Ranges(1, (Range(b"", RangeKind.LIST, items=(Item(A, 1, b"\1" * 8), Item(B, 0, FORKED_CHECK))),)),
    ),
    (
        "every kind",
        Ranges(
            2**32,
            (
                Range(b"\x0a", RangeKind.SKIP),
                Range(b"\x0a\x80", RangeKind.FINGERPRINT, derived("fingerprint", 16)),
                Range(C, RangeKind.LIST, items=(Item(B, MAX_SEQ, b"\2" * 8),)),
                Range(b"", RangeKind.DIFFERENCES, items=(Item(C, 300, b"\3" * 8),)),
            ),
            True,
        ),
    ),
    ("want", Want((WantItem(A, 1), WantItem(B, 70_000, True), WantItem(None, MAX_SEQ)))),
    ("want of so many entries", Want((WantItem(A, 7),), 200)),
    ("lazy", Lazy((A, None))),
    ("refuse", Refuse((B,))),
    ("segment", SEGMENT),
    ("signed head", HEAD),
    ("segment of 300 bytes", SEGMENT._replace(count=1, bodies=b"\xc5\x01\x29" + derived("body", 297))),
    ("have", Have((HaveItem(0, 5, A), HaveItem(1, 128, B), HaveItem(0, 6)))),
    ("fill", Fill(A, ((1, 1), (5, 4096)))),
    ("fork", Fork(ForkProof(A, 7, derived("id"), derived("signature", 64), HEAD))),
    (
        "peers",
        Peers(
            (
                Contact(A, 0, (Address.of("192.0.2.1", 4747), Address.of("2001:db8::1", 443))),
                Contact(B, 10_079, ()),
            ),
            Address.of("198.51.100.7", 50_000),
        ),
    ),
    ("peers of who knows nobody", Peers()),
    ("ping", Ping(1, derived("root", 16))),
    ("ping of who does not know", Ping(0)),
    ("pong", Pong(2**64 - 1, derived("root", 16))),
    ("pong of who has all that it takes", Pong(7, derived("root", 16), True)),
    ("bye", Bye(1, "stopping")),
    ("bye of an application", Bye(64)),
]

DEEP = b"\x91" * MAX_NESTING + b"\xc0"
"""An element nested as deep as it may be."""

LATER = [SHORT, {"later": [1.5, None]}, "x", 4, 5, 6, 7, 8]
"""An item about an author of a later format, as long as it may be."""

SAID = [bytes(32), bytes(64), b""]


def ranges_of(item: Any) -> bytes:
    """Return a RANGES of a list with this item and one of A."""
    return msgpack.packb([1, 0, False, [[b"", 2, [item, [A, 1, bytes(8)]]]]])


PASSED_OVER: list[tuple[str, bytes]] = [
    ("type 64", msgpack.packb([64])),
    ("type 1000 with anything inside", msgpack.packb([1000, {"a": [1.5, None]}, "x" * 300])),
    ("elements after those of PING", msgpack.packb([10, 1, b"", {"later": True}, 7])),
    ("lengths that are not minimal", bytes.fromhex("dd00000003cc0ccd0001d90161")),
    ("author of 31 bytes in LAZY", msgpack.packb([3, [A, SHORT, None]])),
    (
        "author of 31 bytes in RANGES",
        msgpack.packb([1, 0, False, [[b"", 2, [[SHORT, 1, bytes(8)], [A, 1, bytes(8)]]]]]),
    ),
    ("author of 31 bytes in HAVE", msgpack.packb([6, [[0, 1, SHORT], [1, 1, A]]])),
    ("segment of an author of 31 bytes", msgpack.packb([5, SHORT, 1, 1, bytes(32), bytes(114), b"?"])),
    ("nothing but a segment's author of 31 bytes", msgpack.packb([5, SHORT])),
    ("fill of an author of 33 bytes and anything", msgpack.packb([7, A + b"\0", {"a": 1}, None, "x"])),
    ("fork of an author of no bytes and anything", msgpack.packb([8, b"", []])),
    ("item of 31 bytes and anything in RANGES", ranges_of(LATER)),
    ("item of nothing but 33 bytes in RANGES", ranges_of([A + b"\0"])),
    ("item of 31 bytes and anything in WANT", msgpack.packb([2, [LATER, [A, 1, False]]])),
    ("item of nothing but no bytes in WANT", msgpack.packb([2, [[b""], [A, 1, False]]])),
    ("item of 31 bytes and anything in HAVE", msgpack.packb([6, [[0, 1, *LATER[:6]], [0, 2]]])),
    ("authors of 31, 0 and 1,000 bytes in REFUSE", msgpack.packb([4, [SHORT, None, b"", A, bytes(1000)]])),
    (
        "author of 31 bytes in HELLO",
        msgpack.packb([0, 1, 1, [], "", derived("instance", 16), 0, [A, SHORT], b""]),
    ),
    ("str that is not UTF-8 in another type", bytes.fromhex("9240a1ff")),
    (
        "timestamps that are none in another type",
        bytes.fromhex("9340c70cffffffffff0000000000000000c703ff000000"),
    ),
    ("64 elements", bytes.fromhex("dc00400a01c400") + b"\xc0" * 61),
    ("nested 1,024 deep in another type", b"\x92\x40" + DEEP),
    ("nested 1,024 deep after the elements of PING", b"\x94\x0a\x01\xc4\x00" + DEEP),
    ("nested 1,024 deep in an item", b"\x92\x02\x91\x92\xc4\x00" + DEEP),
    ("maps nested 1,024 deep", b"\x92\x40" + b"\x81\x00" * MAX_NESTING + b"\xc0"),
]

REFUSED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("not an array", msgpack.packb({10: 1})),
    ("no type", b"\x90"),
    ("type 13", msgpack.packb([13])),
    ("type 63", msgpack.packb([63])),
    ("true for one", msgpack.packb([10, True, b""])),
    ("float for one", msgpack.packb([10, 1.0, b""])),
    ("negative token", msgpack.packb([10, -1, b""])),
    ("root of 15 bytes", msgpack.packb([10, 1, bytes(15)])),
    ("too few elements", msgpack.packb([10, 1])),
    ("a byte after the message", msgpack.packb([10, 1, b""]) + b"\0"),
    ("reason that is not UTF-8", bytes.fromhex("930c00a1ff")),
    ("seq above the last", msgpack.packb([2, [[A, MAX_SEQ + 1, False]]])),
    ("seq above the last in a list", ranges_of([b"\0" * 32, MAX_SEQ + 1, bytes(8)])),
    ("bounds that do not ascend", msgpack.packb([1, 0, False, [[B, 0, None], [A, 0, None]]])),
    (
        "items that do not ascend",
        msgpack.packb([1, 0, False, [[b"", 2, [[B, 1, bytes(8)], [A, 1, bytes(8)]]]]]),
    ),
    ("item outside its range", msgpack.packb([1, 0, False, [[A, 2, [[B, 1, bytes(8)]]]]])),
    ("range after the end", msgpack.packb([1, 0, False, [[b"", 0, None], [A, 0, None]]])),
    ("segment of 4,097 entries", msgpack.packb([5, A, 1, 4097, *SAID])),
    ("segment that ends at seq 0", msgpack.packb([5, A, 1, 0, *SAID])),
    ("segment that ends above the last seq", msgpack.packb([5, A, MAX_SEQ, 2, *SAID])),
    ("fork whose segment has 4,097 entries", msgpack.packb([8, A, 7, *SAID[:2], [8, 4097, *SAID]])),
    ("fork whose segment has an element more", msgpack.packb([8, A, 7, *SAID[:2], [8, 0, *SAID, 0]])),
    ("fork whose id has 31 bytes", msgpack.packb([8, A, 7, bytes(31), bytes(64), [8, 0, *SAID]])),
    ("item of 9 elements and 31 bytes in RANGES", ranges_of([*LATER, 9])),
    ("item of 9 elements and 31 bytes in WANT", msgpack.packb([2, [[*LATER, 9]]])),
    ("item of 9 elements and 31 bytes in HAVE", msgpack.packb([6, [[0, 1, *LATER[:6], 9]]])),
    ("item of 2 elements in RANGES", ranges_of([b"\0" * 32, 1])),
    ("item of 4 elements in RANGES", ranges_of([b"\0" * 32, 1, bytes(8), 0])),
    ("item of 4 elements in HAVE, the message of 3", b"\x93\x06\x91\x94\x00\x01\xc4\x20" + A + b"\x00"),
    ("item of 4 elements in WANT, the message of 3", b"\x93\x02\x91\x94\xc4\x20" + A + b"\x01\xc2\x00"),
    ("item without elements in WANT", msgpack.packb([2, [[]]])),
    ("item of 4 elements in HAVE", msgpack.packb([6, [[0, 1, A, 0]]])),
    ("nil for an author in HAVE", msgpack.packb([6, [[0, 1, None]]])),
    ("nil for an author in HELLO", msgpack.packb([0, 1, 1, [], "", bytes(16), 0, [None], b""])),
    ("negative handle", msgpack.packb([6, [[-1, 1, A]]])),
    ("first 0 of nil", msgpack.packb([2, [[None, 0, False]]])),
    ("address that is bin", msgpack.packb([9, [b"tcp:192.0.2.1:1"]])),
    ("address of 257 bytes", msgpack.packb([9, ["x" * 257]])),
    ("65 addresses", msgpack.packb([9, [""] * 65])),
    ("65 elements", bytes.fromhex("dc00410a01c400") + b"\xc0" * 62),
    ("the byte c1 in another type", bytes.fromhex("9240c1")),
    ("an element of another type cut off", bytes.fromhex("9240c40561")),
    ("nested 1,025 deep in another type", b"\x92\x40\x91" + DEEP),
    ("nested 1,025 deep after the elements of PING", b"\x94\x0a\x01\xc4\x00\x91" + DEEP),
    ("nested 1,025 deep in an item", b"\x92\x02\x91\x92\xc4\x00\x91" + DEEP),
    ("maps nested 1,025 deep", b"\x92\x40" + b"\x81\x00" * (MAX_NESTING + 1) + b"\xc0"),
]


def described(name: str, data: bytes) -> dict[str, Any]:
    """Return one vector."""
    message = decode(data)
    return {"name": name, "message": type(message).__name__, "fields": plain(message), "hex": data.hex()}


def messages() -> dict[str, Any]:
    """Return the vectors of the codec."""
    return {
        "messages": [described(name, encode(message)) for name, message in MESSAGES],
        "passed_over": [described(name, data) for name, data in PASSED_OVER],
        "refused": [{"name": name, "hex": data.hex()} for name, data in REFUSED],
    }


def frames() -> dict[str, Any]:
    """Return the vector of framing."""
    bodies = [b"", b"a", encode(Bye(0)), derived("body", 300)]
    return {"bodies": [body.hex() for body in bodies], "stream": b"".join(map(frame, bodies)).hex()}


def channel() -> dict[str, Any]:
    """Return one whole connection."""
    keys = {
        name: derived(name)
        for name in (
            "network_key",
            "dialler_static",
            "dialler_ephemeral",
            "listener_static",
            "listener_ephemeral",
        )
    }
    network = keys["network_key"]
    dialler = Channel(True, keys["dialler_static"], network, ephemeral=keys["dialler_ephemeral"])
    listener = Channel(False, keys["listener_static"], network, ephemeral=keys["listener_ephemeral"])
    said = {"first": dialler.start()}
    listener.receive(said["first"])
    said["second"] = listener.outgoing()
    dialler.receive(said["second"])
    said["third"] = dialler.outgoing()
    listener.receive(said["third"])
    records = []
    for side, sender in (("dialler", dialler), ("listener", listener), ("dialler", dialler)):
        body = encode(Hello(1, 1, (), side, derived(side, 16))) if len(records) < 2 else b""
        records.append({"from": side, "frame": body.hex(), "bytes": sender.send(body).hex()})
    known = {
        "handshake_hash": dialler.handshake_hash,
        "dialler_id": listener.peer,
        "listener_id": dialler.peer,
    }
    whole = {name: data.hex() for name, data in {**keys, **said, **known}.items()}
    return whole | {
        "records": records,
        "refused_third": {"bit 255 of the node id": _bit_255(keys).hex()},
        "turned_away": {"code": int(ByeCode.LIMIT), "bytes": _refusal(said["first"], keys).hex()},
    }


def _refusal(first: bytes, keys: dict[str, bytes]) -> bytes:
    """Return what a listener without room says in the place of the second message."""
    listener = Channel(False, keys["listener_static"], keys["network_key"])
    listener.receive(first)
    return listener.refuse(ByeCode.LIMIT)


def _bit_255(keys: dict[str, bytes]) -> bytes:
    """Return the third message of a dialler whose id is not canonical: X25519 takes it for the right one."""
    network = keys["network_key"]
    dialler = Channel(True, keys["dialler_static"], network, ephemeral=keys["dialler_ephemeral"])
    listener = Channel(False, keys["listener_static"], network, ephemeral=keys["listener_ephemeral"])
    listener.receive(dialler.start())
    handshake = dialler._handshake
    node = crypto_scalarmult_base(keys["dialler_static"])
    node = node[:31] + bytes([node[31] | 0x80])
    handshake._write_static = lambda: handshake._symmetric.encrypt_and_hash(node)  # type: ignore[method-assign]
    dialler.receive(listener.outgoing())
    return dialler.outgoing()


def write(directory: Path = VECTORS) -> None:
    """Write all files."""
    for name, vectors in (("messages", messages()), ("frames", frames()), ("channel", channel())):
        text = json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"
        (directory / f"wire_{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
