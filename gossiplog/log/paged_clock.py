"""A clock of which some spans of authors are in memory.

Responsible for: the heads of these spans, as they move; which were used lately, so that the others make room; saying
which spans somebody asks for that are not there.
Must not know: where all heads are and how they are read; fingerprints.
Invariant: what is said of an author is what its store said when the span was brought and every change since.  A span
that is there already is not brought again.  What came stays until it was
used; then the room of at most ``most`` heads is taken, and of those that are needed.

>>> clock = PagedClock(100)
>>> clock.bring((b"a", b"c"), [(b"ann", Head(2, b"id"))])
>>> clock.seq(b"ann"), clock.seq(b"bob")
(2, 0)
>>> clock.seq(b"carl")
Traceback (most recent call last):
gossiplog.log.leaf_sums.Away: 1 spans of authors are not in memory
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from sortedcontainers import SortedDict

from gossiplog.log.leaf_sums import Away, Span
from gossiplog.log.segment import Head

PAGE_HEADS = 2
"""What a span takes beside its heads, in heads."""


class Needed(NamedTuple):
    """What stays in memory whatever comes: these authors, and all that somebody waits for in these spans."""

    authors: Set[bytes]
    spans: Iterable[Span]


NOTHING = Needed(frozenset(), ())


class Moved(NamedTuple):
    """An author's head before and after."""

    before: Head | None
    after: Head | None


class _Page:
    """I am a span from somewhere up to ``upper``."""

    __slots__ = ("authors", "heads", "upper")

    def __init__(self, upper: bytes, found: Sequence[tuple[bytes, Head]]) -> None:
        self.upper = upper
        self.authors = [author for author, _ in found]
        self.heads = [head for _, head in found]

    def cut(self, lower: bytes, upper: bytes) -> tuple[int, int]:
        """Return the places of the authors of a span."""
        stop = bisect_left(self.authors, upper) if upper else len(self.authors)
        return bisect_left(self.authors, lower), stop

    def set(self, author: bytes, head: Head | None) -> int:
        """Move or forget an author; return how many more there are."""
        place = bisect_left(self.authors, author)
        is_there = place < len(self.authors) and self.authors[place] == author
        if head is None:
            if is_there:
                del self.authors[place], self.heads[place]
            return -is_there
        if is_there:
            self.heads[place] = head
            return 0
        self.authors.insert(place, author)
        self.heads.insert(place, head)
        return 1


class PagedClock:
    """I answer for the authors of whom I know, and raise :class:`Away` for others: bring them, and ask again.

    ``moved`` are those whose heads moved, until somebody takes them out.
    """

    def __init__(self, most: int) -> None:
        """``most`` is how many heads stay."""
        self._most = most
        self._pages: SortedDict[bytes, _Page] = SortedDict()
        self._used: OrderedDict[bytes, None] = OrderedDict()
        self._kept = 0
        self.moved: dict[bytes, Moved] = {}

    @property
    def kept_heads(self) -> int:
        """About how many heads' room I take."""
        return self._kept

    def head(self, author: bytes) -> Head | None:
        """Return the head held of an author, None if nothing is."""
        if author in self.moved:
            return self.moved[author].after
        page = self._page(author)
        if page is None:
            raise Away([alone(author)])
        place = bisect_left(page.authors, author)
        return page.heads[place] if page.authors[place : place + 1] == [author] else None

    def seq(self, author: bytes) -> int:
        """Return the seq held of an author, 0 if nothing is."""
        head = self.head(author)
        return 0 if head is None else head.seq

    def __contains__(self, author: object) -> bool:
        return isinstance(author, bytes) and self.head(author) is not None

    def range(self, lower: bytes = b"", upper: bytes = b"") -> Iterator[tuple[bytes, Head]]:
        """Iterate over (author, head) with ``lower <= author < upper``; ``b""`` above means the end.

        :raises Away: at once, if not all of them are there.
        """
        found: list[tuple[bytes, Head]] = []
        gaps = []
        for (first, stop), page in self._walk(lower, upper):
            if page is None:
                gaps.append((first, stop))
            else:
                places = slice(*page.cut(first, stop))
                found += zip(page.authors[places], page.heads[places], strict=True)
        if gaps:
            raise Away(gaps)
        return iter(found)

    # -- what its owner says

    def bring(self, span: Span, heads: Sequence[tuple[bytes, Head]]) -> None:
        """These are all heads of a span, ascending, as of now."""
        for (lower, upper), page in [*self._walk(*span)]:
            if page is None:
                here = [(a, head) for a, head in heads if lower <= a and (not upper or a < upper)]
                self._put(lower, _Page(upper, here))

    def trim(self, needed: Callable[[], Needed] = lambda: NOTHING) -> None:
        """Let go of what was not used for the longest time, a quarter, if more than ``most`` stay.

        To be called when whoever asked for spans has used them.
        """
        if self._kept <= self._most:
            return
        authors, spans = needed()
        stay, held = sorted(authors), _union(spans)
        for lower in [*self._used]:
            if not _overlaps(held, lower, self._pages[lower].upper):
                self._let_go(lower, stay)
                if self._kept <= self._most * 3 // 4:
                    break

    def move(self, author: bytes, before: Head | None, after: Head | None) -> None:
        """An author's head moved, or it was forgotten, whether or not it is in memory."""
        first = self.moved.get(author)
        self.moved[author] = Moved(before if first is None else first.before, after)
        self._set(author, after)

    def _set(self, author: bytes, head: Head | None) -> None:
        page = self._page(author)
        if page is not None:
            self._kept += page.set(author, head)

    def settled(self, author: bytes) -> None:
        """Whoever sums heads up has taken in how this one moved."""
        moved = self.moved.pop(author, None)
        if moved is not None:
            self.bring(alone(author), [] if moved.after is None else [(author, moved.after)])
            self._set(author, moved.after)  # its span may have been read before it moved

    def _let_go(self, lower: bytes, stay: Sequence[bytes]) -> None:
        """Let go of a page, but for what it says of those who ``stay``, held or not."""
        del self._used[lower]
        page = self._pages.pop(lower)
        self._kept -= PAGE_HEADS + len(page.authors)
        stop = bisect_left(stay, page.upper) if page.upper else len(stay)
        for author in stay[bisect_left(stay, lower) : stop]:
            place, end = page.cut(*alone(author))
            self._put(author, _Page(alone(author)[1], [(author, head) for head in page.heads[place:end]]))

    def _put(self, lower: bytes, page: _Page) -> None:
        self._pages[lower] = page
        self._used[lower] = None
        self._kept += PAGE_HEADS + len(page.authors)

    def _page(self, author: bytes) -> _Page | None:
        """The page whose span has an author, which is used."""
        place = self._pages.bisect_right(author) - 1
        if place < 0:
            return None
        lower, page = self._pages.peekitem(place)
        if page.upper and author >= page.upper:
            return None
        self._used.move_to_end(lower)
        return page

    def _walk(self, lower: bytes, upper: bytes) -> Iterator[tuple[Span, _Page | None]]:
        """Cut a span into those that are there and those that are not, ascending."""
        at = lower
        while True:
            page = self._page(at)
            if page is not None:
                end = page.upper
            else:
                following = next(self._pages.irange(at, None, (False, False)), b"")
                end = following
            is_last = not end or bool(upper and end >= upper)
            yield (at, upper if is_last else end), page
            if is_last:
                return
            at = end


def alone(author: bytes) -> Span:
    """The span of one author and no other."""
    return author, author + b"\0"


def _union(spans: Iterable[Span]) -> list[Span]:
    """The same spans, ascending and apart from each other."""
    apart: list[Span] = []
    for lower, upper in sorted(spans):
        if apart and (not apart[-1][1] or lower <= apart[-1][1]):
            before = apart[-1]
            apart[-1] = before[0], max(before[1], upper) if before[1] and upper else b""
        else:
            apart.append((lower, upper))
    return apart


def _overlaps(apart: Sequence[Span], lower: bytes, upper: bytes) -> bool:
    place = bisect_left(apart, (upper,)) if upper else len(apart)  # the first that begins behind
    return place > 0 and (not apart[place - 1][1] or apart[place - 1][1] > lower)
