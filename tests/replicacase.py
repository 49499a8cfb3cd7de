"""One replica, driven event by event, for the tests of its parts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Send
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import (
    Hello,
    Message,
)
from gossiplog.gossip.outbox import PROOF
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.session import Pause
from gossiplog.log.clock import Clock
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment, segment_bytes, verify
from gossiplog.testing.chain import Chain

ANN, BOB, OWN = (Keypair(bytes([number]) * 32) for number in (1, 2, 3))


def log(pair: Keypair, entries: int, text: bytes = b"") -> list[Segment]:
    """A log with one entry in each segment."""
    return Chain(pair).write_each(entries, text)


def proof_of(pair: Keypair) -> ForkProof:
    """That its author forked."""
    proof = build_proof(log(pair, 1, b"left")[0], log(pair, 1, b"right")[0])
    assert proof is not None
    return proof


class ReplicaCase(SynchronousTestCase):
    """A replica with open, settled sessions; :meth:`do` gives the effects of an event."""

    sessions = 3

    def setUp(self) -> None:
        """Peers 0, 1 and 2, which dialled us, and hold nothing either."""
        self.now = 100.0
        self.clock = Clock()
        self.heads = Heads(self.clock, set(), {OWN.author})
        self.proofs: dict[bytes, ForkProof] = {}
        self.replica = Replica(bytes(32), bytes(16), self.heads)
        for number in range(self.sessions):
            self.open(number)

    def open(self, number: int, root: bytes | None = None) -> list[Effect]:
        """A peer connects and greets, with our root or another."""
        opened = self.do(events.Opened(number, bytes([number + 1]) * 32, bytes(32), dialled=False))
        [hello] = [e.message for e in opened if isinstance(e, Send) and isinstance(e.message, Hello)]
        return self.hear(
            number, Hello(1, 1, (), "test", bytes(16), root=hello.root if root is None else root)
        )

    def do(self, event: events.Event, after: float = 0.0) -> list[Effect]:
        """Let something happen; proofs that are to be read are there at once."""
        self.now += after
        effects = self.replica.handle(event, self.now)
        for effect in tuple(effects):
            if isinstance(effect, events.StoreFork):
                self.proofs[effect.proof.author] = effect.proof
            elif isinstance(effect, events.Load) and all(first == PROOF for _, first in effect.wants):
                effects.remove(effect)
                read = tuple(self.proofs[author] for author, _ in effect.wants)
                effects += self.do(events.Loaded(effect.session, read))
        return effects

    def freeze(self, proof: ForkProof) -> None:
        """The disk has a proof."""
        self.proofs[proof.author] = proof
        self.heads.freeze(proof.author)

    def hear(self, number: int, *messages: Message) -> list[Effect]:
        """Messages come."""
        return [effect for m in messages for effect in self.do(events.Received(number, m))]

    def commit(self, *segments: Segment, done: bool = True) -> list[Effect]:
        """These are on disk."""
        for segment in segments:
            self.clock.replace(segment.author, verify(segment))
        size = sum(map(segment_bytes, segments)) if done else 0
        return self.do(events.Committed(segments, size))

    def tick(self, seconds: float) -> list[Effect]:
        """Let time pass, with every tick that is due."""
        effects = []
        end = self.now + seconds
        while (deadline := self.replica.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            effects += self.do(events.Tick())
        self.now = end
        return effects

    def is_waited_for(self, number: int) -> bool:
        """Whether a peer is not read since it cost too much."""
        return Pause.COST in self.replica.core.sessions[number].pauses

    def sent(self, effects: list[Effect], kind: type[Message]) -> list[tuple[int, Message]]:
        """Messages of a type that went out, with their sessions."""
        return [
            (e.session, e.message) for e in effects if isinstance(e, Send) and isinstance(e.message, kind)
        ]

    def given(self, effects: list[Effect]) -> list[tuple[int, int]]:
        """(session, first seq) of segments that went out."""
        return [(number, message.first) for number, message in self.sent(effects, Segment)]  # type: ignore[union-attr]
