"""The part of the conformance suite about rows: what is added, read, replaced and deleted.

Responsible for: these tests, and what both parts share: a log to write, and a check that a commit changed nothing.
Must not know: any backend.  Use :mod:`gossiplog.testing.conformance.suite`, which includes this.
"""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from gossiplog.errors import InvalidValueError, LostRaceError
from gossiplog.log.disk_cost import row_bytes
from gossiplog.log.segment import Head, HoledRow, drop_payloads, merge, toil_bytes
from gossiplog.store.interface import (
    Backend,
    Cut,
    DeleteAuthor,
    Mend,
    PutFork,
    PutSegment,
    Replace,
    Row,
    RowWrite,
)
from gossiplog.testing.chain import Chain

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class RowConformance(_Base):
    """The tests about rows; see :class:`gossiplog.testing.conformance.suite.BackendConformance`."""

    def make_backend(self) -> Backend:
        """Return a new, empty backend; the test case closes what it opens."""
        raise NotImplementedError

    def reopen(self, backend: Backend) -> Backend:
        """Return what the next process finds where ``backend`` is, which may still be open."""
        raise NotImplementedError

    def _filled(self, rows: Sequence[int], number: int = 1) -> tuple[Backend, Chain]:
        """Return a backend with one log whose rows have that many entries."""
        backend, chain = self.make_backend(), Chain(number)
        backend.commit([chain.put(*[b"%d" % place for place in range(count)]) for count in rows])
        return backend, chain

    def _refused(self, backend: Backend, writes: Sequence[RowWrite]) -> None:
        """Check that ``writes`` are refused and change nothing."""
        before = self._content(backend)
        with self.assertRaises((InvalidValueError, LostRaceError)):
            backend.commit(writes)
        self.assertEqual(self._content(backend), before)

    def _content(self, backend: Backend) -> object:
        heads = dict(backend.heads())
        logs = {author: backend.segments(author, 1, 1 << 30) for author in heads}
        values = [backend.meta("m"), backend.meta("new"), backend.cursor("c")]
        return heads, logs, backend.forks(), values, backend.cursor_names()

    # -- segments ------------------------------------------------------------------------------------------------

    def test_segments_come_back_as_written(self) -> None:
        """Content survives, for several authors in one commit, also when opened again."""
        backend, ann, bob = self.make_backend(), Chain(1), Chain(2)
        backend.commit([ann.put(b"one", b"two"), bob.put(bytes(100_000)), ann.put(b"")])
        for _ in range(2):
            self.assertEqual(dict(backend.heads()), {ann.author: ann.head, bob.author: bob.head})
            self.assertEqual(backend.segments(ann.author, 1, 1_000_000), ann.segments)
            self.assertEqual(backend.segments(bob.author, 1, 1_000_000), bob.segments)
            backend = self.reopen(backend)

    def test_rows_with_holes_are_remembered(self) -> None:
        """Whatever puts them there or takes them away, and when opened again."""
        backend, ann, bob = self.make_backend(), Chain(1), Chain(2)

        def holed(chain: Chain, *seqs: int) -> PutSegment:
            segment, head = chain.put(*[b"\xc7\x20\x01 a body of %d bytes" % place for place in range(4)])
            return PutSegment(drop_payloads(segment, seqs), head)

        def whole(number: int) -> Replace:
            segment = ann.segments[number]
            return Replace(ann.author, segment.first, segment.last, segment)

        backend.commit([holed(ann, 1), holed(bob, 2), holed(ann), holed(ann, 9, 10), holed(ann, 16)])
        for _ in range(2):
            self.assertEqual(backend.holes(), {ann.author: 4, bob.author: 1})
            rows = [HoledRow(ann.author, *row) for row in ((1, 4, 1), (9, 4, 2), (13, 4, 1))]
            self.assertEqual(backend.holed(ann.author, 1, 99), rows)
            self.assertEqual(backend.holed(ann.author, 4, 9), rows[:2])
            self.assertEqual(backend.holed(ann.author, 5, 8), [])
            found = backend.holed_after(None, 3)
            found += backend.holed_after(found[-1], 3)
            self.assertEqual(sorted(found), sorted([*rows, HoledRow(bob.author, 1, 4, 1)]))
            self.assertEqual([row for row in found if row.author == ann.author], rows)
            self.assertEqual(backend.holed_after(found[-1], 3), [])
            backend = self.reopen(backend)
        backend.commit([whole(0), Mend([PutSegment(ann.segments[2], Head(12, ann.segments[3].previous))])])
        self.assertEqual(backend.holes(), {ann.author: 1, bob.author: 1})
        self._refused(backend, [DeleteAuthor(ann.author), whole(1)])
        self.assertEqual(backend.holed(ann.author, 1, 99), rows[2:])
        backend.commit([DeleteAuthor(bob.author), Cut(ann.author, 9, Head(12, ann.segments[3].previous))])
        self.assertEqual(backend.holes(), {})
        self.assertEqual(self.reopen(backend).holed_after(None, 9), [])

    def test_weights(self) -> None:
        """Of all rows, whatever their size, and however they came or went; the same when opened again."""
        backend, ann, bob = self.make_backend(), Chain(1), Chain(2)
        sizes = (1, 300, 9000, 20_000, 1 << 20)
        backend.commit([ann.put(bytes(size)) for size in sizes])
        backend.commit([bob.put(b"x"), bob.put(b"y"), PutFork(bob.fork())])
        everything = [*ann.segments]
        for rows in (everything, everything[:2]):
            weights = {
                author: sum(row_bytes(len(row.bodies)) for row in held)
                for author, held in ((ann.author, rows), (bob.author, bob.segments))
            }
            self.assertEqual(backend.weights(), weights)
            backend = self.reopen(backend)
            self.assertEqual(backend.weights(), weights)
            backend.commit([Cut(ann.author, 2, Head(2, ann.segments[2].previous))])
        backend.commit([Replace(bob.author, 1, 2, merge(bob.segments)), DeleteAuthor(ann.author)])
        self.assertEqual(backend.weights(), {bob.author: row_bytes(len(merge(bob.segments).bodies))})

    def test_a_row_of_the_largest_size(self) -> None:
        """One entry of 1 MiB is a row."""
        backend, chain = self.make_backend(), Chain()
        backend.commit([chain.put(bytes(1 << 20))])
        self.assertEqual(self.reopen(backend).segments(chain.author, 1, 1), chain.segments)

    def test_a_log_is_not_started_twice(self) -> None:
        """A second first entry is refused, which would be a fork of our own making."""
        backend, _ = self._filled([1])
        self._refused(backend, [Chain().put(b"another first entry")])

    def test_a_gap_is_refused(self) -> None:
        """A row that does not continue the head is refused, with or without a head there."""
        backend, chain = self._filled([1])
        chain.put(b"never written")
        self._refused(backend, [chain.put(b"behind a gap")])
        stranger = Chain(2)
        stranger.put(b"never written")
        self._refused(backend, [stranger.put(b"behind a gap")])

    def test_a_row_behind_the_head_is_refused(self) -> None:
        """A row that overlaps stored ones is refused."""
        backend, chain = self._filled([2, 2])
        self._refused(backend, [PutSegment(chain.segments[1], chain.head)])

    def test_a_row_without_entries_is_refused(self) -> None:
        """A signed head alone is no row, and a head has to be that of the last entry."""
        backend, chain = self._filled([2])
        following = chain.put(b"next").segment
        self._refused(
            backend, [PutSegment(following._replace(count=0, bodies=b""), Head(2, following.previous))]
        )
        self._refused(backend, [PutSegment(following, Head(7, chain.head.id))])

    def test_segments_begin_with_the_row_that_contains_first(self) -> None:
        """A request for the middle of a row returns the row as stored."""
        backend, chain = self._filled([3, 3, 3])
        for first, row in ((1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (9, 2)):
            self.assertEqual(backend.segments(chain.author, first, 1_000_000), chain.segments[row:])
        for first in (0, 10, 1000):
            self.assertEqual(backend.segments(chain.author, first, 1_000_000), [])

    def test_segments_stop_at_the_limit(self) -> None:
        """At least one row comes, and no further one once the limit is reached, which is of work."""
        backend, chain = self._filled([3, 3, 3])
        size = toil_bytes(chain.segments[0])
        for limit, rows in ((0, 1), (1, 1), (size, 1), (size + 1, 2), (2 * size, 2), (2 * size + 1, 3)):
            self.assertEqual(backend.segments(chain.author, 1, limit), chain.segments[:rows])

    def test_segments_stop_behind_last(self) -> None:
        """The row with ``last`` is the last one."""
        backend, chain = self._filled([3, 3, 3])
        for last, rows in ((1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (100, 3)):
            self.assertEqual(backend.segments(chain.author, 1, 1_000_000, last), chain.segments[:rows])

    def test_search_finds_what_segments_finds(self) -> None:
        """It is asked for what does not turn up as it should, and may be slow; of what is well both say the same."""
        backend, chain = self._filled([3, 3, 3])
        for _ in range(2):
            for first in (1, 3, 4, 9):
                for limit, last in ((1_000_000, None), (1, None), (1_000_000, 6)):
                    self.assertEqual(
                        backend.search(chain.author, first, limit, last),
                        backend.segments(chain.author, first, limit, last),
                    )
            for author, first in ((chain.author, 0), (chain.author, 10), (bytes(32), 1)):
                self.assertEqual(backend.search(author, first, 1_000_000), [])
            backend = self.reopen(backend)

    def test_search_finds_nothing_that_is_gone(self) -> None:
        """Of what was deleted, cut off or mended since somebody searched there is nothing left."""
        backend, ann = self._filled([3, 3, 3])
        bob = Chain(2)
        backend.commit([bob.put(b"one"), bob.put(b"two")])
        self.assertEqual(backend.search(bob.author, 1, 1_000_000), bob.segments)
        backend.commit([Cut(ann.author, 4, Head(6, ann.segments[2].previous)), DeleteAuthor(bob.author)])
        self.assertEqual(backend.search(ann.author, 1, 1_000_000), ann.segments[:2])
        self.assertEqual(backend.search(ann.author, 7, 1_000_000), [])
        self.assertEqual(backend.search(bob.author, 1, 1_000_000), [])
        merged = merge(ann.segments[:2])
        backend.commit([Mend([PutSegment(merged, Head(6, ann.segments[2].previous))])])
        self.assertEqual(backend.search(ann.author, 1, 1_000_000), [merged])

    def test_nothing_is_damaged(self) -> None:
        """``damage`` says why a store is only read: one that is well can be written, and is empty of it."""
        backend, chain = self._filled([1])
        for _ in range(2):
            self.assertEqual(backend.damage, "")
            backend.commit([chain.put(b"more")])
            backend = self.reopen(backend)

    def test_rows_are_outlines(self) -> None:
        """Every row once, ascending, from a seq on; far more than a page of them."""
        backend, chain = self._filled([2] * 3000)
        size = len(chain.segments[0].bodies)
        outlines = [Row(2 * place + 1, 2, size) for place in range(3000)]
        self.assertEqual(list(backend.rows(chain.author)), outlines)
        self.assertEqual(list(backend.rows(chain.author, 5)), outlines[2:])
        self.assertEqual(list(backend.rows(chain.author, 6)), outlines[3:])

    def test_rows_by_where_they_begin(self) -> None:
        """From a seq on, so many; none of an author that is not held."""
        backend, chain = self._filled([2, 3, 1])
        for first, limit, starts in (
            (1, 9, [1, 3, 6]),
            (2, 9, [3, 6]),
            (3, 1, [3]),
            (7, 9, []),
            (0, 2, [1, 3]),
        ):
            self.assertEqual(backend.starts(chain.author, first, limit), starts)
        self.assertEqual(backend.starts(bytes(32), 1, 9), [])

    def test_commits_between_rows(self) -> None:
        """Reading rows does not stand in the way of a commit, which they may show."""
        backend, chain = self._filled([1, 1])
        rows = backend.rows(chain.author)
        self.assertEqual(next(rows).first, 1)
        backend.commit([chain.put(b"meanwhile")])
        self.assertIn([row.first for row in rows], ([2], [2, 3]))

    # -- merging and deleting ------------------------------------------------------------------------------------

    def test_one_row_takes_the_place_of_several(self) -> None:
        """Head and neighbours stay."""
        backend, chain = self._filled([2, 1, 3, 2])
        merged = merge(chain.segments[1:3])
        backend.commit([Replace(chain.author, 3, 6, merged)])
        for _ in range(2):
            rows = [chain.segments[0], merged, chain.segments[3]]
            self.assertEqual(backend.segments(chain.author, 1, 1_000_000), rows)
            self.assertEqual(backend.segments(chain.author, 5, 1_000_000), rows[1:])
            self.assertEqual(dict(backend.heads()), {chain.author: chain.head})
            backend = self.reopen(backend)

    def test_what_does_not_fit_is_not_replaced(self) -> None:
        """Only whole rows with exactly the same entries are replaced."""
        backend, chain = self._filled([2, 2, 2])
        merged = merge(chain.segments[:2])
        for first, last, segment in (
            (1, 3, merged),
            (1, 6, merged),
            (1, 3, merged._replace(count=3)),
            (2, 4, merged._replace(first=2, count=3)),
            (5, 8, merged._replace(first=5)),
            (7, 10, merged._replace(first=7)),
        ):
            self._refused(backend, [Replace(chain.author, first, last, segment)])
        self._refused(backend, [Replace(bytes(32), 1, 4, merged._replace(author=bytes(32)))])

    def test_an_author_is_deleted(self) -> None:
        """Rows, head and proof go, others stay, and the log may begin again."""
        backend, chain = self._filled([2, 2])
        other = Chain(2)
        backend.commit([other.put(b"stays"), PutFork(chain.fork()), DeleteAuthor(chain.author)])
        backend.commit([DeleteAuthor(chain.author), DeleteAuthor(bytes(32))])
        self.assertEqual(dict(backend.heads()), {other.author: other.head})
        self.assertEqual(backend.forks(), {})
        self.assertEqual(backend.segments(chain.author, 1, 1_000_000), [])
        again = Chain()
        backend.commit([again.put(b"again")])
        self.assertEqual(self.reopen(backend).segments(again.author, 1, 1), again.segments)

    # -- repairing -----------------------------------------------------------------------------------------------

    def test_a_log_is_cut(self) -> None:
        """Rows behind one go and the head with them; others stay, and the log goes on from there."""
        backend, chain = self._filled([2, 1, 3])
        other = Chain(2)
        backend.commit([other.put(b"stays"), PutFork(chain.fork())])
        head = Head(3, chain.segments[2].previous)
        backend.commit([Cut(chain.author, 3, head)])
        for _ in range(2):
            self.assertEqual(dict(backend.heads()), {chain.author: head, other.author: other.head})
            self.assertEqual(backend.segments(chain.author, 1, 1_000_000), chain.segments[:2])
            self.assertEqual(list(backend.forks()), [chain.author])
            backend = self.reopen(backend)
        if backend.shared is None:  # where others write too, nothing continues a forked log
            backend.commit([PutSegment(chain.segments[2], chain.head)])
            self.assertEqual(self.reopen(backend).segments(chain.author, 1, 1_000_000), chain.segments)

    def test_a_log_is_cut_to_nothing(self) -> None:
        """Nothing stays but a fork proof, and the log may begin again."""
        backend, chain = self._filled([2, 1])
        backend.commit([PutFork(chain.fork()), Cut(chain.author, 0, None), Cut(bytes(32), 0, None)])
        backend = self.reopen(backend)
        self.assertEqual((list(backend.heads()), list(backend.forks())), ([], [chain.author]))
        if backend.shared is None:
            backend.commit([PutSegment(chain.segments[0], Head(2, chain.segments[1].previous))])
            self.assertEqual(self.reopen(backend).segments(chain.author, 1, 1_000_000), chain.segments[:1])

    def test_a_log_is_cut_at_the_end_of_a_row(self) -> None:
        """A head that is not the end of the row it names is refused."""
        backend, chain = self._filled([2, 2])
        for first, head in ((1, Head(1, bytes(32))), (1, Head(3, bytes(32))), (2, Head(2, bytes(32)))):
            self._refused(backend, [Cut(chain.author, first, head)])
        self._refused(backend, [Cut(chain.author, 0, chain.head)])
        self._refused(backend, [Cut(chain.author, 1, None)])

    def test_a_log_is_mended(self) -> None:
        """Rows take the place of those that begin among their entries; the head stays."""
        backend, chain = self._filled([2, 1, 3, 2])
        merged = merge(chain.segments[1:3])
        backend.commit([Mend([PutSegment(merged, Head(6, chain.segments[3].previous))])])
        for _ in range(2):
            rows = [chain.segments[0], merged, chain.segments[3]]
            self.assertEqual(backend.segments(chain.author, 1, 1_000_000), rows)
            self.assertEqual(dict(backend.heads()), {chain.author: chain.head})
            backend = self.reopen(backend)
        parts = [
            PutSegment(segment, Head(segment.last, following.previous))
            for segment, following in pairwise(chain.segments)
        ]
        backend.commit([Mend(parts[1:])])
        self.assertEqual(self.reopen(backend).segments(chain.author, 1, 1_000_000), chain.segments)

    def test_what_does_not_fit_mends_nothing(self) -> None:
        """Rows that overlap others, leave a gap between them or go beyond the head are refused."""
        backend, chain = self._filled([2, 1, 3])
        heads = [Head(2, chain.segments[1].previous), Head(3, chain.segments[2].previous)]
        beyond = chain.put(b"not in the store")
        for rows in (
            [],
            [PutSegment(chain.segments[0], heads[0]), PutSegment(chain.segments[2], Head(6, bytes(32)))],
            [PutSegment(chain.segments[1]._replace(first=2), Head(2, bytes(32)))],
            [beyond],
            [Chain(3).put(b"of nobody")],
        ):
            self._refused(backend, [Mend(rows)])
