"""Ring 3: values are what they were.  Written by ``python -m tests.vectors.generate``, then frozen.

Only the JSON is read, so that another implementation can be held to the same files in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import errors
from gossiplog.gossip import heads as holdings
from gossiplog.log import fingerprint, keys
from gossiplog.log.body import Reference, decode_body
from gossiplog.log.causal import Causal
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof, build_proof, decode_proof, encode_proof, verify_proof
from gossiplog.log.network import Network
from gossiplog.log.opened import Ready
from gossiplog.log.place import place_bytes
from gossiplog.log.segment import Head, Segment, build, chain_ids, check_shape, drop_payloads, verify

VECTORS = Path(__file__).parent / "vectors"
hexed = bytes.fromhex


def load(name: str) -> Any:
    return json.loads((VECTORS / f"log_{name}.json").read_text(encoding="utf-8"))


def read_segment(fields: dict[str, Any]) -> Segment:
    bodies = fields["bodies"]
    joined = (
        hexed(bodies) if isinstance(bodies, str) else b"".join(hexed(part) * times for part, times in bodies)
    )
    author, previous, signature = (hexed(fields[name]) for name in ("author", "previous", "signature"))
    return Segment(author, fields["first"], fields["count"], previous, signature, joined)


def read_proof(fields: dict[str, Any]) -> ForkProof:
    author, entry_id, signature = (hexed(fields[name]) for name in ("author", "id", "signature"))
    return ForkProof(author, fields["seq"], entry_id, signature, read_segment(fields["segment"]))


def read_heads(heads: list[Any]) -> list[tuple[bytes, Head]]:
    return [(hexed(author), Head(seq, hexed(entry_id))) for author, (seq, entry_id) in heads]


def raised(call: Callable[..., object], *arguments: object) -> str:
    """The name of the error of ours that a call raises; any other error passes."""
    try:
        call(*arguments)
    except errors.GossiplogError as error:
        return type(error).__name__
    return "nothing"


class KeyVectors(SynchronousTestCase):
    vectors = load("keys")

    def test_keys(self) -> None:
        for vector in self.vectors["keys"]:
            pair = keys.Keypair(hexed(vector["seed"]))
            self.assertEqual(pair.author.hex(), vector["author"])
            self.assertEqual(keys.genesis_id(pair.author).hex(), vector["genesis_id"])
            self.assertEqual(keys.short_key(pair.author), vector["short"])
            for kind, text in vector["texts"].items():
                self.assertEqual(keys.format_key(keys.KeyKind(kind), pair.author), text)
                self.assertEqual(keys.parse_key(keys.KeyKind(kind), text), pair.author)
            head = vector["head"]
            self.assertEqual(pair.sign_head(head["seq"], hexed(head["id"])).hex(), head["signature"])

    def test_texts_that_are_no_author(self) -> None:
        for reason, text in self.vectors["not_author_texts"].items():
            self.assertEqual(raised(keys.parse_author, text), "InvalidKeyError", reason)

    def test_networks(self) -> None:
        for vector in self.vectors["networks"]:
            network = Network.parse(vector["text"])
            self.assertEqual(network.key.hex(), vector["key"], vector["text"])
            self.assertEqual(network.discovery_id.hex(), vector["discovery_id"])

    def test_texts_that_are_no_node(self) -> None:
        for reason, text in self.vectors["not_node_texts"].items():
            refused = raised(keys.parse_key, keys.KeyKind.NODE, text)
            self.assertEqual(refused, "InvalidKeyError", reason)

    def test_texts_that_are_no_network(self) -> None:
        for text in self.vectors["not_networks"]:
            self.assertIn(raised(Network.parse, text), ("InvalidValueError", "InvalidKeyError"), repr(text))


class NumberVectors(SynchronousTestCase):
    def test_numbers_that_not_every_reader_of_json_keeps_are_text(self) -> None:
        def numbers(value: Any) -> list[int]:
            if isinstance(value, dict):
                value = list(value.values())
            if isinstance(value, list):
                return [number for each in value for number in numbers(each)]
            return [value] if isinstance(value, int) else []

        for path in sorted(VECTORS.glob("*.json")):
            found = numbers(json.loads(path.read_bytes()))
            self.assertLessEqual(max(found, default=0), 2**53, path.name)


class SignatureVectors(SynchronousTestCase):
    def test_all(self) -> None:
        vectors = load("signatures")
        self.assertGreater(len(vectors), 40)
        for vector in vectors:
            arguments = (
                hexed(vector["author"]),
                vector["seq"],
                hexed(vector["id"]),
                hexed(vector["signature"]),
            )
            if vector["accepted"]:
                keys.verify_head(*arguments)
                continue
            self.assertEqual(raised(keys.verify_head, *arguments), "BadSignatureError", vector["name"])


class BodyVectors(SynchronousTestCase):
    vectors = load("bodies")

    def test_valid(self) -> None:
        for vector in self.vectors["valid"]:
            after = tuple(Reference(hexed(author), seq, hexed(id16)) for author, seq, id16 in vector["after"])
            expected = vector["timestamp_ms"], hexed(vector["payload"]), after
            self.assertEqual(decode_body(hexed(vector["body"])), expected, vector["name"])

    def test_invalid(self) -> None:
        for vector in self.vectors["invalid"]:
            self.assertEqual(
                raised(decode_body, hexed(vector["body"])), "MalformedBodyError", vector["reason"]
            )


class ChainVectors(SynchronousTestCase):
    def test_ids(self) -> None:
        vector = load("chain")
        author, bodies = hexed(vector["author"]), [hexed(body) for body in vector["bodies"]]
        ids = [keys.genesis_id(author)]
        for body in bodies:
            ids.append(sha256(ids[-1] + sha256(body).digest()).digest())
        self.assertEqual([entry_id.hex() for entry_id in ids], vector["ids"])
        pair = keys.Keypair(bytes(32))
        [segment], _ = build(pair, Head(0, ids[0]), bodies)
        self.assertEqual(chain_ids(segment), ids[1:])


class SegmentVectors(SynchronousTestCase):
    vectors = load("segments")

    def test_valid(self) -> None:
        for vector in self.vectors["valid"]:
            segment = read_segment(vector["segment"])
            head = verify(segment)
            self.assertEqual(head.seq, segment.last)
            self.assertEqual([head.seq, head.id.hex()], vector["head"], vector["name"])
            if vector["ids"] is None:
                self.assertGreater(segment.count, 8)
            else:
                self.assertEqual([entry_id.hex() for entry_id in chain_ids(segment)], vector["ids"])

    def test_without_payloads(self) -> None:
        for vector in self.vectors["hashed"]:
            segment = read_segment(vector["segment"])
            dropped = drop_payloads(segment, range(segment.first, segment.last + 1))
            expected = read_segment(vector["segment"] | {"bodies": vector["dropped"]})
            self.assertEqual(dropped, expected, vector["name"])
            self.assertEqual(verify(dropped), verify(segment))

    def test_invalid(self) -> None:
        for vector in self.vectors["invalid"]:
            segment = read_segment(vector["segment"])
            self.assertEqual(raised(verify, segment), vector["error"], vector["reason"])
            if vector["error"] == "BadSignatureError":
                check_shape(segment)


class ClockVectors(SynchronousTestCase):
    vectors = load("clocks")

    def test_pairs(self) -> None:
        for vector in self.vectors["pairs"]:
            ours, theirs = Clock(read_heads(vector["ours"])), Clock(read_heads(vector["theirs"]))
            self.assertEqual(ours.compare(theirs).value, vector["order"])
            found = [[author.hex(), our, their] for author, our, their in ours.difference(theirs)]
            self.assertEqual(found, vector["difference"])
            self.assertEqual(ours.total(), vector["total"])
            self.assertEqual(ours.dump().hex(), vector["cursor"])
            self.assertEqual(Cursor.load(hexed(vector["cursor"])), Cursor.of(ours))
            ours.merge(theirs)
            self.assertEqual(list(ours.items()), read_heads(vector["merged"]))

    def test_cursor_without_ids(self) -> None:
        cursor = Cursor.load(hexed(self.vectors["cursor_without_ids"]))
        self.assertEqual([id8 for _, (_, id8) in cursor.items()], [b""])
        self.assertEqual(cursor.dump().hex(), self.vectors["cursor_without_ids"])

    def test_not_cursors(self) -> None:
        for reason, dumped in self.vectors["not_cursors"].items():
            self.assertEqual(raised(Cursor.load, hexed(dumped)), "InvalidValueError", reason)


class OrderVectors(SynchronousTestCase):
    vectors = load("order")

    def test_places(self) -> None:
        """In whatever order the logs come, and one entry after the other or all at once."""
        segments = {hexed(each["author"]): read_segment(each) for each in self.vectors["segments"]}
        for authors in permutations(segments):
            causal = Causal(lambda author: 0)
            causal.tick(0.0, 2**60)
            for author in authors:
                causal.hold(author, segments[author].last)
            found: list[Ready] = []
            for _ in range(100):
                for read in causal.ask():
                    causal.told(read, [segments[read.author]])
                found += causal.take(5)
                if causal.is_idle:
                    causal.untangle()
            self.assertEqual(len(found), len(self.vectors["places"]))
            for ready, vector in zip(found, self.vectors["places"], strict=True):
                wanted = vector["ms"], vector["n"], hexed(vector["author"]), vector["seq"]
                self.assertEqual(ready.place, wanted)
                place = place_bytes(ready.place[:2], ready.place.author, ready.place.seq)
                self.assertEqual(place.hex(), vector["place"])


class ForkVectors(SynchronousTestCase):
    vectors = load("fork_proofs")

    def test_built(self) -> None:
        for vector in self.vectors["built"]:
            proof = build_proof(read_segment(vector["ours"]), read_segment(vector["theirs"]))
            if vector["proof"] is None:
                self.assertIsNone(proof, vector["name"])
                continue
            expected = read_proof(vector["proof"])
            self.assertEqual(proof, expected, vector["name"])
            verify_proof(expected)
            self.assertEqual(encode_proof(expected).hex(), vector["encoded"])
            self.assertEqual(decode_proof(hexed(vector["encoded"])), expected)

    def test_invalid(self) -> None:
        for vector in self.vectors["invalid"]:
            self.assertEqual(
                raised(verify_proof, read_proof(vector["proof"])), "BadForkProofError", vector["reason"]
            )

    def test_files(self) -> None:
        for vector in self.vectors["files"]:
            proof = decode_proof(hexed(vector["encoded"]))
            self.assertEqual(proof.dump().decode(), vector["text"])
            self.assertEqual(ForkProof.load(vector["text"].encode()), proof)

    def test_no_files(self) -> None:
        for reason, text in self.vectors["not_files"].items():
            self.assertEqual(raised(ForkProof.load, text.encode()), "BadForkProofError", reason)


class FingerprintVectors(SynchronousTestCase):
    vectors = load("fingerprints")

    def setUp(self) -> None:
        self.salts = [hexed(salt) for salt in self.vectors["handshake_hashes"]]
        heads = [(hexed(author), Head(seq, hexed(id_))) for author, seq, id_ in self.vectors["heads"]]
        proofs = {
            author: ForkProof(
                author, 1, bytes(32), bytes(64), Segment(author, 2, 0, bytes(32), bytes(64), b"")
            )
            for author, head in heads
            if not head.seq
        }
        self.held = holdings.Heads(Clock(pair for pair in heads if pair[1].seq), proofs, set())

    def test_items(self) -> None:
        for vector in self.vectors["items"]:
            author, seq, entry_id = vector["head"]
            number = fingerprint.item(hexed(author), seq, hexed(entry_id))
            self.assertEqual(number.to_bytes(256, "big").hex(), vector["item"])

    def test_ranges(self) -> None:
        tree = fingerprint.FingerprintTree()
        for author, seq, entry_id in reversed(self.vectors["heads"]):
            tree.set(hexed(author), seq, hexed(entry_id))
        for vector in self.vectors["ranges"]:
            count, total = tree.range(hexed(vector["lower"]), hexed(vector["upper"]))
            self.assertEqual((count, total.to_bytes(256, "big").hex()), (vector["count"], vector["total"]))
            on_the_wire = [holdings.fingerprint(salt, count, total).hex() for salt in self.salts]
            self.assertEqual(on_the_wire, vector["fingerprints"])
            if not (vector["lower"] or vector["upper"]):
                self.assertEqual([self.held.root(salt).hex() for salt in self.salts], vector["fingerprints"])

    def test_checks(self) -> None:
        clock = {id_: author for author, (_, id_) in self.held.clock.items()}
        for vector in self.vectors["checks"]:
            author = clock[hexed(vector["id"])]
            said = [self.held.item(author, salt)[1].hex() for salt in self.salts]
            self.assertEqual(said, vector["checks"])
