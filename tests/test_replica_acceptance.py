"""Ring 1: what a segment is worth to a node with a given head."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadSegmentError, BadSignatureError, PeerError
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, chain_ids, merge, signed_head, verify
from gossiplog.testing.chain import Chain

PAIR = Keypair(bytes(range(32)))
START = Head(0, genesis_id(PAIR.author))


def log(text: str, *counts: int) -> list[Segment]:
    """A log of segments with so many entries each; ``text`` makes it another branch."""
    chain = Chain(PAIR)
    for count in counts:
        chain.extend([encode_body(entry, text.encode()) for entry in range(count)])
    return chain.segments


def head_of(segment: Segment) -> Head:
    """Where a segment leads."""
    return verify(segment)


ONE, TWO, THREE = log("ours", 3, 3, 3)
WHOLE = merge([ONE, TWO, THREE])
OTHER_ONE, OTHER_TWO, OTHER_THREE = log("theirs", 3, 3, 3)
AFTER = {0: START, 3: head_of(ONE), 6: head_of(TWO), 9: head_of(THREE)}
FIVE = Head(5, chain_ids(TWO)[1])


def unsigned(segment: Segment) -> Segment:
    """The same with a signature that is none."""
    return segment._replace(signature=bytes(64))


class JudgeTests(SynchronousTestCase):
    """Every position of a segment to our head."""

    def test_verdicts(self) -> None:
        """The table of the specification."""
        for name, segment, ours, verdict in (
            ("all before our head", ONE, AFTER[6], Verdict.DUPLICATE),
            ("all before our head, of another log: not looked into", OTHER_ONE, AFTER[6], Verdict.DUPLICATE),
            ("all before our head, unsigned: not looked into", unsigned(ONE), AFTER[6], Verdict.DUPLICATE),
            ("ends at our head", TWO, AFTER[6], Verdict.DUPLICATE),
            ("ends at our head, unsigned: its id is enough", unsigned(TWO), AFTER[6], Verdict.DUPLICATE),
            ("ends at our head, merged", merge([ONE, TWO]), AFTER[6], Verdict.DUPLICATE),
            ("ends at our head with another id", OTHER_TWO, AFTER[6], Verdict.SUSPECT),
            ("begins behind a gap", THREE, AFTER[3], Verdict.AHEAD),
            ("begins behind a gap, unsigned: not looked into", unsigned(THREE), AFTER[3], Verdict.AHEAD),
            ("begins behind a gap, nothing held", TWO, START, Verdict.AHEAD),
            ("continues another log", OTHER_TWO, AFTER[3], Verdict.SUSPECT),
            ("overlaps, of another log", merge([OTHER_ONE, OTHER_TWO]), AFTER[3], Verdict.SUSPECT),
            ("the signed head we have", signed_head(PAIR, AFTER[6]), AFTER[6], Verdict.DUPLICATE),
            ("a signed head before ours", signed_head(PAIR, AFTER[3]), AFTER[6], Verdict.DUPLICATE),
            ("a signed head of our seq, another id", signed_head(PAIR, head_of(OTHER_TWO)), AFTER[6], Verdict.SUSPECT),
            ("a signed head beyond ours", signed_head(PAIR, AFTER[9]), AFTER[6], Verdict.AHEAD),
        ):  # fmt: skip
            self.assertIs(judge(segment, ours), verdict, name)

    def test_extensions(self) -> None:
        """What is new of it continues our log exactly, and ends where the segment ends."""
        for name, segment, ours in (
            ("the first", ONE, START),
            ("the next", TWO, AFTER[3]),
            ("everything, from nothing", WHOLE, START),
            ("everything, from the middle", WHOLE, AFTER[3]),
            ("everything, from within a segment", WHOLE, FIVE),
            ("the rest of a segment", TWO, FIVE),
        ):
            judged = judge(segment, ours)
            assert isinstance(judged, Extends), name
            self.assertEqual((judged.segment.first, judged.segment.previous), (ours.seq + 1, ours.id), name)
            self.assertEqual(judged.head, head_of(segment), name)
            self.assertEqual(verify(judged.segment), judged.head, name)

    def test_offences(self) -> None:
        """Only shape, chain and signature are."""
        for name, segment, ours, error in (
            ("unsigned", unsigned(ONE), START, BadSignatureError),
            ("signed for another seq", TWO._replace(signature=THREE.signature), AFTER[3], BadSignatureError),
            ("another previous", TWO._replace(previous=bytes(32)), AFTER[3], BadSignatureError),
            ("another genesis", ONE._replace(previous=bytes(32)), START, BadSegmentError),
            ("fewer entries than said", ONE._replace(bodies=ONE.bodies[:-1]), START, BadSegmentError),
            ("more entries than said", ONE._replace(bodies=ONE.bodies + b"\xc4\x00"), START, BadSegmentError),
            ("garbage", ONE._replace(bodies=b"\xc1"), START, BadSegmentError),
            ("garbage that ends at our head", ONE._replace(bodies=b"\xc1"), AFTER[3], BadSegmentError),
            ("too many entries", ONE._replace(count=4097), START, BadSegmentError),
            ("another branch, unsigned", unsigned(OTHER_TWO), AFTER[6], BadSignatureError),
        ):
            with self.assertRaises(PeerError, msg=name) as caught:
                judge(segment, ours)
            self.assertIs(type(caught.exception), error, name)
