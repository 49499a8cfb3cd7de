"""Ring 8: relays and their database in every trouble, on private clusters: what was acknowledged is there.

The quick ones run always.  Those that kill servers and processes, promote standbys and fill disks take more than a few
seconds each: GOSSIPLOG_FLEET=1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog.errors import (
    StoreError,
    StoreFullError,
    StoreUnreachableError,
    StoreWentBackError,
)
from gossiplog.log.segment import Segment, verify
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Accept, Accepted, Learn, Stale
from gossiplog.store.shared.interface import Position, Shared
from gossiplog.testing.chain import Chain
from tests import postgres

ALL = 1 << 30

IS_ON = os.environ.get("GOSSIPLOG_FLEET") == "1"


class Relay:
    """I am a relay without a network: its store, and what it heard of the others."""

    def __init__(self, place: str, state: Path) -> None:
        from gossiplog.store.postgres.backend import PostgresBackend

        self.logs = Logs(PostgresBackend(place, state, init=True, wait=5.0))
        shared = self.logs.shared
        assert shared is not None and self.logs.begins is not None
        self.shared: Shared = shared
        self.position: Position = self.logs.begins

    def take(self, *segments: Segment) -> list[object]:
        """Take what a peer gives."""
        return [*self.logs.process([Accept(segment, verify(segment)) for segment in segments]).results]

    def hear(self) -> None:
        """Take in what others did."""
        changes, self.position = self.shared.poll(self.position, ALL)
        if changes:
            self.logs.process([Learn(tuple(changes))])


class FaultTestCase(SynchronousTestCase):
    """Relays in directories of their own, closed in the end."""

    timeout = 300

    def relay(self, place: str, state: Path | None = None) -> Relay:
        if state is None:
            state = Path(self.mktemp()).absolute()
            state.parent.mkdir(parents=True, exist_ok=True)
        relay = Relay(place, state)
        self.addCleanup(relay.logs.close)
        return relay

    def require(self, *relays: Relay) -> None:
        """All hold the same, on a store that verifies."""
        for relay in relays:
            relay.hear()
        first = relays[0].logs
        self.assertEqual([each.logs.clock == first.clock for each in relays], [True] * len(relays))
        self.assertEqual([each.logs.forks for each in relays], [first.forks] * len(relays))
        report = first.verify()
        self.assertEqual(report.damages, [])


class QuickTests(FaultTestCase):
    """On the cluster that all tests share."""

    def setUp(self) -> None:
        self.cluster = postgres.shared()
        self.place = self.enter(self.cluster.store())

    def enter(self, context: object) -> str:
        entered: str = context.__enter__()  # type: ignore[attr-defined]
        self.addCleanup(context.__exit__, None, None, None)  # type: ignore[attr-defined]
        return entered

    def test_a_network_that_stalls_a_commit(self) -> None:
        """Nobody hears what became of it: it is looked at over another connection, and a new lane begins."""
        wire = postgres.Wire(self.cluster.port)
        self.addCleanup(wire.close)
        over = self.place.replace(f":{self.cluster.port}/", f":{wire.port}/")
        chain = Chain(1)
        segments = chain.write_each(3)
        with seconds(_ANSWER_SECONDS=0.4):
            ann, bob = self.relay(over), self.relay(self.place)
            ann.take(segments[0])
            lane = ann.logs._mine._writer.name  # type: ignore[attr-defined]
            wire.sees = b"COMMIT"

            def go_on() -> None:
                wire.seen.wait()
                wire.sees = None
                while wire.stands.is_set():
                    time.sleep(0.05)
                    if self.cluster.execute(
                        f"SELECT 1 FROM lanes WHERE pos = 2 AND lane = '\\x{lane.hex()}'",
                        self.place.rpartition("/")[2],
                    ):
                        wire.stands.clear()

            goes_on = threading.Thread(target=go_on)
            goes_on.start()
            began = time.monotonic()
            self.assertIsInstance(ann.take(segments[1])[0], Stale)  # it was done, and is learned
            goes_on.join()
            self.assertLess(time.monotonic() - began, 20)
            self.assertIsInstance(ann.take(segments[2])[0], Accepted)
            self.assertNotEqual(ann.logs._mine._writer.name, lane)  # type: ignore[attr-defined]
        self.assertEqual(ann.logs.clock.seq(chain.author), 3)
        self.require(ann, bob)

    def test_a_transaction_of_others(self) -> None:
        """That holds what we need, for as long as it likes: our store says that it cannot be reached, and goes on."""
        import psycopg

        chain, other = Chain(1), Chain(2)
        segments = chain.write_each(2)
        with seconds(_LOCK_SECONDS=0.2):
            ann = self.relay(self.place)
            ann.take(segments[0])
            with psycopg.connect(self.place) as connection:
                connection.execute("SELECT * FROM heads FOR UPDATE")
                with self.assertRaises(StoreUnreachableError) as refused:
                    ann.take(segments[1])
                self.assertIn("lock timeout", str(refused.exception))
                self.assertEqual(ann.logs.segments(chain.author, 1, ALL), segments[:1])  # reading goes on
                self.assertIsInstance(ann.take(*other.write(b"1"))[0], Accepted)  # and what it does not hold
            self.assertIsInstance(ann.take(segments[1])[0], Accepted)
        self.require(ann)

    def test_a_relay_that_stands_still(self) -> None:
        """In a transaction, with heads locked: the database ends that after a while, and the others go on."""
        chain = Chain(1)
        segments = chain.write_each(2)
        with seconds(_IDLE_SECONDS=0.3):
            ann, bob = self.relay(self.place), self.relay(self.place)
            ann.take(segments[0])
            bob.hear()
            connection = ann.logs._mine._connection  # type: ignore[attr-defined]
            taken: list[object] = []
            with contextlib.suppress(StoreUnreachableError), connection.transaction() as cursor:
                cursor.execute("SELECT * FROM heads FOR UPDATE")
                taken += bob.take(segments[1])  # waits until then
                cursor.execute("SELECT 1")
                self.fail("the transaction goes on")
            self.assertIsInstance(taken[0], Accepted)
        self.require(ann, bob)

    def test_too_many_connections(self) -> None:
        """Is a database that cannot be reached now; who has a connection goes on."""
        role = f"relay{os.getpid()}"
        name = self.place.rpartition("/")[2]
        self.cluster.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2")
        self.addCleanup(self.cluster.execute, f"DROP ROLE {role}")
        self.addCleanup(self.cluster.execute, f"DROP OWNED BY {role}", name)
        self.cluster.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", name)
        place = self.place.replace("postgres@", f"{role}@")
        ann = self.relay(place)
        ann.hear()
        with self.assertRaises(StoreUnreachableError) as refused:
            self.relay(place)
        self.assertIn("too many connections", str(refused.exception))
        self.assertIsInstance(ann.take(*Chain(1).write(b"1"))[0], Accepted)
        ann.hear()
        self.require(ann)
        ann.logs.close()

    def test_a_standby(self) -> None:
        """Takes no writes: whoever reached one looks for the primary."""
        ann = self.relay(self.place)
        connection = ann.logs._mine._connection  # type: ignore[attr-defined]
        connection.raw.execute("SET default_transaction_read_only = on")
        chain = Chain(1)
        [segment] = chain.write(b"1")
        with self.assertRaises(StoreUnreachableError):
            ann.take(segment)
        self.assertIsInstance(ann.take(segment)[0], Accepted)  # over another connection

    def test_both_branches_at_once(self) -> None:
        """Two relays, each in its thread: one branch is held, whole, and both know the proof."""
        ann, bob = self.relay(self.place), self.relay(self.place)
        logs = []
        for number in range(1, 25):
            chain, branch = Chain(number), Chain(number)
            common = chain.write(b"common")
            branch.write(b"common")
            logs.append(
                (common + chain.write_each(2), common + branch.write(b"other") + branch.write(b"more"))
            )

        def give(relay: Relay, side: int) -> None:
            for pair in logs[:: 1 - 2 * side]:
                for segment in pair[side]:
                    relay.take(segment)

        threads = [threading.Thread(target=give, args=(each, side)) for side, each in enumerate((ann, bob))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.require(ann, bob)
        found = {pair[0][0].author for pair in logs}
        for side, relay in ((0, ann), (1, bob)):
            relay.hear()
            for pair in logs:  # what a reconcile's comparison of heads brings to light
                proof = relay.logs.examine(pair[side][1])
                if proof is not None:
                    found.discard(pair[0][0].author)
        self.assertEqual(ann.logs.forks | found, ann.logs.forks)


class OptInTestCase(FaultTestCase):
    """Clusters of its own, each with all that makes commits durable."""

    def setUp(self) -> None:
        if not IS_ON:
            raise SkipTest("takes long: GOSSIPLOG_FLEET=1")
        postgres.shared()  # or the reason why there is none
        self.acked: list[Segment] = []

    def cluster(
        self, *settings: str, of: postgres.Cluster | None = None, place: Path | None = None
    ) -> postgres.Cluster:
        cluster = postgres.Cluster("max_connections=30", *settings, of=of, place=place)
        self.addCleanup(cluster.remove)
        return cluster

    def pair(self, *settings: str) -> tuple[postgres.Cluster, postgres.Cluster]:
        """A primary and its standby, which has all that the primary has."""
        primary = self.cluster(*settings)
        standby = self.cluster(of=primary)
        until(lambda: bool(primary.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")))
        return primary, standby

    def both(self, *clusters: postgres.Cluster) -> str:
        """What connects to whichever of these is the primary."""
        hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write&connect_timeout=2"

    def write(self, relay: Relay, chain: Chain, count: int, patience: float = 20.0) -> None:
        """Append so many entries, each until it is acknowledged."""
        for segment in chain.write_each(count):
            self.give(relay, segment, patience)

    def give(self, relay: Relay, segment: Segment, patience: float = 20.0) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                relay.take(segment)
                break
            except StoreUnreachableError:
                if time.monotonic() > deadline:
                    raise
        self.acked.append(segment)

    @contextmanager
    def writing(self, relays: Sequence[Relay], chains: Sequence[Chain]) -> Iterator[None]:
        """Each relay takes entries before, meanwhile and after."""
        ending = threading.Event()

        def write(relay: Relay, chain: Chain) -> None:
            for count in range(1_000_000):
                if count >= 20 and ending.is_set():
                    return
                self.write(relay, chain, 1)
                begun.release()

        begun = threading.Semaphore(0)
        threads = [threading.Thread(target=write, args=pair) for pair in zip(relays, chains, strict=True)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            begun.acquire(timeout=30)
        yield
        before = len(self.acked)
        until(lambda: len(self.acked) > before + 20)
        ending.set()
        for thread in threads:
            thread.join()

    def require_acked(self, relay: Relay) -> None:
        """Everything acknowledged is there, whole."""
        for segment in self.acked:
            self.assertGreaterEqual(relay.logs.clock.seq(segment.author), segment.last)
            self.assertEqual(relay.logs.segments(segment.author, segment.first, 1), [segment])


class ServerTests(OptInTestCase):
    """Servers that are killed, cut off, promoted, full."""

    def test_the_primary_is_killed(self) -> None:
        """And started again: relays go on by themselves, and nothing is lost."""
        cluster = self.cluster()
        relays = [self.relay(cluster.conninfo()) for _ in range(2)]
        chains = [Chain(1), Chain(2)]
        for _ in range(3):
            with self.writing(relays, chains):
                cluster.kill()  # not started in a thread, with which it would end
                cluster.start()
        self.require(*relays)
        self.require_acked(relays[0])

    def test_failover_to_a_synchronous_standby(self) -> None:
        """Nothing that was acknowledged is lost, and no relay takes it for a store that went back."""
        primary, standby = self.pair("synchronous_standby_names=standby")
        place = self.both(primary, standby)
        relays = [self.relay(place) for _ in range(2)]
        chains = [Chain(1), Chain(2)]
        with self.writing(relays, chains):
            primary.kill()
            standby.promote()
        self.require(*relays)
        self.require_acked(relays[0])

    def test_failover_to_a_standby_that_was_behind(self) -> None:
        """Every relay notices that the store went back, whoever wrote what is lost; opened again, peers bring it."""
        primary, standby = self.pair()
        place = self.both(primary, standby)
        ann, bob, cyn = relays = [self.relay(place) for _ in range(3)]
        chain, other = Chain(1), Chain(2)
        self.write(ann, chain, 5)
        self.write(bob, other, 5)
        at = primary.execute("SELECT pg_current_wal_lsn()")[0][0]
        until(lambda: standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{at}'") == [(True,)])
        standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        standby.execute("SELECT pg_reload_conf()")
        until(lambda: not standby.execute("SELECT 1 FROM pg_stat_wal_receiver"))
        self.write(ann, chain, 5)  # nowhere but on the primary
        for relay in (bob, cyn):
            relay.hear()
        primary.kill()
        standby.promote()
        for relay in relays:
            with self.assertRaises(StoreWentBackError):
                until(lambda relay=relay: relay.hear(), StoreUnreachableError)  # type: ignore[misc, func-returns-value]
        with self.assertRaises(StoreWentBackError):
            ann.take(*chain.write_each(1))
        opened = [self.again(relay, place) for relay in relays]
        self.assertEqual(opened[0].logs.clock.seq(chain.author), 5)
        for segment in self.acked:  # as peers do
            opened[1].take(segment)
        self.require(*opened)
        self.require_acked(opened[0])

    def again(self, relay: Relay, place: str) -> Relay:
        state = Path(relay.shared.directory or "")
        relay.logs.close()
        return self.relay(place, state)

    def test_a_standby_that_is_gone(self) -> None:
        """Commits wait for it and are not cancelled: the store says that it cannot be reached until it is back."""
        primary, standby = self.pair("synchronous_standby_names=standby")
        with seconds(_ANSWER_SECONDS=1.0, _LOCK_SECONDS=1.0):
            relay = self.relay(primary.conninfo())
            chain = Chain(1)
            self.write(relay, chain, 3)
            standby.kill()
            [segment] = chain.write_each(1)
            with self.assertRaises(StoreUnreachableError):
                relay.take(segment)
            self.assertEqual(relay.logs.clock.seq(chain.author), 3)
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            self.assertTrue(primary.execute(waits))  # it was not cancelled
            standby.start()
            self.give(relay, segment)
            self.write(relay, chain, 3)
        self.require(relay)
        self.require_acked(relay)

    def test_cut_off_from_the_primary(self) -> None:
        """A relay whose way to it stands still says so, serves what it can, and catches up later; the others go on."""
        cluster = self.cluster()
        wire = postgres.Wire(cluster.port)
        self.addCleanup(wire.close)
        with seconds(_ANSWER_SECONDS=1.0):
            ann = self.relay(f"postgresql://postgres@127.0.0.1:{wire.port}/postgres?connect_timeout=2")
            bob = self.relay(cluster.conninfo())
            chain, other = Chain(1), Chain(2)
            self.write(ann, chain, 3)
            wire.stands.set()
            with self.assertRaises(StoreUnreachableError):
                ann.take(*other.write(b"lost on the way"))
            with self.assertRaises(StoreUnreachableError):
                ann.hear()
            bob.hear()
            self.write(bob, chain, 3)
            wire.close()
            again = postgres.Wire(cluster.port)
            self.addCleanup(again.close)
            ann = self.again(ann, f"postgresql://postgres@127.0.0.1:{again.port}/postgres")
        self.require(ann, bob)
        self.require_acked(ann)

    def test_a_relay_of_the_old_primary(self) -> None:
        """Whoever stays with the one that was replaced finds at the new one that the store went back."""
        primary, standby = self.pair()
        ann, bob = self.relay(primary.conninfo()), self.relay(self.both(primary, standby))
        chain, other = Chain(1), Chain(2)
        self.write(ann, chain, 2)
        until(lambda: standby.execute("SELECT count(*) FROM feed") == [(2,)])
        standby.promote()  # and nobody stops the old one
        self.write(ann, chain, 2)
        new = self.again(bob, standby.conninfo())
        self.write(new, other, 2)
        state = Path(ann.shared.directory or "")
        position = ann.position
        ann.logs.close()
        moved = self.relay(standby.conninfo(), state)
        self.assertEqual(moved.logs.clock.seq(chain.author), 2)
        for segment in self.acked:
            moved.take(segment)
        self.require(moved, new)
        self.require_acked(moved)
        self.assertIsNotNone(position)

    def test_a_full_disk(self) -> None:
        """Is said as one, nothing is half written, and with room the store goes on."""
        place = Path(tempfile.mkdtemp(prefix="gossiplog-full-"))
        self.addCleanup(shutil.rmtree, place, True)
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], check=False
        ).returncode:
            raise SkipTest("needs to mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False)
        place.chmod(0o755)
        inside = place / "cluster"
        inside.mkdir()
        cluster = self.cluster("max_wal_size=32MB", "min_wal_size=32MB", "wal_keep_size=0", place=inside)
        relay = self.relay(cluster.conninfo())
        chain = Chain(1)
        self.write(relay, chain, 3)
        filler = place / "filler"
        filler.write_bytes(bytes(max(0, os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 3_000_000)))
        refused: StoreError | None = None
        for _ in range(200):
            [segment] = chain.write(os.urandom(100_000))
            try:
                relay.take(segment)
            except (StoreFullError, StoreUnreachableError) as error:
                refused = error
                break
            self.acked.append(segment)
        self.assertIsNotNone(refused)
        self.require_reading(relay, chain)
        filler.unlink()
        until(lambda: relay.take(segment), StoreUnreachableError, StoreFullError)
        self.acked.append(segment)
        self.write(relay, chain, 3)
        self.require(relay)
        self.require_acked(relay)

    def require_reading(self, relay: Relay, chain: Chain) -> None:
        """What is held can be read, as long as the server runs."""
        with contextlib.suppress(StoreUnreachableError):  # without room for its log it stops
            self.assertEqual(relay.logs.segments(chain.author, 1, 1), self.acked[:1])


class RelayTests(OptInTestCase):
    """Relays that are killed."""

    def test_killed(self) -> None:
        """In the middle of anything, again and again: what each acknowledged is there, and the others go on."""
        cluster = self.cluster()
        place = cluster.conninfo()
        base = Path(self.mktemp()).absolute()
        base.mkdir(parents=True)
        watcher = self.relay(place)
        acked: dict[bytes, int] = {}
        program = [sys.executable, "-m", "tests.fleet_writer"]
        for round_ in range(4):
            writers = [
                subprocess.Popen(
                    [*program, place, str(base / str(number)), str(number), str(round_)],
                    stdout=subprocess.PIPE,
                )
                for number in range(2)
            ]
            for writer in writers:
                assert writer.stdout is not None
                lines = [writer.stdout.readline() for _ in range(50 + 10 * round_)]
                writer.kill()
                lines += writer.communicate()[0].splitlines(keepends=True)
                for line in [line for line in lines if line.endswith(b"\n")]:
                    author, seq = line.split()
                    acked[bytes.fromhex(author.decode())] = int(seq)
        watcher.hear()
        for author, seq in acked.items():
            self.assertGreaterEqual(watcher.logs.clock.seq(author), seq)
        self.require(watcher, self.relay(place))


@contextmanager
def seconds(**values: float) -> Iterator[None]:
    """Wait for so long and no longer."""
    with patch.multiple("gossiplog.store.postgres.connection", **values):
        yield


def until(condition: Callable[[], object], *passing: type[BaseException], within: float = 20.0) -> None:
    """Ask again until it is so: nothing tells us."""
    deadline = time.monotonic() + within
    while True:
        try:
            if condition():
                return
        except passing:
            pass
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.05)
