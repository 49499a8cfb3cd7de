"""Heads of which some are in memory say what all heads would say, or which of them they lack."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Interest, Wanted
from gossiplog.gossip.messages import Ranges
from gossiplog.gossip.reconcile import Reconcile, Step
from gossiplog.gossip.wanted_heads import Held, WantedHeads
from gossiplog.log.clock import Clock
from gossiplog.log.leaf_sums import LEAF_AUTHORS, Away, Span
from gossiplog.log.paged_clock import PAGE_HEADS, Needed, PagedClock, alone
from gossiplog.log.segment import Head
from gossiplog.wire.codec import decode, encode

SALT = bytes(range(32))
T = TypeVar("T")


def some_author(random: Random) -> bytes:
    return random.randbytes(32)


def some_head(random: Random, seq: int = 0) -> Head:
    return Head(seq or random.randrange(1, 99), random.randbytes(32))


class Both:
    """The same twice: all heads in memory, and ``most`` of them; the clock of the former is the disk of the latter."""

    def __init__(self, clock: Clock, forks: Iterable[bytes] = (), most: int = 10 * LEAF_AUTHORS) -> None:
        self.clock = clock
        self.brought: list[Span] = []
        self.whole = Heads(clock, forks, frozenset())
        self.pages = PagedClock(most)
        self.paged = Heads(self.pages, forks, frozenset())
        self.paged.sum_up(self.pages, clock.range())

    def bring(self, away: Away) -> None:
        for span in sorted(away.spans):
            self.brought.append(span)
            self.pages.bring(span, [*self.clock.range(*span)])

    def there(self, work: Callable[[], T]) -> T:
        """Bring what is lacking until it works."""
        for _ in range(6):
            try:
                result = work()
            except Away as away:
                self.bring(away)
            else:
                self.pages.trim()
                return result
        raise AssertionError("it lacks something new each time")

    def commit(self, author: bytes, head: Head | None) -> None:
        """The disk says so, and tells."""
        self.pages.move(author, self.clock.head(author), head)
        self.clock.set(author, head)


class ClockTests(SynchronousTestCase):
    def test_any_spans_and_moves(self) -> None:
        """Whatever is brought, moved and let go: it knows what the whole clock says, or that it does not know."""
        for seed, most in enumerate((10_000, 60, 20)):
            random = Random(seed)
            whole = Clock()
            for _ in range(300):
                whole.set(random.randbytes(2), some_head(random))
            paged = PagedClock(most)
            known = 0
            for step in range(1500):
                lower, upper = sorted([random.randbytes(random.randrange(4)), random.randbytes(2)])
                if random.random() < 0.1:
                    upper = b""
                if random.random() < 0.3:
                    author = random.choice([*whole]) if step % 3 and len(whole) else random.randbytes(2)
                    head = some_head(random) if random.random() < 0.7 else None
                    paged.move(author, whole.head(author), head)
                    whole.set(author, head)
                    if random.random() < 0.9:
                        paged.settled(author)
                        self.assertEqual(paged.head(author), head)
                elif lower == upper:
                    continue
                elif random.random() < 0.5:
                    paged.bring((lower, upper), [*whole.range(lower, upper)])
                    paged.trim()
                else:
                    known += self.check(paged, whole, lower, upper)
            self.assertGreaterEqual(known, (50, 0, 0)[seed])

    def check(self, paged: PagedClock, whole: Clock, lower: bytes, upper: bytes) -> bool:
        for author, head in whole.items():
            try:
                self.assertEqual((paged.head(author), author in paged), (head, True))
            except Away as away:
                self.assertEqual(away.spans, {alone(author)})
        try:
            found = [*paged.range(lower, upper)]
        except Away as away:
            for first, stop in away.spans:
                self.assertTrue(lower <= first and (not upper or (stop and stop <= upper)))
            return False
        self.assertEqual(found, [*whole.range(lower, upper)])
        return True

    def test_so_many_heads_stay(self) -> None:
        random = Random(3)
        paged = PagedClock(100)
        for _ in range(500):
            author = some_author(random)
            paged.bring(alone(author), [(author, some_head(random))])
            paged.trim()
            self.assertLessEqual(paged.kept_heads, 100)
        self.assertGreater(paged.kept_heads, 75 - 2 * (PAGE_HEADS + 1))

    def test_what_was_not_used_for_the_longest_time_goes_first(self) -> None:
        paged = PagedClock(4 * (PAGE_HEADS + 1))
        for name in b"abcd":
            paged.bring(alone(bytes([name])), [(bytes([name]), Head(1, b""))])
        self.assertEqual(paged.seq(b"a"), 1)
        paged.bring(alone(b"e"), [])
        paged.bring(alone(b"f"), [(b"f", Head(1, b""))])
        paged.trim()
        self.assertEqual((paged.seq(b"a"), paged.seq(b"e"), paged.seq(b"f")), (1, 0, 1))
        self.assertRaises(Away, paged.seq, b"b")

    def test_what_is_needed_stays(self) -> None:
        random = Random(4)
        needed = {some_author(random): some_head(random) for _ in range(20)}
        paged = PagedClock(100)
        others = {some_author(random): some_head(random) for _ in range(900)}
        absent, awaited = some_author(random), (b"\x11", b"\x12")
        paged.bring(alone(absent), [])
        paged.bring(awaited, [*Clock({**needed, **others}).range(*awaited)])
        for lower in range(0, 256, 8):
            span = bytes([lower]), bytes([lower + 8]) if lower < 248 else b""
            paged.bring(span, [*Clock({**needed, **others}).range(*span)])
            paged.trim(lambda: Needed({*needed, absent}, [awaited]))
        for author, head in needed.items():
            self.assertEqual(paged.head(author), head)
        self.assertIsNone(paged.head(absent))
        self.assertRaises(Away, paged.range, b"\x20", b"\x80")
        self.assertEqual([*paged.range(*awaited)], [*Clock({**needed, **others}).range(*awaited)])
        self.assertLessEqual(paged.kept_heads, 100 + 20 * (PAGE_HEADS + 1))


class HeadsTests(SynchronousTestCase):
    def both(self, random: Random, count: int, forks: int = 0, most: int = 10 * LEAF_AUTHORS) -> Both:
        heads = {some_author(random): some_head(random) for _ in range(count)}
        forked = {
            *random.sample(sorted(heads), forks // 2),
            *(some_author(random) for _ in range(forks // 2)),
        }
        return Both(Clock(heads), forked, most)

    def same(self, both: Both, paged: Held, whole: Held, random: Random) -> None:
        """Everything that is asked of heads, of some authors and ranges."""
        authors = [*random.sample([*both.clock], 3), *sorted(both.whole.forks)[:3], some_author(random)]
        for author in authors:
            for ask in (
                lambda held: (held.holds(author), held.stands_for(author), held.item(author, SALT)),  # noqa: B023
                lambda held: (len(held.tree), held.root(SALT)),
            ):
                self.assertEqual(both.there(lambda: ask(paged)), ask(whole))  # noqa: B023
        for lower, upper in [(b"", b""), (authors[0], b""), (b"", authors[1]), tuple(sorted(authors[2:4]))]:
            for ask in (
                lambda held: held.tree.range(lower, upper),  # noqa: B023
                lambda held: held.tree.split(lower, upper, 8),  # noqa: B023
                lambda held: held.first(lower, upper, 50),  # noqa: B023
            ):
                self.assertEqual(both.there(lambda: ask(paged)), ask(whole))  # noqa: B023
        self.assertEqual(whole.first(b"", b"", 10**6), [*whole.authors()])

    def test_any_changes(self) -> None:
        """Commits, forks found and lost, authors deleted; what a commit changed is taken in later, or much later."""
        for seed in range(4):
            random = Random(seed)
            both = self.both(random, 2000, 10)
            owed: list[bytes] = []
            for step in range(600):
                held = random.choice([*both.clock])
                kind = random.random()
                if kind < 0.6:
                    author = held if kind < 0.5 else some_author(random)
                    both.commit(author, some_head(random, both.clock.seq(author) + 1))
                    owed.append(author)
                elif kind < 0.7:
                    self.on_both(both, owed, held, Heads.freeze)
                elif kind < 0.8 and both.whole.forks:
                    self.on_both(both, owed, random.choice(sorted(both.whole.forks)), Heads.thaw)
                elif kind < 0.9:
                    both.commit(held, None)
                    self.on_both(both, owed, held, Heads.forget)
                if random.random() < 0.1:  # some of what moved is not taken in
                    lower, upper = sorted([some_author(random), some_author(random)])
                    paged = both.there(lambda: both.paged.tree.range(lower, upper))  # noqa: B023
                    self.assertEqual(paged, both.whole.tree.range(lower, upper))
                if random.random() < 0.2:
                    self.settle(both, owed)
                if step % 100 == 99:
                    self.settle(both, owed)
                    self.same(both, both.paged, both.whole, random)

    def settle(self, both: Both, owed: list[bytes]) -> None:
        for author in owed:
            for heads in (both.whole, both.paged):
                both.there(lambda: heads.settle(author))  # noqa: B023
        owed.clear()

    def on_both(
        self, both: Both, owed: list[bytes], author: bytes, change: Callable[[Heads, bytes], None]
    ) -> None:
        both.there(lambda: change(both.paged, author))
        change(both.whole, author)

    def test_what_is_wanted_of_them(self) -> None:
        random = Random(7)
        both = self.both(random, 2000, 10)
        some = [*random.sample([*both.clock], 300), *both.whole.forks, some_author(random)]
        for mode in Interest:
            for names in (some[:200], some[150:]):
                wanted, theirs = Wanted(mode, names), Wanted(Interest.ALL, some[100:160])
                views = [
                    both.there(lambda: WantedHeads(WantedHeads(below, wanted), theirs))  # noqa: B023
                    for below in (both.paged, both.whole)
                ]
                self.same(both, views[0], views[1], random)

    def test_what_lacks_something_has_changed_nothing(self) -> None:
        random = Random(8)
        both = self.both(random, 500)
        author = [*both.clock][77]
        before = both.paged.tree.range()
        for work in (both.paged.freeze, both.paged.thaw, both.paged.accepted, both.paged.holds):
            self.assertRaises(Away, work, author)
        self.assertEqual((both.paged.tree.range(), both.paged.forks), (before, set()))
        frozen = Both(both.clock, [author])
        before = frozen.paged.tree.range()
        self.assertRaises(Away, frozen.paged.thaw, author)
        self.assertEqual((frozen.paged.tree.range(), frozen.paged.forks), (before, {author}))

    def test_a_commit_of_others_needs_nothing(self) -> None:
        """Whoever shares the store moves authors of whom nothing is in memory here."""
        random = Random(9)
        both = self.both(random, 500)
        for author in [*both.clock][::50]:
            both.commit(author, some_head(random, 200))
            both.paged.settle(author)
            both.whole.settle(author)
            self.assertEqual(both.paged.clock.seq(author), 200)
        self.assertEqual((both.paged.root(SALT), both.brought), (both.whole.root(SALT), []))


class ReconcileTests(SynchronousTestCase):
    """The same messages, and the same is learned, whichever of both speaks."""

    def converse(self, paged: Both | None, sides: tuple[Held, Held], opener: int) -> list[object]:
        """Carry an exchange through between ``sides``, the first of which may be ``paged``; all that was said."""
        speakers = Reconcile(SALT, starts_even=True), Reconcile(SALT, starts_even=False)
        said: list[object] = []
        talk = deque[tuple[int, Iterator[Ranges | Away]]]([(opener, speakers[opener].start(sides[opener]))])
        while talk:
            speaker, replies = talk.popleft()
            for message in replies:
                if isinstance(message, Away):
                    assert paged is not None and speaker == 0
                    paged.bring(message)
                    continue
                if paged is not None:
                    paged.pages.trim()
                said.append(message)
                self.assertLess(len(said), 2000)
                hearer = 1 - speaker
                heard = decode(encode(message))
                assert isinstance(heard, Ranges)

                def listen() -> Step:
                    return speakers[hearer].receive(heard, sides[hearer])  # noqa: B023

                step = listen() if paged is None or hearer else paged.there(listen)
                said.append((hearer, step.ahead, step.conflicts, step.finished))
                talk.append((hearer, step.replies))
        return said

    def test_the_same_is_said(self) -> None:
        for seed in range(6):
            random = Random(seed)
            count = (0, 30, 900, 4000, 4000, 6000)[seed]
            ours = {some_author(random): some_head(random) for _ in range(count)}
            theirs = dict(ours)
            for author in random.sample(sorted(ours), min(count, 60)):
                theirs[author] = some_head(random, ours[author].seq + random.randrange(2))
            for author in random.sample(sorted(ours), min(count, 20)):
                del theirs[author]
            theirs |= {some_author(random): some_head(random) for _ in range(20)}
            forks = random.sample(sorted(ours), min(count, 5))
            if seed == 4:
                theirs = dict(random.sample(sorted(theirs.items()), 500))  # said as one list
            peer = Heads(Clock(theirs), forks[:3], frozenset())
            for opener in (0, 1):
                both = Both(Clock(ours), forks)
                whole = self.converse(None, (both.whole, peer), opener)
                self.assertEqual(self.converse(both, (both.paged, peer), opener), whole)
                self.assertLessEqual(both.pages.kept_heads, 10 * LEAF_AUTHORS)

    def test_a_message_that_has_to_wait_changed_nothing(self) -> None:
        random = Random(9)
        both = Both(Clock({some_author(random): some_head(random) for _ in range(3000)}))
        peer = Heads(Clock({some_author(random): some_head(random) for _ in range(3000)}), (), frozenset())
        hearer = Reconcile(SALT, starts_even=False)
        for message in Reconcile(SALT, starts_even=True).start(peer):
            assert isinstance(message, Ranges)
            self.assertRaises(Away, hearer.receive, message, both.paged)
            self.assertEqual((hearer.kept_bytes, hearer._coming), (0, {}))
            both.there(lambda: hearer.receive(message, both.paged))  # noqa: B023
