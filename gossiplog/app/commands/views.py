"""The verb views: what is computed from the entries of a store, and kept beside them.

Responsible for: showing the files of views, deleting one, and building one of which the class can be imported.
Must not know: how a view works; how arguments are parsed.
Invariant: nothing but files of views is deleted; the logs are as they were.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import Any, Final, NamedTuple

from gossiplog.app.commands.local import Opened, missing, opened
from gossiplog.app.printing import as_json, say
from gossiplog.errors import InvalidValueError, StoreNotFoundError
from gossiplog.views.answering import BUILT, versions
from gossiplog.views.derived import Derived
from gossiplog.views.place import Place
from gossiplog.views.view import View

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


def views(arguments: Namespace) -> int:
    """Show the views of a store, or do what the options say."""
    made = None if arguments.rebuild is None else load(arguments.rebuild)
    with closing(opened(arguments.store, arguments.wait)) as logs, closing(_place(logs)) as place:
        if made is not None or arguments.drop is not None:
            name = arguments.drop if made is None else made.name
            found = versions(place, name)
            if not found and made is None:
                raise InvalidValueError(f"store {logs.path} has no view {name!r}")
            for version in found:
                place.remove(f"{name}.{version}")
        states = [] if made is not None else [*_states(logs, place)]
    if made is not None:
        _build(arguments, made)
        with closing(opened(arguments.store, arguments.wait)) as logs, closing(_place(logs)) as place:
            states = [state for state in _states(logs, place) if state.name == made.name]
    for state in states:
        say(as_json(state._asdict()) if arguments.json else _in_words(state))
    if not states and not arguments.json:
        say("no views")
    return 0


def load(text: str) -> View:
    """Return the view that ``MODULE:CLASS`` names: an instance of that class, or what is called so.

    :raises InvalidValueError: there is none.
    """
    module, _, name = text.partition(":")
    sys.path.append(os.getcwd())  # behind all others: nothing in it takes the place of what is installed
    try:
        found = getattr(import_module(module), name)
        view = found() if isinstance(found, type) else found
    except Exception as error:
        raise InvalidValueError(
            f"{text!r} is no view to be imported ({type(error).__name__}: {error}); a class is PACKAGE.MODULE:CLASS"
        ) from error
    if not isinstance(view, View):
        raise InvalidValueError(f"{text!r} is no gossiplog.View, but a {type(view).__name__}")
    return view


def _build(arguments: Namespace, view: View) -> None:
    from gossiplog import blocking

    try:
        store = blocking.Store(arguments.store, init=False, wait=arguments.wait).open()
    except StoreNotFoundError as error:
        raise missing(error, arguments.store) from None
    with closing(store):
        store.view(view).ready()


def _place(logs: Opened) -> Place:
    own = logs.own_place()
    if own is None:
        raise InvalidValueError(f"store {logs.path} keeps no views: nothing can be written beside its logs")
    return Place(*own)


def _states(logs: Opened, place: Place) -> Iterator[State]:
    known = logs.clock.total()
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


def _in_words(state: State) -> str:
    if state.damaged:
        return (
            f"{state.name} {state.version}: damaged, {state.bytes} bytes; it is built anew when it is opened"
        )
    words = [f"{state.applied} of {state.known} entries", f"{state.bytes} bytes"]
    if state.skipped:
        words.append(f"{state.skipped} skipped")
    if not state.complete:
        words.append("not complete")
    return f"{state.name} {state.version}: {', '.join(words)}"
