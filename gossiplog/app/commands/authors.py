"""What people type for an author.

Responsible for: finding the one that is meant among those that are known.
Must not know: who is known, or why.
Invariant: a text that could mean two authors means none; no more of a clock is looked at than what begins so.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Final

from gossiplog.errors import InvalidValueError
from gossiplog.log.clock_view import HeadView
from gossiplog.log.keys import author_span, format_author, parse_author

SHORTEST_PREFIX: Final = 4
"""Characters of an author's id that may stand for it."""


def named(clock: HeadView, text: str) -> list[bytes]:
    """Return those in a clock who have this full id, or whose id begins so: none, one, or the first two."""
    if _is_full(text):
        author = parse_author(text)
        return [author] if author in clock else []
    span = author_span(text)
    found = (one for one, _ in (() if span is None else clock.range(*span)) if _begins(one, text))
    return [*islice(found, 2)]


def find_author(
    known: Collection[bytes], text: str, otherwise: str = "the store holds no entry of it"
) -> bytes:
    """Return the author of a full id, or of the start of one, among those known; ``otherwise`` says why it is not."""
    if _is_full(text):
        author = parse_author(text)
        if author not in known:
            raise InvalidValueError(f"unknown author {text}: {otherwise}")
        return author
    found = [one for one in known if _begins(one, text)]
    if len(text) < SHORTEST_PREFIX or len(found) != 1:
        reason = "it stands for several" if len(found) > 1 else otherwise
        raise InvalidValueError(f"unknown author {text!r}: {reason}")
    return found[0]


def _is_full(text: str) -> bool:
    return text.startswith("author_") or len(text) == 64


def _begins(author: bytes, text: str) -> bool:
    return format_author(author).partition("_")[2].startswith(text)
