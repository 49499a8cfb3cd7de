"""Rings 1 and 4: limits at which something changes but nothing is refused, and what peers may make us remember.

Limits of what is decoded are in ``test_wire_hostile``; docs/security.rst names the test of each.
"""

from __future__ import annotations

from unittest.mock import patch

import msgpack
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, InvalidValueError, MalformedBodyError
from gossiplog.gossip import events
from gossiplog.gossip.events import End
from gossiplog.gossip.messages import Have, HaveItem, Hello, Ping, Pong, Ranges
from gossiplog.gossip.outbox import HEADER_BYTES, Outbox
from gossiplog.log.body import Reference, decode_body, encode_body
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.pipes import Quality
from tests.replicacase import ReplicaCase, log

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
PAIRS = [Keypair(bytes([number]) * 32) for number in (11, 12, 13)]


def author(number: int) -> bytes:
    """One of many."""
    return number.to_bytes(32, "big")


def segment(of: bytes, first: int, size: int) -> Segment:
    """One that only looks like a segment, and counts ``size`` bytes against a window."""
    return Segment(of, first, 1, bytes(32), bytes(64), bytes(size - HEADER_BYTES))


class ReferenceTests(SynchronousTestCase):
    """MAX_REFERENCES: what a body may say was read before it."""

    def test_written_and_read(self) -> None:
        """As many as allowed, and one more: neither is written, nor read from another's body."""
        most = [Reference(A, 1, bytes(16))] * limits.MAX_REFERENCES
        body = encode_body(1, b"", most)
        self.assertEqual(len(decode_body(body).after), limits.MAX_REFERENCES)
        self.assertRaises(InvalidValueError, encode_body, 1, b"", [*most, most[0]])
        packed = msgpack.packb([1, b"", [list(reference) for reference in [*most, most[0]]]])
        self.assertRaises(MalformedBodyError, decode_body, packed)


class WindowTests(SynchronousTestCase):
    """What may be on its way to one peer, to the byte."""

    def setUp(self) -> None:
        """Nothing is queued."""
        self.outbox = Outbox()

    def test_output_window(self) -> None:
        """News goes while there is any room at all, and not when there is none."""
        self.outbox.news_credit_bytes = 0
        self.assertTrue(self.outbox.push(segment(A, 1, limits.OUTPUT_WINDOW_BYTES - 1)))
        self.assertTrue(self.outbox.push(segment(B, 1, 1000)))
        self.assertFalse(self.outbox.push(segment(C, 1, 1000)))
        self.outbox.refill()
        self.outbox.news_credit_bytes = 0
        self.assertTrue(self.outbox.push(segment(A, 2, limits.OUTPUT_WINDOW_BYTES)))
        self.assertFalse(self.outbox.push(segment(B, 2, 1000)))

    def test_news_window(self) -> None:
        """Behind a full window: up to the last byte of it, and not one more."""
        for size, fits in ((limits.NEWS_WINDOW_BYTES, True), (limits.NEWS_WINDOW_BYTES + 1, False)):
            self.outbox = Outbox()
            self.outbox.credit_bytes = 0
            self.assertEqual(self.outbox.push(segment(A, 1, size)), fits)
        self.outbox = Outbox()
        self.outbox.credit_bytes = 0
        self.assertTrue(self.outbox.push(segment(A, 1, limits.NEWS_WINDOW_BYTES - 1000)))
        self.assertTrue(self.outbox.push(segment(B, 1, 1000)))
        self.assertFalse(self.outbox.push(segment(C, 1, 1000)))

    def read(self, size: int) -> Outbox:
        """One that wants the log of A, has so many bytes of it ready, and owes news of B."""
        outbox = Outbox()
        outbox.credit_bytes = 0
        outbox.want(A, 1)
        outbox.next_load(lambda author, first: True)
        outbox.loaded((segment(A, 1, size),), lambda author, first: False)
        outbox.owe(B, 1)
        return outbox

    def test_read_ahead(self) -> None:
        """Backlog is read below half of it, news below twice: together with what one read gives, three times."""
        half, twice = limits.READ_AHEAD_BYTES // 2, 2 * limits.READ_AHEAD_BYTES
        for size, reads in (
            (half - 1, ((B, 1), (A, 2))),
            (half, ((B, 1),)),
            (twice - 1, ((B, 1),)),
            (twice, ()),
        ):
            self.assertEqual(self.read(size).next_load(lambda author, first: True), reads, size)

    def test_news_without_end(self) -> None:
        """Does not keep backlog waiting: they are read in turns."""
        self.outbox.want(author(1), 1)
        for number in range(2, 1000):
            self.outbox.owe(author(number), 1)
        self.assertIn((author(1), 1), self.outbox.next_load(lambda author, first: True)[:2])


class SurvivorTests(ReplicaCase):
    """SURVIVOR_SECONDS: a connection that was preferred to a newer one has to show that it is alive."""

    sessions = 0

    def meet_twice(self) -> None:
        """Session 0, which we dialled with the lower id; then the same process dials us."""
        for number, dialled in ((0, True), (1, False)):
            self.do(events.Opened(number, b"\xff" * 32, bytes(32), dialled=dialled))
            effects = self.hear(number, Hello(1, 1, (), "test", b"\1" * 16))
        self.assertIn(End(1, ByeCode.DUPLICATE, "already connected", False), effects)
        [(number, self.ping)] = self.sent(effects, Ping)
        self.assertEqual(number, 0)

    def test_it_does_not(self) -> None:
        """It is given up at the limit, not before."""
        self.meet_twice()
        self.assertEqual(self.tick(limits.SURVIVOR_SECONDS - 0.01), [])
        ended = [effect for effect in self.tick(0.02) if isinstance(effect, End)]
        self.assertEqual([(end.session, end.code) for end in ended], [(0, ByeCode.TIMEOUT)])

    def test_it_does(self) -> None:
        """At the last moment."""
        self.meet_twice()
        self.tick(limits.SURVIVOR_SECONDS - 0.01)
        assert isinstance(self.ping, Ping)
        self.hear(0, Pong(self.ping.token, bytes(16)))
        self.assertEqual([effect for effect in self.tick(5.0) if isinstance(effect, End)], [])


class SecondTests(ReplicaCase):
    """A second connection with one peer, whose id is higher or lower than ours: which is given up, and when."""

    sessions = 0
    HIGH, LOW = b"\xff" * 32, b"\1" * 32

    def setUp(self) -> None:
        super().setUp()
        self.replica.greeting.node = b"\x80" * 32

    def open(self, number: int, peer: bytes, *, dialled: bool) -> list[events.Effect]:
        """A connection is made; whoever is there says HELLO."""
        effects = self.do(events.Opened(number, peer, bytes(32), dialled=dialled))
        if not self.ends(effects):
            effects += self.hear(number, Hello(1, 1, (), "test", b"\1" * 16))
        return effects

    def ends(self, effects: list[events.Effect]) -> list[tuple[int, int]]:
        """What was ended, and with which code."""
        return [(effect.session, effect.code) for effect in effects if isinstance(effect, End)]

    def test_there_is_a_session(self) -> None:
        """We give our dial up before HELLO, whose id ever is lower and whoever dialled; unless it does not answer."""
        for number, peer, dialled in ((0, self.HIGH, False), (10, self.LOW, False), (20, b"\xfe" * 32, True)):
            self.open(number, peer, dialled=dialled)
            effects = self.open(number + 1, peer, dialled=True)
            self.assertEqual(self.ends(effects), [(number + 1, ByeCode.DUPLICATE)])
            self.assertEqual((self.sent(effects, Hello), len(self.sent(effects, Ping))), ([], 1))
            effects = self.do(events.Opened(number + 2, peer, bytes(32), dialled=True))
            self.assertEqual((self.ends(effects), len(self.sent(effects, Hello))), ([], 1))
            self.assertEqual(self.ends(self.tick(limits.SURVIVOR_SECONDS - 0.01)), [])
            self.assertEqual(self.ends(self.tick(0.02)), [(number, ByeCode.TIMEOUT)])
            self.do(events.Closed(number + 2, ByeCode.NORMAL, ""))

    def test_it_is_in_doubt(self) -> None:
        """After a move we dial beside."""
        self.open(0, self.HIGH, dialled=False)
        self.do(events.Doubted(0))
        self.assertEqual(self.ends(self.open(1, self.HIGH, dialled=True)), [(0, ByeCode.DUPLICATE)])

    def test_we_wait_for_its_hello(self) -> None:
        """Of two connections that are made at once the one we dialled with the lower id is never given up."""
        for number, peer, gone in ((0, self.HIGH, [(1, ByeCode.DUPLICATE)]), (10, self.LOW, [])):
            self.do(events.Opened(number, peer, bytes(32), dialled=True))
            self.assertEqual(self.ends(self.open(number + 1, peer, dialled=False)), gone)

    def test_it_dials_and_says_nothing(self) -> None:
        """That keeps us from nobody: it may have given its dial up."""
        self.do(events.Opened(0, self.LOW, bytes(32), dialled=False))
        self.assertEqual(self.ends(self.open(1, self.LOW, dialled=True)), [])

    def test_two_dials(self) -> None:
        """Of two addresses: of two that are made at once the second is given up, before HELLO."""
        self.do(events.Opened(0, self.HIGH, bytes(32), dialled=True))
        effects = self.open(1, self.HIGH, dialled=True)
        self.assertEqual((self.ends(effects), self.sent(effects, Hello)), ([(1, ByeCode.DUPLICATE)], []))

    def test_we_waited_too_long(self) -> None:
        """One on which no HELLO came keeps nobody out."""
        for number, dialled in ((0, False), (10, True)):
            peer = bytes([255 - number]) * 32
            self.do(events.Opened(number, peer, bytes(32), dialled=True))
            self.now += limits.HANDSHAKE_SECONDS
            effects = self.do(events.Opened(number + 1, peer, bytes(32), dialled=dialled))
            effects += self.hear(number + 1, Hello(1, 1, (), "test", b"\1" * 16))
            self.assertNotIn(number + 1, dict(self.ends(effects)))

    def test_one_came_to_nothing(self) -> None:
        """Whoever leads our connections elsewhere, one after another, keeps out nobody, until a HELLO came."""
        for number, dialled in ((0, False), (10, True)):
            peer = bytes([255 - number]) * 32
            self.do(events.Opened(number, peer, bytes(32), dialled=True))
            self.assertIn((number, ByeCode.TIMEOUT), self.ends(self.tick(limits.HANDSHAKE_SECONDS)))
            self.do(events.Opened(number + 1, peer, bytes(32), dialled=True))
            self.assertEqual(self.ends(self.open(number + 2, peer, dialled=dialled)), [])
            self.do(events.Closed(number + 2, ByeCode.NORMAL, ""))
            self.assertEqual(
                self.ends(self.open(number + 3, peer, dialled=dialled)), [(number + 3, ByeCode.DUPLICATE)]
            )

    def test_many_came_to_nothing(self) -> None:
        """Of how many peers that is remembered is bounded."""
        with patch.object(limits, "MAX_ALLOWANCES", 2):
            for number in range(4):
                self.do(events.Opened(number, author(number), bytes(32), dialled=True))
                self.do(events.Closed(number, ByeCode.NORMAL, ""))
            self.assertEqual([*self.replica.greeting._mute], [author(2), author(3)])

    def test_another_process(self) -> None:
        """Of the same peer: the session with the one before is over at once, though we dialled with the lower id."""
        self.open(0, self.HIGH, dialled=True)
        self.do(events.Opened(1, self.HIGH, bytes(32), dialled=False))
        effects = self.hear(1, Hello(1, 1, (), "test", b"\2" * 16))
        self.assertEqual(self.ends(effects), [(0, ByeCode.DUPLICATE)])

    def test_it_was_asked_with_more_patience(self) -> None:
        """The session that is preferred has to answer as soon as any, though somebody waits until it is in sync."""
        self.open(0, self.HIGH, dialled=True)
        self.do(events.Probe(0))
        self.assertEqual(self.ends(self.open(1, self.HIGH, dialled=False)), [(1, ByeCode.DUPLICATE)])
        self.assertEqual(self.ends(self.tick(limits.SURVIVOR_SECONDS + 0.01)), [(0, ByeCode.TIMEOUT)])

    def test_it_dials_later(self) -> None:
        """Then it has lost the one we dialled: it is not kept waiting, whose id ever is lower."""
        for number, peer in ((0, self.HIGH), (10, self.LOW)):
            self.open(number, peer, dialled=True)
            self.now += limits.HANDSHAKE_SECONDS
            effects = self.open(number + 1, peer, dialled=False)
            self.assertEqual(self.ends(effects), [(number, ByeCode.DUPLICATE)])


class ClaimTests(ReplicaCase):
    """What a peer says it holds."""

    sessions = 1

    def test_claimed_and_taken_back(self) -> None:
        """Leaves nothing, however many authors it was said of, and whatever else the peer owes us."""
        schedule = self.replica.pulls.schedule
        with patch.object(limits, "OPEN_WANTS_PER_PEER", 2):
            self.hear(0, Have(tuple(HaveItem(0, 1, author(number)) for number in range(4))))
            self.tick(limits.GRAFT_SECONDS)
            source = schedule.sources[0]
            self.assertEqual(len(source.open), 2)
            for number in range(10, 200):
                self.hear(0, Have((HaveItem(0, 1, author(number)), HaveItem(0, 0))))
            self.assertEqual(len(source.claims), 4)
            self.assertEqual(len(source.todo), 2)

    def test_more_than_are_remembered(self) -> None:
        """Two nodes: the rest is found by another reconcile, at once, and everything arrives."""
        for count, more in ((4, 0), (5, 1), (23, 5)):
            with patch.object(limits, "MAX_CLAIMS", 4):
                cluster = Cluster(count)
                ann, bob = cluster.add(count), cluster.add(0)
                ann.start()
                for writer in ann.local:
                    ann.append(writer, [b"one", b"two"])
                cluster.run(1.0)
                cluster.connect(bob, ann)
                bob.start()
                most = 0
                for _ in range(500):
                    cluster.run(0.01)
                    most = max(
                        [
                            most,
                            *(len(source.claims) for source in bob.replica.pulls.schedule.sources.values()),
                        ]
                    )
                self.assertEqual(bob.heads.clock.total(), 2 * count)
                self.assertEqual(most, 4)
                self.assertEqual(cluster.figures.healed, 0)
                # the dialler begins the first exchange, and each other one
                asked = cluster.figures.messages["Ranges"]
                self.assertGreaterEqual(asked, 2 * (1 + more))
                self.assertLessEqual(asked, 3 * (1 + more))


class ParentTests(ReplicaCase):
    """MAX_PARENTS: who sends whose news; ``test_replica_tree`` has those that brought something."""

    def test_segments_that_nobody_can_check_yet(self) -> None:
        """They begin beyond what we hold, of authors that may not exist."""
        [far] = log(PAIRS[0], 1)
        with patch.object(limits, "MAX_PARENTS", 3), patch.object(limits, "OPEN_WANTS_PER_PEER", 1):
            for number in range(20):
                self.hear(0, far._replace(author=author(number), first=2**50))
                self.assertLessEqual(len(self.replica.plumtree.parents), 3)
        self.assertEqual([*self.replica.plumtree.parents], [author(number) for number in (17, 18, 19)])


class HandleTests(SynchronousTestCase):
    """MAX_HANDLES, between nodes."""

    def test_used_again(self) -> None:
        """What one node announces to another is understood, though every handle stood for many authors."""
        with patch.object(limits, "MAX_HANDLES", 3):
            cluster = Cluster(5)
            ann, relay, bob = cluster.add(10), cluster.add(0), cluster.add(0)
            ann.start()
            for number, writer in enumerate(ann.local):
                ann.append(writer, [b""] * 20 * number)
            cluster.run(1.0)
            for caller, target in ((relay, ann), (bob, relay), (ann, bob)):
                cluster.connect(caller, target)
            cluster.start()
            named, misread = 0, []
            for turn in range(600):
                ann.append(ann.local[turn % 10], [b"news"])
                cluster.run(0.02)
                for node in cluster.nodes:
                    for session in node.replica.core.sessions.values():
                        for of in (node.replica.announcements.of, node.replica.announcer.of):
                            named = max(named, len(of[session].handles))
                    for source in node.replica.pulls.schedule.sources.values():
                        written = ann.heads.clock
                        misread += [of for of, seq in source.claims.items() if seq > written.seq(of)]
            cluster.settle()
            self.assertEqual([node.heads.clock.total() for node in cluster.nodes], [1500] * 3)
            self.assertEqual((named, misread), (3, []))


class OwedTests(ReplicaCase):
    """MAX_OWED_AUTHORS: what is remembered for a peer that does not read."""

    sessions = 2

    def test_asked_for(self) -> None:
        """Of a peer that asks for every author there is, what waited for longest is forgotten, wherever it was."""
        outbox = Outbox()
        outbox.credit_bytes = 0
        with patch.object(limits, "MAX_OWED_AUTHORS", 3):
            for number in range(3):
                outbox.want(author(number), 1)
            outbox.next_load(lambda author, first: True)
            outbox.loaded((segment(author(0), 1, 1000),), lambda author, first: author[-1] == 0)
            outbox.want(author(1), 5)
            outbox.next_load(lambda author, first: True)
            outbox.want(author(3), 1)
            self.assertEqual([*outbox.backlog], [author(2), author(1), author(3)])
            outbox.want(author(4), 1)
            self.assertEqual([*outbox.backlog], [author(1), author(3), author(4)])
            outbox.loaded((segment(author(2), 1, 1000),), lambda author, first: False)
            self.assertEqual([ready.author for ready in outbox.ready], [author(0)])

    def test_asked_for_between_nodes(self) -> None:
        """Everything arrives although most of what is asked for at once is forgotten."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 4), patch.object(limits, "OPEN_WANTS_PER_PEER", 16):
            cluster = Cluster(6)
            ann, bob = cluster.add(40), cluster.add(0)
            ann.start()
            for writer in ann.local:
                ann.append(writer, [bytes(100)] * 3)
            cluster.run(1.0)
            cluster.connect(bob, ann, Quality(0.05, 0.0, 20_000.0))
            bob.start()
            cluster.settle()
            self.assertEqual(bob.heads.clock.total(), 120)

    def test_asking_costs_no_search(self) -> None:
        """A thousand authors in each WANT must not look a thousand times through what lies ready for others."""
        outbox = Outbox()
        outbox.credit_bytes = 0
        outbox.want(A, 1)
        outbox.next_load(lambda author, first: True)
        outbox.loaded((segment(A, 1, 1000), segment(A, 2, 1000)), lambda author, first: False)
        before = outbox.ready
        for number in (20, 21, 20):
            outbox.want(author(number), 1)
        self.assertIs(outbox.ready, before)
        outbox.want(A, 1)
        self.assertEqual((len(outbox.ready), outbox.ready_bytes), (0, 0))
        outbox.next_load(lambda author, first: author == A)
        outbox.loaded((segment(A, 1, 1000), segment(A, 2, 1000)), lambda author, first: True)
        self.assertFalse(outbox.owes(A))
        outbox.credit_bytes = 1
        self.assertEqual(len(outbox.take()), 1)
        self.assertFalse(outbox.push(segment(A, 3, 1000)), "it would overtake")
        outbox.credit_bytes = 1
        self.assertEqual(len(outbox.take()), 1)
        self.assertEqual(outbox._ready_of, {})
        outbox.forget(A)
        self.assertTrue(outbox.push(segment(A, 3, 1000)))

    def test_reconcile_when_it_reads_again(self) -> None:
        """And not before all that was remembered is on its way."""
        one, two, three = (log(pair, 1)[0] for pair in PAIRS)
        outbox = self.replica.core.sessions[1].outbox
        with patch.object(limits, "MAX_OWED_AUTHORS", 1):
            outbox.credit_bytes = outbox.news_credit_bytes = 0
            self.hear(0, one, two)
            self.assertTrue(outbox.overflowed)
            self.hear(0, three)
            effects = self.commit(one, two, three)
            self.assertEqual(self.sent(effects, Ranges), [])
            [load] = [effect for effect in effects if isinstance(effect, events.Load)]
            self.assertEqual(load.wants, ((three.author, 1),))
            self.assertEqual(self.sent(self.do(events.Loaded(1, (three,))), Ranges), [])
            effects = self.do(events.Writable(1))
            self.assertEqual(self.given(effects), [(1, 1)])
            self.assertEqual([number for number, _ in self.sent(effects, Ranges)], [1])
            self.assertFalse(outbox.overflowed)
