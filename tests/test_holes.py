"""Ring 1: payloads that were dropped: who may send entries without them, to whom, and who takes them."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import BadSegmentError, ByeCode, PeerError, UnaskedHolesError
from gossiplog.gossip import backlog, events
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.messages import Have, HaveItem, Want, WantItem
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment, drop_payloads, has_holes, id_at, toil_bytes, verify
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Stale
from gossiplog.testing.chain import Chain
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log


def stripped(segment: Segment) -> Segment:
    """The same without any payload."""
    return drop_payloads(segment, range(segment.first, segment.last + 1))


class AcceptanceTests(SynchronousTestCase):
    """A hole that nobody asked for is an offence, found before anything is hashed."""

    def setUp(self) -> None:
        """A log of two segments."""
        self.chain = Chain()
        for _ in range(2):
            self.chain.put(b"one", b"two", b"three")
        self.one, self.two = self.chain.segments
        self.start = Head(0, genesis_id(self.chain.author))

    def test_unasked(self) -> None:
        """Wherever it would be looked at; its signature is not."""
        for segment, ours in (
            (stripped(self.one), self.start),
            (drop_payloads(self.two, [5]), Head(3, self.two.previous)),
            (drop_payloads(self.two, [4]), self.chain.head),
        ):
            for variant in (segment, segment._replace(signature=bytes(64))):
                self.assertRaises(UnaskedHolesError, judge, variant, ours)
        self.assertEqual(UnaskedHolesError.code, ByeCode.BAD_SEGMENT)

    def test_what_is_no_hole(self) -> None:
        """An extension of another length or type is none, whoever asked."""
        for item in (b"\xc7\x1f\x01" + bytes(31), b"\xc7\x20\x02" + bytes(32), b"\xd8\x01" + bytes(16)):
            segment = self.one._replace(count=1, bodies=item)
            for holes in (False, True):
                with self.assertRaises(BadSegmentError) as caught:
                    judge(segment, self.start, holes=holes)
                self.assertIs(type(caught.exception), BadSegmentError)

    def test_asked_for(self) -> None:
        """Then it is a segment like others, and said to have holes."""
        judged = judge(stripped(self.one), self.start, holes=True)
        self.assertEqual(judged, Extends(stripped(self.one), Head(3, self.two.previous), holed=True))
        judged = judge(drop_payloads(self.one, [1]), Head(1, id_at(self.one, 1)), holes=True)
        assert isinstance(judged, Extends)
        self.assertFalse(judged.holed)  # what is new of it has none
        self.assertIs(judge(stripped(self.two), self.chain.head, holes=True), Verdict.DUPLICATE)


class SendingTests(ReplicaCase):
    """Nobody is sent a segment with holes who did not ask for such."""

    def setUp(self) -> None:
        """Three entries on our disk, the second without its payload."""
        super().setUp()
        self.segments = log(ANN, 3)
        self.segments[1] = stripped(self.segments[1])
        backend = MemoryBackend()
        self.logs = Logs(backend)
        self.logs.process([Accept(segment, verify(segment)) for segment in self.segments])

    def held(self) -> None:
        """They are."""
        self.heads.clock.replace(ANN.author, verify(self.segments[-1]))
        self.heads.settle(ANN.author)

    def ask(self, first: int, holes: bool) -> list[events.Effect]:
        """A peer asks, and the disk answers until it has nothing more to say."""
        effects = self.hear(0, Want((WantItem(ANN.author, first, holes),)))
        for effect in effects:
            if isinstance(effect, events.Load):
                found = backlog.read(
                    effect.wants, effect.limit_bytes, self.logs.segments, {}.get, None, effect.holes
                )
                effects += self.do(events.Loaded(effect.session, *found))
        return effects

    def test_a_want_without_holes(self) -> None:
        """Is answered up to the first one, and then by how far that is."""
        self.held()
        effects = self.ask(1, holes=False)
        self.assertEqual(self.given(effects), [(0, 1)])
        self.assertEqual(self.sent(effects, Have), [(0, Have((HaveItem(0, 1, ANN.author),)))])
        self.assertEqual(self.given(self.ask(3, holes=False)), [(0, 3)])

    def test_a_want_with_holes(self) -> None:
        """Is answered by what is held; a later one without holds from then on."""
        self.held()
        effects = self.ask(1, holes=True)
        self.assertEqual([m for _, m in self.sent(effects, Segment)], self.segments)
        self.assertEqual(self.given(self.ask(2, holes=False)), [])

    def test_the_others_of_one_read(self) -> None:
        """Who is withheld does not take the place of others."""
        other = Chain(9)
        self.logs.process([Accept(*other.put(b"other"))])
        wants = [(other.author, 1), (ANN.author, 2)]
        found = backlog.read(wants, 10_000, self.logs.segments, {}.get)
        self.assertEqual(found[:2], ((other.segments[0],), (ANN.author,)))
        self.assertEqual(found.vain_bytes, toil_bytes(self.segments[1]))  # read for nothing
        self.heads.clock.replace(other.author, other.head)
        self.held()
        items = (WantItem(other.author, 1), WantItem(ANN.author, 2))
        self.hear(0, Want(items))
        effects = self.do(events.Loaded(0, *found))
        self.assertEqual(self.sent(effects, Have), [(0, Have((HaveItem(0, 1, ANN.author),)))])
        self.assertTrue(self.replica.core.sessions[0].outbox.idle)


class TakingTests(ReplicaCase):
    """What comes with holes."""

    def test_unasked_ends_the_session(self) -> None:
        """Pushed or asked for without; nothing changes, and the next peer that claims the author is asked."""
        for pulled in (False, True):
            if pulled:
                self.open(3)
                for number in (3, 1):
                    self.hear(number, Have((HaveItem(0, 1, ANN.author),)))
                effects = self.tick(1.0)
                [(number, _)] = self.sent(effects, Want)
            else:
                number = 0
            effects = self.hear(number, stripped(log(ANN, 1)[0]))
            [rejected] = [e for e in effects if isinstance(e, events.PeerRejected)]
            self.assertEqual((rejected.session, rejected.error.code), (number, ByeCode.BAD_SEGMENT))
            self.assertFalse([e for e in effects if isinstance(e, events.StoreSegment)])
            self.assertEqual(self.heads.accepted_seq(ANN.author), 0)
        self.assertEqual(self.sent(effects, Want), [(4 - number, Want((WantItem(ANN.author, 1),)))])

    def test_own_entries(self) -> None:
        """Never, from nobody, by no way."""
        effects = self.hear(0, stripped(log(OWN, 1)[0]))
        self.assertTrue([e for e in effects if isinstance(e, events.PeerRejected)])
        backend = MemoryBackend()
        logs = Logs(backend)
        chain = Chain()
        chain.keypair = logs.writer("me")
        chain.author = chain.keypair.author
        chain.head = Head(0, genesis_id(chain.author))
        segment, head = chain.put(b"lost", b"with a disk")
        outcome = logs.process([Accept(drop_payloads(segment, [2]), head)])
        self.assertEqual(outcome.results, [Stale(Head(0, genesis_id(chain.author)))])
        self.assertEqual(logs.clock.seq(chain.author), 0)
        self.assertEqual(logs.process([Accept(segment, head)]).segments, [segment])
        self.assertFalse(has_holes(segment))
        self.assertTrue(issubclass(UnaskedHolesError, PeerError))


class LastResortTests(ReplicaCase):
    """WANT with holes: when nobody has an author without."""

    def setUp(self) -> None:
        """Peer 0 claims Ann's log, and takes that back when it is asked."""
        super().setUp()
        self.hear(0, Have((HaveItem(0, 2, ANN.author),)))
        self.assertEqual(self.wants(self.tick(1.0)), [(0, 1, False)])

    def wants(self, effects: list[events.Effect]) -> list[tuple[int, int, bool]]:
        """Who is asked, from where on, and whether with holes."""
        return [
            (number, item.first, item.holes)
            for number, message in self.sent(effects, Want)
            for item in message.items  # type: ignore[union-attr]
        ]

    def wait(self, looks: int = 1) -> list[tuple[int, int, bool]]:
        """Who is asked in a while."""
        return self.wants(self.tick(looks * limits.STALL_SECONDS))

    def withhold(self, number: int = 0) -> list[events.Effect]:
        """A peer says that it can give nothing."""
        return self.hear(number, Have((HaveItem(0, 0, ANN.author),)))

    def test_when_nobody_else_has_it(self) -> None:
        """Not at once, since somebody may be about to say so; what comes then may have holes, and is only announced."""
        effects = self.withhold()
        self.assertFalse(self.replica.catch_up.of[self.replica.core.sessions[0]].is_caught_up)
        self.assertEqual(self.wants(effects + self.tick(limits.STALL_SECONDS - 1.0)), [])
        self.assertEqual(self.wait(), [(0, 1, True)])
        one, two = map(stripped, log(ANN, 2))
        effects = self.hear(0, one, two) + self.tick(1.0)
        self.assertEqual([e.head.seq for e in effects if isinstance(e, events.StoreSegment)], [1, 2])
        self.assertEqual(self.given(effects), [])
        self.assertEqual([number for number, _ in self.sent(effects, Have)], [1, 2])
        effects = self.commit(one, two)
        self.assertIn(events.FindHoles(0, None, limits.FILL_ROWS), effects)
        self.assertTrue([e for e in effects if isinstance(e, events.CaughtUp)])

    def test_who_asked_for_whole_ones(self) -> None:
        """Is told, and not given what has holes, although it is to be given the author's news."""
        self.hear(1, Want((WantItem(ANN.author, 1),)))
        self.withhold()
        self.wait()
        effects = self.hear(0, *map(stripped, log(ANN, 2))) + self.tick(1.0)
        self.assertEqual(self.given(effects), [])
        self.assertEqual([number for number, _ in self.sent(effects, Have)], [1, 2])

    def test_each_author_has_its_time(self) -> None:
        """A look for one comes too early for another."""
        self.withhold()
        self.tick(limits.STALL_SECONDS - 1.0)
        self.hear(2, Have((HaveItem(0, 1, BOB.author),)))
        self.tick(0.5)
        self.hear(2, Have((HaveItem(0, 0),)))
        self.assertEqual(self.wants(self.tick(1.0)), [(0, 1, True)])
        self.assertEqual([want for want in self.wait(2) if want[0] == 2], [(2, 1, True)])

    def test_not_for_what_comes_later(self) -> None:
        """News with holes is not taken, and is no offence either."""
        self.withhold()
        self.wait()
        one, two, three = map(stripped, log(ANN, 3))
        self.hear(0, one, two)
        self.commit(one, two)
        effects = self.hear(0, three)
        self.assertFalse([e for e in effects if isinstance(e, events.StoreSegment | events.PeerRejected)])
        self.assertEqual(self.wants(effects), [(0, 3, False)])

    def test_while_somebody_claims_it(self) -> None:
        """Nobody is asked for holes; who is late again and again does not count."""
        self.hear(1, Have((HaveItem(0, 2, ANN.author),)))
        self.assertEqual(self.wants(self.withhold()), [(1, 1, False)])
        self.assertEqual(self.wants(self.tick(limits.STALL_SECONDS / 2)), [])
        self.assertIn((0, 1, True), self.wait(20))

    def test_while_somebody_gives_it_slowly(self) -> None:
        """Who advances is waited for, however long it takes."""
        self.hear(0, Have((HaveItem(0, 9, ANN.author),)))
        self.hear(1, Have((HaveItem(0, 9, ANN.author),)))
        self.withhold()
        for segment in log(ANN, 8):
            self.hear(1, segment)
            self.commit(segment)
            self.assertEqual(self.wants(self.tick(limits.STALL_SECONDS - 1.0)), [])

    def test_somebody_had_it(self) -> None:
        """Then it is not asked for any more."""
        self.hear(1, Have((HaveItem(0, 2, ANN.author),)))
        self.withhold()
        segments = log(ANN, 2)
        self.hear(1, *segments)
        self.commit(*segments)
        self.assertEqual(self.wait(), [])
        self.assertFalse(self.replica.pulls.withdrawn)

    def test_who_has_not_even_that(self) -> None:
        """Is asked once."""
        self.withhold()
        self.assertEqual(self.wait(), [(0, 1, True)])
        self.withhold()
        self.assertEqual(self.wait(6), [])

    def test_own_logs(self) -> None:
        """What comes is not taken: it proves that they cannot be continued."""
        self.hear(0, Have((HaveItem(1, 2, OWN.author),)))
        self.hear(0, Have((HaveItem(1, 0),)))
        self.assertIn((0, 1, True), self.wait())
        effects = self.hear(0, *map(stripped, log(OWN, 2)))
        ahead = [e for e in effects if isinstance(e, events.OwnAhead)]
        self.assertEqual(ahead[0], events.OwnAhead(OWN.author, 1, proven=True))
        self.assertFalse([e for e in effects if isinstance(e, events.StoreSegment | events.PeerRejected)])
        self.assertEqual(self.replica.core.heads.accepted_seq(OWN.author), 0)

    def test_bounds(self) -> None:
        """What is withheld, and by whom, is bounded, and ends with the session."""
        with patch.object(limits, "MAX_OWED_AUTHORS", 2):
            for number in range(4):
                self.replica.pulls.withdrawn.note(0, bytes([number]) * 32, 1, self.now)
            self.assertEqual(len(self.replica.pulls.withdrawn._seqs), 2)
            session, holed = self.replica.core.sessions[0], self.replica.holed_pulls
            for number in range(4):
                holed.let_lack(session, bytes([number]) * 32)
                self.hear(0, Want((WantItem(bytes([number]) * 32, 1, True),)))
            self.assertTrue(holed.may_lack(session, bytes(32)))
            self.assertLessEqual(max(len(holed.of[session].authors), len(self.replica.sender.of[session])), 2)
        self.do(events.Closed(0))
        self.assertFalse(self.replica.pulls.withdrawn)
