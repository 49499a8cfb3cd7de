"""Rings 6 and 7: appending through the public API, on SQLite with the real reactor and in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import TestCase

from gossiplog import Reference, Store, limits, open_store
from gossiplog.errors import (
    AppendOutcomeUnknown,
    EncodingError,
    InvalidValueError,
    PayloadTooLargeError,
    StoreClosedError,
    StoreFailedError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
)
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.memory.faults import DiskFault
from gossiplog.testing.network import VirtualThread
from tests.netcase import World


class StallingBackend(MemoryBackend):
    """A disk whose next commits wait for an event."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def commit(self, writes: Sequence[Any]) -> None:
        self.entered.set()
        self.go.wait()
        super().commit(writes)


class DiskCase(TestCase):
    """A store on disk, with the real reactor."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.store = self.open()

    def open(self, opener: Callable[[], Logs] | None = None) -> Store:
        store = open_store(self.path, reactor) if opener is None else Store(opener, reactor, "memory")
        self.addCleanup(store.close)
        return store

    async def segments(self, store: Store, author: bytes) -> list[int]:
        """Entries per stored segment."""
        found = await store._core.run(lambda logs: logs.segments(author, 1, 1 << 30))
        return [segment.count for segment in found]


class AppendTests(DiskCase):
    """What an append gives, and what it leaves on disk."""

    async def test_seqs(self) -> None:
        writer = await self.store.writer()
        self.assertEqual(await writer.append(b"one"), 1)
        self.assertEqual(await writer.append_many([b"two", b"three"]), range(2, 4))
        self.assertEqual(await writer.append_many([]), range(0))
        self.assertEqual(self.store.clock.seq(writer.author), 3)
        self.assertEqual((await self.store.verify()).entries, 3)

    async def test_durable_when_it_fires(self) -> None:
        writer = await self.store.writer()
        await writer.append(b"kept")
        await self.store.close()
        again = self.open()
        self.assertEqual([entry.payload async for entry in again.read()], [b"kept"])
        self.assertEqual((await again.writer()).author, writer.author)

    async def test_appends_in_flight_share_a_signature(self) -> None:
        """What queues while the disk works is one segment, in the order of the calls."""
        gate, entered = threading.Event(), threading.Event()

        def hold(logs: Logs) -> None:
            entered.set()
            gate.wait()

        writer = await self.store.writer()
        held = self.store._core.run(hold)
        entered.wait()
        seqs = gatherResults([writer.append(bytes([number])) for number in range(200)])
        gate.set()
        await held
        self.assertEqual(await seqs, list(range(1, 201)))
        self.assertEqual(await self.segments(self.store, writer.author), [200])
        payloads = [entry.payload async for entry in self.store.read()]
        self.assertEqual(payloads, [bytes([number]) for number in range(200)])

    async def test_a_list_is_all_or_nothing(self) -> None:
        writer = await self.store.writer(encoding="utf-8")
        with self.assertRaises(EncodingError):
            writer.append_many(["good", b"bad"])
        with self.assertRaises(PayloadTooLargeError):
            writer.append_many(["good", "x" * limits.MAX_BODY_BYTES])
        self.assertEqual(await writer.append_many(["a"] * 10_000), range(1, 10_001))
        self.assertEqual(sum(await self.segments(self.store, writer.author)), 10_000)

    async def test_a_list_over_many_segments_is_one_commit(self) -> None:
        backend = MemoryBackend()
        store = self.open(lambda: Logs(backend))
        writer = await store.writer()
        backend.fault = lambda writes: DiskFault.FULL if len(writes) > 1 else None
        with self.assertRaises(StoreFullError):
            await writer.append_many([bytes(50_000)] * 20)
        self.assertEqual(store.clock.seq(writer.author), 0)
        self.assertEqual(await writer.append(b"x"), 1)

    async def test_too_large(self) -> None:
        """The error is typed and comes at once; the log goes on."""
        writer = await self.store.writer()
        with self.assertRaises(PayloadTooLargeError):
            writer.append(bytes(limits.MAX_BODY_BYTES))
        self.assertEqual(await writer.append(bytes(limits.MAX_BODY_BYTES - 100)), 1)
        self.assertEqual(await writer.append(b"next"), 2)

    async def test_encodings(self) -> None:
        values: list[tuple[str, Any, bytes]] = [
            ("bytes", b"\x00\xff", b"\x00\xff"),
            ("utf-8", "grüße", "grüße".encode()),
            ("json", {"a": [1, None]}, b'{"a":[1,null]}'),
            ("msgpack", {"a": [1, None]}, b"\x81\xa1a\x92\x01\xc0"),
        ]
        for encoding, value, stored in values:
            writer = await self.store.writer(encoding, encoding=encoding)
            await writer.append(value)
            self.assertEqual([e.payload async for e in self.store.read(writer.author)], [stored])
            self.assertEqual(
                [e.payload async for e in self.store.read(writer.author, encoding=encoding)], [value]
            )
        with self.assertRaises(InvalidValueError):
            self.store.writer(encoding="rot13")

    async def test_what_does_not_fit_an_encoding(self) -> None:
        for encoding, value in [
            ("bytes", "text"),
            ("utf-8", b"bytes"),
            ("json", {1j}),
            ("msgpack", object()),
        ]:
            writer = await self.store.writer(encoding=encoding)
            with self.assertRaises(EncodingError):
                writer.append(value)
        self.assertEqual(self.store.clock.total(), 0)

    async def test_many(self) -> None:
        """Whatever gives payloads is a list of them; one payload is none."""
        writer = await self.store.writer()
        self.assertEqual(await writer.append_many(payload for payload in (b"1", b"2")), range(1, 3))
        self.assertEqual(await writer.append_many(iter(())), range(0))
        self.assertEqual(await writer.append_many(()), range(0))
        for single in (None, 5, "hello", b"hello", bytearray(b"x"), {"a": 1}):
            with self.assertRaises(InvalidValueError):
                writer.append_many(single)
        self.assertEqual(self.store.clock.total(), 2)

    async def test_after(self) -> None:
        writer = await self.store.writer()
        await writer.append(b"first")
        [first] = [entry async for entry in self.store.read()]
        reference = Reference(writer.author, 1, first.id[:16])
        await writer.append(b"second", after=[reference])
        read = [entry.after async for entry in self.store.read()]
        self.assertEqual(read, [(), (reference,)])

    async def test_timestamps_are_those_of_the_call(self) -> None:
        writer = await self.store.writer()
        await writer.append(b"a")
        [entry] = [entry async for entry in self.store.read()]
        self.assertGreater(entry.timestamp_ms, 1_600_000_000_000)


class WriterTests(DiskCase):
    """Local authors."""

    async def test_names(self) -> None:
        one, two = await self.store.writer("one"), await self.store.writer("two")
        self.assertNotEqual(one.author, two.author)
        self.assertIs(await self.store.writer("one"), one)
        text = await self.store.writer("one", encoding="utf-8")
        self.assertEqual(text.author, one.author)
        self.assertEqual(await self.store.writers(), {"one": one.author, "two": two.author})
        self.assertEqual(self.store._core.local, {one.author, two.author})
        with self.assertRaises(InvalidValueError):
            await self.store.writer("../escape")

    async def test_two_of_one_log_in_one_instant(self) -> None:
        text, raw = await self.store.writer(encoding="utf-8"), await self.store.writer()
        seqs = await gatherResults([text.append("a"), raw.append(b"b"), text.append("c")])
        self.assertEqual(seqs, [1, 2, 3])

    async def test_asked_for_twice_before_it_is_there(self) -> None:
        one, other = await gatherResults([self.store.writer("w"), self.store.writer("w")])
        self.assertIs(one, other)

    async def test_cancelled_wait_for_a_writer(self) -> None:
        waiting = self.store.writer("w")
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertEqual((await self.store.writer("w")).name, "w")


class CloseTests(DiskCase):
    """Locked, closed and closing stores."""

    async def test_locked(self) -> None:
        """The second user is told at once, and the first is not disturbed."""
        with self.assertRaises(StoreLockedError) as caught:
            open_store(self.path, reactor)
        self.assertIn(self.path, str(caught.exception))
        writer = await self.store.writer()
        self.assertEqual(await writer.append(b"x"), 1)
        await self.store.close()
        self.assertEqual(self.open().clock.seq(writer.author), 1)

    def test_missing(self) -> None:
        with self.assertRaises(StoreNotFoundError):
            open_store(self.mktemp(), reactor, init=False)

    async def test_close_with_appends_in_flight(self) -> None:
        """They were taken, so they are done."""
        writer = await self.store.writer()
        appends = [writer.append(bytes([number])) for number in range(50)]
        closed = self.store.close()
        self.assertEqual(await gatherResults(appends), list(range(1, 51)))
        await closed
        self.assertEqual(self.open().clock.seq(writer.author), 50)

    async def test_close_twice_and_while_closing(self) -> None:
        await gatherResults([self.store.close(), self.store.close()])
        await self.store.close()

    async def test_who_stops_waiting_for_the_end_does_not_stop_it(self) -> None:
        waiting = self.store.close()
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await self.store.close()
        self.open()

    async def test_closed(self) -> None:
        writer = await self.store.writer()
        await self.store.close()
        for use in (
            lambda: writer.append(b"x"),
            lambda: writer.append_many([b"x"]),
            lambda: writer.append_many([]),
            lambda: self.store.writer("other"),
            lambda: self.store.writer(),
            lambda: self.store.read(),
            lambda: self.store.read(live=True),
            self.store.verify,
            self.store.writers,
            lambda: self.store.cursor("c"),
            lambda: self.store._core.run(lambda logs: None),
        ):
            with self.assertRaises(StoreClosedError):
                use()

    async def test_cancelled_append_is_written_all_the_same(self) -> None:
        writer = await self.store.writer()
        waiting = writer.append(b"one")
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertEqual(await writer.append(b"two"), 2)


class ListenerTests(DiskCase):
    """Who is told of commits."""

    async def test_listener_that_raises(self) -> None:
        """It is logged; the others hear, and the append succeeds."""
        heard: list[int] = []

        def bad(delivery: Any) -> None:
            raise ZeroDivisionError

        stop = self.store._core.listen(bad)
        self.store._core.listen(lambda delivery: heard.append(len(delivery.report.segments)))
        writer = await self.store.writer()
        self.assertEqual(await writer.append(b"x"), 1)
        stop()
        self.assertEqual(await writer.append(b"y"), 2)
        self.assertEqual(heard, [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FailingDiskTests(DiskCase):
    """What an append says when the disk fails."""

    async def test_full(self) -> None:
        """Nothing was written, and the next one may be."""
        backend = MemoryBackend()
        store = self.open(lambda: Logs(backend))
        writer = await store.writer()
        backend.fault = lambda writes: DiskFault.FULL
        for waiting in [writer.append(b"a"), writer.append(b"b")]:
            with self.assertRaises(StoreFullError):
                await waiting
        backend.fault = None
        self.assertEqual(await writer.append(b"c"), 1)

    async def test_failed_sync(self) -> None:
        """The outcome is unknown and says so; nothing more is written, reads go on."""
        for fault, held in [(DiskFault.LOST, 1), (DiskFault.KEPT, 2)]:
            backend = MemoryBackend()
            store = self.open(lambda backend=backend: Logs(backend))  # type: ignore[misc]
            writer = await store.writer()
            await writer.append(b"good")
            backend.fault = lambda writes, fault=fault: fault  # type: ignore[misc]
            with self.assertRaises(AppendOutcomeUnknown):
                await writer.append(b"unknown")
            with self.assertRaises(StoreFailedError):
                await writer.append(b"more")
            self.assertEqual([entry.payload async for entry in store.read()], [b"good"])
            kept = backend.snapshot()
            await store.close()
            again = self.open(lambda kept=kept: Logs(kept))  # type: ignore[misc]
            self.assertEqual(again.clock.seq(writer.author), held)

    async def test_stall(self) -> None:
        """A disk that does nothing for a while: the reactor goes on, and then everything is there, in one segment."""
        backend = StallingBackend()
        store = self.open(lambda: Logs(backend))
        writer = await store.writer()
        backend.entered.clear()
        backend.go.clear()
        first = writer.append(b"0")
        backend.entered.wait()
        rest = [writer.append(bytes([number])) for number in range(1, 100)]
        turns: list[int] = []
        turned: Deferred[None] = Deferred()

        def turn() -> None:
            turns.append(len(turns))
            if len(turns) < 100:
                reactor.callLater(0, turn)  # type: ignore[attr-defined]
            else:
                turned.callback(None)

        turn()
        await turned
        self.assertEqual([waiting.called for waiting in (first, *rest)], [False] * 100)
        backend.go.set()
        self.assertEqual(await gatherResults([first, *rest]), list(range(1, 101)))
        self.assertEqual(await self.segments(store, writer.author), [1, 99])


class VirtualTests(TestCase):
    """The same API over a virtual disk."""

    def test_stalled_disk(self) -> None:
        world = World()
        backend = MemoryBackend()
        store = Store(lambda: Logs(backend), world.reactor, thread=VirtualThread)
        assert isinstance(store._core.thread, VirtualThread)
        writer = world.result(store.writer())
        store._core.thread.disk.stall()
        waiting = [writer.append(bytes([number])) for number in range(10)]
        world.run(3600)
        self.assertEqual([result.called for result in waiting], [False] * 10)
        closed = store.close()
        world.run(60)
        self.assertFalse(closed.called)
        store._core.thread.disk.resume()
        world.result(closed)
        self.assertEqual([self.successResultOf(result) for result in waiting], list(range(1, 11)))
