"""Where stores are: from what an application says to the backend that has it.

Responsible for: places (``"memory:"``, ``"sqlite:PATH"``, ``"postgresql:..."``, a plain path), and the kinds of stores
there are, which other packages add to.
Must not know: what a backend does.
Invariant: a plain path is a path, whatever is installed; a kind of store that is not there is an error, and never the
name of a directory; a package of somebody else is imported only when its kind was asked for, and so is all that a plain
path does not need.

Another package registers a kind with an entry point of the group ``gossiplog.stores``, of which the name is what stands
before the colon and the value a function as :class:`Opener`::

    [project.entry-points."gossiplog.stores"]
    mysql = "gossiplog_mysql:open_backend"
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gossiplog.arguments import check_flags, check_seconds
from gossiplog.errors import InvalidValueError, StoreDamagedError, StoreFormatError, StoreNotFoundError
from gossiplog.paths import AnyPath, absolute
from gossiplog.store.interface import Backend
from gossiplog.store.shared.interface import RELAY_OF
from gossiplog.store.sqlite.backend import SQLiteBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "gossiplog.stores"

SQLITE: Final = "sqlite"
MEMORY: Final = "memory"
POSTGRESQL: Final = "postgresql"

_KIND: Final = re.compile(r"([a-z][a-z0-9+.-]+):(.*)", re.DOTALL)
"""A kind and a place; one letter before a colon is the drive of another system, and a path."""

_CONNECTION: Final = re.compile(
    r"\s*(?:(host|hostaddr|port|dbname|user|passfile|service|sslmode)\s*=|(?:[^/.~].*)?\b(ssl)?password\s*="
    r"|[a-z][a-z0-9+.-]+://)",
    re.IGNORECASE | re.DOTALL,
)
"""How databases are named elsewhere: by words of libpq, or by a URI of which the kind is in capitals."""


class Opening(NamedTuple):
    """How a store is opened.

    ``init``: create one where there is none; ``read_only``: change nothing at all there; ``wait``: for so many seconds
    while another process has it open; ``state``: the directory of a relay of a store that several share, for what is
    its own.  A backend raises what :func:`gossiplog.store.logs.open_logs` names.
    """

    init: bool = True
    read_only: bool = False
    wait: float = 0.0
    state: AnyPath | None = None


Opener: TypeAlias = Callable[[str, Opening], Backend]
"""Called with what stands behind the colon, in the thread that uses the backend from then on."""


def require_another(place: AnyPath, other: AnyPath, why: str) -> None:
    """Raise :class:`InvalidValueError` if both places are one, whatever links lead there.

    Whoever opened the one would wait for itself to close it.
    """
    here, there = place_of(place), place_of(other)
    try:
        is_same = os.path.samefile(here, there)
    except OSError:  # one of them is not there, or no path
        is_same = os.path.realpath(here) == os.path.realpath(there)
    if is_same:
        raise InvalidValueError(f"{there} is the store itself; {why}")


def place_of(place: AnyPath) -> str:
    """Return a place that stays the same wherever the program goes: a path from the root on, or ``KIND:PLACE``.

    :raises InvalidValueError: it is none, or no such kind is installed.
    """
    kind, where = _parted(place)
    if kind == SQLITE:
        return absolute(where)
    if kind == POSTGRESQL:
        from gossiplog.store.postgres.connection import named

        named(f"{kind}:{os.fsdecode(where)}")
    elif kind != MEMORY:
        _registered(kind)
    return f"{kind}:{os.fsdecode(where)}"


def is_in_directory(place: AnyPath) -> bool:
    """Tell whether a store is in a directory of its own, if it is anywhere."""
    return _parted(place)[0] == SQLITE


def within(place: str, directory: str) -> str:
    """Return a place of which a path begins at ``directory``; raises InvalidValueError for what is none."""
    place_of(place)
    kind, where = _parted(place)
    return place_of(os.path.join(directory, os.fsdecode(where)) if kind == SQLITE else place)


def directory_of(place: AnyPath) -> str:
    """Return the directory of a store that is in one.

    :raises InvalidValueError: it is no place, or the store there is in no directory.
    """
    kind, where = _parted(place)
    if kind != SQLITE:
        raise InvalidValueError(f"a store of the kind {kind} is not in a directory, which this is for")
    return absolute(where)


def state_of(place: AnyPath) -> str:
    """Return the directory of what is a relay's own, from the root on.

    :raises InvalidValueError: it is no path, or what connects to a database.
    """
    _require_path(place)
    return absolute(place)


def open_backend(place: AnyPath, how: Opening) -> Backend:
    """Open the store at ``place``; raises what its backend raises, and what :func:`place_of` does."""
    check_flags(init=how.init, read_only=how.read_only)
    check_seconds("wait", how.wait)
    kind, where = _parted(place)
    if kind == POSTGRESQL:
        return _open_postgres(f"{kind}:{os.fsdecode(where)}", how)
    if how.state is not None and kind in (SQLITE, MEMORY):
        raise InvalidValueError(
            f"state is for a relay of a store that several share, and {os.fsdecode(place)} is none: it keeps "
            "everything itself"
        )
    if kind == SQLITE:
        return _open_sqlite(where, how)
    if kind == MEMORY:
        return _open_memory(os.fsdecode(where), how)
    found = _registered(kind)
    try:
        opener: Opener = found.load()
    except (ImportError, AttributeError) as error:
        raise InvalidValueError(f"stores of the kind {kind!r} cannot be opened: {error}") from error
    return opener(os.fsdecode(where), how)


def open_around_damage(place: AnyPath, how: Opening, damage: StoreDamagedError) -> Backend:
    """Open a store that could not be opened for its ``damage``, to read around it.

    :raises StoreError: why not; ``damage`` itself where nothing can be read, or only its own kind knows how.
    """
    kind, where = _parted(place)
    if kind != SQLITE:
        raise damage
    from gossiplog.store.sqlite.damaged import DamagedBackend

    return DamagedBackend(where, how.read_only, how.wait, damage)


def _parted(place: AnyPath) -> tuple[str, AnyPath]:
    """Return the kind of store and where it is; what is no text is a path."""
    found = _KIND.fullmatch(place) if isinstance(place, str) else None
    if found is not None:
        return found[1], found[2]
    _require_path(place)
    return SQLITE, place


def _require_path(place: AnyPath) -> None:
    if isinstance(place, str) and _CONNECTION.match(place):
        raise InvalidValueError(
            "a store on PostgreSQL is named by a URI, such as postgresql:///?service=relays, and a directory of such a "
            "name with ./ before it; what was said is not shown here, for it may have a password in it"
        )


def _registered(kind: str) -> EntryPoint:
    from importlib import metadata

    known = metadata.entry_points(group=GROUP)
    for found in known:
        if found.name == kind:
            return found
    kinds = ", ".join(sorted({SQLITE, MEMORY, POSTGRESQL} | {found.name for found in known}))
    raise InvalidValueError(
        f"no package is installed for stores of the kind {kind!r}; there are {kinds}, and a directory with a colon in "
        f"its name is ./{kind}:..."
    )


def _open_sqlite(where: AnyPath, how: Opening) -> Backend:
    backend = SQLiteBackend(where, how.init, read_only=how.read_only, wait=how.wait)
    try:
        relay_of = backend.meta(RELAY_OF)
        if relay_of is not None:
            raise StoreFormatError(
                f"{backend.path} is no store but the state of a relay of {relay_of.decode(errors='replace')}: start it "
                "with gossiplog run --store postgresql:... --state DIR; while it runs, --store DIR asks it"
            )
    except BaseException:
        backend.close()
        raise
    return backend


def _open_postgres(place: str, how: Opening) -> Backend:
    if how.state is None:
        raise InvalidValueError(
            "a store on PostgreSQL is opened by a relay, which has its key and its address book in a directory of this "
            "machine: say which (--state DIR, state=); while it runs, --store DIR asks it"
        )
    if how.read_only:
        raise InvalidValueError(
            "a store on PostgreSQL is not opened for reading only: ask a relay that has it"
        )
    state = state_of(how.state)
    from gossiplog.store.postgres.backend import PostgresBackend

    return PostgresBackend(place, state, wait=how.wait)


def _open_memory(name: str, how: Opening) -> Backend:
    """Make a store that ends with the process; ``name`` is for people."""
    place = f"{MEMORY}:{name}"
    if not how.init or how.read_only:
        raise StoreNotFoundError(f"no store at {place}: one in memory is new each time it is opened")
    from gossiplog.store.memory.backend import MemoryBackend

    return MemoryBackend(place)
