"""Ring 1: rules of the specification for what a session hears rarely, or never from an honest peer."""

from __future__ import annotations

from itertools import product

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, End
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import (
    Fork,
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Lazy,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.gossip.session import Service
from gossiplog.log.clock import Clock
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of

NAMES = tuple(number.to_bytes(32, "big") for number in range(limits.MAX_EXCEPTIONS))
EMPTY_LIST = Ranges(1000, (Range(b"", RangeKind.LIST),))
CAROL = Keypair(bytes([9]) * 32)


class RulesCase(ReplicaCase):
    """A replica that holds some of Ann's log, and peers that greet as they are told."""

    sessions = 0

    def setUp(self) -> None:
        """Three entries are on disk."""
        super().setUp()
        for segment in log(ANN, 3):
            self.commit(segment)

    def greet(
        self,
        *names: bytes,
        interest: Interest = Interest.ALL,
        reserved: int = 0,
        root: bytes = b"",
        dialled: bool = False,
    ) -> list[Effect]:
        """A peer greets, as session 0."""
        self.do(events.Opened(0, bytes([1]) * 32, bytes(32), dialled=dialled))
        hello = Hello(1, 1, (), "test", bytes(16), interest, names, root, reserved)
        return self.hear(0, hello)

    def code(self, effects: list[Effect]) -> int | None:
        """Why the session ends, None if it does not."""
        return next((effect.code for effect in effects if isinstance(effect, End)), None)

    def answered(self, effects: list[Effect]) -> list[object]:
        """What is said."""
        return [effect.message for effect in effects if isinstance(effect, events.Send)]


class GreetingTests(RulesCase):
    """What ends a session before it begins, and what begins it."""

    def said(self, low: int, high: int, peer: bytes = bytes([1]) * 32) -> int | None:
        """A peer says which versions it speaks; why the session ends."""
        self.do(events.Opened(0, peer, bytes(32), dialled=True))
        code = self.code(self.hear(0, Hello(low, high, (), "test", bytes(16))))
        self.do(events.Closed(0))
        return code

    def test_versions(self) -> None:
        """One has to be common."""
        for low, high, code in ((0, 0, 4), (0, 1, None), (1, 1, None), (0, 9, None), (1, 2, None), (2, 3, 4)):
            self.assertEqual(self.said(low, high), code, (low, high))

    def test_our_own_id(self) -> None:
        """Is found after a version that we do not speak."""
        self.assertEqual(self.said(1, 1, self.replica.greeting.node), ByeCode.SELF)
        self.assertEqual(self.said(2, 2, self.replica.greeting.node), ByeCode.VERSION)

    def test_two_empty_roots(self) -> None:
        """Are no reason to compare nothing: our interest changed since we said a root, theirs may have."""
        for dialled in (True, False):
            self.setUp()
            self.do(events.Opened(0, bytes([1]) * 32, bytes(32), dialled=dialled))
            self.replica.interest.choices.block([BOB.author])
            self.do(events.InterestChanged((BOB.author,)))
            hello = Hello(1, 1, (), "test", bytes(16), exceptions=(BOB.author,))
            self.assertEqual(len(self.sent(self.hear(0, hello), Ranges)), 1)


class PairTests(RulesCase):
    """Two connections of one pair of nodes: which one lives."""

    def test_all_cases(self) -> None:
        """The newer of one process or of one dialler; otherwise the one that the lower id dialled."""
        for node, instance, older, newer in product((b"a", b"z"), (b"same", b"else"), *[(False, True)] * 2):
            self.setUp()
            self.replica.greeting.node = node * 32
            ids = b"m" * 32, b"same" * 4, instance * 4
            for number, dialled in enumerate((older, newer)):
                self.do(events.Opened(number, ids[0], bytes(32), dialled=dialled))
                effects = self.hear(number, Hello(1, 1, (), "test", ids[1 + number]))
                self.do(events.Doubted(0))  # else no second one is dialled
            lower_dialled = older is (node == b"a")
            survivor = 0 if instance == b"same" and older is not newer and lower_dialled else 1
            [end] = [effect for effect in effects if isinstance(effect, End)]
            self.assertEqual((end.session, end.code), (1 - survivor, ByeCode.DUPLICATE))
            self.assertEqual([*self.replica.core.sessions], [survivor])
            pinged = [number for number, _ in self.sent(effects, Ping)]
            self.assertEqual(pinged, [0] if survivor == 0 else [])


class LostProofTests(RulesCase):
    """There was no room for the proof that an author forked: ForkWritten."""

    def setUp(self) -> None:
        """Peers 0 and 1; peer 1 does not read, and is owed the proof."""
        super().setUp()
        for number in range(2):
            self.open(number)
        self.replica.core.sessions[1].outbox.credit_bytes = 0
        self.heads.lacks(ANN.author)
        self.root = self.heads.root(bytes(32))
        effects = self.hear(0, Fork(proof_of(ANN)))
        self.assertTrue([e for e in effects if isinstance(e, events.StoreFork)])
        self.assertNotEqual(self.heads.root(bytes(32)), self.root)

    def test_as_if_it_had_never_come(self) -> None:
        """What we compare, what we take and what we send is as before; what payloads are missing is known."""
        self.assertEqual(self.do(events.ForkWritten(ANN.author, False)), [])
        self.assertEqual((self.heads.forks, self.heads.holed), (set(), {ANN.author}))
        self.assertEqual(self.heads.root(bytes(32)), self.root)
        self.assertEqual(self.heads.item(ANN.author, bytes(32))[0], 3)
        self.assertEqual(self.do(events.Writable(1)), [])
        *_, four = log(ANN, 4)
        effects = self.hear(0, four)
        self.assertEqual([e.head.seq for e in effects if isinstance(e, events.StoreSegment)], [4])

    def test_it_comes_again(self) -> None:
        """Who shows the fork is asked for the proof, and that is taken then, told and passed on."""
        self.do(events.ForkWritten(ANN.author, False))
        part = Range(b"", RangeKind.DIFFERENCES, items=(Item(ANN.author, 0, bytes(8)),))
        wants = self.sent(self.hear(0, Ranges(0, (part,))), Want)
        self.assertEqual(wants, [(0, Want((WantItem(ANN.author, 3),)))])
        effects = self.hear(0, Fork(proof_of(ANN)))
        kinds = [type(effect) for effect in effects]
        self.assertEqual((kinds.count(events.StoreFork), kinds.count(events.Forked)), (1, 1))
        effects = self.do(events.Writable(1))
        self.assertEqual(self.sent(effects, Fork), [(1, Fork(proof_of(ANN)))])

    def test_of_one_that_was_deleted_meanwhile(self) -> None:
        """Or of whom nothing was held: nothing is held then."""
        self.clock.discard(ANN.author)
        self.do(events.Forgotten((ANN.author,)))
        self.do(events.ForkWritten(ANN.author, False))
        self.assertFalse(self.heads.holds(ANN.author))
        self.assertEqual(self.heads.root(bytes(32)), Heads(Clock(), set(), set()).root(bytes(32)))


class NamesTests(RulesCase):
    """More names than HELLO has room for."""

    def test_nothing_is_compared_before_the_last(self) -> None:
        """Who said that more names come, and compares, breaks the protocol: an honest peer sends them at once."""
        self.greet(*NAMES)
        self.assertEqual(self.code(self.hear(0, EMPTY_LIST)), ByeCode.UNEXPECTED)

    def test_and_then_it_is(self) -> None:
        """The last list is not full, and may be empty."""
        for kind, interest in ((Refuse, Interest.ALL), (Lazy, Interest.WANTED)):
            self.setUp()
            self.greet(*NAMES, interest=interest, dialled=True)
            self.assertEqual(self.sent(self.hear(0, kind(NAMES[: limits.MAX_WANT_ITEMS])), Ranges), [])
            self.assertEqual(len(self.sent(self.hear(0, kind(())), Ranges)), 1)
            self.assertEqual(self.code(self.hear(0, EMPTY_LIST)), None)

    def test_authors_of_reserved_lengths_fill_a_list(self) -> None:
        """Its sender counted them, whether we can read them or not."""
        self.assertEqual(self.sent(self.greet(*NAMES[1:], reserved=1, dialled=True), Ranges), [])
        full = Refuse(NAMES[1 : limits.MAX_WANT_ITEMS], 1)
        self.assertEqual(self.sent(self.hear(0, full), Ranges), [])
        self.assertEqual(len(self.sent(self.hear(0, Refuse((), 1)), Ranges)), 1)

    def test_names_do_not_say_how_they_are_served(self) -> None:
        """LAZY that goes on with HELLO's names makes none lazy, is not answered, and nil in it says nothing."""
        self.greet(*NAMES, interest=Interest.WANTED)
        self.assertEqual(self.answered(self.hear(0, Lazy((ANN.author, BOB.author, None)))), [])
        self.hear(0, EMPTY_LIST)
        session = self.replica.core.sessions[0]
        self.assertEqual((session.service, self.replica.plumtree.of[session].is_lazy), ({}, False))
        *_, four = log(ANN, 4)
        self.open(1)
        self.assertIn((0, four), self.sent(self.hear(1, four), Segment))

    def test_what_goes_on_with_no_list(self) -> None:
        """LAZY of who wants all but the names, and REFUSE of who wants these only, mean what they always mean."""
        for interest, names, message, service in (
            (Interest.ALL, NAMES, Lazy((ANN.author,)), Service.LAZY),
            (Interest.WANTED, (*NAMES[1:], ANN.author), Refuse((ANN.author,)), Service.REFUSED),
        ):
            self.setUp()
            self.greet(*names, interest=interest)
            self.hear(0, message)
            session = self.replica.core.sessions[0]
            self.assertIs(session.serves(ANN.author), service)
            self.assertFalse(self.replica.interest.of[session].is_whole)

    def test_own_writers_are_named(self) -> None:
        """Where only exceptions are wanted, and are none where all but the exceptions are."""
        self.replica.interest.choices.mode = Interest.WANTED
        self.replica.limit_to(self.replica.interest.choices, self.replica.core.ledger)
        opened = self.do(events.Opened(0, bytes([1]) * 32, bytes(32), dialled=False))
        [(_, hello)] = self.sent(opened, Hello)
        self.assertEqual(hello.exceptions, (OWN.author,))  # type: ignore[union-attr]

    def test_who_does_not_name_its_own_gets_nothing_back(self) -> None:
        """To us it wants nothing of that log, until it says that it holds some."""
        self.commit(*log(ANN, 3))
        self.greet(interest=Interest.WANTED)
        [differences] = self.answered(self.hear(0, EMPTY_LIST))
        self.assertEqual([part.items for part in differences.ranges], [()])
        self.assertEqual(self.answered(self.hear(0, Have((HaveItem(0, 0, ANN.author),)))), [])
        asked = self.answered(self.hear(0, Have((HaveItem(0, 7),))))
        self.assertEqual(asked, [Want((WantItem(ANN.author, 4),))])


class WantTests(RulesCase):
    """Questions with odd answers."""

    def test_nil(self) -> None:
        """Asks for nothing that is held, whatever stands beside it, and is not answered."""
        self.greet()
        self.hear(0, EMPTY_LIST)
        for first, holes in ((1, False), (1, True), (limits.MAX_SEQ, False)):
            self.assertEqual(self.hear(0, Want((WantItem(None, first, holes),))), [])

    def test_own_log_before_it_is_settled(self) -> None:
        """The answer waits, and comes once it may."""
        own = log(OWN, 2)
        self.commit(*own)
        self.greet()
        self.assertEqual(self.hear(0, Want((WantItem(OWN.author, 1),))), [])
        [load] = [e for e in self.hear(0, EMPTY_LIST) if isinstance(e, events.Load)]
        self.assertEqual(load.wants, ((OWN.author, 1),))
        self.assertEqual(self.given(self.do(events.Loaded(0, tuple(own)))), [(0, 1), (0, 2)])

    def test_own_log_of_which_a_peer_claims_more(self) -> None:
        """As long as it does."""
        own = log(OWN, 2)
        self.commit(*own)
        self.greet()
        self.hear(0, EMPTY_LIST, Have((HaveItem(0, 9, OWN.author),)))
        self.assertEqual(self.hear(0, Want((WantItem(OWN.author, 1),))), [])
        effects = self.hear(0, Have((HaveItem(0, 2),)), Ping(1))
        self.assertEqual(len([e for e in effects if isinstance(e, events.Load)]), 1)


class RangesTests(RulesCase):
    """What a reconcile takes although nobody honest says it."""

    def setUp(self) -> None:
        """A peer that greeted."""
        super().setUp()
        self.greet()

    def test_number_of_an_exchange(self) -> None:
        """Any number is answered, and as often as it comes."""
        for exchange in (0, 1, 2, 3, 2**64 - 1, 0, 1):
            [(_, answer)] = self.sent(self.hear(0, EMPTY_LIST._replace(exchange=exchange)), Ranges)
            self.assertEqual((answer.exchange, len(answer.ranges[0].items)), (exchange, 1))  # type: ignore[union-attr]

    def test_short_of_the_end(self) -> None:
        """Only what is spoken of is answered; without any range, nothing."""
        self.assertEqual(self.sent(self.hear(0, Ranges(0, ())), Ranges), [])
        for upper in (b"\0", b"\xff" * 32):
            part = Range(upper, RangeKind.LIST)
            [(_, answer)] = self.sent(self.hear(0, Ranges(0, (part,))), Ranges)
            said = [item.author for each in answer.ranges for item in each.items]  # type: ignore[union-attr]
            self.assertEqual(said, [ANN.author] if ANN.author < upper else [])
            self.assertEqual(answer.ranges[-1].upper, b"")  # type: ignore[union-attr]

    def test_seq_0_is_a_fork_whatever_its_check(self) -> None:
        """Who knows of none asks for the proof."""
        for author, first in ((ANN.author, 3), (CAROL.author, 1)):
            for check in (bytes(8), b"\7" * 8):
                part = Range(b"", RangeKind.DIFFERENCES, items=(Item(author, 0, check),))
                wants = self.sent(self.hear(0, Ranges(0, (part,))), Want)
                self.assertEqual(wants, [(0, Want((WantItem(author, first),)))])
        self.hear(0, Fork(proof_of(ANN)))
        for check in (bytes(8), b"\7" * 8):
            part = Range(b"", RangeKind.DIFFERENCES, items=(Item(ANN.author, 0, check),))
            self.assertEqual(self.answered(self.hear(0, Ranges(0, (part,)))), [])


class PongTests(RulesCase):
    """A peer that does not say its root."""

    def setUp(self) -> None:
        """A peer that greeted, in a session where nothing is to be compared."""
        super().setUp()
        self.open(0)

    def test_a_ping_is_answered_at_once(self) -> None:
        """Each by its token."""
        for token in (0, 7, 2**32):
            root = self.heads.root(bytes(32))
            self.assertEqual(self.sent(self.hear(0, Ping(token)), Pong), [(0, Pong(token, root))])

    def test_an_empty_root_says_nothing(self) -> None:
        """It is no difference, which would start a reconcile each time, and no agreement."""
        for _ in range(5):
            effects = self.tick(limits.PING_SECONDS + limits.MISMATCH_SECONDS)
            [(_, ping)] = self.sent(effects, Ping)
            self.assertEqual(self.hear(0, Pong(ping.token)), [])  # type: ignore[union-attr]
        effects = self.do(events.Probe(0))
        for _ in range(5):
            [(_, ping)] = self.sent(effects, Ping)
            answered = self.hear(0, Pong(ping.token))  # type: ignore[union-attr]
            self.assertEqual(answered, [])
            effects = self.tick(1.0)[:1]
