"""Ring 1: the parts of a replica, each with those before it and no others."""

from __future__ import annotations

import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowance
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.events import Effect
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Lazy, Message, Ping, Pong, Want, WantItem
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.plumtree import VAIN_PUSHES, Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.session import Pause, Phase, Session, Slot
from gossiplog.gossip.write_queue import WriteQueue
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head

A, B = bytes(32), bytes([1]) * 32


class PartCase(SynchronousTestCase):
    """A core with two open sessions."""

    def setUp(self) -> None:
        """Nothing is held."""
        self.clock = Clock()
        self.core = Core(Heads(self.clock, set(), set()))
        self.pulls = Pulls(self.core)
        self.catch_up = CatchUp(self.core, self.pulls)
        self.liveness = Liveness(self.core, self.pulls, self.catch_up)
        self.sessions = [self.open(number) for number in range(2)]

    def open(self, number: int) -> Session:
        """A session that is open."""
        peer = bytes([number + 2]) * 32
        session = Session(number, peer, peer, True, Allowance(0.0), self.core.view, 0.0)
        session.phase = Phase.OPEN
        self.core.sessions[number] = session
        self.pulls.schedule.add(number)
        return session

    def tick(self, seconds: float) -> list[Effect]:
        """Time passes."""
        self.core.now += seconds
        self.core.tick()
        return self.core.take_effects()

    def sent(self, effects: list[Effect] | None = None) -> list[tuple[int, Message]]:
        """What was sent to whom."""
        effects = self.core.take_effects() if effects is None else effects
        return [(effect.session, effect.message) for effect in effects if isinstance(effect, events.Send)]


class OrderTests(SynchronousTestCase):
    """Which part may know which."""

    def test_no_part_knows_a_later_one(self) -> None:
        """Nor its module: what comes back goes over the moments of the core."""
        replica = Replica(A, bytes(16), Heads(Clock(), set(), set()))
        parts = [
            type(part) for part in vars(replica).values() if hasattr(part, "_core") or type(part) is Core
        ]
        self.assertGreater(len(parts), 20)
        offences = [
            f"{part.__name__} knows {later.__name__}"
            for place, part in enumerate(parts)
            for later in parts[place + 1 :]
            if later in vars(sys.modules[part.__module__]).values()
        ]
        self.assertEqual(offences, [])


class CoreTests(PartCase):
    """Time, moments and the end of sessions."""

    def test_timers(self) -> None:
        """In the order of their times, then of their making; each is a value that says what it is going to do."""
        done: list[str] = []
        for when, what in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "d")):
            self.core.at(when, done.append, what)
        self.assertEqual((self.core.deadline, self.core._timers[0].arguments), (1.0, ("a",)))
        self.tick(2.0)
        self.assertEqual((done, self.core.deadline), (["a", "b", "c"], 9.0))

    def test_the_end_of_sessions(self) -> None:
        """Parts are told of each, of those that were open, and of the last; then no timer is left."""
        told: list[object] = []
        self.core.on_over = (lambda session: told.append(("over", session.number)),)
        self.core.on_left = (lambda session: told.append(("left", session.number)),)
        self.core.on_rest = (lambda: told.append("rest"),)
        self.sessions[1].phase = Phase.GREETING
        self.core.at(5.0, self.fail)
        self.core.close(0, ByeCode.NORMAL, "")
        self.assertEqual((told, self.core.deadline), ([("over", 0), ("left", 0)], 5.0))
        self.core.close(1, ByeCode.NORMAL, "")
        self.core.close(1, ByeCode.NORMAL, "")
        self.assertEqual((told[2:], self.core.deadline), ([("over", 1), "rest"], None))

    def test_records(self) -> None:
        """Each part has its own of each session, made once; it stays for what still refers to the session."""
        slot: Slot[list[int]] = Slot(lambda session: [session.number])
        other: Slot[list[int]] = Slot(lambda session: [])
        slot[self.sessions[0]].append(7)
        self.core.close(0, ByeCode.NORMAL, "")
        self.assertEqual((slot[self.sessions[0]], slot[self.sessions[1]]), ([0, 7], [1]))
        self.assertEqual(other[self.sessions[0]], [])


class LivenessTests(PartCase):
    """PING and PONG."""

    def test_a_silent_peer(self) -> None:
        """Is asked, and then given up; one that answers is not."""
        for session in self.sessions:
            self.liveness.look_after(session, limits.PING_SECONDS)
        pings = self.sent(self.tick(limits.PING_SECONDS))
        self.assertEqual([(number, type(message)) for number, message in pings], [(0, Ping), (1, Ping)])
        self.liveness.heard(self.sessions[0])
        self.liveness.pong(self.sessions[0], Pong(pings[0][1].token))  # type: ignore[union-attr]
        effects = self.tick(limits.PING_DEADLINE_SECONDS)
        ends = [(e.session, e.code) for e in effects if isinstance(e, events.End)]
        self.assertEqual(ends, [(1, ByeCode.TIMEOUT)])

    def test_the_last_ping_is_answered_when_there_is_room(self) -> None:
        """Once."""
        session = self.sessions[0]
        session.outbox.control_credit_bytes = 0
        for token in (1, 2):
            self.liveness.ping(session, Ping(token))
        self.assertEqual(self.sent(), [])
        session.outbox.refill()
        for _ in range(2):
            self.liveness.answer(session)
        self.assertEqual([message.token for _, message in self.sent()], [2])  # type: ignore[union-attr]


class PullTests(PartCase):
    """WANT."""

    def test_one_source_and_then_the_next(self) -> None:
        """Whoever lets us wait is asked no more, if somebody else claims it."""
        for session in self.sessions:
            self.pulls.schedule.claim(session.number, A, 3)
        self.pulls.ask()
        want = Want((WantItem(A, 1),))
        [(first, message)] = self.sent()
        self.assertEqual(message, want)
        effects: list[Effect] = []
        while not effects:
            effects = self.tick(limits.STALL_SECONDS / 2)
        self.assertEqual(self.sent(effects), [(1 - first, want)])

    def test_a_full_disk(self) -> None:
        """Is given its time."""
        self.pulls.rest_until(5.0)
        self.pulls.schedule.claim(0, A, 3)
        self.pulls.ask()
        self.assertEqual(self.sent(), [])
        self.assertEqual(len(self.sent(self.tick(5.0))), 1)


class WriteTests(PartCase):
    """What is on its way to the disk."""

    def test_who_brings_too_much_waits(self) -> None:
        """And nobody else; a message that is dealt with meanwhile starts nothing."""
        writes = WriteQueue(self.core, self.pulls, Pacing(self.core, self.liveness))
        writes.add(self.sessions[1], limits.PENDING_WRITE_BYTES + 1)
        self.assertEqual(self.core.take_effects(), [events.Reading(1, False)])
        writes.done(1)
        self.assertEqual(self.core.take_effects(), [])
        writes.done(limits.PENDING_WRITE_BYTES)
        self.assertEqual(self.core.take_effects(), [events.Reading(1, True)])


class PacingTests(PartCase):
    """Whom we do not read from."""

    def test_two_reasons(self) -> None:
        """It is read on when none is left, and told once."""
        pacing = Pacing(self.core, self.liveness)
        session = self.sessions[0]
        for why in (Pause.STORE, Pause.COST, Pause.COST):
            pacing.pause(session, why)
        self.assertEqual(self.core.take_effects(), [events.Reading(0, False)])
        pacing.read_on(session, Pause.STORE)
        self.assertEqual((self.core.take_effects(), session.is_read), ([], False))
        for _ in range(2):
            pacing.read_on(session, Pause.COST)
        self.assertEqual((self.core.take_effects(), session.is_read), ([events.Reading(0, True)], True))

    def test_who_cost_too_much(self) -> None:
        """Is read from again when time has brought something."""
        pacing = Pacing(self.core, self.liveness)
        session = self.sessions[0]
        self.assertTrue(pacing.may_cost(session))
        session.allowance.spend(limits.ALLOWANCE_POINTS + limits.ALLOWANCE_POINTS_PER_SECOND)
        for _ in range(2):
            self.assertFalse(pacing.may_cost(session))
        self.assertEqual(self.core.take_effects(), [events.Reading(0, False)])
        self.assertEqual(self.tick(0.5), [])
        self.assertEqual(self.tick(1.0 + limits.PAUSE_SECONDS), [events.Reading(0, True)])


class TreeTests(PartCase):
    """Whom news comes from."""

    def setUp(self) -> None:
        """Both peers push."""
        super().setUp()
        self.tree = Plumtree(self.core, self.pulls, Announcer(self.core, self.liveness))
        for session in self.sessions:
            self.tree.joined(session)

    def test_the_second_to_bring_it_is_told(self) -> None:
        """For each author, and after some for all."""
        authors = [bytes([9, number]) * 16 for number in range(VAIN_PUSHES)]
        for author in authors:
            self.tree.brought(self.sessions[0], author, pushed=True)
            self.tree.brought_again(self.sessions[1], author)
        lazy = [*((1, Lazy((author,))) for author in authors), (1, Lazy((None,)))]
        self.assertEqual(self.sent(), lazy)
        self.assertEqual((self.tree.eager_sources, self.tree.of[self.sessions[1]].is_lazy), (1, True))

    def test_somebody_always_pushes(self) -> None:
        """Also when the only one that did is gone."""
        self.core.on_left = (self.tree.left,)
        self.tree.stop_pushing(self.sessions[1])
        self.core.close(0, ByeCode.NORMAL, "")
        self.assertEqual(self.sent(), [(1, Want((WantItem(None, 1),)))])
        self.assertEqual(self.tree.eager_sources, 1)


class AnnouncerTests(PartCase):
    """What is owed to who does not read."""

    def test_too_much_becomes_a_reconcile(self) -> None:
        """As does too much to ask about."""
        announcer = Announcer(self.core, self.liveness)
        with patch.object(limits, "MAX_OWED_AUTHORS", 3):
            for owe, session in zip((announcer.owe, announcer.doubt), self.sessions, strict=True):
                for number in range(3):
                    owe(session, bytes([number]) * 32)
                self.assertFalse(session.outbox.overflowed)
                owe(session, bytes([3]) * 32)
                self.assertTrue(session.outbox.overflowed)
        self.assertEqual(announcer.owed(self.sessions[0]), [bytes([3]) * 32])

    def test_what_is_true_when_it_is_said(self) -> None:
        """Not when it was owed."""
        announcer = Announcer(self.core, self.liveness)
        announcer.announce(self.sessions[0], B)
        self.clock.replace(B, Head(5, bytes(32)))
        effects = self.tick(limits.ANNOUNCE_SECONDS)
        self.assertEqual([have.items[0].seq for _, have in self.sent(effects)], [5])  # type: ignore[union-attr]
