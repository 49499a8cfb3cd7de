"""Ring 2: every message in every phase of a session, and what a session remembers."""

from __future__ import annotations

from typing import get_args
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, LimitExceededError, PeerTimeoutError, UnexpectedMessageError
from gossiplog.gossip import events
from gossiplog.gossip.allowance import Allowance
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.events import Effect, End, Send
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.message_table import allowed
from gossiplog.gossip.messages import (
    RESERVED,
    Address,
    Bye,
    Contact,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.session import Phase, Service, Session
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build

PAIR = Keypair(bytes(range(32)))
A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
GREETING = Hello(1, 1, (), "test", bytes(16))


def branch(payload: bytes) -> Segment:
    """A log of one entry."""
    return build(PAIR, Head(0, genesis_id(PAIR.author)), [encode_body(0, payload)])[0][0]


PROOF = build_proof(branch(b"left"), branch(b"right"))
assert PROOF is not None

ONE_OF_EACH: dict[type[Message], Message] = {
    Hello: GREETING,
    Ranges: Ranges(1, (Range(b"", RangeKind.LIST),)),
    Want: Want((WantItem(A, 1), WantItem(None, 1))),
    Lazy: Lazy((A, None)),
    Refuse: Refuse((A, None)),
    Segment: branch(b"entry"),
    Have: Have((HaveItem(0, 1, A),)),
    Fill: Fill(A, ((1, 2),)),
    Fork: Fork(PROOF),
    Peers: Peers((Contact(A, 1, (Address(bytes(4), 4000),)),)),
    Ping: Ping(1, bytes(16)),
    Pong: Pong(1, bytes(16)),
    Bye: Bye(ByeCode.STOPPING, "later"),
    Unknown: Unknown(99),
}


def replica_in(phase: Phase) -> Replica:
    """A node with two sessions: 0 in ``phase`` and 1 open, with a claim and a question under way."""
    replica = Replica(B, bytes(16), Heads(Clock({A: Head(2, bytes(32))}), set(), set()))
    for session in (1, 0):
        replica.handle(events.Opened(session, bytes([session]) * 32, bytes(32), dialled=True), 1.0)
        if session == 1 or phase is not Phase.GREETING:
            replica.handle(events.Received(session, GREETING._replace(instance=bytes([session]) * 16)), 1.0)
    replica.handle(events.Received(1, Have((HaveItem(0, 5, C),))), 1.0)
    if phase is Phase.ENDED:
        replica.handle(events.Closed(0), 1.0)
    return replica


def state(replica: Replica) -> object:
    """All that an offence of session 0 must leave as it was."""
    schedule = replica.pulls.schedule
    return (
        dict(replica.core.heads.clock.items()),
        dict(replica.core.heads.ahead),
        set(replica.core.heads.forks),
        replica.writes.pending_bytes,
        {number: dict(source.claims.items()) for number, source in schedule.sources.items() if number},
        dict(schedule.pulled_from),
        {
            number: (
                session.phase,
                replica.catch_up.of[session].is_settled,
                replica.announcer.owed(session),
                dict(session.outbox.backlog),
            )
            for number, session in replica.core.sessions.items()
            if number
        },
    )


def rejections(effects: list[Effect]) -> list[events.PeerRejected]:
    """The offences among effects."""
    return [effect for effect in effects if isinstance(effect, events.PeerRejected)]


def session_of(core: Core, peer: bytes) -> Session:
    """An open session in which nothing was said."""
    session = Session(0, peer, bytes(32), True, Allowance(0.0), core.view, 0.0)
    session.phase = Phase.OPEN
    core.sessions[0] = session
    return session


class PhaseTests(SynchronousTestCase):
    """The whole table."""

    def test_one_of_each(self) -> None:
        """The tables here and in the package name every message there is."""
        kinds = set(get_args(Message))
        self.assertEqual(set(ONE_OF_EACH), kinds)
        self.assertEqual(set(allowed(Phase.OPEN)), kinds - {Hello})
        self.assertEqual(set(allowed(Phase.GREETING)), {Hello, Bye})
        self.assertEqual(set(allowed(Phase.ENDED)), kinds)

    def test_every_message_in_every_phase(self) -> None:
        """Allowed, or UNEXPECTED with every bit of state as it was."""
        for phase in Phase:
            for kind, message in ONE_OF_EACH.items():
                name = f"{kind.__name__} while {phase.value}"
                replica = replica_in(phase)
                before = state(replica)
                effects = replica.handle(events.Received(0, message), 2.0)
                if phase is Phase.ENDED:
                    self.assertEqual((effects, state(replica)), ([], before), name)
                elif kind in allowed(phase):
                    self.assertEqual(rejections(effects), [], name)
                    self.assertEqual(0 in replica.core.sessions, kind is not Bye, name)
                else:
                    [rejected] = rejections(effects)
                    self.assertIs(type(rejected.error), UnexpectedMessageError, name)
                    ends = [effect for effect in effects if isinstance(effect, End)]
                    self.assertEqual(
                        [(end.session, end.code) for end in ends], [(0, ByeCode.UNEXPECTED)], name
                    )
                    self.assertEqual([e for e in effects if isinstance(e, Send)], [], name)
                    self.assertNotIn(0, replica.core.sessions, name)
                    self.assertEqual(state(replica), before, name)

    def test_events_of_sessions_that_are_over(self) -> None:
        """They were under way when it ended, and change nothing."""
        for event in (
            events.Heard(0),
            events.Offended(0, PeerTimeoutError("late")),
            events.Closed(0),
            events.Writable(0),
            events.Loaded(0, (branch(b"entry"),)),
            events.Probe(0),
        ):
            replica = replica_in(Phase.ENDED)
            before = state(replica)
            self.assertEqual(replica.handle(event, 2.0), [], event)
            self.assertEqual(state(replica), before, event)

    def test_events_of_sessions_that_are_not_open_yet(self) -> None:
        """A transport may be writable before HELLO came: nothing is sent."""
        for event in (events.Heard(0), events.Writable(0), events.Probe(0)):
            replica = replica_in(Phase.GREETING)
            self.assertEqual(replica.handle(event, 2.0), [], event)

    def test_bye_is_not_answered(self) -> None:
        """It was the last word."""
        replica = replica_in(Phase.OPEN)
        effects = replica.handle(events.Received(0, Bye(77, "application")), 2.0)
        self.assertIn(End(0, 77, "application", by_peer=True), effects)
        self.assertIn(events.PeerDown(0, bytes(32), 77, "application"), effects)


class ServiceTests(SynchronousTestCase):
    """How a peer wants which author."""

    def setUp(self) -> None:
        """A session in which nothing was said."""
        self.session = session_of(Core(Heads(Clock(), set(), set())), A)

    def test_default_and_exceptions(self) -> None:
        """What is said of all others leaves what was said of some."""
        self.assertIs(self.session.serves(A), Service.EAGER)
        self.session.serve(A, Service.LAZY)
        self.assertIs(self.session.serves(A), Service.LAZY)
        self.session.serve(None, Service.REFUSED)
        self.session.serve(B, Service.EAGER)
        self.assertIs(self.session.serves(A), Service.LAZY)
        self.assertIs(self.session.serves(B), Service.EAGER)
        self.assertIs(self.session.serves(C), Service.REFUSED)

    def test_exceptions_are_bounded(self) -> None:
        """Beyond the limit they are forgotten."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 2):
            for author in (A, B, B, C):
                self.session.serve(author, Service.LAZY)
        self.assertEqual(self.session.service, {C: Service.LAZY})


class HandleTests(SynchronousTestCase):
    """Authors in HAVE."""

    def setUp(self) -> None:
        """What says announcements, alone, and a replica that hears them."""
        clock = Clock()
        for author in (A, B, C):
            clock.replace(author, Head(author[0], bytes(32)))
        self.core = Core(Heads(clock, set(), set()))
        pulls = Pulls(self.core)
        liveness = Liveness(self.core, pulls, CatchUp(self.core, pulls))
        self.announcer = Announcer(self.core, liveness)
        self.ours = session_of(self.core, B)
        replica = replica_in(Phase.OPEN)
        self.theirs = replica.core.sessions[0]
        self.announcements = replica.announcements

    def have(self, *authors: bytes) -> list[Message]:
        """Announce these."""
        self.announcer.owe_all(self.ours, authors)
        self.announcer.make_due(self.ours)
        self.announcer.tell(self.ours)
        return [effect.message for effect in self.core.take_effects() if isinstance(effect, events.Send)]

    def read(self, have: Message) -> list[tuple[bytes, int]]:
        """Hear what was announced."""
        assert isinstance(have, Have)
        return self.announcements.read(self.theirs, have)

    def test_an_author_is_named_once(self) -> None:
        """Then its handle is enough; the seq is the one at the time of sending."""
        [first], [second] = self.have(A, B), self.have(B, C)
        self.assertEqual(first, Have((HaveItem(0, 1, A), HaveItem(1, 2, B))))
        self.assertEqual(second, Have((HaveItem(1, 2), HaveItem(2, 3, C))))
        self.assertEqual(self.read(first), [(A, 1), (B, 2)])
        self.assertEqual(self.read(second), [(B, 2), (C, 3)])

    def test_long_announcements_are_cut(self) -> None:
        """The rest comes with the next message, or when there is room for it."""
        with patch.object(limits, "MAX_HAVE_ITEMS", 2):
            first, second = self.have(A, B, C)
        self.assertEqual(first, Have((HaveItem(0, 1, A), HaveItem(1, 2, B))))
        self.assertEqual(second, Have((HaveItem(2, 3, C),)))
        self.ours.outbox.control_credit_bytes = 1
        self.assertEqual(self.have(A, B, C), [Have((HaveItem(0, 1),))])
        self.assertEqual(self.announcer.owed(self.ours), [B, C])

    def test_handles_are_used_again(self) -> None:
        """Memory of both ends is bounded in a session of any length."""
        with patch.object(limits, "MAX_HANDLES", 2):
            for author in (A, B, C, A, A, C, B):
                [have] = self.have(author)
                self.assertEqual(self.read(have), [(author, author[0])])
            self.assertRaises(LimitExceededError, self.read, Have((HaveItem(2, 1, A),)))

    def test_handle_of_nobody(self) -> None:
        """A handle that nobody has, or an author of reserved length, means nothing here and is no offence."""
        have = Have((HaveItem(0, 1, A), HaveItem(2, 3, C), HaveItem(1, 9)))
        self.assertEqual(self.read(have), [(A, 1), (C, 3)])
        have = Have((HaveItem(0, 5, RESERVED), HaveItem(0, 6), HaveItem(2, 4)))
        self.assertEqual(self.read(have), [(C, 4)])

    def test_handles_end(self) -> None:
        """Whoever the author is, and whether it is said."""
        for author in (A, None, RESERVED):
            self.read(Have((HaveItem(limits.MAX_HANDLES - 1, 1, author),)))
            have = Have((HaveItem(limits.MAX_HANDLES, 1, author),))
            self.assertRaises(LimitExceededError, self.read, have)
