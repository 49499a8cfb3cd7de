"""What of a store somebody reads.

Responsible for: :class:`Selection`, and refusing what means nothing together.
Must not know: stores, readers.
Invariant: a selection that is there can be read; which entries pass is asked of the application's own function here
only, and what that raises names the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gossiplog.arguments import check_flags, check_number, check_plain, refuse_awaitable
from gossiplog.errors import InvalidValueError, WhereFailedError
from gossiplog.log.entry import Entry
from gossiplog.log.keys import check_author, short_key

Where = Callable[[Entry], object]
"""Whether an entry is wanted: what is true, or false."""


@dataclass(frozen=True)
class Selection:
    """Which entries, and in which order.

    ``author`` alone, from ``first`` to ``last``; of each log the ``newest`` so many; those for which ``where`` is true;
    each log in ``reverse``; ``live`` with what comes.
    """

    author: bytes | None = None
    first: int = 1
    last: int | None = None
    newest: int | None = None
    reverse: bool = False
    where: Where | None = None
    live: bool = False

    def __post_init__(self) -> None:
        """Raise :class:`InvalidValueError` for what is no argument, or means nothing beside the others."""
        if self.author is not None:
            check_author("author", self.author)
        check_number("first", self.first, 1)
        if self.last is not None:
            check_number("last", self.last, 0)
        if self.newest is not None:
            check_number("newest", self.newest, 0)
        check_flags(reverse=self.reverse, live=self.live)
        if self.where is not None:
            check_plain("where", self.where, "an entry", "choose in the loop instead")
        if self.author is None and (self.first != 1 or self.last is not None):
            raise InvalidValueError("first and last need an author")
        if self.reverse and self.live:
            raise InvalidValueError(
                "reverse ends with the oldest entry, and live has no end: read in reverse first, then live with "
                "after=reader.cursor()"
            )

    def wants(self, author: bytes) -> bool:
        """Whether anything of ``author`` is asked for."""
        return self.author is None or author == self.author

    def clamped(self, seq: int) -> int:
        """``seq``, or where the range ends if that is before."""
        return seq if self.last is None else min(seq, self.last)


def passes(where: Where, entry: Entry) -> bool:
    """Whether ``where`` is true of ``entry``; raises :class:`WhereFailedError` when it cannot be asked."""
    try:
        return bool(refuse_awaitable("where", where(entry)))
    except Exception as error:
        raise WhereFailedError(entry.author, short_key(entry.author), entry.seq, error) from error
