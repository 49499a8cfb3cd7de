"""What of a payload is text, for searches that know nothing of the application.

Responsible for: the index that the command keeps of a store.
Must not know: who searches.
Invariant: with another text the index has another version.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gossiplog.log.entry import Entry
from gossiplog.views.search import Search

NAME: Final = "of-command"
VERSION: Final = 1
"""Of :func:`text_of`."""

_DECODE_ERRORS: Final = (ValueError, RecursionError)


def any_words() -> Search:
    """Return the index of all texts in a store."""
    return Search(text_of, name=NAME, version=VERSION, encoding="bytes")


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
