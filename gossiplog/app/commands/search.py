"""The verb search: entries by their words.

Responsible for: asking the index of the command, the node's while one has the store; printing what is found.
Must not know: how the index works; how arguments are parsed.
Invariant: no byte of an entry steers the terminal.  A store that was not last written here is only read, and its
index is in memory.
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing
from typing import Literal, TypeAlias

from gossiplog import Hit, blocking
from gossiplog.app.commands.local import missing
from gossiplog.app.commands.log import local_time
from gossiplog.app.printing import as_json, say
from gossiplog.control.opening import shown
from gossiplog.errors import StoreNotFoundError
from gossiplog.log.keys import format_author, short_key
from gossiplog.store.copy_guard.guard import is_from_here
from gossiplog.store.door import directory_of
from gossiplog.views.payload_text import any_words

Order: TypeAlias = Literal["rank", "newest"]


def search(arguments: Namespace) -> int:
    """Print the entries that have the words; the index is brought up to the store first."""
    order: Order = "newest" if arguments.newest else "rank"
    logs = shown(arguments.store, arguments.wait)
    if logs is None:
        found = _find(arguments, order)
    else:
        with closing(logs):
            found = [*logs.find(arguments.text, arguments.limit, order)]
    for hit in found:
        say(_as_json(hit) if arguments.json else _as_text(hit))
    return 0


def _find(arguments: Namespace, order: Order) -> list[Hit]:
    is_ours = is_from_here(directory_of(arguments.store))
    try:
        store = blocking.Store(arguments.store, init=False, read_only=not is_ours, wait=arguments.wait).open()
    except StoreNotFoundError as error:
        raise missing(error, arguments.store) from None
    with closing(store):
        found = store.view(any_words())
        found.ready()
        hits: list[Hit] = found.find(arguments.text, limit=arguments.limit, order=order)
        return hits


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
