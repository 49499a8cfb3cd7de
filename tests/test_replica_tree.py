"""Ring 2: who sends the news of each author, and what becomes of an announcement."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.messages import Fork, Have, HaveItem, Lazy, Refuse, Want, WantItem
from gossiplog.gossip.plumtree import MISSED_PUSHES, NEW_OUTWEIGHS, VAIN_PUSHES, explored_seq
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build, verify
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of

STRANGERS = [Keypair(bytes([200 - number]) * 32) for number in range(40)]


class PruneTests(ReplicaCase):
    """Who sends what we hold is told to announce only."""

    def test_who_was_first_goes_on(self) -> None:
        """The second copy is answered by LAZY, the first by nothing; a later entry changes nothing."""
        one, two = log(ANN, 2)
        self.assertEqual(self.sent(self.hear(0, one), Lazy), [])
        self.assertEqual(self.sent(self.hear(1, one), Lazy), [(1, Lazy((ANN.author,)))])
        self.assertEqual(self.sent(self.hear(0, two), Lazy), [])
        self.assertEqual(self.sent(self.hear(0, one), Lazy), [])

    def test_who_is_faster_later_takes_over(self) -> None:
        """The last to bring something new is who should go on."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        self.hear(1, two)
        self.assertEqual(self.sent(self.hear(0, two), Lazy), [(0, Lazy((ANN.author,)))])

    def test_own_entries_that_come_back(self) -> None:
        """Nobody needs to send us our own log."""
        [one] = log(OWN, 1)
        self.commit(one, done=False)
        self.assertEqual(self.sent(self.hear(2, one), Lazy), [(2, Lazy((OWN.author,)))])

    def test_what_was_asked_for(self) -> None:
        """A duplicate of a pull, crossing news, is no reason to stop who is pulled from."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        self.hear(1, Have((HaveItem(0, 2, ANN.author),)))
        self.assertEqual(
            self.sent(self.tick(limits.GRAFT_SECONDS), Want), [(1, Want((WantItem(ANN.author, 2),)))]
        )
        self.assertEqual(self.sent(self.hear(1, one), Lazy), [])
        self.assertEqual(self.sent(self.hear(1, two), Lazy), [])
        self.assertEqual(self.sent(self.hear(0, two), Lazy), [(0, Lazy((ANN.author,)))])

    def test_parent_that_left(self) -> None:
        """The next that sends anything of the author takes its place, even with what is known."""
        [one] = log(ANN, 1)
        self.hear(0, one)
        self.do(events.Closed(0))
        self.assertEqual(self.sent(self.hear(1, one), Lazy), [])
        self.assertEqual(self.sent(self.hear(2, one), Lazy), [(2, Lazy((ANN.author,)))])

    def test_early_news_while_another_is_pulled(self) -> None:
        """What begins beyond our head is of no use yet: its sender need only announce."""
        entries = log(ANN, 3)
        self.hear(0, Have((HaveItem(0, 2, ANN.author),)))
        self.tick(limits.GRAFT_SECONDS)
        self.hear(0, entries[0])
        self.assertEqual(self.sent(self.hear(1, entries[2]), Lazy), [(1, Lazy((ANN.author,)))])

    def test_parents_are_bounded(self) -> None:
        """One that is forgotten costs a duplicate."""
        with patch.object(limits, "MAX_PARENTS", 2):
            for keypair in (ANN, BOB, STRANGERS[0]):
                self.hear(0, log(keypair, 1)[0])
        self.assertEqual(list(self.replica.plumtree.parents), [BOB.author, STRANGERS[0].author])
        self.assertEqual(self.sent(self.hear(1, log(ANN, 1)[0]), Lazy), [])


class GraftTests(ReplicaCase):
    """What was announced and does not come is asked for."""

    def announce(self, number: int, seq: int) -> list[tuple[int, object]]:
        """Session ``number`` announces ANN; returns who is asked at once."""
        return self.sent(self.hear(number, Have((HaveItem(0, seq, ANN.author),))), Want)

    def test_parent_is_given_time(self) -> None:
        """Then whoever announced it is asked, once, and is the parent from then on."""
        one, two, three = log(ANN, 3)
        self.hear(0, one)
        self.assertEqual(self.announce(1, 2), [])
        self.assertEqual(self.announce(1, 2), [])
        self.assertEqual(self.tick(limits.GRAFT_SECONDS / 2), [])
        asked = self.sent(self.tick(limits.GRAFT_SECONDS), Want)
        self.assertEqual(asked, [(1, Want((WantItem(ANN.author, 2),)))])
        self.hear(1, two)
        self.assertEqual(self.sent(self.hear(0, two), Lazy), [(0, Lazy((ANN.author,)))])
        self.assertEqual(self.sent(self.hear(1, three), Lazy), [])

    def test_nobody_is_asked_for_what_came(self) -> None:
        """It was on its way."""
        one, two = log(ANN, 2)
        self.hear(0, one)
        self.announce(1, 2)
        self.hear(0, two)
        self.commit(one, two)
        self.assertEqual(self.sent(self.tick(10 * limits.GRAFT_SECONDS), Want), [])

    def test_parent_itself_announces(self) -> None:
        """It is not going to push it: it is asked at once."""
        self.hear(0, log(ANN, 1)[0])
        self.assertEqual(self.announce(0, 2), [(0, Want((WantItem(ANN.author, 2),)))])

    def test_only_peer(self) -> None:
        """Nobody else can send it."""
        self.do(events.Closed(0))
        self.do(events.Closed(1))
        self.assertEqual(self.announce(2, 1), [(2, Want((WantItem(ANN.author, 1),)))])

    def test_own_log(self) -> None:
        """An entry of our own that we lost cannot wait."""
        effects = self.hear(1, Have((HaveItem(0, 1, OWN.author),)))
        self.assertEqual(self.sent(effects, Want), [(1, Want((WantItem(OWN.author, 1),)))])

    def test_parent_in_the_middle_of_a_long_frame(self) -> None:
        """It is waited for, but not for ever."""
        self.hear(0, log(ANN, 1)[0])
        self.announce(1, 2)
        self.do(events.Heard(0))
        waited = 0.0
        while not (asked := self.sent(self.tick(limits.GRAFT_SECONDS), Want)):
            self.do(events.Heard(0))
            waited += limits.GRAFT_SECONDS
            self.assertLess(waited, 2 * limits.STALL_SECONDS)
        self.assertEqual(asked, [(1, Want((WantItem(ANN.author, 2),)))])
        self.assertGreater(waited, limits.STALL_SECONDS - 1.0)

    def test_parent_that_trickles_again_and_again(self) -> None:
        """Each time it was first with an entry it is waited for once; then others send, and are not kept waiting."""
        entries = log(ANN, 40)
        for number in range(0, 40, 4):
            first, *more = entries[number : number + 4]
            self.hear(0, first)
            for at, entry in enumerate(more):
                self.hear(1, Have((HaveItem(0, entry.last, ANN.author),)))
                waited = 0.0
                while self.replica.pulls.schedule.pulled_from.get(ANN.author) != 1:
                    self.do(events.Heard(0))
                    self.tick(limits.GRAFT_SECONDS / 3)
                    waited += limits.GRAFT_SECONDS / 3
                    self.assertLess(waited, limits.GRAFT_SECONDS + (0 if at else limits.STALL_SECONDS))
                self.hear(1, entry)

    def test_announcer_that_left(self) -> None:
        """And came back: its new announcement counts anew, with a timer."""
        self.hear(0, log(ANN, 1)[0])
        self.announce(1, 2)
        for number in (0, 1, 2):
            self.do(events.Closed(number))
        self.assertIsNone(self.replica.deadline)
        self.open(3, b"")
        self.open(4, b"")
        self.hear(4, log(ANN, 1)[0])
        self.announce(3, 2)
        self.assertEqual(
            self.sent(self.tick(limits.GRAFT_SECONDS), Want), [(3, Want((WantItem(ANN.author, 2),)))]
        )

    def test_what_both_announce_is_said_by_one(self) -> None:
        """A peer that told us first is not told."""
        [one] = log(ANN, 1)
        self.hear(1, Lazy((ANN.author,)))
        self.hear(2, Lazy((ANN.author,)))
        self.hear(0, one)
        self.announce(1, 1)
        told = self.sent(self.tick(limits.LAZY_ANNOUNCE_SECONDS), Have)
        self.assertEqual(told, [(2, Have((HaveItem(0, 1, ANN.author),)))])


class CommonTreeTests(ReplicaCase):
    """What nobody was asked for goes along one tree."""

    def duplicates(self, number: int, count: int) -> list[tuple[int, object]]:
        """Session 0 brings entries of new authors, then ``number`` does too; returns the LAZY for all."""
        effects = []
        for keypair in STRANGERS[:count]:
            [one] = log(keypair, 1)
            self.hear(0, one)
            effects += self.hear(number, one)
        return [
            (session, message) for session, message in self.sent(effects, Lazy) if None in message.authors
        ]  # type: ignore[union-attr]

    def test_link_that_brings_nothing_new(self) -> None:
        """After some duplicates in a row both sides only announce there; the last link that pushes stays."""
        self.assertEqual(self.duplicates(1, VAIN_PUSHES - 1), [])
        self.assertEqual(self.duplicates(1, VAIN_PUSHES), [(1, Lazy((None,)))])
        self.assertEqual(self.given(self.hear(0, log(ANN, 1)[0])), [(2, 1)])
        told = self.sent(self.tick(limits.LAZY_ANNOUNCE_SECONDS), Have)
        self.assertIn(ANN.author, [item.author for n, have in told if n == 1 for item in have.items])  # type: ignore[union-attr]
        self.do(events.Closed(2))
        self.assertEqual(self.duplicates(0, 40), [])

    def test_something_new_in_between(self) -> None:
        """The link is needed for some of it: that makes up for more than one duplicate."""
        self.duplicates(1, VAIN_PUSHES - 1)
        self.hear(1, log(BOB, 1)[0])
        self.assertEqual(self.duplicates(1, NEW_OUTWEIGHS), [])
        self.assertEqual(self.duplicates(1, 1), [(1, Lazy((None,)))])

    def test_counts_of_the_specification(self) -> None:
        """So many duplicates, so many less for something new, so many that had to be asked for."""
        self.assertEqual((VAIN_PUSHES, NEW_OUTWEIGHS, MISSED_PUSHES), (8, 2, 4))

    def test_the_others_begin_anew(self) -> None:
        """When one link is pruned, what the others bring may be needed now."""
        self.duplicates(1, VAIN_PUSHES - 1)
        self.assertEqual(len(self.duplicates(2, VAIN_PUSHES)), 1)
        self.assertEqual(self.duplicates(1, VAIN_PUSHES - 1), [])
        self.assertEqual(len(self.duplicates(1, 1)), 1)

    def test_the_last_link_that_pushes_stays(self) -> None:
        """Whatever it brings that another brought first."""
        self.do(events.Closed(2))
        self.hear(1, Lazy((None,)))
        for keypair in STRANGERS[: 2 * VAIN_PUSHES]:
            [one] = log(keypair, 1)
            effects = self.hear(1, one) + self.hear(0, one)
            self.assertEqual(self.sent(effects, Lazy), [(0, Lazy((keypair.author,)))])

    def test_a_link_that_pushes_again(self) -> None:
        """WANT for all makes it eager on both sides: nobody else has to push when another leaves."""
        self.hear(0, Lazy((None,)))
        self.hear(1, Lazy((None,)), Want((WantItem(None, 1),)))
        self.assertEqual(self.sent(self.do(events.Closed(2)), Want), [])

    def test_a_link_that_was_to_push_again_does_so_for_a_while(self) -> None:
        """Whatever it brings in vain: others can make it necessary, and superfluous, as often as they like."""
        self.hear(1, Lazy((None,)), Want((WantItem(None, 1),)))
        self.assertEqual(self.duplicates(1, 20), [])
        self.tick(limits.PUSHING_SECONDS - 0.01)
        self.assertEqual(self.duplicates(1, 21), [])
        self.tick(0.02)
        [one] = log(STRANGERS[30], 1)
        self.hear(0, one)
        self.assertIn((1, Lazy((None,))), self.sent(self.hear(1, one), Lazy))

    def test_what_came_there_goes_on_there(self) -> None:
        """Authors that a pruned link brought are asked for by name, the latest of very many."""
        self.hear(1, log(BOB, 1)[0])
        effects = self.hear(1, Lazy((None,)))
        self.assertEqual(self.sent(effects, Want), [(1, Want((WantItem(BOB.author, 2),)))])
        with patch.object(limits, "MAX_WANT_ITEMS", 2):
            self.hear(2, *[log(keypair, 1)[0] for keypair in STRANGERS[:3]])
            [(_, want)] = self.sent(self.hear(2, Lazy((None,))), Want)
        self.assertEqual([item.author for item in want.items], [each.author for each in STRANGERS[1:3]])  # type: ignore[union-attr]

    def test_last_one_is_asked_to_go_on(self) -> None:
        """Somebody has to push."""
        for number in (0, 1):
            self.assertEqual(self.sent(self.hear(number, Lazy((None,))), Want), [])
        everything = Want((WantItem(None, 1),))
        self.assertEqual(self.sent(self.hear(2, Lazy((None,))), Want), [(0, everything)])
        self.assertEqual(self.sent(self.do(events.Closed(0)), Want), [(1, everything)])

    def test_only_peer_is_asked_to_go_on(self) -> None:
        """Even if it is the one that stopped."""
        self.do(events.Closed(0))
        self.do(events.Closed(1))
        self.assertEqual(self.sent(self.hear(2, Lazy((None,))), Want), [(2, Want((WantItem(None, 1),)))])

    def test_missed_pushes_mend_the_tree(self) -> None:
        """What a pruned link announces and nobody sends, again and again: it is needed."""
        self.hear(1, Lazy((None,)))
        for number in range(MISSED_PUSHES):
            author = STRANGERS[number].author
            self.hear(1, Have((HaveItem(number, 1, author),)))
            asked = [message for _, message in self.sent(self.tick(limits.GRAFT_SECONDS), Want)]
            self.assertIn(Want((WantItem(author, 1),)), asked)
            self.assertEqual(Want((WantItem(None, 1),)) in asked, number == MISSED_PUSHES - 1)
        self.assertEqual(self.given(self.hear(0, log(ANN, 1)[0])), [(1, 1), (2, 1)])

    def test_crossing_messages_end(self) -> None:
        """LAZY and WANT for all are answered by nothing but what is needed: no two nodes go on for ever."""
        self.hear(1, Lazy((None,)))
        self.assertEqual(self.sent(self.hear(1, Want((WantItem(None, 1),))), Want), [])
        self.assertEqual(self.sent(self.hear(1, Want((WantItem(None, 1),))), Lazy), [])


class ExploreTests(ReplicaCase):
    """Authors that write often get the shortest paths."""

    def test_eighth_entry(self) -> None:
        """Everyone but the parent is asked for the next one; then not before the sixty-fourth."""
        entries = log(ANN, 65)
        asked = {}
        for entry in entries:
            if found := self.sent(self.hear(0, entry) + self.tick(limits.ANNOUNCE_SECONDS), Want):
                asked[entry.first] = found
        self.assertEqual(
            asked, {seq: [(n, Want((WantItem(ANN.author, seq + 1),))) for n in (1, 2)] for seq in (8, 64)}
        )

    def test_across_the_eighth(self) -> None:
        """A segment that begins before it and ends behind it; who does not want the author is not asked."""
        for number in (1, 2):
            self.setUp()
            self.hear(number, Refuse((ANN.author,)))
            self.hear(0, *log(ANN, 6))
            bodies = [encode_body(number, b"") for number in (6, 7, 8)]
            [news], _ = build(ANN, verify(log(ANN, 6)[-1]), bodies)
            asked = self.sent(self.hear(0, news) + self.tick(limits.ANNOUNCE_SECONDS), Want)
            self.assertEqual(asked, [(3 - number, Want((WantItem(ANN.author, 10),)))])

    def test_of_many_authors_at_once(self) -> None:
        """One question for all of a moment; when there are as many as it takes, at once."""
        pairs = [Keypair(bytes([number, 1]) * 16) for number in range(1, 6)]
        bodies = [encode_body(number, b"") for number in range(8)]
        made = [build(pair, Head(0, genesis_id(pair.author)), bodies)[0][0] for pair in pairs]
        with patch.object(limits, "MAX_WANT_ITEMS", 4):
            at_once = self.sent(self.hear(0, *made), Want)
        later = self.sent(self.tick(limits.ANNOUNCE_SECONDS), Want)
        for asked, some in ((at_once, pairs[:4]), (later, pairs[4:])):
            want = Want(tuple(WantItem(pair.author, 9) for pair in some))
            self.assertEqual(asked, [(1, want), (2, want)])

    def test_who_brought_it_meanwhile(self) -> None:
        """Is not asked, nor is anybody for an author that forked, or that is not wanted any more."""
        *entries, nine = log(ANN, 9)
        self.hear(0, *entries)
        self.hear(1, nine)
        asked = self.sent(self.tick(limits.ANNOUNCE_SECONDS), Want)
        self.assertEqual(asked, [(2, Want((WantItem(ANN.author, 10),)))])
        self.hear(0, *log(BOB, 8), Fork(proof_of(BOB)))
        self.assertEqual(self.sent(self.tick(limits.ANNOUNCE_SECONDS), Want), [])

    def test_catching_up_explores_nothing(self) -> None:
        """Backlog comes from one peer, whatever paths are the shortest."""
        self.hear(0, Have((HaveItem(0, 9, ANN.author),)))
        self.tick(limits.GRAFT_SECONDS)
        self.assertEqual(self.sent(self.hear(0, *log(ANN, 9)), Want), [])


class ExploredSeqTests(SynchronousTestCase):
    """Powers of eight."""

    def test_against_the_definition(self) -> None:
        """The largest power of eight, from eight on, that is not above."""
        for seq in [*range(1, 600), limits.MAX_SEQ]:
            expected = max([8**power for power in range(1, 18) if 8**power <= seq], default=0)
            self.assertEqual(explored_seq(seq), expected)
