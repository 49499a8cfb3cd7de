"""Targets: what peers say in whole sessions with a node that holds something, and in a reconcile alone."""

from __future__ import annotations

from itertools import islice

from gossiplog import limits
from gossiplog.errors import InvalidValueError, LimitExceededError, MalformedMessageError
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.messages import Ranges
from gossiplog.gossip.reconcile import Reconcile
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head, verify
from gossiplog.store.interface import PutFork, PutSegment
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.stranger import Stranger
from gossiplog.wire.codec import decode, encode
from tests.fuzz.people import ANN, BOB, CAT, DAN, fork_of_cat, ids_of, log_of, made
from tests.fuzz.speech import AUTHORS, EVERYBODY, Speech
from tests.fuzz.target import Consumer, Target

MOST_STEPS = 40
WAITS = (0.01, 0.1, 0.5, 3.0, 25.0)


class _Meeting:
    """A node with logs, one of them forked, and two peers that say anything."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.cluster = Cluster(1)
        checker = self.cluster.checker
        checker.may_fork.add(CAT.author)
        for segment in (
            *(segment for pair in EVERYBODY for segment in log_of(pair)),
            *made(CAT, [1, 4], b"other"),
        ):
            checker.sign(segment)
        self.node = self.cluster.add([ANN.seed])
        held = {ANN: 3, BOB: 1, CAT: 1, DAN: consumer.number(3)}
        writes = [
            PutSegment(segment, verify(segment))
            for pair, count in held.items()
            for segment in log_of(pair)[:count]
        ]
        self.node.backend.commit([*writes, PutFork(fork_of_cat())] if consumer.chance(2) else writes)
        self.peers = [Stranger(self.cluster, name) for name in ("one", "two")]
        self.cluster.start()
        for peer in self.peers:
            if consumer.chance(4):
                peer.greeting = Speech(consumer).hello()
            peer.dial(self.node)
        self.cluster.run(1.0)

    def go_on(self) -> None:
        """Let one more thing happen."""
        consumer = self.consumer
        peer = consumer.choose(self.peers)
        kind = consumer.number(16)
        if kind == 0:
            self.cluster.run(consumer.choose(WAITS))
        elif kind == 1:
            self.node.append(ANN.author, [consumer.some(20)])
        elif kind == 2:
            peer.hang_up()
        elif kind == 4:
            change = consumer.choose((Choices.follow, Choices.unfollow, Choices.block, Choices.unblock))
            deletes = change is Choices.block and consumer.chance(2)
            try:
                self.node.choose(change, consumer.choose(AUTHORS), delete=deletes)
            except InvalidValueError:
                pass  # it writes here, or is blocked
        elif kind == 3 and peer.end is not None:
            peer.end.read(consumer.chance(2))
        elif not peer.connected:
            peer.dial(self.node)
            self.cluster.run(0.2)
        elif peer.end is not None:
            peer.say_bytes(Speech(consumer, peer.end.salt).frame())

    def part(self) -> SimNode:
        """The peers go; an honest node comes, and gets all that there is."""
        for peer in self.peers:
            peer.answers.clear()
            if peer.end is not None:
                peer.end.read(True)
            peer.hang_up()
        self.cluster.run(limits.CLOSE_SECONDS + 1.0)
        other = self.cluster.add(1)
        self.cluster.connect(other, self.node)
        self.cluster.start()
        self.cluster.settle()
        return other


def check_session(data: bytes) -> None:
    """Whatever peers say, a node stays what it is: the checker of the simulator looks at it after every event.

    It holds only what authors signed, an offence changes nothing, memory is bounded, and afterwards it works as before.
    """
    consumer = Consumer(data)
    meeting = _Meeting(consumer)
    steps = 0
    while consumer.left and steps < MOST_STEPS:
        meeting.go_on()
        steps += 1
    other = meeting.part()
    node = meeting.node
    for author, head in node.heads.clock.items():
        held = other.heads.clock.head(author)
        shared = node.replica.core.wanted.wants(author) and author not in other.heads.forks
        assert held == head or not shared, "an honest peer does not get what is held"
    assert set(node.heads.forks) <= {CAT.author}, "an author was framed"
    assert node.heads.clock.seq(ANN.author) >= len(ids_of(ANN)) - 1, "the own log went back"
    assert len(node.replica.core.sessions) == 1 and not node.replica.writes.pending_bytes


def check_reconcile(data: bytes) -> None:
    """Any RANGES in any order: what it takes is bounded, what it answers is valid, and it learns no lies."""
    consumer = Consumer(data)
    heads = {pair.author: Head(n := len(ids_of(pair)) - 1, ids_of(pair)[n]) for pair in (ANN, BOB, DAN)}
    more = consumer.number(200)
    heads |= {bytes((7,)) * 30 + number.to_bytes(2, "big"): Head(1, bytes(32)) for number in range(more)}
    holdings = Heads(Clock(heads), {CAT.author}, {ANN.author})
    salt = bytes(32)
    before = holdings.root(salt)
    reconcile = Reconcile(salt, starts_even=consumer.chance(2))
    speaking = []
    for _ in range(MOST_STEPS):
        if not consumer.left:
            break
        try:
            message = decode(encode(Speech(consumer, salt).ranges()))
        except MalformedMessageError:
            continue
        assert type(message) is Ranges
        try:
            step = reconcile.receive(message, holdings)
        except LimitExceededError:
            assert len(reconcile._steps) == limits.MAX_STEPS
            continue
        said = {(item.author, item.seq) for part in message.ranges for item in part.items}
        assert all((author, seq) in said and seq > holdings.clock.seq(author) for author, seq in step.ahead)
        assert {*step.conflicts} <= {author for author, _ in said}
        speaking.append(step.replies)
        if consumer.chance(2):
            reply = next(speaking[0], None)
            assert reply is None or decode(encode(reply)) == reply
        assert sum(each.size for each in reconcile._steps) <= limits.MAX_WAITING_ITEMS + limits.MAX_LIST_ITEMS
    for replies in speaking:
        for reply in islice(replies, 1000):
            assert decode(encode(reply)) == reply, "an answer that no peer would take"
        assert next(replies, None) is None, "an answer without end"
    assert holdings.root(salt) == before and not any(step.speaking for step in reconcile._steps)


_TALKS = [bytes((0, 0, 0, 0)) + bytes((peer, 9, 2, kind)) * 8 for peer in (0, 1) for kind in range(12)]

TARGETS = [
    Target(
        "session", check_session, [*_TALKS, bytes(range(4, 200, 3)), bytes(range(250, 20, -2))], slow=True
    ),
    Target(
        "reconcile", check_reconcile, [bytes((a, b, 2, 3, 1, 0, 2)) * 5 for a in (0, 150) for b in range(6)]
    ),
]
