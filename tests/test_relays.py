"""Rings 6 and 7: relays on a reactor: what others write into their store, a database that is away, or went back."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from gossiplog import Network, Node, Store, StoreFailing, StoreReachable, open_store
from gossiplog.app import service
from gossiplog.app.run_options import RunOptions
from gossiplog.app.service import Serving
from gossiplog.errors import (
    InvalidValueError,
    SharedStoreError,
    StoreError,
    StoreUnreachableError,
    StoreWentBackError,
)
from gossiplog.net import shared_bans
from gossiplog.net.bans import Bans
from gossiplog.net.shared_bans import share_bans
from gossiplog.notices import PeerDown, PeerUp
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, SetMeta
from gossiplog.store.shared.interface import Position
from gossiplog.store.shared.memory import Lane, SharedMemory
from gossiplog.testing.chain import Chain

NETWORK = Network.from_key(bytes(range(32)))
LISTEN = "tcp:0:interface=127.0.0.1"


class Shaky(Lane):
    """A lane to a database that may be away."""

    away: StoreError | None = None
    beats = 0

    def beat(self) -> None:
        self.beats += 1
        raise StoreUnreachableError("just then")

    def poll(self, after: Position, limit_bytes: int) -> Any:
        if self.away is not None:
            raise self.away
        return super().poll(after, limit_bytes)


class RelayTests(TestCase):
    """Two relays over one database in memory, a peer at each."""

    timeout = 60

    def setUp(self) -> None:
        self.database = SharedMemory()

    def relay(self) -> tuple[Store, Node, Shaky]:
        """One of those who share the database."""
        lane = Shaky(self.database)
        backend = MemoryBackend()
        backend.shared = lane
        store = Store(lambda: Logs(backend), reactor)
        self.addCleanup(store.close)
        return store, Node(reactor, store, network=NETWORK), lane

    async def peer(self, address: str) -> Store:
        """An ordinary node."""
        store = open_store("memory:", reactor)
        self.addCleanup(store.close)
        Node(reactor, store, network=NETWORK).connect(address)
        return store

    async def until(self, store: Store, condition: Callable[[], bool]) -> None:
        """Wait until something is so that a commit of ``store`` makes so."""
        while not condition():
            told: Deferred[None] = Deferred()
            stop = store._core.listen(lambda _, told=told: None if told.called else told.callback(None))  # type: ignore[misc]
            await told
            stop()

    async def test_what_one_took_all_serve(self) -> None:
        """What a peer gives to one relay reaches a peer of another one, before and after it came."""
        (_, one, _), (store, two, _) = self.relay(), self.relay()
        ann = await self.peer(await one.listen(LISTEN))
        writer = await ann.writer()
        await writer.append(b"first")
        await self.until(store, lambda: store.clock.seq(writer.author) == 1)
        bob = await self.peer(await two.listen(LISTEN))
        await self.until(bob, lambda: bob.clock.seq(writer.author) == 1)
        await writer.append(b"news")
        await self.until(bob, lambda: bob.clock.seq(writer.author) == 2)
        self.assertEqual([entry.payload async for entry in store.read()], [b"first", b"news"])

    async def test_a_database_that_is_away(self) -> None:
        """Is said once, and so is that it is back; then what was missed comes."""
        (store, node, lane), (_, other, _) = self.relay(), self.relay()
        ann = await self.peer(await other.listen(LISTEN))
        heard: list[Any] = []
        node.subscribe(
            lambda notice: heard.append(notice) if isinstance(notice, StoreFailing | StoreReachable) else None
        )
        failing, back = node.when(StoreFailing), node.when(StoreReachable)
        lane.away = StoreUnreachableError("nobody there")
        await failing
        writer = await ann.writer()
        await writer.append(b"meanwhile")
        lane.away = None
        await back
        await self.until(store, lambda: store.clock.seq(writer.author) == 1)
        self.assertEqual([type(notice) for notice in heard], [StoreFailing, StoreReachable])
        self.assertEqual((heard[0].error.args, heard[0].final), (("nobody there",), False))

    async def test_a_sign_of_life_that_fails(self) -> None:
        """Is no reason to say anything: what others write is still read."""
        (store, node, lane), (_, other, _) = self.relay(), self.relay()
        told = node.when(StoreFailing)
        ann = await self.peer(await other.listen(LISTEN))
        writer = await ann.writer()
        await writer.append(b"1")
        await self.until(store, lambda: store.clock.seq(writer.author) == 1)
        self.assertFalse(told.called)
        self.assertEqual(lane.beats, 1)
        told.addErrback(lambda _: None)
        told.cancel()

    async def test_a_fault_of_ours(self) -> None:
        """Is told, and ends nothing."""
        _, node, lane = self.relay()
        failing, back = node.when(StoreFailing), node.when(StoreReachable)
        lane.away = ZeroDivisionError("a bug")  # type: ignore[assignment]
        self.assertIn("a bug", str((await failing).error))
        lane.away = None
        await back

    async def test_what_the_store_does_not_take(self) -> None:
        """Is read again."""
        (store, node, _), (_, other, _) = self.relay(), self.relay()
        ann = await self.peer(await other.listen(LISTEN))
        failing = node.when(StoreFailing)
        learning = await store._core.run(lambda logs: logs._committer._learning)
        take, failures = learning.take, [StoreUnreachableError("just now"), None, None]

        def once(*about: Any) -> None:
            error = failures.pop(0) if failures else None
            if error is not None:
                raise error
            take(*about)

        learning.take = once
        writer = await ann.writer()
        await writer.append(b"1")
        await failing
        await self.until(store, lambda: store.clock.seq(writer.author) == 1)

    async def test_a_store_that_went_back(self) -> None:
        """Says so and BYE, and does nothing any more: it is to be opened again."""
        (store, node, _), (_, other, _) = self.relay(), self.relay()
        ann = await self.peer(await other.listen(LISTEN))
        bob = await self.peer(await node.listen(LISTEN))
        writer = await ann.writer()
        await writer.append(b"1")
        await self.until(bob, lambda: bob.clock.seq(writer.author) == 1)
        backup = self.database.backup()
        await writer.append(b"2")
        await self.until(bob, lambda: bob.clock.seq(writer.author) == 2)
        told = [each.when(StoreFailing) for each in (node, other)]
        down = node.when(PeerDown)
        reading = store.read(live=True)
        self.database.put_back(backup)
        for waiting in told:
            notice = await waiting
            self.assertIsInstance(notice.error, StoreWentBackError)
            self.assertTrue(notice.final)
        self.assertEqual((await down).reason, "stopping")
        await node.stop()
        for use in (
            lambda: store.read(),
            lambda: store.writer("x"),
            lambda: Node(reactor, store, network=NETWORK),
        ):
            self.assertRaises(StoreWentBackError, use)
        with self.assertRaises(StoreWentBackError):
            async for _ in reading:
                pass
        await store.close()
        again, _, _ = self.relay()
        self.assertEqual(again.clock.seq(writer.author), 1)

    async def test_bans(self) -> None:
        """Are of all relays, begun and lifted at any of them, also of one that comes later; its sessions end."""
        (_, one, _), (store, two, _) = self.relay(), self.relay()
        ann = open_store("memory:", reactor)
        self.addCleanup(ann.close)
        peer = Node(reactor, ann, network=NETWORK)
        up, down = two.when(PeerUp), two.when(PeerDown)
        peer.connect(await two.listen(LISTEN))
        await up
        others = [bytes([number]) * 32 for number in range(1, 5)]
        one.ban(peer.id, reason="enough")
        for number, other in enumerate(others):  # at the same moment
            (one, two)[number % 2].ban(other, seconds=3600)
        await down
        everybody = {peer.id, *others}
        await self.until(store, lambda: {ban.peer for ban in two.bans} == everybody)
        await self.until(one.store, lambda: {ban.peer for ban in one.bans} == everybody)
        self.assertEqual({ban.reason for ban in two.bans if ban.peer == peer.id}, {"enough"})
        two.unban(others[0])
        await self.until(one.store, lambda: {ban.peer for ban in one.bans} == everybody - {others[0]})
        third, late, _ = self.relay()
        await third.holes()
        self.assertEqual({ban.peer for ban in late.bans}, everybody - {others[0]})

    async def test_no_writers(self) -> None:
        """As of every shared store, with what to do instead."""
        store, _, _ = self.relay()
        with self.assertRaises(SharedStoreError) as refused:
            await store.writer()
        self.assertIn("write with a store of your own", str(refused.exception))


class SharedBansTests(SynchronousTestCase):
    """Bans of one relay, and those that others wrote down."""

    def setUp(self) -> None:
        """A relay at 3000 seconds on the wall, and what it writes down."""
        self.bans = Bans()
        self.written: list[SetMeta] = []

    def share(self, most: float = inf, **theirs: float) -> None:
        """Begin with what others wrote: until when who is kept out, and for how long at most."""
        kept = shared_bans._dump(
            {name.encode() * 32: (until, "theirs", most) for name, until in theirs.items()}
        )
        core: Any = SimpleNamespace(
            is_shared=True,
            listen=lambda _: lambda: None,
            run=lambda _: succeed(kept),
            thread=SimpleNamespace(write=lambda request, _: self.written.append(request)),
        )
        self.clock = Clock()
        driver: Any = SimpleNamespace(admission=SimpleNamespace(bans=self.bans), reactor=self.clock)
        self.shared: Any = share_bans(core, driver, lambda: 3000.0).__self__  # type: ignore[attr-defined]

    def test_bans_of_others(self) -> None:
        """Who writes down a ban leaves those of others there that are over by its own clock, and does not do them."""
        self.share(a=600.0, b=-3600.0)
        self.assertEqual(self.bans.all(0.0), [])
        self.bans.keep_out(b"c" * 32, "ours", 60.0, 0.0)
        self.assertEqual(shared_bans._load(self.written[0].value, -inf).keys(), {b"a" * 32, b"c" * 32})

    def test_a_clock_that_is_ahead(self) -> None:
        """Who bans in 2100 for ten minutes bans everywhere for ten minutes, and not again when others write."""
        self.patch(shared_bans, "hang_up", lambda *_: None)
        self.share(600.0, a=4.1e9)
        self.assertEqual([ban.seconds for ban in self.bans.all(0.0)], [600.0])
        self.clock.advance(700.0)
        theirs = {b"a" * 32: (4.1e9, "theirs", 600.0), b"b" * 32: (4.1e9, "theirs", 600.0)}
        self.shared._take(shared_bans._dump(theirs))
        self.assertEqual([ban.peer for ban in self.bans.all(700.0)], [b"b" * 32])

    def test_who_is_told_lifts_a_ban(self) -> None:
        """What an application does when a session ends that another relay banned is written down."""
        self.patch(shared_bans, "hang_up", lambda *_: self.bans.lift(b"a" * 32))
        self.share(a=9000.0, b=9000.0)
        [request] = self.written
        self.assertEqual(shared_bans._load(request.value, -inf).keys(), {b"b" * 32})


class ServingTests(TestCase):
    """A relay as a service."""

    timeout = 60

    def setUp(self) -> None:
        self.database = SharedMemory()
        self.opened: list[Store] = []
        self.failures: list[Exception] = []
        self.patch(service, "open_store", self.open)
        self.patch(service, "RETRY_FIRST_SECONDS", 0.0)
        self.events: list[str] = []
        observer = lambda event: self.events.append(event.get("event", ""))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.serving = Serving(
            reactor, "memory:", NETWORK, RunOptions(listen=(LISTEN,)), init=False, wait=0.0, state="state"
        )
        self.addCleanup(self.serving.stop)

    def open(self, path: str, at: Any, *, state: str, **how: Any) -> Store:
        """In the place of open_store."""
        self.assertEqual(state, "state")
        if self.failures:
            raise self.failures.pop()
        backend = MemoryBackend().join(self.database)
        self.opened.append(Store(lambda: Logs(backend), at))
        return self.opened[-1]

    def put_back(self) -> None:
        """Let the database lose what it has."""
        backup = SharedMemory()
        backup.lanes = {name: [] for name in self.database.lanes}
        self.database.put_back(backup)

    async def until(self, event: str) -> None:
        """Wait for an event of the log."""
        while event not in self.events:
            await deferLater(reactor, 0.01)

    async def write(self) -> None:
        """Commit something, so that there is what may be lost."""
        chain = Chain(1)
        put = chain.put(b"1")
        await self.opened[-1]._core.write(Accept(put.segment, put.head), lambda _: None)

    async def test_opened_again(self) -> None:
        """As often as it takes; then another node serves on another store."""
        await self.serving.start()
        await self.write()
        self.failures = [StoreUnreachableError("not yet"), StoreUnreachableError("not yet")]
        self.put_back()
        await self.until("store_reopened")
        self.assertEqual((len(self.opened), self.failures), (2, []))
        self.assertEqual(self.events.count("reopen_failed"), 1)
        self.assertEqual(self.events.count("store_failing"), 1)
        self.assertEqual(len(self.opened[1].clock), 0)
        await self.write()
        self.put_back()
        while len(self.opened) < 3:
            await deferLater(reactor, 0.01)

    async def test_stopped_meanwhile(self) -> None:
        """It ends, whatever it waits for."""
        await self.serving.start()
        await self.write()
        self.failures = [StoreUnreachableError("not yet")] * 3
        self.patch(service, "RETRY_MOST_SECONDS", 3600.0)
        self.patch(service, "RETRY_FIRST_SECONDS", 3600.0)
        self.put_back()
        await self.until("reopen_failed")
        await self.serving.stop()
        self.assertEqual(len(self.opened), 1)
        self.assertTrue(self.failures)

    async def test_a_database_that_is_away_at_the_start(self) -> None:
        """Is waited for as a store is that is open elsewhere."""
        self.failures = [StoreUnreachableError("not yet")]
        with self.assertRaises(StoreUnreachableError):
            await self.serving.start()
        self.failures = [StoreUnreachableError("not yet")]
        self.serving._wait = 30.0
        await self.serving.start()
        self.assertEqual(self.failures, [])


class DoorTests(SynchronousTestCase):
    """Places of stores that relays share, and the directories of relays."""

    PLACE = "postgresql://postgres@127.0.0.1:1/x"

    def test_what_is_needed(self) -> None:
        """A state for what is shared, none for what is not; each with what to do."""
        for place, how, words in (
            (self.PLACE, {}, "--state DIR"),
            (self.PLACE, {"state": "s", "read_only": True}, "ask a relay"),
            ("memory:", {"state": "s"}, "keeps everything itself"),
            (self.mktemp(), {"state": "s"}, "keeps everything itself"),
        ):
            with self.assertRaises(InvalidValueError) as refused:
                open_logs(place, **how)  # type: ignore[arg-type]
            self.assertIn(words, str(refused.exception))
            self.assertFalse(Path("s").exists())

    def test_passwords(self) -> None:
        """Wherever one is in a place it is refused, at once, and no error shows it."""
        if find_spec("psycopg") is None:
            raise SkipTest("needs the extra postgres")
        for place in (
            "postgresql://ann:geheim@h/x",
            "postgresql://ann:geheim@h/x y",
            "postgresql://h/x?password=geheim",
            "postgresql://h/x?sslpassword=geheim",
            "postgresql://ann:geheim@[h/x",
            "postgresql://ann:ge%zzgeheim@h/x",
        ):
            with self.assertRaises(InvalidValueError) as refused:
                open_store(place, reactor, state="s")
            self.assertNotIn("geheim", f"{refused.exception!r} {refused.exception.__context__!r}")
        self.assertFalse(Path("s").exists())
