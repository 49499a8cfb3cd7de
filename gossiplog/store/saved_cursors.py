"""Readers' cursors as they are on disk, so that keeping one that moved by a little costs what moved.

Responsible for: what has to be written to bring a cursor to where it is now; keeping in memory those in use.
Must not know: readers; when a commit is.
Invariant: what I hold in memory is durable.  It shares with the cursor that a program goes on with all that has not
moved since, and so takes next to nothing while that is there.
"""

from __future__ import annotations

from collections import OrderedDict

from gossiplog.errors import InvalidValueError, StoreDamagedError
from gossiplog.limits import MAX_KEPT_PLACES, REMOVED_AT_ONCE
from gossiplog.log.cursor import Cursor
from gossiplog.store.interface import Backend, PutCursor
from gossiplog.store.names import check_cursor_name


class SavedCursors:
    """I know the cursors of one backend by name."""

    def __init__(self, backend: Backend) -> None:
        """Nothing is read before it is asked for."""
        self._backend = backend
        self._known: OrderedDict[str, tuple[Cursor, int]] = OrderedDict()  # with its size; used last, last
        self._places = 0

    def load(self, name: str) -> Cursor:
        """Return a cursor, which is the caller's to change; empty if there is none.

        O(1), or O(its authors) if it was not used for long.

        :raises InvalidValueError: that is no name.
        :raises StoreDamagedError: the places of some authors, or all, cannot be read.
        """
        cursor, damage = self._find(name)
        if damage:
            raise StoreDamagedError(f"{damage}; gossiplog verify --repair keeps the others")
        return cursor.copy()

    def change(self, name: str, cursor: Cursor | None) -> PutCursor | None:
        """Return what takes ``name`` to ``cursor``; ``None`` if it is there.

        :raises InvalidValueError: that is no name, or no cursor.
        :raises StoreDamagedError: what is there cannot be read, and so should not be written.
        :raises StoreError: most of a large one was to be removed first, and that failed; it may lack authors now.
        """
        if not isinstance(cursor, Cursor | None):
            raise InvalidValueError(f"a cursor is kept, not {type(cursor).__name__}")
        before, damage = self._find(name)
        if not cursor and len(before) > REMOVED_AT_ONCE:
            before = self._shortened(name, before)
        changes = (cursor or Cursor()).difference(before)
        if damage or (changes and not cursor):
            return PutCursor(name, dict(cursor.items()) if cursor else {}, anew=True)
        return PutCursor(name, changes) if changes else None

    def _shortened(self, name: str, cursor: Cursor) -> Cursor:
        """Remove most of a cursor that is to be removed, in commits that a full disk has room for."""
        left = cursor.copy()
        authors = list(cursor)  # sorted: neighbours share pages
        for place in range(0, len(authors) - REMOVED_AT_ONCE, REMOVED_AT_ONCE):
            some = dict.fromkeys(authors[place : place + REMOVED_AT_ONCE])
            self._backend.commit([PutCursor(name, some)])
            self._backend.checkpoint()
            left.apply(some)
            self.settle(name, left.copy())
        return left

    def settle(self, name: str, cursor: Cursor | None) -> None:
        """``cursor``, which nobody changes any more, is on disk as ``name``, durably."""
        _, size = self._known.pop(name, (None, 0))
        self._places -= size
        if cursor:
            size = len(cursor)
            self._known[name] = cursor, size
            self._places += size
            while self._places > MAX_KEPT_PLACES and len(self._known) > 1:
                _, (_, size) = self._known.popitem(last=False)
                self._places -= size

    def forget(self) -> None:
        """What is on disk was changed by somebody else."""
        self._known.clear()
        self._places = 0

    def _find(self, name: str) -> tuple[Cursor, str]:
        check_cursor_name(name)
        if name in self._known:
            self._known.move_to_end(name)
            return self._known[name][0], ""
        saved = self._backend.cursor(name)
        if not saved.damage:
            self.settle(name, saved.cursor)
        return saved
