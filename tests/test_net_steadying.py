"""Ring 6: time that goes backwards, and forwards by hours."""

from __future__ import annotations

import time
from unittest.mock import patch

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.python import runtime
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.server import RoomServer
from gossiplog.errors import BadSignatureError
from gossiplog.live import monotonic as steadying
from gossiplog.live.monotonic import elapsed, steady
from gossiplog.net.admission import Admission
from tests.netcase import World

HOUR = 3600.0


class Reactor(ReactorBase):
    """One of Twisted's, without sockets."""

    def installWaker(self) -> None:
        """Nobody wakes it."""


class SteadyTests(SynchronousTestCase):
    """A reactor whose clocks are ours to set."""

    def setUp(self) -> None:
        """The wall clock says a million, the machine runs since a hundred seconds."""
        self.wall, self.up = 1_000_000.0, 100.0

        def on_the_wall() -> float:
            return self.wall

        self.patch(Reactor, "seconds", staticmethod(on_the_wall))
        self.patch(runtime, "seconds", on_the_wall)
        self.patch(steadying, "elapsed", lambda: self.up)
        self.reactor = Reactor()
        self.fired: list[str] = []

    def note(self, name: str) -> None:
        """A timer fired."""
        self.fired.append(name)

    def after(self, seconds: float, *, set_by: float = 0.0) -> list[str]:
        """Let time pass, and the wall clock be set; returns what fired."""
        self.up += seconds
        self.wall += seconds + set_by
        self.reactor.runUntilCurrent()
        fired, self.fired = self.fired, []
        return fired

    def test_without(self) -> None:
        """What it is against: a timer that is an hour late, and one that is too early."""
        self.reactor.callLater(60, self.note, "late")
        self.assertEqual(self.after(60, set_by=-HOUR), [])
        self.assertEqual(self.after(HOUR), ["late"])
        self.reactor.callLater(60, self.note, "early")
        self.assertEqual(self.after(0, set_by=HOUR), ["early"])

    def test_timers(self) -> None:
        """Fire when they should, those that were set before as well."""
        self.reactor.callLater(60, self.note, "before")
        steady(self.reactor)
        self.reactor.callLater(60, self.note, "after")
        for jump in (-HOUR, HOUR, -24 * HOUR):
            self.assertEqual(self.after(59, set_by=jump), [])
            self.assertEqual(set(self.after(1, set_by=-jump / 2)) - {"before"}, {"after"})
            self.reactor.callLater(60, self.note, "after")

    def test_goes_on_from_the_same_time(self) -> None:
        """Nobody who noted the time sees it jump; and it never goes back."""
        before = self.reactor.seconds()
        steady(self.reactor)
        self.assertEqual(self.reactor.seconds(), before)
        self.wall -= HOUR
        steady(self.reactor)
        self.up += 1
        self.assertEqual(self.reactor.seconds(), before + 1)

    def test_bans(self) -> None:
        """Last as long as they should, whatever the clock on the wall is set to."""
        steady(self.reactor)
        for jump in (-HOUR, HOUR):
            door = Admission(self.reactor, lambda notice: None)
            ban = door.bans.offence(bytes(32), BadSignatureError(""), self.reactor.seconds())
            assert ban is not None
            self.assertEqual(ban.seconds, limits.BAN_FIRST_SECONDS)
            self.after(1, set_by=jump)
            self.assertAlmostEqual(door.wait(bytes(32)), limits.BAN_FIRST_SECONDS - 1)
            self.after(limits.BAN_FIRST_SECONDS)
            self.assertEqual(door.wait(bytes(32)), 0.0)

    def test_others_keep_their_clock(self) -> None:
        """Virtual time stays virtual."""
        clock = Clock()
        steady(clock)
        clock.advance(5)
        self.assertEqual(clock.seconds(), 5)


class NodeTests(SynchronousTestCase):
    """Whoever runs a node need not think of it."""

    def test_a_node_sees_to_it(self) -> None:
        """Before it sets a timer."""
        world = World()
        on_the_wall = world.reactor.seconds
        world.reactor.seconds = on_the_wall  # type: ignore[method-assign]
        self.patch(runtime, "seconds", on_the_wall)
        self.patch(steadying, "elapsed", on_the_wall)
        world.site("node")
        self.assertIsNot(world.reactor.seconds, on_the_wall)
        self.assertEqual(world.close(), [])

    def test_a_room_sees_to_it(self) -> None:
        """Else nobody is turned out, or everybody, when its clock is set."""
        clock = Clock()
        on_the_wall = clock.seconds
        self.patch(clock, "seconds", on_the_wall)
        self.patch(runtime, "seconds", on_the_wall)
        self.patch(steadying, "elapsed", on_the_wall)
        RoomServer(clock, RoomKey())
        self.assertIsNot(clock.seconds, on_the_wall)


class ElapsedTests(SynchronousTestCase):
    """The clock that nobody sets."""

    def test_does_not_ask_the_wall(self) -> None:
        """Here and where there is none that counts sleep."""
        with patch.object(time, "time", lambda: 0.0):
            first = elapsed()
            self.assertGreaterEqual(elapsed(), first)
        self.assertGreaterEqual(elapsed(), time.monotonic() - 1)
        if hasattr(time, "CLOCK_BOOTTIME"):
            self.patch(time, "CLOCK_BOOTTIME", None)
            self.assertLess(abs(elapsed() - time.monotonic()), 1)
