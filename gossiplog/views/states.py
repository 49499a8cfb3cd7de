"""What is known of the views that are kept beside a store.

Responsible for: the state of each file of a view; deleting those of one, and putting a new one in their place.
Must not know: how a view works; who asks.
Invariant: to look changes nothing, and what cannot be read is a state too.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from gossiplog.errors import InvalidValueError
from gossiplog.views.answering import BUILT, versions
from gossiplog.views.derived import Derived
from gossiplog.views.place import Place

_FILE: Final = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.([1-9][0-9]*)")


class State(NamedTuple):
    """What is known of the file of a view; ``damaged``: nothing is."""

    name: str
    version: int
    complete: bool
    applied: int
    known: int
    skipped: int
    bytes: int
    damaged: bool = False


def states_of(place: Place, known: int) -> Iterator[State]:
    """Yield the state of each file; the store holds ``known`` entries."""
    for name, version in sorted(
        (found[1], int(found[2])) for found in map(_FILE.fullmatch, place.names()) if found
    ):
        file = f"{name}.{version}"
        size = place.size(file)
        derived = place.look(file)
        if derived is None:
            yield State(name, version, False, 0, known, 0, size, True)
            continue
        try:
            yield State(name, version, *_look(derived, known), size)
        except sqlite3.Error:
            yield State(name, version, False, 0, known, 0, size, True)
        finally:
            derived.close()


def _look(derived: Derived, known: int) -> tuple[bool, int, int, int]:
    def ask(sql: str) -> Any:
        return derived.db.execute(sql).fetchone()[0]

    applied = ask("SELECT coalesce(sum(seq), 0) FROM _cursor")
    skipped = ask("SELECT count(*) FROM _skipped")
    return bool(derived.value(BUILT)), applied, known, skipped


def drop(place: Place, name: str) -> bool:
    """Delete the files of a view; False if there are none."""
    found = versions(place, name)
    for version in found:
        place.remove(f"{name}.{version}")
    return bool(found)


def put(place: Place, directory: str, name: str, version: int) -> None:
    """Move in the file of a view that was built in another ``directory``, instead of all that it has here."""
    file = f"{name}.{version}"
    if not _FILE.fullmatch(file):
        raise InvalidValueError(f"{file} is not what the file of a view is called")
    place.take(directory, file)
    for other in versions(place, name):
        if other != version:
            place.remove(f"{name}.{other}")
