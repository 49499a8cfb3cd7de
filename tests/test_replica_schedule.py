"""Ring 1: who is asked for what."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip.claims import BURIED_AT_ONCE
from gossiplog.gossip.pull_scheduler import PullScheduler

A, B, C, D = (bytes([number]) * 32 for number in (1, 2, 3, 4))
STALL = limits.STALL_SECONDS


class ScheduleCase(SynchronousTestCase):
    """A schedule with three open sessions of a node that holds nothing."""

    def setUp(self) -> None:
        """Sessions 1, 2 and 3."""
        self.held: dict[bytes, int] = {}
        self.schedule = PullScheduler()
        for session in (1, 2, 3):
            self.schedule.add(session)

    def wants(self, now: float = 0.0) -> dict[int, list[bytes]]:
        """What is newly asked, by session."""
        return dict(self.schedule.next_wants(lambda author: self.held.get(author, 0), now))

    def missing(self, session: int) -> dict[bytes, int]:
        return dict(self.schedule.missing(session).items())

    def accept(self, session: int, author: bytes, seq: int, now: float = 0.0) -> None:
        """A segment took us there."""
        self.held[author] = seq
        self.schedule.accepted(session, author, seq, now)


class PullTests(ScheduleCase):
    """One source per author."""

    def test_one_source_per_author(self) -> None:
        """However many claim it."""
        for session in (1, 2, 3):
            self.schedule.claim(session, A, 5)
        self.assertEqual(self.wants(), {1: [A]})
        self.assertEqual(self.wants(), {})
        self.assertTrue(self.schedule.pulls(1, A))
        self.assertFalse(self.schedule.pulls(2, A))

    def test_authors_are_spread(self) -> None:
        """Sessions that claim the same take turns."""
        authors = [bytes([number]) * 32 for number in range(9)]
        for session in (1, 2, 3):
            for author in authors:
                self.schedule.claim(session, author, 1)
        wants = self.wants()
        self.assertEqual({session: len(found) for session, found in wants.items()}, {1: 3, 2: 3, 3: 3})
        self.assertEqual(sorted(a for found in wants.values() for a in found), authors)

    def test_what_is_to_come_first(self) -> None:
        """Our own log, before all that was claimed earlier."""
        with patch.object(limits, "OPEN_WANTS_PER_PEER", 1):
            for author in (A, B):
                self.schedule.claim(1, author, 1)
            self.schedule.claim(1, C, 1, first=True)
            self.assertEqual(self.wants(), {1: [C]})

    def test_so_many_open_at_once(self) -> None:
        """More are asked when half of them are served."""
        authors = [number.to_bytes(32, "big") for number in range(4 * limits.OPEN_WANTS_PER_PEER)]
        for author in authors:
            self.schedule.claim(1, author, 1)
        opened = self.wants()[1]
        self.assertEqual(len(opened), limits.OPEN_WANTS_PER_PEER)
        for author in opened[: limits.OPEN_WANTS_PER_PEER // 2 - 1]:
            self.accept(1, author, 1)
            self.assertEqual(self.wants(), {})
        self.accept(1, opened[-1], 1)
        self.assertEqual(len(self.wants()[1]), limits.OPEN_WANTS_PER_PEER // 2)

    def test_what_is_accepted_already_is_not_asked(self) -> None:
        """Though it is not durable yet."""
        self.held[A] = 5
        self.schedule.claim(1, A, 5)
        self.assertEqual(self.wants(), {})
        self.assertEqual(self.missing(1), {A: 5})

    def test_served_by_another_than_the_one_asked(self) -> None:
        """The author is closed all the same."""
        self.schedule.claim(1, A, 5)
        self.wants()
        self.accept(2, A, 5)
        self.assertEqual(self.schedule.pulled_from, {})
        self.assertEqual(self.wants(), {})

    def test_who_claims_more_is_asked_next(self) -> None:
        """When the first source gave all it had."""
        self.schedule.claim(1, A, 5)
        self.schedule.claim(2, A, 9)
        self.assertEqual(self.wants(), {1: [A]})
        self.accept(1, A, 5)
        self.assertEqual(self.wants(), {2: [A]})

    def test_claims_end_when_durable(self) -> None:
        """Not before: what is accepted may be lost."""
        self.schedule.claim(1, A, 5)
        self.schedule.claim(2, A, 6)
        self.wants()
        self.accept(1, A, 6)
        self.schedule.durable(A, 4)
        self.assertEqual(self.missing(1), {A: 5})
        self.schedule.durable(A, 5)
        self.assertEqual((self.missing(1), self.missing(2)), ({}, {A: 6}))
        self.schedule.durable(A, 6)
        self.assertEqual([*self.schedule.claimed], [])

    def test_durable_by_an_own_append_closes_what_is_open(self) -> None:
        """A local log that grew past a claim is pulled no longer."""
        self.schedule.claim(1, A, 5)
        self.wants()
        self.schedule.durable(A, 5)
        self.assertEqual((self.schedule.pulled_from, self.schedule.sources[1].open), ({}, {}))

    def test_session_that_ends(self) -> None:
        """Its authors are asked elsewhere."""
        for session in (1, 2):
            for author in (A, B):
                self.schedule.claim(session, author, 1)
        self.assertEqual(self.wants(), {1: [A], 2: [B]})
        self.schedule.remove(1)
        self.assertEqual(self.wants(), {2: [A]})
        self.schedule.remove(2)
        self.schedule.remove(2)
        self.assertEqual(([*self.schedule.claimed], self.schedule.pulled_from), ([], {}))

    def test_claims_are_bounded(self) -> None:
        """Of a peer that claims without end the first are remembered, our own always, and once that there were more."""
        with patch.object(limits, "MAX_CLAIMS", 2):
            self.schedule.claim(1, A, 1)
            self.schedule.claim(1, B, 1)
            self.schedule.claim(1, B, 2)
            self.schedule.claim(1, C, 1)
            self.assertEqual(self.missing(1), {A: 1, B: 2})
            self.schedule.claim(1, D, 1, first=True)
            self.assertEqual(self.missing(1), {A: 1, B: 2, D: 1})
        self.schedule.claim(2, C, 1)
        for author in (A, B, D):
            self.assertFalse(self.schedule.claimed_more(1))
            self.schedule.durable(author, 2)
        self.assertEqual([self.schedule.claimed_more(session) for session in (1, 1, 2)], [True, False, False])

    def test_forgetting_claims(self) -> None:
        """What is pulled stays, what has to be kept, and what is next; the tables shrink, and nobody looks in vain."""
        names = [number.to_bytes(32, "big") for number in range(5000)]
        for author in names:
            self.schedule.claim(1, author, 1)
            self.schedule.claim(2, author, 1)
        opened = self.wants()[1]
        before = self.schedule.held_bytes(1)
        keep = {names[-1]}
        self.schedule.forget(1, 300, keep)
        kept = self.missing(1)
        self.assertEqual(len(kept), 300)
        self.assertLessEqual({*opened, *keep, *names[300:400]}, kept.keys())
        self.assertLess(self.schedule.held_bytes(1), before / 5)
        self.assertEqual([self.schedule.claimants(names[at]) for at in (4000, -1)], [[2], [1, 2]])
        self.schedule.forget(1, 300, set())
        self.assertEqual(self.missing(1), kept)
        self.schedule.claim(1, names[4000], 1)
        self.assertEqual(sorted(self.schedule.claimants(names[4000])), [1, 2])

    def test_very_many_are_forgotten_with_time(self) -> None:
        """Each step takes some, and so does each new claim; claimed anew meanwhile, an author is remembered."""
        names = [number.to_bytes(32, "big") for number in range(3 * BURIED_AT_ONCE)]
        for author in names:
            self.schedule.claim(1, author, 1)
        self.schedule.claim(2, names[0], 1)
        table_bytes = self.schedule.table_bytes
        self.schedule.remove(1)
        self.assertEqual([self.schedule.claimants(author) for author in names[:2]], [[2], []])
        self.schedule.add(1)
        self.schedule.claim(1, names[1], 1)
        lefts = []
        while self.schedule.buries:
            lefts.append(len([*self.schedule.claimed]))
            self.schedule.bury()
        self.assertEqual(lefts, [2 * BURIED_AT_ONCE - 1 - 0, BURIED_AT_ONCE - 1])
        self.assertEqual(sorted(self.schedule.claimed), names[:2])
        self.assertEqual([self.schedule.claimants(author) for author in names[:2]], [[2], [1]])
        self.assertLess(self.schedule.table_bytes, table_bytes / 10)

    def test_pushed_is_remembered_but_not_asked(self) -> None:
        """News that was accepted is asked for only if it is lost."""
        self.assertTrue(self.schedule.hold(1, A, 5))
        self.assertFalse(self.schedule.hold(1, A, 4))
        self.assertEqual(self.wants(), {})
        self.schedule.reask([A])
        self.assertEqual(self.wants(), {1: [A]})


class StallTests(ScheduleCase):
    """Sources that do not deliver."""

    def setUp(self) -> None:
        """1 and 2 claim A; 1 is asked."""
        super().setUp()
        self.schedule.claim(1, A, 9)
        self.schedule.claim(2, A, 9)
        self.assertEqual(self.wants(100.0), {1: [A]})

    def test_patience_starts_with_the_question(self) -> None:
        """A session that was idle for long is not late at once."""
        self.assertFalse(self.schedule.stalled(100.0 + STALL - 0.1))
        self.assertTrue(self.schedule.stalled(100.0 + STALL))

    def test_moves_to_another(self) -> None:
        """And back again only after that one stalled too, with twice the patience."""
        self.schedule.stalled(100.0 + STALL)
        self.assertEqual(self.wants(105.0), {2: [A]})
        self.assertTrue(self.schedule.stalled(105.0 + STALL))
        self.assertEqual(self.wants(110.0), {1: [A]})
        self.assertFalse(self.schedule.stalled(110.0 + STALL))
        self.assertTrue(self.schedule.stalled(110.0 + 2 * STALL))

    def test_what_waited_is_asked_first(self) -> None:
        """Elsewhere it goes before what was claimed there earlier."""
        with patch.object(limits, "OPEN_WANTS_PER_PEER", 1):
            for author in (B, C):
                self.schedule.claim(2, author, 1)
            self.assertEqual(self.wants(104.0), {2: [B]})
            self.schedule.stalled(100.0 + STALL)
            self.accept(2, B, 1, 105.0)
            self.assertEqual(self.wants(105.0), {2: [A]})

    def test_progress_of_any_author_counts(self) -> None:
        """It is served, if slowly; and whoever else has A is busy as well."""
        for session, author in ((1, B), (2, C)):
            self.schedule.claim(session, author, 9)
        self.wants(100.0)
        for session, author in ((1, B), (2, C)):
            self.accept(session, author, 1, 104.0)
        self.assertFalse(self.schedule.stalled(104.0 + STALL - 0.1))

    def test_who_has_nothing_to_do_takes_over(self) -> None:
        """Whoever advances what it likes to, such as a log of its own, does not keep the rest from coming."""
        self.schedule.claim(1, B, 10**9)
        self.assertEqual(self.wants(100.0), {1: [B]})
        for step in range(1, 5):
            self.accept(1, B, step, 100.0 + step)
            self.assertFalse(self.schedule.stalled(100.0 + step))
        self.assertTrue(self.schedule.stalled(100.0 + STALL))
        self.assertEqual(self.wants(100.0 + STALL), {2: [A]})
        self.assertTrue(self.schedule.pulls(1, B))

    def test_who_was_late_more_often_takes_nothing_over(self) -> None:
        """From one that gets on, if with something else."""
        self.schedule.claim(1, B, 10**9)
        self.wants(100.0)
        self.schedule.sources[2].tardy = 1
        now = 100.0
        while now < 101.0 + limits.STALL_MOST_SECONDS:
            now += 1.0
            self.accept(1, B, int(now), now)
            self.assertFalse(self.schedule.stalled(now))

    def test_who_is_busy_takes_over_in_the_end(self) -> None:
        """In the longest time that anybody gets."""
        for session, author in ((1, B), (2, C)):
            self.schedule.claim(session, author, 10**9)
        self.wants(100.0)
        now = 100.0
        while now < 100.0 + limits.STALL_MOST_SECONDS - 1:
            now += 1.0
            for session, author in ((1, B), (2, C)):
                self.accept(session, author, int(now), now)
            self.assertFalse(self.schedule.stalled(now))
        self.assertTrue(self.schedule.stalled(now + 1.0))
        self.assertEqual(self.wants(now + 1.0), {2: [A]})

    def test_who_was_late_before_gets_no_more_time_than_others_need(self) -> None:
        """Its patience, doubled again and again, is for what nobody better has."""
        self.schedule.remove(2)
        now = 100.0
        while self.schedule.sources[1].patience < limits.STALL_MOST_SECONDS:
            now += 1.0
            self.schedule.stalled(now)
            self.wants(now)
        self.schedule.claim(3, A, 9)
        self.schedule.claim(3, B, 9)
        self.assertEqual(self.wants(now), {3: [B]})
        self.accept(3, B, 1, now + STALL - 1)
        self.assertTrue(self.schedule.stalled(now + STALL))
        self.assertEqual(self.wants(now + STALL), {3: [A]})

    def test_tardy_is_asked_last(self) -> None:
        """What others have goes to the others first."""
        self.schedule.stalled(100.0 + STALL)
        self.wants(105.0)
        for session in (1, 3):
            self.schedule.claim(session, B, 1)
        self.assertEqual(self.wants(105.0), {3: [B]})

    def test_making_up_for_it(self) -> None:
        """Serving all that was asked restores patience and place."""
        self.schedule.stalled(100.0 + STALL)
        self.schedule.remove(2)
        self.assertEqual(self.wants(105.0), {1: [A]})
        self.accept(1, A, 9)
        source = self.schedule.sources[1]
        self.assertEqual((source.tardy, source.patience), (0, STALL))

    def test_patience_is_bounded(self) -> None:
        """A liar is asked now and then; nobody is given up for good."""
        self.schedule.remove(2)
        asked, now = 0, 100.0
        while now < 1100.0:
            now += 1.0
            if self.schedule.stalled(now):
                asked += len(self.wants(now))
        self.assertTrue(1000 / limits.STALL_MOST_SECONDS - 1 < asked < 20, asked)

    def test_long_segment_under_way(self) -> None:
        """Its only source keeps it; if there is another, that one is asked."""
        self.schedule.trickled(1, 104.0)
        self.assertTrue(self.schedule.stalled(105.0))
        self.assertEqual(self.wants(105.0), {2: [A]})
        self.schedule.remove(1)
        self.schedule.trickled(2, 114.0)
        self.assertFalse(self.schedule.stalled(115.0))
        self.assertTrue(self.schedule.stalled(119.0))

    def test_our_own_pause_is_nobodys_fault(self) -> None:
        """While we did not read, nobody was late."""
        self.schedule.resume(150.0)
        self.assertFalse(self.schedule.stalled(150.0 + STALL - 0.1))


class LossTests(ScheduleCase):
    """What was accepted and is lost."""

    def test_everything_is_asked_again(self) -> None:
        """Open or done, as long as somebody claims it."""
        self.schedule.claim(1, A, 5)
        self.schedule.claim(1, B, 5)
        self.wants()
        self.accept(1, A, 5)
        self.held.clear()
        self.schedule.reask([A, B])
        self.assertEqual(sorted(self.wants()[1]), [A, B])

    def test_one_author(self) -> None:
        """The others go on undisturbed."""
        self.schedule.claim(1, A, 5)
        self.schedule.claim(1, B, 5)
        self.wants()
        self.accept(1, A, 5)
        self.held.clear()
        self.schedule.reask([A, C])
        self.assertEqual(self.wants(), {1: [A]})

    def test_claim_taken_back(self) -> None:
        """It frees the place, for others that claim it."""
        self.schedule.claim(1, A, 5)
        self.schedule.claim(2, A, 5)
        self.wants()
        self.schedule.drop(1, A)
        self.schedule.drop(1, A)
        self.assertEqual(self.wants(), {2: [A]})
        self.assertEqual(self.missing(1), {})
