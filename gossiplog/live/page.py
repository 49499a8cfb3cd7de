"""What is asked of a timeline, and what is given.

Responsible for: :class:`Wanted`, refusing what means nothing; :class:`Page`.
Must not know: how pages are found.
Invariant: what is wanted can be looked for; a moment of which nobody knows in which zone it is, is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from gossiplog.arguments import check_number, check_plain, wrong
from gossiplog.errors import InvalidValueError
from gossiplog.live.selection import Where
from gossiplog.log.cursor import Cursor
from gossiplog.log.entry import Entry
from gossiplog.log.keys import check_authors
from gossiplog.log.place import Place, read_place
from gossiplog.store.repair.verify import Damage
from gossiplog.views.pages import EARLIEST, LATEST, moment_place, parse_place


@dataclass(frozen=True, slots=True)
class Page:
    """Entries of all logs, the latest first, and where to go on.

    ``older`` is the key of the page before this one, text that can stand in a URL; None if there is none.  ``cursor``
    is how far the store was: ``store.read(after=page.cursor, live=True)`` has what came since.  ``damages`` are entries
    that cannot be read, so that nobody can say on which page they would be.
    """

    entries: tuple[Entry, ...]
    older: str | None
    cursor: Cursor
    damages: tuple[Damage, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which entries a page is to have."""

    limit: int
    before: Place = LATEST
    since: Place = EARLIEST
    authors: Collection[bytes] | None = None
    where: Where | None = None

    @classmethod
    def of(
        cls,
        limit: int,
        authors: Iterable[bytes] | None,
        since: datetime | bytes | str | None,
        before: datetime | bytes | str | None,
        older: str | None,
        where: Where | None,
    ) -> Wanted:
        """Return what is asked for in the words of :meth:`gossiplog.Store.timeline`."""
        check_number("limit", limit, 1)
        if authors is not None:
            authors = check_authors("authors", authors)
        if older is not None and type(older) is not str:
            raise wrong("older", "the 'older' of a page", older)
        if where is not None:
            check_plain("where", where, "an entry", "choose in the loop instead")
        ends = [
            LATEST if each is None else _place(name, each)
            for name, each in (("before", before), ("older", older))
        ]
        return cls(limit, min(ends), EARLIEST if since is None else _place("since", since), authors, where)


def _place(name: str, value: datetime | bytes | str) -> Place:
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise InvalidValueError(
                f"{name} is a time without a zone, and nobody knows which moment that is: "
                "datetime.now(UTC), or value.astimezone() for the local one"
            )
        return moment_place(value)
    try:
        if type(value) is bytes:
            return read_place(value)
        if type(value) is str:
            return parse_place(value)
    except InvalidValueError as error:
        raise InvalidValueError(f"{name}: {error}") from None
    raise wrong(name, "a datetime with a zone, or a place", value)
