"""What an application writes to have a view: tables, and how entries get into them.

Responsible for: :class:`View`, and looking at what it says of itself before anything is made of it.
Must not know: files, threads, when entries come.
Invariant: what cannot be a view is refused where it is given, with the name of what is wrong.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Final, Literal, NamedTuple

from gossiplog.arguments import check_type, wrong
from gossiplog.errors import InvalidValueError
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import Entry

MAX_VERSION: Final = 2**31 - 1

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")


class View:
    """I say how entries become tables; subclass me, and give an instance to :meth:`gossiplog.Store.view`.

    ``name`` and ``version`` name the file, ``views/NAME.VERSION.sqlite``: another version is built beside the one there
    is, and takes its place when it is complete.  ``encoding`` is that of payloads; ``schema`` is SQL that makes the
    tables.  ``owned`` are tables with columns ``author`` and ``seq``, from which the rows of an author go when its
    entries do; without any, all is built again then.  ``on_error``: "skip" passes over an entry that :meth:`apply`
    raises for, "stop" stops the view there.  ``order``: "causal" gives entries in that order, each with its ``place``.
    """

    name: str = ""
    version: int = 1
    encoding: str = "bytes"
    schema: str = ""
    owned: Sequence[str] = ()
    on_error: Literal["skip", "stop"] = "skip"
    order: Literal["any", "causal"] = "any"

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> object:
        """Bring ``entries`` into the tables; what is returned is told with the change.

        Called in a thread of the store's views, within a transaction that is not for this method to end, with entries
        that decode and have their payload, each author's ascending.  When it raises, what it did is taken back, and it
        is called again with fewer of them; so it keeps nothing but what is in the tables.
        """
        raise NotImplementedError(f"{type(self).__name__} has no apply(db, entries)")

    def forked(self, db: sqlite3.Connection, author: bytes) -> object:
        """``author`` was proven to have signed two logs; what was applied of the one held stays.

        Called once for each, as :meth:`apply` is.
        """


class Change(NamedTuple):
    """A view changed: so many ``entries`` were applied together, and ``value`` is what :meth:`View.apply` returned."""

    entries: int
    value: Any


def check_view(view: View) -> None:
    """Raise :class:`InvalidValueError` for what is no view, or says nonsense of itself."""
    check_type("view", view, View, "an instance of a subclass of gossiplog.View")
    if type(view.name) is not str or not _NAME.fullmatch(view.name):
        raise wrong("the name of a view", "1 to 64 of a-z, 0-9, _ and -, which no two views share", view.name)
    if type(view.version) is not int or not 0 < view.version <= MAX_VERSION:
        raise wrong(f"the version of view {view.name}", f"an integer from 1 to {MAX_VERSION}", view.version)
    encoding(view.encoding)
    if type(view.schema) is not str:
        raise wrong(f"the schema of view {view.name}", "a text of SQL", view.schema)
    if isinstance(view.owned, str) or not all(
        type(each) is str and _TABLE.fullmatch(each) for each in view.owned
    ):
        raise wrong(f"owned of view {view.name}", "a tuple of names of its tables", view.owned)
    if view.on_error not in ("skip", "stop"):
        raise wrong(f"on_error of view {view.name}", "'skip' or 'stop'", view.on_error)
    if view.order not in ("any", "causal"):
        raise wrong(f"order of view {view.name}", "'any' or 'causal'", view.order)
    for method in (view.apply, view.forked):
        _check_plain(view, method)
    if type(view).apply is View.apply:
        raise InvalidValueError(f"view {view.name} has no apply(db, entries)")


def _check_plain(view: View, method: Callable[..., object]) -> None:
    if iscoroutinefunction(method) or isasyncgenfunction(method):
        raise InvalidValueError(
            f"{method.__name__} of view {view.name} is a plain method, not async: it is called in a thread of its own"
        )
