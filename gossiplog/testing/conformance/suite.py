"""What every store backend has to do, as tests.

Responsible for: the contract of :class:`gossiplog.store.interface.Backend`, checked from outside.
Must not know: any backend.

Mix it into a test case of ``unittest`` or trial and say how to make a backend and how to open its content again::

    class MyBackendTests(BackendConformance, unittest.TestCase):
        def make_backend(self):
            return MyBackend(self.place)

        def reopen(self, backend):
            backend.close()
            return MyBackend(self.place)
"""

from __future__ import annotations

import os

from gossiplog.errors import InvalidValueError, StoreClosedError, StoreCopiedError
from gossiplog.log.cursor import Cursor, Place
from gossiplog.log.fork import encode_proof
from gossiplog.log.kept_key import SealedSeed, Slot, dump
from gossiplog.log.keys import Keypair
from gossiplog.log.passphrase import Cost
from gossiplog.log.segment import Head, merge
from gossiplog.store.interface import (
    DeleteAuthor,
    PutCursor,
    PutFork,
    PutMeta,
    PutSegment,
    Replace,
    SavedCursor,
)
from gossiplog.testing.chain import Chain
from gossiplog.testing.conformance.rows import RowConformance


class BackendConformance(RowConformance):
    """The tests; override :meth:`make_backend` and :meth:`reopen`."""

    # -- what is new ---------------------------------------------------------------------------------------------

    def test_a_new_backend_is_empty(self) -> None:
        """Nothing is there, and asking for it is no error."""
        backend = self.make_backend()
        self.assertEqual(list(backend.heads()), [])
        self.assertEqual(backend.forks(), {})
        self.assertEqual(backend.segments(bytes(32), 1, 1000), [])
        self.assertEqual(list(backend.rows(bytes(32))), [])
        self.assertEqual(list(backend.check()), [])
        self.assertEqual(backend.secrets.seed_names(), [])
        self.assertEqual(backend.cursor_names(), [])
        self.assertEqual(backend.cursor("a"), SavedCursor(Cursor()))
        for nothing in (backend.meta("a"), backend.secrets.seed("a"), backend.secrets.node_key()):
            self.assertIsNone(nothing)
        self.assertIsInstance(backend.path, str)

    def test_a_commit_of_nothing(self) -> None:
        """An empty list is a commit like any other."""
        self.make_backend().commit([])

    # -- all or nothing ------------------------------------------------------------------------------------------

    def test_a_commit_is_whole_or_nothing(self) -> None:
        """A write that does not fit takes everything before it back."""
        backend, chain = self._filled([2, 2])
        backend.commit([PutMeta("m", b"before"), PutCursor("c", {chain.author: (1, b"")})])
        other = Chain(2)
        bad = PutSegment(chain.segments[0], Head(2, chain.segments[1].previous))
        self._refused(
            backend,
            [
                chain.put(b"more"),
                other.put(b"other"),
                Replace(chain.author, 1, 4, merge(chain.segments[:2])),
                PutFork(chain.fork()),
                PutMeta("m", b"after"),
                PutMeta("new", b"after"),
                PutCursor("c", {other.author: (2, bytes(8)), chain.author: None}),
                PutCursor("c", {}, anew=True),
                PutCursor("new", {other.author: (1, b"")}),
                DeleteAuthor(other.author),
                DeleteAuthor(chain.author),
                Chain().put(b"again"),
                bad,
            ],
        )
        backend.commit([Chain(3).put(b"goes on")])

    # -- the rest ------------------------------------------------------------------------------------------------

    def test_the_first_fork_proof_stays(self) -> None:
        """One proof per author, the one that came first, with or without entries held."""
        backend, chain = self._filled([1, 1])
        proof = chain.fork()
        stranger = Chain(2)
        stranger.put(b"not in the store")
        second = proof._replace(seq=proof.seq + 1, segment=proof.segment._replace(first=proof.seq + 2))
        backend.commit([PutFork(proof), PutFork(second), PutFork(stranger.fork())])
        backend.commit([PutFork(second)])
        self.assertEqual(
            backend.forks(),
            {one.author: len(encode_proof(one)) for one in (proof, stranger.fork())},
        )
        self.assertEqual(backend.fork(chain.author), proof)
        self.assertIsNone(backend.fork(bytes(32)))
        self.assertEqual(self.reopen(backend).fork(chain.author), proof)

    def test_values_and_cursors(self) -> None:
        """Both are set, replaced and removed, apart from each other."""
        backend = self.make_backend()
        ann, bob, cat = bytes(32), bytes(31) + b"b", b"c" * 32
        places: dict[bytes, Place | None] = {ann: (1, b""), bob: (2**53 - 1, b"8 bytes!"), cat: (3, bytes(8))}
        backend.commit([PutMeta("a", b"1"), PutCursor("a", places), PutCursor("ü\n", {cat: (4, b"")})])
        backend.commit([PutCursor("gone", places), PutCursor("b", places), PutMeta("a", bytes(300_000))])
        backend.commit([PutCursor("gone", {}, anew=True), PutCursor("never", {})])
        backend.commit([PutCursor("too", {ann: (1, b"")}), PutCursor("too", {ann: None, bob: None})])
        backend.commit([PutCursor("a", {ann: (7, bytes(8)), bob: None}), PutCursor("a", {cat: (2, b"")})])
        backend.commit([PutCursor("b", {ann: (5, b"")}, anew=True)])
        for _ in range(2):
            self.assertEqual(backend.meta("a"), bytes(300_000))
            for name, expected in (
                ("a", {ann: (7, bytes(8)), cat: (2, b"")}),
                ("b", {ann: (5, b"")}),
                ("ü\n", {cat: (4, b"")}),
            ):
                saved = backend.cursor(name)
                self.assertEqual((dict(saved.cursor.items()), saved.damage), (expected, ""))
                saved.cursor.advance(bob, 9)  # the caller's
            for name in ("gone", "never", "too"):
                self.assertEqual(backend.cursor(name), SavedCursor(Cursor()))
            self.assertEqual(backend.cursor_names(), ["a", "b", "ü\n"])
            backend = self.reopen(backend)
        backend.commit([PutCursor("gone", {cat: (1, b"")})])  # nothing of the one before
        self.assertEqual(backend.cursor("gone"), SavedCursor(Cursor({cat: (1, b"")})))
        backend.commit([PutMeta("a", None)])
        self.assertIsNone(backend.meta("a"))
        for bad in (PutMeta("a", "text"), PutCursor(1, {}), PutCursor("\ud800", {}), PutMeta("\ud800", b"")):  # type: ignore[arg-type]
            self._refused(backend, [PutMeta("m", b"before"), bad])

    def test_a_cursor_of_many_authors(self) -> None:
        """Whole, and none of another one's."""
        backend = self.make_backend()
        some = {number.to_bytes(32, "big"): (number, bytes(8)) for number in range(1, 1000)}
        backend.commit([PutCursor("other", dict.fromkeys(some, (1, b""))), PutCursor("c", some)])
        backend.commit([PutCursor("c", dict.fromkeys(list(some)[::2]))])
        left = {author: place for author, place in some.items() if place[0] % 2 == 0}
        for _ in range(2):
            self.assertEqual(backend.cursor("c"), SavedCursor(Cursor(left)))
            backend = self.reopen(backend)

    def test_seeds(self) -> None:
        """A seed is kept by name and never written over."""
        backend = self.make_backend()
        backend.secrets.create_seed("Ann", bytes(31) + b"a")
        backend.secrets.create_seed("ann", bytes(31) + b"b")
        with self.assertRaises(InvalidValueError):
            backend.secrets.create_seed("ann", bytes(32))
        for _ in range(2):
            self.assertEqual(backend.secrets.seed_names(), ["Ann", "ann"])
            self.assertEqual(backend.secrets.seed("Ann"), bytes(31) + b"a")
            self.assertEqual(backend.secrets.seed("ann"), bytes(31) + b"b")
            self.assertIsNone(backend.secrets.seed("bob"))
            backend = self.reopen(backend)

    def test_seeds_in_another_form(self) -> None:
        """A seed that is there can be kept otherwise, under a passphrase or not; none is made by that."""
        backend = self.make_backend()
        pair = Keypair(bytes(32))
        slot = Slot(Cost(1, 8192), bytes(16), bytes(24), bytes(48))
        backend.secrets.create_seed("ann", pair.seed)
        for kept in (SealedSeed(pair.author, (slot,)), SealedSeed(pair.author, (slot, slot)), pair):
            backend.secrets.replace_seed("ann", dump(kept))
            self.assertEqual(backend.secrets.seed("ann"), dump(kept))
            backend = self.reopen(backend)
            self.assertEqual(backend.secrets.seed("ann"), dump(kept))
        for name, seed in (("bob", pair.seed), ("ann", bytes(31)), ("ann", bytes(160)), ("a/b", pair.seed)):
            with self.assertRaises(InvalidValueError):
                backend.secrets.replace_seed(name, seed)
        self.assertEqual(backend.secrets.seed_names(), ["ann"])

    def test_names_of_writers(self) -> None:
        """What could leave a directory, hide in it or break a terminal is no name."""
        backend = self.make_backend()
        for name in (
            "",
            "x" * 65,
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "a\0",
            "a\n",
            "\x7f",
            "\ud800",
            "字" * 64,
        ):
            with self.assertRaises(InvalidValueError):
                backend.secrets.create_seed(name, bytes(32))
        for name in ("x" * 64, "a b", "a..b", "%41", "Jürgen", "字" * 20, "a@b", "~", "-"):
            backend.secrets.create_seed(name, bytes(32))
            self.assertIn(name, backend.secrets.seed_names())
        for seed in (b"", bytes(31), bytes(33)):
            with self.assertRaises(InvalidValueError):
                backend.secrets.create_seed("short", seed)

    def test_the_node_key(self) -> None:
        """It is written once, or replaced on purpose."""
        backend = self.make_backend()
        backend.secrets.create_node_key(b"n" * 32)
        with self.assertRaises(InvalidValueError):
            backend.secrets.create_node_key(bytes(32))
        backend = self.reopen(backend)
        self.assertEqual(backend.secrets.node_key(), b"n" * 32)
        for key in (b"m" * 32, b"o" * 32):
            backend.secrets.replace_node_key(key)
            self.assertEqual(backend.secrets.node_key(), key)
        self.assertEqual(self.reopen(backend).secrets.node_key(), b"o" * 32)

    def test_the_first_node_key_may_replace_none(self) -> None:
        """A copy gets a new one, whether or not one was copied."""
        backend = self.make_backend()
        backend.secrets.replace_node_key(b"n" * 32)
        self.assertEqual(self.reopen(backend).secrets.node_key(), b"n" * 32)

    def test_the_clock_is_what_the_rows_say(self) -> None:
        """It begins with the heads, moves on its own from then on, and a copy on its own again."""
        backend, ann = self._filled([2, 1])
        bob = Chain(2)
        backend.commit([bob.put(b"x")])
        clock = self.reopen(backend).clock()
        both = sorted([(ann.author, ann.head), (bob.author, bob.head)])
        copy = clock.copy()
        for one in (clock, copy):
            self.assertEqual(list(one.items()), both)
            self.assertEqual((list(one), len(one), one.total()), ([author for author, _ in both], 2, 4))
            self.assertEqual(list(one.range(both[1][0])), both[1:])
            self.assertEqual(list(one.range(b"", both[1][0])), both[:1])
            self.assertIn(ann.author, one)
            self.assertNotIn(bytes(32), one)
            self.assertEqual((one.head(ann.author), one.seq(ann.author)), (ann.head, 3))
            self.assertEqual((one.head(bytes(32)), one.seq(bytes(32))), (None, 0))
        later = Head(4, bytes(32))
        clock.advance(ann.author, later)
        for step_back in (later, ann.head):
            with self.assertRaises(InvalidValueError):
                clock.advance(ann.author, step_back)
        clock.discard(bob.author)
        clock.discard(bob.author)
        self.assertEqual(list(clock.items()), [(ann.author, later)])
        clock.set(ann.author, ann.head)
        clock.set(bob.author, bob.head)
        self.assertEqual((list(clock.items()), clock.dump()), (both, copy.dump()))
        clock.set(ann.author, None)
        self.assertEqual((len(clock), len(copy)), (1, 2))

    def test_the_guard_of_a_new_store(self) -> None:
        """Who got a seed here may append, until it is known that entries of it were lost."""
        backend = self.make_backend()
        ann, bob = Chain(1), Chain(2)
        guard = backend.guard(backend.clock(), {}, lambda size: b"e" * size)
        for chain, name in ((ann, "ann"), (bob, "bob")):
            guard.adopt(chain.author)
            backend.secrets.create_seed(name, chain.keypair.seed)
            self.assertIsNone(guard.refusal(chain.author))
        self.assertEqual(guard.copied, "")
        backend.commit([ann.put(b"one")])
        guard.signed(ann.author, 1)
        guard.overtaken(ann.author, 7)
        self.assertIsInstance(guard.refusal(ann.author), StoreCopiedError)
        self.assertIsNone(guard.refusal(bob.author))
        self.assertNotEqual(guard.copied, "")
        guard.require_all_back()
        guard.recovered()
        self.assertEqual((guard.copied, guard.refusal(ann.author)), ("", None))
        backend.close()
        guard.close()
        guard.close()

    def test_the_disk(self) -> None:
        """It is there, or no question."""
        disk = self.make_backend().disk
        self.assertTrue(disk is None or os.path.exists(disk))

    def test_after_closing(self) -> None:
        """Every method says so, and a second close is nothing."""
        backend, chain = self._filled([1])
        backend.close()
        backend.close()
        for use in (
            lambda: list(backend.heads()),
            backend.forks,
            lambda: backend.commit([]),
            lambda: backend.segments(chain.author, 1, 1),
            lambda: list(backend.rows(chain.author)),
            lambda: backend.meta("a"),
            lambda: backend.cursor("a"),
            backend.cursor_names,
            lambda: backend.secrets.seed("a"),
            lambda: backend.secrets.seed_names(),
            lambda: backend.secrets.create_seed("a", bytes(32)),
            lambda: backend.secrets.replace_seed("a", bytes(32)),
            lambda: backend.secrets.node_key(),
            lambda: backend.secrets.create_node_key(bytes(32)),
            lambda: backend.secrets.replace_node_key(bytes(32)),
            lambda: list(backend.check()),
        ):
            with self.assertRaises(StoreClosedError):
                use()
