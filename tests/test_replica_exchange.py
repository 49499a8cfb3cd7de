"""Ring 1: one replica, event by event: what it sends, writes, asks and waits for."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.allowance import FORK_POINTS, hashed
from gossiplog.gossip.events import Effect, End, Send
from gossiplog.gossip.message_table import price
from gossiplog.gossip.messages import (
    Fork,
    Have,
    HaveItem,
    Hello,
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
from gossiplog.gossip.session import Pause
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, segment_bytes, verify
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of


class RelayTests(ReplicaCase):
    """Who is given what, and when."""

    def test_news_go_to_everyone_else_before_they_are_durable(self) -> None:
        """And nobody is given them again when they are, however the commits are grouped."""
        one, two, three = log(ANN, 3)
        effects = self.hear(0, one, two, three)
        self.assertEqual(self.given(effects), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)])
        self.assertEqual([e.head.seq for e in effects if isinstance(e, events.StoreSegment)], [1, 2, 3])
        self.assertEqual(self.commit(one, two), [])
        self.assertEqual(self.commit(three), [])

    def test_news_bring_back_twice_what_they_cost(self) -> None:
        """As much as if they had been looked into for nothing."""
        allowance = self.replica.core.sessions[0].allowance
        allowance.spend(100)
        before = allowance._points
        [one] = log(ANN, 1, bytes(10_000))
        self.hear(0, one)
        earned = 2 * (1 + price(one) + hashed(one)) - price(one)
        self.assertAlmostEqual(allowance._points - before, earned)

    def test_own_appends_go_to_everyone_when_they_are_durable(self) -> None:
        """All of a commit, in order."""
        self.assertEqual(
            self.given(self.commit(*log(OWN, 2), done=False)),
            [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)],
        )

    def test_who_claims_it_is_not_given_it(self) -> None:
        """It told us that it holds this."""
        self.hear(1, Have((HaveItem(0, 1, ANN.author),)))
        self.assertEqual(self.given(self.hear(0, log(ANN, 1)[0])), [(2, 1)])

    def test_backlog_is_announced_and_not_pushed(self) -> None:
        """Others may have it; who asked for it is given it."""
        self.hear(2, Want((WantItem(ANN.author, 1),)))
        self.hear(0, Have((HaveItem(0, 2, ANN.author),)))
        self.tick(limits.GRAFT_SECONDS)
        effects = self.hear(0, *log(ANN, 2))
        self.assertEqual(self.given(effects), [(2, 1), (2, 2)])
        self.assertEqual(
            self.sent(self.tick(limits.ANNOUNCE_SECONDS), Have), [(1, Have((HaveItem(0, 2, ANN.author),)))]
        )

    def test_announcements_wait_for_each_other(self) -> None:
        """What is announced comes in one message, a little later; what a peer called lazy later than that."""
        for number in (1, 2):
            self.hear(number, Lazy((OWN.author,)))
        self.hear(0, Have((HaveItem(0, 1, ANN.author), HaveItem(1, 1, BOB.author))))
        self.tick(limits.GRAFT_SECONDS)
        effects = self.hear(0, log(ANN, 1)[0], log(BOB, 1)[0])
        effects += self.tick(limits.ANNOUNCE_SECONDS / 2)
        self.assertEqual(self.sent(effects, Have), [])
        told = self.sent(self.tick(limits.ANNOUNCE_SECONDS / 2), Have)
        self.assertEqual([(number, len(have.items)) for number, have in told], [(1, 2), (2, 2)])  # type: ignore[union-attr]
        effects = self.commit(log(OWN, 1)[0], done=False) + self.tick(limits.LAZY_ANNOUNCE_SECONDS * 0.9)
        self.assertEqual(self.sent(effects, Have), [])
        told = self.sent(self.tick(limits.LAZY_ANNOUNCE_SECONDS * 0.2), Have)
        self.assertEqual([number for number, _ in told], [1, 2])

    def test_not_back_to_where_it_came_from(self) -> None:
        """Although that is not remembered, since the peer claims too much."""
        with patch.object(limits, "MAX_CLAIMS", 0), patch.object(limits, "MIN_CLAIMS", 0):
            self.assertEqual(self.given(self.hear(0, log(ANN, 1)[0])), [(1, 1), (2, 1)])

    def test_lazy_and_refused(self) -> None:
        """Announced, or neither; WANT undoes both."""
        self.hear(1, Lazy((ANN.author,)))
        self.hear(2, Refuse((None,)))
        one, two = log(ANN, 2)
        self.assertEqual(self.given(self.hear(0, one)), [])
        self.assertEqual([number for number, _ in self.sent(self.tick(1.0), Have)], [1])
        self.hear(1, Want((WantItem(ANN.author, 2),)))
        self.assertEqual(self.given(self.hear(0, two)), [(1, 2)])

    def test_lazy_for_what_waits(self) -> None:
        """News that the transport did not take yet is announced instead."""
        with patch.object(limits, "OUTPUT_WINDOW_BYTES", 0), patch.object(limits, "NEWS_WINDOW_BYTES", 0):
            self.open(3)
        self.assertEqual(self.given(self.hear(0, log(ANN, 1)[0])), [(1, 1), (2, 1)])
        self.hear(3, Lazy((ANN.author,)))
        self.assertEqual(self.sent(self.tick(1.0), Have), [(3, Have((HaveItem(0, 1, ANN.author),)))])
        self.commit(log(ANN, 1)[0])
        self.assertEqual(self.do(events.Writable(3)), [])

    def test_want_is_always_answered(self) -> None:
        """By what is held, or by how far it is held."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        effects = self.hear(1, Want((WantItem(ANN.author, 2), WantItem(BOB.author, 1))))
        answer = Have((HaveItem(0, 1, ANN.author), HaveItem(1, 0, BOB.author)))
        self.assertEqual(self.sent(effects, Have), [(1, answer)])
        self.assertEqual(self.hear(1, Want((WantItem(ANN.author, 1),))), [])  # not durable yet
        effects = self.commit(one)
        [load] = [effect for effect in effects if isinstance(effect, events.Load)]
        self.assertEqual(load.wants, ((ANN.author, 1),))
        self.assertEqual(self.given(self.do(events.Loaded(1, (one,)))), [(1, 1)])
        self.assertEqual(self.given(self.hear(0, two)), [(1, 2), (2, 2)])

    def test_after_as_much_as_was_asked_for(self) -> None:
        """Nothing more of the author is sent, it is announced; until it is asked for again.  Others are pushed."""
        one, two, three, four = log(ANN, 4)
        self.hear(0, one, two)
        self.commit(one, two)
        self.hear(1, Want((WantItem(ANN.author, 1),), 1))
        self.assertEqual(self.given(self.do(events.Loaded(1, (one, two)))), [(1, 1)])
        held = Have((HaveItem(0, 2, ANN.author),))
        self.assertEqual(self.sent(self.tick(limits.LAZY_ANNOUNCE_SECONDS), Have), [(1, held)])
        self.assertEqual(self.given(self.hear(0, three)), [(2, 3)])
        self.assertEqual(self.given(self.hear(0, log(BOB, 1)[0])), [(1, 1), (2, 1)])
        self.commit(three)
        self.hear(1, Want((WantItem(ANN.author, 2),)))
        self.assertEqual(self.given(self.do(events.Loaded(1, (two, three)))), [(1, 2), (1, 3)])
        self.assertEqual(self.given(self.hear(0, four)), [(1, 4), (2, 4)])

    def test_what_was_forgotten_is_compared_in_the_end(self) -> None:
        """When the peer has taken what is still known that it is to get."""
        [one] = log(ANN, 1)
        self.commit(one)
        self.hear(0, Want((WantItem(ANN.author, 1),)))
        self.replica.core.sessions[0].outbox.overflowed = True
        self.assertEqual(self.do(events.Writable(0)), [])
        effects = self.do(events.Loaded(0, (one,)))
        said = [type(effect.message) for effect in effects if isinstance(effect, Send)]
        self.assertEqual(said, [Segment, Ranges])

    def test_a_log_that_cannot_be_read_is_not_tried_for_ever(self) -> None:
        """Whoever asked finds it elsewhere."""
        [one] = log(ANN, 1)
        self.hear(0, one)
        self.commit(one)
        [load] = self.hear(1, Want((WantItem(ANN.author, 1),)))
        self.assertIsInstance(load, events.Load)
        self.assertEqual(self.do(events.Loaded(1, ())), [])

    def test_what_comes_between_root_and_greeting(self) -> None:
        """News is owed, backlog announced: the root in our HELLO knew neither."""
        self.hear(2, Have((HaveItem(0, 1, BOB.author),)))
        self.tick(limits.GRAFT_SECONDS)
        opened = self.do(events.Opened(7, bytes([9]) * 32, bytes(32), dialled=False))
        [(_, hello)] = self.sent(opened, Hello)
        news, backlog = log(ANN, 1)[0], log(BOB, 1)[0]
        self.hear(0, news)
        self.hear(2, backlog)
        self.commit(news, backlog)
        effects = self.hear(7, Hello(1, 1, (), "test", bytes(16), root=hello.root))  # type: ignore[union-attr]
        self.assertEqual(self.sent(effects, Have), [(7, Have((HaveItem(0, 1, BOB.author),)))])
        [load] = [effect for effect in effects if isinstance(effect, events.Load)]
        self.assertEqual(load.wants, ((ANN.author, 1),))

    def test_what_was_accepted_before_the_session_began(self) -> None:
        """It is not in the root, and on its way to nobody new."""
        self.hear(0, log(ANN, 1)[0])
        self.assertEqual(self.sent(self.open(7), Have), [(7, Have((HaveItem(0, 1, ANN.author),)))])


class WriteTests(ReplicaCase):
    """Between accepting and the disk."""

    def test_reading_pauses_while_the_store_is_behind(self) -> None:
        """Headers count: many tiny segments are no way around it."""
        segments = log(ANN, 10)
        size = segment_bytes(segments[0])
        with (
            patch.object(limits, "PENDING_WRITE_BYTES", 5 * size),
            patch.object(limits, "PENDING_WRITE_LOW_BYTES", 2 * size),
        ):
            for number, segment in enumerate(segments[:6]):
                effects = self.hear(0, segment)
                reading = [effect for effect in effects if isinstance(effect, events.Reading)]
                self.assertEqual(reading, [events.Reading(0, False)] if number == 5 else [])
            self.assertIn(events.Reading(2, False), self.hear(2, segments[6]))
            self.assertNotIn(events.Reading(0, True), self.commit(*segments[:4]))
            effects = self.commit(segments[4])
            self.assertEqual(
                [effect for effect in effects if isinstance(effect, events.Reading)],
                [events.Reading(0, True), events.Reading(2, True)],
            )
            self.assertEqual([e for e in self.hear(1, segments[7]) if isinstance(e, events.Reading)], [])

    def test_who_is_asked_is_not_late_while_nothing_is_read(self) -> None:
        """However long that takes; from then on it has its whole time."""
        for number in (0, 1):
            self.hear(number, Have((HaveItem(0, 9, ANN.author),)))
        self.assertEqual(len(self.sent(self.tick(limits.GRAFT_SECONDS), Want)), 1)
        for segment, seconds in zip(
            log(BOB, 2), (3 * limits.STALL_SECONDS, limits.STALL_SECONDS / 2), strict=True
        ):
            with patch.object(limits, "PENDING_WRITE_BYTES", 0):
                self.assertIn(events.Reading(2, False), self.hear(2, segment))
            self.assertEqual(self.sent(self.tick(seconds), Want), [])
            self.assertIn(events.Reading(2, True), self.commit(segment))
            self.assertEqual(self.sent(self.tick(limits.STALL_SECONDS - 0.1), Want), [])
        self.assertEqual(len(self.sent(self.tick(limits.STALL_SECONDS), Want)), 1)

    def test_failed_commits_do_not_lose_count(self) -> None:
        """What is pending is what was not reported done, whatever became of it."""
        segments = log(ANN, 3)
        self.hear(0, *segments)
        for segment in segments:
            self.do(events.CommitFailed(False))
            self.do(events.Committed((), segment_bytes(segment)))
        self.assertEqual(self.replica.writes.pending_bytes, 0)

    def test_after_a_full_disk_everything_is_asked_again_in_a_while(self) -> None:
        """Also what was pushed and never claimed; but not at once, or it would go on at the pace of the network."""
        [one] = log(ANN, 1)
        self.hear(0, one)
        self.do(events.CommitFailed(False))
        self.do(events.Committed((), segment_bytes(one)))
        self.assertEqual(self.sent(self.hear(1, Have((HaveItem(0, 1, BOB.author),))), Want), [])
        wants = self.sent(self.tick(limits.RETRY_WRITE_SECONDS), Want)
        self.assertEqual(
            wants, [(0, Want((WantItem(ANN.author, 1),))), (1, Want((WantItem(BOB.author, 1),)))]
        )

    def test_nobody_waits_for_what_is_lost(self) -> None:
        """A peer that asked for entries we had accepted is owed nothing when they are lost."""
        self.hear(0, log(ANN, 1)[0])
        self.hear(1, Want((WantItem(ANN.author, 1),)))
        self.assertFalse(self.replica.core.sessions[1].outbox.idle)
        self.do(events.CommitFailed(False))
        self.assertTrue(self.replica.core.sessions[1].outbox.idle)

    def test_failing_again_and_again_leaves_one_timer(self) -> None:
        """However many writes were in the commit that failed."""
        for _ in range(50):
            self.do(events.CommitFailed(False))
        self.assertLess(len(self.replica.core._timers), 10)

    def test_failed_for_good(self) -> None:
        """Nothing is asked and nothing accepted any more; what is held is still served."""
        [one, two] = log(ANN, 2)
        self.hear(0, one)
        self.commit(one)
        self.do(events.CommitFailed(True))
        self.assertEqual(self.hear(0, two, Have((HaveItem(0, 9, BOB.author),))), [])
        allowance = self.replica.core.sessions[0].allowance
        before = allowance._points
        self.hear(0, two)
        self.assertEqual(allowance._points, before)  # it may be new, if not for our disk
        self.assertEqual(self.sent(self.tick(3 * limits.RETRY_WRITE_SECONDS), Want), [])
        [load] = self.hear(1, Want((WantItem(ANN.author, 1),)))
        self.assertIsInstance(load, events.Load)

    def test_a_write_that_came_too_late_is_asked_again(self) -> None:
        """An own append of a restored writer came first: the old entries have to be seen, they prove the fork."""
        old, new = log(OWN, 2, b"old"), log(OWN, 1, b"new")[0]
        self.hear(0, Ranges(1, (Range(b"", RangeKind.LIST),)), Have((HaveItem(0, 2, OWN.author),)))
        self.hear(0, *old)
        self.clock.replace(OWN.author, verify(new))
        effects = self.do(events.Committed((new,), 0, (OWN.author,)))
        self.assertEqual(self.sent(effects, Want), [(0, Want((WantItem(OWN.author, 2),)))])
        self.assertEqual(self.given(effects), [])
        self.assertEqual(self.hear(0, old[1]), [events.Examine(0, old[1])])


class RetryModelTests(ReplicaCase):
    """Commits that fail and succeed, peers that come and go: what is claimed is asked for in the end."""

    authors = [Keypair(bytes([100 + number]) * 32) for number in range(3)]

    def test_a_second_failure_before_the_retry(self) -> None:
        """The retry moves with it."""
        self.do(events.CommitFailed(False))
        self.do(events.CommitFailed(False), after=limits.RETRY_WRITE_SECONDS - 1.0)
        self.hear(0, Have((HaveItem(0, 1, BOB.author),)))
        self.assertEqual(self.sent(self.tick(limits.RETRY_WRITE_SECONDS - 0.5), Want), [])
        self.assertEqual(self.sent(self.tick(1.0), Want), [(0, Want((WantItem(BOB.author, 1),)))])

    def test_peers_that_come_after_all_others_left(self) -> None:
        """While the disk has its time nobody was there to be asked."""
        self.do(events.CommitFailed(False))
        for number in range(self.sessions):
            self.do(events.Closed(number))
        self.open(7)
        self.hear(7, Have((HaveItem(0, 1, BOB.author),)))
        self.assertEqual(
            self.sent(self.tick(limits.RETRY_WRITE_SECONDS), Want), [(7, Want((WantItem(BOB.author, 1),)))]
        )

    def test_any_order(self) -> None:
        """300 seeds; each failure names its own."""
        for seed in range(300):
            with self.subTest(seed=seed):
                self.setUp()
                self.some_steps(Random(seed))
                self.tick(2 * limits.STALL_MOST_SECONDS)
                schedule = self.replica.pulls.schedule
                for session in self.replica.core.open_sessions():
                    for author, seq in schedule.missing(session.number).items():
                        if seq > self.heads.accepted_seq(author):
                            self.assertIn(author, schedule.pulled_from)

    def some_steps(self, random: Random) -> None:
        """Up to thirty, half a second to a retry apart."""
        news: list[Segment] = []
        fresh = self.sessions
        for _ in range(random.randrange(1, 30)):
            numbers = [session.number for session in self.replica.core.open_sessions()]
            step = random.choice(("claim", "segment", "fail", "fail", "commit", "leave", "come"))
            if step == "come":
                self.open(fresh)
                fresh += 1
            elif step == "fail":
                self.do(events.CommitFailed(False))
                self.do(events.Committed((), sum(map(segment_bytes, news))))
                news.clear()
            elif step == "commit":
                self.commit(*news)
                news.clear()
            elif numbers:
                number, pair = random.choice(numbers), random.choice(self.authors)
                held = self.heads.accepted_seq(pair.author)
                if step == "leave":
                    self.do(events.Closed(number))
                elif step == "claim":
                    self.hear(number, Have((HaveItem(self.authors.index(pair), held + 2, pair.author),)))
                else:
                    segment = log(pair, held + 1)[held]
                    self.hear(number, segment)
                    news.append(segment)
            self.tick(random.choice((0.0, 0.0, 0.5, 3.0, limits.RETRY_WRITE_SECONDS)))


class OwnTests(ReplicaCase):
    """Entries of a local writer."""

    def test_wait_until_reconcile_has_settled(self) -> None:
        """With each peer for itself."""
        self.open(7, root=bytes(16))
        [one] = log(OWN, 1)
        self.assertEqual(self.given(self.commit(one, done=False)), [(0, 1), (1, 1), (2, 1)])
        self.assertEqual([e for e in self.do(events.Writable(7)) if isinstance(e, events.Load)], [])
        effects = self.hear(7, Ranges(1, (Range(b"", RangeKind.LIST),)))
        [load] = [effect for effect in effects if isinstance(effect, events.Load)]
        self.assertEqual(load.wants, ((OWN.author, 1),))

    def test_wait_while_the_peer_knows_more_of_them(self) -> None:
        """They are adopted first."""
        old = log(OWN, 3)
        self.hear(0, Have((HaveItem(0, 3, OWN.author),)), *old)
        self.hear(0, Want((WantItem(OWN.author, 1),)))
        self.assertEqual([e for e in self.commit(*old[:2]) if isinstance(e, events.Load)], [])
        [load] = [e for e in self.commit(old[2]) if isinstance(e, events.Load)]
        self.assertEqual((load.session, load.wants), (0, ((OWN.author, 1),)))


class ForkTests(ReplicaCase):
    """Proofs."""

    def test_a_proof_is_kept_and_passed_on(self) -> None:
        """To everyone but the one it came from, once."""
        proof = proof_of(ANN)
        effects = self.hear(0, Fork(proof))
        self.assertIn(events.StoreFork(proof), effects)
        self.assertIn(events.Forked(proof), effects)
        self.assertEqual(self.sent(effects, Fork), [(1, Fork(proof)), (2, Fork(proof))])
        self.assertEqual(self.hear(1, Fork(proof)), [])

    def test_a_new_one_costs_nothing(self) -> None:
        """And brings back twice what it takes to verify it."""
        allowance = self.replica.core.sessions[0].allowance
        allowance.spend(100)
        before = allowance._points
        self.hear(0, Fork(proof_of(ANN)))
        self.assertAlmostEqual(allowance._points - before, 2 * FORK_POINTS)

    def test_what_shows_one(self) -> None:
        """Brings back twice what it took to look into it, however long it is."""
        made = (
            build(BOB, Head(0, genesis_id(BOB.author)), [encode_body(n, text) for n in range(999)])
            for text in (b"l", b"r")
        )
        (left, _), (right, _) = made
        self.hear(1, *left)
        self.commit(*left)
        allowance = self.replica.core.sessions[0].allowance
        allowance._echo = 0.0
        allowance.spend(100)
        before = allowance._points
        [examine] = self.hear(0, *right)
        assert isinstance(examine, events.Examine)
        self.assertAlmostEqual(before - allowance._points, price(right[0]) + hashed(right[0]))
        pending = self.replica.writes.pending_bytes
        self.do(events.Examined(0, right[0], build_proof(left[0], right[0])))
        self.assertGreaterEqual(allowance._points - before, hashed(right[0]))
        self.assertLess(self.replica.writes.pending_bytes, pending)

    def test_two_that_find_it_at_once(self) -> None:
        """Who was told does not tell: it goes to the others."""
        proof = proof_of(ANN)
        self.replica.core.sessions[1].outbox.credit_bytes = 0
        effects = self.do(events.Examined(0, proof.segment, proof))
        self.assertEqual([number for number, _ in self.sent(effects, Fork)], [0, 2])
        self.hear(1, Fork(proof))
        self.assertEqual(self.sent(self.do(events.Writable(1)), Fork), [])

    def test_one_look_at_a_time(self) -> None:
        """At what is held of an author, however many branches come: each may be a full row."""
        [left], branches = log(ANN, 1, b"left"), [log(ANN, 1, bytes([number]))[0] for number in range(9)]
        self.hear(0, left)
        self.commit(left)
        effects = [effect for branch in branches for effect in self.hear(1, branch)]
        self.assertEqual(effects, [events.Examine(1, branches[0])])
        self.do(events.Examined(1, branches[0], None))
        self.assertEqual(self.hear(2, branches[1]), [events.Examine(2, branches[1])])

    def test_our_own_finding_goes_to_everyone(self) -> None:
        """Also to the one that relayed a side in good faith."""
        [left], [right] = log(ANN, 1, b"left"), log(ANN, 1, b"right")
        self.hear(0, left)
        self.commit(left)
        self.assertEqual(self.hear(1, right), [events.Examine(1, right)])
        effects = self.do(events.Examined(1, right, build_proof(left, right)))
        self.assertEqual([number for number, _ in self.sent(effects, Fork)], [0, 1, 2])
        self.assertEqual([e for e in effects if isinstance(e, End)], [])

    def test_nothing_more_of_a_forked_author(self) -> None:
        """Not accepted, not asked for, not announced, not relayed when a commit that was under way succeeds."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        self.hear(1, Have((HaveItem(0, 9, ANN.author),)))
        self.hear(2, Fork(proof_of(ANN)))
        self.assertEqual(self.hear(0, two), [])
        self.assertEqual(self.given(self.commit(one)), [])
        self.assertEqual(self.hear(0, two, log(ANN, 1, b"other")[0]), [])
        self.assertEqual(self.hear(1, Have((HaveItem(0, 10),))), [])
        self.assertEqual([*self.replica.pulls.schedule.claimed], [])

    def test_what_was_to_be_announced_of_it(self) -> None:
        """Is not: the proof says more."""
        self.hear(1, Lazy((ANN.author,)))
        self.hear(0, log(ANN, 1)[0])
        effects = self.hear(2, Fork(proof_of(ANN))) + self.tick(1.0)
        self.assertEqual([number for number, _ in self.sent(effects, Fork)], [0, 1])
        self.assertEqual(self.sent(effects, Have), [])

    def test_who_asks_for_a_forked_author_gets_the_proof(self) -> None:
        """However little it has of it."""
        proof = proof_of(ANN)
        self.hear(0, Fork(proof))
        effects = self.hear(1, Want((WantItem(ANN.author, 1), WantItem(BOB.author, 1))))
        self.assertEqual(self.sent(effects, Fork), [(1, Fork(proof))])
        self.assertEqual(self.sent(effects, Have), [(1, Have((HaveItem(0, 0, BOB.author),)))])

    def test_frozen_between_root_and_greeting(self) -> None:
        """The proof follows the greeting."""
        proof = proof_of(ANN)
        opened = self.do(events.Opened(7, bytes([9]) * 32, bytes(32), dialled=False))
        [(_, hello)] = self.sent(opened, Hello)
        self.assertNotIn(7, [number for number, _ in self.sent(self.hear(0, Fork(proof)), Fork)])
        effects = self.hear(7, Hello(1, 1, (), "test", bytes(16), root=hello.root))  # type: ignore[union-attr]
        self.assertEqual(self.sent(effects, Fork), [(7, Fork(proof))])


class AliveTests(ReplicaCase):
    """PING and PONG."""

    sessions = 1

    def pong(self, effects: list[Effect], root: bytes | None = None) -> list[Effect]:
        """Answer the PING among ``effects``, with our root or another."""
        [(number, ping)] = self.sent(effects, Ping)
        assert isinstance(ping, Ping)
        return self.hear(number, Pong(ping.token, ping.root if root is None else root))

    def test_silent_peer(self) -> None:
        """Asked after a while, closed after another."""
        self.assertEqual(self.sent(self.tick(limits.PING_SECONDS - 1.0), Ping), [])
        self.assertEqual(len(self.sent(self.tick(2.0), Ping)), 1)
        self.assertEqual([e for e in self.tick(limits.PING_DEADLINE_SECONDS - 2.0) if isinstance(e, End)], [])
        [end] = [e for e in self.tick(2.0) if isinstance(e, End)]
        self.assertEqual((end.session, end.code), (0, ByeCode.TIMEOUT))
        self.assertIsNone(self.replica.deadline)

    def test_whatever_comes_is_an_answer(self) -> None:
        """Even part of a message."""
        self.tick(limits.PING_SECONDS + 1.0)
        self.do(events.Heard(0))
        self.assertEqual([e for e in self.tick(limits.PING_DEADLINE_SECONDS) if isinstance(e, End)], [])

    def test_who_only_listens_speaks_now_and_then(self) -> None:
        """The other side has so much to send that its PING does not get through."""
        pings = 0
        for _ in range(100):
            self.do(events.Heard(0), after=1.0)
            pings += len(self.sent(self.tick(0.0), Ping))
        self.assertEqual(pings, 3)

    def test_while_we_do_not_read_nobody_is_late(self) -> None:
        """The answer may lie in our socket."""
        self.replica.core.sessions[0].pauses.add(Pause.STORE)
        effects = self.tick(10 * limits.PING_SECONDS)
        self.assertEqual([e for e in effects if isinstance(e, End)], [])

    def test_other_root_twice_in_quiet_starts_a_reconcile(self) -> None:
        """No lost message needs a restart."""
        self.assertEqual(self.sent(self.pong(self.tick(limits.PING_SECONDS), bytes(16)), Ranges), [])
        effects = self.pong(self.tick(limits.PING_SECONDS), bytes(16))
        self.assertEqual(len(self.sent(effects, Ranges)), 1)
        self.assertEqual(self.sent(self.pong(self.tick(limits.PING_SECONDS), bytes(16)), Ranges), [])

    def test_what_a_reconcile_does_not_settle(self) -> None:
        """Is compared again after twice the time, and so on; at once when something new came."""

        def waits() -> int:
            for pings in range(1, 100):
                if self.sent(self.pong(self.tick(limits.PING_SECONDS), bytes(16)), Ranges):
                    step = Ranges(1 + 2 * len(begun), (Range(b"", RangeKind.DIFFERENCES),))
                    begun.append(self.hear(0, step))
                    return pings
            return 100

        begun: list[object] = []
        self.assertEqual([waits() for _ in range(11)], [2, 2, 2, 2, 2, 3, 4, 6, 10, 19, 21])
        self.hear(0, log(ANN, 1)[0])
        self.tick(1.0)
        self.assertEqual(waits(), 2)

    def test_reconciles_that_nobody_answers(self) -> None:
        """No more are begun than the peer takes, which begins some too; the next waits until one is over."""
        begun = [self.sent(self.begin_reconcile(), Ranges) for _ in range(limits.MAX_STEPS)]
        self.assertEqual(sum(map(len, begun)), limits.MAX_STEPS // 2)
        effects = self.hear(0, Ranges(1, (Range(b"", RangeKind.DIFFERENCES),)))
        self.assertEqual(len(self.sent(effects, Ranges)), 1)

    def begin_reconcile(self) -> list[Effect]:
        """A reconcile is wanted, for any reason, and there is room for it on the line."""
        self.replica.catch_up.start(self.replica.core.sessions[0])
        return self.do(events.Writable(0))

    def test_when_we_read_on_everybody_has_its_time(self) -> None:
        """Whenever that is between two looks."""
        with patch.object(limits, "PENDING_WRITE_BYTES", 0):
            self.hear(0, log(ANN, 1)[0])
        self.tick(limits.PING_SECONDS - 1.0)
        self.assertIn(events.Reading(0, True), self.commit(log(ANN, 1)[0]))
        self.replica.core.sessions[0].sent_at = self.now
        self.assertEqual(self.sent(self.tick(limits.PING_SECONDS - 0.1), Ping), [])
        self.assertEqual(len(self.sent(self.tick(0.1), Ping)), 1)

    def test_other_root_while_something_is_said(self) -> None:
        """It may be on its way."""
        for _ in range(5):
            effects = self.tick(limits.PING_SECONDS)
            self.hear(0, Want(()))
            self.assertEqual(self.sent(self.pong(effects, bytes(16)), Ranges), [])
        self.open(7)
        for segment in log(ANN, 5):
            effects = [
                effect for effect in self.tick(limits.PING_SECONDS) if getattr(effect, "session", 7) != 7
            ]
            self.assertIn((0, segment), self.sent(self.hear(7, segment), Segment))
            self.assertEqual(self.sent(self.pong(effects, bytes(16)), Ranges), [])

    def test_other_root_while_ours_moves(self) -> None:
        """News from elsewhere."""
        for segment in log(ANN, 4):
            effects = self.tick(limits.PING_SECONDS)
            self.clock.replace(ANN.author, verify(segment))
            self.heads.settle(ANN.author)
            self.assertEqual(self.sent(self.pong(effects, bytes(16)), Ranges), [])

    def test_in_sync(self) -> None:
        """The application asks; it is told when both hold the same, and a difference is not left alone meanwhile."""
        effects = self.do(events.Probe(0))
        reconciles = 0
        for _ in range(10):
            answered = self.pong(effects, bytes(16))
            reconciles += len(self.sent(answered, Ranges))
            self.assertNotIn(events.InSync(0, bytes([1]) * 32), answered)
            effects = self.tick(1.0)[:1]
        self.assertTrue(1 <= reconciles <= 10 * 1.0 / limits.MISMATCH_SECONDS)
        self.assertIn(events.InSync(0, bytes([1]) * 32), self.pong(effects))
        self.assertEqual(self.sent(self.tick(limits.PING_SECONDS - 5.0), Ping), [])

    def test_in_sync_how_often(self) -> None:
        """At once, and then in twice the time each time, up to a second."""
        effects = self.do(events.Probe(0))
        for interval in (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0):
            self.pong(effects, b"")
            self.assertEqual(self.tick(interval * 0.99), [])
            effects = self.tick(interval * 0.02)

    def test_not_in_sync(self) -> None:
        """While the peer claims more than is on disk, is owed something, or something may be lost again."""

        def claims() -> None:
            self.hear(0, Have((HaveItem(0, 9, BOB.author),)))

        def asks() -> None:
            self.hear(0, Want((WantItem(ANN.author, 1),)))  # it is being read

        def brings() -> None:
            self.replica.core.heads.accept(BOB.author, Head(1, bytes(32)))

        for obstacle in (claims, asks, brings):
            self.setUp()
            self.commit(log(ANN, 1)[0])
            obstacle()
            self.assertNotIn(events.InSync(0, bytes([1]) * 32), self.pong(self.do(events.Probe(0))))

    def test_answers_nobody_asked_for(self) -> None:
        """Set no timers, compare nothing."""
        ping = self.sent(self.do(events.Probe(0)), Ping)[0][1]
        assert isinstance(ping, Ping)
        timers = len(self.replica.core._timers)
        for token in [ping.token, *range(ping.token - 50, ping.token + 50)]:
            effects = self.hear(0, Pong(token, bytes(16)))
        self.assertEqual((effects, len(self.replica.core._timers)), ([], timers + 1))

    def test_timers_do_not_pile_up(self) -> None:
        """One look at each session is enough."""
        for _ in range(50):
            self.pong(self.tick(limits.PING_SECONDS))
        self.assertLess(len(self.replica.core._timers), 3)

    def test_caught_up(self) -> None:
        """When all that the peer claimed is durable, or turned out not to be there."""
        self.assertNotIn(
            events.CaughtUp(0, bytes([1]) * 32), self.hear(0, Have((HaveItem(0, 2, ANN.author),)))
        )
        self.assertEqual(self.hear(0, Have((HaveItem(0, 0),))), [])  # it may have it without payloads
        wants = self.sent(self.tick(limits.STALL_SECONDS), Want)
        self.assertEqual(wants, [(0, Want((WantItem(ANN.author, 1, holes=True),)))])
        self.assertIn(events.CaughtUp(0, bytes([1]) * 32), self.hear(0, Have((HaveItem(0, 0),))))
        self.hear(0, Have((HaveItem(0, 2),)), *log(ANN, 2))
        self.assertIn(events.CaughtUp(0, bytes([1]) * 32), self.commit(*log(ANN, 2)))
        self.hear(0, Have((HaveItem(1, 1, BOB.author),)))
        self.assertIn(events.CaughtUp(0, bytes([1]) * 32), self.hear(0, Fork(proof_of(BOB))))

    def test_not_caught_up_before_it_has_said_what_it_holds(self) -> None:
        """What it announced may not be all."""
        caught_up = events.CaughtUp(7, bytes([8]) * 32)
        self.open(7, root=b"another root 123")
        effects = self.hear(7, Have((HaveItem(0, 1, ANN.author),)), log(ANN, 1)[0], Have(()))
        self.assertNotIn(caught_up, effects + self.commit(log(ANN, 1)[0]))
        self.assertFalse(self.replica.caught_up)
        self.assertIn(caught_up, self.hear(7, Ranges(1, (Range(b"", RangeKind.LIST),))))
