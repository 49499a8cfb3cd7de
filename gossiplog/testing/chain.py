"""An author of a test's own, who is at no node.

Responsible for: signing one log, segment by segment, and a proof that it forked.
Must not know: who is given what it signs.
Invariant: what is signed continues what was signed before.

>>> ann = Chain(1)
>>> [(segment.first, segment.last) for segment in ann.write(b"one", b"two") + ann.write(b"three")]
[(1, 2), (3, 3)]
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog.arguments import wrong
from gossiplog.log.body import encode_body
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.store.interface import PutSegment

WRITTEN_MS = 1_000
"""The timestamp of entries of which nobody said when they were written."""


class Chain:
    """I sign the log of ``author`` in a test; ``head`` is how far it is, ``segments`` what I signed."""

    def __init__(self, key: Keypair | int = 1) -> None:
        """Sign with a key pair, or with the one that a number decides."""
        if isinstance(key, bool) or not isinstance(key, Keypair | int) or (isinstance(key, int) and key < 0):
            raise wrong("key", "a Keypair, or a number from 0 on", key)
        self.keypair = Keypair(key.to_bytes(32, "big")) if isinstance(key, int) else key
        self.author = self.keypair.author
        self.head = Head(0, genesis_id(self.author))
        self.segments: list[Segment] = []

    def extend(self, bodies: Sequence[bytes]) -> list[Segment]:
        """Continue the log with ``bodies``, in as few segments as they fit."""
        made, self.head = build(self.keypair, self.head, bodies)
        self.segments += made
        return made

    def write(self, *payloads: bytes, timestamp_ms: int = WRITTEN_MS) -> list[Segment]:
        """Continue the log with entries of these ``payloads``, in as few segments as they fit."""
        return self.extend([encode_body(timestamp_ms, payload) for payload in payloads])

    def write_each(self, count: int, payload: bytes = b"") -> list[Segment]:
        """Continue the log with so many segments of one entry, each of which has its number for its timestamp."""
        return [one for _ in range(count) for one in self.write(payload, timestamp_ms=self.head.seq)]

    def put(self, *bodies: bytes) -> PutSegment:
        """Continue the log with ``bodies``, which fit one segment; return the write of it."""
        [segment] = self.extend(bodies)
        return PutSegment(segment, self.head)

    def fork(self) -> ForkProof:
        """Return a proof that the log forked at its first segment."""
        [other], _ = build(self.keypair, Head(0, genesis_id(self.author)), [b"another beginning"])
        proof = build_proof(self.segments[0], other)
        if proof is None:
            raise ValueError("the first segment of this log is that other beginning")
        return proof
