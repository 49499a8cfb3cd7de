"""Rings 6 and 8: one sync in virtual time, and with real disks: how it ends, and what it says."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import InSync, Node, Peer, PeerRejected, Result, limits
from gossiplog.app.commands.replicate import refused
from gossiplog.errors import (
    EndpointError,
    MalformedMessageError,
    NodeError,
    NodeStoppedError,
    StoreCopiedError,
    StoreDamagedError,
    StoreFailedError,
    StoreFullError,
)
from gossiplog.gossip.quotas import Quota, Quotas
from gossiplog.net.catching_up import FAILED_SECONDS, CatchUp, Moved, bring_back, catch_up_with_all
from gossiplog.store.logs import open_logs
from gossiplog.store.memory.faults import DiskFault
from tests import netcase
from tests.netcase import LISTEN, OTHER_NETWORK, World
from tests.processes import ProcessTestCase
from tests.test_net_joining import Told

PATIENCE = 20.0


class SyncTests(SynchronousTestCase):
    """Ann syncs with Bob."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
        self.ann.append(b"1", b"2")
        self.bob.append(b"3")
        self.address = self.bob.listen()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def sync(self, seconds: float = PATIENCE + 5) -> Moved:
        """Let Ann do it."""
        sync = CatchUp(self.ann.node, self.address, PATIENCE)
        moved: Moved = self.world.result(Deferred.fromCoroutine(sync.run()), seconds)
        return moved

    def assert_fails(self, kind: type[Exception], *words: str, seconds: float = PATIENCE + 5) -> None:
        with self.assertRaises(kind) as caught:
            self.sync(seconds)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertNotIn("nothing moved", str(caught.exception))

    def test_well(self) -> None:
        self.assertEqual(self.sync()[:2], (1, 2))

    def test_others_are_found_meanwhile(self) -> None:
        """Who is meant is who answers at the endpoint, whoever else comes first."""
        cleo = self.world.site("cleo")
        self.ann.node.connect(cleo.listen())
        asked: list[bytes] = []
        ask = self.ann.node.when_in_sync

        def noted(peer: Peer) -> Result[InSync]:
            asked.append(peer.id)
            return ask(peer)

        self.patch(self.ann.node, "when_in_sync", noted)
        sync = CatchUp(self.ann.node, self.address, PATIENCE)
        self.world.result(Deferred.fromCoroutine(sync.run()))
        self.assertEqual(asked, [self.bob.node.id])
        self.assertEqual(self.bob.payloads(self.ann.author()), [b"1", b"2"])

    def test_disk_full(self) -> None:
        self.ann.backend.fault = lambda writes: DiskFault.FULL
        self.assert_fails(StoreFullError, "no space left")

    def test_disk_full_and_peer_gone(self) -> None:
        self.ann.backend.fault = lambda writes: DiskFault.FULL
        self.world.reactor.callLater(3.0, self.bob.node.stop)
        self.assert_fails(StoreFullError, "no space left")

    def test_disk_full_for_a_while(self) -> None:
        """Nothing is said of what passed."""
        self.ann.backend.fault = lambda writes: DiskFault.FULL

        def room() -> None:
            self.ann.backend.fault = None

        self.world.reactor.callLater(limits.RETRY_WRITE_SECONDS + 1, room)
        self.assertEqual(self.sync()[:2], (1, 2))

    def test_disk_full_for_a_while_and_silence(self) -> None:
        """What is said is what is the matter at the end."""
        self.ann.backend.fault = lambda writes: DiskFault.FULL

        def room() -> None:
            self.ann.backend.fault = None
            self.bob.disk.stall()

        self.world.reactor.callLater(0.5, room)
        self.world.reactor.callLater(1.0, self.ann.append, b"5")
        with self.assertRaises(NodeError) as caught:
            self.sync(3 * PATIENCE)
        self.assertIn("nothing moved for 20 s", str(caught.exception))
        self.bob.disk.resume()

    def test_disk_that_fails_for_good(self) -> None:
        """It is over as soon as what can be sent is sent."""
        self.ann.backend.fault = lambda writes: DiskFault.LOST
        self.assert_fails(StoreFailedError, "the disk failed", seconds=FAILED_SECONDS + 2)
        self.assertEqual(self.bob.store.clock.seq(self.ann.author()), 2)

    def test_damaged(self) -> None:
        """What the peer asked for cannot be read."""

        def damaged(*_: Any, **__: Any) -> Any:
            raise StoreDamagedError("row 1 is not what was written")

        with patch.object(self.ann.backend, "segments", damaged):
            self.assert_fails(StoreDamagedError, "is damaged", "row 1", "verify --repair")

    def test_silence(self) -> None:
        """Where our side is well, it says that nothing moved."""
        self.bob.disk.stall()
        with self.assertRaises(NodeError) as caught:
            self.sync()
        self.assertIn("nothing moved for 20 s", str(caught.exception))
        self.bob.disk.resume()

    def catch_up(self) -> CatchUp:
        """One that is waited for, and left, by a node that runs on."""
        sync = CatchUp(self.ann.node, self.address, PATIENCE)
        self.world.result(Deferred.fromCoroutine(sync.run()))
        sync.leave()
        self.world.run(1)
        return sync

    def test_a_node_that_runs_on(self) -> None:
        """Is connected afterwards as it was before."""
        self.catch_up()
        self.assertEqual((self.ann.node.peers, self.ann.node.status().dialled), ([], ()))
        self.ann.node.connect(self.address)
        self.world.run(1)
        before = self.ann.node.status().peers
        sync = self.catch_up()
        self.assertEqual((sync.peer, sync.moved.sent), (self.ann.node.peers[0], 0))
        [after] = self.ann.node.status().peers
        self.assertGreater(after.up_seconds, before[0].up_seconds)
        self.assertEqual([each.connected for each in self.ann.node.status().dialled], [True])

    def test_who_dialled_us(self) -> None:
        """Stays connected as it was: no second session is begun, and the first one goes on."""
        self.bob.node.connect(self.ann.listen())
        self.world.run(1)
        [before] = self.ann.node.status().peers
        self.catch_up()
        [after] = self.ann.node.status().peers
        self.assertEqual((after.id, after.address), (before.id, before.address))
        self.assertGreater(after.up_seconds, before.up_seconds)
        self.assertEqual(self.ann.node.status().dialled, ())

    def test_others_go_on_meanwhile(self) -> None:
        """What they send, and what is wrong with them, is no answer of who is meant."""
        cleo, writes = self.world.site("cleo"), 100
        self.ann.node.connect(cleo.listen())
        self.bob.stop()

        def busy(left: int) -> None:
            if left:
                Deferred.fromCoroutine(write())
                self.world.reactor.callLater(1.0, busy, left - 1)

        async def write() -> None:
            await (await cleo.store.writer()).append(b"x")

        busy(writes)
        self.ann.node._tell(PeerRejected("tcp:elsewhere:1", MalformedMessageError("noise")))
        with self.assertRaises(NodeError) as caught:
            self.sync()
        self.assertIn(f"no answer from {self.address} within 20 s", str(caught.exception))
        self.world.run(writes)

    def busy(self, name: str, seconds: int) -> None:
        """Somebody else writes something each second, and Ann gets it."""
        site = self.world.site(name)
        self.ann.node.connect(site.listen())
        self.world.run(1)

        async def write() -> None:
            await (await site.store.writer()).append(b"x")

        for second in range(1, seconds + 1):
            self.world.reactor.callLater(second, lambda: Deferred.fromCoroutine(write()))

    def test_a_peer_that_is_stuck(self) -> None:
        """What others bring is no answer of who is meant: it is given up in time, however busy the node is."""
        self.busy("cleo", 100)
        self.bob.disk.stall()
        with self.assertRaises(NodeError) as caught:
            self.sync(2 * PATIENCE)
        self.assertIn("nothing moved for 20 s", str(caught.exception))
        self.bob.disk.resume()
        self.world.run(100)

    def test_what_others_bring(self) -> None:
        """Is not counted."""
        self.busy("cleo", 10)
        self.bob.disk.stall()
        self.world.reactor.callLater(5, self.bob.disk.resume)
        self.assertEqual(self.sync()[:2], (1, 2 + 5))  # and what cleo wrote until then goes to bob
        self.world.run(10)

    def test_two_connections(self) -> None:
        """Whichever of them stays: it is the node that is meant."""
        sync = CatchUp(self.ann.node, self.address, PATIENCE)
        self.bob.disk.stall()
        moved = Deferred.fromCoroutine(sync.run())
        self.world.run(1)
        self.bob.node.connect(self.ann.listen())
        self.ann.node.connect(self.address)
        self.world.run(2)
        self.bob.disk.resume()
        self.assertEqual(self.world.result(moved)[:1], (1,))
        self.assertEqual(self.bob.payloads(self.ann.author()), [b"1", b"2"])

    def test_a_node_that_is_kept_out(self) -> None:
        """That is said, and what lets it in."""
        self.ann.node.connect(self.address)
        self.world.run(1)
        self.ann.node.ban(self.bob.node.id, reason="too loud")
        self.ann.node.connect(self.address).peer = self.bob.node.id
        with self.assertRaises(NodeError) as caught:
            self.sync()
        self.assertIn("too loud", str(caught.exception))
        self.assertIn("gossiplog unban", str(caught.exception))

    def test_who_gives_nothing_back(self) -> None:
        """Of a copy that is to be appended to, a peer that sends no entries shows nothing."""
        self.bob.stop()
        self.patch(netcase, "Node", partial(Node, mode="pull"))
        self.bob.start()
        self.bob.listen()
        back = Deferred.fromCoroutine(bring_back(self.ann.node, self.address, PATIENCE))
        with self.assertRaises(StoreCopiedError) as caught:
            self.world.result(back, PATIENCE + 5)
        self.assertIn("may send no entries", str(caught.exception))


class FoundTests(SynchronousTestCase):
    """Ann syncs with whoever is found."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob, self.cleo = (self.world.site(name) for name in ("ann", "bob", "cleo"))
        self.ann.append(b"1", b"2")
        self.bob.append(b"3")
        self.cleo.append(b"4")
        for site in (self.bob, self.cleo):
            site.listen()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def sync(self, *ways: Any, seconds: float = PATIENCE + 5) -> Moved:
        """Let Ann do it."""
        self.joined = self.ann.node.join(*ways)
        return self.again(seconds)

    def again(self, seconds: float = PATIENCE + 5) -> Moved:
        """Once more."""
        catching_up = catch_up_with_all(self.ann.node, self.joined, PATIENCE)
        moved: Moved
        moved, self.peers = self.world.result(Deferred.fromCoroutine(catching_up), seconds)
        return moved

    def with_whom(self) -> set[bytes]:
        return {peer.id for peer in self.peers}

    def test_all_who_are_there(self) -> None:
        moved = self.sync(Told(self.bob.port, self.cleo.port))
        self.assertEqual(moved.received, 2)
        self.assertEqual(self.with_whom(), {self.bob.node.id, self.cleo.node.id})
        for site in (self.bob, self.cleo):
            self.assertEqual(site.payloads(self.ann.author()), [b"1", b"2"])
        self.assertGreaterEqual(moved.sent, 4)
        self.assertLess(moved.seconds, 2.0)

    def test_nobody(self) -> None:
        """It is said after the time given, and what did not work."""
        broken = Told()
        broken.name = "radio"
        broken.look = lambda: fail(EndpointError("no antenna"))  # type: ignore[method-assign]
        with self.assertRaises(NodeError) as caught:
            self.sync(Told(9), broken)
        words = "no peer was found that answers within 20 s; radio: no antenna"
        self.assertEqual(str(caught.exception), words)
        self.assertEqual(round(self.world.reactor.seconds()), PATIENCE)

    def test_who_comes_later(self) -> None:
        """When the first look found nobody, the first who comes is waited for."""
        way = Told()
        self.world.reactor.callLater(5.0, lambda: way.finder.found("127.0.0.1", self.bob.port))
        self.assertEqual(self.sync(way)[:2], (1, 2))
        self.assertEqual(self.with_whom(), {self.bob.node.id})

    def test_who_leaves_meanwhile(self) -> None:
        """The others are enough; if all left, it is said."""
        self.cleo.disk.stall()
        self.world.reactor.callLater(3.0, self.cleo.node.stop)
        self.world.reactor.callLater(4.0, self.cleo.disk.resume)
        self.sync(Told(self.bob.port, self.cleo.port))
        self.assertEqual(self.with_whom(), {self.bob.node.id})
        self.bob.disk.stall()
        self.ann.append(b"5")
        self.world.reactor.callLater(3.0, self.bob.node.stop)
        self.world.reactor.callLater(4.0, self.bob.disk.resume)
        self.assertRaises(NodeStoppedError, self.again)

    def test_one_that_is_stuck(self) -> None:
        """It is named, and who is in sync is not."""
        self.cleo.disk.stall()
        with self.assertRaises(NodeError) as caught:
            self.sync(Told(self.bob.port, self.cleo.port), seconds=3 * PATIENCE)
        words = f"tcp:127.0.0.1:{self.cleo.port}: nothing moved for 20 s, and it is not in sync"
        self.assertEqual(str(caught.exception), words)
        self.cleo.disk.resume()

    def test_who_is_refused(self) -> None:
        """One of another network ends nothing."""
        other = self.world.site("other", OTHER_NETWORK)
        other.listen()
        self.sync(Told(other.port, self.bob.port))
        self.assertEqual(self.with_whom(), {self.bob.node.id})


class RefusedTests(SynchronousTestCase):
    """Authors of whom nothing more was taken."""

    def test_words(self) -> None:
        over = {bytes([number]) * 32: Quota.BYTES for number in range(6)} | {b"\x07" * 32: Quota.RATE}
        room, rate = refused(over, Quotas(entries_per_second=1.0))
        self.assertRegex(
            room, r"^not all was taken of 6 authors \((\w{8}, ){4}\.\.\.\): the disk has no room"
        )
        self.assertRegex(
            rate, r"^not all was taken of 1 author \(\w{8}\): over the quota entries_per_second$"
        )
        self.assertIn("over the quota bytes", next(refused(over, Quotas(bytes=5))))


class DiskTests(ProcessTestCase):
    """The command, and a file that may not grow."""

    def test_full(self) -> None:
        for name in ("ann", "bob"):
            open_logs(self.place / name).close()
        self.run_gossiplog("append", "--store", "ann", *(["x" * 100_000] * 3))
        node = self.gossiplog("run", "--store", "ann", "--network", "n", "--listen", LISTEN)
        [address] = node.ready()["listening"]
        process = self.start(
            "sh", "-c", 'ulimit -f 200; exec "$@"', "sh", sys.executable, "-m", "gossiplog.app.cli", "sync", address,
            "--store", "bob", "--network", "n", "--timeout", "3",
        )  # fmt: skip
        self.assert_one_line(process, 1, "log.sqlite")
        self.assertNotIn("nothing moved", process.err)
        self.assertEqual(node.terminate(), 0)
        with closing(open_logs(self.place / "bob")) as logs:
            self.assertEqual(list(logs.verify().damages), [])

    def test_no_room_that_nobody_bounded(self) -> None:
        """Where a share of the free disk is the bound: what fits is taken, and it is a failure all the same."""
        for name in ("ann", "bob"):
            open_logs(self.place / name).close()
        self.run_gossiplog("append", "--store", "ann", *(["x" * 100_000] * 3))
        node = self.gossiplog("run", "--store", "ann", "--network", "n", "--listen", LISTEN)
        [address] = node.ready()["listening"]
        small = (
            "import sys; from gossiplog import limits; limits.DISK_SHARE = 1e-9; "
            "from gossiplog.app.cli import main; sys.exit(main())"
        )
        process = self.start(
            sys.executable, "-c", small, "sync", address, "--store", "bob", "--network", "n"
        )  # fmt: skip
        self.assertEqual(process.finish(), 1)
        self.assertRegex(
            process.err,
            r"\Agossiplog: not all was taken of 1 author \(\w{8}\): the disk has no room for more\n\Z",
        )
        self.assertEqual(node.terminate(), 0)
