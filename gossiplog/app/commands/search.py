"""The verb search: entries by their words.

Responsible for: what of a payload is text, keeping the index of the command, printing what is found.
Must not know: how the index works; how arguments are parsed.
Invariant: no byte of an entry steers the terminal.  A store that was not last written here is only read, and its
index is in memory.
"""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import closing
from typing import Any, Final

from gossiplog import Entry, Hit, Search, blocking
from gossiplog.app.commands.local import missing
from gossiplog.app.commands.log import local_time
from gossiplog.app.printing import as_json, say
from gossiplog.control.opening import is_shown
from gossiplog.errors import StoreNotFoundError
from gossiplog.log.keys import format_author, short_key
from gossiplog.store.copy_guard.guard import is_from_here
from gossiplog.store.door import directory_of

NAME: Final = "of-command"
VERSION: Final = 1
"""Of :func:`text_of`."""

_DECODE_ERRORS: Final = (ValueError, RecursionError)


def search(arguments: Namespace) -> int:
    """Print the entries that have the words; the index is brought up to the store first."""
    is_ours = is_from_here(directory_of(arguments.store))
    how: blocking.Store
    if is_shown(arguments.store):
        how = blocking.attach(arguments.store, wait=arguments.wait)
    else:
        how = blocking.Store(arguments.store, init=False, read_only=not is_ours, wait=arguments.wait)
    try:
        store = how.open()
    except StoreNotFoundError as error:
        raise missing(error, arguments.store) from None
    with closing(store):
        found = store.view(Search(text_of, name=NAME, version=VERSION, encoding="bytes"))
        found.ready()
        order: Any = "newest" if arguments.newest else "rank"
        for hit in found.find(arguments.text, limit=arguments.limit, order=order):
            say(_as_json(hit) if arguments.json else _as_text(hit))
    return 0


def text_of(entry: Entry) -> str | None:
    """Return the text of a payload: all texts in it if it is JSON, itself if it is text."""
    try:
        text: str = entry.payload.decode()
    except UnicodeDecodeError:
        return None
    if text[:1] in ("{", "[", '"'):
        try:
            return "\n".join(_texts(json.loads(text)))
        except _DECODE_ERRORS:
            pass
    return text


def _texts(value: Any) -> list[str]:
    """Return the texts in a value of JSON, in their order."""
    found: list[str] = []
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, list):
            todo += reversed(each)
        elif isinstance(each, dict):
            todo += reversed([*each.values()])
    return found


def _as_text(hit: Hit) -> str:
    return f"{local_time(hit.timestamp_ms)} {short_key(hit.author)} {hit.seq} {hit.snippet}"


def _as_json(hit: Hit) -> str:
    return as_json(
        {
            "author": format_author(hit.author),
            "seq": hit.seq,
            "timestamp_ms": hit.timestamp_ms,
            "snippet": hit.snippet,
        }
    )
