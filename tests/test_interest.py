"""Ring 1: what is wanted, what of the clock both sides want, and what counts against the quotas."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import BlockedAuthorError, InvalidValueError, LimitExceededError, LocalAuthorError
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Choices, Interest, Wanted
from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas
from gossiplog.gossip.wanted_heads import WantedHeads
from gossiplog.limits import AUTHOR_DISK_BYTES
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.disk_cost import Weights, row_bytes
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build

A, B, C, OWN = (bytes([number]) * 32 for number in range(1, 5))
SALT = bytes(range(32))


class WantedTests(SynchronousTestCase):
    """One side's interest, in the words of the wire."""

    def test_both_modes(self) -> None:
        """A name is an exception from what the mode says."""
        for mode, named, other in ((Interest.ALL, False, True), (Interest.WANTED, True, False)):
            wanted = Wanted(mode, [A])
            self.assertEqual((wanted.wants(A), wanted.wants(B)), (named, other))
            self.assertFalse(wanted.say(A, named))
            self.assertTrue(wanted.say(A, other))
            self.assertTrue(wanted.say(B, named))
            self.assertEqual([*wanted.authors], [B])
            self.assertEqual(wanted, Wanted(mode, [B]))
            self.assertNotEqual(wanted, Wanted(mode, [A]))
            self.assertNotEqual(wanted, Wanted(Interest(1 - mode), [B]))

    def test_names_are_bounded_and_never_forgotten(self) -> None:
        """At the limit one more is an offence, and changes nothing."""
        with patch.object(limits, "MAX_NAMED_AUTHORS", 2):
            wanted = Wanted()
            wanted.say(A, False)
            wanted.say(B, False)
            self.assertRaises(LimitExceededError, wanted.say, C, False)
            self.assertEqual([*wanted.authors], [A, B])
            wanted.say(A, True)
            wanted.say(C, False)


class ChoicesTests(SynchronousTestCase):
    """What an owner may say, and what follows."""

    def test_what_was_said_last(self) -> None:
        """Of an author that was not blocked it counts, and of all others the mode."""
        for mode in Interest:
            choices = Choices({OWN}, mode)
            choices.follow([A])
            choices.unfollow([B])
            wants = [choices.wants(author) for author in (A, B, C, OWN)]
            self.assertEqual(wants, [True, False, mode is Interest.ALL, True])
            self.assertEqual(choices.named(), {B} if mode is Interest.ALL else {A, OWN})
            choices.block([A, C])
            self.assertFalse(choices.wants(A) or choices.wants(C))
            choices.unblock([A, C])
            self.assertEqual([choices.wants(author) for author in (A, B, C, OWN)], wants)
            choices.unfollow([A])
            choices.follow([B])
            self.assertEqual([choices.wants(author) for author in (A, B)], [False, True])

    def test_refusals(self) -> None:
        """A local writer is always wanted; a blocked author is not followed by the way; nothing changes."""
        choices = Choices({OWN})
        choices.block([A])
        before = choices.dump()
        self.assertRaises(BlockedAuthorError, choices.follow, [B, A])
        self.assertRaises(LocalAuthorError, choices.block, [B, OWN])
        self.assertRaises(LocalAuthorError, choices.unfollow, [B, OWN])
        for wrong in (b"short", "text", None):
            self.assertRaises(InvalidValueError, choices.follow, [wrong])
        with patch.object(limits, "MAX_CHOSEN_AUTHORS", 2):
            self.assertRaises(InvalidValueError, choices.block, [B, C])
            choices.unblock([B])
        self.assertEqual(choices.dump(), before)

    def test_dump_and_load(self) -> None:
        """What is loaded is what was dumped; nothing said is nothing wanted less; garbage is no choice."""
        choices = Choices({OWN}, Interest.WANTED)
        choices.follow([A, C])
        choices.unfollow([B])
        choices.block([C])
        loaded = Choices.load(choices.dump(), {OWN})
        self.assertEqual(
            (loaded.mode, loaded.chosen, loaded.blocked), (choices.mode, choices.chosen, choices.blocked)
        )
        self.assertTrue(Choices.load(None, set()).wants(A))
        for garbage in (
            b"",
            b"\xc0",
            b"\x95\x02\x00\x90\x90\x90",
            b"\x95\x01\x07\x90\x90\x90",
            choices.dump()[:-1],
        ):
            self.assertRaises(InvalidValueError, Choices.load, garbage, set())


class ViewTests(SynchronousTestCase):
    """It is the same as a clock in which nothing else is held, whatever changes, and however."""

    def brute(self, holdings: Heads, ours: Wanted, theirs: Wanted) -> Heads:
        """Heads with what both want and nothing else."""
        both = [author for author in holdings.authors() if ours.wants(author) and theirs.wants(author)]
        heads = [(author, holdings.clock.head(author)) for author in both]
        return Heads(
            Clock([(author, head) for author, head in heads if head is not None]),
            {author for author in both if author in holdings.forks},
            set(),
        )

    def check(self, random: Random, view: WantedHeads, same: Heads) -> None:
        """Compare all that reconcile asks for."""
        self.assertEqual(view.root(SALT), same.root(SALT))
        self.assertEqual(len(view.tree), len(same.tree))
        for _ in range(4):
            lower, upper = sorted(random.randbytes(random.choice((0, 1, 32))) for _ in range(2))
            upper = random.choice((upper, b""))
            self.assertEqual(view.tree.range(lower, upper), same.tree.range(lower, upper))
            authors = list(view.authors(lower, upper))
            self.assertEqual(authors, list(same.authors(lower, upper)))
            self.assertEqual(
                [view.item(author, SALT) for author in authors],
                [same.item(author, SALT) for author in authors],
            )
            bounds = [lower, *view.tree.split(lower, upper, 5), upper]
            counts = [view.tree.range(a, b)[0] for a, b in pairwise(bounds)]
            if not upper or lower < upper:
                self.assertEqual(sum(counts), len(authors))

    def test_against_brute_force(self) -> None:
        """Random interests and heads; changes of both, forks and deletions in between."""
        for seed in range(60):
            random = Random(seed)
            authors = [random.randbytes(32) for _ in range(random.choice((3, 40, 300)))]
            clock = Clock([(author, Head(1, author)) for author in random.sample(authors, len(authors) // 2)])
            holdings = Heads(clock, set(), set())
            modes = random.choice([*Interest]), random.choice([*Interest])
            ours, theirs = (
                Wanted(mode, random.sample(authors, random.randint(0, len(authors) // 2))) for mode in modes
            )
            below = WantedHeads(holdings, ours)
            holdings.views.add(below)
            view = WantedHeads(below, theirs)
            for _ in range(12):
                self.check(random, view, self.brute(holdings, ours, theirs))
                for author in random.sample(authors, 3):
                    what = random.randrange(5)
                    if what == 0:
                        holdings.clock.replace(author, Head(clock.seq(author) + 1, random.randbytes(32)))
                        holdings.settle(author)
                    elif what == 1:
                        holdings.freeze(author)
                    elif what == 2:
                        clock.discard(author)
                        holdings.forget(author)
                    else:
                        side, its = random.choice(((ours, below), (theirs, view)))
                        side.say(author, not side.wants(author))
                        its.changed(author)

    def test_two_sides_of_a_session(self) -> None:
        """Both have the same root when they hold the same of what both want, and not before."""
        for modes in ((0, 0), (0, 1), (1, 0), (1, 1)):
            ours = Wanted(Interest(modes[0]), [A] if modes[0] else [B])
            theirs = Wanted(Interest(modes[1]), [A] if modes[1] else [C])
            left = Heads(Clock({A: Head(1, A), B: Head(1, B)}), {}, set())
            right = Heads(Clock({A: Head(1, A), C: Head(1, C)}), {}, set())
            views = (
                WantedHeads(WantedHeads(left, ours), theirs),
                WantedHeads(WantedHeads(right, theirs), ours),
            )
            self.assertEqual(views[0].root(SALT), views[1].root(SALT))
            right.clock.advance(A, Head(2, B))
            right.settle(A)
            self.assertNotEqual(views[0].root(SALT), views[1].root(SALT))

    def test_costs_nothing_where_everything_is_wanted(self) -> None:
        """A head that moves is not looked at for sessions of peers without names, nor for those that are over."""
        holdings = Heads(Clock({A: Head(1, A)}), {}, set())
        below = WantedHeads(holdings, Wanted(Interest.ALL, [B]))
        theirs = Wanted()
        view = WantedHeads(below, theirs)
        self.assertEqual((holdings.views, below.views), ({below}, set()))
        theirs.say(A, False)
        view.changed(A)
        self.assertEqual(below.views, {view})
        view.close()
        self.assertEqual(below.views, set())


class LedgerTests(SynchronousTestCase):
    """What counts, and when it is too much."""

    def segment(self, number: int, entries: int = 1, size: int = 10) -> Segment:
        """A log of so many entries."""
        pair = Keypair(bytes([number]) * 32)
        bodies = [encode_body(0, bytes(size))] * entries
        return build(pair, Head(0, genesis_id(pair.author)), bodies)[0][0]

    def test_values(self) -> None:
        """A bound is a positive number."""
        for wrong in (0, -1, True, "1", 1.5):
            self.assertRaises(InvalidValueError, Quotas, bytes=wrong)
        for wrong in (0, -0.5, float("nan")):
            self.assertRaises(InvalidValueError, Quotas, entries_per_second=wrong)
        self.assertEqual(Quotas(entries_per_second=0.5).authors, None)

    def test_bounds_that_nobody_chose(self) -> None:
        """Those of all together; what was chosen stays."""
        self.assertEqual(Quotas().or_else(9, 1000), Quotas(authors=9, bytes=1000))
        chosen = Quotas(authors=10, bytes=2000, bytes_per_author=5)
        self.assertEqual(chosen.or_else(9, 1000), chosen)
        self.assertEqual(Quotas().or_else(9, None), Quotas(authors=9))

    def test_merging_lifts_where_much_was_there_before(self) -> None:
        """A tenth of what may be added is enough, not of all that is held."""
        author = self.segment(1).author
        for base, lifted in ((0, []), (9_000, [author])):
            weights = Weights({author: 9_950})
            ledger = QuotaLedger(Quotas(bytes=10_000), weights, {OWN})
            ledger.base_bytes = base
            ledger.refused[author] = Quota.BYTES
            self.assertEqual(ledger.lightened(()), [])
            weights.change((), {author: -500})
            self.assertEqual(ledger.lightened(()), lifted)

    def test_bytes(self) -> None:
        """At the quota and one byte above, on its way and on disk; what is lost does not count."""
        one, other = self.segment(1), self.segment(2)
        size = row_bytes(len(one.bodies))
        for quota, name in ((Quota.AUTHOR_BYTES, "bytes_per_author"), (Quota.BYTES, "bytes")):
            for bound, breach in ((2 * size, None), (2 * size - 1, quota)):
                weights = Weights()
                ledger = QuotaLedger(Quotas(**{name: bound + AUTHOR_DISK_BYTES}), weights, {OWN})
                self.assertEqual(ledger.breach(one.author, size, 0.0), None)
                ledger.accepted(one, 0.0)
                self.assertEqual(ledger.breach(one.author, size, 0.0), breach)
                weights.change((), {one.author: size + AUTHOR_DISK_BYTES})
                ledger.committed(one, last=True)
                self.assertTrue(ledger.is_idle)
                self.assertEqual(ledger.breach(one.author, size, 0.0), breach)
                shared = Quota.BYTES if quota is Quota.BYTES else None
                self.assertEqual(ledger.breach(other.author, size, 0.0), shared)
                self.assertEqual(ledger.breach(OWN, size, 0.0), None)
                ledger.accepted(one, 0.0)
                ledger.lost(one.author)
                self.assertTrue(ledger.is_idle)
                self.assertEqual(ledger.breach(one.author, size, 0.0), breach)
                weights.change((one.author,), {})
                ledger.forgotten(one.author)
                self.assertEqual(ledger.breach(one.author, size, 0.0), None)

    def test_several_on_their_way(self) -> None:
        """What is on disk counts once, while more is on its way; all of it is lost at once."""
        one, other = self.segment(1), self.segment(2)
        size = row_bytes(len(one.bodies))
        weights = Weights()
        ledger = QuotaLedger(Quotas(bytes_per_author=3 * size + AUTHOR_DISK_BYTES), weights, {OWN})
        for _ in range(2):
            ledger.accepted(one, 0.0)
        weights.change((), {one.author: size + AUTHOR_DISK_BYTES})
        ledger.committed(one, last=False)
        ledger.accepted(other, 0.0)
        ledger.lost(None)
        self.assertTrue(ledger.is_idle)
        self.assertEqual(ledger.full(one.author, 2 * size), None)
        self.assertEqual(ledger.full(one.author, 2 * size + 1), Quota.AUTHOR_BYTES)

    def test_bytes_on_disk_at_the_start(self) -> None:
        """They count, our own too against the quota of all."""
        ledger = QuotaLedger(Quotas(bytes=100), Weights({A: 20, OWN: 80}), {OWN})
        self.assertEqual(ledger.full(A, 0), None)
        self.assertEqual(ledger.full(A, 1), Quota.BYTES)
        self.assertEqual(ledger.full(B, 0), Quota.BYTES)

    def test_authors(self) -> None:
        """Others held or on their way; a local writer takes nobody's place."""
        one, other = self.segment(1), self.segment(2)
        local = {OWN}
        ledger = QuotaLedger(Quotas(authors=2), Weights({A: 1, OWN: 1}), local)
        self.assertEqual(ledger.full(one.author), None)
        ledger.accepted(one, 0.0)
        ledger.proven(one.author, 1)
        self.assertEqual(ledger.full(other.author), Quota.AUTHORS)
        self.assertEqual(ledger.full(A), None)
        ledger.lost(one.author)
        self.assertEqual(ledger.full(other.author), Quota.AUTHORS)
        ledger.proof_done(one.author)
        self.assertEqual(ledger.full(other.author), None)
        ledger.proven(one.author, 1)
        self.assertEqual(ledger.full(other.author), Quota.AUTHORS)
        local.add(A)
        self.assertEqual(ledger.full(other.author), None)

    def test_a_local_writer_in_the_place_of_another_author(self) -> None:
        """As many are held as before, but one other less."""
        weights = Weights({A: 1, B: 1})
        ledger = QuotaLedger(Quotas(authors=2), weights, {OWN})
        self.assertEqual(ledger.full(C), Quota.AUTHORS)
        weights.change((A,), {OWN: 1})
        self.assertEqual(ledger.full(C), None)

    def test_rate(self) -> None:
        """A burst, then nothing until the debt is paid."""
        ledger = QuotaLedger(Quotas(entries_per_second=2.0), Weights(), {OWN})
        burst = int(2 * limits.QUOTA_BURST_SECONDS)
        one = self.segment(1, burst - 1)
        ledger.accepted(one, 100.0)
        self.assertEqual(ledger.breach(one.author, 0, 100.0), None)
        ledger.accepted(one, 100.0)
        self.assertEqual(ledger.breach(one.author, 0, 100.0), Quota.RATE)
        ledger.refused[one.author] = Quota.RATE
        until = ledger.rests_until
        self.assertEqual(until, 100.0 + (burst - 1))
        self.assertEqual(ledger.rested(until - 0.1), [])
        self.assertEqual(ledger.rested(until), [one.author])
        self.assertEqual(ledger.breach(one.author, 0, until), None)

    def test_a_deletion_makes_room(self) -> None:
        """For those refused for want of it, and for none that is too large by itself."""
        weights = Weights({A: 5})
        ledger = QuotaLedger(Quotas(authors=1, bytes=5), weights, set())
        weights.change((A,), {})
        ledger.refused.update(
            {A: Quota.AUTHOR_BYTES, B: Quota.AUTHORS, C: Quota.AUTHOR_BYTES, OWN: Quota.BYTES}
        )
        self.assertEqual(ledger.forgotten(A), [A, B, OWN])
