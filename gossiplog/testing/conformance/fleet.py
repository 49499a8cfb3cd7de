"""What a store that relays share has to do besides, as tests.

Responsible for: the contract of :class:`gossiplog.store.shared.interface.Shared`, checked from outside.
Must not know: any backend.

Mix it into a test case and say how to make backends of one store::

    class MyFleetTests(FleetConformance, unittest.TestCase):
        def make_fleet(self, count):
            return [MyBackend(self.place) for _ in range(count)]
"""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gossiplog.errors import InvalidValueError, LostRaceError
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.segment import Head, Segment, merge
from gossiplog.store.interface import Backend, DeleteAuthor, PutFork, PutMeta, PutSegment, Replace
from gossiplog.store.shared.interface import Change, Kept, Shared, Stand
from gossiplog.testing.chain import Chain

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object

ALL = 1 << 30


class FleetConformance(_Base):
    """The tests; override :meth:`make_fleet`."""

    def make_fleet(self, count: int) -> Sequence[Backend]:
        """Return so many backends of one new, empty store; the test case closes what it opens."""
        raise NotImplementedError

    # -- compare and set -----------------------------------------------------------------------------------------

    def test_one_of_two_continues_a_log(self) -> None:
        """Of two that name the same head before, the second has lost; the author is named, and nothing is written."""
        ann, bob = self.make_fleet(2)
        chain, other = Chain(1), Chain(2)
        for number in range(3):
            first, branch = _both(chain, b"%d" % number)
            ann.commit([first])
            before = self._content(ann)
            with self.assertRaises(LostRaceError) as lost:
                bob.commit([PutMeta("m", b"no"), other.put(b"with it"), branch])
            other = Chain(2)
            self.assertEqual(lost.exception.authors, (chain.author,))
            self.assertEqual(self._content(ann), before)
            self.assertIsNone(bob.meta("m"))
        bob.commit([chain.put(b"behind it"), Chain(2).put(b"of another")])
        self.assertEqual(self._content(ann), self._content(bob))
        self.assertEqual([row.last for row in ann.segments(chain.author, 1, ALL)], [1, 2, 3, 4])

    def test_all_who_lost_are_named(self) -> None:
        """Those who did not are not."""
        ann, bob = self.make_fleet(2)
        chains = [Chain(number) for number in range(1, 5)]
        pairs = [_both(chain, b"1") for chain in chains]
        ann.commit([pair[0] for pair in pairs[:2]])
        with self.assertRaises(LostRaceError) as lost:
            bob.commit([pair[1] for pair in pairs])
        self.assertEqual(set(lost.exception.authors), {chain.author for chain in chains[:2]})
        self.assertEqual({author for author, _ in bob.heads()}, {chain.author for chain in chains[:2]})

    def test_a_forked_log_is_not_continued(self) -> None:
        """Whoever has not heard of the fork loses too; the first proof stays."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        following = chain.put(b"2")
        ann.commit([PutFork(chain.fork())])
        bob.commit([PutFork(chain.fork())])
        with self.assertRaises(LostRaceError):
            bob.commit([following])
        [stand] = self._shared(bob).stands([chain.author])
        self.assertEqual((stand.head and stand.head.seq, stand.proof), (1, chain.fork()))

    def test_a_fork_of_an_author_without_entries(self) -> None:
        """Stops its log before it begins."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        first = chain.put(b"1")
        ann.commit([PutFork(chain.fork())])
        with self.assertRaises(LostRaceError):
            bob.commit([first])
        self.assertEqual(list(bob.heads()), [])

    def test_several_rows_of_one_author(self) -> None:
        """Each continues the one before it in the same commit."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        ann.commit([chain.put(b"1"), chain.put(b"2")])
        bob.commit([chain.put(b"3"), chain.put(b"4"), chain.put(b"5")])
        self.assertEqual(dict(ann.heads()), {chain.author: chain.head})
        broken = [chain.put(b"6"), chain.put(b"7"), chain.put(b"8")]
        with self.assertRaises((LostRaceError, InvalidValueError)):
            bob.commit([broken[0], broken[2]])
        self.assertEqual([row.last for row in ann.segments(chain.author, 1, ALL)], [1, 2, 3, 4, 5])

    # -- what others do ------------------------------------------------------------------------------------------

    def test_what_others_wrote(self) -> None:
        """Comes once, each lane in its order, with the segments or without; what we wrote does not."""
        ann, bob, cyn = self.make_fleet(3)
        shared = self._shared(cyn)
        position = shared.start()
        one, two = Chain(1), Chain(2)
        for number in range(3):
            ann.commit([one.put(b"%d" % number)])
            bob.commit([two.put(b"%d" % number), PutMeta("m", b"%d" % number)])
        cyn.commit([Chain(3).put(b"ours")])
        ann.commit([PutFork(one.fork())])
        news, after = shared.poll(position, ALL)
        changes = [change for change in news if isinstance(change, Stand)]
        self.assertEqual([change for change in news if isinstance(change, Kept)], [Kept("m")] * 3)
        for chain in (one, two):
            heads = [change.head.seq for change in changes if change.author == chain.author and change.head]
            self.assertEqual([*dict.fromkeys(heads)], [1, 2, 3])
            found = [change.segment for change in changes if change.author == chain.author and change.segment]
            self.assertEqual(found, [row for row in chain.segments if row in found])
        self.assertEqual([change.proof for change in changes if change.proof], [one.fork()])
        self.assertEqual({change.author for change in changes}, {one.author, two.author})
        self.assertEqual([*shared.poll(after, ALL)[0]], [])
        self.assertEqual([*shared.poll(position, ALL)[0]], [*news])

    def test_in_pieces(self) -> None:
        """Never without progress, and nothing twice."""
        ann, bob, cyn = self.make_fleet(3)
        shared = self._shared(cyn)
        position = shared.start()
        one, two = Chain(1), Chain(2)
        for _ in range(20):
            ann.commit([one.put(bytes(1000))])
            bob.commit([two.put(bytes(1000))])
        found: list[Change] = []
        pieces = 0
        while True:
            changes, position = shared.poll(position, 3000)
            if not changes:
                break
            found += changes
            pieces += 1
        self.assertGreater(pieces, 3)
        for chain in (one, two):
            self.assertEqual(_seqs(found, chain), [*range(1, 21)])

    def test_start_is_now(self) -> None:
        """What was there before does not come."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        ann.commit([chain.put(b"1")])
        position = self._shared(bob).start()
        self.assertEqual([*self._shared(bob).poll(position, ALL)[0]], [])
        ann.commit([chain.put(b"2")])
        [change] = self._shared(bob).poll(position, ALL)[0]
        self.assertEqual(_ends(change), (chain.author, chain.head))

    def test_who_comes_later(self) -> None:
        """Begins with all that is there, and is heard from then on."""
        ann, bob = self.make_fleet(2)
        position = self._shared(ann).start()
        chain = Chain(1)
        bob.commit([chain.put(b"1")])
        changes, position = self._shared(ann).poll(position, ALL)
        self.assertEqual([_ends(change) for change in changes], [(chain.author, chain.head)])
        self.assertEqual(dict(ann.clock().items()), {chain.author: chain.head})

    def test_stands(self) -> None:
        """How authors are now; of those of whom nothing is held, that."""
        ann, bob = self.make_fleet(2)
        chain, other = Chain(1), Chain(2)
        ann.commit([chain.put(b"1"), chain.put(b"2")])
        stands = {each.author: each for each in self._shared(bob).stands([chain.author, other.author])}
        self.assertEqual(stands[chain.author], Stand(chain.author, chain.head))
        self.assertIsNone(stands.get(other.author, Stand(other.author, None)).head)

    # -- what is deleted -----------------------------------------------------------------------------------------

    def test_a_deleted_log(self) -> None:
        """Is gone for all; who has not heard of that moves it neither on nor again."""
        ann, bob = self.make_fleet(2)
        chain, new = Chain(1), Chain(2)
        first, forked = chain.put(b"1"), Chain(3)
        ann.commit([first, forked.put(b"1"), PutFork(forked.fork())])
        position = self._shared(bob).start()
        second, begins = chain.put(b"2"), new.put(b"1")
        ann.commit([DeleteAuthor(chain.author), DeleteAuthor(new.author), DeleteAuthor(forked.author)])
        for backend in (ann, bob):
            self.assertEqual([*backend.heads()], [])
            self.assertEqual(backend.segments(chain.author, 1, ALL), [])
            self.assertEqual((backend.forks(), backend.weights()), ({}, {}))
        for write, author in ((second, chain.author), (first, chain.author), (begins, new.author)):
            with self.assertRaises(LostRaceError) as lost:
                bob.commit([write])
            self.assertEqual(lost.exception.authors, (author,))
        stands = {stand.author: stand for stand in self._shared(bob).stands([chain.author, new.author])}
        self.assertEqual({stand.deletions for stand in stands.values()}, {1})
        changes = self._shared(bob).poll(position, ALL)[0]
        self.assertEqual(
            [change for change in changes if _ends(change)[0] == chain.author],
            [Stand(chain.author, None, deletions=1)],
        )
        ann.commit([first])  # who deleted it knows
        self._shared(bob).deletions[chain.author] = 1  # and who has heard
        bob.commit([second])
        self.assertEqual(dict(ann.heads()), {chain.author: chain.head})
        self.assertEqual([row.last for row in bob.segments(chain.author, 1, ALL)], [1, 2])

    def test_deletions_are_counted(self) -> None:
        """Whoever does it, and whether or not anything was held; who comes later begins with what is so then."""
        ann, bob, cyn = self.make_fleet(3)
        chain = Chain(1)
        ann.commit([DeleteAuthor(chain.author)])
        bob.commit([DeleteAuthor(chain.author)])
        with self.assertRaises(LostRaceError):
            ann.commit([chain.put(b"1")])
        self._shared(cyn).start()
        self.assertEqual(self._shared(cyn).deletions, {chain.author: 2})
        again = Chain(1)
        cyn.commit([again.put(b"1"), DeleteAuthor(chain.author), Chain(1).put(b"other")])
        self.assertEqual(self._shared(cyn).deletions, {chain.author: 3})
        [stand] = self._shared(bob).stands([chain.author])
        self.assertEqual((stand.deletions, stand.head and stand.head.seq), (3, 1))

    # -- values --------------------------------------------------------------------------------------------------

    def test_a_value_in_the_place_of_another(self) -> None:
        """Of two that name the one before, the second has lost, with all that it was to write."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        ann.commit([PutMeta("m", b"1", (None,))])
        bob.commit([PutMeta("m", b"2", (None, b"1")), PutMeta("m", b"3", (b"2",))])
        for wrong in ((b"1",), (None,), (b"2",)):
            with self.assertRaises(LostRaceError) as lost:
                ann.commit([chain.put(b"with it"), PutMeta("m", b"no", wrong), PutMeta("other", b"no")])
            self.assertEqual(lost.exception.keys, ("m",))
            chain = Chain(1)
        self.assertEqual((ann.meta("m"), ann.meta("other"), [*ann.heads()]), (b"3", None, []))
        ann.commit([PutMeta("m", None, (b"3",))])
        bob.commit([PutMeta("m", b"4", (None,))])
        bob.commit([PutMeta("m", b"5")])
        self.assertEqual(ann.meta("m"), b"5")

    def test_values_are_told(self) -> None:
        """By name: what is there now, whoever hears of it asks."""
        ann, bob = self.make_fleet(2)
        position = self._shared(bob).start()
        ann.commit([PutMeta("m", b"1"), Chain(1).put(b"1")])
        ann.commit([PutMeta("m", None)])
        changes, position = self._shared(bob).poll(position, ALL)
        self.assertEqual([change for change in changes if isinstance(change, Kept)], [Kept("m")] * 2)
        self.assertEqual([*self._shared(bob).poll(position, ALL)[0]], [])

    # -- rows of others -------------------------------------------------------------------------------------------

    def test_rows_that_one_replaces(self) -> None:
        """Are replaced for all, and a second one finds others there; the log goes on behind them."""
        ann, bob = self.make_fleet(2)
        chain = Chain(1)
        ann.commit([chain.put(b"%d" % number) for number in range(4)])
        whole = Replace(chain.author, 1, 4, merge(chain.segments))
        ann.commit([whole])
        part = Replace(chain.author, 1, 2, merge(chain.segments[:2]))
        with self.assertRaises((InvalidValueError, LostRaceError)):
            bob.commit([part])
        self.assertEqual([row.last for row in bob.segments(chain.author, 1, ALL)], [4])
        bob.commit([chain.put(b"behind")])
        self.assertEqual(ann.weights(), bob.weights())
        self.assertEqual(
            ann.weights(), {chain.author: sum(row_bytes(row.size) for row in ann.rows(chain.author))}
        )
        other = Chain(2)
        bob.commit([other.put(b"other")])
        for fleet in (ann.shared, bob.shared):
            assert fleet is not None
            self.assertEqual(fleet.rows_bytes(), sum(ann.weights().values()))
            self.assertEqual(
                fleet.weights([other.author, bytes(32)]), {other.author: ann.weights()[other.author]}
            )
        bob.commit([DeleteAuthor(chain.author)])
        with self.assertRaises((InvalidValueError, LostRaceError)):
            ann.commit([whole])
        self.assertEqual([*ann.rows(chain.author)], [])

    # -- helpers -------------------------------------------------------------------------------------------------

    def _shared(self, backend: Backend) -> Shared:
        shared = backend.shared
        assert shared is not None
        return shared

    def _content(self, backend: Backend) -> object:
        rows: dict[bytes, list[Segment]] = {
            author: backend.segments(author, 1, ALL) for author, _ in backend.heads()
        }
        return rows, dict(backend.heads()), backend.forks()


def _ends(change: Change) -> tuple[bytes, Head | None]:
    assert isinstance(change, Stand)
    return change.author, change.head


def _seqs(changes: Sequence[Change], chain: Chain) -> list[int]:
    stands = [change for change in changes if isinstance(change, Stand) and change.author == chain.author]
    return [stand.head.seq for stand in stands if stand.head]


def _both(chain: Chain, body: bytes) -> tuple[PutSegment, PutSegment]:
    """Return two continuations of a log, of which the first is its own."""
    other = Chain(chain.keypair)
    other.head = chain.head
    branch = other.put(b"branch " + body)
    return chain.put(body), branch
