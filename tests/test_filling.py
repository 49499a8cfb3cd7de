"""Ring 1: asking for missing payloads, giving them, and putting them where they belong."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import backlog, events
from gossiplog.gossip.allowance import hashed
from gossiplog.gossip.events import Effect
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.message_table import price
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    HaveItem,
    Lazy,
    Message,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.live.kept_choices import Change
from gossiplog.log.body import encode_body
from gossiplog.log.items import join, split
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import (
    Head,
    HoledRow,
    Segment,
    build,
    drop_payloads,
    has_holes,
    merge,
    toil_bytes,
    verify,
)
from gossiplog.store.interface import PutSegment
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Forget, RowFilled
from gossiplog.store.requests import FillRow as FillRequest
from gossiplog.testing.chain import Chain
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of
from tests.test_holes import stripped


class StoreTests(SynchronousTestCase):
    """What a segment brings into rows with holes."""

    def setUp(self) -> None:
        """A log of four segments, on disk without any payload."""
        self.backend = MemoryBackend()
        self.logs = Logs(self.backend)
        self.chain = Chain()
        puts = [self.chain.put(*[b"%d of %d" % (place, row) * 20 for place in range(5)]) for row in range(4)]
        self.segments = self.chain.segments
        self.backend.commit([PutSegment(stripped(put.segment), put.head) for put in puts])
        self.logs = Logs(self.backend.reopen())
        self.head = self.logs.clock.head(self.chain.author)

    def fill(self, *segments: Segment) -> list[RowFilled]:
        """In one transaction; nothing but payloads changes."""
        outcome = self.logs.process([FillRequest(segment) for segment in segments])
        self.assertEqual((outcome.segments, outcome.heads), ([], {}))
        report = self.logs.verify()
        self.assertTrue(report.ok)
        self.assertEqual(report.holes, self.logs.holes())
        self.assertEqual(self.logs.clock.head(self.chain.author), self.head)
        return [result._replace(vain_bytes=0) for result in outcome.results]  # type: ignore[union-attr,call-arg]

    def rows(self) -> list[Segment]:
        """What is on disk."""
        return self.logs.segments(self.chain.author, 1, 1 << 20)

    def test_whole_parts_and_more(self) -> None:
        """A row, parts of two, all at once; each in one transaction."""
        self.assertEqual(self.fill(self.segments[1]), [RowFilled(6, 10, 5, True)])
        self.assertEqual(self.rows()[1], self.segments[1])
        self.assertEqual(self.fill(self.segments[1]), [RowFilled()])
        part = drop_payloads(merge(self.segments[:3]), [1, 2, 11, 13])
        self.assertEqual(self.fill(part), [RowFilled(3, 15, 6, True)])
        both = self.fill(merge(self.segments), *self.segments)
        self.assertEqual(both, [RowFilled(1, 20, 9), *[RowFilled()] * 4])
        self.assertEqual(self.rows(), self.segments)
        self.assertEqual(self.logs.holes(), {})

    def test_what_was_not_signed(self) -> None:
        """Another body, another place, garbage: nothing, whatever its signature says."""
        before = self.rows()
        other = Chain()
        other.put(*[b"another"] * 5)
        for bad in (
            other.segments[0],
            self.segments[1]._replace(first=1),
            self.segments[0]._replace(bodies=b"\xc1"),
            self.segments[0]._replace(count=4097),
            stripped(self.segments[0]),
        ):
            self.assertEqual(self.fill(bad), [RowFilled()])
        self.assertEqual(self.rows(), before)
        unsigned = self.segments[0]._replace(signature=bytes(64), previous=bytes(32))
        self.assertEqual(self.fill(unsigned), [RowFilled(1, 5, 5, True)])  # the hashes are signed
        self.assertEqual(self.rows()[0], self.segments[0])

    def test_of_a_log_that_is_deleted(self) -> None:
        """In the same transaction, before or after."""
        outcome = self.logs.process(
            [FillRequest(self.segments[0]), Forget(self.chain.author), FillRequest(self.segments[1])]
        )
        self.assertEqual(outcome.results[0::2], [RowFilled(), RowFilled()])
        self.assertEqual((self.logs.holes(), self.rows()), ({}, []))

    def test_a_row_too_long_for_its_bodies(self) -> None:
        """It ends where the segments ended that fill it; only where these are signed."""
        chain = Chain(2)
        puts = [chain.put(*[bytes([place]) * 3000 for place in range(20)]) for _ in range(10)]
        bare = merge([stripped(put.segment) for put in puts])
        self.logs.process([Accept(bare, chain.head)])
        self.head = self.logs.clock.head(self.chain.author)
        self.assertEqual(self.fill(chain.segments[0]._replace(signature=bytes(64)))[0].count, 20)
        for segment in chain.segments[1:]:
            self.fill(segment)
        self.fill(*chain.segments)
        rows = self.logs.segments(chain.author, 1, 1 << 30)
        self.assertEqual([body for row in rows for body in [row.bodies]].count(b""), 0)
        self.assertEqual(self.logs.holes().get(chain.author, 0), 0)
        self.assertEqual(sum(row.count for row in rows), 200)


class AskingTests(ReplicaCase):
    """FILL, as who lacks something sends it."""

    def setUp(self) -> None:
        """Ann's log is held without payloads; peers 0 to 2 are settled."""
        super().setUp()
        self.segments = log(ANN, 4)
        self.rows = tuple(HoledRow(ANN.author, number, 1, 1) for number in (1, 2, 4))
        self.heads.holed.add(ANN.author)
        for session in self.replica.core.sessions.values():
            self.replica.hole_filling.of[session].due = False
        self.clock.replace(ANN.author, verify(self.segments[-1]))
        self.heads.settle(ANN.author)

    def find(self, effects: list[Effect], rows: tuple[HoledRow, ...] | None = None) -> list[Effect]:
        """The disk says what is lacking, to who asks last."""
        [asked] = [effect for effect in effects if isinstance(effect, events.FindHoles)]
        found = self.rows if rows is None else rows
        return self.do(events.HolesFound(asked.session, found if asked.after is None else ()))

    def settle(self, number: int) -> list[Effect]:
        """A reconcile with this peer is done."""
        session = self.replica.core.sessions[number]
        self.replica.hole_filling.seek(session)
        return self.replica.core.take_effects()

    def head(self) -> Segment:
        """Says that nothing more comes."""
        return self.segments[-1]._replace(first=5, count=0, previous=verify(self.segments[-1]).id, bodies=b"")

    def test_one_after_the_other(self) -> None:
        """Neighbours as one range; the next peer when the first one is done."""
        effects = self.find(self.settle(0))
        self.assertEqual(self.sent(effects, Fill), [(0, Fill(ANN.author, ((1, 2), (4, 4))))])
        self.assertEqual(self.settle(1), [])
        effects = self.hear(0, self.segments[0])
        self.assertEqual(
            [e for e in effects if isinstance(e, events.FillHoles)],
            [events.FillHoles(0, self.segments[0], is_answer=True)],
        )
        self.assertEqual(self.sent(effects, Lazy), [])
        self.assertEqual(self.hear(0, self.head()), [])  # what it brought is not on disk yet
        effects = self.do(events.HolesFilled(0, ANN.author, 1, 1, 1, 2))
        self.assertIn(events.PayloadsFilled(ANN.author, 1, 1), effects)
        self.assertEqual(self.sent(self.find(effects, self.rows[1:]), Fill)[0][0], 1)

    def test_whenever_it_is_settled(self) -> None:
        """Since nothing was to be compared, or at the end of a reconcile; not before."""
        asks = [events.FindHoles(7, None, limits.FILL_ROWS)]
        self.assertEqual([e for e in self.open(7) if isinstance(e, events.FindHoles)], asks)
        for number in (0, 1, 2, 7):
            self.do(events.Closed(number))
        greeted = self.open(7, root=b"another root 123")
        self.replica.hole_filling.seek_of(ANN.author)  # it came without, from somebody else
        self.assertEqual([e for e in greeted + self.do(events.Tick()) if isinstance(e, events.FindHoles)], [])
        settled = self.hear(7, Ranges(1, (Range(b"", RangeKind.LIST),)))
        self.assertEqual([e for e in settled if isinstance(e, events.FindHoles)], asks)

    def test_who_does_not_answer(self) -> None:
        """Is asked again after the others, later each time, and then no more."""
        self.find(self.settle(0))
        self.settle(1)
        effects = self.tick(limits.STALL_SECONDS)
        self.assertEqual([number for number, _ in self.sent(self.find(effects), Fill)], [1])
        effects = self.hear(1, self.head())
        effects = self.find(effects, ())  # the second has been asked for everything
        asked = []
        for _ in range(100):
            for effect in effects:
                if isinstance(effect, events.FindHoles):
                    asked.append(self.now)
                    self.do(events.HolesFound(effect.session, self.rows))
            for number in range(3):
                self.hear(number, Have(()))
            effects = self.tick(limits.STALL_SECONDS)
        self.assertEqual(len(asked), 4)
        waits = [later - earlier for earlier, later in pairwise(asked)]
        self.assertEqual(waits, sorted(waits))
        self.assertGreaterEqual(waits[-1], limits.STALL_MOST_SECONDS / 2)

    def test_how_long_one_is_let_be_that_does_not_answer(self) -> None:
        """As long as it was waited for, twice as long each time, then for good; until it is settled again."""
        for number in (1, 2):
            self.do(events.Closed(number))
        for _ in range(2):
            effects, asked = self.settle(0), []
            for _ in range(100):
                if [e for e in effects if isinstance(e, events.FindHoles)]:
                    asked.append(self.now)
                    self.find(effects)
                self.hear(0, Have(()))
                effects = self.tick(limits.STALL_SECONDS)
            waits = [(later - earlier) / limits.STALL_SECONDS for earlier, later in pairwise(asked)]
            self.assertEqual(waits, [2, 4, 8, 16])

    def test_who_has_nothing_at_all(self) -> None:
        """Says so with a HAVE of seq 0, or knows a fork; then it is the next one's turn."""
        for answer in (Have((HaveItem(0, 0, ANN.author),)), Fork(proof_of(ANN))):
            self.setUp()
            self.find(self.settle(0))
            self.settle(1)
            effects = self.hear(0, answer)
            self.assertEqual([e.session for e in effects if isinstance(e, events.FindHoles)], [1])
            self.assertEqual(self.replica.hole_filling.of[self.replica.core.sessions[0]].open, {})

    def test_who_did_not_answer_comes_after_who_does(self) -> None:
        """Also when its time has come."""
        self.find(self.settle(0))
        self.settle(1)
        self.assertEqual(self.sent(self.find(self.tick(limits.STALL_SECONDS)), Fill)[0][0], 1)
        self.replica.hole_filling._fills_pending += 1
        self.tick(limits.STALL_SECONDS - 1.0)
        self.do(events.HolesFilled(1, ANN.author, 1, 1, 1, 2))
        self.tick(limits.STALL_SECONDS - 1.0)
        self.assertLess(self.replica.hole_filling.of[self.replica.core.sessions[0]].not_before, self.now)
        effects = self.hear(1, self.head())
        self.assertEqual([e.session for e in effects if isinstance(e, events.FindHoles)], [1])

    def test_answers_may_have_holes(self) -> None:
        """Also beyond our head, where they are not taken; afterwards, and of other authors, it is an offence."""
        self.find(self.settle(0))
        more = log(ANN, 6)
        want = Want((WantItem(ANN.author, 5),))  # perhaps it has it whole
        self.assertEqual(self.sent(self.hear(0, stripped(more[4])), Want), [(0, want)])
        self.assertEqual(self.heads.accepted_seq(ANN.author), 4)
        self.assertIn(0, self.replica.core.sessions)
        self.hear(0, stripped(log(BOB, 1)[0]))
        self.assertNotIn(0, self.replica.core.sessions)
        self.hear(1, stripped(more[4]))
        self.assertNotIn(1, self.replica.core.sessions)

    def test_what_goes_by(self) -> None:
        """Any old segment is looked at, at the expense of who sends it; without holes none is."""
        [fill] = [e for e in self.hear(2, self.segments[0]) if isinstance(e, events.FillHoles)]
        self.assertEqual(fill.session, 2)
        effects = self.do(events.HolesFilled(2, ANN.author, 1, 1, 1, 0))
        self.assertEqual(self.heads.holed, set())
        self.assertEqual([e for e in self.hear(2, self.segments[0]) if isinstance(e, events.FillHoles)], [])
        self.assertIn(events.PayloadsFilled(ANN.author, 1, 1), effects)

    def test_what_it_costs_who_sends_it(self) -> None:
        """What nobody asked for is looked into at the expense of its sender: for payloads, or since it has none."""
        self.find(self.settle(0))
        for place in (0, 1, 3):
            self.assertEqual(self.points(0, self.segments[place]), 0)
        self.assertGreater(
            self.points(0, self.segments[0]), hashed(self.segments[0])
        )  # once more than asked for
        self.hear(0, self.head())
        points = self.points(2, self.segments[0])
        self.assertAlmostEqual(points, price(self.segments[0]) + hashed(self.segments[0]))
        more = stripped(log(ANN, 5)[4])
        self.assertAlmostEqual(self.points(0, more), price(more) + hashed(more))
        allowance = self.replica.core.sessions[0].allowance
        allowance.spend(100)
        before = allowance._points
        self.do(events.HolesFilled(0, ANN.author, 1, 1, 1, 2))
        self.assertAlmostEqual(allowance._points - before, 2 * (1 + 1 / 256))  # what it brought pays twice

    def test_what_comes_along_with_it(self) -> None:
        """Costs its sender something: of rows that are large a small part may have been asked for."""
        [row], head = build(ANN, Head(0, genesis_id(ANN.author)), [encode_body(n, b"") for n in range(3000)])
        self.clock.replace(ANN.author, head)
        self.heads.settle(ANN.author)
        self.find(self.settle(0), (HoledRow(ANN.author, 1, 440, 1),))
        self.assertAlmostEqual(self.points(0, row), 2560 / 256)

    def points(self, number: int, message: Message) -> float:
        """How many a message costs its sender."""
        allowance = self.replica.core.sessions[number].allowance
        before = allowance._points
        self.hear(number, message)
        return before - allowance._points

    def test_a_peer_that_gets_more_later(self) -> None:
        """Says so, and is asked again; others are not."""
        self.find(self.settle(0))
        self.find(self.hear(0, self.head()), ())
        have = Have((HaveItem(0, 4, ANN.author),))
        self.assertEqual(self.hear(1, have), [])
        self.hear(0, have)
        effects = self.find(self.tick(1.0), (HoledRow(BOB.author, 1, 1, 1), *self.rows))
        asked = [(number, fill.author) for number, fill in self.sent(effects, Fill)]  # type: ignore[union-attr]
        self.assertEqual(asked, [(0, ANN.author)])

    def test_a_peer_that_says_so_in_vain(self) -> None:
        """Is asked later each time; at once again when it gave something."""
        self.find(self.settle(0))
        self.find(self.hear(0, self.head()), ())
        waited = []
        for turn in range(6):
            self.hear(0, Have((HaveItem(0, 5 + turn, ANN.author),)))
            waited.append(
                round(self.replica.hole_filling.of[self.replica.core.sessions[0]].not_before - self.now, 2)
            )
            self.find(self.tick(waited[-1] + 0.01))
            if turn == 4:
                self.hear(0, self.segments[0])
                self.do(events.HolesFilled(0, ANN.author, 1, 1, 1, 2))
            self.find(self.hear(0, self.head()), ())
        self.assertEqual(waited, [0.05, 0.1, 0.2, 0.4, 0.8, 0.05])

    def test_rows_of_a_turn(self) -> None:
        """So many are looked for at once."""
        [asked] = self.settle(0)
        self.assertEqual(asked, events.FindHoles(0, None, limits.FILL_ROWS))

    def test_very_many_gaps(self) -> None:
        """One FILL speaks of them all, with some of what is between: it has an end."""
        rows = tuple(HoledRow(ANN.author, 2 * number, 1, 1) for number in range(1, 300))
        [(_, fill)] = self.sent(self.find(self.settle(0), rows), Fill)
        assert isinstance(fill, Fill)
        self.assertEqual(len(fill.ranges), limits.MAX_FILL_RANGES)
        self.assertTrue(all(any(a <= row.first <= b for a, b in fill.ranges) for row in rows))

    def test_too_many_authors(self) -> None:
        """Are not remembered, but asked for."""
        with patch.object(limits, "MAX_HOLED_AUTHORS", 1):
            effects = self.find(self.settle(0), (*self.rows, HoledRow(BOB.author, 1, 1, 1)))
            self.assertEqual(len(self.sent(effects, Fill)), 2)
            self.assertEqual(self.heads.holed, {ANN.author})


class GivingTests(ReplicaCase):
    """FILL, as who has something answers it."""

    def setUp(self) -> None:
        """Three entries of ours and of Ann's on disk, her second without its payload."""
        super().setUp()
        self.ours, self.anns = log(OWN, 3), log(ANN, 3)
        self.anns[1] = stripped(self.anns[1])
        self.logs = Logs(MemoryBackend())
        self.logs.process([Accept(segment, verify(segment)) for segment in self.ours + self.anns])
        for segments in (self.ours, self.anns):
            self.clock.replace(segments[-1].author, verify(segments[-1]))
            self.heads.settle(segments[-1].author)

    def load(self, effects: list[Effect]) -> list[Effect]:
        """The disk answers until it is not asked any more."""
        done = []
        while effects:
            effect = effects.pop(0)
            done.append(effect)
            if isinstance(effect, events.LoadPayloads):
                number, author, ranges, limit = effect
                head = self.logs.clock.head(author)
                found = backlog.payloads(author, ranges, limit, self.logs.segments, head)
                effects += self.do(events.PayloadsLoaded(number, author, found))
        return done

    def test_what_there_is(self) -> None:
        """And then the signed head."""
        effects = self.load(self.hear(0, Fill(ANN.author, ((3, 9), (1, 2)))))
        given = [message for _, message in self.sent(effects, Segment)]
        head = verify(self.anns[-1])
        end = Segment(ANN.author, 4, 0, head.id, self.anns[-1].signature, b"")
        self.assertEqual(given, [self.anns[0], self.anns[2], end])
        self.assertEqual(verify(end), head)
        self.assertEqual(self.sent(self.hear(0, Fill(BOB.author, ((1, 1),))), Have)[0][1].items[0].seq, 0)  # type: ignore[union-attr]

    def test_what_it_costs_who_asks(self) -> None:
        """One, and more for what is read and sent."""
        allowance = self.replica.core.sessions[0].allowance
        before = allowance._points
        given = [
            message for _, message in self.sent(self.load(self.hear(0, Fill(ANN.author, ((1, 3),)))), Segment)
        ]
        self.assertEqual(len(given), 3)
        work = sum(map(toil_bytes, [*self.anns, self.anns[-1]]))  # for the signed head its row is read again
        self.assertAlmostEqual(before - allowance._points, 0.1 + 1 / 128 + work / (64 * 1024))

    def test_what_it_costs_where_nothing_is(self) -> None:
        """As much, though no row has a payload, or only some; beyond the end of the log nothing is looked for."""
        start = Head(0, genesis_id(BOB.author))
        [full], head = build(BOB, start, [encode_body(number, b"") for number in range(3000)])
        [mixed], head = build(BOB, head, [encode_body(number, b"") for number in range(1024)])
        holes = [
            item if number else split(mixed.count, mixed.bodies)[0]
            for number, item in enumerate(split(mixed.count, stripped(mixed).bodies))
        ]
        rows = [stripped(full), mixed._replace(bodies=join(holes))]
        self.logs.process([Accept(row, verify(row)) for row in rows])
        self.clock.replace(BOB.author, head)
        self.heads.settle(BOB.author)
        allowance = self.replica.core.sessions[0].allowance
        first, second = map(toil_bytes, rows)
        for ranges, given, work in (
            (((1, 1),), 1, first + second),
            (((1, 2**50),), 2, first + second + second),
            (tuple((5000 + 2 * n, 5000 + 2 * n) for n in range(256)), 1, second),
        ):
            before = allowance._points
            effects = self.load(self.hear(0, Fill(BOB.author, ranges)))
            self.assertEqual(len(self.sent(effects, Segment)), given)
            self.assertAlmostEqual(before - allowance._points, 0.1 + len(ranges) / 128 + work / 65536)

    def test_of_one_that_forked(self) -> None:
        """The proof, and nothing else."""
        self.freeze(proof_of(ANN))
        effects = self.hear(0, Fill(ANN.author, ((1, 3),)))
        self.assertEqual(self.sent(effects, Fork), [(0, Fork(proof_of(ANN)))])
        self.assertEqual([e for e in effects if isinstance(e, events.LoadPayloads)], [])

    def test_parts_of_a_row(self) -> None:
        """A row with some of its payloads is given with its holes."""
        chain = Chain(3)
        segment, head = chain.put(b"one", b"two")
        holed = drop_payloads(segment, [2])
        self.logs.process([Accept(holed, head)])
        for ranges in ([(1, 1)], [(1, 1), (2, 2)]):
            found = backlog.payloads(chain.author, ranges, 1000, self.logs.segments, head)
            self.assertEqual((found.segments[:-1], found.left, found.is_whole), ((holed,), (), False))
        self.assertTrue(has_holes(found.segments[0]))

    def test_a_limited_read(self) -> None:
        """Goes on where it ended, and ends once."""
        given: list[Segment] = []
        rest: tuple[tuple[int, int], ...] = ((1, 1), (2, 3))
        while rest:
            found = backlog.payloads(
                OWN.author, rest, 1, self.logs.segments, self.logs.clock.head(OWN.author)
            )
            given += found.segments
            rest = found.left
        self.assertEqual([segment.count for segment in given], [1, 1, 1, 0])

    def test_own_entries_wait_until_settled(self) -> None:
        """As for any question."""
        self.open(7, root=b"another root 123")
        self.assertEqual(self.hear(7, Fill(OWN.author, ((1, 3),))), [])
        self.assertTrue(self.hear(0, Fill(OWN.author, ((1, 3),))))

    def test_too_much_at_once(self) -> None:
        """Is passed over; what was asked for stays within its bound."""
        giving = self.replica.giving.of[self.replica.core.sessions[0]]
        giving.is_reading = True
        with patch.object(limits, "MAX_ASKED_RANGES", 4):
            for number in range(6):
                self.clock.replace(bytes([number]) * 32, Head(1, bytes(32)))
                self.hear(0, Fill(bytes([number]) * 32, ((1, 1), (3, 3))))
        self.assertEqual(len(giving.asked), 2)
        self.hear(0, Fill(bytes(32), ((2, 2),)))
        self.assertEqual((giving.asked[bytes(32)], giving.ranges), (((2, 2),), 3))

    def test_no_faster_than_the_allowance_grows(self) -> None:
        """Who asks for more than half of it waits, and is answered all the same."""
        session = self.replica.core.sessions[0]
        session.allowance.spend(limits.ALLOWANCE_POINTS * 0.6)
        self.assertEqual(self.hear(0, Fill(ANN.author, ((1, 3),))), [])
        self.assertEqual(self.tick(limits.GIVE_SECONDS), [])
        effects = self.load(self.tick(10.0))
        self.assertEqual(len(self.sent(effects, Segment)), 3)
        self.assertIn(0, self.replica.core.sessions)

    def test_more_later(self) -> None:
        """Who did not get all is told when there is more, even if it says that it holds the same."""
        self.load(self.hear(0, Fill(ANN.author, ((1, 3),))))
        self.load(self.hear(1, Fill(ANN.author, ((1, 1),))))
        self.replica.hole_filling._fills_pending += 1
        self.do(events.HolesFilled(2, ANN.author, 2, 2, 1, 0))
        self.hear(0, Have((HaveItem(0, 3, ANN.author),)))
        effects = self.tick(1.0)
        self.assertEqual([number for number, _ in self.sent(effects, Have)], [0])

    def test_hopes_are_bounded(self) -> None:
        """The oldest is forgotten."""
        session = self.replica.core.sessions[0]
        giving, lacking = self.replica.giving.of[session], self.replica.hole_filling.of[session]
        with patch.object(limits, "MAX_HOPES", 2):
            for number in range(5):
                author = bytes([number]) * 32
                giving.fell_short(author)
                self.replica.announcer.insist(session, author)
                lacking.open[author] = None
                lacking.answered(author, 0.0)
        self.assertEqual([*giving.short], [bytes([number]) * 32 for number in (3, 4)])
        self.assertEqual([*lacking.hopes], [*giving.short])
        self.assertEqual(len(self.replica.announcer.of[session].even_if_known), 2)

    def test_who_is_wanted_no_more(self) -> None:
        """By who asked, or by us, or since it forked: nothing more of it, whether asked for, being read or ready."""
        fill = Fill(ANN.author, ((1, 3),))
        again = Lazy((ANN.author,))
        proof = proof_of(ANN)
        ends = {
            "refused": lambda: self.hear(0, Refuse((ANN.author,))),
            "blocked": lambda: self.choose(Choices.block, ANN.author),
            "forked": lambda: self.hear(1, Fork(proof)),
        }
        for name, end in ends.items():
            for stage in ("asked", "read", "ready", "before"):
                self.setUp()
                session = self.replica.core.sessions[0]
                if stage == "asked":
                    session.outbox.loading = {BOB.author: 1}
                elif stage == "ready":
                    session.outbox.credit_bytes = 0
                elif stage == "before":
                    end()
                effects = self.hear(0, fill)
                found = backlog.payloads(
                    ANN.author, [(1, 3)], 1 << 20, self.logs.segments, self.logs.clock.head(ANN.author)
                )
                if stage == "ready":
                    self.do(events.PayloadsLoaded(0, ANN.author, found))
                    self.assertTrue(session.outbox.payloads)
                if stage != "before":
                    effects = end()
                session.outbox.loading = {}
                if stage == "read":
                    effects += self.do(events.PayloadsLoaded(0, ANN.author, found))
                effects += self.do(events.Writable(0)) + self.hear(0, again)
                self.assertEqual(self.sent(effects, Segment), [], (name, stage))
                self.assertEqual(
                    [e for e in effects if isinstance(e, events.LoadPayloads)], [], (name, stage)
                )
                giving = self.replica.giving.of[session]
                self.assertEqual((giving.asked, giving.ranges), ({}, 0))
                self.assertEqual((len(session.outbox.payloads), session.outbox.payload_bytes), (0, 0))

    def choose(self, change: Change, author: bytes) -> list[Effect]:
        """The owner of the node chooses."""
        change(self.replica.interest.choices, [author])
        return self.do(events.InterestChanged((author,)))

    def test_in_turns_with_backlog(self) -> None:
        """Neither waits for the end of the other."""
        outbox = self.replica.core.sessions[0].outbox
        outbox.give(self.anns)
        outbox.ready.extend(self.ours)
        for segment in self.ours:
            outbox.ready_bytes += 192 + len(segment.bodies)
            outbox._ready_of[segment.author] += 1
        taken = [sent.author == ANN.author for sent in outbox.take()]
        self.assertEqual(taken[:4].count(True), 2)
        self.assertEqual(len(taken), 6)
