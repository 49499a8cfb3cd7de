"""Rings 1 and 6: segments verified in a second thread, and which ones are worth it."""

from __future__ import annotations

import threading
from random import Random
from unittest.mock import patch

from twisted.internet.defer import DeferredList
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Node, open_store
from gossiplog.errors import BadSegmentError, BadSignatureError
from gossiplog.gossip import events
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Have, HaveItem, Hello, Interest
from gossiplog.gossip.replica import Replica
from gossiplog.log.clock import Clock
from gossiplog.log.fork import build_proof
from gossiplog.log.segment import Head, Segment, verify
from gossiplog.net import signature_checks as checking
from gossiplog.net.signature_checks import LEAST, SMALL_BYTES, SignatureChecks
from gossiplog.notices import CaughtUp
from tests.netcase import LISTEN, NETWORK, Author

HERE = threading.get_ident


def said(check: object, segment: Segment) -> object:
    """What a check comes to: the head, or the error's type and text."""
    try:
        return check(segment)  # type: ignore[operator]
    except (BadSegmentError, BadSignatureError) as error:
        return type(error), str(error)


def one_each(count: int) -> list[Segment]:
    """The first segment of so many authors."""
    return [Author(seed).write(b"x")[0] for seed in range(1, count + 1)]


class CheckerTests(SynchronousTestCase):
    """The thread against the function."""

    def setUp(self) -> None:
        self.checker = SignatureChecks()

    def tearDown(self) -> None:
        self.checker.close()
        if self.checker._thread is not None:
            self.checker._thread.join()

    def test_it_says_what_the_function_says(self) -> None:
        """Whatever is asked, in whatever order, more than once, and of segments nobody announced."""
        for seed in range(20):
            random = Random(seed)
            segments = one_each(random.randrange(1, 30))
            for place in range(0, len(segments), 3):
                broken = random.choice([{"signature": bytes(64)}, {"bodies": b"\xc4"}, {"count": 0}])
                segments[place] = segments[place]._replace(**broken)
            asked = [*segments, *random.choices(segments, k=5), *one_each(2)]
            if seed % 2:
                random.shuffle(asked)
            with self.checker.ahead(segments):
                told = [said(self.checker.verify, segment) for segment in asked]
            self.assertEqual(told, [said(verify, segment) for segment in asked], seed)

    def test_the_thread_does_the_others_meanwhile(self) -> None:
        segments = one_each(10)
        others = threading.Semaphore(0)
        threads: dict[bytes, int] = {}

        def slow(segment: Segment) -> Head:
            threads[segment.author] = HERE()
            if HERE() != main:
                others.release()
            elif segment is segments[0]:
                for _ in segments[1:]:
                    others.acquire()
            return verify(segment)

        main = HERE()
        with patch.object(checking, "verify_whole", slow), self.checker.ahead(segments):
            heads = [self.checker.verify(segment) for segment in segments]
        self.assertEqual(heads, [verify(segment) for segment in segments])
        self.assertEqual([author for author in threads if threads[author] == main], [segments[0].author])

    def test_what_is_over_is_not_begun(self) -> None:
        """An offence ends the session in the middle of what it sent."""
        segments = one_each(10)
        begun, go = threading.Event(), threading.Event()
        checked: list[Segment] = []

        def slow(segment: Segment) -> Head:
            checked.append(segment)
            begun.set()
            go.wait()
            return verify(segment)

        with patch.object(checking, "verify_whole", slow):
            with self.checker.ahead(segments):
                begun.wait()
            go.set()
            self.checker.close()
            assert self.checker._thread is not None
            self.checker._thread.join()
        self.assertEqual(checked, segments[-1:])

    def test_few_or_large_ones_need_no_thread(self) -> None:
        large = Author(9).write(bytes(SMALL_BYTES))[0]
        for segments in ([], one_each(LEAST - 1), [large] * 10):
            with self.checker.ahead(segments):
                self.assertEqual([self.checker.verify(s) for s in segments], [verify(s) for s in segments])
        self.assertIsNone(self.checker._thread)


class AwaitedTests(SynchronousTestCase):
    """Which segments a replica is going to verify."""

    def setUp(self) -> None:
        self.held, self.forked, self.unwanted, self.new = (Author(seed) for seed in (1, 2, 3, 4))
        [first] = self.held.write(b"one")
        forked = [Author(2).write(payload)[0] for payload in (b"this", b"that")]
        proof = build_proof(*forked)
        assert proof is not None
        clock = Clock({self.held.key: verify(first)})
        self.replica = Replica(b"n" * 32, bytes(16), Heads(clock, {self.forked.key}, set()))
        self.replica.core.wanted.say(self.unwanted.key, False)
        self.replica.handle(events.Opened(0, b"p" * 32, bytes(32), dialled=False), 1.0)

    def greet(self) -> None:
        hello = Hello(1, 1, (), "peer", b"i" * 16, Interest.ALL, ())
        self.replica.handle(events.Received(0, hello), 1.0)

    def test_what_continues_our_logs(self) -> None:
        """One after the other of each author; not what is held, behind a gap, forked or unwanted."""
        self.greet()
        two, three = self.held.write(b"two") + self.held.write(b"three")
        self.held.write(b"four")
        five = self.held.write(b"five")
        news = self.new.write(b"n1") + self.new.write(b"n2")
        [again] = Author(1).write(b"one")
        others = self.unwanted.write(b"u") + self.forked.write(b"f")
        announcement = Have((HaveItem(0, 9, self.new.key),))
        messages = [again, *others, two, news[0], announcement, three, *five, news[1]]
        self.assertEqual(self.replica.awaited(0, messages), [two, news[0], three, news[1]])

    def test_nothing_of_a_session_that_is_not_open(self) -> None:
        news = self.new.write(b"n")
        self.assertEqual(self.replica.awaited(0, news), [])
        self.greet()
        self.assertEqual(self.replica.awaited(0, news), news)
        self.replica.handle(events.Closed(0), 1.0)
        self.assertEqual(self.replica.awaited(0, news), [])

    def test_nothing_while_the_disk_takes_nothing(self) -> None:
        self.greet()
        self.replica.handle(events.CommitFailed(final=True), 1.0)
        self.assertEqual(self.replica.awaited(0, self.new.write(b"n")), [])


class RealTests(TestCase):
    """Real nodes, many short logs."""

    async def test_many_logs_come_and_no_thread_stays(self) -> None:
        from twisted.internet import reactor

        stores = [open_store(self.mktemp(), reactor) for _ in range(2)]
        for number in range(100):
            await (await stores[0].writer(f"w{number}")).append(b"x")
        nodes = [Node(reactor, store, network=NETWORK) for store in stores]
        caught_up = nodes[1].when(CaughtUp)
        nodes[1].connect(await nodes[0].listen(LISTEN))
        await caught_up
        self.assertEqual(stores[1].clock.total(), 100)
        thread = nodes[1]._driver._checker._thread
        assert thread is not None
        await DeferredList([node.stop() for node in nodes])
        thread.join()
        for store in stores:
            report = await store.verify()
            self.assertTrue(report.ok)
            await store.close()
