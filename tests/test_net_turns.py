"""Rings 1 and 6: sessions take turns, by the time that they take."""

from __future__ import annotations

import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip.allowance import RECORDS_PER_POINT
from gossiplog.gossip.messages import Ping, Pong
from gossiplog.net.turns import LIGHT_SHARE, SLICE_SECONDS, Turn, Turns
from gossiplog.notices import PeerDown, PeerRejected
from gossiplog.wire.codec import encode
from tests.netcase import Peer, World


class Reactor:
    """I do, in each iteration, what was asked for in the one before: as Twisted's reactors do, unlike ``Clock``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Any] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Any) -> None:
        self.calls.append(call)

    def iterate(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Worker:
    """I have so many pieces of work, each of which takes so long."""

    def __init__(self, clock: Reactor, log: list[str], name: str, pieces: int, seconds: float) -> None:
        self.clock = clock
        self.log = log
        self.name = name
        self.pieces = pieces
        self.seconds = seconds
        self.turn = Turn(clock.seconds())
        self.rests: list[bool] = []
        self.aborted = False

    def has_work(self) -> bool:
        return self.pieces > 0

    def work(self, seconds: float) -> float:
        used = 0.0
        while used < seconds and self.pieces:
            if self.seconds < 0:
                self.pieces = 0
                raise ZeroDivisionError
            self.pieces -= 1
            used += self.seconds
            self.log.append(self.name)
        return used

    def rest(self, waits: bool) -> None:
        self.rests.append(waits)

    def abort(self) -> None:
        self.aborted = True


class TurnsTests(SynchronousTestCase):
    """Who works when."""

    def setUp(self) -> None:
        self.clock = Reactor()
        self.turns = Turns(self.clock)
        self.log: list[str] = []

    def worker(self, name: str, pieces: int, slices: float) -> Worker:
        """One whose pieces take so many slices."""
        return Worker(self.clock, self.log, name, pieces, slices * SLICE_SECONDS)

    def test_little_is_done_at_once(self) -> None:
        worker = self.worker("a", 2, 0.25)
        self.turns.came(worker)
        self.assertEqual((self.log, worker.rests), (["a", "a"], []))

    def test_one_slice_then_the_others(self) -> None:
        """Who comes meanwhile is not kept waiting; who waits is not read from."""
        heavy, light = self.worker("h", 6, 0.5), self.worker("l", 1, 0.25)
        self.turns.came(heavy)
        self.assertEqual((self.log, heavy.rests), (["h"] * 2, [True]))
        self.turns.came(light)
        self.clock.iterate()
        self.assertEqual(self.log, ["h", "h", "l", "h", "h"])
        self.assertEqual(heavy.rests, [True])
        self.clock.iterate()
        self.assertEqual(self.log[5:], ["h", "h"])
        self.assertEqual(heavy.rests, [True, False])
        self.assertEqual(self.clock.calls, [])

    def test_one_turn_between_two_looks_at_the_sockets(self) -> None:
        """However many wait, each in its order."""
        workers = [self.worker(name, 9, 1.0) for name in "abc"]
        for worker in workers:
            self.turns.came(worker)
        self.assertEqual(self.log, ["a", "b", "c"])
        for _ in range(6):
            before = len(self.log)
            self.clock.iterate()
            self.assertEqual(len(self.log), before + 1)
        self.assertEqual(self.log[3:], ["a", "b", "c"] * 2)

    def test_what_is_too_long_is_missing_later(self) -> None:
        long, short = self.worker("L", 3, 4.0), self.worker("s", 30, 0.5)
        self.turns.came(long)
        self.turns.came(short)
        for _ in range(16):
            self.clock.iterate()
        self.assertEqual(self.log.count("L"), 3)
        self.assertGreaterEqual("".join(self.log[:-1]).rindex("L"), 14)

    def test_no_more_than_a_share_of_the_time(self) -> None:
        """Who did much has to wait, until it took less than its share."""
        worker = self.worker("a", 1, 2.0)
        self.turns.came(worker)
        worker.pieces = 1
        self.turns.came(worker)
        self.assertEqual((self.log, worker.rests), (["a"], [True]))
        self.clock.iterate()
        self.clock.iterate()
        self.assertEqual(worker.rests, [True, False])
        self.clock.now += 2 * SLICE_SECONDS / LIGHT_SHARE
        worker.pieces = 1
        self.turns.came(worker)
        self.assertEqual((self.log, worker.rests), (["a"] * 3, [True, False]))

    def test_a_fault(self) -> None:
        """Ends what is its own."""
        bad, good = self.worker("b", 2, -1.0), self.worker("g", 3, 1.0)
        bad.turn.balance = 0
        self.turns.came(bad)
        self.turns.came(good)
        for _ in range(3):
            self.clock.iterate()
        self.assertEqual((bad.aborted, self.log), (True, ["g"] * 3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def encrypted(sender: Any, size: int) -> bytes:
    """A record of a frame that is not complete."""
    return struct.pack(">H", size) + bytes(sender.encrypt(bytes(size - 16)))


class LinkTests(SynchronousTestCase):
    """Of one connection."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("node")
        self.site.listen()
        self.peer: Peer = self.world.peer(self.site)
        self.peer.hello()
        self.world.run(1)
        [self.link] = self.site.node._driver._links.values()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def come(self, *frames: bytes) -> None:
        """What the node reads at once."""
        self.link.dataReceived(self.peer.channel.send(*frames))

    def test_much_at_once(self) -> None:
        """A slice of it now, the rest in turns, in order; meanwhile nothing is read."""
        side: Any = self.link.transport
        self.come(*(encode(Ping(number)) for number in range(2000)))
        handled = len(self.link._unsent)
        self.assertTrue(self.link.has_work())
        self.assertFalse(side.reading)
        self.assertEqual(handled, 0)
        self.world.run(1)
        self.assertEqual([pong.token for pong in self.peer.of(Pong)], list(range(2000)))
        self.assertFalse(self.link.has_work())
        self.assertTrue(side.reading)

    def test_one_look(self) -> None:
        """No more than a slice is dealt with at once."""
        received: list[int] = []
        self.patch(self.site.node._driver, "received", lambda link, messages: received.append(len(messages)))
        self.come(*[encode(Ping(1))] * 2000)
        self.assertLess(sum(received), 500)
        self.world.run(1)
        self.assertEqual(sum(received), 2000)

    def test_while_the_store_is_behind(self) -> None:
        """Nothing more is dealt with, and goes on afterwards."""
        self.come(*[encode(Ping(1))] * 2000)
        self.link.read(False)
        self.world.run(1)
        self.assertTrue(not self.link.has_work() and len(self.link._inbox) > 0)
        self.link.read(True)
        self.world.run(1)
        self.assertEqual(len(self.peer.of(Pong)), 2000)

    def test_little_reads_and_empty_records(self) -> None:
        """Cost what it takes to read and to decrypt them."""
        sender: Any = self.peer.channel._sender
        empty = [b"\x00\x10" + sender.encrypt(b"") for _ in range(4 * RECORDS_PER_POINT)]
        allowance = self.site.node._driver.replica.sessions[self.link.session or 0].allowance
        for pieces, least in (([b"".join(empty)], 3), ([*map(bytes, zip(encrypted(sender, 200)))], 10)):
            before = allowance._points
            for piece in pieces:
                self.link.dataReceived(piece)
                self.world.run(0)
            self.assertGreaterEqual(before - allowance._points, least)
            self.assertLess(before - allowance._points, 3 * least)

    def test_empty_records_without_end(self) -> None:
        """End the session."""
        self.patch(limits, "ALLOWANCE_POINTS", 50)
        self.patch(limits, "ALLOWANCE_POINTS_PER_SECOND", 0)
        self.site.node._driver.replica.sessions[self.link.session or 0].allowance._points = 50
        sender: Any = self.peer.channel._sender
        for _ in range(80):
            self.peer.transport.write(b"".join(b"\x00\x10" + sender.encrypt(b"") for _ in range(50)))
            self.world.run(0.1)
        self.assertEqual([down.code for down in self.site.of(PeerDown)], [ByeCode.LIMIT])
        self.assertEqual(len(self.site.of(PeerRejected)), 1)
