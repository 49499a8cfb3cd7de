"""Targets: FILL, as who has something answers it, and what becomes of the answers on the disk of who asked."""

from __future__ import annotations

from itertools import accumulate, product

from gossiplog import limits
from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.gossip import backlog, events
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    Hello,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
)
from gossiplog.gossip.replica import Replica
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment, chain_ids, drop_payloads, entries, has_holes, merge, verify
from gossiplog.store.interface import PutFork, PutSegment
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import FillRow as FillRequest
from gossiplog.store.requests import RowFilled
from gossiplog.testing.sim.patching import patched
from gossiplog.wire.codec import decode, encode
from tests.fuzz.people import ANN, BOB, CAT, DAN, fork_of_cat, ids_of, log_of
from tests.fuzz.signed import altered
from tests.fuzz.speech import AUTHORS, SEQS
from tests.fuzz.target import Consumer, Target

PEOPLE = (ANN, BOB, CAT, DAN)
MOST_STEPS = 40
ALL_BYTES = 1 << 20
WAITS = (0.1, limits.GIVE_SECONDS, 30.0)


def holed_log(consumer: Consumer, pair: Keypair) -> list[Segment]:
    """Rows with somebody's log, some of them joined, without some of the payloads."""
    rows = list(log_of(pair))
    if consumer.chance(2):
        at = 1 + consumer.number(len(rows))
        rows[:at] = [merge(rows[:at])]
    return [
        drop_payloads(row, [n for n in range(row.first, row.last + 1) if consumer.chance(2)]) for row in rows
    ]


def check_filling(data: bytes) -> None:
    """Whatever comes, rows keep their ids, and what takes the place of a hash is what the author signed."""
    consumer = Consumer(data)
    pair = consumer.choose((ANN, BOB, DAN))
    backend = MemoryBackend()
    backend.commit([PutSegment(row, verify(row)) for row in holed_log(consumer, pair)])
    logs = Logs(backend)
    bodies = [body for segment in log_of(pair) for _, _, body in entries(segment)]
    while consumer.left:
        before = logs.holes().get(pair.author, 0)
        given = [_offer(consumer) for _ in range(1 + consumer.number(3))]
        outcome = logs.process([FillRequest(segment) for segment in given])
        assert (outcome.segments, outcome.heads) == ([], {}), "a payload is no entry"
        counts = [each.count for each in outcome.results if isinstance(each, RowFilled)]
        rows = logs.segments(pair.author, 1, ALL_BYTES)
        assert [entry_id for row in rows for entry_id in chain_ids(row)] == [*ids_of(pair)[1:]]
        held = [body for row in rows for _, _, body in entries(row)]
        assert all(body is None or body == bodies[n] for n, body in enumerate(held)), "nobody signed this"
        missing = held.count(None)
        assert sum(counts) == before - missing and min(counts) >= 0, "what was filled is miscounted"
        report = logs.verify()
        assert report.ok and report.holes == logs.holes() == ({pair.author: missing} if missing else {})


def _offer(consumer: Consumer) -> Segment:
    segment = consumer.choose([segment for pair in PEOPLE for segment in log_of(pair)])
    if consumer.chance(3):
        segment = merge(log_of(consumer.choose(PEOPLE))[: 1 + consumer.number(3)])
    if consumer.chance(3):
        segment = drop_payloads(segment, [segment.first + consumer.number(segment.count)])
    if consumer.chance(2):
        return segment
    try:
        sent = decode(encode(altered(consumer, segment)))
    except (MalformedMessageError, InvalidValueError, ValueError, TypeError, OverflowError, AttributeError):
        return segment
    return sent if isinstance(sent, Segment) else segment


class _Giver:
    """A node that holds logs with holes, its own whole, and a peer that may ask."""

    def __init__(self, consumer: Consumer) -> None:
        self.now = 1.0
        self.rows = {pair.author: holed_log(consumer, pair) for pair in (BOB, CAT, DAN)}
        self.rows[ANN.author] = [*log_of(ANN)]
        backend = MemoryBackend()
        writes = [PutSegment(row, verify(row)) for rows in self.rows.values() for row in rows]
        backend.commit([*writes, PutFork(fork_of_cat())])
        self.logs = Logs(backend)
        holdings = Heads(self.logs.clock.copy(), {CAT.author}, {ANN.author})
        self.replica = Replica(bytes(32), bytes(16), holdings)
        self.asked: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.answered: set[bytes] = set()
        self.handles: dict[int, bytes] = {}
        self.do(events.Opened(0, b"p" * 32, bytes(32), dialled=False))
        self.hear(Hello(1, 1, (), "fuzz", bytes(16)))
        self.session = self.replica.core.sessions[0]

    def hear(self, message: Message) -> None:
        """The peer says something."""
        if isinstance(message, Fill):
            self.asked.add(message.author)
            self.answered.discard(message.author)
        elif isinstance(message, Lazy | Refuse):
            names = {name for name in message.authors if name is not None}
            self.refused = self.refused | names if isinstance(message, Refuse) else self.refused - names
            self.answered |= names  # it takes back what it asked for
        self.do(events.Received(0, message))

    def do(self, event: events.Event, after: float = 0.0) -> None:
        """Let something happen; the disk answers at once."""
        self.now += after
        for effect in self.replica.handle(event, self.now):
            if isinstance(effect, events.Send):
                self.check(effect.message)
            elif isinstance(effect, events.LoadPayloads):
                _, author, ranges, limit_bytes = effect
                head = self.logs.clock.head(author)
                found = backlog.payloads(author, ranges, limit_bytes, self.logs.segments, head)
                self.do(events.PayloadsLoaded(0, author, found))
            elif isinstance(effect, events.Load):
                read = backlog.read(
                    effect.wants,
                    effect.limit_bytes,
                    self.logs.segments,
                    self.logs.fork_proof,
                    None,
                    effect.holes,
                )
                self.do(events.Loaded(0, *read))
            else:
                assert not isinstance(effect, events.End), effect

    def check(self, message: Message) -> None:
        """What goes out is what is stored, to who asked for it, wants it and may have it."""
        if isinstance(message, Have):
            self.handles |= {item.handle: item.author for item in message.items if item.author is not None}
            self.answered.update(self.handles[item.handle] for item in message.items if not item.seq)
        elif isinstance(message, Fork):
            self.answered.add(message.proof.author)
        elif isinstance(message, Ping):
            self.hear(Pong(message.token))
        elif isinstance(message, Segment):
            author = message.author
            assert author in self.asked and author not in self.refused and author != CAT.author
            assert author != ANN.author or self.replica.catch_up.of[self.session].is_settled, (
                "ours, before it may go"
            )
            if message.count:
                assert message in self.rows[author], "not as it is stored"
                assert has_holes(message) <= (author != ANN.author)
            else:
                assert verify(message) == self.logs.clock.head(author)
                self.answered.add(author)


def check_fill(data: bytes) -> None:
    """Any FILLs are answered with what there is, within bounds, and each comes to an end."""
    consumer = Consumer(data)
    giver = _Giver(consumer)
    giving = giver.replica.giving.of[giver.session]
    most = consumer.choose((3, 300, limits.MAX_ASKED_RANGES))
    passed_over: set[bytes] = set()
    with patched({(limits, "MAX_ASKED_RANGES"): most}):
        for _ in range(MOST_STEPS):
            if not consumer.left:
                break
            kind = consumer.number(8)
            name = consumer.take(32) if consumer.chance(8) else consumer.choose(AUTHORS)
            if kind == 0:
                giver.do(events.Tick(), consumer.choose(WAITS))
            elif kind == 1:
                giver.hear(consumer.choose((Lazy, Refuse))((name,)))
            elif kind == 2:
                giver.hear(Ranges(0, (Range(b"", RangeKind.LIST),)))
            elif kind == 3:
                giver.do(events.Writable(0))
            else:
                if consumer.chance(4):
                    giving.is_reading = True  # the disk is slow
                fill = _fill(consumer, name)
                others = giving.ranges - len(giving.asked.get(name, ()))
                passed_over.discard(name)
                if others + len(fill.ranges) > most:
                    passed_over.add(name)
                giver.hear(fill)
                if giving.is_reading and consumer.chance(2):
                    giver.do(events.PayloadsLoaded(0, name, backlog.Payloads(is_whole=True)))
            assert giving.ranges == sum(map(len, giving.asked.values())) <= most
            assert not giver.session.outbox.payloads or giver.session.outbox.payload_bytes > 0
        if giving.is_reading:
            giver.do(events.PayloadsLoaded(0, bytes(32), backlog.Payloads(is_whole=True)))
        for _ in range(len(AUTHORS) * 4):
            giver.do(events.Tick(), WAITS[-1])
            giver.do(events.Writable(0))
    is_settled = giver.replica.catch_up.of[giver.session].is_settled
    may_wait = passed_over | giver.refused | (set() if is_settled else {ANN.author})
    assert giver.asked - may_wait <= giver.answered, "a question without an answer"


def _fill(consumer: Consumer, name: bytes) -> Fill:
    ends = [*accumulate(1 + consumer.choose(SEQS) % 9 for _ in range(2 * consumer.number(6)))]
    ranges = [*zip(ends[::2], ends[1::2], strict=True)]
    if consumer.chance(4):
        ranges.append((1, consumer.choose((1, 9, limits.MAX_SEQ))))
    if consumer.chance(8):
        ranges *= 20
    fill = decode(encode(Fill(name, tuple(ranges[: limits.MAX_FILL_RANGES]))))
    assert isinstance(fill, Fill)
    return fill


TARGETS = [
    Target(
        "fill",
        check_fill,
        [bytes((a, b, *range(12), c, 7, 0, d, 0, 5, 3, 1)) * 3 for a, b, c, d in product((0, 1), repeat=4)],
    ),
    Target(
        "filling",
        check_filling,
        [bytes((who, 1, 1, 1, 0, kind, 0)) * 6 for who, kind in product(range(3), range(4))],
    ),
]
