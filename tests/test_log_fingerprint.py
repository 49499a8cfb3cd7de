"""Fingerprints: the tree is the plain sum, whatever is done to it and in whatever order."""

from __future__ import annotations

from random import Random
from typing import ClassVar
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.log import fingerprint_nodes
from gossiplog.log.fingerprint import FORKED_ID, FORKED_SEQ, FingerprintTree, item
from gossiplog.log.fingerprint_nodes import FAN_OUT, LEAF_AUTHORS, MASK, Leaf, Node

Heads = dict[bytes, tuple[int, bytes]]


def total_of(heads: Heads, lower: bytes = b"", upper: bytes = b"") -> tuple[int, int]:
    found = [author for author in heads if lower <= author and (not upper or author < upper)]
    return len(found), sum(item(author, *heads[author]) for author in found) % 2**2048


def check(tree: FingerprintTree, heads: Heads) -> int:
    """Check every invariant of every node; return the number of levels."""

    def walk(node: Node, lower: bytes, upper: bytes | None) -> tuple[int, int, int]:
        if isinstance(node, Leaf):
            assert node.authors == sorted(set(node.authors)) and len(node.authors) <= LEAF_AUTHORS
            assert len(node.authors) == len(node.seqs) == len(node.ids)
            assert all(lower <= author and (upper is None or author < upper) for author in node.authors)
            count, total, levels = len(node.authors), sum(node.item(n) for n in range(node.count)) & MASK, {0}
        else:
            assert node.lowers[0] == lower and 1 <= len(node.children) == len(node.lowers) <= FAN_OUT
            ends = [*node.lowers[1:], upper]
            below = [walk(*child) for child in zip(node.children, node.lowers, ends, strict=True)]
            count, total = sum(found[0] for found in below), sum(found[1] for found in below) & MASK
            levels = {found[2] for found in below}
        assert len(levels) == 1, "leaves at different levels"
        assert node.count == count and node.total in (None, total)
        return count, total, levels.pop() + 1

    count, total, levels = walk(tree._root, b"", None)
    assert (count, total) == total_of(heads)
    return levels


class Trees(SynchronousTestCase):
    @staticmethod
    def uniform(random: Random) -> bytes:
        return random.randbytes(32)

    @staticmethod
    def crowded(random: Random) -> bytes:
        """Authors with long common prefixes and of any length, as an attacker may choose them."""
        return bytes([random.randrange(3)]) * random.randrange(1, 30) + random.randbytes(2)

    @staticmethod
    def ascending(random: Random) -> bytes:
        Trees.next_author += 1
        return Trees.next_author.to_bytes(32, "big")

    next_author: ClassVar[int] = 0

    def test_any_order_of_changes(self) -> None:
        for seed, author in enumerate((self.uniform, self.crowded, self.ascending)):
            random = Random(seed)
            tree, heads = FingerprintTree(), Heads()
            tallest = 0
            for step in range(12_000):
                growing = step < 6_000
                if not heads or random.random() < (0.85 if growing else 0.1):
                    chosen = author(random) if growing or not heads else random.choice(list(heads))
                    heads[chosen] = random.randrange(1, 9), random.randbytes(32)
                    tree.set(chosen, *heads[chosen])
                else:
                    chosen = random.choice(list(heads)) if step % 5 else author(random)
                    heads.pop(chosen, None)
                    tree.discard(chosen)
                if step == 5_000:
                    tree.range()
                if step % 1_000 == 500:
                    tallest = max(tallest, check(tree, heads))
            self.assertGreaterEqual(tallest, 3)
            check(tree, heads)
            for chosen in list(heads):
                tree.discard(chosen)
            self.assertEqual((len(tree), tree.range()), (0, (0, 0)))
            self.assertEqual(check(tree, {}), 1)

    def test_ranges(self) -> None:
        random = Random(1)
        for size in (0, 1, 40, 64, 65, 3_000):
            heads = {self.crowded(random): (n + 1, random.randbytes(32)) for n in range(size)}
            tree = FingerprintTree()
            for author, (seq, entry_id) in heads.items():
                tree.set(author, seq, entry_id)
            bounds = [b"", *(self.crowded(random) for _ in range(9)), *list(heads)[:3]]
            for lower in bounds:
                for upper in bounds:
                    self.assertEqual(tree.range(lower, upper), total_of(heads, lower, upper))

    def test_neighbouring_ranges_add_up(self) -> None:
        tree = FingerprintTree((bytes([n]) * 32, n + 1, bytes(32)) for n in range(256))
        bounds = tree.split(b"", b"", 7)
        parts = [tree.range(*pair) for pair in zip([b"", *bounds], [*bounds, b""], strict=True)]
        self.assertEqual(sum(count for count, _ in parts), 256)
        self.assertEqual(sum(total for _, total in parts) & MASK, tree.range()[1])

    def test_from_sorted(self) -> None:
        random = Random(2)
        for size in (0, 1, 47, 48, 49, 96, 2_400, 9_000):
            heads = {author: (7, author) for author in sorted({self.uniform(random) for _ in range(size)})}
            tree = FingerprintTree((author, *head) for author, head in heads.items())
            check(tree, heads)
            self.assertEqual(tree.range(), total_of(heads))
            for author in list(heads)[::3]:
                del heads[author]
                tree.discard(author)
            for author in [b"", *(self.uniform(random) for _ in range(size // 2))]:
                heads[author] = 8, bytes(32)
                tree.set(author, 8, bytes(32))
            check(tree, heads)

    def test_from_unsorted(self) -> None:
        ascending = [(n.to_bytes(32, "big"), 1, bytes(32)) for n in range(100)]
        for wrong in (
            [ascending[0], ascending[0]],
            [ascending[1], ascending[0]],
            [*ascending[:48], *ascending[47:]],
            [*ascending[1:49], ascending[0]],
        ):
            self.assertRaises(InvalidValueError, FingerprintTree, wrong)

    def test_split(self) -> None:
        random = Random(3)
        for author in (self.uniform, self.crowded):
            heads = {author(random): (1, bytes(32)) for _ in range(2_000)}
            tree = FingerprintTree((found, *heads[found]) for found in sorted(heads))
            for lower, upper in [(b"", b""), *(sorted((author(random), author(random))) for _ in range(20))]:
                for parts in (1, 2, 3, 16, 5_000):
                    bounds = tree.split(lower, upper, parts)
                    self.assertLess(len(bounds), parts)
                    self.assertEqual(bounds, sorted(set(bounds)))
                    self.assertTrue(all(lower < bound and (not upper or bound < upper) for bound in bounds))
                    edges = zip([lower, *bounds], [*bounds, upper], strict=True)
                    counts = [total_of(heads, *edge)[0] for edge in edges] if lower != upper else [0]
                    self.assertEqual(sum(counts), total_of(heads, lower, upper)[0] if lower != upper else 0)
                    self.assertLessEqual(max(counts) - min(counts), 1)

    def test_bounds_are_short(self) -> None:
        tree = FingerprintTree((bytes([n]) * 32, 1, bytes(32)) for n in range(256))
        self.assertEqual(tree.split(b"", b"", 4), [b"\x40", b"\x80", b"\xc0"])
        close = FingerprintTree([(b"a" * 32, 1, bytes(32)), (b"a" * 31 + b"b", 1, bytes(32))])
        self.assertEqual(close.split(b"", b"", 16), [b"a" * 31 + b"b"])

    def test_forked_logs_look_the_same_on_every_branch(self) -> None:
        ours, theirs = FingerprintTree(), FingerprintTree()
        ours.set(b"ann", 5, b"\1" * 32)
        theirs.set(b"ann", 7, b"\2" * 32)
        self.assertNotEqual(ours.range(), theirs.range())
        for tree in (ours, theirs):
            tree.set(b"ann", FORKED_SEQ, FORKED_ID)
        self.assertEqual(ours.range(), theirs.range())


class Costs(SynchronousTestCase):
    """Hashes are what a fingerprint costs; counted here, timed in the benchmarks."""

    def setUp(self) -> None:
        self.tree = FingerprintTree((n.to_bytes(32, "big"), 1, bytes(32)) for n in range(20_000))
        self.tree.range()

    def hashes(self, work: object, *arguments: object) -> int:
        assert callable(work)
        with patch.object(fingerprint_nodes, "shake_128", wraps=fingerprint_nodes.shake_128) as hashed:
            work(*arguments)
        return hashed.call_count

    def test_nothing_is_hashed_before_the_first_question(self) -> None:
        self.assertEqual(self.hashes(FingerprintTree, [(b"ann", 1, bytes(32))]), 0)
        tree = FingerprintTree()
        self.assertEqual(sum(self.hashes(tree.set, b"%d" % n, 1, bytes(32)) for n in range(500)), 0)

    def test_the_root_is_known(self) -> None:
        self.assertEqual(self.hashes(self.tree.range), 0)
        self.tree.set(bytes(32), 2, bytes(32))
        self.assertEqual(self.hashes(self.tree.range), 0)

    def test_what_does_not_change_costs_nothing(self) -> None:
        self.assertEqual(self.hashes(self.tree.set, bytes(32), 1, bytes(32)), 0)
        self.assertEqual(self.hashes(self.tree.discard, b"nobody"), 0)
        self.assertEqual(self.hashes(self.tree.set, bytes(32), 2, bytes(32)), 2)
        self.assertEqual(self.hashes(self.tree.set, b"somebody", 2, bytes(32)), 1)

    def test_a_range_hashes_at_most_half_a_leaf_at_either_end(self) -> None:
        for lower, upper in ((1, 19_999), (5_000, 5_100), (777, 778), (10_000, 15_000)):
            arguments = lower.to_bytes(32, "big"), upper.to_bytes(32, "big")
            self.assertLessEqual(self.hashes(self.tree.range, *arguments), LEAF_AUTHORS)

    def test_a_crowded_place_stays_cheap(self) -> None:
        """Thousands of authors between two neighbours: changes cost two hashes, ranges as many as before."""
        random = Random(4)
        prefix = (5_000).to_bytes(32, "big")[:30]
        for _ in range(5_000):
            self.tree.set(prefix + random.randbytes(2), 2, random.randbytes(32))
        found = prefix + b"\x80\x00"
        self.tree.set(found, 2, bytes(32))
        self.tree.range(found)
        self.assertLessEqual(self.hashes(self.tree.set, found, 3, bytes(32)), 2)
        self.assertLessEqual(self.hashes(self.tree.range, found), LEAF_AUTHORS // 2)
        self.assertLessEqual(self.hashes(self.tree.discard, found), 1)
