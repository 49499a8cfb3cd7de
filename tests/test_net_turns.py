"""Rings 1 and 6: sessions take turns, by the time that they take."""

from __future__ import annotations

import struct
import time
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.allowance import RECORDS_PER_POINT
from gossiplog.gossip.backlog import Payloads
from gossiplog.gossip.message_table import MESSAGE_MILLISECONDS
from gossiplog.gossip.messages import Fork, Lazy, Message, Ping, Pong
from gossiplog.live.monotonic import worked
from gossiplog.net.fair_turns import FairTurns, Turn
from gossiplog.net.serving_turns import Chores
from gossiplog.notices import PeerDown, PeerRejected
from gossiplog.wire.codec import encode
from tests.netcase import Peer, World
from tests.replicacase import ANN, log, proof_of


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
    """I have so many pieces of work, each of which takes so long; those of up to ``LIGHT_SECONDS`` are small."""

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

    def work(self, seconds: float, *, small: bool = False) -> float:
        used = 0.0
        while used < seconds and self.pieces and not (small and self.seconds > limits.LIGHT_SECONDS):
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
        self.turns = FairTurns(self.clock, self.clock.seconds)
        self.log: list[str] = []

    def heavy(self, name: str, pieces: int, slices: float) -> Worker:
        """One whose pieces take so many slices."""
        return Worker(self.clock, self.log, name, pieces, slices * limits.TURN_SECONDS)

    def light(self, name: str, pieces: int, share: float) -> Worker:
        """One whose pieces take so much of what may be done at once."""
        return Worker(self.clock, self.log, name, pieces, share * limits.LIGHT_SECONDS)

    def test_little_is_done_at_once(self) -> None:
        """What is small, up to so much; the rest waits, and so does all that is not small."""
        worker = self.light("a", 2, 0.5)
        self.turns.came(worker)
        self.assertEqual((self.log, worker.rests), (["a", "a"], []))
        many, large = self.light("m", 9, 0.5), self.heavy("h", 1, 1.0)
        self.turns.came(many)
        self.turns.came(large)
        self.assertEqual((self.log[2:], many.rests, large.rests), (["m", "m"], [True], [True]))

    def test_one_slice_then_the_others(self) -> None:
        """Who comes meanwhile is not kept waiting; who waits is not read from."""
        heavy, light = self.heavy("h", 4, 0.5), self.light("l", 1, 1.0)
        self.turns.came(heavy)
        self.assertEqual((self.log, heavy.rests), ([], [True]))
        self.turns.came(light)
        self.clock.iterate()
        self.assertEqual(self.log, ["l", "h", "h"])
        self.assertEqual(heavy.rests, [True])
        self.clock.iterate()
        self.assertEqual(self.log[3:], ["h", "h"])
        self.assertEqual(heavy.rests, [True, False])
        self.assertEqual(self.clock.calls, [])

    def test_one_turn_between_two_looks_at_the_sockets(self) -> None:
        """However many wait, each in its order."""
        workers = [self.heavy(name, 9, 1.0) for name in "abc"]
        for worker in workers:
            self.turns.came(worker)
        for _ in range(6):
            before = len(self.log)
            self.clock.iterate()
            self.assertEqual(len(self.log), before + 1)
        self.assertEqual(self.log, ["a", "b", "c"] * 2)

    def test_what_is_too_long_is_missing_later(self) -> None:
        long, short = self.heavy("L", 3, 4.0), self.heavy("s", 30, 0.5)
        self.turns.came(long)
        self.turns.came(short)
        for _ in range(18):
            self.clock.iterate()
        self.assertEqual(self.log.count("L"), 3)
        self.assertGreaterEqual("".join(self.log[:-1]).rindex("L"), 14)

    def test_who_took_little_is_next(self) -> None:
        """However many others wait, for how much; again and again, until it took as much as they did."""
        for number in range(48):
            self.turns.queue(self.heavy(str(number), 1000, 1.0))
        for _ in range(48 * 3):
            self.clock.iterate()
        served, another = self.heavy("me", 1, 0.1), self.heavy("another", 1, 0.1)
        self.turns.queue(another)
        self.turns.queue(served)
        for _ in range(3 * 49):
            self.clock.iterate()
        since = self.log[-3 * 49 :]
        self.assertLessEqual(since.index("another"), 1)  # of those who are new the first is next
        self.assertGreaterEqual(since.index("me"), 48)
        for _ in range(10):
            served.pieces = 1
            self.turns.queue(served)
            self.clock.iterate()
            self.assertEqual(self.log[-1], "me")
            self.clock.iterate()
        del self.log[:]
        served.pieces, served.seconds = 1000, limits.TURN_SECONDS
        self.turns.queue(served)
        for _ in range(490):
            self.clock.iterate()
        self.assertLessEqual(self.log.count("me"), 490 // 49 + 2)

    def test_who_leaves_and_comes_back(self) -> None:
        """With another key each time, as many as there is time for: waits behind those who are there."""
        staying = self.heavy("stays", 1000, 1.0)
        self.turns.queue(staying)
        for number in range(1000):
            self.turns.queue(self.heavy(str(number), 1, 1.0))
            self.clock.iterate()
        self.assertGreater(self.log.count("stays"), 30)  # those that wait become more with each turn of it

    def test_what_is_done_at_once_counts(self) -> None:
        """Of two that waited for as long, the one is next that did less, with a turn or without."""
        busy, idle = self.light("busy", 1, 1.0), self.light("idle", 0, 1.0)
        for number in range(9):
            self.turns.queue(self.heavy(str(number), 1000, 1.0))
        busy.turn, idle.turn = self.turns.turn(), self.turns.turn()
        for _ in range(90):
            self.clock.iterate()
        self.turns.came(busy)
        self.assertEqual(self.log[-1], "busy")
        for worker in (busy, idle):
            worker.pieces = 1
            self.turns.queue(worker)
        self.clock.iterate()
        self.assertEqual(self.log[-1], "idle")

    def test_who_came_a_while_ago(self) -> None:
        """Does not wait as who is new, even if it never did anything."""
        served = self.heavy("me", 1, 0.1)
        for number in range(48):
            self.turns.queue(self.heavy(str(number), 1000, 1.0))
        self.clock.iterate()
        served.turn = self.turns.turn()
        for _ in range(2 * 48):
            self.clock.iterate()
        self.turns.queue(served)
        self.clock.iterate()
        self.assertEqual(self.log[-1], "me")

    def test_who_comes_in_bursts(self) -> None:
        """Together, whenever nobody else waits: they wait for who took less, though it came last."""
        served = self.heavy("me", 0, 0.1)
        bursting = [self.heavy(str(number), 0, 1.0) for number in range(48)]
        for _ in range(9):
            for worker in bursting:
                worker.pieces = 1
                self.turns.queue(worker)
            self.clock.iterate()
            served.pieces = 1
            self.turns.queue(served)
            del self.log[:]
            while self.clock.calls:
                self.clock.iterate()
        self.assertEqual(self.log[0], "me")

    def test_no_more_than_a_share_of_the_time(self) -> None:
        """Who did much has to wait, until it took less than its share."""
        worker = self.light("a", 2, 1.0)
        self.turns.came(worker)
        self.assertEqual((self.log, worker.rests), (["a"], [True]))
        self.clock.iterate()
        self.assertEqual((self.log, worker.rests), (["a"] * 2, [True, False]))
        for share, times in ((0.9, 0), (1.0, 1)):
            fresh = self.light("f", 1, 1.0)
            self.turns.came(fresh)  # takes all
            self.clock.now += share * limits.LIGHT_SECONDS / limits.LIGHT_SHARE
            del self.log[:]
            fresh.pieces = 2
            fresh.seconds = 0.95 * limits.LIGHT_SECONDS
            self.turns.came(fresh)
            self.assertEqual(len(self.log), 1 + times, share)

    def test_time_saves_up_no_more_than_that(self) -> None:
        """Whoever was silent for long may do at once what anybody may; and time that goes back takes nothing away."""
        for seconds in (3600.0, -3600.0):
            del self.log[:]
            self.clock.now = 0.0
            worker = self.light("a", 9, 0.5)
            self.clock.now += seconds
            self.turns.came(worker)
            self.assertEqual(self.log, ["a"] * 2, seconds)

    def test_a_fault(self) -> None:
        """Ends what is its own."""
        bad, good = self.heavy("b", 2, -1.0), self.heavy("g", 3, 1.0)
        self.turns.came(bad)
        self.turns.came(good)
        for _ in range(4):
            self.clock.iterate()
        self.assertEqual((bad.aborted, self.log), (True, ["g"] * 3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ChoresTests(SynchronousTestCase):
    """What a peer is served with."""

    def test_in_turns(self) -> None:
        """One peer's for a turn, then the next one's."""
        clock = Reactor()
        turns = FairTurns(clock, clock.seconds)
        log: list[str] = []
        for name in "ab":
            chores = Chores(turns, turns.turn(), lambda: None)
            for _ in range(8):
                chores.put(lambda name=name: log.append(name))  # type: ignore[misc]
        self.assertEqual(log, [])
        for expected in ("a" * 5, "b" * 5, "a" * 3, "b" * 3):
            del log[:]
            clock.iterate()
            self.assertEqual("".join(log), expected)
        clock.iterate()
        self.assertEqual(clock.calls, [])

    def test_time_is_what_this_thread_did(self) -> None:
        """And not what the machine did for others; in a simulation, what is simulated."""
        from twisted.internet import reactor

        clock = Clock()
        self.assertEqual(worked(clock), clock.seconds)
        self.assertIs(worked(reactor), time.thread_time)


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
        [self.link] = self.site.node._driver.links.values()

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

    def test_small_and_large(self) -> None:
        """A record up to ``LIGHT_BYTES`` is looked at at once, a larger one when it is its turn."""
        for size, count in ((limits.LIGHT_BYTES, 1), (limits.LIGHT_BYTES + 1, 0)):
            received = self.received()
            filling = size - 16 - 4 - 5  # of the record, the frame, and [64, bin]
            self.come(b"\x92\x40\xc5" + struct.pack(">H", filling) + bytes(filling))
            self.assertEqual((len(received), self.link.turn.waits), (count, not count), size)
            self.world.run(1)
            self.assertEqual(len(received), 1)

    def test_small_and_long(self) -> None:
        """What takes long for its size waits too, and what came after it."""
        received = self.received()
        self.come(encode(Ping(1)), encode(Lazy((None,))), encode(Ping(2)))
        self.assertEqual(received, [Ping(1)])
        self.world.run(1)
        self.assertEqual(received, [Ping(1), Lazy((None,)), Ping(2)])

    def test_handed_over_together(self) -> None:
        """As much as costs so much, out of so many records."""
        driver = self.site.node._driver
        times = 0
        receive = self.link.channel.receive

        def decrypting(data: bytes, most: int | None = None) -> list[bytes]:
            nonlocal times
            times += most == limits.RECORDS_AT_ONCE
            self.assertLessEqual(most or 0, limits.RECORDS_AT_ONCE)
            return receive(data, most=most)

        self.patch(self.link.channel, "receive", decrypting)
        together: list[int] = []
        self.patch(driver, "received", lambda link, messages: together.append(len(messages)))
        pings = [encode(Ping(number)) for number in range(400)]
        self.link.dataReceived(b"".join(self.peer.channel.send(*pings) for _ in range(8)))
        self.world.run(1)
        self.assertEqual((sum(together), times), (3200, 2))
        self.assertEqual(max(together), -(-limits.TOGETHER_MILLISECONDS // MESSAGE_MILLISECONDS))

    def test_what_goes_to_many_peers(self) -> None:
        """Takes the longer the more there are: fewer at once, and a proof waits for a turn."""
        driver = self.site.node._driver
        for peers, proofs, segments in ((25, 1, 7), (500, 1, 1)):
            together: list[int] = []
            self.patch(driver, "peers", range(peers))
            self.patch(driver, "received", lambda link, messages: together.append(len(messages)))  # noqa: B023
            self.come(*[encode(Fork(proof_of(ANN)))] * 20)
            self.assertEqual(together, [])
            self.world.run(1)
            self.assertEqual(together, [proofs] * 20)
            together.clear()
            self.come(*[encode(segment) for segment in log(ANN, 40)])
            self.world.run(1)
            self.assertLessEqual(max(together), segments + 4)
            self.assertEqual(sum(together), 40)

    def test_answers_do_not_wait_for_what_is_served(self) -> None:
        """Neither does anybody else's."""
        log: list[str] = []
        self.link.chores.put(lambda: log.append("served"))
        self.patch(self.site.node._driver, "received", lambda link, messages: log.append("answered"))
        self.come(encode(Ping(1)))
        self.assertEqual(log, ["answered"])
        self.world.run(1)
        self.assertEqual(log, ["answered", "served"])

    def test_served_when_it_is_its_turn(self) -> None:
        """What was read for a peer goes out in a turn, and so does what its transport takes more."""
        driver = self.site.node._driver
        handled: list[Any] = []
        self.patch(driver, "_handle", lambda *events: handled.extend(events))
        session = self.link.session or 0
        read = [events.Loaded(session, ()), events.PayloadsLoaded(session, bytes(32), Payloads())]
        for event in read:
            driver.answered(event)
        self.link.resumeProducing()
        self.assertEqual(handled, [])
        self.world.run(1)
        self.assertEqual(handled, [*read, events.Writable(session)])

    def received(self) -> list[Message]:
        """What is handed over from now on."""
        received: list[Message] = []
        self.patch(self.site.node._driver, "received", lambda link, messages: received.extend(messages))
        return received

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
        allowance = self.site.node._driver.replica.core.sessions[self.link.session or 0].allowance
        for pieces, least in (([b"".join(empty)], 3), ([*map(bytes, zip(encrypted(sender, 200)))], 10)):
            before = allowance._points
            for piece in pieces:
                self.link.dataReceived(piece)
                self.world.run(0)
            self.assertGreaterEqual(before - allowance._points, least)
            self.assertLess(before - allowance._points, 3 * least)

    def test_empty_records_without_end(self) -> None:
        """Are not read any more, and what is behind them is when time has brought points; nobody is sent away."""
        self.patch(limits, "ALLOWANCE_POINTS", 50)
        self.patch(limits, "ALLOWANCE_POINTS_PER_SECOND", 0)
        self.site.node._driver.replica.core.sessions[self.link.session or 0].allowance._points = 50
        sender: Any = self.peer.channel._sender
        for _ in range(80):
            self.peer.transport.write(b"".join(b"\x00\x10" + sender.encrypt(b"") for _ in range(50)))
            self.world.run(0.1)
        self.peer.transport.write(self.peer.channel.send(encode(Ping(7))))
        self.world.run(5.0)
        self.assertEqual(self.peer.of(Pong), [])
        self.patch(limits, "ALLOWANCE_POINTS_PER_SECOND", 500)
        self.world.run(30.0)
        self.assertEqual([pong.token for pong in self.peer.of(Pong)], [7])
        self.assertEqual([*self.site.of(PeerDown), *self.site.of(PeerRejected)], [])
