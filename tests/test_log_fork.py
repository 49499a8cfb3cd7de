"""Forks: a proof can always be made from what disagrees, and nothing else is one."""

from __future__ import annotations

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadForkProofError, InvalidValueError
from gossiplog.limits import MAX_PROOF_FILE_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENT_ENTRIES
from gossiplog.log.fork import FILE_MAGIC, ForkProof, build_proof, decode_proof, encode_proof, verify_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import (
    Head,
    Segment,
    build,
    drop_payloads,
    has_holes,
    id_at,
    signed_head,
    tail_after,
)

PAIR = Keypair(bytes(32))
START = Head(0, genesis_id(PAIR.author))
MAX_PROOF_BYTES = 129 * 1024 + 200


def log(bodies: list[bytes], head: Head = START) -> Segment:
    [segment], _ = build(PAIR, head, bodies)
    return segment


def after(segment: Segment, seq: int) -> Segment:
    return tail_after(segment, seq, id_at(segment, seq))


def a_proof() -> ForkProof:
    proof = build_proof(log([b"a", b"b"]), log([b"a", b"B", b"C" * 50]))
    assert proof is not None
    return proof


class Building(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(
        st.lists(st.binary(max_size=60), max_size=4),
        st.lists(st.binary(max_size=60), min_size=1, max_size=4),
        st.lists(st.binary(max_size=60), min_size=1, max_size=4),
        st.data(),
    )
    def test_always_from_what_disagrees(
        self, common: list[bytes], ours: list[bytes], theirs: list[bytes], data: st.DataObject
    ) -> None:
        left, right = log(common + ours), log(common + theirs)
        left = after(left, data.draw(st.integers(0, left.last)))
        right = after(right, data.draw(st.integers(0, right.last)))
        proof = build_proof(left, right)
        seq = min(left.last, right.last)
        meet = seq >= max(left.first, right.first) - 1
        if not meet or id_at(left, seq) == id_at(right, seq):
            self.assertIsNone(proof)
            self.assertIsNone(build_proof(right, left))
            return
        assert proof is not None
        verify_proof(proof)
        self.assertEqual(proof.seq, seq)
        self.assertEqual(decode_proof(encode_proof(proof)), proof)
        mirrored = build_proof(right, left)
        assert mirrored is not None
        verify_proof(mirrored)

    def test_bodies_stay_at_home(self) -> None:
        proof = build_proof(log([b"a"]), log([b"A", b"secret" * 100]))
        assert proof is not None
        verify_proof(proof)
        self.assertNotIn(b"secret", encode_proof(proof))

    def test_size(self) -> None:
        """However an author cuts segments, the proof is within 129 KiB and 200 bytes."""
        tiny = [b"%d" % n for n in range(MAX_SEGMENT_ENTRIES)]
        mixed = [b"x" * 26 if n % 2 else b"y" * 32 for n in range(MAX_SEGMENT_ENTRIES)]
        large = [b"x" * 2**20]
        hashes = drop_payloads(log([b"x" * 33] * 3700), range(1, 3701))
        for theirs in (log(tiny), log(mixed), log(large), log([b"x" * 120] * 1060), hashes):
            for ours in (
                signed_head(PAIR, Head(1, bytes(32))),
                signed_head(PAIR, Head(theirs.last, bytes(32))),
            ):
                proof = build_proof(ours, theirs)
                assert proof is not None
                verify_proof(proof)
                self.assertLessEqual(len(encode_proof(proof)), MAX_PROOF_BYTES)
                if theirs is hashes:
                    self.assertTrue(proof.segment.count == 0 or has_holes(proof.segment))

    def test_two_authors_never_fork(self) -> None:
        other = signed_head(Keypair(b"\1" * 32), Head(1, bytes(32)))
        self.assertRaises(InvalidValueError, build_proof, log([b"a"]), other)


class Verifying(SynchronousTestCase):
    def test_nobody_else_can_frame_an_author(self) -> None:
        """Every single change of an honest author's statements is noticed."""
        honest = log([b"a", b"b", b"c"])
        statement = signed_head(PAIR, Head(2, id_at(honest, 2)))
        for tail in (after(honest, 2), after(honest, 3), honest):
            proof = ForkProof(PAIR.author, 2, statement.previous, statement.signature, tail)
            self.assertRaises(BadForkProofError, verify_proof, proof)
            forged = proof._replace(segment=tail._replace(previous=b"\1" * 32))
            self.assertRaises(BadForkProofError, verify_proof, forged)

    def test_nor_with_a_log_of_their_own(self) -> None:
        """Two signed statements about one seq, by two authors."""
        other = Keypair(bytes([1]) * 32)
        [theirs], _ = build(other, Head(2, b"\1" * 32), [b"c"])
        ours = log([b"a", b"b"])
        proof = ForkProof(PAIR.author, 2, id_at(ours, 2), ours.signature, theirs)
        self.assertRaises(BadForkProofError, verify_proof, proof)
        self.assertRaises(BadForkProofError, verify_proof, proof._replace(author=other.author))

    def test_no_bodies_beyond_the_size_of_a_hash(self) -> None:
        for size, accepted in ((33, True), (34, False), (200_000, False)):
            tail = log([b"x" * size], Head(4, b"\1" * 32))
            signature = PAIR.sign_head(4, b"\2" * 32)
            proof = ForkProof(PAIR.author, 4, b"\2" * 32, signature, tail)
            if accepted:
                verify_proof(proof)
            else:
                self.assertRaises(BadForkProofError, verify_proof, proof)

    def test_types(self) -> None:
        good = a_proof()
        for field in ("author", "seq", "id", "signature"):
            for wrong in (None, "x" * 32, 5.0, b"", True):
                self.assertRaises(BadForkProofError, verify_proof, good._replace(**{field: wrong}))
        for field in Segment._fields:
            broken = good._replace(segment=good.segment._replace(**{field: None}))
            self.assertRaises(BadForkProofError, verify_proof, broken)


class Bytes(SynchronousTestCase):
    def test_cut_anywhere(self) -> None:
        encoded = encode_proof(a_proof())
        for end in range(len(encoded)):
            self.assertRaises(BadForkProofError, decode_proof, encoded[:end])
        self.assertRaises(BadForkProofError, decode_proof, encoded + b"\0")

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, noise: bytes) -> None:
        self.assertRaises(BadForkProofError, decode_proof, noise)
        self.assertRaises(BadForkProofError, decode_proof, b"\x95" + noise)

    @settings(derandomize=True, deadline=None)
    @given(st.data())
    def test_any_change(self, data: st.DataObject) -> None:
        encoded = bytearray(encode_proof(a_proof()))
        bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
        encoded[bit // 8] ^= 1 << bit % 8
        self.assertRaises(BadForkProofError, lambda: verify_proof(decode_proof(bytes(encoded))))

    def test_wrong_shapes(self) -> None:
        author, seq, entry_id, signature, segment = a_proof()
        for wrong in (
            [],
            [author, seq, entry_id, signature],
            [author, seq, entry_id, signature, []],
            [author, seq, entry_id, signature, segment],
            [author, seq, entry_id, signature, None],
            [author, "1", entry_id, signature, segment[1:]],
            [author, seq, 7, signature, segment[1:]],
            [author, seq, entry_id, True, segment[1:]],
            [author[1:], seq, entry_id, signature, segment[1:]],
            {"author": author},
        ):
            self.assertRaises(BadForkProofError, decode_proof, msgpack.packb(wrong))
        self.assertRaises(BadForkProofError, decode_proof, None)

    def test_limit(self) -> None:
        self.assertEqual(MAX_PROOF_BYTES, MAX_SEGMENT_BYTES + 200)


class Files(SynchronousTestCase):
    """A proof as a file: text that anybody may hand on, and nobody can make but the author."""

    def test_round_trip(self) -> None:
        """ASCII in short lines, as mails want it; the ends of lines may have been changed on the way."""
        proof = a_proof()
        content = proof.dump()
        self.assertTrue(content.isascii())
        self.assertLess(max(map(len, content.splitlines())), 80)
        for same in (content, content.replace(b"\n", b"\r\n"), content[:-1]):
            self.assertEqual(ForkProof.load(same), proof)

    def test_cut_anywhere(self) -> None:
        """All of it is needed, but for the end of the last line."""
        content = a_proof().dump()
        for end in range(len(content) - 1):
            self.assertRaises(BadForkProofError, ForkProof.load, content[:end])
        for more in (b"\n", b"=", b"A", content):
            self.assertRaises(BadForkProofError, ForkProof.load, content + more)

    def test_any_other_byte(self) -> None:
        """Each byte, changed to each other one, is noticed; only LF may have become CR."""
        proof = a_proof()
        content = proof.dump()
        for place in range(len(content)):
            for value in {
                0,
                9,
                10,
                13,
                32,
                43,
                45,
                61,
                65,
                95,
                128,
                255,
                content[place] ^ 1,
                content[place] ^ 32,
            }:
                changed = content[:place] + bytes([value]) + content[place + 1 :]
                if changed.splitlines() == content.splitlines():
                    self.assertEqual(ForkProof.load(changed), proof)
                else:
                    self.assertRaises(BadForkProofError, ForkProof.load, changed)

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, noise: bytes) -> None:
        """Nothing but the one error, whatever is in the file."""
        about = a_proof().dump().splitlines()[1]
        for content in (noise, FILE_MAGIC + b"\n" + noise, b"\n".join((FILE_MAGIC, about, noise))):
            self.assertRaises(BadForkProofError, ForkProof.load, content)

    def test_nobody_else_can_frame_an_author(self) -> None:
        """One statement of the author, and another one signed with any other key."""
        proof = a_proof()
        stranger = Keypair(b"\1" * 32)
        head = Head(2, b"\2" * 32)
        forged = stranger.sign_head(*head)
        for wrong in (
            proof._replace(signature=stranger.sign_head(proof.seq, proof.id)),
            proof._replace(segment=signed_head(stranger, head)._replace(author=PAIR.author)),
            proof._replace(author=stranger.author, segment=proof.segment._replace(author=stranger.author)),
            ForkProof(PAIR.author, 2, proof.id, forged, Segment(PAIR.author, 3, 0, head.id, forged, b"")),
        ):
            self.assertRaises(BadForkProofError, ForkProof.load, wrong.dump())

    def test_limit(self) -> None:
        """The largest proof fits; what is longer is not even looked at."""
        tiny = log([b"x" * 29] * MAX_SEGMENT_ENTRIES)
        largest = build_proof(signed_head(PAIR, Head(1, bytes(32))), tiny)
        assert largest is not None
        self.assertGreater(len(encode_proof(largest)), MAX_PROOF_BYTES * 0.95)
        content = largest.dump()
        self.assertEqual(ForkProof.load(content), largest)
        self.assertLess(len(content) * MAX_PROOF_BYTES // len(encode_proof(largest)), MAX_PROOF_FILE_BYTES)
        padding = b"\n" * (MAX_PROOF_FILE_BYTES - len(content))
        for more, words in ((padding, "not as they were written"), (padding + b"\n", "it is longer than")):
            with self.assertRaisesRegex(BadForkProofError, words):
                ForkProof.load(content + more)
