"""Sums of leaves say what the tree of all heads says, of whatever is in memory; what is not is said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from unittest.mock import patch

from sortedcontainers import SortedDict
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.log import leaf_sums
from gossiplog.log.fingerprint import FingerprintTree, item
from gossiplog.log.leaf_sums import BITS, LEAF_AUTHORS, Away, LeafSums, Span, Stood

ID = bytes(32)


def uniform(random: Random) -> bytes:
    return random.randbytes(32)


def crowded(random: Random) -> bytes:
    """Authors with long common beginnings and of any length, as an attacker may choose them."""
    return bytes([random.randrange(3)]) * random.randrange(1, 30) + random.randbytes(2)


class Disk:
    """Where all heads are; what is read of it is counted, and may be away."""

    def __init__(self, heads: dict[bytes, tuple[int, bytes]]) -> None:
        self.heads: SortedDict[bytes, tuple[int, bytes]] = SortedDict(heads)
        self.read_authors = 0
        self.there: set[Span] | None = None

    def stood(self) -> list[Stood]:
        return [(author, *head) for author, head in self.heads.items()]

    def read(self, lower: bytes, upper: bytes) -> Sequence[Stood]:
        if self.there is not None and (lower, upper) not in self.there:
            raise Away([(lower, upper)])
        found = self.heads.irange(lower or None, upper or None, (True, False))
        stood = [(author, *self.heads[author]) for author in found]
        self.read_authors += len(stood)
        return stood


def both(disk: Disk) -> tuple[LeafSums, FingerprintTree]:
    return LeafSums(disk.stood(), disk.read), FingerprintTree(disk.stood())


def some_heads(random: Random, author: Callable[[Random], bytes], count: int) -> Disk:
    return Disk({author(random): (random.randrange(1, 9), random.randbytes(32)) for _ in range(count)})


def move(disk: Disk, sums: LeafSums, tree: FingerprintTree, author: bytes, seq: int) -> None:
    """To ``seq``; 0: it is forgotten."""
    before = disk.heads.pop(author, None)
    if seq:
        disk.heads[author] = seq, bytes([seq % 256]) * 32
        tree.set(author, *disk.heads[author])
    else:
        tree.discard(author)
    sums.move(author, before, disk.heads.get(author))


class SameAsTheTree(SynchronousTestCase):
    def same(self, sums: LeafSums, tree: FingerprintTree, bounds: Sequence[bytes]) -> None:
        self.assertEqual(len(sums), len(tree))
        for lower in bounds:
            for upper in bounds:
                self.assertEqual(sums.range(lower, upper), tree.range(lower, upper))
                for parts in (2, 3, 16):
                    self.assertEqual(sums.split(lower, upper, parts), tree.split(lower, upper, parts))

    def test_of_any_heads(self) -> None:
        for seed, author in enumerate((uniform, crowded)):
            random = Random(seed)
            for count in (0, 1, 2, LEAF_AUTHORS, LEAF_AUTHORS + 1, 3000):
                disk = some_heads(random, author, count)
                bounds = [b"", *(author(random) for _ in range(4)), *list(disk.heads)[:2], b"\xff" * 33]
                self.same(*both(disk), bounds)

    def test_after_any_changes(self) -> None:
        for seed, author in enumerate((uniform, crowded)):
            random = Random(seed)
            disk = some_heads(random, author, 100)
            sums, tree = both(disk)
            for step in range(6000):
                is_growing = step < 3000
                if random.random() < (0.9 if is_growing else 0.1):
                    is_new = is_growing or not disk.heads
                    chosen = author(random) if is_new else random.choice(disk.heads.keys())
                    move(disk, sums, tree, chosen, random.randrange(1, 99))
                elif disk.heads:
                    move(disk, sums, tree, random.choice(disk.heads.keys()), 0)
                if step % 600 == 0:
                    self.same(sums, tree, [b"", author(random), author(random)])
            for chosen in list(disk.heads):
                move(disk, sums, tree, chosen, 0)
            self.assertEqual((len(sums), sums.range(), list(sums.spans())), (0, (0, 0), [(b"", b"")]))

    def test_spans_are_neighbours_and_hold_all(self) -> None:
        random = Random(3)
        disk = some_heads(random, crowded, 3000)
        sums, _ = both(disk)
        spans = list(sums.spans())
        self.assertEqual((spans[0][0], spans[-1][1]), (b"", b""))
        self.assertEqual([upper for _, upper in spans[:-1]], [lower for lower, _ in spans[1:]])
        self.assertEqual(sum(sums.range(*span)[0] for span in spans), len(disk.heads))
        lower, upper = sorted([crowded(random), crowded(random)])
        part = list(sums.spans(lower, upper))
        self.assertEqual(
            part, [span for span in spans if span[0] < upper and (not span[1] or span[1] > lower)]
        )

    def test_from_unsorted(self) -> None:
        twice = [(b"ann", 1, ID), (b"ann", 2, ID)]
        for wrong in (twice, [(b"bob", 1, ID), (b"ann", 1, ID)]):
            self.assertRaises(InvalidValueError, LeafSums, wrong, Disk({}).read)


class WhatIsAway(SynchronousTestCase):
    """Of 20,000 authors, nothing is in memory but sums."""

    def setUp(self) -> None:
        self.random = Random(4)
        self.disk = some_heads(self.random, uniform, 20_000)
        self.sums, self.tree = both(self.disk)
        self.disk.there = set()

    def brought(self, work: Callable[[], object]) -> tuple[object, int, int]:
        """Bring what is lacking until it works: what came of it, how often that took, and how many spans."""
        assert self.disk.there is not None
        self.disk.there.clear()
        for times in range(5):
            try:
                return work(), times, len(self.disk.there)
            except Away as away:
                self.disk.there |= away.spans
        raise AssertionError("it lacks something new each time")

    def test_whole_leaves_need_nothing(self) -> None:
        spans = list(self.sums.spans())
        self.assertEqual(self.sums.range(), self.tree.range())
        for span in spans[:: len(spans) // 7]:
            self.assertEqual(self.sums.range(*span), self.tree.range(*span))

    def test_a_range_lacks_at_most_its_two_ends(self) -> None:
        for _ in range(30):
            lower, upper = sorted([uniform(self.random), uniform(self.random)])
            result = self.tree.range(lower, upper)
            self.assertEqual(self.brought(lambda: self.sums.range(lower, upper)), (result, 1, 2))  # noqa: B023

    def test_a_split_lacks_a_leaf_for_each_bound_all_said_at_once(self) -> None:
        found, times, spans = self.brought(lambda: self.sums.split(b"", b"", 64))
        self.assertEqual((found, times), (self.tree.split(b"", b"", 64), 1))
        self.assertLessEqual(spans, 2 * 63)
        lower, upper = sorted([uniform(self.random), uniform(self.random)])
        found, times, _ = self.brought(lambda: self.sums.split(lower, upper, 64))
        self.assertEqual(
            (found, times), (self.tree.split(lower, upper, 64), 2)
        )  # where it begins comes first

    def test_a_change_needs_nothing(self) -> None:
        chosen = [*list(self.disk.heads)[::1000], *(uniform(self.random) for _ in range(500))]
        for author in chosen:
            move(self.disk, self.sums, self.tree, author, 99)
        for author in chosen[::2]:
            move(self.disk, self.sums, self.tree, author, 0)
        self.assertEqual(self.sums.range(), self.tree.range())

    def test_what_lacks_something_has_changed_nothing(self) -> None:
        before = list(self.sums.spans()), self.sums.range()
        self.assertRaises(Away, self.sums.range, b"\x33" * 32)
        self.assertRaises(Away, self.sums.split, b"", b"", 8)
        self.assertEqual((list(self.sums.spans()), self.sums.range()), before)


class Costs(SynchronousTestCase):
    def setUp(self) -> None:
        self.random = Random(5)
        self.disk = some_heads(self.random, uniform, 5000)
        self.sums, self.tree = both(self.disk)

    def hashes(self, work: Callable[[], object]) -> int:
        with patch.object(leaf_sums, "item", wraps=item) as hashed:
            work()
        return hashed.call_count

    def test_a_change_is_two_hashes(self) -> None:
        author = self.disk.heads.keys()[777]
        self.assertEqual(self.hashes(lambda: self.sums.move(author, (1, ID), (2, ID))), 2)
        self.assertEqual(self.hashes(lambda: self.sums.move(uniform(self.random), None, (2, ID))), 1)

    def test_a_range_hashes_at_most_half_a_leaf_at_either_end(self) -> None:
        for _ in range(30):
            lower, upper = sorted([uniform(self.random), uniform(self.random)])
            self.assertLessEqual(self.hashes(lambda: self.sums.range(lower, upper)), LEAF_AUTHORS)  # noqa: B023

    def test_a_leaf_of_too_many_is_read_once(self) -> None:
        """Thousands of authors between two neighbours, by somebody who has time to find such keys."""
        prefix = self.disk.heads.keys()[777][:6]
        for _ in range(4000):
            move(self.disk, self.sums, self.tree, prefix + uniform(self.random)[:26], 3)
        bounds = [prefix + uniform(self.random)[:26] for _ in range(8)]
        self.sums.range(bounds[0])
        for bound in bounds[1:]:
            before = self.disk.read_authors
            self.assertEqual(self.sums.range(bound), self.tree.range(bound))
            self.assertLessEqual(self.disk.read_authors - before, LEAF_AUTHORS)

    def test_leaves_of_few_become_one(self) -> None:
        for author in list(self.disk.heads)[20:]:
            move(self.disk, self.sums, self.tree, author, 0)
        self.assertEqual(list(self.sums.spans()), [(b"", b"")] if len(self.disk.heads) < 32 else None)

    def test_those_alike_in_all_bits_share_a_leaf(self) -> None:
        """They are no keys: of these two are never alike."""
        alike = {b"\x01" * (BITS // 8) + bytes(n): (1, ID) for n in range(1, 200)}
        sums, tree = both(Disk(alike))
        bound = list(alike)[100]
        self.assertEqual(
            (sums.range(bound), sums.split(b"", b"", 4)), (tree.range(bound), tree.split(b"", b"", 4))
        )
