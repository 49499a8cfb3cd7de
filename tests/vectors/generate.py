"""Write the vectors of values: ``python -m tests.vectors.generate`` in a checkout.

They are frozen: a change of these files is a change of the format.  Bytes are hex; a long run of bytes is a list of
[hex, times].  Everything derives from fixed seeds, so writing them again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack

from gossiplog.gossip import heads as holdings
from gossiplog.limits import MAX_NESTING
from gossiplog.log import fingerprint, keys, segment
from gossiplog.log.body import Reference, decode_body, encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.keys import KeyKind, Keypair, genesis_id
from gossiplog.log.network import Network
from gossiplog.log.segment import Head
from tests.vectors.fork_cases import forks
from tests.vectors.order_cases import order
from tests.vectors.segment_cases import segments
from tests.vectors.signature_cases import cases

VECTORS = Path(__file__).parent
NAMES = (
    "test",
    "gossip",
    "Grüße",
    "Gru\u0308\u00dfe",
    "日本",
    "x " * 63 + "xx",
    "name:network_friends",
    "name:@x",
)
BASE32_ZEROS = "a" * 55


def seed(name: str) -> bytes:
    return sha256(f"gossiplog vectors {name}".encode()).digest()


def write(name: str, vectors: Any) -> None:
    text = json.dumps(vectors, indent=1, ensure_ascii=False, default=bytes.hex)
    (VECTORS / f"log_{name}.json").write_text(text + "\n", encoding="utf-8")


def keys_and_networks() -> dict[str, Any]:
    pairs = [Keypair(bytes(32)), Keypair(seed("ann")), Keypair(seed("bob"))]
    text = keys.format_author(pairs[1].author)
    node = keys.format_key(KeyKind.NODE, pairs[1].author)
    last = text[-1]
    spare = text[:-1] + "abcdefghijklmnopqrstuvwxyz234567"["abcdefghijklmnopqrstuvwxyz234567".index(last) ^ 1]
    wrong = {
        "empty": "",
        "another kind": node,
        "unknown kind": "writer" + text[6:],
        "upper case": text[:7] + text[7:].upper(),
        "one character short": text[:-1],
        "one character long": text + "a",
        "padded": text + "=",
        "not in the alphabet": text[:20] + "1" + text[21:],
        "spare bits set": spare,
        "one character wrong": text[:10] + ("b" if text[10] == "a" else "a") + text[11:],
        "checksum of nothing": f"author_{BASE32_ZEROS}",
        "no prefix": text[7:],
        "hex, too short": pairs[1].author.hex()[:-2],
        "hex, not hex": "g" + pairs[1].author.hex()[1:],
        "surrounding space": f" {text} ",
    }
    return {
        "keys": [
            {
                "seed": pair.seed,
                "author": pair.author,
                "genesis_id": genesis_id(pair.author),
                "short": keys.short_key(pair.author),
                "texts": {
                    kind.value: keys.format_key(kind, pair.author)
                    for kind in KeyKind
                    if kind is not KeyKind.NODE or keys.is_node_id(pair.author)
                },
                "head": {"seq": 7, "id": seed("id"), "signature": pair.sign_head(7, seed("id"))},
            }
            for pair in pairs
        ],
        "not_author_texts": wrong,
        "not_node_texts": {
            "bit 255": keys.format_key(KeyKind.NODE, bytes([9]) + bytes(30) + b"\x80"),
            "2^255 - 19": keys.format_key(KeyKind.NODE, (2**255 - 19).to_bytes(32, "little")),
            "bit 255, hex": (bytes([9]) + bytes(30) + b"\x80").hex(),
        },
        "networks": [
            {"text": text, "key": network.key, "discovery_id": network.discovery_id}
            for text in (
                *NAMES,
                keys.format_key(KeyKind.NETWORK, seed("network")),
                seed("network").hex(),
                seed("network").hex().upper(),
                keys.format_author(pairs[1].author),
            )
            for network in [Network.parse(text)]
        ],
        "not_networks": [
            "",
            "x" * 129,
            "a\nb",
            "a\u0000",
            "\u0085",
            node,
            "author_x",
            "network_",
            "network_friends",
            "Network_friends",
            " garden",
            "gar\u200bden",
            "name:",
            seed("network").hex()[:63],
            keys.format_key(KeyKind.NETWORK, seed("network")).upper(),
        ],
    }


def bodies() -> dict[str, Any]:
    reference = Reference(seed("ann"), 3, seed("id")[:16])
    far = Reference(seed("bob"), 2**53 - 1, bytes(16))
    made = [
        encode_body(0, b""),
        encode_body(1_700_000_000_000, b"hello"),
        encode_body(2**53 - 1, bytes(range(256))),
        encode_body(1, b"x", [reference, far]),
        encode_body(1, b"x", [reference] * 64),
    ]
    valid = {
        **{f"made {n}": body for n, body in enumerate(made)},
        "payload and integer not minimal": b"\xdc\x00\x02\xcf" + (5).to_bytes(8, "big") + b"\xc5\x00\x01a",
        "empty after": msgpack.packb([5, b"a", []]),
        "further elements ignored": msgpack.packb([5, b"a", [reference], {"k": [1.5, None]}, "é", -1]),
        "many further elements": msgpack.packb([5, b"a", []] + [0] * 100),
        "a further element nested 1,024 deep": b"\x94\x05\xc4\x00\x90" + b"\x91" * MAX_NESTING + b"\xc0",
        "a further str that is not UTF-8": b"\x94\x05\xc4\x00\x90\xa1\xff",
        "after of reserved author lengths in any form": msgpack.packb(
            [
                5,
                b"a",
                [[b""], [bytes(33), {"k": 1.5}, "x", [None], 5, 6, 7, 8], reference, [b"short", 0, b""]],
            ]
        ),
        "nested 1,024 deep after a reserved author length": b"\x93\x05\xc4\x00\x91\x92\xc4\x00"
        + b"\x91" * MAX_NESTING
        + b"\xc0",
        "after of a reserved author length is skipped": msgpack.packb(
            [5, b"a", [[b"short", 1, bytes(16)], reference]]
        ),
    }
    invalid = {
        "empty": b"",
        "not an array": msgpack.packb({5: b"a"}),
        "one element": msgpack.packb([5]),
        "cut off": made[1][:-1],
        "byte behind": made[1] + b"\0",
        "timestamp negative": msgpack.packb([-1, b"a"]),
        "timestamp above 2^53-1": msgpack.packb([2**53, b"a"]),
        "timestamp float": msgpack.packb([5.0, b"a"]),
        "timestamp true": msgpack.packb([True, b"a"]),
        "payload str": msgpack.packb([5, "a"]),
        "payload nil": msgpack.packb([5, None]),
        "after nil": msgpack.packb([5, b"a", None]),
        "after of 65": msgpack.packb([5, b"a", [reference] * 65]),
        "reference of two": msgpack.packb([5, b"a", [[seed("ann"), 3]]]),
        "reference of four": msgpack.packb([5, b"a", [[*reference, 1]]]),
        "reference to seq 0": msgpack.packb([5, b"a", [[seed("ann"), 0, bytes(16)]]]),
        "reference to seq 2^53": msgpack.packb([5, b"a", [[seed("ann"), 2**53, bytes(16)]]]),
        "reference with a short id": msgpack.packb([5, b"a", [[seed("ann"), 1, bytes(15)]]]),
        "reference with a str author": msgpack.packb([5, b"a", [["a" * 32, 1, bytes(16)]]]),
        "a further element nested 1,025 deep": b"\x94\x05\xc4\x00\x90\x91" + b"\x91" * MAX_NESTING + b"\xc0",
        "nested 1,025 deep after a reserved author length": b"\x93\x05\xc4\x00\x91\x92\xc4\x00\x91"
        + b"\x91" * MAX_NESTING
        + b"\xc0",
        "a further element cut off": b"\x94\x05\xc4\x00\x90\xa2a",
        "a further byte c1": b"\x94\x05\xc4\x00\x90\xc1",
        "reference of none": msgpack.packb([5, b"a", [[]]]),
        "reference of nine, to a reserved author length": msgpack.packb([5, b"a", [[b"short", *range(8)]]]),
        "reference of nine and a map, to a reserved author length": msgpack.packb(
            [5, b"a", [[b"short", {"k": 1}, *range(7)]]]
        ),
        "reference that is no array": msgpack.packb([5, b"a", [b"short"]]),
        "nested arrays": b"\x93\x05\xc4\x00" + b"\x91" * 2000,
        "array that announces four billion": b"\xdd\xff\xff\xff\xff\x05\xc4\x00",
    }
    return {
        "valid": [
            {"name": name, "body": body, "timestamp_ms": ms, "payload": payload, "after": after}
            for name, body in valid.items()
            for ms, payload, after in [decode_body(body)]
        ],
        "invalid": [{"reason": reason, "body": body} for reason, body in invalid.items()],
    }


def chain() -> dict[str, Any]:
    pair = Keypair(seed("ann"))
    found = [encode_body(1_700_000_000_000 + n, b"entry %d" % n) for n in range(5)] + [b"", b"not a body"]
    [made], _ = segment.build(pair, Head(0, genesis_id(pair.author)), found)
    return {
        "author": pair.author,
        "bodies": found,
        "ids": [genesis_id(pair.author), *segment.chain_ids(made)],
    }


def clocks() -> dict[str, Any]:
    def clock(**seqs: int) -> Clock:
        return Clock(
            (seed(name), Head(seq, sha256(f"{name} {seq}".encode()).digest())) for name, seq in seqs.items()
        )

    pairs = [
        (clock(), clock()),
        (clock(ann=1), clock()),
        (clock(ann=1, bob=2), clock(ann=1, bob=2)),
        (clock(ann=1, bob=2), clock(ann=1, bob=3)),
        (clock(ann=2, bob=2), clock(ann=1, bob=3)),
        (clock(ann=5, cat=300), clock(bob=2**53 - 1, cat=70_000)),
        (clock(ann=5, bob=1, cat=9), clock(ann=5, cat=9)),
    ]
    unsure = Cursor()
    unsure.advance(seed("ann"), 4)

    def merged(ours: Clock, theirs: Clock) -> Clock:
        both = ours.copy()
        both.merge(theirs)
        return both

    return {
        "pairs": [
            {
                "ours": list(ours.items()),
                "theirs": list(theirs.items()),
                "order": ours.compare(theirs).value,
                "difference": ours.difference(theirs),
                "merged": list(merged(ours, theirs).items()),
                "total": ours.total(),
                "cursor": ours.dump(),
            }
            for ours, theirs in pairs
        ],
        "cursor_without_ids": unsure.dump(),
        "not_cursors": {
            "empty": b"",
            "not an array": msgpack.packb({}),
            "another version": msgpack.packb([2]),
            "version true": msgpack.packb([True]),
            "two of three": msgpack.packb([1, seed("ann"), 1]),
            "seq 0": msgpack.packb([1, seed("ann"), 0, bytes(8)]),
            "seq 2^53": msgpack.packb([1, seed("ann"), 2**53, bytes(8)]),
            "author of 31 bytes": msgpack.packb([1, bytes(31), 1, bytes(8)]),
            "id of 9 bytes": msgpack.packb([1, seed("ann"), 1, bytes(9)]),
            "twice": msgpack.packb([1, *(seed("ann"), 1, bytes(8)) * 2]),
            "not sorted": msgpack.packb([1, b"\2" * 32, 1, bytes(8), b"\1" * 32, 1, bytes(8)]),
            "byte behind": msgpack.packb([1]) + b"\0",
            "cut off": clock(ann=1).dump()[:-1],
            "nested": b"\x91" * 2000,
        },
    }


def fingerprints() -> dict[str, Any]:
    heads = sorted((seed(f"author {n}"), n * n + 1, seed(f"id {n}")) for n in range(200))
    heads[7] = (heads[7][0], fingerprint.FORKED_SEQ, fingerprint.FORKED_ID)
    tree = fingerprint.FingerprintTree(heads)
    salts = [seed("handshake"), seed("another handshake")]
    authors = [author for author, _, _ in heads]
    bounds = [(b"", b""), (b"", b"\x80"), (b"\x80", b""), (b"\x10", b"\x13\x37"), (authors[5], authors[99])]
    bounds += [(authors[5], authors[5] + b"\0"), (authors[5], authors[5]), (b"\xff" * 32, b"")]

    def ranges() -> Iterator[dict[str, Any]]:
        for lower, upper in bounds:
            count, total = tree.range(lower, upper)
            yield {
                "lower": lower,
                "upper": upper,
                "count": count,
                "total": total.to_bytes(256, "big"),
                "fingerprints": [holdings.fingerprint(salt, count, total) for salt in salts],
            }

    items = [{"head": head, "item": fingerprint.item(*head).to_bytes(256, "big")} for head in heads[6:8]]
    held = holdings.Heads(Clock((author, Head(seq, id_)) for author, seq, id_ in heads if seq), {}, set())
    checks = [
        {"id": id_, "checks": [held.item(author, salt)[1] for salt in salts]}
        for author, _, id_ in (heads[0], heads[99])
    ]
    return {
        "heads": heads,
        "items": items,
        "handshake_hashes": salts,
        "ranges": list(ranges()),
        "checks": checks,
    }


def signatures() -> list[dict[str, Any]]:
    return [case._asdict() for case in cases()]


def main() -> None:
    made: Iterable[tuple[str, Callable[[], Any]]] = (
        ("keys", keys_and_networks),
        ("signatures", signatures),
        ("bodies", bodies),
        ("chain", chain),
        ("segments", segments),
        ("clocks", clocks),
        ("fork_proofs", forks),
        ("fingerprints", fingerprints),
        ("order", order),
    )
    for name, make in made:
        write(name, make())


if __name__ == "__main__":
    main()
