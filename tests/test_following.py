"""Ring 1: one replica and the interests: what it says, heeds, ignores and takes, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, End, Send
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas
from gossiplog.gossip.replica import Replica
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.log.clock import Clock
from gossiplog.log.disk_cost import Weights, proof_bytes, row_bytes
from gossiplog.log.segment import Segment, drop_payloads, verify
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of


def weight(*segments: Segment) -> int:
    """What their rows take on disk."""
    return sum(row_bytes(len(segment.bodies)) for segment in segments)


class FollowingCase(ReplicaCase):
    """Three peers that want everything, and choices to change."""

    def setUp(self) -> None:
        super().setUp()
        self.choices = self.replica.interest.choices
        self.weights = Weights()

    def choose(self, change: str, *authors: bytes) -> list[Effect]:
        """Choose anew."""
        getattr(self.choices, change)(authors)
        return self.do(events.InterestChanged(authors))

    def messages(self, effects: Sequence[Effect], number: int = 0) -> list[Message]:
        """What one peer is told."""
        return [effect.message for effect in effects if isinstance(effect, Send) and effect.session == number]

    def claim(self, number: int, seq: int) -> list[Effect]:
        """A peer says, in a reconcile, that it holds so much of ANN."""
        items = (Item(ANN.author, seq, bytes(8)),)
        return self.hear(number, Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=items),)))

    def begin(self, choices: Choices, quotas: Quotas | None = None) -> None:
        """A node with these choices, and nobody connected."""
        self.replica = Replica(bytes(32), bytes(16), self.heads)
        self.replica.limit_to(choices, QuotaLedger(quotas or Quotas(), self.weights, self.heads.local))
        self.choices = choices

    def connect(self, number: int = 0, *, dialled: bool = True) -> list[Message]:
        """A connection comes up; what we say at once."""
        opened = self.do(events.Opened(number, bytes([number + 1]) * 32, bytes(32), dialled=dialled))
        return self.messages(opened, number)


class ChoiceTests(FollowingCase):
    """Our interest changes while sessions are open."""

    def test_told_at_once(self) -> None:
        """REFUSE to everyone, and LAZY to take it back; nothing when nothing changes."""
        for change, message in (
            ("block", Refuse((ANN.author,))),
            ("unfollow", None),
            ("unblock", None),
            ("follow", Lazy((ANN.author,))),
            ("follow", None),
        ):
            effects = self.choose(change, ANN.author)
            for number in range(3):
                self.assertEqual(self.messages(effects, number), [message] if message else [])

    def test_nothing_is_taken(self) -> None:
        """Segments, announcements, lists and proofs of an author not wanted are ignored and counted."""
        self.choose("block", ANN.author)
        item = Item(ANN.author, 9, bytes(8))
        told = (
            log(ANN, 1)[0],
            Have((HaveItem(0, 5, ANN.author),)),
            Fork(proof_of(ANN)),
            log(ANN, 3)[2],
        )
        for number, message in enumerate(told, 1):
            self.assertEqual(self.hear(0, message), [])
            self.assertEqual(self.replica.core.sessions[0].unwanted_items, number)
        self.assertEqual(self.heads.forks, set())
        effects = self.hear(0, Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=(item,)),)))
        self.assertEqual(self.messages(effects), [Refuse((ANN.author,))])  # it seems not to know

    def test_told_again(self) -> None:
        """Who shows something of an author that is not wanted forgot that: once for what comes at the same time."""
        self.choose("block", ANN.author, BOB.author)
        for shown in (log(ANN, 1)[0], Have((HaveItem(0, 5, ANN.author),)), Fork(proof_of(ANN))):
            self.assertEqual(self.messages(self.hear(1, shown, shown), 1), [])
            effects = self.tick(limits.ANNOUNCE_SECONDS)
            self.assertEqual(self.sent(effects, Refuse), [(1, Refuse((ANN.author,)))])
            self.assertEqual(self.sent(self.tick(1.0), Refuse), [])

    def test_not_told_again_of_all_others(self) -> None:
        """Who wants only some is never taken to want the rest: nothing is to be said of whoever is made up."""
        self.begin(Choices(self.heads.local, Interest.WANTED))
        self.open(0)
        for shown in (log(ANN, 1)[0], Have((HaveItem(0, 5, ANN.author),)), Fork(proof_of(ANN))):
            self.hear(0, shown)
        self.assertEqual(self.sent(self.tick(1.0), Refuse), [])

    def test_forgotten_that_a_peer_refused(self) -> None:
        """It is shown the author again; when it says that it wants it, that may be new, and is answered."""
        self.commit(*log(ANN, 2))
        self.hear(0, Refuse((ANN.author,)))
        session = self.replica.core.sessions[0]
        root = self.replica.core.sessions[1].view.root(session.salt)
        self.assertNotEqual(session.view.root(session.salt), root)
        self.replica.interest.forget_refused(session)
        self.assertTrue(session.wanted.wants(ANN.author))
        self.assertEqual(session.view.root(session.salt), root)
        effects = self.hear(0, Lazy((ANN.author,))) + self.tick(limits.ANNOUNCE_SECONDS)
        self.assertEqual([m.items for _, m in self.sent(effects, Have)], [(HaveItem(0, 2, ANN.author),)])  # type: ignore[union-attr]
        self.assertEqual(self.sent(self.hear(1, Lazy((ANN.author,))) + self.tick(1.0), Have), [])

    def test_a_peer_that_wants_only_some(self) -> None:
        """Is never taken to want others."""
        self.do(events.Closed(0))
        self.connect(0)
        self.hear(0, Hello(1, 1, (), "test", bytes(16), Interest.WANTED, (ANN.author,)))
        self.replica.interest.forget_refused(self.replica.core.sessions[0])
        self.assertTrue(self.replica.core.sessions[0].wanted.wants(ANN.author))
        self.assertFalse(self.replica.core.sessions[0].wanted.wants(BOB.author))

    def test_refusals_that_need_not_be_said(self) -> None:
        """Before the peer shows something of these; that an author is wanted has to be said."""
        session = self.replica.core.sessions[1]
        self.choose("block", ANN.author)
        session.outbox.control_credit_bytes = 0
        self.choose("unblock", ANN.author)
        self.choose("block", BOB.author)
        self.replica.announcer.forget_refusals(session)
        self.assertEqual(self.messages(self.do(events.Writable(1)), 1), [Lazy((ANN.author,))])

    def test_nothing_there_is_an_offence(self) -> None:
        """Nobody looks at it: what is wrong with it, or contradicts, and what payloads are missing."""
        self.freeze(proof_of(BOB))
        one, two = log(ANN, 2)
        self.commit(one)
        self.choose("block", ANN.author, BOB.author)
        forged = proof_of(ANN)._replace(signature=bytes(64))
        for message in (
            two._replace(signature=bytes(64)),
            two._replace(previous=bytes(32)),
            log(ANN, 2, b"other")[1],
            drop_payloads(two, [2]),
            Fork(forged),
            Fill(ANN.author, ((1, 2),)),
        ):
            effects = self.hear(0, message)
            kinds = {type(e) for e in effects} - {Send}
            self.assertEqual((kinds, self.sent(effects, Segment)), (set(), []), message)
        items = (Item(ANN.author, 1, bytes(8)), Item(BOB.author, 4, bytes(8)))
        part = Range(b"", RangeKind.DIFFERENCES, items=tuple(sorted(items)))
        [refuse] = self.messages(self.hear(0, Ranges(1, (part,))))
        self.assertIsInstance(refuse, Refuse)

    def test_nothing_is_asked_for(self) -> None:
        """A claim is forgotten, also one whose WANT is under way."""
        self.claim(0, 5)
        self.assertEqual(self.replica.pulls.schedule.pulled_from, {ANN.author: 0})
        self.choose("unfollow", ANN.author)
        self.assertEqual(self.replica.pulls.schedule.pulled_from, {})
        self.assertEqual(self.sent(self.tick(20.0), Want), [])

    def test_nothing_is_sent(self) -> None:
        """What was owed is not sent, what was to be announced is not, and WANT is answered as if nothing were held."""
        one, two, three = log(ANN, 3)
        self.hear(1, one)
        self.commit(one)
        self.hear(1, two)
        self.hear(0, Want((WantItem(ANN.author, 1),)))
        self.choose("block", ANN.author)
        self.commit(two)
        loaded = self.do(events.Loaded(0, (one, two)))
        self.assertEqual(self.given(loaded), [])
        effects = self.hear(0, Want((WantItem(ANN.author, 1), WantItem(BOB.author, 1))))
        [have] = [m for m in self.messages(effects) if isinstance(m, Have)]
        self.assertEqual([item.seq for item in have.items], [0, 0])
        self.assertEqual(self.given(self.hear(1, three)), [])

    def test_nothing_is_passed_on_after_a_failed_commit(self) -> None:
        """A later one succeeds with what was accepted before the block, and was given up for lost meanwhile."""
        one, two = log(ANN, 2)
        self.hear(1, one, two)
        self.do(events.CommitFailed(False))
        self.choose("block", ANN.author)
        effects = self.commit(one, two)
        self.assertEqual(self.given(effects) + self.sent(effects + self.tick(1.0), Have), [])

    def test_what_is_held_is_shown_to_who_may_know_less(self) -> None:
        """Before LAZY, so that nobody continues a log of which it lost the end; the proof of a fork once it is read."""
        segments = log(ANN, 2)
        self.hear(1, *segments)
        self.commit(*segments)
        self.choose("unfollow", ANN.author)
        [have, lazy] = self.messages(self.choose("follow", ANN.author))
        self.assertEqual((lazy, have), (Lazy((ANN.author,)), Have((HaveItem(0, 2, ANN.author),))))
        self.choose("unfollow", ANN.author)
        self.freeze(proof_of(ANN))
        self.assertEqual(
            self.messages(self.choose("follow", ANN.author)), [Lazy((ANN.author,)), Fork(proof_of(ANN))]
        )

    def test_many_at_once(self) -> None:
        """They go in as few messages as the limit allows."""
        with patch.object(limits, "MAX_WANT_ITEMS", 4):
            told = self.messages(self.choose("block", *(bytes([9, number]) * 16 for number in range(9))))
        self.assertEqual([len(message.authors) for message in told], [4, 4, 1])  # type: ignore[union-attr]

    def test_deleted(self) -> None:
        """Nothing is held then, for every purpose."""
        segments = log(ANN, 2)
        self.hear(0, *segments)
        self.commit(*segments)
        root = self.heads.root(bytes(32))
        self.choose("block", ANN.author)
        self.clock.discard(ANN.author)
        self.do(events.Forgotten((ANN.author,)))
        self.assertNotEqual(self.heads.root(bytes(32)), root)
        self.assertEqual(self.heads.accepted_seq(ANN.author), 0)

    def test_wanted_again_before_it_is_gone(self) -> None:
        """Every peer that wants it is asked what it holds: what it said before was compared with what we held then."""
        segments = log(ANN, 2)
        self.hear(0, *segments)
        self.commit(*segments)
        self.choose("block", ANN.author)
        self.choose("unblock", ANN.author)
        self.hear(2, Refuse((ANN.author,)))
        self.clock.discard(ANN.author)
        effects = self.do(events.Forgotten((ANN.author,)))
        self.assertEqual([number for number, _ in self.sent(effects, Ranges)], [0, 1])
        self.choose("block", ANN.author)
        self.assertEqual(self.sent(self.do(events.Forgotten((ANN.author,))), Ranges), [])


class PeerTests(FollowingCase):
    """A peer's interest."""

    def test_refused_at_run_time(self) -> None:
        """It is sent nothing, told nothing, asked for nothing, and its claims go to others."""
        self.claim(0, 5)
        self.claim(1, 5)
        effects = self.hear(0, Refuse((ANN.author,)))
        self.assertEqual(self.sent(effects, Want), [(1, Want((WantItem(ANN.author, 1),)))])
        self.hear(1, log(ANN, 1)[0])
        self.assertEqual([number for number, _ in self.sent(self.tick(2.0), Have)], [2])

    def test_refused_while_it_was_to_be_told(self) -> None:
        """What waits to be announced is not, and who refuses is no parent: the next one who brings it is."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        self.assertEqual(self.sent(self.hear(2, one), Lazy), [(2, Lazy((ANN.author,)))])
        self.hear(1, Lazy((ANN.author,)))
        self.hear(0, two)
        self.hear(1, Refuse((ANN.author,)))
        self.assertEqual(self.sent(self.tick(2.0), Have), [])
        self.hear(0, Refuse((ANN.author,)))
        self.assertEqual(self.sent(self.hear(2, two), Lazy), [])

    def test_refused_and_compared(self) -> None:
        """Of what is held, only what both want is listed; once it is wanted again, that too."""
        self.commit(*log(ANN, 1), *log(BOB, 1))
        everything = Ranges(0, (Range(b"", RangeKind.LIST),))
        listed = []
        for message in (Refuse((ANN.author,)), Lazy((ANN.author,))):
            self.hear(0, message)
            [(_, answer)] = self.sent(self.hear(0, everything), Ranges)
            listed.append({item.author for part in answer.ranges for item in part.items})  # type: ignore[union-attr]
        self.assertEqual(listed, [{BOB.author}, {ANN.author, BOB.author}])

    def test_refused_and_in_no_root(self) -> None:
        """PING and PONG say what is held of what both want, with another peer or later of something else."""
        one, other = log(ANN, 1)[0], log(BOB, 1)[0]
        self.commit(one, other)
        both, bobs = (
            Heads(Clock({each.author: verify(each) for each in held}), set(), set()).root(bytes(32))
            for held in ([one, other], [other])
        )

        def roots(number: int) -> list[bytes]:
            pings = dict(self.sent(self.tick(limits.PING_SECONDS), Ping))
            [(_, pong)] = self.sent(self.hear(number, Ping(7)), Pong)
            return [message.root for message in (pings[number], pong)]  # type: ignore[union-attr]

        self.hear(0, Refuse((ANN.author,)))
        self.assertEqual(roots(0), [bobs, bobs])
        self.hear(1, Pong(0))
        self.assertEqual(roots(1), [both, both])
        self.hear(0, Lazy((ANN.author,)))
        self.assertEqual(roots(0), [both, both])

    def test_pushed_by_who_wants_nothing(self) -> None:
        """It is taken all the same: its own log it may not have named."""
        hello = Hello(1, 1, (), "test", bytes(16), Interest.WANTED)
        self.connect(7, dialled=False)
        self.hear(7, hello)
        effects = self.hear(7, log(ANN, 1)[0])
        self.assertEqual([e.head.seq for e in effects if isinstance(e, events.StoreSegment)], [1])

    def test_wanted_again(self) -> None:
        """LAZY for an author refused before is answered with the head held; of a forked one with the proof."""
        self.hear(0, Refuse((ANN.author, BOB.author)))
        self.hear(1, log(ANN, 1)[0])
        self.freeze(proof_of(BOB))
        effects = self.hear(0, Lazy((ANN.author, BOB.author))) + self.tick(1.0)
        self.assertEqual(
            [message for message in self.messages(effects) if not isinstance(message, Want)],
            [Fork(proof_of(BOB)), Have((HaveItem(0, 1, ANN.author),))],
        )

    def test_wanted_again_by_us_alone(self) -> None:
        """Who does not want it is told that we do, and not what we hold."""
        self.commit(*log(ANN, 1))
        self.freeze(proof_of(BOB))
        self.hear(0, Refuse((ANN.author, BOB.author)))
        self.choose("block", ANN.author, BOB.author)
        effects = self.choose("unblock", ANN.author, BOB.author) + self.tick(1.0)
        self.assertEqual(self.messages(effects), [Lazy((ANN.author, BOB.author))])
        self.assertEqual(len(self.messages(effects, 1)), 3)

    def test_wanted_again_by_them_alone(self) -> None:
        """Who begins to want what we do not is told nothing of it, no proof either."""
        self.commit(*log(ANN, 1))
        self.freeze(proof_of(BOB))
        self.choose("block", ANN.author, BOB.author)
        self.hear(0, Refuse((ANN.author, BOB.author)))
        effects = self.hear(0, Lazy((ANN.author, BOB.author))) + self.tick(1.0)
        self.assertEqual(self.messages(effects), [])

    def test_who_refused_it_is_not_asked_again(self) -> None:
        """Even if what it sent is lost, until it wants it again; who says that it holds some does."""
        self.hear(0, Refuse((ANN.author,)))
        entries = log(ANN, 5)
        effects = self.hear(0, Have((HaveItem(0, 0, ANN.author),)), entries[4], entries[0])
        effects += self.do(events.CommitFailed(False)) + self.tick(limits.RETRY_WRITE_SECONDS + 1.0)
        self.assertEqual(self.sent(effects, Want), [])
        effects = self.hear(0, Have((HaveItem(0, 9),))) + self.tick(limits.GRAFT_SECONDS + 1.0)
        self.assertEqual(self.sent(effects, Want), [(0, Want((WantItem(ANN.author, 1),)))])
        self.hear(0, Refuse((ANN.author,)), Lazy((ANN.author,)))
        effects = self.hear(0, Have((HaveItem(0, 9, ANN.author),))) + self.tick(limits.GRAFT_SECONDS + 1.0)
        self.assertEqual(self.sent(effects, Want), [(0, Want((WantItem(ANN.author, 1),)))])

    def test_listed_by_who_refused_it(self) -> None:
        """Who lists an author wants it."""
        self.hear(0, Refuse((ANN.author,)))
        self.hear(0, Ranges(1, (Range(b"", RangeKind.LIST, items=(Item(ANN.author, 1, bytes(8)),)),)))
        self.assertTrue(self.replica.core.sessions[0].wanted.wants(ANN.author))

    def test_proofs_are_not_for_who_refused_the_author(self) -> None:
        """Everyone else gets them."""
        self.hear(0, Refuse((ANN.author,)))
        effects = self.hear(1, Fork(proof_of(ANN)))
        self.assertEqual([number for number, _ in self.sent(effects, Fork)], [2])

    def test_names_above_the_limit(self) -> None:
        """They would have to be forgotten, and entries lost: the session ends instead."""
        with patch.object(limits, "MAX_NAMED_AUTHORS", 2):
            self.assertEqual(self.hear(0, Refuse((ANN.author, BOB.author))), [])
            effects = self.hear(0, Refuse((bytes(32),)))
        [end] = [effect for effect in effects if isinstance(effect, End)]
        self.assertEqual(end.code, ByeCode.LIMIT)

    def test_nothing_is_left_of_it(self) -> None:
        """Once the session is over."""
        self.hear(0, Refuse((ANN.author,)))
        self.assertEqual(len(self.replica.core.view.views), 1)
        self.do(events.Closed(0))
        self.assertEqual(len(self.replica.core.view.views), 0)

    def test_nil_names_nobody(self) -> None:
        """It says how what is wanted is served, and not what is wanted."""
        self.hear(0, Refuse((ANN.author,)), Lazy((None,)), Want((WantItem(None, 1),)))
        self.assertFalse(self.replica.core.sessions[0].wanted.wants(ANN.author))
        self.assertEqual(self.given(self.hear(1, log(ANN, 1)[0])), [(2, 1)])


class GreetingTests(FollowingCase):
    """What HELLO says of it."""

    def wanting(self, count: int, mode: Interest = Interest.ALL) -> Choices:
        """Choices with so many names."""
        choices = Choices(set(), mode)
        names = [bytes([7, number]) * 16 for number in range(count)]
        (choices.follow if mode is Interest.WANTED else choices.block)(names)
        return choices

    def test_names(self) -> None:
        """A full list goes on in REFUSE or LAZY until one is not full, which may be empty."""
        with patch.object(limits, "MAX_EXCEPTIONS", 4), patch.object(limits, "MAX_WANT_ITEMS", 4):
            for mode, kind in ((Interest.ALL, Refuse), (Interest.WANTED, Lazy)):
                for count, lists in ((3, [3]), (4, [4, 0]), (5, [4, 1]), (8, [4, 4, 0]), (9, [4, 4, 1])):
                    choices = self.wanting(count, mode)
                    self.begin(choices)
                    hello, *rest = self.connect()
                    assert isinstance(hello, Hello)
                    self.assertIs(hello.interest, mode)
                    self.assertEqual({type(message) for message in rest}, {kind} if rest else set())
                    names = [hello.exceptions, *(message.authors for message in rest)]  # type: ignore[union-attr]
                    self.assertEqual([len(part) for part in names], lists)
                    self.assertEqual({name for part in names for name in part}, choices.named())

    def test_comparing_waits_for_all_names(self) -> None:
        """The dialler begins when the last list came, and not before."""
        with patch.object(limits, "MAX_EXCEPTIONS", 1), patch.object(limits, "MAX_WANT_ITEMS", 2):
            for mode, kind in ((Interest.ALL, Refuse), (Interest.WANTED, Lazy)):
                self.begin(Choices(set()))
                self.connect()
                hello = Hello(1, 1, (), "test", bytes(16), mode, (ANN.author,), bytes(16))
                for message in (hello, kind((BOB.author, bytes(32)))):
                    self.assertEqual(self.sent(self.hear(0, message), Ranges), [])
                self.assertEqual(len(self.sent(self.hear(0, kind(())), Ranges)), 1)
                wanted = self.replica.core.sessions[0].wanted
                self.assertEqual(set(wanted.authors), {ANN.author, BOB.author, bytes(32)})

    def test_comparing_waits_until_all_names_are_said(self) -> None:
        """Ours too, if the transport takes no more at once: also a change that was not said yet."""
        for change in (False, True):
            with patch.object(limits, "MAX_EXCEPTIONS", 1):
                self.begin(self.wanting(0 if change else 1))
                with patch.object(limits, "CONTROL_WINDOW_BYTES", 0):
                    self.connect()
                    if change:
                        self.choose("block", BOB.author)
                    effects = self.hear(0, Hello(1, 1, (), "test", bytes(16), root=bytes(16)))
                    self.assertEqual(self.messages(effects), [])
                told = self.messages(self.do(events.Writable(0)))
            self.assertEqual([type(message) for message in told], [Refuse, Ranges])

    def test_nothing_else_is_compared(self) -> None:
        """Neither listed nor in the root is what we do not want."""
        self.commit(*log(ANN, 1), *log(BOB, 1))
        roots = []
        for block in (False, True):
            choices = Choices(set())
            choices.block([ANN.author] if block else [])
            self.begin(choices)
            [hello] = self.connect()
            assert isinstance(hello, Hello)
            roots.append(hello.root)
            effects = self.hear(0, Hello(1, 1, (), "test", bytes(16), exceptions=hello.exceptions))
            [(_, ranges)] = self.sent(effects, Ranges)
            listed = {item.author for part in ranges.ranges for item in part.items}  # type: ignore[union-attr]
            self.assertEqual(listed, {BOB.author} if block else {ANN.author, BOB.author})
        self.assertNotEqual(*roots)

    def test_roots_settle_only_the_same_interest(self) -> None:
        """Otherwise one fingerprint asks whether anything differs."""
        for names, asks in (((), True), ((ANN.author,), False)):
            choices = Choices(set())
            choices.block([ANN.author])
            self.begin(choices)
            hello = self.connect()[0]
            assert isinstance(hello, Hello)
            effects = self.hear(0, hello._replace(exceptions=names))
            kinds = [part.kind for _, m in self.sent(effects, Ranges) for part in m.ranges]  # type: ignore[union-attr]
            self.assertEqual(kinds, [RangeKind.FINGERPRINT] if asks else [])
            self.assertEqual(self.replica.catch_up.of[self.replica.core.sessions[0]].is_settled, not asks)

    def test_changed_between_the_greetings(self) -> None:
        """The root in our HELLO covered another interest; whoever dialled, the peer may take both for the same."""
        for dialled in (True, False):
            self.begin(Choices(set()))
            hello = self.connect(dialled=dialled)[0]
            assert isinstance(hello, Hello)
            self.assertEqual(self.messages(self.choose("block", ANN.author)), [Refuse((ANN.author,))])
            effects = self.hear(0, hello, Refuse((ANN.author,)))
            self.assertEqual(len(self.sent(effects, Ranges)), 1)
            self.assertFalse(self.replica.catch_up.of[self.replica.core.sessions[0]].is_settled)

    def test_news_before_the_greeting(self) -> None:
        """What HELLO refuses is not owed."""
        self.begin(Choices(set()))
        self.connect(0)
        self.commit(*log(OWN, 1), done=False)
        self.hear(0, Hello(1, 1, (), "test", bytes(16), Interest.ALL, (OWN.author,)))
        self.assertTrue(self.replica.core.sessions[0].outbox.idle)


class QuotaTests(FollowingCase):
    """More is offered than is taken."""

    sessions = 0

    def start(self, quotas: Quotas) -> None:
        """Two peers, and these bounds."""
        self.begin(Choices(self.heads.local), quotas)
        for number in range(2):
            self.open(number)

    def test_a_refusal_is_visible_to_everyone(self) -> None:
        """To the application once, to peers with REFUSE; the segment is not accepted."""
        one, two, three = log(ANN, 3, bytes(40))
        self.start(Quotas(bytes_per_author=weight(one) * 2 + AUTHOR_DISK_BYTES))
        self.hear(0, one, two)
        effects = self.hear(0, three)
        self.assertIn(events.QuotaExceeded(ANN.author, Quota.AUTHOR_BYTES), effects)
        self.assertEqual([message for _, message in self.sent(effects, Refuse)], [Refuse((ANN.author,))] * 2)
        self.assertEqual(self.sent(effects, Segment), [])
        self.assertEqual(self.hear(1, three), [])
        self.assertEqual(self.heads.accepted_seq(ANN.author), 2)

    def test_only_what_is_verified_counts(self) -> None:
        """A forged segment refuses nobody."""
        one, two = log(ANN, 2, bytes(40))
        self.start(Quotas(bytes_per_author=weight(one) + AUTHOR_DISK_BYTES))
        self.hear(0, one)
        effects = self.hear(0, two._replace(signature=bytes(64)))
        self.assertEqual(self.replica.core.ledger.refused, {})
        self.assertTrue(any(isinstance(effect, End) for effect in effects))

    def test_authors_are_refused_when_they_are_claimed(self) -> None:
        """Without a segment of each in vain, and in one message."""
        self.start(Quotas(authors=1))
        self.hear(0, log(ANN, 1)[0])
        items = tuple(Item(bytes([5, number]) * 16, 1, bytes(8)) for number in range(9))
        effects = self.hear(1, Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=items),)))
        self.assertEqual(self.sent(effects, Want), [])
        self.assertEqual([len(m.authors) for _, m in self.sent(effects, Refuse)], [9, 9])  # type: ignore[union-attr]

    def test_above_the_limit_of_names(self) -> None:
        """Nobody is told any more, and nothing is taken all the same."""
        self.start(Quotas(authors=1))
        self.hear(0, log(ANN, 1)[0])
        with patch.object(limits, "MAX_NAMED_AUTHORS", limits.MAX_CHOSEN_AUTHORS + 1):
            self.hear(0, Have((HaveItem(0, 1, bytes(32)),)))
            effects = self.hear(0, Have((HaveItem(1, 1, BOB.author),)))
            self.assertEqual(self.sent(effects, Refuse) + self.sent(effects, Want), [])
            self.assertEqual(self.hear(0, log(BOB, 1)[0]), [])

    def test_rate_lifts_by_itself(self) -> None:
        """LAZY when the author has rested, and the application hears."""
        self.start(Quotas(entries_per_second=1.0))
        segments = log(ANN, 20)
        self.hear(0, *segments)
        self.assertEqual(self.replica.core.ledger.refused, {ANN.author: Quota.RATE})
        self.assertEqual(self.sent(self.tick(limits.QUOTA_BURST_SECONDS - 1.0), Lazy), [])
        effects = self.tick(2.0)
        self.assertIn(events.QuotaLifted(ANN.author), effects)
        self.assertEqual([m for _, m in self.sent(effects, Lazy)], [Lazy((ANN.author,))] * 2)

    def test_no_more_is_asked_for_than_is_taken(self) -> None:
        """And what was asked for is all: the author rests then, though time has made it a little less than its rate."""
        self.start(Quotas(entries_per_second=2.0))
        effects = self.hear(0, Have((HaveItem(0, 1000, ANN.author),)))
        [(_, want)] = self.sent([*effects, *self.tick(limits.STALL_SECONDS)], Want)
        self.assertEqual((want.items[0].first, want.most), (1, 20))
        segments = log(ANN, 21)
        self.hear(0, *segments[:12])
        self.tick(3.0)
        effects = self.hear(0, *segments[12:19])
        self.assertEqual(self.sent(effects, Refuse), [])
        effects = self.hear(0, segments[19])
        self.assertEqual([m for _, m in self.sent(effects, Refuse)], [Refuse((ANN.author,))] * 2)
        self.assertEqual(self.replica.core.ledger.refused, {ANN.author: Quota.RATE})
        self.assertEqual(self.replica.core.heads.accepted_seq(ANN.author), 20)

    def test_what_was_asked_for_is_forgotten(self) -> None:
        """With the claim, the session, or the stall: what nobody has is remembered nowhere."""
        for forget in (
            lambda: self.hear(0, Have((HaveItem(0, 0),))),
            lambda: self.do(events.Closed(0)),
            lambda: self.tick(2 * limits.STALL_SECONDS),
            lambda: self.hear(0, Refuse((ANN.author,))),
        ):
            self.start(Quotas(entries_per_second=2.0))
            self.hear(0, Have((HaveItem(0, 1000, ANN.author),)))
            self.tick(2 * limits.GRAFT_SECONDS)
            self.assertEqual(self.replica.pulls.schedule.ends, {ANN.author: 20})
            forget()
            self.assertTrue(
                self.replica.pulls.schedule.ends.keys() <= self.replica.pulls.schedule.pulled_from.keys()
            )
            self.tick(2 * limits.STALL_SECONDS)
            self.assertTrue(
                self.replica.pulls.schedule.ends.keys() <= self.replica.pulls.schedule.pulled_from.keys()
            )

    def test_what_is_pulled_is_not_asked_for_again(self) -> None:
        """A later question replaces the earlier one: with another bound, what was asked for would not come."""
        self.start(Quotas(entries_per_second=2.0))
        self.hear(0, Have((HaveItem(0, 1000, ANN.author),)))
        self.tick(2 * limits.GRAFT_SECONDS)
        self.assertEqual(self.replica.pulls.schedule.pulled_from, {ANN.author: 0})
        self.hear(0, *log(ANN, 1), *log(BOB, 1))
        [(_, want)] = self.sent(self.hear(0, Lazy((None,))), Want)
        self.assertEqual([item.author for item in want.items], [BOB.author])

    def test_who_is_ahead_is_asked_for_less(self) -> None:
        """Others are not, nor is a log of our own bounded, nor anybody without that quota."""
        for rate, expected in (
            (2.0, {ANN.author: 9, BOB.author: 20}),
            (None, {ANN.author: 0, BOB.author: 0}),
        ):
            self.start(Quotas(entries_per_second=rate))
            self.hear(0, *log(ANN, 12))
            claims = (HaveItem(0, 1000, ANN.author), HaveItem(1, 50, BOB.author))
            effects = [*self.hear(0, Have(claims)), *self.tick(2 * limits.GRAFT_SECONDS)]
            asked = {item.author: want.most for _, want in self.sent(effects, Want) for item in want.items}
            self.assertEqual(asked, expected)

    def test_a_proof_counts(self) -> None:
        """With room for it the author is frozen, with a byte less it is refused, and nobody gets the proof."""
        proof = proof_of(ANN)
        room = proof_bytes(proof) + AUTHOR_DISK_BYTES
        for quota, name in ((Quota.AUTHOR_BYTES, "bytes_per_author"), (Quota.BYTES, "bytes")):
            self.start(Quotas(**{name: room - 1}))  # type: ignore[arg-type]
            effects = self.hear(0, Fork(proof))
            self.assertIn(events.QuotaExceeded(ANN.author, quota), effects)
            self.assertEqual([m for _, m in self.sent(effects, Refuse)], [Refuse((ANN.author,))] * 2)
            self.assertFalse([effect for effect in effects if isinstance(effect, events.StoreFork)])
            self.assertNotIn(ANN.author, self.heads.forks)
            self.assertEqual(self.replica.core.sessions[0].unwanted_items, 1)
        self.start(Quotas(bytes_per_author=room, bytes=room))
        self.assertIn(events.StoreFork(proof), self.hear(0, Fork(proof)))

    def test_a_forged_proof_refuses_nobody(self) -> None:
        """It is an offence before it is a question of room."""
        proof = proof_of(ANN)
        self.start(Quotas(bytes=1))
        effects = self.hear(0, Fork(proof._replace(signature=bytes(64))))
        self.assertEqual(self.replica.core.ledger.refused, {})
        self.assertTrue(any(isinstance(effect, End) for effect in effects))

    def test_a_proof_takes_an_authors_place(self) -> None:
        """Of a log that is held or not; and its author is not asked for one in vain."""
        self.start(Quotas(authors=1))
        self.hear(0, Fork(proof_of(ANN)))
        effects = self.hear(0, Fork(proof_of(BOB)))
        self.assertIn(events.QuotaExceeded(BOB.author, Quota.AUTHORS), effects)
        self.start(Quotas(authors=1))
        self.heads.forget(ANN.author)
        self.hear(0, Fork(proof_of(ANN)))
        items = (Item(BOB.author, 0, bytes(8)),)
        effects = self.hear(0, Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=items),)))
        self.assertIn(events.QuotaExceeded(BOB.author, Quota.AUTHORS), effects)

    def test_proofs_on_their_way_count_until_they_are_there(self) -> None:
        """And then as what is there does; one that is lost counts no more."""
        proof = proof_of(ANN)
        self.start(Quotas(bytes=proof_bytes(proof) + AUTHOR_DISK_BYTES))
        self.hear(0, Fork(proof))
        self.assertFalse(self.replica.core.ledger.is_idle)
        self.assertIs(self.replica.core.ledger.full(BOB.author, 1), Quota.BYTES)
        self.weights.change((), {ANN.author: proof_bytes(proof)})
        self.do(events.ForkWritten(ANN.author, True))
        self.assertTrue(self.replica.core.ledger.is_idle)
        self.assertIs(self.replica.core.ledger.full(BOB.author, 1), Quota.BYTES)
        self.weights.change((ANN.author,), {})
        self.hear(0, Fork(proof_of(BOB)))
        self.do(events.ForkWritten(BOB.author, False))
        self.assertTrue(self.replica.core.ledger.is_idle)

    def test_a_fork_is_shown_by_who_writes_too_fast(self) -> None:
        """A rate is of entries; a proof is none."""
        self.start(Quotas(entries_per_second=1.0))
        self.hear(0, *log(ANN, int(limits.QUOTA_BURST_SECONDS)))
        self.assertEqual(self.replica.core.ledger.refused, {})
        self.assertIs(self.replica.core.ledger.breach(ANN.author, 0, self.now), Quota.RATE)
        proof = proof_of(ANN)
        self.assertIn(events.StoreFork(proof), self.hear(0, Fork(proof)))

    def test_payloads_that_come_back_count(self) -> None:
        """They are left out where there is no room, and their author goes on."""
        [one] = log(ANN, 1, bytes(1000))
        holed = drop_payloads(one, [1])
        for room, is_filled in ((weight(one), True), (weight(one) - 1, False)):
            self.heads.forget(ANN.author)
            self.clock.discard(ANN.author)
            self.weights = Weights({ANN.author: weight(holed)})
            self.start(Quotas(bytes_per_author=weight(holed) + room))
            self.clock.replace(ANN.author, verify(one))
            self.heads.lacks(ANN.author)
            effects = self.hear(0, one)
            self.assertEqual(events.FillHoles(0, one) in effects, is_filled)
            self.assertEqual(self.replica.core.ledger.refused, {})
            if is_filled:
                self.assertIs(self.replica.core.ledger.full(ANN.author, 1), Quota.AUTHOR_BYTES)
                self.do(events.HolesFilled(0, ANN.author, 1, 1, 1, 0))
            self.assertTrue(self.replica.core.ledger.is_idle)

    def test_merging_lifts(self) -> None:
        """Who is well within its quota again is taken again; a little is not enough."""
        segments = log(ANN, 10)
        most = weight(*segments)
        self.start(Quotas(bytes_per_author=most))
        self.hear(0, *segments)
        self.assertEqual(self.replica.core.ledger.refused, {ANN.author: Quota.AUTHOR_BYTES})
        self.weights.change((), {ANN.author: most})
        self.commit(*segments[:-1])
        for size, is_lifted in ((most * 91 // 100, False), (most * 89 // 100, True)):
            self.weights.change((), {ANN.author: size - self.weights.authors[ANN.author]})
            effects = self.do(events.Lightened((ANN.author,)))
            self.assertEqual(events.QuotaLifted(ANN.author) in effects, is_lifted)

    def test_own_entries_are_never_refused(self) -> None:
        """They come back whatever the quotas are."""
        self.start(Quotas(authors=1, bytes_per_author=1, bytes=1, entries_per_second=0.001))
        self.hear(0, *log(OWN, 30))
        self.assertEqual(self.heads.accepted_seq(OWN.author), 30)
        proof = proof_of(OWN)
        self.assertIn(events.StoreFork(proof), self.hear(0, Fork(proof)))
