"""Rings 6 and 7: the node an application holds: subscribers, waits, ports, the end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface import implementer

from gossiplog import Entry, Events, Head, Network, Node, Reader, Segment, Store, limits, open_store
from gossiplog.errors import (
    ByeCode,
    EndpointError,
    InvalidValueError,
    NetworkMismatchError,
    NodeStoppedError,
    StoreClosedError,
)
from gossiplog.gossip.messages import Hello
from gossiplog.live import subscriptions
from gossiplog.log.keys import KeyKind, format_author, format_key
from gossiplog.notices import CaughtUp, Lagged, NewEntries, Peer, PeerDown, PeerUp, StoreFailing
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.store.repair.verify import Damage
from tests.netcase import LISTEN, LOCAL, NETWORK, OTHER_NETWORK, Author, World, factory

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventTests(SynchronousTestCase):
    """What happens, as an async iterator."""

    def setUp(self) -> None:
        self.world = World()
        self.a = self.world.site("a")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def read(self, events: Events[Any], count: int) -> list[Any]:
        """The next ones, which have to be there."""

        async def some() -> list[Any]:
            return [await anext(events) for _ in range(count)]

        return self.successResultOf(Deferred.fromCoroutine(some()))

    def test_of_a_kind(self) -> None:
        events = self.a.node.events(NewEntries)
        for payload in (b"1", b"2"):
            self.a.append(payload)
        self.assertEqual([notice.first for notice in self.read(events, 2)], [1, 2])
        waiting = Deferred.fromCoroutine(anext(events))
        self.assertNoResult(waiting)
        self.failureResultOf(Deferred.fromCoroutine(anext(events)), RuntimeError)
        self.a.append(b"3")
        self.assertEqual(self.successResultOf(waiting).first, 3)

    def test_a_slow_reader_is_told(self) -> None:
        """Of MAX_WAITING_NOTICES the oldest go first, and it learns how many."""
        with patch.object(subscriptions, "MAX_WAITING_NOTICES", 3):
            events = self.a.node.events(NewEntries)
            for number in range(5):
                self.a.append(b"%d" % number)
            lagged, *rest = self.read(events, 4)
        self.assertEqual(lagged, Lagged(2))
        self.assertEqual([notice.first for notice in rest], [3, 4, 5])

    def test_ends_with_the_node(self) -> None:
        """What happened before is read; then, and of a stopped node at once, there is an end."""
        events = self.a.node.events()
        self.a.append(b"1")
        self.world.result(self.a.node.stop())

        async def rest(events: Events[Any]) -> list[Any]:
            return [notice async for notice in events]

        found = self.successResultOf(Deferred.fromCoroutine(rest(events)))
        self.assertIn(NewEntries(self.a.author(), 1, 1), found)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(rest(self.a.node.events()))), [])

    def test_closed(self) -> None:
        """Nothing more is kept for it, and who waits is let go."""

        async def first(events: Events[Any]) -> list[Any]:
            async with events:
                return [notice async for notice in events]

        events = self.a.node.events()
        waiting = Deferred.fromCoroutine(first(events))
        events.close()
        self.a.append(b"1")
        self.assertEqual(self.successResultOf(waiting), [])
        self.assertEqual(len(events._notices), 0)

    def test_cancelled(self) -> None:
        """Waiting again goes on where it was."""
        events = self.a.node.events(NewEntries)
        waiting = Deferred.fromCoroutine(anext(events))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.a.append(b"1")
        self.assertEqual(self.read(events, 1), [NewEntries(self.a.author(), 1, 1)])


class ContextTests(SynchronousTestCase):
    """Stores, nodes and readers end with their block."""

    def test_all(self) -> None:
        world = World()
        site = world.site("a")
        site.append(b"1")

        async def use() -> Reader:
            async with site.store as store, site.node as node:
                async with store.read(live=True) as reader:
                    self.assertEqual((await anext(reader)).payload, b"1")
                await node.listen(LISTEN)
            return reader

        reader = world.result(Deferred.fromCoroutine(use()))
        self.failureResultOf(site.node.when(), NodeStoppedError)
        self.assertRaises(StoreClosedError, site.store._core.check_open)
        self.failureResultOf(Deferred.fromCoroutine(anext(reader)), StopAsyncIteration)
        self.assertEqual(world.close(), [])


class TextTests(SynchronousTestCase):
    """What people see of values."""

    def test_reprs(self) -> None:
        """One short line that names things as people do."""
        author = bytes(32)
        peer = Peer(author, "tcp:h:1", "\x1b[2J", True)
        node = format_key(KeyKind.NODE, author)
        for value, shown in (
            (peer, f"Peer({node}, 'tcp:h:1')"),
            (PeerUp(peer), f"PeerUp(peer=Peer({node}, 'tcp:h:1'))"),
            (NewEntries(author, 1, 2), "NewEntries(author=aaaaaaaa, first=1, last=2)"),
            (Lagged(3), "Lagged(missed=3)"),
            (Head(3, b"\1" * 32), "<Head 3 0101010101010101>"),
            (Segment(author, 4, 2, author, bytes(64), b"xy"), "<Segment aaaaaaaa 4-5, 2 bytes>"),
            (
                Entry(author, 4, author, 1000, "x" * 99),
                f"<Entry aaaaaaaa 4 1970-01-01 00:00:01Z {'x' * 59!r}...>",
            ),
        ):
            self.assertEqual(repr(value).replace("'...", "..."), shown.replace("'...", "..."))

    def test_time(self) -> None:
        """In UTC, for any timestamp that an entry may have."""
        times = [Entry(bytes(32), 1, bytes(32), at, b"").time for at in (0, 1_700_000_000_123, 2**53 - 1)]
        self.assertEqual(times[:2], [EPOCH, EPOCH + timedelta(milliseconds=1_700_000_000_123)])
        self.assertEqual(times[2].year, 9999)

    def test_network_as_text(self) -> None:
        network = Network.random()
        self.assertEqual(Network.parse(network.text), network)
        self.assertNotIn(network.text, repr(network))


class SubscriberTests(SynchronousTestCase):
    """Who is told, and what happens when that fails."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.site("a"), self.world.site("b")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_subscriber_that_raises(self) -> None:
        """It is logged; the node, the other subscribers and later notices do not suffer."""

        def bad(notice: Any) -> None:
            raise ZeroDivisionError(type(notice).__name__)

        unsubscribe = self.b.node.subscribe(bad)
        later: list[Any] = []
        self.b.node.subscribe(later.append)
        self.a.append(b"1")
        self.b.node.connect(self.a.listen())
        self.world.run(1)
        self.assertEqual(self.b.payloads(self.a.author()), [b"1"])
        self.assertEqual(later, self.b.told)
        unsubscribe()
        errors = self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(
            [str(error.value) for error in errors], [type(notice).__name__ for notice in self.b.told]
        )
        self.assertGreaterEqual(len(errors), 3)

    def test_subscriber_that_ends_the_program(self) -> None:
        """What is no failure goes to whoever runs the reactor, in a turn of its own; the node goes on, and stops."""
        for kind in (SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            site = self.world.site(kind.__name__)

            def leave(notice: Any, kind: type[BaseException] = kind) -> None:
                raise kind(7)

            later: list[Any] = []
            site.node.subscribe(leave)
            site.node.subscribe(later.append)
            for count in (1, 2):
                self.assertRaises(kind, site.append, b"%d" % count)
                self.world.run(1)
                self.assertEqual((len(later), site.store.clock.total()), (count, count))
            self.world.result(site.node.stop())
            self.assertEqual(self.flushLoggedErrors(), [])

    def test_predicate_that_ends_the_program(self) -> None:
        """It is raised where it is awaited, or by the reactor if nobody awaits it."""

        def leave(notice: Any) -> bool:
            raise SystemExit(3)

        raised: list[Any] = []
        self.a.node.when(where=leave).addErrback(raised.append)
        self.a.append(b"1")
        self.assertIsInstance(raised[0].value, SystemExit)
        waiting = self.a.node.when(where=leave)
        self.assertRaises(SystemExit, self.a.append, b"2")
        self.world.run(1)
        self.failureResultOf(waiting, SystemExit)
        self.a.append(b"3")

    def test_callback_that_ends_the_program(self) -> None:
        """What a callback of a Result raises, the reactor raises, unless an errback takes it."""

        def leave(_: Any) -> None:
            raise SystemExit(3)

        for add, ends in (
            (lambda result: result.addCallback(leave), True),
            (lambda result: result.addBoth(leave), True),
            (lambda result: result.addCallback(leave).addErrback(lambda _: None), False),
            (lambda result: result.addCallback(lambda _: 1 / 0).addErrback(lambda _: None), False),
        ):
            add(self.a.store.verify())
            add(self.a.node.follow(bytes(32)))
            for _ in range(2):
                if ends:
                    self.assertRaises(SystemExit, self.world.run, 1)
            self.world.run(1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_neither_plain_nor_callable(self) -> None:
        """Refused when it is given; a coroutine that comes out of a plain function is closed, and a failure."""

        async def coroutine(notice: Any) -> bool:
            raise AssertionError("nobody runs it")

        async def generator(notice: Any) -> AsyncIterator[Any]:
            yield notice

        class Called:
            async def __call__(self, notice: Any) -> None: ...

        for bad in (
            coroutine,
            generator,
            Called(),
            partial(coroutine),
            Called().__call__,
            5,
            "subscriber",
            [print],
        ):
            with self.assertRaises(InvalidValueError):
                self.a.node.subscribe(bad)  # type: ignore[arg-type]
            with self.assertRaises(InvalidValueError):
                self.a.node.when(where=bad)  # type: ignore[arg-type]
        with self.assertRaises(InvalidValueError):
            self.a.node.subscribe(None)  # type: ignore[arg-type]
        unsubscribe = self.a.node.subscribe(lambda notice: coroutine(notice))
        waiting = self.a.node.when(where=lambda notice: coroutine(notice))  # type: ignore[arg-type,return-value]
        self.a.append(b"1")
        self.failureResultOf(waiting, InvalidValueError)
        unsubscribe()
        self.assertEqual(len(self.flushLoggedErrors(InvalidValueError)), 1)
        gc.collect()  # "never awaited" would be an error

    def test_a_source_of_randomness_that_raises(self) -> None:
        """The node dials on, and stops."""

        def bad() -> float:
            raise ZeroDivisionError("no number")

        with self.assertRaises(InvalidValueError):
            Node(self.world.reactor, self.a.store, network="here", random=5)  # type: ignore[arg-type]
        site = self.world.site("c")
        self.world.result(site.node.stop())
        node = Node(self.world.reactor, site.store, network=self.a.network, random=bad)
        failures: list[Any] = []
        node.subscribe(failures.append)
        node.connect("tcp:127.0.0.1:9")
        self.world.run(20)
        self.assertGreater(len(failures), 3)
        self.world.result(node.stop())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)  # said once

    def test_a_listener_of_damage_that_raises(self) -> None:
        told: list[Any] = []
        for listener in (lambda _: 1 // 0, told.append):
            self.addCleanup(self.a.store.damage.listen(listener))
        damage = Damage(self.a.author(), 1, 1, "gone")
        self.a.store.damage.found(damage)
        self.assertEqual(told, [damage])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_node_that_does_not_stop(self) -> None:
        """What a user's endpoint raises keeps neither the node nor the store open, and reaches whoever runs them."""

        class Port:
            def stopListening(self) -> None:
                raise SystemExit(3)

        site = self.world.site("c")
        site.node._listeners.ports.append(Port())
        self.assertRaises(SystemExit, self.world.result, site.store.close())
        self.world.result(site.store.close())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_interrupted_amid_events(self) -> None:
        """Ctrl-C comes anywhere; what was left in the queue is done in the next turn."""
        self.a.append(b"0")
        self.b.node.connect(self.a.listen())
        self.world.run(1)
        replica = self.a.node._driver.replica
        handle = replica.handle
        interrupts = [KeyboardInterrupt()]

        def interrupted(event: Any, now: float) -> Any:
            if interrupts:
                raise interrupts.pop()
            return handle(event, now)

        with patch.object(replica, "handle", interrupted):
            self.assertRaises(KeyboardInterrupt, self.a.append, b"1")
            self.world.run(1)
        self.a.append(b"2")
        self.world.run(60)
        self.assertEqual(self.b.payloads(self.a.author()), [b"0", b"1", b"2"])

    def test_unsubscribe(self) -> None:
        told: list[Any] = []
        unsubscribe = self.a.node.subscribe(told.append)
        self.a.append(b"1")
        self.assertEqual(len(told), 1)
        unsubscribe()
        unsubscribe()
        self.a.append(b"2")
        self.assertEqual(len(told), 1)

    def test_unsubscribe_from_within(self) -> None:
        told: list[Any] = []

        def once(notice: Any) -> None:
            told.append(notice)
            unsubscribe()

        unsubscribe = self.a.node.subscribe(once)
        self.a.append(b"1")
        self.a.append(b"2")
        self.assertEqual(len(told), 1)

    def test_when(self) -> None:
        waiting = self.a.node.when(NewEntries, where=lambda notice: notice.first == 2)
        self.a.append(b"1")
        self.assertNoResult(waiting)
        self.a.append(b"2")
        self.assertEqual(self.successResultOf(waiting), NewEntries(self.a.author(), 2, 2))
        self.a.append(b"3")

    def test_when_cancelled(self) -> None:
        waiting = self.a.node.when()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.a.append(b"1")

    def test_when_with_a_predicate_that_raises(self) -> None:
        waiting = self.a.node.when(where=lambda notice: bool(1 // 0))
        self.a.append(b"1")
        self.failureResultOf(waiting, ZeroDivisionError)
        self.a.append(b"2")

    def test_when_the_node_stops(self) -> None:
        waiting = self.a.node.when(where=lambda notice: False)
        self.world.result(self.a.node.stop())
        self.failureResultOf(waiting, NodeStoppedError)
        self.failureResultOf(self.a.node.when(), NodeStoppedError)

    def test_when_of_several_kinds(self) -> None:
        waiting = self.a.node.when(PeerUp, NewEntries)
        self.a.append(b"1")
        self.assertIsInstance(self.successResultOf(waiting), NewEntries)

    def test_what_is_no_kind_of_notice(self) -> None:
        """The old form took a predicate in its place; a mistake must not wait for ever."""
        for kind in (lambda notice: True, int, "PeerUp", PeerUp | PeerDown, Lagged):
            error = self.assertRaises(InvalidValueError, self.a.node.when, kind)
            self.assertIn("PeerUp", str(error))
            self.assertRaises(InvalidValueError, self.a.node.events, kind)

    def test_what_is_no_subscriber(self) -> None:
        """A coroutine would never run."""

        async def subscriber(notice: Any) -> None: ...

        for wrong in (subscriber, None, 5):
            error = self.assertRaises(InvalidValueError, self.a.node.subscribe, wrong)
            self.assertIn("events()", str(error))

    def test_an_abandoned_wait_is_no_news(self) -> None:
        """Whoever asked and does not wait any more is told nothing, and nothing is logged."""
        self.a.node.when(PeerUp)
        self.world.result(self.a.node.stop())
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_calls_from_within(self) -> None:
        """A subscriber may append, dial, listen and ask, in the middle of everything."""
        self.world.result(self.b.store.writer())
        writer = self.world.result(self.b.store.writer())
        calls: list[Any] = []

        def busy(notice: Any) -> None:
            if isinstance(notice, PeerUp):
                calls.append(self.b.node.listen("tcp:0"))
                calls.append(self.b.node.when_in_sync(notice.peer))
                calls.append(writer.append(b"hello"))
                self.b.node.connect("tcp:127.0.0.1:9").stop()

        self.b.node.subscribe(busy)
        self.b.node.connect(self.a.listen())
        self.world.run(5)
        for call in calls:
            self.successResultOf(call)
        self.assertEqual(self.a.payloads(writer.author), [b"hello"])


class FailingDiskTests(SynchronousTestCase):
    """A node whose disk refuses."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.site("a"), self.world.site("b")
        self.b.node.connect(self.a.listen())
        self.world.run(1)

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_full_disk(self) -> None:
        """Told once per commit; when there is room again the entries come."""
        self.b.backend.fault = lambda writes: DiskFault.FULL
        self.b.disk.stall()
        for number in range(10):
            self.a.append(bytes([number]))
        self.world.run(0.5)
        self.b.disk.resume()
        self.world.run(0.5)
        [failing] = self.b.of(StoreFailing)
        self.assertFalse(failing.final)
        self.assertEqual(self.b.store.clock.total(), 0)
        self.b.backend.fault = None
        self.world.run(120)
        self.assertEqual(self.b.payloads(self.a.author()), [bytes([number]) for number in range(10)])
        self.assertEqual(len(self.b.node.peers), 1)

    def test_failed_disk(self) -> None:
        """Told once; the node goes on giving what it has."""
        self.b.append(b"before")
        self.world.run(1)
        self.b.backend.fault = lambda writes: DiskFault.LOST
        for number in range(10):
            self.a.append(bytes([number]))
            self.world.run(1)
        [failing] = self.b.of(StoreFailing)
        self.assertTrue(failing.final)
        self.assertEqual(len(self.b.node.peers), 1)
        c = self.world.site("c")
        c.node.connect(self.b.listen())
        self.world.run(1)
        self.assertEqual(c.payloads(self.b.author()), [b"before"])

    def test_store_whose_thread_is_gone(self) -> None:
        """Told once, as a disk that failed; peers send nothing more, and reads for them are answered with nothing."""
        self.a.append(b"before")
        self.world.run(1)
        self.b.store._core.thread._over = StoreClosedError("its thread ended")
        for number in range(10):
            self.a.append(bytes([number]))
            self.world.run(1)
        [failing] = self.b.of(StoreFailing)
        self.assertTrue(failing.final)
        self.assertIsInstance(failing.error, StoreClosedError)
        self.assertEqual(len(self.b.node.peers), 1)
        c = self.world.site("c")
        c.node.connect(self.b.listen())
        self.world.run(30)
        self.assertEqual(c.store.clock.total(), 0)
        self.assertEqual(len(self.b.of(StoreFailing)), 1)

    def test_disk_that_fails_during_the_stop(self) -> None:
        """The last thing that happens is a failure: it is told, and starts no timer."""
        for fault in (DiskFault.FULL, DiskFault.LOST):
            self.b.disk.stall()
            self.a.append(b"1", b"2")
            self.world.run(0.5)
            self.b.backend.fault = lambda writes, fault=fault: fault  # type: ignore[misc]
            stopped = self.b.node.stop()
            self.world.run(0.5)
            self.b.disk.resume()
            self.world.result(stopped)
            self.assertEqual(len(self.b.of(StoreFailing)), 1)
            self.b.backend = MemoryBackend()
            self.world.result(self.b.store.close())
            self.b.start()
            self.b.node.connect(LOCAL.format(self.a.port))
            self.world.run(1)


class NetworkTests(SynchronousTestCase):
    """Which network, which store."""

    def setUp(self) -> None:
        self.world = World()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_a_store_belongs_to_one_network(self) -> None:
        site = self.world.site("a")
        self.world.result(site.node.stop())
        with self.assertRaises(NetworkMismatchError):
            Node(self.world.reactor, site.store, network=OTHER_NETWORK)
        again = Node(self.world.reactor, site.store, network=NETWORK)
        self.assertEqual(again.id, site.node.id)
        self.world.result(again.stop())

    def test_network_of_one_author(self) -> None:
        """Whoever knows the author's key may read its log."""
        author = Author().key
        self.assertEqual(Network.parse(format_author(author)), Network.of_author(author))
        a, b = (self.world.site(name, Network.of_author(author)) for name in "ab")
        a.append(b"1")
        b.node.connect(a.listen())
        self.world.run(1)
        self.assertEqual(b.payloads(a.author()), [b"1"])

    def test_texts(self) -> None:
        for number, text in enumerate(["garden", NETWORK.key.hex(), format_author(Author().key)]):
            site = self.world.site(str(number), Network.parse(text))
            self.world.result(site.node.stop())
            node = Node(self.world.reactor, site.store, network=text)
            self.assertEqual(node.network, Network.parse(text))
            self.world.result(node.stop())
        with self.assertRaises(InvalidValueError):
            Node(self.world.reactor, site.store, network="")

    def test_agent(self) -> None:
        site = self.world.site("a")
        for agent in ("x" * (limits.MAX_AGENT_CHARS + 1), "\ud800", b"bytes"):
            with self.assertRaises(InvalidValueError):
                Node(self.world.reactor, site.store, network=NETWORK, agent=agent)  # type: ignore[arg-type]
        self.world.result(site.node.stop())
        widest = Node(
            self.world.reactor, site.store, network=NETWORK, agent="\U0001f331" * limits.MAX_AGENT_CHARS
        )
        self.world.result(widest.listen("tcp:7777"))
        site.port = 7777
        peer = self.world.peer(site)
        self.assertEqual([len(hello.agent) for hello in peer.of(Hello)], [limits.MAX_AGENT_CHARS])
        self.world.result(widest.stop())

    def test_closed_store(self) -> None:
        site = self.world.site("a")
        self.world.result(site.store.close())
        with self.assertRaises(StoreClosedError):
            Node(self.world.reactor, site.store, network=NETWORK)
        with self.assertRaises(NodeStoppedError):
            site.node.connect("tcp:127.0.0.1:9")


@implementer(IStreamServerEndpoint)
class Slow:
    """I listen when I am told to."""

    def __init__(self, bound: Deferred[Any]) -> None:
        self.bound = bound

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        return self.bound


class StoppedTests(SynchronousTestCase):
    """After the end."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("a")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_stopped_node_takes_nothing(self) -> None:
        address = self.site.listen()
        self.world.result(self.site.node.stop())
        for use in (lambda: self.site.node.listen("tcp:0"), lambda: self.site.node.connect(address)):
            with self.assertRaises(NodeStoppedError):
                use()
        self.assertEqual(self.world.reactor.ports, {})

    def test_port_that_is_bound_only_after_the_stop_began(self) -> None:
        """Some endpoints take their time; the port is closed again, and the end waits for that."""
        bound: Deferred[Any] = Deferred()

        listening = self.site.node.listen(Slow(bound))
        stopped = self.site.node.stop()
        self.world.run(1)
        self.assertNoResult(stopped)
        bound.callback(self.world.reactor.listenTCP(5, factory(None)))
        self.assertIsNone(self.successResultOf(stopped))
        self.failureResultOf(listening, NodeStoppedError)
        self.assertEqual(self.world.reactor.ports, {})

    def test_port_that_is_never_bound(self) -> None:
        """BIND_SECONDS: who waits for it is told; and the end waits for CLOSE_SECONDS only."""
        listening = self.site.node.listen(Slow(Deferred()))
        self.world.run(limits.BIND_SECONDS)
        self.assertIn("300 s", str(self.failureResultOf(listening, EndpointError).value))
        listening = self.site.node.listen(Slow(Deferred()))
        stopped = self.site.node.stop()
        self.world.run(limits.CLOSE_SECONDS)
        self.assertIsNone(self.successResultOf(stopped))
        self.failureResultOf(listening, NodeStoppedError)

    def test_what_nobody_waits_for(self) -> None:
        """Its failure is no news: at the end, and when a peer is gone or a node was stopped, nothing is logged."""
        other = self.world.site("b")
        other.node.connect(self.site.listen())
        self.world.run(1)
        [peer] = self.site.node.peers
        ask = (
            self.site.node.when,
            lambda: self.site.node.when_in_sync(peer),
            lambda: self.site.node.recover(peer),
        )
        other.disk.stall()
        other.store.writer().addCallback(lambda writer: writer.append(b"1"))
        for call in ask:
            call()
            call().addCallback(str)
            call().cancel()
        self.site.node.listen(Slow(Deferred()))
        self.world.run(limits.BIND_SECONDS / 2)
        other.disk.resume()
        self.world.result(self.site.node.stop())
        for call in ask:
            call()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_node_on_a_store_that_is_closing(self) -> None:
        self.site.disk.stall()
        self.site.store.close()
        with self.assertRaises(StoreClosedError):
            Node(self.world.reactor, self.site.store, network=NETWORK)
        self.site.disk.resume()

    def test_stop_twice_and_while_stopping(self) -> None:
        self.site.listen()
        first, second = self.site.node.stop(), self.site.node.stop()
        self.world.result(gatherResults([first, second]))
        self.world.result(self.site.node.stop())

    def test_who_stops_waiting_does_not_stop_it(self) -> None:
        self.site.listen()
        waiting = self.site.node.stop()
        if not waiting.called:
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.world.result(self.site.node.stop())
        self.assertEqual(self.world.reactor.ports, {})

    def test_store_goes_on(self) -> None:
        self.world.result(self.site.node.stop())
        self.assertEqual(self.site.append(b"1"), range(1, 2))
        self.assertEqual(self.site.told, [])

    def test_second_node_on_the_store(self) -> None:
        """After the first stopped: same id, a new instance."""
        peers = self.world.site("b")
        self.world.result(self.site.node.stop())
        again = Node(self.world.reactor, self.site.store, network=NETWORK)
        again.connect(peers.listen())
        self.world.run(1)
        self.assertEqual([peer.id for peer in peers.node.peers], [self.site.node.id])
        self.world.result(again.stop())


class RealTests(TestCase):
    """Endpoints of the real reactor."""

    def open(self) -> tuple[Store, Node]:
        store = open_store(self.mktemp(), reactor)
        self.addCleanup(store.close)
        return store, Node(reactor, store, network=NETWORK)

    async def meet(self, endpoint: str) -> tuple[str, list[str]]:
        """Two nodes over an endpoint; the bound address and the peers' addresses."""
        a_store, a = self.open()
        b_store, b = self.open()
        writer = await a_store.writer()
        await writer.append(b"1")
        address = await a.listen(endpoint)
        caught = b.when(CaughtUp)
        b.connect(address)
        await caught
        self.assertEqual([entry.payload async for entry in b_store.read()], [b"1"])
        addresses = [peer.address for node in (a, b) for peer in node.peers]
        down = b.when(PeerDown)
        await a.stop()
        notice = await down
        assert isinstance(notice, PeerDown)
        self.assertEqual(notice.code, ByeCode.STOPPING)
        await b.stop()
        return address, addresses

    async def test_ipv4(self) -> None:
        address, (caller, called) = await self.meet(LISTEN)
        self.assertRegex(address, r"\Atcp:127\.0\.0\.1:\d+\Z")
        self.assertRegex(caller, r"\Atcp:127\.0\.0\.1:\d+\Z")
        self.assertEqual(called, address)

    async def test_ipv6(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            raise SkipTest("no IPv6 here") from None
        address, (caller, called) = await self.meet(r"tcp:0:interface=\:\:1")
        self.assertRegex(address, r"\Atcp:\\:\\:1:\d+\Z")
        self.assertRegex(caller, r"\Atcp:\\:\\:1:\d+\Z")
        self.assertEqual(called, address)

    async def test_unix(self) -> None:
        directory = tempfile.TemporaryDirectory()  # trial's are too long for a socket's path
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, "node")
        address, (caller, called) = await self.meet(f"unix:{path}")
        self.assertEqual(address, f"unix:{path}")
        self.assertEqual((caller, called), ("unix:", address))
        self.assertFalse(os.path.exists(path))

    async def test_endpoints_that_are_none(self) -> None:
        _, node = self.open()
        for endpoint in ("", "4000", "tcp", "tcp:x", "nosuch:1", "tcp:127.0.0.1:x"):
            with self.assertRaises(EndpointError, msg=endpoint):
                node.connect(endpoint)
        for endpoint in ("", "4000", "tcp:x", "nosuch:1"):
            with self.assertRaises(EndpointError, msg=endpoint):
                await node.listen(endpoint)
        await node.stop()

    async def test_port_in_use(self) -> None:
        _, a = self.open()
        _, b = self.open()
        port = (await a.listen(LISTEN)).rpartition(":")[2]
        with self.assertRaises(EndpointError) as caught:
            await b.listen(f"tcp:{port}:interface=127.0.0.1")
        self.assertIn(port, str(caught.exception))
        await a.stop()
        await b.listen(f"tcp:{port}:interface=127.0.0.1")
        await b.stop()

    async def test_stop_while_it_dials(self) -> None:
        """Attempts under way end, and leave no timer; 192.0.2.1 never answers."""
        _, node = self.open()
        node.connect("tcp:192.0.2.1:4000")
        node.connect("tcp:127.0.0.1:1")
        await node.stop()

    async def test_stop_at_once_after_listen(self) -> None:
        _, node = self.open()
        listening = node.listen(LISTEN)
        await node.stop()
        try:
            await listening
        except NodeStoppedError:
            pass

    async def test_logs_in_a_store_made_by_hand(self) -> None:
        """``Store`` takes any opener of Logs."""
        store = Store(lambda: Logs(MemoryBackend()), reactor)
        node = Node(reactor, store, network=NETWORK)
        await node.listen(LISTEN)
        await store.close()
        with self.assertRaises(NodeStoppedError):
            node.connect(LISTEN)
