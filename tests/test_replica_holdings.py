"""Ring 1: two heads per author, and what reconcile compares."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.heads import Heads
from gossiplog.log.clock import Clock
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import genesis_id
from gossiplog.log.segment import Head, Segment

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
SALT = bytes(range(32))


def head(seq: int) -> Head:
    """The head of that seq."""
    return Head(seq, bytes([seq]) * 32)


def proof(author: bytes) -> ForkProof:
    """One that only looks like a proof."""
    return ForkProof(author, 1, bytes(32), bytes(64), Segment(author, 2, 0, bytes([9]) * 32, bytes(64), b""))


class HeadTests(SynchronousTestCase):
    """What is accepted, and what of it is durable."""

    def setUp(self) -> None:
        """A is held up to 5."""
        self.clock = Clock({A: head(5)})
        self.heads = Heads(self.clock, set(), set())

    def commit(self, author: bytes, seq: int) -> None:
        """More is on disk."""
        self.clock.replace(author, head(seq))
        self.heads.settle(author)

    def test_accepted_is_ahead_of_durable(self) -> None:
        """Until the last of it is committed."""
        self.assertEqual(self.heads.accepted(A), head(5))
        self.heads.accept(A, head(9))
        self.commit(A, 7)
        self.assertEqual((self.heads.accepted(A), self.heads.accepted_seq(A)), (head(9), 9))
        self.assertTrue(self.heads.pending)
        self.commit(A, 9)
        self.assertEqual(self.heads.ahead, {})
        self.assertEqual(self.heads.accepted_seq(A), 9)

    def test_unknown_author(self) -> None:
        """Its log begins at its genesis id."""
        self.assertEqual(self.heads.accepted(B), Head(0, genesis_id(B)))
        self.assertEqual(self.heads.accepted_seq(B), 0)

    def test_revert(self) -> None:
        """Of one author or of all: the durable head counts again."""
        self.heads.accept(A, head(6))
        self.heads.accept(B, head(1))
        self.heads.revert(A)
        self.assertEqual((self.heads.accepted_seq(A), self.heads.accepted_seq(B)), (5, 1))
        self.heads.revert()
        self.assertFalse(self.heads.pending)

    def test_an_own_append_that_came_first(self) -> None:
        """What is durable counts, whatever had been accepted of a restored writer's old log."""
        self.heads.accept(A, Head(6, bytes(32)))
        self.clock.replace(A, head(6))
        self.assertEqual(self.heads.accepted(A), head(6))
        self.clock.replace(A, head(7))
        self.assertEqual(self.heads.accepted_seq(A), 7)

    def test_freezing(self) -> None:
        """Nothing of a forked author is pending any more."""
        self.heads.accept(A, head(6))
        self.heads.freeze(A)
        self.assertEqual(self.heads.accepted_seq(A), 5)
        self.assertEqual(set(self.heads.forks), {A})


class ComparisonTests(SynchronousTestCase):
    """Items, authors and the root."""

    def setUp(self) -> None:
        """Two nodes with the same."""
        self.clock = Clock({A: head(1), B: head(2)})
        self.heads = Heads(self.clock, set(), set())
        self.same = Heads(self.clock.copy(), set(), set())

    def test_root(self) -> None:
        """It is the same exactly when both hold the same, and another in every session."""
        root = self.heads.root(SALT)
        self.assertEqual(len(root), 16)
        self.assertEqual(root, self.same.root(SALT))
        self.assertNotEqual(root, self.same.root(bytes(32)))
        self.clock.replace(A, head(3))
        self.heads.settle(A)
        self.assertNotEqual(self.heads.root(SALT), root)
        self.clock.replace(A, head(1))
        self.heads.settle(A)
        self.assertEqual(self.heads.root(SALT), root)

    def test_what_is_only_accepted_is_not_claimed(self) -> None:
        """A crash would take it back."""
        root = self.heads.root(SALT)
        self.heads.accept(A, head(9))
        self.assertEqual(self.heads.root(SALT), root)
        self.assertEqual(self.heads.item(A, SALT)[0], 1)
        self.heads.settle(A)  # some of it is durable, but no more than before
        self.assertEqual(self.heads.root(SALT), root)
        self.assertEqual(self.heads.stands_for(A), tuple(head(1)))

    def test_forks_agree(self) -> None:
        """Whatever branch is held, and if none is."""
        self.same.clock.replace(A, head(7))
        self.same.settle(A)
        self.same.clock.discard(B)
        self.same.settle(B)
        for holdings in (self.heads, self.same):
            for author in (A, B):
                holdings.freeze(author)
        self.assertEqual(self.heads.root(SALT), self.same.root(SALT))
        self.assertEqual(self.heads.item(A, SALT), (0, bytes(8)))
        self.assertEqual(list(self.same.authors()), [A, B])

    def test_items(self) -> None:
        """Seq and a check of the id; no check for what is not held."""
        self.assertEqual(self.heads.item(A, SALT), self.same.item(A, SALT))
        self.assertNotEqual(self.heads.item(A, SALT)[1], self.same.item(A, bytes(32))[1])
        self.assertEqual(self.heads.item(C, SALT), (0, b""))

    def test_authors_of_a_range(self) -> None:
        """The lower bound belongs to it, the upper does not, an empty upper is the end."""
        self.heads.freeze(C)
        self.assertEqual(list(self.heads.authors(b"", b"")), [A, B, C])
        self.assertEqual(list(self.heads.authors(B, C)), [B])
        self.assertEqual(list(self.heads.authors(b"", B)), [A])
        self.assertEqual(list(self.heads.authors(C, b"")), [C])
