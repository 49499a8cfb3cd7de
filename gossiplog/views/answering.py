"""Which file of a view answers: the one that is built, or, until it is complete, an older one.

Responsible for: queries, that change nothing and end; versions side by side, and the end of the others.
Must not know: entries; how a file is built.
Invariant: once a version has been complete, only it answers, and no other has a file.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from gossiplog.errors import ViewError, ViewQueryError
from gossiplog.views.derived import Derived, is_damage
from gossiplog.views.place import Place
from gossiplog.views.user_code import in_words
from gossiplog.views.view import View

T = TypeVar("T")

BUILT: Final = "built"
"""Kept in a file since it was complete for the first time."""

_STEPS: Final = 10_000
"""Of SQLite's machine, between two looks at the clock: a quarter of a millisecond."""


def file_name(name: str, version: int) -> str:
    """Return the name of the file of a view."""
    return f"{name}.{version}"


def versions(place: Place, name: str) -> list[int]:
    """Return the versions of a view that have a file, ascending."""
    pattern = re.compile(re.escape(name) + r"\.([1-9][0-9]{0,9})")
    return sorted(int(found[1]) for found in map(pattern.fullmatch, place.names()) if found)


class Answering:
    """I answer queries of one view; ``derived`` is its file."""

    def __init__(self, view: View, place: Place, derived: Derived) -> None:
        self._view = view
        self._place = place
        self._derived = derived
        self._older = None if derived.value(BUILT) else self._find_older()

    @property
    def is_settled(self) -> bool:
        """Whether its own file was complete once."""
        return bool(self._derived.value(BUILT))

    def settle(self) -> None:
        """Its own file is complete: from now on it answers; others of the view are deleted."""
        with self._derived.transaction():
            self._derived.keep(BUILT, 1)
        self.close()
        for version in versions(self._place, self._view.name):
            if version != self._view.version:
                self._place.remove(file_name(self._view.name, version))

    def read(self, ask: Callable[[sqlite3.Connection], T], seconds: float) -> T:
        """Return what ``ask`` finds; it can change nothing.

        :raises ViewQueryError: it cannot be asked that, or takes longer.
        :raises sqlite3.DatabaseError: the view's own file is damaged.
        """
        ends_at = time.monotonic() + seconds
        with (self._older or self._derived).reading() as db:
            db.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS)
            try:
                return ask(db)
            except (sqlite3.Error, sqlite3.Warning, ValueError, TypeError, OverflowError) as error:
                if self._older is None and is_damage(error):
                    raise
                raise self._refused(error, seconds) from error
            finally:
                db.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close what is not the view's own."""
        older, self._older = self._older, None
        if older is not None:
            older.close()

    def _find_older(self) -> Derived | None:
        """Return another version that is complete, the newest."""
        for version in reversed(versions(self._place, self._view.name)):
            if version == self._view.version:
                continue
            other = self._place.look(file_name(self._view.name, version))
            if other is not None:
                with suppress(sqlite3.Error):
                    if other.value(BUILT):
                        return other
                other.close()
        return None

    def _refused(self, error: Exception, seconds: float) -> ViewError:
        said = in_words(error)
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            said = f"it took longer than {seconds:g} s"
        elif getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_AUTH:
            said = f"a query only reads: {said}"
        if self._older is not None:
            said += f" (version {self._view.version} is not complete, so an older one was asked; wait for ready())"
        return ViewQueryError(f"view {self._view.name}: {said}")
