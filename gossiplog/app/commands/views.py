"""The verb views: what is computed from the entries of a store, and kept beside them.

Responsible for: showing the files of views, deleting one, and building one of which the class can be imported.
Must not know: how a view works; how arguments are parsed.
Invariant: nothing but files of views is deleted; the logs are as they were.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import closing
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from gossiplog.app.commands.local import Opened, missing, opened
from gossiplog.app.printing import as_json, say
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import InvalidValueError, StoreNotFoundError
from gossiplog.store.directory import DRAFT
from gossiplog.store.logs import Logs
from gossiplog.views.place import Place
from gossiplog.views.states import State, drop, states_of
from gossiplog.views.view import View


def views(arguments: Namespace) -> int:
    """Show the views of a store, or do what the options say."""
    made = None if arguments.rebuild is None else load(arguments.rebuild)
    with closing(opened(arguments.store, arguments.wait)) as logs:
        if isinstance(logs, NodeLogs) and made is not None:
            _build_beside(arguments, made, logs)
        elif made is not None or arguments.drop is not None:
            name = arguments.drop if made is None else made.name
            if not _drop(logs, name) and made is None:
                raise InvalidValueError(f"store {logs.path} has no view {name!r}")
        is_built = made is None or isinstance(logs, NodeLogs)
        states = _states(logs) if is_built else []
    if made is not None and not is_built:
        _build(arguments, made)
        with closing(opened(arguments.store, arguments.wait)) as logs:
            states = _states(logs)
    if made is not None:
        states = [state for state in states if state.name == made.name]
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


def _build_beside(arguments: Namespace, view: View, logs: NodeLogs) -> None:
    """While a node has the store: build it in a directory of its own, which the node takes it from."""
    from gossiplog import blocking

    about: dict[str, Any] = {"name": view.name, "version": view.version}
    logs.line.ask("put_view", **about)  # or why it is not to be
    with TemporaryDirectory(prefix=DRAFT, dir=logs.path) as place:
        store = blocking.attach(arguments.store, wait=arguments.wait)
        store._how["views"] = place
        with store:
            store.view(view).ready()
        logs.line.ask("put_view", draft=os.path.basename(place), **about)


def _place(logs: Logs) -> Place:
    own = logs.own_place()
    if own is None:
        raise InvalidValueError(f"store {logs.path} keeps no views: nothing can be written beside its logs")
    return Place(*own)


def _states(logs: Opened) -> list[State]:
    if isinstance(logs, NodeLogs):
        return [State(*each) for each in logs.line.ask("views")]
    with closing(_place(logs)) as place:
        return [*states_of(place, logs.clock.total())]


def _drop(logs: Opened, name: str) -> bool:
    if isinstance(logs, NodeLogs):
        return bool(logs.line.ask("drop_view", name=name))
    with closing(_place(logs)) as place:
        return drop(place, name)


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
